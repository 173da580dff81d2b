"""A log in memory that asks for cosignatures, for the tests of the witness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chopmark import merkle, strict
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.key_file import ScryptCost
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import Note, NoteSignature, NoteSigner, NoteVerifier, split_cosignature
from chopmark_ledger import tree
from chopmark_ledger.nodes import NodeReader
from chopmark_ledger.witness.witness import Evidence, WitnessAnswer, WitnessState

ORIGIN = "cn-sh.example/log/2026"
NAME = "cn-gd.example/witness"
PASSPHRASE = b"a passphrase of this test"
CHEAP = ScryptCost(n=2**10)
NOW = 1_795_339_800


@dataclass
class FakeLog:
    """Leaves, checkpoints and proofs; `history` tells one content from another, the first five leaves aside."""

    history: str = "main"
    origin: str = ORIGIN
    seed: bytes = b"\7" * 32
    keys: str = "ed"
    """Which keys sign: `ed`, `pq` or both."""
    signers: list[NoteSigner | Cosigner] = field(init=False)

    def __post_init__(self) -> None:
        ed = NoteSigner(self.origin, Ed25519Signer(self.seed))
        pq = Cosigner(self.origin, MlDsa44Signer(self.seed))
        self.signers = [signer for name, signer in (("ed", ed), ("pq", pq)) if name in self.keys]

    @property
    def vkeys(self) -> list[str]:
        return [signer.vkey for signer in self.signers]

    @property
    def vkey(self) -> str:
        return self.vkeys[0]

    @property
    def verifiers(self) -> list[NoteVerifier]:
        return [NoteVerifier.from_vkey(vkey) for vkey in self.vkeys]

    def edge(self, size: int) -> tuple[tree.TreeEdge, NodeReader]:
        leaves = [merkle.leaf_hash(f"{self.history if n >= 5 else 'main'} {n}".encode()) for n in range(size)]
        edge, runs = tree.append(tree.EMPTY_EDGE, leaves)
        tiles = {(run.level, run.index): run.hashes for run in runs}
        return edge, NodeReader(lambda wanted: {tile: tiles[tile] for tile in wanted if tile in tiles})

    def root(self, size: int) -> bytes:
        return self.edge(size)[0].root

    def sign(self, text: str) -> bytes:
        """A signed note of any text."""
        lines: list[NoteSignature] = []
        for signer in self.signers:
            lines.append(signer.sign(text) if isinstance(signer, NoteSigner) else signer.cosign_text(text, NOW))
        return Note(text, tuple(lines)).encode()

    def note(self, size: int) -> bytes:
        return self.sign(Checkpoint(self.origin, size, self.root(size)).body())

    def proof(self, old: int, size: int) -> list[bytes]:
        return merkle.consistency_proof(size1=old, size2=size, read=self.edge(size)[1]) if 0 < old < size else []

    def request(self, old: int, size: int) -> bytes:
        """An `add-checkpoint` request."""
        return request(old, self.proof(old, size), self.note(size))

    def subtree(self, start: int, end: int) -> bytes:
        return merkle.subtree_root(start, end, self.edge(end)[1])

    def subtree_proof(self, start: int, end: int, size: int) -> list[bytes]:
        return merkle.subtree_consistency_proof(start=start, end=end, size=size, read=self.edge(size)[1])

    def subtree_request(self, start: int, end: int, size: int, lines: bytes | Sequence[str]) -> bytes:
        """A `sign-subtree` request whose checkpoint bears these signature lines."""
        if not isinstance(lines, bytes):
            lines = "".join(f"{line}\n" for line in lines).encode()
        checkpoint = Checkpoint(self.origin, size, self.root(size)).body().encode() + b"\n" + lines
        return subtree_request((start, end), self.subtree(start, end), self.subtree_proof(start, end, size), checkpoint)


class MemoryStore:
    """A `WitnessStore` that forgets with the test, and notes what was done while it was locked."""

    def __init__(self) -> None:
        self.states: dict[str, WitnessState] = {}
        self.evidence: list[Evidence] = []
        self.locked: str | None = None
        self.calls: list[str] = []

    @contextmanager
    def exclusive(self, origin: str) -> Iterator[None]:
        assert self.locked is None
        self.locked = origin
        try:
            yield
        finally:
            self.locked = None

    def load(self, origin: str) -> WitnessState:
        self._note("load", origin)
        return self.states.get(origin, WitnessState())

    def save(self, origin: str, state: WitnessState) -> None:
        self._note("save", origin)
        self.states[origin] = state

    def keep_evidence(self, evidence: Evidence) -> None:
        self._note("keep_evidence", evidence.origin)
        self.evidence.append(evidence)

    def _note(self, call: str, origin: str) -> None:
        assert self.locked == origin
        self.calls.append(call)


def request(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    lines = [f"old {old}", *(strict.base64_encode(each) for each in proof), "", ""]
    return "\n".join(lines).encode() + note


def subtree_request(bounds: tuple[int, int], root: bytes, proof: Sequence[bytes], note: bytes) -> bytes:
    head = [f"subtree {bounds[0]} {bounds[1]}", *(strict.base64_encode(each) for each in (root, *proof)), "", ""]
    return "\n".join(head).encode() + note


def cosigned(answer: WitnessAnswer, vkeys: Sequence[str], note: bytes) -> int:
    """Check a 200 as a client does: the note with the answer below it verifies under every key of the witness, each
    line with one time. Returns that time."""
    assert answer.status == 200, answer.body
    assert answer.content_type.startswith("text/plain")
    verifiers = [NoteVerifier.from_vkey(vkey) for vkey in vkeys]
    together = Note.parse(note + answer.body)
    assert together.verify(verifiers) == tuple(verifiers)
    lines = together.signatures[-len(verifiers) :]
    assert {(line.name, line.key_id) for line in lines} == {(each.name, each.key_id) for each in verifiers}
    times = {split_cosignature(line.signature)[0] for line in lines}
    assert len(times) == 1
    return times.pop()
