"""`make serve`: two regions run, what is printed for each kind of user does what it says, and Ctrl-C ends it all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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

    events = [json.loads(line) for line in (folder / "served/events.jsonl").read_text().splitlines()]
    leaders = [int(event["pid"]) for event in events if event["event"] == "started"]
    assert len(leaders) == 12, "two trees of five services"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert not any(map(group, leaders))


def run(command: str) -> str:
    """Type a command as it is printed, at the top of the repository."""
    command = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    bash = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(bash, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
