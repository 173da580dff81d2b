"""Proofs verify as the SDK verifies them, for every entry and size tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from chopmark import merkle
from chopmark.landmark import LandmarkFile, LandmarkProof
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark_ledger.errors import NotPublishedError

if TYPE_CHECKING:
    from tests.ledger.conftest import World


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
