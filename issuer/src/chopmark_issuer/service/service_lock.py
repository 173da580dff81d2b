"""One service at a time on a registry: the lock on `<data>/service.lock`; see `chopmark_service.process_lock`.

The commands of `chopmark issuer` go on beside it, as the database lets one writer in after the other; two services
would send the same batches, and sign the same lists, against each other.
"""

from __future__ import annotations

from pathlib import Path

from chopmark_service.process_lock import ProcessLock

from chopmark_issuer.errors import ConflictError


class ServiceLock(ProcessLock):
    """The lock of a registry's service.

    Raises:
        ConflictError: another process holds it.
        StorageError: the file cannot be made.
    """

    def __init__(self, data: Path) -> None:
        super().__init__(
            data / "service.lock",
            lambda holder: ConflictError(
                f"a service runs on this registry already, process {holder}",
                where=str(data),
                remedy="End that process first",
            ),
        )
