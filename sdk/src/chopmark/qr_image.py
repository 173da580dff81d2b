"""Read QR codes from a picture file. Needs the extra `chopmark[images]` (Pillow and zxing-cpp).

The bounds here keep an honest program from filling its memory. A service that reads what strangers send does that in a
process of its own, with limits of the operating system around it.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable

from chopmark.errors import FormatError, LimitError, MissingExtraError

IMAGE_MAX_BYTES = 32 * 1024 * 1024
"""Bytes of a picture file: a phone's photograph has 3 to 12 MB."""
IMAGE_MAX_PIXELS = 64_000_000
"""Pixels of a picture, known from its header before anything is decoded."""

_CODE = re.compile(r"E[LC][0-9]+:", re.ASCII)
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def is_image(data: bytes) -> bool:
    """Whether the bytes begin like a PNG or JPEG file."""
    return data.startswith(_MAGIC)


def is_code(text: str) -> bool:
    """Whether a text begins like a code of ours: `EL1:…`, `EC1:…`, or a later version of them."""
    return _CODE.match(text) is not None


def distinct_codes(texts: Iterable[str]) -> list[str]:
    """The codes of ours among the texts of a picture, each once: a poster may carry others beside the licence's."""
    trimmed = (text.strip() for text in texts)  # base45 never ends in the space that its alphabet has
    return [text for text in dict.fromkeys(trimmed) if is_code(text)]


def read_qr_texts(data: bytes, *, where: str) -> list[str]:
    """The texts of all QR codes in a picture in which there is one.

    Raises:
        FormatError, MissingExtraError: as `find_qr_texts`, and where there is no code.
    """
    texts = find_qr_texts(data, where=where)
    if not texts:
        raise FormatError(
            "no QR code found in the picture", where=where, remedy="Take it again, sharper, closer and with more light"
        )
    return texts


def find_qr_texts(data: bytes, *, where: str, max_pixels: int = IMAGE_MAX_PIXELS) -> list[str]:
    """The texts of all QR codes in a PNG or JPEG picture, largest code first as the reader gives them.

    Args:
        data: the file.
        where: what an error calls it.
        max_pixels: a bound that may be lower than 64 megapixels.

    Raises:
        FormatError: not a picture; `LimitError` above 32 MB or `max_pixels`.
        MemoryError: the process may not take as much as the picture needs.
        MissingExtraError: Pillow or zxing-cpp is not installed.
    """
    try:
        import zxingcpp  # noqa: PLC0415 - an extra: imported when used
        from PIL import Image  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "reading pictures needs Pillow and zxing-cpp", remedy="Install the extra: pip install 'chopmark[images]'"
        ) from error
    if len(data) > IMAGE_MAX_BYTES:
        raise LimitError(f"{len(data)} bytes, above the limit of {IMAGE_MAX_BYTES} for a picture", where=where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is the stricter one
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
                if picture.width * picture.height > max_pixels:
                    raise LimitError(f"{picture.width} × {picture.height} pixels are too many", where=where)
                picture.draft("L", picture.size)  # a JPEG need not be decoded in colours, at four times the memory
                if picture.has_transparency_data:
                    # A code drawn on a transparent ground is black on black unless there is paper behind it.
                    ink = picture.convert("RGBA")
                    paper = Image.new("RGBA", picture.size, "white")
                    paper.alpha_composite(ink)
                    grey = paper.convert("L")
                else:
                    grey = picture.convert("L")
    except (LimitError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise LimitError("far too many pixels", where=where) from error
    except Exception as error:  # damaged pictures fail in the decoders by errors of any kind, AssertionError too
        raise FormatError(f"not a readable PNG or JPEG picture: {error}", where=where) from error
    codes = zxingcpp.read_barcodes(grey, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    return [code.text for code in codes]
