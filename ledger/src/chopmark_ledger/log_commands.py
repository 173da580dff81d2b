"""The commands `chopmark log …`. Heavy modules are imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chopmark_ledger.audit_commands import fsck, prove

log = typer.Typer(help="Check a log, or end a landmark interval.", no_args_is_help=True)
log.command()(fsck)
log.command()(prove)


@log.callback()
def _log() -> None:
    """Check a log, or end a landmark interval."""


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
