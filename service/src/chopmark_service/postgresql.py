"""How a service opens its database in PostgreSQL, whatever it keeps there: the URL, a durable engine, no leaks.

    postgresql+psycopg://user:password@host/database

A commit is answered once the server has it on its disk: `synchronous_commit` is raised to `on` where it is less, and a
server that runs with `fsync` off is not used, nor one that cannot hold every character. The password of the URL stands
in no error and no line of a log.

The data is in one schema, the first of the session's `search_path`, and each session is bound to that one: tables that
were found along the path would be others once somebody makes a schema that comes before theirs, and who locks the one
schema does not keep out who locks the other.

SQLAlchemy and the driver are the extra `chopmark-service[postgresql]`, which those that use this bring along.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from chopmark.errors import MissingExtraError, StorageError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
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
_SECRET_OPTIONS = ("password", "sslpassword")
"""Options of a URL that hold a password."""
_SCHEMAS = text("""
    SELECT current_schema() AS first, (SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname = :table AND pg_table_is_visible(pg_class.oid)) AS found""")


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
    except (ArgumentError, ValueError):  # a ValueError for a port that is no number
        url = None
    if url is None or url.drivername not in ("postgresql", _DRIVER):
        raise StorageError(
            "not the URL of a PostgreSQL database",
            where="database URL",
            remedy=f"Write {_DRIVER}://user@host/database; without a URL {otherwise}",
        )
    if "@" in (url.host or "") + (url.database or ""):
        # what follows the first one would be taken for a host or a name, and be told in messages
        raise StorageError(
            "an @ in it that does not end the password",
            where="database URL",
            remedy="Percent-encode what of user and password is no letter or digit: an @ is %40",
        )
    return url.set(drivername=_DRIVER)


def holds_password(url: URL) -> bool:
    """Whether a password stands in a URL, wherever it may."""
    return url.password is not None or any(name in url.query for name in _SECRET_OPTIONS)


def describe(url: URL) -> str:
    """Name a database in messages, without user and password."""
    told = url.host or url.query.get("host") or "this machine"
    return f"database {url.database} on {told if isinstance(told, str) else ', '.join(told)}"


def durable_engine(url: URL, *, used_by: str, extra: str, table: str, **options: Any) -> Engine:
    """An engine whose connections commit durably, at READ COMMITTED unless they are told otherwise.

    Args:
        url: the database, as `database_url` reads it.
        used_by: what the server names the sessions by, such as `chopmark log`, before process and machine.
        extra: what brings the driver, such as `chopmark-ledger[postgresql]`.
        table: one of the tables, by which the schema is known that they are in.
        options: as SQLAlchemy takes them.

    Raises:
        MissingExtraError: the driver is not installed.
        StorageError: the server cannot be reached, does not keep what it commits or not every character, or it is not
            plain which schema is meant.
    """
    # the server keeps 63 bytes of a name
    name = f"{used_by}, process {os.getpid()} on {socket.gethostname()[:24]}"
    told = {**_KEEPALIVES, "application_name": name, "client_encoding": "utf8"}
    if "target_session_attrs" not in url.query:
        told["target_session_attrs"] = "read-write"  # of several hosts, not a standby
    try:
        engine = create_engine(url, connect_args=told, isolation_level="READ COMMITTED", **options)
    except ImportError as error:
        raise MissingExtraError(
            "the driver for PostgreSQL is not installed", where=describe(url), remedy=f"Install {extra}"
        ) from error
    event.listen(engine, "connect", _on_connect)
    try:
        with engine.connect() as connection:
            _check_server(connection, describe(url))
            schema = _own_schema(connection, table, describe(url))
    except DBAPIError as error:
        raise StorageError(f"the database cannot be opened: {error.orig}", where=describe(url)) from error
    finally:
        engine.dispose()  # the connection that it was tried with is not bound to the schema

    def bind(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', quote_ident(%s), false)", (schema,))
        connection.commit()

    event.listen(engine, "connect", bind)
    return engine


def _check_server(connection: Connection, where: str) -> None:
    if connection.scalar(text("SHOW fsync")) != "on":
        raise StorageError(
            "the server runs with fsync off, so that a commit may be lost",
            where=where,
            remedy="Set fsync = on in its configuration",
        )
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise StorageError(
            f"the database holds texts as {encoding}, which has not every character",
            where=where,
            remedy="Make one WITH ENCODING 'UTF8' TEMPLATE template0",
        )


def _own_schema(connection: Connection, table: str, where: str) -> str:
    """The schema that the tables are in, or are to be made in."""
    schemas = connection.execute(_SCHEMAS, {"table": table}).one()
    if schemas.first is None:
        raise StorageError(
            "the user has no schema to work in",
            where=where,
            remedy="Give it a schema of its own, as the first of the user's search_path",
        )
    if schemas.found not in (None, schemas.first):
        raise StorageError(
            f"the tables are in the schema {schemas.found}, and the first of the search_path is {schemas.first}",
            where=where,
            remedy="Let the search_path name the one schema that is meant, at the end of the URL: "
            f"?options=-csearch_path%3D{schemas.found}",
        )
    name: str = schemas.first
    return name


def _on_connect(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        (level,) = cursor.execute("SHOW synchronous_commit").fetchone()
        if level not in _DURABLE:
            cursor.execute("SET synchronous_commit = on")
    connection.commit()
