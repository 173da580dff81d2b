"""A disclosure: the salted key and value of something redacted, as the holder may or may not show it.

Specification: draft-ietf-spice-sd-cwt, "Types of Redacted Claims"; of its three shapes only the one for map keys.

    bytes(CBOR of [salt: 16 bytes, value, key])        the key is a field id, or 2 for the licence number

Under simple(59) the issuer signs the SHA-256 of that byte string *with* its CBOR head (`58 1a 83 50 …`), as the
draft's CDDL (`bstr-encoded-salted`) and its signed examples have it.

    [h'bae611067bb823486797da1ebbb52f83', "示例", 4]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from chopmark import cbor
from chopmark.cbor import Value
from chopmark.claims import check_field_value
from chopmark.errors import FormatError
from chopmark.limits import LIMITS

SALT_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A redacted value with its key and salt (16 random bytes).

    Raises:
        FormatError: the salt is not 16 bytes, the key no integer, or the value partly redacted itself.
    """

    salt: bytes
    value: Value
    key: int
    _encoded: bytes | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.salt) is not bytes or len(self.salt) != SALT_SIZE:
            raise FormatError(f"the salt is not {SALT_SIZE} bytes", where="disclosure")
        if type(self.key) is not int or self.key == 59:
            raise FormatError("the key is not an integer, or is 59, which no field has", where="disclosure")
        check_field_value(self.value, where=f"disclosure of {self.key}")

    @classmethod
    def parse(cls, content: bytes) -> Disclosure:
        """Read the content of the byte string.

        Raises:
            FormatError: not `[salt, value, key]` in the CBOR profile.
        """
        entry = cbor.decode(content, max_size=LIMITS.credential_size, where="disclosure")
        if type(entry) is not list or len(entry) != 3:
            raise FormatError("not an array of salt, value and key", where="disclosure")
        salt, value, key = entry
        return cls(salt, value, key, content)  # type: ignore[arg-type] # __post_init__ refuses other types

    def encode(self) -> bytes:
        """The content of the byte string."""
        return self._encoded if self._encoded is not None else cbor.encode([self.salt, self.value, self.key])

    def digest(self) -> bytes:
        """The SHA-256 that stands for this disclosure in the signed claims."""
        return disclosure_digest(self.encode())


def disclosure_digest(content: bytes) -> bytes:
    """The SHA-256 over the byte string that holds `content`, its CBOR head included."""
    return hashlib.sha256(cbor.encode(content)).digest()
