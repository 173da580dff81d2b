"""A witness: cosigns a log's checkpoint only if it follows from the one it cosigned before.

Spec: https://c2sp.org/tlog-witness (`add-checkpoint`), https://c2sp.org/tlog-cosignature.

    request   old <size> ⏎ up to 63 proof hashes, base64, one a line ⏎ empty line ⏎ the signed checkpoint
    answer    200 cosignature lines · 400 malformed, or old above the new size · 403 no good signature of the log ·
              404 unknown origin · 409 old is not the size held, which the body gives as `<size>⏎`
              (text/x.tlog.size) · 422 the proof does not verify, or another root at the same size

`decide` is the whole rule, a pure function of what is held and what is submitted. `Witness` puts it to work: what it
holds is read, judged and durably replaced under one lock, before the answer is given. Two checkpoints of one log that
cannot be brought together are kept as evidence.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from chopmark import merkle, strict
from chopmark.errors import FormatError, LimitError, ProofError, SignatureError
from chopmark.keys import Signer
from chopmark.limits import LIMITS
from chopmark.note import (
    TYPE_COSIGNATURE_ED25519,
    Note,
    NoteSignature,
    NoteVerifier,
    cosigned_message,
)

from chopmark_ledger.errors import WitnessClockError

MAX_REQUEST_SIZE = 256 * 1024
"""63 proof lines, and a checkpoint with a few dozen post-quantum signatures."""
CLOCK_TOLERANCE = 300
"""Seconds that the witness's clock may fall back; its cosignatures then repeat the last time."""

_TEXT = "text/plain; charset=utf-8"
_SIZE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """What a witness answers: an HTTP status, a body and its type."""

    status: int
    body: bytes
    content_type: str = _TEXT


@dataclass(frozen=True, slots=True)
class WitnessState:
    """What a witness holds of one origin: the checkpoint it cosigned last (`note`, empty before the first), with its
    size, root hash and cosignature time (POSIX seconds)."""

    size: int = 0
    root: bytes = merkle.EMPTY_ROOT
    time: int = 0
    note: bytes = b""


@dataclass(frozen=True, slots=True)
class Submission:
    """A well-formed request: the old size, the proof from there, and the signed checkpoint, as parsed and verbatim.

    Extension lines of the checkpoint are allowed; they are cosigned and not judged.
    """

    old_size: int
    proof: tuple[bytes, ...]
    note: Note
    verbatim: bytes
    origin: str
    size: int
    root: bytes


class Contradiction(Enum):
    """Why two signed checkpoints of one log are kept as evidence."""

    FORK = "fork"
    """One size with two roots: proof by itself that the log shows two histories."""
    UNPROVEN = "unproven"
    """No proof leads from the one to the other; the log has to explain it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two checkpoints of one origin that cannot be brought together, each as a signed note, verbatim."""

    contradiction: Contradiction
    origin: str
    size: int
    root: bytes
    held: bytes
    submitted: bytes
    time: int


class WitnessStore(Protocol):
    """Where a witness keeps its state; `load` and `save` are called within `exclusive`."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep every other request out, in this process and in others."""
        ...

    def load(self, origin: str) -> WitnessState:
        """Read what is held of an origin; the initial state if nothing ever was."""
        ...

    def save(self, origin: str, state: WitnessState) -> None:
        """Replace what is held, durably before returning."""
        ...

    def keep_evidence(self, evidence: Evidence) -> None:
        """Keep evidence, durably before returning."""
        ...


def parse_request(body: bytes) -> Submission:
    """Read the body of an `add-checkpoint` request.

    Raises:
        FormatError: it is malformed.
    """
    if len(body) > MAX_REQUEST_SIZE:
        raise LimitError(f"a request of more than {MAX_REQUEST_SIZE // 1024} KiB", where="request")
    head, separator, verbatim = body.partition(b"\n\n")
    if not separator:
        raise FormatError("no empty line before the checkpoint", where="request")
    try:
        first, *proof_lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError("not ASCII", where="request") from error
    if not first.startswith("old "):
        raise FormatError("does not begin with `old <size>`", where="request, line 1")
    old_size = strict.decimal(first.removeprefix("old "), where="request, line 1")
    if len(proof_lines) > LIMITS.proof_hashes:
        raise LimitError(f"more than {LIMITS.proof_hashes} proof lines", where="request")
    proof = tuple(
        strict.base64_decode(line, where=f"request, line {number}", size=merkle.HASH_SIZE)
        for number, line in enumerate(proof_lines, 2)
    )
    note = Note.parse(verbatim)
    lines = note.text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]):
        raise FormatError("a checkpoint has at least three lines, none of them empty", where="checkpoint")
    size = strict.decimal(lines[1], where="checkpoint, line 2")
    root = strict.base64_decode(lines[2], where="checkpoint, line 3", size=merkle.HASH_SIZE)
    return Submission(old_size, proof, note, verbatim, lines[0], size, root)


