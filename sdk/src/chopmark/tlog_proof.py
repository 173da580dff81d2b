"""tlog-proofs: all that shows, offline, that an entry is in a log that witnesses watch.

Spec: https://c2sp.org/tlog-proof; lines that end in a newline:

    c2sp.org/tlog-proof@v1
    extra <base64>                      only with extra data, which nothing vouches for
    index <index of the entry>          decimal, at most 2^63 − 1
    <base64 of a hash>                  the inclusion proof, lowest hash first, at most 63 lines
    <an empty line>
    <the signed checkpoint, verbatim>

Sample, of the fourth entry of four:

    c2sp.org/tlog-proof@v1
    index 3
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
    B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

    cn-gd.example/log/2026
    4
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — cn-gd.example/log/2026 hI2DJw…
    — cn-sh.example/witness mJirIklj…
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from chopmark import strict
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.errors import FormatError, LimitError
from chopmark.limits import LIMITS
from chopmark.merkle import HASH_SIZE, verify_inclusion
from chopmark.tlog_policy import TlogPolicy, WitnessedCheckpoint

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_INDEX_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof: the entry's index, its inclusion proof (32-byte hashes), the bytes of the signed checkpoint, and extra
    data that only its application understands. Nothing is verified before `verify`."""

    index: int
    proof: tuple[bytes, ...]
    checkpoint_note: bytes
    extra: bytes | None = None
    signed_checkpoint: SignedCheckpoint = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.index) is not int or not 0 <= self.index <= _INDEX_MAX:
            raise FormatError("the index is not a number from 0 to 2^63 − 1", where="tlog-proof")
        if len(self.proof) > LIMITS.proof_hashes:
            raise LimitError(f"more than {LIMITS.proof_hashes} hashes", where="tlog-proof")
        if any(type(value) is not bytes or len(value) != HASH_SIZE for value in self.proof):
            raise FormatError(f"a hash of the proof is not {HASH_SIZE} bytes", where="tlog-proof")
        if self.extra is not None and not self.extra:
            raise FormatError("extra data that is empty", where="tlog-proof", remedy="Leave the line out")
        object.__setattr__(self, "signed_checkpoint", SignedCheckpoint.parse(self.checkpoint_note))

    @classmethod
    def parse(cls, text: str | bytes) -> TlogProof:
        """Read a proof; nothing in it is to be believed before `verify`.

        Raises:
            FormatError: it is none; `LimitError` when it is too large or has too many hashes.
        """
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if len(data) > LIMITS.note_size:
            raise LimitError(f"{len(data)} bytes, above the limit of {LIMITS.note_size}", where="tlog-proof")
        head, separator, checkpoint_note = data.partition(b"\n\n")
        if not separator:
            raise FormatError("no empty line above a checkpoint", where="tlog-proof")
        if head.count(b"\n") > LIMITS.proof_hashes + 2:
            raise LimitError(f"more than {LIMITS.proof_hashes} hashes", where="tlog-proof")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise FormatError("not ASCII above the checkpoint", where="tlog-proof") from error
        if lines[0] != _FIRST_LINE:
            raise FormatError(f"does not begin with `{_FIRST_LINE}`", where="tlog-proof, line 1")
        extra = None
        position = 1
        if len(lines) > 1 and lines[1].startswith("extra "):
            extra = strict.base64_decode(lines[1].removeprefix("extra "), where="tlog-proof, line 2")
            position = 2
        if len(lines) <= position or not lines[position].startswith("index "):
            raise FormatError("no line `index <n>`", where=f"tlog-proof, line {position + 1}")
        index = strict.decimal(lines[position].removeprefix("index "), where=f"tlog-proof, line {position + 1}")
        proof = tuple(
            strict.base64_decode(line, where=f"tlog-proof, line {number}", size=HASH_SIZE)
            for number, line in enumerate(lines[position + 1 :], position + 2)
        )
        found = cls(index, proof, checkpoint_note, extra)
        if found.encode() != data:
            raise FormatError("not in the one form that a tlog-proof has", where="tlog-proof")
        return found

    def encode(self) -> bytes:
        """Write the proof."""
        extra = [] if self.extra is None else [f"extra {strict.base64_encode(self.extra)}"]
        hashes = (strict.base64_encode(value) for value in self.proof)
        head = "\n".join(chain([_FIRST_LINE], extra, [f"index {self.index}"], hashes))
        return head.encode("ascii") + b"\n\n" + self.checkpoint_note

    @property
    def checkpoint(self) -> Checkpoint:
        """What the checkpoint says; not to be believed before `verify`."""
        return self.signed_checkpoint.checkpoint

    def verify(self, leaf_hash: bytes, policy: TlogPolicy) -> WitnessedCheckpoint:
        """Check that the entry is in the log, under a checkpoint that the policy accepts.

        Args:
            leaf_hash: of the entry, 32 bytes.
            policy: the logs and witnesses that count, with a quorum.

        Returns:
            The checkpoint, with the time by which a quorum had witnessed it, and so the entry.

        Raises:
            SignatureError: the checkpoint is not signed by a log of the policy, or a known key's line is bad.
            QuorumError: too few witnesses cosigned it.
            ProofError: the inclusion proof does not lead from the entry at this index to its root.
        """
        witnessed = policy.check(self.signed_checkpoint)
        checkpoint = witnessed.checkpoint
        verify_inclusion(
            leaf_hash=leaf_hash, index=self.index, size=checkpoint.size, proof=self.proof, root=checkpoint.root
        )
        return witnessed
