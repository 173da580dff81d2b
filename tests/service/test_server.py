"""The server: one worker, ended with its parent, closed cleanly, and a log in which it says what it does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

SERVICE = '''
"""A service for the tests: it says in a file what happens to it."""

import asyncio, os, sys, time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chopmark.errors import StorageError
from chopmark_service import server, telemetry
from fastapi import FastAPI


@dataclass(frozen=True)
class Settings:
    diary: Path
    mode: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    log_level: str = "info"


def note(settings, text):
    with settings.diary.open("a") as diary:
        diary.write(text + "\\n")


def make(settings):
    stop = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app):
        note(settings, f"worker {os.getpid()}")
        if settings.mode == "refuses":
            raise StorageError("the folder is not there", where="data")
        if settings.mode == "breaks":
            raise RuntimeError("a fault")
        if settings.mode == "slow start":
            note(settings, "starting")
            while not (settings.diary.parent / "go").exists():
                time.sleep(0.01)
        async with server.told_to_stop(stop.set):
            yield
        note(settings, "closed")

    app = FastAPI(lifespan=lifespan, telemetry=telemetry.NOTHING_EXPORTED)

    @app.get("/hello/{name}")
    async def hello(name: str):
        return {"pid": os.getpid()}

    @app.get("/wait")
    async def wait():
        note(settings, "waiting")
        await stop.wait()
        return "told"

    @app.get("/fault")
    async def fault():
        raise RuntimeError("secret words")

    @app.get("/exit")
    async def exit():
        os._exit(9)

    app.add_middleware(telemetry.RequestTelemetry, registry=telemetry.new_registry(), prefix="sample")
    return app


if __name__ == "__main__":
    diary, mode, port = sys.argv[1:]
    server.serve("sample_service:make", Settings(Path(diary), mode, port=int(port)), stop_within=10)
'''


@dataclass
class Running:
    """A server process: its lines of log so far, and what it was told to note."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log; a line that is no JSON fails the test."""
        return [
            json.loads(line)
            for line in (self.folder / "stderr").read_bytes().splitlines(keepends=True)
            if line[-1:] == b"\n"
        ]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    @property
    def diary(self) -> list[str]:
        path = self.folder / "diary"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def url(self) -> str:
        until(lambda: bool(self.events("listening")) or self.process.poll() is not None)
        return str(self.events("listening")[0]["url"])

    @property
    def worker(self) -> int:
        until(lambda: bool(self.diary))
        return int(self.diary[0].removeprefix("worker "))


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Poll until it holds; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs: one that ended and nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers, and kills what is left of them in the end."""
    started: list[Running] = []

    def begin(mode: str = "", port: str = "0") -> Running:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        (folder / "sample_service.py").write_text(SERVICE)
        with (folder / "stderr").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(folder / "sample_service.py"), str(folder / "diary"), mode, port],
                env={**os.environ, "PYTHONPATH": str(folder)},
                stderr=log,
                start_new_session=True,
            )
        started.append(Running(process, folder))
        return started[-1]

    yield begin
    for running in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()


def test_it_says_where_it_listens_once_it_answers_there(start: Callable[..., Running]) -> None:
    running = start()
    answer = urllib3.request("GET", f"{running.url}/hello/x")
    assert answer.json() == {"pid": running.worker}
    assert running.worker != running.process.pid


def test_sigterm_ends_the_lifespan_and_both_processes(start: Callable[..., Running]) -> None:
    running = start()
    assert running.url
    running.process.terminate()
    assert running.process.wait(15) == 0
    assert running.diary[-1] == "closed"
    assert not alive(running.worker)


def test_sigterm_is_told_to_requests_that_wait_and_they_are_answered(start: Callable[..., Running]) -> None:
    running = start()
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", f"{running.url}/hello/x", preload_content=False)
        answer.release_conn()
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=15) as connection:
            connection.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: "waiting" in running.diary)
            running.process.terminate()
            received = b""
            while part := connection.recv(4096):
                received += part
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.endswith(b'"told"')
    assert running.process.wait(15) == 0
    assert running.diary[-1] == "closed"


def test_sigterm_during_the_start_ends_it(start: Callable[..., Running]) -> None:
    running = start("slow start")
    until(lambda: "starting" in running.diary)
    running.process.terminate()
    (running.folder / "go").touch()
    assert running.process.wait(15) == 0
    assert not alive(running.worker)


@pytest.mark.parametrize("mode", ["", "slow start"])
def test_the_worker_ends_within_two_seconds_of_its_parents_death(start: Callable[..., Running], mode: str) -> None:
    running = start(mode)
    worker = running.worker
    if not mode:
        assert running.url
    os.kill(running.process.pid, signal.SIGKILL)
    until(lambda: not alive(worker), 2)


def test_a_worker_whose_parent_died_before_it_looked_ends() -> None:
    code = (
        "import os, sys, time\n"
        "from chopmark_service.server import end_with_parent\n"
        "end_with_parent(os.getpid())\n"  # nobody is his own parent: as after the parent's death
        "print('still there')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)
    assert (result.returncode, result.stdout) == (1, b"")


def test_a_worker_that_ends_by_itself_ends_its_parent(start: Callable[..., Running]) -> None:
    running = start()
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"{running.url}/exit", retries=False)
    assert running.process.wait(15) == 1


@pytest.mark.parametrize(("mode", "told"), [("refuses", "data: the folder is not there"), ("breaks", None)])
def test_an_application_that_cannot_start_says_why_and_exits_1(
    start: Callable[..., Running], mode: str, told: str | None
) -> None:
    running = start(mode)
    assert running.process.wait(15) == 1
    (line,) = running.events("cannot_run")
    assert line["level"] == "error"
    assert line.get("error") == told
    assert ("RuntimeError: a fault" in line.get("exception", "")) is (told is None)
    assert not running.events("listening")


def test_a_port_that_is_taken_is_refused(start: Callable[..., Running]) -> None:
    first = start()
    second = start("", first.url.rpartition(":")[2])
    assert second.process.wait(15) == 1
    assert "somebody listens there already" in (second.folder / "stderr").read_text()


def test_a_request_is_logged_by_its_route_and_without_what_it_brought(start: Callable[..., Running]) -> None:
    running = start()
    urllib3.request(
        "GET", f"{running.url}/hello/private?query=private", headers={"Authorization": "private"}, body=b"private"
    )
    until(lambda: bool(running.events("request")))
    (line,) = running.events("request")
    assert set(line) == {"part", "method", "route", "status", "seconds", "event", "time", "level"}
    assert (line["method"], line["route"], line["status"]) == ("GET", "/hello/{name}", 200)
    log = (running.folder / "stderr").read_text()
    assert "private" not in log
    assert "127.0.0.1" not in log.replace(running.url, "")


def test_a_fault_is_logged_and_answered_by_a_problem_that_tells_nothing(start: Callable[..., Running]) -> None:
    running = start()
    answer = urllib3.request("GET", f"{running.url}/fault")
    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "fault"
    assert b"secret" not in answer.data
    until(lambda: bool(running.events("fault")))
    assert "secret words" in running.events("fault")[0]["exception"]
