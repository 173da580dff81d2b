"""A credential: one signed instance of a licence version.

Specifications: RFC 8392 (CWT) for the bearer kind, draft-ietf-spice-sd-cwt-09 for the holder-bound kind, narrowed by
`specs/credential.md`.

    18([protected, unprotected, claims, signature])     a COSE_Sign1, at most 8 KiB

    protected    {1: alg, 4: kid (8 bytes), 16: typ}    typ 293 holder-bound, 61 bearer
    unprotected  {? 17: [+ disclosure], ? -65538: landmark proof, ? -65539: tlog-proof (bytes)}
    claims       see `chopmark.claims`

Each unprotected member is absent rather than empty. What stands in neither list is not refused but named in
`Credential.unknown`, and no verdict over it is VALID. The digest, which the log holds, is the SHA-256 of the
Sig_structure: it does not change with what is disclosed, with the proofs, or with the bytes of the signature.

    d2 84 50 a3 01 32 04 48 fed99b108019aa6a 10 18 3d a1 3a 00010001 85 00 … 59 0160 a8 01 78 18 434e2d47442f… 5840 …
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Literal

from chopmark import cbor, cose, qr_text
from chopmark.cbor import REDACTED, Key, Value
from chopmark.claims import (
    FIELDS,
    SUB,
    Claims,
    Kind,
    ReadClaims,
    StatusReference,
    Usage,
    read_claims,
    read_licence_number,
    write_claims,
)
from chopmark.cose import Sign1
from chopmark.disclosure import SALT_SIZE, Disclosure
from chopmark.errors import FormatError, LimitError, UnsupportedError
from chopmark.identifiers import region_of
from chopmark.keys import Algorithm, PublicKey, Signer
from chopmark.landmark import LandmarkProof
from chopmark.limits import LIMITS

__all__ = [
    "Claims",
    "Credential",
    "Disclosable",
    "Disclosure",
    "Kind",
    "StatusReference",
    "UnsignedCredential",
    "Usage",
    "draft_credential",
    "issue_credential",
]

Disclosable = int | Literal["sub"]
"""What can be redacted: a field, by its id, or the licence number."""

_KINDS: Final[Mapping[int, Kind]] = {kind.value: kind for kind in Kind}
_PROTECTED: Final = frozenset({cose.ALG, cose.KID, cose.TYP})
_UNPROTECTED: Final = frozenset({cose.SD_CLAIMS, cose.LANDMARK_PROOF, cose.TLOG_PROOF})
_KID_SIZE: Final = 8
_HEADERS_AND_PATH: Final = 512
"""Bytes kept free at issuing for headers, signature and a landmark path of ten hashes."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as read: well formed; its signature, disclosures and proofs not yet checked.

    `redacted_fields` and `redacted_claims` are the digests under simple(59); `unknown` names header labels, claims
    and words that this reader does not know; `digest` is the SHA-256 of the Sig_structure (32 bytes).
    """

    kind: Kind
    claims: Claims
    sign1: Sign1
    digest: bytes
    disclosures: tuple[Disclosure, ...] = ()
    redacted_fields: frozenset[bytes] = frozenset()
    redacted_claims: frozenset[bytes] = frozenset()
    landmark_proof: LandmarkProof | None = None
    tlog_proof: bytes | None = None
    unknown: tuple[str, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Credential:
        """Read a credential.

        Raises:
            FormatError: not a credential of the profile; `LimitError` above a bound.
            UnsupportedError: another `typ` or algorithm than this reader knows.
        """
        return cls.from_sign1(Sign1.parse(data, max_size=LIMITS.credential_size, where="credential"))

    @classmethod
    def from_sign1(cls, sign1: Sign1) -> Credential:
        """Read a credential from its COSE_Sign1.

        Raises:
            FormatError: as `parse`.
        """
        protected = sign1.protected_map
        typ = protected.get(cose.TYP)
        # only integers and text can be looked up, and True is no 1 here: no kind has the number 0 or 1
        kind = _KINDS.get(typ) if isinstance(typ, int) else None
        if kind is None:
            raise UnsupportedError(
                f"{cose.type_named(typ)}, neither 293 (holder-bound) nor 61 (bearer)",
                where="credential, typ (16)",
            )
        kid = protected.get(cose.KID)
        if type(kid) is not bytes or len(kid) != _KID_SIZE:
            raise FormatError(f"the key id is not {_KID_SIZE} bytes", where="credential, kid (4)")
        read = read_claims(cbor.decode(sign1.payload, max_size=LIMITS.credential_size, where="claims"), kind)
        return _assemble(kind, sign1, read)

    def encode(self) -> bytes:
        """The credential as CBOR."""
        return self.sign1.encode()

    def text(self) -> str:
        """The text of its QR code, `EL1:…`; there is room for a landmark proof, and none for a tlog-proof."""
        return qr_text.encode(self.encode())

    @property
    def kid(self) -> bytes:
        """The id of the key that the header names, 8 bytes."""
        kid = self.sign1.protected_map[cose.KID]
        assert isinstance(kid, bytes)  # noqa: S101 - from_sign1 checked it
        return kid

    @property
    def region(self) -> str:
        """The region of the issuer."""
        return region_of(self.claims.issuer)

    def verify_signature(self, public_key: PublicKey) -> None:
        """Check the issuer's signature.

        Raises:
            SignatureError: it is not this key's, or the header names another algorithm than the key's own.
        """
        self.sign1.verify(public_key)

    def disclosed_fields(self) -> dict[int, Value]:
        """The fields in clear and those disclosed, by field id.

        Raises:
            FormatError: a disclosure was not signed, repeats a field, or stands twice (check 5).
        """
        return self.disclosed()[1]

    def disclosed_licence_number(self) -> str | None:
        """The licence number in clear or disclosed, else None.

        Raises:
            FormatError: as `disclosed_fields`.
        """
        return self.disclosed()[0]

    def disclosed(self) -> tuple[str | None, dict[int, Value]]:
        """The licence number and the fields, in clear or disclosed, in one pass.

        Raises:
            FormatError: as `disclosed_fields`.
        """
        number = self.claims.licence_number
        fields = dict(self.claims.fields)
        seen: set[bytes] = set()
        for position, disclosure in enumerate(self.disclosures, 1):
            where = f"disclosure {position}"
            digest = disclosure.digest()
            if digest in seen:
                raise FormatError("the disclosure stands twice", where=where)
            seen.add(digest)
            if digest in self.redacted_fields:
                if disclosure.key in fields:
                    raise FormatError(f"field {disclosure.key} stands twice", where=where)
                fields[disclosure.key] = disclosure.value
            elif digest in self.redacted_claims:
                if disclosure.key != SUB:
                    raise FormatError(f"claim {disclosure.key} may not be redacted", where=where)
                number = read_licence_number(disclosure.value, where=where)
            else:
                raise FormatError("the issuer signed no digest of this disclosure", where=where)
        return number, fields

    def disclosing(self, keys: Iterable[Disclosable]) -> Credential:
        """The same credential with only these disclosures: field ids, and `"sub"` for the licence number.

        What stands in clear anyway may be named too.

        Raises:
            FormatError: the credential has no such disclosure.
        """
        wanted = set(keys)
        chosen: dict[Disclosable, Disclosure] = {}
        for disclosure in self.disclosures:
            name: Disclosable = "sub" if disclosure.digest() in self.redacted_claims else disclosure.key
            if name in wanted:
                chosen[name] = disclosure
        missing = wanted - chosen.keys() - self.claims.fields.keys()
        if self.claims.licence_number is not None:
            missing.discard("sub")
        if missing:
            raise FormatError(
                f"there is nothing to disclose for {', '.join(sorted(map(str, missing)))}",
                where="credential",
                remedy="Use the credential as the issuer sent it, with all its disclosures.",
            )
        kept = tuple(chosen.values())
        contents: list[Value] = [disclosure.encode() for disclosure in kept]
        return replace(self, sign1=self._with_header(cose.SD_CLAIMS, contents), disclosures=kept)

    def with_landmark_proof(self, proof: LandmarkProof) -> Credential:
        """The same credential with this landmark proof."""
        return replace(self, sign1=self._with_header(cose.LANDMARK_PROOF, proof.value()), landmark_proof=proof)

    def with_tlog_proof(self, proof: bytes) -> Credential:
        """The same credential with this C2SP tlog-proof.

        Raises:
            FormatError: there is nothing in it.
        """
        if not proof:
            raise FormatError("an empty tlog-proof", where="credential, tlog-proof (-65539)")
        return replace(self, sign1=self._with_header(cose.TLOG_PROOF, proof), tlog_proof=proof)

    def without_proofs(self) -> Credential:
        """The same credential without landmark proof and tlog-proof."""
        unprotected = dict(self.sign1.unprotected)
        unprotected.pop(cose.LANDMARK_PROOF, None)
        unprotected.pop(cose.TLOG_PROOF, None)
        return replace(self, sign1=replace(self.sign1, unprotected=unprotected), landmark_proof=None, tlog_proof=None)

    def _with_header(self, label: int, value: Value) -> Sign1:
        unprotected = dict(self.sign1.unprotected)
        if value:
            unprotected[label] = value
        else:
            unprotected.pop(label, None)
        return replace(self.sign1, unprotected=unprotected)


@dataclass(frozen=True, slots=True)
class UnsignedCredential:
    """A credential that lacks nothing but its issuer's signature, which whoever holds the key makes over `to_sign`.

    `to_sign` is the Sig_structure; the `digest` is that of the signed credential already.
    """

    kind: Kind
    algorithm: Algorithm
    to_sign: bytes
    digest: bytes
    disclosures: tuple[Disclosure, ...]
    _read: ReadClaims = field(repr=False)
    _protected: bytes = field(repr=False)
    _payload: bytes = field(repr=False)
    _unprotected: Mapping[Key, Value] = field(repr=False)

    def signed(self, signature: bytes) -> Credential:
        """The credential with this signature, which is not verified here.

        Raises:
            FormatError: it has not the size of a signature of that algorithm.
        """
        if len(signature) != self.algorithm.signature_size:
            raise FormatError(
                f"{len(signature)} bytes are no {self.algorithm.text} signature", where="credential, signature"
            )
        sign1 = cose.signed(self._protected, self._payload, signature, unprotected=self._unprotected)
        read = self._read
        return Credential(
            self.kind, read.claims, sign1, self.digest, self.disclosures, read.redacted_fields, read.redacted_claims
        )


def issue_credential(
    signer: Signer,
    claims: Claims,
    *,
    selective: Collection[int] = (),
    hide_licence_number: bool = False,
    random: Callable[[int], bytes] = os.urandom,
) -> Credential:
    """Sign a credential: holder-bound if `claims` name a holder key, else bearer.

    Args:
        signer: the issuer's credential key.
        claims: what is said, fields that may be hidden included. A bearer credential without a `credential_id`
            gets a random one.
        selective: ids of the fields that the holder may hide.
        hide_licence_number: whether the holder may hide the licence number.
        random: gives so many random bytes.

    Returns:
        The credential with every disclosure; it carries no proof yet.

    Raises:
        FormatError: the claims are not of the profile, or a bearer credential would hide something; `LimitError`
            where they are too large.
    """
    draft = draft_credential(
        signer.public_key, claims, selective=selective, hide_licence_number=hide_licence_number, random=random
    )
    return draft.signed(signer.sign(draft.to_sign))


def draft_credential(
    public_key: PublicKey,
    claims: Claims,
    *,
    selective: Collection[int] = (),
    hide_licence_number: bool = False,
    random: Callable[[int], bytes] = os.urandom,
) -> UnsignedCredential:
    """Make a credential up to its signature, where the private key is elsewhere; see `issue_credential`.

    Raises:
        FormatError: as `issue_credential`.
    """
    kind = Kind.BEARER if claims.holder_key is None else Kind.HOLDER_BOUND
    if kind is Kind.BEARER and claims.credential_id is None:
        claims = replace(claims, credential_id=random(16))
    payload = write_claims(claims)
    disclosures: list[Disclosure] = []
    if hide_licence_number:
        number = Disclosure(random(SALT_SIZE), read_licence_number(payload.pop(SUB, None), where="sub"), SUB)
        payload[REDACTED] = [number.digest()]
        disclosures.append(number)
    if selective:
        absent = set(selective) - claims.fields.keys()
        if absent:
            raise FormatError(f"no field {', '.join(map(str, sorted(absent)))} to make selective", where="fields")
        hidden = [Disclosure(random(SALT_SIZE), claims.fields[key], key) for key in sorted(set(selective))]
        shown: dict[Key, Value] = {key: value for key, value in claims.fields.items() if key not in selective}
        # sorted, so that the place of a digest does not tell which field it hides
        digests: list[Value] = [*sorted(disclosure.digest() for disclosure in hidden)]
        shown[REDACTED] = digests
        payload[FIELDS] = shown
        disclosures += hidden
    read = read_claims(payload, kind)
    encoded = cbor.encode(payload)
    contents: list[Value] = [disclosure.encode() for disclosure in disclosures]
    size = len(encoded) + (len(cbor.encode(contents)) if contents else 0)
    if size > LIMITS.credential_size - _HEADERS_AND_PATH:
        raise LimitError(f"{size} bytes of claims and disclosures, too many for a credential", where="claims")
    protected = _protected_header(public_key.algorithm, public_key.kid, kind)
    to_sign = cose.sig_structure(protected, encoded)
    return UnsignedCredential(
        kind,
        public_key.algorithm,
        to_sign,
        hashlib.sha256(to_sign).digest(),
        tuple(disclosures),
        read,
        protected,
        encoded,
        {cose.SD_CLAIMS: contents} if contents else {},
    )


@lru_cache(maxsize=1024)
def _protected_header(algorithm: Algorithm, kid: bytes, kind: Kind) -> bytes:
    return cbor.encode({cose.ALG: int(algorithm), cose.KID: kid, cose.TYP: kind.value})


def _assemble(kind: Kind, sign1: Sign1, read: ReadClaims) -> Credential:
    """Read the headers, and put them and the claims together."""
    unknown = read.unknown
    protected, unprotected = sign1.protected_map, sign1.unprotected
    if len(protected) != len(_PROTECTED):
        unknown += tuple(f"protected header {str(label)[:40]}" for label in protected if label not in _PROTECTED)
    disclosures: tuple[Disclosure, ...] = ()
    landmark_proof: LandmarkProof | None = None
    tlog_proof: bytes | None = None
    if unprotected:
        if cose.SD_CLAIMS in unprotected:
            if kind is Kind.BEARER:
                raise FormatError("a bearer credential has nothing to disclose", where="credential, disclosures (17)")
            disclosures = _disclosures(unprotected[cose.SD_CLAIMS])
        if cose.LANDMARK_PROOF in unprotected:
            landmark_proof = LandmarkProof.from_value(unprotected[cose.LANDMARK_PROOF])
        if cose.TLOG_PROOF in unprotected:
            proof = unprotected[cose.TLOG_PROOF]
            if type(proof) is not bytes or not proof:
                raise FormatError("the tlog-proof is not a byte string", where="credential, tlog-proof (-65539)")
            tlog_proof = proof
        if not unprotected.keys() <= _UNPROTECTED:
            unknown += tuple(
                f"unprotected header {str(label)[:40]}" for label in unprotected if label not in _UNPROTECTED
            )
    return Credential(
        kind,
        read.claims,
        sign1,
        sign1.digest(),
        disclosures,
        read.redacted_fields,
        read.redacted_claims,
        landmark_proof,
        tlog_proof,
        unknown,
    )


def _disclosures(value: Value) -> tuple[Disclosure, ...]:
    where = "credential, disclosures (17)"
    if type(value) is not list or not value:
        raise FormatError("not an array with at least one disclosure", where=where)
    disclosures = []
    for content in value:
        if type(content) is not bytes:
            raise FormatError("a disclosure is not a byte string", where=where)
        disclosures.append(Disclosure.parse(content))
    return tuple(disclosures)
