"""Proofs of single entries from the static files of a log, whoever's it is and wherever it lies.

Specs: https://c2sp.org/tlog-proof, `specs/landmark.md`. Nothing is asked of the log but its files, and nothing in them
is believed that does not hash up to a checkpoint whose signatures were verified. A proof is verified as its receiver
will verify it before it is handed out.
"""

from __future__ import annotations

from dataclasses import dataclass

from chopmark import merkle
from chopmark.cbor import encode
from chopmark.errors import ProofError
from chopmark.landmark import LandmarkFile, LandmarkProof, LandmarkRecord
from chopmark.tiles import TILE_WIDTH, TileReader
from chopmark.tlog_proof import TlogProof

from chopmark_ledger.audit.fsck_checkpoint import JudgedCheckpoint, LogKeys, judge_checkpoint
from chopmark_ledger.audit.tile_source import CHECKPOINT, LANDMARKS, TileSource, fetching
from chopmark_ledger.errors import NotPublishedError


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry of a log, with its proof.

    Args:
        entry: its bytes.
        judged: the checkpoint under which it stands.
        proof: the tlog-proof, or the landmark proof as CBOR, the value of a credential's header -65538.
        landmark: the landmark that the proof leads to, None for a tlog-proof.
    """

    entry: bytes
    judged: JudgedCheckpoint
    proof: bytes
    landmark: LandmarkRecord | None = None


def prove_entry(source: TileSource, index: int, keys: LogKeys) -> ProvenEntry:
    """Make the tlog-proof of an entry, under the checkpoint that the log shows, with all its signatures.

    Raises:
        NotPublishedError: the log has no such entry.
        SignatureError, QuorumError: the checkpoint is not signed or cosigned as it must be.
        FormatError, ProofError: a file is malformed, or does not belong to the tree.
        StorageError: a file is missing or cannot be read.
        LogUnreachableError: the server does not answer.
    """
    judged, read, entry = _read_entry(source, index, keys)
    checkpoint = judged.checkpoint
    path = merkle.inclusion_proof(index=index, size=checkpoint.size, read=read)
    made = TlogProof(index, tuple(path), judged.note)
    proof = TlogProof.parse(made.encode())
    merkle.verify_inclusion(
        leaf_hash=merkle.leaf_hash(entry),
        index=proof.index,
        size=proof.checkpoint.size,
        proof=proof.proof,
        root=proof.checkpoint.root,
    )
    return ProvenEntry(entry, judged, proof.encode())


def prove_by_landmark(source: TileSource, index: int, keys: LogKeys) -> ProvenEntry:
    """Make the proof of an entry under the earliest landmark that covers it, which is recomputed from the tiles.

    Raises:
        NotPublishedError: the log has no such entry, or no landmark that covers it.
        ProofError: the landmark does not follow from the tiles; and as `prove_entry`.
    """
    # The landmarks are read first: then the checkpoint covers all of them.
    data = source.read(LANDMARKS)
    judged, read, entry = _read_entry(source, index, keys)
    record = None
    if data is not None:
        file = LandmarkFile.parse(data)
        record = file.covering(index)
    if data is None or record is None:
        reach = "has no landmark file" if data is None else f"has landmarks for the entries before {file.end} only"
        raise NotPublishedError(
            f"the log {reach}",
            where=f"{source.name}, entry {index}",
            remedy="Wait for the next landmark, or ask for a tlog-proof",
        )
    size = judged.checkpoint.size
    if record.checkpoint_size > size or merkle.subtree_root(record.start, record.end, read) != record.hash:
        raise ProofError(
            f"the landmark [{record.start}, {record.end}) does not follow from the tiles",
            where=f"{source.name}, {LANDMARKS}",
            remedy="Check the log with `chopmark log fsck`",
        )
    path = merkle.subtree_inclusion_proof(index=index, start=record.start, end=record.end, read=read)
    value = LandmarkProof(file.log_number, record.start, record.end, index, b"".join(path)).value()
    LandmarkProof.from_value(value).verify(merkle.leaf_hash(entry), record)
    return ProvenEntry(entry, judged, encode(value), record)


def _read_entry(source: TileSource, index: int, keys: LogKeys) -> tuple[JudgedCheckpoint, TileReader, bytes]:
    fetch = fetching(source)
    judged = judge_checkpoint(fetch(CHECKPOINT), keys)
    if judged.quorum_problem is not None:
        raise judged.quorum_problem
    size = judged.checkpoint.size
    if not 0 <= index < size:
        raise NotPublishedError(
            f"there is no entry {index}: the log has published {size}",
            where=source.name,
            remedy=f"Give an index from 0 to {size - 1}" if size else "Wait until it has published one",
        )
    read = TileReader(fetch, size, judged.checkpoint.root)
    return judged, read, read.entries(index // TILE_WIDTH)[index % TILE_WIDTH]
