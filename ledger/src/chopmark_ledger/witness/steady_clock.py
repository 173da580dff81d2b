"""A clock for a service that must not be dated ahead by a clock that jumps.

A cosignature dated a year ahead cannot be taken back: the witness could not cosign before that year is over. So the
clock of the system is compared with one that nobody sets. Where the two part by more than 300 seconds between two
looks, there is no time until they agree again, or the service is started anew by somebody who knows which is right.
Slow corrections, as of NTP, are followed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from chopmark_ledger.errors import WitnessClockError

TOLERANCE = 300
"""Seconds of a step that is followed: verifiers and logs allow for as much."""


def _since_boot() -> float:
    """Seconds that nobody sets; they go on while the machine sleeps, where the system tells."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SteadyClock:
    """Answers the time in POSIX seconds, unless the system's clock has jumped.

    Args:
        wall: the system's clock, in POSIX seconds.
        steady: a clock that nobody sets, in seconds since some moment.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _since_boot) -> None:
        self._wall = wall
        self._steady = steady
        self._mutex = threading.Lock()
        self._offset = wall() - steady()

    def __call__(self) -> int:
        """The time.

        Raises:
            WitnessClockError: the system's clock jumped.
        """
        with self._mutex:
            now = self._wall()
            offset = now - self._steady()
            jump = offset - self._offset
            if abs(jump) > TOLERANCE:
                raise WitnessClockError(
                    f"the clock jumped by {round(jump)} seconds",
                    where="clock",
                    remedy="Set it right; if it is right now, start the service again",
                )
            self._offset = offset
            return int(now)
