"""Proofs of entries from static files alone, and each way in which there is none."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark import cbor
from chopmark.checkpoint import Checkpoint
from chopmark.errors import FormatError, ProofError, QuorumError, StorageError
from chopmark.landmark import LandmarkFile, LandmarkProof
from chopmark.merkle import leaf_hash, verify_inclusion
from chopmark.note import Note
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark_ledger.audit.fsck_checkpoint import LogKeys
from chopmark_ledger.audit.http_source import HttpSource
from chopmark_ledger.audit.static_proofs import prove_by_landmark, prove_entry
from chopmark_ledger.audit.tile_source import FolderSource
from chopmark_ledger.errors import NotPublishedError, NotThisLogError

from tests.ledger.sample_log import OTHER, opaque, put, serving, write_log, write_tiles

if TYPE_CHECKING:
    from tests.ledger.conftest import World

KEYS = LogKeys.of([OTHER.vkey])


@pytest.fixture
def published(world: World) -> tuple[World, LogKeys]:
    ledger = world.open()
    world.append(ledger, 1, 1200)
    ledger.landmark_now()
    world.append(ledger, 2, 100)
    ledger.publish()
    return world, LogKeys.of([world.vkey], policy=TlogPolicy.parse(world.policy))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
def test_every_entry_of_somebody_s_log_can_be_proven(tmp_path: Path, size: int) -> None:
    entries = opaque(size)
    source = FolderSource(write_log(tmp_path, entries))
    checkpoint = (tmp_path / "checkpoint").read_bytes()
    for index in sorted({0, 1, 2, size // 2, size - 2, size - 1} & set(range(size))):
        proven = prove_entry(source, index, KEYS)
        assert proven.entry == entries[index]
        proof = TlogProof.parse(proven.proof)
        assert (proof.index, proof.checkpoint_note) == (index, checkpoint)
        verify_inclusion(
            leaf_hash=leaf_hash(entries[index]),
            index=index,
            size=size,
            proof=proof.proof,
            root=proof.checkpoint.root,
        )


def test_a_proof_from_static_files_satisfies_the_policy(published: tuple[World, LogKeys]) -> None:
    world, keys = published
    for index in (0, 700, 1300):
        proven = prove_entry(FolderSource(world.public), index, keys)
        proof = TlogProof.parse(proven.proof)
        witnessed = proof.verify(leaf_hash(proven.entry), TlogPolicy.parse(world.policy))
        assert witnessed == proven.judged.witnessed
        assert index == 0 or world.acknowledged[index] == proven.entry


def test_a_proof_can_be_made_over_http(published: tuple[World, LogKeys]) -> None:
    world, keys = published
    with serving(world.public) as server, closing(HttpSource(server.url)) as source:
        assert prove_entry(source, 700, keys) == prove_entry(FolderSource(world.public), 700, keys)
        assert prove_by_landmark(source, 700, keys) == prove_by_landmark(FolderSource(world.public), 700, keys)


def test_a_landmark_proof_leads_to_the_earliest_landmark(published: tuple[World, LogKeys]) -> None:
    world, keys = published
    file = LandmarkFile.parse((world.public / "landmarks").read_bytes())
    for index in (0, 700, 1023, 1024, 1200):
        proven = prove_by_landmark(FolderSource(world.public), index, keys)
        assert proven.landmark == file.covering(index)
        proof = LandmarkProof.from_value(cbor.decode(proven.proof))
        assert (proof.log_number, proof.index) == (file.log_number, index)
        assert proven.landmark is not None
        proof.verify(leaf_hash(proven.entry), proven.landmark)


@pytest.mark.parametrize("index", [-1, 600, 2**63])
def test_an_entry_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, index: int) -> None:
    source = FolderSource(write_log(tmp_path, opaque(600)))
    with pytest.raises(NotPublishedError, match=f"no entry {index}: the log has published 600.*from 0 to 599"):
        prove_entry(source, index, KEYS)


def test_an_empty_log_has_no_entry_to_prove(tmp_path: Path) -> None:
    with pytest.raises(NotPublishedError, match="has published 0"):
        prove_entry(FolderSource(write_log(tmp_path, [])), 0, KEYS)


def test_an_entry_that_no_landmark_covers_yet_is_told(published: tuple[World, LogKeys], tmp_path: Path) -> None:
    world, keys = published
    with pytest.raises(NotPublishedError, match="landmarks for the entries before 1201 only"):
        prove_by_landmark(FolderSource(world.public), 1201, keys)
    with pytest.raises(NotPublishedError, match="no landmark file"):
        prove_by_landmark(FolderSource(write_log(tmp_path, opaque(3))), 1, KEYS)


def test_without_the_quorum_there_is_no_proof(published: tuple[World, LogKeys]) -> None:
    world, keys = published
    note = Note.parse((world.public / "checkpoint").read_bytes())
    put(world.public / "checkpoint", Note(note.text, note.signatures[:1]).encode())
    with pytest.raises(QuorumError):
        prove_entry(FolderSource(world.public), 5, keys)
    assert prove_entry(FolderSource(world.public), 5, LogKeys.of([world.vkey]))


def test_a_checkpoint_that_somebody_else_signed_proves_nothing(tmp_path: Path, world: World) -> None:
    with pytest.raises(NotThisLogError):
        prove_entry(FolderSource(write_log(tmp_path, opaque(3))), 1, LogKeys.of([world.vkey]))


@pytest.mark.parametrize("path", ["tile/0/001", "tile/1/000.p/2", "tile/entries/001"])
def test_a_file_that_was_tampered_with_makes_no_proof(tmp_path: Path, path: str) -> None:
    log = write_log(tmp_path, opaque(600))
    data = (log / path).read_bytes()
    (log / path).write_bytes(data[:5] + bytes([data[5] ^ 1]) + data[6:])
    with pytest.raises((ProofError, FormatError), match=path.replace(".", r"\.")):
        prove_entry(FolderSource(log), 300, KEYS)


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/001", "tile/1/000.p/2", "tile/entries/001"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, path: str) -> None:
    log = write_log(tmp_path, opaque(600))
    (log / path).unlink()
    with pytest.raises(StorageError, match=path.replace(".", r"\.")):
        prove_entry(FolderSource(log), 300, KEYS)


def test_a_landmark_that_does_not_follow_makes_no_proof(published: tuple[World, LogKeys]) -> None:
    world, keys = published
    data = (world.public / "landmarks").read_bytes()
    (world.public / "landmarks").write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    with pytest.raises(ProofError, match="does not follow from the tiles"):
        prove_by_landmark(FolderSource(world.public), 5, keys)


def test_a_checkpoint_with_extension_lines_makes_no_proof(tmp_path: Path) -> None:
    checkpoint: Checkpoint = write_tiles(tmp_path, opaque(3), OTHER.name)
    text = checkpoint.body() + "an extension line\n"
    put(tmp_path / "checkpoint", Note(text, (OTHER.sign(text),)).encode())
    with pytest.raises(FormatError, match="extension lines"):
        prove_entry(FolderSource(tmp_path), 1, KEYS)
