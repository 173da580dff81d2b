"""The files that trust stores of the vectors are filled with, each kept once, and the steps that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from chopmark.entries import LandmarkFileEntry, StatusListEntry
from chopmark.keys import Signer

from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import DAY, NOW, SampleRegion
from specs.vectors.status_vectors import status_token

Step = dict[str, Any]
FETCHED = NOW - 3600
"""When a store of the vectors took what it holds, unless said otherwise."""


@dataclass(slots=True)
class Material:
    """Files by name; the same bytes have one name."""

    files: dict[str, dict[str, str]] = field(default_factory=dict)
    _names: dict[bytes, str] = field(default_factory=dict)

    def add(self, name: str, data: bytes) -> str:
        """Keep a file; answers its name, which is an earlier one where the bytes are known."""
        known = self._names.get(data)
        if known is not None:
            return known
        if name in self.files:
            raise SystemExit(f"the material {name} stands twice")
        self._names[data] = name
        try:
            self.files[name] = (
                {"text": data.decode("utf-8")} if data.isascii() or b"\n" in data else {"hex": data.hex()}
            )
        except UnicodeDecodeError:
            self.files[name] = {"hex": data.hex()}
        return name

    def root(self, region: SampleRegion, label: str, note: bytes, *, now: int = FETCHED) -> Step:
        """The step that takes a root epoch."""
        return {"put": "root", "region": region.region, "data": self.add(label, note), "now": now}

    def bundle(
        self,
        region: SampleRegion,
        label: str,
        *,
        at: int = FETCHED,
        logged_at: int | None = None,
        now: int | None = None,
        log: SampleLog | None = None,
        **changes: Any,
    ) -> Step:
        """Sign and log the region's bundle as things stand; the step that takes it."""
        note = region.bundle(at=at, **changes)
        if log is not None:
            region = _with_log(region, log)
        proof = region.log_bundle(note, at=at if logged_at is None else logged_at)
        return self.pair("bundle", label, note, proof, now=at if now is None else now)

    def landmarks(self, home: SampleRegion, log: SampleLog, label: str, *, at: int = FETCHED) -> Step:
        """Vouch for the landmark file of a log in the log of the home region; the step that takes it."""
        data = log.landmark_file.encode()
        proof = home.log_landmarks(log, at=at)
        return {**self.pair("landmarks", label, data, proof, now=at), "origin": log.origin}

    def landmark_bytes(self, home: SampleRegion, origin: str, data: bytes, label: str, *, at: int = FETCHED) -> Step:
        """The same for any bytes."""
        records = (len(data) - 16) // 64
        entry = LandmarkFileEntry(origin, records, sha256(data).digest()).encode()
        proof = home.log.tlog_proof(home.log.append(entry), at=at)
        return {**self.pair("landmarks", label, data, proof, now=at), "origin": origin}

    def status(
        self,
        region: SampleRegion,
        issuer: str,
        label: str,
        statuses: Mapping[int, int],
        *,
        at: int = FETCHED,
        logged_at: int | None = None,
        expires: int = 30 * DAY,
        signer: Signer | None = None,
        uri: str | None = None,
        log: SampleLog | None = None,
    ) -> Step:
        """Sign and log a status list; the step that takes it."""
        uri = region.status_uri(issuer) if uri is None else uri
        signer = signer or region.signers[issuer, "status"]
        token = status_token(signer, uri=uri, at=at, expires=at + expires, statuses=statuses)
        entry = StatusListEntry(issuer, uri, sha256(token).digest(), at).encode()
        log = log or region.log
        proof = log.tlog_proof(log.append(entry), at=at if logged_at is None else logged_at)
        return self.pair("status_list", label, token, proof, now=at if logged_at is None else logged_at)

    def pair(self, put: str, label: str, data: bytes, proof: bytes, *, now: int) -> Step:
        """The step that takes an object with its proof."""
        return {
            "put": put,
            "data": self.add(label, data),
            "proof": self.add(f"{label}.tlog-proof", proof),
            "now": now,
        }


def _with_log(region: SampleRegion, log: SampleLog) -> SampleRegion:
    """The region as if that were its log, for logging alone."""
    return SampleRegion(
        region.region, region.host, region.name, region.random, region.root_signers, log, region.witness
    )
