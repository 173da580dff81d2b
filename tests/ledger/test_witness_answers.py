"""What is taken of the answer of a witness, whatever it sends."""

from __future__ import annotations

import re

import pytest
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.errors import FormatError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import NoteSignature, NoteSigner, sign_note
from chopmark_ledger.publication.witness_answers import ContradictionError, Judgement, Question, judge
from chopmark_ledger.witness.witness import WitnessAnswer
from hypothesis import given, settings
from hypothesis import strategies as st

ORIGIN = "cn-gd.example/log/2026"
NAME = "cn-sh.example/witness"
NOW = 1_795_339_800
CHECKPOINT = Checkpoint(ORIGIN, 100, b"r" * 32)
NOTE = sign_note(CHECKPOINT.body(), [NoteSigner(ORIGIN, Ed25519Signer(b"\x07" * 32))])
KEYS = (Cosigner(NAME, Ed25519Signer(b"\x08" * 32)), Cosigner(NAME, MlDsa44Signer.generate()))
STRANGER = Cosigner("us-il.example/witness", Ed25519Signer(b"\x09" * 32))
QUESTION = Question(CHECKPOINT, NOTE, 50, 100)
GOOD = tuple(key.cosign(CHECKPOINT, NOW) for key in KEYS)


def judged(status: int, body: bytes, question: Question = QUESTION) -> Judgement:
    return judge(WitnessAnswer(status, body), question, [key.verifier for key in KEYS], now=NOW)


def body(*lines: NoteSignature) -> bytes:
    return "".join(f"{line.encode()}\n" for line in lines).encode()


def flipped(line: NoteSignature) -> NoteSignature:
    """The line with another last bit."""
    return NoteSignature(line.name, line.key_id, line.signature[:-1] + bytes([line.signature[-1] ^ 1]))


def test_both_lines_of_a_witness_are_taken() -> None:
    assert judged(200, body(*GOOD)) == Judgement(100, GOOD)


def test_lines_are_taken_once_each_in_the_order_of_the_keys() -> None:
    assert judged(200, body(*reversed(GOOD), *GOOD)).lines == GOOD


@pytest.mark.parametrize("held", [0, 49, 51, 100])
def test_a_conflict_tells_the_size_that_the_witness_holds(held: int) -> None:
    assert judged(409, b"%d\n" % held) == Judgement(held)


