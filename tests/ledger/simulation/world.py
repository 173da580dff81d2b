"""A log with its database and disk, its witnesses and its clients, all simulated but for the ledger's own code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

from chopmark.cosignature import Cosigner
from chopmark.errors import ChopmarkError, QuorumError, StorageError
from chopmark.keys import Ed25519Signer, MlDsa44Signer, Signer
from chopmark.note import NoteSigner, NoteVerifier
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.batch import BatchAnswer, Submission
from chopmark_ledger.errors import (
    BackpressureError,
    BatchError,
    BatchRefusedError,
    CommitUnknownError,
    ConflictError,
    ForkError,
    LogStoppedError,
    NotPublishedError,
    PublicationPoisonedError,
    RestoredBackupError,
    TileConflictError,
)
from chopmark_ledger.publication import cosigning
from chopmark_ledger.publication.publisher import Publisher
from chopmark_ledger.sequencing.committed_mark import CommittedMark
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log, LogSettings, begin
from chopmark_ledger.sequencing.log_keys import make_identity
from chopmark_ledger.storage.public_folder import PublicFolder

from tests.ledger.simulation.clients import CLIENTS, SimulatedClient
from tests.ledger.simulation.database import SimulatedDatabase, SimulatedStore
from tests.ledger.simulation.invariants import Watch
from tests.ledger.simulation.machines import BEGIN, Machine, Process, SimulatedCrash, Surroundings, must
from tests.ledger.simulation.network import Liar, Link, Network, SimulatedExecutor, WitnessNode
from tests.ledger.simulation.system_calls import path_of

ORIGIN = "cn-gd.example/log/2026"
NAMES = ("cn-sh.example/witness", "us-il.example/witness", "us-ny.example/witness", "cn-js.example/witness")
KEY = Ed25519Signer(b"\x07" * 32)
_PQ_SEED = b"\x08" * 32
_PATIENCE = 10.0
_MOMENT = 0.1


@dataclass(frozen=True)
class Setup:
    """Of what a world is made."""

    witnesses: int = 3
    quorum: int = 2
    has_liar: bool = False
    is_post_quantum: bool = False
    landmark_interval: int = 900
    max_unpublished: int = 500_000


class World:
    """A log and everything around it."""

    def __init__(self, setup: Setup, random: Random, trace: list[str] | None = None) -> None:
        self.setup = setup
        self.surroundings = Surroundings(random, trace)
        self.random = random
        self.machine = Machine("log", self.surroundings)
        self.database = SimulatedDatabase()
        self.network = Network(self.surroundings)
        self.keys = _keys(setup.is_post_quantum)
        vkey = NoteSigner(ORIGIN, self.keys[0]).vkey
        vkeys = [vkey, *(Cosigner(ORIGIN, key).vkey for key in self.keys[1:])]
        logs = {ORIGIN: [NoteVerifier.from_vkey(vkey) for vkey in vkeys]}
        self.witnesses = [
            (Liar if setup.has_liar and number == 0 else WitnessNode)(
                name, _witness_keys(number, setup.is_post_quantum), logs, self.surroundings, self._on_cosigned
            )
            for number, name in enumerate(NAMES[: setup.witnesses])
        ]
        self.policy = TlogPolicy.parse(self._policy_text(vkeys))
        self.watch = Watch(self.machine.files, self.database, self.policy)
        self.network.on_sent = self.watch.check_sent
        self.clients = [SimulatedClient(client) for client in CLIENTS]
        self.made = 0
        """Entries that the clients have made."""
        self.answers_lost = 0.2
        """The probability that an answer gets lost on its way to a client."""
        self.run: Run | None = None
        self.rival: Run | None = None
        self.had_rival = False
        self.monotonic = 0.0
        self.meanwhile: Callable[[], None] | None = None

    def _policy_text(self, log_vkeys: Sequence[str]) -> str:
        lines = [f"log {vkey}" for vkey in log_vkeys]
        for number, node in enumerate(self.witnesses):
            names = [f"w{number}-{position}" for position in range(len(node.vkeys))]
            lines += [f"witness {name} {vkey}" for name, vkey in zip(names, node.vkeys, strict=True)]
            lines.append(f"group R{number} any {' '.join(names)}")
        groups = " ".join(f"R{number}" for number in range(len(self.witnesses)))
        return "\n".join([*lines, f"group peers {self.setup.quorum} {groups}", "quorum peers", ""])

    def _on_cosigned(self, node: WitnessNode, body: bytes) -> None:
        self.watch.check_cosigned(node, body)

    def create(self) -> None:
        """Begin the log and start the witnesses."""
        for machine in (self.machine, *(node.machine for node in self.witnesses)):
            machine.files.make_folder(("data",))
            machine.files.sync_folder(machine.files.root)
        for node in self.witnesses:
            node.start()
        pq_key = self.keys[1] if len(self.keys) > 1 else None
        identity = make_identity(origin=ORIGIN, number=1, key=self.keys[0], pq_key=pq_key, created=BEGIN)
        process = self.machine.start()
        begin(SimulatedStore(self.database, process), identity)
        self.watch.look()

    def begin_as(self, other: World) -> None:
        """Have the disks and the database of another world, whose log is not running."""
        self.machine.files = self.watch.files = other.machine.files.copy()
        self.database.become(other.database)
        self.watch.begin_as(other.watch)
        for node, model in zip(self.witnesses, other.witnesses, strict=True):
            node.machine.files = model.machine.files.copy()
            node.cosigned, node.largest = dict(model.cosigned), model.largest
            node.start()
        self.surroundings.time = other.surroundings.time

    # The log's process

    def open(self) -> bool:
        """Open the log in a new process; answers whether it runs."""
        self.end_run()
        self.run = self._open(self.machine.start())
        return self.run is not None

    def open_rival(self) -> None:
        """Open the log a second time, the lock on its folder not being kept."""
        self.had_rival = True
        self.rival = self._open(self.machine.start_beside())

    def _open(self, process: Process) -> Run | None:
        process.observer = self.watch.look
        run = Run(self, process)
        try:
            run.open()
        except SimulatedCrash:
            self._crashed()
            return None
        except ChopmarkError as error:
            run.note_error("opening fails", error)
            process.end()
            return None
        self.surroundings.note("   ", "the log is open at size", run.log.size)
        self.watch.opened()
        if not self.watch.is_stale:
            self.watch.check_all_acknowledged()
        process.meanwhile = self.meanwhile
        return run

    def end_run(self) -> None:
        """Kill the log's process, if there is one."""
        self.machine.kill()
        self.run = None

    def _crashed(self) -> None:
        """The log's process has ended by itself: perhaps the whole machine lost its power."""
        self.run = None
        if self.surroundings.happens(0.5):
            self.cut_power()
        else:
            self.watch.look()

    def cut_power(self) -> None:
        """Let the machine of the log lose its power."""
        self.surroundings.note("   ", "power cut")
        self.run = self.rival = None
        self.machine.cut_power()
        self.watch.after_power_cut()

    def runs(self) -> list[Run]:
        """The processes that have the log open."""
        return [run for run in (self.run, self.rival) if run is not None and run.process.is_alive]

    @contextmanager
    def crashing(self) -> Iterator[None]:
        """Survive the crash of the log's process within the block."""
        try:
            yield
        except SimulatedCrash:
            self._crashed()
        self.watch.look()

    # Time

    def wait(self, futures: Sequence[Future[Any]], timeout: float, return_when: str) -> SimpleNamespace:
        """In the place of `concurrent.futures.wait`: requests that are under way may arrive meanwhile."""
        run = self.run
        assert return_when == "FIRST_COMPLETED"
        until = self.monotonic + timeout
        while True:
            done = {future for future in futures if future.done()}
            if done or self.monotonic >= until:
                return SimpleNamespace(done=done)
            if run is not None and run.process.is_alive:
                run.process.wait("waits for the witnesses")
            if not (self.surroundings.happens(0.5) and self.network.deliver_one()):
                self.monotonic = until
            self.monotonic += _MOMENT

    @contextmanager
    def simulated_time(self) -> Iterator[None]:
        """Let the publisher's patience be that of this world."""
        clock = SimpleNamespace(monotonic=lambda: self.monotonic)
        with mock.patch.object(cosigning, "time", clock), mock.patch.object(cosigning, "wait", self.wait):
            yield


