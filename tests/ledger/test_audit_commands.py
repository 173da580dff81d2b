"""The commands `chopmark log fsck` and `chopmark log prove`, as they are typed."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark import cbor
from chopmark.errors import ChopmarkError, FormatError, QuorumError, StorageError
from chopmark.landmark import LandmarkProof
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark_ledger.commands import audit_commands, log_commands
from chopmark_ledger.errors import NotPublishedError, NotThisLogError
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.ledger.sample_log import OTHER, opaque, put, serving, write_log

if TYPE_CHECKING:
    from tests.ledger.conftest import World


def run(*arguments: object) -> Result:
    return CliRunner().invoke(log_commands.log, [str(each) for each in arguments])


@pytest.fixture
def log(world: World) -> World:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.landmark_now()
    put(world.folder / "policy", world.policy.encode())
    return world


def test_fsck_tells_what_it_checked(log: World) -> None:
    result = run("fsck", log.public, "--vkey", log.vkey, "--policy", log.folder / "policy")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:2] == ["origin cn-gd.example/log/2026", "size 301"]
    assert re.fullmatch("signed by cn-gd.example/log/2026[+][0-9a-f]{8}, Ed25519", lines[3])
    assert re.fullmatch("witnessed 2026-11-22T[0-9:]{8}Z, [0-9] cosignatures", lines[4])
    assert lines[5:] == ["entries: read, a log of ours", "landmarks: 2", "sound"]


def test_the_data_folder_of_a_log_is_not_taken_for_its_public_folder(log: World) -> None:
    for command in (["fsck"], ["prove"]):
        result = run(*command, log.log_folder, *(["0"] if command == ["prove"] else []), "--vkey", log.vkey)
        assert isinstance(result.exception, StorageError)
        assert str(log.public) in str(result.exception)


def test_fsck_works_over_http_and_tells_what_it_could_not_look_at(tmp_path: Path) -> None:
    with serving(write_log(tmp_path, opaque(600))) as server:
        result = run("fsck", server.url, "--vkey", OTHER.vkey)
    assert result.exit_code == 0, result.output
    assert "entries: not read, opaque\n" in result.stdout
    assert result.stdout.endswith("sound\n")
    assert "cannot be listed" in result.stderr


def test_fsck_takes_several_keys_and_each_must_have_signed(log: World) -> None:
    result = run("fsck", log.public, "--vkey", log.vkey, "--vkey", OTHER.vkey, "--origin", "cn-gd.example/log/2026")
    assert result.exit_code == 1
    assert "damaged: checkpoint: key rome.example/tevere+" in result.stdout


def test_fsck_names_a_missing_quorum_and_checks_the_rest(log: World) -> None:
    lines = (log.public / "checkpoint").read_text().splitlines(keepends=True)
    (log.public / "checkpoint").write_text("".join(lines[:5]))
    (log.public / "tile/entries/000").unlink()
    result = run("fsck", log.public, "--policy", log.folder / "policy")
    assert result.exit_code == 1
    assert "0 of the " in result.stdout
    assert "damaged: tile/entries/000: missing\n" in result.stdout
    assert result.stdout.endswith("2 damaged\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["fsck", "FOLDER"], FormatError),
        (["fsck", "none", "--vkey", OTHER.vkey], StorageError),
        (["fsck", "http://user:secret@cn-gd.example/", "--vkey", OTHER.vkey], FormatError),
        (["fsck", "FOLDER", "--vkey", "rubbish"], FormatError),
        (["fsck", "FOLDER", "--vkey", OTHER.vkey, "--policy", "none"], StorageError),
        (["prove", "FOLDER", "0"], FormatError),
        (["prove", "FOLDER", "3", "--vkey", OTHER.vkey], NotPublishedError),
        (["prove", "FOLDER", "0", "--vkey", OTHER.vkey, "--landmark"], NotPublishedError),
    ],
)
def test_what_cannot_be_tried_is_an_error_of_ours(tmp_path: Path, arguments: list[str], error: type[Exception]) -> None:
    write_log(tmp_path, opaque(3))
    result = run(*(tmp_path if each == "FOLDER" else each for each in arguments))
    assert isinstance(result.exception, error)
    assert isinstance(result.exception, ChopmarkError)
    assert result.stdout == ""


@pytest.mark.parametrize("is_served", [True, False])
def test_fsck_of_a_place_without_a_log_says_that_none_is_there(tmp_path: Path, is_served: bool) -> None:
    with serving(tmp_path) as server:
        result = run("fsck", server.url if is_served else tmp_path, "--vkey", OTHER.vkey)
    assert isinstance(result.exception, NotThisLogError)
    assert "there is no log here" in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize("is_served", [True, False])
def test_fsck_calls_a_log_damaged_that_lost_its_checkpoint(tmp_path: Path, is_served: bool) -> None:
    write_log(tmp_path, opaque(300))
    (tmp_path / "checkpoint").unlink()
    with serving(tmp_path) as server:
        result = run("fsck", server.url if is_served else tmp_path, "--vkey", OTHER.vkey)
    assert result.exit_code == 1
    assert "damaged: checkpoint: missing\n" in result.stdout


@pytest.mark.parametrize("command", [["fsck"], ["prove"]])
def test_another_log_than_that_of_the_policy_is_named_and_not_called_damaged(
    log: World, tmp_path: Path, command: list[str]
) -> None:
    other = write_log(tmp_path / "other", opaque(3))
    index = ["0"] if command == ["prove"] else []
    result = run(*command, other, *index, "--policy", log.folder / "policy")
    assert isinstance(result.exception, NotThisLogError)
    assert "this is the log rome.example/tevere, not cn-gd.example/log/2026" in str(result.exception)
    assert result.stdout == ""


def test_prove_prints_the_proof_alone_and_tells_beside_it_which_entry_it_is(log: World) -> None:
    result = run("prove", log.public, 7, "--policy", log.folder / "policy")
    assert result.exit_code == 0, result.output
    proof = TlogProof.parse(result.stdout)
    assert proof.index == 7
    assert proof.checkpoint_note == (log.public / "checkpoint").read_bytes()
    assert result.stderr.startswith("entry 7: credential of CN-GD/11440000MB2D0P8Q3X, digest ")
    assert "size 301\n" in result.stderr
    assert "witnessed " in result.stderr


def test_prove_prints_a_landmark_proof_as_hex(log: World) -> None:
    result = run("prove", log.public, 7, "--vkey", log.vkey, "--landmark")
    assert result.exit_code == 0, result.output
    proof = LandmarkProof.from_value(cbor.decode(bytes.fromhex(result.stdout.strip())))
    assert proof.index == 7
    assert f"landmark [{proof.start}, {proof.end}) " in result.stderr


def test_prove_works_on_logs_of_others_over_http(tmp_path: Path) -> None:
    with serving(write_log(tmp_path, opaque(600)), compressed=True) as server:
        result = run("prove", server.url, 599, "--vkey", OTHER.vkey)
    assert result.exit_code == 0, result.output
    assert TlogProof.parse(result.stdout).index == 599
    assert result.stderr.startswith("entry 599: 39 bytes that are no entry of ours, SHA-256 ")


def test_prove_prints_nothing_where_the_quorum_is_missing(log: World) -> None:
    policy = TlogPolicy.parse(log.policy.replace("group peers 2", "group peers 3"))
    lines = (log.public / "checkpoint").read_text().splitlines(keepends=True)
    (log.public / "checkpoint").write_text("".join(line for line in lines if "us-ny.example" not in line))
    put(log.folder / "policy", policy.encode())
    result = run("prove", log.public, 7, "--policy", log.folder / "policy")
    assert isinstance(result.exception, QuorumError)
    assert result.stdout == ""


def test_who_watches_sees_how_far_it_is_and_how_fast() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100)
    with audit_commands._progress(console) as progress:
        progress(4096, 100_000)
        progress(100_000, 100_000)
    assert "entries" in output.getvalue()
    assert "100000/100000" in output.getvalue()
    assert "/s" in output.getvalue()
