"""The services of one region as one process tree, and where each has its data and its port.

    DIR/                     the registry: registry.db or, in PostgreSQL, the URL in issuer.toml; keys/, public/
    DIR/region.toml          settings of the tree, below
    DIR/policy               the tlog-policy of the log, with the witnesses' addresses
    DIR/log/ DIR/witness/    the log, and the witness that this region runs for others
    DIR/trust/               the trust store of the verifier; if it is not there, one is made that trusts the roots in
                             DIR/public, and nothing else
    DIR/verifier.toml        settings of the verifier, if any, such as the key that signs its records
    DIR/keys.sock            where the signing process listens

    signing process          holds the registry's private keys
    witness                  port P + 2
    log                      port P + 1
    issuer                   port P         also serves DIR/public
    verifier                 port P + 3

They are started in this order, the first three at once, by the commands `chopmark keys serve`, `witness serve`,
`log serve`, `issuer serve` and `verifier serve`: nothing of them is imported here. Settings of one service alone stand
where it looks for them itself, such as DIR/log/log.toml, DIR/issuer.toml or a variable CHOPMARK_LOG_….
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from math import ceil
from pathlib import Path

from chopmark.cli.passphrase import read_passphrase
from chopmark.durable_file import read_file
from chopmark.errors import FormatError, StorageError
from chopmark.key_file import read_key_file
from chopmark.limits import LIMITS
from chopmark.root_epoch import Roots
from chopmark.trust_store import TrustStore
from pydantic import BaseModel, ConfigDict, Field

from chopmark_service.child_process import AnswersReady, Child, Listens
from chopmark_service.database_setting import DatabaseSetting
from chopmark_service.errors import ChildFailedError
from chopmark_service.process_tree import Patience
from chopmark_service.settings import LogLevel, Port

FILE_NAME = "region.toml"
_MAX_SOCKET_PATH = 103
"""Bytes of the path of a Unix socket, on any system."""


class Service(Enum):
    """The services of a region, in the order in which they are started."""

    KEYS = "keys"
    WITNESS = "witness"
    LOG = "log"
    ISSUER = "issuer"
    VERIFIER = "verifier"


_PORTS = {Service.ISSUER: 0, Service.LOG: 1, Service.WITNESS: 2, Service.VERIFIER: 3}
"""Where each listens, counted from the port of the region."""
_NEEDS = {Service.ISSUER: ("keys", "witness", "log"), Service.VERIFIER: ("issuer",)}
_MOST = max(_PORTS.values())
_DATABASE_VARIABLES = {Service.ISSUER: ("CHOPMARK_ISSUER_", "PG"), Service.LOG: ("CHOPMARK_LOG_", "PG")}
"""How the variables begin that are of these alone: they may hold the password of a database, and others answer
strangers, or read their pictures. What begins with PG is what the driver of PostgreSQL reads."""


class RegionSettings(BaseModel):
    """The settings of `chopmark serve`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="The folder of the region.")
    passphrase_file: Path = Field(description="A file with the passphrase of all its keys.")
    host: str = Field(default="127.0.0.1", description="The address that all services listen at.")
    port: Port = Field(default=8470, description="The port of the issuer; log, witness and verifier have the next.")
    policy: Path | None = Field(default=None, description="The tlog-policy of the log; DIR/policy if left out.")
    sources: dict[str, str] = Field(
        default_factory=dict, description="Where the public files of peers are, by their codes, for the verifier."
    )
    without: tuple[Service, ...] = Field(default=(), description="Services that run elsewhere, or not at all.")
    hung_after: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds without an answer, in tens, after which a service with an address is killed and started "
        "anew; 0 for never.",
    )
    log_level: LogLevel = Field(default="info", description="The least that is logged.")

    @property
    def patience(self) -> Patience:
        """How long the tree waits for what."""
        return Patience(hung_asks=ceil(self.hung_after / Patience().ask_every))


@dataclass(frozen=True, slots=True)
class Address:
    """A service that answers over HTTP."""

    service: Service
    url: str


