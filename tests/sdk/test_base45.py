from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from chopmark.base45 import decode, encode
from chopmark.cbor import decode as decode_cbor
from chopmark.errors import FormatError
from chopmark.inflate import inflate
from chopmark.limits import LIMITS
from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


def group_by_group(data: bytes) -> str:
    """Base45 as RFC 9285 words it: slow and plain."""
    text = ""
    for start in range(0, len(data), 2):
        group = data[start : start + 2]
        number = int.from_bytes(group, "big")
        for _ in range(len(group) + 1):
            number, value = divmod(number, 45)
            text += ALPHABET[value]
    return text


def vectors(name: str) -> Any:
    path = VECTORS / name
    if not path.exists():
        pytest.skip("../shared/vectors is absent")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\x00", "00"),
        (b"\xff", "U5"),
        (b"\x00\x00", "000"),
        (b"\xff\xff", "FGW"),
        (b"AB", "BB8"),
        (b"Hello!!", "%69 VD92EX0"),
        (b"base-45", "UJCLQE7W581"),
        (b"ietf!", "QED8WEX0"),
    ],
)
def test_bytes_and_text_stand_for_each_other(data: bytes, text: str) -> None:
    assert encode(data) == text
    assert decode(text) == data


@pytest.mark.parametrize(
    ("text", "why", "place"),
    [
        ("0", "single", 0),
        ("0000", "single", 3),
        ("GGW", "more than two bytes", 0),
        (":::", "more than two bytes", 0),
        ("000FGW1HW", "more than two bytes", 6),
        ("::", "more than one byte", 0),
        ("000V5", "more than one byte", 3),
        ("bB8", "not a base45 character", 0),
        ("BB8\n", "not a base45 character", 3),
        ("BB8BB_", "not a base45 character", 5),
        ("\x00BB", "not a base45 character", 0),
        ("BBé", "not a base45 character", 2),
        ("B\ud800B", "not a base45 character", 1),
        ("٣B8", "not a base45 character", 0),
        ("\uff22B8", "not a base45 character", 0),
    ],
)
def test_what_no_bytes_stand_for_is_refused_with_its_place(text: str, why: str, place: int) -> None:
    with pytest.raises(FormatError, match=why) as caught:
        decode(text)
    assert caught.value.where == f"base45, character {place}"


def test_every_two_bytes_have_a_text_of_their_own() -> None:
    every = b"".join(number.to_bytes(2, "big") for number in range(65536))
    text = encode(every)
    assert text == group_by_group(every)
    assert decode(text) == every


def test_every_three_characters_are_two_bytes_or_refused() -> None:
    overflowing = 0
    for high in range(45):
        for middle in range(45):
            for low in range(0, 45, 11):
                text = ALPHABET[low] + ALPHABET[middle] + ALPHABET[high]
                number = low + 45 * middle + 2025 * high
                if number < 65536:
                    assert decode(text) == number.to_bytes(2, "big")
                else:
                    overflowing += 1
                    with pytest.raises(FormatError):
                        decode(text)
    assert overflowing > 0


def test_every_two_characters_are_one_byte_or_refused() -> None:
    for high in range(45):
        for low in range(45):
            text = ALPHABET[low] + ALPHABET[high]
            if low + 45 * high < 256:
                assert decode(text) == bytes((low + 45 * high,))
            else:
                with pytest.raises(FormatError):
                    decode(text)


@pytest.mark.parametrize("size", [3070, 3071, 3072, 3073, 3074, 3075, 6143, 6144, 6145, 6146, 9217])
def test_length_does_not_matter_where_blocks_meet(size: int) -> None:
    data = bytes((7 * position + position // 251) % 256 for position in range(size))
    text = encode(data)
    assert text == group_by_group(data)
    assert decode(text) == data


def test_an_overflow_in_a_later_block_is_refused_with_its_place() -> None:
    text = encode(bytes(6144))
    assert len(text) == 9216
    with pytest.raises(FormatError) as caught:
        decode(text[:6000] + ":::" + text[6003:])
    assert caught.value.where == "base45, character 6000"


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_written_as_the_standard_words_it_and_survive(data: bytes) -> None:
    text = encode(data)
    assert text == group_by_group(data)
    assert decode(text) == data


@settings(max_examples=200)
@given(st.one_of(st.text(ALPHABET, max_size=60), st.text(max_size=20)))
def test_any_text_is_refused_or_is_the_one_of_its_bytes(text: str) -> None:
    try:
        data = decode(text)
    except FormatError:
        return
    assert encode(data) == text


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_changed_character_is_refused_or_changes_the_bytes(data: bytes, draw: st.DataObject) -> None:
    text = encode(data)
    position = draw.draw(st.integers(0, len(text) - 1))
    other = draw.draw(st.characters().filter(lambda character: character != text[position]))
    changed = text[:position] + other + text[position + 1 :]
    try:
        read = decode(changed)
    except FormatError:
        return
    assert read != data
    assert encode(read) == changed


def test_the_vectors_of_the_standard_hold() -> None:
    cases = vectors("base45.json")
    for plain, text in cases["encode"]:
        assert encode(plain.encode()) == text
        assert decode(text) == plain.encode()
    for text, plain in cases["decode"]:
        assert decode(text) == plain.encode()
    for text in cases["refuse"]:
        with pytest.raises(FormatError):
            decode(text)


def test_a_corpus_of_thirty_authorities_is_read() -> None:
    """Codes that must decode do, to the bytes that their makers state; no other crashes any layer."""
    cases = vectors("hc1.json")["cases"]
    decoded = inflated = 0
    for case in cases:
        text = case["prefix"].removeprefix("HC1:")
        try:
            compressed = decode(text)
        except FormatError:
            assert not case["expected"].get("EXPECTEDB45DECODE", False), case["name"]
            continue
        decoded += 1
        if case.get("base45"):
            assert text == case["base45"], case["name"]
        if case.get("compressed") and case["expected"].get("EXPECTEDB45DECODE", False):
            assert compressed == bytes.fromhex(case["compressed"]), case["name"]
        assert encode(compressed) == text, case["name"]
        try:
            cose = inflate(compressed, limit=LIMITS.presentation_size, where=case["name"])
        except FormatError:
            assert not case["expected"].get("EXPECTEDCOMPRESSION", False), case["name"]
            continue
        inflated += 1
        if case["expected"].get("EXPECTEDCOMPRESSION", False):
            assert cose == bytes.fromhex(case["cose"]), case["name"]
        for encoded in (cose, bytes.fromhex(case.get("cbor") or "")):
            with contextlib.suppress(FormatError):
                decode_cbor(encoded)
    assert decoded >= len(cases) - 1
    assert inflated >= len(cases) - 2
