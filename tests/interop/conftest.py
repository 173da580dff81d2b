"""What the tests from outside share. `make interop` runs them; elsewhere they are skipped, and say so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.other_logs import LOAD_TEST_LOGS, load_test_logs
from tests.interop.other_witnesses import WitnessServer, aics_witness, omniwitness
from tests.interop.our_side import OurLog, make_log, our_witness, serve_log
from tests.interop.programs import has_go_programs
from tests.interop.witness_cases import ALL_LOGS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("CHOPMARK_INTEROP") == "1":
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="programs of others are run by `make interop`"))


@pytest.fixture(scope="session")
def stack() -> Iterator[ExitStack]:
    """Closes what it is given in the end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def witnesses(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, WitnessServer]:
    """Our witness and those of others, each knowing the logs of all cases."""
    folder: Path = tmp_path_factory.mktemp("witnesses")
    logs = ALL_LOGS | (load_test_logs(LOAD_TEST_LOGS) if has_go_programs() else {})
    return {
        "ours": stack.enter_context(our_witness(folder / "ours", "cn-sh.example/witness", [*logs.values()])),
        **others(stack, folder, logs),
    }


def others(stack: ExitStack, folder: Path, logs: dict[str, str]) -> dict[str, WitnessServer]:
    """The witnesses of others that are at hand, running, for these logs."""
    found = {"aics-witness": stack.enter_context(aics_witness(folder / "aics", "us-ny.example/witness", logs))}
    if has_go_programs():
        place = folder / "omniwitness"
        found["omniwitness"] = stack.enter_context(omniwitness(place, "us-il.example/witness", logs))
    return found


@pytest.fixture(scope="session")
def made_log(tmp_path_factory: pytest.TempPathFactory) -> OurLog:
    """Our log, not served yet."""
    return make_log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="session")
def asked(stack: ExitStack, made_log: OurLog, tmp_path_factory: pytest.TempPathFactory) -> dict[str, WitnessServer]:
    """The witnesses that our log asks: ours, which knows both of its keys, and those of others."""
    folder: Path = tmp_path_factory.mktemp("asked")
    logs = {made_log.origin: made_log.vkey}
    keys = [made_log.vkey, made_log.pq_vkey]
    return {
        "ours": stack.enter_context(our_witness(folder / "ours", "cn-sh.example/witness", keys)),
        **others(stack, folder, logs),
    }


@pytest.fixture(scope="session")
def log(stack: ExitStack, made_log: OurLog, asked: dict[str, WitnessServer]) -> OurLog:
    """Our log, served, and published under cosignatures of all of them."""
    return stack.enter_context(serve_log(made_log, list(asked.values())))
