"""A registry of a made-up region in a temporary folder: two departments, three licence types, a clock that is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from chopmark import qr_text
from chopmark.durable_file import read_file
from chopmark.key_file import ScryptCost
from chopmark.keys import Es256Signer
from chopmark.licence_type import LocalisedText
from chopmark.refresh import refresh
from chopmark.root_epoch import Roots
from chopmark.trust_store import TrustStore
from chopmark_issuer.catalogue.catalogue import add_type, read_type
from chopmark_issuer.catalogue.departments import Actor, add_department, authorise, grant_type
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.keys.keys import InventoryUse, KeyFolder, enrol_key
from chopmark_issuer.licences.registry import Registry
from chopmark_issuer.licences.requests import IssuedVersion, IssueRequest
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.service.service_settings import DATABASE
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.database import Database, open_database
from chopmark_issuer.storage.models import REGION
from chopmark_ledger.client import init_witness
from sqlalchemy import insert

from tests.issuer.registry_databases import RegistryDatabases
from tests.postgresql import PostgresqlServer

NOW = 1_795_312_800
"""2026-11-22T02:00:00Z, 10:00 in the zone of the types."""
MARKETS = "CN-GD/11440000MB2D0P8Q30"
TRANSPORT = "CN-GD/11440000006939748G"
FOOD = "CN-GD/11100000MB03271699001"
DRIVER = "CN-GD/11100000MB03271699002"
PERMIT = "CN-GD/stall-permit"
CHEAP = ScryptCost(n=2**10)
PASSPHRASE = b"correct horse battery staple"


def localised(english: str) -> dict[str, str]:
    return {"zh-Hans": english, "en": english}


def field_definition(number: int, name: str, kind: str = "text", **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "label": localised(name),
        "kind": kind,
        "disclosure": "always",
        "required": False,
        "restricts": False,
        **changes,
    }


def type_definition(identifier: str, **changes: Any) -> dict[str, Any]:
    return {
        "format": "chopmark/licence-type/v1",
        "id": identifier,
        "schema": 1,
        "name": localised("Food business licence"),
        "fields": [
            field_definition(1, "business_name", required=True, max_length=100),
            field_definition(2, "scope", "list"),
            field_definition(3, "opened_on", "date"),
            field_definition(4, "seats", "integer"),
            field_definition(5, "delivers", "boolean"),
        ],
        "holder": "bearer",
        "freshness": "trade",
        "zone": "Asia/Shanghai",
        "challenge": False,
        "numbering": "GB/T 36904",
        "status": True,
        **changes,
    }


def driver_definition() -> dict[str, Any]:
    return type_definition(
        DRIVER,
        name=localised("Road-transport practitioner certificate"),
        fields=[
            field_definition(1, "name", required=True, disclosure="selective"),
            field_definition(2, "vehicle_class", required=True, restricts=True),
        ],
        holder="bound",
        freshness="safety",
    )


def food_request(**changes: Any) -> IssueRequest:
    return IssueRequest(
        **{
            "type_id": FOOD,
            "fields": {"business_name": "示例餐饮有限公司"},
            "holders": (Holder("示例餐饮有限公司"),),
            "first_day": date(2026, 11, 1),
            "last_day": date(2027, 10, 31),
            **changes,
        }
    )


@dataclass
class Office:
    """Everything a test needs of a registry."""

    now: ClassVar[int] = NOW
    markets: ClassVar[str] = MARKETS
    transport: ClassVar[str] = TRANSPORT
    food_type: ClassVar[str] = FOOD
    driver_type: ClassVar[str] = DRIVER
    permit_type: ClassVar[str] = PERMIT

    database: Database
    keys: KeyFolder
    registry: Registry
    folder: Path
    holder_key: Es256Signer = field(default_factory=Es256Signer.generate)

    def actor(self, department: str = MARKETS, at: int = NOW) -> Actor:
        with self.database.reading() as connection:
            return authorise(connection, department, at=at)

    def food(self, **changes: Any) -> IssueRequest:
        return food_request(**changes)

    def driver(self, **changes: Any) -> IssueRequest:
        return IssueRequest(
            **{
                "type_id": DRIVER,
                "fields": {"name": "示例从业人员", "vehicle_class": "B2"},
                "holders": (Holder("示例从业人员"),),
                "first_day": date(2026, 11, 1),
                "last_day": date(2032, 10, 31),
                "holder_keys": (self.holder_key.public_key,),
                **changes,
            }
        )

    def permit(self, **changes: Any) -> IssueRequest:
        return self.food(type_id=PERMIT, number="STALL 17", **changes)


@pytest.fixture(scope="session")
def registry_databases(postgresql: PostgresqlServer) -> RegistryDatabases:
    return RegistryDatabases(postgresql)


@pytest.fixture
def source(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Iterator[Path | str]:
    """Where a test keeps a registry: a file that is not there yet, or the URL of an empty database."""
    if backend == "sqlite":
        yield tmp_path / "registry.db"
        return
    databases: RegistryDatabases = request.getfixturevalue("registry_databases")
    url = databases.lend()
    yield url
    databases.give_back(url)


@pytest.fixture
def office(source: Path | str, tmp_path: Path) -> Iterator[Office]:
    with furnished(source, tmp_path) as made:
        yield made


@contextmanager
def furnished(source: Path | str, folder: Path) -> Iterator[Office]:
    """An office in an empty database, with its keys in a folder."""
    database = open_database(source)
    keys = KeyFolder(folder / "keys", PASSPHRASE, cost=CHEAP)
    with database.writing() as connection:
        connection.execute(
            insert(REGION).values(
                id=1,
                region="CN-GD",
                name_zh_hans="示例省",
                name_en="Sample province",
                host="cn-gd.example",
                origin="cn-gd.example/log/2026",
                log_number=1,
                log_vkey="",
                policy="",
                created_at=NOW - 1000,
            )
        )
        for definition in (type_definition(FOOD), driver_definition(), type_definition(PERMIT, numbering="none")):
            entry = read_type(json.dumps(definition).encode())
            add_type(connection, entry, region="CN-GD", at=NOW - 1000)
        for department, types in ((MARKETS, (FOOD, PERMIT)), (TRANSPORT, (DRIVER,))):
            add_department(
                connection, department, LocalisedText("示例局", "Sample office"), region="CN-GD", at=NOW - 900
            )
            for use in (InventoryUse.CREDENTIAL, InventoryUse.STATUS):
                enrol_key(
                    connection,
                    keys.generate(use=use).public_key,
                    owner=department,
                    use=use,
                    not_before=NOW - 900,
                    not_after=NOW + 10**8,
                )
            for type_id in types:
                grant_type(connection, department, type_id, valid_from=NOW - 800, valid_until=None)
    yield Office(database, keys, Registry(database, keys), folder)
    database.close()


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> int:
        return self.time


@dataclass
class World:
    """Two regions that witness each other's log, CN-GD with departments and types, and an inspector's store."""

    folder: Path
    clock: Clock
    guangdong: Region
    shanghai: Region
    holder_key: Es256Signer = field(default_factory=Es256Signer.generate)

    markets: ClassVar[str] = MARKETS
    transport: ClassVar[str] = TRANSPORT
    food_type: ClassVar[str] = FOOD
    driver_type: ClassVar[str] = DRIVER

    def issue_food(self, **changes: Any) -> IssuedVersion:
        region = self.guangdong
        return region.registry.issue(region.actor(MARKETS), food_request(**changes), at=self.clock())

    def peer_and_publish(self) -> None:
        """Publish both regions, make them peers, and publish until each has vouched for the other."""
        for region in (self.guangdong, self.shanghai):
            region.publish()
        self.guangdong.add_peer(self.shanghai.settings.data)
        self.shanghai.add_peer(self.guangdong.settings.data)
        for region in (self.guangdong, self.shanghai):
            region.publish()

    def store(self, home: Region, name: str = "trust") -> TrustStore:
        """A fresh trust store of an inspector of that region, with everything that both regions publish."""
        pin = (home.settings.public / "root" / "1.note").read_bytes()
        store = TrustStore.create(self.folder / name, roots=Roots.pin(pin))
        store.put_root(home.region, pin, now=self.clock())
        self.refresh(store)
        return store

    def refresh(self, store: TrustStore) -> list[str]:
        """Take what both regions publish; answers what was refused or absent in the last round."""
        published = {region.region: region.settings.public for region in (self.guangdong, self.shanghai)}
        order = [store.home_region, *(region for region in published if region != store.home_region), store.home_region]
        problems: dict[str, list[str]] = {}
        for region in order:
            fetch = partial(_published, published[region])
            problems[region] = refresh(store, region, fetch, now=self.clock()).problems
        return [problem for found in problems.values() for problem in found]

    def text(self, number: str) -> str:
        """What the QR code of that licence says."""
        stored = self.guangdong.registry.credentials(number)[0]
        return qr_text.encode(self.guangdong.with_proofs(stored).encode())


def _published(folder: Path, path: str) -> bytes | None:
    return read_file(folder / path, max_size=2**26)


@pytest.fixture
def world(source: Path | str, tmp_path: Path) -> Iterator[World]:
    """The registry of CN-GD is in the database of the test, that of CN-SH always in a file."""
    clock = Clock()
    for name in ("cn-gd", "cn-sh"):
        init_witness(tmp_path / f"{name}-witness", name=f"{name}.example/witness", passphrase=PASSPHRASE, cost=CHEAP)
    regions = []
    for code, other in (("CN-GD", "cn-sh"), ("CN-SH", "cn-gd")):
        plan = RegionPlan(code, LocalisedText("示例", "Sample"), (tmp_path / f"{other}-witness",))
        url = source if code == "CN-GD" and isinstance(source, str) else None
        settings = Settings(tmp_path / code.lower(), PASSPHRASE, CHEAP, database_url=url)
        regions.append(Region.create(settings, plan, clock=clock))
        if url is not None:
            DATABASE.keep(settings.data, url)  # as `init` does, for the commands
    guangdong, shanghai = regions
    for department, definition in ((MARKETS, type_definition(FOOD)), (TRANSPORT, driver_definition())):
        guangdong.add_department(department, LocalisedText("示例局", "Sample office"))
        guangdong.add_type(json.dumps(definition).encode())
        guangdong.grant(department, definition["id"])
    clock.time += 10
    yield World(tmp_path, clock, guangdong, shanghai)
    guangdong.close()
    shanghai.close()


@pytest.fixture
def definition() -> Callable[..., dict[str, Any]]:
    return type_definition
