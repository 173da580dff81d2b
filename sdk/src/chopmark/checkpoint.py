"""Checkpoints: what a log says of itself, the text of a signed note.

Spec: https://c2sp.org/tlog-checkpoint, without extension lines: no monitor could audit them.

    <origin>                      the name of the log, one line
    <tree size>                   entries, decimal, at most 2^63 − 1
    <base64 of the root hash>     32 bytes; of an empty log the SHA-256 of nothing

Sample, with the signature line of the log below it:

    cn-gd.example/log/2026
    109482
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — cn-gd.example/log/2026 hI2DJw…
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chopmark import strict
from chopmark.errors import FormatError, UnsupportedError
from chopmark.merkle import EMPTY_ROOT, HASH_SIZE
from chopmark.note import Note, NoteSignature, NoteSigner, sign_note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's origin, its size in entries, and its root hash (32 bytes) at that size."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or any(each < " " or "\ud800" <= each <= "\udfff" for each in self.origin):
            raise FormatError("an origin is one line of Unicode text, not empty", where="checkpoint, line 1")
        if not 0 <= self.size < 2**63:
            raise FormatError("a tree size is at least 0 and below 2^63", where="checkpoint, line 2")
        if len(self.root) != HASH_SIZE:
            raise FormatError(f"a root hash has {HASH_SIZE} bytes", where="checkpoint, line 3")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise FormatError("an empty log with another root than the empty one", where="checkpoint, line 3")

    @classmethod
    def parse(cls, text: str | bytes) -> Checkpoint:
        """Read a checkpoint: its three lines alone, or the whole signed note, whose signatures are not looked at.

        Raises:
            FormatError: it is neither; `UnsupportedError` for extension lines.
        """
        if isinstance(text, bytes):
            try:
                text = text.decode("utf-8")
            except UnicodeDecodeError as error:
                raise FormatError("not UTF-8", where="checkpoint") from error
        if "\n\n" in text:
            return cls.parse(Note.parse(text).text)
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1]:
            raise FormatError("not three lines: origin, tree size and root hash", where="checkpoint")
        if len(lines) > 4:
            raise UnsupportedError(
                "extension lines below the root hash, which no monitor could audit", where="checkpoint, line 4"
            )
        origin, size, root, _ = lines
        return cls(
            origin,
            strict.decimal(size, where="checkpoint, line 2"),
            strict.base64_decode(root, where="checkpoint, line 3", size=HASH_SIZE),
        )

    def body(self) -> str:
        """Write the three lines: the text that log and witnesses sign."""
        return f"{self.origin}\n{self.size}\n{strict.base64_encode(self.root)}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and the note that carries it, with the signatures of its log and of witnesses."""

    checkpoint: Checkpoint
    note: Note

    def __post_init__(self) -> None:
        if self.note.text != self.checkpoint.body():
            raise FormatError("a note with another text than the checkpoint", where="checkpoint")

    @classmethod
    def parse(cls, text: str | bytes) -> SignedCheckpoint:
        """Read a signed checkpoint; nothing in it is to be believed before its signatures are verified.

        Raises:
            FormatError: it is not a signed note, or its text is no checkpoint.
        """
        return cls.from_note(Note.parse(text))

    @classmethod
    def from_note(cls, note: Note) -> SignedCheckpoint:
        """Read the text of a note as a checkpoint.

        Raises:
            FormatError: it is none.
        """
        return cls(Checkpoint.parse(note.text), note)

    @classmethod
    def sign(cls, checkpoint: Checkpoint, signers: Sequence[NoteSigner]) -> SignedCheckpoint:
        """Sign a checkpoint with the keys of its log."""
        return cls(checkpoint, sign_note(checkpoint.body(), signers))

    def with_signature(self, *signatures: NoteSignature) -> SignedCheckpoint:
        """Add signature lines, such as cosignatures, below those that are there."""
        return SignedCheckpoint(self.checkpoint, self.note.with_signature(*signatures))

    def encode(self) -> bytes:
        """Write the note."""
        return self.note.encode()
