"""Each answer of a witness to `add-checkpoint`, and that no refused request moves what it holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from chopmark import strict
from chopmark.errors import FormatError, KeyMaterialError
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer, Signer
from chopmark.note import Note, NoteSigner, NoteVerifier
from chopmark_ledger.errors import WitnessClockError
from chopmark_ledger.witness.witness import Contradiction, Witness, WitnessAnswer
from chopmark_ledger.witness.witness_requests import MAX_REQUEST_SIZE, parse_submission, peek_origin
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.sample_witness import NAME, NOW, ORIGIN, FakeLog, MemoryStore, cosigned, request

ED, PQ = Ed25519Signer(bytes(range(32))), MlDsa44Signer(bytes(range(32)))
TEXT = "text/plain; charset=utf-8"


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=[(ED, PQ), (ED,), (PQ,)], ids=["both keys", "Ed25519", "ML-DSA-44"])
def witness(request: pytest.FixtureRequest, store: MemoryStore, log: FakeLog) -> Witness:
    return Witness(NAME, request.param, store, {ORIGIN: log.verifiers})


def test_the_first_checkpoint_is_cosigned_from_old_size_zero(witness: Witness, log: FakeLog) -> None:
    assert cosigned(witness.add_checkpoint(log.request(0, 7), NOW), witness.vkeys, log.note(7)) == NOW


def test_a_checkpoint_that_follows_is_cosigned(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert cosigned(witness.add_checkpoint(log.request(7, 300), NOW + 5), witness.vkeys, log.note(300)) == NOW + 5


def test_the_same_checkpoint_is_cosigned_again_with_a_new_time(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert cosigned(witness.add_checkpoint(log.request(7, 7), NOW + 60), witness.vkeys, log.note(7)) == NOW + 60


def test_an_empty_log_is_cosigned(witness: Witness, log: FakeLog) -> None:
    cosigned(witness.add_checkpoint(log.request(0, 0), NOW), witness.vkeys, log.note(0))
    cosigned(witness.add_checkpoint(log.request(0, 3), NOW), witness.vkeys, log.note(3))


def test_another_old_size_is_a_conflict_that_names_the_size_held(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    for old in (0, 3, 8):
        answer = witness.add_checkpoint(log.request(old, 9), NOW)
        assert answer == WitnessAnswer(409, b"7\n", "text/x.tlog.size")


def test_a_smaller_checkpoint_is_a_conflict(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert witness.add_checkpoint(log.request(3, 6), NOW).status == 409


def test_an_old_size_above_the_checkpoint_is_malformed(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert witness.add_checkpoint(request(7, [], log.note(5)), NOW).status == 400


def test_an_unknown_origin_is_not_found(witness: Witness) -> None:
    other = FakeLog(origin="cn-bj.example/log/2026")
    assert witness.add_checkpoint(other.request(0, 7), NOW).status == 404


def test_a_note_without_the_log_s_signature_is_forbidden(witness: Witness, log: FakeLog) -> None:
    stranger = FakeLog(seed=b"\1" * 32)
    assert witness.add_checkpoint(stranger.request(0, 7), NOW).status == 403
    assert witness.add_checkpoint(log.request(0, 7), NOW).status == 200


def test_a_bad_signature_under_the_log_s_key_is_forbidden(witness: Witness, log: FakeLog) -> None:
    body, _, lines = log.note(7).partition(b"\n\n")
    other = log.note(8).partition(b"\n\n")[2]
    assert witness.add_checkpoint(request(0, [], body + b"\n\n" + other), NOW).status == 403
    # also where a good line stands beside it
    assert witness.add_checkpoint(request(0, [], body + b"\n\n" + lines + other), NOW).status == 403


def test_a_fork_before_the_size_held_is_not_hidden_by_a_good_proof_of_its_own(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    fork = FakeLog("fork")
    for proof in (fork.proof(7, 12), log.proof(7, 12), fork.proof(5, 12), []):
        assert witness.add_checkpoint(request(7, proof, fork.note(12)), NOW).status == 422
    cosigned(witness.add_checkpoint(log.request(7, 12), NOW), witness.vkeys, log.note(12))


def test_a_proof_where_none_belongs_is_refused(witness: Witness, log: FakeLog) -> None:
    assert witness.add_checkpoint(request(0, [b"\0" * 32], log.note(7)), NOW).status == 422
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert witness.add_checkpoint(request(7, [b"\0" * 32], log.note(7)), NOW).status == 422
    assert witness.add_checkpoint(log.request(7, 7), NOW).status == 200


def test_an_empty_tree_with_another_root_is_refused(witness: Witness, log: FakeLog, store: MemoryStore) -> None:
    body = f"{ORIGIN}\n0\n{strict.base64_encode(bytes(32))}\n"
    assert witness.add_checkpoint(request(0, [], log.sign(body)), NOW).status == 422
    assert not store.evidence, "nothing is held that it could contradict"


def test_extension_lines_are_cosigned_with_the_rest(witness: Witness, log: FakeLog) -> None:
    note = log.sign(Note.parse(log.note(7)).text + "an extension\n")
    cosigned(witness.add_checkpoint(request(0, [], note), NOW), witness.vkeys, note)
    cosigned(witness.add_checkpoint(log.request(7, 8), NOW), witness.vkeys, log.note(8))


def test_a_checkpoint_with_an_empty_line_is_malformed(witness: Witness, log: FakeLog) -> None:
    for extension in ("\n", "\nan extension\n"):
        note = log.sign(Note.parse(log.note(7)).text + extension)
        assert witness.add_checkpoint(request(0, [], note), NOW).status == 400


def test_a_request_of_the_largest_size_is_read_and_no_larger_one(witness: Witness, log: FakeLog) -> None:
    line = "x" * 1000 + "\n"
    for lines, status in ((250, 200), (270, 413)):
        note = log.sign(Note.parse(log.note(7)).text + line * lines)
        assert witness.add_checkpoint(request(0, [], note), NOW).status == status


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"old ", b"old  "),
        lambda body: body.replace(b"old 0", b"old 00"),
        lambda body: body.replace(b"old 0", b"old +0"),
        lambda body: body.replace(b"old 0", b"old \xd9\xa0"),
        lambda body: body.replace(b"old 0\n", b"old 0\n\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\r\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\nAAAA\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\n" + b"A" * 43 + b"=\n" * 64),
        lambda body: body.replace(b"\n7\n", b"\n07\n"),
        lambda body: body.replace(b"\n7\n", b"\n-7\n"),
        lambda body: body.partition(b"\n\n")[0] + b"\n",
        lambda body: body.replace(b"\n\n", b"\n", 1),
        lambda body: body[: body.rindex(b"\n\n") + 1],
        lambda body: body[:-1],
        lambda body: b"",
    ],
)
def test_a_malformed_request_is_answered_400(witness: Witness, log: FakeLog, change: Callable[[bytes], bytes]) -> None:
    assert witness.add_checkpoint(change(log.request(0, 7)), NOW).status == 400
    assert witness.add_checkpoint(log.request(0, 7), NOW).status == 200


def test_more_than_63_proof_lines_are_malformed(log: FakeLog) -> None:
    parse_submission(request(1, [b"\0" * 32] * 63, log.note(7)))
    with pytest.raises(FormatError):
        parse_submission(request(1, [b"\0" * 32] * 64, log.note(7)))


def test_a_clock_that_falls_back_a_little_repeats_the_last_time(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert cosigned(witness.add_checkpoint(log.request(7, 8), NOW - 200), witness.vkeys, log.note(8)) == NOW


def test_a_clock_that_falls_back_far_stops_the_witness(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    with pytest.raises(WitnessClockError):
        witness.add_checkpoint(log.request(7, 8), NOW - 3600)
    assert witness.add_checkpoint(log.request(0, 8), NOW).body == b"7\n"


def test_a_time_of_zero_is_never_given(witness: Witness, log: FakeLog) -> None:
    assert cosigned(witness.add_checkpoint(log.request(0, 7), 0), witness.vkeys, log.note(7)) == 1


@pytest.mark.parametrize("keys", ["ed", "pq", "ed pq"])
def test_a_log_is_known_by_a_key_of_either_kind_or_both(store: MemoryStore, keys: str) -> None:
    log = FakeLog(keys=keys)
    witness = Witness(NAME, (ED, PQ), store, {ORIGIN: log.verifiers})
    cosigned(witness.add_checkpoint(log.request(0, 7), NOW), witness.vkeys, log.note(7))
    cosigned(witness.add_checkpoint(log.request(7, 9), NOW), witness.vkeys, log.note(9))
    held = Note.parse(store.states[ORIGIN].note)
    assert held.verify(log.verifiers) == tuple(log.verifiers), "the log's lines are kept for monitors"


@pytest.mark.parametrize("keys", ["ed", "pq"])
def test_one_key_of_a_log_that_has_two_suffices(store: MemoryStore, keys: str) -> None:
    both = FakeLog(keys="ed pq")
    witness = Witness(NAME, (ED, PQ), store, {ORIGIN: both.verifiers})
    log = FakeLog(keys=keys)
    assert witness.add_checkpoint(log.request(0, 7), NOW).status == 200


def test_a_bad_signature_of_one_key_of_a_log_is_forbidden_though_the_other_is_good(store: MemoryStore) -> None:
    log = FakeLog(keys="ed pq")
    witness = Witness(NAME, (ED, PQ), store, {ORIGIN: log.verifiers})
    good, other = Note.parse(log.note(7)), Note.parse(log.note(8))
    note = Note(good.text, (good.signatures[0], other.signatures[1])).encode()
    assert witness.add_checkpoint(request(0, [], note), NOW).status == 403


def test_the_submitted_time_of_a_log_s_own_line_is_not_judged(store: MemoryStore) -> None:
    log = FakeLog(keys="pq")
    witness = Witness(NAME, (ED, PQ), store, {ORIGIN: log.verifiers})
    assert cosigned(witness.add_checkpoint(log.request(0, 7), NOW - 99), witness.vkeys, log.note(7)) == NOW - 99


def test_two_roots_of_one_size_are_a_fork(witness: Witness, log: FakeLog, store: MemoryStore) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    held = store.states[ORIGIN]
    fork = FakeLog("fork")
    assert witness.add_checkpoint(fork.request(7, 7), NOW + 1).status == 422
    (evidence,) = store.evidence
    assert evidence.contradiction is Contradiction.FORK
    assert (evidence.held, evidence.submitted) == (held.note, fork.note(7))
    assert (evidence.origin, evidence.size, evidence.root, evidence.time) == (ORIGIN, 7, fork.root(7), NOW + 1)
    assert store.states == {ORIGIN: held}


def test_a_checkpoint_that_is_judged_stays_locked_until_it_is_written(
    witness: Witness, log: FakeLog, store: MemoryStore
) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    witness.add_checkpoint(FakeLog("fork").request(7, 7), NOW)
    assert store.calls == ["load", "save", "load", "keep_evidence"]


def test_a_refusal_is_plain_text(witness: Witness, log: FakeLog) -> None:
    answer = witness.add_checkpoint(request(7, [], log.note(5)), NOW)
    assert answer == WitnessAnswer(400, b"the old size is above that of the checkpoint\n", TEXT)


def test_one_line_of_each_key_of_a_log_is_kept_however_many_it_sends(store: MemoryStore) -> None:
    log = FakeLog(keys="pq")
    witness = Witness(NAME, (ED, PQ), store, {ORIGIN: log.verifiers})
    text = Note.parse(log.note(7)).text
    lines = [line for _ in range(64) for line in Note.parse(log.sign(text)).signatures]
    assert len(set(lines)) == 64
    cosigned(
        witness.add_checkpoint(request(0, [], Note(text, tuple(lines[:61])).encode()), NOW), witness.vkeys, log.note(7)
    )
    assert len(Note.parse(store.states[ORIGIN].note).signatures) == 3


def test_signatures_of_unknown_keys_are_ignored(witness: Witness, log: FakeLog, store: MemoryStore) -> None:
    stranger = NoteSigner("stranger.example/key", Ed25519Signer.generate())
    same_name = NoteSigner(ORIGIN, Ed25519Signer.generate())
    note = Note.parse(log.note(7))
    note = note.with_signature(stranger.sign(note.text), same_name.sign(note.text))
    cosigned(witness.add_checkpoint(request(0, [], note.encode()), NOW), witness.vkeys, note.encode())
    kept = Note.parse(store.states[ORIGIN].note)
    assert kept.signatures[0] == note.signatures[0]
    assert len(kept.signatures) == 1 + len(witness.vkeys)


def test_an_unknown_origin_is_refused_before_anything_of_the_request_is_read(witness: Witness, log: FakeLog) -> None:
    rubbish = b"rubbish\n\nno.such.example/log\nrubbish\n\nrubbish\n"
    assert witness.refuse_unread(rubbish) == witness.add_checkpoint(rubbish, NOW)
    assert witness.add_checkpoint(rubbish, NOW).status == 404
    assert witness.refuse_unread(log.request(0, 7)) is None
    assert witness.refuse_unread(b" " * (MAX_REQUEST_SIZE + 1)) == WitnessAnswer(
        413, b"a request of more than 256 KiB\n", TEXT
    )


def test_a_request_without_its_first_empty_line_is_malformed_and_not_of_an_unknown_origin(
    witness: Witness, log: FakeLog
) -> None:
    assert witness.add_checkpoint(log.request(0, 7).replace(b"\n\n", b"\n", 1), NOW).status == 400


@given(body=st.binary(max_size=200))
def test_whatever_comes_an_origin_is_peeked_at_or_not(body: bytes) -> None:
    origin = peek_origin(body)
    assert origin is None or origin.encode("utf-8", "surrogateescape") in body


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255), keys=st.sampled_from(["ed", "pq", "ed pq"]))
def test_a_forged_byte_never_moves_the_state(position: int, byte: int, keys: str) -> None:
    log, store = FakeLog(keys=keys), MemoryStore()
    witness = Witness(NAME, (ED,), store, {ORIGIN: log.verifiers})
    witness.add_checkpoint(log.request(0, 7), NOW)
    before = dict(store.states)
    good = log.request(7, 20)
    position %= len(good)
    forged = good[:position] + bytes([byte]) + good[position + 1 :]
    if forged != good:
        answer = witness.add_checkpoint(forged, NOW)
        if answer.status == 200:
            # A line of a key that is known no more is one of an unknown key: the other one signed.
            assert keys == "ed pq"
            assert store.states[ORIGIN].root == log.root(20)
        else:
            assert answer.status in {400, 403, 404, 409, 422}
            assert store.states == before


@pytest.mark.parametrize("signers", [(), (ED, Ed25519Signer(bytes(32))), (Es256Signer.generate(),)])
def test_a_witness_has_one_key_of_a_kind_that_cosigns(signers: tuple[Signer, ...]) -> None:
    with pytest.raises(KeyMaterialError):
        Witness(NAME, signers, MemoryStore(), {})


def test_the_keys_of_a_witness_are_of_the_types_04_and_06() -> None:
    witness = Witness(NAME, (ED, PQ), MemoryStore(), {})
    verifiers = [NoteVerifier.from_vkey(vkey) for vkey in witness.vkeys]
    assert [(each.name, each.type) for each in verifiers] == [(NAME, 0x04), (NAME, 0x06)]
