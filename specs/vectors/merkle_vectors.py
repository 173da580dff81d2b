"""Vectors of Merkle proofs."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from chopmark.cosignature import Cosigner
from chopmark.entries import CredentialEntry
from chopmark.keys import Ed25519Signer
from chopmark.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    find_subtrees,
    inclusion_proof,
    leaf_hash,
    root,
    subtree_consistency_proof,
    subtree_inclusion_proof,
    subtree_root,
)
from chopmark.note import NoteSigner

from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import CREATED, FOOD_DEPARTMENT, SeededRandom
from specs.vectors.vector_file import PROOF, VectorFile

ORIGIN = "cn-gd.example/log/2026"


def sample_log(entries: int) -> SampleLog:
    """A log of so many entries: its genesis, then credentials whose digests are SHA-256 of their numbers."""
    random = SeededRandom("chopmark tree vectors 1")
    signer = Ed25519Signer.from_private_bytes(random(32))
    witnesses = [
        Cosigner(f"{host}/witness", Ed25519Signer.from_private_bytes(random(32)))
        for host in ("cn-sh.example", "us-il.example", "audit.example")
    ]
    log = SampleLog(ORIGIN, 1, NoteSigner(ORIGIN, signer), witnesses, CREATED)
    for number in range(1, entries):
        log.append(CredentialEntry(FOOD_DEPARTMENT, sha256(b"credential %d" % number).digest()).encode())
    return log


def hexes(hashes: list[bytes]) -> list[str]:
    """Hashes in hexadecimal."""
    return [value.hex() for value in hashes]


def merkle_vectors() -> VectorFile:
    """Inclusion, consistency and subtree proofs over one log of 13 entries."""
    file = VectorFile("merkle", "specs/merkle.md")
    log = sample_log(13)
    _add_inclusion(file, log)
    _add_consistency(file, log)
    _add_subtrees(file, log)
    return file


def _inclusion(log: SampleLog, index: int, size: int) -> dict[str, Any]:
    return {
        "leaf_hash": leaf_hash(log.entries[index]).hex(),
        "index": index,
        "size": size,
        "proof": hexes(inclusion_proof(index=index, size=size, read=log.read)),
        "root": root(size, log.read).hex(),
    }


def _add_inclusion(file: VectorFile, log: SampleLog) -> None:
    for index, size in ((0, 1), (0, 2), (6, 7), (4, 8), (8, 13), (12, 13)):
        file.accept(
            f"inclusion-{index}-of-{size}", f"entry {index} of {size}", "inclusion", _inclusion(log, index, size)
        )
    file.accept(
        "inclusion-2-of-4-for-4-of-6",
        "the path of entry 4 of 6 also leads to that root as entry 2 of 4: a root alone fixes neither index nor size, "
        "so both are only taken from what witnesses signed",
        "inclusion",
        {**_inclusion(log, 4, 6), "index": 2, "size": 4},
    )
    good = _inclusion(log, 4, 8)
    proof = good["proof"]
    for name, description, changes in (
        ("another-index", "the index is another", {"index": 5}),
        ("another-size", "the size is another", {"size": 9}),
        ("index-at-size", "an index that is not below the size", {"index": 8}),
        ("size-0", "a tree without entries", {"index": 0, "size": 0}),
        ("another-root", "the root of another size", {"root": root(7, log.read).hex()}),
        ("another-leaf", "another leaf", {"leaf_hash": leaf_hash(b"").hex()}),
        ("leaf-short", "a leaf hash of 31 bytes", {"leaf_hash": good["leaf_hash"][:-2]}),
        ("too-few-hashes", "the last hash is missing", {"proof": proof[:-1]}),
        ("too-many-hashes", "one hash too many", {"proof": [*proof, proof[0]]}),
        ("hashes-swapped", "two hashes changed places", {"proof": [proof[1], proof[0], *proof[2:]]}),
        ("hash-short", "a hash of 31 bytes", {"proof": [proof[0][:-2], *proof[1:]]}),
    ):
        file.refuse(f"inclusion-{name}", description, "inclusion", {**good, **changes}, PROOF)


def _consistency(log: SampleLog, size1: int, size2: int) -> dict[str, Any]:
    return {
        "size1": size1,
        "size2": size2,
        "root1": root(size1, log.read).hex(),
        "root2": root(size2, log.read).hex(),
        "proof": hexes(consistency_proof(size1=size1, size2=size2, read=log.read)),
    }


def _add_consistency(file: VectorFile, log: SampleLog) -> None:
    for size1, size2 in ((1, 2), (3, 7), (4, 8), (6, 8), (8, 13), (13, 13)):
        file.accept(
            f"consistency-{size1}-{size2}",
            f"from size {size1} to {size2}",
            "consistency",
            _consistency(log, size1, size2),
        )
    good = _consistency(log, 6, 13)
    proof = good["proof"]
    empty = {"size1": 0, "root1": EMPTY_ROOT.hex(), "proof": []}
    for name, description, changes in (
        ("from-0", "from the empty tree: a proof of that would say nothing", empty),
        ("backwards", "from a larger to a smaller tree", {"size1": 13, "size2": 6}),
        ("another-root1", "another root of the smaller tree", {"root1": root(5, log.read).hex()}),
        ("another-root2", "another root of the larger tree", {"root2": root(12, log.read).hex()}),
        ("same-size-other-root", "one size with two roots", {"size1": 13, "proof": []}),
        ("too-few-hashes", "the last hash is missing", {"proof": proof[:-1]}),
        ("too-many-hashes", "one hash too many", {"proof": [*proof, proof[0]]}),
        ("no-hashes", "no hash at all", {"proof": []}),
    ):
        file.refuse(f"consistency-{name}", description, "consistency", {**good, **changes}, PROOF)


def _subtree_inclusion(log: SampleLog, index: int, start: int, end: int) -> dict[str, Any]:
    return {
        "leaf_hash": leaf_hash(log.entries[index]).hex(),
        "index": index,
        "start": start,
        "end": end,
        "proof": hexes(subtree_inclusion_proof(index=index, start=start, end=end, read=log.read)),
        "root": subtree_root(start, end, log.read).hex(),
    }


def _subtree_consistency(log: SampleLog, start: int, end: int, size: int) -> dict[str, Any]:
    return {
        "start": start,
        "end": end,
        "size": size,
        "subtree_root": subtree_root(start, end, log.read).hex(),
        "root": root(size, log.read).hex(),
        "proof": hexes(subtree_consistency_proof(start=start, end=end, size=size, read=log.read)),
    }


def _add_subtrees(file: VectorFile, log: SampleLog) -> None:
    for index, start, end in ((9, 8, 12), (12, 8, 13), (5, 4, 7), (3, 0, 13)):
        name = f"subtree-inclusion-{index}-in-{start}-{end}"
        description = f"entry {index} of the log in [{start}, {end})"
        file.accept(name, description, "subtree_inclusion", _subtree_inclusion(log, index, start, end))
    good = _subtree_inclusion(log, 9, 8, 12)
    for name, description, changes in (
        ("index-before", "an index before the subtree", {"index": 7}),
        ("index-behind", "an index behind the subtree", {"index": 12}),
        ("index-in-subtree", "the index counted from the start of the subtree", {"index": 1}),
        ("no-subtree", "[6, 10) is not aligned", {"start": 6, "end": 10}),
        ("another-root", "the root of another subtree", {"root": subtree_root(4, 8, log.read).hex()}),
    ):
        file.refuse(f"subtree-inclusion-{name}", description, "subtree_inclusion", {**good, **changes}, PROOF)
    for start, end, size in ((4, 8, 13), (8, 13, 13), (8, 10, 13), (0, 13, 13), (12, 13, 13)):
        name = f"subtree-consistency-{start}-{end}-in-{size}"
        description = f"[{start}, {end}) belongs to the tree of {size}"
        file.accept(name, description, "subtree_consistency", _subtree_consistency(log, start, end, size))
    good = _subtree_consistency(log, 4, 8, 13)
    for name, description, changes in (
        ("another-subtree", "the root of another subtree", {"subtree_root": subtree_root(0, 4, log.read).hex()}),
        ("another-root", "the root of another size", {"root": root(12, log.read).hex()}),
        ("beyond-size", "a subtree that ends beyond the tree", {"size": 7}),
        ("no-subtree", "[3, 8) is not aligned", {"start": 3}),
    ):
        file.refuse(f"subtree-consistency-{name}", description, "subtree_consistency", {**good, **changes}, PROOF)
    for start, end in ((0, 0), (0, 13), (5, 13), (7, 9), (12, 13), (1000, 1024)):
        file.accept(
            f"find-subtrees-{start}-{end}",
            f"the two subtrees that cover [{start}, {end})",
            "find_subtrees",
            {"start": start, "end": end},
            [list(interval) for interval in find_subtrees(start, end)],
        )
    file.refuse("find-subtrees-backwards", "a start behind the end", "find_subtrees", {"start": 9, "end": 8}, PROOF)
