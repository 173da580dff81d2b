"""Judging checkpoints from outside: which keys must have signed, what a policy adds, what others may write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.errors import FormatError, KeyMaterialError, QuorumError, SignatureError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.merkle import EMPTY_ROOT
from chopmark.note import Note, NoteSignature, NoteSigner
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.audit.fsck import fsck
from chopmark_ledger.audit.fsck_checkpoint import JudgedCheckpoint, LogKeys, judge_checkpoint

from tests.ledger.sample_log import OTHER, opaque, put, write_tiles

ORIGIN = OTHER.name
NOW = 1_795_339_800
POST_QUANTUM = Cosigner(ORIGIN, MlDsa44Signer(b"\x05" * 32))
NEXT = NoteSigner(ORIGIN, Ed25519Signer(b"\x06" * 32))
WITNESS = Cosigner("cn-sh.example/witness", Ed25519Signer(b"\x08" * 32))
POST_QUANTUM_WITNESS = Cosigner("us-il.example/witness", MlDsa44Signer(b"\x08" * 32))
CHECKPOINT = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
POLICY = TlogPolicy.parse(
    f"log {OTHER.vkey}\nlog {POST_QUANTUM.vkey}\n"
    f"witness sh {WITNESS.vkey}\nwitness il {POST_QUANTUM_WITNESS.vkey}\ngroup both all sh il\nquorum both\n"
)


def note(*signers: NoteSigner | Cosigner, checkpoint: Checkpoint = CHECKPOINT, more: str = "") -> bytes:
    text = checkpoint.body() + more
    lines = [each.sign(text) if isinstance(each, NoteSigner) else each.cosign_text(text, NOW) for each in signers]
    return Note(text, tuple(lines)).encode()


def judge(data: bytes, *signers: NoteSigner | Cosigner, policy: TlogPolicy | None = None) -> JudgedCheckpoint:
    return judge_checkpoint(data, LogKeys.of([signer.vkey for signer in signers], policy=policy))


def test_every_key_that_is_named_must_have_signed() -> None:
    both = note(OTHER, POST_QUANTUM)
    judged = judge(both, OTHER, POST_QUANTUM)
    assert [key.vkey for key in judged.signed_by] == [OTHER.vkey, POST_QUANTUM.vkey]
    assert judge(both, OTHER).checkpoint == CHECKPOINT
    assert judge(both, POST_QUANTUM).checkpoint == CHECKPOINT
    with pytest.raises(SignatureError, match=r"key rome\.example/tevere\+[0-9a-f]{8}: did not sign"):
        judge(note(OTHER), OTHER, POST_QUANTUM)
    with pytest.raises(SignatureError, match=r"key rome\.example/tevere\+[0-9a-f]{8}: did not sign"):
        judge(both, OTHER, NEXT)


def test_a_bad_line_of_a_second_key_fails_the_checkpoint() -> None:
    good = Note.parse(note(OTHER, POST_QUANTUM))
    bad = replace(good.signatures[1], signature=good.signatures[1].signature[:-1] + b"\0")
    forged = Note(good.text, (good.signatures[0], bad)).encode()
    with pytest.raises(SignatureError, match="does not verify"):
        judge(forged, OTHER, POST_QUANTUM)
    assert judge(forged, OTHER).checkpoint == CHECKPOINT, "the line of a key that nobody named"


def test_a_key_of_a_witness_is_no_key_of_a_log() -> None:
    with pytest.raises(KeyMaterialError, match="policy"):
        LogKeys.of([WITNESS.vkey])


def test_without_any_key_nothing_is_judged() -> None:
    with pytest.raises(FormatError, match="no key"):
        LogKeys.of([])
    with pytest.raises(FormatError, match="no key"):
        LogKeys.of([], policy=replace(POLICY, logs=()))


def test_keys_of_several_logs_need_an_origin() -> None:
    stranger = NoteSigner("milan.example/naviglio", Ed25519Signer(b"\x0a" * 32))
    with pytest.raises(FormatError, match=r"milan\.example/naviglio, rome\.example/tevere"):
        LogKeys.of([OTHER.vkey, stranger.vkey])
    assert LogKeys.of([OTHER.vkey, stranger.vkey], origin=ORIGIN).origin == ORIGIN


def test_the_keys_of_the_policy_serve_where_none_is_named() -> None:
    judged = judge(note(OTHER, WITNESS, POST_QUANTUM_WITNESS), policy=POLICY)
    assert [key.vkey for key in judged.signed_by] == [OTHER.vkey]
    assert judged.witnessed is not None
    assert judged.witnessed.times == (NOW, NOW)
    with pytest.raises(SignatureError, match="not signed by any known key"):
        judge(note(NEXT, WITNESS, POST_QUANTUM_WITNESS), policy=POLICY)


def test_a_policy_that_does_not_know_the_log_is_told_its_keys() -> None:
    policy = replace(POLICY, logs=())
    judged = judge(note(NEXT, WITNESS, POST_QUANTUM_WITNESS), NEXT, policy=policy)
    assert judged.witnessed is not None
    assert judged.quorum_problem is None


def test_cosignatures_are_not_asked_for_without_a_policy() -> None:
    judged = judge(note(OTHER), OTHER)
    assert judged.witnessed is None
    assert judged.quorum_problem is None


@pytest.mark.parametrize("missing", [WITNESS, POST_QUANTUM_WITNESS])
def test_a_quorum_that_is_not_met_is_told_beside_the_checkpoint(missing: Cosigner) -> None:
    there = [each for each in (WITNESS, POST_QUANTUM_WITNESS) if each is not missing]
    judged = judge(note(OTHER, *there), OTHER, policy=POLICY)
    assert judged.checkpoint == CHECKPOINT
    assert isinstance(judged.quorum_problem, QuorumError)


def test_a_policy_without_a_quorum_is_no_policy() -> None:
    with pytest.raises(QuorumError, match="asks for no witness"):
        LogKeys.of([OTHER.vkey], policy=TlogPolicy.parse("quorum none\n"))


def test_extension_lines_of_others_are_counted_and_signed() -> None:
    judged = judge(note(OTHER, POST_QUANTUM, more="one\ntwo\n"), OTHER, POST_QUANTUM)
    assert judged.extension_lines == 2
    signed = Note.parse(note(OTHER, more="one\n"))
    with pytest.raises(SignatureError):
        judge(Note(CHECKPOINT.body() + "another\n", signed.signatures).encode(), OTHER)


def test_an_empty_extension_line_is_refused() -> None:
    with pytest.raises(FormatError, match="empty"):
        judge(note(OTHER, more="one\n\ntwo\n"), OTHER)


def test_extension_lines_are_not_taken_under_a_policy() -> None:
    judged = judge(note(OTHER, WITNESS, POST_QUANTUM_WITNESS, more="one\n"), OTHER, policy=POLICY)
    assert judged.witnessed is None
    assert "extension lines" in str(judged.quorum_problem)


@pytest.mark.parametrize("more", ["", "x\n"])
def test_a_note_that_is_no_checkpoint_is_refused(more: str) -> None:
    text = f"{ORIGIN}\n007\n{more}"
    with pytest.raises(FormatError):
        judge(Note(text, (OTHER.sign(text),)).encode(), OTHER)


def test_a_signature_line_of_rubbish_for_a_known_key_is_refused() -> None:
    rubbish = NoteSignature(ORIGIN, OTHER.verifier.key_id, b"rubbish")
    with pytest.raises(SignatureError):
        judge(Note(CHECKPOINT.body(), (rubbish,)).encode(), OTHER)


def test_a_log_with_extension_lines_and_a_second_key_is_sound(tmp_path: Path) -> None:
    checkpoint = write_tiles(tmp_path, opaque(300), ORIGIN)
    put(tmp_path / "checkpoint", note(OTHER, POST_QUANTUM, WITNESS, checkpoint=checkpoint, more="one\n"))
    report = fsck(tmp_path, vkeys=[OTHER.vkey, POST_QUANTUM.vkey])
    assert report.is_sound
    assert report.remarks == ("checkpoint: 1 extension lines, which no monitor can audit",)
