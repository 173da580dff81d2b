"""Each answer of a witness, and that no refused request moves what it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chopmark import merkle, strict
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.errors import FormatError, KeyMaterialError, StorageError
from chopmark.key_file import ScryptCost
from chopmark.keys import Ed25519Signer
from chopmark.note import Note, NoteSigner, NoteVerifier, sign_note, split_cosignature
from chopmark_ledger import tree
from chopmark_ledger.errors import FolderError, FolderLockedError, LedgerDamagedError, WitnessClockError
from chopmark_ledger.lock import FolderLock
from chopmark_ledger.nodes import NodeReader
from chopmark_ledger.witness import Contradiction, Evidence, Witness, WitnessAnswer, parse_request
from chopmark_ledger.witness_folder import FolderStore, add_log, init_witness, open_witness, witness_vkey
from hypothesis import given, settings
from hypothesis import strategies as st

ORIGIN = "cn-sh.example/log/2026"
NAME = "cn-gd.example/witness"
PASSPHRASE = b"a passphrase of this test"
CHEAP = ScryptCost(n=2**10)
NOW = 1_795_339_800


@dataclass
class FakeLog:
    """A log in memory: leaves, checkpoints and proofs; `history` tells one content from another."""

    history: str = "main"
    signer: NoteSigner = field(default_factory=lambda: NoteSigner(ORIGIN, Ed25519Signer(b"\7" * 32)))

    def edge(self, size: int) -> tuple[tree.TreeEdge, NodeReader]:
        leaves = [merkle.leaf_hash(f"{self.history if n >= 5 else 'main'} {n}".encode()) for n in range(size)]
        edge, runs = tree.append(tree.EMPTY_EDGE, leaves)
        tiles = {(run.level, run.index): run.hashes for run in runs}
        return edge, NodeReader(lambda wanted: {tile: tiles[tile] for tile in wanted if tile in tiles})

    def note(self, size: int) -> bytes:
        return sign_note(Checkpoint(ORIGIN, size, self.edge(size)[0].root).body(), [self.signer]).encode()

    def proof(self, old: int, size: int) -> list[bytes]:
        return merkle.consistency_proof(size1=old, size2=size, read=self.edge(size)[1]) if 0 < old < size else []

    def request(self, old: int, size: int) -> bytes:
        return request(old, self.proof(old, size), self.note(size))


def request(old: int, proof: list[bytes], note: bytes) -> bytes:
    lines = [f"old {old}", *(strict.base64_encode(each) for each in proof), "", ""]
    return "\n".join(lines).encode() + note


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def folder(tmp_path: Path, log: FakeLog) -> Path:
    folder = tmp_path / "witness"
    init_witness(folder, NAME, PASSPHRASE, cost=CHEAP)
    add_log(folder, log.signer.vkey)
    return folder


@pytest.fixture
def witness(folder: Path) -> Witness:
    return open_witness(folder, PASSPHRASE)


def cosigned(answer: WitnessAnswer, witness: Witness, note: bytes) -> int:
    """Check a 200 as a client does: the note with the answer below it verifies. Returns the cosignature's time."""
    assert answer.status == 200, answer.body
    together = Note.parse(note + answer.body)
    assert together.verify([NoteVerifier.from_vkey(witness.vkey)])
    return split_cosignature(together.signatures[-1].signature)[0]


def test_the_first_checkpoint_is_cosigned_from_old_size_zero(witness: Witness, log: FakeLog) -> None:
    assert cosigned(witness.add_checkpoint(log.request(0, 7), NOW), witness, log.note(7)) == NOW


