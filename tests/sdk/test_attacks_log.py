"""Attacks on logs: rewritten tlog-proofs, checkpoints and landmarks, and what a stolen key logs."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import product
from typing import TYPE_CHECKING

import pytest
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.credential import Credential
from chopmark.entries import CredentialEntry, LandmarkFileEntry
from chopmark.errors import (
    FutureDatedError,
    ProofError,
    RollbackError,
    TrustError,
)
from chopmark.keys import Ed25519Signer
from chopmark.landmark import LandmarkFile
from chopmark.merkle import leaf_hash, root_from_inclusion_proof
from chopmark.note import Note, NoteSignature
from chopmark.tlog_proof import TlogProof
from chopmark.verdict import Outcome

from specs.vectors.sample_world import FOOD_DEPARTMENT, NOW
from tests.sdk.attack_stage import DAY, HOUR, LOGGED, Stage, reason, replaced

if TYPE_CHECKING:
    pass


# Proofs of logging


def fresh(stage: Stage) -> tuple[Credential, TlogProof]:
    """A licence that was just logged, behind a few others, and its tlog-proof."""
    stage.world.log(*(stage.issue() for _ in range(5)))
    licence = stage.issue(issued_at=NOW - 600, not_before=None)
    (index,) = stage.world.log(licence)
    return licence, TlogProof.parse(stage.log.tlog_proof(index, at=NOW - 600))


def test_extra_data_in_a_proof_changes_nothing(stage: Stage) -> None:
    licence, proof = fresh(stage)
    plain = stage.look(licence.with_tlog_proof(proof.encode()))
    extra = stage.look(licence.with_tlog_proof(replace(proof, extra=b"index 0").encode()))
    assert plain.outcome is extra.outcome is Outcome.VALID
    assert plain.checks == extra.checks


def test_the_index_in_a_proof_is_not_rewritten(stage: Stage) -> None:
    licence, proof = fresh(stage)
    stage.store()
    for index in (set(range(stage.log.size + 2)) | {2**62}) - {proof.index}:
        forged = licence.with_tlog_proof(replace(proof, index=index).encode())
        assert reason(stage.look(forged), 6) == "log_path_wrong"


def test_the_size_in_a_proof_is_not_rewritten(stage: Stage) -> None:
    """A path proves entry 6 of 7 and entry 2 of 3 alike: only the size tells them apart, and the log signs it."""
    licence, proof = fresh(stage)
    checkpoint, leaf = proof.checkpoint, leaf_hash(CredentialEntry(FOOD_DEPARTMENT, licence.digest).encode())
    alike = [
        (index, size)
        for size in range(1, 16)
        for index in range(size)
        if reaches(leaf, index, size, proof.proof) == checkpoint.root
    ]
    assert len(alike) > 1
    stage.store()
    note = Note.parse(proof.checkpoint_note)
    for index, size in set(alike) - {(proof.index, checkpoint.size)}:
        body = Checkpoint(checkpoint.origin, size, checkpoint.root).body()
        forged = replace(proof, index=index, checkpoint_note=Note(body, note.signatures).encode())
        assert reason(stage.look(licence.with_tlog_proof(forged.encode())), 6) == "log_path_wrong"


def reaches(leaf: bytes, index: int, size: int, path: tuple[bytes, ...]) -> bytes | None:
    try:
        return root_from_inclusion_proof(leaf_hash=leaf, index=index, size=size, proof=path)
    except ProofError:
        return None


def test_a_checkpoint_that_the_log_did_not_sign_is_not_believed(stage: Stage) -> None:
    licence, proof = fresh(stage)
    note = Note.parse(proof.checkpoint_note)
    unsigned = replace(proof, checkpoint_note=Note(note.text, note.signatures[1:]).encode())
    assert reason(stage.look(licence.with_tlog_proof(unsigned.encode())), 6) == "log_path_wrong"


def test_the_cosignature_of_another_checkpoint_is_not_believed(stage: Stage) -> None:
    licence, proof = fresh(stage)
    earlier = Note.parse(stage.log.checkpoint(at=NOW - 600, size=2))
    note = Note.parse(proof.checkpoint_note)
    pasted = replace(proof, checkpoint_note=Note(note.text, (note.signatures[0], earlier.signatures[1])).encode())
    assert reason(stage.look(licence.with_tlog_proof(pasted.encode())), 6) == "log_path_wrong"


def test_one_bad_line_of_a_known_key_spoils_the_checkpoint(stage: Stage) -> None:
    licence, proof = fresh(stage)
    note = Note.parse(proof.checkpoint_note)
    for line in note.signatures:
        bad = NoteSignature(line.name, line.key_id, line.signature[:-1] + bytes([line.signature[-1] ^ 1]))
        for lines in ((*note.signatures, bad), (bad, *note.signatures)):
            spoilt = replace(proof, checkpoint_note=Note(note.text, lines).encode())
            assert reason(stage.look(licence.with_tlog_proof(spoilt.encode())), 6) == "log_path_wrong"


def test_lines_of_unknown_keys_neither_help_nor_harm(stage: Stage) -> None:
    licence, proof = fresh(stage)
    puppets = [Cosigner(f"us-{n}.example/witness", Ed25519Signer.from_private_bytes(bytes([n]) * 32)) for n in range(9)]
    lines = [puppet.cosign(proof.checkpoint, NOW) for puppet in puppets]
    note = Note.parse(proof.checkpoint_note)
    beside = replace(proof, checkpoint_note=note.with_signature(*lines).encode())
    assert stage.look(licence.with_tlog_proof(beside.encode())).outcome is Outcome.VALID
    alone = replace(proof, checkpoint_note=Note(note.text, (note.signatures[0], *lines)).encode())
    assert reason(stage.look(licence.with_tlog_proof(alone.encode())), 6) == "log_quorum_missing"


def test_one_operator_that_cosigns_twice_is_one_operator(stage: Stage) -> None:
    third = Cosigner("us-il.example/witness", stage.thief)
    stage.log.witnesses = [*stage.log.witnesses, third]
    stage.world.home.peers = replaced(stage.world.home.peers, 0, policy_floor_text=stage.log.policy_text)
    licence = stage.issue(issued_at=NOW - 600, not_before=None)
    (index,) = stage.world.log(licence)
    proof = TlogProof.parse(stage.log.tlog_proof(index, at=NOW - 600))
    assert stage.look(licence.with_tlog_proof(proof.encode())).outcome is Outcome.VALID
    note = Note.parse(proof.checkpoint_note)
    again = stage.log.witnesses[0].cosign(proof.checkpoint, NOW - 500)
    twice = replace(proof, checkpoint_note=Note(note.text, (*note.signatures[:2], again)).encode())
    assert reason(stage.look(licence.with_tlog_proof(twice.encode())), 6) == "log_quorum_missing"


def test_a_landmark_path_fits_one_place_only(stage: Stage) -> None:
    stage.world.logged(*(stage.issue() for _ in range(7)))
    licence = stage.world.logged(*(stage.issue(issued_at=LOGGED, not_before=None) for _ in range(8)))[3]
    proof = licence.landmark_proof
    assert proof is not None
    assert stage.look(licence).outcome is Outcome.VALID
    records = [(record.start, record.end) for record in stage.log.records]
    for (start, end), index in product(records, range(stage.log.size)):
        if start <= index < end and (start, end, index) != (proof.start, proof.end, proof.index):
            moved = licence.with_landmark_proof(replace(proof, start=start, end=end, index=index))
            assert reason(stage.look(moved), 6) == "log_path_wrong"
    for log_number in (0, 2, 2**32 - 1):
        other = licence.with_landmark_proof(replace(proof, log_number=log_number))
        assert reason(stage.look(other), 6) == "log_unknown"


def test_a_wrong_landmark_path_is_not_made_good_by_a_right_checkpoint(stage: Stage) -> None:
    licence, other = stage.licence(), stage.licence()
    assert licence.landmark_proof is not None
    assert other.landmark_proof is not None
    proof = stage.log.tlog_proof(licence.landmark_proof.index, at=LOGGED)
    assert stage.look(licence.with_tlog_proof(proof)).outcome is Outcome.VALID
    wrong = licence.with_landmark_proof(other.landmark_proof).with_tlog_proof(proof)
    assert reason(stage.look(wrong), 6) == "log_path_wrong"


# Compromised keys


def test_a_stolen_key_leaves_valid_what_was_logged_before(stage: Stage) -> None:
    before, at, above = stage.world.logged(*(stage.issue(issued_at=LOGGED, not_before=None) for _ in range(3)))
    assert at.landmark_proof is not None
    stage.key_is(revoked=stage.compromised(at.landmark_proof.index))
    assert stage.look(before).outcome is Outcome.VALID
    assert reason(stage.look(at), 7) == "key_compromised"
    assert reason(stage.look(above), 7) == "key_compromised"


def test_a_stolen_key_signs_nothing_in_a_second_log(stage: Stage) -> None:
    second = stage.second_log()
    stage.store()
    stage.key_is(revoked=stage.compromised(1000))
    stage.the_bundle_becomes(logs=(*stage.first_log(), stage.log_entry(second)))
    licence = stage.issue(issued_at=NOW - 600, not_before=None)
    index = second.append(CredentialEntry(FOOD_DEPARTMENT, licence.digest).encode())
    forged = licence.with_tlog_proof(second.tlog_proof(index, at=NOW - 600))
    assert reason(stage.look(forged), 7) == "key_compromised"


def test_an_entry_that_a_thief_logs_again_stays_where_it_was(stage: Stage) -> None:
    licence = stage.licence()
    assert licence.landmark_proof is not None
    stage.key_is(revoked=stage.compromised(licence.landmark_proof.index + 1))
    again = stage.with_checkpoint(licence.without_proofs(), at=NOW - 600)
    assert stage.look(licence).outcome is Outcome.VALID
    assert reason(stage.look(again), 7) == "key_compromised"


# Landmark files


def vouched(stage: Stage, file: LandmarkFile, *, origin: str | None = None) -> bytes:
    """The proof of the home log's entry for any landmark file."""
    home = stage.world.home.log
    entry = LandmarkFileEntry(origin or stage.log.origin, len(file), sha256(file.encode()).digest())
    return home.tlog_proof(home.append(entry.encode()), at=NOW - HOUR)


