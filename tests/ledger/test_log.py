"""What a log takes, what it refuses, and what it will not open."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark.entries import (
    CredentialEntry,
    GenesisEntry,
    LandmarkFileEntry,
    StatusListEntry,
    TrustBundleEntry,
    TrustStatementEntry,
    parse_entry,
)
from chopmark.errors import FormatError, StorageError
from chopmark.keys import Ed25519Signer
from chopmark_ledger.batch import BatchAnswer
from chopmark_ledger.client import Client, LogSettings, create_ledger
from chopmark_ledger.errors import (
    BackpressureError,
    BatchRefusedError,
    ConflictError,
    FolderError,
    FolderLockedError,
    LedgerDamagedError,
    LogStoppedError,
)
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.database import Database
from sqlalchemy import Connection

if TYPE_CHECKING:
    from tests.ledger.conftest import World

ISSUER = "CN-GD/11440000MB2D0P8Q3X"
DIGEST = sha256(b"anything").digest()
REGISTRY = Client("registry", frozenset({ISSUER}))
REGION = Client("region", region="CN-SH")

pytestmark = pytest.mark.both_databases


def test_a_new_log_holds_its_genesis_entry_and_nothing_else(world: World) -> None:
    ledger = world.open()
    assert ledger.size == 1
    assert [parse_entry(entry) for entry in ledger.entries(0, 1)] == [GenesisEntry(ledger.origin, 1, world.clock.now)]
    assert ledger.checkpoint() is None
    assert world.check() == 0


def test_appended_entries_stand_at_the_indexes_answered(world: World) -> None:
    ledger = world.open()
    entries = world.entries(300)
    indexes = world.submit(ledger, 1, entries)
    assert sorted(indexes) == list(range(1, 301))
    stored = ledger.entries(0, 301)
    assert [stored[index] for index in indexes] == entries
    ledger.publish()
    assert world.check() == 301


def test_a_batch_is_shuffled(world: World) -> None:
    ledger = world.open()
    indexes = world.append(ledger, 1, 200)
    assert indexes != sorted(indexes)


def test_the_same_batch_sent_again_gets_the_same_indexes(world: World) -> None:
    ledger = world.open()
    entries = world.entries(50)
    indexes = world.submit(ledger, 7, entries)
    world.append(ledger, 8, 20)
    assert world.submit(ledger, 7, entries) == indexes
    assert world.submit(world.open(), 7, entries) == indexes
    assert world.open().size == 71


def test_another_body_under_a_number_is_a_conflict(world: World) -> None:
    ledger = world.open()
    entries = world.entries(3)
    world.submit(ledger, 7, entries)
    for other in (entries[:2], entries[::-1], [*entries, *world.entries(1)]):
        with pytest.raises(ConflictError, match="batch 7"):
            ledger.submit(Client("region", region="CN-GD"), 7, other)
    assert ledger.size == 4


def test_batch_numbers_are_counted_for_each_client(world: World) -> None:
    ledger = world.open()
    first = ledger.submit(REGISTRY, 7, world.entries(2))
    second = ledger.submit(Client("another", frozenset({ISSUER})), 7, world.entries(2))
    assert not set(first) & set(second)


@pytest.mark.parametrize(
    ("entry", "client", "reason"),
    [
        (CredentialEntry("CN-SH/1", DIGEST), REGISTRY, "may not add entries of CN-SH/1"),
        (StatusListEntry("CN-SH/1", "https://x.example/1", DIGEST, 1), REGISTRY, "may not add entries of CN-SH/1"),
        (CredentialEntry(ISSUER, DIGEST), REGION, "may not add entries of"),
        (TrustStatementEntry(b"note"), REGISTRY, "does not speak for the region"),
        (TrustBundleEntry("CN-GD", 1, DIGEST), REGISTRY, "does not speak for the region"),
        (TrustBundleEntry("CN-GD", 1, DIGEST), REGION, "speaks for CN-SH, not for CN-GD"),
        (LandmarkFileEntry("cn-sh.example/log/2026", 1, DIGEST), REGISTRY, "does not speak for the region"),
        (GenesisEntry("cn-gd.example/log/2026", 1, 1), REGION, "by the log itself"),
    ],
)
def test_who_may_not_add_an_entry_is_told_so(world: World, entry: CredentialEntry, client: Client, reason: str) -> None:
    ledger = world.open()
    mine = (CredentialEntry(ISSUER, DIGEST) if client is REGISTRY else TrustBundleEntry("CN-SH", 1, DIGEST)).encode()
    with pytest.raises(BatchRefusedError, match=reason) as caught:
        ledger.submit(client, 1, [mine, entry.encode(), mine])
    assert [refused.position for refused in caught.value.refused] == [1]
    answer = caught.value.answer
    assert answer is not None
    assert sorted(index for index in answer.indexes if index is not None) == [1, 2]
    assert answer.indexes[1] is None
    assert ledger.entries(1, 3) == [mine, mine], "its neighbours entered"


@pytest.mark.parametrize(
    "entry",
    [
        CredentialEntry(ISSUER, DIGEST),
        StatusListEntry(ISSUER, "https://cn-gd.example/status/1", DIGEST, 1),
    ],
)
def test_a_client_of_an_issuer_adds_its_entries(world: World, entry: CredentialEntry) -> None:
    assert world.open().submit(REGISTRY, 1, [entry.encode()]) == [1]


@pytest.mark.parametrize(
    "entry",
    [
        TrustStatementEntry(b"note"),
        TrustBundleEntry("CN-SH", 1, DIGEST),
        LandmarkFileEntry("cn-sh.example/log/2026", 1, DIGEST),
    ],
)
def test_the_region_adds_its_entries(world: World, entry: TrustBundleEntry) -> None:
    assert world.open().submit(REGION, 1, [entry.encode()]) == [1]


def test_every_bad_entry_of_a_batch_is_named_and_the_others_are_taken(world: World) -> None:
    ledger = world.open()
    good = world.entries(4)
    batch = [good[0], b"\xff", good[1], good[2][:-1], good[3] + b"\0", b"\x82\x09\x00", b"", b"x" * 65_536]
    with pytest.raises(BatchRefusedError, match=r"entry 1 of the batch.*and 5 more") as caught:
        ledger.submit(REGISTRY, 1, batch)
    assert [refused.position for refused in caught.value.refused] == [1, 3, 4, 5, 6, 7]
    assert sorted(ledger.entries(1, 3)) == sorted(good[:2])
    assert ledger.size == 3


@pytest.mark.parametrize("entry", [b"", b"x" * 65_536, b"\xff"])
def test_a_batch_of_which_nothing_may_enter_is_refused_and_its_number_stays_free(world: World, entry: bytes) -> None:
    ledger = world.open()
    with pytest.raises(BatchRefusedError, match="entry 0 of the batch") as caught:
        ledger.submit(REGISTRY, 1, [entry])
    assert caught.value.answer is None
    assert world.append(ledger, 1, 2) in ([1, 2], [2, 1])


def test_the_largest_entry_enters_and_is_published(world: World) -> None:
    ledger = world.open()
    entry = TrustStatementEntry(b"n" * (65_535 - 5)).encode()
    assert len(entry) == 65_535
    world.submit(ledger, 1, [entry])
    ledger.publish()
    assert world.check() == 2


def test_back_pressure_comes_at_the_bound_and_ends_with_a_publication(make_world: Callable[..., World]) -> None:
    world = make_world(LogSettings(max_unpublished=100))
    ledger = world.open()
    entries = world.entries(99)
    indexes = world.submit(ledger, 1, entries)
    with pytest.raises(BackpressureError, match="100 entries wait"):
        world.append(ledger, 2, 1)
    assert world.submit(ledger, 1, entries) == indexes, "what was taken is answered all the same"
    ledger.publish()
    world.append(ledger, 2, 100)
    world.check()


def test_a_log_is_open_once(world: World) -> None:
    world.open()
    with pytest.raises(FolderLockedError):
        Log.open(world.log_folder, clock=world.clock, database=world.database)


APPEND = """
import sys
from pathlib import Path
from chopmark_ledger.sequencing.log import Log
log = Log.open(Path(sys.argv[1]), clock=lambda: 1, database=sys.argv[2] or None)
print("open", flush=True)
sys.stdin.read()
"""


def test_another_process_cannot_open_it_until_the_first_has_ended(world: World) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", APPEND, str(world.log_folder), world.database or ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(FolderLockedError, match=f"process {other.pid}"):
            world.open()
        other.kill()
        other.wait()
        world.append(world.open(), 1, 3)


def test_a_log_is_created_once(world: World) -> None:
    world.append(world.open(), 1, 1)
    world.close()
    with pytest.raises(FolderError, match="already"):
        world.create()


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no log"):
        Log.open(tmp_path, clock=lambda: 1)


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%b", "a%20b", "a b", "账本", "\udcff"])
def test_a_log_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    key = Ed25519Signer.generate()
    create_ledger(tmp_path / name, origin="cn-gd.example/log", number=1, key=key)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "ledger.db").is_file()
    with Log.open(tmp_path / name, clock=lambda: 1) as log:
        assert log.size == 1


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_log_number_is_a_u32(tmp_path: Path, number: int) -> None:
    with pytest.raises(FormatError):
        create_ledger(tmp_path / "log", origin="cn-gd.example/log", number=number, key=Ed25519Signer.generate())


def test_a_creation_that_failed_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Ed25519Signer.generate()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("chopmark_ledger.storage.store._write_tiles", fail)
        with pytest.raises(OSError, match="No space"):
            create_ledger(tmp_path / "log", origin="cn-gd.example/log", number=1, key=key)
    with pytest.raises(FolderError, match="never finished"):
        Log.open(tmp_path / "log", clock=lambda: 1)
    create_ledger(tmp_path / "log", origin="cn-gd.example/log", number=1, key=key)
    with Log.open(tmp_path / "log", clock=lambda: 1) as log:
        assert log.size == 1


def test_a_log_without_its_key_takes_entries_and_publishes_nothing(world: World) -> None:
    with Log.open(world.log_folder, clock=world.clock, database=world.database) as log:
        assert log.append(REGISTRY, 1, world.entries(1)) == BatchAnswer((1,), ())
        with pytest.raises(FolderError, match="without its key"):
            log.sign_committed()


def test_a_database_that_does_not_hash_to_its_root_does_not_open(world: World) -> None:
    world.append(world.open(), 1, 10)
    world.close()
    world.execute("UPDATE tile SET hashes = %s WHERE level = 0", bytes(32 * 11))
    with pytest.raises(LedgerDamagedError, match="root"):
        world.open()


def test_a_database_that_lost_a_tile_does_not_open(world: World) -> None:
    world.append(world.open(), 1, 10)
    world.close()
    world.execute("DELETE FROM tile")
    with pytest.raises(LedgerDamagedError, match="edge"):
        world.open()


def test_a_database_of_a_newer_version_is_named(world: World) -> None:
    world.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="9999"):
        world.open()


def test_a_second_writer_in_the_database_stops_the_log(world: World) -> None:
    ledger = world.open()
    world.execute("UPDATE ledger SET size = size + 1")
    with pytest.raises(LogStoppedError, match="somebody else"):
        world.append(ledger, 1, 1)
    with pytest.raises(LogStoppedError, match="the log stopped"):
        world.append(ledger, 1, 1)
    with pytest.raises(LogStoppedError):
        ledger.publish()


def test_a_commit_that_failed_stops_the_log_and_reopening_settles_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.open()
    entries = world.entries(5)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("chopmark_ledger.storage.store._write_tiles", fail)
        with pytest.raises(KeyboardInterrupt):
            ledger.submit(REGISTRY, 1, entries)
    with pytest.raises(LogStoppedError):
        ledger.submit(REGISTRY, 1, entries)
    ledger = world.open()
    assert ledger.size == 1
    assert sorted(ledger.submit(REGISTRY, 1, entries)) == [1, 2, 3, 4, 5]


def test_a_commit_that_was_not_answered_is_answered_when_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.open()
    entries = world.entries(5)
    real = Database.write

    @contextmanager
    def interrupted(database: Database) -> Iterator[Connection]:
        with real(database) as connection:
            yield connection
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ledger.submit(REGISTRY, 1, entries)
    with pytest.raises(LogStoppedError):
        world.append(ledger, 2, 1)
    ledger = world.open()
    assert ledger.size == 6
    indexes = ledger.submit(REGISTRY, 1, entries)
    assert sorted(indexes) == [1, 2, 3, 4, 5]
    stored = ledger.entries(0, 6)
    assert [stored[index] for index in indexes] == entries
