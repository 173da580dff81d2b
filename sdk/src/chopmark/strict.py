"""Readers of numbers, base64, hex, times and JSON that accept one spelling only.

Python's own are too generous for signed text: `int()` takes `1_0`, ` +5` and `٣`, `b64decode` skips what it does
not know, `json.loads` keeps the last of two equal names and takes `NaN`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from chopmark.errors import FormatError, LimitError

_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,19})", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

UINT64_MAX = 2**64 - 1


def decimal(text: str, *, where: str, maximum: int = 2**63 - 1) -> int:
    """Read an ASCII decimal without sign, space or leading zero.

    Raises:
        FormatError: it is spelled differently, or is above `maximum`.
    """
    if _DECIMAL.fullmatch(text) is None:
        raise FormatError(f"{text[:40]!r} is not a decimal number without leading zeros", where=where)
    value = int(text)
    if value > maximum:
        raise LimitError(f"the number is above {maximum}", where=where)
    return value


def base64_decode(text: str, *, where: str, size: int | None = None) -> bytes:
    """Read RFC 4648 §4 base64 with padding; `size` is the number of bytes expected.

    Raises:
        FormatError: another alphabet, missing padding, non-zero trailing bits, or another size.
    """
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise FormatError("not standard base64", where=where) from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise FormatError("base64 with stray trailing bits", where=where)
    if size is not None and len(raw) != size:
        raise FormatError(f"{len(raw)} bytes where {size} are expected", where=where)
    return raw


def base64_encode(raw: bytes) -> str:
    """Write RFC 4648 §4 base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def base64url_decode(text: str, *, where: str) -> bytes:
    """Read RFC 4648 §5 base64 without padding, as a JWS has it.

    Raises:
        FormatError: another alphabet, padding, or non-zero trailing bits.
    """
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise FormatError("not base64url", where=where) from error
    if base64url_encode(raw) != text:
        raise FormatError("base64url with padding or stray trailing bits", where=where)
    return raw


def base64url_encode(raw: bytes) -> str:
    """Write RFC 4648 §5 base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def hex_decode(text: str, *, where: str, size: int | None = None) -> bytes:
    """Read lower-case hexadecimal without separators; `size` is the number of bytes expected.

    Raises:
        FormatError: upper case, separators, an odd length, or another size.
    """
    if len(text) % 2 or re.fullmatch("[0-9a-f]*", text, re.ASCII) is None:
        raise FormatError("not lower-case hexadecimal", where=where)
    raw = bytes.fromhex(text)
    if size is not None and len(raw) != size:
        raise FormatError(f"{len(raw)} bytes where {size} are expected", where=where)
    return raw


def time_decode(text: str, *, where: str) -> int:
    """Read an RFC 3339 UTC time of the form `2026-11-22T09:30:00Z` as POSIX seconds.

    Raises:
        FormatError: any other form, or no such moment.
    """
    if _TIME.fullmatch(text) is None:
        raise FormatError(f"{text[:40]!r} is not a time of the form 2026-11-22T09:30:00Z", where=where)
    try:
        moment = datetime(
            int(text[:4]),
            int(text[5:7]),
            int(text[8:10]),
            int(text[11:13]),
            int(text[14:16]),
            int(text[17:19]),
            tzinfo=UTC,
        )
    except ValueError as error:
        raise FormatError(f"there is no such moment as {text}", where=where) from error
    return int(moment.timestamp())


def time_encode(seconds: int) -> str:
    """Write POSIX seconds as an RFC 3339 UTC time of the form `2026-11-22T09:30:00Z`.

    Raises:
        FormatError: before the year 1 or after the year 9999, which RFC 3339 cannot write.
    """
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    except OverflowError as error:
        raise FormatError("a time beyond the years 1 to 9999") from error


def json_decode(data: bytes, *, where: str, max_size: int) -> Any:
    """Read I-JSON (RFC 7493): UTF-8, no duplicate names, no half of a surrogate pair, no NaN or infinity, integers
    within ±2^53.

    Raises:
        FormatError: anything else; `LimitError` above `max_size` bytes.
    """
    if len(data) > max_size:
        raise LimitError(f"{len(data)} bytes, above the limit of {max_size}", where=where)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise FormatError(f"the name {twice!r} stands twice in one object", where=where)
        return names

    def integer(text: str) -> int:
        if len(text) > 17 or abs(int(text)) >= 2**53:
            raise FormatError(f"the integer {text[:20]} is beyond ±2^53", where=where)
        return int(text)

    def fraction(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise FormatError(f"the number {text[:20]} is beyond what can be held", where=where)
        return value

    def constant(text: str) -> Any:
        raise FormatError(f"{text} is not JSON", where=where)

    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique,
            parse_int=integer,
            parse_float=fraction,
            parse_constant=constant,
        )
        # Strict UTF-8 holds no surrogates: they come in by `\ud800` only.
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeEncodeError as error:
        raise FormatError("half of a surrogate pair is not a character", where=where) from error
    except UnicodeDecodeError as error:
        raise FormatError("not UTF-8", where=f"{where}, byte {error.start}") from error
    except json.JSONDecodeError as error:
        # A line of a stream is a line already.
        place = f"line {error.lineno}, column {error.colno}" if "\n" in error.doc else f"column {error.colno}"
        raise FormatError(f"not JSON: {error.msg}", where=f"{where}, {place}") from error
    except RecursionError as error:
        raise LimitError("JSON nested too deeply", where=where) from error
