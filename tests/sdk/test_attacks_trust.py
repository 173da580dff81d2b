"""Attacks on trust data: bundles, root epochs, status lists, the files of the store, the floor of the clock.

Each ends with a refusal, and what the verifier answered before it still answers afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.bundle_entries import Grant, Issuer, IssuerState, IssuerStatus, StatusSource
from chopmark.cosignature import Cosigner
from chopmark.entries import CredentialEntry, StatusListEntry, TrustBundleEntry
from chopmark.errors import (
    ChopmarkError,
    FormatError,
    FutureDatedError,
    ProofError,
    QuorumError,
    RollbackError,
    SignatureError,
    StorageError,
    TrustError,
)
from chopmark.keys import Ed25519Signer
from chopmark.licence_type import LocalisedText
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.root_epoch import Roots, root_epoch_text
from chopmark.status import StatusList, StatusListToken
from chopmark.trust_store import TrustStore
from chopmark.verdict import Outcome

from specs.vectors.sample_world import CREATED, FOOD_DEPARTMENT, NOW, TRANSPORT_DEPARTMENT
from tests.sdk.attack_stage import DAY, HOUR, Stage, reason, replaced

if TYPE_CHECKING:
    pass

BEIJING = "CN-BJ/11110000MB99990013"


# Bundles


def test_a_bundle_is_not_rolled_back_to_before_a_key_was_revoked(stage: Stage) -> None:
    licence = stage.licence()
    store = stage.store()
    peer = stage.world.peer
    before = peer.bundle(at=NOW - HOUR)
    before_proof = peer.log_bundle(before, at=NOW - HOUR)
    stage.key_is(revoked=stage.compromised(0))
    stage.the_bundle_becomes()
    with pytest.raises(RollbackError):
        store.put_bundle(before, before_proof, now=NOW)
    assert reason(stage.look(licence), 7) == "key_compromised"


def test_two_bundles_of_one_number_are_not_both_taken(stage: Stage) -> None:
    store, peer = stage.store(), stage.world.peer
    peer.seq -= 1
    other = peer.bundle(at=NOW - HOUR, expires=NOW + 15 * DAY)
    with pytest.raises(RollbackError, match="another object was accepted before as 1"):
        store.put_bundle(other, peer.log_bundle(other, at=NOW - HOUR), now=NOW)


def test_a_bundle_is_not_taken_with_the_proof_of_an_earlier_one(stage: Stage) -> None:
    store, peer = stage.store(), stage.world.peer
    first, second = peer.bundle(at=NOW - HOUR), peer.bundle(at=NOW - HOUR)
    proof = peer.log_bundle(first, at=NOW - HOUR)
    with pytest.raises(ProofError):
        store.put_bundle(second, proof, now=NOW)


def test_a_bundle_that_is_not_in_a_log_of_its_own_region_is_not_taken(stage: Stage) -> None:
    store, world = stage.store(), stage.world
    bundle = world.peer.bundle(at=NOW - HOUR)
    digest = sha256(Note.parse(bundle).text.encode()).digest()
    index = world.home.log.append(TrustBundleEntry("CN-GD", world.peer.seq, digest).encode())
    with pytest.raises(TrustError, match="not a log of CN-GD"):
        store.put_bundle(bundle, world.home.log.tlog_proof(index, at=NOW - HOUR), now=NOW)


@pytest.mark.parametrize("witness", [None, "peer"])
def test_a_bundle_that_no_other_region_witnessed_is_not_taken(stage: Stage, witness: str | None) -> None:
    store, peer = stage.store(), stage.world.peer
    bundle = peer.bundle(at=NOW - HOUR)
    digest = sha256(Note.parse(bundle).text.encode()).digest()
    index = peer.log.append(TrustBundleEntry("CN-GD", peer.seq, digest).encode())
    proof = peer.log.tlog_proof(index, at=NOW - HOUR, witnesses=[peer.witness] if witness else [])
    with pytest.raises(QuorumError):
        store.put_bundle(bundle, proof, now=NOW)


def test_a_bundle_signed_by_one_stolen_root_is_not_taken(stage: Stage) -> None:
    store, peer = stage.store(), stage.world.peer
    text = Note.parse(peer.bundle(at=NOW - HOUR)).text
    bundle = sign_note(text, peer.root_signers[:1]).encode()
    with pytest.raises(SignatureError, match="signed by 1 root signatories"):
        store.put_bundle(bundle, peer.log_bundle(bundle, at=NOW - HOUR), now=NOW)


def test_a_bundle_signed_by_the_roots_of_another_region_is_not_taken(stage: Stage) -> None:
    store, world = stage.store(), stage.world
    text = Note.parse(world.peer.bundle(at=NOW - HOUR)).text
    bundle = sign_note(text, world.home.root_signers).encode()
    with pytest.raises(SignatureError):
        store.put_bundle(bundle, world.peer.log_bundle(bundle, at=NOW - HOUR), now=NOW)


def test_a_bundle_signed_by_the_logs_key_is_not_taken(stage: Stage) -> None:
    store, peer = stage.store(), stage.world.peer
    bundle = sign_note(Note.parse(peer.bundle(at=NOW - HOUR)).text, [peer.log.signer]).encode()
    with pytest.raises(SignatureError):
        store.put_bundle(bundle, peer.log_bundle(bundle, at=NOW - HOUR), now=NOW)


def test_a_bundle_dated_more_than_an_hour_ahead_is_not_taken(stage: Stage) -> None:
    store, peer = stage.store(), stage.world.peer
    bundle = peer.bundle(at=NOW + HOUR + 1)
    with pytest.raises(FutureDatedError):
        store.put_bundle(bundle, peer.log_bundle(bundle, at=NOW), now=NOW)


def foreign_entries(stage: Stage) -> dict[str, dict[str, Any]]:
    """What a bundle of CN-GD might say of another region."""
    peer = stage.world.peer
    active = (IssuerStatus(IssuerState.ACTIVE, CREATED, None),)
    foreign = Issuer(BEIJING, LocalisedText("示例", "Sample"), active, None)
    (log,) = stage.first_log()
    source = peer.status_sources[0]
    return {
        "an issuer": {"issuers": (*peer.issuers, foreign)},
        "a key of its issuer": {"keys": (*peer.keys, replace(peer.keys[0], issuer=BEIJING))},
        "a grant to its issuer": {"grants": (*peer.grants, Grant(BEIJING, peer.types[0].id, CREATED, None))},
        "a type": {"types": (*peer.types, replace(peer.types[0], id="CN-BJ/11100000MB99991003001"))},
        "a log": {"logs": (log, replace(log, number=2, origin="cn-bj.example/log/2026"))},
        "a status list": {
            "status_lists": (*peer.status_sources, replace(source, uri="https://cn-bj.example/status/1"))
        },
        "a status list of its issuer": {
            "status_lists": (*peer.status_sources, StatusSource(source.uri + "9", (), BEIJING, (), 60))
        },
    }


@pytest.mark.parametrize(
    "what",
    [
        "an issuer",
        "a key of its issuer",
        "a grant to its issuer",
        "a type",
        "a log",
        "a status list",
        "a status list of its issuer",
    ],
)
def test_a_bundle_that_speaks_for_another_region_is_not_taken(stage: Stage, what: str) -> None:
    stage.store()
    with pytest.raises(FormatError, match=r"CN-GD|bundle"):
        stage.the_bundle_becomes(**foreign_entries(stage)[what])


@pytest.mark.parametrize("policy", ["none", "own region"])
def test_a_bundle_whose_log_needs_no_foreign_witness_is_not_taken(stage: Stage, policy: str) -> None:
    peer = stage.world.peer
    stage.store()
    text = f"log {peer.log.signer.vkey}\n"
    if policy == "none":
        text += "quorum none\n"
    else:
        text += f"witness own {peer.witness.vkey}\ngroup R01 any own\nquorum R01\n"
    with pytest.raises(FormatError, match=r"it asks for no witness|of the log's own region"):
        stage.the_bundle_becomes(logs=stage.first_log(policy_text=text))


def test_a_peer_cannot_lower_the_floor_under_its_witnesses(stage: Stage) -> None:
    """The peer names a witness in another region's name and holds the key itself."""
    stage.store()
    puppet = Cosigner("us-zz.example/witness", stage.thief)
    own = f"log {stage.log.signer.vkey}\nwitness p {puppet.vkey}\ngroup R01 any p\nquorum R01\n"
    genuine = stage.log.witnesses
    stage.log.witnesses = [*genuine, puppet]
    stage.the_bundle_becomes(logs=stage.first_log(policy_text=own))
    stage.refresh_status(at=NOW - 60)
    fresh = stage.issue(issued_at=NOW - 600, not_before=None)
    seen_by_both = stage.with_checkpoint(fresh, at=NOW - 600)
    assert stage.look(seen_by_both).outcome is Outcome.VALID
    (index,) = stage.world.log(fresh)
    unseen = fresh.with_tlog_proof(stage.log.tlog_proof(index, at=NOW - 600, witnesses=[puppet]))
    assert reason(stage.look(unseen), 6) == "log_quorum_missing"
    bundle = stage.world.peer.bundle(at=NOW - HOUR, logs=stage.first_log())
    stage.log.witnesses = [puppet]
    with pytest.raises(QuorumError):
        stage.verifier().store.put_bundle(bundle, stage.world.peer.log_bundle(bundle, at=NOW), now=NOW)


