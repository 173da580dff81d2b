"""The one history that a log must have, as somebody sees it who believes nothing but the entries.

Roots, tiles and bundles are computed here by RFC 9162 §2.1.1 and tlog-tiles, with no code of the ledger, and kept,
because they are asked for after every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

TILE_WIDTH = 256

Name = str
"""The name of a static file, relative to the public folder."""


class History:
    """The entries of a log, in their order; it only grows, but for `cut`."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries: list[bytes] = []
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._files: dict[Name, bytes] = {}
        self._needed: dict[int, dict[tuple[str, ...], bytes]] = {}
        self._roots: dict[int, bytes] = {}
        self.extend(entries)

    def copy(self) -> History:
        """Another history that begins as this one."""
        other = History(())
        other.entries = list(self.entries)
        other._nodes = dict(self._nodes)
        other._files = dict(self._files)
        return other

    @property
    def size(self) -> int:
        """Entries."""
        return len(self.entries)

    def extend(self, entries: Sequence[bytes]) -> None:
        """Let entries follow."""
        for entry in entries:
            index = len(self.entries)
            self.entries.append(entry)
            self._nodes[0, index] = sha256(b"\x00" + entry).digest()

    def cut(self, size: int) -> None:
        """Forget the entries from `size` on."""
        del self.entries[size:]
        self._nodes = {node: digest for node, digest in self._nodes.items() if node[1] + 1 << node[0] <= size}
        self._files.clear()
        self._needed.clear()
        self._roots.clear()

    def node(self, level: int, index: int) -> bytes:
        """The hash of the full subtree of 2^level entries."""
        found = self._nodes.get((level, index))
        if found is None:
            left, right = self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1)
            found = self._nodes[level, index] = sha256(b"\x01" + left + right).digest()
        return found

    def root(self, size: int) -> bytes:
        """The root of the first `size` entries."""
        found = self._roots.get(size)
        if found is None:
            found = self._roots[size] = self.subtree(0, size)
        return found

    def subtree(self, start: int, end: int) -> bytes:
        """The hash of the entries [start, end); `start` is a multiple of a power of two that is not below their
        number."""
        size = end - start
        level = size.bit_length() - 1
        if size == 1 << level:
            return self.node(level, start >> level)
        middle = start + (1 << level)
        return sha256(b"\x01" + self.subtree(start, middle) + self.subtree(middle, end)).digest()

    def needed_files(self, size: int) -> dict[tuple[str, ...], bytes]:
        """The tiles and bundles that a reader of the checkpoint of this size needs, by the parts of their names, and
        what they must hold."""
        found = self._needed.get(size)
        if found is None:
            found = self._needed[size] = {tuple(name.split("/")): self.file(name) for name in names_of(size)}
        return found

    def file(self, name: Name) -> bytes:
        """What the tile or bundle of this name holds."""
        found = self._files.get(name)
        if found is None:
            kind, index, width = parse_name(name)
            first = index * TILE_WIDTH
            if kind == "entries":
                entries = self.entries[first : first + width]
                found = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
            else:
                found = b"".join(self.node(8 * int(kind), number) for number in range(first, first + width))
            self._files[name] = found
        return found


def names_of(size: int) -> Iterator[Name]:
    """The tiles and bundles of a log of this size."""
    level, row = 0, size
    while row:
        for index in range(-(-row // TILE_WIDTH)):
            width = min(TILE_WIDTH, row - index * TILE_WIDTH)
            yield name_of(str(level), index, width)
            if level == 0:
                yield name_of("entries", index, width)
        level, row = level + 1, row // TILE_WIDTH


def name_of(kind: str, index: int, width: int) -> Name:
    """The name of a tile or bundle, as tlog-tiles spells it."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03d}")
    return f"tile/{kind}/{'/'.join(groups)}" + (f".p/{width}" if width < TILE_WIDTH else "")


def parse_name(name: Name) -> tuple[str, int, int]:
    """The kind, index and width of a tile or bundle."""
    _, kind, *groups = name.split("/")
    width = TILE_WIDTH
    if groups[-2:-1] and groups[-2].endswith(".p"):
        width = int(groups.pop())
        groups[-1] = groups[-1].removesuffix(".p")
    return kind, int("".join(groups).replace("x", "")), width
