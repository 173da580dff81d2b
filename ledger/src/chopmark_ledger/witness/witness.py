"""A witness: cosigns a log's checkpoint only if it follows from the one it cosigned before.

Spec: https://c2sp.org/tlog-witness, https://c2sp.org/tlog-cosignature; what it is asked is read in
`chopmark_ledger.witness.witness_requests`.

    add-checkpoint   200 a cosignature line of each key · 400 malformed, or old above the new size · 403 no good
                     signature of the log · 404 unknown origin · 409 old is not the size held, which the body gives
                     as `<size>⏎` (text/x.tlog.size) · 413 too large · 422 the proof does not verify, or another root
                     at the same size
    sign-subtree     200 the line of the ML-DSA-44 key, without a time · 400 malformed, or no subtree of that
                     checkpoint · 413 too large · 422 the proof does not verify · 404 unknown origin, or this witness
                     signs no subtrees · 403 no good cosignature of this witness on the checkpoint

`decide` is the whole rule, a pure function of what is held and what is submitted. `Witness` puts it to work in two
steps: what comes is read and its signature verified; then what the witness holds is read, judged and durably replaced
as one, before the answer is given. Two checkpoints of one log that
cannot be brought together are kept as evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from chopmark import merkle
from chopmark.cosignature import Cosigner
from chopmark.errors import FormatError, KeyMaterialError, ProofError, SignatureError
from chopmark.keys import Algorithm, Signer
from chopmark.note import Note, NoteSignature, NoteVerifier

from chopmark_ledger.errors import WitnessClockError
from chopmark_ledger.witness.witness_requests import (
    MAX_REQUEST_SIZE,
    Submission,
    SubmittedCheckpoint,
    names_key,
    parse_submission,
    parse_subtree_request,
    peek_origin,
)

READ_AT_ONCE = 16 * 1024
"""Bytes of a request up to which it takes a fraction of a millisecond to read it and to find a forgery: a log's own has
63 proof lines at most, and a signature of each of its keys."""
CLOCK_TOLERANCE = 300
"""Seconds that the witness's clock may fall back; its cosignatures then repeat the last time."""
_KEPT_SIGNATURES = 16
"""Signature lines of the log that are kept below its checkpoint, one of each key that it is known by."""

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


class Contradiction(Enum):
    """Why two signed checkpoints of one log are kept as evidence."""

    FORK = "fork"
    """One size with two roots: proof by itself that the log shows two histories."""
    UNPROVEN = "unproven"
    """No proof leads from the one to the other; the log has to explain it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two checkpoints of one origin that cannot be brought together, each as a signed note: its whole text, which a
    signature covers, and below it one verified line of each key."""

    contradiction: Contradiction
    origin: str
    size: int
    root: bytes
    held: bytes
    submitted: bytes
    time: int


class WitnessStore(Protocol):
    """Where a witness keeps its state; `load`, `save` and `keep_evidence` are called within `exclusive` of that
    origin."""

    def exclusive(self, origin: str) -> AbstractContextManager[None]:
        """Keep every other request for this origin out, in this process and in others."""
        ...

    def load(self, origin: str) -> WitnessState:
        """Read what is held of an origin; the initial state if nothing ever was."""
        ...

    def save(self, origin: str, state: WitnessState) -> None:
        """Replace what is held, durably before returning."""
        ...

    def keep_evidence(self, evidence: Evidence) -> None:
        """Keep evidence, durably before returning. Where there is no room for it the store says so to its operator:
        the refusal is answered all the same."""
        ...


