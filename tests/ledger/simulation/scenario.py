"""One seed: a world, some dozens of steps in which anything may happen, and an end in which all must be well.

The seed chooses first which kinds of trouble there are in this world at all, and how often: with everything at once
hardly anything would ever be published. Then it chooses each step. In the end all faults are lifted, and within a few
publications every batch that a client ever sent must be acknowledged and published, and every file be right.

The log, publisher, landmarks, witnesses and file code are the ledger's own. Simulated are the system calls, the
database with its transactions, the network, clocks, and the order in which requests are answered. Not simulated are
threads, of which one may do something where another waits for its disk or its witnesses and nowhere else; the inside
of a database; the lock on a folder; and the loop around publication, whose turn `world.Run.publish` repeats.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

from chopmark import merkle
from chopmark.errors import StorageError
from chopmark_ledger.publication import prover

from tests.ledger.simulation.audit import audit
from tests.ledger.simulation.clients import SimulatedClient
from tests.ledger.simulation.history import TILE_WIDTH
from tests.ledger.simulation.machines import Violation, must
from tests.ledger.simulation.mishaps import Mishaps, Trouble
from tests.ledger.simulation.network import Liar
from tests.ledger.simulation.operations import Operator
from tests.ledger.simulation.system_calls import simulated_system_calls
from tests.ledger.simulation.templates import SETUPS, SIZES, world_of_size
from tests.ledger.simulation.world import Run

STEPS = 30
ROUNDS_TO_RECOVER = 4
"""Publications within which all is published, once the faults are over, beside one for each batch that waits."""


AUDITED = 0.2
"""Of the seeds, how many end with the ledger's own check of the whole log."""


@dataclass(frozen=True)
class Outcome:
    """What became of a seed: `violation` is None where all invariants held."""

    seed: int
    violation: str | None
    trace: tuple[str, ...]


def run_seed(seed: int, *, with_trace: bool = False, has_liar: bool | None = None, **trouble: float) -> Outcome:
    """Run one seed; the same seed always does the same.

    Args:
        seed: decides all that happens.
        with_trace: whether to keep a line for each step.
        has_liar: whether one of the witnesses lies; left out, the seed decides.
        trouble: fields of `Trouble` that the seed does not decide.
    """
    random = Random(seed)
    trace: list[str] | None = [] if with_trace else None
    scenario = Scenario(random, trace, has_liar, trouble)
    violation = None
    with simulated_system_calls(scenario.world.surroundings):
        try:
            scenario.run()
        except Violation as error:
            violation = str(error)
        except Exception as error:
            violation = f"an error that nobody foresaw: {type(error).__name__}: {error}"
            scenario.world.surroundings.note(traceback.format_exc())
    return Outcome(seed, violation, tuple(trace or ()))


