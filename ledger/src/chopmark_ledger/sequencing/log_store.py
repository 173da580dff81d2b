"""What a log needs of whatever holds its truth.

`chopmark_ledger.storage.store.LedgerStore` is it, over a database; a simulation brings its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chopmark.landmark import LandmarkRecord

from chopmark_ledger.storage.store import CommittedBatch, CommittedTree, LogIdentity, Publication
from chopmark_ledger.tree import TileRun, TreeEdge


class LogStore(Protocol):
    """The truth of one log. Each method is one transaction, and what it wrote is durable when it returns.

    Where a method that writes raises `StorageError`, nothing of it was committed, and the log goes on. Where it
    raises anything else, as `CommitUnknownError`, the outcome is unknown, and the log stops.
    """

    @property
    def where(self) -> str:
        """Where it is, for messages."""
        ...

    def create(self, identity: LogIdentity, genesis: bytes, edge: TreeEdge, tiles: Sequence[TileRun]) -> None:
        """Put in who the log is, and its genesis entry; `FolderError` where there is a log already."""
        ...

    def identity(self) -> LogIdentity:
        """Read who the log is; `FolderError` where none was created."""
        ...

    def tree(self) -> CommittedTree:
        """Read the committed size and root."""
        ...

    def commit(
        self,
        old: CommittedTree,
        new: TreeEdge,
        tiles: Sequence[TileRun],
        entries: Sequence[bytes],
        batches: Sequence[CommittedBatch],
    ) -> None:
        """Commit entries, with the tiles, size and root they make and the batches they were.

        Raises:
            LogStoppedError: it holds another size and root than `old`.
        """
        ...

    def batches(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], CommittedBatch]:
        """Read those of the batches, named by client and number, that there are."""
        ...

    def entries(self, start: int, end: int) -> list[bytes]:
        """Read those of the entries [start, end) that there are."""
        ...

    def tiles(self, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Read the hashes of those of the tiles, named by (level, index), that there are."""
        ...

    def publication(self) -> Publication | None:
        """Read what was published last, None before the first time."""
        ...

    def record_publication(self, publication: Publication) -> None:
        """Note what now stands in the public folder."""
        ...

    def landmarks(self) -> tuple[list[LandmarkRecord], int]:
        """Read the records of the landmark file, and when the present interval began (POSIX seconds)."""
        ...

    def landmark_count(self) -> int:
        """Count the records of the landmark file, without reading them."""
        ...

    def add_landmarks(self, records: Sequence[LandmarkRecord], *, position: int, now: int) -> None:
        """Add records from `position` on, and let the next interval begin at `now`."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...
