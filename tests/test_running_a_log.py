"""The guide for operators: its two regions on one machine are typed as they stand, in an empty folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof

GUIDE = Path(__file__).parents[1] / "docs" / "running-a-log.md"
PORTS = ("8480", "8481", "8490", "8491")
CURL = "curl -sS -H @header "
SECONDS = 120
"""For a machine that does much else; alone it takes ten."""


def commands() -> str:
    """The shell commands of the first section, one after the other."""
    section = GUIDE.read_text(encoding="utf-8").split("\n## ")[1]
    assert section.startswith("Two regions on one machine\n")
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


def with_free_ports(script: str) -> str:
    """The commands with ports that nobody has, in place of those of the guide."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        free = {port: str(each.getsockname()[1]) for port, each in zip(PORTS, sockets, strict=True)}
    return re.sub("|".join(PORTS), lambda match: free[match[0]], script)


@pytest.mark.skipif(shutil.which("bash") is None, reason="the guide is written for bash")
def test_the_commands_of_the_guide_work_in_an_empty_folder(tmp_path: Path) -> None:
    script = with_free_ports(commands())
    assert script.count("chopmark log serve") == script.count("chopmark witness serve") == 2
    assert CURL in script
    if shutil.which("curl") is None:
        script = "\n".join(line for line in script.splitlines() if not line.startswith(CURL))
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("CHOPMARK_")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
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
            os.killpg(shell.pid, signal.SIGKILL)
    events = "".join(path.read_text(encoding="utf-8") for path in sorted(tmp_path.glob("*/*.events")))
    assert shell.returncode == 0, errors + events
    assert "entries 1 to 1000, published at size 1001\n" in printed
    assert printed.count("\nsound\n") == 2
    assert "\nlandmark [0, 512) " in printed
    if shutil.which("curl") is not None:
        assert '"batch":2,"indexes":[1001,null],"refused":[{"position":1,"reason":"not standard base64"}]' in printed
    assert events.count('"event": "closed"') == 2, "both logs ended as they should"
    policy = TlogPolicy.parse((tmp_path / "gd/policy").read_bytes())
    proof = TlogProof.parse((tmp_path / "first.tlog-proof").read_bytes())
    assert policy.check(proof.checkpoint_note).checkpoint.size == 1001
