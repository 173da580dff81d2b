from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.cosignature import CosignatureVerifier, Cosigner
from chopmark.errors import FormatError, KeyMaterialError, SignatureError
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer
from chopmark.note import NoteSignature, NoteSigner, subtree_message
from hypothesis import given, settings
from hypothesis import strategies as st

LOG = NoteSigner("cn-gd.example/log/2026", Ed25519Signer(b"l" * 32))
WITNESS = Cosigner("cn-sh.example/witness", Ed25519Signer(b"w" * 32))
CHECKPOINT = Checkpoint(LOG.name, 20852163, b"r" * 32)
PQ = Cosigner("cn-sh.example/witness", MlDsa44Signer(b"q" * 32))
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
@given(st.integers(1, 2**63 - 1))
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
    with pytest.raises(KeyMaterialError, match="does not cosign"):
        CosignatureVerifier.from_vkey(NoteSigner("n", MlDsa44Signer(b"q" * 32)).vkey)


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


@pytest.mark.parametrize("at", [-1, 0, 2**63])
def test_a_time_out_of_range_is_not_cosigned(at: int) -> None:
    for cosigner in (WITNESS, PQ):
        with pytest.raises(FormatError):
            cosigner.cosign(CHECKPOINT, at)


def test_a_cosignature_of_the_time_zero_is_nobodys_word() -> None:
    bare = Ed25519Signer(b"w" * 32).sign(b"cosignature/v1\ntime 0\n" + CHECKPOINT.body().encode())
    line = replace(WITNESS.cosign(CHECKPOINT, NOW), signature=bytes(8) + bare)
    with pytest.raises(SignatureError, match="without a time"):
        WITNESS.verifier.verify(CHECKPOINT, line)
    signed = SignedCheckpoint.sign(CHECKPOINT, [LOG])
    assert WITNESS.verifier.verify_all(signed.with_signature(line)) is None
    assert WITNESS.verifier.verify_all(signed.with_signature(line, WITNESS.cosign(CHECKPOINT, NOW))) == NOW


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


def test_the_ml_dsa_44_message_is_the_structure_of_the_specification() -> None:
    line = PQ.cosign(CHECKPOINT, NOW)
    message = (
        bytes.fromhex("737562747265652f76310a00")
        + bytes([21])
        + b"cn-sh.example/witness"
        + NOW.to_bytes(8, "big")
        + bytes([22])
        + b"cn-gd.example/log/2026"
        + bytes(8)
        + (20852163).to_bytes(8, "big")
        + b"r" * 32
    )
    assert subtree_message(PQ.name, NOW, CHECKPOINT.origin, 0, CHECKPOINT.size, CHECKPOINT.root) == message
    assert line.signature[:8] == NOW.to_bytes(8, "big")
    PQ.verifier.public_key.verify(message, line.signature[8:])
    assert PQ.verifier.verify(CHECKPOINT, line) == NOW


def test_the_ml_dsa_44_key_id_is_that_of_type_six() -> None:
    raw = PQ.verifier.public_key.raw
    assert PQ.verifier.key_id == sha256(b"cn-sh.example/witness\n\x06" + raw).digest()[:4]
    assert CosignatureVerifier.from_vkey(PQ.vkey) == PQ.verifier


def test_another_name_time_size_root_or_origin_does_not_verify_under_ml_dsa_44() -> None:
    line = PQ.cosign(CHECKPOINT, NOW)
    for checkpoint, changed in (
        (CHECKPOINT, replace(line, signature=(NOW - 1).to_bytes(8, "big") + line.signature[8:])),
        (replace(CHECKPOINT, size=1), line),
        (replace(CHECKPOINT, root=b"s" * 32), line),
        (replace(CHECKPOINT, origin="cn-gd.example/log/2025"), line),
    ):
        with pytest.raises(SignatureError):
            PQ.verifier.verify(checkpoint, changed)
    other = Cosigner("us-il.example/witness", MlDsa44Signer(b"q" * 32)).verifier
    with pytest.raises(SignatureError):
        other.verify(CHECKPOINT, NoteSignature(other.name, other.key_id, line.signature))


@pytest.mark.parametrize(
    "signature", [b"t", bytes(8), bytes(72), bytes(2427), bytes(2428), bytes(2429), b"\xff" * 2428]
)
def test_a_malformed_ml_dsa_44_cosignature_does_not_verify(signature: bytes) -> None:
    with pytest.raises(SignatureError):
        PQ.verifier.verify(CHECKPOINT, replace(PQ.cosign(CHECKPOINT, NOW), signature=signature))


def test_an_ml_dsa_44_line_covers_the_first_three_lines_only() -> None:
    line = PQ.cosign(CHECKPOINT, NOW)
    verifier = PQ.verifier.note_verifier
    verifier.verify(CHECKPOINT.body().encode() + b"an extension\n", line.signature)
    assert PQ.cosign_text(CHECKPOINT.body() + "an extension\n", NOW).signature[:8] == NOW.to_bytes(8, "big")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "some text\n",
        "\ud800\n5\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "o\n5\n",
        "o\n5\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=",
        "o\n05\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "o\n5\ncnJy\n",
        "\n5\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "o\n5\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n\n",
        "o\n0\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "o\n9223372036854775808\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "o" * 256 + "\n5\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
    ],
)
def test_an_ml_dsa_44_line_below_what_is_no_checkpoint_fails(text: str) -> None:
    with pytest.raises(SignatureError):
        PQ.verifier.note_verifier.verify(text.encode("utf-8", "surrogatepass"), PQ.cosign(CHECKPOINT, NOW).signature)
    with pytest.raises(FormatError):
        PQ.cosign_text(text, NOW)


