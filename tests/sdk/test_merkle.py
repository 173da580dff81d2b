from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from chopmark import merkle
from chopmark.errors import ProofError
from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
LEAVES = [bytes([index]) for index in range(131)]

# Values that stand where an integer or a hash belongs; none may let anything but a ProofError out.
NOT_SIZES: list[Any] = [None, -1, True, 1.0, "1", b"1", 2**64, 10**5000, [1]]
NOT_HASHES: list[Any] = [None, b"", b"x" * 31, b"x" * 33, "x" * 32, 5, ["x"] * 32, bytearray(32)]


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return sha256(b"\1" + naive_root(leaves[:middle]) + naive_root(leaves[middle:])).digest()


_roots: dict[tuple[int, int], bytes] = {}


def root_of(start: int, end: int) -> bytes:
    if (start, end) not in _roots:
        if end - start <= 1:
            _roots[start, end] = naive_root(LEAVES[start:end])
        else:
            middle = start + 1
            while (middle - start) * 2 < end - start:
                middle = start + (middle - start) * 2
            _roots[start, end] = sha256(b"\1" + root_of(start, middle) + root_of(middle, end)).digest()
    return _roots[start, end]


def read(nodes: list[tuple[int, int]]) -> list[bytes]:
    for level, index in nodes:
        assert (index + 1) << level <= len(LEAVES)
    return [root_of(index << level, (index + 1) << level) for level, index in nodes]


def subtrees(up_to: int) -> list[tuple[int, int]]:
    return [(start, end) for end in range(up_to + 1) for start in range(end + 1) if merkle.is_valid_subtree(start, end)]


def vectors(name: str) -> list[dict[str, Any]]:
    path = VECTORS / name
    if not path.exists():
        pytest.skip("the folder shared/vectors is not there")
    cases: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    assert cases
    return cases


def accepted(check: Callable[..., object], **inputs: Any) -> bool:
    try:
        check(**inputs)
    except ProofError:
        return False
    return True


def unbase64(text: str) -> bytes:
    return base64.b64decode(text)


def test_inclusion_vectors() -> None:
    for case in vectors("merkle-inclusion.json"):
        got = accepted(
            merkle.verify_inclusion,
            leaf_hash=unbase64(case["leafHash"]),
            index=case["leafIdx"],
            size=case["treeSize"],
            proof=[unbase64(text) for text in case["proof"] or []],
            root=unbase64(case["root"]),
        )
        assert got is not case["wantErr"], case["name"]


def test_consistency_vectors() -> None:
    for case in vectors("merkle-consistency.json"):
        got = accepted(
            merkle.verify_consistency,
            size1=case["size1"],
            size2=case["size2"],
            root1=unbase64(case["root1"]),
            root2=unbase64(case["root2"]),
            proof=[unbase64(text) for text in case["proof"] or []],
        )
        assert got is not case["wantErr"], case["name"]


def test_subtree_inclusion_vectors() -> None:
    for case in vectors("merkle-subtreeinclusion.json"):
        got = accepted(
            merkle.verify_subtree_inclusion,
            leaf_hash=unbase64(case["leafHash"]),
            index=case["leafIdx"],
            start=case["start"],
            end=case["end"],
            proof=[unbase64(text) for text in case["proof"] or []],
            root=unbase64(case["root"]),
        )
        assert got is not case["wantErr"], case["name"]


def test_subtree_consistency_vectors() -> None:
    for case in vectors("merkle-subtreeconsistency.json"):
        got = accepted(
            merkle.verify_subtree_consistency,
            start=case["start"],
            end=case["end"],
            size=case["size"],
            subtree_root=unbase64(case["root1"]),
            root=unbase64(case["root2"]),
            proof=[unbase64(text) for text in case["proof"] or []],
        )
        assert got is not case["wantErr"], case["name"]


def test_accumulated_subtree_hashes_match_the_draft() -> None:
    rolling = sha256()
    for start, end in subtrees(130):
        rolling.update(f"[{start}, {end}) {merkle.subtree_root(start, end, read).hex()}\n".encode())
    assert rolling.hexdigest() == "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81"


