"""Reading of a JSON object all of whose members are known: a closed world (`specs/trust-bundle.md`).

A member that the reader does not know could restrict what it does know, so it is refused by name, never skipped.
A member that is absent is left out: `null` is never a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import TypeVar

from chopmark import strict
from chopmark.errors import FormatError, LimitError, UnsupportedError

_Choice = TypeVar("_Choice", bound=StrEnum)

TEXT_LENGTH = 2_000
"""Characters of one text unless said otherwise: names and labels are far shorter."""


class ClosedObject:
    """A JSON object whose members are taken one by one; `close()` refuses those that nobody took."""

    __slots__ = ("_members", "where")

    def __init__(self, value: object, where: str) -> None:
        if type(value) is not dict:
            raise FormatError("not a JSON object", where=where)
        self._members: dict[str, object] = dict(value)
        self.where = where

    def place(self, name: str) -> str:
        """Where the member stands, for an error: `logs[0].origin`."""
        return f"{self.where}.{name}" if self.where else name

    def has(self, name: str) -> bool:
        """Whether the member is there and was not taken yet."""
        return name in self._members

    def take(self, name: str) -> object:
        """Take a member as it is.

        Raises:
            FormatError: it is not there.
        """
        try:
            return self._members.pop(name)
        except KeyError:
            raise FormatError("the member is missing", where=self.place(name)) from None

    def text(self, name: str, *, maximum: int = TEXT_LENGTH, pattern: re.Pattern[str] | None = None) -> str:
        """Take a text of 1 to `maximum` characters, which matches `pattern` in full."""
        value = self.take(name)
        return _text(value, where=self.place(name), maximum=maximum, pattern=pattern)

    def optional_text(self, name: str, *, pattern: re.Pattern[str] | None = None) -> str | None:
        """Take a text, or None where the member is absent."""
        return self.text(name, pattern=pattern) if self.has(name) else None

    def texts(self, name: str, *, pattern: re.Pattern[str] | None = None) -> tuple[str, ...]:
        """Take an array of texts, no two of them equal."""
        values = tuple(
            _text(value, where=where, maximum=TEXT_LENGTH, pattern=pattern) for value, where in self.array(name)
        )
        if len(set(values)) != len(values):
            raise FormatError("the same text stands twice", where=self.place(name))
        return values

    def integer(self, name: str, *, minimum: int = 0, maximum: int = 2**53 - 1) -> int:
        """Take an integer between `minimum` and `maximum`."""
        value = self.take(name)
        if type(value) is not int:
            raise FormatError("not an integer", where=self.place(name))
        if not minimum <= value <= maximum:
            raise FormatError(f"{value} is not within {minimum} and {maximum}", where=self.place(name))
        return value

    def flag(self, name: str) -> bool:
        """Take `true` or `false`."""
        value = self.take(name)
        if type(value) is not bool:
            raise FormatError("neither true nor false", where=self.place(name))
        return value

    def time(self, name: str) -> int:
        """Take a time of the form `2026-11-22T09:30:00Z`, as POSIX seconds."""
        return strict.time_decode(self.text(name), where=self.place(name))

    def optional_time(self, name: str) -> int | None:
        """Take a time, or None where the member is absent."""
        return self.time(name) if self.has(name) else None

    def choice(self, name: str, kinds: type[_Choice]) -> _Choice:
        """Take one of the texts of an enumeration.

        Raises:
            UnsupportedError: another text: a later reader may know it.
        """
        value = self.text(name)
        try:
            return kinds(value)
        except ValueError:
            raise UnsupportedError(
                f"{value[:40]!r} is not known here; known: {', '.join(kinds)}",
                where=self.place(name),
                remedy="use a newer version of Chopmark",
            ) from None

    def array(self, name: str) -> Iterator[tuple[object, str]]:
        """Take an array: its elements, each with its place."""
        value = self.take(name)
        if type(value) is not list:
            raise FormatError("not a JSON array", where=self.place(name))
        place = self.place(name)
        return ((element, f"{place}[{position}]") for position, element in enumerate(value))

    def object(self, name: str) -> ClosedObject:
        """Take an object."""
        return ClosedObject(self.take(name), self.place(name))

    def optional_object(self, name: str) -> ClosedObject | None:
        """Take an object, or None where the member is absent."""
        return self.object(name) if self.has(name) else None

    def close(self) -> None:
        """Refuse what was not taken.

        Raises:
            UnsupportedError: a member that this reader does not know, named.
        """
        if self._members:
            name = min(self._members)
            raise UnsupportedError(
                f"the member {name[:60]!r} is not known here",
                where=self.where or "the object",
                remedy="use a newer version of Chopmark",
            )


def _text(value: object, *, where: str, maximum: int, pattern: re.Pattern[str] | None) -> str:
    if type(value) is not str:
        raise FormatError("not a text", where=where)
    if not value:
        raise FormatError("an empty text", where=where)
    if len(value) > maximum:
        raise LimitError(f"{len(value)} characters, above the limit of {maximum}", where=where)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("half of a surrogate pair is not a character", where=where) from error
    if pattern is not None and pattern.fullmatch(value) is None:
        raise FormatError(f"{value[:60]!r} is not of the form {pattern.pattern}", where=where)
    return value
