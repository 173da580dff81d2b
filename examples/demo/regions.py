"""Two regions with their departments, licence types, logs and witnesses: each witnesses the other and is its peer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chopmark.licence_type import LocalisedText
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_ledger.client import init_witness

TYPES = Path(__file__).parents[1] / "types"
TYPE_FILES = ("food-business", "road-transport-practitioner", "constructor-registration")
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


def make_regions(folder: Path, clock: Callable[[], int]) -> tuple[Region, Region]:
    """Make and publish both regions, each a peer of the other; Guangdong first."""
    secret = passphrase(folder)
    witnesses = {}
    for plan in (GUANGDONG, SHANGHAI):
        witnesses[plan.code] = folder / f"witness-of-{plan.code}"
        init_witness(witnesses[plan.code], name=f"{plan.code.lower()}.example/witness", passphrase=secret)
    guangdong = _make_region(folder, GUANGDONG, witnesses["CN-SH"], secret, clock)
    shanghai = _make_region(folder, SHANGHAI, witnesses["CN-GD"], secret, clock)
    for region in (guangdong, shanghai):
        region.publish()
    guangdong.add_peer(shanghai.settings.data)
    shanghai.add_peer(guangdong.settings.data)
    for region in (guangdong, shanghai):
        region.publish()
    return guangdong, shanghai


def _make_region(folder: Path, plan: Plan, witness: Path, secret: bytes, clock: Callable[[], int]) -> Region:
    settings = Settings(folder / plan.code, secret)
    region = Region.create(settings, RegionPlan(plan.code, plan.name, (witness,)), clock=clock)
    region.add_department(plan.food, plan.food_name)
    region.add_department(plan.transport, plan.transport_name)
    for name in TYPE_FILES:
        definition = (TYPES / f"{name}.json").read_text(encoding="utf-8").replace("CN-GD/", f"{plan.code}/")
        region.add_type(definition.encode("utf-8"), where=f"{name}.json")
    region.grant(plan.food, f"{plan.code}/{FOOD}")
    region.grant(plan.transport, f"{plan.code}/{TRANSPORT}")
    region.grant(plan.transport, f"{plan.code}/{CONSTRUCTOR}")
    (folder / f"{plan.code}.log.vkey").write_text(region.log_vkey + "\n", encoding="utf-8")
    return region
