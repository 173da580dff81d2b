"""A fault at every system call of a publication: EIO, ENOSPC and SIGKILL, put there by strace.

The method is that of Tessera's fault tests: count the calls of one run, then run once for each of them with a fault at
just that call, and look at what is left. The run appends, publishes and ends a landmark; it goes on after every error,
as a service does.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.ledger.faults import diary, scenarios
from tests.ledger.faults.aftermath import check
from tests.ledger.faults.depth import FULL
from tests.ledger.faults.nursery import Nursery

CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "link", "openat", "mkdir")
FAULTS = {"EIO": "error=EIO", "ENOSPC": "error=ENOSPC", "SIGKILL": "signal=SIGKILL"}
STRIDE = 1 if FULL else 10
DEADLINE = 20

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None and not FULL, reason="strace is not installed: apt install strace"
)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as running:
        yield running


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log whose next batches cross the edge of a tile."""
    folder = tmp_path_factory.mktemp("beginning")
    scenarios.set_up(folder)
    with scenarios.opened(folder) as (log, publisher, _):
        log.append(scenarios.client("before"), 1, diary.entries("before", 1, 245))
        publisher.publish()
    return folder


@pytest.fixture(scope="module")
def counts(nursery: Nursery, beginning: Path, tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often each system call is made in a run without a fault."""
    folder = tmp_path_factory.mktemp("count") / "run"
    trace = run(nursery, beginning, folder, f"trace={','.join(CALLS)}", expected={0})
    check(folder)
    return Counter(re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE))


@pytest.mark.parametrize(("call", "fault"), list(product(CALLS, FAULTS)))
def test_nothing_is_lost_by_a_fault_at_any_call(  # noqa: PLR0917 - pytest passes arguments by name
    call: str, fault: str, nursery: Nursery, beginning: Path, counts: Counter[str], tmp_path: Path
) -> None:
    if call == "link":
        assert counts[call] == 0, "files are put into place by rename alone"
        return
    assert counts[call] > 0
    first = 1 + hash_of(call, fault) % min(STRIDE, counts[call])
    for occurrence in range(first, counts[call] + 1, STRIDE):
        folder = tmp_path / str(occurrence)
        expected = {-signal.SIGKILL} if fault == "SIGKILL" else {0, scenarios.FAILED, scenarios.DIARY_FAILED}
        run(nursery, beginning, folder, f"inject={call}:{FAULTS[fault]}:when={occurrence}", expected=expected)
        try:
            check(folder)
        except BaseException as error:
            error.add_note(f"{fault} at {call} number {occurrence}")
            raise
        shutil.rmtree(folder)


def hash_of(call: str, fault: str) -> int:
    """A number that differs from case to case, so that short runs do not all look at the same occurrences."""
    return sum(map(ord, call + fault))


def run(nursery: Nursery, beginning: Path, folder: Path, expression: str, *, expected: set[int]) -> str:
    """Run the publication on a copy of the beginning under strace; answers the trace."""
    shutil.copytree(beginning, folder)
    pid = nursery.fork("publication", folder=str(folder))
    trace = folder / "trace"
    with subprocess.Popen(["strace", "-f", "-qq", "-o", trace, "-e", expression, "-p", str(pid)]) as tracer:
        deadline = time.monotonic() + DEADLINE
        while not re.search(r"^TracerPid:\t[1-9]", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
            assert tracer.poll() is None, "strace could not attach"
            assert time.monotonic() < deadline
        nursery.go(pid)
        status = nursery.reap(pid)
        tracer.wait(DEADLINE)
    assert status in expected, f"the run ended with {status} under {expression}"
    return trace.read_text()
