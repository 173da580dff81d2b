"""Hashes of full nodes out of tiles, for whoever makes proofs.

A full node (level, index) of the tree lies in the tile of level `level // 8`; its hash is computed from the tile's
own, once per tile and not once per proof. A node never changes once it is full, so what was computed stays right,
though the tile it came from may have been partial.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from chopmark.errors import ProofError
from chopmark.tiles import TILE_HEIGHT

from chopmark_ledger.tree import tile_nodes

_KEPT_TILES = 256
"""With all its nodes a tile takes some 30 KiB."""

TileLoader = Callable[[Sequence[tuple[int, int]]], dict[tuple[int, int], bytes]]
"""Answers the hashes that tiles, named by (tile level, tile index), hold; one that does not exist is left out."""


class NodeReader:
    """A `chopmark.merkle.HashReader` over tiles. Safe to use from several threads."""

    def __init__(self, load: TileLoader) -> None:
        self._load = load
        self._tiles: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()
        self._mutex = threading.Lock()

    def __call__(self, nodes: list[tuple[int, int]]) -> list[bytes]:
        """Answer the hashes of full nodes, named by (level, index).

        Raises:
            ProofError: one of them is not in the tree.
        """
        with self._mutex:
            places = [_place(level, index) for level, index in nodes]
            missing = {tile for tile, height, position in places if not self._holds(tile, height, position)}
            loaded = {}
            if missing:
                loaded = {tile: tile_nodes(hashes) for tile, hashes in self._load(sorted(missing)).items()}
            hashes = []
            for tile, height, position in places:
                rows = loaded.get(tile) or self._tiles.get(tile, [])
                if height >= len(rows) or position >= len(rows[height]):
                    raise ProofError(f"the tree has no full node {position} at height {height} of tile {tile}")
                hashes.append(rows[height][position])
            self._keep(loaded)
            return hashes

    def _holds(self, tile: tuple[int, int], height: int, position: int) -> bool:
        rows = self._tiles.get(tile)
        if rows is None or height >= len(rows) or position >= len(rows[height]):
            return False
        self._tiles.move_to_end(tile)
        return True

    def _keep(self, loaded: dict[tuple[int, int], list[list[bytes]]]) -> None:
        self._tiles.update(loaded)
        while len(self._tiles) > _KEPT_TILES:
            self._tiles.popitem(last=False)


def _place(level: int, index: int) -> tuple[tuple[int, int], int, int]:
    tile_level, height = divmod(level, TILE_HEIGHT)
    tile_index = index >> (TILE_HEIGHT - height)
    return (tile_level, tile_index), height, index - (tile_index << (TILE_HEIGHT - height))
