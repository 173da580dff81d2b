"""A disk that runs full while the log is at work, and one that is read-only: a small file system of their own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chopmark.errors import ChopmarkError
from chopmark_ledger.errors import BatchRefusedError

from tests.ledger.faults import diary, scenarios
from tests.ledger.faults.aftermath import check
from tests.ledger.faults.diary import Diary


def mount(*arguments: str) -> bool:
    """Mount; whether that is allowed here."""
    command = shutil.which("mount")
    return (
        command is not None and subprocess.run([command, *arguments], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes with a log on it; the diary is elsewhere, where a link in it leads."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)):
        pytest.skip("a file system cannot be mounted here: that needs root")
    try:
        scenarios.set_up(place)
        (place / "diary").symlink_to(tmp_path / "diary")
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def append_until_it_fails(folder: Path, *, publishing: bool) -> ChopmarkError:
    """Append and publish until an error of ours; what was promised is in the diary."""
    notes = Diary(folder / "diary")
    with scenarios.opened(folder) as (log, publisher, _):
        for number in range(10_000):
            try:
                answer = log.append(scenarios.client("disk"), number, diary.entries("disk", number, 1_000))
                notes.acknowledged("disk", number, answer.indexes)
                if publishing:
                    witnessed = publisher.publish().checkpoint
                    notes.saw(witnessed.size, witnessed.root)
            except ChopmarkError as error:
                return error
    raise AssertionError("the disk never ran full")


@pytest.mark.parametrize("publishing", [True, False])
def test_a_full_disk_loses_nothing_and_the_log_goes_on_once_there_is_room(disk: Path, publishing: bool) -> None:
    error = append_until_it_fails(disk, publishing=publishing)
    assert not isinstance(error, BatchRefusedError)
    assert mount("-o", "remount,size=64m", str(disk))
    check(disk)


def test_a_log_on_a_read_only_disk_is_not_opened(disk: Path) -> None:
    assert mount("-o", "remount,ro", str(disk))
    with pytest.raises(ChopmarkError) as caught, scenarios.opened(disk):
        pass
    assert str(disk) in str(caught.value)
    assert mount("-o", "remount,rw", str(disk))
    check(disk)
