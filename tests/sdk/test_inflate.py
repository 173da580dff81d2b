from __future__ import annotations

import zlib

import pytest
from chopmark.errors import FormatError, LimitError
from chopmark.inflate import inflate
from hypothesis import given, settings
from hypothesis import strategies as st


def test_a_stream_is_read_up_to_the_bound() -> None:
    stream = zlib.compress(bytes(1000))
    assert inflate(stream, limit=1000, where="stream") == bytes(1000)
    with pytest.raises(LimitError):
        inflate(stream, limit=999, where="stream")


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(LimitError):
        inflate(bomb, limit=1000, where="stream")


def test_a_stream_with_bytes_behind_it_is_refused() -> None:
    stream = zlib.compress(b"licence")
    for behind in (b"\x00", stream):
        with pytest.raises(FormatError, match="behind"):
            inflate(stream + behind, limit=1000, where="stream")


def test_a_stream_that_is_cut_anywhere_is_refused() -> None:
    stream = zlib.compress(b"licence" * 20)
    for size in range(len(stream)):
        with pytest.raises(FormatError):
            inflate(stream[:size], limit=1000, where="stream")


def test_a_dictionary_is_used_where_the_stream_asks_for_it() -> None:
    deflater = zlib.compressobj(9, zdict=b"licence number")
    stream = deflater.compress(b"licence number 7") + deflater.flush()
    assert inflate(stream, limit=100, where="stream", dictionary=b"licence number") == b"licence number 7"
    for other in (b"", b"licence numbeR"):
        with pytest.raises(FormatError):
            inflate(stream, limit=100, where="stream", dictionary=other)


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_are_a_stream(data: bytes) -> None:
    try:
        read = inflate(data, limit=1000, where="stream")
    except FormatError:
        return
    assert read == zlib.decompress(data)
