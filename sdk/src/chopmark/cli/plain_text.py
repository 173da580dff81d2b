"""Text from elsewhere, made fit to be printed.

What a stranger wrote into a licence, a note or a file name may hold escape sequences that clear a terminal, or marks
that turn the direction of writing and so show another text than what is there.
"""

from __future__ import annotations

import json
from typing import Any

_SPACES = frozenset("\u00a0\u3000")
"""Spaces that Python does not count as printable, and that names and addresses have."""


def plain(text: str) -> str:
    """The text with each character that does not print written as its number, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _SPACES else _escape(character) for character in text
    )


def plain_lines(text: str) -> str:
    """As `plain`, line by line: newlines stay."""
    return "\n".join(plain(line) for line in text.split("\n"))


def plain_json(value: Any) -> str:
    """JSON values on one line, without a character that does not print."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _SPACES else json.dumps(character)[1:-1]
        for character in text
    )


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
