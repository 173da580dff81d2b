"""The log: one writer, the database as the only truth.

A data folder holds

    lock          the exclusive lock, held as long as the log is open
    ledger.db     entries, tiles, size and root, batches, the last publication, landmarks; in PostgreSQL if so opened
    committed     the highest size ever committed, a tripwire for a database from a backup
    staging/      files on their way into `public/`
    public/       what everybody may fetch: `checkpoint`, `tile/…`, `landmarks`

`append_all` commits entries, tiles, size and root of several batches in one transaction, guarded by the size and root
it started from; a guard that finds other values stops the log. Nothing outside the database is read to decide what is
signed: the publisher gets size and root from `Log.sign_committed`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chopmark import merkle
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.entries import GenesisEntry
from chopmark.errors import FormatError, SignatureError, StorageError
from chopmark.keys import Signer
from chopmark.landmark import LandmarkRecord
from chopmark.note import Note, NoteVerifier
from chopmark.tiles import partial_tiles

from chopmark_ledger import durable, tree
from chopmark_ledger.batch import BatchAnswer, Client, Submission, batch_digest, refusals
from chopmark_ledger.errors import (
    BackpressureError,
    BatchError,
    BatchRefusedError,
    ConflictError,
    FolderError,
    LedgerDamagedError,
    LogStoppedError,
)
from chopmark_ledger.nodes import NodeReader
from chopmark_ledger.sequencing import restore_check
from chopmark_ledger.sequencing.commit_group import CommitGroup, answer_to
from chopmark_ledger.sequencing.committed_mark import CommittedMark
from chopmark_ledger.sequencing.log_folder import (
    CHECKPOINT_NAME,
    LANDMARKS_NAME,
    LogFolder,
    check_is_there,
    check_is_unused,
)
from chopmark_ledger.sequencing.log_keys import LogSigner, make_identity
from chopmark_ledger.sequencing.log_store import LogStore
from chopmark_ledger.storage.public_folder import PublicFolder
from chopmark_ledger.storage.store import CommittedBatch, CommittedTree, LogIdentity, Publication

_RETRY_AFTER = 5
"""Seconds a client should wait while too much is unpublished: a publication takes one, a missing witness longer."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What an operator may set."""

    max_unpublished: int = 500_000
    """Entries that may be committed and not yet published before `append` answers with back-pressure."""
    landmark_interval: int = 15 * 60
    """Seconds after which an interval with entries is ended."""


DEFAULT_SETTINGS = LogSettings()


class Held(Protocol):
    """What keeps others from writing this log."""

    def release(self) -> None:
        """Let go of it; doing so twice is harmless."""
        ...


