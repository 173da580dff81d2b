"""Proofs of inclusion for what the log has published.

A tlog-proof (https://c2sp.org/tlog-proof) leads to the published, cosigned checkpoint, which it carries; a landmark
proof leads to a record of the landmark file, once one covers the entry. Hashes come from the database, and no proof is
handed out that does not lead where it should.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain

from chopmark import merkle, strict
from chopmark.landmark import LandmarkFile, LandmarkProof
from chopmark.note import Note
from chopmark.tiles import TILE_HEIGHT, TILE_WIDTH

from chopmark_ledger.errors import NotPublishedError
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.store import Publication

_ED25519_SIZE = 72
"""Bytes of an Ed25519 signature with the time of a cosignature; an ML-DSA-44 one has 2,428."""
_WORTH_A_BLOCK = 8
"""Entries under one tile from which on reading all of its nodes is less work than reading the path of each."""


def tlog_proof(log: Log, index: int) -> bytes:
    """Make the tlog-proof of an entry under the published checkpoint.

    Raises:
        NotPublishedError: the entry is not in the published tree.
        ProofError: the database does not lead to the published root.
    """
    return tlog_proofs(log, [index])[0]


def tlog_proofs(log: Log, indexes: Sequence[int]) -> list[bytes]:
    """Make the tlog-proofs of several entries, all under one published checkpoint, in the order asked for.

    Raises:
        NotPublishedError: one of them is not in the published tree.
        ProofError: the database does not lead to the published root.
    """
    publication = log.publication
    for index in indexes:
        if publication is None or not 0 <= index < publication.size:
            raise NotPublishedError(
                f"entry {index} is not in the published tree",
                where=log.identity.origin,
                remedy="Publish, then ask again",
            )
    if publication is None:
        return []
    checkpoint = compact_checkpoint(publication.note)
    found: dict[int, bytes] = {}
    for block, wanted in _by_block(indexes).items():
        if len(wanted) >= _WORTH_A_BLOCK and (block + 1) * TILE_WIDTH <= publication.size:
            found.update(_proofs_of_block(log, block, wanted, publication, checkpoint))
        else:
            for index in wanted:
                found[index] = _encode(index, map(strict.base64_encode, _path(log, index, publication)), checkpoint)
    return [found[index] for index in indexes]


def _by_block(indexes: Sequence[int]) -> dict[int, list[int]]:
    blocks: dict[int, list[int]] = {}
    for index in dict.fromkeys(indexes):
        blocks.setdefault(index // TILE_WIDTH, []).append(index)
    return blocks


def _path(log: Log, index: int, publication: Publication) -> list[bytes]:
    """The path of an entry to the published root, which it is checked to lead to."""
    size = publication.size
    proof = merkle.inclusion_proof(index=index, size=size, read=log.read_nodes)
    (leaf,) = log.read_nodes([(0, index)])
    merkle.verify_inclusion(leaf_hash=leaf, index=index, size=size, proof=proof, root=publication.root)
    return proof


def _proofs_of_block(
    log: Log, block: int, indexes: Sequence[int], publication: Publication, checkpoint: bytes
) -> Iterator[tuple[int, bytes]]:
    """Proofs of entries under one full tile: above it their paths are the same, and its own nodes are read once."""
    rows = []
    for height in range(TILE_HEIGHT):
        first = block * TILE_WIDTH >> height
        nodes = log.read_nodes([(height, first + place) for place in range(TILE_WIDTH >> height)])
        rows.append([strict.base64_encode(node) for node in nodes])
    above = [strict.base64_encode(node) for node in _path(log, indexes[0], publication)[TILE_HEIGHT:]]
    for index in indexes:
        place = index % TILE_WIDTH
        siblings = [row[place >> height ^ 1] for height, row in enumerate(rows)]
        yield index, _encode(index, chain(siblings, above), checkpoint)


def _encode(index: int, proof: Iterable[str], checkpoint: bytes) -> bytes:
    """Write a `chopmark.tlog_proof.TlogProof`, whose checkpoint need not be parsed for each."""
    lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *proof, "", ""]
    return "\n".join(lines).encode("ascii") + checkpoint


@lru_cache(maxsize=4)
def compact_checkpoint(note: bytes) -> bytes:
    """The signed checkpoint as proofs carry it: without a post-quantum line of a name that signed with Ed25519 too.

    A credential with its proof has 8 KiB, and one ML-DSA-44 line takes more than 3. Whoever wants them fetches
    `checkpoint`.
    """
    parsed = Note.parse(note)
    short = {line.name for line in parsed.signatures if len(line.signature) <= _ED25519_SIZE}
    kept = [line for line in parsed.signatures if len(line.signature) <= _ED25519_SIZE or line.name not in short]
    return Note(parsed.text, tuple(kept)).encode()


def landmark_proof(log: Log, file: LandmarkFile, index: int) -> LandmarkProof | None:
    """Make the proof of an entry under the earliest landmark that covers it; None while there is none.

    Raises:
        ProofError: the database does not lead to the landmark.
    """
    record = file.covering(index)
    if record is None:
        return None
    path = merkle.subtree_inclusion_proof(index=index, start=record.start, end=record.end, read=log.read_nodes)
    proof = LandmarkProof(file.log_number, record.start, record.end, index, b"".join(path))
    (leaf,) = log.read_nodes([(0, index)])
    proof.verify(leaf, record)
    return proof


def consistency_proof(log: Log, old_size: int) -> list[bytes]:
    """Make the proof that the tree of `old_size` is the beginning of the published one.

    Raises:
        NotPublishedError: nothing is published, or it is smaller.
    """
    publication = log.publication
    if publication is None or not 0 <= old_size <= publication.size:
        raise NotPublishedError(f"the published tree does not reach {old_size}", where=log.identity.origin)
    return merkle.consistency_proof(size1=old_size, size2=publication.size, read=log.read_nodes)