def addresses(settings: RegionSettings) -> list[Address]:
    """Where the services of a region answer on this machine."""
    return [
        Address(service, f"http://{_shown(_reached(settings.host))}:{settings.port + offset}")
        for service, offset in _PORTS.items()
        if service not in settings.without
    ]


def region_children(settings: RegionSettings) -> list[Child]:
    """The children of the tree of a region, in the order in which they are started.

    Raises:
        FormatError: ports that are none, or a path too long for a socket.
        StorageError: what a service needs is not there; the remedy names the command that makes it.
    """
    if not 1 <= settings.port <= 65_535 - _MOST:
        raise FormatError(f"the first of {_MOST + 1} ports is from 1 to {65_535 - _MOST}", where="port")
    _reached(settings.host)
    check_folder(settings.data, without=settings.without)
    found = {service: _child(service, settings) for service in Service if service not in settings.without}
    _check(settings)
    return list(found.values())


def _child(service: Service, settings: RegionSettings) -> Child:
    data = settings.data
    socket = data / "keys.sock"
    secret = ("--passphrase-file", str(settings.passphrase_file))
    if service is Service.KEYS:
        told = ("--data", str(data), "--socket", str(socket), "--log-level", settings.log_level, *secret)
        return Child(service.value, (*_program(), "keys", "serve", *told), Listens(socket), withheld=_withheld(service))
    port = settings.port + _PORTS[service]
    command = [service.value, "serve", "--host", settings.host, "--port", str(port), "--log-level", settings.log_level]
    if service is Service.WITNESS:
        command += ["--data", str(data / "witness"), *secret]
    elif service is Service.LOG:
        command += ["--data", str(data / "log"), "--policy", str(_policy(settings)), *secret]
    elif service is Service.ISSUER:
        held = secret if Service.KEYS in settings.without else ("--key-socket", str(socket))
        command += ["--data", str(data), *held]
    else:
        command += ["--trust", str(data / "trust")]
        if (data / "verifier.toml").exists():
            command += ["--config", str(data / "verifier.toml")]
        for region, url in sorted(_sources(settings).items()):
            command += ["--source", f"{region}={url}"]
    ready = AnswersReady(_reached(settings.host), port)
    return Child(service.value, (*_program(), *command), ready, _NEEDS.get(service, ()), _withheld(service))


def _withheld(service: Service) -> tuple[str, ...]:
    """How the variables begin that are another service's alone."""
    own = _DATABASE_VARIABLES.get(service, ())
    return tuple(sorted({each for told in _DATABASE_VARIABLES.values() for each in told}.difference(own)))


def _policy(settings: RegionSettings) -> Path:
    return settings.policy or settings.data / "policy"


def check_folder(data: Path, *, without: Sequence[Service] = ()) -> None:
    """See that a folder is that of a region.

    Raises:
        StorageError: it is not there, or has no registry.
    """
    registry = data / "registry.db"
    remedy = f"Make a region: chopmark issuer init {data}, as docs/running-a-region.md tells"
    if not data.is_dir():
        raise StorageError("there is no such folder", where=str(data), remedy=remedy)
    if Service.ISSUER not in without and not registry.exists() and not _names_database(data):
        raise StorageError(
            "there is no such file, so this is not the folder of a region",
            where=str(registry),
            remedy=f"{remedy}; or leave the issuer out: --without issuer",
        )


def _names_database(data: Path) -> bool:
    """Whether the issuer is told of a registry that is not in the folder, by what it inherits or reads itself."""
    return DatabaseSetting("issuer").of(data) is not None


