"""Drawing of QR codes: a credential, with the proof that it was logged, as a PNG picture or as SVG.

The text is `EL1:` and base45 (`chopmark.qr_text`), all of it in the alphanumeric mode of ISO/IEC 18004, error
correction L: a printed licence is flat and clean, and a smaller code is read from further away. The quiet zone is the
four modules that the standard asks for.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import qrcode  # type: ignore[import-untyped]  # it comes without types
from chopmark import qr_text
from chopmark.credential import Credential
from chopmark.errors import LimitError
from PIL import Image
from qrcode.constants import ERROR_CORRECT_L  # type: ignore[import-untyped]  # likewise
from qrcode.exceptions import DataOverflowError  # type: ignore[import-untyped]  # likewise
from qrcode.util import MODE_ALPHA_NUM, QRData  # type: ignore[import-untyped]  # likewise

from chopmark_issuer.errors import NotFoundError

_QUIET_ZONE: Final = 4
_MODULE: Final = 6
"""Pixels of one module: a code of version 22 is 678 pixels wide, 40 mm at 430 dots an inch."""

_ALPHABET: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


@dataclass(frozen=True, slots=True)
class QrPicture:
    """A QR code: what it says, its version (1 to 40, the larger the denser), and its picture as PNG."""

    text: str
    version: int
    png: bytes


def draw_credential(credential: Credential) -> QrPicture:
    """Draw a credential for paper; it must carry its landmark proof, so that it verifies offline for ever.

    Raises:
        NotFoundError: it carries none.
        LimitError: it is too large for a QR code.
    """
    return draw(credential_text(credential))


def credential_text(credential: Credential) -> str:
    """The text of the QR code of a credential for paper.

    Raises:
        NotFoundError: it carries no landmark proof.
    """
    if credential.landmark_proof is None:
        raise NotFoundError("no landmark covers the licence yet", where="QR code", remedy="Publish, then draw it again")
    return qr_text.encode(credential.encode())


def draw(text: str, *, module: int = _MODULE) -> QrPicture:
    """Draw the text of a code (`EL1:…` or `EC1:…`), `module` pixels a module.

    Raises:
        LimitError: it is too long for a QR code, or has a character that the alphanumeric mode does not know.
    """
    code = _code(text, module)
    picture = code.make_image().get_image()
    assert isinstance(picture, Image.Image)  # noqa: S101 - the default image factory draws with Pillow
    output = io.BytesIO()
    picture.save(output, format="PNG", optimize=True)
    return QrPicture(text, code.version, output.getvalue())


def draw_svg(text: str) -> bytes:
    """Draw the text of a code as SVG, one unit a module: one path of the dark modules, on white, crisp at any size.

    Raises:
        LimitError: as `draw`.
    """
    rows = _code(text, 1).get_matrix()
    runs = []
    for y, row in enumerate(rows):
        x = 0
        for dark, modules in groupby(row):
            length = len(list(modules))
            if dark:
                runs.append(f"M{x} {y}h{length}v1h-{length}z")
            x += length
    size = len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0 0h{size}v{size}H0z"/><path d="{"".join(runs)}"/></svg>\n'
    ).encode("ascii")


def _code(text: str, module: int) -> Any:
    if not set(text) <= _ALPHABET:
        raise LimitError("a character that the alphanumeric mode of QR codes does not have", where="QR code")
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_L, box_size=module, border=_QUIET_ZONE)
    try:
        code.add_data(QRData(text.encode("ascii"), mode=MODE_ALPHA_NUM), optimize=0)
        code.make(fit=True)
    except (DataOverflowError, ValueError) as error:
        raise LimitError(
            f"{len(text)} characters do not fit into a QR code", where="QR code", remedy="Shorten the licence's fields"
        ) from error
    return code
