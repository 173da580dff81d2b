"""A log in memory for vectors and tests: entries, witnessed checkpoints, proofs and landmarks, all of real keys.

Naive on purpose: every full node is hashed afresh from the leaves, and nothing of the ledger is used; the SDK puts the
roots and proofs together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.entries import GenesisEntry
from chopmark.landmark import LandmarkFile, LandmarkProof, LandmarkRecord
from chopmark.merkle import find_subtrees, inclusion_proof, leaf_hash, root, subtree_inclusion_proof, subtree_root
from chopmark.note import NoteSigner, sign_note
from chopmark.tlog_proof import TlogProof


@dataclass(slots=True)
class SampleLog:
    """One log with its signer and the witnesses that cosign it."""

    origin: str
    number: int
    signer: NoteSigner
    witnesses: Sequence[Cosigner]
    created: int
    entries: list[bytes] = field(default_factory=list)
    records: list[LandmarkRecord] = field(default_factory=list)
    landmark_size: int = 0
    _leaves: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.entries:
            self.append(GenesisEntry(self.origin, 1, self.created).encode())

    @property
    def size(self) -> int:
        """The number of entries."""
        return len(self.entries)

    @property
    def policy_text(self) -> str:
        """A tlog-policy that demands a cosignature of every witness's operator."""
        lines = [f"log {self.signer.vkey}"]
        groups = []
        for number, witness in enumerate(self.witnesses, 1):
            lines += [f"witness w{number} {witness.vkey}", f"group operator{number} any w{number}"]
            groups.append(f"operator{number}")
        lines += [f"group operators all {' '.join(groups)}", "quorum operators"]
        return "\n".join(lines) + "\n"

    def append(self, entry: bytes) -> int:
        """Append one entry; its index."""
        self.entries.append(entry)
        self._leaves.append(leaf_hash(entry))
        return len(self.entries) - 1

    def read(self, nodes: list[tuple[int, int]]) -> list[bytes]:
        """The hashes of full nodes: the `HashReader` of this log."""
        hashes = []
        for level, index in nodes:
            row = self._leaves[index << level : (index + 1) << level]
            while len(row) > 1:
                row = [sha256(b"\1" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]
            hashes.append(row[0])
        return hashes

    def checkpoint(self, *, at: int, size: int | None = None, witnesses: Sequence[Cosigner] | None = None) -> bytes:
        """A signed checkpoint, cosigned at `at` by its witnesses (or by those given)."""
        size = self.size if size is None else size
        checkpoint = Checkpoint(self.origin, size, root(size, self.read))
        note = sign_note(checkpoint.body(), [self.signer])
        for witness in self.witnesses if witnesses is None else witnesses:
            note = note.with_signature(witness.cosign(checkpoint, at))
        return note.encode()

    def tlog_proof(self, index: int, *, at: int, witnesses: Sequence[Cosigner] | None = None) -> bytes:
        """The proof of one entry under a checkpoint of the present size."""
        proof = inclusion_proof(index=index, size=self.size, read=self.read)
        checkpoint = self.checkpoint(at=at, witnesses=witnesses)
        return TlogProof(index, tuple(proof), checkpoint, None).encode()

    def landmark(self, *, at: int) -> None:
        """End an interval now: one or two records, of the witnessed time `at`."""
        for start, end in find_subtrees(self.landmark_size, self.size):
            if start < end:
                record = LandmarkRecord(start, end, subtree_root(start, end, self.read), self.size, at)
                self.records.append(record)
        self.landmark_size = self.size

    @property
    def landmark_file(self) -> LandmarkFile:
        """The landmark file as it stands."""
        return LandmarkFile.empty(self.number).with_records(self.records)

    def landmark_proof(self, index: int) -> LandmarkProof:
        """The path of one entry to its landmark."""
        record = next(record for record in self.records if record.start <= index < record.end)
        path = subtree_inclusion_proof(index=index, start=record.start, end=record.end, read=self.read)
        return LandmarkProof(self.number, record.start, record.end, index, b"".join(path))
