"""Two regions with their departments and licence types, and the services of their logs and witnesses.

Each log is witnessed by the other region's witness, and each region is the other's peer.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from chopmark.keys import Ed25519Signer, Signer
from chopmark.licence_type import LocalisedText
from chopmark_issuer.publishing.policies import log_policy
from chopmark_issuer.publishing.region_log import LogService, client_name
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_ledger.client import RemoteLedger, add_log_to_witness, init_witness
from chopmark_ledger.errors import UnauthenticatedError
from chopmark_ledger.service.log_clients import add_client, make_client
from chopmark_ledger.service.log_setup import init_log

from examples.demo.processes import HOST, Service, free_ports

TYPES = Path(__file__).parents[1] / "types"
TYPE_FILES = ("food-business", "road-transport-practitioner", "constructor-registration")
_ENROLLED_WITHIN = 10.0
TYPE_AUTHORITY = "11100000MB99991003"
FOOD, TRANSPORT, CONSTRUCTOR = (f"{TYPE_AUTHORITY}{code}" for code in ("001", "002", "003"))


@dataclass(frozen=True, slots=True)
class Plan:
    """A region and its two departments: the food regulator, and the bureau of transport and construction."""

    code: str
    name: LocalisedText
    food: str
    food_name: LocalisedText
    transport: str
    transport_name: LocalisedText


GUANGDONG = Plan(
    "CN-GD",
    LocalisedText("广东省", "Guangdong"),
    "CN-GD/11440000MB99990015",
    LocalisedText("广东省示例市场监管局", "Sample market regulator of Guangdong"),
    "CN-GD/11440000MB99990028",
    LocalisedText("广东省示例交通建设局", "Sample transport and construction bureau of Guangdong"),
)
SHANGHAI = Plan(
    "CN-SH",
    LocalisedText("上海市", "Shanghai"),
    "CN-SH/11310000MB99990113",
    LocalisedText("上海市示例市场监管局", "Sample market regulator of Shanghai"),
    "CN-SH/11310000MB99990126",
    LocalisedText("上海市示例交通建设局", "Sample transport and construction bureau of Shanghai"),
)


def passphrase(folder: Path) -> bytes:
    """A passphrase for the demo's keys, made once and kept in a file that only its owner may read."""
    path = folder / "passphrase"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(os.urandom(16).hex() + "\n")
    return path.read_bytes().strip()


@dataclass(frozen=True, slots=True)
class Place:
    """What is in one place: a region's registry, the service of its log, and the witness that it runs for the other.

    `food_system` is the key by which the log knows the food regulator's own system, which may log for that department.
    """

    region: Region
    log: Service
    witness: Service
    witness_vkeys: tuple[str, ...]
    food_system: Signer

    @property
    def log_folder(self) -> Path:
        """The data folder of the log."""
        return self.region.settings.log

    def as_food_system(self, food: str) -> RemoteLedger:
        """The log, as the food regulator's own system writes to it."""
        log = self.region.log
        return RemoteLedger(
            self.log.url, name=food, key=self.food_system, policy_text=log.policy, vkey=log.vkey, number=log.number
        )


@dataclass(frozen=True, slots=True)
class PlannedPlace:
    """A place whose registry is not made yet: the keys of log and witness, and where both will answer."""

    plan: Plan
    log: Service
    log_vkeys: tuple[str, ...]
    witness: Service
    witness_vkeys: tuple[str, ...]


def make_services(folder: Path) -> tuple[PlannedPlace, PlannedPlace]:
    """Make a log and a witness for each region, each log witnessed by the other region's witness; nothing runs yet."""
    secret = passphrase(folder)
    (folder / "services").mkdir()
    ports = iter(free_ports(4))
    made = tuple(_make_services(folder, plan, secret, (next(ports), next(ports))) for plan in (GUANGDONG, SHANGHAI))
    for one, other in (made, made[::-1]):
        urls = dict.fromkeys(other.witness_vkeys, other.witness.url)
        policy = log_policy(one.log_vkeys, other.witness_vkeys, None, log_url=one.log.url, witness_urls=urls)
        _policy_file(folder, one.plan).write_text(policy, encoding="utf-8")
        for vkey in one.log_vkeys:
            add_log_to_witness(_witness_folder(folder, other.plan), vkey)
        (folder / f"{one.plan.code}.log.vkey").write_text(one.log_vkeys[0] + "\n", encoding="utf-8")
    return made[0], made[1]