def test_accumulated_subtree_inclusion_proofs_match_the_draft() -> None:
    rolling = sha256()
    for start, end in subtrees(130):
        for index in range(start, end):
            proof = merkle.subtree_inclusion_proof(index=index, start=start, end=end, read=read)
            rolling.update(f"{index} [{start}, {end}){''.join(' ' + value.hex() for value in proof)}\n".encode())
    assert rolling.hexdigest() == "ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f"


def test_accumulated_subtree_consistency_proofs_match_the_draft() -> None:
    rolling = sha256()
    for size in range(131):
        for start, end in subtrees(size):
            proof = merkle.subtree_consistency_proof(start=start, end=end, size=size, read=read)
            rolling.update(f"[{start}, {end}) {size}{''.join(' ' + value.hex() for value in proof)}\n".encode())
    assert rolling.hexdigest() == "10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74"


def test_accumulated_covering_subtrees_match_the_draft() -> None:
    rolling = sha256()
    for end in range(131):
        for start in range(end + 1):
            left, right = merkle.find_subtrees(start, end)
            rolling.update(f"[{left[0]}, {left[1]}) [{right[0]}, {right[1]})\n".encode())
    assert rolling.hexdigest() == "7fd9c8b926e9d2b5cf831560e8ce295a5ef97ad5c5ede4ea0dea28a8c8fc8bb0"


def test_roots_match_the_naive_tree() -> None:
    for size in range(65):
        assert merkle.root(size, read) == naive_root(LEAVES[:size])


def test_every_inclusion_proof_up_to_64_verifies_and_proves_no_other_index() -> None:
    for size in range(1, 65):
        root = root_of(0, size)
        for index in range(size):
            proof = merkle.inclusion_proof(index=index, size=size, read=read)
            leaf = merkle.leaf_hash(LEAVES[index])
            merkle.verify_inclusion(leaf_hash=leaf, index=index, size=size, proof=proof, root=root)
            path = b"".join(proof)
            assert merkle.root_from_inclusion_path(leaf_hash=leaf, index=index, size=size, path=path) == root
            other = (index + 1) % size
            if other != index:
                with pytest.raises(ProofError):
                    merkle.verify_inclusion(leaf_hash=leaf, index=other, size=size, proof=proof, root=root)


def test_every_subtree_proof_up_to_32_verifies() -> None:
    for size in range(33):
        for start, end in subtrees(size):
            root = root_of(start, end)
            proof = merkle.subtree_consistency_proof(start=start, end=end, size=size, read=read)
            merkle.verify_subtree_consistency(
                start=start, end=end, size=size, subtree_root=root, root=root_of(0, size), proof=proof
            )
            for index in range(start, end):
                path = merkle.subtree_inclusion_proof(index=index, start=start, end=end, read=read)
                merkle.verify_subtree_inclusion(
                    leaf_hash=merkle.leaf_hash(LEAVES[index]), index=index, start=start, end=end, proof=path, root=root
                )


def test_every_consistency_proof_up_to_64_verifies() -> None:
    for size2 in range(1, 65):
        for size1 in range(1, size2 + 1):
            proof = merkle.consistency_proof(size1=size1, size2=size2, read=read)
            merkle.verify_consistency(
                size1=size1, size2=size2, root1=root_of(0, size1), root2=root_of(0, size2), proof=proof
            )


@settings(max_examples=200)
@given(data=st.data())
def test_a_changed_subtree_consistency_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 130))
    start, end = data.draw(st.sampled_from([pair for pair in subtrees(size) if pair[0] < pair[1] < size]))
    proof = merkle.subtree_consistency_proof(start=start, end=end, size=size, read=read)
    inputs: dict[str, Any] = {
        "start": start,
        "end": end,
        "size": size,
        "subtree_root": root_of(start, end),
        "root": root_of(0, size),
        "proof": proof,
    }
    merkle.verify_subtree_consistency(**inputs)
    how = data.draw(st.sampled_from(["drop", "add", "flip", "swap", "size", "subtree_root", "root"]))
    if how == "drop":
        del proof[data.draw(st.integers(0, len(proof) - 1))]
    elif how == "add":
        proof.insert(data.draw(st.integers(0, len(proof))), data.draw(st.binary(min_size=32, max_size=32)))
    elif how == "flip":
        position = data.draw(st.integers(0, len(proof) - 1))
        proof[position] = flipped(proof[position], data.draw(st.integers(0, 255)))
    elif how == "swap":
        inputs["subtree_root"], inputs["root"] = inputs["root"], inputs["subtree_root"]
    elif how == "size":
        # The proof for one size proves nothing for another, even with the root of that one.
        other = data.draw(st.integers(end, 130).filter(lambda value: value != size))
        inputs["size"], inputs["root"] = other, root_of(0, other)
    else:
        inputs[how] = flipped(inputs[how], data.draw(st.integers(0, 255)))
    with pytest.raises(ProofError):
        merkle.verify_subtree_consistency(**inputs)


