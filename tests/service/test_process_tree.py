"""The process tree: order, restarts, what it passes on, and that it leaves no process behind, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from chopmark_service import child_process
from chopmark_service.child_process import AnswersReady, Child, ChildProcess, Listens
from chopmark_service.child_watch import ChildWatch

STAND_IN = '''
"""A stand-in for a service: a leading process and a worker, listening at a socket."""

import json, os, signal, socket, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

name, *modes = sys.argv[1:]


def note(text):
    with open("diary", "a") as diary:
        diary.write(f"{name} {text}\\n")


def stop(*_):
    note("stopped")
    sys.exit(0)


if "fails" in modes:
    sys.exit("chopmark: port 8480: somebody listens there already")
if "writes" in modes:
    os.write(2, b"x" * 200_000 + b"\\n\\xff\\n\\n  { \\n")
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in modes else stop)
wait = "signal.pause()" if "clinging" in modes else "sys.stdin.read()"
worker = subprocess.Popen([sys.executable, "-c", f"import signal, sys; {wait}"], stdin=subprocess.PIPE)
note(f"started {os.getpid()} {worker.pid}")
if "late" in modes:
    signal.pause()
port = next((mode.partition("=")[2] for mode in modes if mode.startswith("http=")), None)
if port is not None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
if os.path.exists(name):
    os.unlink(name)
server = socket.socket(socket.AF_UNIX)
server.bind(name)
server.listen()
print(json.dumps({"event": "listening", "name": name}), flush=True)
if "tree" in modes:
    print(json.dumps({"service": "log", "event": "of a tree"}), flush=True)
while "chatty" in modes:
    os.write(1, b"\\n" * 65536)
if "dies" in modes:
    server.accept()  # the look of the tree
    sys.exit(7)
while True:
    signal.pause()
'''

TREE = """
import json, sys
from pathlib import Path

from chopmark.cli.exit_codes import ExitCode
from chopmark.errors import ChopmarkError
from chopmark_service import telemetry
from chopmark_service.child_process import AnswersReady, Child, Listens
from chopmark_service.process_tree import Patience, ProcessTree


def ready(name, modes):
    port = next((mode.partition("=")[2] for mode in modes if mode.startswith("http=")), None)
    return Listens(Path(name)) if port is None else AnswersReady("127.0.0.1", int(port))


patience, children, needs = json.loads(sys.argv[1])
telemetry.configure_logging()
try:
    ProcessTree(
        [
            Child(name, (sys.executable, "stand_in.py", name, *modes), ready(name, modes), needs[name])
            for name, modes in children.items()
        ],
        patience=Patience(**patience),
        on_running=lambda: print("running"),
    ).run()
except ChopmarkError as error:
    sys.exit(f"chopmark: {error}")
"""


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Poll until it holds; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        threading.Event().wait(0.01)


@dataclass
class Running:
    """A tree that runs: its lines so far, and what its children noted."""

    process: subprocess.Popen[bytes]
    folder: Path
    written: Path

    @property
    def text(self) -> str:
        return self.written.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it wrote; a line that is no JSON fails the test."""
        return [json.loads(line) for line in self.text.splitlines(keepends=True) if line.endswith("\n")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    @property
    def diary(self) -> list[list[str]]:
        path = self.folder / "diary"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def started(self, name: str) -> list[tuple[int, int]]:
        """The leading process and the worker of each start of a child."""
        return [(int(line[2]), int(line[3])) for line in self.diary if line[:2] == [name, "started"]]

    @property
    def all_started(self) -> list[int]:
        return [int(pid) for line in self.diary if line[1] == "started" for pid in line[2:]]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


def is_there(pid: int) -> bool:
    """Whether a process exists, be it one that waits to be reaped."""
    return Path(f"/proc/{pid}").exists()


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits only to be reaped by whoever is there for that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("Z")
    except FileNotFoundError:
        return True


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "tree.py").write_text(TREE)
    running: list[Running] = []

    def begin(
        wait: bool = True, patience: dict[str, float] | None = None, in_order: bool = True, **children: str
    ) -> Running:
        needs = {name: list(children)[:place] if in_order else [] for place, name in enumerate(children)}
        told = json.dumps([patience or {}, {name: modes.split() for name, modes in children.items()}, needs])
        written = [tmp_path / f"{name}-{len(running)}" for name in ("stdout", "stderr")]
        with written[0].open("wb") as output, written[1].open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-u", "tree.py", told], cwd=tmp_path, stdout=output, stderr=errors
            )
        found = Running(process, tmp_path, written[1])
        running.append(found)
        if wait:
            until(lambda: written[0].read_text() == "running\n")
        return found

    yield begin
    for each in running:
        each.process.kill()
        each.process.wait()
        for pid in each.all_started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_children_start_one_after_the_other_and_stop_in_reverse(start: Start) -> None:
    tree = start(keys="", log="", issuer="")
    told = [(line["event"], line["child"]) for line in tree.lines if "child" in line]
    assert told == [(event, name) for name in ("keys", "log", "issuer") for event in ("started", "ready")]
    assert tree.stop() == 0
    assert [line[0] for line in tree.diary if line[1] == "stopped"] == ["issuer", "log", "keys"]
    assert not any(map(is_there, tree.all_started))


