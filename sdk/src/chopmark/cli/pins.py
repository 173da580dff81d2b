"""Open a trust store on the command line, under the roots that were pinned when it was made."""

from __future__ import annotations

from pathlib import Path

from chopmark.errors import StorageError
from chopmark.root_epoch import Roots
from chopmark.trust_store import TrustStore


def open_store(folder: Path, *, roots: Path | None = None) -> TrustStore:
    """Open a store under the root epoch in the file `roots`, or under the one that lies in the folder.

    Whoever may write to the folder chooses the latter; a caller that does not trust the folder names the file.

    Raises:
        StorageError: there is no store, or a file cannot be read.
        TrustError: the store's home data is damaged or rolled back.
    """
    pinned = TrustStore.read_pin(folder) if roots is None else Roots.pin(read_bytes(roots))
    return TrustStore.open(folder, roots=pinned)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from error
