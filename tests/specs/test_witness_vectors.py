"""The vectors of a witness, run against the one of the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from chopmark.keys import Ed25519Signer
from chopmark.note import NoteVerifier
from chopmark_ledger.witness import Witness

from tests.ledger.sample_witness import MemoryStore

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/witness.json").read_text(encoding="utf-8"))["vectors"]
EVIDENCE = {"witness-fork", "witness-fork-later", "witness-proof-missing", "witness-proof-changed"}
"""Refusals after which two checkpoints are kept."""


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_witness_answers_as_declared(vector: Mapping[str, Any]) -> None:
    given, memory = vector["input"], MemoryStore()
    logs: dict[str, list[NoteVerifier]] = {}
    for vkey in given["logs"]:
        verifier = NoteVerifier.from_vkey(vkey)
        logs.setdefault(verifier.name, []).append(verifier)
    signer = Ed25519Signer.from_private_bytes(bytes.fromhex(given["private"]))
    witness = Witness(given["name"], [signer], memory, logs)
    for before in given["before"]:
        assert witness.add_checkpoint(before["request"].encode(), before["at"]).status == 200
    states = dict(memory.states)
    answer = witness.add_checkpoint(given["request"].encode(), given["at"])
    assert answer.status == vector["outcome"]["status"], answer.body
    if "body" in vector["outcome"]:
        assert answer.body.decode() == vector["outcome"]["body"]
    if answer.status != 200:
        assert memory.states == states
    assert bool(memory.evidence) is (vector["name"] in EVIDENCE)
