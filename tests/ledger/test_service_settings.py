"""The settings of the log service: flags before environment before file, and nothing unknown."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from chopmark.errors import FormatError, StorageError
from chopmark_ledger.service.service_settings import LogServiceSettings, read_settings
from pydantic import ValidationError


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("CHOPMARK_"):
            monkeypatch.delenv(name)


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, object]:
    return {"data": tmp_path, "policy": tmp_path / "policy", "passphrase_file": tmp_path / "passphrase"}


def test_flags_count_before_the_environment_and_that_before_the_file(
    flags: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.toml").write_text('port = 1\nhost = "::1"\nlog_level = "debug"\n')
    monkeypatch.setenv("CHOPMARK_LOG_PORT", "2")
    monkeypatch.setenv("CHOPMARK_LOG_HOST", "0.0.0.0")
    settings = read_settings({**flags, "port": 3, "log_level": None})
    assert (settings.port, settings.host, settings.log_level) == (3, "0.0.0.0", "debug")
    assert settings.wait_timeout == 30


def test_everything_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "POLICY", "PASSPHRASE_FILE"):
        monkeypatch.setenv(f"CHOPMARK_LOG_{name}", str(tmp_path / name))
    monkeypatch.setenv("CHOPMARK_LOG_MAX_UNPUBLISHED", "1000")
    settings = read_settings({})
    assert settings.data == tmp_path / "DATA"
    assert settings.log.max_unpublished == 1000


def test_a_file_may_be_named_and_its_paths_begin_at_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "any.toml").write_text('data = "../log"\npolicy = "policy.txt"\npassphrase_file = "/run/secret"\n')
    settings = read_settings({}, config=folder / "any.toml")
    assert settings.data == folder / "../log"
    assert settings.policy == folder / "policy.txt"
    assert settings.passphrase_file == Path("/run/secret")
    with pytest.raises(StorageError, match="no such file"):
        read_settings({}, config=folder / "another.toml")


def test_an_unknown_name_is_refused_wherever_it_stands(
    flags: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FormatError, match="prot: there is no such setting"):
        read_settings({**flags, "prot": 1})
    (tmp_path / "log.toml").write_text("prot = 1\n")
    with pytest.raises(FormatError, match="prot: there is no such setting"):
        read_settings(flags)
    (tmp_path / "log.toml").unlink()
    monkeypatch.setenv("CHOPMARK_LOG_PROT", "1")
    with pytest.raises(FormatError, match="CHOPMARK_LOG_PROT"):
        read_settings(flags)


def test_what_is_missing_or_wrong_is_named_all_at_once() -> None:
    with pytest.raises(FormatError) as caught:
        read_settings({"port": 70_000, "log_level": "loud"})
    for part in ("--data or CHOPMARK_LOG_DATA", "--passphrase-file", "port: ", "log_level: "):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["port =", "\0", 'port = "x"'])
def test_a_broken_file_is_refused(flags: dict[str, object], tmp_path: Path, text: str) -> None:
    (tmp_path / "log.toml").write_text(text)
    with pytest.raises(FormatError):
        read_settings(flags)


def test_the_object_is_frozen_travels_and_hides_the_database(flags: dict[str, object]) -> None:
    settings = read_settings({**flags, "database": "postgresql://user:secret@host/log"})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert type(settings) is LogServiceSettings
    assert "secret" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.port = 1


def test_the_example_of_the_deployment_names_every_setting_with_its_default(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "log.toml").read_text()
    (tmp_path / "log.toml").write_text(text)
    settings = read_settings({"passphrase_file": tmp_path / "passphrase"}, config=tmp_path / "log.toml")
    assert settings.policy == tmp_path / "log.policy"
    commented = "\n".join(line.removeprefix("# ") for line in text.split("\n") if " = " in line)
    (tmp_path / "log.toml").write_text(commented)
    all_set = read_settings({"passphrase_file": tmp_path / "passphrase"}, config=tmp_path / "log.toml")
    assert all_set.model_fields_set == set(LogServiceSettings.model_fields)
    assert all_set.model_copy(update={"database": None}) == settings
