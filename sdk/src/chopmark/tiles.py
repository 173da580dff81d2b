"""Tiles: a log's tree and entries as static files, and a reader of them that believes only what the root confirms.

Spec: https://c2sp.org/tlog-tiles; paths are relative to the log's prefix.

    tile/<L>/<N>[.p/<W>]          W hashes of 32 bytes; the n-th of tile N at level L covers the leaves
                                  [(256·N + n)·256^L, (256·N + n + 1)·256^L)
    tile/entries/<N>[.p/<W>]      W times uint16be length ‖ entry, those of tile/0/<N>

L is 0 to 63; N stands in groups of 3 digits, all but the last prefixed with `x`; a full tile has 256 hashes, 8,192
bytes, a partial one W = 1 to 255. At a given size only the last tile of a level is partial. Samples:

    tile/0/x001/x234/067          the hashes of the leaves 315,921,152 to 315,921,407
    tile/1/000.p/17               the first 17 full tiles of level 0, hashed
    tile/entries/273.p/112        the last entries of a log of 70,000
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from chopmark.errors import FormatError, LimitError, ProofError, StorageError
from chopmark.limits import LIMITS
from chopmark.merkle import EMPTY_ROOT, HASH_SIZE, fold_nodes, leaf_hash

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
LEVEL_MAX = 63

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)
_PATH_SIZE = 64
"""Characters of the longest path: an index below 2^63 takes 7 groups."""
_INDEX_MAX = 2**63 - 1
_CACHED_TILES = 256
"""Full tiles that a reader keeps: 2 MiB, many times what one proof needs."""

Fetch = Callable[[str], bytes]
"""Reads the file at a path relative to the log's prefix; raises `StorageError` where there is none."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The name of a tile: its level (None for a bundle of entries), its index, and how many elements it has."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= LEVEL_MAX:
            raise FormatError(f"a tile level is from 0 to {LEVEL_MAX}", where="tile path")
        if not 0 <= self.index <= _INDEX_MAX:
            raise FormatError("a tile index is from 0 to 2^63 − 1", where="tile path")
        if not 1 <= self.width <= TILE_WIDTH:
            raise FormatError(f"a tile has 1 to {TILE_WIDTH} elements", where="tile path")

    @property
    def path(self) -> str:
        """Where it is, relative to the log's prefix."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[position : position + 3] for position in range(0, len(digits), 3)]
        index = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{index}{partial}"


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Where a tile of hashes is, relative to the log's prefix.

    Raises:
        FormatError: there is no such tile.
    """
    return Tile(level, index, width).path


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Where a bundle of entries is, relative to the log's prefix.

    Raises:
        FormatError: there is no such bundle.
    """
    return Tile(None, index, width).path


def parse_tile_path(path: str) -> Tile:
    """Read the path of a tile or bundle, relative to the log's prefix.

    Raises:
        FormatError: it is none, or not in the one form that a path has.
    """
    match = _PATH.fullmatch(path) if len(path) <= _PATH_SIZE else None
    if match is None:
        raise FormatError(f"{path[:_PATH_SIZE]!r} is not the path of a tile", where="tile path")
    level, width = match["level"], match["width"]
    tile = Tile(
        None if level == "entries" else int(level),
        int(match["index"].replace("/", "").replace("x", "")),
        TILE_WIDTH if width is None else int(width),
    )
    if tile.path != path:
        raise FormatError(f"{path!r} is not in the one form that a path has: {tile.path}", where="tile path")
    return tile


def tile_at(level: int | None, index: int, size: int) -> Tile | None:
    """The tile, full or partial, as it stands in a log of `size` entries; None while it has no element."""
    width = min((size >> TILE_HEIGHT * (level or 0)) - index * TILE_WIDTH, TILE_WIDTH)
    return Tile(level, index, width) if width > 0 else None


def partial_tiles(size: int) -> tuple[Tile, ...]:
    """The partial tiles of hashes that a log of `size` entries ends in, from the lowest level up.

    Raises:
        FormatError: `size` is not from 0 to 2^63 − 1.
    """
    if not 0 <= size <= _INDEX_MAX:
        raise FormatError("the size of a log is from 0 to 2^63 − 1", where="tiles")
    tiles = []
    level = 0
    while size:
        if size % TILE_WIDTH:
            tiles.append(Tile(level, size // TILE_WIDTH, size % TILE_WIDTH))
        size >>= TILE_HEIGHT
        level += 1
    return tuple(tiles)


def decode_tile(data: bytes, width: int = TILE_WIDTH, *, where: str = "tile") -> list[bytes]:
    """Split a tile into its `width` hashes.

    Raises:
        FormatError: it has another size.
    """
    if len(data) != width * HASH_SIZE:
        raise FormatError(f"{len(data)} bytes where {width} hashes of {HASH_SIZE} are expected", where=where)
    return [data[position : position + HASH_SIZE] for position in range(0, len(data), HASH_SIZE)]


def encode_entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Write a bundle of 1 to 256 entries.

    Raises:
        FormatError: another number of them; `LimitError` when one is above 65,535 bytes.
    """
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise FormatError(f"a bundle has 1 to {TILE_WIDTH} entries, not {len(entries)}", where="entry bundle")
    parts = []
    for position, entry in enumerate(entries):
        if len(entry) > LIMITS.entry_size:
            raise LimitError(f"an entry of {len(entry)} bytes", where=f"entry bundle, entry {position}")
        parts += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(parts)


