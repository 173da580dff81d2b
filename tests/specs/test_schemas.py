"""The JSON Schemas against real objects, and against objects that are wrong in what a schema can say."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from chopmark.note import Note
from chopmark.presentation import present
from chopmark.qr_text import encode
from chopmark.verdict import Verdict
from chopmark.verifier import VerificationPolicy, Verifier
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from specs.vectors.sample_world import NOW, make_world

SPECS = Path(__file__).parents[2] / "specs"
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text(encoding="utf-8"))
    for path in (SPECS / "schemas").glob("*.schema.json")
}
REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()
)


def problems(name: str, document: object) -> list[str]:
    validator = Draft202012Validator(SCHEMAS[name], registry=REGISTRY)
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


def vectors(name: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = json.loads((SPECS / "vectors" / f"{name}.json").read_text(encoding="utf-8"))[
        "vectors"
    ]
    return found


def vector(name: str, file: str) -> Mapping[str, Any]:
    return next(each for each in vectors(file) if each["name"] == name)


def claims_of(record: str) -> Any:
    payload = record.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$id"] == f"https://chopmark.example/schemas/{name}/v1"


def test_schema_takes_every_bundle_and_root_epoch_of_the_stores() -> None:
    files = json.loads((SPECS / "vectors" / "material.json").read_text(encoding="utf-8"))["files"]
    taken = {"trust-bundle": 0, "root-epoch": 0}
    for name, file in files.items():
        if "text" not in file or file["text"].startswith("c2sp.org"):
            continue
        document = json.loads(Note.parse(file["text"]).text)
        schema = document["format"].split("/")[1]
        assert problems(schema, document) == [], name
        taken[schema] += 1
    assert min(taken.values()) > 2


@pytest.mark.parametrize(
    ("file", "schema", "read"),
    [
        ("root-epoch", "root-epoch", lambda given: json.loads(Note.parse(given["notes"][-1]).text)),
        ("trust-bundle", "trust-bundle", lambda given: json.loads(Note.parse(given.get("text") or given["new"]).text)),
        ("verification-record", "verification-record", lambda given: claims_of(given["text"])),
        ("key-file", "key-file", lambda given: json.loads(given["text"])),
    ],
)
def test_schema_takes_what_the_vectors_accept(file: str, schema: str, read: Callable[[Any], object]) -> None:
    accepted = [each for each in vectors(file) if each["outcome"] == "accept"]
    assert accepted
    for each in accepted:
        assert problems(schema, read(each["input"])) == [], each["name"]


@pytest.mark.parametrize(
    "name",
    [
        "bundle-format-v2",
        "bundle-extra-member",
        "bundle-extra-member-within",
        "bundle-agreement",
        "bundle-member-missing",
        "bundle-null",
        "bundle-seq-0",
        "bundle-seq-text",
        "bundle-seq-above-2-53",
        "bundle-issuer-state",
        "bundle-issuer-without-state",
        "bundle-key-use",
        "bundle-key-alg",
        "bundle-log-suite",
        "bundle-log-frozen-open",
        "bundle-field-59",
        "bundle-bearer-selective",
        "bundle-bearer-challenge",
        "bundle-restriction-selective",
        "bundle-restriction-optional",
        "bundle-freshness",
        "bundle-peer-without-log",
        "bundle-log-document-key",
    ],
)
def test_schema_refuses_a_bad_bundle(name: str) -> None:
    document = json.loads(Note.parse(vector(name, "trust-bundle")["input"]["text"]).text)
    assert problems("trust-bundle", document) != []


@pytest.mark.parametrize(
    "name",
    [
        "root-format-v2",
        "root-extra-member",
        "root-member-missing",
        "root-threshold-boolean",
        "root-epoch-0",
        "root-threshold-0",
        "root-region-form",
        "root-issued-zone",
        "root-key-twice",
        "root-witness-key",
        "root-name-upper-case",
        "root-ml-dsa-44-witness-key",
    ],
)
def test_schema_refuses_a_bad_root_epoch(name: str) -> None:
    document = json.loads(Note.parse(vector(name, "root-epoch")["input"]["notes"][0]).text)
    assert problems("root-epoch", document) != []


@pytest.mark.parametrize(
    "name",
    [
        "record-claim-missing",
        "record-claim-unknown",
        "record-purpose-empty",
        "record-purpose-too-long",
        "record-inspector-form",
        "record-id-short",
        "record-iat-fraction",
        "record-outcome",
        "record-nine-checks",
        "record-checks-unnumbered",
        "record-digest-short",
        "record-bundle-seq",
        "record-bundle-region",
    ],
)
def test_schema_refuses_bad_claims_of_a_record(name: str) -> None:
    claims = claims_of(vector(name, "verification-record")["input"]["text"])
    assert problems("verification-record", claims) != []


@pytest.mark.parametrize(
    "name",
    [
        "key-file-cost-too-low",
        "key-file-cost-not-a-power",
        "key-file-format-v2",
        "key-file-alg",
        "key-file-kdf",
        "key-file-cipher",
        "key-file-member-missing",
        "key-file-member-more",
        "key-file-text-short",
    ],
)
def test_schema_refuses_a_bad_key_file(name: str) -> None:
    document = json.loads(vector(name, "key-file")["input"]["text"])
    assert problems("key-file", document) != []


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    """One of each outcome, one of them provisional, and one over nothing that could be read."""
    world = make_world()
    food, revoked, bound = world.logged(
        world.issue(world.claims("food")),
        world.issue(world.claims("food", index=1)),
        world.issue(world.claims("constructor")),
    )
    fresh = world.issue(world.claims("food", issued_at=NOW - 60, not_before=None))
    store = world.store(tmp_path_factory.mktemp("store"), statuses={food.claims.issuer: {1: 1}})
    verifier = Verifier(store, policy=VerificationPolicy(accept_provisional=True), clock=lambda: NOW)
    shown = present(bound, world.holder, at=NOW).encode()
    found = [verifier.verify_bytes(data.encode()) for data in (food, revoked, bound, fresh)]
    return [
        *found,
        verifier.verify_bytes(shown),
        verifier.verify("https://cn-gd.example/"),
        verifier.verify(encode(b"")),
    ]


def test_schema_takes_every_verdict(verdicts: list[Verdict]) -> None:
    assert {verdict.outcome.value for verdict in verdicts} == {"VALID", "INVALID", "INDETERMINATE"}
    assert {verdict.provisional for verdict in verdicts} == {True, False}
    for verdict in verdicts:
        assert problems("verdict", verdict.to_json()) == []
        assert problems("verdict", {"input": "code.png", **verdict.to_json()}) == []


def _valid_and_provisional(document: dict[str, Any]) -> None:
    document.update(outcome="VALID", provisional=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("at"),
        lambda document: document.update(outcome="MAYBE"),
        lambda document: document.update(credential_digest="abc"),
        lambda document: document.update(stale=1),
        lambda document: document["checks"].pop(),
        lambda document: document["checks"].reverse(),
        lambda document: document["checks"][0].update(result="pass"),
        lambda document: document["checks"][0].update(age="1 h"),
        lambda document: document["checks"][0].pop("reason"),
        lambda document: document["checks"][0]["message"].pop("en"),
        lambda document: document.update(remarks=[{"reason": "compare_identity"}]),
        _valid_and_provisional,
    ],
)
def test_schema_refuses_a_bad_verdict(verdicts: list[Verdict], change: Callable[[Any], object]) -> None:
    document = copy.deepcopy(verdicts[0].to_json())
    change(document)
    assert problems("verdict", document) != []
