from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import sha256

import pytest
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.cosignature import CosignatureVerifier, Cosigner
from chopmark.errors import FormatError, KeyMaterialError, SignatureError, UnsupportedError
from chopmark.keys import Ed25519Signer, Es256Signer
from chopmark.note import NoteSigner
from hypothesis import given, settings
from hypothesis import strategies as st

LOG = NoteSigner("cn-gd.example/log/2026", Ed25519Signer(b"l" * 32))
WITNESS = Cosigner("cn-sh.example/witness", Ed25519Signer(b"w" * 32))
CHECKPOINT = Checkpoint(LOG.name, 20852163, b"r" * 32)
NOW = 1_795_000_000


def test_the_message_signed_is_that_of_the_specification() -> None:
    line = WITNESS.cosign(CHECKPOINT, NOW)
    message = b"cosignature/v1\ntime 1795000000\ncn-gd.example/log/2026\n20852163\n" + base64.b64encode(b"r" * 32)
    assert line.signature[:8] == NOW.to_bytes(8, "big")
    WITNESS.verifier.public_key.verify(message + b"\n", line.signature[8:])


def test_the_key_id_is_that_of_type_four() -> None:
    raw = WITNESS.verifier.public_key.raw
    assert WITNESS.verifier.key_id == sha256(b"cn-sh.example/witness\n\x04" + raw).digest()[:4]
    assert WITNESS.verifier.key_id != NoteSigner(WITNESS.name, Ed25519Signer(b"w" * 32)).verifier.key_id


@settings(max_examples=50)
@given(st.integers(0, 2**63 - 1))
def test_a_cosignature_gives_back_its_time(at: int) -> None:
    assert WITNESS.verifier.verify(CHECKPOINT, WITNESS.cosign(CHECKPOINT, at)) == at


def test_a_cosigned_checkpoint_verifies_as_a_note() -> None:
    signed = SignedCheckpoint.sign(CHECKPOINT, [LOG]).with_signature(WITNESS.cosign(CHECKPOINT, NOW))
    verifiers = [WITNESS.verifier.note_verifier, LOG.verifier]
    assert SignedCheckpoint.parse(signed.encode()).note.verify(verifiers) == tuple(verifiers)


def test_the_vkey_is_read_back() -> None:
    assert CosignatureVerifier.from_vkey(WITNESS.vkey) == WITNESS.verifier


def test_the_key_of_a_log_is_not_that_of_a_witness() -> None:
    with pytest.raises(KeyMaterialError, match="does not cosign"):
        CosignatureVerifier.from_vkey(LOG.vkey)
    with pytest.raises(KeyMaterialError, match="ES256"):
        Cosigner("cn-sh.example/witness", Es256Signer.generate())
    with pytest.raises(UnsupportedError):
        CosignatureVerifier.from_vkey("n+" + sha256(b"n\n\x06" + bytes(1312)).hexdigest()[:8] + "+BgAA")


def test_another_time_size_root_or_origin_does_not_verify() -> None:
    line = WITNESS.cosign(CHECKPOINT, NOW)
    earlier = replace(line, signature=(NOW - 1).to_bytes(8, "big") + line.signature[8:])
    for checkpoint, changed in (
        (CHECKPOINT, earlier),
        (replace(CHECKPOINT, size=1), line),
        (replace(CHECKPOINT, root=b"s" * 32), line),
        (replace(CHECKPOINT, origin="cn-gd.example/log/2025"), line),
    ):
        with pytest.raises(SignatureError):
            WITNESS.verifier.verify(checkpoint, changed)


@pytest.mark.parametrize("signature", [b"t", bytes(7), bytes(8), bytes(71), bytes(72), bytes(73), b"\xff" * 72])
def test_a_malformed_cosignature_does_not_verify(signature: bytes) -> None:
    line = replace(WITNESS.cosign(CHECKPOINT, NOW), signature=signature)
    with pytest.raises(SignatureError):
        WITNESS.verifier.verify(CHECKPOINT, line)


def test_a_time_above_the_bound_does_not_verify_though_it_is_signed() -> None:
    time = 2**63
    body = CHECKPOINT.body().encode()
    bare = Ed25519Signer(b"w" * 32).sign(b"cosignature/v1\ntime %d\n%b" % (time, body))
    line = replace(WITNESS.cosign(CHECKPOINT, NOW), signature=time.to_bytes(8, "big") + bare)
    with pytest.raises(SignatureError):
        WITNESS.verifier.verify(CHECKPOINT, line)


@pytest.mark.parametrize("at", [-1, 2**63])
def test_a_time_out_of_range_is_not_cosigned(at: int) -> None:
    with pytest.raises(FormatError):
        WITNESS.cosign(CHECKPOINT, at)


def test_a_line_of_another_key_is_refused() -> None:
    line = WITNESS.cosign(CHECKPOINT, NOW)
    for other in (replace(line, name="other.example"), replace(line, key_id=b"\0\0\0\0")):
        with pytest.raises(SignatureError, match="another key"):
            WITNESS.verifier.verify(CHECKPOINT, other)


def test_of_several_cosignatures_by_one_witness_the_earliest_counts() -> None:
    signed = SignedCheckpoint.sign(CHECKPOINT, [LOG])
    assert WITNESS.verifier.verify_all(signed) is None
    twice = signed.with_signature(WITNESS.cosign(CHECKPOINT, NOW + 60), WITNESS.cosign(CHECKPOINT, NOW))
    assert WITNESS.verifier.verify_all(twice) == NOW
    forged = replace(WITNESS.cosign(CHECKPOINT, NOW), signature=bytes(72))
    with pytest.raises(SignatureError):
        WITNESS.verifier.verify_all(twice.with_signature(forged))


def test_a_log_signature_is_not_a_cosignature_of_the_same_key() -> None:
    # One key under one name in both roles: the type byte keeps the two apart.
    log = NoteSigner(WITNESS.name, Ed25519Signer(b"w" * 32))
    signed = SignedCheckpoint.sign(CHECKPOINT, [log])
    assert WITNESS.verifier.verify_all(signed) is None
    with pytest.raises(SignatureError):
        signed.note.verify([WITNESS.verifier.note_verifier])
