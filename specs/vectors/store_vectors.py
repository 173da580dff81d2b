"""Vectors of the trust store: what it takes, in which order, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

from chopmark.cosignature import Cosigner
from chopmark.entries import CredentialEntry, LandmarkFileEntry, StatusListEntry, TrustBundleEntry
from chopmark.issuer_key import Revocation, RevocationReason, TrustedSize
from chopmark.keys import Ed25519Signer
from chopmark.landmark import LandmarkFile
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.root_epoch import root_epoch_text

from specs.vectors.material import FETCHED, Material, Step
from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import (
    CREATED,
    DAY,
    FOOD_DEPARTMENT,
    NOW,
    TRANSPORT_DEPARTMENT,
    SampleWorld,
    make_world,
)
from specs.vectors.status_vectors import status_token
from specs.vectors.vector_file import (
    FORMAT,
    FUTURE,
    PROOF,
    QUORUM,
    ROLLBACK,
    SIGNATURE,
    TRUST,
    VectorFile,
)

WITNESSED = NOW - 10 * DAY


class _Stores:
    """One world, the steps that make a good store of it, and the writer of vectors."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.world: SampleWorld = make_world()
        self.home, self.peer = self.world.home, self.world.peer
        self.file = VectorFile("trust-store", "specs/trust-store.md")
        self.file.shared = {"pin": material.add("cn-sh/root-1", self.home.root_epoch)}
        self.world.logged(
            *(self.world.issue(self.world.claims("food", index=index)) for index in range(7)), at=WITNESSED
        )
        self.home_bundle = material.bundle(self.home, "store/cn-sh/bundle")
        self.peer_bundle = material.bundle(self.peer, "store/cn-gd/bundle")
        self.landmarks = material.landmarks(self.home, self.peer.log, "store/cn-gd/landmarks")
        self.status = material.status(self.peer, FOOD_DEPARTMENT, "store/cn-gd/status", {})
        self.bundles = [self.home_bundle, self.peer_bundle]

    def accept(self, name: str, description: str, *steps: Step, floor: int = FETCHED) -> None:
        self.file.accept(f"store-{name}", description, "trust_store", {"steps": list(steps)}, {"clock_floor": floor})

    def refuse(self, name: str, description: str, error: str, *steps: Step) -> None:
        """The last step is refused; all before it are taken."""
        self.file.refuse(f"store-{name}", description, "trust_store", {"steps": list(steps)}, error)


def store_vectors(material: Material) -> VectorFile:
    """All vectors of `trust-store.json`."""
    stores = _Stores(material)
    _add_roots(stores)
    _add_bundles(stores)
    _add_logging(stores)
    _add_landmarks(stores)
    _add_status_lists(stores)
    return stores.file


def _root(stores: _Stores, epoch: int, signers: str, *, issued: int = CREATED + DAY) -> bytes:
    """A later root epoch of the home region, of the same three keys."""
    roots = stores.home.root_signers
    keys = [signer.vkey for signer in roots]
    text = root_epoch_text(region="CN-SH", epoch=epoch, issued=issued, threshold=2, keys=keys)
    return sign_note(text, [roots["abc".index(name)] for name in signers]).encode()


