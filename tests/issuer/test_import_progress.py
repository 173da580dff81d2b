from __future__ import annotations

from io import StringIO

from chopmark_issuer.importing.import_progress import BarProgress, Pace, PlainProgress
from rich.console import Console


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_the_rate_is_that_of_late_and_the_time_left_follows_from_it() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert str(pace) == ""
    for second in range(1, 61):  # a minute of rows that are known, then one of new ones
        clock.time += 1
        pace.note(10_000 * second, 1_000_000)
    assert str(pace) == "10,000 rows/s, 40 s left"
    for second in range(1, 61):
        clock.time += 1
        pace.note(600_000 + 2_000 * second, 1_000_000)
    assert str(pace) == "2,000 rows/s, 2 min 20 s left"


def test_hours_are_told_without_seconds() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.time += 1
    pace.note(100, 1_000_000)
    assert str(pace) == "100 rows/s, 2 h 46 min left"


def test_without_a_terminal_a_line_is_told_every_few_seconds() -> None:
    clock, lines = Clock(), list[str]()
    with PlainProgress(lines.append, clock) as progress:
        progress("issuing", 0, 20_000)
        for tick in range(1, 25):
            clock.time += 0.5
            progress("issuing", 500 * tick, 20_000)
    assert lines == [
        "issuing: 5,000 of 20,000 rows, 1,000 rows/s, 15 s left",
        "issuing: 10,000 of 20,000 rows, 1,000 rows/s, 10 s left",
    ]


def test_a_short_import_tells_nothing_without_a_terminal() -> None:
    lines: list[str] = []
    with PlainProgress(lines.append, Clock()) as progress:
        progress("reading", 3, 3)
        progress("issuing", 3, 3)
    assert lines == []


def test_on_a_terminal_bars_show_the_same() -> None:
    clock, shown = Clock(), StringIO()
    console = Console(file=shown, force_terminal=True, width=120)
    with BarProgress(console, clock) as progress:
        progress("reading", 0, 20_000)
        clock.time += 10
        progress("reading", 10_000, 20_000)
    text = shown.getvalue()
    assert "10000/20000" in text
    assert "1,000 rows/s, 10 s left" in text
