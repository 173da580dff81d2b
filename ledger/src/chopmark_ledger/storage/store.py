"""Everything the log asks of its database, in statements that both databases understand.

Nothing here decides anything: `chopmark_ledger.sequencing` does. Each method is one transaction. What is done for every
entry, tile or batch goes to the driver as it stands; the rest are Core statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chopmark.landmark import LandmarkRecord
from chopmark.tiles import partial_tiles
from sqlalchemy import Column, Connection, Table, func, insert, select, update

from chopmark_ledger.errors import FolderError, LogStoppedError
from chopmark_ledger.storage.database import SQLITE, Database, run
from chopmark_ledger.storage.models import ENTRY, LANDMARK, LEDGER, PUBLICATION
from chopmark_ledger.tree import TileRun, TreeEdge

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_GROW = "UPDATE ledger SET size = ?, root = ? WHERE id = 1 AND size = ? AND root = ?"
_INSERT_ENTRIES = 'INSERT INTO entry ("index", data) VALUES (?, ?)'
_INSERT_ENTRIES_AT_ONCE = """
    INSERT INTO entry ("index", data)
    SELECT %s + place - 1, data FROM unnest(CAST(%b AS bytea[])) WITH ORDINALITY AS new (data, place)"""
"""For PostgreSQL, which would answer each entry by itself; `%b` spares it reading hexadecimal digits."""
_INSERT_TILES = 'INSERT INTO tile (level, "index", hashes) VALUES (?, ?, ?)'
_CONTINUE_TILES = 'UPDATE tile SET hashes = ? WHERE level = ? AND "index" = ?'
_INSERT_BATCHES = """
    INSERT INTO batch (client, number, digest, first, places, refused, committed) VALUES (?, ?, ?, ?, ?, ?, ?)"""
_KEY = "(?, ?)"
_SELECT_BATCHES = """
    WITH wanted (client, number) AS (VALUES (?, ?))
    SELECT batch.client, batch.number, digest, first, places, refused, committed
    FROM wanted JOIN batch ON batch.client = wanted.client AND batch.number = wanted.number"""
_KEYS_AT_ONCE = 64
_SELECT_ENTRIES = 'SELECT data FROM entry WHERE "index" >= ? AND "index" < ? ORDER BY "index"'
_SELECT_TILE = 'SELECT hashes FROM tile WHERE level = ? AND "index" = ?'


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

    Raises: as `chopmark_ledger.storage.database.Database`.
    """

    def __init__(self, source: Path | str, *, create: bool) -> None:
        self._database = Database(source, create=create)
        self.where = self._database.where

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def has_log(self) -> bool:
        """Tell whether a log was created here."""
        with self._database.read() as connection:
            return _has_row(connection)

    def create(self, identity: LogIdentity, genesis: bytes, edge: TreeEdge, tiles: Sequence[TileRun]) -> None:
        """Put in the log's one row and its genesis entry.

        Raises:
            FolderError: there is a log already.
        """
        with self._database.write() as connection:
            if _has_row(connection):
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
            moved = run(connection, _GROW, (new.size, new.root, old.size, old.root))
            if moved.rowcount != 1:
                raise LogStoppedError(
                    "somebody else changed the database",
                    where=self.where,
                    remedy="Find the second writer and end it, then open the log again",
                )
            if connection.dialect.name == SQLITE:
                run(connection, _INSERT_ENTRIES, list(enumerate(entries, old.size)))
            else:
                connection.exec_driver_sql(_INSERT_ENTRIES_AT_ONCE, (old.size, list(entries)))
            _write_tiles(connection, tiles, old.size)
            run(connection, _INSERT_BATCHES, [_row(batch) for batch in batches])

    def batches(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], CommittedBatch]:
        """Read those of the batches, named by client and number, that there are."""
        found: dict[tuple[str, int], CommittedBatch] = {}
        with self._database.read() as connection:
            for start in range(0, len(wanted), _KEYS_AT_ONCE):
                keys = wanted[start : start + _KEYS_AT_ONCE]
                # as many keys as a power of two, the last one again and again: few statements, which drivers keep
                count = 1 << (len(keys) - 1).bit_length()
                parameters = [part for key in (*keys, *[keys[-1]] * (count - len(keys))) for part in key]
                statement = _SELECT_BATCHES.replace(_KEY, ", ".join([_KEY] * count))
                for row in run(connection, statement, tuple(parameters)).cursor.fetchall():
                    batch = CommittedBatch(*row)
                    found[batch.client, batch.number] = batch
        return found

    def entries(self, start: int, end: int) -> list[bytes]:
        """Read those of the entries [start, end) that there are."""
        with self._database.read() as connection:
            return [data for (data,) in run(connection, _SELECT_ENTRIES, (start, end)).cursor.fetchall()]

    def tiles(self, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Read the hashes of those of the tiles, named by (level, index), that there are."""
        found: dict[tuple[int, int], bytes] = {}
        with self._database.read() as connection:
            for key in wanted:
                row = run(connection, _SELECT_TILE, key).fetchone()
                if row is not None:
                    found[key] = row[0]
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

    def landmark_count(self) -> int:
        """Count the records of the landmark file: their positions begin at 0 and leave none out."""
        with self._database.read() as connection:
            last: int | None = connection.execute(select(func.max(LANDMARK.c.position))).scalar()
        return 0 if last is None else last + 1

    def add_landmarks(self, records: Sequence[LandmarkRecord], *, position: int, now: int) -> None:
        """Add records from `position` on, and let the next interval begin at `now`."""
        rows = [{"position": place, **asdict(record)} for place, record in enumerate(records, position)]
        with self._database.write() as connection:
            connection.execute(insert(LANDMARK), rows)
            connection.execute(update(LEDGER).where(LEDGER.c.id == 1).values(interval_began=now))


def _has_row(connection: Connection) -> bool:
    return connection.execute(select(LEDGER.c.id)).first() is not None


def _row(batch: CommittedBatch) -> tuple[str | int | bytes, ...]:
    """A batch as `_INSERT_BATCHES` takes it; `dataclasses.astuple` would copy every value."""
    return (
        batch.client,
        batch.number,
        batch.digest,
        batch.first,
        batch.places,
        batch.refused,
        batch.committed,
    )


def _columns(table: Table, value: type[DataclassInstance]) -> list[Column[Any]]:
    """The columns of a table that are the fields of a dataclass, in that order."""
    return [table.c[field.name] for field in fields(value)]


def _write_tiles(connection: Connection, tiles: Sequence[TileRun], old_size: int) -> None:
    """Insert the tiles that are new since `old_size`, update those that were partial then."""
    begun = {(tile.level or 0, tile.index) for tile in partial_tiles(old_size)}
    continued = [(tile.hashes, tile.level, tile.index) for tile in tiles if (tile.level, tile.index) in begun]
    new = [(tile.level, tile.index, tile.hashes) for tile in tiles if (tile.level, tile.index) not in begun]
    if continued:
        run(connection, _CONTINUE_TILES, continued)
    if new:
        run(connection, _INSERT_TILES, new)