def _add_roots(stores: _Stores) -> None:
    material, home = stores.material, stores.home
    second = material.root(home, "store/cn-sh/root-2", _root(stores, 2, "ab"))
    third = material.root(home, "store/cn-sh/root-3", _root(stores, 3, "bc"))
    ahead = material.root(home, "store/cn-sh/root-2-ahead", _root(stores, 2, "ab", issued=NOW + 2 * 3600))
    other = material.root(home, "store/cn-sh/root-2-other", _root(stores, 2, "ab", issued=CREATED + 2 * DAY))
    of_peer = material.root(home, "cn-gd/root-1", stores.peer.root_epoch)
    unknown = {**of_peer, "region": "US-IL"}
    under_second = material.bundle(home, "store/cn-sh/bundle-of-root-2", epoch=2)
    stores.accept("roots", "two later root epochs", second, third, floor=0)
    stores.accept(
        "root-again", "an epoch that is known, dated otherwise: the keys are the same", second, other, floor=0
    )
    stores.accept("bundle-of-later-root", "a bundle of the second epoch", second, under_second)
    stores.refuse("root-skipped", "an epoch is skipped", TRUST, third)
    stores.refuse("root-ahead", "a root epoch dated more than an hour ahead", FUTURE, ahead)
    stores.refuse("root-of-another-region", "the epoch of a peer as one of home", TRUST, of_peer)
    stores.refuse("root-of-unknown-region", "the epoch of a region that is no peer", TRUST, unknown)
    stores.refuse("bundle-before-root", "a bundle of an epoch that the store does not know", TRUST, under_second)
    stores.refuse("bundle-of-superseded-root", "a new bundle of a superseded epoch", TRUST, second, stores.home_bundle)
    stores.peer.seq = home.seq = 1


def _add_bundles(stores: _Stores) -> None:
    material, home, peer = stores.material, stores.home, stores.peer
    good = stores.bundles
    stores.accept("bundles", "home, then its peer", *good)
    stores.accept("bundle-again", "the same bundle again", *good, stores.peer_bundle)
    stores.accept("reopened", "a store that was closed and opened again", *good, {"put": "reopen"})
    stores.refuse("peer-before-home", "the bundle of a peer, when that of home is not there", TRUST, stores.peer_bundle)
    second = material.bundle(peer, "store/cn-gd/bundle-2", at=FETCHED + 60)
    stores.accept("bundle-newer", "a newer bundle of the peer", *good, second)
    stores.refuse("bundle-rolled-back", "the bundle before", ROLLBACK, *good, second, stores.peer_bundle)
    stores.refuse(
        "bundle-rolled-back-reopened",
        "the bundle before, after the store was closed and opened again",
        ROLLBACK,
        *good,
        second,
        {"put": "reopen"},
        stores.peer_bundle,
    )
    peer.seq = 1
    twin = material.bundle(peer, "store/cn-gd/bundle-2-twin", at=FETCHED + 61)
    stores.refuse("bundle-same-seq", "another bundle of the same seq", ROLLBACK, *good, second, twin)
    gone = material.bundle(peer, "store/cn-gd/bundle-grant-gone", at=FETCHED + 60, grants=tuple(peer.grants[:-1]))
    stores.refuse("bundle-grant-gone", "a later bundle from which a grant is gone", TRUST, *good, gone)
    ahead = material.bundle(peer, "store/cn-gd/bundle-ahead", at=NOW + 2 * 3600, logged_at=FETCHED, now=FETCHED)
    stores.refuse("bundle-ahead", "a bundle dated more than an hour ahead", FUTURE, stores.home_bundle, ahead)
    closed = replace(home.peers[0], not_after=FETCHED)
    home_closed = material.bundle(home, "store/cn-sh/bundle-peer-closed", at=FETCHED, peers=(closed,))
    stores.refuse(
        "peer-closed", "a bundle of a region that is no peer any more", TRUST, home_closed, stores.peer_bundle
    )
    forged = material.bundle(peer, "store/cn-gd/bundle-forged", at=FETCHED + 60)
    note = Note.parse(material.files[forged["data"]]["text"])
    stranger = NoteSigner("cn-gd.example/root/a", Ed25519Signer.from_private_bytes(b"\x21" * 32))
    data = sign_note(note.text, [peer.root_signers[0], stranger]).encode()
    forged = {**forged, "data": material.add("store/cn-gd/bundle-one-root", data)}
    stores.refuse("bundle-one-root", "a bundle that one root signed where two must", SIGNATURE, *good, forged)


