"""The list of a log's clients, and the keys in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer, PublicKey
from chopmark_ledger.errors import ClientListError, FolderError
from chopmark_ledger.service.log_clients import (
    FILE_NAME,
    FORMAT,
    ClientList,
    add_client,
    begin_clients,
    encode_clients,
    make_client,
    parse_clients,
    read_clients,
    remove_client,
)
from chopmark_service.json_web_key import from_jwk, thumbprint, to_jwk

ISSUER = "CN-GD/11440000MB2D0P8Q3X"
KEY = Ed25519Signer(b"\x01" * 32).public_key
P256_KEY = Es256Signer.from_private_bytes(b"\x02" * 32).public_key
OTHER_KEY = Ed25519Signer(b"\x03" * 32).public_key


def document(**changes: Any) -> dict[str, Any]:
    client = {"name": "registry", "keys": [to_jwk(KEY)], "issuers": [ISSUER], "region": None, **changes}
    return {"format": FORMAT, "clients": [client]}


def data(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_list_comes_back_as_it_was_written() -> None:
    clients = [
        make_client("registry", [KEY, P256_KEY], [ISSUER], None),
        make_client("region", [OTHER_KEY], [], "CN-GD"),
    ]
    read = parse_clients(encode_clients(clients))
    assert read == {each.client.name: each for each in clients}
    assert read["region"].client.is_client_of(ISSUER)
    assert not read["region"].client.is_client_of("CN-SH/11310000MB2D0P8Q3X")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"format": FORMAT},
        {"format": "chopmark/log-clients/v2", "clients": []},
        {"format": FORMAT, "clients": {}},
        {"format": FORMAT, "clients": [], "more": 1},
        {"format": FORMAT, "clients": document()["clients"] * 2},
        {"format": FORMAT, "clients": [*document()["clients"], *document(name="another")["clients"]]},
        document(name=""),
        document(name=7),
        document(name="a\nb"),
        document(keys=[]),
        document(keys=[to_jwk(KEY)] * 2),
        document(keys=[to_jwk(Ed25519Signer(bytes([number]) * 32).public_key) for number in range(9)]),
        document(keys={}),
        document(issuers="CN-GD/1"),
        document(issuers=["CN-GD"]),
        document(issuers=[ISSUER, ISSUER]),
        document(issuers=[7]),
        document(issuers=[]),
        document(region="Guangdong"),
        document(region=""),
        document(region=7),
        document(extra=1),
    ],
)
def test_whatever_is_not_such_a_list_is_refused(value: Any) -> None:
    with pytest.raises(FormatError):
        parse_clients(data(value))


def test_a_name_that_stands_twice_in_an_object_is_refused() -> None:
    with pytest.raises(FormatError, match="twice"):
        parse_clients(b'{"format": "%s", "clients": [], "clients": []}' % FORMAT.encode())


@pytest.mark.parametrize("key", [KEY, P256_KEY])
def test_a_key_is_written_as_others_read_it(key: PublicKey) -> None:
    jwk = to_jwk(key)
    assert from_jwk(jwk, where="key") == key
    other = jwt.PyJWK.from_dict(jwk)
    assert other.algorithm_name == jwk["alg"]
    members = {name: jwk[name] for name in sorted({"kty", "crv", "x", "y"} & jwk.keys())}
    assert other.key_id == thumbprint(key) == from_bytes(json.dumps(members, separators=(",", ":")).encode())


def from_bytes(text: bytes) -> str:
    """RFC 7638 §3, word by word."""
    import base64
    import hashlib

    return base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()


def test_the_thumbprint_is_that_of_the_specification() -> None:
    # RFC 8037, appendix A.3
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(from_jwk(key, where="key")) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "change",
    [
        {"d": "AAAA"},
        {"k": "AAAA"},
        {"kty": "RSA"},
        {"crv": "X25519"},
        {"x": "AAAA"},
        {"x": "*" * 43},
        {"x": 7},
        {"x": "A" * 43},  # a point of small order
        {"kid": "another"},
        {"alg": "ES256"},
        {"alg": "none"},
        {"use": "enc"},
        {"x5c": []},
    ],
)
def test_a_key_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((FormatError, KeyMaterialError)):
        from_jwk({**to_jwk(KEY), **change}, where="key")


def test_a_key_of_ml_dsa_is_no_clients() -> None:
    with pytest.raises(KeyMaterialError):
        make_client("registry", [MlDsa44Signer.generate().public_key], [ISSUER], None)


def test_adding_and_removing_change_the_file(tmp_path: Path) -> None:
    begin_clients(tmp_path)
    assert read_clients(tmp_path / FILE_NAME) == {}
    first = make_client("registry", [KEY], [ISSUER], None)
    second = make_client("region", [OTHER_KEY], [], "CN-GD")
    add_client(tmp_path, first)
    add_client(tmp_path, second)
    assert read_clients(tmp_path / FILE_NAME) == {"registry": first, "region": second}
    with pytest.raises(FolderError, match="--replace"):
        add_client(tmp_path, first)
    changed = make_client("registry", [P256_KEY], [ISSUER], None)
    add_client(tmp_path, changed, replace=True)
    remove_client(tmp_path, "region")
    assert read_clients(tmp_path / FILE_NAME) == {"registry": changed}
    with pytest.raises(FolderError):
        remove_client(tmp_path, "region")


def test_a_key_of_another_client_is_not_added(tmp_path: Path) -> None:
    begin_clients(tmp_path)
    add_client(tmp_path, make_client("registry", [KEY], [ISSUER], None))
    with pytest.raises(FormatError, match="have the same key"):
        add_client(tmp_path, make_client("region", [KEY], [], "CN-GD"))
    assert set(read_clients(tmp_path / FILE_NAME)) == {"registry"}


def test_a_broken_list_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(ChopmarkError):
        add_client(tmp_path, make_client("registry", [KEY], [ISSUER], None))
    assert (tmp_path / FILE_NAME).read_text() == "{"


def age(path: Path, seconds: float, clock: Callable[[], float]) -> None:
    os.utime(path, (clock() - seconds, clock() - seconds))


def test_the_list_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    now = 1_795_339_800.0
    clients = ClientList(tmp_path / FILE_NAME, clock=lambda: now)
    begin_clients(tmp_path)
    assert clients.find("registry") is None
    add_client(tmp_path, make_client("registry", [KEY], [ISSUER], None))
    age(tmp_path / FILE_NAME, 100, lambda: now)
    found = clients.find("registry")
    assert found is not None
    assert clients.find("registry") is found, "an unchanged list was read anew"
    remove_client(tmp_path, "registry")
    assert clients.find("registry") is None


def test_a_change_within_the_grain_of_the_files_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    now = 1_795_339_800.0
    clients = ClientList(path, clock=lambda: now)
    path.write_bytes(data(document()))
    os.utime(path, (now, now))
    assert clients.find("registry") is not None
    path.write_bytes(data(document(name="registrx")))  # same file, same size
    os.utime(path, (now, now))
    assert clients.find("registry") is None


@pytest.mark.parametrize("broken", [b"", b"{", b'{"format": "another", "clients": []}', None])
def test_a_missing_or_broken_list_lets_nobody_in(tmp_path: Path, broken: bytes | None) -> None:
    path = tmp_path / FILE_NAME
    clients = ClientList(path)
    path.write_bytes(data(document()))
    assert clients.find("registry") is not None
    path.unlink()
    if broken is not None:
        path.write_bytes(broken)
    for _ in range(2):
        with pytest.raises(ClientListError):
            clients.find("registry")
    path.write_bytes(data(document()))
    assert clients.find("registry") is not None
