"""Merkle trees over SHA-256: inclusion, consistency and subtree proofs, checked and made.

Spec: RFC 9162 §2.1 (hashes, inclusion, consistency) and draft-ietf-plants-merkle-tree-certs §4 (subtrees).

    leaf     SHA-256(00 ‖ entry)                     32 bytes
    node     SHA-256(01 ‖ left ‖ right)              32 bytes
    subtree  the half-open interval [start, end), start a multiple of end − start rounded up to a power of two
    proof    sibling hashes, the lowest first        at most 64 × 32 bytes

A tree of the entries 00, 01, 02 has the root
`node_hash(node_hash(leaf_hash(b"\\x00"), leaf_hash(b"\\x01")), leaf_hash(b"\\x02"))`, and the entry with index 2 is
proven by one hash, that of the first two leaves.

Whoever makes proofs supplies a `HashReader`; full nodes are named by (level, index), the node (3, 5) being the hash
of the leaves [40, 48).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from hashlib import sha256

from chopmark.errors import ProofError
from chopmark.strict import UINT64_MAX

HASH_SIZE = 32

EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves."""

HashReader = Callable[[list[tuple[int, int]]], list[bytes]]
"""Answers the hashes of full nodes, named by (level, index), in the order asked for."""

_PATH_MAX = 64
"""Hashes of the longest path: sizes have 64 bits."""
# Joining by `struct` saves an allocation for each node over `+`, a tenth of the whole path.
_pack_node = struct.Struct("c32s32s").pack
_split_path = tuple(struct.Struct("32s" * count).unpack for count in range(_PATH_MAX + 1))


def leaf_hash(entry: bytes) -> bytes:
    """Hash an entry into its leaf.

    Raises:
        ProofError: `entry` is not bytes.
    """
    try:
        return sha256(b"\0" + entry).digest()
    except TypeError:
        raise ProofError(f"an entry is bytes, not {type(entry).__name__}") from None


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two nodes into their parent.

    Raises:
        ProofError: one of them is not 32 bytes.
    """
    return sha256(b"\1" + _hash(left, "the left node") + _hash(right, "the right node")).digest()


def verify_inclusion(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf stands at `index` in the tree of `size` leaves with this `root`.

    Raises:
        ProofError: it does not, or an argument cannot be part of such a proof.
    """
    if root_from_inclusion_proof(leaf_hash=leaf_hash, index=index, size=size, proof=proof) != _hash(root, "the root"):
        raise ProofError(f"the inclusion proof of entry {index} leads to another root than that of size {size}")


