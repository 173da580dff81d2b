from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from chopmark import strict
from chopmark.errors import FormatError, LimitError
from hypothesis import given
from hypothesis import strategies as st

EARLIEST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
LATEST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


def read_json(text: str | bytes) -> Any:
    return strict.json_decode(text.encode() if isinstance(text, str) else text, where="sample", max_size=100_000)


@given(st.integers(0, 2**63 - 1))
def test_a_decimal_comes_back(number: int) -> None:
    assert strict.decimal(str(number), where="sample") == number


@pytest.mark.parametrize(
    "text", ["", " 5", "5 ", "5\n", "+5", "-5", "-0", "05", "00", "1_0", "1.0", "1e3", "0x10", "٣", "５", "²", "1" * 21]
)
def test_a_decimal_has_one_spelling(text: str) -> None:
    with pytest.raises(FormatError, match="sample"):
        strict.decimal(text, where="sample")


def test_a_decimal_above_its_maximum_is_refused() -> None:
    assert strict.decimal("256", where="sample", maximum=256) == 256
    with pytest.raises(LimitError, match="above 256"):
        strict.decimal("257", where="sample", maximum=256)
    with pytest.raises(LimitError):
        strict.decimal(str(2**63), where="sample")


@given(st.binary(max_size=80))
def test_base64_comes_back(raw: bytes) -> None:
    assert strict.base64_decode(strict.base64_encode(raw), where="sample") == raw
    assert strict.base64_encode(raw) == base64.b64encode(raw).decode()


@given(st.binary(max_size=80))
def test_base64url_comes_back_and_is_never_padded(raw: bytes) -> None:
    text = strict.base64url_encode(raw)
    assert "=" not in text
    assert strict.base64url_decode(text, where="sample") == raw
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == raw


@given(st.text(alphabet=st.sampled_from("AQgw019+/-_= \n"), max_size=12))
def test_base64_is_refused_or_is_the_only_spelling(text: str) -> None:
    for decode, encode in (
        (strict.base64_decode, strict.base64_encode),
        (strict.base64url_decode, strict.base64url_encode),
    ):
        try:
            raw = decode(text, where="sample")
        except FormatError:
            continue
        assert encode(raw) == text


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QQ===", "QR==", "Q Q=", "QQ==\n", "QQ-_", "ＱＱ==", "Q", "="])
def test_base64_with_other_characters_padding_or_bits_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="sample"):
        strict.base64_decode(text, where="sample")


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "QQ+/", "QQ\n", "Ｑ", "="])
def test_base64url_with_other_characters_padding_or_bits_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="sample"):
        strict.base64url_decode(text, where="sample")


def test_base64_and_hex_of_another_size_are_refused() -> None:
    assert strict.base64_decode("QUI=", where="sample", size=2) == b"AB"
    assert strict.hex_decode("4142", where="sample", size=2) == b"AB"
    with pytest.raises(FormatError, match="2 bytes where 3 are expected"):
        strict.base64_decode("QUI=", where="sample", size=3)
    with pytest.raises(FormatError, match="2 bytes where 3 are expected"):
        strict.hex_decode("4142", where="sample", size=3)


@given(st.binary(max_size=40))
def test_hexadecimal_comes_back(raw: bytes) -> None:
    assert strict.hex_decode(raw.hex(), where="sample") == raw


@pytest.mark.parametrize("text", ["A0", "a", "a0 ", " a0", "a0\n", "0x", "a_", "ａ0", "g0"])
def test_hexadecimal_has_one_spelling(text: str) -> None:
    with pytest.raises(FormatError, match="lower-case hexadecimal"):
        strict.hex_decode(text, where="sample")


@given(st.integers(EARLIEST, LATEST))
def test_a_time_comes_back(seconds: int) -> None:
    text = strict.time_encode(seconds)
    assert len(text) == 20
    assert strict.time_decode(text, where="sample") == seconds


def test_a_time_of_the_first_century_has_four_digits_of_year() -> None:
    assert strict.time_encode(EARLIEST) == "0001-01-01T00:00:00Z"
    assert strict.time_encode(LATEST) == "9999-12-31T23:59:59Z"


@pytest.mark.parametrize("seconds", [EARLIEST - 1, LATEST + 1, 2**63, -(2**63), 10**400])
def test_a_time_that_cannot_be_written_is_refused(seconds: int) -> None:
    with pytest.raises(FormatError, match="years 1 to 9999"):
        strict.time_encode(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T09:30:00",
        "2026-11-22 09:30:00Z",
        "2026-11-22T09:30:00z",
        "2026-11-22T09:30:00+00:00",
        "2026-11-22T09:30:00.0Z",
        "2026-11-22T09:30:60Z",
        "2026-11-22T24:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "２026-11-22T09:30:00Z",
        "2026-11-22T09:30:00Z\n",
        "",
    ],
)
def test_a_time_has_one_spelling(text: str) -> None:
    with pytest.raises(FormatError, match="sample"):
        strict.time_decode(text, where="sample")


@given(
    st.recursive(
        st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=8,
    ),
    st.booleans(),
)
def test_json_comes_back(value: Any, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii_only)) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"a": 1, "\\u0061": 2}', "'a' stands twice"),
        ('[{"b": {"a": 1, "c": 0, "a": 1}}]', "'a' stands twice"),
        ("NaN", "NaN is not JSON"),
        ("[Infinity]", "Infinity is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("1e999", "beyond what can be held"),
        ("[-1E400]", "beyond what can be held"),
        (str(2**53), "beyond ±2^53"),
        (str(-(2**53)), "beyond ±2^53"),
        ("9" * 5000, "beyond ±2^53"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        ('["\\ud83d\\u0041"]', "surrogate"),
        ("{'a': 1}", "sample, column 2"),
        ("[\n1,]", "sample, line 2, column "),
        ("[1,]", "not JSON"),
        ("[1] x", "not JSON"),
        ("\ufeff[]", "not JSON"),
        ('"\n"', "not JSON"),
        ("01", "not JSON"),
        ("", "not JSON"),
        (b'"\xff"', "byte 1: not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
    ],
)
def test_what_is_not_i_json_is_refused_with_its_reason(text: str | bytes, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_json(text)
    assert problem in str(caught.value)
    assert str(caught.value).startswith("sample")


def test_a_surrogate_pair_is_one_character() -> None:
    assert read_json('"\\ud83d\\ude00"') == "😀"


def test_json_nested_too_deeply_is_refused() -> None:
    with pytest.raises(LimitError, match="nested too deeply"):
        read_json("[" * 50_000)
    with pytest.raises(LimitError, match="nested too deeply"):
        read_json('{"a":' * 10_000)


def test_json_above_its_size_is_refused_before_it_is_read() -> None:
    with pytest.raises(LimitError, match="5 bytes, above the limit of 4"):
        strict.json_decode(b"\xff" * 5, where="sample", max_size=4)


@given(st.binary(max_size=40))
def test_any_bytes_are_json_or_a_format_error(data: bytes) -> None:
    try:
        value = read_json(data)
    except FormatError:
        return
    assert read_json(json.dumps(value)) == value