def test_what_a_type_shows_is_not_changed_under_its_schema_version(stage: Stage) -> None:
    food = stage.world.peer.types[0]
    unrestricted = replace(food, fields=food.fields[:-1])
    licence = stage.licence(fields={key: value for key, value in stage.claims().fields.items() if key != 8})
    stage.store()
    with pytest.raises(TrustError, match="an entry changed in what must stay"):
        stage.the_bundle_becomes(types=(unrestricted, *stage.world.peer.types[1:]))
    assert reason(stage.look(licence), 5) == "field_must_be_shown"


@pytest.mark.parametrize("array", ["issuers", "keys", "types", "grants", "status_lists"])
def test_nothing_that_a_bundle_said_is_left_out_of_the_next(stage: Stage, array: str) -> None:
    stage.store()
    bundle = stage.verifier().store.bundle("CN-GD")
    assert bundle is not None
    fewer = {name: getattr(bundle.contents, name) for name in ("grants", "status_lists")}
    if array in {"issuers", "types"}:
        fewer = dict.fromkeys(fewer, ())
    if array == "keys":
        fewer["status_lists"] = ()
    fewer[array] = getattr(bundle.contents, array)[:-1]
    if array == "issuers":
        fewer["keys"] = ()
    with pytest.raises(TrustError, match="an entry is gone"):
        stage.the_bundle_becomes(**fewer)


