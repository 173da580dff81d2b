"""The demo does what it says: every case gets its verdict, nothing is left running, what it leaves can be used."""

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from chopmark.note import Note
from chopmark.tlog_policy import TlogPolicy

from examples.demo.__main__ import LEFT_BEHIND
from tests.ledger.served_log import until

ROOT = Path(__file__).parents[1]
CHOPMARK = [sys.executable, "-c", "from chopmark.cli import main; main()"]


@dataclass
class Demo:
    folder: Path
    output: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Demo:
    """The demo, run once, however many processes share the tests."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    folder, output = shared / "demo" / "output", shared / "demo" / "stdout"
    folder.parent.mkdir(exist_ok=True)
    with (shared / "demo" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            run = subprocess.run(command(folder), cwd=ROOT, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stdout + run.stderr
            output.write_text(run.stdout)
    return Demo(folder, output.read_text())


@pytest.fixture(scope="module")
def folder(demo: Demo) -> Path:
    return demo.folder


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "examples.demo", str(folder), "--lang", "en"]


def processes_of(folder: Path) -> list[str]:
    """The command lines of the services on this machine that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it has just ended
            continue
        if str(folder) in line and " serve --data " in line:
            found.append(line)
    return found


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


def test_every_command_that_the_demo_tells_to_try_runs(demo: Demo) -> None:
    told = [line.strip() for line in demo.output.splitlines() if line.startswith("  .venv/bin/chopmark ")]
    assert [line.split()[1] for line in told] == ["verify", "inspect", "log"]
    for line in told:
        run = chopmark(*shlex.split(line)[1:])
        assert run.returncode == 0, run.stdout + run.stderr


def test_four_processes_were_at_work_and_none_is_left(demo: Demo) -> None:
    shown = re.findall(r"(log|witness) of (CN-GD|CN-SH) +http://127\.0\.0\.1:(\d+)  pid (\d+)", demo.output)
    assert sorted((kind, region) for kind, region, _, _ in shown) == [
        ("log", "CN-GD"),
        ("log", "CN-SH"),
        ("witness", "CN-GD"),
        ("witness", "CN-SH"),
    ]
    assert len({port for _, _, port, _ in shown}) == 4
    assert processes_of(demo.folder) == []
    for region in ("CN-GD", "CN-SH"):
        assert "closed" in events(demo.folder, region)


def events(folder: Path, region: str) -> list[str]:
    """What the service of a region's log told, by name."""
    lines = (folder / "services" / f"log-of-{region}.jsonl").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def test_the_log_of_one_region_is_witnessed_by_the_service_of_the_other(folder: Path) -> None:
    for region, other in (("CN-GD", "cn-sh.example"), ("CN-SH", "cn-gd.example")):
        policy = TlogPolicy.parse((folder / "services" / f"{region}.policy").read_text())
        urls = [*(log.url for log in policy.logs), *(witness.url for witness in policy.witnesses)]
        assert all(url is not None for url in urls)
        assert {each.verifier.name for each in policy.witnesses} == {f"{other}/witness"}
        note = Note.parse((folder / region / "log" / "public" / "checkpoint").read_bytes())
        policy.check(note)
        assert len(note.signatures) == 4, "of log and witness, each with Ed25519 and ML-DSA-44"


def test_a_log_whose_witness_was_killed_went_on_and_recovered(demo: Demo) -> None:
    told_status = re.search(r"/status: committed (\d+), published (\d+): no_quorum\n", demo.output)
    assert told_status is not None
    assert int(told_status[1]) > int(told_status[2])
    assert "RECOVERED" in demo.output
    told = events(demo.folder, "CN-GD")
    assert told.index("not_published") < told.index("not_published_over")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "output"
    with subprocess.Popen(
        command(folder), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=unbuffered()
    ) as run:
        assert run.stdout is not None
        shown = ""
        while "two registries" not in shown:
            line = run.stdout.readline()
            assert line, "it ended before"
            shown += line
        until(lambda: len(processes_of(folder)) >= 4)
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 128 + number
    assert errors == "chopmark demo: interrupted, the services are stopped\n"
    assert processes_of(folder) == []


def test_a_service_that_cannot_start_is_told_and_the_others_are_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    environment = unbuffered() | {"CHOPMARK_LOG_NONSENSE": "1"}
    run = subprocess.run(command(folder), cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 3
    assert "log of CN-GD did not start" in run.stderr
    assert "CHOPMARK_LOG_NONSENSE" in run.stderr
    assert processes_of(folder) == []


def unbuffered() -> dict[str, str]:
    return os.environ | {"PYTHONUNBUFFERED": "1"}


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
    assert subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, check=False).returncode != 0
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("names", [["passphrase", "letters.txt"], ["trust"]])
def test_a_folder_that_is_not_of_the_demo_is_left_alone(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
    run = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "name another folder" in run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_folder_of_the_demo_holds_what_the_demo_knows_to_remove(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == LEFT_BEHIND
