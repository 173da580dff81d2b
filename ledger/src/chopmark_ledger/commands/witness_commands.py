"""The commands `chopmark witness …`. Heavy modules are imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

witness = typer.Typer(help="Run a witness for the logs of others.", no_args_is_help=True)

_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the witness.")]
_PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help="A file with the passphrase of its keys; else CHOPMARK_PASSPHRASE_FILE names it."
    ),
]
_Logs = Annotated[
    list[str] | None, typer.Option("--log", metavar="VKEY", help="A log to witness; may be given several times.")
]


@witness.callback()
def _witness() -> None:
    """Run a witness for the logs of others."""


@witness.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    name: Annotated[str, typer.Option("--name", metavar="N", help="Its name, such as cn-sh.example/witness.")],
    log_vkeys: _Logs = None,
    passphrase_file: _PassphraseFile = None,
) -> None:
    """Make a witness with new keys, and print the vkeys that logs put into their policies."""
    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415

    from chopmark_ledger.witness.witness_folder import init_witness  # noqa: PLC0415

    for vkey in init_witness(folder, name, read_passphrase(passphrase_file), logs=log_vkeys or ()):
        typer.echo(vkey)


@witness.command()
def serve(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The folder of the witness; made if it is not there.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="Its name; needed with the first start.")
    ] = None,
    logs: _Logs = None,
    passphrase_file: _PassphraseFile = None,
    host: Annotated[str | None, typer.Option("--host", metavar="H", help="The address to listen at.")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="P", help="The port; 0 takes a free one.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; else DIR/witness.toml.")
    ] = None,
    connections: Annotated[int | None, typer.Option(help="Connections that are served at a time.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    check_settings: Annotated[
        bool, typer.Option("--check-settings", hidden=True, help="Check the settings, and end.")
    ] = False,
) -> None:
    """Serve a witness until SIGTERM or Ctrl-C, and print its vkeys before.

    The first start makes it, with new keys. Each option may also be given as CHOPMARK_WITNESS_<NAME>, or in the file
    of settings.
    """
    flags = dict(locals())
    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415
    from chopmark_service.server import serve as serve_application  # noqa: PLC0415
    from chopmark_service.settings import read_settings_of  # noqa: PLC0415

    from chopmark_ledger.witness.witness_folder import prepare_witness  # noqa: PLC0415
    from chopmark_ledger.witness.witness_settings import WitnessServiceSettings  # noqa: PLC0415

    flags.pop("config")
    flags.pop("check_settings")
    settings = read_settings_of(WitnessServiceSettings, flags, name="witness", config=config)
    if check_settings:
        return
    configuration = prepare_witness(
        settings.data,
        name=settings.name,
        logs=settings.logs,
        passphrase=lambda: read_passphrase(settings.passphrase_file),
    )
    for vkey in configuration.vkeys:
        typer.echo(vkey)
    serve_application(
        "chopmark_ledger.witness.witness_service:make_application",
        settings,
        connections=settings.connections,
        stop_within=60,
    )


@witness.command()
def vkeys(folder: _Folder) -> None:
    """Print the vkeys of a witness, for the policies of logs: Ed25519, then ML-DSA-44."""
    from chopmark_ledger.witness.witness_folder import witness_vkeys  # noqa: PLC0415

    for vkey in witness_vkeys(folder):
        typer.echo(vkey)


@witness.command("add-log")
def add_log_command(
    folder: _Folder,
    vkey: Annotated[str, typer.Argument(metavar="VKEY", help="The key of the log: name+hash+base64.")],
) -> None:
    """Let the witness cosign for one more log, or know one by one more key. A service that runs takes it up."""
    from chopmark_ledger.witness.witness_folder import add_log  # noqa: PLC0415

    add_log(folder, vkey)


@witness.command()
def status(folder: _Folder) -> None:
    """Print what the witness cosigned last of each log, and the evidence it keeps. Exits 1 on a fork or damage."""
    from chopmark.cli.plain_text import plain  # noqa: PLC0415

    from chopmark_ledger.witness.witness_status import witness_status  # noqa: PLC0415

    found = witness_status(folder)
    for line in found.lines:
        typer.echo(plain(line))
    if found.is_alarming:
        raise typer.Exit(1)