def test_children_that_need_none_start_at_once(start: Start) -> None:
    tree = start(wait=False, in_order=False, keys="late", log="")
    until(lambda: len(tree.events("ready")) == 1)
    assert tree.events("ready")[0]["child"] == "log"
    assert [line["child"] for line in tree.events("started")] == ["keys", "log"]
    assert tree.stop() == 0


def test_what_a_child_says_comes_out_as_lines_with_its_name(start: Start) -> None:
    tree = start(log="writes")
    assert {"service": "log", "event": "listening", "name": "log"} in tree.lines
    said = [line["text"] for line in tree.lines if line.get("service") == "log" and line["event"] == "said"]
    assert sum(text.count("x") for text in said) == 200_000
    assert max(map(len, said)) < 200_000
    assert said[-2:] == ["\ufffd", "{"]
    tree.stop()


def test_a_child_that_never_stops_writing_makes_the_tree_deaf_to_nothing(start: Start) -> None:
    tree = start(keys="", log="chatty", issuer="")
    leader, _ = tree.started("issuer")[0]
    os.kill(leader, signal.SIGKILL)
    until(lambda: len(tree.started("issuer")) == 2)
    assert tree.stop() == 0
    assert not any(map(is_there, tree.all_started))


def test_a_child_is_read_once_in_a_turn_though_it_has_written_more(monkeypatch: pytest.MonkeyPatch) -> None:
    process = ChildProcess(Child("log", (sys.executable, "-c", "pass"), Listens(Path("log"))))
    written = [b"one\n", b"two\n"]
    try:
        with monkeypatch.context() as patch:
            patch.setattr(child_process, "os", SimpleNamespace(read=lambda *_: written.pop(0)))
            lines, goes_on = process.read_lines()
    finally:
        process.kill()
        os.waitpid(process.pid, 0)
        process.close()
    assert [json.loads(line)["text"] for line in lines] == ["one"]
    assert goes_on
    assert written == [b"two\n"]


def test_a_child_does_not_get_the_variables_that_are_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPMARK_ISSUER_DATABASE", "secret")
    monkeypatch.setenv("CHOPMARK_WITNESS_PORT", "1")
    look = "import os; print(sorted({'CHOPMARK_ISSUER_DATABASE', 'CHOPMARK_WITNESS_PORT'} & {*os.environ}))"
    child = Child("witness", (sys.executable, "-c", look), Listens(Path("x")), withheld=("CHOPMARK_ISSUER_",))
    process = ChildProcess(child)
    said: list[bytes] = []

    def all_said() -> bool:
        lines, more = process.read_lines()
        said.extend(lines)
        return not more

    until(all_said)
    os.waitpid(process.pid, 0)
    process.close()
    assert b"['CHOPMARK_WITNESS_PORT']" in b"".join(said)


def test_what_a_tree_within_the_tree_says_bears_both_names(start: Start) -> None:
    tree = start(region="tree")
    assert {"service": "region/log", "event": "of a tree"} in tree.lines
    tree.stop()


@pytest.mark.parametrize("modes", ["", "clinging"])
def test_a_child_that_is_killed_comes_again_and_nothing_of_it_is_left(start: Start, modes: str) -> None:
    tree = start(keys="", log=modes, issuer="")
    leader, worker = tree.started("log")[0]
    os.kill(leader, signal.SIGKILL)
    until(lambda: len(tree.events("ready")) == 4)
    assert not is_there(leader)
    assert not is_there(worker)
    (ended,) = tree.events("ended")
    assert (ended["child"], ended["code"], ended["reason"]) == ("log", -9, "killed by signal 9")
    assert len(tree.started("keys")) == len(tree.started("issuer")) == 1
    assert tree.stop() == 0
    assert not any(map(is_there, tree.all_started))


