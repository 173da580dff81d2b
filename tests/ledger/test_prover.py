"""Proofs verify as the SDK verifies them, for every entry and size tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from chopmark import merkle
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.entries import GenesisEntry
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.landmark import LandmarkFile, LandmarkProof
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark_ledger.errors import NotPublishedError
from chopmark_ledger.publication.prover import compact_checkpoint, tlog_proofs

if TYPE_CHECKING:
    from tests.ledger.conftest import World

ORIGIN = "cn-gd.example/log/2026"


@pytest.mark.parametrize("count", [1, 7, 255, 256, 700])
def test_a_tlog_proof_leads_to_the_published_checkpoint(world: World, count: int) -> None:
    ledger = world.open()
    entries = world.entries(count)
    indexes = world.submit(ledger, 1, entries)
    witnessed = ledger.publish()
    policy = TlogPolicy.parse(world.policy)
    for entry, index in list(zip(entries, indexes, strict=True))[:: max(1, count // 40)]:
        proof = TlogProof.parse(ledger.tlog_proof(index))
        assert proof.index == index
        assert proof.verify(merkle.leaf_hash(entry), policy) == witnessed


@pytest.mark.parametrize("count", [0, 5, 255, 256, 700, 1300])
def test_proofs_of_many_entries_are_those_of_each(world: World, count: int) -> None:
    ledger = world.open()
    entries = {0: GenesisEntry(ORIGIN, 1, world.clock.now).encode()}
    if count:
        made = world.entries(count)
        entries.update(zip(world.submit(ledger, 1, made), made, strict=True))
    witnessed = ledger.publish()
    policy = TlogPolicy.parse(world.policy)
    for indexes in (range(count + 1), range(count, -1, -1), range(0, count + 1, 50), [count, 0, count]):
        proofs = tlog_proofs(ledger._log, indexes)
        assert len(proofs) == len(indexes)
        for index, text in zip(indexes, proofs, strict=True):
            proof = TlogProof.parse(text)
            assert proof.index == index
            assert proof.verify(merkle.leaf_hash(entries[index]), policy) == witnessed


def test_proofs_of_no_entries_are_none(world: World) -> None:
    ledger = world.open()
    assert tlog_proofs(ledger._log, []) == []
    ledger.publish()
    assert tlog_proofs(ledger._log, []) == []


def test_one_entry_that_is_not_published_leaves_the_others_without_a_proof_too(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.publish()
    world.append(ledger, 2, 1)
    with pytest.raises(NotPublishedError, match="entry 301"):
        tlog_proofs(ledger._log, range(302))


def test_a_proof_carries_no_post_quantum_line_of_who_signed_with_ed25519_too(world: World) -> None:
    ledger = world.open()
    (index,) = world.append(ledger, 1, 1)
    ledger.publish()
    proof = TlogProof.parse(ledger.tlog_proof(index))
    full = Note.parse((world.public / "checkpoint").read_bytes())
    carried = proof.signed_checkpoint.note.signatures
    assert {line.name for line in carried} == {line.name for line in full.signatures}
    assert len(carried) == 4 < len(full.signatures)
    assert len(ledger.tlog_proof(index)) < 1024


def test_a_line_that_is_the_only_one_of_its_name_stays_in_the_proof() -> None:
    checkpoint = Checkpoint(ORIGIN, 1, b"r" * 32)
    log = NoteSigner(ORIGIN, Ed25519Signer(b"\x07" * 32))
    ml_dsa = MlDsa44Signer.generate()
    both = [Cosigner("cn-sh.example/witness", key) for key in (ml_dsa, Ed25519Signer(b"\x08" * 32))]
    alone = Cosigner("us-il.example/witness", ml_dsa)
    lines = [cosigner.cosign(checkpoint, at=1_795_339_800) for cosigner in (Cosigner(ORIGIN, ml_dsa), *both, alone)]
    note = sign_note(checkpoint.body(), [log]).with_signature(*lines)
    compact = Note.parse(compact_checkpoint(note.encode()))
    assert compact.signatures == (note.signatures[0], lines[2], lines[3])
    assert compact_checkpoint(compact.encode()) == compact.encode()


def test_an_entry_that_is_not_published_has_no_proof_yet(world: World) -> None:
    ledger = world.open()
    (index,) = world.append(ledger, 1, 1)
    with pytest.raises(NotPublishedError):
        ledger.tlog_proof(index)
    ledger.publish()
    ledger.tlog_proof(index)
    for outside in (-1, 2):
        with pytest.raises(NotPublishedError):
            ledger.tlog_proof(outside)


def test_a_proof_made_before_more_entries_came_still_verifies(world: World) -> None:
    ledger = world.open()
    entries = world.entries(5)
    indexes = world.submit(ledger, 1, entries)
    ledger.publish()
    proof = TlogProof.parse(ledger.tlog_proof(indexes[0]))
    world.append(ledger, 2, 300)
    ledger.publish()
    proof.verify(merkle.leaf_hash(entries[0]), TlogPolicy.parse(world.policy))


@pytest.mark.parametrize("count", [1, 6, 1023, 1500])
def test_a_landmark_proof_leads_to_its_record_in_ten_hashes_or_less(world: World, count: int) -> None:
    ledger = world.open()
    entries = world.entries(count)
    indexes = world.submit(ledger, 1, entries)
    assert ledger.landmark_proof(indexes[0]) is None
    ledger.landmark_now()
    file = LandmarkFile.parse((world.public / "landmarks").read_bytes())
    for entry, index in list(zip(entries, indexes, strict=True))[:: max(1, count // 40)]:
        proof = ledger.landmark_proof(index)
        assert isinstance(proof, LandmarkProof)
        assert LandmarkProof.from_value(proof.value()) == proof
        assert len(proof.hashes) <= 320
        assert proof.log_number == file.log_number
        record = file.find(proof.start, proof.end)
        assert record is not None
        proof.verify(merkle.leaf_hash(entry), record)


def test_a_landmark_proof_stays_the_same_when_the_log_grows(make_world: Callable[..., World]) -> None:
    world = make_world()
    ledger = world.open()
    indexes = world.append(ledger, 1, 30)
    ledger.landmark_now()
    before = [ledger.landmark_proof(index) for index in indexes]
    world.append(ledger, 2, 3000)
    ledger.landmark_now()
    assert [world.open().landmark_proof(index) for index in indexes] == before


def test_a_consistency_proof_leads_from_an_older_checkpoint_to_the_published_one(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 50)
    old = ledger.publish().checkpoint
    world.append(ledger, 2, 500)
    new = ledger.publish().checkpoint
    proof = ledger.consistency_proof(old.size)
    merkle.verify_consistency(size1=old.size, size2=new.size, root1=old.root, root2=new.root, proof=proof)
    with pytest.raises(NotPublishedError):
        ledger.consistency_proof(new.size + 1)
