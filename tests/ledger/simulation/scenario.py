"""One seed: a world, some dozens of steps in which anything may happen, and an end in which all must be well.

The seed chooses first which kinds of trouble there are in this world at all, and how often: with everything at once
hardly anything would ever be published. Then it chooses each step. In the end all faults are lifted, and within a few
publications every batch that a client ever sent must be acknowledged and published, and every file be right.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from chopmark import merkle
from chopmark.errors import StorageError
from chopmark_ledger import prover

from tests.ledger.simulation.clients import SimulatedClient
from tests.ledger.simulation.database import SimulatedDatabase
from tests.ledger.simulation.file_system import Parts
from tests.ledger.simulation.forger import forged_request
from tests.ledger.simulation.history import TILE_WIDTH
from tests.ledger.simulation.invariants import PUBLIC, public
from tests.ledger.simulation.machines import Violation, must
from tests.ledger.simulation.network import Liar, WitnessNode
from tests.ledger.simulation.system_calls import simulated_system_calls
from tests.ledger.simulation.templates import world_of_size
from tests.ledger.simulation.world import Run, Setup

STEPS = 30
ROUNDS_TO_RECOVER = 4
"""Publications within which all is published, once the faults are over, beside one for each batch that waits."""


@dataclass(frozen=True)
class Outcome:
    """What became of a seed: `violation` is None where all invariants held."""

    seed: int
    violation: str | None
    trace: tuple[str, ...]


def run_seed(seed: int, *, with_trace: bool = False) -> Outcome:
    """Run one seed; the same seed always does the same."""
    random = Random(seed)
    trace: list[str] | None = [] if with_trace else None
    scenario = Scenario(random, trace)
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


@dataclass(frozen=True)
class Backup:
    """A database and the public folder beside it, at one time."""

    database: SimulatedDatabase
    files: dict[Parts, bytes]


@dataclass
class Trouble:
    """Which kinds of trouble there are: the probability of each, per step."""

    crash: float
    disk: float
    network: float
    clocks: float
    operator: float
    meanwhile: float
    forger: bool
    rival: bool


class Scenario:
    """The steps of one seed."""

    def __init__(self, random: Random, trace: list[str] | None) -> None:
        self.random = random
        has_liar = random.random() < 0.25
        self.setup = Setup(
            witnesses=4 if has_liar else 3,
            quorum=3 if has_liar else 2,
            has_liar=has_liar,
            is_post_quantum=random.random() < 0.05,
            landmark_interval=random.choice((60, 900)),
            max_unpublished=random.choice((30, 500_000, 500_000)),
        )
        self.trouble = Trouble(
            crash=random.choice((0, 0.1, 0.3)),
            disk=random.choice((0, 0, 0.1, 0.2)),
            network=random.choice((0, 0.1, 0.3)),
            clocks=random.choice((0, 0, 0.1)),
            operator=random.choice((0, 0, 0.05, 0.15)),
            meanwhile=random.choice((0, 0, 0.02, 0.1)),
            forger=random.random() < 0.2,
            rival=random.random() < 0.05,
        )
        size = random.choice((1, 1, 1, 1, 200, 253, 1020))
        self.world = world_of_size(self.setup, size, random, trace)
        self.world.surroundings.note("setup", self.setup)
        self.world.surroundings.note("trouble", self.trouble)
        self.watch = self.world.watch
        self.newest: SimulatedDatabase | None = None
        self.backups: list[Backup] = []
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
            self.crash()
        if happens(trouble.disk):
            self.disturb_a_disk()
        if happens(trouble.network):
            self.disturb_the_network()
        if happens(trouble.clocks):
            self.move_a_clock()
        if happens(trouble.operator):
            self.operate()
        if trouble.forger and happens(0.1):
            self.forge()
        if trouble.rival and happens(0.1) and self.world.run is not None and not self.watch.is_stale:
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
            match self.random.randrange(10):
                case 0 | 1 | 2 | 3 | 4:
                    self.append(run)
                case 5 | 6 | 7:
                    run.publish()
                case 8:
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
                    self.disturb_the_network()
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
        if self.newest is not None and self.world.surroundings.happens(0.5):
            self.bring_back_the_newest()

    # Trouble

    def crash(self) -> None:
        """Let the log crash now, or at one of its next steps."""
        run = self.world.run
        match self.random.randrange(6):
            case 0:
                self.world.end_run()
            case 1:
                self.world.cut_power()
            case _ if run is not None:
                run.process.steps_left = int(self.random.expovariate(1 / 20))

    def disturb_a_disk(self) -> None:
        """Let a disk fail for a while, or end that."""
        machines = [self.world.machine, self.world.machine, *(node.machine for node in self.world.witnesses)]
        faults = self.random.choice(machines).faults
        rate = self.random.choice((0.01, 0.05, 0.3))
        match self.random.randrange(10):
            case 0:
                faults.is_full = True
            case 1:
                faults.is_read_only = True
            case 2:
                faults.read_fails = rate
            case 3:
                faults.write_fails = rate
            case 4 | 5:
                faults.sync_fails = rate
            case 6:
                faults.transaction_fails = rate
            case 7:
                faults.commit_is_unknown = rate
            case _:
                faults.heal()
        self.world.surroundings.note("   ", "disk:", faults)

    def disturb_the_network(self) -> None:
        """Let a witness or the way to it fail, or recover."""
        node = self.random.choice(self.world.witnesses)
        faults = node.network
        rate = self.random.choice((0.1, 0.5, 1))
        match self.random.randrange(14):
            case 0:
                faults.request_lost = rate
            case 1:
                faults.answer_lost = rate
            case 2 | 3:
                faults.late = rate
            case 4:
                faults.doubled = rate
            case 5:
                faults.garbled = rate
            case 6:
                faults.old_answer = rate
            case 7:
                faults.is_cut = True
            case 8:
                self.world.network.deliver_one()
            case 9 | 10:
                self.crash_a_witness(node)
            case _:
                faults.heal()
                if not node.is_running:
                    node.start()
        self.world.surroundings.note("   ", node.name, faults)

    def crash_a_witness(self, node: WitnessNode) -> None:
        """Let a witness crash, at once or within a request, or start again."""
        if isinstance(node, Liar):
            return
        if not node.is_running:
            node.start()
            return
        match self.random.randrange(3):
            case 0:
                node.machine.kill()
            case 1:
                node.machine.cut_power()
            case _:
                node.crash_within(int(self.random.expovariate(1 / 8)))

    def move_a_clock(self) -> None:
        """Let the clock of a machine jump."""
        machine = self.random.choice([self.world.machine, *(node.machine for node in self.world.witnesses)])
        machine.skew = self.random.choice((0, 0, -10, -299, -301, -86_400, 10, 299, 301, 86_400))
        self.world.surroundings.note("   ", machine.name, "clock is ahead by", machine.skew)

    def forge(self) -> None:
        """Somebody with the log's key offers a witness another history of what it has cosigned."""
        node = self.random.choice(self.world.witnesses)
        if node.largest > 1 and not isinstance(node, Liar) and not self.watch.was_stale:
            body = forged_request(self.watch.history, node.largest, self.world.keys[0], self.random)
            self.world.surroundings.note("   ", "a forger asks", node.name)
            answer = self.world.network.forge(node, body)
            must(answer is None or answer.status != 200, f"{node.name} cosigned a forged checkpoint")

    def operate(self) -> None:
        """What people do to a log: backups, and what goes wrong with them and without."""
        match self.random.randrange(9):
            case 0 | 1 | 2 if not self.watch.damaged and not self.watch.is_stale:
                files = {path: file.content for path, file in self.world.machine.files.files(PUBLIC)}
                self.backups.append(Backup(self.world.database.backup(), files))
            case 3:
                self.lose_the_folder()
            case 4 if self.backups:
                self.restore_the_folder(self.random.choice(self.backups))
            case 5 | 6:
                self.restore_the_database()
            case 7:
                self.flip_a_bit()
            case 8:
                self.bring_back_the_newest()

    def lose_the_folder(self) -> None:
        """The public folder is gone, perhaps under a log that runs."""
        self.world.surroundings.note("   ", "the public folder is lost")
        self.world.machine.files.remove_all(PUBLIC)
        self.watch.after_folder_change()

    def restore_the_folder(self, backup: Backup) -> None:
        """The public folder comes from a backup."""
        self.world.surroundings.note("   ", "the public folder comes from a backup")
        self.world.machine.files.remove_all(PUBLIC)
        for path, content in backup.files.items():
            self.world.machine.files.put(path, content)
        self.watch.after_folder_change()

    def restore_the_database(self) -> None:
        """The database comes from a backup, while the log is down."""
        if not self.backups or self.watch.is_stale or self.setup.has_liar or self.trouble.rival:
            return
        chosen = self.random.choice(self.backups)
        backup = chosen.database
        shown = (len(self.watch.longest_landmarks) - 16) // 64
        may_go_on = backup.tree.size >= self.watch.exposed and len(backup.landmarks) >= shown
        if backup.tree.size >= self.watch.published and not may_go_on:
            # Only a witness, or somebody who read the landmark file, could tell. Nobody promises to notice that.
            return
        self.world.surroundings.note("   ", "the database comes from a backup, of size", backup.tree.size)
        self.world.end_run()
        self.newest = self.world.database.backup()
        self.world.database.become(backup)
        self.watch.after_restore(may_go_on=may_go_on)
        if self.random.random() < 0.5:
            self.world.surroundings.note("   ", "the mark of what was committed is lost")
            self.world.machine.files.remove_all(("data", "committed"))
        match self.random.randrange(3):
            case 0:
                self.lose_the_folder()
            case 1:
                self.restore_the_folder(chosen)
        self._forget_answers()

    def bring_back_the_newest(self) -> None:
        """The operator finds the newest database again, and moves away what the log has written without it."""
        if self.newest is not None and self.watch.is_stale:
            self.world.surroundings.note("   ", "the newest database is back")
            self.world.end_run()
            has_grown = self.world.database.entries != self.newest.entries[: len(self.world.database.entries)]
            self.world.database.become(self.newest)
            self.newest = None
            self.watch.after_return()
            self._forget_answers()
            if has_grown:
                self.world.machine.files.remove_all(("data", "committed"))
                self.lose_the_folder()
            self.watch.look()

    def _forget_answers(self) -> None:
        for client in self.world.clients:
            client.forget_answers(set(self.watch.acknowledged))

    def flip_a_bit(self) -> None:
        """A bit flips in a public file, on the disk."""
        files = list(self.world.machine.files.files(PUBLIC))
        if files:
            path, file = self.random.choice(files)
            if file.is_settled and file.content:
                damaged = bytearray(file.content)
                damaged[self.random.randrange(len(damaged))] ^= 1 << self.random.randrange(8)
                file.content = file.platter = bytes(damaged)
                name = "/".join(path[len(PUBLIC) :])
                self.watch.rotten.add((name, file.content))
                self.watch.damaged.add(name)
                self.world.surroundings.note("   ", "a bit flips in", name)

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
        self.bring_back_the_newest()
        if self.watch.damaged:
            self.lose_the_folder()
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
        must(public("checkpoint") in dict(world.machine.files.files(PUBLIC)), "no checkpoint stands in the end")

    def _send_everything(self, run: Run) -> None:
        for client in self.world.clients:
            for number, entries in list(client.outstanding.items()):
                run.append([(client, number, entries)])
