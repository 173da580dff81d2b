"""The CBOR profile: one encoding for each value, and cbor2 as the oracle of what a value is."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from datetime import date
from enum import IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cbor2
import pytest
from chopmark.cbor import REDACTED, Redacted, Tagged, Value, decode, encode
from chopmark.errors import ChopmarkError, FormatError, LimitError
from chopmark.limits import LIMITS
from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"

integers = st.one_of(st.integers(-30, 300), st.integers(-(2**64), 2**64 - 1))
keys = st.one_of(integers.filter(lambda key: key != 59), st.text(max_size=30), st.just(REDACTED))
leaves: st.SearchStrategy[Value] = st.one_of(integers, st.binary(max_size=40), st.text(max_size=40), st.booleans())


def containers(elements: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return st.one_of(
        leaves,
        st.lists(elements, max_size=4),
        st.dictionaries(keys, elements, max_size=5),
        st.lists(elements, min_size=4, max_size=4).map(Tagged),
    )


values = containers(containers(containers(leaves)))


def as_oracle(value: Value) -> Any:
    """The same value in cbor2's terms, maps in the order in which the profile wants them."""
    match value:
        case Tagged(inner):
            return cbor2.CBORTag(18, as_oracle(inner))
        case list():
            return [as_oracle(element) for element in value]
        case dict():
            pairs = [(cbor2.CBORSimpleValue(59) if key is REDACTED else key, item) for key, item in value.items()]
            return {key: as_oracle(item) for key, item in sorted(pairs, key=lambda pair: cbor2.dumps(pair[0]))}
        case _:
            return value


def from_oracle(value: Any) -> Value:
    """What cbor2 read, in our terms; inside a tag it makes arrays tuples and maps frozen."""
    match value:
        case cbor2.CBORTag():
            assert value.tag == 18
            inner = from_oracle(value.value)
            assert isinstance(inner, list)
            return Tagged(inner)
        case list() | tuple():
            return [from_oracle(element) for element in value]
        case Mapping():
            return {
                REDACTED if key == cbor2.CBORSimpleValue(59) else key: from_oracle(item) for key, item in value.items()
            }
        case _:
            assert isinstance(value, int | bytes | str)
            return value


def typed(value: Value) -> Any:
    """A form to compare by, in which true is not 1."""
    match value:
        case Tagged(inner):
            return (Tagged, typed(inner))
        case list():
            return [typed(element) for element in value]
        case dict():
            return {key: typed(item) for key, item in value.items()}
        case _:
            return (type(value), value)


def refuses(data: bytes) -> ChopmarkError:
    with pytest.raises(FormatError) as caught:
        decode(data)
    return caught.value


# --- vectors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65535, "19ffff"),
        (65536, "1a00010000"),
        (2**32 - 1, "1affffffff"),
        (2**32, "1b0000000100000000"),
        (2**64 - 1, "1bffffffffffffffff"),
        (-1, "20"),
        (-24, "37"),
        (-25, "3818"),
        (-256, "38ff"),
        (-257, "390100"),
        (-65537, "3a00010000"),
        (-(2**64), "3bffffffffffffffff"),
        (b"", "40"),
        (b"\x01\x02", "420102"),
        (bytes(24), "5818" + 24 * "00"),
        ("", "60"),
        ("许可证", "69e8aeb8e58fafe8af81"),
        (False, "f4"),
        (True, "f5"),
        ([], "80"),
        ([1, [2, 3]], "8201820203"),
        ({}, "a0"),
        ({1: {}}, "a101a0"),
        (Tagged([b"", {}, b"", b""]), "d28440a04040"),
    ],
)
def test_a_value_has_the_encoding_of_the_standard(value: Value, encoded: str) -> None:
    assert encode(value).hex() == encoded
    decoded = decode(bytes.fromhex(encoded))
    assert decoded == value
    assert type(decoded) is type(value)


def test_keys_stand_in_bytewise_order_of_their_encodings() -> None:
    shuffled: dict[Any, Value] = {"aa": 0, REDACTED: 0, "b": 0, -257: 0, 256: 0, -25: 0, -1: 0, 255: 0, 24: 0, 23: 0}
    ordered = [23, 24, 255, 256, -1, -25, -257, "b", "aa", REDACTED]
    encoded = encode(shuffled)
    assert (
        encoded.hex(" ")
        == "aa 17 00 18 18 00 18 ff 00 19 01 00 00 20 00 38 18 00 39 01 00 00 61 62 00 62 61 61 00 f8 3b 00"
    )
    decoded = decode(encoded)
    assert isinstance(decoded, dict)
    assert list(decoded) == ordered


