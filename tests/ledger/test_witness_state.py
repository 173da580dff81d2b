"""What a witness holds in its folder: it survives, is never taken for less, and is on the disk before it is shown."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chopmark.errors import StorageError
from chopmark.limits import LIMITS
from chopmark.note import Note, NoteSignature
from chopmark.strict import base64_encode
from chopmark_ledger.durable import SyncFailedError
from chopmark_ledger.errors import FolderLockedError, LedgerDamagedError
from chopmark_ledger.sequencing.lock import FolderLock
from chopmark_ledger.witness.witness import Contradiction, Evidence
from chopmark_ledger.witness.witness_folder import OpenedWitness, add_log, init_witness, open_witness
from chopmark_ledger.witness.witness_state import CASES, EVIDENCE_SIZE, EvidenceCase, FolderStore, origin_hash

from tests.ledger.sample_witness import CHEAP, NAME, NOW, ORIGIN, PASSPHRASE, FakeLog, cosigned, request

OTHER = "cn-bj.example/log/2026"


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def folder(tmp_path: Path, log: FakeLog) -> Path:
    folder = tmp_path / "witness"
    init_witness(folder, NAME, PASSPHRASE, logs=log.vkeys, cost=CHEAP)
    return folder


@pytest.fixture
def opened(folder: Path) -> OpenedWitness:
    return open_witness(folder, PASSPHRASE)


def state_file(folder: Path, origin: str = ORIGIN) -> Path:
    return folder / "logs" / origin_hash(origin) / "checkpoint"


def ask(opened: OpenedWitness, body: bytes, at: int = NOW) -> int:
    return opened.witness.add_checkpoint(body, at).status


class Faults:
    """Counts the calls of one system call, and lets some of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str, number: int = errno.EIO) -> None:
        self._monkeypatch = monkeypatch
        self._call = call
        self._number = number
        self._real: Callable[..., object] = getattr(os, call)
        self.calls = 0

    @contextmanager
    def failing(self, *which: int) -> Iterator[Faults]:
        """Let these calls fail, counted from 1; all, if none is named."""
        self.calls = 0

        def call(*arguments: object, **named: object) -> object:
            self.calls += 1
            if not which or self.calls in which:
                raise OSError(self._number, os.strerror(self._number))
            return self._real(*arguments, **named)

        with self._monkeypatch.context() as patch:
            patch.setattr(os, self._call, call)
            yield self


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch, "fsync")


def test_the_state_survives_reopening(opened: OpenedWitness, log: FakeLog, folder: Path) -> None:
    assert ask(opened, log.request(0, 7)) == 200
    again = open_witness(folder, PASSPHRASE)
    assert again.witness.add_checkpoint(log.request(0, 9), NOW).body == b"7\n"
    cosigned(again.witness.add_checkpoint(log.request(7, 9), NOW), opened.witness.vkeys, log.note(9))


def test_the_checkpoint_for_monitors_bears_the_lines_of_the_log_and_the_witness(
    opened: OpenedWitness, log: FakeLog
) -> None:
    assert opened.store.checkpoint(ORIGIN) is None
    answer = opened.witness.add_checkpoint(log.request(0, 7), NOW)
    assert opened.store.checkpoint(ORIGIN) == log.note(7) + answer.body


def test_a_damaged_state_is_never_taken_for_none(opened: OpenedWitness, log: FakeLog, folder: Path) -> None:
    ask(opened, log.request(0, 7))
    path = state_file(folder)
    good = path.read_bytes()
    unsigned = Note.parse(good).text.encode()
    other_size = good.replace(b"\n7\n", b"\n6\n")
    for bad in (b"", good[:-5], log.note(7), other_size, unsigned, b"x" * (LIMITS.note_size + 1)):
        path.write_bytes(bad)
        for witness in (opened, open_witness(folder, PASSPHRASE)):
            with pytest.raises(LedgerDamagedError, match="not the checkpoint that this witness cosigned last"):
                ask(witness, FakeLog("fork").request(0, 9))
            with pytest.raises(LedgerDamagedError):
                witness.store.checkpoint(ORIGIN)
    path.write_bytes(good)
    assert ask(opened, log.request(7, 9)) == 200


