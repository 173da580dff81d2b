"""Bugs to plant: each breaks one rule of the ledger, and says by which violation the simulation must notice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

from chopmark import merkle
from chopmark_ledger import durable, tree
from chopmark_ledger.publication import witness_answers
from chopmark_ledger.publication.publisher import Publisher
from chopmark_ledger.sequencing.commit_group import CommitGroup
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.public_folder import PublicFolder
from chopmark_ledger.storage.store import CommittedTree
from chopmark_ledger.witness.witness import WitnessState
from chopmark_ledger.witness.witness_state import FolderStore

Planted = contextlib.AbstractContextManager[object]


@dataclass(frozen=True)
class Mutation:
    """A bug.

    Args:
        plant: puts it there for the length of a block.
        noticed: what the violation must say.
        trouble: what the world is chosen to have, where few seeds would have it.
    """

    plant: Callable[[], Planted]
    noticed: str
    trouble: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The bug in words."""
        return self.plant.__name__.strip("_").replace("_", " ")


def _instead(owner: object, name: str, function: Callable[..., Any]) -> Planted:
    """Give `function` what it replaces as its first argument."""
    original = getattr(owner, name)

    def mutated(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    return mock.patch.object(owner, name, mutated)


def _nothing(*_: object, **__: object) -> None:
    return None


def _unless_public(original: Callable[..., None], *args: Any) -> None:
    if not any("public" in str(each) for each in args):
        original(*args)


def _folders_are_not_synced() -> Planted:
    return _instead(durable, "sync_folder", _unless_public)


def _files_are_not_synced() -> Planted:
    def sync(original: Callable[..., None], descriptor: int, path: Path) -> None:
        is_tile = path.parent.suffix == ".p" or (len(path.name) == 3 and path.name.isdigit())
        if not is_tile and path.name not in {"checkpoint", "landmarks"}:
            original(descriptor, path)

    return _instead(durable, "_sync", sync)


def _a_failed_sync_is_tried_again() -> Planted:
    def sync(original: Callable[..., None], descriptor: int, path: Path) -> None:
        try:
            original(descriptor, path)
        except durable.SyncFailedError:
            original(descriptor, path)

    return _instead(durable, "_sync", sync)


def _what_stands_is_not_written_anew() -> Planted:
    def put_all(original: Callable[..., None], folder: PublicFolder, files: Any, *rest: Any) -> None:
        original(folder, [(name, data) for name, data in files if folder.read(name) != data], *rest)

    def replaced(original: Callable[..., None], folder: PublicFolder, name: str, data: bytes) -> None:
        if folder.read(name, max_size=2**30) != data:
            original(folder, name, data)

    stack = contextlib.ExitStack()
    stack.enter_context(_instead(PublicFolder, "put_all", put_all))
    stack.enter_context(_instead(PublicFolder, "replace", replaced))
    return stack


def _answers_come_before_the_commit() -> Planted:
    late: WeakKeyDictionary[Log, Callable[[], None]] = WeakKeyDictionary()

    def commit(_: object, log: Log, group: CommitGroup) -> None:
        edge, tiles = tree.append(log._edge, [merkle.leaf_hash(entry) for entry in group.entries])
        old = CommittedTree(log._edge.size, log._edge.root)
        log._edge = edge
        late[log] = lambda: log.store.commit(old, edge, tiles, group.entries, group.batches)

    def first(original: Callable[..., Any], log: Log, *args: Any) -> Any:
        late.pop(log, _nothing)()
        return original(log, *args)

    stack = contextlib.ExitStack()
    stack.enter_context(_instead(Log, "_commit", commit))
    stack.enter_context(_instead(Log, "append_all", first))
    stack.enter_context(_instead(Log, "sign_committed", first))
    return stack


def _a_log_that_stopped_goes_on() -> Planted:
    return mock.patch.object(Log, "check_running", _nothing)


def _an_unknown_commit_is_taken_for_none() -> Planted:
    @contextmanager
    def going_on(_: Log) -> Iterator[None]:
        yield

    return mock.patch.object(Log, "_stopping_on_failure", going_on)


def _the_newest_database_is_not_asked_for() -> Planted:
    return mock.patch.object(Log, "_check_is_newest", _nothing)


def _the_checkpoint_comes_before_its_tiles() -> Planted:
    late: WeakKeyDictionary[Log, Callable[[], None]] = WeakKeyDictionary()

    def write(original: Callable[..., None], publisher: Publisher, first: int, size: int) -> None:
        late[publisher._log] = lambda: original(publisher, first, size)

    def record(original: Callable[..., None], log: Log, publication: object) -> None:
        late.pop(log, _nothing)()
        original(log, publication)

    stack = contextlib.ExitStack()
    stack.enter_context(_instead(Publisher, "_write_tiles", write))
    stack.enter_context(_instead(Log, "record_publication", record))
    return stack


def _it_is_noted_before_it_stands() -> Planted:
    late: list[Callable[[], None]] = []

    def replaced(original: Callable[..., None], folder: PublicFolder, name: str, data: bytes) -> None:
        if name == "checkpoint":
            late.append(lambda: original(folder, name, data))
        else:
            original(folder, name, data)

    def record(original: Callable[..., None], log: Log, publication: object) -> None:
        original(log, publication)
        while late:
            late.pop()()

    stack = contextlib.ExitStack()
    stack.enter_context(_instead(PublicFolder, "replace", replaced))
    stack.enter_context(_instead(Log, "record_publication", record))
    return stack


def _partial_tiles_go_too_early() -> Planted:
    def write(original: Callable[..., None], publisher: Publisher, first: int, size: int) -> None:
        original(publisher, first, size)
        publisher._remove_partials(first, size)

    return _instead(Publisher, "_write_tiles", write)


def _what_the_folder_lost_is_not_brought_back() -> Planted:
    return mock.patch.object(Publisher, "_bring_back", _nothing)


def _one_witness_is_enough() -> Planted:
    def begin(
        original: Callable[..., None], publisher: Publisher, log: Log, witnesses: Any, policy: Any, **k: Any
    ) -> None:
        groups = tuple(replace(group, threshold=1) for group in policy.groups)
        original(publisher, log, witnesses, replace(policy, groups=groups), **k)

    return _instead(Publisher, "__init__", begin)


def _any_date_is_taken() -> Planted:
    return mock.patch.object(witness_answers, "CLOCK_TOLERANCE", 2**63)


def _landmarks_come_before_the_checkpoint() -> Planted:
    def end(original: Callable[..., object], landmarks: Landmarks, ends: Any, publication: Any, now: int) -> object:
        size = landmarks._log.size
        return original(landmarks, [*ends, size][-1:], replace(publication, size=size), now)

    return _instead(Landmarks, "_end", end)


def _the_landmark_file_is_trusted_as_it_stands() -> Planted:
    def write(original: Callable[..., None], landmarks: Landmarks) -> None:
        if landmarks._log.public_folder.read("landmarks", max_size=2**30) != landmarks.file.encode():
            original(landmarks)

    return _instead(Landmarks, "_write", write)


def _a_witness_answers_before_it_saves() -> Planted:
    late: WeakKeyDictionary[FolderStore, Callable[[], None]] = WeakKeyDictionary()

    def save(original: Callable[..., None], store: FolderStore, origin: str, state: WitnessState) -> None:
        late[store] = lambda: original(store, origin, state)

    def load(original: Callable[..., WitnessState], store: FolderStore, origin: str) -> WitnessState:
        late.pop(store, _nothing)()
        return original(store, origin)

    stack = contextlib.ExitStack()
    stack.enter_context(_instead(FolderStore, "save", save))
    stack.enter_context(_instead(FolderStore, "load", load))
    return stack


def _a_witness_forgets_when_it_starts() -> Planted:
    def load(_: object, store: FolderStore, origin: str) -> WitnessState:
        return store._held.get(origin, WitnessState())

    return _instead(FolderStore, "load", load)


def _a_witness_believes_any_proof() -> Planted:
    return mock.patch.object(merkle, "verify_consistency", _nothing)


def _the_witnesses_are_not_sounded_out() -> Planted:
    return mock.patch.object(Publisher, "sound_out", _nothing)


MUTATIONS = (
    Mutation(_folders_are_not_synced, "would be gone|a power cut would leave"),
    Mutation(_files_are_not_synced, "torn|on its disk"),
    Mutation(_a_failed_sync_is_tried_again, "TileConflict|torn|on its disk", {"disk": 0.25}),
    Mutation(_what_stands_is_not_written_anew, "a power cut", {"crash": 0.3}),
    Mutation(_answers_come_before_the_commit, "is not committed"),
    Mutation(_a_log_that_stopped_goes_on, "log that stopped", {"disk": 0.25}),
    Mutation(_an_unknown_commit_is_taken_for_none, "without a reason|that stopped", {"disk": 0.25}),
    Mutation(_the_newest_database_is_not_asked_for, "goes on from size", {"operator": 0.25, "disk": 0}),
    Mutation(_the_checkpoint_comes_before_its_tiles, "missing or wrong"),
    Mutation(_it_is_noted_before_it_stands, "noted as published"),
    Mutation(_partial_tiles_go_too_early, "missing or wrong"),
    Mutation(_what_the_folder_lost_is_not_brought_back, "missing|does not stand", {"operator": 0.25}),
    Mutation(_one_witness_is_enough, "do not make the quorum", {"network": 0.3}),
    Mutation(_any_date_is_taken, "next publication fails|no landmark covers", {"has_liar": True, "network": 0.3}),
    Mutation(_landmarks_come_before_the_checkpoint, "a landmark under"),
    Mutation(_the_landmark_file_is_trusted_as_it_stands, "a power cut would leave", {"crash": 0.3, "disk": 0}),
    Mutation(
        _the_witnesses_are_not_sounded_out,
        "readers have seen before",
        {"work": 0.2, "operator": 0.4, "disk": 0, "crash": 0},
    ),
    Mutation(_a_witness_answers_before_it_saves, "on its disk|without having"),
    Mutation(_a_witness_forgets_when_it_starts, "cosigned", {"forger": 0.3, "network": 0.3}),
    Mutation(_a_witness_believes_any_proof, "cosigned", {"forger": 0.3}),
)
