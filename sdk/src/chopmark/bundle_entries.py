"""What the arrays of a trust bundle hold: logs, peers, issuers, grants, status lists (`specs/trust-bundle.md`).

Each entry reads itself from JSON (`from_json`, closed world) and writes itself (`to_json`, members in this order).
Times are RFC 3339 in JSON and POSIX seconds here. A window `from`/`to` is half open: `from` ≤ t < `to`, and without
`to` it has no end yet. Sample of a log:

    {"number": 1, "origin": "cn-gd.example/log/2026", "suite": 1,
     "vkeys": ["cn-gd.example/log/2026+0b1c2d3e+AQ…"], "from": "2026-01-01T00:00:00Z",
     "policy": "log cn-gd.example/log/2026+…\nwitness sh cn-sh.example/witness+…\ngroup R01 any sh\nquorum R01\n"}
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chopmark import strict
from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError, UnsupportedError
from chopmark.identifiers import HTTPS_URI, ISSUER, ORIGIN, REGION, TYPE_ID
from chopmark.licence_type import LocalisedText

_POLICY_LENGTH = 64 * 1024


class IssuerState(StrEnum):
    """Whether an issuer may act."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class FinalTree:
    """Size and root at which a log was frozen; no entry at or above the size counts."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """A log of the region; `policy_text` is the tlog-policy that its checkpoints must satisfy."""

    number: int
    origin: str
    suite: int
    vkeys: tuple[str, ...]
    not_before: int
    not_after: int | None
    final: FinalTree | None
    policy_text: str

    @property
    def host(self) -> str:
        """The origin up to its first `/`."""
        return self.origin.partition("/")[0]

    def covers(self, time: int) -> bool:
        """Whether the log was in use at that time."""
        return _covers(self.not_before, self.not_after, time)

    @classmethod
    def from_json(cls, members: ClosedObject) -> Log:
        """Read a log; `UnsupportedError` for another suite than 1."""
        number = members.integer("number", minimum=1, maximum=2**32 - 1)
        origin = members.text("origin", pattern=ORIGIN)
        suite = members.integer("suite", minimum=1, maximum=2**16 - 1)
        if suite != 1:
            raise UnsupportedError(f"suite {suite} is not known here", where=members.place("suite"))
        vkeys = members.texts("vkeys")
        not_before, not_after = _window(members)
        final = None
        if (tree := members.optional_object("final")) is not None:
            size = tree.integer("size")
            final = FinalTree(size, strict.base64_decode(tree.text("root"), where=tree.place("root"), size=32))
            tree.close()
        log = cls(number, origin, suite, vkeys, not_before, not_after, final, _policy(members, "policy"))
        members.close()
        return log

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        value: dict[str, Any] = {
            "number": self.number,
            "origin": self.origin,
            "suite": self.suite,
            "vkeys": list(self.vkeys),
            **_window_json(self.not_before, self.not_after),
        }
        if self.final is not None:
            value["final"] = {"size": self.final.size, "root": strict.base64_encode(self.final.root)}
        value["policy"] = self.policy_text
        return value


@dataclass(frozen=True, slots=True)
class Peer:
    """Another region that this one vouches for: the pin of one of its root epochs, and a floor for its policies."""

    region: str
    epoch: int
    roots: tuple[str, ...]
    threshold: int
    origins: tuple[str, ...]
    policy_floor_text: str
    bundle_url: str
    not_before: int
    not_after: int | None

    def covers(self, time: int) -> bool:
        """Whether the region was a peer at that time."""
        return _covers(self.not_before, self.not_after, time)

    @classmethod
    def from_json(cls, members: ClosedObject) -> Peer:
        """Read a peer."""
        region = members.text("region", pattern=REGION)
        epoch = members.integer("epoch", minimum=1)
        roots = members.texts("roots")
        threshold = members.integer("threshold", minimum=1)
        origins = members.texts("origins", pattern=ORIGIN)
        floor = _policy(members, "policy_floor")
        url = members.text("bundle_url", pattern=HTTPS_URI)
        not_before, not_after = _window(members)
        members.close()
        return cls(region, epoch, roots, threshold, origins, floor, url, not_before, not_after)

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        return {
            "region": self.region,
            "epoch": self.epoch,
            "roots": list(self.roots),
            "threshold": self.threshold,
            "origins": list(self.origins),
            "policy_floor": self.policy_floor_text,
            "bundle_url": self.bundle_url,
            **_window_json(self.not_before, self.not_after),
        }


@dataclass(frozen=True, slots=True)
class IssuerStatus:
    """From when an issuer is in a state, until the next one begins."""

    state: IssuerState
    since: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Issuer:
    """A department that signs licences; `status` rises in time."""

    id: str
    name: LocalisedText
    status: tuple[IssuerStatus, ...]
    successor: str | None

    def state_at(self, time: int) -> IssuerState | None:
        """The state at that time; None before the first."""
        state = None
        for status in self.status:
            if status.since > time:
                break
            state = status.state
        return state

    @classmethod
    def from_json(cls, members: ClosedObject) -> Issuer:
        """Read an issuer."""
        identifier = members.text("id", pattern=ISSUER)
        name = LocalisedText.from_json(members.object("name"))
        status = []
        for value, where in members.array("status"):
            step = ClosedObject(value, where)
            state = step.choice("state", IssuerState)
            status.append(IssuerStatus(state, step.time("from"), step.optional_text("reason")))
            step.close()
            if len(status) > 1 and status[-1].since <= status[-2].since:
                raise FormatError("begins no later than the state before it", where=where)
        if not status:
            raise FormatError("an issuer has at least one state", where=members.place("status"))
        successor = members.optional_text("successor", pattern=ISSUER)
        members.close()
        return cls(identifier, name, tuple(status), successor)

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        status = []
        for step in self.status:
            value = {"state": step.state.value, "from": strict.time_encode(step.since)}
            if step.reason is not None:
                value["reason"] = step.reason
            status.append(value)
        issuer: dict[str, Any] = {"id": self.id, "name": self.name.to_json(), "status": status}
        if self.successor is not None:
            issuer["successor"] = self.successor
        return issuer


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may issue what (a licence type of any schema version), when."""

    issuer: str
    licence_type: str
    not_before: int
    not_after: int | None

    def covers(self, time: int) -> bool:
        """Whether the grant was in force at that time."""
        return _covers(self.not_before, self.not_after, time)

    @classmethod
    def from_json(cls, members: ClosedObject) -> Grant:
        """Read a grant."""
        issuer, licence_type = members.text("issuer", pattern=ISSUER), members.text("licence_type", pattern=TYPE_ID)
        not_before, not_after = _window(members)
        members.close()
        return cls(issuer, licence_type, not_before, not_after)

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        return {
            "issuer": self.issuer,
            "licence_type": self.licence_type,
            **_window_json(self.not_before, self.not_after),
        }


