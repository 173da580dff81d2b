"""Bugs to plant: each breaks one rule of the ledger, and says by which violation the simulation must notice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

from chopmark import merkle
from chopmark_ledger import durable, tree, witness_answers
from chopmark_ledger.commit_group import CommitGroup
from chopmark_ledger.landmarks import Landmarks
from chopmark_ledger.log import Log
from chopmark_ledger.public_folder import PublicFolder
from chopmark_ledger.publisher import Publisher
from chopmark_ledger.store import CommittedTree
from chopmark_ledger.witness import WitnessState
from chopmark_ledger.witness_state import FolderStore


@dataclass(frozen=True)
class Mutation:
    """A bug: `plant` puts it there for the length of a block, `noticed` is what the violation must say."""

    name: str
    plant: Callable[[], contextlib.AbstractContextManager[object]]
    noticed: str


def _instead(owner: object, name: str, function: Callable[..., Any]) -> contextlib.AbstractContextManager[object]:
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


def _folders_are_not_synced() -> contextlib.AbstractContextManager[object]:
    return _instead(durable, "sync_folder", _unless_public)


def _files_are_not_synced() -> contextlib.AbstractContextManager[object]:
    def sync(original: Callable[..., None], descriptor: int, path: Path) -> None:
        is_tile = path.parent.suffix == ".p" or (len(path.name) == 3 and path.name.isdigit())
        if not is_tile and path.name not in {"checkpoint", "landmarks"}:
            original(descriptor, path)

    return _instead(durable, "_sync", sync)


def _a_failed_sync_is_tried_again() -> contextlib.AbstractContextManager[object]:
    def sync(original: Callable[..., None], descriptor: int, path: Path) -> None:
        try:
            original(descriptor, path)
        except durable.SyncFailedError:
            original(descriptor, path)

    return _instead(durable, "_sync", sync)


def _what_stands_is_not_written_anew() -> contextlib.AbstractContextManager[object]:
    def put_all(original: Callable[..., None], folder: PublicFolder, files: Any, *rest: Any) -> None:
        original(folder, [(name, data) for name, data in files if folder.read(name) != data], *rest)

    def replaced(original: Callable[..., None], folder: PublicFolder, name: str, data: bytes) -> None:
        if folder.read(name, max_size=2**30) != data:
            original(folder, name, data)

    stack = contextlib.ExitStack()
    stack.enter_context(_instead(PublicFolder, "put_all", put_all))
    stack.enter_context(_instead(PublicFolder, "replace", replaced))
    return stack


def _answers_come_before_the_commit() -> contextlib.AbstractContextManager[object]:
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


def _a_log_that_stopped_goes_on() -> contextlib.AbstractContextManager[object]:
    return mock.patch.object(Log, "check_running", _nothing)


def _an_unknown_commit_is_taken_for_none() -> contextlib.AbstractContextManager[object]:
    @contextmanager
    def going_on(_: Log) -> Iterator[None]:
        yield

    return mock.patch.object(Log, "_stopping_on_failure", going_on)


def _the_newest_database_is_not_asked_for() -> contextlib.AbstractContextManager[object]:
    return mock.patch.object(Log, "_check_is_newest", _nothing)


def _the_checkpoint_comes_before_its_tiles() -> contextlib.AbstractContextManager[object]:
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


def _it_is_noted_before_it_stands() -> contextlib.AbstractContextManager[object]:
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


def _partial_tiles_go_too_early() -> contextlib.AbstractContextManager[object]:
    def write(original: Callable[..., None], publisher: Publisher, first: int, size: int) -> None:
        original(publisher, first, size)
        publisher._remove_partials(first, size)

    return _instead(Publisher, "_write_tiles", write)


def _what_the_folder_lost_is_not_brought_back() -> contextlib.AbstractContextManager[object]:
    return mock.patch.object(Publisher, "_bring_back", _nothing)


def _one_witness_is_enough() -> contextlib.AbstractContextManager[object]:
    def begin(
        original: Callable[..., None], publisher: Publisher, log: Log, witnesses: Any, policy: Any, **k: Any
    ) -> None:
        groups = tuple(replace(group, threshold=1) for group in policy.groups)
        original(publisher, log, witnesses, replace(policy, groups=groups), **k)

    return _instead(Publisher, "__init__", begin)


def _any_date_is_taken() -> contextlib.AbstractContextManager[object]:
    return mock.patch.object(witness_answers, "CLOCK_TOLERANCE", 2**63)


def _landmarks_come_before_the_checkpoint() -> contextlib.AbstractContextManager[object]:
    def end(original: Callable[..., object], landmarks: Landmarks, ends: Any, publication: Any, now: int) -> object:
        size = landmarks._log.size
        return original(landmarks, [*ends, size][-1:], replace(publication, size=size), now)

    return _instead(Landmarks, "_end", end)


def _the_landmark_file_is_trusted_as_it_stands() -> contextlib.AbstractContextManager[object]:
    def write(original: Callable[..., None], landmarks: Landmarks) -> None:
        if landmarks._log.public_folder.read("landmarks", max_size=2**30) != landmarks.file.encode():
            original(landmarks)

    return _instead(Landmarks, "_write", write)


def _a_witness_answers_before_it_saves() -> contextlib.AbstractContextManager[object]:
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


def _a_witness_forgets_when_it_starts() -> contextlib.AbstractContextManager[object]:
    def load(_: object, store: FolderStore, origin: str) -> WitnessState:
        return store._held.get(origin, WitnessState())

    return _instead(FolderStore, "load", load)


def _a_witness_believes_any_proof() -> contextlib.AbstractContextManager[object]:
    return mock.patch.object(merkle, "verify_consistency", _nothing)


MUTATIONS = (
    Mutation("folders are not synced", _folders_are_not_synced, "would be gone|a power cut would leave"),
    Mutation("files are not synced", _files_are_not_synced, "torn|on its disk"),
    Mutation(
        "a failed sync is tried again", _a_failed_sync_is_tried_again, "without a reason: TileConflict|torn|on its disk"
    ),
    Mutation("what stands is not written anew", _what_stands_is_not_written_anew, "a power cut"),
    Mutation("answers come before the commit", _answers_come_before_the_commit, "is not committed"),
    Mutation("a log that stopped goes on", _a_log_that_stopped_goes_on, "log that stopped"),
    Mutation(
        "an unknown commit is taken for none", _an_unknown_commit_is_taken_for_none, "without a reason|that stopped"
    ),
    Mutation("the newest database is not asked for", _the_newest_database_is_not_asked_for, "goes on from size"),
    Mutation("the checkpoint comes before its tiles", _the_checkpoint_comes_before_its_tiles, "missing or wrong"),
    Mutation("it is noted before it stands", _it_is_noted_before_it_stands, "noted as published"),
    Mutation("partial tiles go too early", _partial_tiles_go_too_early, "missing or wrong"),
    Mutation(
        "what the folder lost is not brought back", _what_the_folder_lost_is_not_brought_back, "missing|does not stand"
    ),
    Mutation("one witness is enough", _one_witness_is_enough, "do not make the quorum"),
    Mutation("any date is taken", _any_date_is_taken, "next publication fails|no landmark covers"),
    Mutation("landmarks come before the checkpoint", _landmarks_come_before_the_checkpoint, "a landmark under"),
    Mutation("the landmark file is trusted", _the_landmark_file_is_trusted_as_it_stands, "a power cut would leave"),
    Mutation("a witness answers before it saves", _a_witness_answers_before_it_saves, "on its disk|without having"),
    Mutation("a witness forgets when it starts", _a_witness_forgets_when_it_starts, "cosigned"),
    Mutation("a witness believes any proof", _a_witness_believes_any_proof, "cosigned"),
)
