"""PostgreSQL: one writer at a time, for as long as it lives, and commits that the server keeps."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from chopmark.errors import StorageError
from chopmark_ledger.client import Client
from chopmark_ledger.errors import CommitUnknownError, FolderError, FolderLockedError, LogStoppedError
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.database import Database
from sqlalchemy import Connection, Engine, event, text

from tests.postgresql import PostgresqlServer, plain

if TYPE_CHECKING:
    from tests.ledger.conftest import World

REGION = Client("region", region="CN-GD")


@pytest.fixture
def backend() -> str:
    return "postgresql"


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[str]:
    """An empty database."""
    lent = postgresql.lend()
    yield lent
    postgresql.give_back(lent)


def url_of(world: World) -> str:
    assert world.database is not None
    return world.database


def end_sessions(world: World, chosen: str) -> None:
    """End sessions of the log's database, as an administrator or a network does."""
    with psycopg.connect(plain(url_of(world)), autocommit=True) as connection:
        connection.execute(
            f"SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity "
            f"WHERE datname = current_database() AND pid <> pg_backend_pid() AND {chosen}".encode()
        )


HOLDS_THE_LOCK = "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"


def test_a_second_process_is_kept_out_even_from_another_folder(world: World) -> None:
    world.open()
    elsewhere = world.folder / "elsewhere"
    shutil.copytree(world.log_folder, elsewhere)
    with pytest.raises(FolderLockedError, match=r"database test_\d+ on .* in use by chopmark log, process \d+ on"):
        Log.open(elsewhere, clock=world.clock, database=world.database)
    world.close()
    Log.open(elsewhere, clock=world.clock, database=world.database).close()


def test_logs_in_schemas_of_one_database_do_not_keep_each_other_out(url: str, tmp_path: Path) -> None:
    with psycopg.connect(plain(url)) as connection:
        for name in ("one", "two"):
            connection.execute(f"CREATE SCHEMA {name}".encode())
    databases = [Database(f"{url}&options=-csearch_path%3D{name}") for name in ("one", "two")]
    with databases[0].write() as connected:
        connected.execute(text("INSERT INTO entry VALUES (0, :data)"), {"data": b"x"})
    for database, count in zip(databases, (1, 0), strict=True):
        with database.read() as connected:
            assert connected.scalar(text("SELECT count(*) FROM entry")) == count
        database.close()


def test_a_user_without_a_schema_is_told_so(url: str) -> None:
    with pytest.raises(StorageError, match="no schema to work in"):
        Database(f"{url}&options=-csearch_path%3Dnowhere")


def test_a_path_that_comes_to_the_tables_only_after_another_schema_is_refused(url: str) -> None:
    first = Database(url)
    with psycopg.connect(plain(url)) as connection:
        connection.execute("CREATE SCHEMA other")
    try:
        with pytest.raises(StorageError, match=r"tables are in the schema public, .* is other.*search_path%3Dpublic"):
            Database(f"{url}&options=-csearch_path%3Dother,public")
        with pytest.raises(FolderLockedError):
            Database(f"{url}&options=-csearch_path%3Dpublic,other")
    finally:
        first.close()
        with psycopg.connect(plain(url)) as connection:
            connection.execute("DROP SCHEMA other")


def test_a_lock_that_is_known_to_be_lost_is_let_go_without_asking_the_server(url: str) -> None:
    database = Database(url)
    with psycopg.connect(plain(url), autocommit=True) as connection:
        ended = "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE "
        connection.execute(f"{ended}{HOLDS_THE_LOCK}".encode())
    with pytest.raises(LogStoppedError, match="the lock on the database is lost"), database.write():
        pass
    said: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        database.close()
        database.close()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert said == []


def test_a_lost_lock_stops_the_log_before_it_commits(world: World) -> None:
    ledger = world.open()
    end_sessions(world, HOLDS_THE_LOCK)
    with pytest.raises(LogStoppedError, match="the lock on the database is lost"):
        ledger.submit(REGION, 1, world.entries(1))
    with pytest.raises(LogStoppedError, match="the log stopped"):
        ledger.submit(REGION, 2, world.entries(1))
    ledger = world.open()
    assert ledger.size == 1
    world.append(ledger, 1, 3)


