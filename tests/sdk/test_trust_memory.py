"""What a trust store remembers."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from chopmark.errors import ChopmarkError, FormatError, RollbackError, UnsupportedError
from chopmark.trust_memory import Seen, TrustMemory
from hypothesis import given
from hypothesis import strategies as st

SEEN = st.builds(
    Seen, st.integers(0, 2**40).map(lambda value: value % 253_402_300_800), st.binary(min_size=32, max_size=32)
)
MEMORIES = st.builds(
    TrustMemory,
    st.sampled_from(["CN-GD", "US-IL", "CN"]),
    st.integers(0, 253_402_300_799),
    st.dictionaries(st.sampled_from(["CN-GD", "CN-SH", "US-IL"]), SEEN),
    st.dictionaries(st.sampled_from(["cn-gd.example/log/2026", "cn-sh.example/log/1"]), SEEN),
    st.dictionaries(st.integers(0, 9).map("https://cn-gd.example/status/{}".format), SEEN),
)
MEMORY = (
    TrustMemory("CN-GD", 5)
    .with_bundle("CN-GD", Seen(3, bytes(32)))
    .with_landmarks("cn-gd.example/log/2026", Seen(12, bytes(32)))
    .with_status_list("https://cn-gd.example/status/1", Seen(7, bytes(32)))
)


@given(MEMORIES)
def test_a_memory_survives_writing_and_reading(memory: TrustMemory) -> None:
    assert TrustMemory.parse(memory.encode()) == memory


def test_the_floor_only_rises() -> None:
    assert MEMORY.with_clock_floor(4).clock_floor == 5
    assert MEMORY.with_clock_floor(6).clock_floor == 6


def test_a_change_makes_a_new_memory() -> None:
    changed = MEMORY.with_bundle("CN-SH", Seen(1, bytes(32)))
    assert "CN-SH" in changed.bundles
    assert "CN-SH" not in MEMORY.bundles


def test_what_was_seen_may_come_again_or_rise() -> None:
    seen = Seen(3, bytes(32))
    seen.check(3, bytes(32), where="x")
    seen.check(4, b"\1" * 32, where="x")
    with pytest.raises(RollbackError, match="2 is below 3"):
        seen.check(2, bytes(32), where="x")
    with pytest.raises(RollbackError, match="another object"):
        seen.check(3, b"\1" * 32, where="x")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("trust-store/v1", "trust-store/v2", UnsupportedError),
        ('"home": "CN-GD"', '"home": "Guangdong"', FormatError),
        ('"home": "CN-GD"', '"home": "CN-GD", "home": "CN-SH"', FormatError),
        ('"home": "CN-GD"', '"home": "CN-GD", "more": 1', UnsupportedError),
        ('"seq": 3', '"seq": -3', FormatError),
        ('"records": 12', '"records": "12"', FormatError),
        ('"sha256": "00', '"sha256": "0', FormatError),
        ("1970-01-01T00:00:05Z", "1970-01-01", FormatError),
    ],
)
def test_another_form_is_refused(old: str, new: str, error: type[ChopmarkError]) -> None:
    text = MEMORY.encode().decode()
    assert old in text
    with pytest.raises(error):
        TrustMemory.parse(text.replace(old, new, 1).encode())


@pytest.mark.parametrize("array", ["bundles", "landmarks", "status_lists"])
def test_an_entry_that_stands_twice_is_refused(array: str) -> None:
    members = json.loads(MEMORY.encode())
    members[array] *= 2
    with pytest.raises(FormatError, match="twice"):
        TrustMemory.parse(json.dumps(members).encode())


@given(st.binary(max_size=60), st.integers(0, 10_000), st.integers(1, 255))
def test_any_bytes_and_any_changed_byte_are_refused_by_name_or_read(junk: bytes, position: int, mask: int) -> None:
    with pytest.raises(ChopmarkError):
        TrustMemory.parse(junk)
    changed = bytearray(MEMORY.encode())
    changed[position % len(changed)] ^= mask
    with suppress(ChopmarkError):
        assert TrustMemory.parse(bytes(changed)).encode()