@pytest.mark.parametrize(
    ("day", "encoded"),
    [
        (date(1970, 1, 1), "00"),
        (date(1969, 12, 31), "20"),
        (date(1949, 10, 1), "391ce4"),
        (date(1900, 1, 1), "3963de"),
        (date(2026, 11, 22), "19512b"),
    ],
)
def test_a_date_is_the_days_since_1970_also_before_it(day: date, encoded: str) -> None:
    days = (day - date(1970, 1, 1)).days
    assert encode(days).hex() == encoded
    assert decode(bytes.fromhex(encoded)) == days


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "ends before"),
        ("1800", "shortest"),
        ("1817", "shortest"),
        ("190017", "shortest"),
        ("1900ff", "shortest"),
        ("1a0000ffff", "shortest"),
        ("1b00000000ffffffff", "shortest"),
        ("3817", "shortest"),
        ("3b00000000ffffffff", "shortest"),
        ("5801ff", "shortest"),
        ("590001ff", "shortest"),
        ("780161", "shortest"),
        ("980100", "shortest"),
        ("b8010000", "shortest"),
        ("d8128400000000", "tag"),
        ("f7", "undefined"),
        ("f6", "null"),
        ("f93c00", "floating"),
        ("f97e00", "floating"),
        ("fa7fc00000", "floating"),
        ("fb7ff8000000000000", "floating"),
        ("e0", "simple"),
        ("f3", "simple"),
        ("f83b", "simple"),
        ("f8ff", "simple"),
        ("f814", "simple"),
        ("fc", "not CBOR"),
        ("1c", "not CBOR"),
        ("3d", "not CBOR"),
        ("5e", "not CBOR"),
        ("ff", "break"),
        ("5f4101ff", "indefinite"),
        ("7f6161ff", "indefinite"),
        ("9fff", "indefinite"),
        ("9f01ff", "indefinite"),
        ("bfff", "indefinite"),
        ("1f", "indefinite"),
        ("c249010000000000000000", "tag"),
        ("c349010000000000000000", "tag"),
        ("c074323032362d31312d32325430393a33303a30305a", "tag"),
        ("c11a6b02b218", "tag"),
        ("d81c80", "tag"),
        ("d81d00", "tag"),
        ("d81c81d81d00", "tag"),
        ("d83c41ff", "tag"),
        ("d86400", "tag"),
        ("d9d9f700", "tag"),
        ("d3840000000000", "tag"),
        ("d200", "array of four"),
        ("d283000000", "array of four"),
        ("d2850000000000", "array of four"),
        ("d2980400000000", "array of four"),
        ("d2d28400000000", "array of four"),
        ("d2", "ends before"),
        ("0000", "behind"),
        ("a000", "behind"),
        ("a2020001 00", "out of order"),
        ("a2200000 00", "out of order"),
        ("a2616100 0100", "out of order"),
        ("a262616100616200", "out of order"),
        ("a2f83b800100", "out of order"),
        ("a201000100", "twice"),
        ("a2616100616100", "twice"),
        ("a2f83b80f83b80", "twice"),
        ("a1183b00", "forbidden"),
        ("a1f400", "map key"),
        ("a1f500", "map key"),
        ("a1f600", "map key"),
        ("a1f83a00", "map key"),
        ("a14100", "map key"),
        ("a18000", "map key"),
        ("a1a000", "map key"),
        ("a1d2840000000000", "map key"),
        ("a1f93c0000", "map key"),
        ("a1180000", "shortest"),
        ("a11a0000000100", "shortest"),
        ("a178016100", "shortest"),
        ("a11f00", "indefinite"),
        ("a1790000", "255"),
        ("a101", "announced"),
        ("a1", "announced"),
        ("82", "announced"),
        ("8201", "announced"),
        ("4201", "ends before"),
        ("6261", "ends before"),
        ("18", "ends before"),
        ("1901", "ends before"),
        ("5818ff", "ends before"),
        ("a16261", "ends before"),
        ("a1626100", "ends before"),
        ("a11901", "ends before"),
        ("a15901", "map key"),
        ("62c080", "UTF-8"),
        ("63eda080", "UTF-8"),
        ("64f4908080", "UTF-8"),
        ("61ff", "UTF-8"),
        ("61e8", "UTF-8"),
        ("a161ff00", "UTF-8"),
    ],
)
def test_what_the_profile_leaves_out_is_refused_with_its_reason(encoded: str, why: str) -> None:
    error = refuses(bytes.fromhex(encoded))
    assert why in error.what
    assert error.where.startswith("CBOR, byte ")


