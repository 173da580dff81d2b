"""Base45: bytes as the 45 characters that a QR code packs densest.

Specification: https://www.rfc-editor.org/rfc/rfc9285

    two bytes   n = 256·a + b   three characters c, d, e with n = c + 45·d + 2025·e
    a last one  n = a           two characters c, d with n = c + 45·d

    >>> encode(b"ietf!")
    'QED8WEX0'

All groups of a block are computed at once: the block becomes one big integer with a lane for each group, wide
enough that no product leaves its lane, and a multiplication or shift of the integer is one in every lane. This is
some thirty times as fast as a loop over groups.
"""

from __future__ import annotations

from typing import Final

from chopmark.errors import FormatError

_ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_BAD: Final = 0xFF
_VALUES: Final = bytes(_ALPHABET.find(byte) & 0xFF for byte in range(256))
"""Character to value; `find` gives -1 for any other byte, which becomes `_BAD`."""
_CHARACTERS: Final = _ALPHABET.ljust(256, b"?")
"""Value to character."""

_GROUPS: Final = 1536
"""Groups of one block: 3,072 bytes, more than a QR code holds. Only the constants below depend on it."""

# Decoding: lanes of three bytes, big-endian: the sum is at most 44 + 45·44 + 2025·44 = 91,124, below 2^24.
_LOW_BYTES: Final = int.from_bytes(b"\x00\x00\xff" * _GROUPS, "big")
_HIGH_BYTES: Final = _LOW_BYTES << 16

# Encoding: lanes of four bytes, little-endian. For n < 2^16, n // 45 = n·46604 >> 21, and the product is below 2^32;
# for q < 1457, q // 45 = q·1457 >> 16.
_ELEVEN_BITS: Final = int.from_bytes(b"\xff\x07\x00\x00" * _GROUPS, "little")
_SIX_BITS: Final = int.from_bytes(b"\x3f\x00\x00\x00" * _GROUPS, "little")
_FILLERS: Final = int.from_bytes(b"\x00\x00\x00\xff" * _GROUPS, "little")


def encode(data: bytes) -> str:
    """Write `data` as base45 text, three characters for two bytes."""
    size = len(data)
    if size <= 2 * _GROUPS:
        text = _encode_pairs(data, 0, size // 2)
    else:
        text = b"".join(
            _encode_pairs(data, start, min(_GROUPS, (size - start) // 2)) for start in range(0, size, 2 * _GROUPS)
        )
    if size % 2:
        second, first = divmod(data[-1], 45)
        text += bytes((_ALPHABET[first], _ALPHABET[second]))
    return text.decode("ascii")


def _encode_pairs(data: bytes, start: int, count: int) -> bytes:
    """Encode `count` ≤ `_GROUPS` pairs of bytes."""
    end = start + 2 * count
    lanes = bytearray(4 * count)
    lanes[0::4] = data[start + 1 : end : 2]
    lanes[1::4] = data[start:end:2]
    n = int.from_bytes(lanes, "little")
    q = n * 46604 >> 21 & _ELEVEN_BITS
    e = q * 1457 >> 16 & _SIX_BITS
    # c + 256·d + 65536·e, with c = n - 45·q and d = q - 45·e; the fourth byte of each lane is filled to be deleted.
    characters = n + 211 * q + 54016 * e + (_FILLERS >> 32 * (_GROUPS - count))
    return characters.to_bytes(4 * count, "little").translate(_CHARACTERS, b"\xff")


def decode(text: str, *, where: str = "base45") -> bytes:
    """Read base45 text.

    Args:
        text: the characters, in upper case, without any around them.
        where: what `text` is, for error messages; the offset of the character is added to it.

    Raises:
        FormatError: a character outside the alphabet, a group that stands for more than its bytes can hold, or a
            single character at the end.
    """
    try:
        values = text.encode("ascii").translate(_VALUES)
    except UnicodeEncodeError as error:
        raise _stray(text, error.start, where) from None
    if _BAD in values:
        raise _stray(text, values.index(_BAD), where)
    size = len(values)
    if size <= 3 * _GROUPS:
        data = _decode_triples(values, 0, size // 3, where)
    else:
        data = b"".join(
            _decode_triples(values, start, min(_GROUPS, (size - start) // 3), where)
            for start in range(0, size, 3 * _GROUPS)
        )
    over = size % 3
    if over == 0:
        return data
    if over == 1:
        raise FormatError("a single character at the end", where=f"{where}, character {size - 1}")
    last = values[-2] + 45 * values[-1]
    if last > 0xFF:
        raise FormatError("two characters that stand for more than one byte", where=f"{where}, character {size - 2}")
    return data + bytes((last,))


def _decode_triples(values: bytes, start: int, count: int, where: str) -> bytes:
    """Decode `count` ≤ `_GROUPS` groups of three values."""
    lanes = int.from_bytes(values[start : start + 3 * count], "big")
    numbers = (lanes >> 16 & _LOW_BYTES) + 45 * (lanes >> 8 & _LOW_BYTES) + 2025 * (lanes & _LOW_BYTES)
    pairs = bytearray(numbers.to_bytes(3 * count, "big"))
    if numbers & _HIGH_BYTES:
        group = count - len(pairs[0::3].lstrip(b"\x00"))
        raise FormatError(
            "three characters that stand for more than two bytes", where=f"{where}, character {start + 3 * group}"
        )
    del pairs[0::3]
    return bytes(pairs)


def _stray(text: str, position: int, where: str) -> FormatError:
    return FormatError(f"{text[position]!r} is not a base45 character", where=f"{where}, character {position}")
