"""What a check of a log finds: damage, and remarks on what was not judged."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DAMAGE = 10_000
"""Damage that a check names before it ends: no more is of use, and the memory of a check is bounded."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of the log that is not as it must be, and how."""

    path: str
    what: str


class TooMuchDamageError(Exception):
    """The check ends: `MAX_DAMAGE` are named."""


class Findings:
    """Collects what is found. The same damage found twice is one; the same remark on many files is one too."""

    def __init__(self) -> None:
        self._damage: dict[Damage, None] = {}
        self._damaged: set[str] = set()
        self._remarks: dict[str, tuple[str, int]] = {}

    def damage(self, path: str, what: str) -> None:
        """Name damage.

        Raises:
            TooMuchDamageError: enough was named.
        """
        damage = Damage(path, what)
        if damage in self._damage:
            return
        if len(self._damage) == MAX_DAMAGE:
            raise TooMuchDamageError
        self._damage[damage] = None
        self._damaged.add(path)

    def remark(self, path: str, what: str) -> None:
        """Remark on a file that is not judged, or on something beside it."""
        first, count = self._remarks.get(what, (path, 0))
        self._remarks[what] = first, count + 1

    def is_damaged(self, path: str) -> bool:
        """Whether damage was named at this path."""
        return path in self._damaged

    @property
    def all_damage(self) -> tuple[Damage, ...]:
        """All damage, in the order in which it was found."""
        return tuple(self._damage)

    @property
    def remarks(self) -> tuple[str, ...]:
        """All remarks, each with the first file it is about."""
        return tuple(
            f"{first}: {what}" + (f" (and {count - 1} more)" if count > 1 else "")
            for what, (first, count) in self._remarks.items()
        )
