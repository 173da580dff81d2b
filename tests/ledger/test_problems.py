"""What a service tells its caller of an error, and what it tells its operator."""

from __future__ import annotations

import asyncio
import json

import pytest
from chopmark.errors import ChopmarkError, FormatError, StorageError
from chopmark_ledger.errors import ClientListError
from chopmark_ledger.service.problems import answer_error
from chopmark_service import telemetry
from chopmark_service.problems import add_problem_handlers
from fastapi import FastAPI

from tests.ledger.asgi import Answer, ask

PATH = "/var/lib/chopmark/log/ledger.db"


def fail_with(error: ChopmarkError) -> Answer:
    """Answer a request that ends in this error."""
    application = FastAPI(telemetry=telemetry.NOTHING_EXPORTED)
    add_problem_handlers(application, part="log", answer=answer_error, of_the_machine=(ClientListError,))

    @application.get("/")
    async def fail() -> None:
        raise error

    return asyncio.run(ask(application, "GET", "/"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageError("the database failed: database or disk is full", where=PATH), "storage"),
        (ClientListError("not JSON", where=PATH), "no_clients"),
    ],
)
def test_a_failure_of_the_machine_is_told_to_the_operator_and_not_to_the_caller(
    error: ChopmarkError, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure_logging("info")
    answer = fail_with(error)
    assert (answer.status, answer.json()["code"]) == (503, code)
    assert PATH.encode() not in answer.body
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["event"], line["level"], line["kind"]) == ("request_failed", "error", type(error).__name__)
    assert line["problem"].startswith(PATH)


def test_an_error_of_the_caller_is_told_to_the_caller_alone(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("info")
    answer = fail_with(FormatError("`entries` is a list, and not empty", where="entries"))
    assert answer.status == 400
    assert answer.json()["detail"] == "entries: `entries` is a list, and not empty"
    assert not capsys.readouterr().err
