"""Everything the log asks of its database, in Core statements.

Nothing here decides anything: `chopmark_ledger.log` and `chopmark_ledger.landmarks` do. Each method is one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chopmark.landmark import LandmarkRecord
from chopmark.tiles import partial_tiles
from sqlalchemy import BindParameter, Column, Connection, Table, and_, bindparam, insert, or_, select, update

from chopmark_ledger.database import Database
from chopmark_ledger.errors import FolderError, LogStoppedError
from chopmark_ledger.models import BATCH, ENTRY, LANDMARK, LEDGER, PUBLICATION, TILE
from chopmark_ledger.tree import TileRun, TreeEdge

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ROWS_PER_QUERY = 100


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """Who the log is: its origin, its number within the region, its suite, its vkeys, and when it began.

    `vkey` is that of its Ed25519 key (type 01), `pq_vkey` that of its ML-DSA-44 key (type 06), if it has one.
    """

    origin: str
    number: int
    suite: int
    vkey: str
    pq_vkey: str | None
    created: int


@dataclass(frozen=True, slots=True)
class CommittedTree:
    """The committed size and root."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Publication:
    """The last checkpoint that was put into the public folder: `note` with its cosignatures, and its times."""

    size: int
    root: bytes
    note: bytes
    witnessed_time: int
    published: int


@dataclass(frozen=True, slots=True)
class CommittedBatch:
    """A batch that was taken: the digest of its body, the first index it got, and per entry, in the order sent, its
    index minus `first`, as big-endian uint16, 65,535 for one that was refused; why, in `refused`."""

    client: str
    number: int
    digest: bytes
    first: int
    places: bytes
    refused: str
    committed: int


