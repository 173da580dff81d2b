"""Deterministic CBOR (RFC 8949 §4.2.1) in the profile of all Chopmark objects, written and read in one pass.

Specification: https://www.rfc-editor.org/rfc/rfc8949#section-4.2.1, narrowed by `specs/cbor.md`.

    integer     -2^64 … 2^64-1, in the fewest bytes
    bytes       definite length
    text        UTF-8, definite length
    boolean     as a value only
    array       definite length, at most `LIMITS.cbor_items` elements
    map         keys in bytewise order of their encodings, each once: integers (not 59), text of at most 255 bytes,
                or simple value 59, under which SD-CWT keeps the digests of what is redacted
    tag         18 only, around an array of four: a COSE_Sign1

Nothing else exists: no floats, null or undefined, no other tag or simple value, no indefinite length, no trailing
byte. So each value has one encoding and each accepted encoding one value. Arrays, maps and tags nest at most
`LIMITS.cbor_depth` deep.

    >>> encode({11: "CN-GD/1@3", 6: 1795339800, 1: "CN-GD/1"}).hex(" ")
    'a3 01 67 43 4e 2d 47 44 2f 31 06 1a 6b 02 b6 18 0b 69 43 4e 2d 47 44 2f 31 40 33'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, TypeAlias, cast

from chopmark.errors import FormatError, LimitError
from chopmark.limits import LIMITS


class Redacted(Enum):
    """Simple value 59 as a map key: under it stand the digests of what is redacted. Its one member is `REDACTED`.

    It is a class of its own because a library's `simple(59)` may compare equal to the integer 59.
    """

    SIMPLE_59 = 59

    __hash__ = object.__hash__  # by identity, as members compare: that of Enum is a call for each look-up

    def __repr__(self) -> str:
        return "simple(59)"


REDACTED: Final = Redacted.SIMPLE_59


@dataclass(frozen=True, slots=True)
class Tagged:
    """Tag 18 around `value`, the array of four of a COSE_Sign1."""

    value: list[Value]


Key: TypeAlias = int | str | Redacted
Value: TypeAlias = "int | bytes | str | bool | Tagged | list[Value] | dict[Key, Value]"
Encodable: TypeAlias = "int | bytes | str | bool | Tagged | Sequence[Encodable] | Mapping[Any, Encodable]"
"""What `encode` takes: a `Value`, tuples for arrays, any mapping for maps."""

_REDACTED_KEY = b"\xf8\x3b"
_SIGN1_TAG = 0xD2
_ARRAY_OF_FOUR = 0x84
_TEXT_KEY_SIZE = 255

_SMALL_KEYS: Final[tuple[int | None, ...]] = tuple(
    byte if byte < 0x18 else 0x1F - byte if 0x20 <= byte < 0x38 else None for byte in range(256)
)
"""What a first byte says when it is the whole key, else None."""

_SMALL_VALUES: Final[tuple[int | bool | None, ...]] = (*_SMALL_KEYS[:0xF4], False, True, *_SMALL_KEYS[0xF6:])
"""What a first byte says when it is the whole value, else None."""

_STRING_SIZES: Final[tuple[int | None, ...]] = tuple(
    byte % 0x20 if 0x40 <= byte < 0x80 and byte % 0x20 <= 24 else None for byte in range(256)
)
"""The size of a string of less than 24 bytes, by its first byte; 24 says that the size is the next byte."""

_LEAST_ARGUMENTS: Final = {24: 24, 25: 0x100, 26: 0x10000, 27: 0x100000000}
"""What must be written in 1, 2, 4 and 8 bytes: less has a shorter form."""

_REFUSED_HEADS: Final = {
    0xF6: "null is not in the profile",
    0xF7: "undefined is not in the profile",
    0xF9: "floating-point numbers are not in the profile",
    0xFA: "floating-point numbers are not in the profile",
    0xFB: "floating-point numbers are not in the profile",
    0xFF: "a break without an indefinite item",
}


def decode(data: bytes, *, max_size: int = LIMITS.credential_size, where: str = "CBOR") -> Value:
    """Read exactly one value of the profile from `data`.

    Args:
        data: the whole encoding, without anything behind it.
        max_size: bytes allowed.
        where: what `data` is, for error messages; the byte offset is added to it.

    Raises:
        LimitError: `data`, its nesting, or one array or map is above the bound.
        FormatError: `data` is anything else than one value in its one encoding.
    """
    size = len(data)
    if size > max_size:
        raise LimitError(f"{size} bytes, above the limit of {max_size}", where=where)
    # One loop over all items. A container is put into its parent when it opens and filled afterwards, so that
    # closing one is a pop from `parents`. In a map `previous` is the first byte of the last key, and `encoded` its
    # encoding where that is longer; in an array `previous` is None.
    # A string that runs past the end leaves `position` beyond `size`: the next byte read, or the last line, sees it.
    root: list[Value] = []
    container: Any = root
    previous: int | None = None
    encoded = b""
    remaining = 1
    parents: list[tuple[Any, int | None, bytes, int, int]] = []
    depth = 0
    position = 0
    key: Any = None
    end = 0
    try:
        while True:
            while remaining:
                remaining -= 1
                if previous is not None:
                    first = data[position]
                    key = _SMALL_KEYS[first]
                    if key is not None:
                        if first <= previous:
                            raise _out_of_order(first == previous, position, where)
                        position += 1
                    else:
                        start = position
                        before = encoded
                        position += _KEY_SIZES[first]
                        encoded = data[start:position]
                        key = _FREQUENT_KEYS.get(encoded)
                        if key is None:
                            key, position = _read_key(data, start, where)
                            encoded = data[start:position]
                        if first <= previous and (first < previous or encoded <= before):
                            raise _out_of_order(encoded == before, start, where)
                    previous = first
                first = data[position]
                position += 1
                value: Any = _SMALL_VALUES[first]
                if value is None:
                    argument: Any = _STRING_SIZES[first]
                    if argument is not None:
                        if argument == 24:
                            argument = data[position]
                            position += 1
                            if argument < 24:
                                raise _refused(data, position - 2, where)
                        end = position + argument
                        value = data[position:end].decode() if first >= 0x60 else data[position:end]
                        position = end
                    else:
                        start = position - 1
                        major = first >> 5
                        argument = first & 0x1F
                        if argument > 23:
                            if major > 5:
                                raise _refused(data, start, where)
                            if argument == 25:
                                argument = data[position] << 8 | data[position + 1]
                                position += 2
                                if argument < 0x100:
                                    raise _refused(data, start, where)
                            elif argument == 26:
                                argument = int.from_bytes(data[position : position + 4], "big")
                                position += 4
                                if argument < 0x10000:
                                    raise IndexError if position > size else _refused(data, start, where)
                            else:
                                argument, position = _read_argument(data, start, where)
                        if major == 0:
                            value = argument
                        elif major == 1:
                            value = -1 - argument
                        elif major < 4:
                            end = position + argument
                            value = data[position:end].decode() if major == 3 else data[position:end]
                            position = end
                        else:
                            opened = depth + 1
                            if major == 4:
                                inner: Any = []
                                value = inner
                                needed = argument
                            elif major == 5:
                                inner = {}
                                value = inner
                                needed = 2 * argument
                            else:
                                if first != _SIGN1_TAG:
                                    raise _refused(data, start, where)
                                if data[position] != _ARRAY_OF_FOUR:
                                    raise _fault("tag 18 around something else than an array of four", start, where)
                                position += 1
                                inner = []
                                value = Tagged(inner)
                                argument = needed = 4
                                opened = depth + 2
                            if opened > LIMITS.cbor_depth:
                                raise LimitError(
                                    f"nested deeper than {LIMITS.cbor_depth}", where=f"{where}, byte {start}"
                                )
                            if needed > size - position:
                                raise _fault(
                                    f"{argument} elements announced where {size - position} bytes remain", start, where
                                )
                            if argument > LIMITS.cbor_items:
                                raise LimitError(
                                    f"{argument} elements, above {LIMITS.cbor_items}", where=f"{where}, byte {start}"
                                )
                            if previous is None:
                                container.append(value)
                            else:
                                container[key] = value
                            if argument:
                                if remaining:
                                    parents.append((container, previous, encoded, remaining, depth))
                                container = inner
                                previous = -1 if major == 5 else None
                                encoded = b""
                                remaining = argument
                                depth = opened
                            continue
                if previous is None:
                    container.append(value)
                else:
                    container[key] = value
            if not parents:
                break
            container, previous, encoded, remaining, depth = parents.pop()
    except IndexError:
        raise _fault("ends before the value does", size, where) from None
    except UnicodeDecodeError as error:
        what = "text that is not UTF-8" if end <= size else "ends before the value does"
        raise _fault(what, position + error.start, where) from None
    if position != size:
        what = "bytes behind the value" if position < size else "ends before the value does"
        raise _fault(what, min(position, size), where)
    return root[0]


def _fault(what: str, position: int, where: str) -> FormatError:
    return FormatError(what, where=f"{where}, byte {position}")


def _read_argument(data: bytes, start: int, where: str) -> tuple[int, int]:
    """Read a length or number of 1, 2, 4 or 8 bytes; the position after it comes second."""
    first = data[start]
    information = first & 0x1F
    if information > 27 or first >> 5 > 5:
        raise _refused(data, start, where)
    width = 1 << (information - 24)
    position = start + 1 + width
    argument = int.from_bytes(data[start + 1 : position], "big")
    if position > len(data):
        raise IndexError
    if argument < _LEAST_ARGUMENTS[information]:
        raise _refused(data, start, where)
    return argument, position


def _read_key(data: bytes, start: int, where: str) -> tuple[Key, int]:
    """Read a map key that is more than one byte long; the position after it comes second."""
    first = data[start]
    major = first >> 5
    if major == 3:
        size = first & 0x1F
        position = start + 1
        if size == 24:
            size = data[position]
            position += 1
            if size < 24:
                raise _refused(data, start, where)
        elif size > 24:
            # Two length bytes say 256 or more, or are not the shortest.
            raise LimitError(f"a text key above {_TEXT_KEY_SIZE} bytes", where=f"{where}, byte {start}")
        end = position + size
        if end > len(data):
            raise IndexError
        try:
            return data[position:end].decode(), end
        except UnicodeDecodeError as error:
            raise _fault("a text key that is not UTF-8", position + error.start, where) from None
    if major < 2:
        argument, position = _read_argument(data, start, where)
        key = -1 - argument if major else argument
        if key == 59:
            raise _fault("key 59 is forbidden: readers confuse it with simple value 59", start, where)
        return key, position
    if data[start : start + 2] == _REDACTED_KEY:
        return REDACTED, start + 2
    raise _fault("a map key that is neither an integer, nor text, nor simple value 59", start, where)


def _refused(data: bytes, start: int, where: str) -> FormatError:
    """Say why the item that begins at `start` is outside the profile."""
    first = data[start]
    information = first & 0x1F
    if first in _REFUSED_HEADS:
        what = _REFUSED_HEADS[first]
    elif information == 31:
        what = "an item of indefinite length"
    elif information > 27:
        what = f"first byte {first:#04x} is not CBOR"
    elif first >> 5 == 7:
        what = "a simple value outside the profile"
    elif first >> 5 == 6:
        what = "a tag other than 18 in its shortest form"
    else:
        what = "a length or number that is not in its shortest form"
    return _fault(what, start, where)


def _out_of_order(twice: bool, start: int, where: str) -> FormatError:
    return _fault("a map key that stands twice" if twice else "map keys out of order", start, where)


def _head(major: int, argument: int) -> bytes:
    """Write a first byte with its argument in the fewest bytes."""
    initial = major << 5
    if argument < 24:
        return bytes((initial | argument,))
    if argument < 0x100:
        return bytes((initial | 24, argument))
    if argument < 0x10000:
        return bytes((initial | 25,)) + argument.to_bytes(2, "big")
    if argument < 0x100000000:
        return bytes((initial | 26,)) + argument.to_bytes(4, "big")
    if argument < 0x10000000000000000:
        return bytes((initial | 27,)) + argument.to_bytes(8, "big")
    raise FormatError("an integer beyond 64 bits", where="CBOR")


# The heads that most items have, ready made.
_INTEGERS: Final = {number: _head(0, number) if number >= 0 else _head(1, -1 - number) for number in range(-256, 256)}
_BYTES_HEADS: Final = tuple(_head(2, size) for size in range(256))
_TEXT_HEADS: Final = tuple(_head(3, size) for size in range(256))
_ARRAY_HEADS: Final = tuple(_head(4, size) for size in range(24))
_MAP_HEADS: Final = tuple(_head(5, size) for size in range(24))
_second = itemgetter(1)


def bytes_head(size: int) -> bytes:
    """What stands before the `size` bytes of a byte string."""
    if size < 0x100:
        return _BYTES_HEADS[size]
    return b"\x59" + size.to_bytes(2, "big") if size < 0x10000 else _head(2, size)


def encode(value: Encodable) -> bytes:
    """Write `value` in its one encoding; maps are ordered here, whatever their order in memory.

    Raises:
        LimitError: the value nests deeper than `LIMITS.cbor_depth`, or an array or map has more than
            `LIMITS.cbor_items` elements.
        FormatError: the value, or a part of it, is outside the profile.
    """
    parts: list[bytes] = []
    try:
        _write(value, parts.append, LIMITS.cbor_depth)
    except UnicodeEncodeError as error:
        raise FormatError("text with a lone surrogate", where=f"CBOR, character {error.start} of the text") from None
    return b"".join(parts)


def _write(value: Any, put: Callable[[bytes], None], levels: int) -> None:
    """Put the encoding of `value` piece by piece; `levels` is how many containers may still open."""
    kind = type(value)
    if kind is str:
        raw = value.encode()
        size = len(raw)
        put(_TEXT_HEADS[size] if size < 256 else _head(3, size))
        put(raw)
    elif kind is int:
        put(_INTEGERS[value] if -256 <= value < 256 else _integer(value))
    elif kind is bytes:
        put(bytes_head(len(value)))
        put(value)
    elif kind is dict:
        size = len(value)
        _check_room(size, levels)
        put(_MAP_HEADS[size] if size < 24 else _head(5, size))
        for key, encoded in _key_order(*value) if size < 24 else _ordered(value):
            put(encoded)
            element = value[key]
            if type(element) is str:  # most of what a licence says; the call would take as long as the rest
                raw = element.encode()
                put(_TEXT_HEADS[len(raw)] if len(raw) < 256 else _head(3, len(raw)))
                put(raw)
            else:
                _write(element, put, levels - 1)
    elif kind is list or kind is tuple:
        size = len(value)
        _check_room(size, levels)
        put(_ARRAY_HEADS[size] if size < 24 else _head(4, size))
        for element in value:
            _write(element, put, levels - 1)
    elif kind is bool:
        put(b"\xf5" if value else b"\xf4")
    elif kind is Tagged:
        if type(value.value) is not list or len(value.value) != 4:
            raise FormatError("tag 18 around something else than an array of four", where="CBOR")
        put(b"\xd2")
        _check_room(1, levels)
        _write(value.value, put, levels - 1)
    else:
        _write(_plain(value), put, levels)


def _ordered(keys: Iterable[object]) -> tuple[tuple[Any, bytes], ...]:
    """Keys with their encodings, in the order of these."""
    return tuple(sorted(((key, _key(key)) for key in keys), key=_second))


# The maps of one kind have the same few keys. Typed: True and 1 are one key to a dictionary, and only 1 is one here.
@lru_cache(maxsize=256, typed=True)
def _key_order(*keys: object) -> tuple[tuple[Any, bytes], ...]:
    return _ordered(keys)


def _integer(value: int) -> bytes:
    return _head(0, value) if value >= 0 else _head(1, -1 - value)


def _plain(value: object) -> Encodable:
    """Reduce enumeration members and mappings to the built-in type that they stand for."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return cast("Encodable", dict(value))
    raise FormatError(f"a value of type {type(value).__name__} is not in the profile", where="CBOR")


