"""`kill -9` of the real command under HTTP load: the whole process group, or only the parent of the worker."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from chopmark import merkle
from chopmark.checkpoint import SignedCheckpoint
from chopmark.entries import CredentialEntry
from chopmark.errors import ChopmarkError
from chopmark_ledger.audit.fsck import fsck
from chopmark_ledger.client import system_clock
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.service.entry_requests import encode_request, parse_answer
from chopmark_ledger.service.log_connection import LogConnection

from tests.ledger.faults.depth import FULL
from tests.ledger.served_log import ISSUER, ORIGIN, REGISTRY, ServedLog, until

ROUNDS = 20 if FULL else 2
PARENT_ONLY = range(0, ROUNDS, 4 if FULL else 2)
"""The rounds in which only the parent is killed: five of twenty."""
SENDERS = 3
WORKER_ENDS_WITHIN = 2.0


@dataclass
class Promises:
    """What the service acknowledged, and the checkpoints that it showed."""

    entries: dict[int, bytes] = field(default_factory=dict)
    checkpoints: set[tuple[int, bytes]] = field(default_factory=set)

    def check(self, served: ServedLog) -> None:
        """Hold the log to all of it, by its database and by its public folder."""
        standing = SignedCheckpoint.parse((served.public / "checkpoint").read_bytes()).checkpoint
        self.checkpoints.add((standing.size, standing.root))
        assert standing.size == max(size for size, _ in self.checkpoints)
        report = fsck(served.public, vkeys=(served.keys.vkey, served.keys.pq_vkey), origin=ORIGIN)
        assert report.is_sound, report.damage
        with Log.open(served.data, clock=system_clock) as log:
            stored = log.entries(0, log.size)
            for size, root in self.checkpoints:
                assert merkle.root(size, log.read_nodes) == root
        assert {index: stored[index] for index in self.entries} == self.entries


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedLog]:
    log = ServedLog(tmp_path / "served")
    log.set_up()
    yield log
    log.close()


def test_nothing_is_lost_when_the_service_is_killed(served: ServedLog) -> None:
    promises = Promises()
    for round_ in range(ROUNDS):
        served.start()
        url, worker = served.url, served.worker
        before = len(promises.entries)
        senders = [
            threading.Thread(target=send_until_it_ends, args=(url, round_ * SENDERS + number, promises))
            for number in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        until(lambda: len(promises.entries) > before + 500 and seen(served, promises))  # noqa: B023 - called here
        threading.Event().wait(Random(round_).uniform(0, 0.2))  # the moment at which it is killed
        kill(served, worker, parent_only=round_ in PARENT_ONLY)
        for sender in senders:
            sender.join()
        promises.check(served)
    served.start()
    until(lambda: published(served) == committed(served))
    assert served.stop() == 0
    promises.check(served)


def send_until_it_ends(url: str, sender: int, promises: Promises) -> None:
    """Send batches until there is no answer, and note what was answered."""
    random = Random(sender)
    with closing(LogConnection(url, origin=ORIGIN, name="registry", key=REGISTRY, patience=0)) as connection:
        for number in range(sender * 100_000, (sender + 1) * 100_000):
            batch = [
                CredentialEntry(ISSUER, (number * 1_000 + place).to_bytes(32, "big")).encode()
                for place in range(random.choice((1, 1, 10, 300)))
            ]
            try:
                data = connection.post("entries", encode_request(number, batch)).body
            except ChopmarkError:
                return
            answer = parse_answer(data, batch=number, count=len(batch), where=url, max_size=10**6)
            for index, entry in zip(answer.indexes, batch, strict=True):
                assert index is not None
                promises.entries[index] = entry


def seen(served: ServedLog, promises: Promises) -> bool:
    """Look at the public checkpoint as a reader does; whether there is one."""
    path = served.public / "checkpoint"
    if not path.exists():
        return False
    checkpoint = SignedCheckpoint.parse(path.read_bytes()).checkpoint
    promises.checkpoints.add((checkpoint.size, checkpoint.root))
    return True


def kill(served: ServedLog, worker: int, *, parent_only: bool) -> None:
    """Kill the group, or the parent alone: then the worker must end by itself."""
    if not parent_only:
        served.kill()
        until(lambda: has_ended(worker))
        return
    assert served.process is not None
    os.kill(served.process.pid, signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: has_ended(worker))
    assert time.monotonic() - killed < WORKER_ENDS_WITHIN
    served.process.wait()


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits only to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("Z")
    except FileNotFoundError:
        return True


def published(served: ServedLog) -> int:
    """The size of the published checkpoint."""
    return SignedCheckpoint.parse((served.public / "checkpoint").read_bytes()).checkpoint.size


def committed(served: ServedLog) -> int:
    """What the service says it has committed."""
    with closing(LogConnection(served.url, origin=ORIGIN)) as connection:
        return int(json.loads(connection.get("status").body)["committed"])
