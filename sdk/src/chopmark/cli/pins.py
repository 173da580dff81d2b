"""Open a trust store on the command line, under the roots that were pinned when it was made."""

from __future__ import annotations

from pathlib import Path

from chopmark.durable_file import read_file
from chopmark.errors import StorageError
from chopmark.limits import LIMITS
from chopmark.root_epoch import Roots
from chopmark.trust_store import TrustStore


def open_store(folder: Path, *, roots: Path | None = None) -> TrustStore:
    """Open a store under the root epoch in the file `roots`, or under the one that lies in the folder.

    Whoever may write to the folder chooses the latter; a caller that does not trust the folder names the file.

    Raises:
        StorageError: there is no store, or a file cannot be read.
        TrustError: the store's home data is damaged or rolled back.
    """
    pinned = TrustStore.read_pin(folder) if roots is None else Roots.pin(read_root_epoch(roots))
    return TrustStore.open(folder, roots=pinned)


def read_root_epoch(path: Path) -> bytes:
    """The bytes of a root epoch in a file of its own.

    Raises:
        StorageError: there is no such file, or it cannot be read; `LimitError` above the size of a note.
    """
    data = read_file(path, max_size=LIMITS.note_size)
    if data is None:
        raise StorageError("there is no such file", where=str(path), remedy="Name the file of a root epoch")
    return data
