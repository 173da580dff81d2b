"""The commands of `chopmark issuer` about its service. Heavy modules are imported when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

_MAX_JWK = 4096
_Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the registry.", envvar="CHOPMARK_DATA")]
_DATA = Path("data")


def serve(
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder of the registry.")] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="H", help="The address to listen at.")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="P", help="The port; 0 takes a free one.")] = None,
    key_socket: Annotated[
        Path | None, typer.Option("--key-socket", metavar="PATH", help="The socket of the signing process.")
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", help="Without a signing process: a file with the passphrase of the keys."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; else DIR/issuer.toml.")
    ] = None,
    connections: Annotated[int | None, typer.Option(help="Connections that are served at a time.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_patience: Annotated[float | None, typer.Option(help="Seconds that the region's log may take.")] = None,
    publish_every: Annotated[int | None, typer.Option(help="Seconds between publications if nothing changed.")] = None,
    landmark_every: Annotated[
        int | None, typer.Option(help="Seconds after which licences get a landmark, which a QR code needs.")
    ] = None,
    body_timeout: Annotated[float | None, typer.Option(help="Seconds that a body may take to arrive.")] = None,
    body_memory: Annotated[int | None, typer.Option(help="Bytes of bodies held at a time.")] = None,
    streams: Annotated[int | None, typer.Option(help="Bulk requests at work at a time.")] = None,
    check_settings: Annotated[
        bool, typer.Option("--check-settings", hidden=True, help="Check the settings, and end.")
    ] = False,
) -> None:
    """Serve a registry until SIGTERM or Ctrl-C: it issues, sends to the log and publishes by itself.

    Each option may also be given as CHOPMARK_ISSUER_<NAME>, or in the file of settings; a database URL only there.
    """
    flags = dict(locals())
    from chopmark_service.server import serve as serve_application  # noqa: PLC0415

    from chopmark_issuer.service.running_region import check_can_run  # noqa: PLC0415
    from chopmark_issuer.service.service_settings import read_settings  # noqa: PLC0415

    flags.pop("config")
    flags.pop("check_settings")
    settings = read_settings(flags, config=config)
    if check_settings:
        return
    check_can_run(settings)
    serve_application(
        "chopmark_issuer.service.service:make_application", settings, connections=settings.connections, stop_within=60
    )


def add_client(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The client's name, which its tokens bear.")],
    department: Annotated[str, typer.Option(metavar="ID", help="The department that it acts for.")],
    jwk: Annotated[
        list[str],
        typer.Option(
            "--jwk", metavar="FILE", help="Its public key as a JSON Web Key, - for standard input; again for each."
        ),
    ],
    right: Annotated[
        list[str], typer.Option("--right", metavar="R", help="read, issue, amend or status; again for each.")
    ],
    licence_type: Annotated[
        list[str],
        typer.Option("--type", metavar="TYPE", help="Narrow it to this type; again for each. All if left out."),
    ] = [],  # noqa: B006 - Typer's way to say "may be left out"
    replace: Annotated[bool, typer.Option("--replace", help="Change a client that is there.")] = False,
    data: _Data = _DATA,
) -> None:
    """Let a system of a department use the service; one that runs knows it within a second."""
    import time  # noqa: PLC0415

    from chopmark import strict  # noqa: PLC0415
    from chopmark.cli.plain_text import plain  # noqa: PLC0415
    from chopmark.identifiers import region_of  # noqa: PLC0415
    from chopmark_service.json_web_key import from_jwk  # noqa: PLC0415

    from chopmark_issuer.service import clients  # noqa: PLC0415

    if unknown := [each for each in right if each not in list(clients.Right)]:
        raise typer.BadParameter(f"{unknown[0]!r} is no right: read, issue, amend or status")
    keys = [from_jwk(strict.json_decode(_read(file), where=file, max_size=_MAX_JWK), where=file) for file in jwk]
    client = clients.make_client(name, department, types=licence_type, rights=map(clients.Right, right), keys=keys)
    with _database(data) as database, database.writing() as connection:
        clients.add_client(connection, client, at=int(time.time()), replace=replace)
    rights = ", ".join(right for right in clients.Right if right in client.rights)
    typer.echo(
        plain(
            f"client {client.name} of {department} may now {rights}: let it sign its tokens for "
            f"{region_of(department)}, and try one with POST /authentication"
        )
    )


def remove_client(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The client's name.")], data: _Data = _DATA
) -> None:
    """Let a client use the service no longer; one that runs knows it within a second."""
    from chopmark.cli.plain_text import plain  # noqa: PLC0415

    from chopmark_issuer.service import clients  # noqa: PLC0415

    with _database(data) as database, database.writing() as connection:
        clients.remove_client(connection, name)
    typer.echo(plain(f"client {name} is removed"))


def list_clients(data: _Data = _DATA) -> None:
    """List the clients of the service, what they may do, and for whom."""
    from chopmark.cli.plain_text import plain  # noqa: PLC0415

    from chopmark_issuer.service import clients  # noqa: PLC0415

    with _database(data) as database, database.reading() as connection:
        for client in clients.all_clients(connection):
            types = "all its types" if client.types is None else " ".join(sorted(client.types))
            rights = " ".join(right for right in clients.Right if right in client.rights)
            keys = " ".join(sorted(client.keys))
            typer.echo(f"{plain(client.name)}: {client.department}, {rights}; {types}; keys {keys}")


def openapi() -> None:
    """Print what the service offers, as an OpenAPI document."""
    from chopmark_issuer.service.service import openapi_document  # noqa: PLC0415

    typer.echo(openapi_document(), nl=False)


def add_commands(issuer: typer.Typer) -> None:
    """Add these commands to `chopmark issuer`."""
    issuer.command()(serve)
    issuer.command("add-client")(add_client)
    issuer.command("remove-client")(remove_client)
    issuer.command("clients")(list_clients)
    issuer.command()(openapi)


def _database(data: Path):  # type: ignore[no-untyped-def] # the class is imported when a command runs
    from contextlib import closing  # noqa: PLC0415

    from chopmark_issuer.service.service_settings import DATABASE  # noqa: PLC0415
    from chopmark_issuer.settings import Settings  # noqa: PLC0415
    from chopmark_issuer.storage.registry_database import open_registry  # noqa: PLC0415

    return closing(open_registry(Settings(data, b"", database_url=DATABASE.of(data))))


def _read(file: str) -> bytes:
    from chopmark.durable_file import read_file  # noqa: PLC0415
    from chopmark.errors import StorageError  # noqa: PLC0415

    if file == "-":
        return sys.stdin.buffer.read(_MAX_JWK + 1)
    data = read_file(Path(file), max_size=_MAX_JWK)
    if data is None:
        raise StorageError("there is no such file", where=file)
    return data