def make_place(folder: Path, made: PlannedPlace, clock: Callable[[], int]) -> Place:
    """Make the registry of a region, with departments and licence types, and let it write to the region's log."""
    plan = made.plan
    policy = _policy_file(folder, plan).read_text(encoding="utf-8")
    service = LogService(made.log.url, made.log_vkeys, policy)
    region = Region.create(
        Settings(folder / plan.code, passphrase(folder)),
        RegionPlan(plan.code, plan.name, log_service=service),
        clock=clock,
    )
    key = region.log_client_key
    assert key is not None  # noqa: S101 - the log is served
    food_system = Ed25519Signer.generate()
    add_client(region.settings.log, make_client(client_name(plan.code, key), [key], (), plan.code))
    add_client(region.settings.log, make_client(plan.food, [food_system.public_key], [plan.food], None))
    region.add_department(plan.food, plan.food_name)
    region.add_department(plan.transport, plan.transport_name)
    for name in TYPE_FILES:
        definition = (TYPES / f"{name}.json").read_text(encoding="utf-8").replace("CN-GD/", f"{plan.code}/")
        region.add_type(definition.encode("utf-8"), where=f"{name}.json")
    region.grant(plan.food, f"{plan.code}/{FOOD}")
    region.grant(plan.transport, f"{plan.code}/{TRANSPORT}")
    region.grant(plan.transport, f"{plan.code}/{CONSTRUCTOR}")
    return Place(region, made.log, made.witness, made.witness_vkeys, food_system)


def make_peers(one: Region, other: Region) -> None:
    """Publish both regions, and make each a peer of the other."""
    for region in (one, other):
        _wait_until_enrolled(region)
        region.publish()
    one.add_peer(other.settings.data)
    other.add_peer(one.settings.data)
    for region in (one, other):
        region.publish()


def _wait_until_enrolled(region: Region) -> None:
    """Wait until the log knows the registry: its service looks at the list of clients now and then."""
    end = time.monotonic() + _ENROLLED_WITHIN
    while True:
        try:
            region.send()
        except UnauthenticatedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _make_services(folder: Path, plan: Plan, secret: bytes, ports: tuple[int, int]) -> PlannedPlace:
    host = f"{plan.code.lower()}.example"
    log_folder, witness_folder = Settings(folder / plan.code, b"").log, _witness_folder(folder, plan)
    origin = f"{host}/log/{date.today().year}"  # noqa: DTZ011 - the year on the wall
    log = init_log(log_folder, origin=origin, number=1, passphrase=secret)
    witness_vkeys = init_witness(witness_folder, name=f"{host}/witness", passphrase=secret)
    policy = ("--policy", str(_policy_file(folder, plan)))
    return PlannedPlace(
        plan,
        _service(folder, f"log of {plan.code}", log_folder, ports[0], policy),
        (log.vkey, log.pq_vkey),
        _service(folder, f"witness of {plan.code}", witness_folder, ports[1], ()),
        witness_vkeys,
    )


def _service(folder: Path, name: str, data: Path, port: int, more: tuple[str, ...]) -> Service:
    command = (
        str(Path(sys.executable).with_name("chopmark")),
        name.partition(" ")[0],
        "serve",
        *("--data", str(data)),
        *("--port", str(port)),
        *("--passphrase-file", str(folder / "passphrase")),
        *more,
    )
    return Service(name, f"http://{HOST}:{port}", command, folder / "services" / f"{name.replace(' ', '-')}.jsonl")


def _policy_file(folder: Path, plan: Plan) -> Path:
    return folder / "services" / f"{plan.code}.policy"


def _witness_folder(folder: Path, plan: Plan) -> Path:
    return folder / f"witness-of-{plan.code}"