def decide(held: WitnessState, submission: Submission) -> tuple[WitnessAnswer | None, Contradiction | None]:
    """Judge a submission whose signature is good: None for "cosign it", or the refusal; and whether the two
    checkpoints contradict each other."""
    size, root, proof = submission.size, submission.root, submission.proof
    contradiction = Contradiction.FORK if held.note and size == held.size and root != held.root else None
    if submission.old_size > size:
        return _refuse(400, "the old size is above that of the checkpoint"), contradiction
    if submission.old_size != held.size:
        return WitnessAnswer(409, b"%d\n" % held.size, _SIZE), contradiction
    if size == 0 and root != merkle.EMPTY_ROOT:
        return _refuse(422, "an empty tree with another root than the empty one"), contradiction
    if size == held.size:
        if contradiction is not None:
            return _refuse(422, "another root at the same size"), contradiction
        return (_refuse(422, "a proof where none is needed") if proof else None), None
    if held.size == 0:
        return (_refuse(422, "a proof from the empty tree is empty") if proof else None), None
    try:
        merkle.verify_consistency(size1=held.size, size2=size, root1=held.root, root2=root, proof=proof)
    except ProofError as error:
        return _refuse(422, str(error)), Contradiction.UNPROVEN
    return None, None


class Witness:
    """Cosigns for the logs it knows.

    Args:
        name: the key name of its cosignatures.
        signer: an Ed25519 key that signs nothing else.
        store: where its state lives.
        logs: the keys of the logs it witnesses, by origin.
    """

    def __init__(
        self, name: str, signer: Signer, store: WitnessStore, logs: Mapping[str, Sequence[NoteVerifier]]
    ) -> None:
        self.verifier = NoteVerifier(name, TYPE_COSIGNATURE_ED25519, signer.public_key)
        self._signer = signer
        self._store = store
        self._logs = logs
        self._mutex = threading.Lock()

    @property
    def name(self) -> str:
        """The key name of the cosignatures."""
        return self.verifier.name

    @property
    def vkey(self) -> str:
        """The vkey under which the cosignatures verify, for a tlog-policy."""
        return self.verifier.vkey

    def add_checkpoint(self, body: bytes, at: int) -> WitnessAnswer:
        """Answer an `add-checkpoint` request at the time `at` (POSIX seconds).

        Raises:
            WitnessClockError: the clock is behind the last cosignature by more than the tolerance.
            StorageError: the state cannot be read or written; nothing was cosigned.
        """
        try:
            submission = parse_request(body)
        except FormatError as error:
            return _refuse(400, str(error))
        verifiers = self._logs.get(submission.origin)
        if verifiers is None:
            return _refuse(404, "this witness does not know the origin")
        try:
            submission.note.verify(verifiers)
        except SignatureError as error:
            return _refuse(403, str(error))
        with self._mutex, self._store.exclusive():
            held = self._store.load(submission.origin)
            refusal, contradiction = decide(held, submission)
            if contradiction is not None:
                self._store.keep_evidence(_evidence(contradiction, held, submission, at))
            if refusal is not None:
                return refusal
            time = self._time(held, at)
            cosignature = self._cosign(submission.note.text, time)
            known = {(verifier.name, verifier.key_id) for verifier in verifiers}
            signed = [line for line in submission.note.signatures if (line.name, line.key_id) in known]
            note = Note(submission.note.text, (*signed, cosignature)).encode()
            self._store.save(submission.origin, WitnessState(submission.size, submission.root, time, note))
        return WitnessAnswer(200, f"{cosignature.encode()}\n".encode())

    def _time(self, held: WitnessState, at: int) -> int:
        if at < held.time - CLOCK_TOLERANCE:
            raise WitnessClockError(
                f"the clock says {at}, the last cosignature is of {held.time} (POSIX seconds)",
                where=self.name,
                remedy="Set the clock: a cosignature must not be dated before an earlier one",
            )
        return max(at, held.time, 1)

    def _cosign(self, text: str, time: int) -> NoteSignature:
        signature = self._signer.sign(cosigned_message(text.encode("utf-8"), time))
        return NoteSignature(self.name, self.verifier.key_id, time.to_bytes(8, "big") + signature)


def _evidence(contradiction: Contradiction, held: WitnessState, submission: Submission, at: int) -> Evidence:
    return Evidence(
        contradiction, submission.origin, submission.size, submission.root, held.note, submission.verbatim, at
    )


def _refuse(status: int, reason: str) -> WitnessAnswer:
    return WitnessAnswer(status, f"{reason}\n".encode())
