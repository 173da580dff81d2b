"""Answers of another thread, handed to the event loop many at a time.

`asyncio.wrap_future` wakes the loop for each future by itself, a system call each. The sequencer answers all batches of
one commit at once, so here the first of them wakes the loop and the others come along.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")


class Handoff:
    """Waits for futures of other threads within the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()

    async def wait(self, future: Future[_T]) -> _T:
        """The result of a future, or its exception; a wait that is cancelled lets the future go on."""
        waiting: asyncio.Future[_T] = self._loop.create_future()
        future.add_done_callback(lambda done: self._hand_over(waiting, done))
        return await waiting

    def _hand_over(self, waiting: asyncio.Future[Any], done: Future[Any]) -> None:
        """Called by whatever thread answers."""
        self._ready.append((waiting, done))
        if len(self._ready) == 1:  # else the one that came before has woken the loop, which takes all there are
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        while self._ready:
            waiting, done = self._ready.popleft()
            if waiting.done():
                continue  # cancelled
            error = asyncio.CancelledError() if done.cancelled() else done.exception()
            if error is None:
                waiting.set_result(done.result())
            else:
                waiting.set_exception(error)
