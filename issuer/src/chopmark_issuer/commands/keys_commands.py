"""The commands `chopmark keys …`: the signing process.

Exit codes: 0 done, 2 a mistake on the command line, 3 it cannot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from chopmark.errors import ChopmarkError

keys = typer.Typer(
    help="Hold the private keys of a registry in a process of their own.", no_args_is_help=True, rich_markup_mode=None
)


@keys.callback()
def _keys() -> None:
    """Hold the private keys of a registry in a process of their own."""


@keys.command()
def serve(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder of the registry.", envvar="CHOPMARK_DATA")
    ] = Path("data"),
    socket: Annotated[
        Path | None, typer.Option("--socket", metavar="PATH", help="Where to listen; DIR/keys.sock if left out.")
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file",
            metavar="FILE",
            help="File with the passphrase of the keys; else CHOPMARK_PASSPHRASE_FILE names one.",
        ),
    ] = None,
    parent: Annotated[
        int | None, typer.Option(metavar="PID", help="End at once when this process is not the parent any more.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Sign for the registry until SIGTERM or Ctrl-C; who issues then needs no passphrase, and holds no key.

    Only processes of the same user are answered.
    """
    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415
    from chopmark_service.server import end_with_parent  # noqa: PLC0415
    from chopmark_service.telemetry import configure_logging  # noqa: PLC0415

    from chopmark_issuer.keys.keys import KeyFolder  # noqa: PLC0415
    from chopmark_issuer.keys.signing_process import SigningProcess  # noqa: PLC0415
    from chopmark_issuer.settings import KEY_FOLDER, KEY_SOCKET  # noqa: PLC0415

    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("debug, info, warning or error", param_hint="--log-level")
    configure_logging(log_level)
    try:
        folder = KeyFolder(data / KEY_FOLDER, read_passphrase(passphrase_file))
        if parent is not None:
            end_with_parent(parent)
        process = SigningProcess(folder, socket or data / KEY_SOCKET)
        process.stop_on_signals()
        process.serve()
    except ChopmarkError as error:
        typer.secho(f"chopmark: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(3) from error
