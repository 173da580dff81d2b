"""A log and a witness held against their OpenAPI documents by schemathesis, with requests right and wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from chopmark_ledger.service.log_service import openapi_document
from chopmark_service.authentication import make_token
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.ledger.served_log import ORIGIN, PASSPHRASE, REGISTRY, ServedLog, until

SPECIFIED = Path(__file__).parents[2] / "specs" / "openapi"
EXAMPLES = 300 if os.environ.get("CHOPMARK_HOSTILE") == "all" else 20

REFUSALS = ["400", "401", "403", "404", "405", "406", "408", "413", "415", "422", "429"]
"""Among them what is larger than a batch may be, which schemathesis does not count by itself."""

log_schema = schemathesis.openapi.from_dict(
    json.loads(openapi_document()),
    config=SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}}),
)
witness_schema = schemathesis.openapi.from_dict(json.loads((SPECIFIED / "witness.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a log that is served."""
    served = ServedLog(tmp_path_factory.mktemp("schema") / "log")
    served.set_up()
    try:
        served.start("--wait-timeout", "1")
        yield served.url
        assert served.stop() == 0
    finally:
        served.close()


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a witness that is served."""
    folder = tmp_path_factory.mktemp("schema")
    (folder / "passphrase").write_bytes(PASSPHRASE)
    command = ["witness", "serve", "--data", str(folder / "witness"), "--name", "cn-sh.example/witness", "--port", "0"]
    command += ["--passphrase-file", str(folder / "passphrase")]
    events = folder / "stderr"
    with events.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", "from chopmark.cli import main; main()", *command],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        until(lambda: '"listening"' in events.read_text("utf-8") or process.poll() is not None, 60)
        (url,) = [json.loads(line)["url"] for line in events.read_text("utf-8").splitlines() if '"listening"' in line]
        yield url
    finally:
        process.terminate()
        assert process.wait(60) == 0


@log_schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_log_is_asked_is_answered_as_its_document_says(case: Any, log: str) -> None:
    token = make_token(REGISTRY, name="registry", audience=ORIGIN, now=time.time(), lifetime=300)
    case.headers["Authorization"] = f"Bearer {token}"
    # What is an entry, and what is published, no schema tells: such requests may be refused.
    case.call_and_validate(base_url=log, excluded_checks=[positive_data_acceptance])


@witness_schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_witness_is_asked_is_answered_as_its_document_says(case: Any, witness: str) -> None:
    # Every body is one text to a schema, and few texts are signed checkpoints.
    case.call_and_validate(base_url=witness, excluded_checks=[positive_data_acceptance])
