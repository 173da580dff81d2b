"""Refreshing under fire: killed at every write, several at once, read meanwhile, and sources that answer anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark import TrustStore
from chopmark.client.entity_tags import EntityTags
from chopmark.client.refresher import Refresher
from chopmark.client.region_sources import RegionSources
from chopmark.errors import StorageError, UnreachableError
from chopmark.refresh import Source, Unchanged, refresh_all
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger.raw_server import Server, answering
from tests.sdk.published_server import Published, publish_all, publish_landmarks, serving
from tests.sdk.test_refresh_all import versions

if TYPE_CHECKING:
    from tests.sdk.conftest import World

NOW = 1_795_339_800
DEADLINE = 60.0

KILLED_AT_EACH_SYNC = '''
"""Refreshes copies of a store, each in a child that is killed at its n-th fsync, until one comes to its end."""

import itertools, os, shutil, signal, sys
from pathlib import Path

from chopmark import TrustStore
from chopmark.client.refresher import Refresher

folder, home, peer, now = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
pin = TrustStore.read_pin(folder)


def child(copy, kill_at):
    genuine, calls = os.fsync, itertools.count(1)

    def fsync(descriptor):
        if next(calls) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        genuine(descriptor)

    os.fsync = fsync
    Refresher(TrustStore.open(copy, roots=pin), {"CN-GD": home, "CN-SH": peer}, clock=lambda: now).refresh()


for kill_at in itertools.count(1):
    copy = shutil.copytree(folder, folder.with_name(f"copy{kill_at}"))
    pid = os.fork()
    if not pid:
        try:
            child(copy, kill_at)
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(copy, code, flush=True)
    if code != -signal.SIGKILL:
        break
'''


def open_store(folder: Path, world: World) -> TrustStore:
    return TrustStore.open(folder, roots=world.home.pin)


def publish_newer(world: World, home: Published, peer: Published) -> None:
    """Everything again, of the next version."""
    for region, files in ((world.home, home), (world.peer, peer)):
        bundle = world.home_bundle(seq=2) if region is world.home else region.bundle(seq=2)
        files["bundle.note"], files["bundle.tlog-proof"] = region.logged(bundle)
        token = region.token({5: 1}, issued_at=NOW - 1000)
        files["status/1"], files["status/1.tlog-proof"] = region.logged_list(token)
        files["root/2.note"] = b"not one"
        publish_landmarks(world, home, region, count=5)


def fill(folder: Path, world: World, home: Published, peer: Published) -> TrustStore:
    store = TrustStore.create(folder, roots=world.home.pin)
    with serving(home, peer) as (first, second):
        urls = {"CN-GD": first.url, "CN-SH": second.url}
        with closing(RegionSources(urls, tags=EntityTags())) as sources:
            assert not any(done.problems for done in refresh_all(store, sources.source_of, now=NOW).values())
    return store


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_killed_at_any_write_of_a_refresh_the_store_opens_with_the_old_or_the_new_and_goes_on(
    tmp_path: Path, world: World
) -> None:
    home, peer = publish_all(world)
    old = versions(fill(tmp_path / "trust", world, home, peer))
    publish_newer(world, home, peer)
    del home["root/2.note"], peer["root/2.note"]
    with serving(home, peer) as (first, second):
        run = subprocess.run(
            [sys.executable, "-c", KILLED_AT_EACH_SYNC, str(tmp_path / "trust"), first.url, second.url, str(NOW)],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        rounds = [line.rsplit(" ", 1) for line in run.stdout.splitlines()]
        assert [code for _, code in rounds] == ["-9"] * (len(rounds) - 1) + ["0"], run.stderr
        new = versions(open_store(Path(rounds[-1][0]), world))
        assert len(rounds) > 24
        for copy, _ in rounds:
            store = open_store(Path(copy), world)
            assert store.problems == ()
            found = versions(store)
            assert found.keys() == old.keys()
            assert all(found[name] in {old[name], new[name]} for name in found)
            refresher = Refresher(store, {"CN-GD": first.url, "CN-SH": second.url}, clock=lambda: NOW)
            assert not any(region.problems for region in refresher.refresh().regions)
            assert versions(open_store(Path(copy), world)) == new
    assert new["bundle CN-GD"] == 2


def test_two_refreshers_on_one_folder_both_come_to_the_newest(tmp_path: Path, world: World, quick_disk: None) -> None:
    home, peer = publish_all(world)
    TrustStore.create(tmp_path / "trust", roots=world.home.pin)
    with serving(home, peer) as (first, second):
        urls = {"CN-GD": first.url, "CN-SH": second.url}
        refreshers = [Refresher(open_store(tmp_path / "trust", world), urls, clock=lambda: NOW) for _ in range(2)]
        together = threading.Barrier(2)
        problems: list[str] = []

        def work(refresher: Refresher) -> None:
            for _ in range(3):
                together.wait(DEADLINE)
                for region in refresher.refresh().regions:
                    problems.extend(region.problems)

        for renew in (False, True):
            if renew:
                publish_newer(world, home, peer)
                del home["root/2.note"], peer["root/2.note"]
            threads = [threading.Thread(target=work, args=[refresher]) for refresher in refreshers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(DEADLINE)
    assert problems == []
    held = versions(open_store(tmp_path / "trust", world))
    assert [versions(refresher.store) for refresher in refreshers] == [held, held]
    assert (held["bundle CN-SH"], held["landmarks cn-sh.example/log/2026"]) == (2, 5)


def test_readers_never_see_a_store_change_under_them(tmp_path: Path, world: World, quick_disk: None) -> None:
    home, peer = publish_all(world)
    TrustStore.create(tmp_path / "trust", roots=world.home.pin)
    with serving(home, peer) as (first, second):
        urls = {"CN-GD": first.url, "CN-SH": second.url}
        refresher = Refresher(open_store(tmp_path / "trust", world), urls, clock=lambda: NOW)
        over = threading.Event()
        faults: list[str] = []
        seen: dict[int, dict[str, int]] = {}

        def read() -> None:
            while not over.is_set():
                store = refresher.store
                held = versions(store)
                if seen.setdefault(store.changes, held) != held or versions(store) != held:
                    faults.append(f"changed: {held}")

        reader = threading.Thread(target=read)
        reader.start()
        for count in range(3, 8):
            refresher.refresh()
            publish_landmarks(world, home, world.peer, count=count)
        over.set()
        reader.join(DEADLINE)
    assert faults == []


# Whatever a source answers


Answer = bytes | Unchanged | StorageError | None


class AnyAnswers:
    """A source that answers what it was told, by path; the rest it has."""

    def __init__(self, files: Published, answers: dict[str, Answer]) -> None:
        self._files = files
        self._answers = answers

    def fetch(
        self, path: str, *, max_size: int, held: bytes | None = None, grows: bool = False
    ) -> bytes | Unchanged | None:
        answer = self._answers.get(path, self._files.get(path))
        if isinstance(answer, StorageError):
            raise answer
        return answer


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path, Published, Published]]:
    """A filled store, and all newer files that regions publish."""
    from tests.sdk.conftest import World

    world = World()
    folder = tmp_path_factory.mktemp("gallery")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.fsync", lambda _: None)
        home, peer = publish_all(world)
        fill(folder / "trust", world, home, peer)
        publish_newer(world, home, peer)
        yield world, folder, home, peer


PATHS = [
    "root/1.note",
    "root/2.note",
    "bundle.note",
    "bundle.tlog-proof",
    "status/1",
    "status/1.tlog-proof",
    *(f"landmarks/{region}/1.{name}" for region in ("CN-GD", "CN-SH") for name in ("landmarks", "tlog-proof")),
]


@st.composite
def any_answers(draw: st.DrawFn, files: Published, others: Published) -> dict[str, Answer]:
    """Some files cut, changed, swapped, made up, or not answered at all."""
    answers: dict[str, Answer] = {}
    for path in draw(st.sets(st.sampled_from(PATHS), min_size=1)):
        data = files.get(path, b"")
        match draw(st.sampled_from(["cut", "changed", "longer", "swapped", "made up", "none", "unchanged", "fault"])):
            case "cut":
                answers[path] = data[: draw(st.integers(0, len(data)))]
            case "changed":
                place = draw(st.integers(0, len(data)))
                answers[path] = data[:place] + draw(st.binary(min_size=1, max_size=3)) + data[place + 1 :]
            case "longer":
                answers[path] = data + draw(st.binary(min_size=1, max_size=130))
            case "swapped":
                answers[path] = draw(st.sampled_from([*files.values(), *others.values()]))
            case "made up":
                answers[path] = draw(st.binary(max_size=200))
            case "none":
                answers[path] = None
            case "unchanged":
                answers[path] = Unchanged.UNCHANGED
            case _:
                answers[path] = draw(st.sampled_from([StorageError("a fault"), UnreachableError("away")]))
    return answers


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_sources_answer_the_store_loses_nothing_and_opens_again(
    gallery: tuple[World, Path, Published, Published], data: st.DataObject
) -> None:
    world, folder, home, peer = gallery
    shutil.rmtree(folder / "copy", ignore_errors=True)
    store = open_store(shutil.copytree(folder / "trust", folder / "copy"), world)
    before = versions(store)
    bad = {
        "CN-GD": AnyAnswers(home, data.draw(any_answers(home, peer))),
        "CN-SH": AnyAnswers(peer, data.draw(any_answers(peer, home))),
    }

    def source_of(region: str, _: str | None) -> Source:
        return bad[region]

    refresh_all(store, source_of, now=NOW)
    held = versions(store)
    assert all(held.get(name, -1) >= version for name, version in before.items())
    again = open_store(folder / "copy", world)
    assert versions(again) == held
    assert again.problems == store.problems == ()
    del home["root/2.note"]
    try:
        good = {"CN-GD": AnyAnswers(home, {}), "CN-SH": AnyAnswers(peer, {})}
        done = refresh_all(again, lambda region, _: good[region], now=NOW)
        assert [problem for report in done.values() for problem in report.problems if "root" not in problem] == []
    finally:
        home["root/2.note"] = b"not one"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.one_of(
        st.binary(max_size=100),
        st.builds(
            lambda status, headers: f"HTTP/1.1 {status} X\r\n{headers}\r\n".encode("latin-1"),
            st.sampled_from([200, 204, 206, 301, 304, 404, 416, 500, 503]),
            st.sampled_from(
                [
                    "Content-Length: 0\r\n",
                    "Content-Length: -1\r\n",
                    "Content-Length: 99999999999\r\n",
                    "Content-Range: bytes 80-143/144\r\nContent-Length: 64\r\n",
                    "Content-Encoding: gzip\r\n",
                    "Transfer-Encoding: chunked\r\n",
                    'ETag: "x"\r\nX: ' + "y" * 70_000 + "\r\n",
                ]
            ),
        ),
    ),
    body=st.binary(max_size=200),
)
def test_whatever_bytes_a_server_sends_the_store_loses_nothing_and_opens_again(
    gallery: tuple[World, Path, Published, Published], head: bytes, body: bytes
) -> None:
    world, folder, _, _ = gallery
    shutil.rmtree(folder / "copy", ignore_errors=True)
    store = open_store(shutil.copytree(folder / "trust", folder / "copy"), world)
    before = versions(store)
    server = Server(answering(head + body, again=False))
    with closing(server):
        refresher = Refresher(store, {"CN-GD": server.url, "CN-SH": server.url}, clock=lambda: NOW)
        status = refresher.refresh()
    assert status.problems == ()
    assert versions(refresher.store) == before
    assert versions(open_store(folder / "copy", world)) == before
