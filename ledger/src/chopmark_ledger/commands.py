"""The commands `chopmark log …` and `chopmark witness …`. Heavy modules are imported when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

log = typer.Typer(help="Check a log, or end a landmark interval.", no_args_is_help=True)
witness = typer.Typer(help="Run a witness for the logs of others.", no_args_is_help=True)


@log.callback()
def _log() -> None:
    """Check a log, or end a landmark interval."""


@log.command()
def fsck(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with `checkpoint` and `tile/` in it.")],
    vkey: Annotated[str, typer.Option("--vkey", metavar="V", help="The key of the log: name+hash+base64.")],
    origin: Annotated[
        str | None, typer.Option("--origin", metavar="O", help="The origin to expect, if it is not the key's name.")
    ] = None,
) -> None:
    """Check every file of a log, ours or anybody's, against its signed checkpoint.

    The log's own signature is checked; whether enough witnesses cosigned is for a policy to say, and not asked here.

    Prints the size and the root hash. Exits 0 if everything is as it must be, 1 if not, naming each damage.
    """
    from chopmark.cli.plain_text import plain  # noqa: PLC0415
    from chopmark.strict import base64_encode  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from chopmark_ledger.fsck import fsck as check  # noqa: PLC0415

    output, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    with Progress(console=errors, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("entries", total=None)
        report = check(
            folder,
            vkey=vkey,
            origin=origin,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for remark in report.remarks:
        errors.print(plain(f"remark: {remark}"), markup=False)
    for damage in report.damage:
        output.print(plain(f"damaged: {damage.path}: {damage.what}"), style="red", markup=False)
    if report.root is not None:
        output.print(plain(f"origin {report.origin}"), markup=False)
        output.print(f"size {report.size}", markup=False)
        output.print(f"root {base64_encode(report.root)}", markup=False)
    output.print("sound" if report.is_sound else f"{len(report.damage)} damaged", markup=False)
    if not report.is_sound:
        raise typer.Exit(1)


@log.command()
def landmark(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data folder of the log.")],
) -> None:
    """End the present landmark interval now, under the checkpoint that is published.

    Licences logged up to there can then be printed with their path. Needs no key.
    """
    from rich.console import Console  # noqa: PLC0415

    from chopmark_ledger.client import system_clock  # noqa: PLC0415
    from chopmark_ledger.landmarks import Landmarks  # noqa: PLC0415
    from chopmark_ledger.log import Log  # noqa: PLC0415

    output = Console(highlight=False, soft_wrap=True)
    with Log.open(folder, clock=system_clock) as opened:
        landmarks = Landmarks(opened)
        records = landmarks.end_now(now=system_clock())
        for record in records:
            output.print(f"landmark [{record.start}, {record.end}) {record.hash.hex()}", markup=False)
        if not records:
            output.print("nothing was published since the last landmark")
        waiting = opened.size - landmarks.file.end
    if waiting:
        output.print(f"{waiting} entries wait for publication")


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
            "--passphrase-file", help="A file with the passphrase for its key; else CHOPMARK_PASSPHRASE_FILE names one."
        ),
    ] = None,
) -> None:
    """Make a witness with a new key, and print the vkey that logs put into their policies."""
    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415

    from chopmark_ledger.witness_folder import init_witness  # noqa: PLC0415

    typer.echo(init_witness(folder, name, read_passphrase(passphrase_file), logs=log_vkeys or ()))


@witness.command("add-log")
def add_log_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the witness.")],
    vkey: Annotated[str, typer.Argument(metavar="VKEY", help="The key of the log: name+hash+base64.")],
) -> None:
    """Let the witness cosign for one more log."""
    from chopmark_ledger.witness_folder import add_log  # noqa: PLC0415

    add_log(folder, vkey)
