"""The connection to the ledger's database: SQLite in WAL mode, brought to the newest schema when opened.

`synchronous=FULL` makes a commit durable before it answers. Transactions begin with `BEGIN IMMEDIATE` where they
write, so that two writers never deadlock half-way; readers see the last commit and block nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chopmark.errors import StorageError
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError

SCHEMA_REVISION = "0002"
"""The newest migration; a database that has it needs no Alembic to be opened."""


class Database:
    """One database of one log.

    Raises:
        StorageError: it cannot be opened, is no database, or comes from a newer version of this program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = _engine(path)
        try:
            self._migrate()
        except StorageError:
            self._engine.dispose()
            raise

    def _migrate(self) -> None:
        with self.read() as connection:
            known = inspect(connection).has_table("alembic_version")
            revision = connection.scalar(text("SELECT version_num FROM alembic_version")) if known else None
        if revision == SCHEMA_REVISION:
            return
        # imported here: only a new or outdated database needs it
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        config = Config()
        migrations = Path(__file__).parent / "migrations"
        config.set_main_option("script_location", str(migrations).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        with self.write() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise StorageError(
                    f"the database has the schema {revision!r}, which this version does not know",
                    where=str(self._path),
                    remedy="Open it with the version that wrote it, or a newer one",
                ) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that writes: committed durably when the block ends, undone when it raises.

        Raises:
            StorageError: the database failed; whether it committed is unknown.
        """
        with self._failing_as_storage_error(), self._engine.connect() as connection:
            connection.execution_options(begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that reads: everything it sees belongs to one commit.

        Raises:
            StorageError: the database failed.
        """
        with self._failing_as_storage_error(), self._engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _failing_as_storage_error(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StorageError(f"the database failed: {error.orig}", where=str(self._path)) from error


def _engine(path: Path) -> Engine:
    # Not a URL in text: a `?` in the path would end it.
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": 30})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        # The driver would begin transactions by itself, and only before some statements; see `_on_begin`.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine
