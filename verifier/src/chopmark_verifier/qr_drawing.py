"""Drawing of a challenge as a QR code, for the holder's wallet to read from the inspector's screen.

All of its text is in the alphanumeric mode of ISO/IEC 18004, error correction L: a screen is flat and clean. The quiet
zone is the four modules that the standard asks for.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import qrcode  # type: ignore[import-untyped]  # it comes without types
from chopmark.errors import LimitError
from PIL import Image
from qrcode.constants import ERROR_CORRECT_L  # type: ignore[import-untyped]  # likewise
from qrcode.exceptions import DataOverflowError  # type: ignore[import-untyped]  # likewise
from qrcode.util import MODE_ALPHA_NUM, QRData  # type: ignore[import-untyped]  # likewise

_QUIET_ZONE: Final = 4
_MODULE: Final = 6
"""Pixels of one module of a PNG."""
_ALPHABET: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def qr_modules(text: str) -> Sequence[Sequence[bool]]:
    """The modules of a code, row by row, with its quiet zone; True is dark.

    Raises:
        LimitError: it is too long for a QR code, or has a character that the alphanumeric mode does not know.
    """
    if not set(text) <= _ALPHABET:
        raise LimitError("a character that the alphanumeric mode of QR codes does not have", where="QR code")
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_L, border=_QUIET_ZONE)
    try:
        code.add_data(QRData(text.encode("ascii"), mode=MODE_ALPHA_NUM), optimize=0)
        code.make(fit=True)
    except (DataOverflowError, ValueError) as error:
        raise LimitError(
            f"{len(text)} characters do not fit into a QR code", where="QR code", remedy="Ask for fewer fields"
        ) from error
    return [[bool(module) for module in row] for row in code.get_matrix()]


def svg(modules: Sequence[Sequence[bool]], title: str) -> str:
    """The code as an SVG picture of one path, each run of dark modules a rectangle; it carries no style of its own.

    Args:
        modules: as `qr_modules` answers them.
        title: read aloud in place of the picture; no text that needs escaping.
    """
    runs = []
    for y, row in enumerate(modules):
        x = 0
        while x < len(row):
            begin = x
            while x < len(row) and row[x]:
                x += 1
            if x > begin:
                runs.append(f"M{begin} {y}h{x - begin}v1h-{x - begin}z")
            x += 1
    side = len(modules)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" shape-rendering="crispEdges" role="img" '
        f'aria-label="{title}"><path fill="#fff" d="M0 0h{side}v{side}H0z"/>'
        f'<path fill="#000" d="{"".join(runs)}"/></svg>'
    )


def png(modules: Sequence[Sequence[bool]]) -> bytes:
    """The code as a PNG picture."""
    side = len(modules)
    picture = Image.new("1", (side, side), 1)
    picture.putdata([0 if dark else 1 for row in modules for dark in row])
    output = io.BytesIO()
    picture.resize((side * _MODULE, side * _MODULE), Image.Resampling.NEAREST).save(output, "PNG", optimize=True)
    return output.getvalue()
