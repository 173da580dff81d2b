"""Status lists: the state of up to 2^20 credentials in two bits each.

Specification: draft-ietf-oauth-status-list-21, CBOR and CWT forms; the profile is `specs/status-list.md`.

    status list   map {"bits": 1 | 2 | 4 | 8, "lst": zlib of the entries, the first in the lowest bits of byte 0}
    token         COSE_Sign1, protected {1: alg, 4: kid, 16: "application/statuslist+cwt"}, no unprotected header,
                  payload {2: uri, 4: expires, 6: issued at, 65533: status list, 65534: ttl}; times in POSIX seconds,
                  ttl in seconds; bits is 2: 0 valid, 1 invalid, 2 suspended, 3 superseded

Sample, twelve entries of two bits, bytes c944f9: `a2 64 62697473 02 63 6c7374 4b 78da3be9f2130003df0207`. In the
draft's samples `bits` stands before `lst`, which is not the bytewise order of keys: `encode_cbor` writes the draft's
spelling and `decode_cbor` reads both, while a token is of the CBOR profile throughout. A list is inflated once, as it
is read, and never beyond `LIMITS.status_list_bits`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from chopmark import cbor
from chopmark.cbor import Key, Value
from chopmark.cose import ALG, KID, TYP, Sign1, sign1, type_named
from chopmark.errors import FormatError, LimitError, SignatureError, UnsupportedError
from chopmark.identifiers import HTTPS_URI
from chopmark.inflate import inflate
from chopmark.keys import PublicKey, Signer
from chopmark.limits import LIMITS

MEDIA_TYPE: Final = "application/statuslist+cwt"
"""The `typ` of a token."""
PROFILE_BITS: Final = 2
_SUBJECT, _EXPIRES, _ISSUED_AT, _STATUS_LIST, _TTL = 2, 4, 6, 65533, 65534
_DRAFT_START: Final = b"\xa2\x64bits"
_LATEST_TIME: Final = 253_402_300_799
"""The end of the year 9999, the last that an RFC 3339 time can name."""


class StatusValue(IntEnum):
    """What two bits say of a credential."""

    VALID = 0
    INVALID = 1
    SUSPENDED = 2
    SUPERSEDED = 3


@dataclass(frozen=True, slots=True)
class StatusList:
    """Entries of `bits` bits each, packed into `data` from the lowest bit of each byte up.

    Raises:
        FormatError: `bits` is none of 1, 2, 4 and 8; `LimitError` for more than the bound of entries.
    """

    bits: int
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        if len(self.data) * 8 > LIMITS.status_list_bits:
            raise LimitError(f"{len(self.data)} bytes of status, above the limit of {LIMITS.status_list_bits // 8}")

    @classmethod
    def empty(cls, size: int, *, bits: int = PROFILE_BITS) -> StatusList:
        """A list of `size` entries of value 0, filled up to a whole byte."""
        _check_bits(bits)
        if not 0 <= size * bits <= LIMITS.status_list_bits:
            raise LimitError(f"a list of {size} entries is not within the limit")
        return cls(bits, bytes((size * bits + 7) // 8))

    def __len__(self) -> int:
        """The number of entries."""
        return len(self.data) * 8 // self.bits

    def get(self, index: int) -> int:
        """The value of one entry.

        Raises:
            FormatError: there is no such entry.
        """
        position = index * self.bits
        if index < 0 or position >= len(self.data) * 8:
            raise FormatError(f"index {index} is not within a list of {len(self)}", where="status list")
        return self.data[position >> 3] >> (position & 7) & ((1 << self.bits) - 1)

    def with_statuses(self, statuses: Mapping[int, int]) -> StatusList:
        """The same list with some entries replaced.

        Raises:
            FormatError: there is no such entry, or the value does not fit into `bits`.
        """
        data, mask = bytearray(self.data), (1 << self.bits) - 1
        for index, value in statuses.items():
            position = index * self.bits
            if index < 0 or position >= len(data) * 8:
                raise FormatError(f"index {index} is not within a list of {len(self)}", where="status list")
            if not 0 <= value <= mask:
                raise FormatError(f"the status {value} does not fit into {self.bits} bits", where="status list")
            shift = position & 7
            data[position >> 3] = data[position >> 3] & ~(mask << shift) | value << shift
        return StatusList(self.bits, bytes(data))

    def lst(self) -> bytes:
        """The entries compressed, as the member `lst` holds them."""
        return zlib.compress(self.data, 9)

    @classmethod
    def from_lst(cls, bits: int, lst: bytes, *, where: str = "status list") -> StatusList:
        """Inflate the member `lst`.

        Raises:
            FormatError: not one complete zlib stream; `LimitError` where it inflates beyond the bound.
        """
        _check_bits(bits, where)
        data = inflate(lst, limit=LIMITS.status_list_bits // 8, where=f"{where}, lst")
        return cls(bits, data)

    def encode_cbor(self) -> bytes:
        """The map with `bits` and `lst`, in the order of the draft."""
        return b"".join((_DRAFT_START, cbor.encode(self.bits), b"\x63lst", cbor.encode(self.lst())))

    @classmethod
    def decode_cbor(cls, data: bytes) -> StatusList:
        """Read what `encode_cbor` writes, or the same map with its keys in bytewise order.

        Raises:
            FormatError: not such a map, or trailing bytes.
            UnsupportedError: a member that this reader does not know.
        """
        if data.startswith(_DRAFT_START) and data[7:11] == b"\x63lst":
            # the two members as a map in bytewise order, so that one strict reader decides about both spellings
            data = b"\xa2" + data[7:] + _DRAFT_START[1:] + data[6:7]
        return cls.from_value(cbor.decode(data, max_size=LIMITS.status_token_size, where="status list"))

    @classmethod
    def from_value(cls, value: Value) -> StatusList:
        """Read the map from decoded CBOR; errors as `decode_cbor`."""
        if type(value) is not dict:
            raise FormatError("not a map", where="status list")
        if unknown := value.keys() - {"bits", "lst"}:
            raise UnsupportedError(f"the member {min(map(repr, unknown))} is not known here", where="status list")
        bits, lst = value.get("bits"), value.get("lst")
        if type(bits) is not int or type(lst) is not bytes:
            raise FormatError("bits is an integer and lst a byte string, and both are required", where="status list")
        return cls.from_lst(bits, lst)


@dataclass(frozen=True, slots=True)
class StatusListToken:
    """A signed status list as received: well formed and of the profile, its signature not yet verified.

    `uri` is the claim `sub`; `hash` is what the entry of kind 2 in the log holds.
    """

    uri: str
    issued_at: int
    expires: int
    ttl: int
    status_list: StatusList
    sign1: Sign1 = field(repr=False)
    kid: bytes
    data: bytes = field(repr=False)

    @classmethod
    def issue(
        cls, signer: Signer, *, uri: str, issued_at: int, expires: int, ttl: int, status_list: StatusList
    ) -> StatusListToken:
        """Sign a list.

        Raises:
            FormatError: it would be refused on reading.
        """
        payload: dict[Key, Value] = {
            _SUBJECT: uri,
            _ISSUED_AT: issued_at,
            _EXPIRES: expires,
            _TTL: ttl,
            _STATUS_LIST: {"bits": status_list.bits, "lst": status_list.lst()},
        }
        protected: dict[Key, Value] = {KID: signer.public_key.kid, TYP: MEDIA_TYPE}
        return cls.parse(sign1(signer, protected=protected, payload=cbor.encode(payload)).encode())

    @classmethod
    def parse(cls, data: bytes) -> StatusListToken:
        """Read a token.

        Raises:
            FormatError: not of the profile; `LimitError` above a bound, `UnsupportedError` for another type or claim.
        """
        where = "status list token"
        message = Sign1.parse(data, max_size=LIMITS.status_token_size, where=where)
        kid, kind = message.protected_map.get(KID), message.protected_map.get(TYP)
        if kind != MEDIA_TYPE:
            raise UnsupportedError(f"{type_named(kind)}, not {MEDIA_TYPE}", where=f"{where}, typ (16)")
        if type(kid) is not bytes or len(kid) != 8:
            raise FormatError("kid is not a byte string of 8", where=f"{where}, kid (4)")
        if message.protected_map.keys() != {ALG, KID, TYP} or message.unprotected:
            raise UnsupportedError("a header label is not known here", where=where)
        claims = cbor.decode(message.payload, max_size=LIMITS.status_token_size, where=f"{where}, payload")
        if type(claims) is not dict:
            raise FormatError("the payload is not a map", where=where)
        known = {_SUBJECT, _EXPIRES, _ISSUED_AT, _STATUS_LIST, _TTL}
        if missing := known - claims.keys():
            raise FormatError(f"the claim {min(missing)} is missing", where=where)
        if unknown := claims.keys() - known:
            raise UnsupportedError(f"the claim {min(map(repr, unknown))} is not known here", where=where)
        uri = claims[_SUBJECT]
        if type(uri) is not str or len(uri) > 2_000 or HTTPS_URI.fullmatch(uri) is None:
            raise FormatError("sub is not an https uri without port, query and fragment", where=f"{where}, sub (2)")
        issued_at, expires, ttl = (_seconds(claims[key], where, key) for key in (_ISSUED_AT, _EXPIRES, _TTL))
        if expires <= issued_at:
            raise FormatError("the list expires before it was issued", where=f"{where}, exp (4)")
        if not ttl:
            raise FormatError("a ttl is at least 1 second", where=f"{where}, ttl (65534)")
        status_list = StatusList.from_value(claims[_STATUS_LIST])
        if status_list.bits != PROFILE_BITS:
            raise UnsupportedError(f"{status_list.bits} bits where the profile has 2", where=f"{where}, bits")
        return cls(uri, issued_at, expires, ttl, status_list, message, kid, data)

    def encode(self) -> bytes:
        """The token as it was received."""
        return self.data

    @property
    def hash(self) -> bytes:
        """SHA-256 of the token."""
        return hashlib.sha256(self.data).digest()

    def verify(self, public_key: PublicKey) -> None:
        """Check the signature.

        Raises:
            SignatureError: the token names another key, or the signature does not verify.
        """
        if self.kid != public_key.kid:
            raise SignatureError(
                f"it names the key {self.kid.hex()}, not {public_key.kid.hex()}", where="status list token, kid (4)"
            )
        self.sign1.verify(public_key)


def _check_bits(bits: int, where: str = "status list") -> None:
    if bits not in (1, 2, 4, 8):
        raise FormatError(f"{bits} bits, where an entry has 1, 2, 4 or 8", where=f"{where}, bits")


def _seconds(value: Value, where: str, claim: int) -> int:
    if type(value) is not int or not 0 <= value <= _LATEST_TIME:
        raise FormatError("not a number of seconds before the year 10000", where=f"{where}, claim {claim}")
    return value
