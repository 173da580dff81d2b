"""Vectors of verdicts about who signed, where it is logged, and whether the issuer might: checks 3, 4, 6 and 7."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chopmark.bundle_entries import FinalTree, Grant, IssuerState, IssuerStatus, Log
from chopmark.claims import write_claims
from chopmark.cosignature import Cosigner
from chopmark.credential import Credential
from chopmark.entries import CredentialEntry
from chopmark.issuer_key import Key, KeyUse, Revocation, RevocationReason, TrustedSize
from chopmark.keys import Ed25519Signer
from chopmark.landmark import LandmarkFile, LandmarkProof
from chopmark.merkle import root, subtree_inclusion_proof
from chopmark.note import NoteSigner

from specs.vectors.credential_vectors import BEARER, sign_claims
from specs.vectors.material import FETCHED
from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import CREATED, DAY, FOOD_DEPARTMENT, NOW
from specs.vectors.verdict_stage import WITNESSED, Stage, verdict

GRACE = 900
UNLOGGED = {6: "UNKNOWN not_shown_logged", 7: "UNKNOWN time_of_logging_unknown"}


def add_issuer(stage: Stage) -> None:
    """Checks 3 and 4."""
    add, world = stage.add, stage.world
    food = stage.licences["food"]
    data = food.encode()
    stranger = Ed25519Signer.from_private_bytes(b"\x41" * 32)

    def signed(signer: Ed25519Signer, **changes: Any) -> Credential:
        return Credential.parse(sign_claims(signer, write_claims(world.claims("food", **changes)), BEARER))

    no_key = {4: "UNKNOWN not_reached", 7: "UNKNOWN not_reached"}
    not_logged = {**no_key, 6: "UNKNOWN not_shown_logged"}
    by_stranger = signed(stranger)
    add(
        "key-unknown",
        "signed by a key that the department does not have",
        by_stranger,
        verdict("INVALID", {**not_logged, 3: "FAIL key_unknown"}),
    )
    stage.log({"stranger": by_stranger}, at=WITNESSED + 700)
    newer = signed(stranger, issued_at=NOW - 600, not_before=None)
    add(
        "key-newer",
        "signed after the bundle, by a key that it does not name",
        newer,
        verdict("INDETERMINATE", {**not_logged, 3: "UNKNOWN bundle_older_than_licence"}),
    )
    impostor = signed(stranger, issuer="CN-GD/11440000MB99990099")
    changed = {**not_logged, 3: "FAIL issuer_unknown", 9: "FAIL status_source_unknown"}
    add("issuer-unknown", "an issuer that the bundle does not name", impostor, verdict("INVALID", changed))
    elsewhere = signed(stranger, issuer="US-IL/1", licence_type="US-IL/1@1")
    outside = {
        2: "UNKNOWN not_reached",
        3: "UNKNOWN region_unknown",
        5: "UNKNOWN not_reached",
        9: "UNKNOWN not_reached",
    }
    add(
        "region-unknown",
        "a region that the store does not hold",
        elsewhere,
        verdict("INDETERMINATE", {**not_logged, **outside}),
    )
    add(
        "key-of-status",
        "signed by the status key of the department",
        stage.licences["key-of-status"],
        verdict("INVALID", {3: "FAIL key_of_another_use"}),
    )
    wrong = {4: "FAIL signature_wrong"}
    flipped = data[:-1] + bytes((data[-1] ^ 1,))
    add("signature-bit", "one bit of the issuer's signature is another", flipped, verdict("INVALID", wrong))
    renamed = data.replace("示例负责人".encode(), "示例冒名人".encode())
    add(
        "field-changed",
        "a name was changed",
        renamed,
        verdict("INVALID", {**wrong, 6: "FAIL log_path_wrong", 7: "UNKNOWN time_of_logging_unknown"}),
    )
    closed = stage.material.bundle(
        stage.home, "closed/cn-sh/bundle", peers=(replace(stage.home.peers[0], not_after=NOW - 1800),)
    )
    store = stage.variant("peer-closed", home=closed)
    unread = {
        **no_key,
        2: "UNKNOWN not_reached",
        3: "UNKNOWN peer_closed",
        5: "UNKNOWN not_reached",
        6: "UNKNOWN region_unknown",
        9: "UNKNOWN not_reached",
    }
    add("peer-closed", "the peering ended half an hour ago", food, verdict("INDETERMINATE", unread), store=store)
    add(
        "peer-not-yet-closed",
        "asked as of before the peering ended",
        food,
        verdict("VALID"),
        store=store,
        at=NOW - 1801,
    )
    for name, description, store_steps in (
        ("no-peer-bundle", "the bundle of the region is not in the store", [stage.home_bundle]),
        ("empty-store", "a store without any bundle", []),
    ):
        stage.stores[name] = [*store_steps]
        add(name, description, food, verdict("INDETERMINATE", {**unread, 3: "UNKNOWN region_unknown"}), store=name)


def add_log(stage: Stage) -> None:
    """Check 6."""
    add, world, licences = stage.add, stage.world, stage.licences
    food = licences["food"]
    proof = food.landmark_proof
    if proof is None:
        raise SystemExit("the sample has no landmark proof")
    untimed = {7: "UNKNOWN time_of_logging_unknown"}
    wrong = verdict("INVALID", {**untimed, 6: "FAIL log_path_wrong"})

    def with_proof(**changes: Any) -> Credential:
        return food.with_landmark_proof(replace(proof, **changes))

    add(
        "never-logged",
        "signed with the department's real key, never logged",
        food.without_proofs(),
        verdict("INDETERMINATE", UNLOGGED),
    )
    add("index-rewritten", "the index in the path was rewritten", with_proof(index=proof.index + 1), wrong)
    other = licences["revoked"].landmark_proof
    add("path-of-another", "the path of another licence", food.with_landmark_proof(other or proof), wrong)
    log_unknown = verdict("INVALID", {**untimed, 6: "FAIL log_unknown"})
    add("log-unknown", "a log number that the region does not have", with_proof(log_number=9), log_unknown)
    landmark_unknown = verdict("INDETERMINATE", {**untimed, 6: "UNKNOWN landmark_unknown"})
    add(
        "landmark-unknown",
        "a landmark that the store does not hold",
        with_proof(start=0, end=8, hashes=bytes(96)),
        landmark_unknown,
    )
    store = stage.variant("no-landmarks", landmarks=None)
    add("landmarks-absent", "a store without landmarks", food, landmark_unknown, store=store)
    home_log = stage.home.log
    for credential in list(licences.values())[:3]:
        home_log.append(CredentialEntry(credential.claims.issuer, credential.digest).encode())
    path = subtree_inclusion_proof(index=proof.index, start=proof.start, end=proof.end, read=home_log.read)
    of_home = LandmarkProof(1, proof.start, proof.end, proof.index, b"".join(path))
    add("landmark-of-another-log", "the path to a landmark of another log", food.with_landmark_proof(of_home), wrong)
    fresh = world.issue(world.claims("food", issued_at=NOW - 600, not_before=None))
    tlog = stage.fresh(fresh, at=NOW - 300)
    add("tlog-proof", "signed ten minutes ago, with a cosigned checkpoint", tlog, verdict("VALID"))
    add(
        "tlog-proof-second",
        "a landmark that is not out yet, and a cosigned checkpoint",
        tlog.with_landmark_proof(replace(proof, start=0, end=8)),
        verdict("VALID"),
    )
    unwitnessed = stage.fresh(fresh, at=NOW - 300, witnesses=[])
    add(
        "tlog-proof-unwitnessed",
        "a checkpoint that nobody cosigned",
        unwitnessed,
        verdict("INDETERMINATE", {**untimed, 6: "UNKNOWN log_quorum_missing"}),
    )
    own = stage.fresh(fresh, at=NOW - 300, witnesses=[Cosigner("cn-gd.example/witness", Ed25519Signer(b"\x42" * 32))])
    add(
        "tlog-proof-own-witness",
        "a checkpoint that only the region itself cosigned",
        own,
        verdict("INDETERMINATE", {**untimed, 6: "UNKNOWN log_quorum_missing"}),
    )
    ahead = stage.fresh(fresh, at=NOW + 7200)
    add(
        "tlog-proof-ahead",
        "witnessed two hours from now",
        ahead,
        verdict("INDETERMINATE", {**untimed, 6: "UNKNOWN witnessed_in_future"}),
    )
    index = home_log.append(CredentialEntry(fresh.claims.issuer, fresh.digest).encode())
    in_home = fresh.with_tlog_proof(home_log.tlog_proof(index, at=NOW - 300))
    add(
        "in-a-peers-log",
        "logged in the log of another region",
        in_home,
        verdict("INDETERMINATE", {**untimed, 6: "UNKNOWN bundle_older_than_licence"}),
    )
    old_in_home = food.without_proofs().with_tlog_proof(home_log.tlog_proof(1, at=WITNESSED))
    add("in-a-peers-log-old", "an older licence, logged in the log of another region", old_in_home, log_unknown)
    add(
        "tlog-proof-of-another",
        "the proof of another entry",
        food.without_proofs().with_tlog_proof(tlog.tlog_proof or b""),
        wrong,
    )
    add(
        "tlog-proof-malformed",
        "not a tlog-proof",
        food.without_proofs().with_tlog_proof(b"c2sp.org/tlog-proof@v2\n"),
        wrong,
    )
    provisional = {**verdict("INDETERMINATE", UNLOGGED), "provisional": True}
    asked = {"accept_provisional": True}
    add(
        "provisional",
        "not yet logged, ten minutes old, and the policy asks for the word",
        fresh,
        provisional,
        policy=asked,
    )
    add(
        "provisional-too-old",
        "not logged, ten days old",
        food.without_proofs(),
        verdict("INDETERMINATE", UNLOGGED),
        policy=asked,
    )
    _add_later_logs(stage)


def _add_later_logs(stage: Stage) -> None:
    """The peer's log was frozen at eight entries, and another one took its place; or both are in use."""
    peer, home, log = stage.peer, stage.home, stage.peer.log
    origin = "cn-gd.example/log/2027"
    successor = SampleLog(origin, 2, NoteSigner(origin, Ed25519Signer(b"\x43" * 32)), log.witnesses, WITNESSED)

    def entry(of: SampleLog, **changes: Any) -> Log:
        made = Log(of.number, of.origin, 1, (of.signer.vkey,), CREATED, None, None, of.policy_text)
        return replace(made, **changes)

    frozen = entry(log, not_after=WITNESSED + DAY, final=FinalTree(8, root(8, log.read)))
    origins = (log.origin, successor.origin)
    accepted = replace(home.peers[0], origins=origins, policy_floor_text=_witnesses_only(log.policy_text))
    steps = [
        stage.material.bundle(home, "frozen/cn-sh/bundle", peers=(accepted,)),
        stage.material.bundle(
            peer, "frozen/cn-gd/bundle", log=successor, logs=(frozen, entry(successor, not_before=WITNESSED))
        ),
        stage.material.status(peer, FOOD_DEPARTMENT, "frozen/cn-gd/status", {}, log=successor),
    ]
    data = LandmarkFile.empty(1).with_records(log.records[:2]).encode()
    landmarks = stage.material.landmark_bytes(home, log.origin, data, "frozen/cn-gd/landmarks")
    stage.stores["frozen"] = [steps[0], steps[1], landmarks, steps[2]]
    stage.add(
        "frozen-below", "below the final size of a frozen log", stage.licences["food"], verdict("VALID"), store="frozen"
    )
    above = stage.licences["no-end"]
    with_checkpoint = above.without_proofs().with_tlog_proof(log.tlog_proof(_index(above), at=WITNESSED + 600))
    outcome = verdict(
        "INVALID", {6: "FAIL log_frozen_before", 7: "UNKNOWN time_of_logging_unknown", 8: "PASS no_end_of_validity"}
    )
    stage.add("frozen-above", "at or above the final size of a frozen log", with_checkpoint, outcome, store="frozen")
    both = stage.material.bundle(
        peer, "two-logs/cn-gd/bundle", logs=(entry(log), entry(successor, not_before=WITNESSED))
    )
    store = stage.variant("two-logs", peer=both)
    fresh = stage.world.issue(stage.world.claims("food", issued_at=NOW - 600, not_before=None))
    index = successor.append(CredentialEntry(fresh.claims.issuer, fresh.digest).encode())
    elsewhere = fresh.with_tlog_proof(successor.tlog_proof(index, at=NOW - 300))
    not_accepted = {6: "UNKNOWN log_not_accepted", 7: "UNKNOWN time_of_logging_unknown"}
    description = "a log that the region names and the home bundle does not accept yet"
    stage.add("log-not-accepted", description, elsewhere, verdict("INDETERMINATE", not_accepted), store=store)


