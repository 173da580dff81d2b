"""SQLite: a commit is synced before it is answered, and nothing is read that may not be on the disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.errors import StorageError
from chopmark_ledger.client import Client
from chopmark_ledger.errors import CommitUnknownError, LogStoppedError
from chopmark_ledger.storage import sqlite_engine
from chopmark_ledger.storage.database import Database
from chopmark_ledger.storage.store import LedgerStore
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from tests.ledger.conftest import World

REGION = Client("region", region="CN-GD")


def test_commits_are_synced_before_they_answer(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.db")
    with database.write() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    database.close()


@pytest.fixture
def killed(world: World) -> World:
    """A log whose process ended early: entries that stand in the log of changes alone."""
    ledger = world.open()
    world.append(ledger, 1, 10)
    left = world.folder / "left"
    shutil.copytree(world.log_folder, left)
    world.close()
    shutil.rmtree(world.log_folder)
    shutil.copytree(left, world.log_folder)
    assert (world.log_folder / "ledger.db-wal").stat().st_size > 0
    return world


def test_what_an_earlier_process_left_in_the_log_of_changes_is_written_into_the_file(killed: World) -> None:
    with killed.open_log() as log:
        assert (killed.log_folder / "ledger.db-wal").stat().st_size == 0
        shutil.copy(killed.log_folder / "ledger.db", killed.folder / "alone.db")
        store = LedgerStore(killed.folder / "alone.db", create=False)
        assert store.tree().size == log.size == 11
        store.close()


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement and every sync of a file, in their order, that SQLite and we make from now on."""
    seen: list[str] = []

    def listen(connection: Any, _record: object) -> None:
        connection.set_trace_callback(seen.append)

    event.listen(Engine, "connect", listen)
    with pytest.MonkeyPatch.context() as patch:
        real = os.fsync

        def sync(descriptor: int) -> None:
            kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
            seen.append(f"sync of a {kind}")
            real(descriptor)

        patch.setattr(os, "fsync", sync)
        yield seen
    event.remove(Engine, "connect", listen)


def test_nothing_is_read_before_it_was_made_durable(killed: World, statements: list[str]) -> None:
    with killed.open_log():
        pass
    checkpoint = statements.index("PRAGMA wal_checkpoint(TRUNCATE)")
    before = statements[:checkpoint]
    assert before[:2] == ["sync of a file", "sync of a folder"]
    assert {each for each in before[2:] if not each.startswith("PRAGMA")} == set()
    first_read = next(n for n, each in enumerate(statements) if "SELECT" in each or "sqlite_master" in each)
    assert checkpoint < first_read


def test_a_database_that_somebody_reads_just_now_is_not_opened(killed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engine, "_WAIT", 0)
    path = killed.log_folder / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entry").fetchone()
        with pytest.raises(StorageError, match="another program is reading the database"):
            killed.open_log()
        reader.execute("COMMIT")
    with killed.open_log() as log:
        assert log.size == 11


def test_a_file_that_is_no_database_is_named(world: World) -> None:
    (world.log_folder / "ledger.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match=r"ledger\.db: the database cannot be opened: file is not a database"):
        world.open()


def test_a_file_that_cannot_be_synced_is_not_opened(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="cannot be made durable: Input/output error"):
        world.open()


def failure(name: str) -> OperationalError:
    """A failure as SQLite reports it."""
    original = sqlite3.OperationalError("it failed")
    original.sqlite_errorcode = getattr(sqlite3, name)
    return OperationalError("COMMIT", None, original)


@pytest.mark.parametrize(
    ("name", "in_commit", "unknown"),
    [
        ("SQLITE_FULL", False, False),
        ("SQLITE_FULL", True, False),
        ("SQLITE_BUSY", True, False),
        ("SQLITE_READONLY", False, False),
        ("SQLITE_READONLY", True, True),
        ("SQLITE_IOERR_FSYNC", True, True),
        ("SQLITE_IOERR_WRITE", True, True),
        ("SQLITE_IOERR_FSYNC", False, True),
        ("SQLITE_CORRUPT", True, True),
    ],
)
def test_a_failure_says_whether_something_may_have_been_committed(name: str, in_commit: bool, unknown: bool) -> None:
    outcome = sqlite_engine.commit_outcome(failure(name), in_commit=in_commit, where="ledger.db")
    assert type(outcome) is (CommitUnknownError if unknown else StorageError)


def test_a_full_disk_takes_nothing_and_the_log_goes_on_once_there_is_room(world: World) -> None:
    ledger = world.open()
    full: list[Any] = []

    def limit(connection: Any, *_: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages if full else 2**30}")

    event.listen(Engine, "checkout", limit)
    try:
        full.append(True)
        entries = world.entries(500)
        with pytest.raises(StorageError, match=r"full. Make room on the disk, then send the batch again"):
            ledger.submit(REGION, 1, entries)
        full.clear()
        assert sorted(ledger.submit(REGION, 1, entries)) == list(range(1, 501))
    finally:
        event.remove(Engine, "checkout", limit)


def test_a_sync_that_failed_in_a_commit_stops_the_log(world: World) -> None:
    ledger = world.open()
    entries = world.entries(5)

    def fail(connection: Connection) -> None:
        if connection.get_execution_options()["begin"] == "BEGIN IMMEDIATE":
            raise failure("SQLITE_IOERR_FSYNC")

    event.listen(Engine, "commit", fail)
    try:
        with pytest.raises(CommitUnknownError, match="in the middle of a commit"):
            ledger.submit(REGION, 1, entries)
    finally:
        event.remove(Engine, "commit", fail)
    with pytest.raises(LogStoppedError, match="in the middle of a commit"):
        ledger.submit(REGION, 1, entries)
    assert sorted(world.open().submit(REGION, 1, entries)) == [1, 2, 3, 4, 5]
