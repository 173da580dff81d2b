"""What a trust store has seen, so that nothing older is ever accepted again: the file `store.json`.

It holds the home region, the latest time that a quorum of witnesses of the home region's logs vouched for (the floor
under the clock), and for each object the highest version accepted with its digest: a bundle's `seq`, a landmark file's
number of records, a status list's time of issue. Each object is written before the memory of it, so after a crash the
memory is at most behind, never ahead. Sample:

    {
     "format": "chopmark/trust-store/v1",
     "home": "CN-GD",
     "clock_floor": "2026-11-22T09:30:00Z",
     "bundles": [{"region": "CN-GD", "seq": 3, "sha256": "9f86…"}],
     "landmarks": [{"origin": "cn-gd.example/log/2026", "records": 12, "sha256": "60303ae2…"}],
     "status_lists": [{"uri": "https://cn-gd.example/status/1", "issued_at": "2026-11-22T09:00:00Z", "sha256": "fd61…"}]
    }
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from chopmark import strict
from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError, RollbackError, UnsupportedError
from chopmark.identifiers import HTTPS_URI, ORIGIN, REGION
from chopmark.limits import LIMITS

FORMAT: Final = "chopmark/trust-store/v1"


@dataclass(frozen=True, slots=True)
class Seen:
    """The highest version of one object that was accepted, and its digest (32 bytes)."""

    version: int
    digest: bytes

    def check(self, version: int, digest: bytes, *, where: str) -> None:
        """Refuse an object that is older, or another one of the same version.

        Raises:
            RollbackError: it is.
        """
        if version < self.version:
            raise RollbackError(
                f"{version} is below {self.version}, which was accepted before", where=where, remedy="fetch it again"
            )
        if version == self.version and digest != self.digest:
            raise RollbackError(
                f"another object was accepted before as {version}",
                where=where,
                remedy="keep both: whoever signed two objects of one version must explain it",
            )


@dataclass(frozen=True, slots=True)
class TrustMemory:
    """What a store has seen; a new object is made for each change."""

    home: str
    clock_floor: int = 0
    bundles: Mapping[str, Seen] = field(default_factory=dict)
    landmarks: Mapping[str, Seen] = field(default_factory=dict)
    status_lists: Mapping[str, Seen] = field(default_factory=dict)

    def with_clock_floor(self, time: int) -> TrustMemory:
        """Raise the floor; it never sinks."""
        return replace(self, clock_floor=time) if time > self.clock_floor else self

    def with_bundle(self, region: str, seen: Seen) -> TrustMemory:
        """Remember a bundle."""
        return replace(self, bundles={**self.bundles, region: seen})

    def with_landmarks(self, origin: str, seen: Seen) -> TrustMemory:
        """Remember a landmark file."""
        return replace(self, landmarks={**self.landmarks, origin: seen})

    def with_status_list(self, uri: str, seen: Seen) -> TrustMemory:
        """Remember a status list."""
        return replace(self, status_lists={**self.status_lists, uri: seen})

    @classmethod
    def parse(cls, data: bytes) -> TrustMemory:
        """Read `store.json`.

        Raises:
            FormatError: not of the format.
        """
        where = "store.json"
        members = ClosedObject(strict.json_decode(data, where=where, max_size=LIMITS.trust_file_size), "")
        if (name := members.text("format")) != FORMAT:
            raise UnsupportedError(f"the format {name[:60]!r} is not {FORMAT}", where=where)
        home, clock_floor = members.text("home", pattern=REGION), members.time("clock_floor")
        bundles: dict[str, Seen] = {}
        for value, place in members.array("bundles"):
            entry = ClosedObject(value, place)
            _add(bundles, entry.text("region", pattern=REGION), entry.integer("seq"), entry)
        landmarks: dict[str, Seen] = {}
        for value, place in members.array("landmarks"):
            entry = ClosedObject(value, place)
            _add(landmarks, entry.text("origin", pattern=ORIGIN), entry.integer("records"), entry)
        status_lists: dict[str, Seen] = {}
        for value, place in members.array("status_lists"):
            entry = ClosedObject(value, place)
            _add(status_lists, entry.text("uri", pattern=HTTPS_URI), entry.time("issued_at"), entry)
        members.close()
        return cls(home, clock_floor, bundles, landmarks, status_lists)

    def encode(self) -> bytes:
        """Write `store.json`."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "home": self.home,
            "clock_floor": strict.time_encode(self.clock_floor),
            "bundles": [
                {"region": region, "seq": seen.version, "sha256": seen.digest.hex()}
                for region, seen in self.bundles.items()
            ],
            "landmarks": [
                {"origin": origin, "records": seen.version, "sha256": seen.digest.hex()}
                for origin, seen in self.landmarks.items()
            ],
            "status_lists": [
                {"uri": uri, "issued_at": strict.time_encode(seen.version), "sha256": seen.digest.hex()}
                for uri, seen in self.status_lists.items()
            ],
        }
        return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def _add(seen: dict[str, Seen], name: str, version: int, entry: ClosedObject) -> None:
    if name in seen:
        raise FormatError("it stands twice", where=entry.where)
    seen[name] = Seen(version, strict.hex_decode(entry.text("sha256"), where=entry.place("sha256"), size=32))
    entry.close()
