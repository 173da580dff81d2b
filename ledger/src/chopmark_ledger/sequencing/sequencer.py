"""Group commit: one thread that takes every batch which waits, and commits them together.

    sequencer = Sequencer(log, on_commit=loop.wake)
    answer = sequencer.submit(Submission(client, 7, entries)).result()

A commit costs an fsync whatever its size, so batches that arrive while one is under way share the next. A future is
answered only when its batch is durable.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from chopmark_ledger.batch import BatchAnswer, Submission
from chopmark_ledger.errors import BackpressureError, BatchError, LogStoppedError
from chopmark_ledger.sequencing.log import Log

_RETRY_AFTER = 1
"""Seconds a client should wait when the queue is full: it is worked off in two or three."""
_RETRY_AFTER_CLOSING = 5
"""Seconds a client should wait when the log is closing: a restart takes that long."""


@dataclass(frozen=True, slots=True)
class SequencerLimits:
    """How much may wait, and how much one transaction takes."""

    waiting_entries: int = 100_000
    """Entries that may wait: two or three seconds of work."""
    waiting_bytes: int = 64 * 1024 * 1024
    """Their bytes, which bound the memory that waits."""
    group_entries: int = 20_000
    """Entries of one transaction, unless a single batch has more: publication waits while it runs."""
    group_bytes: int = 32 * 1024 * 1024
    """Their bytes."""


DEFAULT_LIMITS = SequencerLimits()


@dataclass(frozen=True, slots=True)
class _Waiting:
    submission: Submission
    bytes: int
    future: Future[BatchAnswer]

    @property
    def entries(self) -> int:
        return len(self.submission.entries)


class Sequencer:
    """Appends to one log, in a thread of its own, until it is closed.

    Args:
        log: an open log.
        on_commit: called in that thread after each commit that added entries, when its futures are answered; it must
            return at once.
        limits: how much may wait.
    """

    def __init__(
        self, log: Log, *, on_commit: Callable[[], None] = lambda: None, limits: SequencerLimits = DEFAULT_LIMITS
    ) -> None:
        self._log = log
        self._on_commit = on_commit
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._entries = 0
        self._bytes = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self._thread.start()

    @property
    def waiting_entries(self) -> int:
        """Entries that wait for their commit to begin."""
        return self._entries

    def submit(self, submission: Submission) -> Future[BatchAnswer]:
        """Queue a batch.

        Returns:
            A future with what `Log.append` answers or raises. One that is cancelled while it waits is left out.

        Raises:
            BackpressureError: too much waits already, or the sequencer is closing; nothing was queued.
            LogStoppedError: the log stopped.
        """
        new = _Waiting(submission, submission.byte_count, Future())
        with self._changed:
            if self._closing:
                self._log.check_running()
                raise BackpressureError(
                    "the log is closing",
                    retry_after=_RETRY_AFTER_CLOSING,
                    where=self._log.identity.origin,
                    remedy="Send the batch again once it runs",
                )
            if self._waiting and (
                self._entries + new.entries > self._limits.waiting_entries
                or self._bytes + new.bytes > self._limits.waiting_bytes
            ):
                raise BackpressureError(
                    f"{self._entries:,} entries wait to be committed",
                    retry_after=_RETRY_AFTER,
                    where=self._log.identity.origin,
                    remedy="Send the batch again a little later",
                )
            self._waiting.append(new)
            self._entries += new.entries
            self._bytes += new.bytes
            self._changed.notify()
        return new.future

    def close(self) -> None:
        """Refuse what comes from now on, answer what waits, and end the thread; doing so twice is harmless."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._work_is_left():
                group = self._next_group()
                if group:
                    self._commit(group)
        except BaseException as error:  # whatever it is: batches that wait for ever would be worse
            self._log.stop(error)
            self._refuse_all(group)

    def _work_is_left(self) -> bool:
        """Wait for work; answers False once closed and worked off."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return bool(self._waiting)

    def _next_group(self) -> list[_Waiting]:
        """Take as much as one transaction may hold, without what was cancelled."""
        group: list[_Waiting] = []
        entries = size = 0
        with self._changed:
            while self._waiting:
                new = self._waiting[0]
                entries += new.entries
                size += new.bytes
                if group and (entries > self._limits.group_entries or size > self._limits.group_bytes):
                    break
                self._waiting.popleft()
                self._entries -= new.entries
                self._bytes -= new.bytes
                if new.future.set_running_or_notify_cancel():
                    group.append(new)
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        size = self._log.size
        try:
            answers = self._log.append_all([each.submission for each in group])
        except Exception as error:
            for each in group:
                each.future.set_exception(error)
            return
        for each, answer in zip(group, answers, strict=True):
            if isinstance(answer, BatchError):
                each.future.set_exception(answer)
            else:
                each.future.set_result(answer)
        if self._log.size != size:
            self._on_commit()

    def _refuse_all(self, group: list[_Waiting]) -> None:
        """Tell everybody who is not answered yet that the log stopped."""
        with self._changed:
            self._closing = True
            group += [each for each in self._waiting if each.future.set_running_or_notify_cancel()]
            self._waiting.clear()
            self._entries = self._bytes = 0
        try:
            self._log.check_running()
        except LogStoppedError as stopped:
            for each in group:
                if not each.future.done():
                    each.future.set_exception(stopped)