def test_a_revocation_is_not_taken_back(stage: Stage) -> None:
    licence = stage.licence()
    keys = list(stage.world.peer.keys)
    stage.key_is(revoked=stage.compromised(0))
    stage.store()
    with pytest.raises(TrustError, match="an entry changed"):
        stage.the_bundle_becomes(keys=keys)
    assert reason(stage.look(licence), 7) == "key_compromised"


def test_the_peer_of_a_peer_is_a_stranger(stage: Stage) -> None:
    store = stage.store()
    bundle = stage.world.peer.bundle(at=NOW - HOUR)
    text = Note.parse(bundle).text.replace('"region": "CN-GD"', '"region": "CN-BJ"', 1)
    strange = sign_note(text, stage.world.peer.root_signers).encode()
    with pytest.raises(TrustError, match="neither the home region"):
        store.put_bundle(strange, stage.world.peer.log_bundle(bundle, at=NOW), now=NOW)


# Root epochs


def root_note(
    stage: Stage, epoch: int, keys: list[NoteSigner], signers: list[NoteSigner], *, issued: int = NOW - DAY
) -> bytes:
    text = root_epoch_text(
        region="CN-GD", epoch=epoch, issued=issued, threshold=2, keys=[signer.vkey for signer in keys]
    )
    return sign_note(text, signers).encode()


