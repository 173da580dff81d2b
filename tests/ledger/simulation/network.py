"""The witnesses of a simulated log and the network between: requests and answers are lost, late, doubled or garbled.

The witness is the real one over the files of its own machine, which may lose power in the middle of a request. A liar
holds the key of a witness and answers as he likes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from chopmark.cosignature import Cosigner
from chopmark.errors import ChopmarkError
from chopmark.keys import Signer
from chopmark.note import Note, NoteVerifier
from chopmark_ledger.witness.witness import Witness, WitnessAnswer
from chopmark_ledger.witness.witness_state import FolderStore

from tests.ledger.simulation.machines import Machine, Process, SimulatedCrash, Surroundings
from tests.ledger.simulation.system_calls import path_of


class UnreachableError(ChopmarkError):
    """No answer came."""


@dataclass
class NetworkFaults:
    """What goes wrong between the log and its witnesses: the probability of each fate of a request."""

    request_lost: float = 0.0
    answer_lost: float = 0.0
    late: float = 0.0
    doubled: float = 0.0
    garbled: float = 0.0
    old_answer: float = 0.0
    is_cut: bool = False

    def heal(self) -> None:
        """Let everything arrive from now on."""
        self.request_lost = self.answer_lost = self.late = self.doubled = self.garbled = self.old_answer = 0.0
        self.is_cut = False


Cosigned = Callable[["WitnessNode", bytes], None]
"""Told of each request, by its body, that a witness answered with its cosignatures."""


class WitnessNode:
    """A witness on a machine of its own."""

    def __init__(
        self,
        name: str,
        signers: tuple[Signer, ...],
        logs: dict[str, list[NoteVerifier]],
        surroundings: Surroundings,
        on_cosigned: Cosigned,
    ) -> None:
        self.name = name
        self.vkeys = tuple(Cosigner(name, signer).vkey for signer in signers)
        self.machine = Machine(name.partition(".")[0], surroundings)
        self.network = NetworkFaults()
        self.signers = signers
        self.cosigned: dict[int, bytes] = {}
        """Every root that it cosigned, by size."""
        self.largest = 0
        self._logs = logs
        self._on_cosigned = on_cosigned
        self._process: Process | None = None
        self._witness: Witness | None = None

    @property
    def is_running(self) -> bool:
        """Whether the witness answers."""
        return self._process is not None and self._process.is_alive

    def start(self) -> None:
        """Start the witness, anew if it runs."""
        self._process = self.machine.start()
        verifiers = [NoteVerifier.from_vkey(vkey) for vkey in self.vkeys]
        store = FolderStore(path_of(self._process, "data"), verifiers)
        self._witness = Witness(self.name, self.signers, store, self._logs)

    def crash_within(self, steps: int) -> None:
        """Let it crash after some more steps of its next requests."""
        if self._process is not None:
            self._process.steps_left = steps

    def answer(self, body: bytes) -> WitnessAnswer:
        """Judge a request.

        Raises:
            UnreachableError: it does not run, or ends in the middle of it.
        """
        if not self.is_running or self._witness is None:
            raise UnreachableError(f"{self.name} does not answer")
        try:
            answer = self._witness.add_checkpoint(body, self.machine.clock())
        except SimulatedCrash:
            if self.machine.surroundings.happens(0.5):
                self.machine.cut_power()
            raise UnreachableError(f"{self.name} ended the connection") from None
        except ChopmarkError as error:
            self.machine.surroundings.note("     ", self.name, "fails:", error)
            return WitnessAnswer(500, str(error).encode())
        if answer.status == 200:
            self._on_cosigned(self, body)
        return answer


_LIES = 11


class Liar(WitnessNode):
    """Holds the key of a witness, checks nothing, and answers something else each time."""

    favourite: int | None = None
    """The lie that he tells half of the time."""

    def start(self) -> None:
        """A liar needs no machine."""

    @property
    def is_running(self) -> bool:
        return True

    def answer(self, body: bytes) -> WitnessAnswer:
        surroundings = self.machine.surroundings
        random = surroundings.random
        note = Note.parse(body.partition(b"\n\n")[2])
        size = int(note.text.split("\n")[1])
        now = surroundings.time
        if self.favourite is None:
            self.favourite = random.randrange(_LIES)
        lie = random.choice((self.favourite, random.randrange(_LIES)))
        surroundings.note("     ", self.name, "lies", lie)
        match lie:
            case 0 | 1:
                return self._cosign(note.text, now)
            case 2:
                return self._cosign(note.text, now + random.choice((299, 301, 86_400, 2**62)))
            case 3:
                return self._cosign(note.text, random.choice((1, now - 86_400)))
            case 4:
                return self._cosign(note.text.replace(f"\n{size}\n", f"\n{size + 1}\n"), now)
            case 5:
                return WitnessAnswer(409, b"%d\n" % random.choice((0, size - 1, size, size + 1, 2**62)))
            case 6:
                return WitnessAnswer(422, b"not so\n")
            case 7:
                return WitnessAnswer(random.choice((204, 301, 404, 500, 999)), b"?" * 1000)
            case 8:
                return WitnessAnswer(200, random.randbytes(random.choice((0, 10, 100_000))))
            case 9:
                line = self._cosign(note.text, now).body
                return WitnessAnswer(200, line[:-9] + b"AAAAAAA=\n" + line)
            case _:
                return WitnessAnswer(409, random.choice((b"", b"-1\n", b"1", b"\xff\n", b"9" * 40 + b"\n")))

    def _cosign(self, text: str, at: int) -> WitnessAnswer:
        lines = [Cosigner(self.name, signer).cosign_text(text, at).encode() for signer in self.signers]
        return WitnessAnswer(200, "".join(f"{line}\n" for line in lines).encode())


@dataclass
class Mail:
    """A request on its way, and where its answer goes; `drop` is whether the answer gets lost."""

    node: WitnessNode
    body: bytes
    answer: Future[WitnessAnswer]
    drop: bool = False

    def deliver(self) -> None:
        """Let it arrive."""
        try:
            answer = self.node.answer(self.body)
            if self.drop:
                raise UnreachableError(f"the answer of {self.node.name} was lost")
        except UnreachableError as error:
            if not self.answer.done():
                self.answer.set_exception(error)
        else:
            if not self.answer.done():
                self.answer.set_result(answer)


@dataclass
class Network:
    """What is on its way, and every answer that came, by witness."""

    surroundings: Surroundings
    under_way: list[Mail] = field(default_factory=list)
    answers: dict[str, list[WitnessAnswer]] = field(default_factory=dict)
    on_sent: Callable[[bytes], None] = lambda _: None
    """Told of each request that leaves the log, by its body."""

    def deliver_one(self) -> bool:
        """Let something that is on its way arrive, not the oldest first; answers whether there was anything."""
        if not self.under_way:
            return False
        mail = self.under_way.pop(self.surroundings.random.randrange(len(self.under_way)))
        self.surroundings.note("     ", "a late request arrives at", mail.node.name)
        mail.deliver()
        return True

    def forge(self, node: WitnessNode, body: bytes) -> WitnessAnswer | None:
        """Bring a request that is not from the log; None where no answer comes."""
        try:
            return node.answer(body)
        except UnreachableError:
            return None

    def send(self, node: WitnessNode, body: bytes) -> Future[WitnessAnswer]:
        """Send a request; the answer may never come."""
        happens = self.surroundings.happens
        answer: Future[WitnessAnswer] = Future()
        faults = node.network
        if faults.is_cut or happens(faults.request_lost):
            self.surroundings.note("     ", "the request to", node.name, "is lost")
            answer.set_exception(UnreachableError(f"{node.name} cannot be reached"))
            return answer
        self.on_sent(body)
        mail = Mail(node, body, answer, drop=happens(faults.answer_lost))
        if happens(faults.late):
            self.surroundings.note("     ", "the request to", node.name, "is under way")
            self.under_way.append(mail)
            return answer
        mail.deliver()
        if happens(faults.doubled):
            self.surroundings.note("     ", "the request to", node.name, "arrives twice")
            self.under_way.append(Mail(node, body, Future()))
        return self._falsified(node, answer)

    def _falsified(self, node: WitnessNode, answer: Future[WitnessAnswer]) -> Future[WitnessAnswer]:
        """What becomes of an answer on its way back."""
        if answer.exception() is not None:
            return answer
        random = self.surroundings.random
        earlier = self.answers.setdefault(node.name, [])
        arrived = answer.result()
        other: WitnessAnswer | None = None
        if earlier and self.surroundings.happens(node.network.old_answer):
            other = random.choice(earlier)
        elif self.surroundings.happens(node.network.garbled):
            damaged = bytearray(arrived.body)
            for _ in range(random.randint(1, 4)):
                if damaged:
                    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
            other = WitnessAnswer(random.choice((arrived.status, 200, 409, 500)), bytes(damaged))
        earlier.append(arrived)
        if other is None:
            return answer
        self.surroundings.note("     ", "the answer of", node.name, "is garbled")
        falsified: Future[WitnessAnswer] = Future()
        falsified.set_result(other)
        return falsified


class Link:
    """How the publisher on one process reaches a witness: a `chopmark_ledger.publication.cosigning.WitnessClient`.

    The executor recognises it, so that a request may stay under way while the publisher goes on.
    """

    def __init__(self, node: WitnessNode, network: Network, process: Process) -> None:
        self.node = node
        self.network = network
        self.process = process

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.node.name

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys it cosigns with."""
        return self.node.vkeys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Only ever called by way of the executor."""
        raise AssertionError("requests go through the executor")

    def send(self, body: bytes) -> Future[WitnessAnswer]:
        """Send a request from this process."""
        self.process.wait("asks", self.name)
        answer = self.network.send(self.node, body)
        self.process.step("has asked", self.name)
        return answer


class SimulatedExecutor(Executor):
    """Does everything at once, without a thread; only requests to witnesses may take their time."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        link = getattr(fn, "__self__", None)
        if isinstance(link, Link):
            return link.send(*args, **kwargs)
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