def _index(credential: Credential) -> int:
    return -1 if credential.landmark_proof is None else credential.landmark_proof.index


def _witnesses_only(policy: str) -> str:
    return "".join(line for line in policy.splitlines(keepends=True) if not line.startswith("log "))


def add_authority(stage: Stage) -> None:
    """Check 7, over bundles that say other things of the same department."""
    add, licences, peer = stage.add, stage.licences, stage.peer
    food = licences["food"]

    def failed(reason: str, outcome: str = "INVALID", *remarks: str) -> dict[str, object]:
        return verdict(outcome, {7: reason}, *remarks)

    def judged(
        name: str, description: str, outcome: dict[str, object], shown: Credential = food, **contents: Any
    ) -> None:
        """One vector over a bundle that states other contents."""
        if name not in stage.stores:
            stage.variant(name, peer=stage.material.bundle(peer, f"{name}/cn-gd/bundle", **contents))
        add(name, description, shown, outcome, store=name)

    def suspended(since: int) -> dict[str, Any]:
        state = IssuerStatus(IssuerState.SUSPENDED, since, "示例")
        issuers = tuple(
            replace(issuer, status=(*issuer.status, state)) if issuer.id == FOOD_DEPARTMENT else issuer
            for issuer in peer.issuers
        )
        return {"issuers": issuers}

    def keys(**changes: Any) -> dict[str, Any]:
        return {"keys": tuple(replace(key, **changes) if _is_food_key(key) else key for key in peer.keys)}

    def granted(**changes: Any) -> dict[str, Any]:
        return {"grants": tuple(replace(grant, **changes) if _is_food_grant(grant) else grant for grant in peer.grants)}

    inactive = failed("FAIL issuer_inactive")
    judged(
        "issuer-suspended",
        "the department was suspended 15 minutes before the witnessed time",
        inactive,
        **suspended(WITNESSED - GRACE),
    )
    judged(
        "issuer-suspended-grace",
        "suspended within the 15 minutes of grace",
        verdict("VALID"),
        **suspended(WITNESSED - GRACE + 1),
    )
    judged(
        "issuer-suspended-since",
        "suspended since: what it signed before stays",
        verdict("VALID"),
        **suspended(WITNESSED + DAY),
    )
    outside = failed("FAIL key_outside_window")
    judged("key-ended", "the key had ended 15 minutes before", outside, **keys(not_after=WITNESSED - GRACE))
    judged(
        "key-ended-grace",
        "the key ended within the 15 minutes of grace",
        verdict("VALID"),
        **keys(not_after=WITNESSED - GRACE + 1),
    )
    judged("key-not-begun", "the key began a second after", outside, **keys(not_before=WITNESSED + 1))
    judged("grant-ended", "the grant had ended", failed("FAIL not_granted"), **granted(not_after=WITNESSED - GRACE))
    later = granted(not_before=WITNESSED + 3600)
    judged("grant-later", "the grant began an hour after", failed("FAIL not_granted"), **later)
    index = _index(food)
    waited = food.without_proofs().with_tlog_proof(peer.log.tlog_proof(index, at=WITNESSED + 7200))
    add(
        "grant-later-checkpoint",
        "the same, with a later checkpoint: the earliest landmark over the index counts",
        waited,
        failed("FAIL not_granted"),
        store="grant-later",
    )
    compromised = _revoked(peer.log.origin, 8, RevocationReason.COMPROMISED)
    judged(
        "key-compromised-below",
        "a compromised key, logged below the trusted size",
        verdict("VALID"),
        **keys(revoked=compromised),
    )
    above = licences["ends-soon"]
    add(
        "key-compromised-above",
        "the same key, logged at or above it",
        above,
        failed("FAIL key_compromised"),
        store="key-compromised-below",
    )
    fresh = stage.world.issue(stage.world.claims("food", issued_at=NOW - 600, not_before=None))
    add(
        "key-compromised-provisional",
        "a compromised key signs nothing provisional",
        fresh,
        verdict("INDETERMINATE", UNLOGGED),
        store="key-compromised-below",
        policy={"accept_provisional": True},
    )
    nowhere = Revocation(NOW - DAY, RevocationReason.COMPROMISED, ())
    judged(
        "key-compromised-unlisted",
        "a compromised key, in a log that is not listed",
        failed("FAIL key_compromised"),
        **keys(revoked=nowhere),
    )
    superseded = _revoked(peer.log.origin, 8, RevocationReason.SUPERSEDED)
    judged(
        "key-superseded-above",
        "a superseded key, logged above the trusted size",
        failed("FAIL key_superseded"),
        above,
        **keys(revoked=superseded),
    )
    log = Log(1, peer.log.origin, 1, (peer.log.signer.vkey,), WITNESSED + 1, None, None, peer.log.policy_text)
    judged("log-not-begun", "the log was in use a second later", failed("FAIL log_outside_window"), logs=(log,))
    not_granted = failed("FAIL not_granted")
    add("ungranted", "a type that is granted to nobody", licences["ungranted"], not_granted)
    add(
        "ungranted-department",
        "a type that this department may not issue",
        licences["ungranted-department"],
        not_granted,
    )
    no_type = {2: "UNKNOWN type_unknown", 5: "FAIL type_unknown", 7: "FAIL type_unknown", 9: "UNKNOWN not_reached"}
    add("type-unknown", "a type that the bundle does not name", licences["type-unknown"], verdict("INVALID", no_type))
    add(
        "schema-unknown",
        "a schema version that the bundle does not name",
        licences["schema-unknown"],
        verdict("INVALID", no_type),
    )
    far = failed("FAIL issued_far_from_logged")
    add("signed-early", "signed more than 24 h before it was witnessed", licences["signed-early"], far)
    add("signed-late", "signed more than 24 h after it was witnessed", licences["signed-late"], far)
    two_weeks = FETCHED + 14 * DAY
    old = ("bundle_stale", "bundle_expired", "bundle_stale", "bundle_expired", "status_stale")
    add(
        "bundle-expired",
        "expired bundles still serve, and the verdict says so",
        food,
        verdict("VALID", None, *old),
        clock=two_weeks,
    )


def _is_food_key(key: Key) -> bool:
    return key.issuer == FOOD_DEPARTMENT and key.use is KeyUse.CREDENTIAL


def _is_food_grant(grant: Grant) -> bool:
    return grant.issuer == FOOD_DEPARTMENT and grant.licence_type.endswith("001")


def _revoked(origin: str, size: int, reason: RevocationReason) -> Revocation:
    return Revocation(NOW - DAY, reason, (TrustedSize(origin, size),))
