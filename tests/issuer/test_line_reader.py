"""Lines of a body, and the parts that they come in."""

from __future__ import annotations

from chopmark_issuer.service.line_reader import TOO_LONG, LineParts
from hypothesis import given
from hypothesis import strategies as st


def parts_of(
    body: bytes, cuts: list[int], *, lines: int = 3, part_bytes: int = 20, line_bytes: int = 8
) -> list[list[bytes]]:
    reader = LineParts(lines, part_bytes, line_bytes)
    places = sorted({min(cut, len(body)) for cut in cuts})
    done: list[list[bytes]] = []
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        done += reader.feed(body[start:end])
    return done + reader.finish()


_BODIES = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bcd", b"0123456", b"{}", b"\x00"]), max_size=40).map(
    b"".join
)


@given(_BODIES, st.lists(st.integers(0, 200), max_size=8))
def test_parts_do_not_depend_on_how_the_network_cuts_the_body(body: bytes, cuts: list[int]) -> None:
    assert parts_of(body, cuts) == parts_of(body, [])


@given(_BODIES)
def test_every_line_that_says_something_comes_once_in_order_and_too_long_ones_leave_a_mark(body: bytes) -> None:
    expected = body.split(b"\n")
    if not expected[-1]:
        expected.pop()
    lines = [line.removesuffix(b"\r") for line in expected if line not in {b"", b"\r"}]
    marked = [TOO_LONG if len(line) > 8 or line.startswith(b"\x00") else line for line in lines]
    found = [line for part in parts_of(body, list(range(len(body)))) for line in part]
    assert found == marked


@given(_BODIES, st.integers(1, 5))
def test_a_part_is_bounded_in_lines_and_in_bytes(body: bytes, lines: int) -> None:
    for part in parts_of(body, [], lines=lines):
        assert 0 < len(part) <= lines
        assert sum(map(len, part[:-1])) < 20


def test_a_line_without_end_takes_no_memory() -> None:
    reader = LineParts(10, 1000, 100)
    for _ in range(1000):
        assert reader.feed(b"x" * 1000) == []
        assert len(reader._rest) <= 101
    assert reader.feed(b"\nnext\n") == []
    assert reader.finish() == [[TOO_LONG, b"next"]]
