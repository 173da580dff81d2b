"""Publication: its order of writes, a crash at each step, and witnesses of every kind."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.errors import ChopmarkError, QuorumError, StorageError
from chopmark.keys import Ed25519Signer
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.client import Client, LocalLedger, WitnessAnswer, WitnessClient, open_witness
from chopmark_ledger.errors import (
    ForkError,
    LogStoppedError,
    PublicationPoisonedError,
    RestoredBackupError,
    TileConflictError,
)
from chopmark_ledger.publication.publisher import new_tiles
from chopmark_ledger.sequencing.log import Log

if TYPE_CHECKING:
    from tests.ledger.conftest import World

PASSPHRASE = b"a passphrase of this test"
ORIGIN = "cn-gd.example/log/2026"
WITNESSES = ("cn-sh.example/witness", "us-il.example/witness", "us-ny.example/witness")
REGION = Client("region", region="CN-GD")
EIO = OSError(5, "Input/output error")


class Crash(BaseException):
    """The process ends here, as far as the test is concerned."""


def test_a_publication_is_cosigned_by_the_quorum(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    witnessed = ledger.publish()
    assert witnessed.checkpoint.size == 301
    assert witnessed.time == world.clock.now
    assert world.check() == 301
    note = (world.public / "checkpoint").read_bytes()
    assert note == ledger.checkpoint()
    assert TlogPolicy.parse(world.policy).check(note) == witnessed
    assert cosigners(world) == set(WITNESSES)


def test_several_commits_share_one_publication(world: World) -> None:
    ledger = world.open()
    for number in range(5):
        world.append(ledger, number, 70)
    assert ledger.publish().checkpoint.size == 351
    assert world.check() == 351


def test_every_published_size_keeps_its_partial_tiles_until_they_are_full(world: World) -> None:
    ledger = world.open()
    for number, (kept, gone) in enumerate(
        [
            ({"0/000.p/101", "entries/000.p/101"}, set()),
            ({"0/000.p/101", "0/000.p/201", "entries/000.p/101", "entries/000.p/201"}, set()),
            ({"0/000", "0/001.p/45", "1/000.p/1", "entries/000", "entries/001.p/45"}, {"0/000.p", "entries/000.p"}),
            ({"0/001.p/45", "0/001.p/145", "entries/001.p/45", "entries/001.p/145"}, set()),
        ]
    ):
        world.append(ledger, number, 100)
        ledger.publish()
        world.check()
        assert {name for name in kept if (world.public / "tile" / name).is_file()} == kept
        assert not [name for name in gone if (world.public / "tile" / name).exists()]


def test_partial_tiles_stay_until_the_checkpoint_stands_that_needs_the_full_one(world: World) -> None:
    world.append(world.open(), 1, 200)
    world.open().publish()
    ledger = with_odd(world, unreachable, unreachable)
    world.append(ledger, 2, 200)
    with pytest.raises(QuorumError):
        ledger.publish()
    for name in ("0/000.p/201", "entries/000.p/201", "0/001.p/145", "0/000"):
        assert (world.public / "tile" / name).is_file()
    ledger = world.open()
    world.append(ledger, 3, 200)
    ledger.publish()
    world.check()
    assert not list(world.public.glob("tile/*/000.p/201"))
    assert not list(world.public.glob("tile/*/001.p/145"))
    assert (world.public / "tile" / "0" / "002.p" / "89").is_file()


def test_partial_tiles_that_cannot_be_removed_do_not_hold_up_a_publication(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.open()
    world.append(ledger, 1, 200)
    ledger.publish()
    stray = world.public / "tile" / "0" / "000.p" / "something else"
    stray.write_bytes(b"of somebody else")
    world.append(ledger, 2, 200)
    assert ledger.publish().checkpoint.size == 401
    assert [path.name for path in stray.parent.iterdir()] == [stray.name]


def test_with_nothing_new_what_stands_is_answered(world: World) -> None:
    ledger = world.open()
    first = ledger.publish()
    before = (world.public / "checkpoint").read_bytes()
    world.clock.now += 60
    assert ledger.publish() == first
    assert (world.public / "checkpoint").read_bytes() == before


def test_a_publication_after_reopening_goes_on_from_the_last(world: World) -> None:
    world.append(world.open(), 1, 300)
    world.open().publish()
    world.check()
    ledger = world.open()
    world.append(ledger, 2, 500)
    assert ledger.publish().checkpoint.size == 801
    world.check()


@pytest.mark.parametrize("first", [0, 1, 255, 256, 257, 300, 65_535, 65_536])
@pytest.mark.parametrize("more", [0, 1, 255, 256, 70_000])
def test_the_tiles_of_a_publication_are_those_that_the_last_one_had_not(first: int, more: int) -> None:
    def names(size: int) -> set[tuple[int, int, int]]:
        return {(level, tile.index, tile.width) for level, tile in new_tiles(0, size)}

    new = {(level, tile.index, tile.width) for level, tile in new_tiles(first, first + more)}
    assert new == names(first + more) - names(first)


@pytest.mark.parametrize("call", ["fsync", "replace", "write", "open"])
def test_a_publication_that_fails_at_any_call_leaves_a_sound_log(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    ledger = world.open()
    failed = 0
    for nth in range(1, 100):
        world.append(ledger, nth, 30)
        with failing(monkeypatch, call, nth, EIO) as hits:
            try:
                ledger.publish()
            except StorageError:
                failed += 1
            except PublicationPoisonedError:
                failed += 1
                ledger = world.open()
            except QuorumError:  # the call was one of a witness, which trusts its disk no longer
                ledger = world.open()
        world.check()
        if not hits():
            break
    assert failed >= 2
    ledger.publish()
    assert world.check() == 1 + 30 * nth


@pytest.mark.parametrize("call", ["fsync", "replace", "write", "open"])
def test_a_crash_at_any_call_of_a_publication_is_made_good(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    world = make_world()
    ledger = world.open()
    size = 1
    for nth in range(1, 60):
        world.append(ledger, nth, 30)
        size += 30
        with failing(monkeypatch, call, nth, Crash()) as hits, contextlib.suppress(Crash):
            ledger.publish()
        assert world.check() <= size
        ledger = world.open()
        if not hits():
            break
    assert nth > 3
    ledger.publish()
    assert world.check() == size


class failing:  # noqa: N801 - reads as a verb where it is used
    """Makes the nth call of one function of `os` raise; calls before and after go through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str, nth: int, error: BaseException) -> None:
        self._patches = monkeypatch.context()
        self._call, self._nth, self._error = call, nth, error
        self._count = 0

    def __enter__(self) -> Callable[[], bool]:
        real = getattr(os, self._call)

        def counted(*arguments: Any, **options: Any) -> Any:
            self._count += 1
            if self._count == self._nth:
                raise self._error
            return real(*arguments, **options)

        self._patches.__enter__().setattr(os, self._call, counted)
        return lambda: self._count >= self._nth

    def __exit__(self, *exception: Any) -> None:
        self._patches.__exit__(*exception)


