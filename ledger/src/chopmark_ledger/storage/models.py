"""The tables of the ledger: one SQLite file (or, later, one PostgreSQL database) per log.

The database is what the log trusts; tiles, bundles and the checkpoint in the public folder follow from it.

    ledger         one row: who the log is, and its committed size and root
    entry          entry bytes by index
    tile           hashes by (tile level, tile index): full tiles, and the partial ones of the committed size
    batch          what a client sent under a number: digest of the body, and the answer it was given
    publication    one row: the last checkpoint that stands in the public folder
    landmark       the records of the landmark file, in its order

Times are POSIX seconds. Hot paths use these tables through Core statements, never one object a row.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class LedgerModel(SQLModel, registry=registry()):
    """The base of the ledger's tables; their metadata is their own, so that no other package's tables mix in."""


class Ledger(LedgerModel, table=True):
    """The log itself; its one row changes with every commit."""

    __tablename__ = "ledger"
    __table_args__ = (CheckConstraint("id = 1", name="ledger_has_one_row"),)

    id: int = Field(primary_key=True)
    origin: str
    number: int = Field(sa_type=BigInteger)
    suite: int
    vkey: str
    pq_vkey: str | None = None
    """The vkey (type 06) of its ML-DSA-44 key; a log may have been made without one."""
    created: int = Field(sa_type=BigInteger)
    size: int = Field(sa_type=BigInteger)
    root: bytes
    interval_began: int = Field(sa_type=BigInteger)
    """When the last landmark interval was ended, by the clock of the log."""


class Entry(LedgerModel, table=True):
    """One entry, by its index in the log."""

    __tablename__ = "entry"

    index: int = Field(sa_column=Column("index", BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
    data: bytes


class Tile(LedgerModel, table=True):
    """The hashes of one tile, 32 bytes each; 256 of them once it is full."""

    __tablename__ = "tile"

    level: int = Field(primary_key=True)
    index: int = Field(sa_column=Column("index", BigInteger, primary_key=True))
    hashes: bytes


class Batch(LedgerModel, table=True):
    """What a client sent under a number.

    `places` is a big-endian uint16 per entry, in the order sent: its index minus `first`, 65,535 for one that was
    refused. `refused` gives the reasons, as `chopmark_ledger.batch.encode_refusals` writes them.
    """

    __tablename__ = "batch"

    client: str = Field(primary_key=True)
    number: int = Field(sa_column=Column("number", BigInteger, primary_key=True))
    digest: bytes
    first: int = Field(sa_type=BigInteger)
    places: bytes
    refused: str = Field(default="", sa_column_kwargs={"server_default": ""})
    committed: int = Field(sa_type=BigInteger)


class Publication(LedgerModel, table=True):
    """The last checkpoint that was durably put into the public folder, with its cosignatures."""

    __tablename__ = "publication"
    __table_args__ = (CheckConstraint("id = 1", name="publication_has_one_row"),)

    id: int = Field(primary_key=True)
    size: int = Field(sa_type=BigInteger)
    root: bytes
    note: bytes
    witnessed_time: int = Field(sa_type=BigInteger)
    published: int = Field(sa_type=BigInteger)


class Landmark(LedgerModel, table=True):
    """One record of the landmark file."""

    __tablename__ = "landmark"

    position: int = Field(primary_key=True)
    start: int = Field(sa_type=BigInteger)
    end: int = Field(sa_type=BigInteger)
    hash: bytes
    checkpoint_size: int = Field(sa_type=BigInteger)
    witnessed_time: int = Field(sa_type=BigInteger)


_TABLES = LedgerModel.metadata.tables
LEDGER, ENTRY, TILE, BATCH = (_TABLES[name] for name in ("ledger", "entry", "tile", "batch"))
PUBLICATION, LANDMARK = (_TABLES[name] for name in ("publication", "landmark"))
