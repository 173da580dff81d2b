"""Vectors of a witness: what it answers to `sign-subtree`."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.keys import Ed25519Signer
from chopmark.merkle import EMPTY_ROOT, root, subtree_consistency_proof, subtree_root
from chopmark.note import NoteSignature

from specs.vectors.merkle_vectors import sample_log
from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer
from specs.vectors.sample_world import NOW
from specs.vectors.vector_file import Vector, VectorFile
from specs.vectors.witness_vectors import NAME, PRIVATE, PRIVATE_ML_DSA_44

SIZE = 14


def witness_subtree_vectors() -> VectorFile:
    """All vectors of `witness-subtree.json`."""
    file = VectorFile("witness-subtree", "specs/log.md")
    log = sample_log(SIZE)
    checkpoint = Checkpoint(log.origin, SIZE, root(SIZE, log.read))
    ed = Cosigner(NAME, Ed25519Signer.from_private_bytes(PRIVATE))
    pq = Cosigner(NAME, DeterministicMlDsa44Signer(PRIVATE_ML_DSA_44))
    of_ed, of_pq = ed.cosign(checkpoint, NOW), pq.cosign(checkpoint, NOW)
    of_log = log.signer.sign(checkpoint.body())
    smaller = ed.cosign(Checkpoint(log.origin, 8, root(8, log.read)), NOW)
    elsewhere = Checkpoint("us-il.example/log/2026", SIZE, checkpoint.root)

    def request(
        start: int | str,
        end: int | str,
        *,
        subtree: bytes | None = None,
        proof: Sequence[bytes] | None = None,
        of: Checkpoint = checkpoint,
        lines: Sequence[NoteSignature] = (of_ed,),
    ) -> str:
        """A request; hash and proof are the right ones unless others are given."""
        bounds = (start, end) if isinstance(start, int) and isinstance(end, int) else (8, 13)
        if subtree is None:
            subtree = subtree_root(*bounds, log.read)
        if proof is None:
            proof = subtree_consistency_proof(start=bounds[0], end=bounds[1], size=SIZE, read=log.read)
        hashes = "".join(f"{base64.b64encode(value).decode()}\n" for value in (subtree, *proof))
        signatures = "".join(f"{line.encode()}\n" for line in lines)
        return f"subtree {start} {end}\n{hashes}\n{of.body()}\n{signatures}"

    def add(name: str, description: str, request: str, answer: dict[str, int | str]) -> None:
        given = {
            "name": NAME,
            "private": PRIVATE.hex(),
            "private_ml_dsa_44": PRIVATE_ML_DSA_44.hex(),
            "logs": [log.signer.vkey],
            "request": request,
        }
        file.vectors.append(Vector(f"witness-subtree-{name}", description, "sign_subtree", given, answer))

    def signed(start: int, end: int) -> dict[str, int | str]:
        line = pq.cosign_subtree(log.origin, start, end, subtree_root(start, end, log.read))
        return {"status": 200, "body": f"{line.encode()}\n"}

    add("ed25519", "a checkpoint that bears the Ed25519 line of the witness", request(8, 13), signed(8, 13))
    add("ml-dsa-44", "one that bears its ML-DSA-44 line", request(8, 13, lines=[of_pq]), signed(8, 13))
    add("both", "one that bears both, and that of its log", request(8, 13, lines=[of_log, of_ed, of_pq]), signed(8, 13))
    add("full", "a full subtree", request(4, 8), signed(4, 8))
    add("leaf", "a single leaf", request(13, 14), signed(13, 14))
    add("prefix", "a subtree from the beginning", request(0, 8), signed(0, 8))
    add("whole", "the whole tree: no proof is needed", request(0, SIZE), signed(0, SIZE))
    proof = subtree_consistency_proof(start=8, end=13, size=SIZE, read=log.read)
    good = request(8, 13)
    spoilt = NoteSignature(of_pq.name, of_pq.key_id, of_pq.signature[:-1] + bytes([of_pq.signature[-1] ^ 1]))
    for name, description, refused, status in (
        ("no-subtree", "an interval that is no subtree", request(4, 13, subtree=bytes(32), proof=[]), 400),
        ("empty", "an empty interval", request(8, 8, subtree=EMPTY_ROOT, proof=[]), 400),
        ("backwards", "an end below the start", request(8, 4, subtree=bytes(32), proof=[]), 400),
        ("beyond", "an end beyond the checkpoint", request(8, 15, subtree=bytes(32), proof=[]), 400),
        ("leading-zero", "a start with a leading zero", request("08", 13), 400),
        ("signed-number", "an end with a sign", request(8, "+13"), 400),
        ("no-hash", "no hash of the subtree", f"subtree 8 13\n\n{good.partition(chr(10) * 2)[2]}", 400),
        ("hash-short", "a hash of the subtree of 31 bytes", request(8, 13, subtree=bytes(31)), 400),
        ("64-hashes", "64 proof hashes", request(8, 13, proof=[bytes(32)] * 64), 400),
        ("old", "an `old` line", good.replace("subtree 8 13", "old 8"), 400),
        ("proof-missing", "no proof", request(8, 13, proof=[]), 422),
        ("proof-changed", "a proof with a changed hash", request(8, 13, proof=[bytes(32), *proof[1:]]), 422),
        ("proof-long", "a proof with a hash too many", request(8, 13, proof=[*proof, bytes(32)]), 422),
        ("hash-other", "another hash of the subtree", request(8, 13, subtree=bytes(32)), 422),
        ("origin-unknown", "a log that it does not know", request(8, 13, of=elsewhere), 404),
        (
            "origin-unknown-proof-changed",
            "the proof is judged before the origin",
            request(8, 13, of=elsewhere, proof=[bytes(32), *proof[1:]]),
            422,
        ),
        ("not-cosigned", "a checkpoint that only its log signed", request(8, 13, lines=[of_log]), 403),
        ("cosignature-of-another", "the line of another checkpoint", request(8, 13, lines=[smaller]), 403),
        ("one-bad", "a bad line by one of its keys", request(8, 13, lines=[of_ed, spoilt]), 403),
    ):
        add(name, description, refused, {"status": status})
    return file
