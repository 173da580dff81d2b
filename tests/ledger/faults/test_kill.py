"""`kill -9` under load: whatever was acknowledged is there, and nothing published is taken back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.ledger.faults import diary, scenarios
from tests.ledger.faults.aftermath import check
from tests.ledger.faults.depth import FULL
from tests.ledger.faults.nursery import Nursery

SERIES, ROUNDS = (12, 15) if FULL else (6, 3)
DEADLINE = 30


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as running:
        yield running


@pytest.mark.parametrize("series", range(SERIES))
def test_nothing_is_lost_when_the_process_group_is_killed(series: int, nursery: Nursery, tmp_path: Path) -> None:
    scenarios.set_up(tmp_path)
    (tmp_path / "diary").touch()
    random = Random(series)
    for round_ in range(ROUNDS):
        pid = nursery.fork("load", folder=str(tmp_path), seed=round_)
        nursery.go(pid)
        if round_ % 4:  # once something was promised; otherwise at any moment, while the log is being opened too
            wait_for_promise(tmp_path / "diary")
        threading.Event().wait(random.uniform(0, 0.3))  # the moment at which it is killed
        os.killpg(pid, signal.SIGKILL)
        assert nursery.reap(pid) == -signal.SIGKILL
        check(tmp_path)
    promises, checkpoints = diary.read(tmp_path / "diary")
    assert promises
    assert checkpoints


def wait_for_promise(path: Path) -> None:
    """Wait until a line is added to the diary."""
    before = path.stat().st_size
    deadline = time.monotonic() + DEADLINE
    while path.stat().st_size == before:
        assert time.monotonic() < deadline, "the child promises nothing"
