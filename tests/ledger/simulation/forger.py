"""Somebody who holds the log's key, and would have a witness cosign a second history."""

from __future__ import annotations

from random import Random

from chopmark import merkle
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.keys import Signer
from chopmark.note import NoteSigner
from chopmark.strict import base64_encode

from tests.ledger.simulation.history import History

ORIGIN = "cn-gd.example/log/2026"


def forged_request(history: History, held: int, key: Signer, random: Random) -> bytes:
    """An `add-checkpoint` request for another history, which leaves the true one before what the witness holds; its
    proof from there is a good one.

    Args:
        history: the true one.
        held: the size that the witness cosigned last, above 1.
        key: the log's.
        random: chooses where the histories part.
    """
    parting = random.randrange(1, held)
    size = random.choice((held, random.randint(parting + 1, held + 5)))
    other = History([*history.entries[:parting], *(b"forged %d" % number for number in range(parting, size))])
    old = random.choice((held, parting, min(held, size)))
    proof: list[bytes] = []
    if 0 < old < size:
        proof = merkle.consistency_proof(
            size1=old, size2=size, read=lambda nodes: [other.node(level, index) for level, index in nodes]
        )
    checkpoint = Checkpoint(ORIGIN, size, other.root(size))
    note = SignedCheckpoint.sign(checkpoint, [NoteSigner(ORIGIN, key)])
    return "\n".join([f"old {old}", *map(base64_encode, proof), "", ""]).encode() + note.encode()