def _add_logging(stores: _Stores) -> None:
    """A bundle counts only with the proof that it was logged, where and as the home region demands."""
    material, home, peer = stores.material, stores.home, stores.peer
    peer.seq = 1
    note = peer.bundle(at=FETCHED)
    text = Note.parse(note).text
    digest = sha256(text.encode()).digest()

    def logged(label: str, entry: bytes, log: SampleLog, *, at: int = FETCHED, **options: Any) -> Step:
        proof = log.tlog_proof(log.append(entry), at=at, **options)
        return material.pair("bundle", f"store/cn-gd/{label}", note, proof, now=FETCHED)

    entry = TrustBundleEntry("CN-GD", 2, digest).encode()
    other_seq = TrustBundleEntry("CN-GD", 3, digest).encode()
    as_credential = CredentialEntry(FOOD_DEPARTMENT, digest).encode()
    for name, description, error, step in (
        (
            "bundle-unwitnessed",
            "its checkpoint is not cosigned",
            QUORUM,
            logged("bundle-2a", entry, peer.log, witnesses=[]),
        ),
        (
            "bundle-other-seq",
            "logged under another seq",
            PROOF,
            _swapped(material, logged("bundle-2b", other_seq, peer.log), note),
        ),
        (
            "bundle-other-kind",
            "its digest is logged as that of a credential",
            PROOF,
            _swapped(material, logged("bundle-2c", as_credential, peer.log), note),
        ),
        ("bundle-in-home-log", "logged in the log of another region", TRUST, logged("bundle-2d", entry, home.log)),
        (
            "bundle-logged-ahead",
            "witnessed more than an hour ahead of the clock",
            FUTURE,
            logged("bundle-2e", entry, peer.log, at=NOW + 2 * 3600),
        ),
        (
            "bundle-logged-before-log",
            "witnessed before the log was in use",
            TRUST,
            logged("bundle-2f", entry, peer.log, at=CREATED - 1),
        ),
    ):
        stores.refuse(name, description, error, stores.home_bundle, step)
    strange = SampleLog(
        "cn-gd.example/log/2027",
        2,
        NoteSigner("cn-gd.example/log/2027", Ed25519Signer(b"\x22" * 32)),
        peer.log.witnesses,
        CREATED,
    )
    unnamed = logged("bundle-2g", entry, strange)
    stores.refuse(
        "bundle-in-unnamed-log", "logged in a log that the bundle does not name", TRUST, stores.home_bundle, unnamed
    )
    demanding = Cosigner("us-il.example/witness", Ed25519Signer.from_private_bytes(b"\x23" * 32))
    floor = replace(
        home.peers[0],
        policy_floor_text=peer.log.policy_text.replace(
            "group operators all operator1",
            f"witness w2 {demanding.vkey}\ngroup operator2 any w2\ngroup operators all operator1 operator2",
        ),
    )
    home.seq = 0
    strict = material.bundle(home, "store/cn-sh/bundle-floor", peers=(floor,))
    good = logged("bundle-2h", entry, peer.log)
    both = logged("bundle-2i", entry, peer.log, witnesses=[*peer.log.witnesses, demanding])
    stores.refuse("bundle-below-floor", "the log's own policy is met, the floor of home is not", QUORUM, strict, good)
    stores.accept("bundle-on-floor", "policy and floor are both met", strict, both)


def _swapped(material: Material, step: Step, note: bytes) -> Step:
    return {**step, "data": material.add(step["data"], note)}