def new_roots(stage: Stage) -> list[NoteSigner]:
    return [
        NoteSigner(f"cn-gd.example/root/{letter}", Ed25519Signer.from_private_bytes(letter.encode() * 32))
        for letter in "de"
    ]


def test_a_root_epoch_is_not_skipped(stage: Stage) -> None:
    store, old, new = stage.store(), stage.world.peer.root_signers, new_roots(stage)
    with pytest.raises(TrustError, match="none may be skipped"):
        store.put_root("CN-GD", root_note(stage, 3, new, [*old, *new]), now=NOW)


@pytest.mark.parametrize("signers", ["new", "old", "one old and new"])
def test_a_root_epoch_is_signed_by_the_thresholds_of_both(stage: Stage, signers: str) -> None:
    store, old, new = stage.store(), stage.world.peer.root_signers, new_roots(stage)
    chosen = {"new": new, "old": old, "one old and new": [old[0], *new]}[signers]
    with pytest.raises(SignatureError):
        store.put_root("CN-GD", root_note(stage, 2, new, chosen), now=NOW)
    store.put_root("CN-GD", root_note(stage, 2, new, [*old[:2], *new]), now=NOW)


def test_a_root_epoch_dated_ahead_is_not_taken(stage: Stage) -> None:
    store, old, new = stage.store(), stage.world.peer.root_signers, new_roots(stage)
    with pytest.raises(FutureDatedError):
        store.put_root("CN-GD", root_note(stage, 2, new, [*old, *new], issued=NOW + HOUR + 1), now=NOW)


def test_roots_that_were_replaced_sign_no_new_bundle(stage: Stage) -> None:
    store, peer, new = stage.store(), stage.world.peer, new_roots(stage)
    store.put_root("CN-GD", root_note(stage, 2, new, [*peer.root_signers, *new]), now=NOW)
    with pytest.raises(TrustError, match="superseded"):
        stage.the_bundle_becomes()


def test_another_root_epoch_under_a_known_number_is_not_taken(stage: Stage) -> None:
    store, new = stage.store(), new_roots(stage)
    with pytest.raises(TrustError, match="another root epoch is known"):
        store.put_root("CN-GD", root_note(stage, 1, new, new), now=NOW)


def test_a_store_is_not_opened_under_another_pin(stage: Stage) -> None:
    store = stage.store()
    with pytest.raises(TrustError):
        TrustStore.open(store.folder, roots=stage.world.peer.roots)
    thieves = [NoteSigner("cn-sh.example/root/a", stage.thief)]
    text = root_epoch_text(region="CN-SH", epoch=1, issued=CREATED, threshold=1, keys=[thieves[0].vkey])
    with pytest.raises(TrustError):
        TrustStore.open(store.folder, roots=Roots.pin(sign_note(text, thieves).encode()))


# Status lists


def all_valid(stage: Stage, *, at: int = NOW - 60, **changes: Any) -> StatusListToken:
    """A list by which nothing is revoked."""
    values: dict[str, Any] = {
        "uri": stage.world.peer.status_uri(FOOD_DEPARTMENT),
        "issued_at": at,
        "expires": at + 30 * DAY,
        "ttl": DAY,
        "status_list": StatusList.empty(4096),
    }
    signer = changes.pop("signer", stage.world.peer.signers[FOOD_DEPARTMENT, "status"])
    return StatusListToken.issue(signer, **(values | changes))


def logged_list(stage: Stage, token: StatusListToken, **options: Any) -> bytes:
    entry = StatusListEntry(FOOD_DEPARTMENT, token.uri, token.hash, token.issued_at)
    return stage.log.tlog_proof(stage.log.append(entry.encode()), at=NOW - 60, **options)


def credential_key_signs(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage, signer=stage.credential_key())
    return token.encode(), logged_list(stage, token)


