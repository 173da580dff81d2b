"""Who may write to a log: `<data>/clients.json`.

    {"format": "chopmark/log-clients/v1",
     "clients": [{"name": "registry of CN-GD", "keys": [{"kty": "OKP", "crv": "Ed25519", "x": "…"}],
                  "issuers": ["CN-GD/11440000MB2D0P8Q3X"], "region": null}]}

A client logs the credentials and status lists of its `issuers`; one that speaks for a `region` also its trust
statements, bundles and landmark files, and what any issuer `<region>/…` may log. A name stands once, a key with one
client only, 1 to 8 keys each.

The service reads the file anew within a second after it changed. A file that is missing or malformed lets nobody in:
an operator who takes a client away and mistypes must not leave it in. The commands replace the file whole, so that only
a hand can break it.
"""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chopmark import identifiers, strict
from chopmark.durable_file import held_for_a_moment, read_file, write_file
from chopmark.errors import ChopmarkError, FormatError
from chopmark.keys import PublicKey
from chopmark_service.json_web_key import from_jwk, thumbprint, to_jwk

from chopmark_ledger.batch import Client
from chopmark_ledger.errors import ClientListError, FolderError

FILE_NAME = "clients.json"
FORMAT = "chopmark/log-clients/v1"
_LOCK_NAME = "clients.lock"
"""Beside the lock on the folder itself, which is that of the running service."""
_MAX_SIZE = 16 * 1024 * 1024
_MAX_KEYS = 8
_SETTLED = 2.0
"""Seconds after which a file that changes again bears another time: until then it is read, not only looked at."""


@dataclass(frozen=True, slots=True)
class LogClient:
    """A client and its keys, by their RFC 7638 thumbprints."""

    client: Client
    keys: Mapping[str, PublicKey]

    @property
    def name(self) -> str:
        """What it calls itself."""
        return self.client.name


def make_client(name: str, keys: Iterable[PublicKey], issuers: Iterable[str], region: str | None) -> LogClient:
    """Make a client, checked.

    Raises:
        FormatError: a name, issuer id or region that is none, no key or too many, or a client that may log nothing.
        KeyMaterialError: a key that is neither Ed25519 nor ES256.
    """
    where = f"client {name[:100]!r}"
    known = {thumbprint(key): key for key in keys}
    if not 1 <= len(known) <= _MAX_KEYS:
        raise FormatError(f"a client has 1 to {_MAX_KEYS} keys, each once", where=where)
    named = frozenset(issuers)
    for issuer in named:
        if identifiers.ISSUER.fullmatch(issuer) is None:
            raise FormatError(f"{issuer[:100]!r} is not an issuer, <region>/<organisation code>", where=where)
    if region is not None and identifiers.REGION.fullmatch(region) is None:
        raise FormatError(f"{region[:40]!r} is not a region, such as CN-GD", where=where)
    if not named and region is None:
        raise FormatError("a client with neither issuers nor a region may log nothing", where=where)
    return LogClient(Client(name, named, region), known)


def parse_clients(data: bytes, *, where: str = FILE_NAME) -> dict[str, LogClient]:
    """Read the list.

    Raises:
        FormatError, KeyMaterialError: it is not what the top of this module says; the error names the client.
    """
    document = strict.json_decode(data, where=where, max_size=_MAX_SIZE)
    _check_members(document, {"format", "clients"}, where)
    if document["format"] != FORMAT:
        raise FormatError(f"the format is not {FORMAT!r}", where=where)
    if not isinstance(document["clients"], list):
        raise FormatError("`clients` is not a list", where=where)
    found: dict[str, LogClient] = {}
    owners: dict[str, str] = {}
    for number, value in enumerate(document["clients"]):
        each = _parse_client(value, f"{where}, client {number}")
        name = each.client.name
        if name in found:
            raise FormatError(f"the name {name!r} stands twice", where=f"{where}, client {number}")
        for kid in each.keys:
            if owners.setdefault(kid, name) != name:
                raise FormatError(
                    f"{owners[kid]!r} and {name!r} have the same key",
                    where=f"{where}, client {number}",
                    remedy="Give each client keys of its own",
                )
        found[name] = each
    return found