def _key(key: object) -> bytes:
    """Write a map key."""
    kind = type(key)
    if kind is int or (isinstance(key, int) and kind is not bool):
        number = int(cast("int", key))
        if number == 59:
            raise FormatError("key 59 is forbidden: readers confuse it with simple value 59", where="CBOR")
        return _INTEGERS[number] if -256 <= number < 256 else _integer(number)
    if isinstance(key, str):
        raw = key.encode()
        if len(raw) > _TEXT_KEY_SIZE:
            raise FormatError(f"a text key above {_TEXT_KEY_SIZE} bytes", where="CBOR")
        return _TEXT_HEADS[len(raw)] + raw
    if key is REDACTED:
        return _REDACTED_KEY
    raise FormatError(f"a map key of type {kind.__name__} is not in the profile", where="CBOR")


def _check_room(count: int, levels: int) -> None:
    if levels == 0:
        raise LimitError(f"nested deeper than {LIMITS.cbor_depth}", where="CBOR")
    if count > LIMITS.cbor_items:
        raise LimitError(f"{count} elements, above {LIMITS.cbor_items}", where="CBOR")


_FREQUENT_LABELS: Final = (65533, 65534, 65535, -65537, -65538, -65539, "status_list", "idx", "uri", "bits", "lst")
_FREQUENT_KEYS: Final[dict[bytes, Key]] = {_key(key): key for key in (*_FREQUENT_LABELS, REDACTED)}
"""Longer keys that `decode` knows at sight, by their encodings; it reads any other in the same way, only slower."""
_KEY_SIZES: Final = bytes({0x19: 3, 0x1A: 5, 0x3A: 5, 0xF8: 2}.get(byte, byte % 0x20 + 1) for byte in range(256))
"""Bytes of a frequent key, by its first byte; any number for other first bytes."""
