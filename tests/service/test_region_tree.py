"""The services of a region: how each is started, and what is said where something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chopmark.errors import FormatError, StorageError
from chopmark.root_epoch import Roots
from chopmark.trust_store import TrustStore
from chopmark_service.child_process import AnswersReady, Listens
from chopmark_service.region_tree import (
    RegionSettings,
    Service,
    addresses,
    check_folder,
    prepare_trust,
    region_children,
)
from chopmark_service.settings import read_settings_of

from specs.vectors.root_vectors import root_note
from tests.tree.served_region import free_ports

ROOTS = root_note(1, "abc", "ab").encode()
PARTS = ("registry.db", "log/log.key", "witness/witness.key", "policy")


@pytest.fixture
def region(tmp_path: Path) -> Path:
    for part in PARTS:
        path = tmp_path / part
        path.parent.mkdir(exist_ok=True)
        path.touch()
    publish_roots(tmp_path)
    return tmp_path


def publish_roots(region: Path) -> None:
    (region / "public/root").mkdir(parents=True)
    (region / "public/root/1.note").write_bytes(ROOTS)


def settings(region: Path, **changes: Any) -> RegionSettings:
    return RegionSettings(**{"data": region, "passphrase_file": region / "passphrase", "port": 9000, **changes})


def test_services_start_in_the_order_of_their_needs_at_ports_one_after_the_other(region: Path) -> None:
    children = region_children(settings(region))
    assert [child.name for child in children] == ["keys", "witness", "log", "issuer", "verifier"]
    ready = {child.name: child.ready for child in children}
    assert ready == {
        "keys": Listens(region / "keys.sock"),
        "witness": AnswersReady("127.0.0.1", 9002),
        "log": AnswersReady("127.0.0.1", 9001),
        "issuer": AnswersReady("127.0.0.1", 9000),
        "verifier": AnswersReady("127.0.0.1", 9003),
    }
    assert [(each.service.value, each.url) for each in addresses(settings(region))] == [
        ("issuer", "http://127.0.0.1:9000"),
        ("log", "http://127.0.0.1:9001"),
        ("witness", "http://127.0.0.1:9002"),
        ("verifier", "http://127.0.0.1:9003"),
    ]


def test_only_those_with_keys_are_told_the_passphrase(region: Path) -> None:
    told = {child.name for child in region_children(settings(region)) if "--passphrase-file" in child.command}
    assert told == {"keys", "witness", "log"}
    alone = region_children(settings(region, without=(Service.KEYS,)))
    assert {child.name for child in alone if "--passphrase-file" in child.command} == {"witness", "log", "issuer"}


def test_what_is_told_to_the_registry_or_the_log_alone_reaches_nobody_else(
    region: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"CHOPMARK_ISSUER_DATABASE": "issuer", "CHOPMARK_LOG_DATABASE": "log", "PGPASSWORD": "both"}
    others = {"PATH": "/bin", "LC_ALL": "C.UTF-8", "HTTPS_PROXY": "x", "CHOPMARK_VERIFIER_PORT": "1", "PYTHONPATH": "y"}
    for name, value in (secrets | others).items():
        monkeypatch.setenv(name, value)
    (region / "registry.db").unlink()
    told = {child.name: child.environment() for child in region_children(settings(region))}
    for environment in told.values():
        assert others.items() <= environment.items()
    known = {name: {value for key, value in told[name].items() if key in secrets} for name in told}
    assert known == {
        "keys": set(),
        "witness": set(),
        "log": {"log", "both"},
        "issuer": {"issuer", "both"},
        "verifier": set(),
    }


def test_a_service_that_runs_elsewhere_is_left_out_and_not_missed(region: Path) -> None:
    (region / "witness/witness.key").unlink()
    children = region_children(settings(region, without=(Service.WITNESS,)))
    assert "witness" not in [child.name for child in children]


@pytest.mark.parametrize("part", PARTS)
def test_what_is_missing_is_told_with_the_command_that_makes_it(region: Path, part: str) -> None:
    (region / part).unlink()
    with pytest.raises(StorageError, match=r"chopmark (issuer init|log init|witness init|log policy)") as refused:
        region_children(settings(region))
    assert str(region / part) in str(refused.value)


def chopmark_serve(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("chopmark")), "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_a_folder_that_is_none_of_a_region_is_told_before_its_settings_are_missed(tmp_path: Path) -> None:
    for folder, told in (
        (tmp_path / "none", "none: there is no such folder"),
        (tmp_path, "not the folder of a region"),
    ):
        done = chopmark_serve("--data", folder)
        assert done.returncode == 3
        assert told in done.stderr
        assert f"chopmark issuer init {folder}" in done.stderr
        assert "passphrase" not in done.stderr


def test_a_line_that_is_missing_in_the_settings_of_a_service_is_told_before_anything_is_started(region: Path) -> None:
    (region / "verifier.toml").write_text('key = "keys/a.key"\n')
    free = free_ports(4)
    done = chopmark_serve("--data", region, "--passphrase-file", region / "passphrase", "--port", free)
    assert done.returncode == 3
    told = f"verifier: cannot start: {region / 'verifier.toml'}: with a key there must be a folder for its records"
    assert told in done.stderr
    assert 'Add the line: records = "records"' in done.stderr
    assert '"started"' not in done.stderr
    assert not (region / "trust").exists()


@pytest.mark.parametrize("port", [0, 65_533])
def test_all_ports_must_be_ports(region: Path, port: int) -> None:
    with pytest.raises(FormatError, match="port"):
        region_children(settings(region, port=port))


def test_a_service_that_listens_everywhere_is_looked_at_on_this_machine(region: Path) -> None:
    assert addresses(settings(region, host="0.0.0.0"))[0].url == "http://127.0.0.1:9000"
    assert addresses(settings(region, host="::"))[0].url == "http://[::1]:9000"


def test_a_path_that_is_too_long_for_a_socket_is_told(region: Path) -> None:
    deep = region / ("d" * 100)
    deep.mkdir()
    for part in PARTS:
        (deep / part).parent.mkdir(exist_ok=True)
        (deep / part).touch()
    publish_roots(deep)
    with pytest.raises(FormatError, match="socket"):
        region_children(settings(deep))


def test_the_verifier_finds_its_own_region_at_the_issuer_beside_it(region: Path) -> None:
    home = Roots.pin(ROOTS).region
    (verifier,) = [child for child in region_children(settings(region)) if child.name == "verifier"]
    assert f"{home}=http://127.0.0.1:9000" in verifier.command
    elsewhere = settings(region, sources={home: "https://public.example"})
    assert f"{home}=https://public.example" in region_children(elsewhere)[-1].command


def test_a_trust_store_is_made_once_and_trusts_the_published_roots(region: Path) -> None:
    assert prepare_trust(settings(region), now=1)
    store = TrustStore.open(region / "trust", roots=Roots.pin(ROOTS))
    assert store.home_region == Roots.pin(ROOTS).region
    assert not prepare_trust(settings(region), now=2)


def test_a_verifier_without_published_roots_is_told_what_to_do(region: Path) -> None:
    (region / "public/root/1.note").unlink()
    with pytest.raises(StorageError, match="chopmark issuer publish"):
        region_children(settings(region))
    region_children(settings(region, without=(Service.VERIFIER,)))


def test_settings_of_the_file_begin_at_its_folder(region: Path) -> None:
    (region / "region.toml").write_text(
        'passphrase_file = "secret"\nport = 9100\nwithout = ["log"]\n[sources]\nCN-SH = "http://127.0.0.1:9200"\n'
    )
    read = read_settings_of(RegionSettings, {"data": region, "port": None}, name="region", command="serve")
    assert (read.passphrase_file, read.port, read.without) == (region / "secret", 9100, (Service.LOG,))
    verifier = region_children(read)[-1]
    assert "CN-SH=http://127.0.0.1:9200" in verifier.command


def test_an_unknown_setting_points_to_the_help_of_the_command(region: Path) -> None:
    (region / "region.toml").write_text("prot = 9100\n")
    with pytest.raises(FormatError, match="chopmark serve --help"):
        read_settings_of(RegionSettings, {"data": region}, name="region", command="serve")


@pytest.mark.parametrize("told", ["settings", "environment"])
def test_a_registry_outside_of_its_folder_is_that_of_a_region_too(
    region: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    (region / "registry.db").unlink()
    with pytest.raises(StorageError, match="not the folder of a region"):
        check_folder(region)
    if told == "settings":
        (region / "issuer.toml").write_text('database = "postgresql://db.example/registry"\n')
    else:
        monkeypatch.setenv("CHOPMARK_ISSUER_DATABASE", "postgresql://db.example/registry")
    check_folder(region)
