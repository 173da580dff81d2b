"""The specifications against code and vectors: samples are real, references lead somewhere, reasons are complete."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from chopmark import qr_text
from chopmark.reasons import REASONS

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "specs"
SAMPLE = re.compile(r"ample, vector `([a-z0-9-]+)`:\n\n((?:(?: {4}.*)?\n)+)")
PARTS = ("sdk", "ledger", "issuer", "verifier", "tests", "examples", "bench", "docs")


def specifications() -> list[Path]:
    return sorted(SPECS.glob("*.md"))


@cache
def vectors() -> dict[str, Any]:
    found = {}
    for path in (SPECS / "vectors").glob("*.json"):
        for vector in json.loads(path.read_text(encoding="utf-8")).get("vectors", []):
            found[vector["name"]] = vector
    return found


def texts(value: object) -> Iterator[str]:
    """Every text within a vector."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for element in value.values():
            yield from texts(element)
    elif isinstance(value, list):
        for element in value:
            yield from texts(element)


def samples() -> list[Any]:
    return [
        pytest.param(name, block, id=f"{path.stem}-{name}")
        for path in specifications()
        for name, block in SAMPLE.findall(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(("name", "block"), samples())
def test_sample_is_what_the_vector_holds(name: str, block: str) -> None:
    vector = vectors()[name]
    whole = "".join("".join(texts([vector["input"], vector.get("result")])).split())
    position = 0
    for piece in block.split("…"):
        stripped = "".join(piece.split())
        position = whole.find(stripped, position)
        assert position >= 0, stripped
        position += len(stripped)


def test_most_formats_show_a_sample() -> None:
    assert len(samples()) >= 15


def test_index_names_every_specification() -> None:
    index = (SPECS / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| \[([a-z-]+\.md)\]\(\1\)", index, re.MULTILINE))
    assert named == {path.name for path in specifications()} - {"README.md"}


@pytest.mark.parametrize("path", specifications(), ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("https://"):
            assert (SPECS / target).exists(), target
    for schema in re.findall(r"`schemas/([a-z-]+\.schema\.json)`", text):
        assert (SPECS / "schemas" / schema).is_file(), schema


def test_references_to_specifications_are_true() -> None:
    files = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    files += [path for part in PARTS for path in (ROOT / part).rglob("*") if path.suffix in {".py", ".md", ".json"}]
    for path in files:
        if ".venv" in path.parts:
            continue
        for reference in re.findall(r"specs/[a-z-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / reference).is_file(), f"{path.relative_to(ROOT)}: {reference}"


def test_dictionary_is_the_one_that_is_fixed_for_ever() -> None:
    text = (SPECS / "qr-text.md").read_text(encoding="utf-8")
    assert hashlib.sha256(qr_text.DICTIONARY).hexdigest() in text
    assert f"`{zlib.adler32(qr_text.DICTIONARY):08x}`" in text
    assert f"{len(qr_text.DICTIONARY):,} bytes" in text


def reason_table() -> dict[str, set[str]]:
    """`<check> <result>` → the codes that the table of verification.md lists."""
    text = (SPECS / "verification.md").read_text(encoding="utf-8").partition("## Reason codes")[2]
    rows = re.findall(r"^\| (any|[0-9]) \|([^|]*)\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    return {
        f"{number} {result}": set(re.findall(r"`([a-z_]+)`", cell))
        for number, *cells in rows
        for result, cell in zip(("PASS", "FAIL", "UNKNOWN"), cells, strict=True)
    }


def test_verification_lists_every_reason() -> None:
    text = (SPECS / "verification.md").read_text(encoding="utf-8").partition("## Reason codes")[2]
    remarks = set(re.findall(r"`([a-z_]+)`", text.partition("Remarks")[2].partition("##")[0]))
    assert set().union(*reason_table().values()) | remarks == REASONS.keys()


def test_vectors_give_reasons_where_verification_lists_them() -> None:
    table = reason_table()
    for vector in vectors().values():
        if vector["operation"] != "verify":
            continue
        for number, check in enumerate(vector["outcome"]["checks"]):
            result, reason = check.split(" ")
            allowed = table[f"{number} {result}"] | table[f"any {result}"]
            assert reason in allowed, f"{vector['name']}: check {number}, {check}"