def _add_landmarks(stores: _Stores) -> None:
    material, home, peer = stores.material, stores.home, stores.peer
    origin = peer.log.origin
    first = stores.landmarks
    stores.accept("landmarks", "the landmark file of the peer's log, vouched for by home", *stores.bundles, first)
    stores.refuse(
        "landmarks-before-bundle", "a landmark file of a log that no bundle names", TRUST, stores.home_bundle, first
    )
    records = peer.log.records
    fewer = LandmarkFile.empty(1).with_records(records[:-1]).encode()
    rolled_back = material.landmark_bytes(home, origin, fewer, "store/cn-gd/landmarks-fewer")
    rewritten_first = replace(records[0], hash=bytes(32))
    forged = LandmarkFile.empty(1).with_records([rewritten_first, *records[1:]]).encode()
    rewritten = material.landmark_bytes(home, origin, forged, "store/cn-gd/landmarks-rewritten")
    peer.log.landmark(at=NOW - DAY)
    grown = material.landmarks(home, peer.log, "store/cn-gd/landmarks-grown")
    later = LandmarkFile.empty(1).with_records([rewritten_first, *peer.log.records[1:]]).encode()
    grown_rewritten = material.landmark_bytes(home, origin, later, "store/cn-gd/landmarks-grown-rewritten")
    of_log_2 = LandmarkFile.empty(2).with_records(records).encode()
    other_log = material.landmark_bytes(home, origin, of_log_2, "store/cn-gd/landmarks-of-log-2")
    ahead_file = LandmarkFile.empty(1).with_records([replace(records[0], witnessed_time=NOW + 2 * 3600)]).encode()
    ahead = material.landmark_bytes(home, origin, ahead_file, "store/cn-gd/landmarks-ahead")
    good = [*stores.bundles, first]
    stores.accept("landmarks-grown", "more records at its end", *good, grown)
    stores.refuse("landmarks-fewer", "fewer records than before", ROLLBACK, *good, rolled_back)
    stores.refuse("landmarks-rewritten", "other records, as many as before", ROLLBACK, *good, rewritten)
    stores.refuse("landmarks-grown-rewritten", "more records, an earlier one rewritten", TRUST, *good, grown_rewritten)
    stores.refuse("landmarks-of-another-log", "the file of another log number", TRUST, *stores.bundles, other_log)
    stores.refuse("landmarks-ahead", "a record witnessed more than an hour ahead", FUTURE, *stores.bundles, ahead)
    data = peer.log.landmark_file.encode()
    entry = LandmarkFileEntry(origin, len(peer.log.records), sha256(data).digest()).encode()
    by_peer = peer.log.tlog_proof(peer.log.append(entry), at=FETCHED)
    own_word = {
        **material.pair("landmarks", "store/cn-gd/landmarks-by-peer", data, by_peer, now=FETCHED),
        "origin": origin,
    }
    stores.refuse(
        "landmarks-by-peer", "vouched for in the log of the peer, not of home", TRUST, *stores.bundles, own_word
    )
    unwitnessed = home.log.tlog_proof(home.log.append(entry), at=FETCHED, witnesses=[])
    step = {
        **material.pair("landmarks", "store/cn-gd/landmarks-unwitnessed", data, unwitnessed, now=FETCHED),
        "origin": origin,
    }
    stores.refuse(
        "landmarks-unwitnessed", "vouched for under a checkpoint without cosignature", QUORUM, *stores.bundles, step
    )
    broken = material.landmark_bytes(home, origin, data[:-1], "store/cn-gd/landmarks-truncated")
    stores.refuse("landmarks-truncated", "not a landmark file, though vouched for", FORMAT, *stores.bundles, broken)


