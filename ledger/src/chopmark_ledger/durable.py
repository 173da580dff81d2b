"""Writing files so that they are whole and on the disk, or not there at all.

A file is written beside its place, synced, then renamed into it; the rename counts once the folder is synced too.
After a failed fsync the kernel may show, from its cache, what the disk never got: `SyncFailedError` tells that case
apart, so that the caller trusts nothing it reads back.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from chopmark.errors import StorageError


class SyncFailedError(StorageError):
    """An fsync failed; what the disk holds is unknown."""


def replace_file(path: Path, data: bytes, *, staging: Path) -> None:
    """Put a file durably into its place, whether one is there or not; `sync_folder` has to follow.

    Args:
        path: the place; its folder exists.
        data: the whole content.
        staging: a folder of the same file system, where the file grows.

    Raises:
        SyncFailedError: the content may not be on the disk; the file in its place is the old one.
        StorageError: it could not be written or renamed.
    """
    temporary = staging / secrets.token_hex(12)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _write_all(descriptor, data)
            _sync(descriptor, path)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 - the one system call that faults are injected into
    except OSError as error:
        _discard(temporary)
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from error
    except SyncFailedError:
        _discard(temporary)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        SyncFailedError: they may not be on the disk.
        StorageError: the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"the folder cannot be opened: {error.strerror}", where=str(folder)) from error
    try:
        _sync(descriptor, folder)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; `sync_folder` on each of their parents has to follow.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder cannot be made: {error.strerror}", where=str(folder)) from error


def empty_folder(folder: Path) -> None:
    """Remove the files in a folder: what a process that ended early left behind.

    Raises:
        StorageError: one cannot be removed.
    """
    try:
        for left_over in folder.iterdir():
            left_over.unlink()
    except OSError as error:
        raise StorageError(f"the folder cannot be emptied: {error.strerror}", where=str(folder)) from error


def _discard(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # the failure that led here is the one to report
        temporary.unlink(missing_ok=True)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncFailedError(f"cannot be made durable: {error.strerror}", where=str(path)) from error
