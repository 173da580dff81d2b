"""The edge of the tree against a naive one, and against the tiles that a size asks for."""

from __future__ import annotations

from hashlib import sha256

import pytest
from chopmark import merkle
from chopmark_ledger import tree
from hypothesis import given, settings
from hypothesis import strategies as st


def leaves(count: int, start: int = 0) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % index) for index in range(start, start + count)]


def test_entries_are_hashed_as_leaves() -> None:
    assert tree.leaf_hashes([b"", b"x"]) == [merkle.leaf_hash(b""), merkle.leaf_hash(b"x")]


def naive_root(hashes: list[bytes]) -> bytes:
    if len(hashes) <= 1:
        return hashes[0] if hashes else merkle.EMPTY_ROOT
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + naive_root(hashes[:split]) + naive_root(hashes[split:])).digest()


def naive_tile(hashes: list[bytes], level: int, index: int) -> bytes:
    span = 256**level
    full = len(hashes) // span
    nodes = [naive_root(hashes[n * span : (n + 1) * span]) for n in range(index * 256, min(full, index * 256 + 256))]
    return b"".join(nodes)


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.integers(1, 300), min_size=1, max_size=8))
def test_appending_in_any_batches_gives_the_root_of_all_leaves(batches: list[int]) -> None:
    edge = tree.EMPTY_EDGE
    for count in batches:
        edge, _ = tree.append(edge, leaves(count, edge.size))
    assert edge.root == naive_root(leaves(sum(batches)))
    assert edge.size == sum(batches)


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(st.integers(1, 700), min_size=1, max_size=5))
def test_the_tiles_handed_out_are_those_of_the_specification(batches: list[int]) -> None:
    edge = tree.EMPTY_EDGE
    stored: dict[tuple[int, int], bytes] = {}
    for count in batches:
        edge, runs = tree.append(edge, leaves(count, edge.size))
        stored.update({(run.level, run.index): run.hashes for run in runs})
    everything = leaves(edge.size)
    expected = {}
    for level in (0, 1):
        for index in range(-(-(edge.size // 256**level) // 256)):
            expected[level, index] = naive_tile(everything, level, index)
    assert stored == expected


def test_a_tree_of_256_has_a_full_tile_and_one_hash_above_it() -> None:
    edge, runs = tree.append(tree.EMPTY_EDGE, leaves(256))
    assert [(run.level, run.index, len(run.hashes) // 32) for run in runs] == [(0, 0, 256), (1, 0, 1)]
    assert edge.partials == {1: edge.root}


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537])
def test_an_edge_read_back_from_its_tiles_goes_on_as_if_it_had_never_been_away(size: int) -> None:
    edge, _ = tree.append(tree.EMPTY_EDGE, leaves(size))
    again = tree.edge_from_tiles(size, edge.partials)
    assert again == edge
    assert tree.append(again, leaves(5, size)) == tree.append(edge, leaves(5, size))


@given(width=st.integers(1, 256))
@settings(max_examples=30, deadline=None)
def test_the_nodes_of_a_tile_are_the_full_ones_within_it(width: int) -> None:
    hashes = leaves(width)
    rows = tree.tile_nodes(b"".join(hashes))
    for height, row in enumerate(rows):
        span = 1 << height
        assert row == [naive_root(hashes[n * span : (n + 1) * span]) for n in range(width // span)]
    assert len(rows) == width.bit_length()