def test_a_checkpoint_that_follows_is_cosigned(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert cosigned(witness.add_checkpoint(log.request(7, 300), NOW + 5), witness, log.note(300)) == NOW + 5


def test_the_same_checkpoint_is_cosigned_again_with_a_new_time(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert cosigned(witness.add_checkpoint(log.request(7, 7), NOW + 60), witness, log.note(7)) == NOW + 60


def test_an_empty_log_is_cosigned(witness: Witness, log: FakeLog) -> None:
    cosigned(witness.add_checkpoint(log.request(0, 0), NOW), witness, log.note(0))
    cosigned(witness.add_checkpoint(log.request(0, 3), NOW), witness, log.note(3))


def test_another_old_size_is_a_conflict_that_names_the_size_held(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    for old in (0, 3, 8):
        answer = witness.add_checkpoint(log.request(old, 9), NOW)
        assert answer == WitnessAnswer(409, b"7\n", "text/x.tlog.size")


def test_a_smaller_checkpoint_is_a_conflict(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert witness.add_checkpoint(log.request(3, 6), NOW).status == 409


def test_an_old_size_above_the_checkpoint_is_malformed(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert witness.add_checkpoint(request(7, [], log.note(5)), NOW).status == 400


def test_an_unknown_origin_is_not_found(witness: Witness) -> None:
    other = NoteSigner("cn-bj.example/log/2026", Ed25519Signer.generate())
    note = sign_note(Checkpoint(other.name, 0, merkle.EMPTY_ROOT).body(), [other]).encode()
    assert witness.add_checkpoint(request(0, [], note), NOW).status == 404


def test_a_note_without_the_log_s_signature_is_forbidden(witness: Witness, log: FakeLog) -> None:
    stranger = FakeLog(signer=NoteSigner(ORIGIN, Ed25519Signer.generate()))
    assert witness.add_checkpoint(stranger.request(0, 7), NOW).status == 403
    assert witness.add_checkpoint(log.request(0, 7), NOW).status == 200


def test_a_bad_signature_under_the_log_s_key_is_forbidden(witness: Witness, log: FakeLog) -> None:
    body, _, lines = log.note(7).partition(b"\n\n")
    other = log.note(8).partition(b"\n\n")[2]
    assert witness.add_checkpoint(request(0, [], body + b"\n\n" + other), NOW).status == 403
    # also where a good line stands beside it
    assert witness.add_checkpoint(request(0, [], body + b"\n\n" + lines + other), NOW).status == 403


def test_signatures_of_unknown_keys_are_ignored_and_not_kept(witness: Witness, log: FakeLog, folder: Path) -> None:
    stranger = NoteSigner("stranger.example/key", Ed25519Signer.generate())
    note = Note.parse(log.note(7))
    note = note.with_signature(stranger.sign(note.text))
    cosigned(witness.add_checkpoint(request(0, [], note.encode()), NOW), witness, note.encode())
    stored = next((folder / "logs").glob("*/checkpoint")).read_bytes()
    assert b"stranger" not in stored
    assert len(Note.parse(stored).signatures) == 2


def test_another_root_at_the_same_size_is_refused_and_both_notes_are_kept(
    witness: Witness, log: FakeLog, folder: Path
) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    fork = FakeLog("fork")
    assert witness.add_checkpoint(fork.request(7, 7), NOW + 1).status == 422
    (case,) = (folder / "evidence").iterdir()
    assert (case / "submitted.note").read_bytes() == fork.note(7)
    assert (case / "held.note").read_bytes().startswith(log.note(7))
    assert json.loads((case / "case.json").read_bytes())["contradiction"] == "fork"
    for name in ("held.note", "submitted.note"):
        Note.parse((case / name).read_bytes()).verify([log.signer.verifier])
    cosigned(witness.add_checkpoint(log.request(7, 9), NOW + 2), witness, log.note(9))


def test_a_request_out_of_date_is_no_evidence(witness: Witness, log: FakeLog, folder: Path) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    for body, status in ((log.request(3, 9), 409), (log.request(3, 6), 409), (request(7, [], log.note(5)), 400)):
        assert witness.add_checkpoint(body, NOW).status == status
    assert not (folder / "evidence").exists()


def test_a_fork_at_the_size_held_is_kept_though_its_old_size_was_wrong(
    witness: Witness, log: FakeLog, folder: Path
) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert witness.add_checkpoint(FakeLog("fork").request(0, 7), NOW).status == 409
    assert len(list((folder / "evidence").iterdir())) == 1


def test_a_fork_of_a_larger_size_is_refused_and_kept_as_unproven(witness: Witness, log: FakeLog, folder: Path) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    fork = FakeLog("fork")
    for _ in range(2):  # the second time adds nothing
        assert witness.add_checkpoint(fork.request(7, 12), NOW).status == 422
    (case,) = (folder / "evidence").iterdir()
    assert (case / "submitted.note").read_bytes() == fork.note(12)
    assert json.loads((case / "case.json").read_bytes())["contradiction"] == "unproven"


def test_a_fork_before_the_size_held_is_not_hidden_by_a_good_proof_of_its_own(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    fork = FakeLog("fork")
    for proof in (fork.proof(7, 12), log.proof(7, 12), fork.proof(5, 12), []):
        assert witness.add_checkpoint(request(7, proof, fork.note(12)), NOW).status == 422
    cosigned(witness.add_checkpoint(log.request(7, 12), NOW), witness, log.note(12))


def test_a_proof_where_none_belongs_is_refused(witness: Witness, log: FakeLog) -> None:
    assert witness.add_checkpoint(request(0, [b"\0" * 32], log.note(7)), NOW).status == 422
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert witness.add_checkpoint(request(7, [b"\0" * 32], log.note(7)), NOW).status == 422
    assert witness.add_checkpoint(log.request(7, 7), NOW).status == 200


def test_an_empty_tree_with_another_root_is_refused(witness: Witness, log: FakeLog, folder: Path) -> None:
    body = f"{ORIGIN}\n0\n{strict.base64_encode(bytes(32))}\n"
    assert witness.add_checkpoint(request(0, [], sign_note(body, [log.signer]).encode()), NOW).status == 422
    assert not (folder / "evidence").exists(), "nothing is held that it could contradict"


def test_extension_lines_are_cosigned_with_the_rest(witness: Witness, log: FakeLog) -> None:
    note = sign_note(Note.parse(log.note(7)).text + "an extension\n", [log.signer]).encode()
    cosigned(witness.add_checkpoint(request(0, [], note), NOW), witness, note)
    cosigned(witness.add_checkpoint(log.request(7, 8), NOW), witness, log.note(8))


def test_a_checkpoint_with_an_empty_line_is_malformed(witness: Witness, log: FakeLog) -> None:
    for extension in ("\n", "\nan extension\n"):
        note = sign_note(Note.parse(log.note(7)).text + extension, [log.signer]).encode()
        assert witness.add_checkpoint(request(0, [], note), NOW).status == 400


def test_a_request_of_the_largest_size_is_read_and_no_larger_one(witness: Witness, log: FakeLog) -> None:
    line = "x" * 1000 + "\n"
    for lines, status in ((250, 200), (270, 400)):
        note = sign_note(Note.parse(log.note(7)).text + line * lines, [log.signer]).encode()
        assert witness.add_checkpoint(request(0, [], note), NOW).status == status


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"old ", b"old  "),
        lambda body: body.replace(b"old 0", b"old 00"),
        lambda body: body.replace(b"old 0", b"old +0"),
        lambda body: body.replace(b"old 0", b"old \xd9\xa0"),
        lambda body: body.replace(b"old 0\n", b"old 0\n\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\r\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\nAAAA\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\n" + b"A" * 43 + b"=\n" * 64),
        lambda body: body.replace(b"\n7\n", b"\n07\n"),
        lambda body: body.replace(b"\n7\n", b"\n-7\n"),
        lambda body: body.partition(b"\n\n")[0] + b"\n",
        lambda body: body[:-1],
        lambda body: b"",
        lambda body: body + b" " * 300_000,
    ],
)
def test_a_malformed_request_is_answered_400(witness: Witness, log: FakeLog, change: Callable[[bytes], bytes]) -> None:
    assert witness.add_checkpoint(change(log.request(0, 7)), NOW).status == 400
    assert witness.add_checkpoint(log.request(0, 7), NOW).status == 200


def test_more_than_63_proof_lines_are_malformed(log: FakeLog) -> None:
    parse_request(request(1, [b"\0" * 32] * 63, log.note(7)))
    with pytest.raises(FormatError):
        parse_request(request(1, [b"\0" * 32] * 64, log.note(7)))


def test_a_refused_request_leaves_what_is_held_as_it_was(witness: Witness, log: FakeLog, folder: Path) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    path = next((folder / "logs").glob("*/checkpoint"))
    before = path.read_bytes()
    fork = FakeLog("fork")
    stranger = FakeLog(signer=NoteSigner(ORIGIN, Ed25519Signer.generate()))
    for body in (
        fork.request(7, 7),
        fork.request(7, 9),
        fork.request(0, 9),
        stranger.request(7, 9),
        request(7, [], log.note(9)),
        request(9, [], log.note(7)),
        b"old 7\n",
    ):
        assert witness.add_checkpoint(body, NOW + 1).status != 200
        assert path.read_bytes() == before


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_forged_byte_never_moves_the_state(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "forged"
    log = FakeLog()
    if not folder.exists():
        init_witness(folder, NAME, PASSPHRASE, cost=CHEAP)
        add_log(folder, log.signer.vkey)
        open_witness(folder, PASSPHRASE).add_checkpoint(log.request(0, 7), NOW)
    witness = open_witness(folder, PASSPHRASE)
    path = next((folder / "logs").glob("*/checkpoint"))
    before = path.read_bytes()
    good = log.request(7, 20)
    position %= len(good)
    forged = good[:position] + bytes([byte]) + good[position + 1 :]
    if forged != good:
        assert witness.add_checkpoint(forged, NOW).status in {400, 403, 404, 409, 422}
        assert path.read_bytes() == before


def test_the_state_survives_reopening(witness: Witness, log: FakeLog, folder: Path) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    again = open_witness(folder, PASSPHRASE)
    assert again.vkey == witness.vkey == witness_vkey(folder)
    assert again.add_checkpoint(log.request(0, 9), NOW).body == b"7\n"


def test_a_damaged_state_is_never_taken_for_none(witness: Witness, log: FakeLog, folder: Path) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    path = next((folder / "logs").glob("*/checkpoint"))
    good = path.read_bytes()
    for bad in (b"", good[:-5], log.note(7), good.replace(b"\n7\n", b"\n6\n")):
        path.write_bytes(bad)
        with pytest.raises(LedgerDamagedError):
            witness.add_checkpoint(FakeLog("fork").request(0, 9), NOW)


def test_the_state_of_one_log_is_not_taken_for_that_of_another(witness: Witness, log: FakeLog, folder: Path) -> None:
    other = FakeLog(signer=NoteSigner("cn-bj.example/log/2026", Ed25519Signer.generate()))
    add_log(folder, other.signer.vkey)
    witness = open_witness(folder, PASSPHRASE)
    witness.add_checkpoint(log.request(0, 7), NOW)
    path = next((folder / "logs").glob("*/checkpoint"))
    note = sign_note(Checkpoint(other.signer.name, 0, merkle.EMPTY_ROOT).body(), [other.signer]).encode()
    witness.add_checkpoint(request(0, [], note), NOW)
    (second,) = set((folder / "logs").glob("*/checkpoint")) - {path}
    path.write_bytes(second.read_bytes())
    with pytest.raises(LedgerDamagedError, match="it is of cn-bj"):
        witness.add_checkpoint(log.request(0, 9), NOW)


@pytest.mark.parametrize("call", ["fsync", "replace", "write", "open"])
def test_what_cannot_be_kept_is_not_cosigned(
    witness: Witness, log: FakeLog, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StorageError):
            witness.add_checkpoint(log.request(7, 9), NOW)
    cosigned(witness.add_checkpoint(log.request(7, 9), NOW), witness, log.note(9))


def test_a_failing_sync_of_the_folder_gives_no_cosignature(
    witness: Witness, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    calls: list[int] = []

    def second_fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 1:
            raise OSError(5, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", second_fails)
        with pytest.raises(StorageError):
            witness.add_checkpoint(log.request(0, 7), NOW)
    # what is held may be either state; a fork of it is refused in both
    assert witness.add_checkpoint(log.request(0, 7), NOW).status in {200, 409}
    assert witness.add_checkpoint(FakeLog("fork").request(7, 9), NOW).status == 422


def test_a_clock_that_falls_back_a_little_repeats_the_last_time(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    assert cosigned(witness.add_checkpoint(log.request(7, 8), NOW - 200), witness, log.note(8)) == NOW


def test_a_clock_that_falls_back_far_stops_the_witness(witness: Witness, log: FakeLog) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    with pytest.raises(WitnessClockError):
        witness.add_checkpoint(log.request(7, 8), NOW - 3600)
    assert witness.add_checkpoint(log.request(0, 8), NOW).body == b"7\n"


def test_a_time_of_zero_is_never_given(witness: Witness, log: FakeLog) -> None:
    assert cosigned(witness.add_checkpoint(log.request(0, 7), 0), witness, log.note(7)) == 1


SUBMIT = """
import sys
from pathlib import Path
from chopmark_ledger.witness_folder import open_witness
witness = open_witness(Path(sys.argv[1]), sys.argv[2].encode())
for path in sys.argv[3:]:
    print(witness.add_checkpoint(Path(path).read_bytes(), 1795339800).status)
"""


def test_of_two_processes_that_submit_two_histories_only_one_is_cosigned(
    witness: Witness, log: FakeLog, folder: Path, tmp_path: Path
) -> None:
    witness.add_checkpoint(log.request(0, 5), NOW)
    processes = []
    for history in ("main", "fork"):
        path = tmp_path / history
        path.write_bytes(FakeLog(history).request(5, 12))
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", SUBMIT, str(folder), PASSPHRASE.decode(), str(path)],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    answers = sorted(process.communicate()[0].strip() for process in processes)
    assert answers == ["200", "409"]


def test_what_is_held_is_read_judged_and_replaced_under_one_lock(
    witness: Witness, log: FakeLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = []

    def probing(name: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(FolderStore, name)

        def probe(*arguments: object) -> object:
            with pytest.raises(FolderLockedError):
                FolderLock(folder)
            locked.append(name)
            return real(*arguments)

        return probe

    for name in ("load", "save", "keep_evidence"):
        monkeypatch.setattr(FolderStore, name, probing(name))
    witness.add_checkpoint(log.request(0, 7), NOW)
    witness.add_checkpoint(FakeLog("fork").request(7, 7), NOW)
    assert locked == ["load", "save", "load", "keep_evidence"]
    FolderLock(folder).release()


def test_a_witness_is_made_once(folder: Path) -> None:
    with pytest.raises(FolderError, match="already"):
        init_witness(folder, NAME, PASSPHRASE, cost=CHEAP)


def test_another_passphrase_does_not_open_it(folder: Path) -> None:
    with pytest.raises(KeyMaterialError):
        open_witness(folder, b"another")


def test_a_folder_without_a_witness_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no witness"):
        add_log(tmp_path, FakeLog().signer.vkey)
    with pytest.raises(FolderError, match="no witness"):
        open_witness(tmp_path, PASSPHRASE)


def test_a_bad_key_of_a_log_leaves_no_witness_behind(tmp_path: Path) -> None:
    for vkey in ("no vkey", Cosigner(NAME, Ed25519Signer.generate()).vkey):
        with pytest.raises(FormatError):
            init_witness(tmp_path / "new", NAME, PASSPHRASE, logs=[vkey], cost=CHEAP)
    assert not (tmp_path / "new").exists()


def test_the_key_of_a_witness_that_lost_its_configuration_is_not_replaced(
    witness: Witness, log: FakeLog, folder: Path
) -> None:
    witness.add_checkpoint(log.request(0, 7), NOW)
    key = (folder / "witness.key").read_bytes()
    (folder / "witness.json").unlink()
    with pytest.raises(FolderError, match="what a witness cosigned"):
        init_witness(folder, NAME, PASSPHRASE, cost=CHEAP)
    assert (folder / "witness.key").read_bytes() == key


def test_a_cosigner_s_key_is_not_taken_for_a_log(folder: Path) -> None:
    with pytest.raises(FormatError):
        add_log(folder, witness_vkey(folder))


def test_the_forks_of_one_log_do_not_hide_those_of_another(
    witness: Witness, log: FakeLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chopmark_ledger.witness_folder._MAX_CASES", 1)
    store = FolderStore(folder, witness.verifier)
    for origin in ("a.example/log", "b.example/log"):
        for size in (5, 6):
            store.keep_evidence(Evidence(Contradiction.FORK, origin, size, bytes(32), b"held", b"submitted", NOW))
    cases = [json.loads(path.read_bytes()) for path in (folder / "evidence").glob("*/case.json")]
    assert sorted(case["origin"] for case in cases) == ["a.example/log", "b.example/log"]


def test_evidence_of_one_kind_is_bounded(
    witness: Witness, log: FakeLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chopmark_ledger.witness_folder._MAX_CASES", 2)
    witness.add_checkpoint(log.request(0, 7), NOW)
    for size in (8, 9, 10, 11):
        witness.add_checkpoint(FakeLog("fork").request(7, size), NOW)
    witness.add_checkpoint(FakeLog("fork").request(7, 7), NOW)
    kinds = sorted(case.name.split("-")[0] for case in (folder / "evidence").iterdir())
    assert kinds == [Contradiction.FORK.value, *[Contradiction.UNPROVEN.value] * 2]
