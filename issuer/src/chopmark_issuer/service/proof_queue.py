"""Proofs of credentials, read from the region's log by one thread of their own: a log that is slow keeps nobody waiting
but those who ask for proofs, and of these only so many."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from chopmark.credential import Credential
from chopmark_ledger.errors import LogUnreachableError

MAX_WAITING: Final = 64
"""Requests that may wait; a proof takes milliseconds."""


class ProofQueue:
    """Makes proofs one after the other until it is closed.

    Args:
        is_log_away: whether the log is known not to answer; then one request at a time finds out whether that is still
            so, and all others are refused at once.
        waiting: requests that may wait, the one at work counted.
    """

    def __init__(self, is_log_away: Callable[[], bool], *, waiting: int = MAX_WAITING) -> None:
        self._is_log_away = is_log_away
        self._most = waiting
        self._waiting = 0
        self._mutex = threading.Lock()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="proofs")

    def submit(self, prove: Callable[[], Credential]) -> Future[Credential]:
        """Queue a proof; a future with what `prove` answers or raises.

        Raises:
            LogUnreachableError: too many wait, or one does while the log is away; nothing was queued.
        """
        with self._mutex:
            if self._waiting >= (1 if self._is_log_away() else self._most):
                raise LogUnreachableError("the log does not answer", remedy="Ask again a little later")
            self._waiting += 1
        try:
            future = self._threads.submit(prove)
        except RuntimeError as error:
            self._left()
            raise LogUnreachableError("the service is closing", remedy="Ask again once it runs") from error
        future.add_done_callback(lambda _: self._left())
        return future

    def close(self) -> None:
        """End the thread after the proof that is under way; what waits is cancelled."""
        self._threads.shutdown(cancel_futures=True)

    def _left(self) -> None:
        with self._mutex:
            self._waiting -= 1
