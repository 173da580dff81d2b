"""The text of a QR code: `EL1:` and base45 of the zlib stream of a credential or presentation.

Specification: `specs/qr-text.md`; base45 is https://www.rfc-editor.org/rfc/rfc9285, zlib
https://www.rfc-editor.org/rfc/rfc1950.

    "EL1:" ‖ base45(zlib stream)

The stream has a preset dictionary (FDICT set, DICTID the Adler-32 of `DICTIONARY`), ends where the text ends and
inflates to at most `LIMITS.presentation_size` bytes. The dictionary is fixed for ever; another one is another number
after `EL`. All characters are of the QR code's alphanumeric mode:

    EL1:9DFH8N/2VXMBCMURRLTSBGC0NE06M4HUUGA6%P2P8LX0B699PHQ0R1G6…

What counts is the inflated bytes: several texts may inflate to the same, so a text is never an identity.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Final

from chopmark import base45
from chopmark.errors import FormatError, LimitError, StorageError, UnsupportedError
from chopmark.inflate import inflate
from chopmark.limits import LIMITS

PREFIX: Final = "EL1:"
"""What every text begins with; the number names the dictionary and the packing, and never changes its meaning."""

DICTIONARY_ID: Final = 0xB768F5BC
"""DICTID of `EL1:`, the Adler-32 of `DICTIONARY`."""

_ANY_VERSION: Final = re.compile(r"EL[0-9]{1,4}:", re.ASCII)
_HEADER_SIZE: Final = 6
"""CMF, FLG and the four bytes of DICTID."""
_FDICT: Final = 0x20


def _read_dictionary() -> bytes:
    """Read the dictionary that the package ships, and make sure that it is the one of `EL1:`."""
    path = Path(__file__).with_name("el1.dictionary")
    remedy = "Install the chopmark package again"
    try:
        dictionary = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path), remedy=remedy) from error
    if zlib.adler32(dictionary) != DICTIONARY_ID:
        raise StorageError("not the dictionary of EL1 texts", where=str(path), remedy=remedy)
    return dictionary


DICTIONARY: Final = _read_dictionary()
"""1,021 bytes that credentials have in common, the commonest last (`specs/vectors/make_dictionary.py` made them)."""


def encode(cbor: bytes) -> str:
    """Write the QR text of a credential or presentation.

    Raises:
        LimitError: `cbor` is above `LIMITS.presentation_size`, so that no reader would take the text.
    """
    if len(cbor) > LIMITS.presentation_size:
        raise LimitError(f"{len(cbor)} bytes, above the limit of {LIMITS.presentation_size}", where="QR text")
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return PREFIX + base45.encode(deflate.compress(cbor) + deflate.flush())


def decode(text: str) -> bytes:
    """Read the bytes of a credential or presentation from the text of a QR code.

    Raises:
        UnsupportedError: the text is of another version than `EL1:`.
        LimitError: the text, or what it inflates to, is above the bound.
        FormatError: the text is not base45 behind `EL1:`, or the stream is damaged, incomplete, has another
            dictionary or none, or bytes behind it.
    """
    if len(text) > LIMITS.qr_text_length:
        raise LimitError(f"{len(text)} characters, above the limit of {LIMITS.qr_text_length}", where="QR text")
    if not text.startswith(PREFIX):
        version = _ANY_VERSION.match(text)
        if version is not None:
            raise UnsupportedError(
                f"of version {version[0]} where {PREFIX} is known", where="QR text", remedy="Update this program"
            )
        raise FormatError(
            f"does not begin with {PREFIX}", where="QR text", remedy="Scan the code of an electronic licence"
        )
    packed = base45.decode(text[len(PREFIX) :], where="QR text after the prefix")
    if len(packed) < _HEADER_SIZE:
        raise FormatError("too short for a zlib stream with a dictionary", where="QR text")
    if not packed[1] & _FDICT or int.from_bytes(packed[2:_HEADER_SIZE], "big") != DICTIONARY_ID:
        raise FormatError("the zlib stream does not use the dictionary of EL1", where="QR text")
    return inflate(packed, limit=LIMITS.presentation_size, where="QR text", dictionary=DICTIONARY)
