"""What a publisher makes of the answer of a witness, none of which it trusts.

Spec: https://c2sp.org/tlog-witness (`add-checkpoint`).

    200       its lines that verify are taken, one of each of its keys; whatever else it sent is left out
    409       the size it says it holds: `<size>⏎`
    422       what it holds is not the beginning of what it was shown
    else      a refusal
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chopmark import strict
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import CosignatureVerifier
from chopmark.errors import ChopmarkError, FormatError
from chopmark.limits import LIMITS
from chopmark.note import Note, NoteSignature

from chopmark_ledger.witness.witness import WitnessAnswer

CLOCK_TOLERANCE = 300
"""Seconds that a witness may date its cosignature ahead of the log's clock. One that is further ahead is not taken: by
it a single witness, where the quorum needs its line, would date the next landmarks so that none could follow them, and
raise the floor under the clocks of verifiers."""

_MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are looked at: a handful of signature lines."""
_MAX_REASON = 200
"""Characters of a refusal that are repeated."""
_STATUSES = range(100, 600)


@dataclass(frozen=True, slots=True)
class Question:
    """What a witness was asked.

    Args:
        checkpoint: what it was to cosign.
        note: with the signatures of the log.
        old: the size that the proof begins at.
        committed: entries that this log has; a witness that holds more contradicts it.
        is_repeated: whether `old` is what the witness said before that it holds.
    """

    checkpoint: Checkpoint
    note: Note
    old: int
    committed: int
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer is worth: the size that the witness holds now, its lines that verify, none where it did not
    cosign, and what is wrong beside."""

    held: int
    lines: tuple[NoteSignature, ...] = ()
    problem: str | None = None


class ContradictionError(ChopmarkError):
    """The witness says that it holds something that this log is not the continuation of; `size`, if it told it."""

    def __init__(self, what: str, *, size: int | None = None, remedy: str = "") -> None:
        super().__init__(what, where="answer", remedy=remedy)
        self.size = size


def judge(
    answer: WitnessAnswer, question: Question, verifiers: Sequence[CosignatureVerifier], *, now: int
) -> Judgement:
    """Judge an answer to a question, at `now` (POSIX seconds by the log's clock), by the keys of the witness.

    Raises:
        ContradictionError: by its own words the witness holds what is not the beginning of this log.
        FormatError: it refused, or the answer is worth nothing.
    """
    if answer.status == 409:
        return Judgement(_held_size(answer, question))
    if answer.status == 422:
        raise ContradictionError(f"it refused with 422: {_reason(answer)}")
    if answer.status != 200:
        status = answer.status if answer.status in _STATUSES else "a status that is none"
        raise FormatError(f"it refused with {status}: {_reason(answer)}", where="answer")
    return _cosignatures(answer, question.checkpoint, verifiers, now)


def is_of(line: NoteSignature, verifier: CosignatureVerifier) -> bool:
    """Tell whether a signature line names a key."""
    return (line.name, line.key_id) == (verifier.name, verifier.key_id)


def _held_size(answer: WitnessAnswer, question: Question) -> int:
    """The size that a conflict says the witness holds, if that can be and is news."""
    try:
        text = answer.body[:32].decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError("a conflict without a size", where="answer") from error
    if not text.endswith("\n"):
        raise FormatError("a conflict without a size", where="answer")
    held = strict.decimal(text[:-1], where="answer")
    if held > question.committed:
        raise ContradictionError(
            f"it has seen size {held}, this log holds {question.committed}",
            size=held,
            remedy="If that is so, the database was restored from a backup",
        )
    if question.is_repeated or held == question.old:
        raise FormatError(f"it answered with a conflict again, now of size {held}", where="answer")
    return held


def _cosignatures(
    answer: WitnessAnswer, checkpoint: Checkpoint, verifiers: Sequence[CosignatureVerifier], now: int
) -> Judgement:
    found: dict[CosignatureVerifier, NoteSignature] = {}
    problems: dict[CosignatureVerifier, str] = {}
    lines = answer.body[:_MAX_ANSWER].decode("utf-8", "replace").split("\n", LIMITS.note_signatures)
    for text in lines[: LIMITS.note_signatures]:
        try:
            line = NoteSignature.parse(text)
        except ChopmarkError:
            continue
        for verifier in verifiers:
            if is_of(line, verifier) and verifier not in found:
                try:
                    ahead = verifier.verify(checkpoint, line) - now
                except ChopmarkError as error:
                    problems[verifier] = str(error)
                    continue
                if ahead <= CLOCK_TOLERANCE:
                    found[verifier] = line
                else:
                    problems[verifier] = (
                        f"its cosignature is dated {ahead} seconds ahead of this log's clock (look at both clocks)"
                    )
    missing = [verifier for verifier in verifiers if verifier not in found]
    complaints = [problems.get(each, f"no cosignature of its key {each.name}+{each.key_id.hex()}") for each in missing]
    if not found:
        raise FormatError(f"nothing that counts: {'; '.join(complaints)}", where="answer")
    taken = tuple(found[verifier] for verifier in verifiers if verifier in found)
    return Judgement(checkpoint.size, taken, "; ".join(complaints) or None)


def _reason(answer: WitnessAnswer) -> str:
    """What a refusal says, without what could play tricks on a terminal or a log."""
    text = answer.body[: 4 * _MAX_REASON].decode("utf-8", "replace").strip()[:_MAX_REASON]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
