"""One service at a time on a registry: `flock(2)` on `<data>/service.lock`, held as long as the process lives.

The commands of `chopmark issuer` go on beside it, as the database lets one writer in after the other; two services
would send the same batches, and sign the same lists, against each other.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from chopmark.errors import StorageError

from chopmark_issuer.errors import ConflictError


class ServiceLock:
    """The lock of a registry's service, from construction to `release` or the end of the process.

    Raises:
        ConflictError: another process holds it.
        StorageError: the file cannot be made.
    """

    def __init__(self, data: Path) -> None:
        path = data / "service.lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"the lock file cannot be opened: {error.strerror}", where=str(path)) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise ConflictError(
                "a service runs on this registry already", where=str(data), remedy="End that process first"
            ) from error

    def release(self) -> None:
        """Give the registry back; doing so twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