REFUSED = {
    "empty": (200, b"", "no cosignature of its key"),
    "garbage": (200, b"\xff\x00garbage" * 100, "no cosignature of its key"),
    "more lines than a note has": (200, b"\n" * 1_000_000 + body(*GOOD), "no cosignature of its key"),
    "more than is looked at": (200, b"x" * 70_000 + b"\n" + body(*GOOD), "no cosignature of its key"),
    "bad signatures": (200, body(*map(flipped, GOOD)), "does not verify"),
    "cut short": (200, body(GOOD[0])[:-20], "no cosignature of its key"),
    "lines of another key": (200, body(STRANGER.cosign(CHECKPOINT, NOW)), "no cosignature of its key"),
    "a line of another checkpoint": (
        200,
        body(*(key.cosign(Checkpoint(ORIGIN, 101, b"r" * 32), NOW) for key in KEYS)),
        "does not verify",
    ),
    "a line without a time": (200, body(KEYS[1].cosign_subtree(ORIGIN, 0, 100, b"r" * 32)), "without a time"),
    "a server error": (500, b"oops\x1b[2J\n", "refused with 500: oops\N{REPLACEMENT CHARACTER}"),
    "a long reason": (403, b"r" * 10_000_000, f"refused with 403: {'r' * 200}$"),
    "a redirect": (302, b"", "refused with 302"),
    "a status that makes no sense": (0, b"", "a status that is none"),
    "a negative status": (-200, b"", "a status that is none"),
    "a conflict without a size": (409, b"no size\n", "decimal number"),
    "a conflict of garbage": (409, b"\xff\n", "without a size"),
    "a conflict cut short": (409, b"10", "without a size"),
    "a conflict without end": (409, b"1" * 1000, "without a size"),
    "a conflict of a negative size": (409, b"-1\n", "decimal number"),
    "a conflict beyond all sizes": (409, b"%d\n" % 2**64, "above"),
    "a conflict with what was asked": (409, b"50\n", "a conflict again, now of size 50"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_answer_that_is_worth_nothing_is_refused_with_the_reason(name: str) -> None:
    status, data, message = REFUSED[name]
    with pytest.raises(FormatError) as caught:
        judged(status, data)
    assert re.search(message, str(caught.value))
    assert len(str(caught.value)) < 1000


def test_a_second_conflict_is_refused_whatever_its_size() -> None:
    with pytest.raises(FormatError, match="a conflict again, now of size 7"):
        judged(409, b"7\n", Question(CHECKPOINT, NOTE, 50, 100, is_repeated=True))


def test_a_larger_size_contradicts_the_log() -> None:
    with pytest.raises(ContradictionError, match="it has seen size 101, this log holds 100") as caught:
        judged(409, b"101\n")
    assert caught.value.size == 101


def test_a_size_between_what_was_asked_and_what_is_committed_does_not() -> None:
    assert judged(409, b"150\n", Question(CHECKPOINT, NOTE, 50, 200)) == Judgement(150)


def test_a_proof_that_leads_nowhere_contradicts_the_log() -> None:
    with pytest.raises(ContradictionError, match="422: the proof") as caught:
        judged(422, b"the proof does not verify\n")
    assert caught.value.size is None


@pytest.mark.parametrize("position", [0, 1])
def test_a_good_line_counts_beside_a_bad_one(position: int) -> None:
    lines = list(GOOD)
    lines[position] = flipped(lines[position])
    judgement = judged(200, body(*lines))
    assert judgement.lines == (GOOD[1 - position],)
    assert "does not verify" in str(judgement.problem)


def test_a_bad_line_is_forgotten_where_a_good_one_of_the_same_key_follows() -> None:
    assert judged(200, body(flipped(GOOD[0]), *GOOD)) == Judgement(100, GOOD)


def test_forged_lines_beside_good_ones_are_left_out() -> None:
    forged = NoteSignature(STRANGER.name, STRANGER.verifier.key_id, bytes(72))
    assert judged(200, body(forged, *GOOD, forged)) == Judgement(100, GOOD)


def test_a_key_without_a_line_is_named() -> None:
    judgement = judged(200, body(GOOD[0]))
    assert judgement.lines == GOOD[:1]
    assert judgement.problem == f"no cosignature of its key {NAME}+{KEYS[1].verifier.key_id.hex()}"


@pytest.mark.parametrize("time", [1, NOW - 10**8, NOW, NOW + 300])
def test_a_time_in_the_past_or_a_little_ahead_is_taken(time: int) -> None:
    lines = tuple(key.cosign(CHECKPOINT, time) for key in KEYS)
    assert judged(200, body(*lines)) == Judgement(100, lines)


@pytest.mark.parametrize("ahead", [301, 10**9])
def test_a_cosignature_dated_ahead_is_not_taken(ahead: int) -> None:
    with pytest.raises(FormatError, match=f"dated {ahead} seconds ahead"):
        judged(200, body(*(key.cosign(CHECKPOINT, NOW + ahead) for key in KEYS)))


@settings(max_examples=200, deadline=None)
@given(
    status=st.one_of(st.sampled_from([200, 400, 403, 404, 409, 422, 500]), st.integers()),
    data=st.one_of(
        st.binary(max_size=300),
        st.builds(lambda size: b"%d\n" % size, st.integers(-(2**70), 2**70)),
        st.builds(
            lambda at, byte: body(*GOOD)[:at] + bytes([byte]) + body(*GOOD)[at + 1 :],
            st.integers(0, len(body(*GOOD)) - 1),
            st.integers(0, 255),
        ),
    ),
)
def test_whatever_a_witness_answers_only_good_lines_are_taken(status: int, data: bytes) -> None:
    try:
        judgement = judged(status, data)
    except (FormatError, ContradictionError):
        return
    assert set(judgement.lines) <= set(GOOD)
    assert judgement.lines or status == 409
    assert 0 <= judgement.held <= 100