def decide(held: WitnessState, submission: Submission) -> tuple[WitnessAnswer | None, Contradiction | None]:
    """Judge a submission whose signature is good: None for "cosign it", or the refusal; and whether the two
    checkpoints contradict each other."""
    size, root, proof = submission.checkpoint.size, submission.checkpoint.root, submission.proof
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
        signers: its keys, which sign nothing else: Ed25519, ML-DSA-44, or one of each.
        store: where its state lives.
        logs: the keys of the logs it witnesses, by origin.

    Raises:
        KeyMaterialError: no key, two of one algorithm, or one that cosigns nothing.
        FormatError: `name` is no key name.
    """

    def __init__(
        self, name: str, signers: Sequence[Signer], store: WitnessStore, logs: Mapping[str, Sequence[NoteVerifier]]
    ) -> None:
        algorithms = [signer.public_key.algorithm for signer in signers]
        if not algorithms or len(set(algorithms)) != len(algorithms):
            raise KeyMaterialError("a witness has one key of an algorithm, or one of each", where=f"witness {name}")
        self.name = name
        self._cosigners = tuple(Cosigner(name, signer) for signer in signers)
        self._subtree_cosigner = next(
            (
                cosigner
                for cosigner, algorithm in zip(self._cosigners, algorithms, strict=True)
                if algorithm is Algorithm.ML_DSA_44
            ),
            None,
        )
        self._verifiers = tuple(cosigner.verifier.note_verifier for cosigner in self._cosigners)
        self._store = store
        self._logs = logs

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The vkeys under which the cosignatures verify, for a tlog-policy."""
        return tuple(cosigner.vkey for cosigner in self._cosigners)

    def refuse_unread(self, body: bytes) -> WitnessAnswer | None:
        """Refuse an `add-checkpoint` request that need not be read for that: too large, of an unknown origin, or
        costly to read and without a line of a key of the log."""
        if len(body) > MAX_REQUEST_SIZE:
            return _TOO_LARGE
        origin = peek_origin(body)
        if origin is None:
            return None
        known = self._logs.get(origin)
        if known is None:
            return _UNKNOWN_ORIGIN
        return None if len(body) <= READ_AT_ONCE or names_key(body, known) else _UNSIGNED

    def add_checkpoint(self, body: bytes, at: int) -> WitnessAnswer:
        """Answer an `add-checkpoint` request at the time `at` (POSIX seconds).

        Raises:
            WitnessClockError, LedgerDamagedError, StorageError: as `judge`.
        """
        read = self.read(body)
        return read if isinstance(read, WitnessAnswer) else self.judge(read, at)

    def read(self, body: bytes) -> Submission | WitnessAnswer:
        """Read an `add-checkpoint` request, or refuse what no log that is known signed; what is held plays no part.

        The note of the submission bears the verified lines of the log and no others: one of each key.
        """
        unread = self.refuse_unread(body)
        if unread is not None:
            return unread
        try:
            submission = parse_submission(body)
        except FormatError as error:
            return _refuse(400, str(error))
        checkpoint = submission.checkpoint
        known = self._logs.get(checkpoint.origin)
        if known is None:
            return _UNKNOWN_ORIGIN
        try:
            signed = checkpoint.note.verify(known)
        except SignatureError as error:
            return _refuse(403, str(error))
        note = Note(checkpoint.note.text, _lines_of(checkpoint.note, signed))
        return replace(submission, checkpoint=replace(checkpoint, note=note))

    def judge(self, submission: Submission, at: int) -> WitnessAnswer:
        """Answer a submission as `read` gives it, at the time `at` (POSIX seconds).

        Raises:
            WitnessClockError: the clock is behind the last cosignature by more than the tolerance.
            LedgerDamagedError: what is held is damaged; nothing was cosigned.
            StorageError: the state cannot be read or written; nothing was cosigned.
        """
        checkpoint = submission.checkpoint
        with self._store.exclusive(checkpoint.origin):
            held = self._store.load(checkpoint.origin)
            refusal, contradiction = decide(held, submission)
            if contradiction is not None:
                self._store.keep_evidence(_evidence(contradiction, held, checkpoint, at))
            if refusal is not None:
                return refusal
            time = self._time(held, at)
            signed = checkpoint.note
            cosignatures = [cosigner.cosign_text(signed.text, time) for cosigner in self._cosigners]
            note = Note(signed.text, (*signed.signatures, *cosignatures)).encode()
            self._store.save(checkpoint.origin, WitnessState(checkpoint.size, checkpoint.root, time, note))
        return WitnessAnswer(200, "".join(f"{line.encode()}\n" for line in cosignatures).encode())

    def sign_subtree(self, body: bytes) -> WitnessAnswer:
        """Answer a `sign-subtree` request; the status codes go in the order of the specification.

        A checkpoint that any key of this witness cosigned will do, also an earlier one: what belongs to it belongs
        to all that followed.
        """
        if self._subtree_cosigner is None:
            return _refuse(404, "this witness signs no subtrees")
        if len(body) > MAX_REQUEST_SIZE:
            return _TOO_LARGE
        try:
            request = parse_subtree_request(body)
        except FormatError as error:
            return _refuse(400, str(error))
        checkpoint = request.checkpoint
        try:
            merkle.verify_subtree_consistency(
                start=request.start,
                end=request.end,
                size=checkpoint.size,
                subtree_root=request.hash,
                root=checkpoint.root,
                proof=request.proof,
            )
        except ProofError as error:
            return _refuse(422, str(error))
        if checkpoint.origin not in self._logs:
            return _UNKNOWN_ORIGIN
        try:
            checkpoint.note.verify(self._verifiers)
        except SignatureError as error:
            return _refuse(403, str(error))
        line = self._subtree_cosigner.cosign_subtree(checkpoint.origin, request.start, request.end, request.hash)
        return WitnessAnswer(200, f"{line.encode()}\n".encode())

    def _time(self, held: WitnessState, at: int) -> int:
        if at < held.time - CLOCK_TOLERANCE:
            raise WitnessClockError(
                f"the clock says {at}, the last cosignature is of {held.time} (POSIX seconds)",
                where=self.name,
                remedy="Set the clock: a cosignature must not be dated before an earlier one",
            )
        return max(at, held.time, 1)


def _lines_of(note: Note, signed: Iterable[NoteVerifier]) -> tuple[NoteSignature, ...]:
    """One verified line of each key that signed, in the order of the note."""
    wanted = {(verifier.name, verifier.key_id) for verifier in signed}
    first: dict[tuple[str, bytes], NoteSignature] = {}
    for line in note.signatures:
        if (line.name, line.key_id) in wanted:
            first.setdefault((line.name, line.key_id), line)
    return tuple(first.values())[:_KEPT_SIGNATURES]


def _evidence(contradiction: Contradiction, held: WitnessState, submitted: SubmittedCheckpoint, at: int) -> Evidence:
    note = submitted.note.encode()
    return Evidence(contradiction, submitted.origin, submitted.size, submitted.root, held.note, note, at)


def _refuse(status: int, reason: str) -> WitnessAnswer:
    return WitnessAnswer(status, f"{reason}\n".encode("utf-8", "backslashreplace"))


_TOO_LARGE = _refuse(413, f"a request of more than {MAX_REQUEST_SIZE // 1024} KiB")
_UNKNOWN_ORIGIN = _refuse(404, "this witness does not know the origin")
_UNSIGNED = _refuse(403, "note: not signed by any known key")
