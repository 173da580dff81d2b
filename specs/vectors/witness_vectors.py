"""Vectors of a witness: what it answers to `add-checkpoint`, given what it answered before."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.keys import Ed25519Signer
from chopmark.merkle import EMPTY_ROOT, consistency_proof, root
from chopmark.note import Note, NoteSigner, sign_note

from specs.vectors.merkle_vectors import sample_log
from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer
from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import NOW
from specs.vectors.vector_file import Vector, VectorFile

NAME = "cn-sh.example/witness"
PRIVATE = bytes(range(32))
PRIVATE_ML_DSA_44 = bytes(range(32, 64))


class _Requests:
    """Writes requests of one log, and what a witness answers."""

    def __init__(self, file: VectorFile) -> None:
        self.file = file
        self.log: SampleLog = sample_log(13)
        self.witness = Cosigner(NAME, Ed25519Signer.from_private_bytes(PRIVATE))

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.log.origin, size, root(size, self.log.read))

    def request(
        self,
        old: int | str,
        checkpoint: Checkpoint,
        *,
        proof: Sequence[bytes] | None = None,
        signers: Sequence[NoteSigner] | None = None,
    ) -> str:
        """A request; the proof is the right one unless another is given."""
        if proof is None:
            size = old if isinstance(old, int) else 0
            proof = consistency_proof(size1=size, size2=checkpoint.size, read=self.log.read) if size else []
        note = sign_note(checkpoint.body(), signers or [self.log.signer]).encode().decode()
        lines = "".join(f"{base64.b64encode(value).decode()}\n" for value in proof)
        return f"old {old}\n{lines}\n{note}"

    def cosigned(self, checkpoint: Checkpoint, time: int) -> dict[str, Any]:
        """The answer to a checkpoint that follows."""
        return {"status": 200, "body": self.witness.cosign(checkpoint, time).encode() + "\n"}

    def add(
        self,
        name: str,
        description: str,
        request: str,
        answer: Mapping[str, Any],
        *,
        before: Sequence[str] = (),
        at: int = NOW,
    ) -> None:
        """Add a vector; the requests before are answered with 200, all at `NOW`."""
        given = {
            "name": NAME,
            "private": PRIVATE.hex(),
            "logs": [self.log.signer.vkey],
            "before": [{"request": each, "at": NOW} for each in before],
            "request": request,
            "at": at,
        }
        self.file.vectors.append(Vector(f"witness-{name}", description, "add_checkpoint", given, answer))


def witness_vectors() -> VectorFile:
    """All vectors of `witness.json`."""
    file = VectorFile("witness", "specs/log.md")
    requests = _Requests(file)
    log, add, request = requests.log, requests.add, requests.request
    eight, thirteen = requests.checkpoint(8), requests.checkpoint(13)
    first = request(0, eight)
    held = [first]
    good = request(8, thirteen)
    proof = consistency_proof(size1=8, size2=13, read=log.read)
    forked = Checkpoint(log.origin, 8, bytes(32))
    fork_later = Checkpoint(log.origin, 13, bytes(32))
    empty = Checkpoint(log.origin, 0, EMPTY_ROOT)
    elsewhere = NoteSigner("us-il.example/log/2026", Ed25519Signer.from_private_bytes(b"\x51" * 32))
    stranger = NoteSigner(log.origin, Ed25519Signer.from_private_bytes(b"\x52" * 32))
    other_origin = Checkpoint(elsewhere.name, 8, eight.root)
    add("first", "the first checkpoint of a log", first, requests.cosigned(eight, NOW))
    add("first-empty", "the checkpoint of a log without entries", request(0, empty), requests.cosigned(empty, NOW))
    add("grown", "a larger checkpoint, with its proof", good, requests.cosigned(thirteen, NOW), before=held)
    add(
        "again",
        "the same checkpoint again, later",
        request(8, eight),
        requests.cosigned(eight, NOW + 60),
        before=held,
        at=NOW + 60,
    )
    add(
        "clock-back",
        "a clock five minutes back: the last time is repeated",
        good,
        requests.cosigned(thirteen, NOW),
        before=held,
        at=NOW - 300,
    )
    unknown = request(8, thirteen, signers=[log.signer, stranger])
    add(
        "unknown-signature",
        "a second signature, of an unknown key",
        unknown,
        requests.cosigned(thirteen, NOW),
        before=held,
    )
    add("stale", "`old` is not the size held", request(0, thirteen), {"status": 409, "body": "8\n"}, before=held)
    add("stale-unknown", "`old` is 8, nothing is held", good, {"status": 409, "body": "0\n"})
    for name, description, refused, status in (
        ("fork", "another root at the same size: two histories", request(8, forked, proof=[]), 422),
        ("fork-later", "a larger checkpoint that does not follow", request(8, fork_later, proof=proof), 422),
        ("proof-missing", "a larger checkpoint without its proof", request(8, thirteen, proof=[]), 422),
        ("proof-changed", "a proof with a changed hash", request(8, thirteen, proof=[bytes(32), *proof[1:]]), 422),
        ("proof-unneeded", "a proof for the same size", request(8, eight, proof=proof), 422),
        ("old-above", "`old` above the new size", request(13, eight, proof=[]), 400),
        ("unsigned", "signed by a key that is not the log's", request(8, thirteen, signers=[stranger]), 403),
        ("signature-bad", "a bad signature of the log", _damaged(good), 403),
        ("origin-unknown", "a log that it does not know", request(0, other_origin, signers=[elsewhere]), 404),
        ("old-missing", "no `old` line", good.replace("old 8\n", ""), 400),
        ("old-leading-zero", "`old` with a leading zero", good.replace("old 8", "old 08"), 400),
        ("hash-short", "a proof hash of 31 bytes", request(8, thirteen, proof=[bytes(31), *proof[1:]]), 400),
        ("64-hashes", "64 proof hashes", request(8, thirteen, proof=[bytes(32)] * 64), 400),
        ("no-checkpoint", "no checkpoint", "old 8\n", 400),
        ("carriage-return", "carriage returns", good.replace("\n", "\r\n"), 400),
    ):
        add(name, description, refused, {"status": status}, before=held)
    not_empty = Checkpoint(log.origin, 1, root(1, log.read)).body().replace("\n1\n", "\n0\n")
    note = sign_note(not_empty, [log.signer]).encode().decode()
    _with_two_keys(requests)
    add("empty-other-root", "size 0 with another root than the empty one", f"old 0\n\n{note}", {"status": 422})
    add("first-with-proof", "a proof from the empty tree", request(0, eight, proof=proof), {"status": 422})
    return file


def _with_two_keys(requests: _Requests) -> None:
    """A witness that has an ML-DSA-44 key too, and a log that signs with one, alone or beside the other."""
    checkpoint = requests.checkpoint(8)
    log_signer = Cosigner(requests.log.origin, DeterministicMlDsa44Signer(b"\x53" * 32))
    body, ed, pq = checkpoint.body(), requests.log.signer.sign(checkpoint.body()), log_signer.cosign(checkpoint, NOW)
    other = log_signer.cosign(requests.checkpoint(13), NOW)
    lines = [
        requests.witness.cosign(checkpoint, NOW).encode(),
        Cosigner(NAME, DeterministicMlDsa44Signer(PRIVATE_ML_DSA_44)).cosign(checkpoint, NOW).encode(),
    ]
    cosigned = {"status": 200, "body": "".join(f"{line}\n" for line in lines)}
    vkeys = [requests.log.signer.vkey, log_signer.vkey]
    for name, description, signatures, logs, answer in (
        ("two-keys", "a witness with both keys answers both lines", (ed,), vkeys[:1], cosigned),
        ("log-ml-dsa-44", "a log that is known by its ML-DSA-44 key alone", (pq,), vkeys[1:], cosigned),
        ("log-two-keys", "a log that signs with both of its keys", (ed, pq), vkeys, cosigned),
        ("log-one-of-two-keys", "a log that signs with one of its keys", (ed,), vkeys, cosigned),
        ("log-two-keys-one-bad", "a bad signature by one of a log's keys", (ed, other), vkeys, {"status": 403}),
    ):
        given = {
            "name": NAME,
            "private": PRIVATE.hex(),
            "private_ml_dsa_44": PRIVATE_ML_DSA_44.hex(),
            "logs": logs,
            "before": [],
            "request": f"old 0\n\n{Note(body, signatures).encode().decode()}",
            "at": NOW,
        }
        requests.file.vectors.append(Vector(f"witness-{name}", description, "add_checkpoint", given, answer))


def _damaged(request: str) -> str:
    """The request with another character in the last signature."""
    head, line = request.rstrip("\n").rsplit(" ", 1)
    raw = bytearray(base64.b64decode(line))
    raw[-1] ^= 1
    return f"{head} {base64.b64encode(raw).decode()}\n"
