"""The commands that check a log from outside, as anybody may: `chopmark log fsck`.

Heavy modules are imported when a command runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


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
