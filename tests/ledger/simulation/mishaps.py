"""What goes wrong by itself: crashes, disks, the network, clocks, and somebody who forges."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.ledger.simulation.forger import forged_request
from tests.ledger.simulation.machines import must
from tests.ledger.simulation.network import Liar, WitnessNode
from tests.ledger.simulation.world import World


@dataclass(frozen=True)
class Trouble:
    """Which kinds of trouble there are in a world: the probability of each, per step.

    Args:
        work: clients send something; the log publishes otherwise.
        crash: the log's process ends, now or at one of its next steps, or its machine loses power.
        disk: a disk begins to fail in some way, or recovers.
        network: a witness or the way to it does.
        clocks: a clock jumps.
        operator: somebody does something to the database or the public folder.
        meanwhile: something happens while the log waits for its disk or its witnesses, per wait.
        forger: somebody else who holds the log's key offers a witness another history.
        rival: the lock on the log's folder fails, and a second process opens the log.
    """

    work: float
    crash: float
    disk: float
    network: float
    clocks: float
    operator: float
    meanwhile: float
    forger: float
    rival: float

    @classmethod
    def choose(cls, random: Random) -> Trouble:
        """Choose some kinds, and how often they happen: with everything at once hardly anything would be published."""
        return cls(
            work=random.choice((0.2, 0.5, 0.5)),
            crash=random.choice((0, 0.1, 0.3)),
            disk=random.choice((0, 0.1, 0.25)),
            network=random.choice((0, 0.1, 0.3)),
            clocks=random.choice((0, 0, 0.1)),
            operator=random.choice((0, 0, 0.1, 0.25)),
            meanwhile=random.choice((0, 0, 0.02, 0.1)),
            forger=random.choice((0, 0, 0.3)),
            rival=0.1 if random.random() < 0.05 else 0,
        )


class Mishaps:
    """Lets things go wrong in a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random

    def crash(self) -> None:
        """Let the log crash now, or at one of its next steps."""
        run = self.world.run
        match self.random.randrange(6):
            case 0:
                self.world.end_run()
            case 1:
                self.world.cut_power()
            case 2 | 3 if run is not None:
                run.process.renames_left = int(self.random.expovariate(1 / 3))
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
                faults.commit_is_unknown = self.random.choice((0.3, 1))
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
        if node.largest > 1 and not isinstance(node, Liar) and not self.world.watch.was_stale:
            body = forged_request(self.world.watch.history, node.largest, self.world.keys[0], self.random)
            self.world.surroundings.note("   ", "a forger asks", node.name)
            answer = self.world.network.forge(node, body)
            must(answer is None or answer.status != 200, f"{node.name} cosigned a forged checkpoint")