def encode_clients(clients: Iterable[LogClient]) -> bytes:
    """Write the list, by name."""
    listed = [
        {
            "name": each.client.name,
            "keys": [to_jwk(key) for _, key in sorted(each.keys.items())],
            "issuers": sorted(each.client.issuers),
            "region": each.client.region,
        }
        for each in sorted(clients, key=lambda each: each.client.name)
    ]
    return json.dumps({"format": FORMAT, "clients": listed}, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"


def add_client(folder: Path, new: LogClient, *, replace: bool = False) -> None:
    """Add a client to the list in a log's data folder.

    Raises:
        FolderError: it stands there already, and is not to be replaced.
        ClientListError, FormatError, StorageError: the list is broken, or would be, or cannot be written.
    """
    with held_for_a_moment(folder, name=_LOCK_NAME):
        clients = read_clients(folder / FILE_NAME)
        if new.client.name in clients and not replace:
            raise FolderError(
                f"there is a client {new.client.name!r} already", where=str(folder), remedy="Say --replace to change it"
            )
        _write(folder, {**clients, new.client.name: new})


def remove_client(folder: Path, name: str) -> None:
    """Take a client from the list in a log's data folder; a running service knows within a second.

    Raises:
        FolderError: it does not stand there.
        ClientListError, StorageError: the list is broken, or cannot be written.
    """
    with held_for_a_moment(folder, name=_LOCK_NAME):
        clients = read_clients(folder / FILE_NAME)
        if name not in clients:
            raise FolderError(f"there is no client {name!r}", where=str(folder))
        _write(folder, {other: each for other, each in clients.items() if other != name})


def begin_clients(folder: Path) -> None:
    """Write an empty list where there is none."""
    if not (folder / FILE_NAME).exists():
        _write(folder, {})


def read_clients(path: Path) -> dict[str, LogClient]:
    """Read the list from its file.

    Raises:
        ClientListError: it is missing, cannot be read, or is malformed.
    """
    return _parse(_read(path), path)


class ClientList:
    """The list as a service uses it, read anew when it changes; for one thread.

    Args:
        path: its file.
        look_every: seconds between two looks at the file.
        clock: answers POSIX seconds.
    """

    def __init__(self, path: Path, *, look_every: float = 0.0, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._look_every = look_every
        self._next_look = 0.0
        self._seen: tuple[int, ...] | None = None
        self._data: bytes | None = None
        self._clients: dict[str, LogClient] = {}
        self._error: ClientListError | None = None

    def find(self, name: str) -> LogClient | None:
        """The client of this name.

        Raises:
            ClientListError: the list is missing or broken: nobody is known.
        """
        self.check()
        return self._clients.get(name)

    def check(self) -> None:
        """Look whether the list changed.

        Raises:
            ClientListError: it is missing or broken.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + self._look_every
            seen = self._look()
            if seen is None or seen != self._seen:
                self._reread()
                self._seen = seen
        if self._error is not None:
            raise self._error

    def _look(self) -> tuple[int, ...] | None:
        """What tells one state of the file from the next; None while that is not sure."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        if self._clock() - found.st_mtime < _SETTLED or not stat.S_ISREG(found.st_mode):
            return None
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _reread(self) -> None:
        try:
            data = _read(self._path)
            if data != self._data:
                self._clients = _parse(data, self._path)
                self._data = data
            self._error = None
        except ClientListError as error:
            self._clients, self._data, self._error = {}, None, error


def _read(path: Path) -> bytes:
    try:
        data = read_file(path, max_size=_MAX_SIZE)
    except ChopmarkError as error:
        raise ClientListError(error.what, where=error.where, remedy=error.remedy) from error
    if data is None:
        raise ClientListError(
            "there is no list of clients", where=str(path), remedy="Make one: chopmark log add-client"
        )
    return data


def _parse(data: bytes, path: Path) -> dict[str, LogClient]:
    try:
        return parse_clients(data, where=str(path))
    except ChopmarkError as error:
        raise ClientListError(
            error.what, where=error.where, remedy=error.remedy or "Correct it: until then nobody is let in"
        ) from error


def _write(folder: Path, clients: Mapping[str, LogClient]) -> None:
    data = encode_clients(clients.values())
    parse_clients(data)  # what cannot be read back is not written
    write_file(folder / FILE_NAME, data)


def _parse_client(value: Any, where: str) -> LogClient:
    _check_members(value, {"name", "keys", "issuers", "region"}, where)
    name, keys, issuers, region = (value[member] for member in ("name", "keys", "issuers", "region"))
    if not isinstance(name, str) or not isinstance(region, str | None):
        raise FormatError("`name` is a text, `region` a text or null", where=where)
    if (
        not isinstance(keys, list)
        or not isinstance(issuers, list)
        or not all(isinstance(each, str) for each in issuers)
    ):
        raise FormatError("`keys` and `issuers` are lists", where=where)
    if len(keys) > _MAX_KEYS or len(set(issuers)) != len(issuers):
        raise FormatError(f"more than {_MAX_KEYS} keys, or an issuer twice", where=where)
    read = [from_jwk(key, where=f"{where}, key {number}") for number, key in enumerate(keys)]
    if len(set(read)) != len(read):
        raise FormatError("a key stands twice", where=where)
    return make_client(name, read, issuers, region)


def _check_members(value: Any, names: set[str], where: str) -> None:
    if not isinstance(value, dict) or value.keys() != names:
        raise FormatError(f"not an object of exactly {', '.join(sorted(names))}", where=where)
