"""The demo does what it says: every case gets its verdict, and what it leaves behind can be used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.__main__ import LEFT_BEHIND

ROOT = Path(__file__).parents[1]
CHOPMARK = [sys.executable, "-c", "from chopmark.cli import main; main()"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "output"
    command = [sys.executable, "-m", "examples.demo", str(folder), "--lang", "en"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def chopmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHOPMARK, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "code"),
    [("genuine", 0), ("revoked", 1), ("changed", 1), ("above", 1), ("unlogged", 2), ("screenshot", 2), ("below", 0)],
)
def test_the_pictures_verify_from_the_trust_store_alone(folder: Path, name: str, code: int) -> None:
    run = chopmark("verify", folder / "qr" / f"{name}.png", "--trust", folder / "trust", "--json")
    assert run.returncode == code, run.stdout + run.stderr
    assert json.loads(run.stdout)["outcome"] == ("VALID", "INVALID", "INDETERMINATE")[code]


def test_the_logs_that_are_left_are_sound(folder: Path) -> None:
    for region in ("CN-GD", "CN-SH"):
        vkey = (folder / f"{region}.log.vkey").read_text().strip()
        run = chopmark("log", "fsck", folder / region / "log" / "public", "--vkey", vkey)
        assert run.returncode == 0, run.stdout + run.stderr


def test_the_record_that_is_left_verifies_and_names_nobody(folder: Path) -> None:
    (record,) = (folder / "records").glob("*/*.jwt")
    run = chopmark("inspector", "read", record, "--trust", folder / "trust")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "示例餐饮有限公司" not in record.read_text()


def test_personal_data_is_in_no_log_entry(folder: Path) -> None:
    for bundle in (folder / "CN-GD" / "log" / "public" / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            data = bundle.read_bytes()
            assert "示例持证人".encode() not in data
            assert b"440100199001010007" not in data


def test_the_passphrase_is_for_its_owner_only(folder: Path) -> None:
    assert (folder / "passphrase").stat().st_mode & 0o777 == 0o600


def test_the_first_use_in_the_readme_runs(folder: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = readme.split("```python\n")[1].split("```")[0].replace('"demo-output"', repr(str(folder)))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.startswith("True "), run.stdout + run.stderr


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    command = [sys.executable, "-m", "examples.demo", str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode != 0
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("names", [["passphrase", "letters.txt"], ["trust"]])
def test_a_folder_that_is_not_of_the_demo_is_left_alone(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
    run = subprocess.run(
        [sys.executable, "-m", "examples.demo", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "name another folder" in run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_folder_of_the_demo_holds_what_the_demo_knows_to_remove(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == LEFT_BEHIND
