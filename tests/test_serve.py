"""`make serve`: two regions run, what is printed for each kind of user does what it says, and Ctrl-C ends it all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.tree.served_region import free_ports, group, until

ROOT = Path(__file__).parents[1]
SECONDS = 240
"""For a machine that does much else; alone it takes twenty."""
BESIDE = 104
"""Ports from the first of one region to the last of the other."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    with (tmp_path / "printed").open("wb") as printed:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "examples.serve", str(tmp_path / "served")),
                *("--port", str(free_ports(BESIDE)), "--lang", "en"),
            ],
            cwd=ROOT,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    yield process, tmp_path
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("curl") is None, reason="the commands are for both")
def test_what_is_printed_for_each_kind_of_user_does_what_it_says(served: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, folder = served

    def printed() -> str:
        assert process.poll() is None, (folder / "printed").read_text()
        return (folder / "printed").read_text()

    until(lambda: "Ctrl-C" in printed(), SECONDS)
    clerk, holder, inspector, auditor = re.findall(r"^# (?:.*)\n((?:.+\n)+)", printed(), re.MULTILINE)
    assert json.loads(run(clerk))["credentials"]
    assert run(holder) == ""
    assert (folder / "served/licence.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(run(inspector))["verdict"]["outcome"] == "VALID"
    assert run(auditor).endswith("sound\n")
    opened, passcode = re.findall(r"opens (\S+) \(passcode: (\S+)\)", printed())[0]
    form = f"passcode={Path(passcode).read_text().strip()}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = urllib3.request("POST", f"{opened}/page/sign-in", body=form, headers=headers, redirect=False)
    assert answer.status == 303, "an inspector signs in on the page"
    cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    assert 'name="csrf"' in urllib3.request("GET", opened, headers=cookie).data.decode()

    events = [json.loads(line) for line in (folder / "served/events.jsonl").read_text().splitlines()]
    leaders = [int(event["pid"]) for event in events if event["event"] == "started"]
    assert len(leaders) == 12, "two trees of five services"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert not any(map(group, leaders))


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A module of the example that is expected to end by itself."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS)


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        first = free_ports(BESIDE)
        taken.bind(("127.0.0.1", first + 102))
        taken.listen()
        done = started("examples.serve", str(tmp_path / "served"), "--port", str(first))
    assert done.returncode == 3
    assert f"port {first + 102} of 127.0.0.1 is taken" in done.stderr
    command = f".venv/bin/python -m examples.serve {tmp_path / 'served'} --port P"
    assert f"in place of `make serve`: {command}" in done.stderr
    assert not (tmp_path / "served").exists()


def test_a_port_for_regions_that_are_made_is_refused(tmp_path: Path) -> None:
    for code in ("CN-GD", "CN-SH"):
        (tmp_path / code).mkdir()
        (tmp_path / code / "region.toml").write_text("port = 9000\n")
    done = started("examples.serve", str(tmp_path), "--port", "9500")
    assert done.returncode == 3
    assert "ports from 9000" in done.stderr
    assert "Leave --port out" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("FOLDER", "CN-BJ"), ("FOLDER", "CN-GD")])
def test_who_asks_for_a_token_wrongly_is_told_what_there_is(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = started("examples.serve.token", *(str(tmp_path) if each == "FOLDER" else each for each in arguments))
    assert done.returncode == 2
    assert "CN-GD,CN-SH" in done.stderr
    assert "Traceback" not in done.stderr


def run(command: str) -> str:
    """Type a command as it is printed, at the top of the repository."""
    command = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    bash = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(bash, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
