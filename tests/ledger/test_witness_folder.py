"""A witness in its folder: made once, opened with its keys, its logs taken up while it runs."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from chopmark.cosignature import Cosigner
from chopmark.errors import FormatError, KeyMaterialError, StorageError, UnsupportedError
from chopmark.key_file import write_key_file
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import Note, NoteSigner, NoteVerifier
from chopmark_ledger.errors import FolderError
from chopmark_ledger.witness.witness_folder import (
    add_log,
    init_witness,
    open_witness,
    read_configuration,
    witness_vkeys,
)

from tests.ledger.sample_witness import CHEAP, NAME, NOW, PASSPHRASE, FakeLog, cosigned


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def folder(tmp_path: Path, log: FakeLog) -> Path:
    folder = tmp_path / "witness"
    init_witness(folder, NAME, PASSPHRASE, logs=log.vkeys, cost=CHEAP)
    return folder


def change(folder: Path, **members: object) -> None:
    path = folder / "witness.json"
    document = json.loads(path.read_bytes()) | members
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))


def test_a_new_witness_has_a_key_of_either_kind_encrypted(tmp_path: Path) -> None:
    vkeys = init_witness(tmp_path / "new", NAME, PASSPHRASE, cost=CHEAP)
    assert [NoteVerifier.from_vkey(vkey).type for vkey in vkeys] == [0x04, 0x06]
    assert vkeys == witness_vkeys(tmp_path / "new") == open_witness(tmp_path / "new", PASSPHRASE).witness.vkeys
    for file in ("witness.key", "witness-ml-dsa-44.key"):
        assert (tmp_path / "new" / file).stat().st_mode & 0o777 == 0o600
        assert json.loads((tmp_path / "new" / file).read_bytes())["cipher"]


def test_a_witness_made_with_an_ed25519_key_only_still_opens(tmp_path: Path, log: FakeLog) -> None:
    signer = Ed25519Signer.generate()
    write_key_file(tmp_path / "witness.key", signer, PASSPHRASE, cost=CHEAP)
    document = {"format": "chopmark/witness/v1", "name": NAME, "logs": log.vkeys}
    (tmp_path / "witness.json").write_text(json.dumps(document))
    vkey = Cosigner(NAME, signer).vkey
    assert witness_vkeys(tmp_path) == (vkey,)
    opened = open_witness(tmp_path, PASSPHRASE)
    cosigned(opened.witness.add_checkpoint(log.request(0, 7), NOW), [vkey], log.note(7))
    other = FakeLog(origin="cn-bj.example/log/2026")
    add_log(tmp_path, other.vkey)
    assert json.loads((tmp_path / "witness.json").read_bytes()) == document | {"logs": [log.vkey, other.vkey]}
    assert opened.witness.add_checkpoint(other.request(0, 7), NOW).status == 200


def test_a_state_with_the_line_of_one_key_only_is_still_the_state(tmp_path: Path, log: FakeLog) -> None:
    folder = tmp_path / "witness"
    init_witness(folder, NAME, PASSPHRASE, logs=log.vkeys, cost=CHEAP)
    opened = open_witness(folder, PASSPHRASE)
    opened.witness.add_checkpoint(log.request(0, 7), NOW)
    (path,) = (folder / "logs").glob("*/checkpoint")
    note = Note.parse(path.read_bytes())
    path.write_bytes(Note(note.text, note.signatures[:2]).encode())
    answer = open_witness(folder, PASSPHRASE).witness.add_checkpoint(log.request(7, 9), NOW)
    cosigned(answer, opened.witness.vkeys, log.note(9))


def test_a_key_file_that_is_gone_is_not_passed_over(folder: Path) -> None:
    (folder / "witness-ml-dsa-44.key").unlink()
    with pytest.raises(StorageError, match="witness-ml-dsa-44"):
        open_witness(folder, PASSPHRASE)
    with pytest.raises(StorageError):
        witness_vkeys(folder)


def test_a_key_file_of_another_witness_is_not_used(folder: Path, tmp_path: Path) -> None:
    init_witness(tmp_path / "other", NAME, PASSPHRASE, cost=CHEAP)
    (folder / "witness.key").write_bytes((tmp_path / "other" / "witness.key").read_bytes())
    with pytest.raises(KeyMaterialError, match="not the key that witness"):
        open_witness(folder, PASSPHRASE)


def test_a_witness_is_made_once(folder: Path) -> None:
    with pytest.raises(FolderError, match="already"):
        init_witness(folder, NAME, PASSPHRASE, cost=CHEAP)


def test_an_init_that_ended_early_is_begun_again(tmp_path: Path) -> None:
    write_key_file(tmp_path / "witness.key", Ed25519Signer.generate(), PASSPHRASE, cost=CHEAP)
    init_witness(tmp_path, NAME, PASSPHRASE, cost=CHEAP)
    open_witness(tmp_path, PASSPHRASE)


def test_another_passphrase_does_not_open_it(folder: Path) -> None:
    with pytest.raises(KeyMaterialError):
        open_witness(folder, b"another")


def test_a_folder_without_a_witness_is_named(tmp_path: Path) -> None:
    for call in (lambda: add_log(tmp_path, FakeLog().vkey), lambda: open_witness(tmp_path, PASSPHRASE)):
        with pytest.raises(FolderError, match="no witness"):
            call()


@pytest.mark.parametrize("name", ["", "a b", "a+b", "x" * 256])
def test_a_name_that_a_cosignature_cannot_bear_makes_no_witness(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError):
        init_witness(tmp_path / "new", name, PASSPHRASE, cost=CHEAP)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "vkey",
    [
        "no vkey",
        Cosigner(NAME, Ed25519Signer.generate()).vkey,
        NoteSigner("cn-bj.example/key", MlDsa44Signer.generate()).vkey,
        NoteSigner("x" * 256, Ed25519Signer.generate()).vkey,
    ],
    ids=["no vkey", "a witness's", "for documents", "a name too long"],
)
def test_what_is_no_key_of_a_log_leaves_no_witness_behind(tmp_path: Path, folder: Path, vkey: str) -> None:
    with pytest.raises(FormatError):
        init_witness(tmp_path / "new", NAME, PASSPHRASE, logs=[vkey], cost=CHEAP)
    assert not (tmp_path / "new").exists()
    before = (folder / "witness.json").read_bytes()
    with pytest.raises(FormatError):
        add_log(folder, vkey)
    assert (folder / "witness.json").read_bytes() == before


def test_a_log_may_be_added_by_each_of_its_keys_and_twice(folder: Path) -> None:
    log = FakeLog(origin="cn-bj.example/log/2026", keys="ed pq")
    for vkey in [*log.vkeys, *log.vkeys]:
        add_log(folder, vkey)
    assert list(read_configuration(folder).logs[1:]) == log.vkeys
    assert open_witness(folder, PASSPHRASE).witness.add_checkpoint(log.request(0, 7), NOW).status == 200


def test_the_keys_of_one_log_are_bounded(folder: Path) -> None:
    for number in range(15):
        add_log(folder, FakeLog(seed=bytes([100 + number]) * 32).vkey)
    with pytest.raises(FormatError, match="more than 16"):
        add_log(folder, FakeLog(seed=bytes([99]) * 32).vkey)


def test_a_log_that_is_added_to_a_witness_that_runs_is_taken_up(folder: Path) -> None:
    opened = open_witness(folder, PASSPHRASE)
    log = FakeLog(origin="cn-bj.example/log/2026")
    assert opened.witness.add_checkpoint(log.request(0, 7), NOW).status == 404
    add_log(folder, log.vkey)
    assert opened.witness.add_checkpoint(log.request(0, 7), NOW).status == 200
    assert len(opened.logs) == 2


def test_a_witness_that_runs_goes_on_when_its_configuration_can_no_longer_be_read(folder: Path, log: FakeLog) -> None:
    opened = open_witness(folder, PASSPHRASE)
    assert opened.logs.problem is None
    (folder / "witness.json").write_text("rubbish")
    assert opened.witness.add_checkpoint(log.request(0, 7), NOW).status == 200
    assert "not JSON" in str(opened.logs.problem)
    (folder / "witness.json").unlink()
    assert opened.witness.add_checkpoint(log.request(7, 9), NOW).status == 200
    assert "no witness" in str(opened.logs.problem)
    with pytest.raises(FolderError):
        open_witness(folder, PASSPHRASE)


def test_a_configuration_that_could_not_be_read_once_is_read_again_though_it_stays_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = FakeLog(origin="us-il.example/log/2026")
    opened = open_witness(folder, PASSPHRASE)
    add_log(folder, late.vkey)
    real = Path.open

    def fail(path: Path, *arguments: Any, **named: Any) -> object:
        if path.name == "witness.json":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        assert late.origin not in opened.logs
        assert "Too many open files" in str(opened.logs.problem)
    assert late.origin in opened.logs
    assert opened.logs.problem is None


def test_a_witness_that_lost_its_configuration_is_not_made_anew(folder: Path, log: FakeLog) -> None:
    open_witness(folder, PASSPHRASE).witness.add_checkpoint(log.request(0, 7), NOW)
    keys = [(folder / name).read_bytes() for name in ("witness.key", "witness-ml-dsa-44.key")]
    (folder / "witness.json").unlink()
    with pytest.raises(FolderError, match="what a witness cosigned"):
        init_witness(folder, NAME, PASSPHRASE, cost=CHEAP)
    assert [(folder / name).read_bytes() for name in ("witness.key", "witness-ml-dsa-44.key")] == keys


@pytest.mark.parametrize(
    "members",
    [
        {"format": "chopmark/witness/v3"},
        {"format": "chopmark/witness/v1"},
        {"vkeys": None},
        {"vkeys": []},
        {"vkeys": "x"},
        {"logs": [1]},
        {"logs": ["no vkey"]},
        {"logs": None},
        {"name": 1},
        {"name": "cn-bj.example/witness"},
        {"more": 1},
    ],
)
def test_a_configuration_that_is_none_is_refused(folder: Path, members: dict[str, object]) -> None:
    change(folder, **members)
    with pytest.raises((FormatError, KeyMaterialError, UnsupportedError), match="witness"):
        open_witness(folder, PASSPHRASE)
