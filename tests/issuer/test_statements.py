"""Trust statements: all changes, each once, in notes that fit entries of the log whoever signs."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from chopmark.bundle_contents import BundleContents
from chopmark.bundle_entries import Grant
from chopmark.entries import TrustStatementEntry, parse_entry
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import NoteSigner, sign_note
from chopmark.trust_bundle import TrustBundle
from chopmark_issuer.publishing.statements import statement_texts, text_limit
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.vectors.sample_world import NOW, make_world

ENTRY = 65_535


@cache
def contents(grants: int = 0, *, text: str = "A") -> BundleContents:
    """The bundle of a sample region, with so many grants more, of types whose names are that long."""
    region = make_world().peer
    made = TrustBundle.parse(region.bundle(at=NOW), roots=region.roots).contents
    issuer = made.grants[0].issuer
    more = tuple(Grant(issuer, f"CN-GD/{text}{number}", NOW, None) for number in range(grants))
    return replace(made, grants=(*made.grants, *more))


@cache
def signatories(count: int) -> tuple[NoteSigner, ...]:
    return tuple(
        NoteSigner(f"cn-gd.example/root/2-{number}", signer(bytes([number]) * 32))
        for number in range(1, count + 1)
        for signer in (Ed25519Signer, MlDsa44Signer)
    )


def changes(texts: list[str]) -> list[dict[str, Any]]:
    return [change for text in texts for change in json.loads(text)["changes"]]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_large_change_makes_notes_that_fit_entries_with_the_signatures_of_both_keys(count: int) -> None:
    signers = signatories(count)
    lines = len(sign_note("text\n", signers).encode()) - len("text\n\n")
    texts = statement_texts(None, contents(2000), limit=text_limit(lines))
    assert len(texts) > 1
    entries = [TrustStatementEntry(sign_note(text, signers).encode()).encode() for text in texts]
    assert all(parse_entry(entry) for entry in entries)
    # every note but the last is filled up to less than one change
    assert all(ENTRY - 200 < len(entry) <= ENTRY for entry in entries[:-1])
    assert [change["entry"] for change in changes(texts) if change["array"] == "grants"] == [
        grant.to_json() for grant in contents(2000).grants
    ]


def test_nothing_changed_makes_no_statement() -> None:
    assert statement_texts(contents(), contents(), limit=1000) == []


def test_what_is_new_or_different_is_stated_and_nothing_else() -> None:
    old = contents(3)
    ended = replace(old.grants[-1], not_after=NOW + 1)
    new = replace(old, seq=old.seq + 1, grants=(*old.grants[:-1], ended))
    assert changes(statement_texts(old, new, limit=ENTRY)) == [{"array": "grants", "entry": ended.to_json()}]


def test_an_entry_above_24_kib_is_named_by_its_digest() -> None:
    old = contents()
    log = replace(old.logs[0], policy_text=old.logs[0].policy_text + "# " + "x" * 24 * 1024 + "\n")
    written = json.dumps(log.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
    (change,) = changes(statement_texts(old, replace(old, logs=(log, *old.logs[1:])), limit=ENTRY))
    assert change == {"array": "logs", "sha256": sha256(written).hexdigest()}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(500, 20_000), st.sampled_from(["A", "示例"]))
def test_texts_keep_the_limit_and_hold_every_change_once(grants: int, limit: int, text: str) -> None:
    old, new = contents(), contents(grants, text=text)
    texts = statement_texts(old, new, limit=limit)
    assert all(len(each.encode()) <= limit for each in texts)
    assert changes(texts) == [{"array": "grants", "entry": grant.to_json()} for grant in new.grants[len(old.grants) :]]
