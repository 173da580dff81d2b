"""The QR code of a licence for paper: its credential, with the proof that it was logged (`chopmark.qr_text`)."""

from __future__ import annotations

from chopmark import qr_text
from chopmark.credential import Credential
from chopmark.qr_drawing import QrCode, draw

from chopmark_issuer.errors import NotFoundError


def draw_credential(credential: Credential) -> QrCode:
    """Draw a credential for paper; it must carry its landmark proof, so that it verifies offline for ever.

    Raises:
        NotFoundError: it carries none.
        LimitError: it is too large for a QR code.
    """
    if credential.landmark_proof is None:
        raise NotFoundError("no landmark covers the licence yet", where="QR code", remedy="Publish, then draw it again")
    return draw(qr_text.encode(credential.encode()))