def another_department_signs(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage, signer=stage.world.peer.signers[TRANSPORT_DEPARTMENT, "status"])
    return token.encode(), logged_list(stage, token)


def stranger_signs(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage, signer=stage.thief)
    return token.encode(), logged_list(stage, token)


def signature_is_broken(stage: Stage) -> tuple[bytes, bytes]:
    data = all_valid(stage).encode()
    token = StatusListToken.parse(data[:-1] + bytes([data[-1] ^ 1]))
    return token.encode(), logged_list(stage, token)


def another_uri_is_named(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage, uri="https://cn-gd.example/status/99")
    return token.encode(), logged_list(stage, token)


def the_list_of_another_department_is_named(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage, uri=stage.world.peer.status_uri(TRANSPORT_DEPARTMENT))
    return token.encode(), logged_list(stage, token)


def the_list_is_older(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage, at=NOW - 2 * HOUR)
    return token.encode(), logged_list(stage, token)


def the_list_is_of_the_same_second(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage, at=NOW - HOUR)
    return token.encode(), logged_list(stage, token)


def the_list_is_dated_ahead(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage, at=NOW + HOUR + 1)
    return token.encode(), logged_list(stage, token)


def it_comes_without_a_proof(stage: Stage) -> tuple[bytes, bytes]:
    return all_valid(stage).encode(), b""


def it_comes_with_the_proof_of_another_list(stage: Stage) -> tuple[bytes, bytes]:
    return all_valid(stage).encode(), logged_list(stage, all_valid(stage, at=NOW - 120))


def it_is_logged_in_another_region(stage: Stage) -> tuple[bytes, bytes]:
    token, home = all_valid(stage), stage.world.home.log
    entry = StatusListEntry(FOOD_DEPARTMENT, token.uri, token.hash, token.issued_at)
    return token.encode(), home.tlog_proof(home.append(entry.encode()), at=NOW - 60)


def it_is_logged_as_a_licence(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage)
    index = stage.log.append(CredentialEntry(FOOD_DEPARTMENT, token.hash).encode())
    return token.encode(), stage.log.tlog_proof(index, at=NOW - 60)


def nobody_witnessed_it(stage: Stage) -> tuple[bytes, bytes]:
    token = all_valid(stage)
    return token.encode(), logged_list(stage, token, witnesses=[])


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (credential_key_signs, TrustError),
        (another_department_signs, TrustError),
        (stranger_signs, TrustError),
        (signature_is_broken, SignatureError),
        (another_uri_is_named, TrustError),
        (the_list_of_another_department_is_named, ChopmarkError),
        (the_list_is_older, RollbackError),
        (the_list_is_of_the_same_second, RollbackError),
        (the_list_is_dated_ahead, FutureDatedError),
        (it_comes_without_a_proof, FormatError),
        (it_comes_with_the_proof_of_another_list, ProofError),
        (it_is_logged_in_another_region, TrustError),
        (it_is_logged_as_a_licence, ProofError),
        (nobody_witnessed_it, QuorumError),
    ],
    ids=lambda value: value.__name__,
)
def test_a_forged_status_list_does_not_undo_a_revocation(
    stage: Stage, make: Callable[[Stage], tuple[bytes, bytes]], error: type[ChopmarkError]
) -> None:
    licence = stage.licence()
    store = stage.store(statuses={FOOD_DEPARTMENT: {0: 1}})
    assert reason(stage.look(licence), 9) == "revoked"
    data, proof = make(stage)
    with pytest.raises(error):
        store.put_status_list(data, proof, now=NOW)
    assert reason(stage.look(licence), 9) == "revoked"
    again = TrustStore.open(store.folder, roots=stage.world.home.roots)
    assert reason(stage.look(licence, store=again), 9) == "revoked"


