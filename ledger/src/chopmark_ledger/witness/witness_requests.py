"""What a witness is asked: the bodies of `add-checkpoint` and `sign-subtree`.

Spec: https://c2sp.org/tlog-witness

    add-checkpoint    old <size> ⏎ proof ⏎ the signed checkpoint
    sign-subtree      subtree <start> <end> ⏎ <hash> ⏎ proof ⏎ the signed checkpoint

The proof is up to 63 hashes, base64, one a line; an empty line ends it. Sample:

    old 8
    fNsrU5h6Z0WDFy8JcvMn4fsZu0IvK+s2BDPUZP9bvhI=

    cn-gd.example/log/2026
    13
    F7oCAV9HDzmXr/AmFIDOSKWHtcWgRyGOpcR+zBBX3Fc=

    — cn-gd.example/log/2026 Z2y1H1LSqZdC+6sZjSvp0yYDNCD8R5L1XsIl5pSombladDAqrms7…

Extension lines of the checkpoint are allowed and not judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chopmark import merkle, strict
from chopmark.errors import FormatError, LimitError
from chopmark.limits import LIMITS
from chopmark.note import Note, NoteVerifier

MAX_REQUEST_SIZE = 256 * 1024
"""Bytes: 63 proof lines, and a checkpoint with a few dozen post-quantum signatures."""
_HASH_LINE = 44
"""Characters of a hash in base64."""
_MAX_ORIGIN = 4096
"""Bytes of a first line that are looked at to tell the origin: no log that a witness knows has a longer one."""


@dataclass(frozen=True, slots=True)
class SubmittedCheckpoint:
    """A checkpoint within a request: the note, and what its first three lines say."""

    note: Note
    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """A well-formed `add-checkpoint` request: the old size, the proof from there, and the checkpoint."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: SubmittedCheckpoint


@dataclass(frozen=True, slots=True)
class SubtreeRequest:
    """A well-formed `sign-subtree` request: a valid subtree [start, end) that is not empty, its hash, the proof that
    it belongs to the checkpoint, and that checkpoint, of a size not below `end`."""

    start: int
    end: int
    hash: bytes
    proof: tuple[bytes, ...]
    checkpoint: SubmittedCheckpoint


def peek_origin(body: bytes) -> str | None:
    """The line where the origin stands in a request, before anything else of it is read.

    None where the request has not even the outlines of one: then reading it will say what is wrong.
    """
    head, separator, rest = body.partition(b"\n\n")
    line, newline, _ = rest[:_MAX_ORIGIN].partition(b"\n")
    has_outlines = separator and newline and b"\n\n" in rest and rest.endswith(b"\n")
    if not has_outlines or not line or any(len(each) != _HASH_LINE for each in head.split(b"\n")[1:]):
        return None
    return line.decode("utf-8", "surrogateescape")


def names_key(body: bytes, verifiers: Iterable[NoteVerifier]) -> bool:
    """Whether a line at the end of a request may be a signature of one of these keys; nothing is parsed for that.

    A line tells its key by a name and an id, of which the first 30 bits are those of five characters of base64. So
    False is certain.
    """
    lines = body[body.rfind(b"\n\n") + 1 :]
    return any(
        f"\n— {verifier.name} {strict.base64_encode(verifier.key_id)[:5]}".encode() in lines for verifier in verifiers
    )


def parse_submission(body: bytes) -> Submission:
    """Read the body of an `add-checkpoint` request.

    Raises:
        FormatError: it is malformed.
    """
    lines, checkpoint = _split(body)
    if not lines[0].startswith("old "):
        raise FormatError("does not begin with `old <size>`", where="request, line 1")
    old_size = strict.decimal(lines[0].removeprefix("old "), where="request, line 1")
    return Submission(old_size, _proof(lines, 1), checkpoint)


def parse_subtree_request(body: bytes) -> SubtreeRequest:
    """Read the body of a `sign-subtree` request.

    An empty interval is no subtree here: the draft that the specification cites has none.

    Raises:
        FormatError: it is malformed, [start, end) is no subtree, or reaches beyond the checkpoint.
    """
    lines, checkpoint = _split(body)
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[0] != "subtree":
        raise FormatError("does not begin with `subtree <start> <end>`", where="request, line 1")
    start, end = (strict.decimal(part, where="request, line 1") for part in parts[1:])
    if len(lines) < 2:
        raise FormatError("no hash of the subtree", where="request, line 2")
    subtree_hash = strict.base64_decode(lines[1], where="request, line 2", size=merkle.HASH_SIZE)
    proof = _proof(lines, 2)
    if start >= end or not merkle.is_valid_subtree(start, end):
        raise FormatError(f"[{start}, {end}) is no subtree", where="request, line 1")
    if end > checkpoint.size:
        raise FormatError(f"[{start}, {end}) reaches beyond the size {checkpoint.size}", where="request, line 1")
    return SubtreeRequest(start, end, subtree_hash, proof, checkpoint)


def read_checkpoint(verbatim: bytes) -> SubmittedCheckpoint:
    """Read a signed checkpoint, with extension lines or without; no signature is verified.

    Raises:
        FormatError: it is none.
    """
    note = Note.parse(verbatim)
    lines = note.text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]):
        raise FormatError("a checkpoint has at least three lines, none of them empty", where="checkpoint")
    size = strict.decimal(lines[1], where="checkpoint, line 2")
    root = strict.base64_decode(lines[2], where="checkpoint, line 3", size=merkle.HASH_SIZE)
    return SubmittedCheckpoint(note, lines[0], size, root)


def _split(body: bytes) -> tuple[list[str], SubmittedCheckpoint]:
    """The lines above the empty line, at least one, and the checkpoint below it."""
    if len(body) > MAX_REQUEST_SIZE:
        raise LimitError(f"a request of more than {MAX_REQUEST_SIZE // 1024} KiB", where="request")
    head, separator, verbatim = body.partition(b"\n\n")
    if not separator:
        raise FormatError("no empty line before the checkpoint", where="request")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError("not ASCII", where="request") from error
    return lines, read_checkpoint(verbatim)


def _proof(lines: list[str], first: int) -> tuple[bytes, ...]:
    hashes = lines[first:]
    if len(hashes) > LIMITS.proof_hashes:
        raise LimitError(f"more than {LIMITS.proof_hashes} proof lines", where="request")
    return tuple(
        strict.base64_decode(line, where=f"request, line {number}", size=merkle.HASH_SIZE)
        for number, line in enumerate(hashes, first + 1)
    )
