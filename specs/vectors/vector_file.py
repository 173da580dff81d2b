"""What a vector is, and how a file of them is written (`README.md` describes the form for readers)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ACCEPT = "accept"
FORMAT = "FormatError"
LIMIT = "LimitError"
UNSUPPORTED = "UnsupportedError"
SIGNATURE = "SignatureError"
PROOF = "ProofError"
KEY = "KeyMaterialError"
TRUST = "TrustError"
ROLLBACK = "RollbackError"
FUTURE = "FutureDatedError"
QUORUM = "QuorumError"


@dataclass(frozen=True, slots=True)
class Vector:
    """One input with its declared outcome: `accept`, the name of an error, or a verdict."""

    name: str
    description: str
    operation: str
    input: Mapping[str, Any]
    outcome: str | Mapping[str, Any]
    result: Any = None

    def to_json(self) -> dict[str, Any]:
        """The vector as it stands in its file."""
        value: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "operation": self.operation,
            "input": dict(self.input),
            "outcome": self.outcome,
        }
        if self.result is not None:
            value["result"] = self.result
        return value


@dataclass(slots=True)
class VectorFile:
    """The vectors of one format; `shared` are members that its vectors refer to."""

    name: str
    spec: str
    vectors: list[Vector] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)

    def accept(self, name: str, description: str, operation: str, given: Mapping[str, Any], result: Any = None) -> None:
        """Add a vector that a reader must accept, and what it must read from it."""
        self.vectors.append(Vector(name, description, operation, given, ACCEPT, result))

    def refuse(self, name: str, description: str, operation: str, given: Mapping[str, Any], error: str) -> None:
        """Add a vector that a reader must refuse, with this error."""
        self.vectors.append(Vector(name, description, operation, given, error))

    def render(self) -> str:
        """The text of the file."""
        names = [vector.name for vector in self.vectors]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise SystemExit(f"{self.name}: the names {sorted(twice)} stand twice")
        value = {"spec": self.spec, **self.shared, "vectors": [vector.to_json() for vector in self.vectors]}
        return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def plain(value: Any) -> Any:
    """A CBOR value as JSON; what JSON does not have is written as an object of one member (see `README.md`)."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else {"integer": str(value)}
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    if isinstance(value, Mapping):
        return {"map": [[plain(key), plain(element)] for key, element in value.items()]}
    if hasattr(value, "value") and isinstance(value.value, list):
        return {"tag18": plain(value.value)}
    return {"simple": value.value}
