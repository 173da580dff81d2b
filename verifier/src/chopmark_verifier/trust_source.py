"""Where the service has its trust store from: a folder that this process or another keeps up to date.

What it hands out never changes; another store takes its place when something was taken. Verdicts go on with what there
is when a source is away, older or wrong.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from chopmark.cli.pins import open_store
from chopmark.client.refresher import Interval, Refresher, RefreshStatus
from chopmark.errors import ChopmarkError
from chopmark.trust_store import TrustStore
from chopmark_service import telemetry

from chopmark_verifier.service_settings import VerifierSettings

_SHORTEST = 5.0
"""Seconds until a source that was away is asked again, at first: it may be starting just as this service is."""
_LOOK_EVERY = 5.0
"""Seconds between two looks at the folder where another process refreshes it."""


class TrustSource(Protocol):
    """Hands out the newest verified store."""

    @property
    def store(self) -> TrustStore:
        """It never changes."""
        ...

    def start(self) -> None:
        """Begin to keep it up to date."""
        ...

    def close(self) -> None:
        """End that."""
        ...


def open_trust_source(settings: VerifierSettings, *, clock: Callable[[], float] = time.time) -> TrustSource:
    """Open the trust store, verify all of it, and prepare to keep it up to date.

    Raises:
        StorageError: there is no store, or a file cannot be read.
        TrustError: the store's home data is damaged or rolled back.
        FormatError: a source that is none.
    """
    store = open_store(settings.trust, roots=settings.roots)
    if not settings.refresh:
        return WatchedFolder(store)
    longest = settings.refresh_interval
    interval = Interval(shortest=min(_SHORTEST, longest), longest=longest)
    return Refresher(store, settings.sources(), interval=interval, clock=clock, on_round=RefreshLog())


class WatchedFolder:
    """A trust store that another process keeps up to date; nothing is fetched.

    Args:
        store: opened by the caller, who uses it no longer.
    """

    def __init__(self, store: TrustStore) -> None:
        self._own = store
        self._store = store.snapshot()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def store(self) -> TrustStore:
        """The newest verified store."""
        return self._store

    def start(self) -> None:
        """Begin to look at the folder, in a thread."""
        self._thread = threading.Thread(target=self._run, name="trust-folder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no longer."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Take what another process has put; where it must not be used, what there was stays."""
        try:
            if self._own.catch_up():
                self._store = self._own.snapshot()
        except ChopmarkError as error:
            telemetry.get_logger("trust").error("not_taken", problem=str(error))

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_EVERY):
            self.look()


@dataclass(frozen=True, slots=True)
class ListAge:
    """A status list that the home region or a peer publishes, and how old ours is; None where there is none."""

    uri: str
    issuer: str
    issued: int | None
    expires: int | None


def trust_status(source: TrustSource, *, at: int) -> dict[str, Any]:
    """What the service knows of each region, and how old it is; it names no path of this machine.

    Args:
        source: of the store.
        at: POSIX seconds.
    """
    store = source.store
    return {
        "home": store.home_region,
        "at": at,
        "clock_floor": store.clock_floor,
        "damaged": len(store.problems),
        "regions": [_region_status(store, region, at) for region in store.regions],
        "refresh": _refresh_status(source),
    }


def list_ages(store: TrustStore, region: str) -> Iterable[ListAge]:
    """The status lists of a region."""
    bundle = store.bundle(region)
    for listed in bundle.contents.status_lists if bundle is not None else ():
        token = store.status_list(listed.uri)
        issued, expires = (None, None) if token is None else (token.issued_at, token.expires)
        yield ListAge(listed.uri, listed.issuer, issued, expires)


def _region_status(store: TrustStore, region: str, at: int) -> dict[str, Any]:
    bundle = store.bundle(region)
    assert bundle is not None  # noqa: S101 - `regions` are those whose bundle is there
    logs = []
    for log in bundle.contents.logs:
        file = store.landmark_file(log.origin)
        last = next(file.records_from(len(file) - 1), None) if file is not None and len(file) else None
        logs.append(
            {
                "origin": log.origin,
                "landmarks": 0 if file is None else len(file),
                "landmark_end": 0 if last is None else last.end,
                "witnessed_time": None if last is None else last.witnessed_time,
            }
        )
    return {
        "region": region,
        "name": {"zh-Hans": bundle.contents.name.zh_hans, "en": bundle.contents.name.en},
        "seq": bundle.seq,
        "issued": bundle.issued,
        "age": at - bundle.issued,
        "state": bundle.age_state(at).value.replace(" ", "_"),
        "logs": logs,
        "status_lists": [
            {
                "uri": each.uri,
                "issuer": each.issuer,
                "issued": each.issued,
                "age": None if each.issued is None else at - each.issued,
                "expired": each.expires is not None and at >= each.expires,
            }
            for each in list_ages(store, region)
        ],
    }


def _refresh_status(source: TrustSource) -> dict[str, Any] | None:
    if not isinstance(source, Refresher):
        return None
    found = source.status()
    return {
        "rounds": found.rounds,
        "finished": found.finished,
        "due": found.due,
        "failing": bool(found.problems),
        "regions": [
            {"region": each.region, "reached": each.reached, "changed": each.changed, "problems": len(each.problems)}
            for each in found.regions
        ],
    }


class RefreshLog:
    """Tells the log of events which problems a region's source begins and ceases to have. For one thread at a time."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, ...]] = {}

    def __call__(self, found: RefreshStatus) -> None:
        """Tell what changed with a round."""
        logger = telemetry.get_logger("trust")
        for region, problems in [*((each.region, each.problems) for each in found.regions), ("", found.problems)]:
            before = self._told.get(region, ())
            if problems and problems != before:
                logger.warning("not_refreshed", region=region or None, problems=list(problems))
            elif before and not problems:
                logger.info("refreshed_again", region=region or None)
            self._told[region] = problems
