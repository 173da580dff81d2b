"""The simulated disk forgets what a real one may forget, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from random import Random

import pytest
from chopmark.errors import StorageError
from chopmark_ledger import durable
from chopmark_ledger.durable import REAL_DISK, SyncFailedError

from tests.ledger.simulation.file_system import BLOCK, UNKNOWN, File, FileSystem
from tests.ledger.simulation.machines import Machine, SimulatedCrash, Surroundings
from tests.ledger.simulation.system_calls import path_of, simulated_system_calls

NAME = ("public", "checkpoint")


@pytest.fixture
def files() -> FileSystem:
    """A disk with two folders that are durable."""
    made = FileSystem()
    for name in ("public", "staging"):
        made.make_folder((name,))
    made.sync_folder(made.root)
    return made


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine, while system calls are simulated."""
    surroundings = Surroundings(Random(1))
    with simulated_system_calls(surroundings):
        yield Machine("log", surroundings)


def seen(files: FileSystem) -> bytes | None:
    node = files.find(NAME)
    return node.content if isinstance(node, File) else None


def write(files: FileSystem, data: bytes, *, sync: bool = True) -> File:
    file = files.create(("staging", "temporary"))
    files.write(file, data)
    if sync:
        files.sync_file(file)
    files.rename(("staging", "temporary"), NAME)
    return file


def left(files: FileSystem) -> set[bytes | None]:
    """What power cuts leave, each in a world of its own."""
    found = set()
    for seed in range(300):
        other = deepcopy(files)
        other.cut_power(Random(seed))
        found.add(seen(other))
    return found


def test_a_synced_file_in_a_synced_folder_stays(files: FileSystem) -> None:
    write(files, b"one")
    files.sync_folder(files.folder(("public",)))
    assert files.after_power_cut(NAME) == [b"one"]
    assert files.sure_content(NAME) == b"one"
    assert left(files) == {b"one"}


def test_a_name_that_was_not_synced_may_be_there_or_not(files: FileSystem) -> None:
    write(files, b"one")
    files.sync_folder(files.folder(("public",)))
    write(files, b"two")
    assert seen(files) == b"two"
    assert files.sure_content(NAME) is None
    assert left(files) == set(files.after_power_cut(NAME)) == {b"one", b"two"}


def test_a_file_that_was_not_synced_is_torn_by_blocks(files: FileSystem) -> None:
    write(files, b"x" * (3 * BLOCK), sync=False)
    files.sync_folder(files.folder(("public",)))
    assert files.after_power_cut(NAME) == [UNKNOWN]
    found = left(files)
    assert {b"", b"x" * BLOCK + b"\0" * BLOCK + b"x" * BLOCK} < found
    assert all(each is not None and set(each) <= set(b"x\0") for each in found)


def test_after_a_sync_that_failed_a_later_one_saves_nothing(files: FileSystem) -> None:
    file = write(files, b"one", sync=False)
    files.fail_to_sync_file(file)
    files.sync_file(file)
    files.sync_folder(files.folder(("public",)))
    assert seen(files) == b"one"
    assert files.after_power_cut(NAME) == [UNKNOWN]


def test_a_file_in_a_folder_whose_own_name_was_not_synced_may_be_gone(files: FileSystem) -> None:
    files.make_folder(("public", "tile"))
    file = files.create(("public", "tile", "000"))
    files.write(file, b"one")
    files.sync_file(file)
    files.sync_folder(files.folder(("public", "tile")))
    assert set(files.after_power_cut(("public", "tile", "000"))) == {None, b"one"}
    files.sync_folder(files.folder(("public",)))
    assert files.after_power_cut(("public", "tile", "000")) == [b"one"]


def test_the_ledgers_own_code_writes_through_the_simulated_calls(machine: Machine) -> None:
    folder = path_of(machine.start(), "public")
    staging = folder.parent / "staging"
    for each in (folder / "tile", staging):
        REAL_DISK.make_folder(each)
    REAL_DISK.write(folder / "tile" / "000", b"one", staging)
    REAL_DISK.write(folder / "tile" / "001", b"two", staging)
    REAL_DISK.remove(folder / "tile" / "000")
    assert REAL_DISK.names(folder / "tile") == ["001"]
    assert REAL_DISK.read(folder / "tile" / "001", 100) == b"two"
    assert REAL_DISK.size(folder / "tile" / "001") == 3
    assert REAL_DISK.read(folder / "tile" / "000", 100) is None
    with pytest.raises(StorageError, match="not empty"):
        REAL_DISK.remove(folder / "tile")


def test_a_failed_sync_leaves_the_old_file_in_its_place(machine: Machine) -> None:
    folder = path_of(machine.start(), "public")
    durable.make_folder(folder)
    durable.replace_file(folder / "checkpoint", b"one", staging=folder)
    machine.faults.sync_fails = 1
    with pytest.raises(SyncFailedError):
        durable.replace_file(folder / "checkpoint", b"two", staging=folder)
    assert REAL_DISK.names(folder) == ["checkpoint"]
    assert REAL_DISK.read(folder / "checkpoint", 100) == b"one"


def test_a_full_disk_and_a_read_only_one_refuse_a_file(machine: Machine) -> None:
    folder = path_of(machine.start(), "public")
    durable.make_folder(folder)
    machine.faults.is_full = True
    with pytest.raises(StorageError, match="No space left"):
        durable.replace_file(folder / "checkpoint", b"one", staging=folder)
    machine.faults.heal()
    machine.faults.is_read_only = True
    with pytest.raises(StorageError, match="Read-only"):
        durable.replace_file(folder / "checkpoint", b"one", staging=folder)
    assert REAL_DISK.names(folder) == []


@pytest.mark.parametrize("steps", range(12))
def test_a_crash_at_any_step_leaves_the_old_file_or_the_new_one(machine: Machine, steps: int) -> None:
    process = machine.start()
    folder = path_of(process, "public")
    durable.make_folder(folder)
    machine.files.sync_folder(machine.files.root)
    durable.replace_file(folder / "checkpoint", b"one", staging=folder)
    durable.sync_folder(folder)
    process.steps_left = steps
    try:
        durable.replace_file(folder / "checkpoint", b"two", staging=folder)
        durable.sync_folder(folder)
        is_done = True
    except SimulatedCrash:
        is_done = False
        with pytest.raises(SimulatedCrash):
            REAL_DISK.read(folder / "checkpoint", 100)
    machine.cut_power()
    assert seen(machine.files) in ({b"two"} if is_done else {b"one", b"two"})
