from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chopmark.credential import Credential
from chopmark.errors import StorageError
from chopmark.keys import Es256Signer
from chopmark_issuer.commands.issuer_commands import issuer
from chopmark_issuer.importing.import_folder import ImportFolder
from chopmark_issuer.importing.import_refused import RefusedFile
from chopmark_ledger.commands.witness_commands import witness
from typer.testing import CliRunner, Result

EXAMPLES = Path(__file__).parents[2] / "examples"
DEPARTMENT = "US-IL/CHICAGO-BACP"
TYPE = "US-IL/business-licence"
HEADER = (
    "ID,ACCOUNT NUMBER,SITE NUMBER,LEGAL NAME,DOING BUSINESS AS NAME,ADDRESS,CITY,STATE,ZIP CODE,WARD,LICENSE CODE,"
    "LICENSE DESCRIPTION,BUSINESS ACTIVITY,LICENSE NUMBER,APPLICATION TYPE,LICENSE TERM START DATE,"
    "LICENSE TERM EXPIRATION DATE,DATE ISSUED,LICENSE STATUS,LICENSE STATUS CHANGE DATE\n"
)
ROW = (
    "7-20260101,1,1,SAMPLE FOODS INC,SAMPLE FOODS,1 SAMPLE AVE,SAMPLEVILLE,IL,00000,1,1010,Limited Business License,"
    ",7,ISSUE,01/01/2026,12/31/2099,01/01/2026,AAI,\n"
)

Run = Callable[..., Result]


