"""Reading of JSON objects all of whose members are known."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any

import pytest
from chopmark.closed_object import ClosedObject
from chopmark.errors import ChopmarkError, FormatError, LimitError, UnsupportedError
from hypothesis import given
from hypothesis import strategies as st


class Colour(StrEnum):
    RED = "red"


MEMBERS: dict[str, Any] = {
    "text": "a",
    "number": 3,
    "flag": False,
    "time": "1970-01-01T00:00:07Z",
    "list": ["a", "b"],
    "inner": {"text": "b"},
    "colour": "red",
}


def test_members_are_taken_as_what_they_are() -> None:
    members = ClosedObject(MEMBERS, "place")
    assert members.text("text") == "a"
    assert members.integer("number") == 3
    assert members.flag("flag") is False
    assert members.time("time") == 7
    assert members.texts("list") == ("a", "b")
    inner = members.object("inner")
    assert inner.where == "place.inner"
    assert inner.text("text") == "b"
    inner.close()
    assert members.choice("colour", Colour) is Colour.RED
    assert members.optional_text("absent") is None
    assert members.optional_time("absent") is None
    assert members.optional_object("absent") is None
    members.close()
    assert len(MEMBERS) == 7


def test_what_nobody_took_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"place: the member 'colour' is not known here"):
        ClosedObject({"colour": "red", "zebra": 1}, "place").close()


@pytest.mark.parametrize(
    ("read", "error", "message"),
    [
        (lambda members: members.text("absent"), FormatError, r"place\.absent: the member is missing"),
        (lambda members: members.text("number"), FormatError, "not a text"),
        (lambda members: members.text("text", pattern=re.compile("b")), FormatError, "not of the form b"),
        (lambda members: members.text("time", maximum=3), LimitError, "20 characters"),
        (lambda members: members.integer("text"), FormatError, "not an integer"),
        (lambda members: members.integer("flag"), FormatError, "not an integer"),
        (lambda members: members.integer("number", minimum=4), FormatError, "not within 4"),
        (lambda members: members.integer("number", maximum=2), FormatError, "not within 0 and 2"),
        (lambda members: members.flag("number"), FormatError, "neither true nor false"),
        (lambda members: members.time("text"), FormatError, "not a time"),
        (lambda members: members.choice("text", Colour), UnsupportedError, "known: red"),
        (lambda members: members.array("text"), FormatError, "not a JSON array"),
        (lambda members: members.object("text"), FormatError, "not a JSON object"),
        (lambda members: members.optional_object("list"), FormatError, "not a JSON object"),
    ],
)
def test_another_kind_of_value_is_refused_with_its_place(
    read: Callable[[ClosedObject], object], error: type[ChopmarkError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        read(ClosedObject(MEMBERS, "place"))
    assert caught.value.where.startswith("place")


@pytest.mark.parametrize("value", [["a", "a"], ["a", 1], [""], [None], ["\udc00"]])
def test_an_array_of_texts_holds_different_texts_only(value: list[Any]) -> None:
    with pytest.raises(FormatError):
        ClosedObject({"list": value}, "").texts("list")


def test_null_is_not_the_same_as_absent() -> None:
    with pytest.raises(FormatError, match="not a text"):
        ClosedObject({"text": None}, "").optional_text("text")


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(FormatError, match="not a JSON object"):
        ClosedObject(value, "")


@given(st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.floats() | st.text()))
def test_any_object_is_read_or_refused_by_name(value: dict[str, Any]) -> None:
    for name in [*value, "absent"]:
        for read in (ClosedObject.text, ClosedObject.integer, ClosedObject.flag, ClosedObject.time, ClosedObject.texts):
            with suppress(ChopmarkError):
                read(ClosedObject(value, ""), name)
    with suppress(UnsupportedError):
        ClosedObject(value, "").close()
        assert value == {}
