"""Answers of another thread, handed to the event loop many at a time.

`asyncio.wrap_future` wakes the loop for each future by itself, a system call each. The sequencer answers all batches of
one commit at once, so here the first of them wakes the loop and the others come along.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")


class Handoff:
    """Waits for futures of other threads within the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: list[tuple[asyncio.Future[Any], Future[Any]]] = []
        self._is_woken = False
        self._mutex = threading.Lock()

    async def wait(self, future: Future[_T]) -> _T:
        """The result of a future, or its exception; a wait that is cancelled lets the future go on."""
        waiting: asyncio.Future[_T] = self._loop.create_future()
        future.add_done_callback(lambda done: self._hand_over(waiting, done))
        return await waiting

    def _hand_over(self, waiting: asyncio.Future[Any], done: Future[Any]) -> None:
        """Called by whatever thread answers: the sequencer's, or the event loop's own for what is done already."""
        with self._mutex:
            self._ready.append((waiting, done))
            is_first, self._is_woken = not self._is_woken, True
        if is_first:  # else the loop was woken before, and takes this one too
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._mutex:
            taken, self._ready = self._ready, []
            self._is_woken = False  # what comes from here on wakes the loop again
        for waiting, done in taken:
            if waiting.done():
                continue  # cancelled
            error = asyncio.CancelledError() if done.cancelled() else done.exception()
            if error is None:
                waiting.set_result(done.result())
            else:
                waiting.set_exception(error)