class LedgerStore:
    """The tables of one log; `where` says, for messages, which.

    Args:
        source: the path of a SQLite file, or the URL of a PostgreSQL database.
        create: make the tables where there are none.

    Raises: as `chopmark_ledger.database.Database`.
    """

    def __init__(self, source: Path | str, *, create: bool) -> None:
        self._database = Database(source, create=create)
        self.where = self._database.where

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def create(self, identity: LogIdentity, genesis: bytes, edge: TreeEdge, tiles: Sequence[TileRun]) -> None:
        """Put in the log's one row and its genesis entry.

        Raises:
            FolderError: there is a log already.
        """
        with self._database.write() as connection:
            if connection.execute(select(LEDGER.c.id)).first() is not None:
                raise FolderError("there is a log already", where=self.where, remedy="Open it instead")
            row = {**asdict(identity), "size": edge.size, "root": edge.root, "interval_began": identity.created}
            connection.execute(insert(LEDGER).values(id=1, **row))
            connection.execute(insert(ENTRY), [{"index": 0, "data": genesis}])
            _write_tiles(connection, tiles, 0)

    def identity(self) -> LogIdentity:
        """Read who the log is.

        Raises:
            FolderError: its creation was never finished.
        """
        with self._database.read() as connection:
            row = connection.execute(select(*_columns(LEDGER, LogIdentity))).one_or_none()
        if row is None:
            raise FolderError("the log was never finished being created", where=self.where, remedy="Create it again")
        return LogIdentity(*row)

    def tree(self) -> CommittedTree:
        """Read the committed size and root."""
        with self._database.read() as connection:
            return CommittedTree(*connection.execute(select(LEDGER.c.size, LEDGER.c.root)).one())

    def commit(
        self,
        old: CommittedTree,
        new: TreeEdge,
        tiles: Sequence[TileRun],
        entries: Sequence[bytes],
        batches: Sequence[CommittedBatch],
    ) -> None:
        """Commit entries, in the order of the log, with the tiles, size and root they make and the batches they were.

        Raises:
            LogStoppedError: the database holds another size and root than `old`.
        """
        with self._database.write() as connection:
            moved = connection.execute(
                update(LEDGER)
                .where(LEDGER.c.id == 1, LEDGER.c.size == old.size, LEDGER.c.root == old.root)
                .values(size=new.size, root=new.root)
            )
            if moved.rowcount != 1:
                raise LogStoppedError(
                    "somebody else changed the database",
                    where=self.where,
                    remedy="Find the second writer and end it, then open the log again",
                )
            connection.execute(
                insert(ENTRY), [{"index": index, "data": data} for index, data in enumerate(entries, old.size)]
            )
            _write_tiles(connection, tiles, old.size)
            connection.execute(insert(BATCH), [asdict(batch) for batch in batches])

    def batches(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], CommittedBatch]:
        """Read those of the batches, named by client and number, that there are."""
        client, number = BATCH.c.client, BATCH.c.number
        found: dict[tuple[str, int], CommittedBatch] = {}
        with self._database.read() as connection:
            for start in range(0, len(wanted), _ROWS_PER_QUERY):
                named = [and_(client == each[0], number == each[1]) for each in wanted[start : start + _ROWS_PER_QUERY]]
                for row in connection.execute(select(*_columns(BATCH, CommittedBatch)).where(or_(*named))):
                    batch = CommittedBatch(*row)
                    found[batch.client, batch.number] = batch
        return found

    def entries(self, start: int, end: int) -> list[bytes]:
        """Read those of the entries [start, end) that there are."""
        index = ENTRY.c["index"]
        query = select(ENTRY.c.data).where(index >= start, index < end).order_by(index)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def tiles(self, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Read the hashes of those of the tiles, named by (level, index), that there are."""
        level, index = TILE.c.level, TILE.c["index"]
        found: dict[tuple[int, int], bytes] = {}
        with self._database.read() as connection:
            for start in range(0, len(wanted), _ROWS_PER_QUERY):
                named = [and_(level == each[0], index == each[1]) for each in wanted[start : start + _ROWS_PER_QUERY]]
                for row in connection.execute(select(level, index, TILE.c.hashes).where(or_(*named))):
                    found[row[0], row[1]] = row[2]
        return found

    def publication(self) -> Publication | None:
        """Read what was published last, None before the first time."""
        with self._database.read() as connection:
            row = connection.execute(select(*_columns(PUBLICATION, Publication))).one_or_none()
        return None if row is None else Publication(*row)

    def record_publication(self, publication: Publication) -> None:
        """Note what now stands in the public folder."""
        values = asdict(publication)
        with self._database.write() as connection:
            if connection.execute(update(PUBLICATION).where(PUBLICATION.c.id == 1).values(values)).rowcount == 0:
                connection.execute(insert(PUBLICATION).values(id=1, **values))

    def landmarks(self) -> tuple[list[LandmarkRecord], int]:
        """Read the records of the landmark file, and when the present interval began (POSIX seconds)."""
        query = select(*_columns(LANDMARK, LandmarkRecord)).order_by(LANDMARK.c.position)
        with self._database.read() as connection:
            records = [LandmarkRecord(*row) for row in connection.execute(query)]
            began: int = connection.execute(select(LEDGER.c.interval_began)).scalar_one()
        return records, began

    def add_landmarks(self, records: Sequence[LandmarkRecord], *, position: int, now: int) -> None:
        """Add records from `position` on, and let the next interval begin at `now`."""
        rows = [{"position": place, **asdict(record)} for place, record in enumerate(records, position)]
        with self._database.write() as connection:
            connection.execute(insert(LANDMARK), rows)
            connection.execute(update(LEDGER).where(LEDGER.c.id == 1).values(interval_began=now))


def _columns(table: Table, value: type[DataclassInstance]) -> list[Column[Any]]:
    """The columns of a table that are the fields of a dataclass, in that order."""
    return [table.c[field.name] for field in fields(value)]


def _write_tiles(connection: Connection, tiles: Sequence[TileRun], old_size: int) -> None:
    """Insert the tiles that are new since `old_size`, update those that were partial then."""
    begun = {(tile.level or 0, tile.index) for tile in partial_tiles(old_size)}
    continued: list[dict[str, object]] = []
    new: list[dict[str, object]] = []
    for tile in tiles:
        row = {"tile_level": tile.level, "tile_index": tile.index, "hashes": tile.hashes}
        (continued if (tile.level, tile.index) in begun else new).append(row)
    level: BindParameter[int] = bindparam("tile_level")
    index: BindParameter[int] = bindparam("tile_index")
    if continued:
        place = TILE.c.level == level, TILE.c["index"] == index
        connection.execute(update(TILE).where(*place).values(hashes=bindparam("hashes")), continued)
    if new:
        connection.execute(insert(TILE).values({"level": level, "index": index, "hashes": bindparam("hashes")}), new)
