"""The registry's database: opened, migrated, and used in transactions of two kinds.

A SQLite file, or a PostgreSQL database; only opening tells them apart (`opened_engine`). What a transaction answered is
on disk. `writing` has the database to itself until it ends, so that what it reads is still true when it writes;
`reading` sees one state throughout, and neither waits for a writer nor holds one up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from chopmark_issuer.errors import DatabaseError, NotFoundError
from chopmark_issuer.storage.models import OUTBOX
from chopmark_issuer.storage.opened_engine import WRITES, OpenedEngine, ServiceHold
from chopmark_issuer.storage.sqlite_engine import open_sqlite

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """An open database of the newest schema; `where` names it in messages."""

    def __init__(self, opened: OpenedEngine) -> None:
        self._opened = opened
        self.where = opened.where

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database.

        Raises:
            DatabaseError: the database cannot be used.
        """
        try:
            with self._opened.engine.connect() as connection:
                connection.execution_options(**self._opened.reading)
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            raise self._opened.failure(error, False) from error
        except PoolTimeoutError as error:
            raise self._exhausted() from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed as a whole, or not at all where the block raises.

        Raises:
            DatabaseError: the database cannot be used, or another writer held it for a minute.
        """
        in_commit = False
        try:
            with self._opened.turn(), self._opened.engine.connect() as connection:
                connection.execution_options(**{WRITES: True})
                with connection.begin():
                    yield connection
                    in_commit = True
        except DBAPIError as error:
            raise self._opened.failure(error, in_commit) from error
        except PoolTimeoutError as error:
            raise self._exhausted() from error

    def joined(self, connection: Connection) -> Database:
        """The same database within a transaction that is open already: what is written there is committed with it."""
        return _Joined(self._opened, connection)

    def hold_for_service(self) -> ServiceHold | None:
        """Take the right to run the service of this registry, in whatever folder; None for a file, whose folder is
        locked.

        Raises:
            ConflictError: somebody else has it.
            DatabaseError: the database cannot be used.
        """
        return self._opened.hold()

    def advice(self) -> str | None:
        """What the operator of the database should set otherwise, if anything.

        Raises:
            DatabaseError: the database cannot be used.
        """
        try:
            return self._opened.advice()
        except DBAPIError as error:
            raise self._opened.failure(error, False) from error

    def _exhausted(self) -> DatabaseError:
        return DatabaseError(
            "every connection to the database is in use", where=self.where, remedy="Ask again a little later"
        )

    def close(self) -> None:
        """Close every connection."""
        self._opened.engine.dispose()


class _Joined(Database):
    """A database as one sees it from within a writing transaction."""

    def __init__(self, opened: OpenedEngine, connection: Connection) -> None:
        super().__init__(opened)
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


def open_database(source: Path | str, *, create: bool = True) -> Database:
    """Open the registry's database, made or migrated to the newest schema where needed.

    Args:
        source: the path of a SQLite file, or the URL of a PostgreSQL database, `postgresql+psycopg://…`.
        create: make the tables where there are none.

    Raises:
        NotFoundError: there are no tables, and none are to be made.
        MissingExtraError: the driver for PostgreSQL is not installed.
        DatabaseError: it cannot be opened, is no database of ours, or comes from a newer version of Chopmark.
    """
    if isinstance(source, Path):
        if not create and not source.is_file():
            raise _no_registry(str(source))
        opened = open_sqlite(source)
    else:
        # imported here: whoever stays with SQLite needs no driver for it
        from chopmark_issuer.storage.postgresql_engine import open_postgresql  # noqa: PLC0415

        opened = open_postgresql(source)
    try:
        _upgrade(opened, create=create)
    except DBAPIError as error:
        opened.engine.dispose()
        raise DatabaseError(f"the database cannot be opened: {error.orig}", where=opened.where) from error
    except BaseException:
        opened.engine.dispose()
        raise
    return Database(opened)


def alembic_config() -> Config:
    """The Alembic configuration of the registry's migrations."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(opened: OpenedEngine, *, create: bool) -> None:
    config = alembic_config()
    scripts = ScriptDirectory.from_config(config)
    with opened.engine.connect() as connection, connection.begin():
        current = MigrationContext.configure(connection).get_current_revision()
        ours = current is None or inspect(connection).has_table(OUTBOX.name)
    if not ours:
        raise DatabaseError(
            "the tables of another program are in it",
            where=opened.where,
            remedy="Give the registry a database, or a schema, of its own",
        )
    if current == scripts.get_current_head():
        return
    if current is None and not create:
        raise _no_registry(opened.where)
    if current is not None:
        try:
            scripts.get_revision(current)
        except CommandError:
            raise DatabaseError(
                f"the database is of schema {current}, which this version does not know",
                where=opened.where,
                remedy="Use the newer version of Chopmark that wrote it",
            ) from None
    with opened.turn(), opened.engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _no_registry(where: str) -> NotFoundError:
    return NotFoundError("there is no region", where=where, remedy="Make one: chopmark issuer init DATA")
