"""The thread that publishes: the newest committed size, then the landmarks that are due, then word to those who wait.

    loop = PublicationLoop(log, publisher, landmarks, interval=0.2)
    sequencer = Sequencer(log, on_commit=loop.wake)
    loop.wait_for(size, timeout=30)

A commit is published at once, or as soon as `interval` is over since the last publication began; what was committed
meanwhile shares it. Without a quorum, or while a file cannot be written, it tries again by itself, at first soon, then
at longer and longer intervals. Landmarks are ended when they are due, also when nothing is committed. An error that
stops the log ends the loop.

Waiting is counted in monotonic time, and what is written in that of the log's clock, which may jump.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from chopmark.errors import ChopmarkError

from chopmark_ledger.errors import LogStoppedError, NotPublishedError
from chopmark_ledger.publication.cosigning import WitnessReport
from chopmark_ledger.publication.publisher import Publisher
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.store import Publication

FIRST_RETRY = 0.25
"""Seconds until the first new attempt after one that failed; each further one waits twice as long."""
LAST_RETRY = 8.0
"""Seconds between attempts at most: so soon a quorum that is back is used."""
LANDMARK_CHECK = 1.0
"""Seconds between looks at whether a landmark is due, while nothing else happens."""
CLOSING = 2.0
"""Seconds that `close` lets a publication go on before it no longer waits for witnesses."""


@dataclass(frozen=True, slots=True)
class PublicationStatus:
    """How publication stands; times are POSIX seconds by the log's clock, durations seconds.

    Args:
        committed: entries in the log.
        published: entries under the published checkpoint, 0 before the first.
        published_at: when that one was published, None before the first.
        witnessed_time: by when its quorum was met, None before the first.
        problem: why the last attempt failed, None while all is well.
        since: when attempts began to fail, None while all is well.
        failures: attempts that failed one after the other.
        retry_in: until the next attempt, None while all is well.
        publications: how many this process has made.
        last_duration: how long the last of them took, None before the first.
        witnesses: what is known of each witness.
        landmark_end: the first entry that no landmark covers.
        landmark_problem: why landmarks cannot be written, None while all is well.
        stopped_by: why the log stopped, None while it goes on.
        is_running: whether the loop runs.
    """

    committed: int
    published: int
    published_at: int | None
    witnessed_time: int | None
    problem: str | None
    since: int | None
    failures: int
    retry_in: float | None
    publications: int
    last_duration: float | None
    witnesses: tuple[WitnessReport, ...]
    landmark_end: int
    landmark_problem: str | None
    stopped_by: str | None
    is_running: bool

    @property
    def unpublished(self) -> int:
        """Entries that are committed and not yet published."""
        return self.committed - self.published


class PublicationLoop:
    """Publishes one log in a thread of its own, from now until it is closed.

    Args:
        log: an open log, with its key.
        publisher: publishes it; closed with the loop.
        landmarks: ends its landmark intervals.
        interval: seconds from the beginning of one publication to that of the next, at least.
    """

    def __init__(self, log: Log, publisher: Publisher, landmarks: Landmarks, *, interval: float) -> None:
        self._log = log
        self._publisher = publisher
        self._landmarks = landmarks
        self._interval = interval
        self._changed = threading.Condition()
        self._is_woken = True  # the first attempt finishes what an earlier process began
        self._is_closing = False
        self._has_begun = False
        self._ended_by: ChopmarkError | None = None
        self._waiting: dict[Future[Publication], tuple[int, bool]] = {}
        self._publication = _Attempts()
        self._landmark = _Attempts()
        self._publications = 0
        self._last_duration: float | None = None
        self._thread = threading.Thread(target=self._run, name="publication", daemon=True)
        self._thread.start()

    @property
    def has_heard(self) -> bool:
        """Whether a quorum of witnesses has said in this process what it holds of the log, and the log follows it."""
        return self._has_begun

    def wake(self) -> None:
        """Say that something was committed; returns at once."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def wait_for(self, size: int, timeout: float) -> bool:
        """Wait until at least `size` entries are published; False when `timeout` seconds or the loop end before."""
        with self._changed:
            self._changed.wait_for(lambda: self._published() >= size or self._ended_by is not None, timeout)
            return self._published() >= size

    def subscribe(self, size: int, *, once_heard: bool = False) -> Future[Publication]:
        """A future with the first publication of at least `size` entries; one that is cancelled is forgotten.

        With `once_heard` it waits for the witnesses to be heard too, also where so many were published before.

        Its error, when the loop ends before, is what stopped the log, or a `NotPublishedError` where it was closed:
        the next process will publish what is committed.
        """
        future: Future[Publication] = Future()
        with self._changed:
            publication, error = self._log.publication, self._ended_by
            is_there = publication is not None and publication.size >= size and (self._has_begun or not once_heard)
            if not is_there and error is None:
                self._waiting[future] = size, once_heard
                future.add_done_callback(self._forget)
                return future
        if is_there and publication is not None:
            future.set_result(publication)
        else:
            future.set_exception(error)
        return future

    def status(self) -> PublicationStatus:
        """How publication stands."""
        publication = self._log.publication
        attempts = self._publication
        return PublicationStatus(
            committed=self._log.size,
            published=publication.size if publication else 0,
            published_at=publication.published if publication else None,
            witnessed_time=publication.witnessed_time if publication else None,
            problem=attempts.problem,
            since=attempts.since,
            failures=attempts.failures,
            retry_in=attempts.remaining() if attempts.failures else None,
            publications=self._publications,
            last_duration=self._last_duration,
            witnesses=self._publisher.reports(),
            landmark_end=self._landmarks.file.end,
            landmark_problem=self._landmark.problem,
            stopped_by=self._log.stopped_by,
            is_running=self._ended_by is None,
        )

    def close(self, timeout: float = CLOSING) -> None:
        """End the loop, and the publisher with it; doing so twice is harmless.

        A publication that is under way has `timeout` seconds to finish. After that it waits for witnesses no longer,
        and the next process goes on where it was; a file is always whole or not there.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        self._publisher.close()
        self._thread.join()

    def _run(self) -> None:
        error: ChopmarkError = NotPublishedError(
            "the log is closing: what is committed will be published when it is opened again",
            where=self._log.identity.origin,
        )
        began = time.monotonic() - self._interval
        try:
            while self._next_turn(began):
                began = time.monotonic()
                self._attempt(self._publication, self._publish)
                self._attempt(self._landmark, self._end_landmarks)
                self._tell()
        except LogStoppedError as stopped:
            self._log.stop(stopped)
            error = stopped
        except BaseException as unforeseen:
            self._log.stop(unforeseen)
            error = LogStoppedError(f"publication ended: {unforeseen!r}", where=self._log.identity.origin)
            raise
        finally:
            self._end(error)

    def _next_turn(self, began: float) -> bool:
        """Wait until something is to be done: a commit, an attempt to be made again, a landmark.

        On closing, what was committed since gets one last turn, unless there is no hope; then False.
        """
        with self._changed:
            while not self._is_closing:
                now = time.monotonic()
                pause = self._publication.remaining() if self._publication.failures else began + self._interval - now
                if not (self._is_woken or self._publication.failures):
                    pause = max(pause, began + LANDMARK_CHECK - now)
                if pause <= 0:
                    self._is_woken = False
                    return True
                self._changed.wait(pause)
            is_last_turn = self._is_woken and not self._publication.failures
            self._is_woken = False
            return is_last_turn

    def _attempt(self, attempts: _Attempts, step: Callable[[], None]) -> None:
        """Do a step unless it is too early to try it again; only what stops the log gets out."""
        if attempts.remaining() > 0:
            return
        try:
            step()
        except LogStoppedError as error:
            attempts.failed(str(error), self._log.clock())
            raise
        except ChopmarkError as error:
            attempts.failed(str(error), self._log.clock())
        except Exception as error:
            # Whatever it is: each step begins anew from the database, and a thread that ended would tell nobody.
            attempts.failed(f"{type(error).__name__}: {error}", self._log.clock())
        else:
            attempts.succeeded()

    def _publish(self) -> None:
        self._log.check_running()
        before = self._log.publication
        if self._has_begun and not self._publication.failures and before and before.size == self._log.size:
            return
        began = time.monotonic()
        self._publisher.publish()
        self._publisher.sound_out()  # has happened, unless there was nothing new to publish
        self._has_begun = True
        if self._log.publication != before:
            self._publications += 1
            self._last_duration = time.monotonic() - began

    def _end_landmarks(self) -> None:
        # Not before the witnesses were heard once: a database from a backup would end intervals anew, in another way.
        if self._has_begun:
            self._landmarks.end_due(now=self._log.clock())

    def _tell(self) -> None:
        """Answer those who waited for what is published now."""
        publication = self._log.publication
        with self._changed:
            size = self._published()
            ready = [
                future
                for future, (wanted, once_heard) in self._waiting.items()
                if wanted <= size and (self._has_begun or not once_heard)
            ]
            self._changed.notify_all()
        for future in ready:
            if publication is not None and future.set_running_or_notify_cancel():
                future.set_result(publication)

    def _end(self, error: ChopmarkError) -> None:
        self._tell()
        with self._changed:
            self._ended_by = error
            left = list(self._waiting)
            self._changed.notify_all()
        for future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    def _forget(self, future: Future[Publication]) -> None:
        with self._changed:
            self._waiting.pop(future, None)

    def _published(self) -> int:
        publication = self._log.publication
        return publication.size if publication else 0


class _Attempts:
    """Attempts at one thing that may fail, and how long to wait before the next."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.since: int | None = None
        self.failures = 0
        self._next = 0.0

    def failed(self, problem: str, now: int) -> None:
        """Note a failure at `now` (POSIX seconds by the log's clock)."""
        if self.since is None:
            self.since = now
        self.problem = problem
        self._next = time.monotonic() + min(FIRST_RETRY * 2 ** min(self.failures, 30), LAST_RETRY)
        self.failures += 1

    def succeeded(self) -> None:
        """Note that all is well."""
        self.problem = self.since = None
        self.failures = 0
        self._next = 0.0

    def remaining(self) -> float:
        """Seconds until the next attempt, 0 where it may be made now."""
        return max(self._next - time.monotonic(), 0.0) if self.failures else 0.0
