"""Holding the landmark file of a log to its tiles, its checkpoint, and what the log itself says of it.

Spec: `specs/landmark.md`. It is read after everything else, so it is at least as new as the checkpoint that the check
began with; then the checkpoint is looked at again, to tell records that were made meanwhile from records that no
checkpoint covers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from chopmark import merkle
from chopmark.checkpoint import Checkpoint
from chopmark.errors import FormatError, ProofError, StorageError
from chopmark.landmark import HEADER_SIZE, RECORD_SIZE, SPAN_MAX, LandmarkFile
from chopmark.tiles import TileReader

from chopmark_ledger.audit.fsck_entries import Vouching
from chopmark_ledger.audit.fsck_findings import Findings
from chopmark_ledger.audit.landmark_check import CLOCK_GRACE
from chopmark_ledger.audit.tile_source import LANDMARKS, TileSource, fetching

_MAGIC = b"chopmark"


@dataclass(frozen=True, slots=True)
class LandmarkCheck:
    """One check of the landmark file.

    Args:
        source: the files of the log.
        checkpoint: what the check began with.
        newest_size: answers the size that the log has published by now.
        latest: the latest time at which a known witness cosigned the checkpoint, POSIX seconds; None where no policy
            was given.
        is_ours: whether the log begins with a genesis entry.
        findings: where damage is named.
    """

    source: TileSource
    checkpoint: Checkpoint
    newest_size: Callable[[], int]
    latest: int | None
    is_ours: bool
    findings: Findings

    def run(self, vouchings: Iterable[Vouching]) -> int | None:
        """Check the file, also against the entries of the log that vouch for it.

        Returns:
            How many records it has; None where there is no landmark file.
        """
        promised = sorted(vouchings, key=lambda vouching: vouching.records)
        try:
            data = self.source.read(LANDMARKS)
        except (StorageError, FormatError) as error:
            self._bad(error.what)
            data = None
        newest_size = self.newest_size()
        if data is None:
            self._missing(promised)
            return None
        if not self.is_ours and not data.startswith(_MAGIC):
            self.findings.remark(LANDMARKS, "not a landmark file, not checked")
            return None
        try:
            file = LandmarkFile.parse(data)
        except FormatError as error:
            self._bad(str(error))
            return None
        self._records(file, newest_size)
        if not self.findings.is_damaged(LANDMARKS):
            self._held_to(promised, file)
        return len(file)

    def _missing(self, promised: list[Vouching]) -> None:
        if self.findings.is_damaged(LANDMARKS):
            return
        if promised:
            last = promised[-1]
            self._bad(f"missing, though entry {last.entry} vouches for {last.records} records of it")
        elif self.is_ours and self.checkpoint.size >= SPAN_MAX:
            self.findings.remark(LANDMARKS, "missing, though intervals have ended")

    def _records(self, file: LandmarkFile, newest_size: int) -> None:
        size = self.checkpoint.size
        read = TileReader(fetching(self.source), size, self.checkpoint.root)
        for number, record in enumerate(file.records_from(0)):
            if record.checkpoint_size > newest_size:
                self._bad(
                    f"record {number} is under a checkpoint of size {record.checkpoint_size}, larger than the "
                    "published one"
                )
                return
            if record.checkpoint_size > size:
                self.findings.remark(LANDMARKS, "a record made since the check began, not checked")
                continue
            if self.latest is not None and record.witnessed_time > self.latest + CLOCK_GRACE:
                self._bad(f"record {number} is dated after the published checkpoint")
            try:
                root = merkle.subtree_root(record.start, record.end, read)
            except (ProofError, FormatError, StorageError):
                self.findings.remark(LANDMARKS, "a record not checked, as tiles are damaged")
                continue
            if root != record.hash:
                self._bad(f"record {number} is not the hash of [{record.start}, {record.end})")
        if self.is_ours and file.end < size - size % SPAN_MAX:
            self.findings.remark(LANDMARKS, f"ends at entry {file.end}, though later intervals have ended")

    def _held_to(self, promised: list[Vouching], file: LandmarkFile) -> None:
        data, digest, position = memoryview(file.data), sha256(), 0
        for vouching in promised:
            if vouching.records > len(file):
                self._bad(f"{len(file)} records, though entry {vouching.entry} vouches for {vouching.records}")
                return
            end = HEADER_SIZE + RECORD_SIZE * vouching.records
            digest.update(data[position:end])
            position = end
            if digest.digest() != vouching.digest:
                self._bad(f"its first {vouching.records} records are not those that entry {vouching.entry} vouches for")
                return

    def _bad(self, what: str) -> None:
        self.findings.damage(LANDMARKS, what)
