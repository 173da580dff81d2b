"""What must be so at every moment, whatever fails.

    acknowledged      every acknowledged entry stands at its acknowledged index for ever
    same answer       a batch sent again is answered as before
    one history       what is committed only grows, and its root is that of its entries
    one checkpoint    every checkpoint that a reader could ever see is signed, has its quorum, and is a beginning of
                      that history, now and after a power cut at this moment
    whole             with it stand, now and after a power cut, every tile and bundle that its reader needs
    no shrinking      the published size only falls where a power cut takes what was not yet noted as published, or
                      an operator brings back an older folder
    landmarks         the landmark file only grows; each record is the hash of its entries, under a checkpoint, with
                      the witnessed time, that was seen and noted as published before it
    one witness       a witness cosigns no two roots of one size and nothing smaller than before, has on its disk what
                      it answers, and cosigns nothing but the history
    stopped           a log that stopped acknowledges nothing, and none stops without a reason

`Watch` holds on to them. It is told what was answered, and looks at the disks at every step of the log's process.
That publication completes within bounded steps once the faults are over is the end of each scenario.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct

from chopmark.errors import ChopmarkError
from chopmark.note import Note
from chopmark.strict import base64_decode
from chopmark.tlog_policy import TlogPolicy, WitnessedCheckpoint
from chopmark_ledger.batch import BatchAnswer

from tests.ledger.simulation.database import SimulatedDatabase
from tests.ledger.simulation.file_system import UNKNOWN, File, FileSystem, Parts
from tests.ledger.simulation.history import History
from tests.ledger.simulation.machines import must
from tests.ledger.simulation.network import WitnessNode

BatchKey = tuple[str, int]
"""A client's name, and its number for a batch."""
PUBLIC: Parts = ("data", "public")
"""Where the public folder is on the log's machine."""
_HEADER_SIZE = 16
_RECORD = Struct(">QQ32sQQ")


@dataclass
class Acknowledged:
    """What was acknowledged for a batch."""

    entries: tuple[bytes, ...]
    answer: BatchAnswer


