"""The commands `chopmark witness …`. Heavy modules are imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

witness = typer.Typer(help="Run a witness for the logs of others.", no_args_is_help=True)


@witness.callback()
def _witness() -> None:
    """Run a witness for the logs of others."""


@witness.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    name: Annotated[str, typer.Option("--name", metavar="N", help="Its name, such as cn-sh.example/witness.")],
    log_vkeys: Annotated[
        list[str] | None, typer.Option("--log", metavar="VKEY", help="A log to witness; may be given several times.")
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file",
            help="A file with the passphrase of its keys; else CHOPMARK_PASSPHRASE_FILE names it.",
        ),
    ] = None,
) -> None:
    """Make a witness with new keys, and print the vkeys that logs put into their policies."""
    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415

    from chopmark_ledger.witness_folder import init_witness  # noqa: PLC0415

    for vkey in init_witness(folder, name, read_passphrase(passphrase_file), logs=log_vkeys or ()):
        typer.echo(vkey)


@witness.command("add-log")
def add_log_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the witness.")],
    vkey: Annotated[str, typer.Argument(metavar="VKEY", help="The key of the log: name+hash+base64.")],
) -> None:
    """Let the witness cosign for one more log."""
    from chopmark_ledger.witness_folder import add_log  # noqa: PLC0415

    add_log(folder, vkey)
