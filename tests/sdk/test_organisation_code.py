"""Organisation codes, with python-stdnum as oracle where it knows them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from chopmark import organisation_code
from chopmark.errors import FormatError
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc

FIRST = st.sampled_from(organisation_code.ALPHABET)
DIGIT_FIRST = st.builds(
    "{}{}{}{}".format,
    st.sampled_from("123456789"),
    st.sampled_from("1239"),
    st.text("0123456789", min_size=6, max_size=6),
    st.text(organisation_code.ALPHABET, min_size=9, max_size=9),
)
ANY = st.builds(
    "{}{}{}{}".format,
    FIRST,
    FIRST,
    st.text("0123456789", min_size=6, max_size=6),
    st.text(organisation_code.ALPHABET, min_size=9, max_size=9),
)


@given(DIGIT_FIRST)
def test_the_check_character_is_that_of_python_stdnum(body: str) -> None:
    assert organisation_code.check_character(body) == uscc.calc_check_digit(body)
    code = body + organisation_code.check_character(body)
    assert organisation_code.validate(code) == code
    assert uscc.is_valid(code)


@pytest.mark.parametrize(
    "code", ["11100000000013338W", "11220000013544541J", "11100000MB03271699", "91110000600037341L"]
)
def test_a_published_code_is_accepted(code: str) -> None:
    assert organisation_code.validate(code) == code


@given(ANY.filter(lambda body: not body[:2].isdigit()))
def test_a_code_with_a_letter_first_is_accepted_where_python_stdnum_refuses_it(body: str) -> None:
    code = body + uscc.calc_check_digit(body)
    assert organisation_code.validate(code) == code
    assert not uscc.is_valid(code)


@given(ANY, st.integers(0, 17), st.sampled_from(organisation_code.ALPHABET))
def test_every_single_substitution_is_refused(body: str, position: int, character: str) -> None:
    code = body + organisation_code.check_character(body)
    changed = code[:position] + character + code[position + 1 :]
    if changed != code:
        with pytest.raises(FormatError):
            organisation_code.validate(changed)


@given(st.text(max_size=20))
def test_any_other_text_is_refused_by_name(text: str) -> None:
    with suppress(FormatError):
        assert organisation_code.validate(text) == text


@pytest.mark.parametrize(
    "code",
    [
        "",
        "11100000000013338w",
        " 11100000000013338W",
        "11100000000013338W\n",
        "1110000000001333８W",
        "111000O0000013338W",
        "1110000000001333W",
        "I1100000000013338W",
    ],
)
def test_a_code_spelled_differently_is_refused(code: str) -> None:
    with pytest.raises(FormatError):
        organisation_code.validate(code)
