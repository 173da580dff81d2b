"""How far an import is: rows, rate and time left, as bars on a terminal or as plain lines elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

_WINDOW: Final = 30.0
"""Seconds over which a rate is taken: rows that are known already go by much faster than new ones."""
_EVERY: Final = 5.0
"""Seconds between two plain lines."""


class Pace:
    """How fast the rows of one step go, and how long the rest of them takes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._total = 0

    def note(self, done: int, total: int) -> None:
        """Say how many of how many rows are done."""
        now = self._clock()
        self._total = total
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Rows a second, of late; 0 where nothing can be said yet."""
        (begun, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - begun) if now > begun else 0.0

    def __str__(self) -> str:
        rate = self.rate
        if rate <= 0:
            return ""
        left = round((self._total - self._seen[-1][1]) / rate)
        return f"{rate:,.0f} rows/s, {_duration(left)} left"


class PlainProgress:
    """A line every few seconds; a context manager like its sibling."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._paces: dict[str, Pace] = {}
        self._told = clock()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to do."""

    def __call__(self, step: str, done: int, rows: int) -> None:
        """Hear how far it is."""
        pace = self._paces.setdefault(step, Pace(self._clock))
        pace.note(done, rows)
        if self._clock() - self._told < _EVERY:
            return
        self._told = self._clock()
        self._write(f"{step}: {done:,} of {rows:,} rows, {pace}".rstrip(", "))


class BarProgress:
    """A bar for each step, gone when the import has ended."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        self._bars = Progress(*columns, console=console, transient=True)
        self._clock = clock
        self._tasks: dict[str, tuple[TaskID, Pace]] = {}

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, step: str, done: int, rows: int) -> None:
        """Hear how far it is."""
        if step not in self._tasks:
            self._tasks[step] = (self._bars.add_task(step, total=rows, pace=""), Pace(self._clock))
        task, pace = self._tasks[step]
        pace.note(done, rows)
        self._bars.update(task, completed=done, pace=str(pace))


def _duration(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute:02} min"
    return f"{minute} min {second:02} s" if minute else f"{second} s"
