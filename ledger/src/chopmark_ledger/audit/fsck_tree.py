"""Checking the tiles and entry bundles that a checkpoint covers.

Spec: https://c2sp.org/tlog-tiles.

Trust runs downwards. The partial tiles at the edge of the tree must hash to the root; a tile must hash to what the
tile above says of it; an entry bundle must hash to its tile at level 0. So each damage is named where it lies. Where a
tile is missing or wrong, what lies below it is hashed upwards instead, so that one bad tile does not cast doubt on all
that hangs from it.

Held at any time are one tile for each level and one bundle. Below a tile under which nothing lies nothing is looked
for: a checkpoint may claim any size, and the work is bounded by the files that are there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from typing import TypeVar

from chopmark import tiles
from chopmark.errors import FormatError, StorageError
from chopmark.merkle import HASH_SIZE
from chopmark.tiles import TILE_HEIGHT, TILE_WIDTH, Tile

from chopmark_ledger import tree
from chopmark_ledger.audit.fsck_findings import Findings
from chopmark_ledger.audit.tile_source import FileKind, TileSource

OnEntries = Callable[[list[bytes], int, str], None]
"""Told of entries that are not known to be wrong: the entries, the index of the first, and the path of the bundle."""

_ASKED_STRIDE = 64
"""Where tiles cannot be listed, every so many of them are asked for to learn whether any is there."""

_Content = TypeVar("_Content")


@dataclass(slots=True)
class TreeCheck:
    """One check of the tree of `size` entries with this `root` (32 bytes); `run` names what is wrong in `findings`.

    `on_progress` is told how many entries were gone through, now and then.
    """

    source: TileSource
    size: int
    root: bytes
    findings: Findings
    on_entries: OnEntries
    on_progress: Callable[[int], None]
    _present: dict[int | None, array[int]] | None = field(init=False, default=None)

    def run(self) -> None:
        """Check everything that the checkpoint covers, from the first entry to the last."""
        edge = tiles.partial_tiles(self.size)
        trusted = self._edge(edge)
        for tile in reversed(edge):
            level, hashes = tile.level or 0, trusted.get(tile)
            if level == 0:
                self._bundle(tile.index, tile.width, hashes)
            elif hashes is not None or self._anything_below(level, tile.index, tile.width):
                self._below(level, tile.index, tile.width, hashes)
            else:
                self._all_missing(level, tile.index, tile.width)

    def _edge(self, edge: tuple[Tile, ...]) -> dict[Tile, bytes]:
        """Find out which hashes at the edge of the tree lead to the root; none where the root cannot be reached."""
        found = {tile: self._tile(tile.level or 0, tile.index, tile.width) for tile in edge}
        candidates = {tile: [] if hashes is None else [hashes] for tile, hashes in found.items()}
        chosen = self._leading_to_root(candidates)
        for derive in (self._from_below, self._from_entries):
            if chosen is not None:
                break
            # Something at the edge is wrong: take each tile as it stands, or as what lies below it makes it.
            for tile in edge:
                derived = derive(tile.level or 0, tile.index, tile.width)
                if derived is not None and derived not in candidates[tile]:
                    candidates[tile].append(derived)
            chosen = self._leading_to_root(candidates)
        if chosen is None:
            self.findings.damage(
                "checkpoint", "the tiles at the edge of the tree do not lead to its root, nor does what is below them"
            )
            return {}
        for tile, hashes in found.items():
            if hashes is not None and hashes != chosen[tile]:
                self.findings.damage(tile.path, "does not lead to the root of the checkpoint")
        return chosen

    def _leading_to_root(self, candidates: dict[Tile, list[bytes]]) -> dict[Tile, bytes] | None:
        """The first choice of candidates that makes the root; there are at most three of a tile, and eight tiles."""
        for choice in product(*candidates.values()):
            chosen = dict(zip(candidates, choice, strict=True))
            partials = {tile.level or 0: hashes for tile, hashes in chosen.items()}
            if tree.edge_from_tiles(self.size, partials).root == self.root:
                return chosen
        return None

    def _below(self, level: int, index: int, width: int, hashes: bytes | None) -> list[bytes | None]:
        """Check the full tiles below a tile whose hashes are to be believed, where they are known; see `_subtree`."""
        first = index * TILE_WIDTH
        if level == 1:
            self.source.read_ahead(_paths_at_the_bottom(first, width))
        expected: Iterable[bytes | None] = [None] * width if hashes is None else _split(hashes)
        return [self._subtree(level - 1, first + place, told) for place, told in enumerate(expected)]

    def _subtree(self, level: int, index: int, expected: bytes | None) -> bytes | None:
        """Check the full tile (level, index) and all below it.

        Args:
            level: the tile level.
            index: the tile index.
            expected: what the tile above says it hashes to, None where that is not known.

        Returns:
            What it hashes to; None where that cannot be told.
        """
        hashes = self._tile(level, index)
        if expected is None:
            return self._upwards(level, index, hashes, None)
        if hashes is not None and root_of_tile(hashes) != expected:
            self.findings.damage(tiles.tile_path(level, index), "does not hash to what the tile above it says")
            hashes = None
        if hashes is None and level > 0:
            hashes = self._recovered(level, index, expected)
        if hashes is None:
            return self._upwards(level, index, None, expected)
        if level == 0:
            self._bundle(index, TILE_WIDTH, hashes)
        else:
            self._below(level, index, TILE_WIDTH, hashes)
        return expected

    def _recovered(self, level: int, index: int, expected: bytes) -> bytes | None:
        """The hashes of a tile that is missing or wrong, from what lies below it, where that still makes them."""
        for derive in (self._from_below, self._from_entries):
            hashes = derive(level, index, TILE_WIDTH)
            if hashes is not None and root_of_tile(hashes) == expected:
                return hashes
        return None

    def _upwards(self, level: int, index: int, hashes: bytes | None, expected: bytes | None) -> bytes | None:
        """Hash what lies below a tile that is missing or wrong (`hashes` is None), or that nothing vouches for."""
        if level == 0:
            return self._bundle_upwards(index, hashes, expected)
        if not self._anything_below(level, index):
            self._all_missing(level, index, TILE_WIDTH)
            return expected if hashes is None else root_of_tile(hashes)
        below = _joined(self._below(level, index, TILE_WIDTH, None))
        path = tiles.tile_path(level, index)
        if below is None:
            return expected if hashes is None else root_of_tile(hashes)
        if expected is not None and root_of_tile(below) != expected:
            first, last = _span(level, index, TILE_WIDTH)
            self.findings.damage(
                path, f"nor do the entries {first} to {last} below it hash to what the tile above it says"
            )
            return expected
        if hashes is not None and hashes != below:
            self.findings.damage(path, "does not match what lies below it")
            return None
        return root_of_tile(below)

    def _all_missing(self, level: int, index: int, width: int) -> None:
        first, last = _span(level, index, width)
        path = tiles.entries_path(first // TILE_WIDTH)
        self.findings.damage(path, f"missing, with all others up to that of entry {last}")
        self.on_progress(last + 1 - first)

    def _bundle_upwards(self, index: int, hashes: bytes | None, expected: bytes | None) -> bytes | None:
        """Judge a full bundle by its tile where nothing vouches for that, or by the tile above where it is gone."""
        read = self._entries(index, TILE_WIDTH)
        self.on_progress(TILE_WIDTH)
        if read is None:
            return expected if hashes is None else root_of_tile(hashes)
        path, entries = read
        leaves = b"".join(_leaf_hashes(entries))
        if expected is not None and root_of_tile(leaves) != expected:
            self.findings.damage(path, "nor does it hash to what the tile above its own says")
            return expected
        if hashes is not None and hashes != leaves:
            self.findings.damage(tiles.tile_path(0, index), "does not match what lies below it")
            return None
        self.on_entries(entries, index * TILE_WIDTH, path)
        return root_of_tile(leaves)

    def _bundle(self, index: int, width: int, hashes: bytes | None) -> None:
        """Check an entry bundle against the hashes of its tile at level 0, where those are known."""
        read = self._entries(index, width)
        self.on_progress(width)
        if read is None:
            return
        path, entries = read
        leaves = _leaf_hashes(entries)
        first = index * TILE_WIDTH
        if hashes is None or b"".join(leaves) == hashes:
            self.on_entries(entries, first, path)
            return
        wrong = [place for place, (leaf, told) in enumerate(zip(leaves, _split(hashes), strict=True)) if leaf != told]
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        self.findings.damage(path, f"entry {first + wrong[0]} does not hash to its leaf{more}")

    def _from_below(self, level: int, index: int, width: int) -> bytes | None:
        """What the tiles just below a tile, or their bundles where one is gone, say it holds; no damage is named."""
        if level == 0:
            return self._from_entries(level, index, width)
        below = (
            self._tile(level - 1, each, quiet=True) or self._from_below(level - 1, each, TILE_WIDTH)
            for each in _indexes_below(index, width)
        )
        return _joined(None if hashes is None else root_of_tile(hashes) for hashes in below)

    def _from_entries(self, level: int, index: int, width: int) -> bytes | None:
        """What the entries below a tile make it; no damage is named."""
        if level == 0:
            read = self._entries(index, width, quiet=True)
            return None if read is None else b"".join(_leaf_hashes(read[1]))
        below = (self._from_entries(level - 1, each, TILE_WIDTH) for each in _indexes_below(index, width))
        return _joined(None if hashes is None else root_of_tile(hashes) for hashes in below)

    def _anything_below(self, level: int, index: int, width: int = TILE_WIDTH) -> bool:
        """Whether any tile or entry bundle lies below the tile (level, index)."""
        children = _indexes_below(index, width)
        present = self._listed()
        if present is None:
            # What cannot be listed is asked for here and there.
            asked = dict.fromkeys((*children[::_ASKED_STRIDE], children[-1]))
            paths = [path for each in asked for path in _first_paths(level - 1, each)]
            self.source.read_ahead(iter(paths))
            return any(self._is_there(path) for path in paths)
        for lower in (None, *range(level)):
            shift = TILE_HEIGHT * (level - 1 - (lower or 0))
            indexes = present.get(lower, array("q"))
            position = bisect_left(indexes, children[0] << shift)
            if position < len(indexes) and indexes[position] < children[-1] + 1 << shift:
                return True
        return False

    def _is_there(self, path: str) -> bool:
        try:
            return self.source.read(path) is not None
        except (StorageError, FormatError):
            return True

    def _listed(self) -> dict[int | None, array[int]] | None:
        """The indexes of the files that lie there, ascending, by level; None where they cannot be listed."""
        if self._present is None:
            found = self.source.found()
            if found is None:
                return None
            present: dict[int | None, array[int]] = {}
            for each in found:
                if each.kind is FileKind.FILE:
                    try:
                        tile = tiles.parse_tile_path(each.path)
                    except FormatError:
                        continue
                    present.setdefault(tile.level, array("q")).append(tile.index)
            self._present = {level: array("q", sorted(indexes)) for level, indexes in present.items()}
        return self._present

    def _entries(self, index: int, width: int, *, quiet: bool = False) -> tuple[str, list[bytes]] | None:
        """Read a bundle, with the path it came from; None where it is missing or malformed, which is then named."""
        return self._content(Tile(None, index, width), width, _decode_bundle, quiet=quiet)

    def _tile(self, level: int, index: int, width: int = TILE_WIDTH, *, quiet: bool = False) -> bytes | None:
        """Read the first hashes of a tile; None where it is missing or malformed, which is then named."""
        read = self._content(Tile(level, index, width), width, _decode_tile, quiet=quiet)
        return None if read is None else read[1]

    def _content(
        self, tile: Tile, width: int, decode: Callable[[bytes, Tile, int], _Content], *, quiet: bool
    ) -> tuple[str, _Content] | None:
        """Read a tile or bundle, from the full one where the partial one is gone or damaged."""
        is_there = False
        for each in (tile,) if width == TILE_WIDTH else (tile, Tile(tile.level, tile.index)):
            path = each.path
            try:
                data = self.source.read(path)
                if data is not None:
                    is_there = True
                    return path, decode(data, each, width)
            except (StorageError, FormatError) as error:
                is_there = True
                if not quiet:
                    self.findings.damage(path, error.what)
        if not is_there and not quiet:
            self.findings.damage(tile.path, "missing")
        return None


def root_of_tile(hashes: bytes) -> bytes:
    """Hash the 256 hashes of a full tile into the one that the tile above holds."""
    while len(hashes) > HASH_SIZE:
        hashes = b"".join(
            [sha256(b"\1" + hashes[at : at + 2 * HASH_SIZE]).digest() for at in range(0, len(hashes), 2 * HASH_SIZE)]
        )
    return hashes


def _decode_tile(data: bytes, tile: Tile, width: int) -> bytes:
    if len(data) != tile.width * HASH_SIZE:
        raise FormatError(f"{len(data)} bytes where {tile.width * HASH_SIZE} are expected")
    return data[: width * HASH_SIZE]


def _decode_bundle(data: bytes, tile: Tile, width: int) -> list[bytes]:
    return tiles.decode_entry_bundle(data, tile.width)[:width]


def _leaf_hashes(entries: list[bytes]) -> list[bytes]:
    return [sha256(b"\0" + entry).digest() for entry in entries]


def _paths_at_the_bottom(first: int, count: int) -> Iterator[str]:
    """The tiles at level 0 and their bundles, in the order in which they are read."""
    for index in range(first, first + count):
        yield tiles.tile_path(0, index)
        yield tiles.entries_path(index)


def _first_paths(level: int, index: int) -> tuple[str, str]:
    """A full tile, and the first bundle below it."""
    return tiles.tile_path(level, index), tiles.entries_path(index << TILE_HEIGHT * level)


def _indexes_below(index: int, width: int) -> range:
    return range(index * TILE_WIDTH, index * TILE_WIDTH + width)


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[start : start + HASH_SIZE] for start in range(0, len(hashes), HASH_SIZE)]


def _joined(hashes: Iterable[bytes | None]) -> bytes | None:
    """The hashes in one; None, without asking further, once one of them is."""
    known = []
    for each in hashes:
        if each is None:
            return None
        known.append(each)
    return b"".join(known)


def _span(level: int, index: int, width: int) -> tuple[int, int]:
    """The first and the last entry below a tile of that width."""
    span = TILE_WIDTH**level
    first = index * TILE_WIDTH * span
    return first, first + width * span - 1
