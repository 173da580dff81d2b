"""The growing edge of the Merkle tree: leaves in, full tiles and the new root out.

Spec: https://c2sp.org/tlog-tiles. The hash tile (L, N) holds the hashes of up to 256 consecutive nodes of height 8·L,
32 bytes each. What is not in a full tile yet is the edge: per tile level at most 255 hashes, and per node level at
most one peak, a full node that is not yet part of a larger one.

    size 70,000   peaks at the levels 16, 12, 8, 6, 5, 4
                  edge  level 0: 112 hashes of tile 273 · level 1: 17 of tile 1 · level 2: 1 of tile 0

Appending k leaves costs 2·k hashes and O(log n) beside, whatever the size. Pure values: nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from chopmark.merkle import HASH_SIZE, fold_nodes
from chopmark.tiles import TILE_HEIGHT, TILE_WIDTH, partial_tiles

TILE_SIZE = TILE_WIDTH * HASH_SIZE


@dataclass(frozen=True, slots=True)
class TreeEdge:
    """A tree of `size` leaves, as far as appending to it needs to know.

    `partials[L]` holds the hashes of the last tile of level L while it is not full (32·n bytes, 1 ≤ n ≤ 255);
    `peaks[l]` is the full node at level l that stands alone, for each bit that is set in `size`.
    """

    size: int
    partials: Mapping[int, bytes]
    peaks: Mapping[int, bytes]

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        return fold_nodes([self.peaks[level] for level in sorted(self.peaks, reverse=True)])


@dataclass(frozen=True, slots=True)
class TileRun:
    """Hashes that tile (level, index) holds from now on; 8,192 bytes when it is full."""

    level: int
    index: int
    hashes: bytes


EMPTY_EDGE = TreeEdge(0, {}, {})


def leaf_hashes(entries: Sequence[bytes]) -> list[bytes]:
    """Hash entries as leaves; see `chopmark.merkle.leaf_hash`."""
    return [sha256(b"\0" + entry).digest() for entry in entries]


def append(edge: TreeEdge, leaf_hashes: Sequence[bytes]) -> tuple[TreeEdge, list[TileRun]]:
    """Append leaves; also answers every tile that they filled, began or continued, with all of its hashes."""
    peaks = dict(edge.peaks)
    partials = dict(edge.partials)
    tiles: list[TileRun] = []
    level = 0
    first = edge.size  # the index, at this level, of the first of the new nodes
    nodes = list(leaf_hashes)
    while nodes:
        if level % TILE_HEIGHT == 0:
            _into_tiles(level // TILE_HEIGHT, first, nodes, partials, tiles)
        if first & 1:
            nodes.insert(0, peaks.pop(level))
            first -= 1
        if len(nodes) & 1:
            peaks[level] = nodes.pop()
        parents = iter(nodes)
        nodes = [sha256(b"\1" + left + right).digest() for left, right in zip(parents, parents, strict=True)]
        first >>= 1
        level += 1
    return TreeEdge(edge.size + len(leaf_hashes), partials, peaks), tiles


def _into_tiles(
    tile_level: int, first: int, nodes: Sequence[bytes], partials: dict[int, bytes], tiles: list[TileRun]
) -> None:
    index = first // TILE_WIDTH
    run = partials.pop(tile_level, b"") + b"".join(nodes)
    for start in range(0, len(run), TILE_SIZE):
        hashes = run[start : start + TILE_SIZE]
        tiles.append(TileRun(tile_level, index, hashes))
        index += 1
    if len(run) % TILE_SIZE:
        partials[tile_level] = tiles[-1].hashes


def edge_from_tiles(size: int, partials: Mapping[int, bytes]) -> TreeEdge:
    """Rebuild an edge from its partial tiles, by level; they are those of `partial_tiles(size)`, of that width."""
    peaks: dict[int, bytes] = {}
    for tile in partial_tiles(size):
        tile_level = tile.level or 0
        row = [partials[tile_level][i : i + HASH_SIZE] for i in range(0, tile.width * HASH_SIZE, HASH_SIZE)]
        level = tile_level * TILE_HEIGHT
        while row:
            if len(row) & 1:
                peaks[level] = row.pop()
            parents = iter(row)
            row = [sha256(b"\1" + left + right).digest() for left, right in zip(parents, parents, strict=True)]
            level += 1
    return TreeEdge(size, dict(partials), peaks)


def tile_nodes(hashes: bytes) -> list[list[bytes]]:
    """Compute the full nodes within a tile: by height 0–8 above the tile's own level, then by position."""
    row = [hashes[i : i + HASH_SIZE] for i in range(0, len(hashes), HASH_SIZE)]
    rows = [row]
    while len(row) > 1:
        pairs = iter(row[: len(row) & ~1])
        row = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
        rows.append(row)
    return rows
