"""Read QR codes from a picture file. Needs the extra `chopmark[images]` (Pillow and zxing-cpp)."""

from __future__ import annotations

import io
import warnings

from chopmark.errors import FormatError, LimitError, MissingExtraError

IMAGE_MAX_BYTES = 32 * 1024 * 1024
"""Bytes of a picture file: a phone's photograph has 3 to 12 MB."""
IMAGE_MAX_PIXELS = 64_000_000
"""Pixels of a picture, known from its header before anything is decoded."""

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def is_image(data: bytes) -> bool:
    """Whether the bytes begin like a PNG or JPEG file."""
    return data.startswith(_MAGIC)


def read_qr_texts(data: bytes, *, where: str) -> list[str]:
    """The texts of all QR codes in a PNG or JPEG picture, largest code first as the reader gives them.

    Raises:
        FormatError: not a picture, or one without a QR code; `LimitError` above 32 MB or 64 megapixels.
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
                if picture.width * picture.height > IMAGE_MAX_PIXELS:
                    raise LimitError(f"{picture.width} × {picture.height} pixels are too many", where=where)
                if picture.has_transparency_data:
                    # A code drawn on a transparent ground is black on black unless there is paper behind it.
                    ink = picture.convert("RGBA")
                    paper = Image.new("RGBA", picture.size, "white")
                    paper.alpha_composite(ink)
                    grey = paper.convert("L")
                else:
                    grey = picture.convert("L")
    except LimitError:
        raise
    except Image.DecompressionBombError as error:
        raise LimitError("far too many pixels", where=where) from error
    except Exception as error:  # damaged pictures fail in the decoders by errors of any kind, AssertionError too
        raise FormatError(f"not a readable PNG or JPEG picture: {error}", where=where) from error
    codes = zxingcpp.read_barcodes(grey, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    if not codes:
        raise FormatError(
            "no QR code found in the picture", where=where, remedy="Take it again, sharper, closer and with more light"
        )
    return [code.text for code in codes]
