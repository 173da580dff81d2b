"""Timing in rounds that alternate between what is measured and what it is measured against.

A machine drifts: its clock rate, its caches, its neighbours. So the contenders of one comparison take turns,
A B C A B C …, in one run; a ratio is the median of the ratios within each turn, where both saw the same machine.
The first turn warms up and is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Input = TypeVar("Input")


@dataclass(frozen=True, slots=True)
class Contender:
    """One thing to be timed: `run` does one round and answers the seconds that one operation took."""

    name: str
    run: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Series:
    """What the rounds of one contender took, in seconds per operation, in the order of the turns."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The usual round."""
        return statistics.median(self.samples)

    @property
    def minimum(self) -> float:
        """The least disturbed round."""
        return min(self.samples)

    def ratio(self, base: Series) -> float:
        """How many times as long as `base`: the median over the turns."""
        return statistics.median(mine / other for mine, other in zip(self.samples, base.samples, strict=True))

    def excess(self, base: Series) -> Series:
        """What each turn took above `base`."""
        return Series(tuple(mine - other for mine, other in zip(self.samples, base.samples, strict=True)))


def repeated(operation: Callable[[], object], times: int) -> Callable[[], float]:
    """A round that does the same `times` times."""

    def run() -> float:
        turns = range(times)
        started = time.perf_counter()
        for _ in turns:
            operation()
        return (time.perf_counter() - started) / times

    return run


def over(prepare: Callable[[], Callable[[Input], object]], inputs: Sequence[Input]) -> Callable[[], float]:
    """A round that does each of `inputs` once, with an operation prepared before the clock starts."""

    def run() -> float:
        operation = prepare()
        started = time.perf_counter()
        for item in inputs:
            operation(item)
        return (time.perf_counter() - started) / len(inputs)

    return run


def alternate(contenders: Sequence[Contender], *, rounds: int) -> list[Series]:
    """Let the contenders take turns, `rounds` times after one that is not counted."""
    samples: list[list[float]] = [[] for _ in contenders]
    for turn in range(rounds + 1):
        for contender, taken in zip(contenders, samples, strict=True):
            seconds = contender.run()
            if turn:
                taken.append(seconds)
    return [Series(tuple(taken)) for taken in samples]
