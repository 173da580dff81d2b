"""`chopmark trust`: make a trust store, bring it up to date from published folders, and look at what it holds.

`chopmark trust refresh`, which does so from the web, stands in `chopmark.cli.refresh`.
"""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chopmark.cli.exit_codes import ExitCode
from chopmark.cli.pins import open_store, read_root_epoch
from chopmark.cli.plain_text import plain
from chopmark.cli.refresh import refresh as refresh_command
from chopmark.durable_file import read_file
from chopmark.errors import ChopmarkError, StorageError, TrustError
from chopmark.limits import LIMITS
from chopmark.reasons import duration
from chopmark.refresh import Fetch, Refreshed, refresh
from chopmark.root_epoch import Roots
from chopmark.strict import time_encode
from chopmark.trust_bundle import TrustBundle
from chopmark.trust_store import TrustStore

_TABLE_WIDTH = 120
"""Columns that a region's line may take."""

trust = typer.Typer(
    help="Make a trust store, bring it up to date, look at what it holds.", no_args_is_help=True, rich_markup_mode=None
)

TrustOption = Annotated[Path, typer.Option("--trust", help="Folder of the trust store.", envvar="CHOPMARK_TRUST")]
FromOption = Annotated[
    list[Path], typer.Option("--from", metavar="FOLDER", help="What a region publishes; once for each region.")
]


@trust.command()
def init(
    roots: Annotated[Path, typer.Option(help="The root epoch of your own region, from a source you trust.")],
    folder: TrustOption = Path("trust"),
    sources: FromOption = [],  # noqa: B006 - Typer's way to say "may be left out"
) -> None:
    """Make a trust store that trusts your own region's roots, and fill it from published folders.

    Everything else follows from those roots: your region's bundle names the other regions. Compare the file's
    fingerprint, which is printed, with the one your region made public.
    """
    data = read_root_epoch(roots)
    pinned = Roots.pin(data)
    store = TrustStore.create(folder, roots=pinned)
    now = int(time.time())
    store.put_root(pinned.region, data, now=now)
    console = Console(highlight=False, emoji=False)
    console.print(f"home {pinned.region}, root epoch {pinned.epoch}, {len(pinned.verifiers)} keys, fingerprint:")
    console.print(_fingerprint(data))
    if sources:
        _update(console, store, sources, now)


@trust.command()
def update(
    sources: FromOption,
    folder: TrustOption = Path("trust"),
    roots: Annotated[Path | None, typer.Option(help="The pinned root epoch, if not the one in the store.")] = None,
) -> None:
    """Bring a trust store up to date from published folders.

    Everything is verified before it is used; what is older or wrong is refused, said, and leaves what was there.
    """
    _update(Console(highlight=False, emoji=False), open_store(folder, roots=roots), sources, int(time.time()))


trust.command("refresh")(refresh_command)


@trust.command()
def show(folder: TrustOption = Path("trust")) -> None:
    """Show what a trust store holds, and how old it is."""
    store = open_store(folder)
    console = Console(highlight=False, emoji=False)
    now = int(time.time())
    table = Table("region", "bundle", "issued", "age", "issuers", "types", "landmarks", "status lists", box=None)
    for region in store.regions:
        bundle = store.bundle(region)
        if bundle is not None:
            table.add_row(*_row(store, bundle, now))
    # A narrower terminal breaks the lines; here they would be cut, and a time without its end is another.
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(table)
    console.print(f"home {store.home_region}; it is later than {time_encode(store.clock_floor)}")
    for line in store.report(now):
        console.print(plain(f"! {line}"), style="yellow", markup=False)


def _row(store: TrustStore, bundle: TrustBundle, now: int) -> tuple[str, ...]:
    files = [store.landmark_file(log.origin) for log in bundle.logs]
    lists = [store.status_list(source.uri) for source in bundle.contents.status_lists]
    return (
        bundle.region,
        f"seq {bundle.seq}, epoch {bundle.epoch}",
        time_encode(bundle.issued),
        duration(max(now - bundle.issued, 0)),
        str(len(bundle.contents.issuers)),
        str(len(bundle.contents.types)),
        str(sum(len(file) for file in files if file is not None)),
        f"{sum(token is not None for token in lists)} of {len(lists)}",
    )


def _update(console: Console, store: TrustStore, sources: list[Path], now: int) -> None:
    homes: list[tuple[str, Path]] = []
    others: list[tuple[str, Path]] = []
    failed = False
    for source in dict.fromkeys(sources):
        try:
            region = _published_region(source)
        except ChopmarkError as error:
            _complain(console, str(error))
            failed = True
            continue
        (homes if region == store.home_region else others).append((region, source))
    # Home first, because its bundle names the others; home again at the end, because its log vouches for landmark
    # files of logs that only the others' bundles name.
    done: dict[tuple[str, Path], Refreshed] = {}
    for region, source in (*homes, *others, *homes):
        done[region, source] = refresh(store, region, folder_reader(source), now=now)
    for (region, source), taken in done.items():
        counts = f"{len(taken.taken)} files taken, {len(taken.problems)} refused or absent"
        console.print(plain(f"{region}, {source}: {counts}"), markup=False, soft_wrap=True)
        for problem in taken.problems:
            _complain(console, problem)
            failed = True
    if failed:
        raise typer.Exit(ExitCode.INVALID)


def _complain(console: Console, problem: str) -> None:
    console.print(plain(f"  ! {problem}"), style="yellow", markup=False, soft_wrap=True)


def folder_reader(folder: Path) -> Fetch:
    """Answers the published files in a folder, by their paths; what leads out of it is refused."""

    def fetch(path: str) -> bytes | None:
        wanted = folder.joinpath(*path.split("/"))
        try:
            inside = wanted.resolve().is_relative_to(folder.resolve())
        except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
            raise StorageError("it cannot be read: a link that leads nowhere", where=str(wanted)) from error
        if not inside:
            raise StorageError("outside of the published folder", where=str(wanted))
        return read_file(wanted, max_size=LIMITS.trust_file_size)

    return fetch


def _published_region(folder: Path) -> str:
    """Whose folder it is, by its first root epoch; nothing is trusted yet."""
    names = [file.stem for file in (folder / "root").glob("*.note") if file.stem.isascii() and file.stem.isdigit()]
    data = folder_reader(folder)(f"root/{min(names, key=int)}.note") if names else None
    if data is None:
        raise StorageError(
            "not what a region publishes: it has no root/<n>.note", where=str(folder), remedy="Name the folder `public`"
        )
    try:
        return Roots.pin(data).region
    except ChopmarkError as error:
        raise TrustError(f"its first root epoch is none: {error}", where=str(folder)) from error


def _fingerprint(data: bytes) -> str:
    digits = sha256(data).hexdigest()
    return " ".join(digits[start : start + 4] for start in range(0, 64, 4))
