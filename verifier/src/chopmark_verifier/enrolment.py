"""Which keys may ask and record for which inspector: those that the inspector's region enrolled in its bundle.

A key of the bundle with the use `inspector` belongs to one organisation; both must be in force at the time asked
about. A record's own time is the word of whoever signed it: under a key revoked as compromised no record counts,
whatever its date.
"""

from __future__ import annotations

from chopmark.errors import TrustError
from chopmark.issuer_key import Key, KeyUse, RevocationReason
from chopmark.keys import PublicKey
from chopmark.trust_bundle import TrustBundle

_REMEDY = "Ask your region to enrol the key with the use `inspector`, and update the trust store"


def inspector_of(bundle: TrustBundle, public_key: PublicKey) -> str:
    """The organisation for which a bundle enrols this key as an inspector's.

    Raises:
        TrustError: none does, or several.
    """
    found = {key.issuer for key in bundle.contents.keys if key.use is KeyUse.INSPECTOR and key.public_key == public_key}
    where = f"key {public_key.kid.hex()}"
    if not found:
        raise TrustError(f"the bundle of {bundle.region} enrols no such inspector key", where=where, remedy=_REMEDY)
    if len(found) > 1:
        raise TrustError("several organisations share this key", where=where, remedy="Name one of them as inspector")
    return found.pop()


def enrolled_key(bundle: TrustBundle, inspector: str, kid: bytes, *, at: int) -> Key:
    """The inspector key with that kid (8 bytes) of an organisation, in force at a time.

    Args:
        bundle: of the inspector's region.
        inspector: the id of the organisation.
        kid: of the key.
        at: POSIX seconds.

    Raises:
        TrustError: the bundle enrols no such key for it, for another use, not at that time, or the organisation was
            not active.
    """
    where = f"inspector {inspector}, key {kid.hex()}"
    key = bundle.key(inspector, kid)
    if key is None:
        raise TrustError(f"the bundle of {bundle.region} enrols no such key for it", where=where, remedy=_REMEDY)
    if key.use is not KeyUse.INSPECTOR:
        raise TrustError(f"the key is enrolled for the use `{key.use}`", where=where, remedy=_REMEDY)
    if not key.covers(at):
        raise TrustError("the key is outside its window at that time", where=where, remedy=_REMEDY)
    revoked = key.revoked
    if revoked is not None and (revoked.reason is RevocationReason.COMPROMISED or at >= revoked.at):
        raise TrustError(f"the key was revoked: {revoked.reason}", where=where, remedy=_REMEDY)
    issuer = bundle.issuer(inspector)
    state = issuer.state_at(at) if issuer is not None else None
    if state != "active":
        raise TrustError(f"the organisation is {state or 'unknown'} at that time", where=where)
    return key
