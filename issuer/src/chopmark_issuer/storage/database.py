"""The registry's database: opened, migrated, and used in transactions of two kinds.

SQLite in WAL mode with `synchronous=FULL`: what a transaction answered is on disk. `writing` takes the write lock at
once (`BEGIN IMMEDIATE`), so that what it reads is still true when it writes, and writers take turns
(`chopmark_issuer.storage.writer_turns`); `reading` sees one state throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from chopmark_issuer.errors import DatabaseError
from chopmark_issuer.storage.writer_turns import WriterTurns

_BUSY_SECONDS = 60
"""How long a transaction waits for another writer: an import commits every few hundred milliseconds."""
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    # Digests and status indexes are random, so each licence writes pages of its own. With 32 MiB of them in memory,
    # and a WAL of as much, those above are written once for many licences: a fifth of the time of a bulk issue.
    "cache_size=-32768",
    "wal_autocheckpoint=8192",
)
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """An open database of the newest schema."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._turns = WriterTurns(path, patience=_BUSY_SECONDS)
        self.path = path

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database.

        Raises:
            DatabaseError: the database cannot be used.
        """
        with self._translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed as a whole, or not at all where the block raises.

        Raises:
            DatabaseError: the database cannot be used, or another writer held it for a minute.
        """
        with self._translated(), self._turns.taken(), self._engine.connect() as opened:
            connection = opened.execution_options(chopmark_writes=True)
            with connection.begin():
                yield connection

    def joined(self, connection: Connection) -> Database:
        """The same database within a transaction that is open already: what is written there is committed with it."""
        return _Joined(self.path, connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise DatabaseError(f"the database cannot be used: {error.orig}", where=str(self.path)) from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


class _Joined(Database):
    """A database as one sees it from within a writing transaction."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self._connection = connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The open transaction."""
        yield self._connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A part of the open transaction, taken back alone where the block raises."""
        with self._connection.begin_nested():
            yield self._connection

    def close(self) -> None:
        """Nothing: the transaction is its owner's."""


def open_database(path: Path) -> Database:
    """Open the registry's database, made or migrated to the newest schema where needed.

    Raises:
        DatabaseError: it cannot be opened, is no database of ours, or comes from a newer version of Chopmark.
    """
    try:
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"the database cannot be made: {error.strerror}", where=str(path)) from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_SECONDS},
        hide_parameters=True,  # they hold personal data, which belongs into no traceback
    )
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    try:
        _upgrade(engine, path)
    except DBAPIError as error:
        engine.dispose()
        raise DatabaseError(f"the database cannot be opened: {error.orig}", where=str(path)) from error
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, path)


def alembic_config() -> Config:
    """The Alembic configuration of the registry's migrations."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(engine: Engine, path: Path) -> None:
    config = alembic_config()
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection, connection.begin():
        current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is not None:
        try:
            scripts.get_revision(current)
        except CommandError:
            raise DatabaseError(
                f"the database is of schema {current}, which this version does not know",
                where=str(path),
                remedy="Use the newer version of Chopmark that wrote it",
            ) from None
    with engine.connect().execution_options(chopmark_writes=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _prepare_connection(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin, not by the driver
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("chopmark_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