class Scenario:
    """The steps of one seed."""

    def __init__(
        self, random: Random, trace: list[str] | None, has_liar: bool | None, trouble: Mapping[str, float]
    ) -> None:
        self.random = random
        kinds = (random.random() < 0.25 if has_liar is None else has_liar, random.random() < 0.05)
        (plain,) = [setup for setup in SETUPS if (setup.has_liar, setup.is_post_quantum) == kinds]
        self.setup = replace(
            plain,
            landmark_interval=random.choice((60, 900)),
            max_unpublished=random.choice((30, 500_000, 500_000)),
        )
        self.trouble = replace(Trouble.choose(random), **trouble)
        size = random.choice((1, 1, 1, *SIZES))
        self.world = world_of_size(self.setup, size, random, trace)
        self.world.surroundings.note("setup", self.setup)
        self.world.surroundings.note("trouble", self.trouble)
        self.watch = self.world.watch
        self.mishaps = Mishaps(self.world)
        self.operator = Operator(self.world, may_restore=not (plain.has_liar or self.trouble.rival))
        self._is_within = False
        if self.trouble.meanwhile and not self.trouble.rival:
            self.world.meanwhile = self.meanwhile

    def run(self) -> None:
        """Do all of it."""
        self.world.open()
        for number in range(STEPS):
            self.world.surroundings.note("step", number)
            self.step()
        self.world.surroundings.note("the faults are over")
        self.recover()

    # One step

    def step(self) -> None:
        """Let one thing happen."""
        trouble, happens = self.trouble, self.world.surroundings.happens
        self.world.surroundings.time += self.random.choice((0, 1, 1, 5, 60))
        if happens(trouble.crash):
            self.mishaps.crash()
        if happens(trouble.disk):
            self.mishaps.disturb_a_disk()
        if happens(trouble.network):
            self.mishaps.disturb_the_network()
        if happens(trouble.clocks):
            self.mishaps.move_a_clock()
        if happens(trouble.operator):
            self.operator.operate()
        if happens(trouble.forger):
            self.mishaps.forge()
        if happens(trouble.rival) and self.world.run is not None and not self.watch.is_stale:
            self.world.open_rival()
        if self.world.run is None and (happens(0.7) or not self.trouble.crash):
            self.reopen()
        self.act()
        self.watch.look()

    def act(self) -> None:
        """What a log is there for."""
        runs = self.world.runs()
        if not runs:
            return
        run = self.random.choice(runs)
        if run.is_stopped and self.world.surroundings.happens(0.5):
            self.reopen()
            return
        with self.world.crashing():
            if self.world.surroundings.happens(self.trouble.work):
                self.append(run)
                return
            match self.random.randrange(6):
                case 0 | 1 | 2:
                    run.publish()
                case 3 | 4:
                    run.publish(landmark_now=True)
                case _:
                    self.prove(run)

    def append(self, run: Run, *, is_small: bool = False) -> None:
        """Let some clients send batches, together: new ones, and those that they have no answer for."""
        random = self.random
        batches: list[tuple[SimulatedClient, int, tuple[bytes, ...]]] = []
        for _ in range(random.choice((1, 1, 2, 3))):
            client = random.choice(self.world.clients)
            # On a backup that lost what was handed out nothing is sent twice: it could make the lost history again.
            is_other = self.watch.is_stale and not self.watch.may_go_on
            outstanding = [] if is_other else list(client.outstanding)
            if outstanding and random.random() < 0.5:
                number = random.choice(outstanding)
            elif client.answered and not is_other and random.random() < 0.2:
                number = random.choice(list(client.answered))
                entries = client.answered[number]
                if random.random() < 0.4:
                    entries = (*entries[1:], entries[0], entries[0])
                batches.append((client, number, entries))
                continue
            else:
                count = self.how_many(run, is_small=is_small)
                bad = random.choice((0, 0, 0, 1, 3))
                number = client.new_batch(random, self.world.made, count, bad)
                self.world.made += count
                if not client.outstanding[number]:
                    del client.outstanding[number]
                    continue
            batches.append((client, number, client.outstanding[number]))
        if batches:
            run.append(batches)

    def append_one(self, run: Run) -> None:
        """Let a client send one more entry."""
        client = self.world.clients[0]
        number = client.new_batch(self.random, self.world.made, 1, 0)
        self.world.made += 1
        run.append([(client, number, client.outstanding[number])])

    def how_many(self, run: Run, *, is_small: bool) -> int:
        """How many entries a client sends: mostly few, sometimes up to where a tile ends or one before or after."""
        if not is_small and self.random.random() < 0.1:
            left = TILE_WIDTH - run.log.size % TILE_WIDTH
            return max(0, min(left + self.random.choice((-1, 0, 1)), self.setup.max_unpublished))
        return self.random.choice((0, 1, 1, 1, 2, 3, 5, 8))

    def prove(self, run: Run) -> None:
        """Ask for the proof of an acknowledged entry, and check it."""
        known = list(self.watch.acknowledged.values())
        publication = run.log.publication
        if not known or publication is None or self.watch.is_stale:
            return
        acknowledged = self.random.choice(known)
        for index, entry in zip(acknowledged.answer.indexes, acknowledged.entries, strict=True):
            if index is not None and index < publication.size:
                with suppress(StorageError):
                    self._check_proof(run, index, entry)
                return

    def _check_proof(self, run: Run, index: int, entry: bytes) -> None:
        proof = prover.tlog_proof(run.log, index)
        lines = proof.split(b"\n\n", 1)[0].split(b"\n")
        must(lines[1] == b"index %d" % index, "a proof is of another entry")
        landmark = prover.landmark_proof(run.log, run.landmarks.file, index)
        if landmark is not None:
            record = run.landmarks.file.find(landmark.start, landmark.end)
            assert record is not None
            landmark.verify(merkle.leaf_hash(entry), record)

    def meanwhile(self) -> None:
        """What happens while the log waits for its disk or its witnesses."""
        if self._is_within or not self.world.surroundings.happens(self.trouble.meanwhile):
            return
        self._is_within = True
        try:
            run = self.world.run
            match self.random.randrange(6):
                case 0 | 1 | 2 if run is not None:
                    self.world.surroundings.note("   ", "meanwhile")
                    self.append(run, is_small=True)
                case 3:
                    self.world.network.deliver_one()
                case 4:
                    self.world.surroundings.time += self.random.choice((1, 10, 400))
                case 5 if self.trouble.network:
                    self.mishaps.disturb_the_network()
        finally:
            self._is_within = False

    def reopen(self) -> None:
        """An operator starts the log again, and does about a refusal what its message asks for."""
        if self.trouble.rival:
            self.world.rival = None
        if self.world.machine.is_shut_down and self.world.surroundings.happens(0.5):
            self.world.cut_power()
        if self.world.open() or not self.watch.is_stale:
            return
        if self.world.surroundings.happens(0.5):
            self.operator.bring_back_the_newest()

    # Trouble

    # The end

    def recover(self) -> None:
        """Lift every fault, and see to it that all comes to be well."""
        world = self.world
        world.answers_lost = 0.0
        world.meanwhile = None
        world.rival = None
        world.machine.faults.heal()
        for node in world.witnesses:
            node.network.heal()
            node.machine.faults.heal()
            if not node.is_running:
                node.start()
        if self.random.random() < 0.5:
            world.cut_power()
        world.end_run()
        machines = [world.machine, *(node.machine for node in world.witnesses)]
        world.surroundings.time += 1000 + 2 * 86_400 * bool(self.trouble.clocks)
        if world.machine.is_shut_down:
            world.cut_power()
        for machine in machines:
            if machine.is_shut_down:
                machine.cut_power()
            machine.skew = 0
        for node in world.witnesses:
            if not isinstance(node, Liar):
                node.start()
        self.watch.look()
        self.operator.bring_back_the_newest()
        if self.watch.damaged:
            self.operator.lose_the_folder()
        while world.network.deliver_one():
            pass
        self._publish_everything()

    def _publish_everything(self) -> None:
        world = self.world
        must(world.open(), "the log cannot be opened, though nothing is wrong any more")
        run = world.run
        assert run is not None
        rounds = ROUNDS_TO_RECOVER + sum(len(client.outstanding) for client in world.clients)
        for _ in range(rounds):
            self._send_everything(run)
            if run.publish(landmark_now=True) and not any(client.outstanding for client in world.clients):
                break
        # Landmarks wait where the last checkpoint was witnessed before the one of the last landmark: until the next.
        self.append_one(run)
        must(run.publish(landmark_now=True), "the next publication fails, though nothing is wrong any more")
        must(not any(client.outstanding for client in world.clients), "a batch is not acknowledged in the end")
        must(self.watch.seen == run.log.size, "not everything is published in the end")
        must(run.landmarks.file.end == run.log.size, "no landmark covers the newest entries in the end")
        self.watch.check_all_acknowledged()
        for acknowledged in self.random.sample(
            list(self.watch.acknowledged.values()), min(2, len(self.watch.acknowledged))
        ):
            for index, entry in zip(acknowledged.answer.indexes, acknowledged.entries, strict=True):
                if index is not None:
                    self._check_proof(run, index, entry)
                    break
        if self.random.random() < AUDITED:
            report = audit(world.machine.files, world.policy)
            must(report.is_sound, f"the check finds damage in the end: {report.damage}")

    def _send_everything(self, run: Run) -> None:
        for client in self.world.clients:
            for number, entries in list(client.outstanding.items()):
                run.append([(client, number, entries)])