@dataclass
class Run:
    """The log, open in one process."""

    world: World
    process: Process
    is_stopped: bool = False
    has_begun: bool = False
    """Whether a publication has succeeded; before that the loop ends no landmarks."""
    happened_before: Counter[str] = field(init=False)
    log: Log = field(init=False)
    publisher: Publisher = field(init=False)
    landmarks: Landmarks = field(init=False)

    def open(self) -> None:
        """Open the log."""
        world, process = self.world, self.process
        self.happened_before = world.machine.happened.copy()
        folder = PublicFolder(path_of(process, "data", "public"), path_of(process, "data", "staging"))
        keys = world.keys
        self.log = Log(
            SimulatedStore(world.database, process),
            folder,
            lock=_NoLock(),
            key=keys[0],
            pq_key=keys[1] if len(keys) > 1 else None,
            clock=world.machine.clock,
            random=world.random.randbytes,
            settings=LogSettings(
                max_unpublished=world.setup.max_unpublished, landmark_interval=world.setup.landmark_interval
            ),
            mark=CommittedMark(path_of(process, "data")),
        )
        links = [Link(node, world.network, process) for node in world.witnesses]
        self.publisher = Publisher(
            self.log, links, world.policy, executor=SimulatedExecutor(), patience=_PATIENCE, grace=0.2
        )
        self.landmarks = Landmarks(self.log)

    def append(self, batches: Sequence[tuple[SimulatedClient, int, tuple[bytes, ...]]]) -> None:
        """Let the log take batches together; an answer may get lost on its way to the client."""
        watch = self.world.watch
        submissions = [Submission(client.client, number, entries) for client, number, entries in batches]
        try:
            answers = self.log.append_all(submissions)
        except (LogStoppedError, StorageError) as error:
            self.note_error("appending fails", error)
            return
        must(not self.is_stopped, "a log that stopped has taken a batch")
        for (client, number, entries), answer in zip(batches, answers, strict=True):
            if isinstance(answer, BatchAnswer):
                self._acknowledge(client, number, entries, answer)
            else:
                self._refuse(client, number, entries, answer)
        watch.look()

    def _acknowledge(
        self, client: SimulatedClient, number: int, entries: tuple[bytes, ...], answer: BatchAnswer
    ) -> None:
        world = self.world
        world.surroundings.note("   ", client.client.name, "batch", number, "is acknowledged", _short(answer.indexes))
        world.watch.acknowledge(client.client.name, number, entries, answer)
        if client.outstanding.get(number) == entries:
            must(
                {each.position for each in answer.refused} == client.refused[number],
                f"batch {number} of {client.client.name}: other entries were refused than those that are bad",
            )
            if not world.surroundings.happens(world.answers_lost):
                client.answered[number] = client.outstanding.pop(number)

    def _refuse(self, client: SimulatedClient, number: int, entries: tuple[bytes, ...], error: BatchError) -> None:
        world = self.world
        world.surroundings.note("   ", client.client.name, "batch", number, "is refused:", type(error).__name__)
        known = world.watch.acknowledged.get((client.client.name, number))
        match error:
            case ConflictError():
                # Without an acknowledgement the other body may have been committed in a crash.
                must(known is None or known.entries != entries, "a batch conflicts with itself")
                if client.outstanding.get(number) == entries and known is not None:
                    del client.outstanding[number]
            case BackpressureError():
                unpublished = self.log.size - (self.log.publication.size if self.log.publication else 0)
                must(
                    unpublished + len(entries) > world.setup.max_unpublished,
                    f"{unpublished} entries unpublished are taken for too many",
                )
                must(known is None, "back-pressure keeps a client from the answer to a batch that was taken")
            case BatchRefusedError():
                must(known is None, "a batch that was taken is refused")
                must(client.refused[number] == frozenset(range(len(entries))), "a batch with good entries is refused")
                client.outstanding.pop(number, None)
            case _:
                must(False, f"an unexpected refusal: {error!r}")

    def publish(self, *, landmark_now: bool = False) -> bool:
        """Publish, then end landmark intervals; answers whether all of it went well.

        Each is tried even where the other fails, unless the log stops: the order of a turn of the publication loop.
        """
        is_published = self._attempt("publishing fails", self._publish)
        if self.is_stopped:
            return False
        has_landmarks = self._attempt("ending landmarks fails", lambda: self._end_landmarks(now=landmark_now))
        return is_published and has_landmarks

    def _attempt(self, what: str, step: Callable[[], None]) -> bool:
        was_stopped = self.is_stopped
        try:
            with self.world.simulated_time():
                step()
        except (QuorumError, NotPublishedError, LogStoppedError, StorageError) as error:
            self.note_error(what, error)
            if isinstance(error, LogStoppedError):
                self.log.stop(error)
            return False
        must(not was_stopped, "a log that stopped has gone on")
        return True

    def _publish(self) -> None:
        world = self.world
        self.log.check_running()
        witnessed = self.publisher.publish()
        world.watch.look()
        world.surroundings.note("   ", "published", witnessed.checkpoint.size)
        must(world.watch.seen >= witnessed.checkpoint.size or world.had_rival, "what was published does not stand")
        self.publisher.sound_out()
        self.has_begun = True

    def _end_landmarks(self, *, now: bool) -> None:
        if not self.has_begun:
            return
        time = self.log.clock()
        if now:
            self.landmarks.end_now(now=time)
        else:
            self.landmarks.end_due(now=time)
        self.world.watch.look()
        if self.log.publication is not None:
            self.world.watch.settle_landmarks()

    def note_error(self, what: str, error: ChopmarkError) -> None:
        """Note that the log failed, and see to it that it had a reason."""
        world = self.world
        world.surroundings.note("   ", what + ":", type(error).__name__, error)
        if isinstance(error, LogStoppedError):
            must(self._has_reason(error), f"the log stopped without a reason: {type(error).__name__}: {error}")
            self.is_stopped = True

    def _has_reason(self, error: LogStoppedError) -> bool:
        watch, happened = self.world.watch, self.world.machine.happened - self.happened_before
        if self.is_stopped or self.world.had_rival:
            return True
        match error:
            case RestoredBackupError() | ForkError():
                return watch.is_stale
            case TileConflictError():
                return bool(watch.damaged)
            case PublicationPoisonedError():
                return happened["sync"] > 0
            case CommitUnknownError():
                return happened["commit"] > 0
        return False


class _NoLock:
    """The lock is simulated by there being one process."""

    def release(self) -> None:
        """Nothing is held."""


def _short(indexes: tuple[int | None, ...]) -> str:
    shown = ", ".join("-" if index is None else str(index) for index in indexes[:8])
    return f"[{shown}{', …' if len(indexes) > 8 else ''}]"


def _keys(is_post_quantum: bool) -> tuple[Signer, ...]:
    return (KEY, _pq_signer(b"\x08")) if is_post_quantum else (KEY,)


def _witness_keys(number: int, is_post_quantum: bool) -> tuple[Signer, ...]:
    key = Ed25519Signer(bytes([16 + number]) * 32)
    return (key, _pq_signer(bytes([32 + number]))) if is_post_quantum else (key,)


def _pq_signer(seed: bytes) -> MlDsa44Signer:
    return MlDsa44Signer(seed * 32)