def _add_status_lists(stores: _Stores) -> None:
    material, peer = stores.material, stores.peer
    first = stores.status
    good = [*stores.bundles, first]
    uri = peer.status_uri(FOOD_DEPARTMENT)
    later = material.status(peer, FOOD_DEPARTMENT, "store/cn-gd/status-later", {1: 1}, at=FETCHED + 60)
    twin = material.status(peer, FOOD_DEPARTMENT, "store/cn-gd/status-twin", {2: 1})
    ahead = material.status(peer, FOOD_DEPARTMENT, "store/cn-gd/status-ahead", {}, at=NOW + 2 * 3600, logged_at=FETCHED)
    unnamed = material.status(
        peer, FOOD_DEPARTMENT, "store/cn-gd/status-unnamed", {}, uri=f"https://{peer.host}/status/9"
    )
    credential_key = peer.signers[FOOD_DEPARTMENT, "credential"]
    by_credential = material.status(
        peer, FOOD_DEPARTMENT, "store/cn-gd/status-by-credential-key", {}, signer=credential_key
    )
    other_status_key = peer.signers[TRANSPORT_DEPARTMENT, "status"]
    by_other = material.status(peer, FOOD_DEPARTMENT, "store/cn-gd/status-by-other", {}, signer=other_status_key)
    in_home = material.status(peer, FOOD_DEPARTMENT, "store/cn-gd/status-in-home", {3: 1}, log=stores.home.log)
    token = status_token(
        peer.signers[FOOD_DEPARTMENT, "status"], uri=uri, at=FETCHED, expires=FETCHED + DAY, statuses={4: 1}
    )
    unlogged = material.pair(
        "status_list", "store/cn-gd/status-unlogged", token, _proof_of(material, first), now=FETCHED
    )
    entry = StatusListEntry(TRANSPORT_DEPARTMENT, uri, sha256(token).digest(), FETCHED).encode()
    of_other = peer.log.tlog_proof(peer.log.append(entry), at=FETCHED)
    logged_by_other = material.pair("status_list", "store/cn-gd/status-logged-by-other", token, of_other, now=FETCHED)
    stores.accept("status", "a list of a department of the peer", *good)
    stores.accept("status-later", "a later list", *good, later)
    stores.refuse("status-rolled-back", "the list before", ROLLBACK, *good, later, first)
    stores.refuse("status-same-time", "another list of the same time", ROLLBACK, *good, twin)
    stores.refuse("status-ahead", "a list dated more than an hour ahead", FUTURE, *stores.bundles, ahead)
    stores.refuse(
        "status-before-bundle", "a list of a region whose bundle is not there", TRUST, stores.home_bundle, first
    )
    stores.refuse("status-unnamed", "a uri that no bundle names", TRUST, *stores.bundles, unnamed)
    stores.refuse(
        "status-by-credential-key",
        "signed by the credential key of the department",
        TRUST,
        *stores.bundles,
        by_credential,
    )
    stores.refuse(
        "status-by-another", "signed by the status key of another department", TRUST, *stores.bundles, by_other
    )
    stores.refuse("status-unlogged", "with the proof of another list", PROOF, *stores.bundles, unlogged)
    stores.refuse(
        "status-logged-by-another", "logged under another department", PROOF, *stores.bundles, logged_by_other
    )
    stores.refuse("status-in-home-log", "logged in the log of another region", TRUST, *stores.bundles, in_home)
    _add_revoked_status_key(stores)


def _add_revoked_status_key(stores: _Stores) -> None:
    material, peer = stores.material, stores.peer
    size = peer.log.size
    below = material.status(peer, FOOD_DEPARTMENT, "store/cn-gd/status-below", {5: 1})
    above = material.status(peer, FOOD_DEPARTMENT, "store/cn-gd/status-above", {6: 1})
    revocation = Revocation(FETCHED, RevocationReason.COMPROMISED, (TrustedSize(peer.log.origin, size + 1),))
    status_key = peer.signers[FOOD_DEPARTMENT, "status"].public_key
    keys = tuple(replace(key, revoked=revocation) if key.public_key == status_key else key for key in peer.keys)
    peer.seq = 0
    revoked = material.bundle(peer, "store/cn-gd/bundle-status-key-revoked", keys=keys)
    stores.accept(
        "status-below-trusted-size",
        "of a revoked status key, logged below the trusted size",
        stores.home_bundle,
        revoked,
        below,
    )
    stores.refuse(
        "status-above-trusted-size",
        "of a revoked status key, logged at the trusted size",
        TRUST,
        stores.home_bundle,
        revoked,
        above,
    )


def _proof_of(material: Material, step: Step) -> bytes:
    return material.files[step["proof"]]["text"].encode()