def _check(settings: RegionSettings) -> None:
    """See that what each service needs is there, before any is started."""
    data, policy = settings.data, _policy(settings)
    needs = {
        Service.LOG: (data / "log" / "log.key", f"Make it: chopmark log init {data / 'log'}"),
        Service.WITNESS: (data / "witness" / "witness.key", f"Make it: chopmark witness init {data / 'witness'}"),
    }
    for service, (path, remedy) in needs.items():
        if service not in settings.without and not path.exists():
            raise StorageError(
                f"the {service.value} of the region is not there",
                where=str(path),
                remedy=f"{remedy}, or leave it out: --without {service.value}",
            )
    if Service.LOG not in settings.without and not policy.exists():
        raise StorageError(
            "the log has no policy", where=str(policy), remedy=f"Write it: chopmark log policy {data / 'log'}"
        )
    socket = data / "keys.sock"
    if Service.KEYS not in settings.without and len(str(socket).encode()) > _MAX_SOCKET_PATH:
        raise FormatError(
            f"the path of a socket has at most {_MAX_SOCKET_PATH} bytes", where=str(socket), remedy="Use another folder"
        )


def check_settings(children: Sequence[Child]) -> None:
    """Have each service check its own settings, before any is started; a file of settings may have been changed since.

    Raises:
        ChildFailedError: those of a service are not what they must be; it says what, where, and the remedy.
    """
    asked = [
        (
            child.name,
            subprocess.Popen(  # noqa: S603 - the command of a child
                [*child.command, "--check-settings"],
                env=child.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            ),
        )
        for child in children
        if child.name != Service.KEYS.value  # it has none but its flags
    ]
    answers = [(name, process.communicate()[1], process.returncode) for name, process in asked]
    for name, said, code in answers:
        if code != 0:
            lines = said.decode("utf-8", "replace").strip().splitlines() or [f"it ended with code {code}"]
            raise ChildFailedError(f"cannot start: {lines[-1].removeprefix('chopmark: ')}", where=name)


def check_passphrase(settings: RegionSettings) -> None:
    """See that the passphrase opens a key of the region, before anything is started: else each service would say that
    it cannot, in turn.

    Raises:
        StorageError: its file or a key cannot be read.
        KeyMaterialError: it is empty, or not that of the region's keys.
    """
    passphrase = read_passphrase(settings.passphrase_file, {})
    for service in (Service.LOG, Service.WITNESS):
        if service not in settings.without:
            read_key_file(settings.data / service.value / f"{service.value}.key").load(passphrase)
            return


def prepare_trust(settings: RegionSettings, *, now: int) -> bool:
    """Make the trust store of the verifier, if it is not there; answers whether it was made.

    It trusts the first root epoch of the region itself, whose operator this is: what a verifier elsewhere has to be
    told by a person is in the next folder here.

    Raises:
        StorageError: it cannot be written.
        FormatError, SignatureError, TrustError: the published root epoch is none.
    """
    folder = settings.data / "trust"
    if Service.VERIFIER in settings.without or folder.exists():
        return False
    data = _first_roots(settings)
    store = TrustStore.create(folder, roots=Roots.pin(data))
    store.put_root(store.home_region, data, now=now)
    return True


def _sources(settings: RegionSettings) -> dict[str, str]:
    """Where the verifier finds the public files of regions: its own at the issuer beside it, unless it is told."""
    home = Roots.pin(_first_roots(settings)).region
    own = f"http://{_shown(_reached(settings.host))}:{settings.port}"
    return {home: own, **settings.sources}


def _first_roots(settings: RegionSettings) -> bytes:
    path = settings.data / "public" / "root" / "1.note"
    data = read_file(path, max_size=LIMITS.note_size)
    if data is None:
        raise StorageError(
            "the root epoch of the region is not there",
            where=str(path),
            remedy="Publish it: chopmark issuer publish, or leave the verifier out: --without verifier",
        )
    return data


def _reached(host: str) -> str:
    """The address at which a service that listens at `host` is reached from this machine."""
    try:
        address = ip_address(host)
    except ValueError as error:
        raise FormatError(
            f"{host[:60]!r} is not an address", where="host", remedy="Give one such as 127.0.0.1"
        ) from error
    if not address.is_unspecified:
        return host
    return "::1" if address.version == 6 else "127.0.0.1"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _program() -> tuple[str, ...]:
    """The program `chopmark` of this installation."""
    beside = Path(sys.executable).with_name("chopmark")
    return (str(beside),) if beside.exists() else (sys.executable, "-c", "from chopmark.cli import main; main()")