def test_a_landmark_file_that_only_its_own_region_vouches_for_is_not_taken(stage: Stage) -> None:
    stage.licence()
    store = stage.store()
    file = stage.log.landmark_file.encode()
    entry = LandmarkFileEntry(stage.log.origin, len(stage.log.records), sha256(file).digest())
    proof = stage.log.tlog_proof(stage.log.append(entry.encode()), at=NOW - HOUR)
    with pytest.raises(TrustError, match="not a log of CN-SH"):
        store.put_landmarks(file, proof, origin=stage.log.origin, now=NOW)


def test_a_landmark_file_with_a_rewritten_record_is_not_taken(stage: Stage) -> None:
    stage.licence()
    store = stage.store()
    stage.licence()
    records = list(stage.log.records)
    for changed in (
        replace(records[0], witnessed_time=records[0].witnessed_time - DAY),
        replace(records[0], hash=bytes(32)),
    ):
        file = LandmarkFile.empty(1).with_records([changed, *records[1:]])
        with pytest.raises(TrustError, match="it may only grow"):
            store.put_landmarks(file.encode(), vouched(stage, file), origin=stage.log.origin, now=NOW)


def test_a_landmark_file_does_not_shrink_or_change(stage: Stage) -> None:
    stage.licence()
    stage.licence()
    store, records = stage.store(), list(stage.log.records)
    shorter = LandmarkFile.empty(1).with_records(records[:-1])
    other = LandmarkFile.empty(1).with_records([*records[:-1], replace(records[-1], hash=bytes(32))])
    for file in (shorter, other):
        with pytest.raises(RollbackError):
            store.put_landmarks(file.encode(), vouched(stage, file), origin=stage.log.origin, now=NOW)


def test_the_landmark_file_of_another_log_is_not_taken(stage: Stage) -> None:
    stage.licence()
    store, home = stage.store(without=["landmarks"]), stage.world.home.log
    home.landmark(at=LOGGED)
    file = home.landmark_file
    with pytest.raises(ProofError):
        store.put_landmarks(file.encode(), vouched(stage, file, origin=home.origin), origin=stage.log.origin, now=NOW)
    numbered = LandmarkFile.empty(2).with_records(stage.log.records)
    with pytest.raises(TrustError, match="it is of log 2, not 1"):
        store.put_landmarks(numbered.encode(), vouched(stage, numbered), origin=stage.log.origin, now=NOW)


def test_a_landmark_file_dated_ahead_is_not_taken(stage: Stage) -> None:
    licence = stage.licence(logged_at=NOW + HOUR + 1)
    store = stage.store(without=["landmarks"])
    file = stage.log.landmark_file
    with pytest.raises(FutureDatedError):
        store.put_landmarks(file.encode(), vouched(stage, file), origin=stage.log.origin, now=NOW)
    assert reason(stage.look(licence), 6) == "landmark_unknown"