def test_after_a_failed_fsync_nothing_more_is_published_until_the_log_is_opened_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.open()
    world.append(ledger, 1, 10)
    with failing(monkeypatch, "fsync", 1, EIO), pytest.raises(PublicationPoisonedError, match="fsync"):
        ledger.publish()
    with pytest.raises(PublicationPoisonedError, match="open the log again"):
        ledger.publish()
    assert world.check() == 0
    world.open().publish()
    assert world.check() == 11


def test_what_an_earlier_process_may_not_have_made_durable_is_written_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    with failing(monkeypatch, "fsync", 6, EIO), pytest.raises(PublicationPoisonedError):
        ledger.publish()
    written = {path: path.stat().st_ino for path in world.public.rglob("*") if path.is_file()}
    assert len(written) >= 2
    world.open().publish()
    world.check()
    assert all(path.stat().st_ino != inode for path, inode in written.items())


def test_a_crash_after_the_checkpoint_and_before_its_record_is_made_good(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.open()
    world.append(ledger, 1, 10)

    def crash(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Log, "record_publication", crash)
        with pytest.raises(Crash):
            ledger.publish()
    assert world.check() == 11
    ledger = world.open()
    assert ledger.publish().checkpoint.size == 11
    world.append(ledger, 2, 10)
    ledger.publish()
    assert world.check() == 21


@pytest.mark.parametrize("reopened", [True, False])
@pytest.mark.parametrize(
    "lost", ["", "tile", "tile/0", "tile/0/000", "tile/entries", "tile/1", "tile/0/002.p", "checkpoint"]
)
def test_what_is_lost_of_the_public_folder_is_rebuilt_from_the_database_alone(
    world: World, lost: str, reopened: bool
) -> None:
    ledger = world.open()
    world.append(ledger, 1, 600)
    ledger.publish()
    note = (world.public / "checkpoint").read_bytes()
    path = world.public / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if lost == "tile/0/000":  # not at the edge: seen where something at the edge is gone too
        (world.public / "tile" / "entries" / "002.p" / "89").unlink()
    if reopened:
        ledger = with_odd(world, unreachable, unreachable, unreachable)
    ledger.publish()
    assert world.check() == 601
    assert (world.public / "checkpoint").read_bytes() == note


def test_the_folder_is_rebuilt_though_new_entries_find_no_quorum(world: World) -> None:
    world.append(world.open(), 1, 600)
    world.open().publish()
    ledger = with_odd(world, unreachable, unreachable)
    world.append(ledger, 2, 600)
    shutil.rmtree(world.public)
    with pytest.raises(QuorumError):
        ledger.publish()
    assert world.check() == 601


def test_an_older_public_folder_is_brought_up_to_the_database(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.publish()
    world.close()
    shutil.copytree(world.public, world.folder / "backup")
    ledger = world.open()
    world.append(ledger, 2, 300)
    ledger.publish()
    world.close()
    shutil.rmtree(world.public)
    shutil.copytree(world.folder / "backup", world.public)
    ledger = world.open()
    assert ledger.publish().checkpoint.size == 601
    assert world.check() == 601
    world.append(ledger, 3, 300)
    ledger.publish()
    assert world.check() == 901


@pytest.mark.parametrize("data", [b"", b"rubbish", b"cn-gd.example/log/2026\n99\n", bytes(17 << 20)])
def test_a_checkpoint_file_that_is_not_one_of_ours_is_replaced(world: World, data: bytes) -> None:
    ledger = world.open()
    world.append(ledger, 1, 10)
    ledger.publish()
    (world.public / "checkpoint").write_bytes(data)
    ledger.publish()
    assert world.check() == 11


def test_a_checkpoint_that_somebody_else_signed_does_not_stop_the_log(world: World) -> None:
    stranger = NoteSigner(world.open().origin, Ed25519Signer.generate())
    note = sign_note(Checkpoint(stranger.name, 10**6, bytes(32)).body(), [stranger]).encode()
    (world.public / "checkpoint").write_bytes(note)
    world.open().publish()
    assert world.check() == 1


def test_another_root_under_our_own_signature_is_a_fork(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 10)
    signer = NoteSigner(ledger.origin, world.key)
    note = sign_note(Checkpoint(ledger.origin, 5, bytes(32)).body(), [signer]).encode()
    (world.public / "checkpoint").write_bytes(note)
    with pytest.raises(ForkError):
        ledger.publish()
    assert (world.public / "checkpoint").read_bytes() == note


@pytest.mark.parametrize("other", [b"", b"other bytes", bytes(17 << 20)])
@pytest.mark.parametrize("name", ["tile/0/000.p/11", "tile/entries/000.p/11"])
def test_other_bytes_in_the_place_of_a_tile_are_never_overwritten(world: World, name: str, other: bytes) -> None:
    ledger = world.open()
    world.append(ledger, 1, 10)
    path = world.public / name
    path.parent.mkdir(parents=True)
    path.write_bytes(other)
    with pytest.raises(TileConflictError, match=path.name):
        ledger.publish()
    assert path.read_bytes() == other
    assert world.check() == 0
    path.unlink()
    ledger.publish()
    assert world.check() == 11


def test_what_is_signed_comes_from_the_database_and_not_from_the_tiles(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.publish()
    for path in world.public.glob("tile/**/*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    world.append(ledger, 2, 300)
    root = ledger.publish().checkpoint.root
    world.close()
    shutil.rmtree(world.public)
    world.published = []
    assert world.open().publish().checkpoint.root == root
    world.check()


# ---- witnesses


class OddWitness:
    """Stands between the publisher and a witness, and changes its answers."""

    def __init__(self, inner: WitnessClient, change: Callable[[WitnessAnswer], WitnessAnswer]) -> None:
        self._inner = inner
        self._change = change
        self.requests: list[bytes] = []

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def vkeys(self) -> tuple[str, ...]:
        return self._inner.vkeys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        self.requests.append(body)
        return self._change(self._inner.add_checkpoint(body))


def unreachable(_answer: WitnessAnswer) -> WitnessAnswer:
    raise ChopmarkError("cannot be reached", where="witness")


def larger(_answer: WitnessAnswer) -> WitnessAnswer:
    return WitnessAnswer(409, b"999999\n", "text/x.tlog.size")


def with_odd(world: World, *changes: Callable[[WitnessAnswer], WitnessAnswer]) -> LocalLedger:
    witnesses: list[Any] = world.witnesses()
    for position, change in enumerate(changes):
        witnesses[position] = OddWitness(witnesses[position], change)
    return world.open(witnesses)


def cosigners(world: World) -> set[str]:
    """The names whose lines stand below the published checkpoint, beside the log's own."""
    note = Note.parse((world.public / "checkpoint").read_bytes())
    return {line.name for line in note.signatures} - {ORIGIN}


@pytest.mark.parametrize("change", [unreachable, larger])
def test_one_odd_witness_of_three_is_tolerated(world: World, change: Callable[[WitnessAnswer], WitnessAnswer]) -> None:
    ledger = with_odd(world, change)
    world.append(ledger, 1, 10)
    assert ledger.publish().checkpoint.size == 11
    assert world.check() == 11
    assert cosigners(world) == set(WITNESSES[1:])


def test_without_a_quorum_the_last_checkpoint_stands_and_the_log_goes_on(world: World) -> None:
    world.open().publish()
    world.check()
    ledger = with_odd(world, unreachable, unreachable)
    world.append(ledger, 1, 10)
    with pytest.raises(QuorumError, match=r"cn-sh\.example/witness: "):
        ledger.publish()
    assert world.check() == 1
    world.append(ledger, 2, 10)
    assert world.open().publish().checkpoint.size == 21
    world.check()


@pytest.mark.parametrize(
    ("grown", "error", "message"),
    [
        (5, RestoredBackupError, "hold size 21, the database 16"),
        (30, ForkError, "not the beginning of this log"),
    ],
)
def test_witnesses_that_make_a_quorum_and_hold_something_else_stop_the_log(
    world: World, grown: int, error: type[LogStoppedError], message: str
) -> None:
    """The database and the public folder were both brought back from a backup; only the witnesses remember."""
    world.append(world.open(), 1, 10)
    world.open().publish()
    world.close()
    backup = world.folder / "backup"
    shutil.copytree(world.log_folder, backup)
    ledger = world.open()
    world.append(ledger, 2, 10)
    ledger.publish()
    world.close()
    shutil.rmtree(world.log_folder)
    shutil.copytree(backup, world.log_folder)
    ledger = world.open()
    ledger.submit(REGION, 3, world.entries(grown))
    with pytest.raises(error, match=message):
        ledger.publish()
    with pytest.raises(LogStoppedError, match="the log stopped"):
        ledger.publish()
    with pytest.raises(LogStoppedError, match="the log stopped"):
        ledger.submit(REGION, 4, world.entries(1))
    assert SignedCheckpoint.parse((world.public / "checkpoint").read_bytes()).checkpoint.size == 11
    signed = list(world.folder.glob("*/evidence/*"))
    assert bool(signed) == (error is ForkError), "nothing is signed beside what the witnesses hold, if that can be seen"


@pytest.mark.parametrize("ahead", [301, 10**9])
def test_a_cosignature_dated_ahead_is_not_taken(world: World, ahead: int) -> None:
    hasty = open_witness(world.folder / "cn-sh", PASSPHRASE, clock=lambda: world.clock.now + ahead)
    ledger = world.open([hasty, *world.witnesses()[1:]])
    world.append(ledger, 1, 10)
    assert ledger.publish().times == (world.clock.now, world.clock.now)
    ledger = world.open([hasty, world.witnesses()[1]])
    world.append(ledger, 2, 10)
    with pytest.raises(QuorumError, match=f"dated {ahead} seconds ahead"):
        ledger.publish()
    assert world.check() == 11
    ledger = world.open(world.witnesses()[1:])
    ledger.publish()
    assert ledger.landmark_now()[-1].witnessed_time == world.clock.now


def test_a_witness_whose_clock_is_a_little_ahead_counts(world: World) -> None:
    hasty = open_witness(world.folder / "cn-sh", PASSPHRASE, clock=lambda: world.clock.now + 300)
    ledger = world.open([hasty, world.witnesses()[1]])
    assert ledger.publish().time == world.clock.now + 300


def test_a_witness_is_asked_once_when_its_size_is_known(world: World) -> None:
    def unchanged(answer: WitnessAnswer) -> WitnessAnswer:
        return answer

    witnesses: list[Any] = [OddWitness(witness, unchanged) for witness in world.witnesses()]
    ledger = world.open(witnesses)
    for number in range(3):
        world.append(ledger, number, 10)
        ledger.publish()
    assert [len(witness.requests) for witness in witnesses] == [3, 3, 3]


def test_without_a_quorum_the_entries_are_kept_and_published_later(world: World) -> None:
    ledger = world.open([])
    world.append(ledger, 1, 10)
    with pytest.raises(QuorumError):
        ledger.publish()
    assert world.check() == 0
    assert world.open().publish().checkpoint.size == 11
    world.check()


def test_a_publication_leaves_nothing_in_the_staging_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = world.open()
    (world.log_folder / "staging" / "left-over").write_bytes(b"of a process that ended early")
    with failing(monkeypatch, "replace", 1, OSError(28, "No space left on device")), pytest.raises(StorageError):
        ledger.publish()
    assert not list((world.log_folder / "staging").glob("[0-9a-f]*"))
    world.open().publish()
    assert not list((world.log_folder / "staging").iterdir())
