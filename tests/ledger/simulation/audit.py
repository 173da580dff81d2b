"""The ledger's own check of a whole log, over simulated files."""

from __future__ import annotations

from collections.abc import Iterator

from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.audit.fsck import FsckReport, fsck
from chopmark_ledger.audit.tile_source import FileKind, FoundFile

from tests.ledger.simulation.file_system import FileSystem
from tests.ledger.simulation.invariants import PUBLIC, public, seen_content


class SimulatedSource:
    """The public folder of a simulated machine: a `chopmark_ledger.audit.tile_source.TileSource`."""

    name = "the simulated folder"

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    def read(self, path: str) -> bytes | None:
        return seen_content(self._files, public(path))

    def read_ahead(self, paths: Iterator[str]) -> None:
        """Nothing is fetched before it is read."""

    def found(self) -> Iterator[FoundFile]:
        for path, _ in self._files.files(PUBLIC):
            yield FoundFile("/".join(path[len(PUBLIC) :]), FileKind.FILE)

    def close(self) -> None:
        """Nothing is held open."""


def audit(files: FileSystem, policy: TlogPolicy) -> FsckReport:
    """Check what readers see of the log."""
    return fsck(SimulatedSource(files), policy=policy)
