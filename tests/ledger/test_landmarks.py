"""When landmark intervals end, what covers them, and the file they come in."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest
from chopmark.errors import StorageError
from chopmark.landmark import LandmarkFile
from chopmark_ledger.client import LogSettings
from chopmark_ledger.errors import NotPublishedError, RestoredBackupError, TileConflictError
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.store import LedgerStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.ledger.conftest import World

MINUTE = 60


def intervals(world: World) -> list[tuple[int, int]]:
    data = (world.public / "landmarks").read_bytes()
    return [(record.start, record.end) for record in LandmarkFile.parse(data).records]


def test_an_interval_with_entries_ends_after_fifteen_minutes(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 10)
    ledger.publish()
    world.clock.now += 15 * MINUTE - 1
    ledger.publish()
    assert intervals(world) == []
    world.clock.now += 1
    ledger.publish()
    assert intervals(world) == [(0, 8), (8, 11)]
    world.check()


def test_the_length_of_an_interval_is_a_setting(make_world: Callable[..., World]) -> None:
    world = make_world(LogSettings(landmark_interval=30))
    ledger = world.open()
    world.append(ledger, 1, 3)
    world.clock.now += 30
    ledger.publish()
    assert intervals(world) == [(0, 2), (2, 4)]


def test_a_quiet_hour_makes_the_first_entry_after_it_wait_no_more(world: World) -> None:
    ledger = world.open()
    world.clock.now += 60 * MINUTE
    ledger.publish()
    world.clock.now += 60 * MINUTE
    world.append(ledger, 1, 1)
    ledger.publish()
    assert intervals(world) == [(0, 1), (1, 2)]


def test_an_interval_ends_at_each_multiple_of_1024(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 3000)
    ledger.publish()
    assert [end for _, end in intervals(world)][-1] == 2048
    assert all(start // 1024 == (end - 1) // 1024 for start, end in intervals(world))
    world.clock.now += 15 * MINUTE
    ledger.publish()
    assert intervals(world)[-1][1] == 3001
    world.check()


def test_entries_of_the_kinds_4_and_5_alone_make_no_landmark_due(world: World) -> None:
    ledger = world.open()
    ledger.publish()
    ledger.landmark_now()
    before = intervals(world)
    world.submit(ledger, 1, world.quiet_entries(20))
    world.clock.now += 10 * 60 * MINUTE
    ledger.publish()
    assert intervals(world) == before
    world.append(ledger, 2, 1)
    ledger.publish()
    assert intervals(world)[-1][1] == 22
    world.check()


def test_entries_of_the_kinds_4_and_5_alone_are_covered_at_a_multiple_of_1024(world: World) -> None:
    ledger = world.open()
    ledger.landmark_now()
    world.submit(ledger, 1, world.quiet_entries(1100))
    ledger.publish()
    assert intervals(world)[-1][1] == 1024


def test_entries_of_the_kinds_4_and_5_alone_are_covered_when_asked(world: World) -> None:
    ledger = world.open()
    ledger.landmark_now()
    world.submit(ledger, 1, world.quiet_entries(3))
    assert [(record.start, record.end) for record in ledger.landmark_now()] == [(1, 2), (2, 4)]
    assert world.check() == 4


def test_a_landmark_is_made_at_once_when_asked(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 4)
    records = ledger.landmark_now()
    assert [(record.start, record.end) for record in records] == [(0, 4), (4, 5)]
    assert records[0].checkpoint_size == 5
    assert records[0].witnessed_time == world.clock.now
    assert ledger.landmark_now() == ()
    assert LandmarkFile.parse(ledger.landmark_file()).records == records
    world.check()


def test_a_landmark_that_was_asked_for_begins_the_fifteen_minutes_anew(world: World) -> None:
    ledger = world.open()
    world.clock.now += 14 * MINUTE
    ledger.landmark_now()
    world.append(ledger, 1, 1)
    world.clock.now += 14 * MINUTE
    ledger.publish()
    assert intervals(world) == [(0, 1)]
    world.clock.now += MINUTE
    world.open().publish()
    assert intervals(world) == [(0, 1), (1, 2)]


def test_nothing_is_landmarked_that_is_not_published(world: World) -> None:
    ledger = world.open()
    with pytest.raises(NotPublishedError):
        Landmarks(ledger._log).end_now(now=world.clock.now)
    world.clock.now += 60 * MINUTE
    assert Landmarks(ledger._log).end_due(now=world.clock.now) == ()
    ledger.publish()
    world.append(ledger, 1, 2000)
    Landmarks(ledger._log).end_now(now=world.clock.now)
    assert intervals(world)[-1][1] == 1
    world.check()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(1, 700), st.integers(0, 20), st.booleans()), min_size=1, max_size=6))
def test_whatever_the_steps_the_landmarks_cover_the_log_without_a_gap(
    make_world: Callable[..., World], steps: list[tuple[int, int, bool]]
) -> None:
    world = make_world()
    ledger = world.open()
    for number, (count, minutes, at_once) in enumerate(steps):
        world.append(ledger, number, count)
        world.clock.now += minutes * MINUTE
        if at_once:
            ledger.landmark_now()
            assert intervals(world)[-1][1] == ledger.size
        else:
            ledger.publish()
        world.check()


def test_a_witnessed_time_before_the_last_record_leaves_the_interval_open(world: World) -> None:
    ledger = world.open()
    ledger.landmark_now()
    world.append(ledger, 1, 5)
    world.clock.now -= 100
    # witnesses that lost their state, and with it the time they gave last
    for path in (*world.folder.glob("*/logs/*/checkpoint"), *world.folder.glob("*/cosigned/*")):
        path.unlink()
    ledger = world.open()
    ledger.publish()
    world.clock.now += 99
    ledger.publish()
    with pytest.raises(NotPublishedError, match="before the last landmark"):
        ledger.landmark_now()
    assert intervals(world) == [(0, 1)]
    world.append(ledger, 2, 1)
    world.clock.now += 2
    ledger.landmark_now()
    assert intervals(world)[-1][1] == 7
    world.check()


def test_a_clock_that_was_set_back_does_not_leave_the_interval_open_for_ever(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 10)
    ledger.publish()
    world.clock.now -= 200  # less than witnesses tolerate; their times stand still meanwhile
    ledger.publish()
    world.clock.now += 15 * MINUTE - 1
    ledger.publish()
    assert intervals(world) == []
    world.clock.now += 1
    ledger.publish()
    assert intervals(world)[-1][1] == 11
    assert world.check() == 11


def test_entries_that_ask_for_no_landmark_are_looked_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = world.open()
    ledger.landmark_now()
    world.submit(ledger, 1, world.quiet_entries(20))
    world.clock.now += 60 * MINUTE
    ledger.publish()
    read: list[tuple[int, int]] = []
    real = Log.entries

    def entries(log: Log, start: int, end: int) -> list[bytes]:
        read.append((start, end))
        return real(log, start, end)

    monkeypatch.setattr(Log, "entries", entries)
    for _ in range(3):
        ledger.publish()
    assert sum(end - start for start, end in read) == 0
    world.append(ledger, 2, 1)
    ledger.publish()
    assert intervals(world)[-1][1] == 22


def test_what_an_earlier_process_may_not_have_made_durable_of_the_file_is_written_again(world: World) -> None:
    ledger = world.open()
    ledger.landmark_now()
    path = world.public / "landmarks"
    written = path.stat().st_ino
    ledger.publish()
    assert path.stat().st_ino == written
    world.open().publish()
    assert path.stat().st_ino != written


def test_a_landmark_file_that_was_lost_is_written_again(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 5)
    ledger.landmark_now()
    before = (world.public / "landmarks").read_bytes()
    (world.public / "landmarks").unlink()
    ledger.publish()
    assert (world.public / "landmarks").read_bytes() == before


def test_a_landmark_file_cut_short_by_a_crash_is_brought_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = world.open()
    ledger.landmark_now()
    world.append(ledger, 1, 5)
    ledger.publish()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(StorageError):
            ledger.landmark_now()
    world.check()
    assert intervals(world) == [(0, 1)]
    world.open().publish()
    assert intervals(world)[-1][1] == 6
    world.check()


def test_a_foreign_landmark_file_is_never_overwritten(world: World) -> None:
    ledger = world.open()
    ledger.publish()
    foreign = LandmarkFile.empty(9).encode()
    (world.public / "landmarks").write_bytes(foreign)
    with pytest.raises(TileConflictError, match="landmark"):
        ledger.landmark_now()
    assert (world.public / "landmarks").read_bytes() == foreign


def test_a_published_landmark_that_the_database_has_not_is_a_restored_backup(world: World) -> None:
    ledger = world.open()
    ledger.landmark_now()
    file = LandmarkFile.parse((world.public / "landmarks").read_bytes())
    longer = file.encode() + file.encode()[16:80]
    (world.public / "landmarks").write_bytes(longer)
    with pytest.raises(RestoredBackupError):
        world.open().publish()
    assert (world.public / "landmarks").read_bytes() == longer


def test_landmarks_need_no_key(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 5)
    ledger.publish()
    world.close()
    with Log.open(world.log_folder, clock=world.clock) as log:
        assert len(Landmarks(log).end_now(now=world.clock.now)) == 2
    world.check()


def test_a_log_opens_without_reading_its_landmarks_which_grow_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.open()
    world.append(ledger, 1, 3000)
    ledger.publish()
    ledger.landmark_now()
    records = len(ledger._landmarks.file)
    world.close()

    def unread(_: LedgerStore) -> NoReturn:
        raise AssertionError("the records were read")

    with monkeypatch.context() as patched:
        patched.setattr(LedgerStore, "landmarks", unread)
        log = Log.open(world.log_folder, clock=world.clock, database=world.database)
        landmarks = Landmarks(log)
    with log:
        assert log.store.landmark_count() == records == len(landmarks.file)
