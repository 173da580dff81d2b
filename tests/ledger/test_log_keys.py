"""The keys of a log: Ed25519, and ML-DSA-44 beside it where the log was created with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from chopmark.checkpoint import SignedCheckpoint
from chopmark.errors import KeyMaterialError
from chopmark.keys import Ed25519Signer, MlDsa44Signer, Signer
from chopmark.note import NoteVerifier, split_cosignature
from chopmark_ledger.errors import FolderError
from chopmark_ledger.sequencing.log import Log

ORIGIN = "cn-gd.example/log/2026"
KEY = Ed25519Signer(b"\x07" * 32)
PQ_KEY = MlDsa44Signer(b"\x08" * 32)
NOW = 1_795_339_800


def create(folder: Path, pq_key: Signer | None = PQ_KEY) -> None:
    Log.create(folder, origin=ORIGIN, number=1, key=KEY, pq_key=pq_key, clock=lambda: NOW).close()


def opened(folder: Path, key: Signer | None, pq_key: Signer | None) -> Log:
    return Log.open(folder, key=key, pq_key=pq_key, clock=lambda: NOW)


def test_a_checkpoint_is_signed_by_both_keys_at_the_time_of_the_logs_clock(tmp_path: Path) -> None:
    create(tmp_path)
    with opened(tmp_path, KEY, PQ_KEY) as log:
        assert log.identity.pq_vkey is not None
        checkpoint, note = log.sign_committed()
    verifiers = [NoteVerifier.from_vkey(vkey) for vkey in (log.identity.vkey, log.identity.pq_vkey)]
    assert [verifier.type for verifier in verifiers] == [0x01, 0x06]
    assert note.verify(verifiers) == tuple(verifiers)
    assert SignedCheckpoint.parse(note.encode()).checkpoint == checkpoint
    assert split_cosignature(note.signatures[1].signature)[0] == NOW


def test_a_log_without_a_second_key_signs_with_the_first(tmp_path: Path) -> None:
    create(tmp_path, pq_key=None)
    with opened(tmp_path, KEY, None) as log:
        assert log.identity.pq_vkey is None
        _, note = log.sign_committed()
    assert [line.name for line in note.signatures] == [ORIGIN]


@pytest.mark.parametrize(
    ("key", "pq_key", "problem"),
    [
        (KEY, None, "its ML-DSA-44 key is missing"),
        (None, PQ_KEY, "its Ed25519 key is missing"),
        (KEY, MlDsa44Signer(b"\x09" * 32), "the ML-DSA-44 key is not the one"),
        (Ed25519Signer(b"\x09" * 32), PQ_KEY, "the log was created with"),
    ],
)
def test_a_log_is_not_opened_with_a_key_missing_or_wrong(
    tmp_path: Path, key: Signer | None, pq_key: Signer | None, problem: str
) -> None:
    create(tmp_path)
    with pytest.raises(FolderError, match=problem):
        opened(tmp_path, key, pq_key)


def test_a_log_is_not_given_a_second_key_later(tmp_path: Path) -> None:
    create(tmp_path, pq_key=None)
    with pytest.raises(FolderError, match="created without an ML-DSA-44 key"):
        opened(tmp_path, KEY, PQ_KEY)


def test_without_keys_a_log_takes_entries_and_signs_nothing(tmp_path: Path) -> None:
    create(tmp_path)
    with opened(tmp_path, None, None) as log, pytest.raises(FolderError, match="without its key"):
        log.sign_committed()


@pytest.mark.parametrize(("key", "pq_key"), [(KEY, Ed25519Signer(b"\x09" * 32)), (PQ_KEY, None), (PQ_KEY, PQ_KEY)])
def test_each_key_is_of_its_own_kind(tmp_path: Path, key: Signer, pq_key: Signer | None) -> None:
    with pytest.raises(KeyMaterialError):
        Log.create(tmp_path / "log", origin=ORIGIN, number=1, key=key, pq_key=pq_key, clock=lambda: NOW)
    assert not (tmp_path / "log").exists()


def test_a_broken_line_of_the_second_key_makes_a_checkpoint_count_as_lost(tmp_path: Path) -> None:
    create(tmp_path)
    with opened(tmp_path, KEY, PQ_KEY) as log:
        _, note = log.sign_committed()
        text = note.encode()
        log.public_folder.replace("checkpoint", text)
        assert log.standing_checkpoint() is not None
        lines = text.decode().split("\n")
        lines[-2] = lines[-2][:-8] + "AAAAAAA="
        log.public_folder.replace("checkpoint", "\n".join(lines).encode())
        assert log.standing_checkpoint() is None
