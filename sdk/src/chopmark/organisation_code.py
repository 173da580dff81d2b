"""Unified social credit codes of organisations, GB 32100-2015.

18 characters: registering authority (1) and kind of organisation (1), each a digit or letter; area (6 digits,
GB/T 2260); organisation (9); check character. Digits and upper-case letters without I, O, S, V and Z. The check
character makes the sum of value times 3^position a multiple of 31, positions from 0, the check character weighing 1.
It catches a mistyped character and is no protection against forgery. Sample: `11100000000013338W`.
"""

from __future__ import annotations

import re

from chopmark.errors import FormatError

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""Characters in the order of their values."""
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_WEIGHTS = tuple(pow(3, position, 31) for position in range(17))
_BODY = re.compile(f"[{ALPHABET}]{{2}}[0-9]{{6}}[{ALPHABET}]{{9}}", re.ASCII)


def check_character(body: str) -> str:
    """The 18th character for the first 17.

    Raises:
        FormatError: not 17 characters of the right kinds.
    """
    if _BODY.fullmatch(body) is None:
        raise FormatError(
            f"{body[:40]!r} does not begin an organisation code",
            remedy="it has two characters, six digits and nine characters, upper case, without I, O, S, V and Z",
        )
    total = sum(_VALUES[character] * weight for character, weight in zip(body, _WEIGHTS, strict=True))
    return ALPHABET[-total % 31]


def validate(code: str) -> str:
    """Return the code as it is, if it is a right one.

    Raises:
        FormatError: another length or character, or a wrong check character.
    """
    if len(code) != 18:
        raise FormatError(f"an organisation code has 18 characters, this has {len(code)}")
    expected = check_character(code[:17])
    if code[17] != expected:
        raise FormatError(f"the check character of {code[:17]} is {expected}, not {code[17]!r}", where="character 18")
    return code
