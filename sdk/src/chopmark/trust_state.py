"""What a verifier trusts, as a state machine without I/O: bytes and a time in, verified objects or an error out.

Trust starts at one pinned root epoch, the home region's. Each step rests on the one before it:

1 root epochs    each signed by the thresholds of the one before and of its own; none skipped
2 home bundle    signed by the home roots; its digest is an entry (kind 4) of one of its own logs
3 peer roots     the chain starts at the pin in the home bundle
4 peer bundles   signed by those roots; logged, in a log that the home bundle names, under that log's policy and under
                 the floor that the home bundle sets
5 landmarks      the file of a log of home or of a peer; vouched for (kind 5) in a log of the *home* region
6 status lists   under a uri that a bundle names, signed by a status key of that issuer in its window; logged (kind 2)
                 in a log of the issuer's region, as in 4

Nothing ever goes back: `seq`, number of records and time of issue only rise, and the same number with other bytes is
refused. Nothing may be dated more than an hour ahead of the clock. `check_…` decides and changes nothing, `add_…`
takes over what was checked; between them the caller makes it durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from chopmark.bundle_entries import Log, Peer
from chopmark.bundle_policies import peer_policies
from chopmark.entries import LandmarkFileEntry, StatusListEntry, TrustBundleEntry
from chopmark.errors import FutureDatedError, RollbackError, TrustError
from chopmark.landmark import LandmarkFile
from chopmark.merkle import leaf_hash
from chopmark.root_epoch import Roots
from chopmark.status import StatusListToken
from chopmark.strict import time_encode
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark.trust_bundle import TrustBundle
from chopmark.trust_memory import Seen, TrustMemory

FUTURE_TOLERANCE: Final = 3_600
"""Seconds that an object may be dated ahead of the clock."""
_LATEST_TIME: Final = 253_402_300_799
"""The end of the year 9999: a later time cannot be written down."""

_Object = TypeVar("_Object")


@dataclass(frozen=True, slots=True)
class Checked(Generic[_Object]):
    """An object that may be taken over, and the latest time (POSIX seconds, 0 for none) for the floor of the clock."""

    value: _Object
    home_time: int


@dataclass(frozen=True, slots=True)
class _Logged:
    """Where and by when an entry was logged."""

    log: Log
    index: int
    time: int


class TrustState:
    """Everything that was accepted. Not for use by two threads while it changes."""

    __slots__ = (
        "_epochs",
        "_origin_regions",
        "_policies",
        "_source_regions",
        "bundles",
        "landmark_files",
        "memory",
        "pin",
        "status_lists",
    )

    def __init__(self, pin: Roots, memory: TrustMemory) -> None:
        self.pin = pin
        self.memory = memory
        self.bundles: dict[str, TrustBundle] = {}
        self.landmark_files: dict[str, LandmarkFile] = {}
        self.status_lists: dict[str, StatusListToken] = {}
        self._epochs: dict[str, dict[int, Roots]] = {pin.region: {pin.epoch: pin}}
        self._policies: dict[tuple[str, str], tuple[TlogPolicy, ...]] = {}
        self._origin_regions: dict[str, str] = {}
        self._source_regions: dict[str, str] = {}

    def copy(self) -> TrustState:
        """The same state, which later changes of this one do not reach: what it holds is never changed in place."""
        other = TrustState(self.pin, self.memory)
        other.bundles = dict(self.bundles)
        other.landmark_files = dict(self.landmark_files)
        other.status_lists = dict(self.status_lists)
        other._epochs = {region: dict(epochs) for region, epochs in self._epochs.items()}
        other._policies = dict(self._policies)
        other._origin_regions = dict(self._origin_regions)
        other._source_regions = dict(self._source_regions)
        return other

    @property
    def home(self) -> TrustBundle:
        """The bundle of the home region.

        Raises:
            TrustError: there is none yet.
        """
        try:
            return self.bundles[self.pin.region]
        except KeyError:
            raise TrustError(
                f"there is no bundle of the home region {self.pin.region} yet", remedy="fetch it first"
            ) from None

    def peer(self, region: str) -> Peer | None:
        """What the home bundle says of another region."""
        home = self.bundles.get(self.pin.region)
        return None if home is None else home.peer(region)

    def policies(self, region: str, origin: str) -> tuple[TlogPolicy, ...]:
        """All the policies that a checkpoint of that log must satisfy; never empty.

        Raises:
            TrustError: it is not a log of that region that the home region accepts.
        """
        try:
            return self._policies[region, origin]
        except KeyError:
            raise TrustError(f"{origin} is not an accepted log of {region}", where=origin) from None

    def epochs(self, region: str) -> dict[int, Roots]:
        """The root epochs of a region, from its pin on.

        Raises:
            TrustError: it is neither the home region nor a peer.
        """
        try:
            return self._epochs[region]
        except KeyError:
            raise TrustError(
                f"{region} is neither the home region {self.pin.region} nor one of its peers",
                where=f"region {region}",
                remedy="fetch the bundle of the home region first",
            ) from None

    def latest_roots(self, region: str) -> Roots:
        """The latest root epoch of a region; errors as `epochs`."""
        epochs = self.epochs(region)
        return epochs[max(epochs)]

    def check_root(self, region: str, data: bytes, *, now: int | None) -> Roots:
        """Check a root epoch: the next one, or one that is known already.

        Args:
            region: whose it is meant to be.
            data: the note.
            now: POSIX seconds; None while reading what was accepted before.

        Raises:
            FormatError: not a root epoch.
            SignatureError: below a threshold.
            TrustError: of another region, a skipped epoch, or not the one known under its number.
            FutureDatedError: dated more than an hour ahead.
        """
        epochs = self.epochs(region)
        stated = Roots.pin(data)
        where = f"root epoch {stated.epoch} of {stated.region}"
        if stated.region != region:
            raise TrustError(f"it is not of the region {region}", where=where)
        known = epochs.get(stated.epoch)
        if known is not None:
            if (set(known.verifiers), known.threshold) != (set(stated.verifiers), stated.threshold):
                raise TrustError("another root epoch is known under that number", where=where)
            return known
        if stated.epoch < min(epochs):
            raise RollbackError(f"the pin is epoch {min(epochs)}", where=where)
        roots = self.latest_roots(region).advance(data)
        if roots.issued is not None:
            _not_ahead(roots.issued, now, where)
        return roots

    def add_root(self, roots: Roots) -> None:
        """Take over a root epoch that was checked."""
        self.epochs(roots.region).setdefault(roots.epoch, roots)

    def check_bundle(self, data: bytes, proof: bytes, *, now: int | None) -> Checked[TrustBundle]:
        """Check a bundle of the home region or of a peer.

        Args:
            data: the note.
            proof: the tlog-proof of its entry of kind 4.
            now: POSIX seconds; None while reading what was accepted before.

        Raises:
            FormatError: not a bundle, or it breaks a rule.
            SignatureError: too few root keys signed.
            TrustError: of a region that is not known or closed, of a superseded root epoch, not logged where it
                must be, or an entry changed that must stay; `RollbackError`, `FutureDatedError`, `QuorumError`.
            ProofError: the proof is of another entry.
        """
        bundle = TrustBundle.parse_with(data, self._roots_of)
        where = f"bundle {bundle.seq} of {bundle.region}"
        if (seen := self.memory.bundles.get(bundle.region)) is not None:
            seen.check(bundle.seq, bundle.digest, where=where)
        current = self.bundles.get(bundle.region)
        if current is None or current.digest != bundle.digest:
            if current is not None:
                current.check_successor(bundle)
            self._check_admission(bundle, now, where)
        _not_ahead(bundle.issued, now, where)
        entry = TrustBundleEntry(bundle.region, bundle.seq, bundle.digest)
        logged = self._logged(bundle, entry.encode(), proof, now, where)
        return Checked(bundle, logged.time if bundle.region == self.pin.region else 0)

    def add_bundle(self, checked: Checked[TrustBundle]) -> None:
        """Take over a bundle that was checked; what rests on an earlier one of its region is forgotten."""
        bundle = checked.value
        if bundle.region == self.pin.region:
            for region in [region for region in self._epochs if region != bundle.region]:
                self.forget(region)
                del self._epochs[region]
            for peer in bundle.peers:
                self._epochs[peer.region] = {peer.epoch: Roots.from_peer(peer)}
        self.forget(bundle.region)
        self.bundles[bundle.region] = bundle
        peer_entry = self.peer(bundle.region)
        for log in bundle.logs:
            if bundle.region == self.pin.region or (peer_entry is not None and log.origin in peer_entry.origins):
                self._policies[bundle.region, log.origin] = self._policies_of(bundle, log.origin)
                self._origin_regions[log.origin] = bundle.region
        for source in bundle.contents.status_lists:
            self._source_regions[source.uri] = bundle.region
        self.memory = self.memory.with_bundle(bundle.region, Seen(bundle.seq, bundle.digest)).with_clock_floor(
            checked.home_time
        )

    def forget(self, region: str) -> None:
        """Drop the bundle of a region and what rests on it; what was seen of it stays remembered."""
        self.bundles.pop(region, None)
        for origin in [origin for origin, owner in self._origin_regions.items() if owner == region]:
            del self._origin_regions[origin]
            del self._policies[region, origin]
            self.landmark_files.pop(origin, None)
        for uri in [uri for uri, owner in self._source_regions.items() if owner == region]:
            del self._source_regions[uri]
            self.status_lists.pop(uri, None)

    def log_of(self, origin: str) -> tuple[str, Log]:
        """The region of an accepted log, and what its bundle says of it.

        Raises:
            TrustError: no bundle that was accepted names it.
        """
        region = self._origin_regions.get(origin)
        log = None if region is None else self.bundles[region].log_by_origin(origin)
        if region is None or log is None:
            raise TrustError(
                "it is not a log of the home region or of a peer", where=origin, remedy="fetch the bundles first"
            )
        return region, log

    def check_landmarks(self, origin: str, data: bytes, proof: bytes, *, now: int | None) -> Checked[LandmarkFile]:
        """Check the landmark file of a log.

        Args:
            origin: of the log it is meant to be of.
            data: the file.
            proof: the tlog-proof of its entry of kind 5 in a log of the home region.
            now: POSIX seconds; None while reading what was accepted before.

        Raises:
            FormatError: not a landmark file.
            TrustError: of another or unknown log, beyond the log's final size, or its earlier records were rewritten;
                `RollbackError` for fewer records, `FutureDatedError`, `QuorumError`.
            ProofError: the proof is of another entry.
        """
        where = f"landmark file of {origin}"
        region, log = self.log_of(origin)
        file = LandmarkFile.parse(data)
        if file.log_number != log.number:
            raise TrustError(f"it is of log {file.log_number}, not {log.number}", where=where)
        count = len(file)
        digest = file.prefix_digest(count)
        if (seen := self.memory.landmarks.get(origin)) is not None:
            seen.check(count, digest, where=where)
            if file.prefix_digest(seen.version) != seen.digest:
                raise TrustError(
                    f"its first {seen.version} records are not those accepted before; it may only grow", where=where
                )
        if log.final is not None and file.end > log.final.size:
            raise TrustError(f"it goes beyond the final size {log.final.size} of the log", where=where)
        newest_record = file.covering(file.end - 1)
        newest = 0 if newest_record is None else newest_record.witnessed_time
        _not_ahead(newest, now, where)
        logged = self._logged(self.home, LandmarkFileEntry(origin, count, digest).encode(), proof, now, where)
        return Checked(file, max(logged.time, newest) if region == self.pin.region else logged.time)

    def add_landmarks(self, origin: str, checked: Checked[LandmarkFile]) -> None:
        """Take over a landmark file that was checked."""
        file = checked.value
        self.landmark_files[origin] = file
        seen = Seen(len(file), file.prefix_digest(len(file)))
        self.memory = self.memory.with_landmarks(origin, seen).with_clock_floor(checked.home_time)

    def source_region(self, uri: str) -> str:
        """The region whose bundle names a status list.

        Raises:
            TrustError: none does.
        """
        try:
            return self._source_regions[uri]
        except KeyError:
            raise TrustError(
                "no bundle names this uri", where=f"status list {uri}", remedy="fetch the bundles first"
            ) from None

    def check_status_list(self, data: bytes, proof: bytes, *, now: int | None) -> Checked[StatusListToken]:
        """Check a status list.

        Args:
            data: the token.
            proof: the tlog-proof of its entry of kind 2 in a log of the issuer's region.
            now: POSIX seconds; None while reading what was accepted before.

        Raises:
            FormatError: not a status list token.
            SignatureError: its signature does not verify.
            TrustError: no bundle names its uri, or its key may not sign it; `RollbackError` for an earlier one,
                `FutureDatedError`, `QuorumError`.
            ProofError: the proof is of another entry.
        """
        token = StatusListToken.parse(data)
        where = f"status list {token.uri}"
        region = self.source_region(token.uri)
        bundle = self.bundles[region]
        source = bundle.status_source(token.uri)
        assert source is not None  # noqa: S101  # `source_region` found it there
        if (seen := self.memory.status_lists.get(token.uri)) is not None:
            seen.check(token.issued_at, token.hash, where=where)
        _not_ahead(token.issued_at, now, where)
        entry = StatusListEntry(source.issuer, token.uri, token.hash, token.issued_at)
        logged = self._logged(bundle, entry.encode(), proof, now, where)
        key = bundle.key(source.issuer, token.kid)
        if key is None or source.signer(token.kid, logged.time) is None or not key.covers(logged.time):
            raise TrustError(
                f"the key {token.kid.hex()} is not one that might sign it when it was logged, "
                f"{time_encode(logged.time)}",
                where=where,
            )
        if key.revoked is not None and logged.index >= (key.revoked.trusted_size(logged.log.origin) or 0):
            raise TrustError(f"the key {token.kid.hex()} was revoked before the list was logged", where=where)
        token.verify(key.public_key)
        return Checked(token, logged.time if region == self.pin.region else 0)

    def add_status_list(self, checked: Checked[StatusListToken]) -> None:
        """Take over a status list that was checked."""
        token = checked.value
        self.status_lists[token.uri] = token
        seen = Seen(token.issued_at, token.hash)
        self.memory = self.memory.with_status_list(token.uri, seen).with_clock_floor(checked.home_time)

    def _roots_of(self, region: str, epoch: int) -> Roots:
        roots = self.epochs(region).get(epoch)
        if roots is None:
            raise TrustError(
                f"its root epoch {epoch} is not known; known: {min(self.epochs(region))} to {max(self.epochs(region))}",
                where=f"bundle of {region}",
                remedy="fetch the root epochs first",
            )
        return roots

    def _check_admission(self, bundle: TrustBundle, now: int | None, where: str) -> None:
        """What is asked of a new bundle only: a bundle accepted before stays, and is reported where it is stale."""
        if now is None:
            return
        if bundle.epoch != self.latest_roots(bundle.region).epoch:
            raise TrustError(
                f"it is of root epoch {bundle.epoch}, which {self.latest_roots(bundle.region).epoch} superseded",
                where=where,
            )
        peer = self.peer(bundle.region)
        if bundle.region != self.pin.region and (peer is None or not peer.covers(now)):
            raise TrustError(f"{bundle.region} is not a peer at {time_encode(now)}", where=where)

    def _policies_of(self, bundle: TrustBundle, origin: str) -> tuple[TlogPolicy, ...]:
        policy = bundle.policy(origin)
        if policy is None:
            raise TrustError(f"it is logged in {origin}, which is not a log of {bundle.region}")
        if bundle.region == self.pin.region:
            return (policy,)
        peer, floor = self.home.peer(bundle.region), self.home.policy_floor(bundle.region)
        if peer is None or floor is None or origin not in peer.origins:
            raise TrustError(f"it is logged in {origin}, which the home region does not accept of {bundle.region}")
        return peer_policies(policy, floor)

    def _logged(self, bundle: TrustBundle, entry: bytes, data: bytes, now: int | None, where: str) -> _Logged:
        """Show that an entry is in a log of the bundle's region, and by when, under every policy that counts."""
        proof = TlogProof.parse(data)
        origin = proof.checkpoint.origin
        try:
            policies = self._policies_of(bundle, origin)
        except TrustError as error:
            raise TrustError(error.what, where=where) from error
        leaf = leaf_hash(entry)
        time = max(proof.verify(leaf, policy).time for policy in policies)
        log = bundle.log_by_origin(origin)
        if log is None:
            raise TrustError(f"it is logged in {origin}, which is not a log of {bundle.region}", where=where)
        if log.final is not None and proof.index >= log.final.size:
            raise TrustError(f"its index is at or above the final size of {origin}", where=where)
        # what a frozen log holds was logged while it was open, however late the checkpoint that shows it
        if time < log.not_before or (log.final is None and not log.covers(time)):
            raise TrustError(f"{origin} was not in use at {time_encode(time)}", where=where)
        _not_ahead(time, now, where)
        return _Logged(log, proof.index, time)


def _not_ahead(time: int, now: int | None, where: str) -> None:
    if time > _LATEST_TIME or (now is not None and time > now + FUTURE_TOLERANCE):
        raise FutureDatedError(
            "it is dated more than an hour ahead of the clock",
            where=where,
            remedy="set the clock right; if it is, do not use this object",
        )
