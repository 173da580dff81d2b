"""The vectors of a witness, run against the one of the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from chopmark.keys import Ed25519Signer, MlDsa44Signer, Signer
from chopmark.note import NoteSignature, NoteVerifier
from chopmark_ledger.witness.witness import Witness, WitnessAnswer

from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer
from tests.ledger.sample_witness import MemoryStore

FOLDER = Path(__file__).parents[2] / "specs" / "vectors"
VECTORS = json.loads((FOLDER / "witness.json").read_text(encoding="utf-8"))["vectors"]
SUBTREE_VECTORS = json.loads((FOLDER / "witness-subtree.json").read_text(encoding="utf-8"))["vectors"]
EVIDENCE = {"witness-fork", "witness-fork-later", "witness-proof-missing", "witness-proof-changed"}
"""Refusals after which two checkpoints are kept."""


def made(given: Mapping[str, Any], store: MemoryStore, *, hedged: bool = False) -> Witness:
    """The witness of a vector; its ML-DSA-44 key signs the same each time unless it is hedged, as in service."""
    logs: dict[str, list[NoteVerifier]] = {}
    for vkey in given["logs"]:
        verifier = NoteVerifier.from_vkey(vkey)
        logs.setdefault(verifier.name, []).append(verifier)
    signers: list[Signer] = [Ed25519Signer.from_private_bytes(bytes.fromhex(given["private"]))]
    if "private_ml_dsa_44" in given:
        seed = bytes.fromhex(given["private_ml_dsa_44"])
        signers.append(MlDsa44Signer(seed) if hedged else DeterministicMlDsa44Signer(seed))
    return Witness(given["name"], signers, store, logs)


def check(answer: WitnessAnswer, outcome: Mapping[str, Any]) -> None:
    assert answer.status == outcome["status"], answer.body
    if "body" in outcome:
        assert answer.body.decode() == outcome["body"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_witness_answers_as_declared(vector: Mapping[str, Any]) -> None:
    given, store = vector["input"], MemoryStore()
    witness = made(given, store)
    for before in given["before"]:
        assert witness.add_checkpoint(before["request"].encode(), before["at"]).status == 200
    states = dict(store.states)
    answer = witness.add_checkpoint(given["request"].encode(), given["at"])
    check(answer, vector["outcome"])
    if answer.status != 200:
        assert store.states == states
    assert bool(store.evidence) is (vector["name"] in EVIDENCE)


@pytest.mark.parametrize("vector", SUBTREE_VECTORS, ids=lambda vector: vector["name"])
def test_witness_signs_subtrees_as_declared(vector: Mapping[str, Any]) -> None:
    witness = made(vector["input"], MemoryStore())
    check(witness.sign_subtree(vector["input"]["request"].encode()), vector["outcome"])


@pytest.mark.parametrize("vector", SUBTREE_VECTORS, ids=lambda vector: vector["name"])
def test_a_witness_that_hedges_answers_the_same_but_for_the_signature(vector: Mapping[str, Any]) -> None:
    witness = made(vector["input"], MemoryStore(), hedged=True)
    answer = witness.sign_subtree(vector["input"]["request"].encode())
    assert answer.status == vector["outcome"]["status"]
    if answer.status == 200:
        line, declared = (
            NoteSignature.parse(text.rstrip("\n")) for text in (answer.body.decode(), vector["outcome"]["body"])
        )
        assert (line.name, line.key_id) == (declared.name, declared.key_id)
        assert line != declared
        assert line.signature[:8] == declared.signature[:8] == bytes(8)
