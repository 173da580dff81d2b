"""The two regions of the demo, made once in a folder and kept: each with a log, a witness for the other, departments,
licence types, and a client of its issuer.

    FOLDER/passphrase        of all keys
    FOLDER/CN-GD/            a region as `chopmark serve` runs it; its ports are in region.toml
    FOLDER/CN-GD.clerk.key   the key of a department's system, encrypted
                             what an inspector enters on the page of its verifier is in CN-GD/records/passcode
    FOLDER/CN-SH/ …          the same
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from chopmark.key_file import DEFAULT_COST, ScryptCost
from chopmark.keys import PublicKey
from chopmark_issuer.errors import ConflictError
from chopmark_issuer.keys.keys import InventoryUse
from chopmark_issuer.publishing.policies import log_policy
from chopmark_issuer.publishing.region_log import LogService, client_name
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.service.clients import Right, add_client, make_client
from chopmark_issuer.settings import KEY_SOCKET, Settings
from chopmark_ledger.client import add_log_to_witness, init_witness
from chopmark_ledger.service.log_clients import add_client as add_log_client
from chopmark_ledger.service.log_clients import make_client as make_log_client
from chopmark_ledger.service.log_setup import NewLog, init_log, make_client_key
from chopmark_service.region_tree import FILE_NAME

from examples.demo.processes import ServiceError
from examples.demo.regions import CONSTRUCTOR, FOOD, GUANGDONG, SHANGHAI, TRANSPORT, TYPE_FILES, TYPES, Plan, passphrase

HOST = "127.0.0.1"
BESIDE = 100
"""From a port of the first region to that of the second."""
_EACH = 4
"""Ports of a region."""
_WITHIN = 60.0
_LOOK_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """A region as it stands in a folder: its plan, and the first of its four ports."""

    folder: Path
    plan: Plan
    port: int

    @property
    def data(self) -> Path:
        """The folder of the region."""
        return self.folder / self.plan.code

    @property
    def issuer(self) -> str:
        """Where its issuer answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        """Where its log answers."""
        return f"http://{HOST}:{self.port + 1}"

    @property
    def witness(self) -> str:
        """Where its witness answers."""
        return f"http://{HOST}:{self.port + 2}"

    @property
    def verifier(self) -> str:
        """Where its verifier answers."""
        return f"http://{HOST}:{self.port + 3}"

    @property
    def passcode(self) -> Path:
        """What an inspector enters on the page of its verifier, which makes it with its first start."""
        return self.data / "records" / "passcode"

    @property
    def clerk(self) -> str:
        """What the system of its food regulator calls itself."""
        return f"clerk of {self.plan.food}"

    @property
    def clerk_key(self) -> Path:
        """The key of that system."""
        return self.folder / f"{self.plan.code}.clerk.key"


def places(folder: Path, port: int) -> tuple[Place, Place]:
    """Where the two regions are, or are to be."""
    return Place(folder, GUANGDONG, port), Place(folder, SHANGHAI, port + BESIDE)


def made_places(folder: Path) -> tuple[Place, Place] | None:
    """The two regions of a folder, at the ports that they were made with; None where one is not made."""
    if not all((place.data / FILE_NAME).exists() for place in places(folder, 0)):
        return None
    settings = (folder / GUANGDONG.code / FILE_NAME).read_text(encoding="utf-8")
    return places(folder, int(tomllib.loads(settings)["port"]))