@pytest.mark.parametrize("change", [{"not_after": NOW - 120}, {"revoked": True}], ids=["expired", "revoked"])
def test_a_status_key_that_may_sign_no_more_signs_no_list(stage: Stage, change: dict[str, Any]) -> None:
    stage.store()
    if "revoked" in change:
        change = {"revoked": stage.compromised(stage.log.size)}
    stage.the_bundle_becomes(at=NOW - HOUR, keys=replaced(stage.world.peer.keys, 1, **change))
    token = all_valid(stage)
    with pytest.raises(TrustError, match=r"might sign it|was revoked"):
        stage.verifier().store.put_status_list(token.encode(), logged_list(stage, token), now=NOW)


# What lies on the disk


def test_files_put_back_to_an_earlier_state_are_not_read(stage: Stage) -> None:
    licence = stage.licence()
    store = stage.store()
    files = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    assert stage.look(licence).outcome is Outcome.VALID
    stage.refresh_status({FOOD_DEPARTMENT: {0: 1}}, at=NOW - 60)
    assert reason(stage.look(licence), 9) == "revoked"
    for path, data in files.items():
        if path.name != "store.json":
            path.write_bytes(data)
    again = TrustStore.open(store.folder, roots=stage.world.home.roots)
    assert "below" in " ".join(again.problems)
    assert reason(stage.look(licence, store=again), 9) == "status_list_absent"


def test_a_home_bundle_put_back_to_an_earlier_one_closes_the_store(stage: Stage) -> None:
    store, home = stage.store(), stage.world.home
    files = {path: path.read_bytes() for path in (store.folder / "CN-SH").rglob("*") if path.is_file()}
    bundle = home.bundle(at=NOW - HOUR)
    store.put_bundle(bundle, home.log_bundle(bundle, at=NOW - HOUR), now=NOW)
    for path, data in files.items():
        path.write_bytes(data)
    with pytest.raises(RollbackError, match=r"CN-SH/bundle\.note"):
        TrustStore.open(store.folder, roots=home.roots)


@pytest.mark.parametrize("kind", ["*.statuslist", "*.landmarks", "bundle.note", "*.tlog-proof"])
def test_a_changed_file_of_a_peer_is_left_out_and_told(stage: Stage, kind: str) -> None:
    licence = stage.licence()
    folder = stage.store().folder
    for path in (folder / "CN-GD").rglob(kind):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    again = TrustStore.open(folder, roots=stage.world.home.roots)
    assert again.problems
    assert stage.look(licence, store=again).outcome is Outcome.INDETERMINATE


def test_a_store_whose_memory_is_gone_is_not_opened(stage: Stage) -> None:
    store = stage.store()
    (store.folder / "store.json").unlink()
    with pytest.raises(StorageError):
        TrustStore.open(store.folder, roots=stage.world.home.roots)


# The clock


def test_only_the_home_region_raises_the_floor_of_the_clock(stage: Stage) -> None:
    store, peer = stage.store(), stage.world.peer
    floor = store.clock_floor
    assert floor == NOW - HOUR
    later = NOW + HOUR
    bundle = peer.bundle(at=NOW)
    store.put_bundle(bundle, peer.log_bundle(bundle, at=later), now=NOW)
    token = all_valid(stage)
    entry = StatusListEntry(FOOD_DEPARTMENT, token.uri, token.hash, token.issued_at)
    proof = stage.log.tlog_proof(stage.log.append(entry.encode()), at=later)
    store.put_status_list(token.encode(), proof, now=NOW)
    assert store.clock_floor == floor
    home = stage.world.home
    bundle = home.bundle(at=NOW)
    store.put_bundle(bundle, home.log_bundle(bundle, at=NOW), now=NOW)
    assert store.clock_floor == NOW


def test_the_floor_of_the_clock_outlives_the_process(stage: Stage) -> None:
    licence = stage.licence()
    store = stage.store(at=NOW)
    again = TrustStore.open(store.folder, roots=stage.world.home.roots)
    assert again.clock_floor == NOW
    assert reason(stage.look(licence, store=again, clock=NOW - DAY), 8) == "clock_below_floor"
    memory = json.loads((store.folder / "store.json").read_text())
    assert memory["clock_floor"] == "2026-11-22T09:30:00Z"
