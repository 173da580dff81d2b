"""Calendar days of a licence, and the moments they begin and end at in the zone of its type.

A day is an integer, days since 1970-01-01. A term runs from 00:00 of its first day to 00:00 of the day after its last
one, in the type's zone: the last day still counts in full. Sample: 2026-01-01 to 2026-12-31 in `Asia/Shanghai` begins
at 1767196800 and ends at 1798732800.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chopmark_issuer.errors import CatalogueError, FieldError
from chopmark_issuer.lifecycle import Term

_EPOCH = date(1970, 1, 1)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_LONG_TERM = date(9999, 12, 31)


def day_of(calendar_day: date) -> int:
    """Days since 1970-01-01; negative before."""
    return (calendar_day - _EPOCH).days


def calendar_day(day: int) -> date:
    """The date of a day number."""
    return _EPOCH + timedelta(days=day)


def read_day(text: str, *, where: str) -> date:
    """Read a day written as 2026-11-22; the standard library would take ISO weeks and ordinals too.

    Raises:
        FieldError: it is written otherwise, or there is no such day.
    """
    try:
        if _DAY.fullmatch(text) is None:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise FieldError("not a day of the form 2026-11-22", where=where) from None


@lru_cache(maxsize=64)
def day_at(moment: int, zone: ZoneInfo) -> int:
    """The day that it is in a zone at a moment (POSIX seconds)."""
    return day_of(datetime.fromtimestamp(moment, UTC).astimezone(zone).date())


@lru_cache(maxsize=4096)
def day_begins(calendar_day: date, zone: ZoneInfo) -> int:
    """The moment a day begins in a zone, POSIX seconds."""
    return int(datetime.combine(calendar_day, time(), zone).timestamp())


@lru_cache(maxsize=4096)
def term_of(first_day: int, last_day: int | None, zone: ZoneInfo) -> Term:
    """The moments between which a licence is valid.

    Raises:
        FieldError: the last day is before the first, or is the last of the calendar, which has no day after it.
    """
    begin = day_begins(calendar_day(first_day), zone)
    if last_day is None:
        return Term(begin, None)
    if last_day < first_day:
        raise FieldError("the last day is before the first", where="term")
    last = calendar_day(last_day)
    if last == _LONG_TERM:
        raise FieldError("9999-12-31 is no last day", where="term", remedy="Leave it out where the term has no end")
    return Term(begin, day_begins(last + timedelta(days=1), zone))


def zone_named(name: str) -> ZoneInfo:
    """A time zone of the IANA database.

    Raises:
        CatalogueError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CatalogueError(
            f"there is no time zone {name!r}", where="zone", remedy="Use a name such as Asia/Shanghai"
        ) from error
