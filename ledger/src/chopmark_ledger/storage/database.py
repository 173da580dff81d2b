"""The ledger's database, brought to the newest schema when opened: a SQLite file, or a PostgreSQL database.

A commit is durable before it answers; readers see one commit as a whole and block nobody. A failure says whether
something may have been committed: `StorageError` means that nothing was, `CommitUnknownError` that nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chopmark.errors import StorageError
from sqlalchemy import Connection, CursorResult, Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from chopmark_ledger.errors import FolderError
from chopmark_ledger.storage import sqlite_engine

SCHEMA_REVISION = "0002"
"""The newest migration; a database that has it needs no Alembic to be opened."""
SQLITE = "sqlite"
"""How SQLAlchemy names that of the two dialects."""
POOL = {"pool_size": 8, "max_overflow": 24, "pool_timeout": 10}
"""Connections that are kept, that may be opened beside them, and the seconds one waits for one of those."""


def run(connection: Connection, statement: str, parameters: Any) -> CursorResult[Any]:
    """Run a statement as it stands, `?` marking its parameters, on either database; a list of tuples runs it for each.

    For the hot paths, on which SQLAlchemy's compiler and its treatment of each row take longer than the database.
    """
    marked = statement if connection.dialect.name == SQLITE else statement.replace("?", "%s")
    return connection.exec_driver_sql(marked, parameters)


class Database:
    """One database of one log; `where` names it in messages.

    Args:
        source: the path of a SQLite file, or the URL of a PostgreSQL database, `postgresql+psycopg://…`. That one is
            locked for this process until `close`; the folder of a SQLite file is for the caller to lock.
        create: make the tables where there are none.

    Raises:
        FolderError: there are no tables, and none are to be made.
        StorageError: it cannot be opened, is no database, or comes from a newer version of this program.
        FolderLockedError: another process has the PostgreSQL database open.
    """

    def __init__(self, source: Path | str, *, create: bool = True) -> None:
        self._release: Callable[[], None] = lambda: None
        self._check_lock: Callable[[], None] = lambda: None
        self._outcome = sqlite_engine.commit_outcome
        self._reading: dict[str, Any]
        self._writing: dict[str, Any]
        if isinstance(source, Path):
            self.where = str(source)
            self._engine = sqlite_engine.sqlite_engine(source, POOL)
            self._reading, self._writing = {"begin": "BEGIN"}, {"begin": "BEGIN IMMEDIATE"}
        else:
            self._engine = self._open_postgresql(source)
            self._reading, self._writing = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}, {}
        try:
            self._migrate(create=create)
        except BaseException:
            self.close()
            raise

    def _open_postgresql(self, source: str) -> Engine:
        # imported here: whoever stays with SQLite needs no driver for it
        from chopmark_ledger.storage import postgresql_engine  # noqa: PLC0415

        url = postgresql_engine.database_url(source)
        self.where = postgresql_engine.describe(url)
        self._outcome = postgresql_engine.commit_outcome
        engine = postgresql_engine.postgresql_engine(url, POOL)
        try:
            lock = postgresql_engine.WriterLock(engine, where=self.where)
        except BaseException:
            engine.dispose()
            raise
        self._release, self._check_lock = lock.release, lock.check
        return engine

    def _migrate(self, *, create: bool) -> None:
        with self.read() as connection:
            known = inspect(connection).has_table("alembic_version")
            revision = connection.scalar(text("SELECT version_num FROM alembic_version")) if known else None
        if revision == SCHEMA_REVISION:
            return
        if revision is None and not create:
            raise FolderError("there is no log", where=self.where, remedy="Create one first")
        # imported here: only a new or outdated database needs it
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        config = Config()
        migrations = Path(__file__).parent / "migrations"
        config.set_main_option("script_location", str(migrations).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        with self.write() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise StorageError(
                    f"the database has the schema {revision!r}, which this version does not know",
                    where=self.where,
                    remedy="Open it with the version that wrote it, or a newer one",
                ) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that writes: committed durably when the block ends, undone when it raises.

        Raises:
            StorageError: the database failed, and nothing was committed.
            CommitUnknownError: it failed, and whether something was committed is unknown.
            LogStoppedError: the lock on the database is lost; nothing was committed.
        """
        in_commit = False
        try:
            with self._engine.connect() as connection:
                connection.execution_options(**self._writing)
                transaction = connection.begin()
                try:
                    yield connection
                    self._check_lock()
                except BaseException:
                    with suppress(DBAPIError):  # the failure that led here is the one to report
                        transaction.rollback()
                    raise
                in_commit = True
                transaction.commit()
                in_commit = False
        except DBAPIError as error:
            raise self._outcome(error, in_commit=in_commit, where=self.where) from error
        except PoolTimeoutError as error:
            raise self._exhausted() from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that reads: everything it sees belongs to one commit.

        Raises:
            StorageError: the database failed.
        """
        try:
            with self._engine.connect() as connection:
                connection.execution_options(**self._reading)
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            raise StorageError(f"the database failed: {error.orig}", where=self.where) from error
        except PoolTimeoutError as error:
            raise self._exhausted() from error

    def _exhausted(self) -> StorageError:
        return StorageError(
            "every connection to the database is in use", where=self.where, remedy="Ask again a little later"
        )

    def close(self) -> None:
        """Close every connection, and give the lock back."""
        self._release()
        self._engine.dispose()
