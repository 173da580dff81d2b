"""The commands `chopmark log …`. Heavy modules are imported when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from chopmark_service.database_setting import DatabaseSetting

from chopmark_ledger.commands.audit_commands import fsck, prove
from chopmark_ledger.commands.policy_commands import policy

if TYPE_CHECKING:
    from chopmark.key_file import LocalSigner
    from chopmark.landmark import LandmarkRecord

log = typer.Typer(help="Make a log, serve it, and check logs.", no_args_is_help=True)
log.command()(fsck)
log.command()(prove)
log.command()(policy)

_MAX_JWK = 4096
_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The data folder of the log.")]
_PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="A file with the passphrase; else CHOPMARK_PASSPHRASE_FILE names it."),
]


@log.callback()
def _log() -> None:
    """Make a log, serve it, and check logs."""


@log.command()
def init(
    folder: _Folder,
    origin: Annotated[str, typer.Option("--origin", metavar="O", help="Its origin, such as cn-gd.example/log/2026.")],
    number: Annotated[int, typer.Option("--number", metavar="N", help="Its number within the region, from 1.")],
    passphrase_file: _PassphraseFile = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            envvar=DatabaseSetting("log").variable,
            help="postgresql+psycopg://…, for a log outside of its folder. Where it holds a password give it by the "
            "variable: others on the machine see the arguments of a command.",
        ),
    ] = None,
) -> None:
    """Make a log with new keys, and print the vkeys that policies name it by: Ed25519, then ML-DSA-44."""
    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415

    from chopmark_ledger.service.log_setup import init_log  # noqa: PLC0415

    passphrase = read_passphrase(passphrase_file)
    made = init_log(folder, origin=origin, number=number, passphrase=passphrase, database=database)
    typer.echo(made.vkey)
    typer.echo(made.pq_vkey)


@log.command()
def serve(
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The data folder of the log.")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="The tlog-policy, with the witnesses' URLs.")
    ] = None,
    passphrase_file: _PassphraseFile = None,
    host: Annotated[str | None, typer.Option("--host", metavar="H", help="The address to listen at.")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="P", help="The port; 0 takes a free one.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; else DIR/log.toml.")
    ] = None,
    connections: Annotated[int | None, typer.Option(help="Connections that are served at a time.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    max_unpublished: Annotated[int | None, typer.Option(help="Entries that may wait for publication.")] = None,
    landmark_interval: Annotated[int | None, typer.Option(help="Seconds of a landmark interval.")] = None,
    publication_interval: Annotated[float | None, typer.Option(help="Seconds between publications.")] = None,
    witness_timeout: Annotated[float | None, typer.Option(help="Seconds that a witness may take.")] = None,
    wait_timeout: Annotated[float | None, typer.Option(help="Seconds that wait=true waits.")] = None,
    body_timeout: Annotated[float | None, typer.Option(help="Seconds that a body may take to arrive.")] = None,
    body_memory: Annotated[int | None, typer.Option(help="Bytes of bodies held at a time.")] = None,
    hear_witnesses_first: Annotated[
        bool | None,
        typer.Option(
            "--hear-witnesses-first/--no-hear-witnesses-first",
            help="Take entries only once a quorum of witnesses was heard; after a backup was restored.",
        ),
    ] = None,
    check_settings: Annotated[
        bool, typer.Option("--check-settings", hidden=True, help="Check the settings, and end.")
    ] = False,
) -> None:
    """Serve a log until SIGTERM or Ctrl-C.

    Each option may also be given as CHOPMARK_LOG_<NAME>, or in the file of settings; a database URL only there.
    """
    flags = dict(locals())
    from chopmark_service.server import serve as serve_application  # noqa: PLC0415

    from chopmark_ledger.service.running_log import check_can_run  # noqa: PLC0415
    from chopmark_ledger.service.service_settings import read_settings  # noqa: PLC0415

    flags.pop("config")
    flags.pop("check_settings")
    settings = read_settings(flags, config=config)
    if check_settings:
        return
    check_can_run(settings)
    serve_application(
        "chopmark_ledger.service.log_service:make_application",
        settings,
        connections=settings.connections,
        stop_within=60,
    )


@log.command()
def status(
    place: Annotated[
        str, typer.Argument(metavar="DIR|URL", help="The data folder of a log, or the address of one that is served.")
    ],
) -> None:
    """Print what is committed and published, how the witnesses are, and what is wrong. Exits 1 if something is."""
    from chopmark_ledger.service.log_states import local_status, remote_status  # noqa: PLC0415

    found = remote_status(place) if place.startswith(("http://", "https://")) else local_status(Path(place))
    for line in found.lines:
        _print(line)
    if found.problem is not None:
        raise typer.Exit(1)


@log.command()
def landmark(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The data folder of a log that is not served.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The address of a log that is.")] = None,
    origin: Annotated[
        str | None, typer.Option("--origin", metavar="O", help="With --url: its origin, which the token is for.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--client", metavar="NAME", help="With --url: a client that speaks for the region.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="With --url: its key file.")] = None,
    passphrase_file: _PassphraseFile = None,
) -> None:
    """End the present landmark interval now, so that licences logged up to here can be printed with their path.

    Of a folder: under the checkpoint that is published; needs no key. Of a service: what is committed is published
    before.
    """
    if (folder is None) == (url is None):
        raise typer.BadParameter("give either DIR or --url")
    if folder is not None:
        from chopmark_ledger.service.log_states import end_landmark_interval  # noqa: PLC0415

        records, waiting = end_landmark_interval(folder)
    else:
        from contextlib import closing  # noqa: PLC0415

        from chopmark_ledger.service.log_connection import LogConnection  # noqa: PLC0415
        from chopmark_ledger.service.remote_ledger import end_remote_landmark_interval  # noqa: PLC0415

        if url is None or origin is None or name is None or key is None:
            raise typer.BadParameter("--url needs --origin, --client and --key")
        signer = _load_client_key(key, passphrase_file)
        with closing(LogConnection(url, origin=origin, name=name, key=signer)) as connection:
            records, waiting = end_remote_landmark_interval(connection), 0
    _print_landmarks(records)
    if waiting:
        typer.echo(f"{waiting} entries wait for publication")


@log.command("client-key")
def client_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The key file to make.")],
    algorithm: Annotated[str, typer.Option("--algorithm", help="Ed25519 or ES256.")] = "Ed25519",
    passphrase_file: _PassphraseFile = None,
) -> None:
    """Make a key for a client of logs, and print its public half as a JSON Web Key, for add-client."""
    import json  # noqa: PLC0415

    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415
    from chopmark.keys import Algorithm  # noqa: PLC0415
    from chopmark_service.json_web_key import to_jwk  # noqa: PLC0415

    from chopmark_ledger.service.log_setup import make_client_key  # noqa: PLC0415

    known = {each.text: each for each in (Algorithm.ED25519, Algorithm.ES256)}
    if algorithm not in known:
        raise typer.BadParameter(f"an algorithm is {' or '.join(known)}")
    made = make_client_key(file, passphrase=read_passphrase(passphrase_file), algorithm=known[algorithm])
    typer.echo(json.dumps(to_jwk(made)))


@log.command("add-client")
def add_client_command(
    folder: _Folder,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The client's name, which its tokens bear.")],
    jwk: Annotated[
        list[str],
        typer.Option(
            "--jwk", metavar="FILE", help="Its public key as a JSON Web Key, - for standard input; repeatable."
        ),
    ],
    issuer: Annotated[
        list[str] | None,
        typer.Option("--issuer", metavar="ID", help="An issuer, <region>/<code>, that it logs for; repeatable."),
    ] = None,
    region: Annotated[str | None, typer.Option("--region", metavar="R", help="The region that it speaks for.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change a client that is there.")] = False,
) -> None:
    """Let a client write to a log; one that is served knows it within a second."""
    from chopmark import strict  # noqa: PLC0415
    from chopmark_service.json_web_key import from_jwk  # noqa: PLC0415

    from chopmark_ledger.service.log_clients import add_client, make_client  # noqa: PLC0415

    keys = [from_jwk(strict.json_decode(_read(file), where=file, max_size=_MAX_JWK), where=file) for file in jwk]
    add_client(folder, make_client(name, keys, issuer or (), region), replace=replace)
    _print(
        f"client {name} may now write for {region or ', '.join(issuer or ())}: let it sign its tokens for the origin "
        "of this log, and try one with POST /authentication"
    )


@log.command("remove-client")
def remove_client_command(
    folder: _Folder, name: Annotated[str, typer.Argument(metavar="NAME", help="The client's name.")]
) -> None:
    """Let a client write to a log no longer; one that is served knows it within a second."""
    from chopmark_ledger.service.log_clients import remove_client  # noqa: PLC0415

    remove_client(folder, name)
    _print(f"client {name} is removed")


@log.command()
def openapi() -> None:
    """Print what the log's service offers, as an OpenAPI document."""
    from chopmark_ledger.service.log_service import openapi_document  # noqa: PLC0415

    typer.echo(openapi_document(), nl=False)


def _load_client_key(file: Path, passphrase_file: Path | None) -> LocalSigner:
    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415

    from chopmark_ledger.service.running_log import load_key  # noqa: PLC0415

    return load_key(file, read_passphrase(passphrase_file))


def _read(file: str) -> bytes:
    from chopmark.durable_file import read_file  # noqa: PLC0415
    from chopmark.errors import StorageError  # noqa: PLC0415

    if file == "-":
        return sys.stdin.buffer.read(_MAX_JWK + 1)
    data = read_file(Path(file), max_size=_MAX_JWK)
    if data is None:
        raise StorageError("there is no such file", where=file)
    return data


def _print_landmarks(records: tuple[LandmarkRecord, ...]) -> None:
    for record in records:
        typer.echo(f"landmark [{record.start}, {record.end}) {record.hash.hex()}")
    if not records:
        typer.echo("nothing was published since the last landmark")


def _print(text: Any) -> None:
    from chopmark.cli.plain_text import plain  # noqa: PLC0415

    typer.echo(plain(str(text)))
