"""The tables, the migrations that make them, and the constant that spares Alembic, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import chopmark_ledger
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from chopmark.errors import StorageError
from chopmark_ledger.errors import FolderError
from chopmark_ledger.storage.database import SCHEMA_REVISION, Database
from chopmark_ledger.storage.models import LedgerModel
from chopmark_ledger.storage.store import LedgerStore
from sqlalchemy import create_engine, inspect, text

pytestmark = pytest.mark.both_databases


@pytest.fixture
def source(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Iterator[Path | str]:
    """Where a new database goes."""
    if backend == "sqlite":
        yield tmp_path / "ledger.db"
    else:
        server = request.getfixturevalue("postgresql")
        url: str = server.lend()
        yield url
        server.give_back(url)


@pytest.fixture
def open_database(source: Path | str) -> Iterator[Callable[[], Database]]:
    """Opens it, and closes it in the end."""
    opened: list[Database] = []

    def make() -> Database:
        for each in opened:
            each.close()
        opened.append(Database(source))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(chopmark_ledger.__file__).parent / "storage" / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def test_the_migrations_make_the_tables_of_the_models(open_database: Callable[[], Database]) -> None:
    with open_database().read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, LedgerModel.metadata) == []


def test_the_newest_migration_is_the_one_that_opening_expects() -> None:
    assert ScriptDirectory.from_config(migrations()).get_heads() == [SCHEMA_REVISION]


def test_a_log_of_the_first_version_keeps_what_it_has(source: Path | str) -> None:
    engine = create_engine(f"sqlite:///{source}" if isinstance(source, Path) else source)
    config = migrations()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text("INSERT INTO ledger VALUES (1, 'cn-gd.example/log', 7, 1, 'vkey', 5, 3, :root, 5)"), {"root": b"root"}
        )
        connection.execute(
            text("INSERT INTO batch VALUES ('registry', 9, :digest, 1, :places, 6)"),
            {"digest": b"digest", "places": b"\0\1\0\0"},
        )
    engine.dispose()
    store = LedgerStore(source, create=False)
    identity = store.identity()
    assert (identity.origin, identity.number, identity.vkey, identity.pq_vkey) == ("cn-gd.example/log", 7, "vkey", None)
    batch = store.batches([("registry", 9), ("registry", 8), ("another", 9)])
    assert list(batch) == [("registry", 9)]
    assert batch["registry", 9].refused == ""
    store.close()


def insert_entries(database: Database, entries: list[bytes], *, then: BaseException | None = None) -> None:
    """Insert entries, all of them under the index 0."""
    with database.write() as connection:
        for data in entries:
            connection.execute(text("INSERT INTO entry VALUES (0, :data)"), {"data": data})
        if then is not None:
            raise then


def test_a_block_that_raises_commits_nothing(open_database: Callable[[], Database]) -> None:
    database = open_database()
    with pytest.raises(KeyboardInterrupt):
        insert_entries(database, [b"x"], then=KeyboardInterrupt())
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM entry")) == 0


def test_a_statement_that_fails_commits_nothing_and_says_so(open_database: Callable[[], Database]) -> None:
    database = open_database()
    with pytest.raises(StorageError, match="the database failed"):
        insert_entries(database, [b"x", b"y"])
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM entry")) == 0
    with pytest.raises(StorageError), database.read() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    insert_entries(database, [b"x"])


def test_what_was_committed_is_there_when_opened_again(open_database: Callable[[], Database]) -> None:
    with open_database().write() as connection:
        connection.execute(text("INSERT INTO entry VALUES (7, :data)"), {"data": b"x"})
    with open_database().read() as connection:
        assert connection.execute(text('SELECT "index", data FROM entry')).all() == [(7, b"x")]


def test_a_reader_sees_one_commit_as_a_whole(open_database: Callable[[], Database]) -> None:
    database = open_database()
    with database.read() as reader:
        assert reader.scalar(text("SELECT count(*) FROM entry")) == 0
        insert_entries(database, [b"x"])
        assert reader.scalar(text("SELECT count(*) FROM entry")) == 0
    with database.read() as reader:
        assert reader.scalar(text("SELECT count(*) FROM entry")) == 1


def test_no_tables_are_made_where_a_log_is_only_opened(source: Path | str) -> None:
    with pytest.raises(FolderError, match="there is no log"):
        Database(source, create=False)
    engine = create_engine(f"sqlite:///{source}" if isinstance(source, Path) else source)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_when_every_connection_is_in_use_that_is_said(source: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chopmark_ledger.storage.database.POOL", {"pool_size": 2, "max_overflow": 0, "pool_timeout": 0})
    database = Database(source)
    with database.read() as first:
        first.execute(text("SELECT 1"))
        held = 2 if isinstance(source, Path) else 1  # the lock on PostgreSQL holds one
        if held == 2:
            with database.read() as second, pytest.raises(StorageError, match="in use"), database.read():
                second.execute(text("SELECT 1"))
        else:
            with pytest.raises(StorageError, match="in use"), database.write():
                pass
    database.close()
