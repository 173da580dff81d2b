"""What a caller names as INPUT: the text of a code, a file of one, a picture of one, or `-` for standard input."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from chopmark.cli.images import IMAGE_MAX_BYTES, is_image, read_qr_texts
from chopmark.errors import FormatError, LimitError, StorageError

_CODE = re.compile(r"E[LC][0-9]+:", re.ASCII)


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to look at: `name` as the caller gave it, and either `text` or `data`."""

    name: str
    text: str | None
    data: bytes


def read_input(argument: str) -> Input:
    """Read one INPUT argument.

    Raises:
        StorageError: no such file, or it cannot be read.
        FormatError: a picture without a QR code; `LimitError` above 32 MB.
    """
    if _CODE.match(argument):
        return Input(argument if len(argument) <= 24 else argument[:20] + "…", argument.strip(), b"")
    if argument == "-":
        return _from_bytes("standard input", sys.stdin.buffer.read(IMAGE_MAX_BYTES + 1))
    path = Path(argument)
    try:
        with path.open("rb") as file:
            data = file.read(IMAGE_MAX_BYTES + 1)
    except OSError as error:
        raise StorageError(
            f"cannot be read: {error.strerror}",
            where=argument if len(argument) < 200 else argument[:40] + "…",
            remedy="Give the text of a code (EL1:…), a file that holds one, or a PNG or JPEG picture of one",
        ) from error
    return _from_bytes(argument, data)


def _from_bytes(name: str, data: bytes) -> Input:
    if len(data) > IMAGE_MAX_BYTES:
        raise LimitError(f"above the limit of {IMAGE_MAX_BYTES} bytes", where=name)
    if not data:
        raise FormatError("empty", where=name)
    if is_image(data):
        texts = read_qr_texts(data, where=name)
        # A poster may carry other codes beside the licence's.
        return Input(name, next((text for text in texts if _CODE.match(text)), texts[0]), data)
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        return Input(name, None, data)
    return Input(name, text if _CODE.match(text) else None, data)
