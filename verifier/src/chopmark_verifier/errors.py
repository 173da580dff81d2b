"""Every error of the verifier's service, beside those of the SDK and of `chopmark_service.errors`.

ChopmarkError (of the SDK)
└── VerifierError
    ├── PictureError               nothing can be read from a picture
    │   ├── UnreadablePictureError     it is no PNG or JPEG, or damaged
    │   ├── NoCodeError                there is no QR code in it
    │   ├── SeveralCodesError          there are several licence codes in it
    │   └── ExhaustingPictureError     it took too much time or memory
    ├── NoTextError                the text of a code is empty, or blanks
    ├── NoDeskError                this service asks no challenges and files no records, or cannot now
    ├── SignInError                the passcode is wrong, or a form is of no session
    └── ClientListError            the list of clients is missing or broken: nobody is let in
"""

from __future__ import annotations

from chopmark.errors import ChopmarkError


class VerifierError(ChopmarkError):
    """The root of the errors of the verifier's service."""


class PictureError(VerifierError):
    """Nothing can be read from a picture."""


class UnreadablePictureError(PictureError):
    """It is no PNG or JPEG picture, or a damaged one."""


class NoCodeError(PictureError):
    """There is no QR code in the picture."""


class SeveralCodesError(PictureError):
    """There are several licence codes in the picture, and nobody can tell which is meant."""


class ExhaustingPictureError(PictureError):
    """Reading the picture took too much time or memory."""


class NoTextError(VerifierError):
    """There is no text of a code: a field was left empty, or holds blanks."""


class NoDeskError(VerifierError):
    """This service asks no challenges and files no records: it has no key, or the home region does not enrol it."""


class SignInError(VerifierError):
    """The passcode of the page is wrong, or a form is not of a session."""


class ClientListError(VerifierError):
    """The list of clients is missing or broken: nobody is let in."""