def test_the_empty_log_can_be_cosigned() -> None:
    empty = Checkpoint(LOG.name, 0, sha256(b"").digest())
    assert PQ.verifier.verify(empty, PQ.cosign(empty, NOW)) == NOW


SUBTREE: dict[str, Any] = {"origin": LOG.name, "start": 8, "end": 13, "root": b"s" * 32}


def test_a_cosigned_subtree_verifies_and_has_no_time() -> None:
    line = PQ.cosign_subtree(LOG.name, 8, 13, b"s" * 32)
    assert line.signature[:8] == bytes(8)
    PQ.verifier.verify_subtree(**SUBTREE, signature=line)
    for changed in ({"origin": "o"}, {"start": 0}, {"end": 12}, {"root": b"t" * 32}, {"start": 13}):
        with pytest.raises(SignatureError):
            PQ.verifier.verify_subtree(**{**SUBTREE, **changed}, signature=line)
    with pytest.raises(SignatureError):
        PQ.verifier.verify_subtree(**SUBTREE, signature=replace(line, key_id=b"\0\0\0\0"))
    with pytest.raises(SignatureError):
        PQ.verifier.verify_subtree(**SUBTREE, signature=replace(line, signature=b"\0" * 7 + b"\1" + line.signature[8:]))


def test_an_ed25519_key_cosigns_no_subtrees() -> None:
    with pytest.raises(KeyMaterialError, match="no subtrees"):
        WITNESS.cosign_subtree(LOG.name, 8, 13, b"s" * 32)
    with pytest.raises(KeyMaterialError, match="no subtrees"):
        WITNESS.verifier.verify_subtree(**SUBTREE, signature=WITNESS.cosign(CHECKPOINT, NOW))


@pytest.mark.parametrize(
    ("origin", "start", "end", "root"),
    [
        ("o", 1, 3, b"s" * 32),
        ("o", 8, 8, b"s" * 32),
        ("o", 13, 8, b"s" * 32),
        ("o", -1, 0, b"s" * 32),
        ("o", 0, 2**63, b"s" * 32),
        ("o", 8, 13, b"s" * 31),
        ("", 8, 13, b"s" * 32),
        ("o" * 256, 8, 13, b"s" * 32),
        ("\ud800", 8, 13, b"s" * 32),
    ],
)
def test_what_is_no_subtree_is_not_cosigned(origin: str, start: int, end: int, root: bytes) -> None:
    with pytest.raises(FormatError):
        PQ.cosign_subtree(origin, start, end, root)


def test_a_cosigned_subtree_is_never_a_witness_of_the_checkpoint_of_its_size() -> None:
    line = PQ.cosign_subtree(CHECKPOINT.origin, 0, CHECKPOINT.size, CHECKPOINT.root)
    signed = SignedCheckpoint.sign(CHECKPOINT, [LOG]).with_signature(line)
    assert PQ.verifier.note_verifier in signed.note.verify([LOG.verifier, PQ.verifier.note_verifier])
    assert PQ.verifier.verify_all(signed) is None
    with pytest.raises(SignatureError, match="without a time"):
        PQ.verifier.verify(CHECKPOINT, line)


def test_a_cosigned_checkpoint_does_not_pass_for_a_cosigned_subtree() -> None:
    with pytest.raises(SignatureError, match="no time"):
        PQ.verifier.verify_subtree(
            origin=CHECKPOINT.origin,
            start=0,
            end=CHECKPOINT.size,
            root=CHECKPOINT.root,
            signature=PQ.cosign(CHECKPOINT, NOW),
        )


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)


@settings(max_examples=200)
@given(names, st.integers(0, 2**63 - 1), names, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_subtree_message_says_what_went_into_it(name: str, time: int, origin: str, end: int, root: bytes) -> None:
    message = subtree_message(name, time, origin, 0, end, root)
    rest = message.removeprefix(b"subtree/v1\n\0")
    assert rest[1 : 1 + rest[0]].decode() == name
    rest = rest[1 + rest[0] :]
    assert int.from_bytes(rest[:8], "big") == time
    rest = rest[8:]
    assert rest[1 : 1 + rest[0]].decode() == origin
    assert rest[1 + rest[0] :] == bytes(8) + end.to_bytes(8, "big") + root


def test_a_subtree_that_does_not_begin_at_zero_has_no_time() -> None:
    with pytest.raises(FormatError, match="does not begin at 0"):
        subtree_message("n", NOW, "o", 8, 13, b"s" * 32)
    assert subtree_message("n", 0, "o", 8, 13, b"s" * 32)


@settings(max_examples=30)
@given(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_an_ml_dsa_44_cosignature_gives_back_its_time(at: int, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(LOG.name, size, root)
    assert PQ.verifier.verify(checkpoint, PQ.cosign(checkpoint, at)) == at
