"""Reading a zlib stream from an unknown hand: exactly one, complete, and never beyond a bound.

Specification: https://www.rfc-editor.org/rfc/rfc1950
"""

from __future__ import annotations

import zlib

from chopmark.errors import FormatError, LimitError


def inflate(stream: bytes, *, limit: int, where: str, dictionary: bytes = b"") -> bytes:
    """Read the bytes that `stream` stands for.

    Args:
        stream: the zlib stream, without anything behind it.
        limit: bytes that may come out; no more than one above it is ever produced.
        where: what `stream` is, for error messages.
        dictionary: the preset dictionary, used where the stream asks for it. A caller that demands one looks at the
            header first: a stream that asks for none is read without.

    Raises:
        LimitError: more than `limit` bytes come out.
        FormatError: the stream is damaged, incomplete, asks for another dictionary, or has bytes behind it.
    """
    inflater = zlib.decompressobj(zlib.MAX_WBITS, dictionary)
    try:
        data = inflater.decompress(stream, limit + 1)
    except zlib.error as error:
        raise FormatError("the zlib stream is damaged", where=where) from error
    if len(data) > limit:
        raise LimitError(f"the zlib stream inflates to more than {limit} bytes", where=where)
    if not inflater.eof:
        raise FormatError("the zlib stream is incomplete", where=where)
    if inflater.unused_data:
        raise FormatError(f"{len(inflater.unused_data)} bytes behind the zlib stream", where=where)
    return data
