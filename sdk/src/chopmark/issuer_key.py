"""A key of an issuer in a trust bundle, its window and its revocation (`specs/trust-bundle.md`).

`kid` is the first 8 bytes of the key's own RFC 9679 thumbprint. Of a revoked key, what stands in a log that `trusted`
names below the size given there still counts, and nothing else: a size cannot be backdated. Sample:

    {"kid": "b5d3…", "issuer": "CN-GD/11440000MB2D0P8Q3X", "use": "credential", "alg": "Ed25519", "pub": "MCow…",
     "not_before": "2026-01-01T00:00:00Z", "not_after": "2029-01-01T00:00:00Z",
     "revoked": {"at": "2026-11-22T09:30:00Z", "reason": "compromised",
                 "trusted": [{"origin": "cn-gd.example/log/2026", "size": 1048}]}}
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chopmark import strict
from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError, UnsupportedError
from chopmark.identifiers import ISSUER, ORIGIN
from chopmark.keys import Algorithm, PublicKey


class KeyUse(StrEnum):
    """What a key may sign; a key has one use."""

    CREDENTIAL = "credential"
    STATUS = "status"
    INSPECTOR = "inspector"


class RevocationReason(StrEnum):
    """Why a key was revoked."""

    COMPROMISED = "compromised"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class TrustedSize:
    """In the log of that origin, what a revoked key signed counts below this index."""

    origin: str
    size: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of a key before its time; in a log that `trusted` does not name, nothing of it counts."""

    at: int
    reason: RevocationReason
    trusted: tuple[TrustedSize, ...]

    def trusted_size(self, origin: str) -> int | None:
        """The index in that log from which on the key counts no more; None where the log is not listed."""
        return next((entry.size for entry in self.trusted if entry.origin == origin), None)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an issuer, found by (issuer, kid)."""

    kid: bytes
    issuer: str
    use: KeyUse
    public_key: PublicKey
    not_before: int
    not_after: int
    revoked: Revocation | None

    def covers(self, time: int) -> bool:
        """Whether `not_before` ≤ time < `not_after`."""
        return self.not_before <= time < self.not_after

    @classmethod
    def from_json(cls, members: ClosedObject) -> Key:
        """Read a key; its kid must be the first 8 bytes of its own thumbprint, its algorithm Ed25519 or ES256."""
        kid = strict.hex_decode(members.text("kid"), where=members.place("kid"), size=8)
        issuer = members.text("issuer", pattern=ISSUER)
        use = members.choice("use", KeyUse)
        public_key = PublicKey.from_json(
            members.text("alg"), members.text("pub", maximum=4_000), where=members.place("pub")
        )
        if public_key.kid != kid:
            raise FormatError(
                f"the key's own kid is {public_key.kid.hex()}", where=members.place("kid"), remedy="correct kid or pub"
            )
        if public_key.algorithm is Algorithm.ML_DSA_44:
            raise UnsupportedError(
                "an ML-DSA-44 key signs beside another key, and not yet for an issuer",
                where=members.place("alg"),
                remedy="use Ed25519 or ES256",
            )
        not_before, not_after = members.time("not_before"), members.time("not_after")
        if not_after <= not_before:
            raise FormatError("the window ends before it begins", where=members.place("not_after"))
        revoked = None
        if (end := members.optional_object("revoked")) is not None:
            at, reason = end.time("at"), end.choice("reason", RevocationReason)
            trusted = []
            for value, where in end.array("trusted"):
                entry = ClosedObject(value, where)
                trusted.append(TrustedSize(entry.text("origin", pattern=ORIGIN), entry.integer("size")))
                entry.close()
            if len({entry.origin for entry in trusted}) != len(trusted):
                raise FormatError("an origin stands twice", where=end.place("trusted"))
            end.close()
            revoked = Revocation(at, reason, tuple(trusted))
        members.close()
        return cls(kid, issuer, use, public_key, not_before, not_after, revoked)

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        value: dict[str, Any] = {
            "kid": self.kid.hex(),
            "issuer": self.issuer,
            "use": self.use.value,
            "alg": self.public_key.algorithm_text,
            "pub": self.public_key.to_json(),
            "not_before": strict.time_encode(self.not_before),
            "not_after": strict.time_encode(self.not_after),
        }
        if self.revoked is not None:
            value["revoked"] = {
                "at": strict.time_encode(self.revoked.at),
                "reason": self.revoked.reason.value,
                "trusted": [{"origin": entry.origin, "size": entry.size} for entry in self.revoked.trusted],
            }
        return value
