"""Publication: from the newest committed size to a cosigned checkpoint that everybody can fetch.

In this order, so that a crash anywhere leaves a log that can go on:

    0  bring back what the public folder has lost of the last publication
    1  take the newest committed size and root from the database, sign them
    2  write and sync tiles, entry bundles and their folders, from the last published size on
    3  collect cosignatures until the policy's quorum is met; before the first time, ask what the witnesses hold
    4  replace `checkpoint`, never by a smaller one, and sync it
    5  remove the partial tiles and bundles of what is full now
    6  note the publication in the database

Tiles are a pure function of the committed entries: what a crash interrupted is written again, and where the
checkpoint or a file at the edge of what was published is lost, everything from the beginning. Several commits share
one publication.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice

from chopmark import tiles
from chopmark.checkpoint import Checkpoint
from chopmark.errors import QuorumError, SignatureError, StorageError
from chopmark.merkle import HASH_SIZE
from chopmark.note import Note, NoteVerifier
from chopmark.tlog_policy import PolicyLog, TlogPolicy, WitnessedCheckpoint

from chopmark_ledger.errors import LedgerDamagedError, LogStoppedError
from chopmark_ledger.publication.cosigning import GRACE, PATIENCE, Cosigners, WitnessClient, WitnessReport
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.store import Publication

__all__ = ["Publisher", "WitnessClient", "WitnessReport", "new_tiles"]

_TILES_AT_ONCE = 8
"""Tiles and bundles that are read in one query: 16 MiB each, if all entries have the largest size."""
_WRITERS = 8
"""Threads that write files."""


class Publisher:
    """Publishes one log. Only one publication runs at a time.

    Args:
        log: an open log, with its key.
        witnesses: whom to ask for cosignatures.
        policy: what a checkpoint must satisfy before it is published; it need not name the log.
        executor: carries the requests to witnesses, each of which may hold a thread, and writes files beside them; a
            pool of threads unless one is given.
        patience: seconds that a publication waits for its quorum.
        grace: seconds that it waits for further cosignatures once the quorum is met.

    Raises:
        FormatError, KeyMaterialError: a witness without a key that cosigns, or a policy that proofs cannot satisfy.
    """

    def __init__(
        self,
        log: Log,
        witnesses: Sequence[WitnessClient],
        policy: TlogPolicy,
        *,
        executor: Executor | None = None,
        patience: float = PATIENCE,
        grace: float = GRACE,
    ) -> None:
        self._log = log
        own_keys = [vkey for vkey in (log.identity.vkey, log.identity.pq_vkey) if vkey is not None]
        self._policy = policy.with_logs(PolicyLog(NoteVerifier.from_vkey(vkey)) for vkey in own_keys)
        self._pool: ThreadPoolExecutor | None = None
        if executor is None:
            executor = self._pool = ThreadPoolExecutor(len(witnesses) + _WRITERS, "publication")
        self._executor = executor
        self._cosigners = Cosigners(log, witnesses, self._policy, executor, patience=patience, grace=grace)
        self._mutex = threading.RLock()
        self._is_sounded_out = False

    def close(self) -> None:
        """End a publication that waits for witnesses, and the threads that ask them; doing so twice is harmless."""
        self._cosigners.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False)

    def reports(self) -> tuple[WitnessReport, ...]:
        """What is known of each witness, in the order given."""
        return self._cosigners.reports()

    def sound_out(self) -> None:
        """Ask the witnesses what they hold of this log; nothing is signed for it.

        A database that was restored from a backup together with its public folder shows itself nowhere else. The first
        publication of a process that signs something new does this by itself.

        Raises:
            QuorumError: too few answered.
            RestoredBackupError, ForkError: those that make a quorum hold something else; the log is stopped.
        """
        with self._mutex:
            published = self._log.publication
            if self._is_sounded_out or published is None:
                return
            checkpoint = Checkpoint(self._log.identity.origin, published.size, published.root)
            note = Note.parse(published.note)
            own = tuple(line for line in note.signatures if line.name == checkpoint.origin)
            with self._stopping_the_log():
                self._cosigners.sound_out(checkpoint, Note(note.text, own), committed=self._log.size)
            self._is_sounded_out = True

    def publish(self) -> WitnessedCheckpoint:
        """Publish what is committed; with nothing new, answer what stands.

        Raises:
            QuorumError: too few witnesses cosigned; commits go on, and the next call tries again.
            RestoredBackupError, ForkError: what stands in the public folder, or what witnesses that make a quorum
                hold, is not the beginning of this database.
            TileConflictError: other bytes stand where a file belongs.
            LedgerDamagedError: the database has lost entries or hashes.
            PublicationPoisonedError: an fsync failed; open the log again.
            StorageError: a file could not be written; calling again is safe.
        """
        with self._mutex:
            self._log.check_running()
            published = self._log.publication
            first = 0
            if published is not None:
                self._bring_back(published)
                first = published.size
            checkpoint, note = self._log.sign_committed()
            if published is not None and published.size == checkpoint.size:
                witnessed = self._already_witnessed(published.note)
                if witnessed is not None:
                    return witnessed
            self._write_tiles(first, checkpoint.size)
            self.sound_out()
            with self._stopping_the_log():
                cosigned = self._cosigners.collect(checkpoint, note, likely=first)
            self._is_sounded_out = True
            witnessed = self._policy.check(cosigned)
            # Once more, now that the witnesses have answered: nobody may have put a larger one there meanwhile.
            self._log.standing_checkpoint()
            data = cosigned.encode()
            self._log.public_folder.replace("checkpoint", data)
            self._remove_partials(first, checkpoint.size)
            self._log.record_publication(
                Publication(checkpoint.size, checkpoint.root, data, witnessed.time, self._log.clock())
            )
            return witnessed

    def _bring_back(self, published: Publication) -> None:
        """Make good what the public folder has lost of the last publication; the database has all of it."""
        standing = self._log.standing_checkpoint()
        # A smaller one stands where the public folder was brought back from a backup: without its tiles.
        first = 0 if standing is None else min(published.size, standing.checkpoint.size)
        if not self._has_edge(first):
            first = 0
        if first < published.size:
            self._write_tiles(first, published.size)
        if standing is None or (standing.checkpoint.size <= published.size and standing.encode() != published.note):
            self._log.public_folder.replace("checkpoint", published.note)

    @contextmanager
    def _stopping_the_log(self) -> Iterator[None]:
        """What witnesses hold stays as it is, so that going on would only add to what has to be undone."""
        try:
            yield
        except LogStoppedError as error:
            self._log.stop(error)
            raise

    def _already_witnessed(self, note: bytes) -> WitnessedCheckpoint | None:
        try:
            return self._policy.check(Note.parse(note))
        except (QuorumError, SignatureError):
            return None  # the policy changed since: ask the witnesses of today

    def _has_edge(self, size: int) -> bool:
        """Tell whether the last tile of each level and the last bundle are there, as they should be at a size.

        The full one may stand for a partial one: the publication that filled it may not have been noted.
        """
        size_of = self._log.public_folder.size
        for level, tile in _edge(size):
            if size_of(tile.path) != tile.width * HASH_SIZE and size_of(_full(tile).path) is None:
                return False
            if level == 0 and not (size_of(_bundle(tile).path) or size_of(_full(_bundle(tile)).path)):
                return False
        return True

    def _write_tiles(self, first: int, size: int) -> None:
        folder = self._log.public_folder
        remaining = new_tiles(first, size)
        while batch := list(islice(remaining, _TILES_AT_ONCE)):
            hashes = self._log.store.tiles([(level, tile.index) for level, tile in batch])
            files = []
            for level, tile in batch:
                data = hashes.get((level, tile.index), b"")[: tile.width * HASH_SIZE]
                if len(data) != tile.width * HASH_SIZE:
                    raise LedgerDamagedError(f"the database has lost hashes of tile {tile.index} at level {level}")
                files.append((tile.path, data))
            leaves = [tile for level, tile in batch if level == 0]
            if leaves:
                start = leaves[0].index * tiles.TILE_WIDTH
                entries = iter(self._log.entries(start, leaves[-1].index * tiles.TILE_WIDTH + leaves[-1].width))
                for tile in leaves:
                    files.append((_bundle(tile).path, tiles.encode_entry_bundle(list(islice(entries, tile.width)))))
            folder.put_all(files, self._executor)
        folder.flush(self._executor)

    def _remove_partials(self, first: int, size: int) -> None:
        """Remove the partial tiles and bundles whose full ones stand now under a durable checkpoint that needs them."""
        folder = self._log.public_folder
        # They take room and no more: what cannot be removed today must not hold up the publication.
        with suppress(StorageError):
            for level, tile in new_tiles(first, size):
                if tile.width == tiles.TILE_WIDTH:
                    folder.remove_partials(tile.path)
                    if level == 0:
                        folder.remove_partials(_bundle(tile).path)


def new_tiles(first: int, size: int) -> Iterator[tuple[int, tiles.Tile]]:
    """Name the tiles of hashes, with their level, that a log of `size` has and one of `first` had not, lowest first."""
    level = 0
    while size >> tiles.TILE_HEIGHT * level > 0:
        old, new = first >> tiles.TILE_HEIGHT * level, size >> tiles.TILE_HEIGHT * level
        if new > old:
            for index in range(old // tiles.TILE_WIDTH, -(-new // tiles.TILE_WIDTH)):
                tile = tiles.tile_at(level, index, size)
                if tile is not None:
                    yield level, tile
        level += 1


def _edge(size: int) -> Iterator[tuple[int, tiles.Tile]]:
    """Name the last tile of hashes at each level of a log of `size`."""
    level = 0
    while elements := size >> tiles.TILE_HEIGHT * level:
        tile = tiles.tile_at(level, (elements - 1) // tiles.TILE_WIDTH, size)
        if tile is not None:
            yield level, tile
        level += 1


def _bundle(tile: tiles.Tile) -> tiles.Tile:
    """The bundle of the entries that a tile of level 0 hashes."""
    return tiles.Tile(None, tile.index, tile.width)


def _full(tile: tiles.Tile) -> tiles.Tile:
    return tiles.Tile(tile.level, tile.index)
