from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache

import pytest
from chopmark import merkle
from chopmark.errors import ChopmarkError, FormatError, LimitError, ProofError, StorageError
from chopmark.tiles import (
    TILE_WIDTH,
    Tile,
    TileReader,
    decode_entry_bundle,
    decode_tile,
    encode_entry_bundle,
    entries_path,
    parse_tile_path,
    partial_tiles,
    tile_at,
    tile_path,
)
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 70_000


@cache
def levels() -> list[list[bytes]]:
    rows = [[merkle.leaf_hash(b"%d" % index) for index in range(SIZE)]]
    while len(rows[-1]) > 1:
        row = rows[-1]
        rows.append([merkle.node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)])
    return rows


def read(nodes: list[tuple[int, int]]) -> list[bytes]:
    return [levels()[level][index] for level, index in nodes]


def root_of(size: int) -> bytes:
    return merkle.root(size, read)


def file_of(path: str) -> bytes:
    """What a log serves at the path, made from the definition of a tile."""
    tile = parse_tile_path(path)
    first = tile.index * TILE_WIDTH
    if tile.level is None:
        return encode_entry_bundle([b"%d" % index for index in range(first, first + tile.width)])
    row = levels()[tile.level * 8]
    assert first + tile.width <= len(row)
    return b"".join(row[first : first + tile.width])


class Log:
    """Serves tiles, counts what is fetched, and may change or lose files on the way."""

    def __init__(self, change: Callable[[str, bytes], bytes] | None = None, lost: set[str] | None = None) -> None:
        self.fetched: list[str] = []
        self.change = change
        self.lost = lost or set()

    def __call__(self, path: str) -> bytes:
        self.fetched.append(path)
        if path in self.lost:
            raise StorageError("no such file", where=path)
        data = file_of(path)
        return self.change(path, data) if self.change else data


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        ("tile/0/000", Tile(0, 0)),
        ("tile/0/x001/x234/067", Tile(0, 1234067)),
        ("tile/3/x001/x234/067.p/8", Tile(3, 1234067, 8)),
        ("tile/63/999.p/255", Tile(63, 999, 255)),
        ("tile/1/x001/000.p/1", Tile(1, 1000, 1)),
        ("tile/entries/x273/112.p/112", Tile(None, 273112, 112)),
        ("tile/entries/273", Tile(None, 273)),
        ("tile/0/x009/x223/x372/x036/x854/x775/807", Tile(0, 2**63 - 1)),
    ],
)
def test_paths_are_those_of_the_specification(path: str, tile: Tile) -> None:
    assert tile.path == path
    assert parse_tile_path(path) == tile
    if tile.level is None:
        assert entries_path(tile.index, tile.width) == path
    else:
        assert tile_path(tile.level, tile.index, tile.width) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/٣/000",
        "tile/0/٣٣٣",
        "tile/0/x000/001",
        "tile/0/x000/x000/001",
        "tile/0/001/001",
        "tile/0/x001",
        "tile/0/x001/x001",
        "tile/0/X001/001",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/000.p/1\n",
        "tile/data/000",
        "tile/entry/000",
        "tile/0/../0/000",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/" + "x999/" * 1000 + "999",
    ],
)
def test_a_malformed_path_is_refused(path: str) -> None:
    with pytest.raises(FormatError):
        parse_tile_path(path)


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0), (0, 0, 257)]
)
def test_there_is_no_path_of_what_is_no_tile(level: int, index: int, width: int) -> None:
    with pytest.raises(FormatError):
        tile_path(level, index, width)


@settings(max_examples=200)
@given(st.none() | st.integers(0, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_any_path_is_read_back(level: int | None, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_tile_path(tile.path) == tile


def test_partial_tiles_are_those_of_the_specification() -> None:
    assert partial_tiles(70_000) == (Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1))
    assert partial_tiles(256) == (Tile(1, 0, 1),)
    assert partial_tiles(0) == ()
    for size in (-1, 2**63):
        with pytest.raises(FormatError):
            partial_tiles(size)


def test_a_tile_is_as_wide_as_the_size_makes_it() -> None:
    assert tile_at(0, 273, 70_000) == Tile(0, 273, 112)
    assert tile_at(None, 273, 70_000) == Tile(None, 273, 112)
    assert tile_at(0, 272, 70_000) == Tile(0, 272, 256)
    assert tile_at(1, 1, 70_000) == Tile(1, 1, 17)
    assert tile_at(0, 274, 70_000) is None
    assert tile_at(3, 0, 70_000) is None


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_any_bundle_is_read_back(entries: list[bytes]) -> None:
    assert decode_entry_bundle(encode_entry_bundle(entries), len(entries)) == entries


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(1, 5))
def test_any_bytes_are_a_bundle_or_a_format_error(data: bytes, count: int) -> None:
    with contextlib.suppress(FormatError):
        assert encode_entry_bundle(decode_entry_bundle(data, count)) == data


def test_a_bundle_cut_or_continued_is_refused() -> None:
    bundle = encode_entry_bundle([b"one", b"", b"three"])
    assert bundle == b"\0\3one\0\0\0\5three"
    for cut in range(len(bundle)):
        with pytest.raises(FormatError, match="ends within entry"):
            decode_entry_bundle(bundle[:cut], 3)
    for more in (b"\0", b"\0\0"):
        with pytest.raises(FormatError, match="behind the last"):
            decode_entry_bundle(bundle + more, 3)


def test_a_bundle_takes_1_to_256_entries_of_at_most_65535_bytes() -> None:
    for entries in ([], [b""] * 257):
        with pytest.raises(FormatError):
            encode_entry_bundle(entries)
    assert decode_entry_bundle(encode_entry_bundle([b"x" * 65_535]), 1) == [b"x" * 65_535]
    with pytest.raises(LimitError):
        encode_entry_bundle([b"x" * 65_536])


def test_a_tile_of_another_size_is_refused() -> None:
    assert decode_tile(b"a" * 32 + b"b" * 32, 2) == [b"a" * 32, b"b" * 32]
    for size in (0, 63, 65, 96):
        with pytest.raises(FormatError):
            decode_tile(bytes(size), 2)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000])
