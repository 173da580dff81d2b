"""Machines and the processes that run on them: where a simulated program can be stopped, and what can go wrong.

Every system call, transaction and request is a *step* of the process that makes it. A step is where a process may
crash, where something else may happen meanwhile, and what a trace shows. A process that has crashed never gets past a
step again: `SimulatedCrash` goes through everything that would catch an error.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.ledger.simulation.file_system import FileSystem

BEGIN = 1_795_339_800
"""POSIX seconds at which every simulated world begins."""


class SimulatedCrash(BaseException):
    """The process ended here; nothing may catch this but the simulation."""


class Violation(BaseException):
    """What must never happen has happened; no error of a program, so that nothing under test catches it."""


def must(condition: object, what: str) -> None:
    """Hold on to something that is always so.

    Raises:
        Violation: it is not.
    """
    if not condition:
        raise Violation(what)


@dataclass
class Faults:
    """What goes wrong on a machine, per step: probabilities, and conditions that last until they are lifted."""

    read_fails: float = 0.0
    write_fails: float = 0.0
    sync_fails: float = 0.0
    transaction_fails: float = 0.0
    commit_is_unknown: float = 0.0
    is_full: bool = False
    is_read_only: bool = False

    def heal(self) -> None:
        """Let nothing go wrong from now on."""
        self.read_fails = self.write_fails = self.sync_fails = self.transaction_fails = self.commit_is_unknown = 0.0
        self.is_full = self.is_read_only = False


@dataclass
class Surroundings:
    """What all machines of a world share: the one source of chance, the true time, the trace."""

    random: Random
    trace: list[str] | None = None
    time: int = BEGIN
    processes: dict[str, Process] = field(default_factory=dict)
    """By mount, the first part of the paths that a process uses: its name and a count, `log.3`."""

    def note(self, *parts: object) -> None:
        """Add a line to the trace, if there is one."""
        if self.trace is not None:
            self.trace.append(" ".join(map(str, parts)))

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        return probability > 0 and self.random.random() < probability


class Machine:
    """A computer with its disk and its clock, which is `skew` seconds ahead of the true time."""

    def __init__(self, name: str, surroundings: Surroundings) -> None:
        self.name = name
        self.surroundings = surroundings
        self.files = FileSystem()
        self.faults = Faults()
        self.skew = 0
        self.happened = Counter[str]()
        """Faults that were injected, by kind: `sync` and `commit`."""
        self.is_shut_down = False
        """Whether the file system has given up until the machine is started anew."""
        self._process: Process | None = None
        self._runs = 0

    def clock(self) -> int:
        """What the clock of this machine shows, POSIX seconds."""
        return self.surroundings.time + self.skew

    def start(self) -> Process:
        """Start the program of this machine; one that runs is killed."""
        self.kill()
        self._runs += 1
        self._process = Process(self, f"{self.name}.{self._runs}")
        return self._process

    def start_beside(self) -> Process:
        """Start another program, and let the one that runs go on."""
        self._runs += 1
        return Process(self, f"{self.name}.{self._runs}")

    def kill(self) -> None:
        """End the program; what it wrote is seen by the next one, synced or not."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def cut_power(self) -> None:
        """End the program, and lose what the disk had not written."""
        self.kill()
        self.files.cut_power(self.surroundings.random)
        self.is_shut_down = False


class Process:
    """One run of a program."""

    def __init__(self, machine: Machine, mount: str) -> None:
        self.machine = machine
        self.mount = mount
        self.is_alive = True
        self.steps_left: int | None = None
        """Steps until it crashes, None for never."""
        self.renames_left: int | None = None
        """Files that it puts into their place until it crashes, before it can sync the last of these names."""
        self.meanwhile: Callable[[], None] | None = None
        """What the world may do while this process waits for a step on its disk or its network."""
        self.holds_the_log = False
        """Whether other threads would have to wait for the log."""
        self.observer: Callable[[], None] | None = None
        """Who looks, at each step, at what the steps before have made of the world."""
        machine.surroundings.processes[mount] = self

    def end(self) -> None:
        """Let it make no further step."""
        self.is_alive = False

    def renamed(self) -> None:
        """A file was put into its place."""
        if self.renames_left is not None:
            self.renames_left -= 1
            if self.renames_left < 0:
                self.steps_left = self.machine.surroundings.random.randrange(3)

    def step(self, *what: object) -> None:
        """Come to a point where the process may end.

        Raises:
            SimulatedCrash: it has ended, here or before.
        """
        if not self.is_alive:
            raise SimulatedCrash
        if self.observer is not None:
            self.observer()
        self.machine.surroundings.note("     ", self.mount, *what)
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.end()
                self.machine.surroundings.note("     ", self.mount, "crashes here")
                raise SimulatedCrash

    def wait(self, *what: object) -> None:
        """A step during which the rest of the world goes on, unless the log is held meanwhile."""
        if self.meanwhile is not None and not self.holds_the_log:
            self.meanwhile()
        self.step(*what)

    def read_call(self, name: str, path: object) -> None:
        """A system call that reads.

        Raises:
            OSError: EIO.
        """
        self.wait(name, path)
        if self.machine.surroundings.happens(self.machine.faults.read_fails):
            self._fail(errno.EIO, "Input/output error")

    def write_call(self, name: str, path: object, *, takes_room: bool = False) -> None:
        """A system call that changes something.

        Raises:
            OSError: EIO, EROFS or ENOSPC.
        """
        self.wait(name, path)
        faults = self.machine.faults
        if faults.is_read_only or self.machine.is_shut_down:
            self._fail(errno.EROFS, "Read-only file system")
        if takes_room and faults.is_full:
            self._fail(errno.ENOSPC, "No space left on device")
        if self.machine.surroundings.happens(faults.write_fails):
            self._fail(errno.EIO, "Input/output error")

    def _fail(self, number: int, text: str) -> None:
        self.machine.surroundings.note("     ", self.mount, f"fails: {text}")
        raise OSError(number, text)
