"""`chopmark trust refresh`: bring a trust store up to date from what home and peers publish on the web."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from chopmark.cli.exit_codes import ExitCode
from chopmark.cli.pins import open_store
from chopmark.cli.plain_text import plain, plain_json
from chopmark.errors import FormatError, MissingExtraError, StorageError
from chopmark.identifiers import REGION
from chopmark.reasons import duration
from chopmark.refresh import Refreshed, Source, Unchanged, refresh_all
from chopmark.strict import time_encode
from chopmark.trust_store import TrustStore


def refresh(
    folder: Annotated[Path, typer.Option("--trust", help="Folder of the trust store.", envvar="CHOPMARK_TRUST")] = Path(
        "trust"
    ),
    sources: Annotated[
        list[str],
        typer.Option(
            "--source",
            metavar="REGION=URL",
            help="Where a region publishes; your own is needed, peers are named by its bundle.",
            envvar="CHOPMARK_SOURCES",
        ),
    ] = [],  # noqa: B006 - Typer's way to say "may be left out"
    roots: Annotated[Path | None, typer.Option(help="The pinned root epoch, if not the one in the store.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Bring a trust store up to date from what your region and its peers publish on the web.

    Only what is new is fetched, and everything is verified before it is used; what is away, older or wrong is said, and
    leaves what was there. Exit code: 0 all well, 1 something was refused, away or has grown old, 3 could not try.
    """
    urls = dict(_named_source(text) for text in sources)
    store = open_store(folder, roots=roots)
    if store.home_region not in urls:
        raise FormatError(
            f"no source for your own region {store.home_region}",
            where="--source",
            remedy=f"Give --source {store.home_region}=URL, where it publishes bundle.note",
        )
    try:
        from chopmark.client.entity_tags import EntityTags  # noqa: PLC0415 - an extra: imported when used
        from chopmark.client.region_sources import RegionSources  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "fetching over HTTP needs urllib3", remedy="Install the extra: pip install 'chopmark[client]'"
        ) from error
    tags = EntityTags.load(folder)
    now = int(time.time())
    with closing(RegionSources(urls, tags=tags)) as reached, _progress() as show:

        def source_of(region: str, bundle_url: str | None) -> Source:
            return _Shown(reached.source_of(region, bundle_url), region, show)

        done = refresh_all(store, source_of, now=now, named=urls)
        places = {region: reached.url_of(region) for region in done}
    with suppress(StorageError):  # without its tags the next refresh fetches some files once more
        tags.save(folder)
    if as_json:
        typer.echo(plain_json(_as_json(store, done, places, now)))
    else:
        _print(store, done, places, now)
    # A source that shows nothing new for days is noticed by age alone.
    if any(report.problems for report in done.values()) or store.report(now):
        raise typer.Exit(ExitCode.INVALID)


def _named_source(text: str) -> tuple[str, str]:
    region, separator, url = text.partition("=")
    if not separator or REGION.fullmatch(region) is None or not url.startswith(("http://", "https://")):
        raise FormatError(f"{text[:200]!r} is not of the form REGION=URL", where="--source")
    return region, url


class _Shown:
    """A source whose requests are shown as they are made."""

    def __init__(self, source: Source, region: str, show: Callable[[str], None]) -> None:
        self._source = source
        self._region = region
        self._show = show

    def fetch(
        self, path: str, *, max_size: int, held: bytes | None = None, grows: bool = False
    ) -> bytes | Unchanged | None:
        self._show(f"{self._region}: {path}")
        return self._source.fetch(path, max_size=max_size, held=held, grows=grows)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is being fetched; nothing elsewhere."""
    console = Console(stderr=True, highlight=False, emoji=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("", spinner="line") as status:
        # As `Text`: in a bare string Rich would obey what stands in square brackets.
        yield lambda text: status.update(Text(plain(text)))


def _print(store: TrustStore, done: dict[str, Refreshed], places: dict[str, str | None], now: int) -> None:
    console = Console(highlight=False, emoji=False)
    for region, report in done.items():
        counts = (
            f"{len(report.taken)} files taken, {len(report.unchanged)} unchanged, "
            f"{len(report.problems)} refused or absent{'; away' if report.away else ''}"
        )
        console.print(plain(f"{region}, {places[region] or 'no source'}: {counts}"), markup=False, soft_wrap=True)
        for path in report.taken:
            console.print(plain(f"  + {path}"), markup=False, soft_wrap=True)
        for problem in report.problems:
            console.print(plain(f"  ! {problem}"), style="yellow", markup=False, soft_wrap=True)
        if ages := _ages(store, region, now):
            console.print(plain(f"  {ages}"), style="dim", markup=False, soft_wrap=True)
    for line in store.report(now):
        console.print(plain(f"! {line}"), style="yellow", markup=False, soft_wrap=True)


def _ages(store: TrustStore, region: str, now: int) -> str:
    """How old what the store holds of a region is."""
    bundle = store.bundle(region)
    if bundle is None:
        return ""
    issued = [token.issued_at for uri in _uris(store, region) if (token := store.status_list(uri)) is not None]
    text = f"bundle {bundle.seq} is {duration(max(now - bundle.issued, 0))} old"
    return f"{text}, the oldest status list {duration(max(now - min(issued), 0))}" if issued else text


def _as_json(store: TrustStore, done: dict[str, Refreshed], places: dict[str, str | None], now: int) -> dict[str, Any]:
    return {
        "home": store.home_region,
        "at": time_encode(now),
        "regions": [
            {
                "region": region,
                "source": places[region],
                "away": report.away,
                "taken": report.taken,
                "unchanged": report.unchanged,
                "problems": report.problems,
                **_held_as_json(store, region, now),
            }
            for region, report in done.items()
        ],
        "report": list(store.report(now)),
    }


def _held_as_json(store: TrustStore, region: str, now: int) -> dict[str, Any]:
    """What the store holds of a region, with ages in seconds."""
    bundle = store.bundle(region)
    if bundle is None:
        return {"bundle": None, "landmarks": [], "status_lists": []}
    files = [(log.origin, store.landmark_file(log.origin)) for log in bundle.logs]
    lists = [(uri, store.status_list(uri)) for uri in _uris(store, region)]
    return {
        "bundle": {"seq": bundle.seq, "issued": time_encode(bundle.issued), "age": max(now - bundle.issued, 0)},
        "landmarks": [{"origin": origin, "records": None if file is None else len(file)} for origin, file in files],
        "status_lists": [
            {"uri": uri, "issued": None, "age": None}
            if token is None
            else {"uri": uri, "issued": time_encode(token.issued_at), "age": max(now - token.issued_at, 0)}
            for uri, token in lists
        ],
    }


def _uris(store: TrustStore, region: str) -> list[str]:
    bundle = store.bundle(region)
    return [] if bundle is None else [source.uri for source in bundle.contents.status_lists]
