"""Check 7 of the recipe: whether an issuer had the authority for a credential when it was logged.

Judged as of the *witnessed* time of the log entry, never by the issuer's word (`specs/verification.md`, "Two times"):

    log         in use, and accepted by its region
    issuer      active
    key         within its window; of a revoked key only what stands below the size trusted in that log
    type, grant stated by the bundle, the grant in force
    iat         within 24 h of the witnessed time

An entry is witnessed up to one landmark interval after it was made: where that straddles a boundary its later end
counts, with one grace of 15 minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chopmark.reasons import Details, StateName
from chopmark.verdict import Check, Result

if TYPE_CHECKING:
    from chopmark.claims import Claims
    from chopmark.trust_bundle import Key, LicenceType, Log, TrustBundle

ISSUED_TO_WITNESSED: Final = 24 * 3600
"""`iat` further than this from the witnessed time fails: the outbox survives a day without its log."""
BOUNDARY_GRACE: Final = 15 * 60
"""The one grace: an entry made before a boundary is witnessed up to one landmark interval later."""

_FAIL, _UNKNOWN = Result.FAIL, Result.UNKNOWN


def authority_problem(
    claims: Claims,
    bundle: TrustBundle,
    key: Key,
    licence_type: LicenceType | None,
    *,
    witnessed: int,
    entry: tuple[Log, int] | None,
) -> Check | None:
    """What speaks against the issuer's authority; None where nothing does.

    Args:
        claims: of the credential.
        bundle: of the issuer's region.
        key: that signed it.
        licence_type: what the bundle says of its type.
        witnessed: POSIX seconds.
        entry: the log and the index in it; None to judge what is not logged as if it were logged at `witnessed`.
    """
    earliest = witnessed - BOUNDARY_GRACE
    if entry is not None and not _covers(entry[0].not_before, entry[0].not_after, witnessed, earliest):
        return Check(7, _FAIL, "log_outside_window")
    issuer = bundle.issuer(claims.issuer)
    if issuer is None:
        return Check(7, _FAIL, "issuer_unknown", {"issuer": claims.issuer})
    state = issuer.state_at(witnessed)
    if state != "active" and issuer.state_at(earliest) != "active":
        return Check(7, _FAIL, "issuer_inactive", {"state": StateName(state or "unknown")})
    if not _covers(key.not_before, key.not_after, witnessed, earliest):
        return Check(7, _FAIL, "key_outside_window")
    # A size cannot be backdated, so it alone decides what a revoked key's entries are still worth.
    if key.revoked is not None:
        trusted = None if entry is None else key.revoked.trusted_size(entry[0].origin)
        if entry is None or trusted is None or entry[1] >= trusted:
            return Check(7, _FAIL, f"key_{key.revoked.reason}")
    if licence_type is None:
        return absent_from_bundle(7, bundle, claims, "type_unknown", {"type": claims.licence_type})
    for grant in bundle.grants(claims.issuer, licence_type.id):
        if _covers(grant.not_before, grant.not_after, witnessed, earliest):
            break
    else:
        return absent_from_bundle(7, bundle, claims, "not_granted")
    if abs(claims.issued_at - witnessed) > ISSUED_TO_WITNESSED:
        return Check(7, _FAIL, "issued_far_from_logged")
    return None


def absent_from_bundle(
    number: int, bundle: TrustBundle, claims: Claims, reason: str, details: Details | None = None
) -> Check:
    """The check of that number where a bundle does not name what a credential relies on.

    A bundle older than the credential may not know it yet; a newer one that does not know it denies it.
    """
    if claims.issued_at > bundle.issued:
        return Check(number, _UNKNOWN, "bundle_older_than_licence")
    return Check(number, _FAIL, reason, details)


def _covers(not_before: int, not_after: int | None, latest: int, earliest: int) -> bool:
    """Whether a window holds for an entry made between `earliest` and `latest`, whose later end counts."""
    return not_before <= latest and (not_after is None or earliest < not_after)
