"""A presentation: a key binding token, in which the holder's key signs a credential for this moment.

Specification: draft-ietf-spice-sd-cwt-09, "Key Binding Token" and "Verifier Validation", narrowed by
`specs/presentation.md`.

    protected    {1: alg, 13: credential with the chosen disclosures, 16: 294}             unprotected  {}
    3       aud: the inspector who asked, or `*` where nobody did
    6       iat: POSIX seconds
    39      cnonce: SHA-256 of the challenge (32 bytes); absent where aud is `*`, present else

No other header or claim. A token for `*` says that the holder consented at that moment, not that the holder stands
here. It is never dated before its credential. At most 12 KiB. `token_hash`, the SHA-256 of the Sig_structure, names
a token in replay caches: a second signature over the same token does not change it.

    {3: "CN-SH/11310000MB2F1234X7", 6: 1795339830, 39: h'9f86d081…'}
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chopmark import cbor, cose, qr_text
from chopmark.cbor import Key, Value
from chopmark.challenge import Challenge
from chopmark.claims import AUD, CNONCE, EARLIEST, IAT, LATEST, is_issuer
from chopmark.cose import Sign1
from chopmark.credential import Credential, Disclosable, Kind
from chopmark.errors import FormatError, KeyMaterialError, LimitError, UnsupportedError
from chopmark.keys import Signer
from chopmark.limits import LIMITS

TYP: Final = 294
ANYBODY: Final = "*"
"""The audience of a token that answers no challenge."""
_NONCE_SIZE: Final = 32
_PROTECTED: Final = frozenset({cose.ALG, cose.KCWT, cose.TYP})
_CLAIMS: Final = frozenset({AUD, IAT})
_CHALLENGED_CLAIMS: Final = frozenset({AUD, IAT, CNONCE})


@dataclass(frozen=True, slots=True)
class Presentation:
    """A presentation as read: well formed, neither its signature nor its credential's yet verified.

    `issued_at` is POSIX seconds by the holder's clock, `nonce` the SHA-256 of the challenge answered, `token_hash`
    the SHA-256 of the token's Sig_structure.
    """

    credential: Credential
    audience: str
    issued_at: int
    nonce: bytes | None
    sign1: Sign1
    token_hash: bytes

    @staticmethod
    def is_presentation(sign1: Sign1) -> bool:
        """Whether a message says that it is a key binding token."""
        return sign1.protected_map.get(cose.TYP) == TYP

    @classmethod
    def parse(cls, data: bytes) -> Presentation:
        """Read a presentation.

        Raises:
            FormatError: not a presentation of the profile; `LimitError` above a bound.
            UnsupportedError: another `typ` or algorithm than this reader knows.
        """
        return cls.from_sign1(Sign1.parse(data, max_size=LIMITS.presentation_size, where="presentation"))

    @classmethod
    def from_sign1(cls, sign1: Sign1) -> Presentation:
        """Read a presentation from its COSE_Sign1.

        Raises:
            FormatError: as `parse`.
        """
        protected = sign1.protected_map
        if not cls.is_presentation(sign1):
            raise UnsupportedError(f"the type is not {TYP}", where="presentation, typ (16)")
        if protected.keys() != _PROTECTED:
            raise FormatError("the protected header holds exactly alg, kcwt and typ", where="presentation")
        if sign1.unprotected:
            raise FormatError("the unprotected header is not empty", where="presentation")
        credential = Credential.from_sign1(
            Sign1.from_value(protected[cose.KCWT], where="presentation, credential in kcwt (13)")
        )
        if credential.kind is not Kind.HOLDER_BOUND:
            raise FormatError("a bearer credential has no holder to bind", where="presentation, kcwt (13)")
        claims = cbor.decode(sign1.payload, max_size=LIMITS.presentation_size, where="presentation claims")
        if type(claims) is not dict or claims.keys() not in (_CLAIMS, _CHALLENGED_CLAIMS):
            raise FormatError("not exactly the claims aud (3), iat (6) and at most cnonce (39)", where="presentation")
        audience, issued_at, nonce = claims[AUD], claims[IAT], claims.get(CNONCE)
        if type(audience) is not str or (audience != ANYBODY and not is_issuer(audience)):
            raise FormatError("neither * nor of the form CN-SH/11310000MB2F1234X7", where="presentation, aud (3)")
        if type(issued_at) is not int or not EARLIEST <= issued_at <= LATEST:
            raise FormatError("not a time in whole seconds", where="presentation, iat (6)")
        if nonce is not None and (type(nonce) is not bytes or len(nonce) != _NONCE_SIZE):
            raise FormatError(f"not {_NONCE_SIZE} bytes", where="presentation, cnonce (39)")
        if (audience == ANYBODY) is not (nonce is None):
            raise FormatError("a challenge has an inspector, and an inspector a challenge", where="presentation")
        # nbf is no later than the credential's iat, so this keeps both of the draft's lower bounds
        if issued_at < credential.claims.issued_at:
            raise FormatError("dated before its credential", where="presentation, iat (6)")
        return cls(credential, audience, issued_at, nonce, sign1, sign1.digest())

    def encode(self) -> bytes:
        """The presentation as CBOR."""
        return self.sign1.encode()

    def text(self) -> str:
        """The text of its QR code, `EL1:…`."""
        return qr_text.encode(self.encode())

    def verify_binding(self) -> None:
        """Check that the key in the credential signed this token.

        Raises:
            SignatureError: another key did, or the header names another algorithm than the key's own.
        """
        key = self.credential.claims.holder_key
        assert key is not None  # noqa: S101 - from_sign1 refused every kind but the holder-bound, which has one
        self.sign1.verify(key)

    def check_times(self) -> None:
        """Check that the token is dated within the validity of its credential.

        Reading has refused a token older than its credential. One made after the end is read, so that the answer
        can be "expired", and refused here.

        Raises:
            FormatError: it was made when the credential had expired.
        """
        expires = self.credential.claims.expires
        if expires is not None and self.issued_at >= expires:
            raise FormatError("made after its credential had expired", where="presentation, iat (6)")


def present(
    credential: Credential,
    holder_signer: Signer,
    *,
    at: int,
    challenge: Challenge | None = None,
    disclose: Iterable[Disclosable] = (),
) -> Presentation:
    """Show a credential for this moment.

    Args:
        credential: a holder-bound credential with its disclosures.
        holder_signer: the key that it names.
        at: POSIX seconds.
        challenge: what an inspector asked, verified and shown to the holder.
        disclose: ids of the fields to show, and `"sub"` for a hidden licence number.

    Raises:
        FormatError: nothing to disclose for a name, the credential is a bearer's, not yet or no longer valid, or
            the challenge asks for another licence type or has expired.
        KeyMaterialError: the credential names another key.
    """
    if holder_signer.public_key != credential.claims.holder_key:
        raise KeyMaterialError(
            "the credential names another holder key",
            where="presentation",
            remedy="Sign with the key that the credential was issued for.",
        )
    claims: dict[Key, Value] = {AUD: ANYBODY, IAT: at}
    if challenge is not None:
        if at >= challenge.expires:
            raise FormatError("the challenge has expired", where="challenge", remedy="Ask for a new one.")
        if challenge.licence_type != credential.claims.licence_type:
            raise FormatError(f"the challenge asks for {challenge.licence_type}", where="challenge")
        claims[AUD] = challenge.inspector
        claims[CNONCE] = challenge.digest
    token = cose.sign1(
        holder_signer,
        protected={cose.KCWT: credential.disclosing(disclose).sign1.value(), cose.TYP: TYP},
        payload=cbor.encode(claims),
    )
    presentation = Presentation.from_sign1(token)
    presentation.check_times()
    size = len(token.protected) + len(token.payload) + len(token.signature)
    if size > LIMITS.presentation_size - 16:
        raise LimitError(f"{size} bytes, too many for a presentation", where="presentation")
    return presentation
