from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chopmark import qr_text, verifier
from chopmark.challenge import Challenge
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, StorageError, TrustError
from chopmark.key_file import ScryptCost, write_key_file
from chopmark.keys import Ed25519Signer
from chopmark.presentation import present
from chopmark.verification_record import read_unverified
from chopmark_verifier import desk
from chopmark_verifier.commands import inspector
from typer.testing import CliRunner

from specs.vectors.sample_world import INSPECTOR, NOW

PURPOSE = "年度检查"
CHEAP = ScryptCost(n=2**10)


@pytest.fixture
def cli(out: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the commands in a folder with `trust`, `inspector.key`, `passphrase` and `food.txt`, at `NOW`."""
    monkeypatch.chdir(out.folder)
    for variable in ("CHOPMARK_PASSPHRASE", "CHOPMARK_PASSPHRASE_FILE", "CHOPMARK_TRUST"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(desk, "InspectionDesk", partial(desk.InspectionDesk, clock=out.clock))
    monkeypatch.setattr(verifier, "Verifier", partial(verifier.Verifier, clock=out.clock))
    write_key_file(out.folder / "inspector.key", out.world.inspector_signer, b"secret words", cost=CHEAP)
    (out.folder / "passphrase").write_bytes(b"secret words\n")
    (out.folder / "food.txt").write_text(qr_text.encode(out.credentials["food"].encode()))

    def run(*arguments: str, **environment: str) -> Any:
        return CliRunner().invoke(
            inspector, list(arguments), env={"LC_ALL": "C.UTF-8", "COLUMNS": "120", **environment}
        )

    return run


WITH_KEY = ("--key", "inspector.key", "--passphrase-file", "passphrase")


def test_a_check_shows_the_verdict_and_files_the_record(cli: Any, out: Any) -> None:
    result = cli("check", "food.txt", "--purpose", PURPOSE, *WITH_KEY)
    assert result.exit_code == 0, result.output
    assert "VALID" in result.stdout
    assert "示例餐饮有限公司" in result.stdout
    (path,) = out.records.rglob("*.jwt")
    assert f"record: {path.relative_to(out.folder)}" in result.stdout
    record = read_unverified(path.read_text()).record
    assert (record.inspector, record.purpose, record.fields) == (INSPECTOR, PURPOSE, None)


def test_fields_are_filed_when_asked_for(cli: Any, out: Any) -> None:
    assert cli("check", "food.txt", "--purpose", PURPOSE, *WITH_KEY, "--with-fields", "--records", "r").exit_code == 0
    (path,) = (out.folder / "r").rglob("*.jwt")
    fields = read_unverified(path.read_text()).record.fields
    assert fields is not None
    assert fields["business_name"] == "示例餐饮有限公司"


def test_a_check_without_a_key_says_that_nothing_is_recorded(cli: Any, out: Any) -> None:
    result = cli("check", "food.txt", "--purpose", PURPOSE, "--lang", "zh")
    assert result.exit_code == 0
    assert "未留存记录" in result.stdout
    assert not out.records.exists()


def test_a_record_needs_a_key(cli: Any) -> None:
    for more in (("--records", "r"), ("--with-fields",)):
        result = cli("check", "food.txt", "--purpose", PURPOSE, *more)
        assert isinstance(result.exception, FormatError)
        assert "--key" in str(result.exception)


def test_json_has_no_field_of_the_licence(cli: Any) -> None:
    result = cli("check", "food.txt", "--purpose", PURPOSE, *WITH_KEY, "--json")
    value = json.loads(result.stdout)
    assert value["outcome"] == "VALID"
    assert Path(value["record"]).is_file()
    assert "示例餐饮有限公司" not in result.stdout


def test_the_exit_code_tells_the_outcome(cli: Any, out: Any) -> None:
    unlogged = out.world.issue(out.world.claims("food", index=7))
    Path("unlogged.cbor").write_bytes(unlogged.encode())
    assert cli("check", "unlogged.cbor", "--purpose", PURPOSE, *WITH_KEY).exit_code == 2
    assert cli("check", "unlogged.cbor", "--purpose", PURPOSE).exit_code == 2
    assert cli("check", "EL1:XYZ", "--purpose", PURPOSE, *WITH_KEY).exit_code == 1
    assert isinstance(cli("check", "none.txt", "--purpose", PURPOSE, *WITH_KEY).exception, StorageError)


def test_a_challenge_is_asked_answered_and_checked(cli: Any, out: Any) -> None:
    result = cli(
        "challenge", "--type", "CN-GD/11100000MB99991003002", "--field", "id_number", "--purpose", PURPOSE, *WITH_KEY
    )
    assert result.exit_code == 0, result.output
    challenge = Challenge.parse_text(result.stdout.strip())
    assert (challenge.inspector, challenge.purpose, challenge.fields) == (INSPECTOR, PURPOSE, (2,))
    assert challenge.licence_type == "CN-GD/11100000MB99991003002@1"
    Path("challenge.txt").write_text(result.stdout)
    answer = present(out.credentials["transport"], out.world.holder, at=NOW, challenge=challenge, disclose=[2])
    text = qr_text.encode(answer.encode())
    for asked in ("challenge.txt", challenge.text()):
        checked = cli("check", text, "--challenge", asked, "--purpose", PURPOSE, *WITH_KEY, "--json")
        assert json.loads(checked.stdout)["checks"][2]["reason"] == "challenge_answered"
    assert cli("check", text, "--challenge", "challenge.txt", "--purpose", PURPOSE).exit_code == 0
    other = cli("check", text, "--challenge", "challenge.txt", "--purpose", "another", *WITH_KEY)
    assert isinstance(other.exception, FormatError)


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        (("--type", "CN-GD/NONE"), TrustError, "CN-GD/11100000MB99991003001@1"),
        (("--type", "CN-BJ/NONE"), TrustError, "does not know"),
        (("--type", "CN-GD/11100000MB99991003002@1", "--field", "shoe_size"), FormatError, "id_number"),
        (("--type", "CN-GD/11100000MB99991003001@1"), FormatError, "nobody can answer"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_what_there_is(
    cli: Any, options: tuple[str, ...], error: type[ChopmarkError], problem: str
) -> None:
    result = cli("challenge", *options, "--purpose", PURPOSE, *WITH_KEY)
    assert isinstance(result.exception, error)
    assert problem in str(result.exception)


def test_records_are_listed(cli: Any, out: Any) -> None:
    cli("check", "food.txt", "--purpose", PURPOSE, *WITH_KEY)
    cli("check", "EL1:XYZ", "--purpose", "夜查", *WITH_KEY)
    result = cli("records", "records", "--lang", "zh")
    assert result.exit_code == 0
    assert "年度检查" in result.stdout
    assert "INVALID" in result.stdout
    listed = [json.loads(line) for line in cli("records", "records", "--json").stdout.splitlines()]
    assert sorted(each["outcome"] for each in listed) == ["INVALID", "VALID"]
    assert {each["verified"] for each in listed} == {False}
    (out.records / "2026-11-22" / "x.jwt").write_text("x")
    broken = cli("records", "records")
    assert broken.exit_code == 1
    assert "x.jwt: " in broken.stdout.replace("\n", "")


def test_a_filed_record_is_verified_and_shown(cli: Any, out: Any) -> None:
    cli("check", "food.txt", "--purpose", PURPOSE, *WITH_KEY)
    (path,) = out.records.rglob("*.jwt")
    result = cli("read", str(path), "--trust", "trust")
    assert result.exit_code == 0
    assert "verified: signed by an enrolled inspector key" in result.stdout
    assert "not verified" not in result.stdout
    assert INSPECTOR in result.stdout
    value = json.loads(cli("read", str(path), "--json").stdout)
    assert (value["verified"], value["content"]["outcome"]) == (True, "VALID")


def test_a_record_that_is_not_the_inspector_s_exits_1(cli: Any, out: Any) -> None:
    cli("check", "food.txt", "--purpose", PURPOSE, *WITH_KEY)
    (path,) = out.records.rglob("*.jwt")
    head, _, signature = path.read_text().rpartition(".")
    path.write_text(f"{head}.{'A' * 84}{signature[-2:]}")
    result = cli("read", str(path))
    assert result.exit_code == 1
    assert "does not verify" in result.stderr
    path.write_text("x")
    assert isinstance(cli("read", str(path)).exception, FormatError)


def test_the_passphrase_comes_from_a_file_or_the_environment(cli: Any) -> None:
    check = ("check", "food.txt", "--purpose", PURPOSE, "--key", "inspector.key", "--json")
    assert cli(*check, CHOPMARK_PASSPHRASE="secret words").exit_code == 0
    assert cli(*check, CHOPMARK_PASSPHRASE_FILE="passphrase").exit_code == 0
    assert isinstance(cli(*check).exception, KeyMaterialError)
    assert isinstance(cli(*check, CHOPMARK_PASSPHRASE="other").exception, KeyMaterialError)
    assert isinstance(cli(*check, CHOPMARK_PASSPHRASE_FILE="none").exception, StorageError)
    named = cli(*check, "--passphrase-file", "passphrase", CHOPMARK_PASSPHRASE_FILE="none", CHOPMARK_PASSPHRASE="x")
    assert named.exit_code == 0


def test_a_key_that_nobody_enrolled_is_refused(cli: Any, out: Any) -> None:
    write_key_file(out.folder / "other.key", Ed25519Signer(bytes(32)), b"secret words", cost=CHEAP)
    result = cli("check", "food.txt", "--purpose", PURPOSE, "--key", "other.key", "--passphrase-file", "passphrase")
    assert isinstance(result.exception, TrustError)
    assert not out.records.exists()


@pytest.mark.parametrize("command", ["challenge", "check", "records", "read"])
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(inspector, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_the_commands_import_nothing_heavy() -> None:
    script = (
        "import sys, chopmark_verifier.commands; "
        "print([m for m in sys.modules if m.startswith(('chopmark.', 'cryptography', 'nacl', 'jwt', 'PIL'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    light = {"chopmark.cli", "chopmark.cli.answering_command", "chopmark.cli.exit_codes"}
    assert set(ast.literal_eval(done.stdout)) <= light
