from __future__ import annotations

import base64
import contextlib
from dataclasses import replace

import pytest
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.cosignature import Cosigner
from chopmark.errors import FormatError, LimitError, ProofError, QuorumError, SignatureError
from chopmark.keys import Ed25519Signer
from chopmark.merkle import inclusion_proof, leaf_hash, node_hash, root
from chopmark.note import NoteSigner
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from hypothesis import given, settings
from hypothesis import strategies as st

LOG = NoteSigner("cn-gd.example/log/2026", Ed25519Signer(b"l" * 32))
WITNESS = Cosigner("cn-sh.example/witness", Ed25519Signer(b"w" * 32))
POLICY = TlogPolicy.parse(f"log {LOG.vkey}\nwitness sh {WITNESS.vkey}\nquorum sh\n")
NOW = 1_795_000_000
SIZE = 13
LEVELS = [[leaf_hash(b"entry %d" % index) for index in range(SIZE)]]
while len(LEVELS[-1]) > 1:
    below = LEVELS[-1]
    LEVELS.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])


def read(nodes: list[tuple[int, int]]) -> list[bytes]:
    return [LEVELS[level][index] for level, index in nodes]


CHECKPOINT = Checkpoint(LOG.name, SIZE, root(SIZE, read))
NOTE = SignedCheckpoint.sign(CHECKPOINT, [LOG]).with_signature(WITNESS.cosign(CHECKPOINT, NOW)).encode()


def proof_of(index: int, extra: bytes | None = None) -> TlogProof:
    return TlogProof(index, tuple(inclusion_proof(index=index, size=SIZE, read=read)), NOTE, extra)


def test_every_entry_is_proven_with_the_witnessed_time() -> None:
    for index in range(SIZE):
        proof = TlogProof.parse(proof_of(index).encode())
        witnessed = proof.verify(LEVELS[0][index], POLICY)
        assert (witnessed.checkpoint, witnessed.time) == (CHECKPOINT, NOW)


def test_the_text_is_that_of_the_specification() -> None:
    proof = proof_of(12, b"extra data")
    hashes = "".join(base64.b64encode(value).decode() + "\n" for value in proof.proof)
    extra = base64.b64encode(b"extra data").decode()
    expected = f"c2sp.org/tlog-proof@v1\nextra {extra}\nindex 12\n{hashes}\n".encode() + NOTE
    assert proof.encode() == expected
    assert TlogProof.parse(expected) == proof
    assert TlogProof.parse(expected.decode()) == proof
    assert proof.checkpoint == CHECKPOINT


def test_the_proof_of_a_log_of_one_entry_has_no_hash() -> None:
    leaf = LEVELS[0][0]
    checkpoint = Checkpoint(LOG.name, 1, leaf)
    note = SignedCheckpoint.sign(checkpoint, [LOG]).with_signature(WITNESS.cosign(checkpoint, NOW)).encode()
    proof = TlogProof.parse(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + note)
    assert proof.proof == ()
    assert proof.verify(leaf, POLICY).checkpoint == checkpoint


def test_another_index_leaf_or_path_is_refused() -> None:
    proof = proof_of(5)
    proof.verify(LEVELS[0][5], POLICY)
    for leaf, changed in (
        (LEVELS[0][4], proof),
        (b"", proof),
        (LEVELS[0][5], replace(proof, index=4)),
        (LEVELS[0][5], replace(proof, index=SIZE)),
        (LEVELS[0][5], replace(proof, proof=proof.proof[:-1])),
        (LEVELS[0][5], replace(proof, proof=(*proof.proof, bytes(32)))),
        (LEVELS[0][5], replace(proof, proof=proof.proof[::-1])),
    ):
        with pytest.raises(ProofError):
            changed.verify(leaf, POLICY)


def test_a_rewritten_index_or_size_does_not_pass() -> None:
    # One path may prove an index and size that is not the true one; the signed size is what rules it out.
    encoded = proof_of(5).encode()
    with pytest.raises(SignatureError):
        TlogProof.parse(encoded.replace(b"\n13\n", b"\n14\n")).verify(LEVELS[0][5], POLICY)
    with pytest.raises(ProofError):
        TlogProof.parse(encoded.replace(b"index 5", b"index 7")).verify(LEVELS[0][5], POLICY)


