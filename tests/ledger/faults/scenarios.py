"""What the forked children do until they end or are ended, and the small log they do it with.

<folder>/log             the log
<folder>/witness-<n>     two witnesses, of which both must cosign
<folder>/diary           what was promised (see `diary.py`)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy.dialects.sqlite  # noqa: F401 - loaded at its first use otherwise, in the child, where faults wait
from chopmark.checkpoint import SignedCheckpoint
from chopmark.errors import ChopmarkError
from chopmark.key_file import ScryptCost
from chopmark.keys import Ed25519Signer
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.batch import Client, Submission
from chopmark_ledger.client import (
    LocalWitness,
    add_log_to_witness,
    create_ledger,
    init_witness,
    log_vkey,
    open_witness,
    system_clock,
    witness_vkeys,
)
from chopmark_ledger.publication.publication_loop import PublicationLoop
from chopmark_ledger.publication.publisher import Publisher
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.sequencing.sequencer import Sequencer

from tests.ledger.faults.diary import ISSUER, Diary, entries

ORIGIN = "cn-gd.example/log/2026"
PASSPHRASE = b"a passphrase of this test"
KEY = Ed25519Signer(b"\x07" * 32)
VKEY = log_vkey(ORIGIN, KEY)
WITNESSES = ("cn-sh.example/witness", "us-il.example/witness")
FAILED, DIARY_FAILED, UNEXPECTED = 3, 4, 70
"""Exit codes: an error of ours, the diary itself could not be written, anything else."""


def set_up(folder: Path) -> None:
    """Make the witnesses and the log."""
    for number, name in enumerate(WITNESSES):
        init_witness(folder / f"witness-{number}", name=name, passphrase=PASSPHRASE, cost=ScryptCost(n=2**10))
        add_log_to_witness(folder / f"witness-{number}", VKEY)
    create_ledger(folder / "log", origin=ORIGIN, number=1, key=KEY)


def policy(folder: Path) -> TlogPolicy:
    """Both witnesses must cosign, each with any of its keys."""
    lines = [f"log {VKEY}"]
    for number in range(len(WITNESSES)):
        names = []
        for key, vkey in enumerate(witness_vkeys(folder / f"witness-{number}")):
            names.append(f"w{number}-{key}")
            lines.append(f"witness {names[-1]} {vkey}")
        lines.append(f"group R{number} any {' '.join(names)}")
    return TlogPolicy.parse("\n".join([*lines, "group peers all R0 R1", "quorum peers", ""]))


class Inline(Executor):
    """Does at once what it is given, so that system calls come in the same order each time."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function, and answer what came of it."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@contextmanager
def opened(folder: Path, executor: Executor | None = None) -> Iterator[tuple[Log, Publisher, Landmarks]]:
    """Open the log with its witnesses."""
    witnesses: list[LocalWitness] = [
        open_witness(folder / f"witness-{number}", PASSPHRASE) for number in range(len(WITNESSES))
    ]
    with Log.open(folder / "log", key=KEY, clock=system_clock) as log:
        yield log, Publisher(log, witnesses, policy(folder), executor=executor), Landmarks(log)


def client(name: str) -> Client:
    """A client that may log credentials of the one issuer."""
    return Client(name, frozenset({ISSUER}))


def seen_checkpoint(folder: Path) -> SignedCheckpoint | None:
    """What a reader sees in the public folder."""
    path = folder / "log" / "public" / "checkpoint"
    return SignedCheckpoint.parse(path.read_bytes()) if path.exists() else None


def publication(folder: str) -> None:
    """Append, publish, append over the edge of a tile, publish, end a landmark; go on after every error of ours."""
    place = Path(folder)
    diary = _open_diary(place)
    with opened(place, Inline()) as (log, publisher, landmarks):

        def append(number: int, count: int) -> None:
            answer = log.append(client("fault"), number, entries("fault", number, count))
            _promise(lambda: diary.acknowledged("fault", number, answer.indexes))

        def publish() -> None:
            witnessed = publisher.publish().checkpoint
            _promise(lambda: diary.saw(witnessed.size, witnessed.root))

        steps: tuple[Callable[[], object], ...] = (
            lambda: append(1, 3),
            publish,
            lambda: append(2, 20),
            publish,
            lambda: landmarks.end_now(now=log.clock()),
            lambda: append(3, 1),
            publish,
        )
        for step in steps:
            try:
                step()
            except ChopmarkError:
                continue


def load(folder: str, seed: int) -> None:
    """Append from three threads while the loop publishes, until somebody ends it."""
    place = Path(folder)
    diary = Diary(place / "diary")
    with opened(place) as (log, publisher, landmarks):
        loop = PublicationLoop(log, publisher, landmarks, interval=0.02)
        sequencer = Sequencer(log, on_commit=loop.wake)

        def append(name: str) -> None:
            random = Random(name)
            for number in range(1_000_000):
                batch = entries(name, number, random.choice((1, 1, 2, 7, 100, 400)))
                submission = Submission(client(name), number, batch)
                answer = sequencer.submit(submission).result()
                if random.random() < 0.1:
                    assert sequencer.submit(submission).result() == answer
                diary.acknowledged(name, number, answer.indexes)

        def watch() -> None:
            last = -1
            while True:
                signed = seen_checkpoint(place)
                if signed is not None and signed.checkpoint.size != last:
                    last = signed.checkpoint.size
                    diary.saw(last, signed.checkpoint.root)

        threads = [threading.Thread(target=append, args=(f"round-{seed}-{n}",)) for n in range(3)]
        threads.append(threading.Thread(target=watch))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _open_diary(folder: Path) -> Diary:
    try:
        return Diary(folder / "diary")
    except OSError as error:
        raise DiaryError from error


def _promise(write: Callable[[], None]) -> None:
    """Write into the diary; a fault that hits the diary itself ends the round, for nobody heard the promise."""
    try:
        write()
    except OSError as error:
        raise DiaryError from error


class DiaryError(Exception):
    """The diary could not be opened or written."""


def exit_code(error: Exception) -> int:
    """How a child that failed ends."""
    if isinstance(error, DiaryError):
        return DIARY_FAILED
    return FAILED if isinstance(error, ChopmarkError) else UNEXPECTED


SCENARIOS: dict[str, Callable[..., None]] = {"publication": publication, "load": load}
