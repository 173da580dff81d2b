"""`chopmark verify` and `chopmark trust`: exit codes, languages, JSON, and what a forger cannot do to a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from chopmark import cbor, cose, qr_text
from chopmark.cli.verify import choose_language, read_time
from chopmark.errors import FormatError
from chopmark.licence_type import LocalisedText

from specs.vectors.sample_world import NOW, make_world

CHOPMARK = [sys.executable, "-c", "from chopmark.cli import main; main()"]
AT = str(NOW)


def chopmark(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    return subprocess.run(
        [*CHOPMARK, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        env={**environment, "PYTHONUTF8": "1", **variables},
    )


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, bytes]:
    world = make_world()
    (food,) = world.logged(world.issue(world.claims("food")))
    folder = tmp_path_factory.mktemp("cli") / "trust"
    store = world.store(folder)
    store.put_root("CN-SH", world.home.root_epoch, now=NOW)
    return folder, qr_text.encode(food.encode()), food.encode()


def test_a_genuine_licence_is_valid_and_shows_what_it_says(trust: tuple[Path, str, bytes]) -> None:
    folder, text, _ = trust
    run = chopmark("verify", text, "--trust", folder, "--at", AT, "--lang", "zh")
    assert run.returncode == 0, run.stderr
    assert "有效" in run.stdout
    assert "示例餐饮有限公司" in run.stdout
    assert "\x1b" not in run.stdout


def test_a_file_of_text_and_a_file_of_cbor_verify_too(trust: tuple[Path, str, bytes], tmp_path: Path) -> None:
    folder, text, data = trust
    (tmp_path / "code.txt").write_text(text + "\n")
    (tmp_path / "licence.cbor").write_bytes(data)
    run = chopmark("verify", tmp_path / "code.txt", tmp_path / "licence.cbor", "--trust", folder, "--at", AT)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_worst_of_several_inputs_is_the_exit_code(trust: tuple[Path, str, bytes]) -> None:
    folder, text, _ = trust
    assert chopmark("verify", text, "EL1:AB", "--trust", folder, "--at", AT).returncode == 1
    assert chopmark("verify", text, "EL9:AB", "--trust", folder, "--at", AT).returncode == 2
    assert chopmark("verify", text, "no-such-file", "EL1:AB", "--trust", folder, "--at", AT).returncode == 3


def test_json_is_one_object_a_line_and_names_nobody(trust: tuple[Path, str, bytes]) -> None:
    folder, text, _ = trust
    run = chopmark("verify", text, "EL1:AB", "--trust", folder, "--at", AT, "--json")
    first, second = (json.loads(line) for line in run.stdout.splitlines())
    assert (first["outcome"], second["outcome"]) == ("VALID", "INVALID")
    assert [check["number"] for check in first["checks"]] == list(range(10))
    assert "示例" not in run.stdout


def test_a_missing_store_is_told_with_the_remedy(trust: tuple[Path, str, bytes], tmp_path: Path) -> None:
    run = chopmark("verify", trust[1], "--trust", tmp_path / "none")
    assert run.returncode == 3
    assert "chopmark trust init" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_forged_code_cannot_paint_on_the_terminal(trust: tuple[Path, str, bytes]) -> None:
    folder, _, data = trust
    sign1 = cose.Sign1.parse(data)
    payload = cbor.decode(sign1.payload)
    assert isinstance(payload, dict)
    payload["\x1b[2J\x1b[HVALID\u202e"] = 1
    value = sign1.value()
    assert isinstance(value.value, list)
    value.value[2] = cbor.encode(payload)
    text = qr_text.encode(cbor.encode(value))
    for extra in ((), ("--json",)):
        run = chopmark("verify", text, "--trust", folder, "--at", AT, *extra)
        assert run.returncode != 0
        assert "\x1b" not in run.stdout
        assert "\u202e" not in run.stdout


def test_what_an_issuer_wrote_is_shown_as_it_stands_and_not_obeyed(tmp_path: Path) -> None:
    world = make_world()
    issuers = world.peer.issuers
    issuers[:] = [replace(each, name=LocalisedText("[red]机关[/red]\x1b[2J", "[/x] office\x1b[2J")) for each in issuers]
    claims = world.claims("food")
    (food,) = world.logged(world.issue(replace(claims, fields={**claims.fields, 1: "[/y] [bold]商行[/bold]"})))
    world.store(tmp_path / "trust").put_root("CN-SH", world.home.root_epoch, now=NOW)
    for lang, office in (("zh", "[red]机关[/red]\\x1b[2J"), ("en", "[/x] office\\x1b[2J")):
        code = qr_text.encode(food.encode())
        run = chopmark("verify", code, "--trust", tmp_path / "trust", "--at", AT, "--lang", lang)
        assert run.returncode == 0, run.stderr
        assert office in run.stdout
        assert "[/y] [bold]商行[/bold]" in run.stdout
        assert "\x1b" not in run.stdout


def test_the_language_is_the_systems_unless_named(trust: tuple[Path, str, bytes]) -> None:
    folder, text, _ = trust
    assert "有效" in chopmark("verify", text, "--trust", folder, "--at", AT, LANG="zh_CN.UTF-8").stdout
    assert "VALID" in chopmark("verify", text, "--trust", folder, "--at", AT, LANG="C").stdout
    assert choose_language("zh-Hans") == "zh"
    with pytest.raises(FormatError):
        choose_language("fr")


@pytest.mark.parametrize("text", ["2026-11-22", "-1", "1_0", "253402300800", "now", "٣"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        read_time(text)


def test_times_are_read_in_both_forms() -> None:
    assert read_time("2026-11-22T09:30:00Z") == read_time(AT) == NOW


def test_the_store_shows_what_it_holds(trust: tuple[Path, str, bytes]) -> None:
    run = chopmark("trust", "show", "--trust", trust[0])
    assert run.returncode == 0, run.stderr
    assert "CN-SH" in run.stdout
    assert "CN-GD" in run.stdout


@pytest.mark.parametrize("data", [b"hello\n", b"BM\x00\x01\x02\x03", b"%PDF-1.7\n", b"RIFF\x00\x00\x00\x00WEBP"])
def test_a_file_that_is_no_licence_is_not_called_a_bad_licence(
    trust: tuple[Path, str, bytes], tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "file").write_bytes(data)
    run = chopmark("verify", tmp_path / "file", "--trust", trust[0])
    assert run.returncode == 3
    assert "PNG or JPEG" in run.stderr


def test_the_last_day_is_told_in_the_calendar_of_the_licence(trust: tuple[Path, str, bytes]) -> None:
    run = chopmark("verify", trust[1], "--trust", trust[0], "--at", AT, "--lang", "en")
    assert "valid until" in run.stdout
    assert "2029-11-21" in run.stdout


def test_a_region_that_the_store_does_not_hold_is_the_headline(trust: tuple[Path, str, bytes], tmp_path: Path) -> None:
    world = make_world()
    (tmp_path / "1.note").write_bytes(world.home.root_epoch)
    assert chopmark("trust", "init", "--roots", tmp_path / "1.note", "--trust", tmp_path / "t").returncode == 0
    store = tmp_path / "t"
    run = chopmark("verify", trust[1], "--trust", store, "--at", AT, "--lang", "en")
    assert run.returncode == 2
    assert "holds no bundle of the region CN-GD" in run.stdout.splitlines()[1]
