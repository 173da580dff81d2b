"""How the ledger uses PostgreSQL: the same tables in a database, or a schema of one, that is this log's alone.

One process at a time: `WriterLock` is an advisory lock on the schema of its tables, which the server gives to one
connection, and takes back when that connection ends. It is asked for again before every commit; the log stops where it
is lost. Whoever holds it, `WHERE size = :old AND root = :old` guards every commit besides.

A commit is answered once the server has it on its disk: `synchronous_commit` is raised to `on` where it is less, and a
server that runs with `fsync` off is not used.
"""

from __future__ import annotations

from collections.abc import Mapping

from chopmark.errors import StorageError
from chopmark_service import postgresql
from chopmark_service.postgresql import describe
from chopmark_service.session_lock import SessionLock
from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError

from chopmark_ledger.errors import CommitUnknownError, FolderLockedError, LogStoppedError
from chopmark_ledger.storage.models import LEDGER

__all__ = ["WriterLock", "commit_outcome", "database_url", "describe", "postgresql_engine"]


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
    return postgresql.durable_engine(
        url, used_by="chopmark log", extra="chopmark-ledger[postgresql]", table=LEDGER.name, **pool
    )


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

        def refusal(holder: str) -> FolderLockedError:
            return FolderLockedError(
                f"the database is in use by {holder}",
                where=where,
                remedy="A log has one writer at a time: end that process first",
            )

        self._lock = SessionLock(engine, name="log", where=where, refusal=refusal)

    def check(self) -> None:
        """Ask the server whether the lock is still held.

        Raises:
            LogStoppedError: it is lost, or the server cannot be asked.
        """
        reason = self._lock.why_lost()
        if reason is not None:
            raise LogStoppedError(
                f"the lock on the database is lost: {reason}",
                where=self._where,
                remedy="Another process may be writing by now: look for one, then open the log again",
            )

    def release(self) -> None:
        """Give the lock back; doing so twice is harmless."""
        self._lock.release()
