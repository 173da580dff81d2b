"""What a group of measurements found, as Markdown; every figure in `bench/RESULTS.md` is written by this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.rounds import Series

MICRO = 1e6
MILLI = 1e3


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns, and its rows as text."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Append a row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells in a table of {len(self.columns)} columns")
        self.rows.append(cells)

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


@dataclass(frozen=True, slots=True)
class Group:
    """One chapter of the report: tables, each with what it says before and after it."""

    title: str
    parts: list[str | Table] = field(default_factory=list)

    def add(self, part: str | Table) -> None:
        """Append a paragraph or a table."""
        self.parts.append(part)

    def markdown(self) -> str:
        """The chapter as Markdown."""
        texts = [part if isinstance(part, str) else part.markdown().rstrip("\n") for part in self.parts]
        return "\n\n".join([f"## {self.title}", *texts]) + "\n"


def timing_table() -> Table:
    """A table for `add_timing`."""
    return Table(("what", "median", "minimum", "against", "ratio", "reach", "reached"))


def add_timing(
    table: Table,
    what: str,
    series: Series,
    *,
    scale: float,
    unit: str,
    against: str = "",
    ratio: float | None = None,
    reach: str = "",
    reached: bool | None = None,
    minimum: float | None = None,
) -> None:
    """Append a row of times; `scale` turns seconds into `unit`, `minimum` replaces that of the series."""
    table.add(
        what,
        f"{series.median * scale:.1f} {unit}",
        f"{(series.minimum if minimum is None else minimum) * scale:.1f} {unit}",
        against,
        "" if ratio is None else f"{ratio:.2f} ×",
        reach,
        answer(reached),
    )


def answer(reached: bool | None) -> str:
    """Whether a target is reached, in a word; nothing where there is none."""
    return "" if reached is None else "yes" if reached else "**no**"


def share(part: int, whole: Sequence[object] | int) -> str:
    """`part` of `whole` in per cent."""
    count = whole if isinstance(whole, int) else len(whole)
    return f"{100 * part / count:.0f} %" if count else "–"