def check_ports(both: tuple[Place, Place], *, remedy: str) -> None:
    """See that nobody listens where the services are to.

    Raises:
        ServiceError: somebody does, or there are no such ports.
    """
    for port in (place.port + offset for place in both for offset in range(_EACH)):
        if not 1 <= port <= 65_535:
            raise ServiceError(f"there is no port {port}. {remedy}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: nobody listens, that counts
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise ServiceError(f"port {port} of {HOST} is taken. {remedy}") from error


def make_places(both: tuple[Place, Place], *, clock: Callable[[], int], cost: ScryptCost = DEFAULT_COST) -> None:
    """Make both regions; nothing runs yet, and neither knows the other as a peer.

    Args:
        both: of one folder, which is there.
        clock: answers POSIX seconds.
        cost: what a key file costs.
    """
    secret = passphrase(both[0].folder)
    made = [make_services(place, secret, cost) for place in both]
    for (place, (log, _)), (other, (_, witness_vkeys)) in zip(
        zip(both, made, strict=True), list(zip(both, made, strict=True))[::-1], strict=True
    ):
        vkeys = (log.vkey, log.pq_vkey)
        urls = dict.fromkeys(witness_vkeys, other.witness)
        policy = log_policy(vkeys, witness_vkeys, None, log_url=place.log, witness_urls=urls)
        (place.data / "policy").write_text(policy, encoding="utf-8")
        for vkey in vkeys:
            add_log_to_witness(other.data / "witness", vkey)
        make_registry(place, LogService(place.log, vkeys, policy), secret, clock, cost)
        _write_settings(place, other)


def make_peers(both: tuple[Place, Place]) -> None:
    """Make each region a peer of the other, once both have published; their issuers then publish that.

    Raises:
        ServiceError: one does not publish in time.
    """
    for one, other in (both, both[::-1]):
        until((other.data / "public" / "bundle.note").exists, f"{other.plan.code} does not publish")
        with (
            Region.open(Settings(one.data, b"", key_socket=one.data / KEY_SOCKET)) as region,
            contextlib.suppress(ConflictError),  # it is one already
        ):
            region.add_peer(other.data)


def until(condition: Callable[[], bool], trouble: str) -> None:
    """Poll until it holds.

    Raises:
        ServiceError: it does not in time.
    """
    end = time.monotonic() + _WITHIN
    while not condition():
        if time.monotonic() > end:
            raise ServiceError(f"{trouble} within {_WITHIN:.0f} s; see what the services say")
        time.sleep(_LOOK_EVERY)


def make_services(place: Place, secret: bytes, cost: ScryptCost) -> tuple[NewLog, tuple[str, ...]]:
    """Make the log of a region, and the witness that it runs for others, of which the vkeys are answered."""
    shutil.rmtree(place.data, ignore_errors=True)  # of a start that was interrupted
    place.data.mkdir()
    host = f"{place.plan.code.lower()}.example"
    origin = f"{host}/log/{date.today().year}"  # noqa: DTZ011 - the year on the wall
    log = init_log(place.data / "log", origin=origin, number=1, passphrase=secret, cost=cost)
    witness = init_witness(place.data / "witness", name=f"{host}/witness", passphrase=secret, cost=cost)
    return log, witness


def make_registry(place: Place, service: LogService, secret: bytes, clock: Callable[[], int], cost: ScryptCost) -> None:
    """Make the registry of a region whose log answers there, with departments, types, and the clerk's system."""
    plan = place.plan
    with Region.create(
        Settings(place.data, secret, cost=cost), RegionPlan(plan.code, plan.name, log_service=service), clock=clock
    ) as region:
        key = region.log_client_key
        assert key is not None  # noqa: S101 - the log is served
        add_log_client(place.data / "log", make_log_client(client_name(plan.code, key), [key], (), plan.code))
        region.add_department(plan.food, plan.food_name)
        region.add_department(plan.transport, plan.transport_name)
        (inspector,) = [key.kid for key in region.keys_of(plan.food) if key.use is InventoryUse.INSPECTOR]
        (place.data / "verifier.toml").write_text(
            f'refresh_interval = 3.0\nkey = "keys/{inspector}.key"\npassphrase_file = "../passphrase"\n'
            'records = "records"\n',
            encoding="utf-8",
        )
        for name in TYPE_FILES:
            definition = (TYPES / f"{name}.json").read_text(encoding="utf-8").replace("CN-GD/", f"{plan.code}/")
            region.add_type(definition.encode("utf-8"), where=f"{name}.json")
        region.grant(plan.food, f"{plan.code}/{FOOD}")
        region.grant(plan.transport, f"{plan.code}/{TRANSPORT}")
        region.grant(plan.transport, f"{plan.code}/{CONSTRUCTOR}")
        place.clerk_key.unlink(missing_ok=True)
        clerk: PublicKey = make_client_key(place.clerk_key, passphrase=secret, cost=cost)
        with region.database.writing() as connection:
            client = make_client(place.clerk, plan.food, rights=tuple(Right), keys=[clerk])
            add_client(connection, client, at=clock())


def _write_settings(place: Place, other: Place) -> None:
    """Write the settings: everything soon, as somebody waits for it; those of the tree last of all that is made."""
    (place.data / "issuer.toml").write_text("publish_every = 2\nlandmark_every = 4\n", encoding="utf-8")
    (place.data / FILE_NAME).write_text(
        f'passphrase_file = "../passphrase"\nport = {place.port}\n\n[sources]\n{other.plan.code} = "{other.issuer}"\n',
        encoding="utf-8",
    )
