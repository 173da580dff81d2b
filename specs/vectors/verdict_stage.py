"""The world that the vectors of verdicts play in: licences issued and logged, stores filled, texts written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chopmark import base45, qr_text
from chopmark.bundle_entries import Grant
from chopmark.claims import StatusReference, Usage, write_claims
from chopmark.credential import Credential, issue_credential
from chopmark.entries import CredentialEntry
from chopmark.licence_type import FieldDisclosure

from specs.vectors import deflate
from specs.vectors.credential_vectors import BEARER, sign_claims
from specs.vectors.material import Material, Step
from specs.vectors.sample_world import (
    CREATED,
    DAY,
    FOOD_DEPARTMENT,
    NOW,
    TRANSPORT_DEPARTMENT,
    TYPE_AUTHORITY,
    SampleWorld,
    make_world,
)
from specs.vectors.vector_file import Vector, VectorFile

WITNESSED = NOW - 10 * DAY
"""When the first landmark was witnessed; the licences were signed at that moment."""
EXEMPT, HIDDEN_NUMBER, UNGRANTED = (f"CN-GD/{TYPE_AUTHORITY}{code}" for code in ("004", "005", "006"))
"""Types that the sample world does not have: without status, with a number to hide, granted to nobody."""

_GOOD = (
    "PASS decoded",
    "PASS parsed",
    "PASS bearer",
    "PASS key_known",
    "PASS signature_verifies",
    "PASS disclosures_match",
    "PASS logged",
    "PASS authorised",
    "PASS within_validity",
    "PASS status_valid",
)
_NOT_READ = ("UNKNOWN not_reached",) * 10


def text_of(data: bytes) -> str:
    """The text of a QR code, by the compressor of the vectors."""
    return qr_text.PREFIX + base45.encode(deflate.compress(data, qr_text.DICTIONARY))


def verdict(outcome: str, changes: Mapping[int, str] | None = None, *remarks: str) -> dict[str, Any]:
    """A verdict in which every check passes as that of a bearer licence, but for `changes`."""
    value: dict[str, Any] = {
        "outcome": outcome,
        "checks": [(changes or {}).get(number, good) for number, good in enumerate(_GOOD)],
    }
    return {**value, "remarks": list(remarks)} if remarks else value


def unread(outcome: str, *first: str) -> dict[str, Any]:
    """A verdict over what could not be read: the first checks, and no other."""
    return {"outcome": outcome, "checks": [*first, *_NOT_READ[len(first) :]]}


class Stage:
    """One world for all vectors of verdicts."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.file = VectorFile("verification", "specs/verification.md")
        self.stores: dict[str, list[Step]] = {}
        self.world: SampleWorld = make_world()
        self.home, self.peer = self.world.home, self.world.peer
        _add_types(self.world)
        self.licences: dict[str, Credential] = {}
        self.first_interval()
        self.second_interval()
        self.home_bundle = material.bundle(self.home, "cn-sh/bundle")
        self.peer_bundle = material.bundle(self.peer, "cn-gd/bundle")
        self.landmarks = material.landmarks(self.home, self.peer.log, "cn-gd/landmarks")
        self.status_lists = [
            material.status(self.peer, FOOD_DEPARTMENT, "cn-gd/status-food", {1: 1, 2: 2, 3: 3}),
            material.status(self.peer, TRANSPORT_DEPARTMENT, "cn-gd/status-transport", {}, expires=3 * DAY),
        ]
        self.stores["main"] = [self.home_bundle, self.peer_bundle, self.landmarks, *self.status_lists]

    def first_interval(self) -> None:
        """Seven licences, so that the log has eight entries and the landmarks [0, 4) and [4, 8)."""
        world, paper = self.world, Usage(medium="paper")
        drafts = {
            "food": world.issue(world.claims("food")),
            "constructor": world.issue(world.claims("constructor")),
            "transport": world.issue(world.claims("transport", index=1)),
            "revoked": world.issue(world.claims("food", index=1)),
            "suspended": world.issue(world.claims("food", index=2)),
            "superseded": world.issue(world.claims("food", index=3)),
            "paper": world.issue(
                world.claims("constructor", index=2, holder_key=None, credential_id=world.random(16), usage=paper)
            ),
        }
        self.log(drafts, at=WITNESSED)

    def second_interval(self) -> None:
        """Licences that are wrong in one thing, and those of the types that the sample world does not have."""
        world = self.world
        food, transport = world.claims("food"), world.claims("constructor")
        loose = replace(transport, holder_key=None, credential_id=world.random(16))
        drafts = {
            "bare": world.issue(replace(transport, holder_key=None, credential_id=world.random(16))),
            "driver-paper": world.issue(
                replace(
                    loose,
                    licence_type=world.claims("transport").licence_type,
                    fields=world.claims("transport").fields,
                    usage=Usage(medium="paper"),
                )
            ),
            "ends-soon": world.issue(replace(food, expires=NOW + 60)),
            "begins-later": world.issue(replace(food, not_before=NOW + DAY)),
            "no-end": world.issue(replace(food, expires=None)),
            "copy": world.issue(replace(food, usage=Usage("copy", "投标 2026-118", NOW + DAY))),
            "copy-ended": world.issue(replace(food, usage=Usage("copy", None, NOW))),
            "signed-early": world.issue(replace(food, issued_at=WITNESSED - DAY - 1, not_before=None)),
            "signed-late": world.issue(replace(food, issued_at=WITNESSED + 600 + DAY + 1, not_before=None)),
            "no-status": world.issue(replace(food, status=None)),
            "status-outside": world.issue(world.claims("food", index=64)),
            "status-of-other": world.issue(replace(food, status=world.claims("transport").status)),
            "status-unnamed": world.issue(replace(food, status=_elsewhere(food.status))),
            "exempt": world.issue(replace(food, licence_type=f"{EXEMPT}@1", status=None)),
            "ungranted": world.issue(replace(food, licence_type=f"{UNGRANTED}@1")),
            "ungranted-department": world.issue(
                replace(food, issuer=TRANSPORT_DEPARTMENT, status=world.claims("transport").status)
            ),
            "type-unknown": world.issue(replace(food, licence_type=f"CN-GD/{TYPE_AUTHORITY}009@1")),
            "schema-unknown": world.issue(replace(food, licence_type=f"CN-GD/{TYPE_AUTHORITY}001@2")),
            "hidden-number": self.signed_hidden_number(f"{HIDDEN_NUMBER}@1"),
            "hidden-number-unallowed": self.signed_hidden_number(transport.licence_type),
            "restriction-hidden": world.issue(world.claims("constructor"), selective=(2, 3, 4, 8)),
            "field-missing": self.crafted({-65537: {key: value for key, value in food.fields.items() if key != 8}}),
            "field-unknown": self.crafted({-65537: {**food.fields, 9: "x"}}),
            "field-kind": self.crafted({-65537: {**food.fields, 7: "2026-11-12"}}),
            "claim-unknown": self.crafted({-65600: "?"}),
            "key-of-status": self.crafted({}, use="status"),
            "label-unknown": self.crafted({}, protected={-65600: 1}),
        }
        self.log(drafts, at=WITNESSED + 600)

    def signed_hidden_number(self, vct: str) -> Credential:
        """A constructor registration whose number its holder may hide."""
        signer = self.peer.signers[TRANSPORT_DEPARTMENT, "credential"]
        claims = replace(self.world.claims("constructor"), licence_type=vct)
        return issue_credential(signer, claims, selective=(2, 3, 4), hide_licence_number=True, random=self.world.random)

    def crafted(
        self, changes: Mapping[Any, Any], *, use: str = "credential", protected: Mapping[Any, Any] | None = None
    ) -> Credential:
        """A food licence signed with changed claims, or by another key of its department."""
        payload = {**write_claims(self.world.claims("food")), **changes}
        return Credential.parse(
            sign_claims(self.peer.signers[FOOD_DEPARTMENT, use], payload, BEARER, protected=protected)
        )

    def log(self, drafts: Mapping[str, Credential], *, at: int) -> None:
        """Log licences, end the interval, and keep each with its path."""
        logged = self.world.logged(*drafts.values(), at=at)
        self.licences.update(zip(drafts, logged, strict=True))

    def fresh(self, credential: Credential, *, at: int, **options: Any) -> Credential:
        """Log a licence now, and attach a tlog-proof witnessed at that time."""
        index = self.peer.log.append(CredentialEntry(credential.claims.issuer, credential.digest).encode())
        return credential.with_tlog_proof(self.peer.log.tlog_proof(index, at=at, **options))

    def add(
        self,
        name: str,
        description: str,
        shown: Credential | str | bytes,
        outcome: Mapping[str, Any],
        *,
        store: str = "main",
        clock: int = NOW,
        **given: Any,
    ) -> None:
        """Add a vector."""
        if isinstance(shown, Credential):
            shown = shown.encode()
        text = shown if isinstance(shown, str) else text_of(shown)
        value = {"store": store, "clock": clock, "text": text, **given}
        self.file.vectors.append(Vector(f"verdict-{name}", description, "verify", value, outcome))

    def variant(self, name: str, *, like: str = "main", **replaced: Step | None) -> str:
        """A store like another, with some of its objects replaced, or left out where the step is None."""
        steps = {"home": self.home_bundle, "peer": self.peer_bundle, "landmarks": self.landmarks}
        named: dict[str, Step | None] = {**steps, **replaced}
        base = [step for step in self.stores[like] if step not in steps.values()]
        first = [named[part] for part in ("home", "peer", "landmarks")]
        self.stores[name] = [step for step in first if step is not None] + base
        return name


def _elsewhere(status: StatusReference | None) -> StatusReference:
    return StatusReference(0 if status is None else status.index, "https://cn-gd.example/status/9")


def _add_types(world: SampleWorld) -> None:
    peer = world.peer
    food, _, constructor = peer.types
    peer.types += [
        replace(food, id=EXEMPT, status=False),
        replace(constructor, id=HIDDEN_NUMBER, number_disclosure=FieldDisclosure.SELECTIVE),
        replace(food, id=UNGRANTED),
    ]
    peer.grants += [
        Grant(FOOD_DEPARTMENT, EXEMPT, CREATED, None),
        Grant(TRANSPORT_DEPARTMENT, HIDDEN_NUMBER, CREATED, None),
    ]
