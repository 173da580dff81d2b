"""How the registry uses SQLite: one file in WAL mode with `synchronous=FULL`: what a transaction answered is on disk.

A transaction that writes takes the write lock at once (`BEGIN IMMEDIATE`), so that what it reads is still true when it
writes; writers take turns (`chopmark_issuer.storage.writer_turns`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from chopmark_issuer.errors import DatabaseError
from chopmark_issuer.storage.opened_engine import PATIENCE, WRITES, OpenedEngine
from chopmark_issuer.storage.writer_turns import WriterTurns

_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    # Digests and status indexes are random, so each licence writes pages of its own. With 32 MiB of them in memory,
    # and a WAL of as much, those above are written once for many licences: a fifth of the time of a bulk issue.
    "cache_size=-32768",
    "wal_autocheckpoint=8192",
)


def open_sqlite(path: Path) -> OpenedEngine:
    """An engine for the file, which is made, for its owner alone, where it is not there.

    Raises:
        DatabaseError: it cannot be made.
    """
    where = str(path)
    try:
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"the database cannot be made: {error.strerror}", where=where) from error
    engine = create_engine(
        URL.create("sqlite", database=where),
        connect_args={"timeout": PATIENCE},
        hide_parameters=True,  # they hold personal data, which belongs into no traceback
    )
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)

    def failure(error: DBAPIError, _in_commit: bool) -> DatabaseError:
        return DatabaseError(f"the database cannot be used: {error.orig}", where=where)

    return OpenedEngine(engine, where, {}, WriterTurns(path, patience=PATIENCE).taken, failure)


def _prepare_connection(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin, not by the driver
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
