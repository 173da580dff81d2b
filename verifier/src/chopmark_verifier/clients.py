"""The systems that may file records and ask challenges at an inspector's service: a file that its operator writes.

    {"format": "chopmark/verifier-clients/v1",
     "clients": [{"name": "gate 3", "keys": [{"kty": "OKP", "crv": "Ed25519", "x": "…"}]}]}

A name stands once, a key with one client only, 1 to 8 keys each. The service reads the file anew when it changed. One
that is missing or malformed lets nobody in: an operator who takes a client away and mistypes must not leave it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chopmark import strict
from chopmark.durable_file import read_file
from chopmark.errors import ChopmarkError, FormatError
from chopmark.keys import PublicKey
from chopmark_service.json_web_key import from_jwk, thumbprint

from chopmark_verifier.errors import ClientListError

FORMAT = "chopmark/verifier-clients/v1"
STRANGERS = "\tstrangers"
INSPECTORS = "\tinspectors"
"""In whose names all strangers, and all sessions of the page, take of what clients share; no client has such a name."""
_MAX_SIZE = 4 * 1024 * 1024
_MAX_KEYS = 8
_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class VerifierClient:
    """A system of the inspector's organisation: its name, and its keys by their RFC 7638 thumbprints."""

    name: str
    keys: Mapping[str, PublicKey]


def parse_clients(data: bytes, *, where: str) -> dict[str, VerifierClient]:
    """Read the list.

    Raises:
        FormatError, KeyMaterialError: it is not what the top of this module says; the error names the client.
    """
    document = strict.json_decode(data, where=where, max_size=_MAX_SIZE)
    if not isinstance(document, dict) or document.keys() != {"format", "clients"} or document["format"] != FORMAT:
        raise FormatError(f"not an object of `clients` with the `format` {FORMAT!r}", where=where)
    if not isinstance(document["clients"], list):
        raise FormatError("`clients` is not a list", where=where)
    found: dict[str, VerifierClient] = {}
    owners: dict[str, str] = {}
    for number, value in enumerate(document["clients"]):
        place = f"{where}, client {number}"
        client = _parse_client(value, place)
        if client.name in found:
            raise FormatError(f"the name {client.name!r} stands twice", where=place)
        for kid in client.keys:
            if owners.setdefault(kid, client.name) != client.name:
                raise FormatError(f"{owners[kid]!r} and {client.name!r} have the same key", where=place)
        found[client.name] = client
    return found


class ClientFile:
    """The clients of a service, read anew when their file changed. For one thread.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._clients: dict[str, VerifierClient] = {}

    def find(self, name: str) -> VerifierClient | None:
        """The client of this name.

        Raises:
            ClientListError: the file is missing or broken.
        """
        self.check()
        return self._clients.get(name)

    def check(self) -> None:
        """Read the file, if it changed.

        Raises:
            ClientListError: it is missing or broken.
        """
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen == self._seen:
                return
            self._seen, self._clients = None, {}
            data = read_file(self._path, max_size=_MAX_SIZE)
            if data is None:
                raise ClientListError("there is no such file", where=str(self._path))
            self._clients = parse_clients(data, where=str(self._path))
            self._seen = seen
        except OSError as error:
            self._seen, self._clients = None, {}
            raise ClientListError(f"it cannot be read: {error.strerror}", where=str(self._path)) from error
        except ClientListError:
            raise
        except ChopmarkError as error:
            raise ClientListError(error.what, where=error.where, remedy=error.remedy) from error


def _parse_client(value: Any, where: str) -> VerifierClient:
    if not isinstance(value, dict) or value.keys() != {"name", "keys"}:
        raise FormatError("a client has a `name` and `keys`", where=where)
    name, keys = value["name"], value["keys"]
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise FormatError(f"a name is 1 to {_MAX_NAME} printable characters", where=where)
    if not isinstance(keys, list) or not 1 <= len(keys) <= _MAX_KEYS:
        raise FormatError(f"a client has 1 to {_MAX_KEYS} keys", where=where)
    known = [from_jwk(key, where=f"{where}, key {number}") for number, key in enumerate(keys)]
    return VerifierClient(name, {thumbprint(key): key for key in known})
