"""The file system as a public folder sees it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chopmark.errors import LimitError, StorageError
from chopmark_ledger import durable
from chopmark_ledger.durable import REAL_DISK, SyncFailedError


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def test_a_file_is_written_replaced_and_read(tmp_path: Path, staging: Path) -> None:
    path = tmp_path / "file"
    assert REAL_DISK.read(path, 10) is None
    assert REAL_DISK.size(path) is None
    for data in (b"first", b"second", b""):
        REAL_DISK.write(path, data, staging)
        assert REAL_DISK.read(path, 10) == data
        assert REAL_DISK.size(path) == len(data)
    assert not REAL_DISK.names(staging)


def test_a_file_above_the_limit_is_not_read(tmp_path: Path, staging: Path) -> None:
    REAL_DISK.write(tmp_path / "file", bytes(11), staging)
    with pytest.raises(LimitError):
        REAL_DISK.read(tmp_path / "file", 10)


def test_a_large_file_is_written_whole_though_each_write_takes_a_part(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:1000]))
    REAL_DISK.write(tmp_path / "file", b"0123456789" * 1000, staging)
    assert (tmp_path / "file").read_bytes() == b"0123456789" * 1000


def test_a_file_whose_content_cannot_be_synced_does_not_take_its_place(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def failing(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(SyncFailedError, match="Input/output error"):
        REAL_DISK.write(tmp_path / "file", b"new", staging)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert not list(staging.iterdir())
    with pytest.raises(SyncFailedError):
        REAL_DISK.sync_folder(tmp_path)


@pytest.mark.parametrize("call", ["open", "write", "replace"])
def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_beside_it(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(StorageError, match="No space left"):
        REAL_DISK.write(tmp_path / "file", b"new", staging)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert not list(staging.iterdir())


def test_the_names_in_a_folder_are_sorted(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    assert REAL_DISK.names(tmp_path) == ["a", "b", "c"]
    assert REAL_DISK.names(tmp_path / "missing") == []
    with pytest.raises(StorageError):
        REAL_DISK.names(tmp_path / "a")


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    for _ in range(2):
        REAL_DISK.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        REAL_DISK.make_folder(tmp_path / "file")


def test_files_and_empty_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(StorageError):
        REAL_DISK.remove(tmp_path / "folder")
    REAL_DISK.remove(tmp_path / "folder" / "file")
    REAL_DISK.remove(tmp_path / "folder")
    REAL_DISK.remove(tmp_path / "folder")
    REAL_DISK.remove(tmp_path / "folder" / "file")
    assert not (tmp_path / "folder").exists()


def test_a_folder_is_emptied_of_files(tmp_path: Path) -> None:
    (tmp_path / "left-over").touch()
    REAL_DISK.empty_folder(tmp_path)
    assert not REAL_DISK.names(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError):
        REAL_DISK.empty_folder(tmp_path)


def test_a_folder_that_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        durable.sync_folder(tmp_path / "missing")
