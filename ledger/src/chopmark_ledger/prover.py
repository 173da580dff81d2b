"""Proofs of inclusion for what the log has published.

A tlog-proof (https://c2sp.org/tlog-proof) leads to the published, cosigned checkpoint; a landmark proof to a record of
the landmark file, once one covers the entry. Hashes come from the database, and no proof is handed out that does not
lead where it should.
"""

from __future__ import annotations

from chopmark import merkle
from chopmark.landmark import LandmarkFile, LandmarkProof
from chopmark.tlog_proof import TlogProof

from chopmark_ledger.errors import NotPublishedError
from chopmark_ledger.log import Log


def tlog_proof(log: Log, index: int) -> bytes:
    """Make the tlog-proof of an entry under the published checkpoint.

    Raises:
        NotPublishedError: the entry is not in the published tree.
        ProofError: the database does not lead to the published root.
    """
    publication = log.publication
    if publication is None or not 0 <= index < publication.size:
        raise NotPublishedError(
            f"entry {index} is not in the published tree",
            where=log.identity.origin,
            remedy="Publish, then ask again",
        )
    size = publication.size
    proof = merkle.inclusion_proof(index=index, size=size, read=log.read_nodes)
    (leaf,) = log.read_nodes([(0, index)])
    merkle.verify_inclusion(leaf_hash=leaf, index=index, size=size, proof=proof, root=publication.root)
    return TlogProof(index, tuple(proof), publication.note, None).encode()


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
