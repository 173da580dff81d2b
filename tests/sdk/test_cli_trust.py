"""`chopmark trust`: a store made and brought up to date from folders, some of them made by an attacker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark import TrustStore
from chopmark.cli.trust import trust
from typer.testing import CliRunner

if TYPE_CHECKING:
    from tests.sdk.conftest import TestRegion, World

NOW = 1_795_339_800


@pytest.fixture
def folder(tmp_path: Path, world: World, quick_disk: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the regions publish in `gd` and `sh`, and a store in `trust` that has seen nothing of it yet."""
    monkeypatch.setattr("time.time", lambda: float(NOW))
    publish(tmp_path / "gd", world.home, world.home.logged(world.home_bundle()))
    publish(tmp_path / "sh", world.peer, world.peer.logged(world.peer.bundle()))
    data, proof = world.vouched(world.landmarks(world.home.log, 2), world.home.log.origin)
    write(tmp_path / "gd/landmarks/CN-GD/1.landmarks", data)
    write(tmp_path / "gd/landmarks/CN-GD/1.tlog-proof", proof)
    data, proof = world.vouched(world.landmarks(world.peer.log, 2), world.peer.log.origin)
    write(tmp_path / "gd/landmarks/CN-SH/1.landmarks", data)
    write(tmp_path / "gd/landmarks/CN-SH/1.tlog-proof", proof)
    run = CliRunner().invoke(trust, ["init", "--roots", f"{tmp_path}/gd/root/1.note", "--trust", f"{tmp_path}/trust"])
    assert run.exit_code == 0, run.output
    assert "home CN-GD, root epoch 1, 2 keys" in run.output
    return tmp_path


def publish(folder: Path, region: TestRegion, bundle: tuple[bytes, bytes]) -> None:
    write(folder / "root/1.note", region.epoch_notes[0])
    write(folder / "bundle.note", bundle[0])
    write(folder / "bundle.tlog-proof", bundle[1])
    token, proof = region.logged_list(region.token())
    write(folder / "status/1", token)
    write(folder / "status/1.tlog-proof", proof)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def update(folder: Path, *sources: str) -> tuple[int, str]:
    """The exit code and the output."""
    given = [argument for source in sources for argument in ("--from", str(folder / source))]
    run = CliRunner().invoke(trust, ["update", "--trust", str(folder / "trust"), *given])
    assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
    return run.exit_code, run.output


def held(folder: Path) -> tuple[str, ...]:
    return TrustStore.open(folder / "trust", roots=TrustStore.read_pin(folder / "trust")).regions


@pytest.mark.parametrize("order", [("gd", "sh"), ("sh", "gd")])
def test_published_folders_are_taken_in_whatever_order_they_are_named(folder: Path, order: tuple[str, ...]) -> None:
    code, output = update(folder, *order)
    assert (code, held(folder)) == (0, ("CN-GD", "CN-SH"))
    assert f"CN-GD, {folder}/gd: 4 files taken, 0 refused or absent" in output.replace("\n", "")
    run = CliRunner().invoke(trust, ["show", "--trust", str(folder / "trust")])
    assert run.exit_code == 0
    assert "1 of 1" in run.output


def test_the_times_of_bundles_are_shown_whole_on_a_narrow_terminal(folder: Path) -> None:
    update(folder, "gd", "sh")
    run = CliRunner().invoke(trust, ["show", "--trust", str(folder / "trust")], env={"COLUMNS": "40"})
    assert run.stdout.count("2026-11-22T08:30:00Z") == 2


@pytest.mark.parametrize("data", [b"", b"no note", b"{}\n\n\xe2\x80\x94 a AAAA\n"])
def test_a_folder_whose_root_epoch_is_none_does_not_keep_the_others_out(folder: Path, data: bytes) -> None:
    write(folder / "sh/root/1.note", data)
    code, output = update(folder, "sh", "gd")
    assert (code, held(folder)) == (1, ("CN-GD",))
    assert "first root epoch" in output


def test_a_folder_that_poses_as_the_home_region_does_not_take_the_place_of_the_true_one(
    folder: Path, world: World
) -> None:
    write(folder / "sh/root/1.note", world.home.epoch_notes[0])
    (folder / "sh/bundle.note").unlink()
    code, _ = update(folder, "gd", "sh")
    assert (code, held(folder)) == (1, ("CN-GD",))


def test_a_folder_that_publishes_nothing_is_told(folder: Path) -> None:
    (folder / "empty/root").mkdir(parents=True)
    write(folder / "empty/root/\u0663.note", b"x")
    code, output = update(folder, "empty", "none", "gd")
    assert (code, held(folder)) == (1, ("CN-GD",))
    assert output.count("not what a region publishes") == 2


@pytest.mark.parametrize("name", ["root/1.note", "bundle.note", "status/1"])
@pytest.mark.parametrize("kind", ["pipe", "loop", "outside", "endless", "folder"])
def test_what_is_no_file_of_the_folder_is_refused_and_the_rest_taken(folder: Path, name: str, kind: str) -> None:
    path = folder / "sh" / name
    path.unlink()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path.name)
        case "outside":
            path.symlink_to(folder / "gd" / name)
        case "endless":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()
    code, _ = update(folder, "sh", "gd")
    assert code == 1
    assert held(folder)[0] == "CN-GD"