@pytest.fixture
def run(source: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `chopmark issuer …` on a region in `tmp_path/data`, with the passphrase in a file; a URL of its database is
    told to `init` alone."""
    (tmp_path / "passphrase").write_text("correct horse\n")
    monkeypatch.setenv("CHOPMARK_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    monkeypatch.setenv("CHOPMARK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()

    def command(*words: str, exit_code: int = 0) -> Result:
        result = runner.invoke(issuer, list(words))
        assert result.exit_code == exit_code, result.output
        assert "Traceback" not in result.output
        return result

    made = runner.invoke(witness, ["init", str(tmp_path / "witness"), "--name", "us-ny.example/witness"])
    assert made.exit_code == 0, made.output
    names = ("--name-zh", "示例", "--name-en", "Sample")
    with monkeypatch.context() as told:
        if isinstance(source, str):
            told.setenv("CHOPMARK_ISSUER_DATABASE", source)
        command("init", str(tmp_path / "data"), "--region", "US-IL", *names, "--witness", str(tmp_path / "witness"))
    assert (tmp_path / "data" / "registry.db").exists() == isinstance(source, Path)
    command("add-department", DEPARTMENT, *names)
    command("add-type", str(EXAMPLES / "chicago" / "business-licence.type.json"))
    command("grant", DEPARTMENT, TYPE)
    return command


ISSUE = (
    "issue", "--type", TYPE, "--holder", "SAMPLE FOODS INC", "--first-day", "2026-01-01", "--last-day", "2099-12-31",
    "--number", "7", "--field", "legal_name=SAMPLE FOODS INC", "--field", "licence_code=1010",
    "--field", "licence_kind=Limited Business License", "--field", "address=1 SAMPLE AVE",
    "--field", "account_number=1", "--field", "site_number=1", "--field", "issued_on=2026-01-01",
    "--field", "activities=bakery", "--field", "activities=hot meals",
)  # fmt: skip


def test_a_licence_lives_from_issue_to_closing(run: Run, tmp_path: Path) -> None:
    assert "7: version 1, 1 credential\n" in run(*ISSUE).output
    assert "not in the log" in run("qr", "7", str(tmp_path / "7.png"), exit_code=1).output
    assert "trust bundle 1 signed" in run("publish").output
    assert "QR version " in run("qr", "7", str(tmp_path / "7.png")).output
    assert (tmp_path / "7.png").read_bytes().startswith(b"\x89PNG")
    run("credential", "7", str(tmp_path / "7.credential"))
    credential = Credential.parse((tmp_path / "7.credential").read_bytes())
    assert credential.claims.fields[5] == ["bakery", "hot meals"]
    assert credential.tlog_proof is not None
    assert "superseded" not in run("change", "7", "--field", "ward=29").output
    assert "7: suspended" in run("suspend", "7", "--reason", "inspection").output
    assert "7: valid" in run("return", "7").output
    run("renew", "7", "--first-day", "2026-02-01", "--last-day", "2099-12-31")
    assert "7: closed" in run("close", "7", "--effective-from", "2026-03-01").output
    shown = run("show", "7").output
    for text in ("商业执照", "closed", "suspend", "2099-12-31", "选区 · Ward: 29", "2026-03-01T06:00:00Z"):
        assert text in shown
    assert "can not be revoked" in run("revoke", "7", exit_code=1).output


def test_only_publishing_needs_the_passphrase_of_the_witnesses(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, data = tmp_path / "witness-passphrase", str(tmp_path / "apart")
    other.write_text("battery staple\n")
    monkeypatch.setenv("CHOPMARK_DATA", data)
    folder = str(tmp_path / "other-witness")
    words = ["init", folder, "--name", "us-ny.example/witness", "--passphrase-file", str(other)]
    assert CliRunner().invoke(witness, words).exit_code == 0
    names = ("--name-zh", "示例", "--name-en", "Sample")
    run("init", data, "--region", "US-IL", *names, "--witness", folder)
    run("add-department", DEPARTMENT, *names)
    run("add-type", str(EXAMPLES / "chicago" / "business-licence.type.json"))
    run("grant", DEPARTMENT, TYPE)
    run(*ISSUE)
    assert "--witness-passphrase-file" in run("publish", exit_code=3).output
    run("publish", "--witness-passphrase-file", str(other))
    run("qr", "7", str(tmp_path / "7.png"))
    run("credential", "7", str(tmp_path / "7.credential"))


def test_a_file_is_imported_and_refused_rows_are_listed(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "licences.csv"
    file.write_text(HEADER + ROW + ROW.replace("7-2026", "8-2026").replace(",7,", ",8,").replace("AAI", "WHAT"))
    words = ("import", str(file), "--type", TYPE, "--mapping", str(EXAMPLES / "chicago" / "mapping.json"))
    output = run(*words).output
    assert "2 rows of 2 licences: 1 issued, 0 changed, 0 unchanged, 1 refused" in output
    assert "row 3, LICENSE STATUS: a word that the mapping does not name" in output
    assert list((tmp_path / "data" / "imports").glob("licences.refused-*.csv"))
    assert "0 issued, 0 changed, 1 unchanged, 1 refused" in run(*words).output
    file.write_text("wrong,header\n")
    assert "the header lacks" in run(*words, exit_code=1).output


def test_a_dry_run_issues_nothing_and_needs_no_passphrase(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "licences.csv"
    file.write_text(HEADER + ROW + ROW.replace("7-2026", "8-2026").replace(",7,", ",8,").replace("AAI", "WHAT"))
    words = ("import", str(file), "--type", TYPE, "--mapping", str(EXAMPLES / "chicago" / "mapping.json"))
    monkeypatch.delenv("CHOPMARK_PASSPHRASE_FILE")
    output = run(*words, "--dry-run").output
    assert "2 rows of 2 licences: 1 issued, 0 changed, 0 unchanged, 1 refused" in output
    assert "nothing was written into the registry" in output
    assert (tmp_path / "data" / "imports" / "licences.refused-dry-run.csv").is_file()
    assert "no licence of that number" in run("show", "7", exit_code=1).output
    assert "licences.csv" not in run("imports").output


@pytest.mark.both_databases
def test_the_history_of_imports_says_which_came_to_their_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "licences.csv"
    file.write_text(HEADER + ROW + ROW.replace("7-2026", "8-2026").replace(",7,", ",8,").replace("AAI", "WHAT"))
    words = ("import", str(file), "--type", TYPE, "--mapping", str(EXAMPLES / "chicago" / "mapping.json"))
    with monkeypatch.context() as broken:
        broken.setattr(RefusedFile, "finish", lambda *_: (_ for _ in ()).throw(StorageError("the disk is full")))
        assert "the disk is full" in run(*words, exit_code=3).output
    run(*words)
    finished, refused, interrupted = run("imports").output.strip().splitlines()
    assert finished.startswith("2  ")
    assert f"licences.csv  {TYPE}  finished, 2 rows: 0 issued, 0 changed, 1 unchanged, 1 refused" in finished
    assert refused.strip() == f"refused rows: {tmp_path / 'data' / 'imports' / 'licences.refused-2.csv'}"
    assert "interrupted, 2 rows: 1 issued, 0 changed, 0 unchanged, 1 refused" in interrupted
    with ImportFolder(tmp_path / "data" / "imports") as held:
        held.name_run(1)
        assert "under way, 2 rows" in run("imports").output
    assert run("imports", "--limit", "1").output.count("licences.csv") == 1


def test_a_department_is_not_given_keys_under_a_mistyped_passphrase(run: Run, tmp_path: Path) -> None:
    before = sorted((tmp_path / "data" / "keys").iterdir())
    (tmp_path / "typo").write_text("correct hrose\n")
    words = ("add-department", "US-IL/OTHER", "--name-zh", "示例", "--name-en", "Sample")
    output = run(*words, "--passphrase-file", str(tmp_path / "typo"), exit_code=3).output
    assert "the passphrase is not that of the keys of US-IL" in output
    assert sorted((tmp_path / "data" / "keys").iterdir()) == before
    run(*words)


@pytest.mark.parametrize("blank", ["", " ", "\u3000", "\udcff", "a\x1b[2J", "x" * 201])
@pytest.mark.parametrize("option", ["--name-zh", "--name-en"])
def test_a_name_that_no_bundle_can_state_is_refused_with_its_option(tmp_path: Path, option: str, blank: str) -> None:
    names = {"--name-zh": "示例", "--name-en": "Sample"} | {option: blank}
    (tmp_path / "passphrase").write_text("correct horse\n")
    words = ["init", str(tmp_path / "data"), "--region", "US-IL", "--witness", str(tmp_path / "witness")]
    words += ["--passphrase-file", str(tmp_path / "passphrase")]
    result = CliRunner().invoke(issuer, [*words, *(word for pair in names.items() for word in pair)])
    assert (result.exit_code, option in result.output) == (1, True)
    assert not (tmp_path / "data").exists()


def test_a_department_or_type_with_a_blank_name_is_refused_and_publishing_goes_on(run: Run, tmp_path: Path) -> None:
    refused = run("add-department", "US-IL/OTHER", "--name-zh", " ", "--name-en", "Other", exit_code=1)
    assert "--name-zh" in refused.output
    definition = json.loads((EXAMPLES / "chicago" / "business-licence.type.json").read_text("utf-8"))
    definition |= {"id": "US-IL/other"}
    definition["fields"][0]["label"]["en"] = " "
    (tmp_path / "type.json").write_text(json.dumps(definition))
    assert "blank" in run("add-type", str(tmp_path / "type.json"), exit_code=1).output
    run("publish")


@pytest.mark.parametrize(
    ("words", "exit_code", "text"),
    [
        (("show", "nothing"), 1, "no licence of that number"),
        (("add-type", "nothing.json"), 3, "no such file"),
        (("add-department", "CN-GD/X", "--name-zh", "示例", "--name-en", "x"), 1, "US-IL/<organisation code>"),
        (("grant", DEPARTMENT, "US-IL/unknown"), 1, "no type"),
        (("issue", "--type", "US-IL/unknown", "--holder", "A", "--first-day", "2026-01-01"), 1, "no type"),
        ((*ISSUE, "--department", "US-IL/OTHER"), 1, "no department"),
        ((*ISSUE, "--field", "ward"), 1, "NAME=VALUE"),
        ((*ISSUE, "--field", "ward=1", "--field", "ward=2"), 1, "given twice"),
        ((*ISSUE, "--last-day", "2026-W47-7"), 1, "2026-11-22"),
        ((*ISSUE, "--holder-code", "nonsense"), 1, "KIND:CODE"),
        ((*ISSUE, "--holder-key", "RSA:AAAA"), 1, "ES256:base64"),
        (("issue",), 2, "Missing option"),
        (("explode",), 2, "No such command"),
    ],
)
def test_a_mistake_is_told_in_one_message_and_an_exit_code(
    run: Run, words: tuple[str, ...], exit_code: int, text: str
) -> None:
    assert text in run(*words, exit_code=exit_code).output


def test_a_holder_key_on_the_command_line_is_read(run: Run) -> None:
    key = Es256Signer.generate().public_key
    result = run(*ISSUE, "--holder-key", f"ES256:{key.to_json()}", exit_code=1)
    assert "names no holder key" in result.output


def test_without_a_passphrase_or_a_region_nothing_is_tried(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no region" in run("publish", "--data", str(tmp_path / "other"), exit_code=1).output
    monkeypatch.delenv("CHOPMARK_PASSPHRASE_FILE")
    assert "no passphrase" in run("publish", exit_code=3).output


def test_a_grant_says_until_when_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: later)
    run("grant", DEPARTMENT, TYPE, "--end")
    output = run("grant", DEPARTMENT, TYPE, "--until", "2099-12-31").output
    assert f"{DEPARTMENT} may issue {TYPE} until 2099-12-31" in output


def test_a_number_that_is_left_out_is_asked_for_by_its_option(run: Run) -> None:
    place = ISSUE.index("--number")
    assert "Give --number" in run(*ISSUE[:place], *ISSUE[place + 2 :], exit_code=1).output


def test_an_ended_grant_ends_issuing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: later)
    assert "may issue US-IL/business-licence no more" in run("grant", DEPARTMENT, TYPE, "--end").output
    assert "no departments hold a grant" in run(*ISSUE, exit_code=1).output
    assert "no grant" in run(*ISSUE, "--department", DEPARTMENT, exit_code=1).output


def test_a_peer_that_has_published_nothing_is_refused(run: Run, tmp_path: Path) -> None:
    output = run("peer", str(tmp_path / "data"), str(tmp_path / "data"), exit_code=3).output
    assert "has not published" in output


def test_the_module_of_the_commands_imports_nothing_heavy() -> None:
    code = (
        "import sys, json, chopmark_issuer.commands.issuer_commands\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded: list[Any] = json.loads(done.stdout)
    assert not {"sqlalchemy", "sqlmodel", "alembic", "jsonschema", "PIL", "qrcode", "cryptography"} & set(loaded)
