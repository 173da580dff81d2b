"""Watches over a child that is ready: whether it still answers, asked now and then in a thread of its own.

A child that hangs ends never, and nobody would start it anew. It counts as hung after it answered none of several asks
in a row, each of which waited as long as the next one was away. So a busy machine has minutes to answer one of them;
and a tree that was itself stopped for an hour, and goes on, has missed one ask and not an hour of them.

What it answers does not matter, nor whether it is ready for work: a service that refuses is alive. One whose every
connection is held by somebody answers nobody, and is started anew like one that hangs.
"""

from __future__ import annotations

import threading

from chopmark_service.child_process import AnswersReady


class ChildWatch:
    """Asks one process, until it is closed.

    Args:
        ready: where it answers.
        every: seconds between two asks, and that each may take.
        most: asks in a row without an answer, after which it is hung.
    """

    def __init__(self, ready: AnswersReady, *, every: float, most: int) -> None:
        self._ready = ready
        self._every = every
        self._most = most
        self._missed = 0
        self._closing = threading.Event()
        threading.Thread(target=self._run, name="child-watch", daemon=True).start()

    @property
    def is_hung(self) -> bool:
        """Whether it has answered none of the last asks."""
        return self._missed >= self._most

    def close(self) -> None:
        """Ask no longer; one that is on its way ends by itself."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            self._missed = 0 if self._ready.answers(within=self._every) else self._missed + 1
