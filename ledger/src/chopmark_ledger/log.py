"""The log: one writer, one transaction per batch, the database as the only truth.

A data folder holds

    lock          the exclusive lock, held as long as the log is open
    ledger.db     entries, tiles, size and root, batches, the last publication, landmarks
    staging/      files on their way into `public/`
    public/       what everybody may fetch: `checkpoint`, `tile/…`, `landmarks`

`append` commits entries, tiles, size and root in one transaction, guarded by the size and root it started from; a
guard that finds other values stops the log. Nothing outside the database is read to decide what is signed: the
publisher gets size and root from `Log.sign_committed`.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chopmark import merkle
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.entries import GenesisEntry
from chopmark.errors import FormatError, ProofError, SignatureError
from chopmark.keys import Signer
from chopmark.landmark import LandmarkFile
from chopmark.note import Note, NoteSigner, NoteVerifier, sign_note
from chopmark.tiles import partial_tiles

from chopmark_ledger import durable, tree
from chopmark_ledger.batch import MAX_NUMBER, Client, batch_digest, check_entries, shuffled
from chopmark_ledger.errors import (
    BackpressureError,
    ConflictError,
    FolderError,
    ForkError,
    LedgerDamagedError,
    LogStoppedError,
    RestoredBackupError,
)
from chopmark_ledger.lock import FolderLock
from chopmark_ledger.nodes import NodeReader
from chopmark_ledger.public_folder import PublicFolder
from chopmark_ledger.store import CommittedBatch, CommittedTree, LedgerStore, LogIdentity, Publication

_MAX_CLIENT_NAME = 200


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What an operator may set."""

    max_unpublished: int = 500_000
    """Entries that may be committed and not yet published before `append` answers with back-pressure."""
    landmark_interval: int = 15 * 60
    """Seconds after which an interval with entries is ended."""


DEFAULT_SETTINGS = LogSettings()


