"""The command that writes the policy of a log. Heavy modules are imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MAX_KEYS_FILE = 16 * 1024
"""Of the two keys of a witness, which take some 2 KB."""


def policy(
    place: Annotated[
        str, typer.Argument(metavar="DIR|URL", help="The data folder of a log, or the address of one that is served.")
    ],
    witnesses: Annotated[
        list[str],
        typer.Option(
            "--witness",
            metavar="URL=FILE",
            help="A witness: where it is served, and a file with what chopmark witness vkeys prints; repeatable.",
        ),
    ],
    quorum: Annotated[
        int | None,
        typer.Option("--quorum", metavar="K", help="How many operators must cosign; more than half if not given."),
    ] = None,
) -> None:
    """Print the tlog-policy of a log: its keys, its witnesses, and how many of their operators must cosign.

    Witnesses whose names share a host are those of one operator, which counts once. A witness of the log's own region
    is refused.
    """
    from chopmark_ledger.publication.policy_text import served_policy  # noqa: PLC0415
    from chopmark_ledger.service.log_states import log_vkeys  # noqa: PLC0415

    named: dict[str, list[str]] = {}
    for witness in witnesses:
        url, equals, file = witness.partition("=")
        if not equals or not file or not url.startswith(("http://", "https://")):
            raise typer.BadParameter(f"{witness[:200]!r} is not of the form URL=FILE")
        if url in named:
            raise typer.BadParameter(f"{url} is named twice")
        named[url] = _read_vkeys(Path(file))
    typer.echo(served_policy(log_vkeys(place), named, quorum), nl=False)


def _read_vkeys(path: Path) -> list[str]:
    from chopmark.durable_file import read_file  # noqa: PLC0415
    from chopmark.errors import FormatError, StorageError  # noqa: PLC0415

    data = read_file(path, max_size=_MAX_KEYS_FILE)
    if data is None:
        raise StorageError("there is no such file", where=str(path), remedy="Write what chopmark witness vkeys prints")
    try:
        return data.decode("ascii").split()
    except UnicodeDecodeError as error:
        raise FormatError("not a list of vkeys", where=str(path)) from error