@dataclass
class Watch:
    """Holds on to the invariants of one log."""

    files: FileSystem
    database: SimulatedDatabase
    policy: TlogPolicy
    history: History = field(default_factory=lambda: History(()))
    acknowledged: dict[BatchKey, Acknowledged] = field(default_factory=dict)
    is_stale: bool = False
    """Whether the database is a backup, and not the history."""
    may_go_on: bool = False
    """Whether a backup reaches all that was ever handed out, so that the log may go on from it if it will."""
    was_stale: bool = False
    rotten: set[tuple[str, bytes]] = field(default_factory=set)
    """Every public file in which a bit has flipped, by name, with what it held since; it may be gone by now."""
    damaged: set[str] = field(default_factory=set)
    """The names of those that are seen."""
    exposed: int = 0
    """The largest size that was ever handed to anybody."""
    published: int = 0
    """The largest size that was ever seen in the public folder."""
    noted: int = 0
    """The largest size that was ever noted as published."""
    seen: int = 0
    """The size that is seen in the public folder."""
    settled: int = 0
    """The size that a power cut must leave there."""
    longest_landmarks: bytes = b""
    """The longest landmark file that was ever seen."""
    seen_landmarks: bytes = b""
    settled_landmarks: int = 0
    witnessed: set[tuple[int, int]] = field(default_factory=set)
    """Size and witnessed time of every checkpoint that was seen."""
    _looked_at: int = -1
    _whole: set[int] = field(default_factory=set)
    """Sizes whose files have been looked at since the last change."""
    _checked: dict[bytes, WitnessedCheckpoint | None] = field(default_factory=dict)
    _right_landmarks: bytes = b""
    _publication: object = None
    _acknowledged_before: dict[BatchKey, Acknowledged] = field(default_factory=dict)

    def begin_as(self, other: Watch) -> None:
        """Know what another watch knows, which looked at a world that this one is a copy of."""
        self.history = other.history.copy()
        self.exposed, self.published, self.noted = other.exposed, other.published, other.noted
        self.seen, self.settled = other.seen, other.settled
        self.longest_landmarks = other.longest_landmarks
        self.seen_landmarks, self.settled_landmarks = other.seen_landmarks, other.settled_landmarks
        self.witnessed = set(other.witnessed)
        self._right_landmarks = other._right_landmarks
        self._publication = self.database.publication
        self._checked = other._checked

    # What was answered

    def acknowledge(self, client: str, number: int, entries: Sequence[bytes], answer: BatchAnswer) -> None:
        """A batch was acknowledged."""
        self.look()
        before = self.acknowledged.get((client, number))
        if before is not None:
            must(before.entries == tuple(entries), f"batch {number} of {client} stands for two bodies")
            must(before.answer == answer, f"batch {number} of {client} was answered in two ways")
            return
        refused = {each.position for each in answer.refused}
        must(len(answer.indexes) == len(entries), f"batch {number} of {client} was not answered entry by entry")
        for position, index in enumerate(answer.indexes):
            must((index is None) == (position in refused), f"entry {position} of batch {number} is neither in nor out")
        taken = [index for index in answer.indexes if index is not None]
        must(len(set(taken)) == len(taken), f"batch {number} of {client} has two entries at one index")
        others = self.acknowledged.values()
        must(
            not any(set(taken) & set(other.answer.indexes) for other in others),
            f"batch {number} of {client} was given the indexes of another",
        )
        self.acknowledged[client, number] = Acknowledged(tuple(entries), answer)
        self._check_acknowledged(self.acknowledged[client, number])

    def check_all_acknowledged(self) -> None:
        """Look for every acknowledged entry, as after a recovery."""
        self._check_history()
        for each in self.acknowledged.values():
            self._check_acknowledged(each)

    def _check_acknowledged(self, acknowledged: Acknowledged) -> None:
        entries = self.database.entries
        for index, entry in zip(acknowledged.answer.indexes, acknowledged.entries, strict=True):
            if index is not None:
                must(index < len(entries), f"the acknowledged entry {index} is not committed")
                must(entries[index] == entry, f"entry {index} is not the one acknowledged")

    # What is committed

    def _check_history(self) -> None:
        if self.is_stale:
            return
        entries, history = self.database.entries, self.history
        known = history.size
        must(entries[:known] == history.entries, "what is committed has changed or is gone")
        history.extend(entries[known:])
        tree = self.database.tree
        must(tree.size == history.size, "the committed size is not the number of entries")
        must(tree.root == history.root(tree.size), "the committed root is not that of the entries")

    # What was handed out

    def check_sent(self, body: bytes) -> None:
        """A request left for a witness."""
        size, root = _claim(body)
        if self.is_stale:
            return
        self._check_claim(size, root, "a witness was sent")
        self.exposed = max(self.exposed, size)

    def check_cosigned(self, node: WitnessNode, body: bytes) -> None:
        """A witness answered with its cosignatures."""
        size, root = _claim(body)
        must(node.cosigned.setdefault(size, root) == root, f"{node.name} cosigned two roots of size {size}")
        must(size >= node.largest, f"{node.name} cosigned size {size} after size {node.largest}")
        node.largest = size
        if not self.was_stale:
            self._check_claim(size, root, f"{node.name} cosigned")
        note = body.partition(b"\n\n")[2]
        text = note[: note.index(b"\n\n") + 2]
        for path, _ in node.machine.files.files(("data", "logs")):
            if path[-1] == "checkpoint":
                left = node.machine.files.after_power_cut(path)
                must(
                    all(each is not None and each.startswith(text) for each in left),
                    f"{node.name} answered before size {size} was on its disk",
                )
                return
        must(False, f"{node.name} answered without having written size {size}")

    def _check_claim(self, size: int, root: bytes, what: str) -> None:
        if len(self.database.entries) != self.history.size:
            self._check_history()
        must(size <= self.history.size, f"{what} size {size}, committed are {self.history.size}")
        must(root == self.history.root(size), f"{what} a root of size {size} that is not that of the entries")

    # What readers see

    def look(self) -> None:
        """Look at everything that has changed since the last look."""
        if self.database.publication is not self._publication:
            self._publication = self.database.publication
            if self.database.publication is not None and not self.is_stale:
                self.settled = max(self.settled, self.database.publication.size)
                self.noted = max(self.noted, self.settled)
                self._looked_at = -1
        if not self.is_stale and len(self.database.entries) != self.history.size:
            self._check_history()
        if self.files.changes != self._looked_at:
            self._looked_at = self.files.changes
            self._look_at_folder()

    def _look_at_folder(self) -> None:
        self._whole.clear()
        if self.rotten:
            self.damaged = {name for name, held in self.rotten if seen_content(self.files, public(name)) == held}
            if "checkpoint" in self.damaged:
                self.seen = min(self.seen, self.settled)
        seen, left_contents = self._contents("checkpoint")
        checkpoint = self._look_at_checkpoint(seen, is_seen=True)
        must(
            checkpoint >= self.seen or "checkpoint" in self.damaged,
            f"the published size fell from {self.seen} to {checkpoint}",
        )
        self.seen = max(self.seen, checkpoint)
        for content in left_contents:
            size = self._look_at_checkpoint(content, is_seen=False)
            must(
                size >= self.settled,
                f"size {self.settled} was noted as published, a power cut would leave {size}",
            )
        self._look_at_landmarks()

    def _contents(self, name: str) -> tuple[bytes | None, list[bytes | None]]:
        """What is seen of a public file, and what else a power cut may leave of it; bits that flipped left out."""
        path = public(name)
        sure = self.files.sure_content(path)
        if sure is not None:
            return sure, [] if (name, sure) in self.rotten else [sure]
        left = self.files.after_power_cut(path)
        return seen_content(self.files, path), [
            each for each in left if each is None or (name, each) not in self.rotten
        ]

    def _look_at_checkpoint(self, content: bytes | None, *, is_seen: bool) -> int:
        if content is None or ("checkpoint", content) in self.rotten:
            return 0
        witnessed = self._witnessed(content)
        size = witnessed.checkpoint.size
        if is_seen:
            self._check_claim(size, witnessed.checkpoint.root, "the public folder shows")
            self.witnessed.add((size, witnessed.time))
            self.exposed = max(self.exposed, size)
            self.published = max(self.published, size)
        must(size <= self.published, f"a power cut would leave a checkpoint of size {size} that nobody has seen")
        if size not in self._whole:
            self._whole.add(size)
            for path, right in self.history.needed_files(size).items():
                self._check_file(path, right, size)
        return size

    def _check_file(self, path: Parts, right: bytes, size: int) -> None:
        """Check a tile or bundle that the checkpoint of a size needs."""
        if self.files.sure_content((*PUBLIC, *path)) == right:
            return
        name = "/".join(path)
        if name in self.damaged:
            return
        whose = f"the checkpoint of size {size} needs {name}, which"
        must(seen_content(self.files, public(name)) == right, f"{whose} is missing or wrong")
        for left in self.files.after_power_cut(public(name)):
            if left != right and (name, left) not in self.rotten:
                state = "gone" if left is None else "torn" if left is UNKNOWN else "wrong"
                must(False, f"{whose} would be {state} after a power cut")

    def _witnessed(self, content: bytes) -> WitnessedCheckpoint:
        if content not in self._checked:
            try:
                self._checked[content] = self.policy.check(content)
            except ChopmarkError as error:
                must(False, f"the checkpoint that stands is none: {error}")
        found = self._checked[content]
        assert found is not None
        return found

    # Landmarks

    def settle_landmarks(self) -> None:
        """Whoever asked was told that the landmark file is written."""
        self.settled_landmarks = len(self.seen_landmarks)
        self._looked_at = -1

    def _look_at_landmarks(self) -> None:
        if "landmarks" in self.damaged:
            return
        content, left_contents = self._contents("landmarks")
        seen = content or b""
        must(seen.startswith(self.seen_landmarks), "the landmark file has changed or shrunk")
        self.seen_landmarks = seen
        self._check_landmarks(seen)
        if len(seen) > len(self.longest_landmarks):
            self.longest_landmarks = seen
        for content in left_contents:
            must(content is not UNKNOWN, "a power cut would leave the landmark file torn")
            left = content or b""
            must(
                len(left) >= self.settled_landmarks,
                f"the landmark file of {self.settled_landmarks} bytes was written, a power cut would leave {len(left)}",
            )
            self._check_landmarks(left)

    def _check_landmarks(self, data: bytes) -> None:
        longest = self.longest_landmarks
        must(data[: len(longest)] == longest[: len(data)], "a landmark is not the one that readers have seen before")
        if data:
            must(len(data) >= _HEADER_SIZE and not (len(data) - _HEADER_SIZE) % _RECORD.size, "half a landmark")
        right = self._right_landmarks
        if not right.startswith(data):
            assert data.startswith(right), "landmarks that were right are gone"
            covered, last = 0, (0, 0)
            for start, end, root, size, time in _RECORD.iter_unpack(data[_HEADER_SIZE:]):
                must(start <= covered < end <= size <= self.history.size, "landmarks leave a gap")
                must(root == self.history.subtree(start, end), f"the landmark [{start}, {end}) is another hash")
                must((size, time) in self.witnessed, f"a landmark under the checkpoint of size {size}, never seen so")
                must(last <= (size, time), "landmarks go back in size or time")
                covered, last = end, (size, time)
            self._right_landmarks = data
        if len(data) > _HEADER_SIZE:
            size = _RECORD.unpack(data[-_RECORD.size :])[3]
            must(
                size <= self.noted,
                f"a landmark under size {size}, before that was noted as published",
            )

    # What somebody did to the log from outside

    def after_power_cut(self) -> None:
        """The machine was started anew: what was not durable is gone."""
        self._begin_again()

    def after_folder_change(self) -> None:
        """An operator has put another public folder there."""
        self.rotten.clear()
        self.damaged.clear()
        self.settled = 0
        self.settled_landmarks = 0
        self._begin_again()
        self.settled = self.seen
        self.settled_landmarks = len(self.seen_landmarks)

    def after_restore(self, *, may_go_on: bool) -> None:
        """The database is a backup."""
        self.is_stale = True
        self.may_go_on = may_go_on
        self.was_stale = self.was_stale or not may_go_on
        self._acknowledged_before = dict(self.acknowledged)
        size = len(self.database.entries)
        for key, each in list(self.acknowledged.items()):
            if any(index is not None and index >= size for index in each.answer.indexes):
                del self.acknowledged[key]
        self._publication = self.database.publication

    def after_return(self) -> None:
        """The newest database is back."""
        self.is_stale = False
        self.acknowledged = self._acknowledged_before
        self._publication = self.database.publication

    def opened(self) -> None:
        """The log runs: if it may go on from a backup, the history ends there, and the rest is gone."""
        if self.is_stale and self.may_go_on:
            self.is_stale = False
            self.history.cut(len(self.database.entries))
        self.look()
        size = len(self.database.entries)
        must(self.seen <= size, f"the log goes on from size {size} under a published checkpoint of size {self.seen}")

    def _begin_again(self) -> None:
        self.seen = 0
        self.seen_landmarks = b""
        self._looked_at = -1
        self.look()


def public(name: str) -> Parts:
    """The path of a public file."""
    return (*PUBLIC, *name.split("/"))


def seen_content(files: FileSystem, path: Parts) -> bytes | None:
    """What is seen of a file; None where there is none."""
    node = files.find(path)
    return node.content if isinstance(node, File) else None


def _claim(body: bytes) -> tuple[int, bytes]:
    """The size and root in a request."""
    lines = Note.parse(body.partition(b"\n\n")[2]).text.split("\n")
    return int(lines[1]), base64_decode(lines[2], where="request")
