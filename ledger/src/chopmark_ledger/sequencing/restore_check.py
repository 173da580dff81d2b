"""Whether the database is the newest there ever was, as far as this machine can tell.

A database that was restored from yesterday's backup is whole and contradicts nothing in itself. If the log went on
from it, indexes that were acknowledged would be given to other entries, and a second history would be signed. What
lies outside of it tells:

    committed                  the mark of the last commit: a size and root that the database must reach
    public/checkpoint          the same, signed
    public/landmarks           no more records than the database knows
    public/tile/0, …/entries   no tile or bundle that holds more than the database

What only the witnesses remember, `chopmark_ledger.publication.publisher` hears from them.
"""

from __future__ import annotations

from chopmark import merkle
from chopmark.errors import ProofError
from chopmark.landmark import HEADER_SIZE, RECORD_SIZE
from chopmark.merkle import HashReader
from chopmark.tiles import TILE_WIDTH, entries_path, tile_path

from chopmark_ledger.errors import ForkError, LedgerDamagedError, RestoredBackupError
from chopmark_ledger.storage.public_folder import PublicFolder
from chopmark_ledger.storage.store import CommittedTree

_REMEDY = (
    "The database was restored from a backup, or its disk lost what it had confirmed: bring the newest one, or freeze "
    "this log as it was published and begin a new origin"
)


def check_reached(seen: CommittedTree, *, verb: str, size: int, read: HashReader, where: str) -> None:
    """Check that a size and root which were committed or published belong to the tree that the database holds.

    Args:
        seen: that size and root.
        verb: what was done with them, for messages.
        size: the size that the database holds.
        read: reads its nodes.
        where: the file that shows them.

    Raises:
        RestoredBackupError: the database does not reach that size.
        ForkError: it has another root there.
        LedgerDamagedError: it has lost a tile.
    """
    if seen.size > size:
        raise RestoredBackupError(
            f"size {seen.size} was {verb}, the database holds {size}", where=where, remedy=_REMEDY
        )
    try:
        root = merkle.root(seen.size, read)
    except ProofError as error:
        raise LedgerDamagedError(f"the database has lost a tile: {error}", where=where) from error
    if root != seen.root:
        raise ForkError(
            f"the root {verb} for size {seen.size} is not that of the database",
            where=where,
            remedy="Keep both as they are: this is two histories under one origin",
        )


def check_tiles(folder: PublicFolder, size: int) -> None:
    """Check that no file of the last tile holds more than `size` entries. Later tiles come only after that one.

    Raises:
        RestoredBackupError: one does.
    """
    index, width = divmod(size, TILE_WIDTH)
    for path in (tile_path(0, index), entries_path(index)):
        is_full = folder.size(path) is not None
        written = TILE_WIDTH if is_full else max(folder.partial_widths(path), default=0)
        if written > width:
            raise RestoredBackupError(
                f"entries up to {index * TILE_WIDTH + written} were written, the database holds {size}",
                where=str(folder.path / (path if is_full else f"{path}.p/{written}")),
                remedy=_REMEDY,
            )


def check_landmarks(folder: PublicFolder, name: str, records: int) -> None:
    """Check that the landmark file holds no more than the `records` that the database knows.

    Raises:
        RestoredBackupError: it does.
    """
    size = folder.size(name)
    if size is not None and size > HEADER_SIZE + RECORD_SIZE * records:
        raise RestoredBackupError(
            f"{(size - HEADER_SIZE) // RECORD_SIZE} landmarks were published, the database knows {records}",
            where=str(folder.path / name),
            remedy=_REMEDY,
        )
