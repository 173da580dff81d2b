"""The public folder of a log: static files that anybody may fetch, and that are not trusted when read back.

    checkpoint                   replaced, never by a smaller one
    tile/<L>/<N>[.p/<W>]         hash tiles, written once; a partial one (.p/<W>) is removed after the full one stands
    tile/entries/<N>[.p/<W>]     entry bundles, likewise
    landmarks                    only ever grows

Names are those of https://c2sp.org/tlog-tiles, relative to the folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chopmark.errors import LimitError
from chopmark.limits import LIMITS

from chopmark_ledger.durable import REAL_DISK, Disk, SyncFailedError
from chopmark_ledger.errors import PublicationPoisonedError, TileConflictError

_MAX_FILE_SIZE = 256 * (2 + LIMITS.entry_size)
"""A full entry bundle of the largest entries; every other file is smaller, but for the landmark file."""
_WIDTH = re.compile("[1-9][0-9]{0,2}", re.ASCII)


class PublicFolder:
    """Writes files durably; after a failed fsync it refuses all further work.

    Args:
        path: the folder that is served.
        staging: a folder of the same file system, not served, emptied when the log is opened.
        disk: the file system.
    """

    def __init__(self, path: Path, staging: Path, disk: Disk = REAL_DISK) -> None:
        self.path = path
        self._staging = staging
        self._disk = disk
        self._unsynced = {path.parent}
        self._poison: str | None = None
        self._disk.make_folder(path)
        self._disk.make_folder(staging)
        self._disk.empty_folder(staging)

    def read(self, name: str, *, max_size: int = _MAX_FILE_SIZE) -> bytes | None:
        """Read a file, or None where there is none. What is read is not to be trusted.

        Raises:
            StorageError: it cannot be read; `LimitError` if it is larger than `max_size`.
        """
        return self._disk.read(self.path / name, max_size)

    def size(self, name: str) -> int | None:
        """The bytes of a file, None where there is none.

        Raises:
            StorageError: it cannot be told.
        """
        return self._disk.size(self.path / name)

    def put(self, name: str, data: bytes) -> None:
        """Write a file that never changes; `flush` has to follow.

        It is written anew even where it stands already: an earlier process may have failed to make it durable.

        Raises:
            TileConflictError: other bytes stand there; they are left as they are.
            PublicationPoisonedError: an fsync failed, now or before.
            StorageError: it cannot be written; trying again later is safe.
        """
        with self._sound():
            path = self.path / name
            try:
                is_free = self._disk.read(path, len(data)) in (None, data)
            except LimitError:
                is_free = False
            if not is_free:
                raise TileConflictError(
                    "other bytes stand where this file of the log belongs",
                    where=str(path),
                    remedy="Find out who wrote them, move the file away, and publish again",
                )
            self._write(path, data)

    def replace(self, name: str, data: bytes) -> None:
        """Write a file that may change, and make its name durable.

        Raises:
            PublicationPoisonedError: an fsync failed, now or before.
            StorageError: it cannot be written; the old one stands.
        """
        with self._sound():
            self._write(self.path / name, data)
        self.flush()

    def flush(self) -> None:
        """Make the names of everything written durable.

        Raises:
            PublicationPoisonedError: an fsync failed, now or before.
        """
        with self._sound():
            for folder in sorted(self._unsynced):
                self._disk.sync_folder(folder)
            self._unsynced.clear()

    def remove_partials(self, name: str) -> None:
        """Remove the partial tiles or bundles beside a full one, which stands durably.

        Raises:
            StorageError: they cannot be removed.
        """
        folder = self.path / f"{name}.p"
        names = self._disk.names(folder)
        for width in filter(_WIDTH.fullmatch, names):
            self._disk.remove(folder / width)
        if names:
            self._disk.remove(folder)

    def partial_widths(self, name: str) -> list[int]:
        """The widths of the partial tiles or bundles that stand beside the place of a full one, ascending.

        Raises:
            StorageError: they cannot be listed.
        """
        return sorted(map(int, filter(_WIDTH.fullmatch, self._disk.names(self.path / f"{name}.p"))))

    def _write(self, path: Path, data: bytes) -> None:
        folder = path.parent
        self._disk.make_folder(folder)
        self._disk.write(path, data, self._staging)
        # All the way up: an earlier process may have made these folders and ended before it synced their names.
        while folder not in self._unsynced:
            self._unsynced.add(folder)
            if folder != self.path:
                folder = folder.parent
        self._unsynced.add(self.path.parent)

    @contextmanager
    def _sound(self) -> Iterator[None]:
        if self._poison is not None:
            raise self._poisoned(self._poison)
        try:
            yield
        except SyncFailedError as error:
            self._poison = str(error)
            raise self._poisoned(self._poison) from error

    def _poisoned(self, reason: str) -> PublicationPoisonedError:
        return PublicationPoisonedError(
            f"an fsync failed, so what the disk holds is unknown: {reason}",
            where=str(self.path),
            remedy="Check the disk, then open the log again: it writes everything since the last publication anew",
        )
