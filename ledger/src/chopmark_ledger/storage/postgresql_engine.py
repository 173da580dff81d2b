"""How the ledger uses PostgreSQL: the same tables in a database, or a schema of one, that is this log's alone.

One process at a time: `WriterLock` is an advisory lock that the server gives to one connection, and takes back when
that connection ends. It is asked for again before every commit; the log stops where it is lost. Whoever holds it,
`WHERE size = :old AND root = :old` guards every commit besides.

A commit is answered once the server has it on its disk: `synchronous_commit` is raised to `on` where it is less, and a
server that runs with `fsync` off is not used.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

from chopmark.errors import MissingExtraError, StorageError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from chopmark_ledger.errors import CommitUnknownError, FolderLockedError, LogStoppedError

_DRIVER = "postgresql+psycopg"
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "connect_timeout": 10,
}
"""Seconds (`tcp_user_timeout`: milliseconds) after which a dead network is noticed on our side."""
_SERVER_SETTINGS = ("tcp_keepalives_idle=15", "tcp_keepalives_interval=5", "tcp_keepalives_count=3")
"""The same on the server's: it gives the lock away half a minute after this machine has died."""
_DURABLE = ("on", "remote_apply")
_LOCK_KEY = text("SELECT hashtextextended('chopmark log in ' || current_schema(), 0)")
_TAKE = text("SELECT pg_try_advisory_lock(:key)")
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
    try:
        url = make_url(source)
    except ArgumentError:
        url = None
    if url is None or url.drivername not in ("postgresql", _DRIVER):
        raise StorageError(
            "not the URL of a PostgreSQL database",
            where="database URL",
            remedy=f"Write {_DRIVER}://user@host/database; without a URL the log keeps a SQLite file in its folder",
        )
    return url.set(drivername=_DRIVER)


def describe(url: URL) -> str:
    """Name a database in messages, without user and password."""
    host = url.host or url.query.get("host") or "this machine"
    return f"database {url.database} on {host}"


def postgresql_engine(url: URL, pool: Mapping[str, int]) -> Engine:
    """An engine whose connections commit durably.

    Args:
        url: the database, as `database_url` reads it.
        pool: how many connections there may be, as SQLAlchemy takes it.

    Raises:
        MissingExtraError: the driver is not installed.
        StorageError: the server cannot be reached, or does not keep what it commits.
    """
    try:
        engine = create_engine(
            url,
            connect_args={**_KEEPALIVES, "application_name": _application_name()},
            isolation_level="READ COMMITTED",
            **pool,
        )
    except ImportError as error:
        raise MissingExtraError(
            "the driver for PostgreSQL is not installed",
            where=describe(url),
            remedy="Install chopmark-ledger[postgresql]",
        ) from error
    event.listen(engine, "connect", _on_connect)
    try:
        with engine.connect() as connection:
            unsafe = connection.scalar(text("SHOW fsync")) != "on"
    except DBAPIError as error:
        engine.dispose()
        raise StorageError(f"the database cannot be opened: {error.orig}", where=describe(url)) from error
    if unsafe:
        engine.dispose()
        raise StorageError(
            "the server runs with fsync off, so that a commit may be lost",
            where=describe(url),
            remedy="Set fsync = on in its configuration",
        )
    return engine


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
        for setting in (*_SERVER_SETTINGS, "idle_session_timeout=0"):
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
            self._connection.invalidate()  # really closed, not kept in the pool: the lock ends with it
            self._connection.close()


def _application_name() -> str:
    """Named to whoever comes second; the server keeps 63 bytes of it."""
    return f"chopmark log, process {os.getpid()} on {socket.gethostname()[:24]}"


def _on_connect(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        (level,) = cursor.execute("SHOW synchronous_commit").fetchone()
        if level not in _DURABLE:
            cursor.execute("SET synchronous_commit = on")
    connection.commit()
