"""The bodies of `POST /entries` and of its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chopmark.entries import parse_entry
from chopmark.errors import ChopmarkError, FormatError
from chopmark_ledger.batch import BatchAnswer
from chopmark_ledger.errors import RefusedEntry
from chopmark_ledger.service.entry_requests import (
    MAX_NUMBER,
    EntriesRequest,
    encode_answer,
    encode_request,
    parse_answer,
    parse_request,
)
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(batch=st.integers(0, MAX_NUMBER), entries=st.lists(st.binary(max_size=100), min_size=1, max_size=20))
def test_a_request_is_read_as_it_was_written(batch: int, entries: list[bytes]) -> None:
    assert parse_request(encode_request(batch, entries)) == EntriesRequest(batch, tuple(entries), {})


@given(values=st.lists(JSON, min_size=1, max_size=10))
def test_whatever_stands_for_an_entry_is_told_or_read_and_never_raises(values: list[Any]) -> None:
    request = parse_request(json.dumps({"batch": 1, "entries": values}).encode())
    assert len(request.entries) == len(values)
    for position, (value, entry) in enumerate(zip(values, request.entries, strict=True)):
        if position in request.unreadable:
            with pytest.raises(FormatError):
                parse_entry(entry)
        else:
            assert isinstance(value, str)


@given(data=st.binary(max_size=200))
def test_no_body_makes_anything_but_an_error_of_ours(data: bytes) -> None:
    try:
        parse_request(data)
    except ChopmarkError:
        return
    assert json.loads(data).keys() == {"batch", "entries"}


@given(
    batch=st.integers(0, MAX_NUMBER),
    indexes=st.lists(st.none() | st.integers(0, 2**53 - 1), min_size=1, max_size=20),
    reason=st.text(max_size=40),
)
def test_an_answer_is_read_as_it_was_written(batch: int, indexes: list[int | None], reason: str) -> None:
    refused = tuple(RefusedEntry(place, reason) for place, index in enumerate(indexes) if index is None)
    request = EntriesRequest(batch, (b"x",) * len(indexes))
    answer = BatchAnswer(tuple(indexes), refused)
    data = encode_answer(request, answer)
    assert parse_answer(data, batch=batch, count=len(indexes), where="answer", max_size=10**6) == answer


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 8},
        {"batch": None},
        {"indexes": [1]},
        {"indexes": [1, 2, 3]},
        {"indexes": [1, "2"]},
        {"indexes": [1, -2]},
        {"indexes": [1, True]},
        {"indexes": [1, None]},
        {"indexes": {}},
        {"refused": None},
        {"refused": [{"position": 0, "reason": "why"}]},
        {"refused": [{"position": "0", "reason": "why"}]},
        {"refused": [{"position": 0}]},
    ],
)
def test_an_answer_to_another_batch_or_none_is_refused(change: dict[str, Any]) -> None:
    document = {"batch": 7, "indexes": [1, 2], "refused": [], **change}
    with pytest.raises(FormatError):
        parse_answer(json.dumps(document).encode(), batch=7, count=2, where="answer", max_size=10**6)