@pytest.mark.parametrize(
    "bomb",
    [
        bytes.fromhex("5bffffffffffffffff"),
        bytes.fromhex("7bffffffffffffffff"),
        bytes.fromhex("9bffffffffffffffff"),
        bytes.fromhex("bbffffffffffffffff"),
        bytes.fromhex("9a7fffffff") + bytes(100),
        bytes.fromhex("ba7fffffff") + bytes(100),
        bytes.fromhex("5a7fffffff") + bytes(100),
        b"\x81" * 8000,
        b"\xa1\x00" * 4000,
        b"\xd2\x84" * 4000,
        b"\x9f" * 8000,
        b"\xd8\x1c" * 4000,
        b"\xd8\x1c\x82\xd8\x1d\x00" * 60 + b"\x00",
        b"\x99\x20\x00" + bytes(8189),
    ],
    ids=lambda bomb: bomb[:4].hex(),
)
def test_a_bomb_is_refused_before_anything_is_built(bomb: bytes) -> None:
    refuses(bomb)


def test_size_is_bounded_by_the_caller() -> None:
    data = encode(bytes(100))
    assert decode(data, max_size=len(data)) == bytes(100)
    with pytest.raises(LimitError):
        decode(data, max_size=len(data) - 1)


def test_size_is_bounded_by_default_to_that_of_a_credential() -> None:
    text = bytes(LIMITS.credential_size - 3)
    assert decode(encode(text)) == text
    with pytest.raises(LimitError):
        decode(encode(text + b"\x00"))


def nest(value: Value, times: int) -> Value:
    for _ in range(times):
        value = [value]
    return value


def test_nesting_is_bounded_alike_for_reading_and_writing() -> None:
    deepest = nest(7, LIMITS.cbor_depth)
    assert decode(encode(deepest)) == deepest
    with pytest.raises(LimitError):
        encode([deepest])
    with pytest.raises(LimitError):
        decode(b"\x81" * (LIMITS.cbor_depth + 1) + b"\x07")


def test_an_empty_container_counts_as_a_level() -> None:
    assert decode(b"\x81" * (LIMITS.cbor_depth - 1) + b"\x80") == nest([], LIMITS.cbor_depth - 1)
    with pytest.raises(LimitError):
        decode(b"\x81" * LIMITS.cbor_depth + b"\x80")
    with pytest.raises(LimitError):
        encode(nest([], LIMITS.cbor_depth))


def test_a_tag_and_its_array_are_two_levels() -> None:
    tagged = Tagged([0, 0, 0, 0])
    deepest = nest(tagged, LIMITS.cbor_depth - 2)
    assert decode(encode(deepest)) == deepest
    with pytest.raises(LimitError):
        encode([deepest])
    with pytest.raises(LimitError):
        decode(b"\x81" * (LIMITS.cbor_depth - 1) + bytes.fromhex("d28400000000"))


def test_a_value_that_contains_itself_cannot_be_written() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(LimitError):
        encode(endless)


def test_elements_are_bounded_alike_for_reading_and_writing() -> None:
    most: Value = [0] * LIMITS.cbor_items
    assert decode(encode(most)) == most
    with pytest.raises(LimitError):
        encode([0] * (LIMITS.cbor_items + 1))
    with pytest.raises(LimitError):
        decode(bytes.fromhex("990801") + bytes(2049))


def test_levels_are_counted_again_after_a_container_closes() -> None:
    wide: Value = [nest(1, 7), nest(2, 7), {1: nest(3, 6), 2: nest(4, 6)}]
    assert decode(encode(wide)) == wide


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.5,
        float("nan"),
        2**64,
        -(2**64) - 1,
        {2**64: 0},
        {59: 0},
        {True: 0},
        {None: 0},
        {b"key": 0},
        {1.0: 0},
        {"k" * 256: 0},
        {"\ud800": 0},
        "\ud800",
        bytearray(b"x"),
        {1, 2},
        date(2026, 1, 1),
        Tagged([1, 2, 3]),
        Tagged([1, 2, 3, 4, 5]),
        Tagged(7),  # type: ignore[arg-type]
        [None],
        {1: [{2: None}]},
        REDACTED,
    ],
    ids=repr,
)
def test_what_is_outside_the_profile_cannot_be_written(value: Any) -> None:
    with pytest.raises(FormatError):
        encode(value)


def test_a_text_key_may_have_255_bytes_of_utf8() -> None:
    longest: Value = {"é" * 127 + "e": 0}
    assert decode(encode(longest)) == longest
    with pytest.raises(FormatError):
        encode({"é" * 128: 0})
    with pytest.raises(LimitError):
        decode(b"\xa1\x79\x01\x00" + b"e" * 256 + b"\x00")


