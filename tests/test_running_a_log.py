"""The guide for operators: its two regions on one machine are typed as they stand, in an empty folder; and what it says
of settings, messages and metrics is what the services have."""

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

import chopmark_ledger
import pytest
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark_ledger.service import log_metrics
from chopmark_ledger.service.service_settings import LogServiceSettings
from chopmark_ledger.witness import witness_metrics
from chopmark_ledger.witness.witness_settings import WitnessServiceSettings
from chopmark_service import telemetry
from pydantic import BaseModel

GUIDE = Path(__file__).parents[1] / "docs" / "running-a-log.md"
PORTS = ("8480", "8481", "8490", "8491")
CURL = "curl -sS -H @header "
SECONDS = 120
"""For a machine that does much else; alone it takes ten."""


def section(title: str) -> str:
    """A section of the guide."""
    (found,) = (each for each in GUIDE.read_text(encoding="utf-8").split("\n## ") if each.startswith(f"{title}\n"))
    return found


def commands() -> str:
    """The shell commands of the first section, one after the other."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", section("Two regions on one machine"), re.MULTILINE | re.DOTALL))


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


@pytest.mark.parametrize("settings", [LogServiceSettings, WitnessServiceSettings])
def test_the_guide_names_every_setting(settings: type[BaseModel]) -> None:
    text = section("Settings")
    for name in settings.model_fields:
        flag = "--log" if name == "logs" else f"--{name.replace('_', '-')}"
        assert f"`{flag}`" in text or f"`CHOPMARK_LOG_{name.upper()}`" in text, name


def test_the_messages_in_the_guide_are_those_of_the_code() -> None:
    folder = Path(chopmark_ledger.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    rows = re.findall(r"^\| (`.*?) \|", section("When something is wrong"), re.MULTILINE)
    assert len(rows) >= 7
    for message in (each for row in rows for each in re.findall("`([^`]+)`", row)):
        for part in filter(None, (each.strip(" ,") for each in message.split("…"))):
            assert part in source, message


def test_the_metrics_in_the_guide_are_those_of_the_services() -> None:
    told = "".join(str(module.__doc__) for module in (log_metrics, witness_metrics, telemetry))
    named = set(re.findall("chopmark_(log|witness)_([a-z_]+)", section("What to watch")))
    assert len(named) >= 10
    for service, metric in named:
        name = metric.removesuffix("_bucket")
        is_of_requests = name == "http_requests_total" and "http_requests_total" in str(
            telemetry.RequestTelemetry.__doc__
        )
        assert is_of_requests or name in told or f"chopmark_{service}_{name}" in told, metric