@settings(max_examples=200)
@given(data=st.data())
def test_a_changed_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 130))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index=index, size=size, read=read)
    inputs: dict[str, Any] = {
        "leaf_hash": merkle.leaf_hash(LEAVES[index]),
        "index": index,
        "size": size,
        "root": root_of(0, size),
        "proof": proof,
    }
    how = data.draw(st.sampled_from(["drop", "add", "flip", "index", "leaf_hash", "root"]))
    if how == "drop":
        del proof[data.draw(st.integers(0, len(proof) - 1))]
    elif how == "add":
        proof.insert(data.draw(st.integers(0, len(proof))), data.draw(st.binary(min_size=32, max_size=32)))
    elif how == "flip":
        position = data.draw(st.integers(0, len(proof) - 1))
        proof[position] = flipped(proof[position], data.draw(st.integers(0, 255)))
    elif how == "index":
        inputs["index"] = data.draw(st.integers(-2, size + 2).filter(lambda value: value != index))
    else:
        inputs[how] = flipped(inputs[how], data.draw(st.integers(0, 255)))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(**inputs)


def flipped(value: bytes, bit: int) -> bytes:
    return (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(len(value), "big")


@settings(max_examples=200)
@given(first=st.integers(0, 2**64 - 1), second=st.integers(0, 2**64 - 1))
def test_two_adjacent_subtrees_cover_any_interval(first: int, second: int) -> None:
    start, end = sorted((first, second))
    left, right = merkle.find_subtrees(start, end)
    assert merkle.is_valid_subtree(*left)
    assert merkle.is_valid_subtree(*right)
    assert left[0] <= start
    assert left[1] == right[0]
    assert right[1] == end
    if start < end:
        assert start - left[0] < left[1] - start


def test_a_consistency_proof_from_the_empty_tree_is_refused() -> None:
    for size2 in (0, 1, 8):
        with pytest.raises(ProofError):
            merkle.verify_consistency(size1=0, size2=size2, root1=merkle.EMPTY_ROOT, root2=root_of(0, size2), proof=[])


def test_an_empty_subtree_has_the_empty_root_and_no_proof() -> None:
    merkle.verify_subtree_consistency(
        start=3, end=3, size=5, subtree_root=merkle.EMPTY_ROOT, root=root_of(0, 5), proof=[]
    )
    for subtree_root, proof in ((root_of(0, 5), []), (merkle.EMPTY_ROOT, [merkle.EMPTY_ROOT])):
        with pytest.raises(ProofError):
            merkle.verify_subtree_consistency(
                start=3, end=3, size=5, subtree_root=subtree_root, root=root_of(0, 5), proof=proof
            )
    with pytest.raises(ProofError):
        merkle.verify_subtree_consistency(
            start=6, end=6, size=5, subtree_root=merkle.EMPTY_ROOT, root=root_of(0, 5), proof=[]
        )


def test_a_tree_of_the_largest_size_is_no_trouble() -> None:
    size = 2**64 - 1
    with pytest.raises(ProofError, match="another root"):
        merkle.verify_inclusion(leaf_hash=b"l" * 32, index=0, size=size, proof=[b"p" * 32] * 64, root=b"r" * 32)
    assert merkle.is_valid_subtree(0, size)
    assert not merkle.is_valid_subtree(2**63, 2**63 + 2**63 + 1)


@pytest.mark.parametrize("wrong", NOT_SIZES, ids=lambda value: type(value).__name__)
def test_what_is_no_size_is_a_proof_error(wrong: Any) -> None:
    hashes = [b"p" * 32]
    one = b"h" * 32
    calls: list[Callable[[], object]] = [
        lambda: merkle.verify_inclusion(leaf_hash=one, index=wrong, size=2, proof=hashes, root=one),
        lambda: merkle.verify_inclusion(leaf_hash=one, index=0, size=wrong, proof=hashes, root=one),
        lambda: merkle.verify_consistency(size1=wrong, size2=2, root1=one, root2=one, proof=hashes),
        lambda: merkle.verify_consistency(size1=1, size2=wrong, root1=one, root2=one, proof=hashes),
        lambda: merkle.verify_subtree_inclusion(leaf_hash=one, index=wrong, start=0, end=2, proof=hashes, root=one),
        lambda: merkle.verify_subtree_inclusion(leaf_hash=one, index=0, start=wrong, end=2, proof=hashes, root=one),
        lambda: merkle.verify_subtree_inclusion(leaf_hash=one, index=0, start=0, end=wrong, proof=hashes, root=one),
        lambda: merkle.verify_subtree_consistency(start=wrong, end=2, size=4, subtree_root=one, root=one, proof=hashes),
        lambda: merkle.verify_subtree_consistency(start=0, end=wrong, size=4, subtree_root=one, root=one, proof=hashes),
        lambda: merkle.verify_subtree_consistency(start=0, end=2, size=wrong, subtree_root=one, root=one, proof=hashes),
        lambda: merkle.find_subtrees(wrong, 2),
        lambda: merkle.find_subtrees(0, wrong),
        lambda: merkle.root(wrong, read),
        lambda: merkle.inclusion_proof(index=wrong, size=2, read=read),
        lambda: merkle.consistency_proof(size1=1, size2=wrong, read=read),
    ]
    for call in calls:
        with pytest.raises(ProofError):
            call()
    assert not merkle.is_valid_subtree(wrong, wrong)


@pytest.mark.parametrize("wrong", NOT_HASHES, ids=lambda value: type(value).__name__)
def test_what_is_no_hash_is_a_proof_error(wrong: Any) -> None:
    one = b"h" * 32
    calls: list[Callable[[], object]] = [
        lambda: merkle.verify_inclusion(leaf_hash=wrong, index=0, size=2, proof=[one], root=one),
        lambda: merkle.verify_inclusion(leaf_hash=one, index=0, size=2, proof=[wrong], root=one),
        lambda: merkle.verify_inclusion(leaf_hash=one, index=0, size=2, proof=wrong, root=one),
        lambda: merkle.verify_inclusion(leaf_hash=one, index=0, size=2, proof=[one], root=wrong),
        lambda: merkle.verify_consistency(size1=1, size2=2, root1=wrong, root2=one, proof=[one]),
        lambda: merkle.verify_consistency(size1=1, size2=2, root1=one, root2=wrong, proof=[one]),
        lambda: merkle.verify_consistency(size1=1, size2=2, root1=one, root2=one, proof=[wrong]),
        lambda: merkle.verify_consistency(size1=1, size2=2, root1=one, root2=one, proof=wrong),
        lambda: merkle.node_hash(one, wrong),
        lambda: merkle.root(2, lambda _: [one, wrong]),
    ]
    for call in calls:
        with pytest.raises(ProofError):
            call()


def test_an_entry_that_is_not_bytes_is_a_proof_error() -> None:
    for wrong in (None, "text", 5):
        with pytest.raises(ProofError):
            merkle.leaf_hash(wrong)  # type: ignore[arg-type]


def test_a_reader_that_answers_too_few_hashes_is_refused() -> None:
    with pytest.raises(ProofError, match="0 hashes where 2"):
        merkle.root(3, lambda _: [])


def test_equal_sizes_are_consistent_only_with_equal_roots_and_no_proof() -> None:
    one, two = b"1" * 32, b"2" * 32
    merkle.verify_consistency(size1=5, size2=5, root1=one, root2=one, proof=[])
    for root2, proof in ((two, []), (one, [one])):
        with pytest.raises(ProofError):
            merkle.verify_consistency(size1=5, size2=5, root1=one, root2=root2, proof=proof)


def test_roots_of_equal_sizes_are_compared_as_they_are() -> None:
    # Nothing is hashed here, so that their length is not looked at: as transparency-dev/merkle has it.
    merkle.verify_consistency(size1=5, size2=5, root1=b"short", root2=b"short", proof=[])
    with pytest.raises(ProofError):
        merkle.verify_consistency(size1=5, size2=6, root1=b"short", root2=b"short", proof=[b"p" * 32])
