"""Licence numbers, with the published ones and python-stdnum as oracle."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from chopmark import licence_number, organisation_code
from chopmark.errors import FormatError
from chopmark.licence_number import LicenceNumber, parse
from hypothesis import given
from hypothesis import strategies as st
from stdnum.iso7064 import mod_37_36

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "licence-numbers.json"
GENUINE = "1.2.156.3005.2.11100000000013338W032.11220000013544541J.2430599.001.F"
ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def organisation_codes() -> st.SearchStrategy[str]:
    alphabet = organisation_code.ALPHABET
    bodies = st.builds(
        "{}{}{}".format,
        st.text(alphabet, min_size=2, max_size=2),
        st.text("0123456789", min_size=6, max_size=6),
        st.text(alphabet, min_size=9, max_size=9),
    )
    return bodies.map(lambda body: body + organisation_code.check_character(body))


def numbers() -> st.SearchStrategy[LicenceNumber]:
    return st.builds(
        lambda authority, suffix, issuer, serial, version: LicenceNumber.build(
            authority + suffix, issuer, serial, version
        ),
        organisation_codes(),
        st.text(ALPHANUMERIC, min_size=3, max_size=3),
        organisation_codes(),
        st.text(ALPHANUMERIC, min_size=7, max_size=32),
        st.integers(1, 999),
    )


@pytest.mark.skipif(not VECTORS.exists(), reason="../shared/vectors is absent")
def test_published_numbers_read_as_their_vectors_say() -> None:
    for vector in json.loads(VECTORS.read_text()):
        number = vector["number"]
        if vector["strict"] == "valid":
            assert parse(number).text == number
            assert parse(number).warnings == ()
        else:
            with pytest.raises(FormatError):
                parse(number)
        lenient = vector.get("lenient", vector["strict"])
        if lenient == "invalid":
            with pytest.raises(FormatError):
                parse(number, strict=False)
        else:
            assert bool(parse(number, strict=False).warnings) == (lenient == "warning")


def test_a_number_is_taken_apart() -> None:
    number = parse(GENUINE)
    assert number.type_code == "11100000000013338W032"
    assert number.defining_authority == "11100000000013338W"
    assert number.issuer_code == "11220000013544541J"
    assert (number.serial, number.version, number.check) == ("2430599", 1, "F")
    assert str(number) == GENUINE


@given(st.text(ALPHANUMERIC, min_size=1, max_size=80))
def test_the_check_character_is_that_of_python_stdnum(body: str) -> None:
    assert licence_number.check_character(body) == mod_37_36.calc_check_digit(body)
    assert mod_37_36.is_valid(body + licence_number.check_character(body))


@given(numbers())
def test_a_built_number_is_read_back_equal(number: LicenceNumber) -> None:
    assert parse(number.text) == number
    assert parse(number.text, strict=False) == number


@given(numbers(), st.data())
def test_every_single_substitution_is_refused(number: LicenceNumber, data: st.DataObject) -> None:
    text = number.text
    position = data.draw(st.integers(15, len(text) - 1).filter(lambda index: text[index] != "."))
    character = data.draw(st.sampled_from(ALPHANUMERIC).filter(lambda other: other != text[position]))
    for strict in (True, False):
        with pytest.raises(FormatError):
            parse(text[:position] + character + text[position + 1 :], strict=strict)


@given(numbers(), st.sampled_from([-1, 1]), st.integers(0, 3))
def test_a_moved_dot_is_refused_by_strict_lengths(number: LicenceNumber, step: int, which: int) -> None:
    parts = number.text[15:].split(".")
    left, right = parts[which], parts[which + 1]
    joined = left + right
    parts[which], parts[which + 1] = joined[: len(left) + step], joined[len(left) + step :]
    with pytest.raises(FormatError):
        parse("1.2.156.3005.2." + ".".join(parts))


@given(st.text(max_size=120) | st.text(ALPHANUMERIC + "._", max_size=90).map(lambda tail: "1.2.156.3005.2." + tail))
def test_any_other_text_is_refused_by_name(text: str) -> None:
    for strict in (True, False):
        with suppress(FormatError):
            assert parse(text, strict=strict).text == text


@pytest.mark.parametrize(
    "text",
    [
        GENUINE.lower(),
        GENUINE + " ",
        GENUINE + "\n",
        GENUINE.replace("1.2.156.3005.2.", ""),
        GENUINE.replace("3005.2", "3005.3"),
        GENUINE.replace(".001.", ".000."),
        GENUINE.replace(".001.", ".٠٠١."),
        GENUINE.replace(".001.F", ".1.F"),
        GENUINE.replace(".F", "."),
        GENUINE[:-2],
        GENUINE + "." + "A" * 100_000,
    ],
)
def test_a_number_spelled_differently_is_refused_in_both_modes(text: str) -> None:
    for strict in (True, False):
        with pytest.raises(FormatError):
            parse(text, strict=strict)


def circulating(type_code: str, issuer: str, serial: str) -> str:
    check = mod_37_36.calc_check_digit((type_code + issuer + serial + "001").replace("_", ""))
    return f"1.2.156.3005.2.{type_code}.{issuer}.{serial}.001.{check}"


@pytest.mark.parametrize(
    ("issuer", "serial", "word"),
    [
        ("340100", "000000016", "area code"),
        ("11220000013544541J", "2430_599", "_"),
        ("11220000013544541J", "243", "SERIAL has 3"),
        ("11220000013544541J", "A" * 40, "SERIAL has 40"),
        ("11220000013544541K", "2430599", "no right organisation code"),
    ],
)
def test_what_circulates_beyond_the_standard_reads_leniently_with_a_warning(
    issuer: str, serial: str, word: str
) -> None:
    text = circulating("11100000000013338W032", issuer, serial)
    with pytest.raises(FormatError, match="leniently"):
        parse(text)
    number = parse(text, strict=False)
    assert len(number.warnings) == 1
    assert word in number.warnings[0]
    assert number.text == text


def test_a_serial_of_nothing_but_underscores_is_refused() -> None:
    text = circulating("11100000000013338W032", "11220000013544541J", "_______")
    with pytest.raises(FormatError, match="SERIAL"):
        parse(text, strict=False)


@pytest.mark.parametrize("version", [0, 1000, -1])
def test_a_version_beyond_three_digits_is_not_built(version: int) -> None:
    with pytest.raises(FormatError, match="VERSION"):
        LicenceNumber.build("11100000000013338W032", "11220000013544541J", "2430599", version)


def test_a_number_that_only_reads_leniently_is_not_built() -> None:
    with pytest.raises(FormatError, match="area code"):
        LicenceNumber.build("11100000000013338W032", "340100", "2430599", 1)


def test_the_next_version_has_its_own_check_character() -> None:
    second = parse(GENUINE).with_version(2)
    assert second.version == 2
    assert parse(second.text) == second
    assert second.serial == "2430599"
