"""Writing files so that they are whole and on the disk, or not there at all.

A file is written beside its place, synced, then renamed into it; the rename counts once the folder is synced too.
After a failed fsync the kernel may show, from its cache, what the disk never got: `SyncFailedError` tells that case
apart, so that the caller trusts nothing it reads back.

`Disk` is what a public folder asks of a file system; `REAL_DISK` is the one of this machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import Protocol

from chopmark import durable_file
from chopmark.errors import StorageError


class SyncFailedError(StorageError):
    """An fsync failed; what the disk holds is unknown."""


class Disk(Protocol):
    """The file system under a public folder.

    What survives a power cut: the content of a file once `write` has returned; its place, as every other change of the
    names in a folder, once `sync_folder` of that folder has returned. Each may also have survived before.
    """

    def read(self, path: Path, max_size: int) -> bytes | None:
        """Read a file; None where there is none.

        Raises:
            StorageError: it cannot be read; `LimitError` if it is larger than `max_size` bytes.
        """
        ...

    def size(self, path: Path) -> int | None:
        """The bytes of a file; None where there is none.

        Raises:
            StorageError: it cannot be told.
        """
        ...

    def names(self, path: Path) -> list[str]:
        """The names in a folder, sorted; none where there is no folder.

        Raises:
            StorageError: it cannot be read.
        """
        ...

    def write(self, path: Path, data: bytes, staging: Path) -> None:
        """Put a file into its place, whether one is there or not; see `replace_file`.

        Raises:
            SyncFailedError: the content may not be on the disk; the file in its place is the old one.
            StorageError: it could not be written or renamed.
        """
        ...

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable.

        Raises:
            SyncFailedError: they may not be on the disk.
            StorageError: the folder cannot be opened.
        """
        ...

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it; one that is there already is left as it is.

        Raises:
            StorageError: it cannot be made.
        """
        ...

    def empty_folder(self, path: Path) -> None:
        """Remove the files in a folder.

        Raises:
            StorageError: one cannot be removed.
        """
        ...

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder that is empty; where there is none, nothing happens.

        Raises:
            StorageError: it cannot be removed, or the folder is not empty.
        """
        ...


class _RealDisk:
    """The file system of this machine."""

    def read(self, path: Path, max_size: int) -> bytes | None:
        return durable_file.read_file(path, max_size=max_size)

    def size(self, path: Path) -> int | None:
        try:
            return path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"its size cannot be told: {error.strerror}", where=str(path)) from error

    def names(self, path: Path) -> list[str]:
        try:
            return sorted(os.listdir(path))  # noqa: PTH208 - names are asked for, not paths
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"the folder cannot be read: {error.strerror}", where=str(path)) from error

    def write(self, path: Path, data: bytes, staging: Path) -> None:
        replace_file(path, data, staging=staging)

    def sync_folder(self, path: Path) -> None:
        sync_folder(path)

    def make_folder(self, path: Path) -> None:
        make_folder(path)

    def empty_folder(self, path: Path) -> None:
        empty_folder(path)

    def remove(self, path: Path) -> None:
        remove(path)


REAL_DISK: Disk = _RealDisk()


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


def remove(path: Path) -> None:
    """Remove a file, or a folder that is empty; `sync_folder` on its parent has to follow where that matters.

    Raises:
        StorageError: it cannot be removed, or the folder is not empty.
    """
    try:
        try:
            path.unlink()
        except OSError as error:
            # What `unlink` says of a folder is another thing on other systems.
            if error.errno not in (errno.EISDIR, errno.EPERM):
                raise
            path.rmdir()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageError(f"cannot be removed: {error.strerror}", where=str(path)) from error


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
