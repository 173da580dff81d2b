"""A trust store that keeps itself up to date while it is used.

A thread visits the sources of home and peers (`chopmark.refresh`), puts what is good into its own store, and hands out
a snapshot: readers take `Refresher.store` once for each thing they judge, and what they have does not change under
them. Another process may bring the same folder up to date; what it put is found at the next round.

How soon the next round comes follows from what the store holds: when the first bundle is due or the first status list
outlives its `ttl`, but no sooner and no later than an `Interval` says. While sources are away, wrong, or publish
nothing new though it is due, the pauses double from the shortest to the longest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from secrets import SystemRandom
from typing import Final

from chopmark.client.bounded_http import Bounds
from chopmark.client.entity_tags import EntityTags
from chopmark.client.published_files import BOUNDS, VISIT_SECONDS
from chopmark.client.region_sources import RegionSources
from chopmark.errors import ChopmarkError, StorageError
from chopmark.refresh import Refreshed, refresh_all
from chopmark.trust_store import TrustStore

_LOOK: Final = 30.0
"""Seconds after which a waiting thread looks at the clock again, which may have been set meanwhile."""
_MOST_DOUBLINGS: Final = 16


@dataclass(frozen=True, slots=True)
class Interval:
    """Seconds between two rounds, both positive.

    Attributes:
        shortest: no two rounds are closer.
        longest: status lists and landmark files are published whenever something happens, and wait for no `ttl`.
    """

    shortest: float = 60.0
    longest: float = 900.0


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """How it stands with one region's source.

    Attributes:
        region: its code.
        url: the prefix of its published files; None where it has none.
        reached: when a round last came to its end there, POSIX seconds; None for never.
        changed: when something was last taken, POSIX seconds; None for never.
        problems: of the last round.
    """

    region: str
    url: str | None
    reached: int | None
    changed: int | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefreshStatus:
    """How it stands with all of them.

    Attributes:
        rounds: how many were made.
        finished: when the last ended, POSIX seconds; None before the first.
        due: when the next begins, POSIX seconds; None before the first.
        regions: home first; empty before the first.
        problems: what concerns no region: the folder cannot be read, say.
    """

    rounds: int
    finished: int | None
    due: int | None
    regions: tuple[RegionStatus, ...]
    problems: tuple[str, ...]


class Refresher:
    """Keeps a trust store up to date in a thread of its own.

    Args:
        store: opened by the caller, who puts nothing into it from here on; `store` hands out what is newest.
        sources: URL prefixes of published files by region; a peer not among them is reached by the `bundle_url` that
            the home bundle gives.
        interval: how far apart rounds are.
        clock: POSIX seconds.
        jitter: answers a factor for each pause, so that many verifiers do not ask at one moment.
        on_round: is told how it stands after each round, in the thread that made it; to log it, say.
        bounds: the time for one file.
        seconds: for all requests to one region in one round.
    """

    def __init__(
        self,
        store: TrustStore,
        sources: Mapping[str, str],
        *,
        interval: Interval = Interval(),
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] | None = None,
        on_round: Callable[[RefreshStatus], object] | None = None,
        bounds: Bounds = BOUNDS,
        seconds: float = VISIT_SECONDS,
    ) -> None:
        self._own = store
        self._store = store.snapshot()
        self._sources = dict(sources)
        self._interval = interval
        self._clock = clock
        self._jitter = jitter or (lambda: SystemRandom().uniform(0.9, 1.1))
        self._on_round = on_round
        self._bounds = bounds
        self._seconds = seconds
        self._tags = EntityTags.load(store.folder)
        self._fruitless = 0
        self._status = RefreshStatus(0, None, None, (), ())
        self._visiting: RegionSources | None = None
        self._one_round = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def store(self) -> TrustStore:
        """The newest verified store. It never changes; another one takes its place when something was taken."""
        return self._store

    def status(self) -> RefreshStatus:
        """How it stands; costs nothing."""
        return self._status

    def start(self) -> None:
        """Begin: the first round at once, in a thread. A second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)
            self._thread.start()

    def close(self, patience: float = 5.0) -> None:
        """End: no further request is sent. A request that is on its way is waited for so many seconds.

        The thread holds up the end of the process no longer: the store is whole at every moment.
        """
        self._closing.set()
        visiting = self._visiting
        if visiting is not None:
            visiting.give_up()
        if self._thread is not None:
            self._thread.join(patience)

    def refresh(self) -> RefreshStatus:
        """Make one round now, in the calling thread, and answer how it stands; the thread makes them by itself."""
        with self._one_round:
            now = int(self._clock())
            problems: list[str] = []
            try:
                self._own.catch_up()
            except ChopmarkError as error:
                problems.append(str(error))
            with closing(RegionSources(self._sources, tags=self._tags, bounds=self._bounds, seconds=self._seconds)) as (
                sources
            ):
                self._visiting = sources
                if self._closing.is_set():
                    sources.give_up()
                done = refresh_all(self._own, sources.source_of, now=now, named=self._sources)
                self._visiting = None
                regions = self._regions(done, sources, now)
            if self._own.changes != self._store.changes:
                self._store = self._own.snapshot()
            with suppress(StorageError):  # without its tags the next process fetches some files once more
                self._tags.save(self._own.folder)
            taken = any(report.taken for report in done.values())
            failed = bool(problems) or any(report.problems for report in done.values())
            pause = self._pause(now, failed=failed, taken=taken)
            finished = int(self._clock())
            self._status = RefreshStatus(
                self._status.rounds + 1, finished, finished + round(pause), regions, tuple(problems)
            )
        if self._on_round is not None:
            self._on_round(self._status)
        return self._status

    def _regions(self, done: dict[str, Refreshed], sources: RegionSources, now: int) -> tuple[RegionStatus, ...]:
        before = {status.region: status for status in self._status.regions}
        regions = []
        for region, report in done.items():
            last = before.get(region) or RegionStatus(region, None, None, None, ())
            regions.append(
                replace(
                    last,
                    url=sources.url_of(region),
                    reached=last.reached if report.away else now,
                    changed=now if report.taken else last.changed,
                    problems=tuple(report.problems),
                )
            )
        return tuple(regions)

    def _pause(self, now: int, *, failed: bool, taken: bool) -> float:
        shortest, longest = self._interval.shortest, self._interval.longest
        wanted = (due_at(self._own) or now) - now
        if failed or (wanted <= 0 and not taken):
            pause = min(shortest * (1 << min(self._fruitless, _MOST_DOUBLINGS)), longest)
            self._fruitless += 1
        else:
            pause = min(max(wanted, shortest), longest)
            self._fruitless = 0
        return pause * self._jitter()

    def _stumbled(self, error: Exception) -> None:
        finished = int(self._clock())
        self._status = replace(
            self._status,
            finished=finished,
            due=finished + round(self._interval.longest),
            problems=(f"the round was broken off by a fault of this program: {type(error).__name__}: {error}",),
        )

    def _run(self) -> None:
        while not self._closing.is_set():
            due = self._status.due
            left = 0.0 if due is None else due - self._clock()
            # A clock that was set back must not stop the rounds.
            if left <= 0 or left > 2 * self._interval.longest:
                try:
                    self.refresh()
                except Exception as error:  # a fault of ours must not end what keeps verdicts fresh
                    self._stumbled(error)
            else:
                self._closing.wait(min(left, _LOOK))


def due_at(store: TrustStore) -> int | None:
    """When the first bundle or status list wants to be fetched again, POSIX seconds; None for an empty store."""
    times = []
    for region in store.regions:
        bundle = store.bundle(region)
        if bundle is None:
            continue
        times.append(bundle.refresh_after)
        for source in bundle.contents.status_lists:
            token = store.status_list(source.uri)
            if token is not None:
                times.append(token.issued_at + min(token.ttl, source.ttl))
    return min(times, default=None)
