"""`pymerkle` appending entries to a tree in memory, and taking its root after each thousand; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pymerkle  # type: ignore[import-not-found]  # stands in the environment of the peers only

from bench.peers.driver import serve


def prepare(material: dict[str, Any]) -> Callable[[], object]:
    """Take `entries`, how many there are at the beginning, `batch`, how many one operation adds, and `size` in bytes
    of each."""
    numbers = count()
    batch, size = material["batch"], material["size"]

    def entries(many: int) -> list[bytes]:
        return [next(numbers).to_bytes(size, "big") for _ in range(many)]

    tree = pymerkle.InmemoryTree.init_from_entries(entries(material["entries"]), algorithm="sha256")

    def append() -> bytes:
        tree.append_entries(entries(batch))
        root: bytes = tree.get_root()
        return root

    return append


if __name__ == "__main__":
    serve(prepare, ("pymerkle",))
