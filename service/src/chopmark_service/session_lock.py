"""A lock that one session of a PostgreSQL server at a time holds: who has it keeps out all others, on any machine.

It is an advisory lock on the schema that the tables are in. The server gives it to one connection, and takes it back
when that connection ends, however it ends.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Final

from chopmark.errors import ChopmarkError, StorageError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from chopmark_service.postgresql import SERVER_KEEPALIVES

NOT_LOCKED: Final = "55P03"
"""The SQLSTATE of who waited for a lock in vain."""
_LOCK_KEY: Final = text(
    "SELECT hashtextextended('chopmark ' || :name || ' in schema ' || oid, 0) FROM pg_namespace "
    "WHERE nspname = current_schema()"
)
_TRY: Final = text("SELECT pg_try_advisory_lock(:key)")
_WAIT: Final = text("SELECT pg_advisory_lock(:key)")
_RELEASE: Final = text("SELECT pg_advisory_unlock_all()")
_MINE: Final = text("""
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
    AND CAST(classid AS bigint) = :high AND CAST(objid AS bigint) = :low)""")
_HOLDER: Final = text("""
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND CAST(classid AS bigint) = :high AND CAST(objid AS bigint) = :low""")


def lock_key(connection: Connection, name: str) -> int:
    """The key of the advisory lock of that name on the schema of a connection, whatever path led to the schema."""
    return int(connection.execute(_LOCK_KEY, {"name": name}).scalar_one())


class SessionLock:
    """A lock, held on a connection of its own until `release`.

    Args:
        engine: as `durable_engine` makes it.
        name: what is locked.
        where: names the database in messages.
        refusal: makes the error for whoever comes second, from how the server names the session that holds it.
        patience: seconds to wait for one that is about to end.

    Raises:
        ChopmarkError: that of `refusal`.
        StorageError: the server cannot be reached.
    """

    def __init__(
        self, engine: Engine, *, name: str, where: str, refusal: Callable[[str], ChopmarkError], patience: float = 0
    ) -> None:
        self._mutex = threading.Lock()
        self._lost: str | None = None
        try:
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except DBAPIError as error:
            raise _cannot_be_opened(error, where) from error
        try:
            key = self._prepare(name)
            if not self._take(key, patience):
                raise refusal(self._connection.scalar(_HOLDER, self._halves) or "another session")
        except DBAPIError as error:
            self.release()
            raise _cannot_be_opened(error, where) from error
        except BaseException:
            self.release()
            raise

    def _prepare(self, name: str) -> int:
        for setting in (*SERVER_KEEPALIVES, "idle_session_timeout=0"):
            self._connection.execute(text(f"SET {setting}"))
        key = lock_key(self._connection, name)
        # under these `pg_locks` lists it
        self._halves = {"high": key >> 32 & 0xFFFFFFFF, "low": key & 0xFFFFFFFF}
        return key

    def _take(self, key: int, patience: float) -> bool:
        if self._connection.scalar(_TRY, {"key": key}):
            return True
        if not patience:
            return False
        self._connection.execute(text(f"SET lock_timeout = {patience * 1000:.0f}"))
        try:
            self._connection.execute(_WAIT, {"key": key})
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != NOT_LOCKED:
                raise
            return False
        return True

    def why_lost(self) -> str | None:
        """Ask the server whether the lock is still held; answers why it is not, None where it is.

        What is lost once stays so: by then another one may have had it.
        """
        with self._mutex:
            if self._lost is None:
                self._lost = self._ask()
            return self._lost

    def _ask(self) -> str | None:
        if self._connection.closed:
            return "it was given back"
        try:
            held = self._connection.scalar(_MINE, self._halves)
        except DBAPIError as error:
            return str(error.orig)
        return None if held else "its connection is another one now; is there a connection pooler in between?"

    def release(self) -> None:
        """Give the lock back; doing so twice is harmless."""
        with self._mutex:
            if self._connection.closed:
                return
            # Whoever comes next need not wait until the server notices the end of the connection. On one that is known
            # to be broken nobody would hear it, and over a dead network that takes half a minute to be told.
            if self._lost is None and not self._connection.invalidated:
                with contextlib.suppress(SQLAlchemyError):
                    self._connection.execute(_RELEASE)
            self._connection.invalidate()  # really closed, not kept in the pool: the lock ends with it
            self._connection.close()


def _cannot_be_opened(error: DBAPIError, where: str) -> StorageError:
    return StorageError(f"the database cannot be opened: {error.orig}", where=where)
