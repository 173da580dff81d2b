"""How the registry uses PostgreSQL: the same tables in a database, or a schema of one, that is this registry's alone.

A transaction that writes begins by taking an advisory lock, which the server gives to one after the other in the order
they ask, and takes back when the transaction ends, however it ends. It runs at READ COMMITTED, where each statement
sees what was committed before it: all that it reads after the lock is the newest, and stays so until it ends, as all
that write take the lock. One that reads runs at REPEATABLE READ, and sees one state throughout.

The server tells, with an error, the values of the row that it concerns. Those are holders' data: nothing of an error is
kept but its first line, which names tables and constraints.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

from chopmark.errors import StorageError
from chopmark_service.postgresql import SERVER_KEEPALIVES, database_url, describe, durable_engine
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from chopmark_issuer.errors import DatabaseError
from chopmark_issuer.storage.opened_engine import PATIENCE, WRITES, OpenedEngine, too_long_written

_READING: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_SESSION: Final = "; ".join(f"SET {each}" for each in (*SERVER_KEEPALIVES, f"lock_timeout = '{PATIENCE}s'"))
"""What every session is told: whoever writes and is cut off holds up all others until the server notices."""
_LOCK_KEY: Final = text("SELECT hashtextextended('chopmark registry in ' || current_schema(), 0)")
_NOT_LOCKED: Final = "55P03"


def open_postgresql(source: str) -> OpenedEngine:
    """An engine for the database at a URL, `postgresql+psycopg://…`.

    Raises:
        MissingExtraError: the driver is not installed.
        DatabaseError: it is no such URL, the server cannot be reached, does not keep what it commits, or gives the user
            no schema.
    """
    try:
        url = database_url(source, otherwise="the registry is a SQLite file in its folder")
        engine = durable_engine(
            url,
            used_by="chopmark issuer",
            extra="chopmark-issuer[postgresql]",
            pool_pre_ping=True,  # a server that was restarted fails nobody's next transaction
            hide_parameters=True,
        )
    except StorageError as error:
        raise DatabaseError(error.what, where=error.where, remedy=error.remedy) from error
    where = describe(url)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "handle_error", _forget_details)
    engine.dispose()  # the connection that it was tried with does not know this yet
    try:
        _take_turns(engine, where)
    except BaseException:
        engine.dispose()
        raise

    def failure(error: DBAPIError, in_commit: bool) -> DatabaseError:
        if getattr(error.orig, "sqlstate", None) == _NOT_LOCKED:
            return too_long_written(where)
        if in_commit:
            return DatabaseError(
                f"the database failed in the middle of a commit: {error.orig}",
                where=where,
                remedy="Look whether it was done before you do it again",
            )
        return DatabaseError(f"the database cannot be used: {error.orig}", where=where)

    return OpenedEngine(engine, where, _READING, nullcontext, failure)


def _take_turns(engine: Engine, where: str) -> None:
    """Let transactions that write take the lock of this database and schema."""
    try:
        with engine.connect() as connection:
            key = connection.scalar(_LOCK_KEY)
    except DBAPIError as error:
        raise DatabaseError(f"the database cannot be opened: {error.orig}", where=where) from error
    if key is None:
        raise DatabaseError(
            "the user has no schema to work in",
            where=where,
            remedy="Give the registry a schema of its own, as the first of the user's search_path",
        )
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
    first = getattr(getattr(context.original_exception, "diag", None), "message_primary", None)
    if first is not None:
        context.original_exception.args = (first,)
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.args = (f"({type(context.original_exception).__name__}) {first}",)
