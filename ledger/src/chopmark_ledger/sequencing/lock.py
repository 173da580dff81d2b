"""The exclusive lock on the data folder of a log, on the file `lock` within it; see `chopmark_service.process_lock`."""

from __future__ import annotations

from pathlib import Path

from chopmark_service.process_lock import ProcessLock

from chopmark_ledger.errors import FolderLockedError


class FolderLock(ProcessLock):
    """The lock of a log's folder.

    Raises:
        FolderLockedError: somebody else holds it.
        StorageError: the folder is missing or read-only.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder / "lock",
            lambda holder: FolderLockedError(
                f"the folder is in use by process {holder}",
                where=str(folder),
                remedy="A log has one writer at a time: end that process first",
            ),
        )