def test_pauses_grow_while_a_child_keeps_ending(start: Start) -> None:
    tree = start(patience={"first_pause": 0.01, "longest_pause": 0.05}, keys="", log="dies")
    until(lambda: len(tree.events("ended")) >= 5)
    assert [line["again_in"] for line in tree.events("ended")][:5] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert tree.stop() == 0


def test_a_child_that_had_settled_comes_again_at_once(start: Start) -> None:
    tree = start(patience={"settled": 0.0, "first_pause": 30}, log="dies")
    until(lambda: len(tree.events("ended")) >= 3)
    assert {line["again_in"] for line in tree.events("ended")} == {0.0}
    assert tree.stop() == 0


def test_a_child_that_cannot_start_ends_the_tree_with_its_reason(start: Start) -> None:
    tree = start(wait=False, keys="", log="fails", issuer="")
    assert tree.process.wait(20) == 1
    assert tree.text.splitlines()[-1] == "chopmark: log: cannot start: port 8480: somebody listens there already"
    assert [line[:2] for line in tree.diary if line[1] == "stopped"] == [["keys", "stopped"]]
    assert not tree.started("issuer")
    assert not any(map(is_there, tree.all_started))


def test_a_child_that_hangs_is_killed_and_comes_again(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    tree = start(patience={"ask_every": 0.5, "hung_asks": 2}, keys="", log=f"http={port}")
    leader, worker = tree.started("log")[0]
    os.kill(leader, signal.SIGSTOP)
    until(lambda: len(tree.started("log")) >= 2)
    assert not is_there(leader)
    assert not is_there(worker)
    hung = tree.events("hung")[0]
    assert (hung["child"], hung["pid"]) == ("log", leader)
    assert len(tree.started("keys")) == 1
    assert tree.stop() == 0
    assert not any(map(is_there, tree.all_started))


def test_a_child_hangs_that_answers_none_of_several_asks_in_a_row() -> None:
    answers = [False, False, True, False, False]
    asked_all, go_on = threading.Event(), threading.Event()

    def answer(*, within: float) -> bool:
        del within
        if answers:
            return answers.pop(0)
        asked_all.set()
        go_on.wait(20)
        return False

    watch = ChildWatch(cast("AnswersReady", SimpleNamespace(answers=answer)), every=0.0, most=3)
    assert asked_all.wait(20)
    assert not watch.is_hung
    go_on.set()
    until(lambda: watch.is_hung)
    watch.close()


def test_a_place_where_somebody_answers_already_is_told_before_anything_is_started(start: Start) -> None:
    first = start(keys="", log="")
    second = start(wait=False, other="", log="")
    assert second.process.wait(20) == 1
    assert "log: cannot start: somebody answers at log already" in second.text.splitlines()[-1]
    assert not second.started("other")
    first.stop()


def test_one_that_is_not_ready_keeps_the_others_waiting_only_for_a_while(start: Start) -> None:
    tree = start(patience={"ready": 3}, log="late", issuer="")
    (line,) = tree.events("not_ready")
    assert line["child"] == "log"
    assert [each["child"] for each in tree.events("ready")] == ["issuer"]
    assert tree.stop() == 0


def test_a_child_that_does_not_end_is_killed_in_the_end(start: Start) -> None:
    tree = start(patience={"stop": 2}, keys="", log="stubborn clinging")
    assert tree.stop() == 0
    assert [line["child"] for line in tree.events("killed")] == ["log"]
    assert not any(map(is_there, tree.all_started))


def test_a_second_signal_kills_at_once(start: Start) -> None:
    tree = start(patience={"stop": 600}, keys="stubborn", log="stubborn")
    tree.process.send_signal(signal.SIGINT)
    until(lambda: bool(tree.events("stopping")))
    tree.process.send_signal(signal.SIGINT)
    assert tree.process.wait(20) == 0
    assert {line["child"] for line in tree.events("killed")} == {"keys", "log"}
    assert not any(map(is_there, tree.all_started))


def test_a_signal_during_the_start_ends_what_was_started(start: Start) -> None:
    tree = start(wait=False, keys="", log="late", issuer="")
    until(lambda: bool(tree.started("log")))
    assert tree.stop() == 0
    assert not tree.started("issuer")
    assert not any(map(is_there, tree.all_started))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel offers nothing for it")
def test_a_tree_that_is_killed_leaves_no_child(start: Start) -> None:
    tree = start(keys="stubborn", log="")
    tree.process.kill()
    tree.process.wait()
    until(lambda: all(map(has_ended, tree.all_started)))
