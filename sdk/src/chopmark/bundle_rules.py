"""What must hold within one trust bundle, and from one bundle of a region to the next (`specs/trust-bundle.md`).

Within: names are of this region (issuers and types begin with it; logs and status lists are under the host that its
root keys share), no name stands twice, whatever is referred to is there, and a public key has one place and one use.

From one to the next: `seq` rises, arrays only grow, and what the earlier bundle said of the time before it was issued
stays said: a window may be closed or moved at or after that moment only, a revocation may only become stricter.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from chopmark.bundle_contents import BundleContents
from chopmark.bundle_entries import Grant, Issuer, Log, Peer, StatusSource
from chopmark.bundle_policies import check_log_policy, check_policy_floor
from chopmark.errors import FormatError, LimitError, RollbackError, TrustError
from chopmark.identifiers import host_of, region_of
from chopmark.issuer_key import Key, KeyUse, Revocation, RevocationReason
from chopmark.keys import PublicKey
from chopmark.limits import LIMITS
from chopmark.note import TYPE_COSIGNATURE_ML_DSA_44, TYPE_ED25519, NoteVerifier
from chopmark.root_epoch import Roots

_Entry = TypeVar("_Entry")


def check_contents(contents: BundleContents, roots: Roots) -> None:
    """Hold a bundle against the rules of its region.

    Raises:
        FormatError: a rule is broken; `where` names the entry.
    """
    if not contents.issued < contents.refresh_after <= contents.expires:
        raise FormatError("issued, refresh_after and expires do not follow each other", where="refresh_after")
    owners = _Owners()
    for number, verifier in enumerate(roots.verifiers):
        owners.claim(verifier.public_key, f"root key {number + 1}")
    _check_logs(contents, roots, owners)
    _check_peers(contents, roots, owners)
    _check_issuers(contents)
    _check_keys(contents, owners)
    _check_types_and_grants(contents)
    _check_status_lists(contents, roots)


class _Owners:
    """Where each public key stands: it may stand in one place only."""

    def __init__(self) -> None:
        self._places: dict[PublicKey, str] = {}

    def claim(self, key: PublicKey, place: str) -> None:
        first = self._places.setdefault(key, place)
        if first != place:
            raise FormatError(f"the same public key as {first}; a key has one use", where=place)


def _check_logs(contents: BundleContents, roots: Roots, owners: _Owners) -> None:
    _unique(contents.logs, lambda log: log.number, "logs", "number")
    _unique(contents.logs, lambda log: log.origin, "logs", "origin")
    for position, log in enumerate(contents.logs):
        where = f"logs[{position}]"
        if log.host != roots.host:
            raise FormatError(
                f"{log.origin} is not a log of {contents.region}, whose host is {roots.host}", where=f"{where}.origin"
            )
        if log.final is not None and log.not_after is None:
            raise FormatError("a log with a final size is closed", where=where, remedy="give it a `to`")
        verifiers = [NoteVerifier.from_vkey(vkey) for vkey in log.vkeys]
        for number, verifier in enumerate(verifiers):
            if verifier.name != log.origin or verifier.type not in (TYPE_ED25519, TYPE_COSIGNATURE_ML_DSA_44):
                raise FormatError(
                    f"not a key of type 0x01 or 0x06 named {log.origin}", where=f"{where}.vkeys[{number}]"
                )
            owners.claim(verifier.public_key, f"{where}.vkeys[{number}]")
        if not any(verifier.type == TYPE_ED25519 for verifier in verifiers):
            raise FormatError("a log has a key of type 0x01", where=f"{where}.vkeys")
        check_log_policy(log, where=f"{where}.policy")


def _check_peers(contents: BundleContents, roots: Roots, owners: _Owners) -> None:
    _unique(contents.peers, lambda peer: peer.region, "peers", "region")
    hosts = {roots.host: contents.region}
    for position, peer in enumerate(contents.peers):
        where = f"peers[{position}]"
        if peer.region == contents.region:
            raise FormatError("a region is no peer of itself", where=f"{where}.region")
        pinned = Roots.from_peer(peer)
        for number, verifier in enumerate(pinned.verifiers):
            owners.claim(verifier.public_key, f"{where}.roots[{number}]")
        other = hosts.setdefault(pinned.host, peer.region)
        if other != peer.region:
            raise FormatError(f"the host {pinned.host} is that of {other}", where=f"{where}.roots")
        for origin in peer.origins:
            if host_of(origin) != pinned.host:
                raise FormatError(
                    f"{origin} is not a log of {peer.region}, whose host is {pinned.host}", where=f"{where}.origins"
                )
        if not peer.origins:
            raise FormatError("a peer has a log", where=f"{where}.origins")
        check_policy_floor(peer, where=f"{where}.policy_floor")


def _check_issuers(contents: BundleContents) -> None:
    _unique(contents.issuers, lambda issuer: issuer.id, "issuers", "id")
    known = {issuer.id for issuer in contents.issuers}
    for position, issuer in enumerate(contents.issuers):
        where = f"issuers[{position}]"
        _of_region(issuer.id, contents.region, f"{where}.id")
        if issuer.successor is not None and (issuer.successor == issuer.id or issuer.successor not in known):
            raise FormatError(f"{issuer.successor} is not another issuer of the bundle", where=f"{where}.successor")


def _check_keys(contents: BundleContents, owners: _Owners) -> None:
    issuers = {issuer.id for issuer in contents.issuers}
    origins = {log.origin for log in contents.logs}
    for position, key in enumerate(contents.keys):
        where = f"keys[{position}]"
        _of_region(key.issuer, contents.region, f"{where}.issuer")
        _listed(key.issuer, issuers, "an issuer", f"{where}.issuer")
        owners.claim(key.public_key, where)
        for trusted in key.revoked.trusted if key.revoked is not None else ():
            _listed(trusted.origin, origins, "a log", f"{where}.revoked.trusted")
    _unique(contents.keys, lambda key: (key.issuer, key.kid), "keys", "issuer and kid")


def _check_types_and_grants(contents: BundleContents) -> None:
    _unique(contents.types, lambda licence_type: licence_type.vct, "types", "id and schema")
    for position, licence_type in enumerate(contents.types):
        _of_region(licence_type.id, contents.region, f"types[{position}].id")
    issuers = {issuer.id for issuer in contents.issuers}
    types = {licence_type.id for licence_type in contents.types}
    _unique(contents.grants, _grant_name, "grants", "issuer, licence_type and from")
    for position, grant in enumerate(contents.grants):
        where = f"grants[{position}]"
        _of_region(grant.issuer, contents.region, f"{where}.issuer")
        _listed(grant.issuer, issuers, "an issuer", f"{where}.issuer")
        _listed(grant.licence_type, types, "a type", f"{where}.licence_type")


def _check_status_lists(contents: BundleContents, roots: Roots) -> None:
    issuers = {issuer.id for issuer in contents.issuers}
    if len(contents.status_lists) > LIMITS.status_lists:
        raise LimitError(
            f"{len(contents.status_lists)} status lists, above the limit of {LIMITS.status_lists}", where="status_lists"
        )
    status_keys = {(key.issuer, key.kid) for key in contents.keys if key.use is KeyUse.STATUS}
    _unique(contents.status_lists, lambda source: source.uri, "status_lists", "uri")
    for position, source in enumerate(contents.status_lists):
        where = f"status_lists[{position}]"
        if host_of(source.uri) != roots.host:
            raise FormatError(
                f"{source.uri} is not of {contents.region}, whose host is {roots.host}", where=f"{where}.uri"
            )
        _of_region(source.issuer, contents.region, f"{where}.issuer")
        _listed(source.issuer, issuers, "an issuer", f"{where}.issuer")
        for number, signer in enumerate(source.signers):
            if (source.issuer, signer.kid) not in status_keys:
                raise FormatError(
                    f"{signer.kid.hex()} is not a status key of {source.issuer}", where=f"{where}.signers[{number}]"
                )


def _unique(entries: Iterable[_Entry], name: Callable[[_Entry], Hashable], array: str, what: str) -> None:
    seen: set[Hashable] = set()
    for position, entry in enumerate(entries):
        if name(entry) in seen:
            raise FormatError(f"an entry with the same {what} stands before it", where=f"{array}[{position}]")
        seen.add(name(entry))


def _of_region(identifier: str, region: str, where: str) -> None:
    if region_of(identifier) != region:
        raise FormatError(f"{identifier} is not of the region {region}", where=where)


def _listed(name: str, known: set[str], what: str, where: str) -> None:
    if name not in known:
        raise FormatError(f"{name} is not {what} of the bundle", where=where)


def _grant_name(grant: Grant) -> Hashable:
    return grant.issuer, grant.licence_type, grant.not_before


def check_successor(old: BundleContents, new: BundleContents) -> None:
    """Hold a bundle against the one before it.

    Raises:
        RollbackError: its `seq`, epoch or time is not above the earlier one's.
        TrustError: an entry is gone, or changed where it must not.
    """
    where = f"bundle {new.seq} of {new.region}"
    if new.region != old.region:
        raise TrustError(f"it is not of the region {old.region}", where=where)
    if new.seq <= old.seq:
        raise RollbackError(f"seq {new.seq} does not follow {old.seq}", where=where)
    if new.epoch < old.epoch or new.issued < old.issued:
        raise RollbackError(f"it is of an earlier epoch or time than bundle {old.seq}", where=where)

    def grown(
        array: str,
        earlier: Iterable[_Entry],
        later: Iterable[_Entry],
        name: Callable[[_Entry], Hashable],
        may_follow: Callable[[_Entry, _Entry, int], bool],
    ) -> None:
        by_name = {name(entry): entry for entry in later}
        for entry in earlier:
            successor = by_name.get(name(entry))
            if successor is None:
                raise TrustError(f"an entry is gone: {name(entry)}", where=f"{where}, {array}")
            if successor != entry and not may_follow(entry, successor, old.issued):
                raise TrustError(
                    f"an entry changed in what must stay: {name(entry)}",
                    where=f"{where}, {array}",
                    remedy="closed entries stay as they are; add a new entry beside them",
                )

    grown("logs", old.logs, new.logs, lambda log: log.number, _log_may_follow)
    grown("peers", old.peers, new.peers, lambda peer: peer.region, _peer_may_follow)
    grown("issuers", old.issuers, new.issuers, lambda issuer: issuer.id, _issuer_may_follow)
    grown("keys", old.keys, new.keys, lambda key: (key.issuer, key.kid.hex()), _key_may_follow)
    grown("types", old.types, new.types, lambda licence_type: licence_type.vct, lambda *_: False)
    grown("grants", old.grants, new.grants, _grant_name, _grant_may_follow)
    grown("status_lists", old.status_lists, new.status_lists, lambda source: source.uri, _source_may_follow)


def _end_may_move(old: int | None, new: int | None, issued: int) -> bool:
    """An end before `issued` is past and stays; another may move, but not into what was past then."""
    return old == new or ((old is None or old > issued) and (new is None or new >= issued))


def _log_may_follow(old: Log, new: Log, issued: int) -> bool:
    return (
        _end_may_move(old.not_after, new.not_after, issued)
        and (old.final is None or old.final == new.final)
        and set(old.vkeys) <= set(new.vkeys)
        and replace(new, vkeys=old.vkeys, not_after=old.not_after, final=old.final, policy_text=old.policy_text) == old
    )


def _peer_may_follow(old: Peer, new: Peer, issued: int) -> bool:
    same_pin = (old.epoch, old.roots, old.threshold) == (new.epoch, new.roots, new.threshold)
    return (
        _end_may_move(old.not_after, new.not_after, issued)
        and (same_pin or new.epoch > old.epoch)
        and set(old.origins) <= set(new.origins)
        and new.not_before == old.not_before
    )


def _issuer_may_follow(old: Issuer, new: Issuer, issued: int) -> bool:
    del issued  # what happened to an issuer may be learned late
    return new.status[: len(old.status)] == old.status and old.successor in (None, new.successor)


def _key_may_follow(old: Key, new: Key, issued: int) -> bool:
    return (
        _end_may_move(old.not_after, new.not_after, issued)
        and (old.revoked is None or (new.revoked is not None and _is_stricter(old.revoked, new.revoked)))
        and replace(new, not_after=old.not_after, revoked=old.revoked) == old
    )


def _is_stricter(old: Revocation, new: Revocation) -> bool:
    if new.at > old.at or (old.reason is RevocationReason.COMPROMISED and new.reason is not old.reason):
        return False
    sizes = {trusted.origin: trusted.size for trusted in old.trusted}
    return all(trusted.size <= sizes.get(trusted.origin, -1) for trusted in new.trusted)


def _grant_may_follow(old: Grant, new: Grant, issued: int) -> bool:
    return _end_may_move(old.not_after, new.not_after, issued)


def _source_may_follow(old: StatusSource, new: StatusSource, issued: int) -> bool:
    signers = {(signer.kid, signer.not_before): signer for signer in new.signers}
    for signer in old.signers:
        successor = signers.get((signer.kid, signer.not_before))
        if successor is None or not _end_may_move(signer.not_after, successor.not_after, issued):
            return False
    return new.issuer == old.issuer
