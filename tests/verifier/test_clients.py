from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chopmark.errors import FormatError, KeyMaterialError
from chopmark.keys import Ed25519Signer
from chopmark_service.json_web_key import to_jwk
from chopmark_verifier.clients import FORMAT, ClientFile, parse_clients
from chopmark_verifier.errors import ClientListError

from tests.verifier.service_stage import CLIENT, OTHER, write_clients

KEY = to_jwk(CLIENT.public_key)


def parsed(*clients: Any, **changes: Any) -> Any:
    document = {"format": FORMAT, "clients": list(clients), **changes}
    return parse_clients(json.dumps(document).encode(), where="clients.json")


def test_clients_are_found_by_name(tmp_path: Path) -> None:
    write_clients(tmp_path / "clients.json", gate_3=CLIENT, gate_4=OTHER)
    clients = ClientFile(tmp_path / "clients.json")
    found = clients.find("gate 4")
    assert found is not None
    assert list(found.keys.values()) == [OTHER.public_key]
    assert clients.find("gate 5") is None


@pytest.mark.parametrize(
    "clients",
    [
        [{"name": "a", "keys": [KEY]}, {"name": "a", "keys": [to_jwk(OTHER.public_key)]}],
        [{"name": "a", "keys": [KEY]}, {"name": "b", "keys": [KEY]}],
        [{"name": "", "keys": [KEY]}],
        [{"name": "a\n", "keys": [KEY]}],
        [{"name": "a", "keys": []}],
        [{"name": "a", "keys": [KEY], "admin": True}],
        ["a"],
    ],
)
def test_a_list_that_is_ambiguous_or_unknown_is_refused(clients: list[Any]) -> None:
    with pytest.raises(FormatError):
        parsed(*clients)


def test_a_private_key_in_the_list_is_refused_by_name() -> None:
    with pytest.raises(KeyMaterialError, match="private"):
        parsed({"name": "a", "keys": [{**KEY, "d": "AAAA"}]})
    with pytest.raises(FormatError):
        parsed(format="chopmark/verifier-clients/v2")


def test_a_list_that_is_broken_or_gone_lets_nobody_in_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "clients.json"
    write_clients(path, gate_3=CLIENT)
    clients = ClientFile(path)
    assert clients.find("gate 3") is not None
    for break_it in (lambda: path.write_text("{"), path.unlink):
        break_it()
        for _ in range(2):
            with pytest.raises(ClientListError):
                clients.find("gate 3")
    write_clients(path, gate_5=Ed25519Signer(b"\x13" * 32))
    assert clients.find("gate 3") is None
    assert clients.find("gate 5") is not None
