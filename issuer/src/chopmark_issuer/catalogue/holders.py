"""Holders of licences, and the codes that identify them, checked where their kind is known.

    111   citizen identity number (GB 11643): 17 digits and a check character of ISO 7064 MOD 11-2. Permits of
          residents of Hong Kong, Macao, Taiwan and of foreigners follow it with codes of their own, so only form and
          check character are judged
    001   unified social credit code (GB 32100)

Another kind is taken as it is: other regions name their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chopmark import organisation_code
from chopmark.errors import FormatError
from stdnum.iso7064 import mod_11_2

from chopmark_issuer.errors import FieldError

CITIZEN = "111"
ORGANISATION = "001"
_CITIZEN = re.compile(r"[0-9]{17}[0-9X]", re.ASCII)
_LONGEST = 500
_LONGEST_KIND = 64


@dataclass(frozen=True, slots=True)
class Holder:
    """A holder of a licence: name, code, and the kind of code."""

    name: str
    code: str | None = None
    code_kind: str | None = None


def checked_holders(holders: Sequence[Holder]) -> tuple[Holder, ...]:
    """Hold holders against the rules of their codes; no error repeats a name or code.

    Raises:
        FieldError: there is none, a name is empty, too long, or has a character that cannot be printed, or a code is
            not of its kind.
    """
    if not holders:
        raise FieldError("a licence has at least one holder", where="holder")
    for holder in holders:
        if not holder.name.strip() or len(holder.name) > _LONGEST:
            raise FieldError(f"a holder's name has 1 to {_LONGEST} characters", where="holder name")
        if not holder.name.isprintable():
            raise FieldError("a character that cannot be printed", where="holder name")
        _check_code(holder.code_kind, holder.code)
    return tuple(holders)


def _check_code(kind: str | None, code: str | None) -> None:
    if (kind is None) != (code is None):
        raise FieldError("code and kind of code stand together, or both are left out", where="holder code")
    if kind is None or code is None:
        return
    if not 0 < len(code) <= _LONGEST or not code.isprintable():
        raise FieldError(f"a holder's code has 1 to {_LONGEST} printable characters", where="holder code")
    if not 0 < len(kind) <= _LONGEST_KIND or not kind.isprintable():
        raise FieldError(f"a kind of code has 1 to {_LONGEST_KIND} printable characters", where="holder code")
    if kind == ORGANISATION:
        try:
            organisation_code.validate(code)
        except FormatError:
            raise FieldError("not a unified social credit code (GB 32100)", where="holder code") from None
    elif kind == CITIZEN and not (_CITIZEN.fullmatch(code) and mod_11_2.checksum(code) == 1):
        raise FieldError("not a citizen identity number (GB 11643)", where="holder code")
