"""Collecting cosignatures: witnesses that are honest, slow, odd or lying, and what each of them can bring about."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest
from chopmark import merkle, strict
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, ProofError, QuorumError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import Note, NoteSigner, NoteVerifier, sign_note
from chopmark.tlog_policy import PolicyLog, TlogPolicy
from chopmark_ledger.errors import ForkError, LedgerDamagedError, LogStoppedError, RestoredBackupError
from chopmark_ledger.publication.cosigning import Cosigners, WitnessReport, makes_quorum
from chopmark_ledger.witness.witness import WitnessAnswer

ORIGIN = "cn-gd.example/log/2026"
NOW = 1_795_339_800
LOG_KEY = NoteSigner(ORIGIN, Ed25519Signer(b"\x07" * 32))
NAMES = ("cn-sh.example/witness", "us-il.example/witness", "us-ny.example/witness")
ED25519 = {name: Cosigner(name, Ed25519Signer(sha256(name.encode()).digest())) for name in NAMES}
ML_DSA = {name: Cosigner(name, MlDsa44Signer.generate()) for name in NAMES}


@dataclass
class Tree:
    """A log of numbered entries that may be cut short or made another one."""

    size: int = 100
    salt: bytes = b""
    now: int = NOW
    broken: bool = False

    def clock(self) -> int:
        return self.now

    def read_nodes(self, nodes: list[tuple[int, int]]) -> list[bytes]:
        if self.broken:
            raise ProofError("no such node")
        return [self.node(level, index) for level, index in nodes]

    def node(self, level: int, index: int) -> bytes:
        if level == 0:
            return merkle.leaf_hash(self.salt + b"%d" % index)
        return merkle.node_hash(self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1))

    @property
    def checkpoint(self) -> Checkpoint:
        broken, self.broken = self.broken, False
        root = merkle.root(self.size, self.read_nodes)
        self.broken = broken
        return Checkpoint(ORIGIN, self.size, root)


@dataclass(eq=False)
class Honest:
    """A witness as it should be, in memory."""

    name: str
    cosigners: tuple[Cosigner, ...]
    size: int = 0
    root: bytes = merkle.EMPTY_ROOT
    now: int = NOW
    requests: list[bytes] = field(default_factory=list)

    @property
    def vkeys(self) -> tuple[str, ...]:
        return tuple(cosigner.vkey for cosigner in self.cosigners)

    @property
    def olds(self) -> list[int]:
        """The old sizes of the requests it got."""
        return [int(request.split(b"\n")[0].removeprefix(b"old ")) for request in self.requests]

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        self.requests.append(body)
        head, _, note = body.partition(b"\n\n")
        old, *proof = head.decode().split("\n")
        checkpoint = Checkpoint.parse(Note.parse(note).text)
        if old != f"old {self.size}":
            return WitnessAnswer(409, b"%d\n" % self.size, "text/x.tlog.size")
        if self.size:
            hashes = [strict.base64_decode(line, where="proof") for line in proof]
            try:
                merkle.verify_consistency(
                    size1=self.size, size2=checkpoint.size, root1=self.root, root2=checkpoint.root, proof=hashes
                )
            except ProofError:
                return WitnessAnswer(422, b"the proof does not verify\n")
        self.size, self.root = checkpoint.size, checkpoint.root
        lines = [f"{cosigner.cosign(checkpoint, self.now).encode()}\n" for cosigner in self.cosigners]
        return WitnessAnswer(200, "".join(lines).encode())


@dataclass(eq=False)
class Odd:
    """A witness whose answers are changed on their way, or which raises."""

    inner: Honest
    change: Callable[[WitnessAnswer], WitnessAnswer]

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def vkeys(self) -> tuple[str, ...]:
        return self.inner.vkeys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        return self.change(self.inner.add_checkpoint(body))


class Inline(Executor):
    """Works at once, but for the witnesses that stall: their work is done when `release` is called."""

    def __init__(self) -> None:
        self.stalled: set[object] = set()
        self._later: list[Callable[[], None]] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        if function.__self__ in self.stalled:
            self._later.append(work)
        else:
            work()
        return future

    def release(self) -> None:
        self.stalled.clear()
        while self._later:
            self._later.pop()()


def honest(keys: str = "both") -> list[Honest]:
    chosen = {"both": (ED25519, ML_DSA), "ed25519": (ED25519,), "ml-dsa": (ML_DSA,)}[keys]
    return [Honest(name, tuple(cosigners[name] for cosigners in chosen)) for name in NAMES]


def policy(threshold: int | str = 2, take: str = "any") -> TlogPolicy:
    """That many of the three operators, each with any (or all) of its two keys."""
    lines = [f"log {LOG_KEY.vkey}"]
    for number, name in enumerate(NAMES):
        lines.append(f"witness ed{number} {ED25519[name].vkey}")
        lines.append(f"witness pq{number} {ML_DSA[name].vkey}")
        lines.append(f"group R{number} {take} ed{number} pq{number}")
    return TlogPolicy.parse("\n".join([*lines, f"group peers {threshold} R0 R1 R2", "quorum peers", ""]))


class Collector:
    """Cosigners with what they need; waits for nobody unless told to."""

    def __init__(self, witnesses: Sequence[Any], *, threshold: int | str = 2, **options: Any) -> None:
        self.tree = Tree()
        self.executor = options.pop("executor", None) or Inline()
        self.policy = policy(threshold)
        options = {"patience": 0, "grace": 0, **options}
        self.cosigners = Cosigners(self.tree, witnesses, self.policy, self.executor, **options)

    def note(self) -> Note:
        return sign_note(self.tree.checkpoint.body(), [LOG_KEY])

    def collect(self, size: int | None = None, *, likely: int = 0) -> list[tuple[str, int]]:
        """Have the tree of a size cosigned; answers by whom, and with which type of key."""
        self.tree.size = size or self.tree.size
        note = self.cosigners.collect(self.tree.checkpoint, self.note(), likely=likely)
        assert self.policy.check(note).checkpoint.size == self.tree.size
        known = {
            (key.name, key.verifier.key_id): key.verifier.note_verifier for key in (*ED25519.values(), *ML_DSA.values())
        }
        return [(line.name, known[line.name, line.key_id].type) for line in note.signatures[1:]]

    def names(self, size: int | None = None, *, likely: int = 0) -> list[str]:
        """Who cosigned the tree of a size."""
        return list(dict.fromkeys(name for name, _ in self.collect(size, likely=likely)))

    def report(self, name: str) -> WitnessReport:
        return next(report for report in self.cosigners.reports() if report.name == name)


# ---- all is well


def test_both_lines_of_every_witness_are_taken() -> None:
    collector = Collector(honest())
    assert collector.collect() == [(name, type_) for name in NAMES for type_ in (0x04, 0x06)]
    assert collector.cosigners.reports() == tuple(
        WitnessReport(name, (ED25519[name].vkey, ML_DSA[name].vkey), 100, NOW, None) for name in NAMES
    )


@pytest.mark.parametrize(("keys", "type_"), [("ed25519", 0x04), ("ml-dsa", 0x06)])
def test_witnesses_with_one_kind_of_key_make_a_quorum(keys: str, type_: int) -> None:
    assert Collector(honest(keys)).collect() == [(name, type_) for name in NAMES]


def test_before_the_first_round_nothing_is_known_of_a_witness() -> None:
    (report, *_) = Collector(honest()).cosigners.reports()
    assert (report.size, report.at, report.problem) == (None, None, None)


def test_a_witness_is_asked_with_the_size_it_cosigned_last() -> None:
    witnesses = honest()
    collector = Collector(witnesses)
    for size in (100, 101, 300):
        collector.collect(size)
    assert [witness.olds for witness in witnesses] == [[0, 100, 101]] * 3


def test_a_witness_nothing_is_known_of_is_asked_with_the_size_published_last() -> None:
    witnesses = honest()
    for witness in witnesses:
        witness.size, witness.root = 60, Tree(60).checkpoint.root
    Collector(witnesses).collect(100, likely=60)
    assert [witness.olds for witness in witnesses] == [[60]] * 3


@pytest.mark.parametrize("held", [0, 1, 64, 99, 100])
def test_a_witness_that_holds_another_size_is_caught_up_with_a_proof(held: int) -> None:
    witnesses = honest()
    if held:
        witnesses[0].size, witnesses[0].root = held, Tree(held).checkpoint.root
    collector = Collector(witnesses)
    assert collector.names(100, likely=50) == list(NAMES)
    assert witnesses[0].olds == ([held] if held == 50 else [50, held])
    assert collector.report(NAMES[0]).problem is None


# ---- slow witnesses


def test_a_witness_that_stalls_does_not_hold_up_a_quorum() -> None:
    witnesses = honest()
    collector = Collector(witnesses, patience=3600)
    collector.executor.stalled = {witnesses[1]}
    assert collector.names() == [NAMES[0], NAMES[2]]
    assert collector.report(NAMES[1]).problem == "it has not answered in time"


def test_a_witness_that_is_busy_is_left_alone_until_it_has_answered() -> None:
    witnesses = honest()
    collector = Collector(witnesses)
    collector.executor.stalled = {witnesses[1]}
    for size in (100, 200, 300):
        assert collector.names(size) == [NAMES[0], NAMES[2]]
    collector.executor.release()
    assert witnesses[1].olds == [0]
    assert collector.names(400) == list(NAMES)
    assert witnesses[1].olds == [0, 100]
    assert collector.report(NAMES[1]) == WitnessReport(NAMES[1], witnesses[1].vkeys, 400, NOW, None)


def test_a_late_answer_counts_if_the_same_checkpoint_is_still_to_be_published() -> None:
    witnesses = honest()
    collector = Collector(witnesses)
    collector.executor.stalled = {witnesses[1], witnesses[2]}
    with pytest.raises(QuorumError, match=r"us-il\.example/witness: it has not answered in time"):
        collector.collect(100)
    collector.executor.release()
    assert collector.names(100) == list(NAMES)
    assert [witness.olds for witness in witnesses] == [[0]] * 3


def test_a_cosignature_that_was_given_in_a_failed_round_is_not_asked_for_again() -> None:
    witnesses = honest()
    lost = Odd(witnesses[1], unreachable)
    collector = Collector([witnesses[0], lost])
    for _ in range(2):
        with pytest.raises(QuorumError):
            collector.collect(100)
    lost.change = unchanged
    assert collector.names(100) == [NAMES[0], NAMES[1]]
    assert witnesses[0].olds == [0]
    assert witnesses[1].olds == [0, 0, 0, 100]


def test_a_late_refusal_is_forgotten_when_the_witness_cosigns_again() -> None:
    witnesses = honest()
    collector = Collector(witnesses)
    collector.executor.stalled = {witnesses[1]}
    witnesses[1].size = 7
    collector.collect(100)
    collector.executor.release()
    witnesses[1].root = Tree(7).checkpoint.root
    assert collector.names(200) == list(NAMES)
    assert witnesses[1].olds == [0, 7]


def test_after_the_quorum_a_slower_witness_may_still_add_its_line() -> None:
    witnesses = honest()
    two_answered = threading.Barrier(3)

    def last(answer: WitnessAnswer) -> WitnessAnswer:
        two_answered.wait(30)
        return answer

    collector = Collector(
        [Odd(witness, last) for witness in witnesses], executor=ThreadPoolExecutor(3), patience=30, grace=30
    )
    assert collector.names() == list(NAMES)


def test_a_quorum_is_not_waited_for_longer_than_the_patience() -> None:
    witnesses = honest()
    released = threading.Event()

    def stalling(answer: WitnessAnswer) -> WitnessAnswer:
        released.wait(30)
        return answer

    with ThreadPoolExecutor(3) as pool:
        collector = Collector([Odd(witness, stalling) for witness in witnesses], executor=pool, patience=0.01)
        with pytest.raises(QuorumError, match="has not answered in time"):
            collector.collect()
        released.set()


def test_closing_ends_a_round_that_waits() -> None:
    witnesses = honest()
    asked = threading.Event()
    released = threading.Event()

    def stalling(answer: WitnessAnswer) -> WitnessAnswer:
        asked.set()
        released.wait(30)
        return answer

    with ThreadPoolExecutor(4) as pool:
        collector = Collector([Odd(witness, stalling) for witness in witnesses], executor=pool, patience=3600)
        round_ = pool.submit(collector.collect)
        assert asked.wait(30)
        collector.cosigners.close()
        collector.cosigners.close()
        with pytest.raises(QuorumError):
            round_.result(30)
        released.set()


def test_a_pool_that_is_shut_down_leaves_a_quorum_missing_and_no_other_error() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(QuorumError, match="0 of 3"):
        Collector(honest(), executor=pool).collect()


# ---- odd and lying witnesses


def unchanged(answer: WitnessAnswer) -> WitnessAnswer:
    return answer


def unreachable(_answer: WitnessAnswer) -> WitnessAnswer:
    raise ChopmarkError("cannot be reached", where="witness")


def damaged(_answer: WitnessAnswer) -> WitnessAnswer:
    raise LedgerDamagedError("the state of the witness", where="witness")


def faulty(_answer: WitnessAnswer) -> WitnessAnswer:
    raise ZeroDivisionError


def answers(status: int, body: bytes) -> Callable[[WitnessAnswer], WitnessAnswer]:
    return lambda _: WitnessAnswer(status, body)


ODD: dict[str, tuple[Callable[[WitnessAnswer], WitnessAnswer], str]] = {
    "unreachable": (unreachable, "cannot be reached"),
    "damaged itself": (damaged, "the state of the witness"),
    "a client with a fault": (faulty, "its client failed: ZeroDivisionError"),
    "garbage": (answers(200, b"\xff\x00garbage" * 100), "no cosignature of its key"),
    "a server error": (answers(500, b"oops\n"), "refused with 500: oops"),
    "a conflict with itself": (answers(409, b"0\n"), "a conflict again, now of size 0"),
    "a conflict without end": (answers(409, b"5\n"), "a conflict again, now of size 5"),
    "a larger size": (answers(409, b"999999\n"), "seen size 999999, this log holds 100"),
    "another history": (answers(422, b"the proof does not verify\n"), "refused with 422: the proof does not verify"),
}


@pytest.mark.parametrize("name", ODD)
def test_one_odd_witness_does_not_spoil_a_quorum_and_is_reported(name: str) -> None:
    change, problem = ODD[name]
    witnesses = honest()
    collector = Collector([witnesses[0], Odd(witnesses[1], change), witnesses[2]])
    assert collector.names() == [NAMES[0], NAMES[2]]
    assert re.search(problem, collector.report(NAMES[1]).problem or "")
    assert (collector.report(NAMES[1]).at is None) == (change in (unreachable, damaged, faulty))
    assert [collector.report(name).problem for name in (NAMES[0], NAMES[2])] == [None, None]
    assert len(witnesses[1].requests) in (1, 2)


@pytest.mark.parametrize("name", ODD)
def test_odd_witnesses_that_the_quorum_needs_are_named_and_taken_again_once_they_are_well(name: str) -> None:
    change, _ = ODD[name]
    witnesses = honest()
    odd = [Odd(witness, change) for witness in witnesses[1:]]
    collector = Collector([witnesses[0], *odd])
    with pytest.raises((QuorumError, RestoredBackupError, ForkError), match=r"us-ny\.example/witness: ") as caught:
        collector.collect()
    assert isinstance(caught.value, LogStoppedError) == (name in {"a larger size", "another history"})
    for each in odd:
        each.change = unchanged
    assert collector.names() == list(NAMES)


def test_one_witness_that_claims_a_larger_size_does_not_stop_the_log_while_another_is_away() -> None:
    witnesses = honest()
    change, _ = ODD["a larger size"]
    collector = Collector([witnesses[0], Odd(witnesses[1], change), Odd(witnesses[2], unreachable)])
    with pytest.raises(QuorumError, match="seen size 999999"):
        collector.collect()


def test_a_quorum_that_claims_a_larger_size_stops_the_log_and_is_named() -> None:
    tree = Tree(200)
    witnesses = honest()
    for witness in witnesses[1:]:
        witness.size, witness.root = 200, tree.checkpoint.root
    collector = Collector(witnesses)
    with pytest.raises(RestoredBackupError, match="hold size 200, the database 100") as caught:
        collector.collect(100)
    assert "us-il.example/witness: " in str(caught.value)
    assert collector.report(NAMES[1]).size == 200


def test_a_database_that_grew_in_another_way_since_it_was_restored_is_a_fork() -> None:
    witnesses = honest()
    other = Tree(80, salt=b"other")
    for witness in witnesses[:2]:
        witness.size, witness.root = 80, other.checkpoint.root
    with pytest.raises(ForkError, match="not the beginning of this log"):
        Collector(witnesses).collect(100)


def test_a_quorum_that_is_met_beside_a_contradiction_goes_on() -> None:
    witnesses = honest()
    witnesses[2].size, witnesses[2].root = 80, Tree(80, salt=b"other").checkpoint.root
    assert Collector(witnesses).names(100) == [NAMES[0], NAMES[1]]


def test_what_is_wrong_beside_a_good_line_is_reported_and_the_line_taken() -> None:
    witnesses = honest()
    half = Odd(witnesses[0], lambda answer: WitnessAnswer(200, answer.body.split(b"\n")[0] + b"\n"))
    collector = Collector([half, *witnesses[1:]])
    assert collector.collect()[0] == (NAMES[0], 0x04)
    assert collector.report(NAMES[0]).size == 100
    assert "no cosignature of its key" in str(collector.report(NAMES[0]).problem)


def test_a_database_that_cannot_prove_its_growth_is_damaged_and_no_witness_is_blamed() -> None:
    collector = Collector(honest())
    collector.collect(50)
    collector.tree.broken = True
    with pytest.raises(LedgerDamagedError):
        collector.collect(100)


def test_a_process_that_ends_while_a_witness_is_asked_ends() -> None:
    def ending(_answer: WitnessAnswer) -> WitnessAnswer:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Collector([Odd(honest()[0], ending)]).collect()


# ---- asking what witnesses hold


def sound_out(collector: Collector, published: int, committed: int) -> None:
    """Ask by the tree of a published size, of a log that holds more."""
    collector.tree.size = published
    collector.cosigners.sound_out(collector.tree.checkpoint, collector.note(), committed=committed)


@pytest.mark.parametrize("held", [0, 1, 49, 50, 51, 100])
def test_witnesses_that_hold_no_more_than_the_log_are_well(held: int) -> None:
    witnesses = honest()
    for witness in witnesses:
        witness.size, witness.root = held, Tree(held).checkpoint.root
    collector = Collector(witnesses)
    sound_out(collector, 50, 100)
    assert [witness.olds for witness in witnesses] == [[50]] * 3
    assert [collector.report(name).size for name in NAMES] == [held] * 3
    assert collector.names(100) == list(NAMES)
    assert [witness.olds for witness in witnesses] == [[50, held]] * 3


def test_witnesses_that_hold_more_than_the_log_stop_it_before_anything_is_signed() -> None:
    witnesses = honest()
    for witness in witnesses[:2]:
        witness.size, witness.root = 101, Tree(101).checkpoint.root
    with pytest.raises(RestoredBackupError, match="hold size 101, the database 100"):
        sound_out(Collector(witnesses), 50, 100)


def test_witnesses_that_hold_another_root_are_seen_before_anything_is_signed() -> None:
    witnesses = honest()
    for witness in witnesses[:2]:
        witness.size, witness.root = 50, Tree(50, salt=b"other").checkpoint.root
    with pytest.raises(ForkError):
        sound_out(Collector(witnesses), 50, 100)


def test_too_few_witnesses_that_say_what_they_hold_are_no_quorum() -> None:
    witnesses = honest()
    collector = Collector([witnesses[0], *(Odd(witness, unreachable) for witness in witnesses[1:])])
    with pytest.raises(QuorumError, match="1 of 3 witnesses answered"):
        sound_out(collector, 50, 100)


def test_the_third_witness_is_not_waited_for_when_two_have_said_what_they_hold() -> None:
    witnesses = honest()
    collector = Collector(witnesses, patience=3600, grace=3600)
    collector.executor.stalled = {witnesses[1]}
    sound_out(collector, 50, 100)


# ---- policies


def test_without_witnesses_there_is_no_quorum() -> None:
    with pytest.raises(QuorumError, match="Name more witnesses"):
        Collector([]).collect()


def test_a_policy_without_a_quorum_is_never_met() -> None:
    none = TlogPolicy.parse(f"log {LOG_KEY.vkey}\nquorum none\n")
    assert not makes_quorum(none, [ED25519[name].vkey for name in NAMES])
    cosigners = Cosigners(Tree(), honest(), none, Inline(), patience=0)
    with pytest.raises(QuorumError):
        cosigners.collect(Tree().checkpoint, sign_note(Tree().checkpoint.body(), [LOG_KEY]), likely=0)


@pytest.mark.parametrize("threshold", [1, 2, 3])
@pytest.mark.parametrize("present", [0, 1, 2, 3])
def test_the_quorum_is_that_of_the_policy(threshold: int, present: int) -> None:
    rules = policy(threshold).with_logs([PolicyLog(NoteVerifier.from_vkey(LOG_KEY.vkey))])
    for cosigners in (ED25519, ML_DSA):
        keys = [cosigners[name] for name in NAMES[:present]]
        note = sign_note(Tree().checkpoint.body(), [LOG_KEY])
        note = note.with_signature(*(key.cosign(Tree().checkpoint, NOW) for key in keys))
        try:
            met = bool(rules.check(note))
        except QuorumError:
            met = False
        assert makes_quorum(rules, [key.vkey for key in keys]) == met == (present >= threshold)


def test_a_policy_that_asks_for_both_lines_of_a_witness_is_refused() -> None:
    with pytest.raises(FormatError, match="takes any of them"):
        Cosigners(Tree(), honest(), policy(2, "all"), Inline())


def test_a_witness_without_a_key_that_cosigns_is_refused() -> None:
    with pytest.raises(FormatError, match="no key"):
        Collector([Honest(NAMES[0], ())])
    with pytest.raises(KeyMaterialError):
        Collector([Odd(Honest(NAMES[0], (LOG_KEY,)), unchanged)])  # type: ignore[arg-type]  # a key of type 0x01


def test_more_witnesses_than_a_note_has_lines_are_refused() -> None:
    many = [Honest(f"w{n}.example/witness", (ED25519[NAMES[0]], ML_DSA[NAMES[0]])) for n in range(32)]
    with pytest.raises(FormatError, match="64 keys"):
        Collector(many)