def test_a_reader_answers_the_nodes_of_the_tree(size: int) -> None:
    reader = TileReader(Log(), size, root_of(size))
    for level in range(size.bit_length()):
        last = (size >> level) - 1
        nodes = [(level, index) for index in sorted({0, last // 3, last // 2, last})]
        assert reader(nodes) == read(nodes)


def test_proofs_made_from_tiles_verify() -> None:
    reader = TileReader(Log(), SIZE, root_of(SIZE))
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        proof = merkle.inclusion_proof(index=index, size=SIZE, read=reader)
        leaf = merkle.leaf_hash(b"%d" % index)
        merkle.verify_inclusion(leaf_hash=leaf, index=index, size=SIZE, proof=proof, root=root_of(SIZE))
    for size1 in (1, 255, 256, 4095, 65_536, 69_999):
        proof = merkle.consistency_proof(size1=size1, size2=SIZE, read=reader)
        merkle.verify_consistency(size1=size1, size2=SIZE, root1=root_of(size1), root2=root_of(SIZE), proof=proof)


def test_the_empty_log_needs_no_tile() -> None:
    log = Log()
    TileReader(log, 0, merkle.EMPTY_ROOT).check_root()
    assert log.fetched == []
    with pytest.raises(ProofError):
        TileReader(log, 0, b"r" * 32).check_root()


def test_what_is_beyond_the_size_is_refused() -> None:
    reader = TileReader(Log(), 300, root_of(300))
    for node in ((0, 300), (0, -1), (-1, 0), (8, 1), (9, 0), (64, 0), (10**9, 0)):
        with pytest.raises(ProofError):
            reader([node])
    for level, index in ((0, 2), (0, -1), (1, 1), (2, 0), (-1, 0)):
        with pytest.raises(ProofError):
            reader.tile(level, index)


def test_a_verified_tile_is_fetched_once() -> None:
    log = Log()
    reader = TileReader(log, SIZE, root_of(SIZE))
    for _ in range(3):
        reader([(0, 5), (0, 6), (3, 0), (8, 0)])
    assert sorted(log.fetched) == [
        "tile/0/000",
        "tile/0/273.p/112",
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]


def test_the_answer_of_a_reader_may_be_changed_without_harm() -> None:
    reader = TileReader(Log(), 300, root_of(300))
    for index in (0, 1):
        reader.tile(0, index)[0] = b"x" * 32
        assert reader.tile(0, index)[0] == merkle.leaf_hash(b"%d" % (256 * index))


def test_instead_of_a_partial_tile_that_is_gone_the_full_one_serves() -> None:
    lost = {"tile/0/001.p/44", "tile/entries/001.p/44"}
    reader = TileReader(Log(lost=lost), 300, root_of(300))
    assert reader([(0, 299)]) == read([(0, 299)])
    assert reader.entries(1) == [b"%d" % index for index in range(256, 300)]
    reader = TileReader(Log(lost={*lost, "tile/0/001"}), 300, root_of(300))
    with pytest.raises(StorageError) as caught:
        reader([(0, 299)])
    assert caught.value.where == "tile/0/001.p/44"


def test_entries_are_read_and_checked_against_the_tree() -> None:
    reader = TileReader(Log(), 300, root_of(300))
    assert reader.entries(0) == [b"%d" % index for index in range(256)]
    assert reader.entries(1) == [b"%d" % index for index in range(256, 300)]

    def swapped(path: str, data: bytes) -> bytes:
        return data.replace(b"\x03299", b"\x03298") if path.startswith("tile/entries") else data

    with pytest.raises(ProofError, match="entry 299"):
        TileReader(Log(swapped), 300, root_of(300)).entries(1)


def test_a_reader_refuses_another_root() -> None:
    with pytest.raises(ProofError, match="another root"):
        TileReader(Log(), 300, root_of(301))([(0, 0)])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_tile_is_believed(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([200, 256, 300, 600, 65_536, 65_900, 70_000]))
    index = data.draw(st.integers(0, size - 1))
    level = data.draw(st.integers(0, 8))
    position, flip = data.draw(st.integers(0, 2**31)), data.draw(st.integers(1, 255))
    target = data.draw(st.integers(0, 3))
    seen: list[str] = []

    def change(path: str, content: bytes) -> bytes:
        seen.append(path)
        if len(seen) - 1 != target:
            return content
        changed = bytearray(content)
        changed[position % len(changed)] ^= flip
        return bytes(changed)

    node = (level, min(index, max((size >> level) - 1, 0)))
    if (node[1] + 1) << level > size:
        return
    reader = TileReader(Log(change), size, root_of(size))
    try:
        answer = reader([node])
    except ChopmarkError:
        assert len(seen) > target
        return
    assert len(seen) <= target
    assert answer == read([node])
