"""How the ledger uses PostgreSQL: the same tables in a database, or a schema of one, that is this log's alone.

One process at a time: `WriterLock` is an advisory lock that the server gives to one connection, and takes back when
that connection ends. It is asked for again before every commit; the log stops where it is lost. Whoever holds it,
`WHERE size = :old AND root = :old` guards every commit besides.

A commit is answered once the server has it on its disk: `synchronous_commit` is raised to `on` where it is less, and a
server that runs with `fsync` off is not used.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping

from chopmark.errors import StorageError
from chopmark_service import postgresql
from chopmark_service.postgresql import SERVER_KEEPALIVES, describe
from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from chopmark_ledger.errors import CommitUnknownError, FolderLockedError, LogStoppedError

__all__ = ["WriterLock", "commit_outcome", "database_url", "describe", "postgresql_engine"]

_LOCK_KEY = text("SELECT hashtextextended('chopmark log in ' || current_schema(), 0)")
_TAKE = text("SELECT pg_try_advisory_lock(:key)")
_RELEASE = text("SELECT pg_advisory_unlock_all()")
_MINE = text("""
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
    AND CAST(classid AS bigint) = :high AND CAST(objid AS bigint) = :low)""")
_HOLDER = text("""
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND CAST(classid AS bigint) = :high AND CAST(objid AS bigint) = :low""")


def database_url(source: str) -> URL:
    """Read the URL of a PostgreSQL database.

    Raises:
        StorageError: it is none. The text is not repeated: it may hold a password.
    """
    return postgresql.database_url(source, otherwise="the log keeps a SQLite file in its folder")


def postgresql_engine(url: URL, pool: Mapping[str, int]) -> Engine:
    """An engine whose connections commit durably.

    Args:
        url: the database, as `database_url` reads it.
        pool: how many connections there may be, as SQLAlchemy takes it.

    Raises:
        MissingExtraError: the driver is not installed.
        StorageError: the server cannot be reached, or does not keep what it commits.
    """
    return postgresql.durable_engine(url, used_by="chopmark log", extra="chopmark-ledger[postgresql]", **pool)


def commit_outcome(error: DBAPIError, *, in_commit: bool, where: str) -> StorageError | CommitUnknownError:
    """Tell a failure that certainly committed nothing, a `StorageError`, from one that leaves it open."""
    if in_commit:
        return CommitUnknownError(
            f"the database failed in the middle of a commit: {error.orig}",
            where=where,
            remedy="Look at the server, then open the log again: whoever was not answered sends the batch again",
        )
    return StorageError(f"the database failed: {error.orig}", where=where)


class WriterLock:
    """The right to write one log's tables, held on a connection of its own until `release`.

    Raises:
        FolderLockedError: somebody else holds it.
        StorageError: the server cannot be reached.
    """

    def __init__(self, engine: Engine, *, where: str) -> None:
        self._where = where
        self._mutex = threading.Lock()
        try:
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except DBAPIError as error:
            raise StorageError(f"the database cannot be opened: {error.orig}", where=where) from error
        try:
            self._halves = self._take(self._connection)
        except BaseException:
            self.release()
            raise

    def _take(self, connection: Connection) -> dict[str, int]:
        """Take the lock; answers the two halves under which `pg_locks` lists it."""
        for setting in (*SERVER_KEEPALIVES, "idle_session_timeout=0"):
            connection.execute(text(f"SET {setting}"))
        key = connection.scalar(_LOCK_KEY)
        if key is None:
            raise StorageError(
                "the user has no schema to work in",
                where=self._where,
                remedy="Give the log a schema of its own, as the first of the user's search_path",
            )
        halves = {"high": key >> 32 & 0xFFFFFFFF, "low": key & 0xFFFFFFFF}
        if not connection.scalar(_TAKE, {"key": key}):
            holder = connection.scalar(_HOLDER, halves)
            raise FolderLockedError(
                f"the database is in use by {holder or 'another session'}",
                where=self._where,
                remedy="A log has one writer at a time: end that process first",
            )
        return halves

    def check(self) -> None:
        """Ask the server whether the lock is still held.

        Raises:
            LogStoppedError: it is lost, or the server cannot be asked.
        """
        try:
            with self._mutex:
                held = self._connection.scalar(_MINE, self._halves)
            reason = "its connection is another one now; is there a connection pooler in between?"
        except DBAPIError as error:
            held, reason = False, str(error.orig)
        if not held:
            raise LogStoppedError(
                f"the lock on the database is lost: {reason}",
                where=self._where,
                remedy="Another process may be writing by now: look for one, then open the log again",
            )

    def release(self) -> None:
        """Give the lock back; doing so twice is harmless."""
        if not self._connection.closed:
            # whoever comes next need not wait until the server notices the end of the connection
            with contextlib.suppress(SQLAlchemyError):
                self._connection.execute(_RELEASE)
            self._connection.invalidate()  # really closed, not kept in the pool: the lock ends with it
            self._connection.close()
