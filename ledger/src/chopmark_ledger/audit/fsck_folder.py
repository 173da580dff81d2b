"""What else lies in the folder of a log beside the files that its checkpoint needs.

Spec: https://c2sp.org/tlog-tiles. Partial tiles and bundles of earlier sizes may lie there, and must be beginnings of
the newer ones. A path that a careless reader would take for that of a tile, and that is none, is damage; so is anything
else than a file in the place of one. In a log of ours nothing is a symbolic link. What lies beyond the checkpoint, or
has a name of its own, is remarked upon and not judged. A log that is fetched cannot be listed, and none of this is
looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chopmark import tiles
from chopmark.errors import FormatError, StorageError
from chopmark.merkle import HASH_SIZE
from chopmark.tiles import TILE_HEIGHT, TILE_WIDTH, Tile

from chopmark_ledger.audit.fsck_findings import Findings
from chopmark_ledger.audit.tile_source import FileKind, FoundFile, TileSource

_FOLDER = re.compile(r"tile(?:/(?:entries|[0-9]+)(?:/x[0-9]{3})*(?:/[0-9]{3}\.p)?)?", re.ASCII)
_LIKE_A_TILE = re.compile(r"tile/(?:entries|[0-9]+)/(?:x?[0-9]+/)*x?[0-9]+(?:\.p/[0-9]+)?", re.ASCII)


@dataclass(slots=True)
class FolderCheck:
    """One look at everything that lies in the folder of a log of `size` entries."""

    source: TileSource
    size: int
    is_ours: bool
    findings: Findings
    _compared: tuple[str, bytes] | None = None
    """The newer file that was compared last: its path and its bytes."""

    def run(self) -> None:
        """Look at every file; what is wrong is named in the findings."""
        found = self.source.found()
        if found is None:
            self.findings.remark(self.source.name, "it cannot be listed, so only what the checkpoint needs was checked")
            return
        for each in found:
            self._look_at(each)

    def _look_at(self, found: FoundFile) -> None:
        path, kind = found.path, found.kind
        if kind is FileKind.LINK:
            if self.is_ours:
                self.findings.damage(path, "a symbolic link, which a log of ours never has")
            else:
                self.findings.remark(path, "a symbolic link")
            return
        if kind is FileKind.UNREADABLE:
            self.findings.damage(path, "the folder cannot be read")
            return
        if not path.startswith("tile"):
            return
        tile = _tile(path)
        if tile is None:
            if kind is FileKind.FOLDER:
                return
            if _FOLDER.fullmatch(path):
                self.findings.damage(path, f"{kind.value} lies where a folder belongs")
            elif _LIKE_A_TILE.fullmatch(path):
                self.findings.damage(path, "misnamed: like a tile, and not in the one form that its path has")
            else:
                self.findings.remark(path, "not a file of tlog-tiles, not checked")
            return
        at_level = self.size >> TILE_HEIGHT * (tile.level or 0)
        end = tile.index * TILE_WIDTH + tile.width
        if kind is not FileKind.FILE:
            if not self.findings.is_damaged(path):
                self.findings.damage(path, f"{kind.value} lies where a file belongs")
        elif end > at_level:
            self.findings.remark(path, "beyond the checkpoint, not checked")
        elif tile.width < TILE_WIDTH and end != at_level:
            self._earlier_partial(tile, min(TILE_WIDTH, at_level - tile.index * TILE_WIDTH))

    def _earlier_partial(self, tile: Tile, width: int) -> None:
        """Compare a partial tile with the newer one, which has `width` elements."""
        newer = self._newer(tile, width)
        if newer is None:
            return
        newer_path, whole = newer
        try:
            data = self.source.read(tile.path)
            if data is None:  # the log removes it once the full one is there
                return
            if tile.level is None:
                tiles.decode_entry_bundle(data, tile.width)
            elif len(data) != tile.width * HASH_SIZE:
                raise FormatError(f"{len(data)} bytes where {tile.width * HASH_SIZE} are expected")
        except (StorageError, FormatError) as error:
            self.findings.damage(tile.path, error.what)
            return
        if not whole.startswith(data):
            self.findings.damage(tile.path, f"is not the beginning of {newer_path}")

    def _newer(self, tile: Tile, width: int) -> tuple[str, bytes] | None:
        """The newest form of a tile, the full one where its partial one is gone; None where it is damaged."""
        for path in (Tile(tile.level, tile.index, width).path, Tile(tile.level, tile.index).path):
            if self._compared is not None and self._compared[0] == path:
                return self._compared
            if self.findings.is_damaged(path):
                self.findings.remark(tile.path, f"not checked, as {path} is damaged")
                return None
            try:
                whole = self.source.read(path)
            except (StorageError, FormatError) as error:
                self.findings.damage(path, error.what)
                return None
            if whole is not None:
                self._compared = path, whole
                return self._compared
        return None


def _tile(path: str) -> Tile | None:
    try:
        return tiles.parse_tile_path(path)
    except FormatError:
        return None
