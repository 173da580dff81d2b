"""The vectors with state: what a trust store takes, and the verdict over what is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from chopmark.errors import ChopmarkError
from chopmark.root_epoch import Roots
from chopmark.trust_store import TrustStore
from chopmark.verdict import Verdict
from chopmark.verifier import VerificationPolicy, Verifier

VECTORS = Path(__file__).parents[2] / "specs" / "vectors"

Given = Mapping[str, Any]


@cache
def document(name: str) -> Given:
    found: Given = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def cases(name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in document(name)["vectors"]]


def material(name: str) -> bytes:
    file = document("material")["files"][name]
    return file["text"].encode() if "text" in file else bytes.fromhex(file["hex"])


def take(store: TrustStore, step: Given) -> TrustStore:
    if step["put"] == "reopen":
        reopened = TrustStore.open(store.folder, roots=Roots.pin(material(document("material")["pin"])))
        assert reopened.problems == ()
        return reopened
    data, now = material(step["data"]), step["now"]
    if step["put"] == "root":
        store.put_root(step["region"], data, now=now)
        return store
    proof = material(step["proof"])
    if step["put"] == "bundle":
        store.put_bundle(data, proof, now=now)
    elif step["put"] == "landmarks":
        store.put_landmarks(data, proof, origin=step["origin"], now=now)
    else:
        assert step["put"] == "status_list"
        store.put_status_list(data, proof, now=now)
    return store


def create(folder: Path) -> TrustStore:
    return TrustStore.create(folder, roots=Roots.pin(material(document("material")["pin"])))


@pytest.mark.parametrize("vector", cases("trust-store"))
def test_trust_store_takes_what_is_declared(vector: Given, tmp_path: Path) -> None:
    store = create(tmp_path)
    *before, last = vector["input"]["steps"]
    for step in before:
        store = take(store, step)
    try:
        store, outcome, message = take(store, last), "accept", ""
    except ChopmarkError as error:
        outcome, message = type(error).__name__, str(error)
    assert outcome == vector["outcome"], message
    if outcome == "accept":
        assert {"clock_floor": store.clock_floor} == vector["result"]


class Stores:
    """Each store of `material.json` is filled once for all the vectors that use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores: dict[str, TrustStore] = {}

    def __getitem__(self, name: str) -> TrustStore:
        if name not in self._stores:
            store = create(self._folder / name)
            for step in document("material")["stores"][name]:
                store = take(store, step)
            self._stores[name] = store
        return self._stores[name]


@pytest.fixture(scope="module")
def stores() -> Iterator[Stores]:
    with TemporaryDirectory() as folder:
        yield Stores(Path(folder))


def verdict_json(verdict: Verdict) -> Any:
    value = {
        "outcome": verdict.outcome.value,
        "checks": [f"{check.result.value} {check.reason}" for check in verdict.checks],
    }
    if verdict.remarks:
        value["remarks"] = [remark.reason for remark in verdict.remarks]
    return {**value, "provisional": True} if verdict.provisional else value


@pytest.mark.parametrize("vector", cases("verification"))
def test_verdict_is_the_declared_one(vector: Given, stores: Stores) -> None:
    given = vector["input"]
    policy = dict(given.get("policy", {}))
    if "required" in policy:
        policy["required"] = frozenset(policy["required"])
    moments = [given["clock"]]
    verifier = Verifier(stores[given["store"]], policy=VerificationPolicy(**policy), clock=lambda: moments[-1])
    for shown in given.get("earlier", []):
        moments.append(shown["clock"])
        verifier.verify(shown["text"])
    moments.append(given["clock"])
    verdict = verifier.verify(given["text"], at=given.get("at"), challenge=given.get("challenge"))
    assert verdict_json(verdict) == vector["outcome"]
