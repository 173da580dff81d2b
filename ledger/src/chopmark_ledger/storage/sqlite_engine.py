"""How the ledger uses SQLite: one file in WAL mode, every commit synced before it is answered.

What an earlier process left may stand in the kernel's page cache alone: after a failed fsync the cache still shows what
the disk never got, and a file that was copied into place may not have been synced at all. So nothing is read, let
alone answered, before it has been made durable anew: `make_durable` syncs the file, has SQLite write the whole log of
changes into it once more, sync that, and cut the log to nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chopmark.errors import StorageError
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from chopmark_ledger import durable
from chopmark_ledger.errors import CommitUnknownError

_PRIMARY = 0xFF
"""The part of an extended result code that names the kind of failure."""
_WAIT = 30
"""Seconds to wait for somebody else's transaction, as that of a backup program."""


def sqlite_engine(path: Path, pool: Mapping[str, int]) -> Engine:
    """An engine for the file, which is made if it is not there, in WAL mode and durable.

    Args:
        path: the file.
        pool: how many connections there may be, as SQLAlchemy takes it.

    Raises:
        StorageError: the file is no database, is read by another program just now, or cannot be synced.
    """
    _sync_file(path)
    # Not a URL in text: a `?` in the path would end it.
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": _WAIT}, **pool)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    try:
        make_durable(engine, where=str(path))
    except DBAPIError as error:
        engine.dispose()
        raise StorageError(f"the database cannot be opened: {error.orig}", where=str(path)) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def make_durable(engine: Engine, *, where: str) -> None:
    """Write all that the log of changes holds into the file, sync it, and cut the log to nothing.

    Raises:
        StorageError: another program holds the database open in the middle of reading or writing.
        DBAPIError: the disk failed.
    """
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        try:
            busy, frames, copied = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise StorageError(
                f"the database cannot be made durable: {error}",
                where=where,
                remedy="Check the disk: what the database shows may not be on it",
            ) from error
    if busy or frames != copied:
        raise StorageError(
            "another program is reading the database",
            where=where,
            remedy="End it, then open the log again: before that, nothing in it can be made durable",
        )


def commit_outcome(error: DBAPIError, *, in_commit: bool, where: str) -> StorageError | CommitUnknownError:
    """Tell a failure that certainly committed nothing, a `StorageError`, from one that leaves it open.

    A full disk and a busy file fail before SQLite has written what would make the transaction count. After any other
    failure of a commit, and after every failure of the disk itself, the transaction may be there or not.
    """
    code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY
    if code == sqlite3.SQLITE_IOERR or (in_commit and code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)):
        return CommitUnknownError(
            f"the database failed in the middle of a commit: {error.orig}",
            where=where,
            remedy="Check the disk, then open the log again: whoever was not answered sends the batch again",
        )
    remedy = "Make room on the disk, then send the batch again" if code == sqlite3.SQLITE_FULL else ""
    return StorageError(f"the database failed: {error.orig}", where=where, remedy=remedy)


def _sync_file(path: Path) -> None:
    """Sync a file that somebody may have copied into place; before SQLite opens it, whose locks this would drop."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"the database cannot be made durable: {error.strerror}", where=str(path)) from error
    durable.sync_folder(path.parent)


def _on_connect(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and only before some statements; see `_on_begin`.
    connection.isolation_level = None
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the file system does not support write-ahead logging, it stays with {mode}")
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
