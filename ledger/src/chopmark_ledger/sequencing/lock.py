"""The exclusive lock on the data folder of a log.

`flock(2)` on the file `lock` within the folder: the kernel drops it when the process ends, however it ends, and a
second open in the same process is refused like one elsewhere. The file holds the id of the process, for the message
to whoever comes second.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from chopmark.errors import StorageError

from chopmark_ledger.errors import FolderLockedError


class FolderLock:
    """An exclusive lock, held from construction to `release` or the end of the process.

    Raises:
        FolderLockedError: somebody else holds it.
        StorageError: the folder is missing or read-only.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"the lock file cannot be opened: {error.strerror}", where=str(path)) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise FolderLockedError(
                f"the folder is in use by process {holder or 'unknown'}",
                where=str(folder),
                remedy="A log has one writer at a time: end that process first",
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError as error:
            os.close(self._descriptor)
            raise StorageError(f"the lock file cannot be written: {error.strerror}", where=str(path)) from error

    def release(self) -> None:
        """Give the folder back; doing so twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
