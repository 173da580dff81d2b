"""The commands of a log's operator: init, serve, status, landmark, and those for its clients."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chopmark.errors import ChopmarkError
from chopmark.key_file import parse_key_file
from chopmark.keys import Algorithm
from chopmark.note import NoteVerifier
from chopmark_ledger.client import Client
from chopmark_ledger.commands import log_commands
from chopmark_ledger.errors import FolderError, FolderLockedError, ForbiddenError, LogUnreachableError
from chopmark_ledger.service.log_clients import read_clients
from chopmark_service.json_web_key import from_jwk
from typer.testing import CliRunner, Result

from tests.ledger.served_log import CHEAP, DEPARTMENT, PASSPHRASE, REGISTRY, ServedLog, jwk_file

ORIGIN = "cn-gd.example/log/2026"
ISSUER = "CN-GD/11440000MB2D0P8Q3X"


def run(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(log_commands.log, [str(each) for each in arguments], input=text)


@pytest.fixture(autouse=True)
def passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.upper().startswith("CHOPMARK_"):
            monkeypatch.delenv(name)
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE + b"\n")
    monkeypatch.setenv("CHOPMARK_PASSPHRASE_FILE", str(path))
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedLog]:
    log = ServedLog(tmp_path / "served")
    log.set_up()
    log.start()
    yield log
    log.close()


def test_init_leaves_settings_that_name_another_database_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "log.toml").write_text('port = 8999\ndatabase = "postgresql://first.example/log"\n')
    words = ("init", folder, "--origin", ORIGIN, "--number", "1", "--database", "postgresql://second.example/log")
    assert "it names another database" in str(run(*words).exception)
    assert [path.name for path in folder.iterdir()] == ["log.toml"]


def test_init_takes_the_database_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPMARK_LOG_DATABASE", "mysql://chopmark:secret@db.cn-gd.example/log")
    result = run("init", tmp_path / "log", "--origin", ORIGIN, "--number", "1")
    assert isinstance(result.exception, ChopmarkError)
    assert "postgresql+psycopg" in str(result.exception)
    assert "secret" not in str(result.exception)
    told = " ".join(run("init", "--help", text=None).stdout.split())
    assert "CHOPMARK_LOG_DATABASE" in told
    assert "secret" not in told


def test_init_makes_a_log_with_two_keys_and_prints_both(tmp_path: Path) -> None:
    result = run("init", tmp_path / "log", "--origin", ORIGIN, "--number", "1")
    assert result.exit_code == 0, result.output
    keys = [NoteVerifier.from_vkey(line) for line in result.stdout.splitlines()]
    assert [key.public_key.algorithm for key in keys] == [Algorithm.ED25519, Algorithm.ML_DSA_44]
    assert {key.name for key in keys} == {ORIGIN}
    for name in ("log.key", "log-ml-dsa-44.key"):
        assert (tmp_path / "log" / name).stat().st_mode & 0o777 == 0o600
        assert parse_key_file((tmp_path / "log" / name).read_bytes()).load(PASSPHRASE)
    assert read_clients(tmp_path / "log" / "clients.json") == {}
    status = run("status", tmp_path / "log")
    assert status.exit_code == 0, status.output
    assert f"origin {ORIGIN}\n" in status.stdout
    assert "committed 1\npublished nothing yet\n" in status.stdout
    assert f"signs with {ORIGIN}+{keys[1].key_id.hex()}, ML-DSA-44\n" in status.stdout
    again = run("init", tmp_path / "log", "--origin", ORIGIN, "--number", "1")
    assert isinstance(again.exception, FolderError)


def test_an_init_that_was_interrupted_goes_on_with_its_keys(tmp_path: Path) -> None:
    from chopmark_ledger.service.log_setup import init_log

    folder = tmp_path / "log"
    with pytest.raises(ChopmarkError):
        init_log(folder, origin="no key name", number=1, passphrase=PASSPHRASE, cost=CHEAP)
    key = (folder / "log.key").read_bytes()
    with pytest.raises(ChopmarkError, match="does not open this key"):
        init_log(folder, origin=ORIGIN, number=1, passphrase=b"another", cost=CHEAP)
    init_log(folder, origin=ORIGIN, number=1, passphrase=PASSPHRASE, cost=CHEAP)
    assert (folder / "log.key").read_bytes() == key


@pytest.mark.parametrize("algorithm", ["Ed25519", "ES256"])
def test_a_clients_key_goes_from_its_file_into_the_list(tmp_path: Path, algorithm: str) -> None:
    run("init", tmp_path / "log", "--origin", ORIGIN, "--number", "1")
    made = run("client-key", tmp_path / "client.key", "--algorithm", algorithm)
    assert made.exit_code == 0, made.output
    key = from_jwk(json.loads(made.stdout), where="key")
    assert parse_key_file((tmp_path / "client.key").read_bytes()).load(PASSPHRASE).public_key == key
    added = run("add-client", tmp_path / "log", "registry", "--jwk", "-", "--issuer", ISSUER, text=made.stdout)
    assert added.exit_code == 0, added.output
    assert added.stdout.startswith(f"client registry may now write for {ISSUER}: ")
    client = read_clients(tmp_path / "log" / "clients.json")["registry"]
    assert list(client.keys.values()) == [key]
    assert client.client == Client("registry", frozenset({ISSUER}))
    changed: list[str | Path] = [
        "add-client",
        tmp_path / "log",
        "registry",
        "--jwk",
        jwk_file(tmp_path / "jwk", REGISTRY),
    ]
    assert isinstance(run(*changed, "--region", "CN-GD").exception, FolderError)
    assert run(*changed, "--region", "CN-GD", "--replace").exit_code == 0
    assert read_clients(tmp_path / "log" / "clients.json")["registry"].client.region == "CN-GD"
    assert run("remove-client", tmp_path / "log", "registry").exit_code == 0
    assert read_clients(tmp_path / "log" / "clients.json") == {}
    assert isinstance(run("client-key", tmp_path / "client.key").exception, ChopmarkError), "a key is never replaced"


def test_a_client_of_nothing_or_of_a_log_that_is_none_is_refused(tmp_path: Path) -> None:
    jwk = jwk_file(tmp_path / "jwk", REGISTRY)
    assert isinstance(
        run("add-client", tmp_path / "log", "x", "--jwk", jwk, "--region", "CN-GD").exception, ChopmarkError
    )
    run("init", tmp_path / "log", "--origin", ORIGIN, "--number", "1")
    assert isinstance(run("add-client", tmp_path / "log", "x", "--jwk", jwk).exception, ChopmarkError)
    assert isinstance(run("add-client", tmp_path / "log", "x", "--jwk", tmp_path / "none").exception, ChopmarkError)
    assert run("client-key", tmp_path / "key", "--algorithm", "ML-DSA-44").exit_code == 2


def test_the_status_of_a_served_log_comes_from_its_address(served: ServedLog) -> None:
    with served.remote() as ledger:
        ledger.submit(Client("registry", region="CN-GD"), 1, served.entries(2))
        ledger.publish()
    result = run("status", served.url)
    assert result.exit_code == 0, result.output
    assert "committed 3\npublished 3 at 20" in result.stdout
    assert "witness cn-sh.example/witness size 3 at " in result.stdout
    assert " well\n" in result.stdout
    locked = run("status", served.data)
    assert isinstance(locked.exception, FolderLockedError)
    assert isinstance(run("status", "http://127.0.0.1:9").exception, LogUnreachableError)
    assert isinstance(run("status", f"{served.url}/healthz").exception, ChopmarkError)


def test_a_landmark_is_ended_through_the_service_by_the_region(served: ServedLog, tmp_path: Path) -> None:
    from chopmark.key_file import write_key_file

    write_key_file(tmp_path / "region.key", REGISTRY, PASSPHRASE, cost=CHEAP)
    write_key_file(tmp_path / "department.key", DEPARTMENT, PASSPHRASE, cost=CHEAP)
    with served.remote() as ledger:
        ledger.submit(Client("registry", region="CN-GD"), 1, served.entries(2))
    asked = ["landmark", "--url", served.url, "--origin", ORIGIN]
    result = run(*asked, "--client", "registry", "--key", tmp_path / "region.key")
    assert result.exit_code == 0, result.output
    assert "landmark [" in result.stdout
    again = run(*asked, "--client", "registry", "--key", tmp_path / "region.key")
    assert again.stdout == "nothing was published since the last landmark\n"
    refused = run(*asked, "--client", "department", "--key", tmp_path / "department.key")
    assert isinstance(refused.exception, ForbiddenError)
    for incomplete in (["landmark"], ["landmark", served.data, "--url", served.url], asked):
        assert run(*incomplete).exit_code == 2


def test_the_openapi_document_is_printed_as_it_is_specified() -> None:
    result = run("openapi")
    assert result.stdout == (Path(__file__).parents[2] / "specs" / "openapi" / "log.json").read_text()
