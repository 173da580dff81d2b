"""Trust bundles: what a verifier must know of one region in advance, in one signed file (`specs/trust-bundle.md`).

A bundle is a signed note (https://c2sp.org/signed-note): the JSON of `bundle_contents`, and below it the signatures
of the region's root keys, as many as its root epoch demands. Sample:

    {
     "format": "chopmark/trust-bundle/v1",
     "region": "CN-GD",
     …
    }

    — cn-gd.example/root/a Hw4tPP…
    — cn-gd.example/root/b WktMPR…

What must hold within a bundle, and from one to the next, stands in `bundle_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from chopmark.bundle_contents import BundleContents
from chopmark.bundle_entries import (
    FinalTree,
    Grant,
    Issuer,
    IssuerState,
    IssuerStatus,
    Log,
    Peer,
    StatusSigner,
    StatusSource,
)
from chopmark.bundle_rules import check_contents, check_successor
from chopmark.errors import TrustError
from chopmark.issuer_key import Key, KeyUse, Revocation, RevocationReason, TrustedSize
from chopmark.licence_type import (
    Field,
    FieldDisclosure,
    FieldKind,
    FreshnessClass,
    HolderBinding,
    LicenceType,
    LocalisedText,
)
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.root_epoch import Roots
from chopmark.tlog_policy import TlogPolicy

__all__ = [
    "BundleAge",
    "BundleContents",
    "Field",
    "FieldDisclosure",
    "FieldKind",
    "FinalTree",
    "FreshnessClass",
    "Grant",
    "HolderBinding",
    "Issuer",
    "IssuerState",
    "IssuerStatus",
    "Key",
    "KeyUse",
    "LicenceType",
    "LocalisedText",
    "Log",
    "Peer",
    "Revocation",
    "RevocationReason",
    "StatusSigner",
    "StatusSource",
    "TrustBundle",
    "TrustedSize",
    "sign_trust_bundle",
]

_DAY = 86_400
STALE_AFTER = 7 * _DAY
"""From this age on what a bundle says is still used, and called stale."""
HARD_STOP_AFTER = 30 * _DAY
"""From this age on nothing that rests on a bundle passes."""


class BundleAge(StrEnum):
    """How old a bundle is, from the best to the worst."""

    FRESH = "fresh"
    REFRESH_DUE = "refresh due"
    STALE = "stale"
    EXPIRED = "expired"
    HARD_STOP = "hard stop"


@dataclass(frozen=True, slots=True, eq=False)
class TrustBundle:
    """A bundle whose signatures and rules were checked; made by `parse` and `sign_trust_bundle` only."""

    contents: BundleContents
    data: bytes = field(repr=False)
    digest: bytes
    """SHA-256 of the text that the roots signed: what the entry of kind 4 in the log holds."""
    _keys: dict[tuple[str, bytes], Key] = field(repr=False)
    _issuers: dict[str, Issuer] = field(repr=False)
    _logs_by_number: dict[int, Log] = field(repr=False)
    _logs_by_origin: dict[str, Log] = field(repr=False)
    _policies: dict[str, TlogPolicy] = field(repr=False)
    _peers: dict[str, Peer] = field(repr=False)
    _floors: dict[str, TlogPolicy] = field(repr=False)
    _types: dict[str, LicenceType] = field(repr=False)
    _grants: dict[tuple[str, str], tuple[Grant, ...]] = field(repr=False)
    _status_sources: dict[str, StatusSource] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, *, roots: Roots) -> TrustBundle:
        """Read a signed bundle.

        Args:
            data: the note.
            roots: the root epoch of the region that the bundle names.

        Raises:
            FormatError: not a bundle, or it breaks a rule; `UnsupportedError` for what is not known here.
            TrustError: of another region or root epoch.
            SignatureError: too few root keys signed.
        """
        return cls.parse_with(data, lambda *_: roots)

    @classmethod
    def parse_with(cls, data: bytes, roots_of: Callable[[str, int], Roots]) -> TrustBundle:
        """Read a signed bundle whose region is not known beforehand; errors as `parse`.

        Args:
            data: the note.
            roots_of: gives the verified roots of a region (by its code) in an epoch, or raises.
        """
        note = Note.parse(data)
        contents = BundleContents.parse(note.text)
        where = f"bundle {contents.seq} of {contents.region}"
        roots = roots_of(contents.region, contents.epoch)
        if contents.region != roots.region:
            raise TrustError(f"it is not of the region {roots.region}", where=where)
        if contents.epoch != roots.epoch:
            raise TrustError(
                f"it is of root epoch {contents.epoch}, and was to be read under {roots.epoch}",
                where=where,
                remedy="fetch the root epochs first",
            )
        roots.verify_note(note)
        check_contents(contents, roots)
        grants: dict[tuple[str, str], list[Grant]] = {}
        for grant in contents.grants:
            grants.setdefault((grant.issuer, grant.licence_type), []).append(grant)
        return cls(
            contents=contents,
            data=bytes(data),
            digest=sha256(note.text.encode("utf-8")).digest(),
            _keys={(key.issuer, key.kid): key for key in contents.keys},
            _issuers={issuer.id: issuer for issuer in contents.issuers},
            _logs_by_number={log.number: log for log in contents.logs},
            _logs_by_origin={log.origin: log for log in contents.logs},
            _policies={log.origin: TlogPolicy.parse(log.policy_text) for log in contents.logs},
            _peers={peer.region: peer for peer in contents.peers},
            _floors={peer.region: TlogPolicy.parse(peer.policy_floor_text) for peer in contents.peers},
            _types={licence_type.vct: licence_type for licence_type in contents.types},
            _grants={name: tuple(entries) for name, entries in grants.items()},
            _status_sources={source.uri: source for source in contents.status_lists},
        )

    @property
    def region(self) -> str:
        """The region, by its ISO 3166-2 code."""
        return self.contents.region

    @property
    def name(self) -> LocalisedText:
        """The region's name."""
        return self.contents.name

    @property
    def seq(self) -> int:
        """The number of the bundle, which rises from one to the next."""
        return self.contents.seq

    @property
    def issued(self) -> int:
        """When it was signed, POSIX seconds."""
        return self.contents.issued

    @property
    def refresh_after(self) -> int:
        """From when on it should be fetched again, POSIX seconds."""
        return self.contents.refresh_after

    @property
    def expires(self) -> int:
        """From when on verdicts say that it is expired, POSIX seconds."""
        return self.contents.expires

    @property
    def epoch(self) -> int:
        """The root epoch whose keys signed it."""
        return self.contents.epoch

    @property
    def logs(self) -> tuple[Log, ...]:
        """All logs, closed ones too."""
        return self.contents.logs

    @property
    def peers(self) -> tuple[Peer, ...]:
        """All peers, closed ones too."""
        return self.contents.peers

    def key(self, issuer: str, kid: bytes) -> Key | None:
        """The key of an issuer with that kid (8 bytes)."""
        return self._keys.get((issuer, kid))

    def issuer(self, identifier: str) -> Issuer | None:
        """The issuer `<region>/<organisation code>`."""
        return self._issuers.get(identifier)

    def log_by_number(self, number: int) -> Log | None:
        """The log with that number."""
        return self._logs_by_number.get(number)

    def log_by_origin(self, origin: str) -> Log | None:
        """The log of that origin."""
        return self._logs_by_origin.get(origin)

    def policy(self, origin: str) -> TlogPolicy | None:
        """What the checkpoints of that log must satisfy."""
        return self._policies.get(origin)

    def peer(self, region: str) -> Peer | None:
        """What the bundle says of that other region."""
        return self._peers.get(region)

    def policy_floor(self, region: str) -> TlogPolicy | None:
        """What checkpoints of that peer must satisfy beside the policy of their own log."""
        return self._floors.get(region)

    def type(self, vct: str) -> LicenceType | None:
        """The licence type with that schema version: `CN-GD/11100000000013338W032@1`."""
        return self._types.get(vct)

    def grants(self, issuer: str, type_id: str) -> tuple[Grant, ...]:
        """All grants of that licence type (without its schema version) to that issuer."""
        return self._grants.get((issuer, type_id), ())

    def status_source(self, uri: str) -> StatusSource | None:
        """What the bundle says of the status list at that uri."""
        return self._status_sources.get(uri)

    def age_state(self, at: int) -> BundleAge:
        """How old the bundle is at that time: the worst that can be said of it."""
        if at >= self.issued + HARD_STOP_AFTER:
            return BundleAge.HARD_STOP
        if at >= self.expires:
            return BundleAge.EXPIRED
        if at >= self.issued + STALE_AFTER:
            return BundleAge.STALE
        return BundleAge.REFRESH_DUE if at >= self.refresh_after else BundleAge.FRESH

    def check_successor(self, new: TrustBundle) -> None:
        """Refuse a bundle that may not follow this one.

        Raises:
            RollbackError: its `seq`, epoch or time is not above this one's.
            TrustError: an entry is gone, or changed where it must not.
        """
        check_successor(self.contents, new.contents)


def sign_trust_bundle(contents: BundleContents, *, roots: Roots, signers: Sequence[NoteSigner]) -> TrustBundle:
    """Sign a bundle, and read it back as every verifier will.

    Args:
        contents: what it says.
        roots: the region's root epoch.
        signers: at least as many of its keys as the epoch demands.

    Raises:
        FormatError: a rule is broken.
        TrustError: `roots` is of another region or epoch.
        SignatureError: too few of the signers are root keys.
    """
    return TrustBundle.parse(sign_note(contents.text(), signers).encode(), roots=roots)
