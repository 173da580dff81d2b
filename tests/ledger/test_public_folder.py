"""The public folder over a disk that is watched, and fails when told to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chopmark.errors import LimitError, StorageError
from chopmark_ledger.durable import SyncFailedError
from chopmark_ledger.errors import PublicationPoisonedError, TileConflictError
from chopmark_ledger.storage.public_folder import PublicFolder

PUBLIC, STAGING = Path("/log/public"), Path("/log/staging")


class WatchedDisk:
    """Files in memory; notes every change, and raises what `fail` answers for it."""

    def __init__(self) -> None:
        self.files: dict[Path, bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.fail: Callable[[str, str], Exception | None] = lambda _call, _path: None

    def _note(self, call: str, path: Path) -> None:
        self.calls.append((call, path.as_posix()))
        error = self.fail(call, path.as_posix())
        if error is not None:
            raise error

    def read(self, path: Path, max_size: int) -> bytes | None:
        data = self.files.get(path)
        if data is not None and len(data) > max_size:
            raise LimitError("too large")
        return data

    def size(self, path: Path) -> int | None:
        return len(self.files[path]) if path in self.files else None

    def names(self, path: Path) -> list[str]:
        return sorted(each.name for each in self.files if each.parent == path)

    def write(self, path: Path, data: bytes, staging: Path) -> None:
        assert staging == STAGING
        self._note("write", path)
        self.files[path] = data

    def sync_folder(self, path: Path) -> None:
        self._note("sync", path)

    def make_folder(self, path: Path) -> None:
        pass

    def empty_folder(self, path: Path) -> None:
        self._note("empty", path)

    def remove(self, path: Path) -> None:
        self._note("remove", path)
        self.files.pop(path, None)

    def called(self, call: str) -> list[str]:
        return [path for each, path in self.calls if each == call]


class Inline(Executor):
    """Works at once."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture
def disk() -> WatchedDisk:
    return WatchedDisk()


@pytest.fixture
def folder(disk: WatchedDisk) -> PublicFolder:
    return PublicFolder(PUBLIC, STAGING, disk)


TILES = [(f"tile/0/{number:03d}", b"%d" % number) for number in range(20)]


def test_the_staging_folder_is_emptied(folder: PublicFolder, disk: WatchedDisk) -> None:
    assert disk.called("empty") == ["/log/staging"]


@pytest.mark.parametrize("executor", [Inline(), ThreadPoolExecutor(3)])
def test_all_files_are_written_before_their_names_are_synced(
    folder: PublicFolder, disk: WatchedDisk, executor: Executor
) -> None:
    folder.put_all(TILES, executor)
    assert not disk.called("sync")
    folder.flush(executor)
    assert {path.relative_to(PUBLIC).as_posix(): data for path, data in disk.files.items()} == dict(TILES)
    assert sorted(disk.called("sync")) == ["/log", "/log/public", "/log/public/tile", "/log/public/tile/0"]
    folder.flush(executor)
    assert len(disk.called("sync")) == 4


def test_a_file_that_is_replaced_has_its_name_synced_with_all_others(folder: PublicFolder, disk: WatchedDisk) -> None:
    folder.put_all(TILES[:1], Inline())
    folder.replace("checkpoint", b"note")
    assert disk.calls[-1][0] == "sync"
    assert set(disk.called("sync")) == {"/log", "/log/public", "/log/public/tile", "/log/public/tile/0"}


def test_what_stands_already_is_written_again(folder: PublicFolder, disk: WatchedDisk) -> None:
    for _ in range(2):
        folder.put_all(TILES[:1], Inline())
    assert len(disk.called("write")) == 2


@pytest.mark.parametrize("other", [b"", b"1", b"another one"])
def test_other_bytes_are_left_as_they_are(folder: PublicFolder, disk: WatchedDisk, other: bytes) -> None:
    disk.files[PUBLIC / "tile/0/005"] = other
    with pytest.raises(TileConflictError, match=r"tile/0/005"):
        folder.put_all(TILES, Inline())
    assert disk.files[PUBLIC / "tile/0/005"] == other


