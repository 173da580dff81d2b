"""How a publisher collects cosignatures: every witness is asked at once, and none of them is trusted.

Spec: https://c2sp.org/tlog-witness (`add-checkpoint`).

Each witness is asked with the size it is known to hold, and the proof from there; if it says that it holds another, it
is asked once more. It has at most one request in flight. A round ends when all have answered, when the quorum is met
and a short grace is over, or when patience is at its end. A witness that is still busy then is left alone; what it
answers later tells the size that it holds, and its lines count if the same checkpoint is still to be published.

One witness cannot stop the log, unless one operator is a quorum: then that one can. If the quorum fails, and those that
say that they hold more than this log has, or something that is not its beginning, could have made a quorum by
themselves, then what they hold may have been published, and this database must not go on.

Answers are handled by the thread that collects, so that an executor that works at once makes a round deterministic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from chopmark import merkle, strict
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import CosignatureVerifier
from chopmark.errors import ChopmarkError, FormatError, ProofError, QuorumError
from chopmark.limits import LIMITS
from chopmark.note import TYPE_COSIGNATURE_ED25519, Note, NoteSignature
from chopmark.tlog_policy import TlogPolicy

from chopmark_ledger.errors import ForkError, LedgerDamagedError, LogStoppedError, RestoredBackupError
from chopmark_ledger.publication.witness_answers import ContradictionError, Question, is_of, judge
from chopmark_ledger.witness.witness import WitnessAnswer

PATIENCE = 10.0
"""Seconds that a round waits for a quorum."""
GRACE = 0.2
"""Seconds that a round goes on once the quorum is met, so that slower witnesses can still add their lines."""

TROUBLES = {
    "unreachable": "no whole answer came",
    "slow": "none has come yet",
    "refused": "it refuses",
    "contradicts": "it says that it holds what this log is no continuation of",
    "invalid": "its answer is worth nothing",
    "incomplete": "a cosignature of one of its keys is missing",
    "failed": "the log could not ask it",
}
"""What may be wrong with a witness."""


class WitnessClient(Protocol):
    """How a publisher reaches the witness of one operator."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys it cosigns with: Ed25519, ML-DSA-44, or both."""
        ...

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Send an `add-checkpoint` request; must return within a time of its own.

        Raises:
            ChopmarkError: the witness cannot be reached or failed.
        """
        ...


class CosignedLog(Protocol):
    """What a round needs of the log: where its tree is read, and the clock."""

    @property
    def read_nodes(self) -> merkle.HashReader:
        """Answers the hashes of full nodes."""
        ...

    @property
    def clock(self) -> Callable[[], int]:
        """Answers the time in POSIX seconds."""
        ...


@dataclass(frozen=True, slots=True)
class WitnessReport:
    """What is known of a witness.

    Args:
        name: what messages call it.
        vkeys: the keys it cosigns with.
        size: of this log, which it holds by its last answer; None before the first.
        at: when it answered last, POSIX seconds by the log's clock; None before the first.
        problem: what was wrong with its last answer, or that there is none; None while all is well. It may hold the
            address of the witness, and words of its own.
        trouble: the same in a word, for everybody; one of `TROUBLES`.
    """

    name: str
    vkeys: tuple[str, ...]
    size: int | None = None
    at: int | None = None
    problem: str | None = None
    trouble: str | None = None


class Cosigners:
    """The witnesses of one log.

    Args:
        log: an open log.
        witnesses: whom to ask.
        policy: what the quorum is.
        executor: carries the requests; one that works at once makes every round deterministic.
        patience: seconds that a round waits for a quorum.
        grace: seconds that a round goes on after it.

    Raises:
        FormatError, KeyMaterialError: a witness without a key, with one that does not cosign, or too many keys; or a
            policy that asks for both keys of a witness.
    """

    def __init__(
        self,
        log: CosignedLog,
        witnesses: Sequence[WitnessClient],
        policy: TlogPolicy,
        executor: Executor,
        *,
        patience: float = PATIENCE,
        grace: float = GRACE,
    ) -> None:
        self._log = log
        self._policy = policy
        self._executor = executor
        self._patience = patience
        self._grace = grace
        self._all = tuple(_Correspondence(witness) for witness in witnesses)
        self._closed: Future[WitnessAnswer] = Future()
        keys = [verifier for each in self._all for verifier in each.verifiers]
        if len(keys) + 2 > LIMITS.note_signatures:
            raise FormatError(f"{len(keys)} keys of witnesses, more than a note has room for", where="witnesses")
        if not makes_quorum(policy, _in_proofs(keys)) and makes_quorum(policy, [key.vkey for key in keys]):
            raise FormatError(
                "the policy asks for the ML-DSA-44 line of a witness that has an Ed25519 key too",
                where="policy",
                remedy="Put the two keys of a witness into a group that takes any of them: proofs that entries are in "
                "the log carry only the Ed25519 lines of those that have both",
            )

    def close(self) -> None:
        """End the round that is under way, and let later ones wait for nothing; doing so twice is harmless."""
        with suppress(InvalidStateError):
            self._closed.set_exception(QuorumError("the publisher is closing", where="witnesses"))

    def reports(self) -> tuple[WitnessReport, ...]:
        """What is known of each witness, in the order given."""
        return tuple(each.report for each in self._all)

    def collect(self, checkpoint: Checkpoint, note: Note, *, likely: int) -> Note:
        """Have a checkpoint cosigned; answers its note with every line that came in time.

        Args:
            checkpoint: what is to be cosigned: all that this log has.
            note: with the log's signatures.
            likely: the size that a witness probably holds which has not answered yet.

        Raises:
            QuorumError: too few cosigned in time.
            RestoredBackupError, ForkError: too few, because those that could make a quorum hold something else.
            LedgerDamagedError: the database cannot prove what it should.
        """
        self._hold(_Round(checkpoint, note, likely, committed=checkpoint.size))
        return note.with_signature(*(line for each in self._all for line in each.lines(note)))

    def sound_out(self, checkpoint: Checkpoint, note: Note, *, committed: int) -> None:
        """Ask what the witnesses hold, by a checkpoint that was published before: nothing new is signed for it.

        Args:
            checkpoint: the published one.
            note: with the log's signatures.
            committed: entries that this log has.

        Raises:
            QuorumError: too few answered to make a quorum.
            RestoredBackupError, ForkError: too few, because those that could make a quorum hold something else.
        """
        self._hold(_Round(checkpoint, note, checkpoint.size, committed=committed, is_sounding=True))

    def _hold(self, pending: _Round) -> None:
        deadline = time.monotonic() + self._patience
        is_met = False
        for each in self._all:
            self._proceed(each, pending)
        while any(each.owes(pending.note) for each in self._all):
            if not is_met and self._is_met(pending):
                is_met = True
                deadline = min(deadline, time.monotonic() + (0 if pending.is_sounding else self._grace))
            in_flight = [each.in_flight[1] for each in self._all if each.in_flight is not None]
            remaining = max(deadline - time.monotonic(), 0)
            done = wait([*in_flight, self._closed], timeout=remaining, return_when=FIRST_COMPLETED).done
            if not done or self._closed in done:
                break
            for each in self._all:
                self._proceed(each, pending)
        for each in self._all:
            if each.owes(pending.note):
                each.report = replace(each.report, problem="it has not answered in time", trouble="slow")
        if not self._is_met(pending):
            raise self._failure(pending)

    def _proceed(self, each: _Correspondence, pending: _Round) -> None:
        """Take what a witness answered, and ask it what is still to be asked, for as long as it answers at once."""
        while True:
            if each.in_flight is not None:
                question, answer = each.in_flight
                if not answer.done():
                    return
                each.in_flight = None
                self._settle(each, question, answer, pending)
                if each.in_flight is not None:
                    continue
            if each in pending.asked or each.lines(pending.note):
                return
            pending.asked.add(each)
            held = each.report.size
            self._ask(each, pending, pending.likely if held is None else held)

    def _ask(self, each: _Correspondence, pending: _Round, old: int, *, is_repeated: bool = False) -> None:
        old = min(old, pending.checkpoint.size)
        body = _request(pending.checkpoint, pending.note, old, self._log.read_nodes)
        question = Question(pending.checkpoint, pending.note, old, pending.committed, is_repeated)
        try:
            each.in_flight = question, self._executor.submit(each.witness.add_checkpoint, body)
        except RuntimeError:  # how an executor says that it is shut down
            self.close()

    def _settle(
        self, each: _Correspondence, question: Question, answer: Future[WitnessAnswer], pending: _Round
    ) -> None:
        """Take the answer to a question, which may be one of an earlier round."""
        now = self._log.clock()
        is_current = question.note.text == pending.note.text
        found: WitnessAnswer | None = None
        try:
            found = answer.result()
            judgement = judge(found, question, each.verifiers, now=now)
        except ContradictionError as error:
            size = each.report.size if error.size is None else error.size
            each.report = replace(each.report, size=size, at=now, problem=str(error), trouble="contradicts")
            if is_current:
                pending.contradictions[each] = error
            return
        except ChopmarkError as error:
            if found is None:  # nobody answered
                each.report = replace(each.report, problem=str(error), trouble="unreachable")
                return
            trouble = "invalid" if found.status in {200, 409} else "refused"
            each.report = replace(each.report, at=now, problem=str(error), trouble=trouble)
            return
        except Exception as error:
            # The client of a witness has no business ending a publication, whatever befalls it.
            each.report = replace(each.report, problem=f"its client failed: {type(error).__name__}", trouble="failed")
            return
        each.report = replace(
            each.report,
            size=judgement.held,
            at=now,
            problem=judgement.problem,
            trouble=None if judgement.problem is None else "incomplete",
        )
        if judgement.lines:
            each.keep(question.note, judgement.lines)
        if is_current:
            pending.heard.append(each)
            if not judgement.lines and not pending.is_sounding:
                self._ask(each, pending, judgement.held, is_repeated=True)

    def _is_met(self, pending: _Round) -> bool:
        if pending.is_sounding:
            return makes_quorum(self._policy, [key.vkey for each in pending.heard for key in each.verifiers])
        keys = [
            verifier
            for each in self._all
            for verifier in each.verifiers
            if any(is_of(line, verifier) for line in each.lines(pending.note))
        ]
        return makes_quorum(self._policy, _in_proofs(keys))

    def _failure(self, pending: _Round) -> QuorumError | LogStoppedError:
        where = f"checkpoint of {pending.checkpoint.origin}, size {pending.checkpoint.size}"
        told = "; ".join(f"{each.report.name}: {each.report.problem}" for each in self._all if each.report.problem)
        against = [verifier.vkey for each in pending.contradictions for verifier in each.verifiers]
        if makes_quorum(self._policy, against):
            sizes = [error.size for error in pending.contradictions.values() if error.size is not None]
            if sizes:
                return RestoredBackupError(
                    f"witnesses that make a quorum hold size {max(sizes)}, the database {pending.committed}",
                    where=where,
                    remedy="The database was restored from a backup: bring the newest one, or freeze this log and "
                    f"begin a new origin. What the witnesses answered: {told}",
                )
            return ForkError(
                "witnesses that make a quorum hold something that is not the beginning of this log",
                where=where,
                remedy="Keep everything as it is: the database may be an old one that grew in another way. "
                f"What the witnesses answered: {told}",
            )
        count = len(pending.heard) if pending.is_sounding else sum(bool(each.lines(pending.note)) for each in self._all)
        return QuorumError(
            f"{count} of {len(self._all)} witnesses {'answered' if pending.is_sounding else 'cosigned'}, "
            "which do not make the quorum",
            where=where,
            remedy=f"What the witnesses answered: {told}" if told else "Name more witnesses to ask",
        )


def makes_quorum(policy: TlogPolicy, vkeys: Collection[str]) -> bool:
    """Tell whether cosignatures of these keys would meet the quorum of a policy."""
    met = {witness.name for witness in policy.witnesses if witness.verifier.vkey in vkeys}
    for group in policy.groups:
        if sum(member in met for member in group.members) >= group.threshold:
            met.add(group.name)
    return policy.quorum in met


class _Correspondence:
    """What passes between the publisher and one witness; `report` may be read by other threads."""

    def __init__(self, witness: WitnessClient) -> None:
        self.witness = witness
        self.verifiers = tuple(CosignatureVerifier.from_vkey(vkey) for vkey in witness.vkeys)
        if not self.verifiers:
            raise FormatError(f"the witness {witness.name} has no key", where="witnesses")
        self.in_flight: tuple[Question, Future[WitnessAnswer]] | None = None
        self.report = WitnessReport(witness.name, tuple(witness.vkeys))
        self._text = ""
        self._lines: tuple[NoteSignature, ...] = ()

    def lines(self, note: Note) -> tuple[NoteSignature, ...]:
        """Its cosignatures of this very checkpoint."""
        return self._lines if self._text == note.text else ()

    def keep(self, note: Note, lines: tuple[NoteSignature, ...]) -> None:
        """Remember its cosignatures of a checkpoint."""
        self._text, self._lines = note.text, lines

    def owes(self, note: Note) -> bool:
        """Whether a request for this very checkpoint is in flight."""
        return self.in_flight is not None and self.in_flight[0].note.text == note.text


@dataclass(eq=False, slots=True)
class _Round:
    """One checkpoint on its way: whom it was sent to, who answered in good order, and who contradicts it."""

    checkpoint: Checkpoint
    note: Note
    likely: int
    committed: int
    is_sounding: bool = False
    asked: set[_Correspondence] = field(default_factory=set)
    heard: list[_Correspondence] = field(default_factory=list)
    contradictions: dict[_Correspondence, ContradictionError] = field(default_factory=dict)


def _in_proofs(keys: Sequence[CosignatureVerifier]) -> list[str]:
    """The vkeys whose lines a proof carries: not the ML-DSA-44 key of a name that has an Ed25519 key.

    The quorum is counted by these; see `chopmark_ledger.publication.prover.compact_checkpoint`.
    """
    named = {key.name for key in keys if key.note_verifier.type == TYPE_COSIGNATURE_ED25519}
    return [key.vkey for key in keys if key.note_verifier.type == TYPE_COSIGNATURE_ED25519 or key.name not in named]


def _request(checkpoint: Checkpoint, note: Note, old: int, read: merkle.HashReader) -> bytes:
    proof: list[bytes] = []
    if 0 < old < checkpoint.size:
        try:
            proof = merkle.consistency_proof(size1=old, size2=checkpoint.size, read=read)
        except ProofError as error:
            raise LedgerDamagedError(f"a tile is missing: {error}", where=checkpoint.origin) from error
    lines = [f"old {old}", *(strict.base64_encode(each) for each in proof), "", ""]
    return "\n".join(lines).encode("ascii") + note.encode()