def decode_entry_bundle(data: bytes, count: int = TILE_WIDTH, *, where: str = "entry bundle") -> list[bytes]:
    """Split a bundle into its `count` entries.

    Raises:
        FormatError: there are fewer or more of them.
    """
    entries = []
    position = 0
    for number in range(count):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data):
            raise FormatError(f"ends within entry {number} of {count}", where=where)
        entries.append(data[start:position])
    if position != len(data):
        raise FormatError(f"{len(data) - position} bytes behind the last of {count} entries", where=where)
    return entries


class TileReader:
    """Reads nodes and entries of a log of a known size and root from its tiles: a `HashReader`.

    Nothing that was fetched is answered before it is known to hash up to the root: the partial tiles at the right edge
    hold exactly the nodes that make the root, and each full tile hashes to one element of the tile above it. So a
    reader trusts neither the store nor the network. It keeps the tiles that it verified; it is not for several threads
    at once.

    Args:
        fetch: reads a file of the log.
        size: entries of the checkpoint that is believed.
        root: the root hash of that checkpoint, 32 bytes.
    """

    def __init__(self, fetch: Fetch, size: int, root: bytes) -> None:
        self._fetch = fetch
        self.size = size
        self.root = root
        self._edge: dict[tuple[int, int], list[bytes]] | None = None
        self._full: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()

    def __call__(self, nodes: list[tuple[int, int]]) -> list[bytes]:
        """Answer the hashes of full nodes, named by (level, index).

        Raises:
            ProofError: a node is beyond the size, or what was fetched does not belong to the root.
            FormatError: a tile has another size than its path says.
            StorageError: a tile could not be read.
        """
        return [self._node(level, index) for level, index in nodes]

    def tile(self, level: int, index: int) -> list[bytes]:
        """Answer the hashes of a tile, as many as it has at this size.

        Raises:
            ProofError: the log has no such tile at this size, or what was fetched does not belong to the root.
            FormatError: a tile has another size than its path says.
            StorageError: a tile could not be read.
        """
        return list(self._tile(level, index))

    def entries(self, index: int) -> list[bytes]:
        """Answer a bundle of entries, as many as it has at this size: those of the leaves from 256·index.

        Raises:
            ProofError: the log has no such bundle at this size, or what was fetched does not belong to the root.
            FormatError: a tile or bundle has not the elements that its path says.
            StorageError: a tile or bundle could not be read.
        """
        hashes = self._tile(0, index)
        bundle = Tile(None, index, len(hashes))
        data, width = self._fetch_or_full(bundle)
        entries = decode_entry_bundle(data, width, where=bundle.path)[: len(hashes)]
        for position, (entry, expected) in enumerate(zip(entries, hashes, strict=True)):
            if leaf_hash(entry) != expected:
                raise ProofError(f"entry {index * TILE_WIDTH + position} is not what the tree holds", where=bundle.path)
        return entries

    def check_root(self) -> None:
        """Check that the tiles at the right edge make the root, without asking for any node.

        Raises:
            ProofError: they make another one.
            FormatError: a tile has another size than its path says.
            StorageError: a tile could not be read.
        """
        self._verified_edge()

    def _tile(self, level: int, index: int) -> list[bytes]:
        tile = tile_at(level, index, self.size) if level >= 0 and index >= 0 else None
        if tile is None:
            raise ProofError(f"a log of size {self.size} has no tile {index} at level {level}")
        edge = self._verified_edge()
        if tile.width < TILE_WIDTH:
            return edge[level, index]
        hashes = self._full.get((level, index))
        if hashes is None:
            expected = self._tile(level + 1, index // TILE_WIDTH)[index % TILE_WIDTH]
            hashes = self._read(tile)
            if _root_of_full(hashes) != expected:
                raise ProofError("the tile does not belong to the tree of this root", where=tile.path)
            self._full[level, index] = hashes
            if len(self._full) > _CACHED_TILES:
                self._full.popitem(last=False)
        else:
            self._full.move_to_end((level, index))
        return hashes

    def _node(self, level: int, index: int) -> bytes:
        if not 0 <= level <= LEVEL_MAX or index < 0 or index + 1 << level > self.size:
            raise ProofError(f"the node ({level}, {index}) is not full in a log of size {self.size}")
        tile_level, height = divmod(level, TILE_HEIGHT)
        in_tile = TILE_HEIGHT - height
        hashes = self._tile(tile_level, index >> in_tile)
        start = (index & (1 << in_tile) - 1) << height
        return _root_of_full(hashes[start : start + (1 << height)])

    def _verified_edge(self) -> dict[tuple[int, int], list[bytes]]:
        """The partial tiles, whose hashes together are the nodes that the root is made of."""
        if self._edge is None:
            edge = {}
            nodes: list[bytes] = []
            for tile in reversed(partial_tiles(self.size)):
                hashes = self._read(tile)
                edge[tile.level or 0, tile.index] = hashes
                start = 0
                for height in range(TILE_HEIGHT - 1, -1, -1):
                    if tile.width >> height & 1:
                        nodes.append(_root_of_full(hashes[start : start + (1 << height)]))
                        start += 1 << height
            if (fold_nodes(nodes) if nodes else EMPTY_ROOT) != self.root:
                raise ProofError(
                    f"the tiles make another root at size {self.size}",
                    where=", ".join(tile.path for tile in partial_tiles(self.size)) or "tiles",
                )
            self._edge = edge
        return self._edge

    def _read(self, tile: Tile) -> list[bytes]:
        data, width = self._fetch_or_full(tile)
        return decode_tile(data, width, where=tile.path)[: tile.width]

    def _fetch_or_full(self, tile: Tile) -> tuple[bytes, int]:
        """Fetch a tile; instead of a partial one that is gone, the full one that took its place."""
        try:
            return self._fetch(tile.path), tile.width
        except StorageError:
            if tile.width == TILE_WIDTH:
                raise
            try:
                return self._fetch(Tile(tile.level, tile.index).path), TILE_WIDTH
            except StorageError:
                pass
            raise


def _root_of_full(hashes: list[bytes]) -> bytes:
    """Hash a power of two of nodes into the one above them."""
    while len(hashes) > 1:
        hashes = [sha256(b"\1" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]
