"""Check a whole tlog-tiles folder against its checkpoint: ours or anybody's, from the static files alone.

Spec: https://c2sp.org/tlog-tiles.

Trust runs downwards. The checkpoint's signature vouches for the root; the partial tiles at the edge of the tree must
hash to it; a tile must hash to what the tile above says of it; an entry bundle must hash to its tile at level 0. So
each damage is named where it lies. Where a tile is missing or wrong, what lies below it is hashed upwards and compared
with the tile above, so that one bad tile does not cast doubt on a whole log. Below a tile under which no file lies
nothing is looked for: a checkpoint may claim any size, and the work is bounded by the files that are there.

Older partial tiles and bundles must be beginnings of the full ones. What lies beyond the checkpoint, or is no file of
tlog-tiles, is remarked upon and not judged. In a log of ours, known by its genesis entry, every entry must parse, and
the landmark file must follow from the tiles.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from pathlib import Path

from chopmark import durable_file, merkle, tiles
from chopmark.checkpoint import Checkpoint
from chopmark.entries import GenesisEntry, parse_entry
from chopmark.errors import ChopmarkError, FormatError, LimitError, SignatureError, StorageError
from chopmark.landmark import LandmarkFile
from chopmark.limits import LIMITS
from chopmark.merkle import HASH_SIZE
from chopmark.note import Note, NoteVerifier
from chopmark.tiles import TILE_WIDTH

from chopmark_ledger import tree
from chopmark_ledger.landmarks import FILE_NAME as LANDMARKS
from chopmark_ledger.nodes import NodeReader

_MAX_BUNDLE = TILE_WIDTH * (2 + LIMITS.entry_size)


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of the log that is not as it must be, and how."""

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was found: the checkpoint's size and root (32 bytes; None where it cannot be believed), every damage in
    the order of the walk, and remarks on what was not judged."""

    origin: str | None
    size: int | None
    root: bytes | None
    damage: tuple[Damage, ...]
    remarks: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage


def fsck(
    folder: Path,
    *,
    vkey: str,
    origin: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FsckReport:
    """Check the log in `folder`.

    Args:
        folder: where `checkpoint` and `tile/` are.
        vkey: the key that signs the checkpoint.
        origin: the origin to expect; the key's name where not given.
        progress: told, now and then, how many entries of how many are checked.

    Raises:
        FormatError, KeyMaterialError: the vkey is none.
        StorageError: the folder is missing, or a file in it cannot be read.
    """
    verifier = NoteVerifier.from_vkey(vkey)
    if not folder.is_dir():
        raise StorageError("there is no such folder", where=str(folder))
    try:
        checkpoint = _checkpoint(folder, verifier, origin or verifier.name)
    except (FormatError, SignatureError) as error:
        return FsckReport(None, None, None, (Damage("checkpoint", str(error)),), ())
    walk = _Walk(folder, checkpoint, progress, _indexes(folder))
    walk.run()
    return FsckReport(
        checkpoint.origin, checkpoint.size, checkpoint.root, tuple(walk.damage), tuple(dict.fromkeys(walk.remarks))
    )


def _checkpoint(folder: Path, verifier: NoteVerifier, origin: str) -> Checkpoint:
    data = durable_file.read_file(folder / "checkpoint", max_size=LIMITS.note_size)
    if data is None:
        raise FormatError("missing")
    note = Note.parse(data)
    note.verify([verifier])
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != origin:
        raise FormatError(f"the origin is {checkpoint.origin!r}, not {origin!r}")
    return checkpoint


@dataclass(slots=True)
class _Walk:
    """One check of one log; `damage` and `remarks` fill as it goes."""

    folder: Path
    checkpoint: Checkpoint
    progress: Callable[[int, int], None] | None
    present: dict[int, list[int]]
    """The indexes of the files that are there, ascending, by tile level; those of entry bundles under -1."""
    damage: list[Damage] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    is_ours: bool = False
    checked: int = 0

    def run(self) -> None:
        """Check everything that the checkpoint covers, then what else lies there."""
        self.is_ours = self._begins_with_genesis()
        edge = [(tile.level or 0, tile.index, tile.width) for tile in tiles.partial_tiles(self.checkpoint.size)]
        trusted = self._edge(edge)
        for level, index, width in edge:
            hashes = trusted.get(level)
            if level == 0:
                self._bundle(index, width, hashes)
            else:
                below: list[bytes | None] = [None] * width if hashes is None else [*_split(hashes)]
                for place, expected in enumerate(below):
                    self._subtree(level - 1, index * TILE_WIDTH + place, expected)
        self._others()
        if self.is_ours:
            self._landmarks()

    def _edge(self, edge: list[tuple[int, int, int]]) -> dict[int, bytes]:
        """Find out which hashes at the edge of the tree lead to the root; answers them by level."""
        size, root = self.checkpoint.size, self.checkpoint.root
        found = {level: self._tile(level, index, width) for level, index, width in edge}
        standing = {level: hashes for level, hashes in found.items() if hashes is not None}
        if len(standing) == len(edge) and tree.edge_from_tiles(size, standing).root == root:
            return standing
        # Something at the edge is wrong: take each tile as it stands or as what lies below it makes it.
        candidates = []
        for level, index, width in edge:
            derived = self._derived(level, index, width)
            candidates.append([hashes for hashes in (found[level], *derived) if hashes is not None])
        for choice in product(*candidates):
            chosen = {level: hashes for (level, _, _), hashes in zip(edge, choice, strict=True)}
            if tree.edge_from_tiles(size, chosen).root == root:
                for level, index, width in edge:
                    if found[level] is not None and found[level] != chosen[level]:
                        self._bad(tiles.tile_path(level, index, width), "does not lead to the root of the checkpoint")
                return chosen
        self._bad(
            "checkpoint", "the tiles at the edge of the tree do not lead to its root, nor does what is below them"
        )
        return {}

    def _derived(self, level: int, index: int, width: int) -> list[bytes | None]:
        """Hash what lies below a partial tile: from the tiles just below it, and all the way from the entries.

        No damage is named here: that follows once it is known what to trust.
        """
        quiet = _Walk(self.folder, self.checkpoint, None, self.present)
        if level == 0:
            leaves = quiet._leaves(index, width)
            return [None if leaves is None else b"".join(leaves)]
        below = [index * TILE_WIDTH + place for place in range(width)]
        return [
            self._from_below(level, index, width),
            _joined([quiet._subtree(level - 1, each, None) for each in below]),
        ]

    def _from_below(self, level: int, index: int, width: int) -> bytes | None:
        """What the tiles just below a tile say it holds; no damage is named."""
        quiet = _Walk(self.folder, self.checkpoint, None, self.present)
        read = (quiet._tile(level - 1, index * TILE_WIDTH + place, TILE_WIDTH) for place in range(width))
        return _joined([None if hashes is None else _tile_root(hashes) for hashes in read])

    def _subtree(self, level: int, index: int, expected: bytes | None) -> bytes | None:
        """Check the full tile (level, index) and all below it.

        Args:
            level: the tile level.
            index: the tile index.
            expected: what the tile above says it hashes to, None where that is not known.

        Returns:
            What it hashes to; None where that cannot be told.
        """
        path = tiles.tile_path(level, index)
        hashes = self._tile(level, index, TILE_WIDTH)
        if hashes is not None and expected is not None and _tile_root(hashes) != expected:
            self._bad(path, "does not hash to what the tile above it says")
            hashes = None
        if hashes is None and expected is not None and level > 0:
            # The tiles just below may still make up for it, and be judged as if it were there.
            recovered = self._from_below(level, index, TILE_WIDTH)
            hashes = recovered if recovered is not None and _tile_root(recovered) == expected else None
        if hashes is not None and expected is not None:
            if level == 0:
                self._bundle(index, TILE_WIDTH, hashes)
            else:
                for place, child in enumerate(_split(hashes)):
                    self._subtree(level - 1, index * TILE_WIDTH + place, child)
            return expected
        return self._upwards(level, index, hashes, expected)

    def _upwards(self, level: int, index: int, hashes: bytes | None, expected: bytes | None) -> bytes | None:
        """Hash what lies below a tile that is missing or wrong (`hashes` is None), or that nothing vouches for."""
        if level == 0:
            leaves = self._leaves(index, TILE_WIDTH)
            below = None if leaves is None else b"".join(leaves)
            self._advance(TILE_WIDTH)
        elif not self._has_files_below(level, index):
            first, last = _span(level, index)
            self._bad(tiles.entries_path(first // TILE_WIDTH), f"missing, with all others up to that of entry {last}")
            self._advance(last + 1 - first)
            below = None
        else:
            below = _joined([self._subtree(level - 1, index * TILE_WIDTH + place, None) for place in range(TILE_WIDTH)])
        path = tiles.tile_path(level, index)
        if below is None:
            return None if hashes is None else _tile_root(hashes)
        if expected is not None and _tile_root(below) != expected:
            if level == 0:
                self._bad(self._present_path(index, TILE_WIDTH), "nor does it hash to what the tile above its own says")
            else:
                first, last = _span(level, index)
                self._bad(path, f"nor do the entries {first} to {last} below it hash to what the tile above it says")
            return expected
        if hashes is not None and hashes != below:
            self._bad(path, "does not match what lies below it")
            return None
        return _tile_root(below)

    def _has_files_below(self, level: int, index: int) -> bool:
        """Whether there is any tile or entry bundle below the tile (level, index)."""
        for lower in range(-1, level):
            shift = 8 * (level - max(lower, 0))
            indexes = self.present.get(lower, [])
            position = bisect_left(indexes, index << shift)
            if position < len(indexes) and indexes[position] < (index + 1) << shift:
                return True
        return False

    def _bundle(self, index: int, width: int, hashes: bytes | None) -> None:
        """Check an entry bundle against the hashes of its tile at level 0, where those are known."""
        leaves = self._leaves(index, width)
        self._advance(width)
        if leaves is None or hashes is None or b"".join(leaves) == hashes:
            return
        wrong = [place for place, (leaf, told) in enumerate(zip(leaves, _split(hashes), strict=True)) if leaf != told]
        first = index * TILE_WIDTH + wrong[0]
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        self._bad(self._present_path(index, width), f"entry {first} does not hash to its leaf{more}")

    def _leaves(self, index: int, width: int) -> list[bytes] | None:
        """Hash the entries of a bundle; None where it is missing or malformed, which is then named."""
        path = self._present_path(index, width)
        data = self._read(path, _MAX_BUNDLE)
        if data is None:
            return None
        try:
            entries = tiles.decode_entry_bundle(data, TILE_WIDTH if path == tiles.entries_path(index) else width)
        except FormatError as error:
            self._bad(path, str(error))
            return None
        entries = entries[:width]
        if self.is_ours:
            self._parse(entries, index * TILE_WIDTH, path)
        return [sha256(b"\0" + entry).digest() for entry in entries]

    def _tile(self, level: int, index: int, width: int) -> bytes | None:
        """Read the first hashes of a tile, from the full one where the partial one is gone."""
        for path, size in (
            (tiles.tile_path(level, index, width), width * HASH_SIZE),
            (tiles.tile_path(level, index), tree.TILE_SIZE),
        ):
            if (self.folder / path).is_file():
                data = self._read(path, tree.TILE_SIZE)
                if data is not None and len(data) != size:
                    self._bad(path, f"{len(data)} bytes where {size} are expected")
                    return None
                return None if data is None else data[: width * HASH_SIZE]
        self._bad(tiles.tile_path(level, index, width), "missing")
        return None

    def _present_path(self, index: int, width: int) -> str:
        """The path of an entry bundle: the partial one, or the full one where that is gone."""
        path = tiles.entries_path(index, width)
        full = tiles.entries_path(index)
        return full if not (self.folder / path).is_file() and (self.folder / full).is_file() else path

    def _read(self, path: str, max_size: int) -> bytes | None:
        try:
            data = durable_file.read_file(self.folder / path, max_size=max_size)
        except (StorageError, LimitError) as error:
            self._bad(path, error.what)
            return None
        if data is None:
            self._bad(path, "missing")
        return data

    def _parse(self, entries: list[bytes], first: int, path: str) -> None:
        for number, data in enumerate(entries, first):
            try:
                entry = parse_entry(data)
            except FormatError as error:
                self._bad(path, f"entry {number} is not a log entry: {error}")
                return
            if isinstance(entry, GenesisEntry) and number:
                self._bad(path, f"entry {number} is a second genesis entry")

    def _begins_with_genesis(self) -> bool:
        """Tell whether this is a log of ours: its first entry is a genesis entry with its origin."""
        if self.checkpoint.size == 0:
            return False
        path = self._present_path(0, min(self.checkpoint.size, TILE_WIDTH))
        try:
            data = durable_file.read_file(self.folder / path, max_size=_MAX_BUNDLE) or b""
            genesis = parse_entry(data[2 : 2 + int.from_bytes(data[:2], "big")])
        except ChopmarkError:
            return False
        return isinstance(genesis, GenesisEntry) and genesis.origin == self.checkpoint.origin

    def _others(self) -> None:
        """Check the partial tiles of earlier sizes, and remark on files that are not judged."""
        size = self.checkpoint.size
        for path in _files(self.folder):
            try:
                place = tiles.parse_tile_path(path)
            except FormatError:
                self.remarks.append(f"{path}: not a file of tlog-tiles, not checked")
                continue
            level = place.level or 0
            at_level = size >> (8 * level)
            end = place.index * TILE_WIDTH + place.width
            if end > at_level:
                self.remarks.append(f"{path}: beyond the checkpoint, not checked")
            elif place.width < TILE_WIDTH and end != at_level:
                self._earlier_partial(path, place.level, place.index, place.width, at_level)

    def _earlier_partial(self, path: str, level: int | None, index: int, width: int, at_level: int) -> None:
        now = min(TILE_WIDTH, at_level - index * TILE_WIDTH)
        if level is None:
            newest, bound = self._present_path(index, now), _MAX_BUNDLE
        else:
            newest, bound = tiles.tile_path(level, index, now), tree.TILE_SIZE
            if not (self.folder / newest).is_file():
                newest = tiles.tile_path(level, index)
        if newest in self.damaged:
            self.remarks.append(f"{path}: not checked, as {newest} is damaged")
            return
        data, whole = self._read(path, bound), durable_file.read_file(self.folder / newest, max_size=bound)
        if data is None or whole is None:
            return
        if level is None:
            try:
                tiles.decode_entry_bundle(data, width)
            except FormatError as error:
                self._bad(path, str(error))
                return
        elif len(data) != width * HASH_SIZE:
            self._bad(path, f"{len(data)} bytes where {width * HASH_SIZE} are expected")
            return
        if not whole.startswith(data):
            self._bad(path, f"is not the beginning of {newest}")

    def _landmarks(self) -> None:
        if not (self.folder / LANDMARKS).exists():
            return
        data = self._read(LANDMARKS, LIMITS.landmark_file_size)
        if data is None:
            return
        if any(path.startswith("tile/") and not path.startswith("tile/entries/") for path in self.damaged):
            self.remarks.append(f"{LANDMARKS}: not checked, as tiles are damaged")
            return
        read = NodeReader(self._load_tiles)
        try:
            for number, record in enumerate(LandmarkFile.parse(data).records):
                if record.checkpoint_size > self.checkpoint.size:
                    self._bad(LANDMARKS, f"record {number} is under a checkpoint larger than the published one")
                    return
                if merkle.subtree_root(record.start, record.end, read) != record.hash:
                    self._bad(LANDMARKS, f"record {number} is not the hash of [{record.start}, {record.end})")
        except ChopmarkError as error:
            self._bad(LANDMARKS, str(error))

    def _load_tiles(self, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        loaded = {}
        for level, index in wanted:
            width = min(TILE_WIDTH, (self.checkpoint.size >> (8 * level)) - index * TILE_WIDTH)
            data = self._tile(level, index, width)
            if data is not None:
                loaded[level, index] = data
        return loaded

    def _advance(self, count: int) -> None:
        self.checked += count
        if self.progress is not None:
            self.progress(self.checked, self.checkpoint.size)

    def _bad(self, path: str, what: str) -> None:
        damage = Damage(path, what)
        if damage not in self.damage[-TILE_WIDTH:]:
            self.damage.append(damage)
        self.damaged.add(path)


def _files(folder: Path) -> Iterator[str]:
    """The paths of the files under `tile/`, each folder's in order."""
    for parent, folders, names in os.walk(folder / "tile"):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path.relative_to(folder).as_posix()


def _indexes(folder: Path) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for path in _files(folder):
        try:
            place = tiles.parse_tile_path(path)
        except FormatError:
            continue
        found.setdefault(-1 if place.level is None else place.level, []).append(place.index)
    return {level: sorted(indexes) for level, indexes in found.items()}


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[start : start + HASH_SIZE] for start in range(0, len(hashes), HASH_SIZE)]


def _joined(hashes: list[bytes | None]) -> bytes | None:
    """The hashes in one, None if one of them is."""
    known = [each for each in hashes if each is not None]
    return b"".join(known) if len(known) == len(hashes) else None


def _tile_root(hashes: bytes) -> bytes:
    return tree.tile_nodes(hashes)[-1][0]


def _span(level: int, index: int) -> tuple[int, int]:
    """The first and the last entry below a full tile."""
    span = TILE_WIDTH ** (level + 1)
    return index * span, (index + 1) * span - 1
