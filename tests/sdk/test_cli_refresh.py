"""`chopmark trust refresh`: what it prints, with which code it ends, and that a second one fetches next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chopmark import TrustStore
from chopmark.cli.trust import trust
from chopmark.errors import ChopmarkError, FormatError, MissingExtraError, StorageError
from typer.testing import CliRunner

from tests.sdk.published_server import PublishedServer, publish_all, serving

if TYPE_CHECKING:
    from tests.sdk.conftest import World

NOW = 1_795_339_800


@dataclass
class Scene:
    folder: Path
    home: PublishedServer
    peer: PublishedServer

    def run(self, *arguments: str, sources: bool = True) -> tuple[int, str]:
        """The exit code and the output."""
        named = ["--source", f"CN-GD={self.home.url}", "--source", f"CN-SH={self.peer.url}"] if sources else []
        run = CliRunner().invoke(trust, ["refresh", "--trust", str(self.folder), *named, *arguments])
        if isinstance(run.exception, ChopmarkError):
            raise run.exception
        return run.exit_code, run.output

    def json(self, *arguments: str) -> tuple[int, Any]:
        code, output = self.run("--json", *arguments)
        return code, json.loads(output)


@pytest.fixture
def scene(tmp_path: Path, world: World, quick_disk: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr("time.time", lambda: float(NOW))
    store = TrustStore.create(tmp_path / "trust", roots=world.home.pin)
    store.put_root("CN-GD", world.home.epoch_notes[0], now=NOW)
    with serving(*publish_all(world)) as (home, peer):
        yield Scene(tmp_path / "trust", home, peer)


def test_everything_is_taken_and_told_by_region_with_its_age(scene: Scene) -> None:
    code, output = scene.run()
    assert code == 0
    assert f"CN-GD, {scene.home.url.rstrip('/')}: 4 files taken, 0 unchanged, 0 refused or absent" in output
    assert "  + landmarks/CN-SH/1.landmarks" in output
    assert "  bundle 1 is 1 h old, the oldest status list 50 min" in output
    assert TrustStore.open(scene.folder, roots=TrustStore.read_pin(scene.folder)).regions == ("CN-GD", "CN-SH")


def test_a_second_refresh_fetches_nothing_again(scene: Scene) -> None:
    scene.run()
    scene.home.answers.clear()
    scene.peer.answers.clear()
    code, output = scene.run()
    assert code == 0
    assert "0 files taken, 4 unchanged, 0 refused or absent" in output
    assert {status for _, status in scene.home.answers + scene.peer.answers} == {304, 404}


def test_what_is_refused_is_told_and_ends_with_1_and_the_store_goes_on(scene: Scene) -> None:
    scene.run()
    scene.home.files["status/1"] = b"x"
    scene.peer.close()
    code, output = scene.run()
    assert code == 1
    assert "3 unchanged, 1 refused or absent\n" in output
    assert "1 refused or absent; away\n" in output
    assert "  ! status/1: " in output
    assert "no connection: Connection refused" in output
    assert TrustStore.open(scene.folder, roots=TrustStore.read_pin(scene.folder)).problems == ()


def test_a_source_that_shows_nothing_new_for_days_is_not_well(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.run()
    monkeypatch.setattr("time.time", lambda: float(NOW + 8 * 86_400))
    code, output = scene.run()
    assert code == 1
    assert "4 unchanged, 0 refused or absent" in output
    assert "! the bundle of CN-GD is of 2026-11-22T08:30:00Z: stale" in output


def test_json_tells_the_same_to_programs(scene: Scene) -> None:
    code, told = scene.json()
    assert code == 0
    home, peer = told["regions"]
    assert (told["home"], told["at"], told["report"]) == ("CN-GD", "2026-11-22T09:30:00Z", [])
    assert (home["region"], home["source"]) == ("CN-GD", scene.home.url.rstrip("/"))
    assert peer["taken"] == ["bundle.note", "status/1"]
    assert peer["bundle"] == {"seq": 1, "issued": "2026-11-22T08:30:00Z", "age": 3600}
    assert peer["landmarks"] == [{"origin": "cn-sh.example/log/2026", "records": 2}]
    assert peer["status_lists"][0]["age"] == 3000
    scene.peer.close()
    code, told = scene.json()
    assert (code, told["regions"][1]["away"], len(told["regions"][1]["problems"])) == (1, True, 1)


def test_a_store_that_holds_nothing_and_gets_nothing_says_so(scene: Scene) -> None:
    scene.home.close()
    code, told = scene.json()
    assert code == 1
    assert told["regions"][0]["bundle"] is None


def test_sources_may_stand_in_the_environment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPMARK_SOURCES", f"CN-GD={scene.home.url} CN-SH={scene.peer.url}")
    assert scene.run(sources=False)[0] == 0


@pytest.mark.parametrize("source", ["", "CN-GD", "cn-gd=http://x", "CN-GD=x", "CN-GD=file:///x", "=http://x"])
def test_a_source_that_is_none_cannot_be_tried(scene: Scene, source: str) -> None:
    with pytest.raises(FormatError, match="REGION=URL"):
        scene.run("--source", source)


def test_without_a_source_of_the_own_region_nothing_is_tried(scene: Scene) -> None:
    with pytest.raises(FormatError, match=r"no source for your own region CN-GD.*--source CN-GD=URL"):
        scene.run("--source", f"CN-SH={scene.peer.url}", sources=False)
    assert scene.peer.answers == []


def test_without_the_extra_it_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chopmark.client.region_sources", None)
    with pytest.raises(MissingExtraError, match=r"chopmark\[client\]"):
        scene.run()


def test_where_there_is_no_store_nothing_is_tried(scene: Scene) -> None:
    with pytest.raises(StorageError, match="no trust store"):
        scene.run("--trust", str(scene.folder / "none"))


def test_what_cannot_be_tried_ends_with_3(tmp_path: Path) -> None:
    command = "from chopmark.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", command, "trust", "refresh", "--trust", str(tmp_path), "--source", "CN-GD=http://x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (3, "")
    assert "there is no trust store" in run.stderr
