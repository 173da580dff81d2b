"""Recomputing a landmark file from its log's tiles, before a region vouches for it.

Spec: `specs/landmark.md`, `specs/log-entries.md` (kind 5). Every record must be the hash of its entries under the
published checkpoint, which the policies' quorums cosigned. The witnessed time of a record cannot be recomputed once
its own checkpoint has been replaced, and it decides later whether an issuer had authority. So who vouches again and
again bounds it: a record that was not in the file at the last vouching was made after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chopmark import durable_file, merkle
from chopmark.errors import ProofError, StorageError
from chopmark.landmark import LandmarkFile
from chopmark.tiles import TileReader
from chopmark.tlog_policy import TlogPolicy, WitnessedCheckpoint

from chopmark_ledger.audit.tile_source import CHECKPOINT, LANDMARKS, size_limit

CLOCK_GRACE = 15 * 60
"""Seconds that the clocks of witnesses may differ."""
_LOOKS = 3
"""How often checkpoint and landmark file are read, until no record is of a checkpoint published between the two."""


@dataclass(frozen=True, slots=True)
class VouchedLandmarks:
    """A landmark file that was recomputed, as far as it went.

    Args:
        data: the bytes of the file.
        records: how many records it has: the `records` of the entry of kind 5.
        digest: SHA-256 of the file: the digest of that entry.
        checkpoint_size: the size of the checkpoint it was recomputed under.
        witnessed_from: the witnessed time of that checkpoint, the earlier one where policies differ; POSIX seconds.
    """

    data: bytes
    records: int
    digest: bytes
    checkpoint_size: int
    witnessed_from: int


def recompute_landmarks(
    public_folder: Path,
    *,
    origin: str,
    policies: Sequence[TlogPolicy],
    vouched: VouchedLandmarks | None = None,
) -> VouchedLandmarks:
    """Recompute the landmark file in the public folder of a log, ours or a peer's.

    Args:
        public_folder: where `checkpoint`, `tile/` and `landmarks` are; nothing in it is trusted.
        origin: the log that it must be.
        policies: each must be satisfied by the checkpoint: the log's own, and the floor set for it.
        vouched: what was recomputed last time; its records are not computed again.

    Raises:
        ProofError: a record does not follow from the tiles, or the file is not a continuation of `vouched`; the error
            names the first such record.
        QuorumError, SignatureError, FormatError: the checkpoint does not satisfy a policy, or a file is malformed.
        StorageError: a file is missing.
    """

    def fetch(path: str) -> bytes | None:
        return durable_file.read_file(public_folder / path, max_size=size_limit(path))

    return recompute_fetched_landmarks(
        fetch, where=str(public_folder), origin=origin, policies=policies, vouched=vouched
    )


def recompute_fetched_landmarks(
    fetch: Callable[[str], bytes | None],
    *,
    where: str,
    origin: str,
    policies: Sequence[TlogPolicy],
    vouched: VouchedLandmarks | None = None,
) -> VouchedLandmarks:
    """Recompute the landmark file of a log that is read file by file, as from a server.

    Args:
        fetch: reads the file at a path relative to the log's prefix, None where there is none; nothing that it answers
            is trusted, and it bounds what it reads. `HttpSource(url).read` is one.
        where: the log, as messages name it: its folder or URL.
        origin, policies, vouched: as for `recompute_landmarks`.

    Raises:
        LogUnreachableError: `fetch` reads from a server that does not answer; else as `recompute_landmarks`.
    """

    def fetched(path: str) -> bytes:
        data = fetch(path)
        if data is None:
            raise StorageError("there is no such file", where=f"{where}, {path}")
        return data

    for _ in range(_LOOKS):
        # The checkpoint is read first: then a record missing from the file was made under it or a later one.
        note = fetched(CHECKPOINT)
        witnessed = [policy.check(note) for policy in policies]
        if not witnessed or any(each.checkpoint.origin != origin for each in witnessed):
            raise ProofError(f"the checkpoint is not of {origin}, or there is no policy for it", where=where)
        checkpoint = witnessed[0].checkpoint
        data = fetched(LANDMARKS)
        file = LandmarkFile.parse(data)
        if not len(file) or next(file.records_from(len(file) - 1)).checkpoint_size <= checkpoint.size:
            break
    done = 0
    if vouched is not None:
        done = vouched.records
        if len(file) < done or file.prefix_digest(done) != vouched.digest:
            raise ProofError("the records that were vouched for have changed", where=LANDMARKS)
        if checkpoint.size < vouched.checkpoint_size:
            raise ProofError("the log shows an older checkpoint than before", where=CHECKPOINT)
    read = TileReader(fetched, checkpoint.size, checkpoint.root)
    read.check_root()
    _check_records(file, done, witnessed, vouched, read)
    # Witnessed times, which no single witness sets: by the bare earliest one could undo the bound on later records.
    earliest = min(each.time for each in witnessed)
    return VouchedLandmarks(data, len(file), file.prefix_digest(len(file)), checkpoint.size, earliest)


def _check_records(
    file: LandmarkFile,
    done: int,
    witnessed: Sequence[WitnessedCheckpoint],
    vouched: VouchedLandmarks | None,
    read: TileReader,
) -> None:
    latest = max(each.time for each in witnessed) + CLOCK_GRACE
    for number, record in enumerate(file.records_from(done), done):
        where = f"{LANDMARKS}, record {number}"
        if record.checkpoint_size > read.size:
            raise ProofError("it is under a checkpoint larger than the published one", where=where)
        if record.witnessed_time > latest:
            raise ProofError("it is dated after the published checkpoint", where=where)
        if vouched is not None and (
            record.checkpoint_size < vouched.checkpoint_size
            or record.witnessed_time < vouched.witnessed_from - CLOCK_GRACE
        ):
            raise ProofError("it was not there at the last vouching, and is dated before it", where=where)
        if merkle.subtree_root(record.start, record.end, read) != record.hash:
            raise ProofError(f"the entries [{record.start}, {record.end}) have another hash", where=where)
