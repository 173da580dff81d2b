"""Draw a code as a QR code. Needs the extra `chopmark[drawing]` (qrcode and Pillow).

The text (`EL1:…`, `EC1:…`) is all in the alphanumeric mode of ISO/IEC 18004, error correction L: a printed licence and
a screen are flat and clean, and a smaller code is read from further away. The quiet zone is the four modules that the
standard asks for.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from chopmark.errors import LimitError, MissingExtraError

QUIET_ZONE: Final = 4
_MODULE: Final = 6
"""Pixels of one module: a code of version 22 is 678 pixels wide, 40 mm at 430 dots an inch."""
_ALPHABET: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


@dataclass(frozen=True, slots=True)
class QrCode:
    """A QR code: what it says, its version (1 to 40, the larger the denser), and its modules.

    Args:
        text: that a reader reads.
        version: its size.
        modules: row by row with the quiet zone; True is dark.
    """

    text: str
    version: int
    modules: Sequence[Sequence[bool]]

    def png(self, *, module: int = _MODULE) -> bytes:
        """The code as a PNG picture, `module` pixels a module."""
        from PIL import Image  # noqa: PLC0415 - an extra: imported when used

        side = len(self.modules)
        picture = Image.new("1", (side, side), 1)
        picture.putdata([0 if dark else 1 for row in self.modules for dark in row])
        output = io.BytesIO()
        picture.resize((side * module, side * module), Image.Resampling.NEAREST).save(output, "PNG", optimize=True)
        return output.getvalue()

    def svg(self) -> str:
        """The code as an SVG picture, one unit a module: one path of the dark modules, on white, crisp at any size. It
        carries no style of its own, and is read aloud by the first letters of its text."""
        runs = []
        for y, row in enumerate(self.modules):
            x = 0
            for dark, alike in groupby(row):
                length = len(list(alike))
                if dark:
                    runs.append(f"M{x} {y}h{length}v1h-{length}z")
                x += length
        side = len(self.modules)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" shape-rendering="crispEdges" '
            f'role="img" aria-label="{self.text.partition(":")[0]}"><path fill="#fff" d="M0 0h{side}v{side}H0z"/>'
            f'<path fill="#000" d="{"".join(runs)}"/></svg>'
        )


def draw(text: str) -> QrCode:
    """Draw the text of a code.

    Raises:
        LimitError: it is too long for a QR code, or has a character that the alphanumeric mode does not know.
        MissingExtraError: qrcode or Pillow is not installed.
    """
    try:
        import qrcode  # type: ignore[import-untyped]  # noqa: PLC0415 - it comes without types; an extra, as above
        from qrcode.constants import ERROR_CORRECT_L  # type: ignore[import-untyped]  # noqa: PLC0415
        from qrcode.exceptions import DataOverflowError  # type: ignore[import-untyped]  # noqa: PLC0415
        from qrcode.util import MODE_ALPHA_NUM, QRData  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "drawing codes needs qrcode and Pillow", remedy="Install the extra: pip install 'chopmark[drawing]'"
        ) from error
    if not set(text) <= _ALPHABET:
        raise LimitError("a character that the alphanumeric mode of QR codes does not have", where="QR code")
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_L, border=QUIET_ZONE)
    try:
        code.add_data(QRData(text.encode("ascii"), mode=MODE_ALPHA_NUM), optimize=0)
        code.make(fit=True)
    except (DataOverflowError, ValueError) as error:
        raise LimitError(
            f"{len(text)} characters do not fit into a QR code",
            where="QR code",
            remedy="Let it hold fewer or shorter fields",
        ) from error
    return QrCode(text, code.version, [[bool(module) for module in row] for row in code.get_matrix()])