@pytest.mark.parametrize("executor", [Inline(), ThreadPoolExecutor(3)])
@pytest.mark.parametrize(("call", "path"), [("write", "/log/public/tile/0/007"), ("sync", "/log/public/tile")])
def test_after_a_failed_sync_nothing_is_written_any_more(
    folder: PublicFolder, disk: WatchedDisk, executor: Executor, call: str, path: str
) -> None:
    def failing(*each: str) -> Exception | None:
        return SyncFailedError("cannot be made durable", where=path) if each == (call, path) else None

    def put_and_flush() -> None:
        folder.put_all(TILES, executor)
        folder.flush(executor)

    disk.fail = failing
    with pytest.raises(PublicationPoisonedError, match="open the log again"):
        put_and_flush()
    disk.fail = lambda *_: None
    before = list(disk.calls)
    with pytest.raises(PublicationPoisonedError):
        folder.put_all(TILES, executor)
    with pytest.raises(PublicationPoisonedError):
        folder.flush(executor)
    with pytest.raises(PublicationPoisonedError):
        folder.replace("checkpoint", b"note")
    assert disk.calls == before


def test_a_sync_that_fails_beside_another_error_is_not_hidden_by_it(folder: PublicFolder, disk: WatchedDisk) -> None:
    disk.fail = lambda call, path: (
        SyncFailedError("cannot be made durable") if path.endswith("007") else StorageError("no space")
    )
    with pytest.raises(PublicationPoisonedError):
        folder.put_all(TILES, ThreadPoolExecutor(8))


def test_a_file_that_cannot_be_written_may_be_tried_again(folder: PublicFolder, disk: WatchedDisk) -> None:
    disk.fail = lambda call, path: StorageError("no space") if path.endswith("007") else None
    with pytest.raises(StorageError, match="no space"):
        folder.put_all(TILES, Inline())
    disk.fail = lambda *_: None
    folder.put_all(TILES, Inline())
    folder.flush(Inline())
    assert len(disk.files) == len(TILES)


def test_nothing_is_at_work_any_more_when_an_error_is_raised(folder: PublicFolder, disk: WatchedDisk) -> None:
    disk.fail = lambda call, path: StorageError("no space") if path.endswith("000") else None
    with ThreadPoolExecutor(8) as pool:
        with pytest.raises(StorageError):
            folder.put_all(TILES, pool)
        done = list(disk.calls)
    assert disk.calls == done


def test_a_pool_that_is_shut_down_does_not_leave_files_unwritten(folder: PublicFolder, disk: WatchedDisk) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    folder.put_all(TILES, pool)
    folder.flush(pool)
    assert len(disk.files) == len(TILES)
    assert len(disk.called("sync")) == 4


def test_partial_tiles_are_removed_and_what_is_none_is_left(folder: PublicFolder, disk: WatchedDisk) -> None:
    for name in ("1", "17", "255", "017", "1234", "x", "17.tmp"):
        disk.files[PUBLIC / "tile/0/000.p" / name] = b"data"
    disk.files[PUBLIC / "tile/0/000"] = b"data"
    folder.remove_partials("tile/0/000")
    assert {path.name for path in disk.files} == {"000", "017", "1234", "x", "17.tmp"}
    assert disk.called("remove")[-1] == "/log/public/tile/0/000.p"
    folder.remove_partials("tile/0/001")
    assert disk.called("remove")[-1] == "/log/public/tile/0/000.p"


def test_files_are_read_up_to_a_limit(folder: PublicFolder, disk: WatchedDisk) -> None:
    folder.replace("checkpoint", b"note")
    assert folder.read("checkpoint") == b"note"
    assert folder.size("checkpoint") == 4
    assert folder.read("landmarks") is None
    assert folder.size("landmarks") is None
    with pytest.raises(LimitError):
        folder.read("checkpoint", max_size=3)
