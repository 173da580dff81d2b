"""A home region with an enrolled inspector, its trust store, and the licences of a peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chopmark.credential import Credential
from chopmark.trust_store import TrustStore
from chopmark_verifier.desk import InspectionDesk

from specs.vectors.sample_world import INSPECTOR, NOW, SampleWorld, make_world


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: int = NOW

    def __call__(self) -> float:
        return float(self.now)


@dataclass
class Field:
    """An inspector in the field: the world, what was issued, and a trust store of it."""

    world: SampleWorld
    credentials: dict[str, Credential]
    store: TrustStore
    folder: Path
    clock: Clock = field(default_factory=Clock)

    @property
    def trust(self) -> Path:
        return self.folder / "trust"

    @property
    def records(self) -> Path:
        return self.folder / "records"

    def desk(self, **options: object) -> InspectionDesk:
        arguments = {"inspector": INSPECTOR, "folder": self.records, "clock": self.clock, **options}
        return InspectionDesk(self.store, self.world.inspector_signer, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def make_field(tmp_path: Path) -> Callable[[Callable[[SampleWorld], None]], Field]:
    """Makes a field; the world may be changed before its bundles are signed."""

    def make(change: Callable[[SampleWorld], None] = lambda world: None) -> Field:
        world = make_world()
        credentials = {kind: world.issue(world.claims(kind)) for kind in ("food", "transport", "constructor")}
        logged = world.logged(*credentials.values())
        change(world)
        store = world.store(tmp_path / "trust")
        store.put_root("CN-SH", world.home.root_epoch, now=NOW)
        return Field(world, dict(zip(credentials, logged, strict=True)), store, tmp_path)

    return make


@pytest.fixture
def out(make_field: Callable[[], Field]) -> Field:
    """The field as it stands."""
    return make_field()
