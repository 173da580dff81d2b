"""Each answer of a witness to `sign-subtree`, in the order in which the specification checks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from chopmark import merkle
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import CosignatureVerifier, Cosigner
from chopmark.errors import FormatError, KeyMaterialError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import Note, NoteSignature, NoteVerifier
from chopmark_ledger.witness.witness import Witness, WitnessAnswer
from chopmark_ledger.witness.witness_requests import MAX_REQUEST_SIZE, parse_subtree_request
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.sample_witness import NAME, NOW, ORIGIN, FakeLog, MemoryStore, subtree_request

ED, PQ = Ed25519Signer(bytes(range(32))), MlDsa44Signer(bytes(range(32)))
SIZE = 14


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def witness(log: FakeLog) -> Witness:
    return Witness(NAME, (ED, PQ), MemoryStore(), {ORIGIN: log.verifiers})


@pytest.fixture
def lines(witness: Witness, log: FakeLog) -> bytes:
    """What the witness answered to the checkpoint of 14 leaves."""
    answer = witness.add_checkpoint(log.request(0, SIZE), NOW)
    assert answer.status == 200
    return answer.body


def line_of(lines: bytes, kind: int) -> bytes:
    """The line of the Ed25519 key (0) or of the ML-DSA-44 key (1)."""
    return lines.splitlines(keepends=True)[kind]


def signed(answer: WitnessAnswer, witness: Witness, log: FakeLog, start: int, end: int) -> None:
    """Check a 200 as a client does: one line, of the ML-DSA-44 key, without a time, over that subtree."""
    assert answer.status == 200, answer.body
    assert answer.body.endswith(b"\n")
    line = NoteSignature.parse(answer.body.decode()[:-1])
    assert line.signature[:8] == bytes(8)
    CosignatureVerifier.from_vkey(witness.vkeys[1]).verify_subtree(
        origin=log.origin, start=start, end=end, root=log.subtree(start, end), signature=line
    )


@pytest.mark.parametrize(("start", "end"), [(8, 13), (8, 12), (0, 14), (0, 8), (4, 8), (13, 14), (12, 14), (0, 1)])
def test_a_subtree_of_a_checkpoint_that_it_cosigned_is_signed(
    witness: Witness, log: FakeLog, lines: bytes, start: int, end: int
) -> None:
    signed(witness.sign_subtree(log.subtree_request(start, end, SIZE, lines)), witness, log, start, end)


@pytest.mark.parametrize("kind", [0, 1])
def test_the_line_of_either_of_its_keys_is_enough_to_recognise_the_checkpoint(
    witness: Witness, log: FakeLog, lines: bytes, kind: int
) -> None:
    signed(witness.sign_subtree(log.subtree_request(8, 13, SIZE, line_of(lines, kind))), witness, log, 8, 13)


def test_an_earlier_checkpoint_is_as_good_as_the_last(witness: Witness, log: FakeLog, lines: bytes) -> None:
    assert witness.add_checkpoint(log.request(SIZE, 20), NOW).status == 200
    signed(witness.sign_subtree(log.subtree_request(8, 13, SIZE, lines)), witness, log, 8, 13)


def test_lines_of_others_below_the_checkpoint_are_ignored(witness: Witness, log: FakeLog, lines: bytes) -> None:
    of_log = log.note(SIZE).partition(b"\n\n")[2]
    signed(witness.sign_subtree(log.subtree_request(8, 13, SIZE, of_log + lines)), witness, log, 8, 13)


def test_extension_lines_of_the_checkpoint_are_allowed(witness: Witness, log: FakeLog) -> None:
    text = Checkpoint(ORIGIN, SIZE, log.root(SIZE)).body() + "an extension\n"
    note = log.sign(text)
    answer = witness.add_checkpoint(b"old 0\n\n" + note, NOW)
    body = subtree_request((8, 13), log.subtree(8, 13), log.subtree_proof(8, 13, SIZE), note + answer.body)
    signed(witness.sign_subtree(body), witness, log, 8, 13)


@pytest.mark.parametrize("bounds", [(8, 8), (0, 0), (9, 8), (9, 11), (4, 13), (8, 15), (0, 16)])
def test_what_is_no_subtree_of_the_checkpoint_is_malformed(
    witness: Witness, log: FakeLog, lines: bytes, bounds: tuple[int, int]
) -> None:
    note = Checkpoint(ORIGIN, SIZE, log.root(SIZE)).body().encode() + b"\n" + lines
    answer = witness.sign_subtree(subtree_request(bounds, merkle.EMPTY_ROOT, [], note))
    assert answer.status == 400
    assert answer.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"subtree ", b"old "),
        lambda body: body.replace(b"subtree 8", b"subtree  8"),
        lambda body: body.replace(b"subtree 8", b"subtree 08"),
        lambda body: body.replace(b"8 13\n", b"8 +13\n"),
        lambda body: body.replace(b"8 13\n", b"8 13 \n"),
        lambda body: body.replace(b"8 13\n", b"8\n"),
        lambda body: body.replace(b"8 13\n", b"8 13\nAAAA\n"),
        lambda body: body.replace(b"8 13\n", b"8 13\n\n"),
        lambda body: body.replace(b"\n\n", b"\n" + (b"A" * 43 + b"=\n") * 63 + b"\n", 1),
        lambda body: b"subtree 8 13\n\n" + body.partition(b"\n\n")[2],
        lambda body: body.partition(b"\n\n")[0] + b"\n",
        lambda body: body.replace(b"\n14\n", b"\n014\n"),
        lambda body: body[:-1],
        lambda body: b"",
    ],
)
def test_a_malformed_request_is_answered_400(
    witness: Witness, log: FakeLog, lines: bytes, change: Callable[[bytes], bytes]
) -> None:
    body = log.subtree_request(8, 13, SIZE, lines)
    assert change(body) != body
    assert witness.sign_subtree(change(body)).status == 400
    assert witness.sign_subtree(body).status == 200


def test_at_most_63_hashes_are_read(log: FakeLog, lines: bytes) -> None:
    note = Checkpoint(ORIGIN, SIZE, log.root(SIZE)).body().encode() + b"\n" + lines
    parse_subtree_request(subtree_request((8, 13), bytes(32), [bytes(32)] * 63, note))
    with pytest.raises(FormatError, match="63"):
        parse_subtree_request(subtree_request((8, 13), bytes(32), [bytes(32)] * 64, note))


def test_a_request_that_is_too_large_is_not_read(witness: Witness) -> None:
    assert witness.sign_subtree(b" " * (MAX_REQUEST_SIZE + 1)).status == 413


def test_a_proof_that_leads_elsewhere_is_refused(witness: Witness, log: FakeLog, lines: bytes) -> None:
    note = Checkpoint(ORIGIN, SIZE, log.root(SIZE)).body().encode() + b"\n" + lines
    proof = log.subtree_proof(8, 13, SIZE)
    for subtree, hashes in (
        (bytes(32), proof),
        (log.subtree(8, 13), proof[:-1]),
        (log.subtree(8, 13), [*proof, bytes(32)]),
        (log.subtree(8, 13), [bytes(32), *proof[1:]]),
        (FakeLog("fork").subtree(8, 13), FakeLog("fork").subtree_proof(8, 13, SIZE)),
    ):
        assert witness.sign_subtree(subtree_request((8, 13), subtree, hashes, note)).status == 422


def test_the_proof_is_checked_before_the_origin_and_the_origin_before_the_signature(
    witness: Witness, log: FakeLog, lines: bytes
) -> None:
    unknown = FakeLog(origin="cn-bj.example/log/2026")
    foreign = Cosigner("us-il.example/witness", ED)
    other = [foreign.cosign(Checkpoint(unknown.origin, SIZE, unknown.root(SIZE)), NOW).encode()]
    body = unknown.subtree_request(8, 13, SIZE, other)
    assert witness.sign_subtree(body.replace(b"subtree 8 13", b"subtree 8 15")).status == 400
    assert witness.sign_subtree(body.replace(b"subtree 8 13", b"subtree 8 12")).status == 422
    assert witness.sign_subtree(body).status == 404
    body = log.subtree_request(8, 13, SIZE, other)
    assert witness.sign_subtree(body.replace(b"subtree 8 13", b"subtree 8 12")).status == 422
    assert witness.sign_subtree(body).status == 403


def test_a_checkpoint_that_it_did_not_cosign_is_forbidden(witness: Witness, log: FakeLog, lines: bytes) -> None:
    of_log = log.note(SIZE).partition(b"\n\n")[2]
    assert witness.sign_subtree(log.subtree_request(8, 13, SIZE, of_log)).status == 403
    assert witness.sign_subtree(FakeLog("fork").subtree_request(8, 13, SIZE, lines)).status == 403
    impostor = Cosigner(NAME, MlDsa44Signer(b"\1" * 32))
    line = impostor.cosign(Checkpoint(ORIGIN, SIZE, log.root(SIZE)), NOW)
    assert witness.sign_subtree(log.subtree_request(8, 13, SIZE, [line.encode()])).status == 403


def test_a_bad_line_of_one_of_its_keys_is_forbidden_though_the_other_is_good(
    witness: Witness, log: FakeLog, lines: bytes
) -> None:
    ed, pq = (NoteSignature.parse(line) for line in lines.decode().splitlines())
    for good, bad in ((ed, pq), (pq, ed)):
        spoilt = NoteSignature(bad.name, bad.key_id, bad.signature[:-1] + bytes([bad.signature[-1] ^ 1]))
        body = log.subtree_request(8, 13, SIZE, [good.encode(), spoilt.encode()])
        assert witness.sign_subtree(body).status == 403


def test_a_witness_without_an_ml_dsa_44_key_signs_no_subtrees(log: FakeLog) -> None:
    witness = Witness(NAME, (ED,), MemoryStore(), {ORIGIN: log.verifiers})
    lines = witness.add_checkpoint(log.request(0, SIZE), NOW).body
    answer = witness.sign_subtree(log.subtree_request(8, 13, SIZE, lines))
    assert answer == WitnessAnswer(404, b"this witness signs no subtrees\n")


def test_the_line_of_a_subtree_is_no_cosignature_with_a_time(witness: Witness, log: FakeLog, lines: bytes) -> None:
    answer = witness.sign_subtree(log.subtree_request(0, SIZE, SIZE, lines))
    signed(answer, witness, log, 0, SIZE)
    note = Note.parse(log.note(SIZE) + answer.body)
    assert NoteVerifier.from_vkey(witness.vkeys[1]) in note.verify([NoteVerifier.from_vkey(v) for v in witness.vkeys])
    with pytest.raises(KeyMaterialError):
        Cosigner(NAME, ED).cosign_subtree(ORIGIN, 0, SIZE, log.root(SIZE))


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_forged_byte_gets_no_signature(position: int, byte: int) -> None:
    log = FakeLog()
    witness = Witness(NAME, (ED, PQ), MemoryStore(), {ORIGIN: log.verifiers})
    line = line_of(witness.add_checkpoint(log.request(0, SIZE), NOW).body, 0)
    good = log.subtree_request(8, 13, SIZE, line)
    position %= len(good)
    forged = good[:position] + bytes([byte]) + good[position + 1 :]
    if forged != good:
        assert witness.sign_subtree(forged).status in {400, 403, 404, 422}
