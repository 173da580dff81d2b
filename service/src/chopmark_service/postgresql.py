"""How a service opens its database in PostgreSQL, whatever it keeps there: the URL, a durable engine, no leaks.

    postgresql+psycopg://user:password@host/database

A commit is answered once the server has it on its disk: `synchronous_commit` is raised to `on` where it is less, and a
server that runs with `fsync` off is not used. The password of the URL stands in no error and no line of a log.

SQLAlchemy and the driver are the extra `chopmark-service[postgresql]`, which those that use this bring along.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from chopmark.errors import MissingExtraError, StorageError
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

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
SERVER_KEEPALIVES = ("tcp_keepalives_idle=15", "tcp_keepalives_interval=5", "tcp_keepalives_count=3")
"""Settings of a session by which the server notices the same, and gives away what that session had locked."""
_DURABLE = ("on", "remote_apply")


def database_url(source: str, *, otherwise: str) -> URL:
    """Read the URL of a PostgreSQL database.

    Args:
        source: the text.
        otherwise: where the data is kept without a URL, for whoever gave something else.

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
            remedy=f"Write {_DRIVER}://user@host/database; without a URL {otherwise}",
        )
    return url.set(drivername=_DRIVER)


def describe(url: URL) -> str:
    """Name a database in messages, without user and password."""
    host = url.host or url.query.get("host") or "this machine"
    return f"database {url.database} on {host}"


def durable_engine(url: URL, *, used_by: str, extra: str, **options: Any) -> Engine:
    """An engine whose connections commit durably, at READ COMMITTED unless they are told otherwise.

    Args:
        url: the database, as `database_url` reads it.
        used_by: what the server names the sessions by, such as `chopmark log`, before process and machine.
        extra: what brings the driver, such as `chopmark-ledger[postgresql]`.
        options: as SQLAlchemy takes them.

    Raises:
        MissingExtraError: the driver is not installed.
        StorageError: the server cannot be reached, or does not keep what it commits.
    """
    # the server keeps 63 bytes of a name
    name = f"{used_by}, process {os.getpid()} on {socket.gethostname()[:24]}"
    try:
        engine = create_engine(
            url,
            connect_args={**_KEEPALIVES, "application_name": name},
            isolation_level="READ COMMITTED",
            **options,
        )
    except ImportError as error:
        raise MissingExtraError(
            "the driver for PostgreSQL is not installed", where=describe(url), remedy=f"Install {extra}"
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


def _on_connect(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        (level,) = cursor.execute("SHOW synchronous_commit").fetchone()
        if level not in _DURABLE:
            cursor.execute("SET synchronous_commit = on")
    connection.commit()
