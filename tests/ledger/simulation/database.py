"""The database of a simulated log: transactions are whole and durable, and a commit may fail without saying which way.

`SimulatedDatabase` is what lies on the disk, `SimulatedStore` one process's connection to it, a
`chopmark_ledger.sequencing.log_store.LogStore`. It refuses what the tables of the real one refuse: a key that is there
already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chopmark.errors import StorageError
from chopmark.landmark import LandmarkRecord
from chopmark_ledger.errors import CommitUnknownError, FolderError, LogStoppedError
from chopmark_ledger.storage.store import CommittedBatch, CommittedTree, LogIdentity, Publication
from chopmark_ledger.tree import TileRun, TreeEdge

from tests.ledger.simulation.machines import Process, must


class SimulatedDatabase:
    """What is committed."""

    def __init__(self) -> None:
        self.identity: LogIdentity | None = None
        self.tree = CommittedTree(0, b"")
        self.entries: list[bytes] = []
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.batches: dict[tuple[str, int], CommittedBatch] = {}
        self.publication: Publication | None = None
        self.landmarks: list[LandmarkRecord] = []
        self.interval_began = 0

    def backup(self) -> SimulatedDatabase:
        """A copy that later commits do not change."""
        other = SimulatedDatabase()
        other.become(self)
        return other

    def become(self, other: SimulatedDatabase) -> None:
        """Hold what another database holds now."""
        self.identity, self.tree = other.identity, other.tree
        self.entries = list(other.entries)
        self.tiles = dict(other.tiles)
        self.batches = dict(other.batches)
        self.publication = other.publication
        self.landmarks = list(other.landmarks)
        self.interval_began = other.interval_began


class SimulatedStore:
    """A connection to a database; `where` names it in messages."""

    def __init__(self, database: SimulatedDatabase, process: Process) -> None:
        self.where = "the simulated database"
        self._database = database
        self._process = process
        self._is_unknown = False

    def create(self, identity: LogIdentity, genesis: bytes, edge: TreeEdge, tiles: Sequence[TileRun]) -> None:
        self._begin("create")
        if self._database.identity is not None:
            raise FolderError("there is a log already")
        self._database.identity = identity
        self._database.interval_began = identity.created
        self._database.entries = [genesis]
        self._put_tiles(tiles)
        self._database.tree = CommittedTree(edge.size, edge.root)
        self._end()

    def identity(self) -> LogIdentity:
        self._read("identity")
        if self._database.identity is None:
            raise FolderError("the log was never finished being created")
        return self._database.identity

    def tree(self) -> CommittedTree:
        self._read("tree")
        return replace(self._database.tree)

    def commit(
        self,
        old: CommittedTree,
        new: TreeEdge,
        tiles: Sequence[TileRun],
        entries: Sequence[bytes],
        batches: Sequence[CommittedBatch],
    ) -> None:
        self._begin(f"commit {old.size} to {new.size}")
        if self._database.tree != old:
            raise LogStoppedError("somebody else changed the database")
        must(len(self._database.entries) == old.size, "an entry was committed where one stands already")
        for batch in batches:
            must((batch.client, batch.number) not in self._database.batches, "a batch was committed twice")
        if self._outcome_is_commit():
            self._database.entries.extend(entries)
            self._put_tiles(tiles)
            self._database.batches.update({(batch.client, batch.number): batch for batch in batches})
            self._database.tree = CommittedTree(new.size, new.root)
        self._end()

    def batches(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], CommittedBatch]:
        self._read("batches")
        return {each: self._database.batches[each] for each in wanted if each in self._database.batches}

    def entries(self, start: int, end: int) -> list[bytes]:
        self._read(f"entries {start} to {end}")
        return self._database.entries[start:end]

    def tiles(self, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        self._read(f"{len(wanted)} tiles")
        return {each: self._database.tiles[each] for each in wanted if each in self._database.tiles}

    def publication(self) -> Publication | None:
        self._read("publication")
        return self._database.publication

    def record_publication(self, publication: Publication) -> None:
        self._begin(f"record publication of {publication.size}")
        if self._outcome_is_commit():
            self._database.publication = publication
        self._end()

    def landmarks(self) -> tuple[list[LandmarkRecord], int]:
        self._read("landmarks")
        return list(self._database.landmarks), self._database.interval_began

    def landmark_count(self) -> int:
        self._read("landmarks")
        return len(self._database.landmarks)

    def add_landmarks(self, records: Sequence[LandmarkRecord], *, position: int, now: int) -> None:
        self._begin(f"add {len(records)} landmarks from {position} on")
        if position != len(self._database.landmarks):
            raise StorageError("the database failed: UNIQUE constraint failed: landmark.position", where=self.where)
        if self._outcome_is_commit():
            self._database.landmarks.extend(records)
            self._database.interval_began = now
        self._end()

    def close(self) -> None:
        """Nothing is held."""

    def _put_tiles(self, tiles: Sequence[TileRun]) -> None:
        self._database.tiles.update({(tile.level, tile.index): tile.hashes for tile in tiles})

    def _read(self, what: str) -> None:
        self._process.step("database: read", what)
        machine = self._process.machine
        if machine.surroundings.happens(machine.faults.read_fails):
            raise StorageError("the database failed: disk I/O error", where=self.where)

    def _begin(self, what: str) -> None:
        """Come to a transaction that writes; one that fails here has changed nothing."""
        self._process.step("database:", what)
        machine = self._process.machine
        faults = machine.faults
        if faults.is_full or faults.is_read_only or machine.surroundings.happens(faults.transaction_fails):
            machine.surroundings.note("     ", self._process.mount, "the transaction failed")
            raise StorageError("the database failed: disk I/O error", where=self.where)

    def _outcome_is_commit(self) -> bool:
        """Whether the commit comes to be; a failure that does not tell is raised by `_end`."""
        machine = self._process.machine
        self._is_unknown = machine.surroundings.happens(machine.faults.commit_is_unknown)
        return not self._is_unknown or machine.surroundings.happens(0.5)

    def _end(self) -> None:
        self._process.step("database: committed")
        if self._is_unknown:
            self._is_unknown = False
            self._process.machine.happened["commit"] += 1
            self._process.machine.surroundings.note("     ", self._process.mount, "the commit failed, or did it?")
            raise CommitUnknownError("the commit failed", where=self.where)
