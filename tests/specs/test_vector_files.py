"""What the vector files are as a whole: made by their generator, many, small, and about every reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from chopmark import errors
from chopmark.keys import MlDsa44Signer
from chopmark.reasons import REASONS
from chopmark.verdict import Outcome

from specs.vectors import deflate
from specs.vectors.generate import FOLDER, generate
from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer

ROOT = Path(__file__).parents[2]
BEYOND_A_VECTOR = {"replay_cache_full"}
"""It takes 100,000 presentations."""


def vectors() -> list[Mapping[str, Any]]:
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        found += json.loads(path.read_text(encoding="utf-8")).get("vectors", [])
    return found


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return dict(generate())


def test_generator_reproduces_every_file(made: dict[str, str]) -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == made.keys()
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run python -m specs.vectors.generate"


def test_there_are_more_than_a_hundred_vectors() -> None:
    assert len(vectors()) >= 100


def test_no_two_vectors_have_one_name() -> None:
    names = [vector["name"] for vector in vectors()]
    assert len(names) == len(set(names))


def test_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.json")) < 2_500_000


def test_every_file_names_a_specification_that_is_there(made: dict[str, str]) -> None:
    for name, text in made.items():
        assert (ROOT / json.loads(text)["spec"]).is_file(), name


def test_every_outcome_is_accept_an_error_a_verdict_or_an_answer() -> None:
    for vector in vectors():
        outcome = vector["outcome"]
        if isinstance(outcome, str):
            assert outcome == "accept" or issubclass(getattr(errors, outcome), errors.ChopmarkError), vector["name"]
        elif "status" in outcome:
            assert outcome["status"] in {200, 400, 403, 404, 409, 422}, vector["name"]
        else:
            assert outcome["outcome"] in list(Outcome), vector["name"]
            assert len(outcome["checks"]) == 10, vector["name"]


def test_every_reason_has_a_vector() -> None:
    verdicts = [vector["outcome"] for vector in vectors() if vector["operation"] == "verify"]
    given = {check.partition(" ")[2] for verdict in verdicts for check in verdict["checks"]}
    given |= {reason for verdict in verdicts for reason in verdict.get("remarks", [])}
    assert REASONS.keys() - given == BEYOND_A_VECTOR


@pytest.mark.parametrize("data", [b"", b"a", b"abcabcabc" * 50, bytes(70_000), bytes(range(256)) * 3])
@pytest.mark.parametrize("dictionary", [b"", b"abc" * 40])
def test_compressor_of_the_vectors_writes_zlib(data: bytes, dictionary: bytes) -> None:
    import zlib

    for stream in (deflate.compress(data, dictionary), deflate.store(data[:65_535], dictionary)):
        inflater = zlib.decompressobj(zlib.MAX_WBITS, dictionary)
        assert inflater.decompress(stream) in (data, data[:65_535])
        assert inflater.eof
        assert not inflater.unused_data


@pytest.mark.parametrize("seed", [bytes(32), b"\xff" * 32, bytes(range(32))])
def test_ml_dsa_44_of_the_vectors_and_of_openssl_are_one_algorithm(seed: bytes) -> None:
    ours, openssl = DeterministicMlDsa44Signer(seed), MlDsa44Signer(seed)
    assert ours.public_key == openssl.public_key
    for number in range(8):
        message = bytes(range(number * 31))
        openssl.public_key.verify(message, ours.sign(message))
        assert DeterministicMlDsa44Signer(seed).sign(message) == ours.sign(message)