def root_from_inclusion_proof(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Compute the root that an inclusion proof leads to.

    Raises:
        ProofError: the index is not below the size, or the proof is not of the length that they ask for.
    """
    return root_from_inclusion_path(leaf_hash=leaf_hash, index=index, size=size, path=b"".join(_hashes(proof)))


def root_from_inclusion_path(*, leaf_hash: bytes, index: int, size: int, path: bytes) -> bytes:
    """Compute the root that an inclusion proof leads to, its hashes given as one byte string of 32·n bytes.

    Raises:
        ProofError: as `root_from_inclusion_proof`.
    """
    if type(index) is not int or type(size) is not int or not 0 <= index < size <= UINT64_MAX:
        raise ProofError(f"there is no entry {_shown(index)} in a tree of size {_shown(size)}")
    if type(path) is not bytes:
        raise ProofError(f"a path is bytes, not {type(path).__name__}")
    if type(leaf_hash) is not bytes or len(leaf_hash) != HASH_SIZE:
        raise ProofError(f"the leaf hash is not a hash of {HASH_SIZE} bytes")
    # Up to the fork of the paths of this leaf and the last one, siblings lie on either side, as the bits of the
    # index say; above it the leaf's subtree is the last at each level, so that only left siblings are left.
    fork = (index ^ (size - 1)).bit_length()
    above = (index >> fork).bit_count()
    count = fork + above
    if len(path) != HASH_SIZE * count:
        raise ProofError(f"a path of {len(path)} bytes where {HASH_SIZE * count} are expected")
    left_siblings = index & ((1 << fork) - 1) | ((1 << above) - 1) << fork
    node = leaf_hash
    for sibling in _split_path[count](path):
        pair = _pack_node(b"\1", sibling, node) if left_siblings & 1 else _pack_node(b"\1", node, sibling)
        node = sha256(pair).digest()
        left_siblings >>= 1
    return node


def verify_consistency(*, size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `size1` leaves is the beginning of the one of `size2`.

    The empty tree is the beginning of every tree, so a proof of that would say nothing; it is refused.

    Raises:
        ProofError: it is not, `size1` is 0 or above `size2`, or an argument cannot be part of such a proof.
    """
    if type(size1) is not int or size1 <= 0:
        raise ProofError(f"there is no consistency proof from size {_shown(size1)}")
    verify_subtree_consistency(start=0, end=size1, size=size2, subtree_root=root1, root=root2, proof=proof)


def verify_subtree_inclusion(
    *, leaf_hash: bytes, index: int, start: int, end: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that the leaf stands at `index` of the log, within the subtree [start, end) with this `root`.

    Raises:
        ProofError: it does not, the interval is no subtree, or an argument cannot be part of such a proof.
    """
    _check_subtree(start, end)
    if type(index) is not int or not start <= index < end:
        raise ProofError(f"entry {_shown(index)} is not in the subtree [{start}, {end})")
    verify_inclusion(leaf_hash=leaf_hash, index=index - start, size=end - start, proof=proof, root=root)


def verify_subtree_consistency(
    *, start: int, end: int, size: int, subtree_root: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the subtree [start, end) belongs to the tree of `size` leaves with this `root`.

    An empty subtree belongs to every tree that reaches to it: its root is `EMPTY_ROOT` and its proof empty.

    Raises:
        ProofError: it does not, the interval is no subtree, or an argument cannot be part of such a proof.
    """
    _check_subtree(start, end)
    if type(size) is not int or not end <= size <= UINT64_MAX:
        raise ProofError(f"the subtree [{start}, {end}) is not within a tree of size {_shown(size)}")
    if not isinstance(subtree_root, bytes) or not isinstance(root, bytes):
        raise ProofError("a root is bytes")
    hashes = _hashes(proof)
    if start == end:
        if hashes or subtree_root != EMPTY_ROOT:
            raise ProofError("an empty subtree has the empty root and no proof")
        return
    if start == 0 and end == size:
        if hashes or subtree_root != root:
            raise ProofError(f"two different roots of size {size}")
        return
    _hash(subtree_root, "the root of the subtree")

    # `first` and `last` are the ends of the subtree, `right` is the end of the tree, all at the level reached;
    # the climb starts at the largest full node that ends where the subtree ends.
    first, last, right = start, end - 1, size - 1
    skipped = (first ^ last).bit_length()
    if last != right:
        skipped = min(skipped, (~last & last + 1).bit_length() - 1)
    first, last, right = first >> skipped, last >> skipped, right >> skipped
    if first == last:
        seed = subtree_root
    elif hashes:
        seed = hashes.pop(0)
    else:
        raise ProofError("a consistency proof without hashes")
    in_subtree = in_tree = seed
    for sibling in hashes:
        if right == 0:
            raise ProofError("a consistency proof with too many hashes")
        if last & 1 or last == right:
            if first < last:
                in_subtree = sha256(b"\1" + sibling + in_subtree).digest()
            in_tree = sha256(b"\1" + sibling + in_tree).digest()
            # At the right edge, levels without a left sibling take no hash.
            edge = (last & -last).bit_length() - 1
            first, last, right = first >> edge, last >> edge, right >> edge
        else:
            in_tree = sha256(b"\1" + in_tree + sibling).digest()
        first, last, right = first >> 1, last >> 1, right >> 1
    if right != 0:
        raise ProofError("a consistency proof with too few hashes")
    if in_subtree != subtree_root:
        raise ProofError(f"the proof leads to another root of [{start}, {end})")
    if in_tree != root:
        raise ProofError(f"the proof leads to another root of size {size}")


def is_valid_subtree(start: int, end: int) -> bool:
    """Tell whether [start, end) is a subtree: `start` a multiple of its size rounded up to a power of two."""
    if type(start) is not int or type(end) is not int or not 0 <= start <= end <= UINT64_MAX:
        return False
    return end - start <= 1 or start & ((1 << (end - start - 1).bit_length()) - 1) == 0


def find_subtrees(start: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Find two adjacent subtrees that cover [start, end), with the least excess before `start` and none after `end`.

    The first may begin before `start`; the second is empty where one subtree suffices.

    Raises:
        ProofError: `start` is above `end`, or they are not 64-bit sizes.
    """
    if type(start) is not int or type(end) is not int or not 0 <= start <= end <= UINT64_MAX:
        raise ProofError(f"[{_shown(start)}, {_shown(end)}) is not an interval of a log")
    if end - start <= 1:
        return (start, end), (end, end)
    last = end - 1
    fork = (start ^ last).bit_length() - 1
    below_fork = (1 << fork) - 1
    middle = last & ~below_fork
    height = (~start & below_fork).bit_length()
    return (start >> height << height, middle), (middle, end)


def subtree_nodes(start: int, end: int) -> list[tuple[int, int]]:
    """Name the full nodes, from left to right, that the subtree [start, end) consists of.

    Raises:
        ProofError: the interval is no subtree.
    """
    _check_subtree(start, end)
    nodes = []
    for level in range((end - start).bit_length() - 1, -1, -1):
        if end - start >> level & 1:
            nodes.append((level, start >> level))
            start += 1 << level
    return nodes


def fold_nodes(hashes: Sequence[bytes]) -> bytes:
    """Hash the full nodes of a subtree, from left to right as `subtree_nodes` names them, into its root."""
    if not hashes:
        return EMPTY_ROOT
    node = hashes[-1]
    for left in reversed(hashes[:-1]):
        node = sha256(b"\1" + left + node).digest()
    return node


def root(size: int, read: HashReader) -> bytes:
    """Compute the root of the tree of `size` leaves.

    Raises:
        ProofError: `size` is not a size, or the reader answers something else than hashes.
    """
    return subtree_root(0, size, read)


def subtree_root(start: int, end: int, read: HashReader) -> bytes:
    """Compute the root of the subtree [start, end).

    Raises:
        ProofError: the interval is no subtree, or the reader answers something else than hashes.
    """
    return _subtree_roots([(start, end)], read)[0]


def inclusion_proof(*, index: int, size: int, read: HashReader) -> list[bytes]:
    """Make the proof that the leaf `index` is in the tree of `size` leaves.

    Raises:
        ProofError: there is no such leaf, or the reader answers something else than hashes.
    """
    return subtree_inclusion_proof(index=index, start=0, end=size, read=read)


def subtree_inclusion_proof(*, index: int, start: int, end: int, read: HashReader) -> list[bytes]:
    """Make the proof that the leaf `index` of the log is in the subtree [start, end).

    Raises:
        ProofError: there is no such leaf or subtree, or the reader answers something else than hashes.
    """
    _check_subtree(start, end)
    if type(index) is not int or not start <= index < end:
        raise ProofError(f"entry {_shown(index)} is not in the subtree [{start}, {end})")
    siblings = []
    while end - start > 1:
        middle = _middle(start, end)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((start, middle))
            start = middle
    return _subtree_roots(siblings[::-1], read)


def consistency_proof(*, size1: int, size2: int, read: HashReader) -> list[bytes]:
    """Make the proof that the tree of `size1` leaves is the beginning of the one of `size2`; from size 0 it is empty.

    Raises:
        ProofError: `size1` is above `size2`, or the reader answers something else than hashes.
    """
    return subtree_consistency_proof(start=0, end=size1, size=size2, read=read)


def subtree_consistency_proof(*, start: int, end: int, size: int, read: HashReader) -> list[bytes]:
    """Make the proof that the subtree [start, end) belongs to the tree of `size` leaves.

    Raises:
        ProofError: there is no such subtree, or the reader answers something else than hashes.
    """
    _check_subtree(start, end)
    if type(size) is not int or not end <= size <= UINT64_MAX:
        raise ProofError(f"the subtree [{start}, {end}) is not within a tree of size {_shown(size)}")
    if start == end:
        return []
    low, high = 0, size
    hashes = []
    known = True  # whether the node reached is the subtree itself, whose root the verifier holds
    while (start, end) != (low, high):
        middle = _middle(low, high)
        if end <= middle:
            hashes.append((middle, high))
            high = middle
        else:
            hashes.append((low, middle))
            if start < middle:
                start, known = middle, False
            low = middle
    if not known:
        hashes.append((low, high))
    return _subtree_roots(hashes[::-1], read)


def _middle(start: int, end: int) -> int:
    """Where RFC 9162 splits the leaves [start, end): after the largest power of two below their number."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _subtree_roots(intervals: list[tuple[int, int]], read: HashReader) -> list[bytes]:
    """Compute the roots of several subtrees with one call of the reader."""
    nodes = [subtree_nodes(start, end) for start, end in intervals]
    wanted = [node for group in nodes for node in group]
    hashes = _hashes(read(wanted)) if wanted else []
    if len(hashes) != len(wanted):
        raise ProofError(f"the reader answered {len(hashes)} hashes where {len(wanted)} were asked for")
    roots = []
    position = 0
    for group in nodes:
        roots.append(fold_nodes(hashes[position : position + len(group)]))
        position += len(group)
    return roots


def _check_subtree(start: int, end: int) -> None:
    if not is_valid_subtree(start, end):
        raise ProofError(f"[{_shown(start)}, {_shown(end)}) is not a subtree")


def _hash(value: bytes, name: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != HASH_SIZE:
        raise ProofError(f"{name} is not a hash of {HASH_SIZE} bytes")
    return value


def _hashes(proof: Sequence[bytes]) -> list[bytes]:
    if not isinstance(proof, Sequence):
        raise ProofError(f"a proof is a sequence of hashes, not {type(proof).__name__}")
    hashes = list(proof)
    for value in hashes:
        _hash(value, "a hash of the proof")
    return hashes


def _shown(value: object) -> str:
    """Show a number of any size, or what stands in its place, without ever failing."""
    return str(value) if type(value) is int and abs(value) <= UINT64_MAX else f"<{type(value).__name__}>"
