"""The public folder of a log: static files that anybody may fetch, and that are not trusted when read back.

    checkpoint                   replaced, never by a smaller one
    tile/<L>/<N>[.p/<W>]         hash tiles, written once; a partial one (.p/<W>) is removed after the full one stands
    tile/entries/<N>[.p/<W>]     entry bundles, likewise
    landmarks                    only ever grows

Names are those of https://c2sp.org/tlog-tiles, relative to the folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from chopmark.errors import LimitError
from chopmark.limits import LIMITS

from chopmark_ledger.durable import REAL_DISK, Disk, SyncFailedError
from chopmark_ledger.errors import PublicationPoisonedError, TileConflictError

_MAX_FILE_SIZE = 256 * (2 + LIMITS.entry_size)
"""A full entry bundle of the largest entries; every other file is smaller, but for the landmark file."""
_WIDTH = re.compile("[1-9][0-9]{0,2}", re.ASCII)
_AT_ONCE = 8
"""Files that are written at a time: more gain nothing."""

_Item = TypeVar("_Item")


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

    def put_all(self, files: Sequence[tuple[str, bytes]], executor: Executor) -> None:
        """Write files that never change, several at a time; `flush` has to follow.

        They are written anew even where they stand already: an earlier process may have failed to make them durable.
        All have been tried when this returns or raises.

        Raises:
            TileConflictError: other bytes stand there; they are left as they are.
            PublicationPoisonedError: an fsync failed, now or before.
            StorageError: it cannot be written; trying again later is safe.
        """
        with self._sound():
            places = [(self.path / name, data) for name, data in files]
            for path, _ in places:
                self._will_sync(path.parent)
            _each(executor, lambda place: self._put(*place), places)

    def replace(self, name: str, data: bytes) -> None:
        """Write a file that may change, and make its name durable.

        Raises:
            PublicationPoisonedError: an fsync failed, now or before.
            StorageError: it cannot be written; the old one stands.
        """
        with self._sound():
            path = self.path / name
            self._will_sync(path.parent)
            self._write(path, data)
            for folder in sorted(self._unsynced):
                self._disk.sync_folder(folder)
            self._unsynced.clear()

    def flush(self, executor: Executor) -> None:
        """Make the names of everything written durable, several folders at a time.

        Raises:
            PublicationPoisonedError: an fsync failed, now or before.
            StorageError: a folder is gone; calling again is safe.
        """
        with self._sound():
            _each(executor, self._disk.sync_folder, sorted(self._unsynced))
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

    def _put(self, path: Path, data: bytes) -> None:
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

    def _write(self, path: Path, data: bytes) -> None:
        self._disk.make_folder(path.parent)
        self._disk.write(path, data, self._staging)

    def _will_sync(self, folder: Path) -> None:
        """Note a folder in which a name is about to appear.

        All the way up: an earlier process may have made these folders and ended before it synced their names.
        """
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


def _each(executor: Executor, step: Callable[[_Item], None], items: Sequence[_Item]) -> None:
    """Do a step for each item, in a few threads; raise the first error once none of them is at work any more.

    Most of the time goes by in waiting for the disk, which syncs several files in little more time than one.
    """

    def some(position: int) -> None:
        for item in items[position::_AT_ONCE]:
            step(item)

    futures = []
    for position in range(min(_AT_ONCE, len(items))):
        try:
            futures.append(executor.submit(some, position))
        except RuntimeError:  # how an executor says that it is shut down
            some(position)
    wait(futures)
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    for error in sorted(errors, key=lambda error: not isinstance(error, SyncFailedError)):
        raise error