@dataclass(frozen=True, slots=True)
class StatusSigner:
    """A status key that may sign a list, and when."""

    kid: bytes
    not_before: int
    not_after: int | None

    def covers(self, time: int) -> bool:
        """Whether the key might sign the list at that time."""
        return _covers(self.not_before, self.not_after, time)


@dataclass(frozen=True, slots=True)
class StatusSource:
    """A status list: its one uri, other places to fetch it from, who may sign it, seconds until it is fetched again."""

    uri: str
    mirrors: tuple[str, ...]
    issuer: str
    signers: tuple[StatusSigner, ...]
    ttl: int

    def signer(self, kid: bytes, time: int) -> StatusSigner | None:
        """The signer with that kid whose window holds that time."""
        return next((entry for entry in self.signers if entry.kid == kid and entry.covers(time)), None)

    @classmethod
    def from_json(cls, members: ClosedObject) -> StatusSource:
        """Read a status list's entry."""
        uri, mirrors = members.text("uri", pattern=HTTPS_URI), members.texts("mirrors", pattern=HTTPS_URI)
        issuer = members.text("issuer", pattern=ISSUER)
        signers = []
        for value, where in members.array("signers"):
            entry = ClosedObject(value, where)
            kid = strict.hex_decode(entry.text("kid"), where=entry.place("kid"), size=8)
            signers.append(StatusSigner(kid, *_window(entry)))
            entry.close()
        if len({(entry.kid, entry.not_before) for entry in signers}) != len(signers):
            raise FormatError("a signer stands twice", where=members.place("signers"))
        ttl = members.integer("ttl", minimum=1)
        members.close()
        return cls(uri, mirrors, issuer, tuple(signers), ttl)

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        return {
            "uri": self.uri,
            "mirrors": list(self.mirrors),
            "issuer": self.issuer,
            "signers": [
                {"kid": entry.kid.hex(), **_window_json(entry.not_before, entry.not_after)} for entry in self.signers
            ],
            "ttl": self.ttl,
        }


def _covers(begin: int, end: int | None, time: int) -> bool:
    return begin <= time and (end is None or time < end)


def _window(members: ClosedObject) -> tuple[int, int | None]:
    begin, end = members.time("from"), members.optional_time("to")
    if end is not None and end <= begin:
        raise FormatError("the window ends before it begins", where=members.place("to"))
    return begin, end


def _window_json(begin: int, end: int | None) -> dict[str, str]:
    value = {"from": strict.time_encode(begin)}
    if end is not None:
        value["to"] = strict.time_encode(end)
    return value


def _policy(members: ClosedObject, name: str) -> str:
    return members.text(name, maximum=_POLICY_LENGTH)