def test_without_its_quorum_or_log_a_proof_is_refused() -> None:
    proof = proof_of(5)
    alone = replace(proof, checkpoint_note=SignedCheckpoint.sign(CHECKPOINT, [LOG]).encode())
    with pytest.raises(QuorumError):
        alone.verify(LEVELS[0][5], POLICY)
    stranger = NoteSigner(LOG.name, Ed25519Signer(b"s" * 32))
    other = SignedCheckpoint.sign(CHECKPOINT, [stranger]).with_signature(WITNESS.cosign(CHECKPOINT, NOW))
    with pytest.raises(SignatureError):
        replace(proof, checkpoint_note=other.encode()).verify(LEVELS[0][5], POLICY)


HASH = base64.b64encode(b"h" * 32).decode()
TAIL = "\n" + NOTE.decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        NOTE.decode(),
        "c2sp.org/tlog-proof@v1\n" + TAIL,
        "c2sp.org/tlog-proof@v2\nindex 0\n" + TAIL,
        "c2sp.org/tlog-proof@v1 \nindex 0\n" + TAIL,
        "c2sp.org/tlog-proof@v1\r\nindex 0\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 01\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex -1\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex  1\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 1 \n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nIndex 1\n" + TAIL,
        f"c2sp.org/tlog-proof@v1\n{HASH}\nindex 1\n" + TAIL,
        f"c2sp.org/tlog-proof@v1\nindex 1\n{HASH[:-1]}\n" + TAIL,
        f"c2sp.org/tlog-proof@v1\nindex 1\n{HASH} \n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 1\nindex 1\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nextra \nindex 1\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nextra\nindex 1\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nextra AAA\nindex 1\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nextra AAAA\nextra AAAA\nindex 1\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 1\nextra AAAA\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 1\n\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 1\n" + NOTE.decode(),
        "c2sp.org/tlog-proof@v1\nindex 1\n" + TAIL[:-1],
        "c2sp.org/tlog-proof@v1\nindex 1\n\n",
        "c2sp.org/tlog-proof@v1\nindex 1\n\n" + CHECKPOINT.body(),
        "c2sp.org/tlog-proof@v1\nindex 1\né\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 1\n\ud800\n" + TAIL,
        "c2sp.org/tlog-proof@v1\nindex 1\n" + TAIL + "\ud800",
    ],
)
def test_a_malformed_proof_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        TlogProof.parse(text)


def test_too_many_hashes_are_refused() -> None:
    for count in (64, 10_000):
        with pytest.raises(LimitError):
            TlogProof.parse("c2sp.org/tlog-proof@v1\nindex 1\n" + f"{HASH}\n" * count + TAIL)
    assert len(TlogProof.parse("c2sp.org/tlog-proof@v1\nindex 1\n" + f"{HASH}\n" * 63 + TAIL).proof) == 63


def test_too_large_a_proof_is_refused() -> None:
    with pytest.raises(LimitError):
        TlogProof.parse(b"x" * (4 * 1024 * 1024 + 1))


def test_what_cannot_be_written_is_not_made() -> None:
    proof = proof_of(5)
    for change in ({"index": -1}, {"proof": (b"x",)}, {"extra": b""}, {"checkpoint_note": b"x"}, {"index": True}):
        with pytest.raises(FormatError):
            replace(proof, **change)


@settings(max_examples=50)
@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=20),
    st.none() | st.binary(min_size=1, max_size=50),
)
def test_any_proof_is_read_back(index: int, hashes: list[bytes], extra: bytes | None) -> None:
    proof = TlogProof(index, tuple(hashes), NOTE, extra)
    assert TlogProof.parse(proof.encode()) == proof


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_proof_with_any_byte_changed_does_not_verify(data: st.DataObject) -> None:
    encoded = bytearray(proof_of(5).encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FormatError, SignatureError, ProofError, QuorumError):
        changed = TlogProof.parse(bytes(encoded))
        changed.verify(LEVELS[0][5], POLICY)
        pytest.fail("a changed proof verified")
