"""Where a registry is: what variable, file and command line say, and that no password gets out."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from chopmark.errors import FormatError
from chopmark.keys import Ed25519Signer
from chopmark_issuer.commands.issuer_commands import issuer
from chopmark_issuer.errors import ConflictError
from chopmark_issuer.region import Region
from chopmark_issuer.service.service_settings import DATABASE, read_settings
from chopmark_issuer.settings import Settings
from chopmark_service.json_web_key import to_jwk
from typer.testing import CliRunner, Result

from tests.issuer.conftest import MARKETS, World

ADDRESS = "postgresql+psycopg://registry:secret@db.example/registry"
OTHER = "postgresql+psycopg://other.example/registry"
SETTINGS = "issuer.toml"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def init(folder: Path, *words: str) -> Result:
    passphrase = folder.with_name("passphrase")
    passphrase.write_text("correct horse\n")
    names = ("--name-zh", "示例", "--name-en", "Sample", "--witness", str(folder / "witness"))
    told = ("init", str(folder), "--region", "US-IL", *names, "--passphrase-file", str(passphrase), *words)
    result = CliRunner().invoke(issuer, told)
    assert "Traceback" not in result.output
    return result


def test_settings_say_where_the_registry_is_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    assert DATABASE.of(tmp_path) is None
    (tmp_path / SETTINGS).write_text("port = 8999\n[nothing]\n")
    DATABASE.keep(tmp_path, ADDRESS)
    assert DATABASE.of(tmp_path) == ADDRESS
    assert (tmp_path / SETTINGS).read_text() == f'database = "{ADDRESS}"\nport = 8999\n[nothing]\n'
    assert mode(tmp_path / SETTINGS) == 0o600
    (tmp_path / SETTINGS).write_text(f'database = "{ADDRESS}"\n')
    settings = read_settings({"data": tmp_path})
    assert settings.database == ADDRESS
    assert "secret" not in repr(settings) + repr(Settings(tmp_path, b"", database_url=ADDRESS))


def test_settings_that_named_the_database_before_are_closed_to_others_too(tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_text(f'port = 8999\ndatabase = "{ADDRESS}"\n')
    (tmp_path / SETTINGS).chmod(0o644)
    left = tmp_path / f".{SETTINGS}.tmp"
    left.touch(mode=0o644)
    DATABASE.keep(tmp_path, ADDRESS)
    assert mode(tmp_path / SETTINGS) == 0o600
    assert (tmp_path / SETTINGS).read_text() == f'port = 8999\ndatabase = "{ADDRESS}"\n'


@pytest.mark.parametrize("url", ['postgresql://u:a"b\\c@host/name', "postgresql://u@host/name?application_name=a'b"])
def test_what_is_kept_is_read_back_as_it_was(tmp_path: Path, url: str) -> None:
    DATABASE.keep(tmp_path, url)
    assert DATABASE.of(tmp_path) == url


def test_a_variable_that_names_another_database_than_the_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHOPMARK_ISSUER_DATABASE", OTHER)
    assert DATABASE.of(tmp_path) == OTHER
    (tmp_path / SETTINGS).write_text(f'database = "{ADDRESS}"\n')
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(f'database = "{ADDRESS}"\n')
    told = r"it names another database than CHOPMARK_ISSUER_DATABASE.*Unset the variable"
    with pytest.raises(FormatError, match=told) as caught:
        DATABASE.of(tmp_path)
    assert "secret" not in str(caught.value)
    for config in (None, elsewhere):
        with pytest.raises(FormatError, match=told):
            read_settings({"data": tmp_path}, config=config)
    monkeypatch.setenv("CHOPMARK_ISSUER_DATABASE", ADDRESS)
    assert DATABASE.of(tmp_path) == read_settings({"data": tmp_path}).database == ADDRESS


def test_a_variable_that_is_empty_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPMARK_ISSUER_DATABASE", "")
    assert DATABASE.of(tmp_path) is None
    assert read_settings({"data": tmp_path}).database is None
    (tmp_path / SETTINGS).write_text(f'database = "{ADDRESS}"\n')
    assert DATABASE.of(tmp_path) == read_settings({"data": tmp_path}).database == ADDRESS


@pytest.mark.parametrize(
    "secret",
    [
        "postgresql://u:secret@host/name",
        "postgresql:///name?password=secret",
        "postgresql://u@host/name?sslpassword=secret",
        "postgresql://u:x#secret@host/name",
        "postgresql://u:a/secret@host/name",
    ],
)
def test_a_password_on_the_command_line_is_refused(tmp_path: Path, secret: str) -> None:
    result = init(tmp_path / "data", "--database", secret)
    assert (result.exit_code, "secret" in result.output) == (2, False), result.output
    assert "CHOPMARK_ISSUER_DATABASE" in result.output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("wrong", ["postgresql://u:a/b@secret@host/name", "postgresql://host:secret/name"])
def test_what_is_no_url_on_the_command_line_is_refused_and_not_repeated(tmp_path: Path, wrong: str) -> None:
    result = init(tmp_path / "data", "--database", wrong)
    assert (result.exit_code, "secret" in result.output) == (3, False), result.output


def test_a_second_place_for_a_registry_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / SETTINGS).write_text('database = "postgresql://first.example/name"\n')
    result = init(folder, "--database", "postgresql://second.example/name")
    assert result.exit_code == 1
    assert "names another database" in result.output
    (folder / "registry.db").touch()
    with pytest.raises(ConflictError, match="cannot be moved"):
        Region.open(Settings(folder, b"", database_url="postgresql://host/name"))


def test_a_url_that_the_settings_cannot_hold_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    for wrong in ("postgresql://u:\U0001f511@host/name", "postgresql://u:a b@host/name"):
        monkeypatch.setenv("CHOPMARK_ISSUER_DATABASE", wrong)
        result = init(folder)
        assert result.exit_code == 1, result.output
        assert "Percent-encode" in result.output
        assert not folder.exists()
    monkeypatch.setenv("CHOPMARK_ISSUER_DATABASE", "postgresql://host/name")
    folder.mkdir()
    (folder / SETTINGS).write_bytes(b"\xef\xbb\xbfport = 1\n")
    result = init(folder)
    assert result.exit_code == 1
    assert "not TOML" in result.output
    assert [path.name for path in folder.iterdir()] == [SETTINGS]


def test_clients_are_not_looked_for_in_the_database_of_another_folder(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jwk = tmp_path / "key.jwk"
    jwk.write_text(json.dumps(to_jwk(Ed25519Signer.generate().public_key)))
    monkeypatch.setenv("CHOPMARK_ISSUER_DATABASE", OTHER)
    data = ("--data", str(world.guangdong.settings.data))
    add = ("add-client", "office", "--department", MARKETS, "--jwk", str(jwk), "--right", "read")
    for words in (add, ("remove-client", "office"), ("clients",)):
        result = CliRunner().invoke(issuer, [*words, *data])
        assert result.exit_code == 1, result.output
        assert "the folder has a registry.db, and the URL of another database is given" in result.output
