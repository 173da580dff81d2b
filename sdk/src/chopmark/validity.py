"""Check 8 of the recipe: whether the time asked about lies within the validity of a credential.

Judged as of the time asked (`specs/verification.md`): signed no later than that, begun, not ended, and of an annotated
copy or an agent's credential the use not ended either. `exp` and `until` are 00:00 after the last day.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final

from chopmark.claims import EARLIEST
from chopmark.strict import time_encode
from chopmark.verdict import Check, Result

if TYPE_CHECKING:
    from chopmark.claims import Claims
    from chopmark.licence_type import LicenceType

FUTURE_TOLERANCE: Final = 3600
"""Seconds: an object dated further ahead of the clock than this is refused."""

_FAIL: Final = Result.FAIL
_WITHIN_VALIDITY: Final = Check(8, Result.PASS, "within_validity")
_NO_END: Final = Check(8, Result.PASS, "no_end_of_validity")


def check_validity(claims: Claims, licence_type: LicenceType | None, *, at: int, presented: int | None) -> Check:
    """The check of the time asked about.

    Args:
        claims: of the credential.
        licence_type: in whose zone the days of an answer are; None where it is not known.
        at: POSIX seconds.
        presented: when its holder signed the token around it, POSIX seconds; None without one.
    """
    if claims.issued_at > at + FUTURE_TOLERANCE:
        return Check(8, _FAIL, "signed_in_future")
    if claims.not_before is not None and at < claims.not_before:
        return Check(8, _FAIL, "not_yet_valid", {"date": calendar_day(claims.not_before, licence_type)})
    # The draft wants a token dated before the end of its credential; where a holder's clock runs ahead, it expired.
    if claims.expires is not None and max(at, at if presented is None else presented) >= claims.expires:
        return Check(8, _FAIL, "expired", {"date": calendar_day(claims.expires - 1, licence_type)})
    usage = claims.usage
    if usage is not None and usage.until is not None and at >= usage.until:
        return Check(8, _FAIL, "usage_expired", {"date": calendar_day(usage.until - 1, licence_type)})
    return _NO_END if claims.expires is None else _WITHIN_VALIDITY


def calendar_day(seconds: int, licence_type: LicenceType | None) -> str:
    """The calendar day of a moment in the zone of the licence type; in UTC where the zone is not known here."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - only a refusal needs it

    seconds = max(seconds, EARLIEST)  # the second before it has no day
    zone: tzinfo = UTC
    if licence_type is not None:
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):
            zone = ZoneInfo(licence_type.zone)
    with suppress(OverflowError, ValueError):  # a zone may carry the first or last day beyond the calendar
        return datetime.fromtimestamp(seconds, zone).date().isoformat()
    return time_encode(seconds)
