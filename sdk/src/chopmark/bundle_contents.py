"""What a trust bundle says: the JSON text that a region's roots sign (`specs/trust-bundle.md`).

The text is one JSON object with exactly these members, in this order; `agreements` is an empty array in version 1.
`TrustBundle.parse` reads it from a signed note, `note.sign_note(contents.text(), roots)` makes one. Sample, shortened:

    {
     "format": "chopmark/trust-bundle/v1",
     "region": "CN-GD",
     "name": {"zh-Hans": "广东", "en": "Guangdong"},
     "seq": 3,
     "issued": "2026-11-22T00:00:00Z",
     "refresh_after": "2026-11-23T00:00:00Z",
     "expires": "2026-12-22T00:00:00Z",
     "epoch": 1,
     "logs": [{…}], "peers": [{…}], "issuers": [{…}], "keys": [{…}], "types": [{…}], "grants": [{…}],
     "agreements": [],
     "status_lists": [{…}]
    }
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol, TypeVar

from chopmark import strict
from chopmark.bundle_entries import Grant, Issuer, Log, Peer, StatusSource
from chopmark.closed_object import ClosedObject
from chopmark.errors import UnsupportedError
from chopmark.identifiers import REGION
from chopmark.issuer_key import Key
from chopmark.licence_type import LicenceType, LocalisedText
from chopmark.limits import LIMITS

FORMAT: Final = "chopmark/trust-bundle/v1"

_Entry = TypeVar("_Entry")


class _Writable(Protocol):
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class BundleContents:
    """A trust bundle unsigned; times in POSIX seconds. Well formed, but not held against the rules of a region yet."""

    region: str
    name: LocalisedText
    seq: int
    issued: int
    refresh_after: int
    expires: int
    epoch: int
    logs: tuple[Log, ...] = ()
    peers: tuple[Peer, ...] = ()
    issuers: tuple[Issuer, ...] = ()
    keys: tuple[Key, ...] = ()
    types: tuple[LicenceType, ...] = ()
    grants: tuple[Grant, ...] = ()
    status_lists: tuple[StatusSource, ...] = ()

    @classmethod
    def parse(cls, text: str) -> BundleContents:
        """Read the text of a bundle.

        Raises:
            FormatError: not of the format; `UnsupportedError` for a member, version or kind that is not known here.
        """
        where = "trust bundle"
        members = ClosedObject(strict.json_decode(text.encode("utf-8"), where=where, max_size=LIMITS.note_size), "")
        if (name := members.text("format")) != FORMAT:
            raise UnsupportedError(f"the format {name[:60]!r} is not {FORMAT}", where=where)
        contents = cls(
            members.text("region", pattern=REGION),
            LocalisedText.from_json(members.object("name")),
            members.integer("seq", minimum=1),
            members.time("issued"),
            members.time("refresh_after"),
            members.time("expires"),
            members.integer("epoch", minimum=1),
            _entries(members, "logs", Log.from_json),
            _entries(members, "peers", Peer.from_json),
            _entries(members, "issuers", Issuer.from_json),
            _entries(members, "keys", Key.from_json),
            _entries(members, "types", LicenceType.from_json),
            _entries(members, "grants", Grant.from_json),
            _entries(members, "status_lists", StatusSource.from_json),
        )
        if any(True for _ in members.array("agreements")):
            raise UnsupportedError(
                "agreements are not known here", where="agreements", remedy="use a newer version of Chopmark"
            )
        members.close()
        return contents

    def text(self) -> str:
        """Write the text that the roots sign: the one form that these contents have.

        Raises:
            FormatError: it would be refused on reading.
        """
        value: dict[str, Any] = {
            "format": FORMAT,
            "region": self.region,
            "name": self.name.to_json(),
            "seq": self.seq,
            "issued": strict.time_encode(self.issued),
            "refresh_after": strict.time_encode(self.refresh_after),
            "expires": strict.time_encode(self.expires),
            "epoch": self.epoch,
        }
        for attribute in fields(self)[len(value) - 1 :]:
            if attribute.name == "status_lists":
                value["agreements"] = []
            value[attribute.name] = _written(getattr(self, attribute.name))
        text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
        BundleContents.parse(text)
        return text


def _entries(members: ClosedObject, name: str, read: Callable[[ClosedObject], _Entry]) -> tuple[_Entry, ...]:
    return tuple(read(ClosedObject(value, where)) for value, where in members.array(name))


def _written(entries: tuple[_Writable, ...]) -> list[dict[str, Any]]:
    return [entry.to_json() for entry in entries]