class Log:
    """An open log. Make one with `Log.create` or `Log.open`, and close it; it is a context manager.

    All methods may be called from several threads; appends happen one after the other.

    Args:
        store: its database; it is this log's alone from now on.
        public_folder: where its static files stand.
        lock: keeps other writers out until the log is closed.
        key: the Ed25519 key it signs with, None to take entries and publish nothing.
        pq_key: its ML-DSA-44 key, given with `key` if it was made with one.
        clock: answers the time in POSIX seconds.
        random: answers that many random bytes; shuffles batches.
        settings: what an operator may set.
        mark: where the highest committed size is kept beside the database.

    Raises: as `Log.open`.
    """

    def __init__(
        self,
        store: LogStore,
        public_folder: PublicFolder,
        *,
        lock: Held,
        key: Signer | None,
        pq_key: Signer | None,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        settings: LogSettings,
        mark: CommittedMark | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = store
        self.public_folder = public_folder
        self.read_nodes = NodeReader(store.tiles)
        self._lock = lock
        self._random = random
        self._mutex = threading.RLock()
        self._stopped_by: str | None = None
        self._mark = mark
        self.identity = store.identity()
        if key is None and pq_key is not None:
            raise FolderError(
                "its Ed25519 key is missing", where=store.where, remedy="Open the log with both of its keys"
            )
        self._signer = None if key is None else LogSigner(self.identity, key, pq_key, where=store.where)
        self._edge = self._read_edge()
        self._publication = store.publication()
        self._check_is_newest()

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        origin: str,
        number: int,
        key: Signer,
        clock: Callable[[], int],
        pq_key: Signer | None = None,
        suite: int = 1,
        random: Callable[[int], bytes] = os.urandom,
        settings: LogSettings = DEFAULT_SETTINGS,
        database: str | None = None,
    ) -> Log:
        """Begin a log in `folder`, with its genesis entry, and open it.

        Args:
            folder: its data folder, which is made.
            origin: of its checkpoints.
            number: of the log within its region.
            key: its Ed25519 key.
            clock: answers the time in POSIX seconds.
            pq_key: its ML-DSA-44 key, if it is to have one; it cannot be given one later.
            suite: of its hashes.
            random: answers that many random bytes; shuffles batches.
            settings: what an operator may set.
            database: the URL of a PostgreSQL database that is this log's alone; without one, a file in the folder.

        Raises:
            FolderError: a log is there already, or was.
            FolderLockedError: another process is at work there.
            FormatError, KeyMaterialError: the number is no u32, the origin no key name, or a key of the wrong kind.
            StorageError: the folder cannot be written.
        """
        identity = make_identity(origin=origin, number=number, key=key, pq_key=pq_key, created=clock(), suite=suite)
        durable.make_folder(folder)
        with LogFolder(folder, database, create=True) as parts:
            if not parts.store.has_log():
                check_is_unused(folder)
            begin(parts.store, identity)
            durable.sync_folder(folder)  # the database syncs its content, not its own name
            durable.sync_folder(folder.parent)
            return cls(
                parts.store,
                parts.public_folder,
                lock=parts,
                key=key,
                pq_key=pq_key,
                clock=clock,
                random=random,
                settings=settings,
                mark=parts.mark,
            )

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Callable[[], int],
        key: Signer | None = None,
        pq_key: Signer | None = None,
        random: Callable[[int], bytes] = os.urandom,
        settings: LogSettings = DEFAULT_SETTINGS,
        database: str | None = None,
    ) -> Log:
        """Open the log in `folder`; without its keys it takes entries and makes proofs, but publishes nothing.

        Args: as `Log.create`; a log that was created in a PostgreSQL database is opened with its URL.

        Raises:
            FolderError: no log is there, or the keys are not those it was created with.
            FolderLockedError: another process has it open.
            LedgerDamagedError: the database contradicts itself.
            RestoredBackupError, ForkError: more was committed or published than the database holds, or something
                else; see `chopmark_ledger.sequencing.restore_check`.
            StorageError: the database cannot be opened or made durable.
        """
        check_is_there(folder, database)
        with LogFolder(folder, database, create=False) as parts:
            return cls(
                parts.store,
                parts.public_folder,
                lock=parts,
                key=key,
                pq_key=pq_key,
                clock=clock,
                random=random,
                settings=settings,
                mark=parts.mark,
            )

    def close(self) -> None:
        """Close the database and give the folder back."""
        self.store.close()
        self._lock.release()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Committed entries."""
        return self._edge.size

    @property
    def publication(self) -> Publication | None:
        """What was published last, None before the first time."""
        return self._publication

    @property
    def stopped_by(self) -> str | None:
        """Why the log stopped, None while it goes on."""
        return self._stopped_by

    def stop(self, error: BaseException) -> None:
        """Take and sign nothing from now on, until the log is opened again; the first reason stays.

        A commit that is under way in another thread may still be answered.
        """
        if self._stopped_by is None:
            self._stopped_by = str(error) or type(error).__name__

    def check_running(self) -> None:
        """Check that the log goes on.

        Raises:
            LogStoppedError: it stopped.
        """
        if self._stopped_by is not None:
            raise LogStoppedError(
                f"the log stopped: {self._stopped_by}",
                where=self.store.where,
                remedy="Open it again once the reason is gone: what was acknowledged is kept",
            )

    def append(self, client: Client, batch_number: int, entries: Sequence[bytes]) -> BatchAnswer:
        """Take a batch of entries, durably; the same batch sent again gets the same answer.

        Args:
            client: who submits; the caller has authenticated it.
            batch_number: the client's own number for this batch.
            entries: 1 to 10,000 entries as bytes.

        Returns:
            What became of each entry: its index in the log, or why it may not enter.

        Raises:
            BatchRefusedError: none of the entries may enter; nothing was taken, and the number stays free.
            ConflictError: this client sent another body under this number.
            BackpressureError: too much waits for publication.
            LogStoppedError: the log stopped, now or before; open it again after looking at the reason.
            StorageError: the database failed and took nothing; sending the batch again is safe.
            LimitError, FormatError: a batch too large, or a number that is none.
        """
        (answer,) = self.append_all([Submission(client, batch_number, entries)])
        if isinstance(answer, BatchError):
            raise answer
        return answer

    def append_all(self, submissions: Sequence[Submission]) -> list[BatchAnswer | BatchError]:
        """Take several batches in one transaction, as if they had come one after the other.

        Returns:
            For each what `append` would have answered or raised, once all of it is durable.

        Raises:
            LogStoppedError, StorageError: as `append`, for all of them.
        """
        bodies = [(submission, batch_digest(submission.entries)) for submission in submissions]
        with self._mutex:
            self.check_running()
            known = self.store.batches([(each.client.name, each.number) for each in submissions])
            group = CommitGroup(self._edge.size)
            answers: list[BatchAnswer | BatchError] = []
            for submission, digest in bodies:
                try:
                    answers.append(self._take(submission, digest, known, group))
                except BatchError as error:
                    answers.append(error)
            if group.batches:
                self._commit(group)
            return answers

    def _take(
        self, submission: Submission, digest: bytes, known: dict[tuple[str, int], CommittedBatch], group: CommitGroup
    ) -> BatchAnswer:
        """Answer a batch that was taken before, or add it to the group that is committed next."""
        client, number, entries = submission.client, submission.number, submission.entries
        batch = known.get((client.name, number))
        if batch is None:
            refused = refusals(client, entries)
            if len(refused) == len(entries):
                raise BatchRefusedError(refused)
            self._check_pressure(group.end, len(entries) - len(refused))
            batch = group.add(submission, digest, refused, random=self._random, now=self.clock())
            known[client.name, number] = batch
        elif batch.digest != digest:
            raise ConflictError(
                f"client {client.name} sent another body as batch {number}",
                where=f"batch {number}",
                remedy="Give the new entries a number of their own",
            )
        return answer_to(batch)

    def _commit(self, group: CommitGroup) -> None:
        edge, tiles = tree.append(self._edge, tree.leaf_hashes(group.entries))
        old = CommittedTree(self._edge.size, self._edge.root)
        with self._stopping_on_failure():
            self.store.commit(old, edge, tiles, group.entries, group.batches)
        self._edge = edge
        if self._mark is not None:
            self._mark.write(CommittedTree(edge.size, edge.root))

    def entries(self, start: int, end: int) -> list[bytes]:
        """Read committed entries [start, end).

        Raises:
            LedgerDamagedError: the database has lost one.
        """
        found = self.store.entries(start, end)
        if len(found) != max(end - start, 0):
            raise LedgerDamagedError(f"the database has {len(found)} of the entries {start} to {end - 1}")
        return found

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Read the first `width` hashes of a tile.

        Raises:
            LedgerDamagedError: the database has lost them.
        """
        hashes = self.store.tiles([(level, index)]).get((level, index), b"")
        if len(hashes) < width * merkle.HASH_SIZE:
            raise LedgerDamagedError(f"the database has lost hashes of tile {index} at level {level}")
        return hashes[: width * merkle.HASH_SIZE]

    def sign_committed(self) -> tuple[Checkpoint, Note]:
        """Sign the newest committed size and root, as the database has them.

        These are the only signatures the log's keys make.

        Raises:
            FolderError: the log was opened without its key.
            LogStoppedError: the database says something else than this process committed.
        """
        with self._mutex:
            self.check_running()
            if self._signer is None:
                raise FolderError("the log was opened without its key", where=self.store.where)
            committed = self.store.tree()
            if committed != CommittedTree(self._edge.size, self._edge.root):
                self.stop(LogStoppedError("somebody else changed the database"))
                self.check_running()
            checkpoint = Checkpoint(self.identity.origin, committed.size, committed.root)
            return checkpoint, self._signer.sign(checkpoint, at=self.clock())

    def standing_checkpoint(self) -> SignedCheckpoint | None:
        """Read `public/checkpoint` if it is one that this log signed, and check it against the database.

        The file is not trusted: one that is missing, too large, no note or not signed by this log counts as lost,
        and the next publication replaces it.

        Raises:
            RestoredBackupError: it is larger than the database.
            ForkError: it is of this size or smaller, and not the beginning of this log.
        """
        try:
            data = self.public_folder.read(CHECKPOINT_NAME)
            if data is None:
                return None
            signed = SignedCheckpoint.parse(data)
            vkeys = [vkey for vkey in (self.identity.vkey, self.identity.pq_vkey) if vkey is not None]
            signers = signed.note.verify(map(NoteVerifier.from_vkey, vkeys))
            if self.identity.vkey not in [signer.vkey for signer in signers]:
                return None
        except (FormatError, SignatureError):
            return None
        standing = signed.checkpoint
        if standing.origin != self.identity.origin:
            return None
        restore_check.check_reached(
            CommittedTree(standing.size, standing.root),
            verb="published",
            size=self._edge.size,
            read=self.read_nodes,
            where=str(self.public_folder.path / CHECKPOINT_NAME),
        )
        return signed

    def _check_is_newest(self) -> None:
        """Refuse a database from a backup; see `chopmark_ledger.sequencing.restore_check`."""
        self.standing_checkpoint()
        restore_check.check_landmarks(self.public_folder, LANDMARKS_NAME, self.store.landmark_count())
        restore_check.check_tiles(self.public_folder, self._edge.size)
        marked = None if self._mark is None else self._mark.read()
        if self._mark is not None and marked is not None:
            restore_check.check_reached(
                marked, verb="committed", size=self._edge.size, read=self.read_nodes, where=str(self._mark.path)
            )

    def record_publication(self, publication: Publication) -> None:
        """Note in the database what now stands durably in the public folder.

        Raises:
            LogStoppedError: the log stopped, now or before.
            StorageError: the database failed and noted nothing; publishing again is safe.
        """
        with self._mutex, self._stopping_on_failure():
            self.check_running()
            self.store.record_publication(publication)
            self._publication = publication

    def add_landmarks(self, records: Sequence[LandmarkRecord], *, position: int, now: int) -> None:
        """Add records to the landmark file, from `position` on, and let the next interval begin at `now`.

        Raises:
            LogStoppedError: the log stopped, now or before.
            StorageError: the database failed and added nothing.
        """
        with self._mutex, self._stopping_on_failure():
            self.check_running()
            self.store.add_landmarks(records, position=position, now=now)

    def _read_edge(self) -> tree.TreeEdge:
        """Read the edge of the tree from its partial tiles, and check it against the root."""
        where = self.store.where
        committed = self.store.tree()
        widths = {(tile.level or 0, tile.index): tile.width for tile in partial_tiles(committed.size)}
        tiles = self.store.tiles(list(widths))
        if any(len(tiles.get(tile, b"")) != width * merkle.HASH_SIZE for tile, width in widths.items()):
            raise LedgerDamagedError("the tiles at the edge of the tree are not those of its size", where=where)
        edge = tree.edge_from_tiles(committed.size, {level: hashes for (level, _), hashes in tiles.items()})
        if edge.root != committed.root:
            raise LedgerDamagedError("the tiles at the edge of the tree do not hash to its root", where=where)
        return edge

    def _check_pressure(self, size: int, count: int) -> None:
        unpublished = size - (self._publication.size if self._publication else 0)
        if unpublished + count > self.settings.max_unpublished:
            raise BackpressureError(
                f"{unpublished:,} entries wait for publication, the bound is {self.settings.max_unpublished:,}",
                retry_after=_RETRY_AFTER,
                where=self.identity.origin,
                remedy="Send the batch again once the log has published: a witness quorum may be missing",
            )

    @contextmanager
    def _stopping_on_failure(self) -> Iterator[None]:
        """After a commit whose outcome is unknown, memory and disk may differ; only opening the log again settles it.

        A `StorageError` says that nothing was committed.
        """
        try:
            yield
        except StorageError:
            raise
        except BaseException as error:
            self.stop(error)
            raise


def begin(store: LogStore, identity: LogIdentity) -> None:
    """Put a new log into a store: who it is, and its genesis entry.

    Raises:
        FolderError: a log is there already.
        StorageError: the store cannot be written.
    """
    genesis = GenesisEntry(identity.origin, identity.suite, identity.created).encode()
    edge, tiles = tree.append(tree.EMPTY_EDGE, [merkle.leaf_hash(genesis)])
    store.create(identity, genesis, edge, tiles)
