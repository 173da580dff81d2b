"""Where the files of a log are read from: a folder of them, or a server.

Spec: https://c2sp.org/tlog-tiles. A source reads by path, relative to the log's prefix (`checkpoint`, `tile/0/000`,
`landmarks`), and never more than the file at that path may have. Nothing it answers is to be trusted: whoever reads
checks it against a signed checkpoint.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from pathlib import Path
from typing import Protocol

from chopmark import tiles
from chopmark.errors import LimitError, StorageError
from chopmark.limits import LIMITS
from chopmark.merkle import HASH_SIZE

CHECKPOINT = "checkpoint"
LANDMARKS = "landmarks"

_TILES = "tile"


class FileKind(Enum):
    """What lies at a path."""

    FILE = "a file"
    FOLDER = "a folder"
    LINK = "a symbolic link"
    OTHER = "a device, pipe or socket"
    UNREADABLE = "a folder that cannot be read"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """Something that lies in a folder of a log, by its path."""

    path: str
    kind: FileKind


class TileSource(Protocol):
    """The files of one log."""

    @property
    def name(self) -> str:
        """Where they are, as a message names it."""
        ...

    def read(self, path: str) -> bytes | None:
        """Read a file; None where there is none.

        Raises:
            StorageError: this file cannot be read; `LimitError` if it is larger than `size_limit(path)`.
            LogUnreachableError: the log cannot be reached, so nothing can be said of any file.
        """
        ...

    def read_ahead(self, paths: Iterator[str]) -> None:
        """Be told what will be read next, in this order; it may be fetched meanwhile. Replaces what was told before."""
        ...

    def found(self) -> Iterator[FoundFile] | None:
        """Everything under `tile/`, and what lies at `checkpoint` and `landmarks`; None where that cannot be listed."""
        ...

    def close(self) -> None:
        """Give back what is held open."""
        ...


class FolderSource:
    """A folder of this machine, such as the public folder of a log.

    Raises:
        StorageError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise StorageError("there is no such folder", where=str(folder))
        self.name = str(folder)
        self._prefix = os.path.join(folder, "")  # noqa: PTH118 - two reads for each 256 entries: paths are joined as text

    def read(self, path: str) -> bytes | None:
        """Read a file; see `TileSource.read`."""
        limit = size_limit(path)
        try:
            # A pipe is opened without waiting for its other end, and then refused.
            descriptor = os.open(self._prefix + path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                kind = _kind(status.st_mode)
                raise StorageError(f"{kind.value} lies where a file belongs", where=path)
            # One byte more than it should have tells whether it grew meanwhile.
            data = _read(descriptor, min(status.st_size, limit) + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(descriptor)
        if len(data) > limit:
            raise LimitError(f"more than {limit} bytes", where=path)
        return data

    def read_ahead(self, paths: Iterator[str]) -> None:
        """Nothing is read ahead: the system does it."""

    def found(self) -> Iterator[FoundFile]:
        """Everything in the folders of tiles, each folder's in order of names."""
        for name in (CHECKPOINT, LANDMARKS, _TILES):
            try:
                mode = os.lstat(self._prefix + name).st_mode
            except OSError:
                continue
            yield FoundFile(name, _kind(mode))
            if name == _TILES and stat.S_ISDIR(mode):
                yield from self._found_in(name)

    def close(self) -> None:
        """Nothing is held open."""

    def _found_in(self, folder: str) -> Iterator[FoundFile]:
        try:
            with os.scandir(self._prefix + folder) as entries:
                listed = sorted(((entry.name, _kind_of(entry)) for entry in entries), key=itemgetter(0))
        except FileNotFoundError:
            return
        except OSError:
            yield FoundFile(folder, FileKind.UNREADABLE)
            return
        for name, kind in listed:
            path = f"{folder}/{name}"
            yield FoundFile(path, kind)
            if kind is FileKind.FOLDER:
                yield from self._found_in(path)


def fetching(source: TileSource) -> tiles.Fetch:
    """How a `chopmark.tiles.TileReader` reads a source: a file that is not there is an error to it."""

    def fetch(path: str) -> bytes:
        data = source.read(path)
        if data is None:
            raise StorageError("there is no such file", where=f"{source.name}, {path}")
        return data

    return fetch


def size_limit(path: str) -> int:
    """The most bytes that the file at a path of a log may have.

    Raises:
        FormatError: a log has no file at such a path.
    """
    if path == CHECKPOINT:
        return LIMITS.note_size
    if path == LANDMARKS:
        return LIMITS.landmark_file_size
    tile = tiles.parse_tile_path(path)
    return tile.width * (HASH_SIZE if tile.level is not None else 2 + LIMITS.entry_size)


def _read(descriptor: int, size: int) -> bytes:
    """Read up to `size` bytes, or to the end of the file."""
    data = os.read(descriptor, size)
    while len(data) < size:
        more = os.read(descriptor, size - len(data))
        if not more:
            break
        data += more
    return data


def _kind(mode: int) -> FileKind:
    if stat.S_ISREG(mode):
        return FileKind.FILE
    if stat.S_ISDIR(mode):
        return FileKind.FOLDER
    return FileKind.LINK if stat.S_ISLNK(mode) else FileKind.OTHER


def _kind_of(entry: os.DirEntry[str]) -> FileKind:
    if entry.is_symlink():
        return FileKind.LINK
    if entry.is_dir():
        return FileKind.FOLDER
    return FileKind.FILE if entry.is_file() else FileKind.OTHER


def _unreadable(path: str, error: OSError | ValueError) -> StorageError:
    reason = error.strerror if isinstance(error, OSError) else "no file has such a name"
    return StorageError(f"it cannot be read: {reason}", where=path)
