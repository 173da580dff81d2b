"""How the registry uses PostgreSQL: the same tables in a database, or a schema of one, that is this registry's alone.

A transaction that writes begins by taking an advisory lock, which the server gives to one after the other in the order
they ask, and takes back when the transaction ends, however it ends. It runs at READ COMMITTED, where each statement
sees what was committed before it: all that it reads after the lock is the newest, and stays so until it ends, as all
that write take the lock. One that reads runs at REPEATABLE READ, and sees one state throughout.

One service at a time: `PostgresqlHold` is a lock of a session, and keeps out a second one that runs in a copy of the
folder. Commands go on beside it.

The server tells, with an error, values of the row that it concerns, even in its first line. Those are holders' data:
nothing of an error is kept but its code, and the names of table, column and constraint.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any, Final

from chopmark.errors import StorageError
from chopmark_service.postgresql import SERVER_KEEPALIVES, database_url, describe, durable_engine
from chopmark_service.session_lock import NOT_LOCKED, SessionLock, lock_key
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from chopmark_issuer.errors import ConflictError, DatabaseError
from chopmark_issuer.storage.models import OUTBOX
from chopmark_issuer.storage.opened_engine import PATIENCE, WRITES, OpenedEngine, too_long_written

_READING: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_IDLE: Final = 300
"""Seconds that a transaction may stand still before its session is ended: whoever was stopped in one that writes would
hold up all others for as long."""
_SESSION: Final = "; ".join(
    f"SET {each}"
    for each in (
        *SERVER_KEEPALIVES,
        f"lock_timeout = '{PATIENCE}s'",
        f"idle_in_transaction_session_timeout = '{_IDLE}s'",
    )
)
"""What every session is told: whoever writes and is cut off holds up all others until the server notices."""
_ENDING: Final = 5.0
"""Seconds to wait for another service: the server notices a moment later that a process was killed."""
_NO_STATEMENTS: Final = ("log", "fatal", "panic")
"""Settings of `log_min_error_statement` by which a failed statement is not logged."""
_NAMES: Final = ("table", "column", "constraint")
"""What of the row it concerns an error is repeated with."""


def open_postgresql(source: str) -> OpenedEngine:
    """An engine for the database at a URL, `postgresql+psycopg://…`.

    Raises:
        MissingExtraError: the driver is not installed.
        DatabaseError: it is no such URL, the server cannot be reached, does not keep what it commits or not every
            character, or it is not plain which schema is meant.
    """
    try:
        url = database_url(source, otherwise="the registry is a SQLite file in its folder")
        engine = durable_engine(
            url,
            used_by="chopmark issuer",
            extra="chopmark-issuer[postgresql]",
            table=OUTBOX.name,
            pool_pre_ping=True,  # a server that was restarted fails nobody's next transaction
            hide_parameters=True,
        )
    except StorageError as error:
        raise DatabaseError(error.what, where=error.where, remedy=error.remedy) from error
    where = describe(url)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "handle_error", _forget_details)
    try:
        _take_turns(engine, where)
    except BaseException:
        engine.dispose()
        raise

    def failure(error: DBAPIError, in_commit: bool) -> DatabaseError:
        if getattr(error.orig, "sqlstate", None) == NOT_LOCKED:
            return too_long_written(where)
        if in_commit:
            return DatabaseError(
                f"the database failed in the middle of a commit: {error.orig}",
                where=where,
                remedy="Look whether it was done before you do it again",
            )
        return DatabaseError(f"the database cannot be used: {error.orig}", where=where)

    return OpenedEngine(
        engine, where, _READING, nullcontext, failure, lambda: PostgresqlHold(engine, where), lambda: _advice(engine)
    )


class PostgresqlHold:
    """The right to run the service of a registry, wherever its folder or a copy of it is.

    A server that was restarted has forgotten it: `keep` takes it again.

    Raises:
        ConflictError: another service has it.
        DatabaseError: the server cannot be reached.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._where = where
        self._mutex = threading.Lock()
        self._lock = self._take(_ENDING)

    def keep(self) -> None:
        """See that it is still held, and take it again where the server has forgotten it.

        Raises:
            ConflictError, DatabaseError: as at the beginning.
        """
        with self._mutex:
            if self._lock.why_lost() is not None:
                self._lock.release()
                self._lock = self._take(0)

    def release(self) -> None:
        """Give it back; doing so twice is harmless."""
        with self._mutex:
            self._lock.release()

    def _take(self, patience: float) -> SessionLock:
        def refusal(holder: str) -> ConflictError:
            return ConflictError(
                f"a service runs on this registry already, {holder}",
                where=self._where,
                remedy="End that process first",
            )

        try:
            return SessionLock(
                self._engine, name="registry service", where=self._where, refusal=refusal, patience=patience
            )
        except StorageError as error:
            raise DatabaseError(error.what, where=error.where, remedy=error.remedy) from error


def _advice(engine: Engine) -> str | None:
    """The server's own log tells values of rows too, and only its administrator can change that."""
    with engine.connect() as connection:
        verbosity = connection.exec_driver_sql("SHOW log_error_verbosity").scalar_one()
        least = connection.exec_driver_sql("SHOW log_min_error_statement").scalar_one()
    if verbosity == "terse" and least in _NO_STATEMENTS:
        return None
    return (
        "the server repeats values of rows in its own log, which are holders' data: let its administrator "
        "ALTER DATABASE … SET log_error_verbosity = terse, and log_min_error_statement = panic"
    )


def _take_turns(engine: Engine, where: str) -> None:
    """Let transactions that write take the lock of this schema."""
    try:
        with engine.connect() as connection:
            key = lock_key(connection, "registry")
    except DBAPIError as error:
        raise DatabaseError(f"the database cannot be opened: {error.orig}", where=where) from error
    take = f"SELECT pg_advisory_xact_lock({key:d})"

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITES, False):
            connection.exec_driver_sql(take)

    event.listen(engine, "begin", begin)


def _prepare_connection(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SESSION)
    connection.commit()


def _forget_details(context: ExceptionContext) -> None:
    """Leave of an error only what names no value: all that is shown of it later is made from these."""
    error = context.original_exception
    code = getattr(error, "sqlstate", None)
    if code is None:
        return  # not of the server: the connection, which knows no row
    kind = type(error).__name__
    diagnosis = getattr(error, "diag", None)
    names = ((each, getattr(diagnosis, f"{each}_name", None)) for each in _NAMES)
    told = ", ".join((f"{kind}, SQLSTATE {code}", *(f"{each} {name}" for each, name in names if name)))
    error.args = (told,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({kind}) {told}",)