def test_a_state_that_is_gone_is_never_taken_for_none(opened: OpenedWitness, log: FakeLog, folder: Path) -> None:
    ask(opened, log.request(0, 7))
    state_file(folder).unlink()
    for witness in (opened, open_witness(folder, PASSPHRASE)):
        with pytest.raises(LedgerDamagedError, match="gone"):
            ask(witness, FakeLog("fork").request(0, 9))


def test_an_older_state_is_not_taken_while_the_newer_is_remembered(
    opened: OpenedWitness, log: FakeLog, folder: Path
) -> None:
    ask(opened, log.request(0, 7))
    older = state_file(folder).read_bytes()
    ask(opened, log.request(7, 9))
    state_file(folder).write_bytes(older)
    with pytest.raises(LedgerDamagedError, match="size 9"):
        ask(opened, log.request(7, 12))


def test_the_state_of_one_log_is_not_taken_for_that_of_another(log: FakeLog, folder: Path) -> None:
    other = FakeLog(origin=OTHER)
    add_log(folder, other.vkey)
    opened = open_witness(folder, PASSPHRASE)
    ask(opened, log.request(0, 7))
    ask(opened, other.request(0, 7))
    state_file(folder).write_bytes(state_file(folder, OTHER).read_bytes())
    with pytest.raises(LedgerDamagedError, match="it is of cn-bj"):
        ask(opened, log.request(0, 9))
    assert ask(opened, other.request(7, 9)) == 200, "a log whose state is damaged does not stop the others"