def test_a_connection_that_became_another_session_does_not_count_as_holding_the_lock(url: str) -> None:
    """As behind a pooler that gives every transaction another session."""

    def lose_it(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if "pg_backend_pid" in statement:
            connection.connection.driver_connection.execute("SELECT pg_advisory_unlock_all()")  # type: ignore[union-attr] # open

    database = Database(url)
    event.listen(Engine, "before_cursor_execute", lose_it)
    try:
        with pytest.raises(LogStoppedError, match="is there a connection pooler in between"), database.write():
            pass
    finally:
        event.remove(Engine, "before_cursor_execute", lose_it)
        database.close()


def test_a_server_that_was_restarted_stops_the_log_and_opening_it_again_settles_it(world: World) -> None:
    ledger = world.open()
    entries = world.entries(3)
    indexes = ledger.submit(REGION, 1, entries)
    end_sessions(world, "true")
    with pytest.raises((StorageError, LogStoppedError)):
        ledger.submit(REGION, 2, world.entries(1))
    with pytest.raises(LogStoppedError):
        ledger.submit(REGION, 2, world.entries(1))
    ledger = world.open()
    assert ledger.submit(REGION, 1, entries) == indexes


def test_a_connection_that_breaks_in_a_commit_leaves_it_open(world: World) -> None:
    ledger = world.open()
    entries = world.entries(2)

    def break_it(connection: Connection) -> None:
        if connection.get_isolation_level() == "READ COMMITTED":
            end_sessions(world, f"NOT {HOLDS_THE_LOCK}")

    event.listen(Engine, "commit", break_it)
    try:
        with pytest.raises(CommitUnknownError, match="in the middle of a commit"):
            ledger.submit(REGION, 1, entries)
    finally:
        event.remove(Engine, "commit", break_it)
    with pytest.raises(LogStoppedError):
        ledger.submit(REGION, 1, entries)
    assert sorted(world.open().submit(REGION, 1, entries)) == [1, 2]


@pytest.mark.parametrize(("configured", "used"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
def test_a_commit_waits_for_the_disk_whatever_the_server_is_set_to(url: str, configured: str, used: str) -> None:
    database = Database(f"{url}&options=-csynchronous_commit%3D{configured}")
    for transaction in (database.read, database.write):
        with transaction() as connection:
            assert connection.scalar(text("SHOW synchronous_commit")) == used
    database.close()


def test_a_server_that_does_not_sync_is_not_used(postgresql: PostgresqlServer, url: str) -> None:
    postgresql.execute("ALTER SYSTEM SET fsync = off")
    try:
        postgresql.execute("SELECT pg_reload_conf()")
        wait_until(lambda: shown(url, "fsync") == "off")
        with pytest.raises(StorageError, match="the server runs with fsync off"):
            Database(url)
    finally:
        postgresql.execute("ALTER SYSTEM RESET fsync")
        postgresql.execute("SELECT pg_reload_conf()")
        wait_until(lambda: shown(url, "fsync") == "on")
    Database(url).close()


def shown(url: str, name: str) -> str:
    with psycopg.connect(plain(url)) as connection:
        row = connection.execute(f"SHOW {name}".encode()).fetchone()
    assert row is not None
    value: str = row[0]
    return value


def wait_until(condition: Callable[[], bool]) -> None:
    """The server reads its configuration a moment after it was told to."""
    for _ in range(2000):
        if condition():
            return
    raise AssertionError("it never came to be")


@pytest.mark.parametrize(
    "source",
    ["", "nonsense", "sqlite:///ledger.db", "mysql://root:secret@host/name", "postgresql+asyncpg://u:secret@h/n"],
)
def test_what_is_no_url_of_a_postgresql_database_is_refused_and_not_repeated(source: str) -> None:
    with pytest.raises(StorageError, match="not the URL of a PostgreSQL database") as caught:
        Database(source)
    assert "secret" not in str(caught.value)


def test_a_url_without_a_driver_is_taken_too(url: str) -> None:
    Database(plain(url)).close()


def test_a_server_that_is_away_is_named_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"database name on .*: the database cannot be opened") as caught:
        Database(f"postgresql+psycopg://user:secret@/name?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_a_log_is_not_opened_from_a_database_that_has_none(url: str, world: World) -> None:
    world.close()
    with pytest.raises(FolderError, match=r"database test_\d+ on .*: there is no log"):
        Log.open(world.log_folder, clock=world.clock, database=url)


def test_the_folder_of_a_log_in_postgresql_does_not_open_without_its_url(world: World) -> None:
    with pytest.raises(FolderError, match="name the database that it is in"):
        Log.open(world.log_folder, clock=world.clock)
