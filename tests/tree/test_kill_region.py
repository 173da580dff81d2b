"""`kill -9` of each process of a running region under load: what was acknowledged over HTTP is in the registry, in the
log exactly where the registry says, and verifies; nothing was issued twice; and the region mends itself."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from random import Random

from tests.ledger.faults.depth import FULL
from tests.tree.promises import Promises
from tests.tree.served_region import ServedRegion, group, served_region, until

SERVICES = ("issuer", "log", "keys", "verifier", "witness")
ROUNDS = 100 if FULL else 10
SENDERS = 4
EACH = 40
"""Licences that are asked for in a round; the kill comes in their midst."""


def test_no_licence_is_lost_when_processes_of_a_region_are_killed(tmp_path: Path) -> None:
    with served_region(tmp_path / "gd") as region:
        region.start()
        promises = Promises(region)
        with promises.kept_coming(SENDERS):
            for round_ in range(ROUNDS):
                random = Random(round_)
                before = len(promises.acknowledged)
                promises.want(EACH)
                promises.wait_for(before + random.randrange(EACH // 2))
                threading.Event().wait(random.uniform(0, 0.02))  # the moment at which it is killed
                kill(region, SERVICES[round_ % len(SERVICES)], random)
                promises.wait_for(before + EACH)
            until(region.is_running, 120)
            promises.check_answers()
        assert region.stop() == 0
        promises.check_stored()
        ended = [line for line in region.lines if line["event"] == "ended"]
        assert len(ended) >= ROUNDS - 1, "a process that was killed was started anew, each time"
        assert {line["child"] for line in ended} == set(SERVICES)


def kill(region: ServedRegion, name: str, random: Random) -> None:
    """Kill the leading process of a service, its worker, or both at once."""
    found: list[int] = []

    def is_found() -> bool:
        found[:] = region.processes(name)
        return bool(found)

    until(is_found)
    leader, *workers = found  # another look could find none any more
    victims = random.choice([[leader], workers or [leader], [leader, *workers]])
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_no_process_is_left_when_the_tree_itself_is_killed_and_a_new_one_goes_on(tmp_path: Path) -> None:
    with served_region(tmp_path / "gd") as region:
        region.start()
        promises = Promises(region)
        leaders = [region.leader(name) for name in SERVICES]
        with promises.kept_coming(SENDERS):
            promises.want(EACH)
            promises.wait_for(EACH // 4)
            assert region.process is not None
            region.process.kill()
            region.process.wait()
            until(lambda: not any(map(group, leaders)))
            region.start()
            promises.wait_for(EACH)
            promises.check_answers()
        assert region.stop() == 0
        promises.check_stored()