@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("open", errno.EROFS), ("replace", errno.EIO)])
def test_what_cannot_be_written_is_not_cosigned_and_the_next_request_is_served(
    opened: OpenedWitness, log: FakeLog, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    ask(opened, log.request(0, 7))
    with Faults(monkeypatch, call, number).failing(), pytest.raises(StorageError):
        ask(opened, log.request(7, 9))
    assert ask(opened, log.request(7, 9)) == 200


def test_after_an_fsync_failed_nothing_is_trusted_until_the_witness_is_opened_again(
    log: FakeLog, folder: Path, syncs: Faults
) -> None:
    other = FakeLog(origin=OTHER)
    add_log(folder, other.vkey)
    opened = open_witness(folder, PASSPHRASE)
    ask(opened, log.request(0, 7))
    with syncs.failing(2), pytest.raises(SyncFailedError):  # the folder, after the file was renamed into it
        ask(opened, log.request(7, 9))
    assert opened.store.poisoned_by
    for body in (log.request(7, 9), log.request(9, 12), other.request(0, 7)):
        with pytest.raises(SyncFailedError, match="start the witness again"):
            ask(opened, body)
    with pytest.raises(SyncFailedError):
        opened.store.checkpoint(ORIGIN)
    again = open_witness(folder, PASSPHRASE)
    assert again.witness.add_checkpoint(log.request(7, 12), NOW).body == b"9\n"
    assert ask(again, FakeLog("fork").request(9, 12)) == 422
    assert ask(again, log.request(9, 12)) == 200


def test_a_state_found_on_opening_is_written_anew_before_it_is_shown(
    opened: OpenedWitness, log: FakeLog, folder: Path, syncs: Faults
) -> None:
    ask(opened, log.request(0, 7))
    shown = opened.store.checkpoint(ORIGIN)
    before = state_file(folder).stat().st_ino
    again = open_witness(folder, PASSPHRASE)
    with syncs.failing(99):
        assert again.store.checkpoint(ORIGIN) == shown
    # the file, its folder, the folders above it, and the same of the mark
    assert syncs.calls == 7
    assert state_file(folder).stat().st_ino != before
    with syncs.failing(99):
        assert again.store.checkpoint(ORIGIN) == shown
    assert syncs.calls == 0


@pytest.mark.parametrize("which", [1, 2, 3, 4])
def test_a_state_that_cannot_be_made_durable_is_not_shown(
    opened: OpenedWitness, log: FakeLog, folder: Path, syncs: Faults, which: int
) -> None:
    ask(opened, log.request(0, 7))
    again = open_witness(folder, PASSPHRASE)
    with syncs.failing(which), pytest.raises(SyncFailedError):
        again.store.checkpoint(ORIGIN)
    assert again.store.poisoned_by


def test_what_another_process_wrote_is_made_durable_by_this_one_before_it_is_shown(
    opened: OpenedWitness, log: FakeLog, folder: Path, syncs: Faults
) -> None:
    ask(opened, log.request(0, 7))
    ask(open_witness(folder, PASSPHRASE), log.request(7, 9))
    with syncs.failing(99):
        shown = opened.store.checkpoint(ORIGIN)
    assert shown is not None
    assert shown.startswith(log.note(9))
    assert syncs.calls == 2


def test_a_cosignature_takes_two_syncs_once_the_folders_are_known_to_be_durable(
    opened: OpenedWitness, log: FakeLog, syncs: Faults
) -> None:
    with syncs.failing(99):
        ask(opened, log.request(0, 7))
    assert syncs.calls == 7
    with syncs.failing(99):
        ask(opened, log.request(7, 9))
    assert syncs.calls == 2


@pytest.mark.parametrize("which", range(1, 8))
def test_a_first_cosignature_that_is_not_durable_is_not_given(
    opened: OpenedWitness, log: FakeLog, folder: Path, syncs: Faults, which: int
) -> None:
    with syncs.failing(which), pytest.raises(SyncFailedError):
        ask(opened, log.request(0, 7))
    again = open_witness(folder, PASSPHRASE)
    answer = again.witness.add_checkpoint(log.request(0, 7), NOW)
    assert answer.status == 200 or answer.body == b"7\n"
    assert ask(again, log.request(7, 9)) == 200


def test_what_a_process_that_ended_early_left_behind_is_removed(
    opened: OpenedWitness, log: FakeLog, folder: Path
) -> None:
    left_over = folder / "staging" / origin_hash(ORIGIN) / "left over"
    left_over.parent.mkdir(parents=True)
    left_over.write_bytes(b"half a check")
    assert ask(opened, log.request(0, 7)) == 200
    assert not left_over.exists()


SUBMIT = """
import sys
from pathlib import Path
from chopmark_ledger.witness.witness_folder import open_witness
witness = open_witness(Path(sys.argv[1]), sys.argv[2].encode()).witness
print("ready", flush=True)
sys.stdin.readline()
for path in sys.argv[3:]:
    print(witness.add_checkpoint(Path(path).read_bytes(), 1795339800).status)
"""


def test_of_two_processes_that_submit_two_histories_only_one_is_cosigned(
    opened: OpenedWitness, log: FakeLog, folder: Path, tmp_path: Path
) -> None:
    ask(opened, log.request(0, 5))
    processes = []
    for history in ("main", "fork"):
        path = tmp_path / history
        path.write_bytes(FakeLog(history).request(5, 12))
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", SUBMIT, str(folder), PASSPHRASE.decode(), str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = sorted(process.communicate("\n")[0].strip() for process in processes)
    assert answers == ["200", "409"]


def test_what_is_held_is_read_judged_and_replaced_under_one_lock(
    opened: OpenedWitness, log: FakeLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = []

    def probing(name: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(FolderStore, name)

        def probe(*arguments: object) -> object:
            with pytest.raises(FolderLockedError):
                FolderLock(state_file(folder).parent)
            locked.append(name)
            return real(*arguments)

        return probe

    for name in ("load", "save", "keep_evidence"):
        monkeypatch.setattr(FolderStore, name, probing(name))
    ask(opened, log.request(0, 7))
    ask(opened, FakeLog("fork").request(7, 7))
    assert locked == ["load", "save", "load", "keep_evidence"]
    FolderLock(state_file(folder).parent).release()


def test_a_request_for_one_log_does_not_wait_for_one_of_another(log: FakeLog, folder: Path) -> None:
    other = FakeLog(origin=OTHER)
    add_log(folder, other.vkey)
    opened = open_witness(folder, PASSPHRASE)
    with opened.store.exclusive(ORIGIN):
        assert ask(opened, other.request(0, 7)) == 200


def test_both_notes_of_a_fork_are_kept(opened: OpenedWitness, log: FakeLog, folder: Path) -> None:
    ask(opened, log.request(0, 7))
    held = state_file(folder).read_bytes()
    fork = FakeLog("fork")
    assert ask(opened, fork.request(7, 7), NOW + 1) == 422
    (case,) = (folder / "evidence").iterdir()
    assert (case / "submitted.note").read_bytes() == fork.note(7)
    assert (case / "held.note").read_bytes() == held
    assert json.loads((case / "case.json").read_bytes()) == {
        "origin": ORIGIN,
        "contradiction": "fork",
        "time": "2026-11-22T09:30:01Z",
        "held": "held.note",
        "submitted": "submitted.note",
    }
    for name in ("held.note", "submitted.note"):
        Note.parse((case / name).read_bytes()).verify(log.verifiers)
    assert list(opened.store.cases()) == [EvidenceCase(case, Contradiction.FORK, origin_hash(ORIGIN)[:16], 7)]
    cosigned(opened.witness.add_checkpoint(log.request(7, 9), NOW + 2), opened.witness.vkeys, log.note(9))


def test_a_request_out_of_date_is_no_evidence(opened: OpenedWitness, log: FakeLog, folder: Path) -> None:
    ask(opened, log.request(0, 7))
    for body, status in ((log.request(3, 9), 409), (log.request(3, 6), 409)):
        assert ask(opened, body) == status
    assert not (folder / "evidence").exists()
    assert list(opened.store.cases()) == []


def test_a_fork_at_the_size_held_is_kept_though_its_old_size_was_wrong(
    opened: OpenedWitness, log: FakeLog, folder: Path
) -> None:
    ask(opened, log.request(0, 7))
    assert ask(opened, FakeLog("fork").request(0, 7)) == 409
    assert len(list((folder / "evidence").iterdir())) == 1


def test_a_fork_of_a_larger_size_is_kept_as_unproven_once(
    opened: OpenedWitness, log: FakeLog, folder: Path, syncs: Faults
) -> None:
    ask(opened, log.request(0, 7))
    fork = FakeLog("fork")
    assert ask(opened, fork.request(7, 12)) == 422
    with syncs.failing():
        assert ask(opened, fork.request(7, 12)) == 422
    assert syncs.calls == 0
    (case,) = (folder / "evidence").iterdir()
    assert (case / "submitted.note").read_bytes() == fork.note(12)
    assert json.loads((case / "case.json").read_bytes())["contradiction"] == "unproven"


def test_a_case_of_a_process_before_stays_as_it_is_but_is_made_durable(
    opened: OpenedWitness, log: FakeLog, folder: Path, syncs: Faults
) -> None:
    ask(opened, log.request(0, 7))
    fork = FakeLog("fork")
    ask(opened, fork.request(7, 12))
    (case,) = (folder / "evidence").iterdir()
    (case / "case.json").unlink()
    held = (case / "held.note").read_bytes()
    ask(opened, log.request(7, 7), NOW + 60)  # what is held has another time now
    again = open_witness(folder, PASSPHRASE)
    ask(again, log.request(7, 7), NOW + 60)
    with syncs.failing(99):
        assert ask(again, fork.request(7, 12), NOW + 99) == 422
    assert syncs.calls > 6
    assert (case / "held.note").read_bytes() == held
    assert json.loads((case / "case.json").read_bytes())["time"] == "2026-11-22T09:31:39Z"


def test_a_fork_is_refused_though_there_is_no_room_for_evidence(
    opened: OpenedWitness, log: FakeLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(opened, log.request(0, 7))
    with Faults(monkeypatch, "write", errno.ENOSPC).failing():
        assert ask(opened, FakeLog("fork").request(7, 7)) == 422
    assert "No space left" in opened.store.lost_evidence[ORIGIN]
    assert ask(opened, FakeLog("fork").request(7, 7)) == 422, "the next time there is room"
    assert len(list((folder / "evidence").glob("*/case.json"))) == 1


def test_evidence_that_may_not_be_on_the_disk_ends_the_trust_too(
    opened: OpenedWitness, log: FakeLog, syncs: Faults
) -> None:
    ask(opened, log.request(0, 7))
    with syncs.failing(1), pytest.raises(SyncFailedError):
        ask(opened, FakeLog("fork").request(7, 7))
    assert opened.store.poisoned_by


def test_the_forks_of_one_log_do_not_hide_those_of_another(
    opened: OpenedWitness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CASES, Contradiction.FORK, 1)
    for origin in ("a.example/log", "b.example/log"):
        for size in (5, 6):
            evidence = Evidence(Contradiction.FORK, origin, size, bytes(32), b"held", b"submitted", NOW)
            with opened.store.exclusive(origin):
                opened.store.keep_evidence(evidence)
        assert "1 cases" in opened.store.lost_evidence[origin]
    cases = [json.loads(path.read_bytes()) for path in (folder / "evidence").glob("*/case.json")]
    assert sorted(case["origin"] for case in cases) == ["a.example/log", "b.example/log"]


def test_evidence_of_one_kind_is_bounded(
    opened: OpenedWitness, log: FakeLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CASES, Contradiction.UNPROVEN, 2)
    ask(opened, log.request(0, 7))
    for size in (8, 9, 10, 11):
        assert ask(opened, FakeLog("fork").request(7, size)) == 422
    ask(opened, FakeLog("fork").request(7, 7))
    kinds = sorted(case.name.split("-")[0] for case in (folder / "evidence").iterdir())
    assert kinds == [Contradiction.FORK.value, *[Contradiction.UNPROVEN.value] * 2]


def test_evidence_of_one_log_is_bounded_in_bytes_and_leaves_room_for_forks(
    opened: OpenedWitness, log: FakeLog, folder: Path
) -> None:
    def padded(size: int, root: bytes) -> bytes:
        return log.sign(f"{ORIGIN}\n{size}\n{base64_encode(root)}\n" + "x" * 240 * 1024 + "\n")

    ask(opened, request(0, [], padded(5, log.root(5))))
    for number in range(40):
        assert ask(opened, request(5, [], padded(6 + number, bytes([number]) * 32))) == 422
    assert sum(case.contradiction is Contradiction.UNPROVEN for case in opened.store.cases()) == 10
    assert "10 cases" in opened.store.lost_evidence[ORIGIN]
    for number in range(40):
        assert ask(opened, request(5, [], padded(5, bytes([number]) * 32))) == 422
    assert sum(case.contradiction is Contradiction.FORK for case in opened.store.cases()) > 20
    assert "bytes" in opened.store.lost_evidence[ORIGIN]
    kept = sum(path.stat().st_size for path in (folder / "evidence").glob("*/*"))
    assert EVIDENCE_SIZE * 0.9 < kept <= EVIDENCE_SIZE


def test_evidence_bears_the_lines_that_the_log_signed_and_no_others(
    opened: OpenedWitness, log: FakeLog, folder: Path
) -> None:
    ask(opened, log.request(0, 7))
    fork = FakeLog("fork")
    note = Note.parse(fork.note(7))
    padding = [NoteSignature(f"x{number}", bytes(4), bytes(2900)) for number in range(60)]
    assert ask(opened, request(7, [], note.with_signature(*padding).encode())) == 422
    (case,) = opened.store.cases()
    assert (case.folder / "submitted.note").read_bytes() == note.encode()
