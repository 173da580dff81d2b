"""What a caller names as INPUT: the text of a code, a file of one, a picture of one, or `-` for standard input."""

from __future__ import annotations

import codecs
import sys
from dataclasses import dataclass
from pathlib import Path

from chopmark.cli.plain_text import plain
from chopmark.errors import FormatError, LimitError, StorageError
from chopmark.qr_image import IMAGE_MAX_BYTES, distinct_codes, is_code, is_image, read_qr_texts


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to look at.

    `name` is how the caller named it, fit to be printed. `text` is a code (`EL1:…`, `EC1:…`), or whatever the QR of
    a picture says, else None. `data` are the bytes of the file, empty where the code itself was given.
    """

    name: str
    text: str | None
    data: bytes


def read_input(argument: str) -> Input:
    """Read one INPUT argument.

    Raises:
        StorageError: no such file, or it cannot be read.
        FormatError: an empty file, or a picture without a QR code or with several of ours; `LimitError` above 32 MB.
    """
    # Trimming is safe: base45 never ends in the space that its alphabet has.
    code = argument.strip()
    if is_code(code):
        return Input(shortened(code, 24), code, b"")
    if argument == "-":
        return _from_bytes("standard input", sys.stdin.buffer.read(IMAGE_MAX_BYTES + 1))
    name = shortened(argument, 200)
    try:
        with Path(argument).open("rb") as file:
            data = file.read(IMAGE_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = error.strerror if isinstance(error, OSError) else "no file has such a name"
        raise StorageError(
            f"cannot be read: {reason}",
            where=name,
            remedy="Give the text of a code (EL1:…), a file that holds one, or a PNG or JPEG picture of one",
        ) from error
    return _from_bytes(name, data)


def shortened(text: str, length: int) -> str:
    """The text fit to be printed, its end left out where it is longer than `length` characters."""
    return plain(text if len(text) <= length else text[: length - 1] + "…")


def decoded_text(data: bytes) -> str | None:
    """The bytes as text, without the byte order mark that editors put before it; None where they are none."""
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _from_bytes(name: str, data: bytes) -> Input:
    if len(data) > IMAGE_MAX_BYTES:
        raise LimitError(f"above the limit of {IMAGE_MAX_BYTES} bytes", where=name)
    if not data:
        raise FormatError("empty", where=name)
    if is_image(data):
        texts = read_qr_texts(data, where=name)
        codes = distinct_codes(texts)
        if len(codes) > 1:
            raise FormatError(
                f"{len(codes)} licence codes in one picture", where=name, remedy="Take a picture of the one you mean"
            )
        return Input(name, codes[0] if codes else texts[0].strip(), data)
    text = decoded_text(data)
    code = text.strip() if text is not None else ""
    return Input(name, code if is_code(code) else None, data)