def test_an_error_names_the_input_and_the_byte() -> None:
    with pytest.raises(FormatError) as caught:
        decode(bytes.fromhex("820182f6"), where="protected header")
    assert caught.value.where == "protected header, byte 2"
    with pytest.raises(FormatError) as caught:
        decode(bytes.fromhex("8201a101f6"), where="protected header")
    assert str(caught.value) == "protected header, byte 4: null is not in the profile"


# --- simple value 59 and other types -------------------------------------------------------------------------------


def test_the_redacted_key_is_not_the_integer_59() -> None:
    both: dict[Any, int] = {REDACTED: 0, 59: 0}
    assert len(both) == 2
    assert repr(REDACTED) == "simple(59)"


def test_the_redacted_key_stays_one_object_through_copies() -> None:
    assert copy.deepcopy({REDACTED: 1}) == {REDACTED: 1}
    assert pickle.loads(pickle.dumps(REDACTED)) is REDACTED
    assert list(Redacted) == [REDACTED]


def test_digests_of_redacted_fields_are_read_under_their_key() -> None:
    fields = decode(bytes.fromhex("a2 01 61 61 f83b 81 42 0102"))
    assert fields == {1: "a", REDACTED: [b"\x01\x02"]}


def test_enumerations_tuples_and_mappings_are_written_as_what_they_stand_for() -> None:
    class Number(IntEnum):
        ONE = 1

    class Word(StrEnum):
        TWO = "two"

    stands_for: Value = {1: [1, "two"], "two": {3: b""}}
    written: Any = {Number.ONE: (Number.ONE, Word.TWO), Word.TWO: MappingProxyType({3: b""})}
    assert encode(written) == encode(stands_for)


# --- properties ----------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(values)
def test_any_value_survives_the_round_trip(value: Value) -> None:
    encoded = encode(value)
    decoded = decode(encoded)
    assert encode(decoded) == encoded
    assert typed(decoded) == typed(value)


@settings(max_examples=200)
@given(values)
def test_our_encoding_is_the_oracles_once_keys_are_ordered(value: Value) -> None:
    assert encode(value) == cbor2.dumps(as_oracle(value))


@settings(max_examples=200)
@given(values)
def test_the_oracle_reads_our_encoding_to_an_equal_value(value: Value) -> None:
    assert typed(from_oracle(cbor2.loads(encode(value)))) == typed(value)


def refused_or_injective(data: bytes) -> None:
    try:
        value = decode(data)
    except FormatError:
        return
    assert encode(value) == data
    assert typed(from_oracle(cbor2.loads(data))) == typed(value)


@settings(max_examples=200)
@given(values, st.data())
def test_a_changed_byte_is_refused_or_is_another_values_encoding(value: Value, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    refused_or_injective(bytes(encoded))


@settings(max_examples=200)
@given(values, st.data())
def test_a_part_of_an_encoding_is_refused(value: Value, data: st.DataObject) -> None:
    encoded = encode(value)
    with pytest.raises(FormatError):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@settings(max_examples=200)
@given(values, st.binary(min_size=1, max_size=5))
def test_bytes_behind_a_value_are_refused(value: Value, behind: bytes) -> None:
    with pytest.raises(FormatError):
        decode(encode(value) + behind)


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_are_one_values_encoding(data: bytes) -> None:
    refused_or_injective(data)


@pytest.mark.parametrize("replace", [lambda byte: byte ^ 1, lambda byte: byte ^ 0x20, lambda byte: 0xFF - byte])
def test_every_byte_of_a_claim_set_changed_is_refused_or_another_encoding(replace: Callable[[int], int]) -> None:
    claims: Value = {
        1: "CN-GD/11440000MB2D0P8Q3X",
        4: 1_900_000_000,
        7: bytes(range(16)),
        8: {1: {1: 1, -1: 6, -2: bytes(range(32))}},
        65535: {"status_list": {"idx": 70_000, "uri": "https://status.cn-gd.example/1"}},
        -65537: {1: "示例餐饮有限公司", 2: -7000, 3: True, 4: ["甲", "乙"], REDACTED: [bytes(32)]},
    }
    encoded = encode(claims)
    for position, byte in enumerate(encoded):
        refused_or_injective(encoded[:position] + bytes((replace(byte),)) + encoded[position + 1 :])


def test_the_drafts_examples_are_refused_or_read_as_the_oracle_reads_them() -> None:
    vectors = VECTORS / "sd-cwt.json"
    if not vectors.exists():
        pytest.skip("../shared/vectors is absent")
    examples = json.loads(vectors.read_text())
    refused_or_injective(bytes.fromhex(examples["issued_sd_cwt"]))
    refused_or_injective(bytes.fromhex(examples["kbt"]))
