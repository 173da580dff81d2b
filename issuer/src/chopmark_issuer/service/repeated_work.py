"""Work that a service does again and again in a thread of its own: as soon as it is woken, and from time to time.

What fails is tried again after a pause that grows from a fifth of a second to a quarter of a minute, for as long as
it takes; whoever asks is told since when, and by which error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chopmark.errors import ChopmarkError
from chopmark_service import telemetry

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 15.0


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """How a loop is: when it was last done, and what keeps it from its work, since when (POSIX seconds)."""

    done_at: float | None = None
    problem: str | None = None
    since: float | None = None


class RepeatedWork:
    """Work that is done again and again in a thread of its own, until `close`.

    Args:
        name: of the thread, and of its lines in the log of events.
        work: does it; what it raises of ours is told, and it is tried again.
        every: seconds after which it is done even if nobody wakes it.
        apart: seconds between two rounds at least, however often it is woken.
        clock: answers POSIX seconds with fractions.
        first_pause: seconds after the first failure; doubled with each further one.
        longest_pause: seconds between two tries at most.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        *,
        every: float,
        apart: float = 0.0,
        clock: Callable[[], float] = time.time,
        first_pause: float = _FIRST_PAUSE,
        longest_pause: float = _LONGEST_PAUSE,
    ) -> None:
        self._name = name
        self._work = work
        self._every = every
        self._apart = apart
        self._clock = clock
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._status = LoopStatus()
        self._wanted = True
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with a first round at once."""
        self._thread.start()

    def wake(self) -> None:
        """Let it be done soon; at once, unless it pauses after a failure."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def status(self) -> LoopStatus:
        """How it is."""
        return self._status

    def close(self) -> None:
        """End after the round that is under way; doing so twice is harmless."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        logger = telemetry.get_logger(self._name)
        pause = self._first_pause
        while not self._closing:
            self._wanted = False
            try:
                self._work()
            except ChopmarkError as error:
                since = self._status.since or self._clock()
                if self._status.problem is None:
                    logger.warning("failed", problem=str(error), kind=type(error).__name__)
                self._status = LoopStatus(self._status.done_at, type(error).__name__, since)
                self._wait(pause, woken=False)
                pause = min(pause * 2, self._longest_pause)
            except Exception as error:
                logger.exception("fault", exc_info=error)
                self._status = LoopStatus(self._status.done_at, "fault", self._status.since or self._clock())
                self._wait(self._longest_pause, woken=False)
            else:
                if self._status.problem is not None:
                    logger.info("works_again")
                self._status = LoopStatus(self._clock())
                pause = self._first_pause
                self._wait(self._apart, woken=False)
                self._wait(self._every, woken=True)

    def _wait(self, seconds: float, *, woken: bool) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or (woken and self._wanted), timeout=seconds)