class Log:
    """An open log. Make one with `Log.create` or `Log.open`, and close it; it is a context manager.

    All methods may be called from several threads; appends happen one after the other.
    """

    def __init__(
        self,
        folder: Path,
        lock: FolderLock,
        store: LedgerStore,
        *,
        key: Signer | None,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        settings: LogSettings,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.clock = clock
        self.store = store
        self.public_folder = PublicFolder(folder / "public", folder / "staging")
        self.read_nodes = NodeReader(store.tiles)
        self._lock = lock
        self._random = random
        self._mutex = threading.RLock()
        self._stopped_by: str | None = None
        self.identity = store.identity()
        self._edge = self._read_edge()
        self._publication = store.publication()
        self._signer = None if key is None else NoteSigner(self.identity.origin, key)
        if self._signer is not None and self._signer.vkey != self.identity.vkey:
            raise FolderError(
                f"the key is {self._signer.vkey}, the log was created with {self.identity.vkey}",
                where=str(folder),
                remedy="Open the log with its own key",
            )
        self.standing_checkpoint()

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        origin: str,
        number: int,
        key: Signer,
        clock: Callable[[], int],
        suite: int = 1,
        random: Callable[[int], bytes] = os.urandom,
        settings: LogSettings = DEFAULT_SETTINGS,
    ) -> Log:
        """Begin a log in `folder`, with its genesis entry, and open it.

        Raises:
            FolderError: a log is there already.
            FolderLockedError: another process is at work there.
            FormatError, KeyMaterialError: the number is no u32, the origin no key name, or the key not Ed25519.
            StorageError: the folder cannot be written.
        """
        LandmarkFile.empty(number)
        signer = NoteSigner(origin, key)
        identity = LogIdentity(origin, number, suite, signer.vkey, clock())
        genesis = GenesisEntry(origin, suite, identity.created).encode()
        edge, tiles = tree.append(tree.EMPTY_EDGE, [merkle.leaf_hash(genesis)])
        durable.make_folder(folder)
        with _locked_store(folder) as (lock, store):
            store.create(identity, genesis, edge, tiles)
            durable.sync_folder(folder)  # the database syncs its content, not its own name
            durable.sync_folder(folder.parent)
            return cls(folder, lock, store, key=key, clock=clock, random=random, settings=settings)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Callable[[], int],
        key: Signer | None = None,
        random: Callable[[int], bytes] = os.urandom,
        settings: LogSettings = DEFAULT_SETTINGS,
    ) -> Log:
        """Open the log in `folder`; without its key it takes entries and makes proofs, but publishes nothing.

        Raises:
            FolderError: no log is there, or the key is another one.
            FolderLockedError: another process has it open.
            LedgerDamagedError: the database contradicts itself.
            RestoredBackupError, ForkError: the public folder holds a checkpoint of this log that the database does
                not reach, or that does not belong to it.
        """
        if not (folder / "ledger.db").is_file():
            raise FolderError("there is no log", where=str(folder), remedy="Create one first")
        with _locked_store(folder) as (lock, store):
            return cls(folder, lock, store, key=key, clock=clock, random=random, settings=settings)

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

    def append(self, client: Client, batch_number: int, entries: Sequence[bytes]) -> list[int]:
        """Take a batch of entries, durably; the same batch sent again gets the same answer.

        Args:
            client: who submits; the caller has authenticated it.
            batch_number: the client's own number for this batch.
            entries: 1 to 10,000 entries as bytes.

        Returns:
            The index of each entry in the log, in the order sent.

        Raises:
            BatchRefusedError: entries that are none, or that this client may not add; nothing was taken.
            ConflictError: this client sent another body under this number.
            BackpressureError: too much waits for publication.
            LogStoppedError: the log stopped, now or before; open it again after looking at the reason.
            LimitError, FormatError: a batch too large, or a client name or number that is none.
        """
        if not 1 <= len(client.name) <= _MAX_CLIENT_NAME or not client.name.isprintable():
            raise FormatError(f"a client name has 1 to {_MAX_CLIENT_NAME} printable characters", where="client")
        if type(batch_number) is not int or not 0 <= batch_number <= MAX_NUMBER:
            raise FormatError(f"a batch number is between 0 and {MAX_NUMBER}", where="batch number")
        digest = batch_digest(entries)
        with self._mutex:
            self._check_running()
            known = self._known_batch(client.name, batch_number, digest)
            if known is not None:
                return known
            check_entries(client, entries)
            self._check_pressure(len(entries))
            order = shuffled(len(entries), self._random)
            ordered = [entries[position] for position in order]
            edge, tiles = tree.append(self._edge, [merkle.leaf_hash(entry) for entry in ordered])
            first = self._edge.size
            places = [0] * len(order)
            for place, position in enumerate(order):
                places[position] = place
            packed = struct.pack(f">{len(places)}H", *places)
            batch = CommittedBatch(client.name, batch_number, digest, first, packed, self.clock())
            with self._stopping_on_failure():
                self.store.commit(CommittedTree(first, self._edge.root), edge, tiles, ordered, batch)
            self._edge = edge
            return [first + place for place in places]

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

        This is the only signature the log's key makes.

        Raises:
            FolderError: the log was opened without its key.
            LogStoppedError: the database says something else than this process committed.
        """
        with self._mutex:
            self._check_running()
            if self._signer is None:
                raise FolderError("the log was opened without its key", where=str(self.folder))
            committed = self.store.tree()
            if committed != CommittedTree(self._edge.size, self._edge.root):
                self._stopped_by = "somebody else changed the database"
                self._check_running()
            checkpoint = Checkpoint(self.identity.origin, committed.size, committed.root)
            return checkpoint, sign_note(checkpoint.body(), [self._signer])

    def standing_checkpoint(self) -> SignedCheckpoint | None:
        """Read `public/checkpoint` if it is one that this log signed, and check it against the database.

        The file is not trusted: one that is missing, too large, no note or not signed by this log counts as lost,
        and the next publication replaces it.

        Raises:
            RestoredBackupError: it is larger than the database.
            ForkError: it is of this size or smaller, and not the beginning of this log.
        """
        try:
            data = self.public_folder.read("checkpoint")
            if data is None:
                return None
            signed = SignedCheckpoint.parse(data)
            signed.note.verify([NoteVerifier.from_vkey(self.identity.vkey)])
        except (FormatError, SignatureError):
            return None
        standing = signed.checkpoint
        where = str(self.public_folder.path / "checkpoint")
        if standing.origin != self.identity.origin:
            return None
        if standing.size > self._edge.size:
            raise RestoredBackupError(
                f"size {standing.size} was published, the database holds {self._edge.size}",
                where=where,
                remedy="The database was restored from a backup: bring the newest one, or freeze this log at the "
                "published size and begin a new origin",
            )
        try:
            root = merkle.root(standing.size, self.read_nodes)
        except ProofError as error:
            raise LedgerDamagedError(f"a tile is missing: {error}", where=str(self.folder)) from error
        if root != standing.root:
            raise ForkError(
                f"the root published for size {standing.size} is not that of the database",
                where=where,
                remedy="Keep both as they are: this is two histories under one origin",
            )
        return signed

    def record_publication(self, publication: Publication) -> None:
        """Note in the database what now stands durably in the public folder."""
        with self._mutex, self._stopping_on_failure():
            self.store.record_publication(publication)
            self._publication = publication

    def _read_edge(self) -> tree.TreeEdge:
        """Read the edge of the tree from its partial tiles, and check it against the root."""
        where = str(self.folder)
        committed = self.store.tree()
        widths = {(tile.level or 0, tile.index): tile.width for tile in partial_tiles(committed.size)}
        tiles = self.store.tiles(list(widths))
        if any(len(tiles.get(tile, b"")) != width * merkle.HASH_SIZE for tile, width in widths.items()):
            raise LedgerDamagedError("the tiles at the edge of the tree are not those of its size", where=where)
        edge = tree.edge_from_tiles(committed.size, {level: hashes for (level, _), hashes in tiles.items()})
        if edge.root != committed.root:
            raise LedgerDamagedError("the tiles at the edge of the tree do not hash to its root", where=where)
        return edge

    def _known_batch(self, client: str, number: int, digest: bytes) -> list[int] | None:
        batch = self.store.batch(client, number)
        if batch is None:
            return None
        if batch.digest != digest:
            raise ConflictError(
                f"client {client} sent another body as batch {number}",
                where=f"batch {number}",
                remedy="Give the new entries a number of their own",
            )
        return [batch.first + place for (place,) in struct.iter_unpack(">H", batch.places)]

    def _check_pressure(self, count: int) -> None:
        unpublished = self._edge.size - (self._publication.size if self._publication else 0)
        if unpublished + count > self.settings.max_unpublished:
            raise BackpressureError(
                f"{unpublished:,} entries wait for publication, the bound is {self.settings.max_unpublished:,}",
                where=self.identity.origin,
                remedy="Send the batch again once the log has published: a witness quorum may be missing",
            )

    def _check_running(self) -> None:
        if self._stopped_by is not None:
            raise LogStoppedError(
                f"the log stopped: {self._stopped_by}",
                where=str(self.folder),
                remedy="Open it again once the reason is gone: what was acknowledged is kept",
            )

    @contextmanager
    def _stopping_on_failure(self) -> Iterator[None]:
        """After a commit that failed half-way, memory and disk may differ; only opening the log again settles it."""
        try:
            yield
        except BaseException as error:
            self._stopped_by = str(error) or type(error).__name__
            raise


@contextmanager
def _locked_store(folder: Path) -> Iterator[tuple[FolderLock, LedgerStore]]:
    """Lock a folder and open its database; both are kept when the block ends well, given back when it raises."""
    lock = FolderLock(folder)
    try:
        store = LedgerStore(folder)
        try:
            yield lock, store
        except BaseException:
            store.close()
            raise
    except BaseException:
        lock.release()
        raise
