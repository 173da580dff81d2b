"""The service held against its own OpenAPI document by schemathesis: requests made from it, right and wrong ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import urllib3
from chopmark_service.authentication import make_token
from chopmark_verifier.service import audience_of, openapi_document
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from specs.vectors.sample_world import INSPECTOR, NOW, make_world
from tests.verifier.service_stage import CLIENT, write_clients

ROOT = Path(__file__).parents[2]
EXAMPLES = 300 if os.environ.get("CHOPMARK_HOSTILE") == "all" else 20
URI_TOO_LONG = 414
LONG = 8000

schema = schemathesis.openapi.from_dict(json.loads(openapi_document()))


@dataclass(frozen=True)
class Service:
    """Where it is, and the seconds by which its clock is ahead of this one."""

    url: str
    ahead: float


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The real service, over the sample world."""
    folder = tmp_path_factory.mktemp("schema")
    world = make_world()
    world.store(folder / "trust").put_root("CN-SH", world.home.root_epoch, now=NOW)
    write_clients(folder / "clients.json", gate_3=CLIENT)
    log = folder / "stderr"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.verifier.served_verifier", str(folder), "0"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=stderr,
        )
    deadline = time.monotonic() + 40
    while '"listening"' not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    (line,) = [line for line in log.read_text().splitlines() if '"listening"' in line]
    url = json.loads(line)["url"]
    yield Service(url, urllib3.request("GET", f"{url}/status").json()["at"] + 1 - time.time())
    process.terminate()
    assert process.wait(20) == 0


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_is_answered_as_the_document_says(case: Any, service: Service) -> None:
    now = time.time() + service.ahead
    token = make_token(CLIENT, name="gate 3", audience=audience_of(INSPECTOR), now=now, lifetime=300)
    case.headers["Authorization"] = f"Bearer {token}"
    # What goes together, and what the trust store knows, no schema tells: such requests may be refused.
    response = case.call(base_url=service.url)
    if response.status_code == URI_TOO_LONG:  # of the server, before it knows what is asked
        assert len(response.request.url) > LONG
    else:
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
