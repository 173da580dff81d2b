"""A lock that one process at a time holds for as long as it lives.

`flock(2)` on a file: the kernel drops it when the process ends, however it ends, and a second open in the same process
is refused like one elsewhere. The file holds the id of the process, for the message to whoever comes second.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from chopmark.errors import ChopmarkError, StorageError


class ProcessLock:
    """An exclusive lock, held from construction to `release` or the end of the process.

    Args:
        path: the file; it is made where it is not there.
        refusal: makes the error for whoever comes second, from the id of the process that holds it.

    Raises:
        ChopmarkError: that of `refusal`.
        StorageError: the folder of the file is missing or read-only.
    """

    def __init__(self, path: Path, refusal: Callable[[str], ChopmarkError]) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"the lock file cannot be opened: {error.strerror}", where=str(path)) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            self.release()
            raise refusal(holder or "unknown") from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError as error:
            self.release()
            raise StorageError(f"the lock file cannot be written: {error.strerror}", where=str(path)) from error

    def release(self) -> None:
        """Give it back; doing so twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
