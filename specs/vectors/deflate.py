"""A small zlib writer, so that vectors come out the same whatever zlib a machine has.

zlib streams, RFC 1950 and RFC 1951, are not unique: two compressors write different bytes for the same data, and both
are right. This one is greedy, knows only the fixed Huffman codes, and never changes. Readers are tested with what it
writes; they must read any other stream too.
"""

from __future__ import annotations

import zlib

_MIN_MATCH = 3
_MAX_MATCH = 258
_CANDIDATES = 64


def _length_codes() -> dict[int, tuple[int, int, int]]:
    """Length → (symbol, extra bits, their value)."""
    codes: dict[int, tuple[int, int, int]] = {}
    length = _MIN_MATCH
    for symbol in range(257, 285):
        extra = max(0, (symbol - 261) // 4)
        for value in range(1 << extra):
            codes[length] = (symbol, extra, value)
            length += 1
    codes[_MAX_MATCH] = (285, 0, 0)
    return codes


def _distance_code(distance: int) -> tuple[int, int, int]:
    """Distance → (symbol, extra bits, their value)."""
    if distance <= 4:
        return distance - 1, 0, 0
    extra = (distance - 1).bit_length() - 2
    half = (distance - 1) >> extra & 1
    return 2 * extra + 2 + half, extra, (distance - 1) & ((1 << extra) - 1)


_LENGTH_CODES = _length_codes()


class _Bits:
    """Bits, the first in the lowest place of the first byte."""

    def __init__(self) -> None:
        self.value = 0
        self.count = 0

    def put(self, value: int, count: int) -> None:
        self.value |= value << self.count
        self.count += count

    def code(self, value: int, count: int) -> None:
        """A Huffman code: its highest bit first."""
        self.put(int(f"{value:0{count}b}"[::-1], 2), count)

    def symbol(self, symbol: int) -> None:
        """A literal, the end of the block or a length, in the fixed code."""
        if symbol < 144:
            self.code(0x30 + symbol, 8)
        elif symbol < 256:
            self.code(0x190 + symbol - 144, 9)
        elif symbol < 280:
            self.code(symbol - 256, 7)
        else:
            self.code(0xC0 + symbol - 280, 8)

    def bytes(self) -> bytes:
        return self.value.to_bytes((self.count + 7) // 8, "little")


def compress(data: bytes, dictionary: bytes = b"") -> bytes:
    """Write a zlib stream of `data`, with a preset dictionary if one is given."""
    bits = _Bits()
    bits.put(1, 1)
    bits.put(1, 2)
    window = dictionary + data
    seen: dict[bytes, list[int]] = {}
    position = 0
    while position < len(window):
        best, distance = 0, 0
        if position >= len(dictionary):
            for candidate in reversed(seen.get(window[position : position + _MIN_MATCH], [])[-_CANDIDATES:]):
                length = _MIN_MATCH
                most = min(_MAX_MATCH, len(window) - position)
                while length < most and window[candidate + length] == window[position + length]:
                    length += 1
                if length > best and position - candidate <= 32_768:
                    best, distance = length, position - candidate
            if best >= _MIN_MATCH:
                symbol, extra, value = _LENGTH_CODES[best]
                bits.symbol(symbol)
                bits.put(value, extra)
                symbol, extra, value = _distance_code(distance)
                bits.code(symbol, 5)
                bits.put(value, extra)
            else:
                bits.symbol(window[position])
        for step in range(max(best, 1)):
            key = window[position + step : position + step + _MIN_MATCH]
            if len(key) == _MIN_MATCH:
                seen.setdefault(key, []).append(position + step)
        position += max(best, 1)
    bits.symbol(256)
    return _wrap(bits.bytes(), data, dictionary)


def store(data: bytes, dictionary: bytes = b"") -> bytes:
    """Write a zlib stream of `data` that is not compressed at all: one stored block, at most 65,535 bytes."""
    size = len(data).to_bytes(2, "little")
    return _wrap(b"\x01" + size + bytes(0xFF ^ byte for byte in size) + data, data, dictionary)


def _wrap(blocks: bytes, data: bytes, dictionary: bytes) -> bytes:
    flags = 0xC0 | (0x20 if dictionary else 0)
    flags += 31 - (0x7800 + flags) % 31
    identifier = zlib.adler32(dictionary).to_bytes(4, "big") if dictionary else b""
    return bytes((0x78, flags)) + identifier + blocks + zlib.adler32(data).to_bytes(4, "big")
