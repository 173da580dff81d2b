"""A database that was restored from a backup: what lies outside of it tells, and the log does not go on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark_ledger.client import Client
from chopmark_ledger.errors import FolderError, ForkError, RestoredBackupError
from chopmark_ledger.sequencing.committed_mark import CommittedMark
from chopmark_ledger.storage.store import CommittedTree

if TYPE_CHECKING:
    from tests.ledger.conftest import World

REGION = Client("region", region="CN-GD")

pytestmark = pytest.mark.both_databases


def forget(world: World, *names: str) -> None:
    """Take files away that would show that more was there."""
    for name in names:
        path = world.log_folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def restored(world: World, *, published: bool) -> None:
    """Ten entries, a backup, ten more, and the backup in the database's place."""
    ledger = world.open()
    world.append(ledger, 1, 10)
    ledger.landmark_now()
    copy = world.back_up()
    ledger = world.open()
    world.append(ledger, 2, 10)
    if published:
        ledger.landmark_now()
    world.restore(copy)


def test_under_a_larger_published_checkpoint_it_does_not_open(world: World) -> None:
    restored(world, published=True)
    with pytest.raises(RestoredBackupError, match=r"public/checkpoint: size 21 was published, the database holds 11"):
        world.open()
    world.check()


@pytest.mark.parametrize(
    ("lost", "shown"),
    [
        (["public/checkpoint"], r"public/landmarks: 4 landmarks were published, the database knows 2"),
        (["public/checkpoint", "public/landmarks"], r"000\.p/21: entries up to 21 were written, the database holds 11"),
        (["public"], r"committed: size 21 was committed, the database holds 11"),
    ],
)
def test_whatever_is_left_outside_of_it_tells(world: World, lost: list[str], shown: str) -> None:
    restored(world, published=True)
    forget(world, *lost)
    for _ in range(2):
        with pytest.raises(RestoredBackupError, match=shown):
            world.open()


def test_a_full_tile_beyond_it_tells_too(world: World) -> None:
    world.append(world.open(), 1, 10)
    copy = world.back_up()
    ledger = world.open()
    world.append(ledger, 2, 300)
    ledger.publish()
    world.restore(copy)
    forget(world, "public/checkpoint", "public/tile/0", "committed")
    with pytest.raises(RestoredBackupError, match="tile/entries/000: entries up to 256 were written"):
        world.open()


def test_what_was_acknowledged_and_never_published_is_missed_too(world: World) -> None:
    restored(world, published=False)
    with pytest.raises(RestoredBackupError, match=r"committed: size 21 was committed, the database holds 11"):
        world.open()


def test_one_that_grew_another_way_is_told_by_the_mark(world: World) -> None:
    restored(world, published=False)
    mark = (world.log_folder / "committed").read_bytes()
    forget(world, "committed")
    world.open().submit(REGION, 3, world.entries(30))
    world.close()
    (world.log_folder / "committed").write_bytes(mark)
    with pytest.raises(ForkError, match=r"committed: the root committed for size 21 is not that of the database"):
        world.open()


def test_one_that_grew_another_way_does_not_publish_a_second_history(world: World) -> None:
    restored(world, published=True)
    checkpoint = (world.public / "checkpoint").read_bytes()
    forget(world, "public", "committed")
    ledger = world.open()
    ledger.submit(REGION, 2, world.entries(30))
    (world.public / "checkpoint").write_bytes(checkpoint)
    with pytest.raises(ForkError, match="size 21"):
        ledger.publish()
    with pytest.raises(ForkError, match="size 21"):
        world.open()
    assert (world.public / "checkpoint").read_bytes() == checkpoint


def test_the_newest_backup_opens_and_goes_on(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 255)
    ledger.landmark_now()
    world.append(ledger, 2, 10)
    copy = world.back_up()
    world.restore(copy)
    ledger = world.open()
    world.append(ledger, 3, 500)
    ledger.landmark_now()
    assert world.check() == 766


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_no_log_is_taken_for_an_old_one_by_its_own_tiles(world: World, count: int) -> None:
    ledger = world.open()
    world.append(ledger, 1, count)
    ledger.publish()
    assert world.open().size == count + 1


def test_a_new_log_does_not_begin_where_another_one_was(world: World) -> None:
    world.append(world.open(), 1, 10)
    world.close()
    (world.log_folder / "ledger.db").unlink(missing_ok=True)
    if world.server is not None:
        world.database = world.server.lend()
    with pytest.raises(FolderError, match="a log was here before, and its database is gone"):
        world.create()


def test_the_mark_is_what_was_committed_last(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 10)
    world.append(ledger, 2, 5)
    mark = CommittedMark(world.log_folder)
    found = mark.read()
    mark.close()
    assert found is not None
    assert found.size == 16


@pytest.mark.parametrize("broken", [b"", bytes(103), b"00000000000000000099 " + b"0" * 64 + b" 0123456789abcdef\n"])
def test_a_mark_that_is_none_counts_as_lost(world: World, broken: bytes) -> None:
    world.append(world.open(), 1, 10)
    world.close()
    (world.log_folder / "committed").write_bytes(broken)
    world.append(world.open(), 2, 1)


def test_a_mark_is_read_as_it_was_written(tmp_path: Path) -> None:
    mark = CommittedMark(tmp_path)
    assert mark.read() is None
    for tree in (CommittedTree(2**63 - 1, b"\xff" * 32), CommittedTree(7, bytes(range(32)))):
        mark.write(tree)
        assert mark.read() == tree
    line = (tmp_path / "committed").read_bytes()
    (tmp_path / "committed").write_bytes(line + b"\n")
    assert mark.read() is None
    mark.close()
    mark.close()
