"""The guide for whoever runs a region: its commands are typed as they stand, in an empty folder; and what it says of
settings and events is what there is."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import chopmark_service
import pytest
from chopmark_service.region_tree import RegionSettings, Service

from tests.tree.served_region import free_ports

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "running-a-region.md"
PORTS = {8470: 4, 8570: 4}
SECONDS = 300
"""For a machine that does much else; alone it takes thirty."""


def section(title: str) -> str:
    """A section of the guide."""
    (found,) = (each for each in GUIDE.read_text(encoding="utf-8").split("\n## ") if each.startswith(f"{title}\n"))
    return found


def commands() -> str:
    """The shell commands of the first section, one after the other, at ports that nobody has."""
    script = "\n".join(
        re.findall(r"^```sh\n(.*?)^```$", section("Two regions on one machine"), re.MULTILINE | re.DOTALL)
    )
    for first, count in PORTS.items():
        free = free_ports(count)
        for offset in range(count):
            script = script.replace(str(first + offset), str(free + offset))
    return script


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("curl") is None, reason="the guide is for both")
def test_the_commands_of_the_guide_work_in_an_empty_folder(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("CHOPMARK_")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    environment["types"] = str(ROOT / "examples" / "types")
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, errors = shell.communicate(timeout=SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # the trees are in it; their services end with them
    lines = [line for path in sorted(tmp_path.glob("*.events")) for line in path.read_text().splitlines(keepends=True)]
    events = "".join(line for line in lines if '"event": "request"' not in line)
    assert shell.returncode == 0, errors + events
    assert "\nsound\n" in printed
    assert '"outcome":"VALID"' in (tmp_path / "verdict.json").read_text().replace('": "', '":"')
    assert events.count('"event": "stopped"') >= 2, "both regions ended as they should"
    assert '"event": "ended"' not in events


def test_the_guide_names_every_setting_and_service() -> None:
    text = section("Settings")
    for name in RegionSettings.model_fields:
        flag = "--source" if name == "sources" else f"--{name.replace('_', '-')}"
        assert f"`{flag}`" in text, name
        assert f"_{name.upper()}`" in text, name
    services = re.findall(r"^\| `([a-z]+)` \|", GUIDE.read_text(encoding="utf-8").split("\n## ")[0], re.MULTILINE)
    assert set(services) == {each.value for each in Service}


def test_the_events_in_the_guide_are_those_of_the_tree() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("What it says, and what happens"), re.MULTILINE)
    told = {event for row in rows for event in re.findall("`([a-z_]+)`", row)}
    source = (Path(chopmark_service.__file__).parent / "process_tree.py").read_text(encoding="utf-8")
    assert told == set(re.findall(r'_logger\.[a-z]+\("([a-z_]+)"', source))
