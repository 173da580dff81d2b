"""The witness service within the test's process: paths, bodies, refusals, floods, and what it tells its operator."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chopmark.note import Note, NoteSignature
from chopmark_ledger.errors import WitnessClockError
from chopmark_ledger.witness import witness_service
from chopmark_ledger.witness.steady_clock import SteadyClock
from chopmark_ledger.witness.witness import READ_AT_ONCE, Contradiction, WitnessAnswer
from chopmark_ledger.witness.witness_folder import OpenedWitness, add_log, init_witness, open_witness, witness_vkeys
from chopmark_ledger.witness.witness_service import WAITING, make_application
from chopmark_ledger.witness.witness_settings import WitnessServiceSettings
from chopmark_ledger.witness.witness_state import CASES, FolderStore, origin_hash
from fastapi import FastAPI

from tests.ledger.asgi import Answer, ask
from tests.ledger.sample_witness import CHEAP, NAME, NOW, ORIGIN, PASSPHRASE, FakeLog, cosigned, request

OTHER = "cn-bj.example/log/2026"
TEXT = "text/plain; charset=utf-8"
OPENAPI = Path(__file__).parents[2] / "specs" / "openapi" / "witness.json"


class Served:
    """A witness service under test, and the clock it looks at."""

    def __init__(self, folder: Path, passphrase_file: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.jump = 0
        self._settings = WitnessServiceSettings.model_validate({"data": folder, "passphrase_file": passphrase_file})
        self.application: FastAPI
        self.opened: OpenedWitness

    def clock(self) -> int:
        if self.jump:
            raise WitnessClockError("the clock jumped", where="clock")
        return self.now

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Served]:
        self.application = make_application(self._settings, self.clock)
        async with self.application.router.lifespan_context(self.application):
            yield self

    async def get(self, path: str) -> Answer:
        return await ask(self.application, "GET", path)

    async def post(self, path: str, body: bytes | Iterable[bytes | None], **headers: str) -> Answer:
        return await ask(self.application, "POST", path, headers=headers, body=body)

    async def add(self, body: bytes) -> int:
        return (await self.post("/add-checkpoint", body)).status

    async def metrics(self) -> dict[str, float]:
        lines = (await self.get("/metrics")).body.decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def other() -> FakeLog:
    return FakeLog(origin=OTHER)


@pytest.fixture
def folder(tmp_path: Path, log: FakeLog, other: FakeLog) -> Path:
    folder = tmp_path / "witness"
    init_witness(folder, NAME, PASSPHRASE, logs=[log.vkey, other.vkey], cost=CHEAP)
    return folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Callable[[Callable[[Served], Coroutine[Any, Any, None]]], None]:
    """Runs a test against a service that is up."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(PASSPHRASE)

    def run(test: Callable[[Served], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with Served(folder, passphrase).running() as service, asyncio.timeout(30):
                await test(service)

        asyncio.run(served())

    return run


Run = Callable[[Callable[[Served], Coroutine[Any, Any, None]]], None]


def answer_of(answer: Answer) -> WitnessAnswer:
    return WitnessAnswer(answer.status, answer.body, answer.headers["content-type"])


def test_a_checkpoint_is_cosigned_and_shown_to_monitors(run: Run, log: FakeLog, folder: Path) -> None:
    async def test(served: Served) -> None:
        path = f"/{origin_hash(ORIGIN)}/checkpoint"
        assert (await served.get(path)).status == 404
        answer = await served.post("/add-checkpoint", log.request(0, 7))
        assert cosigned(answer_of(answer), witness_vkeys(folder), log.note(7)) == NOW
        shown = await served.get(path)
        assert (shown.status, shown.headers["content-type"]) == (200, TEXT)
        assert shown.headers["cache-control"] == "max-age=10"
        assert shown.body == log.note(7) + answer.body

    run(test)


def test_a_conflict_gives_the_size_held_in_a_type_of_its_own(run: Run, log: FakeLog) -> None:
    async def test(served: Served) -> None:
        await served.add(log.request(0, 7))
        answer = answer_of(await served.post("/add-checkpoint", log.request(0, 9)))
        assert answer == WitnessAnswer(409, b"7\n", "text/x.tlog.size")

    run(test)


def test_a_subtree_is_signed(run: Run, log: FakeLog) -> None:
    async def test(served: Served) -> None:
        lines = (await served.post("/add-checkpoint", log.request(0, 14))).body
        answer = await served.post("/sign-subtree", log.subtree_request(8, 13, 14, lines))
        assert (answer.status, answer.headers["content-type"]) == (200, TEXT)
        assert answer.body.startswith(f"— {NAME} ".encode())
        unknown = FakeLog(origin="us-il.example/log/2026")
        answer = await served.post("/sign-subtree", unknown.subtree_request(8, 13, 14, lines))
        assert (answer.status, answer.headers["content-type"]) == (404, TEXT)

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/add-checkpoint", 405),
        ("GET", "/sign-subtree", 405),
        ("POST", f"/{origin_hash(ORIGIN)}/checkpoint", 405),
        ("GET", f"/{origin_hash('us-il.example/log')}/checkpoint", 404),
        ("GET", f"/{origin_hash(ORIGIN).upper()}/checkpoint", 404),
        ("GET", "/../checkpoint", 404),
        ("GET", "/", 404),
        ("GET", "/docs", 404),
    ],
)
def test_another_path_or_method_is_refused_in_plain_text(run: Run, method: str, path: str, status: int) -> None:
    async def test(served: Served) -> None:
        answer = await ask(served.application, method, path)
        assert (answer.status, answer.headers["content-type"]) == (status, TEXT)
        assert answer.body.endswith(b"\n")

    run(test)


@pytest.mark.parametrize("path", ["/add-checkpoint", "/sign-subtree"])
def test_a_body_that_is_too_large_is_not_read_to_its_end(run: Run, path: str) -> None:
    async def test(served: Served) -> None:
        for headers in ({"content-length": "262145"}, {"content-length": "9" * 5000}):
            assert (await served.post(path, [None], **headers)).status == 413
        answer = await served.post(path, [b"x" * 100_000, b"x" * 100_000, b"x" * 100_000, None])
        assert (answer.status, answer.body) == (413, b"a request of more than 256 KiB\n")

    run(test)


def test_a_body_that_does_not_come_is_given_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_service, "BODY_TIMEOUT", 0.01)

    async def test(served: Served) -> None:
        answer = await served.post("/add-checkpoint", [b"old 0\n", None])
        assert (answer.status, answer.headers["content-type"]) == (408, TEXT)

    run(test)


def test_a_body_may_come_in_parts(run: Run, log: FakeLog) -> None:
    async def test(served: Served) -> None:
        body = log.request(0, 7)
        assert (await served.post("/add-checkpoint", [body[:9], body[9:50], b"", body[50:]])).status == 200

    run(test)


def test_a_flood_of_one_log_keeps_no_other_from_its_answer(
    run: Run, log: FakeLog, other: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, goes_on = threading.Event(), threading.Event()
    real = FolderStore.load

    def load(store: FolderStore, origin: str) -> object:
        if origin == ORIGIN:
            judged.set()
            assert goes_on.wait(20)
        return real(store, origin)

    monkeypatch.setattr(FolderStore, "load", load)

    async def test(served: Served) -> None:
        flood = [asyncio.create_task(served.add(log.request(0, 7 + n))) for n in range(WAITING + 20)]
        await asyncio.to_thread(judged.wait, 20)
        assert await served.add(other.request(0, 7)) == 200
        done, _ = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in done} == {429}
        goes_on.set()
        answers = [await task for task in flood]
        assert (answers.count(200), answers.count(409), answers.count(429)) == (1, WAITING, 19)

    run(test)


@pytest.mark.parametrize("size", [1, READ_AT_ONCE])
def test_strangers_keep_no_log_from_its_witness(
    run: Run, log: FakeLog, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """However many they are: with forgeries, with what the log once sent, with what it sends now, and its own lines."""
    monkeypatch.setattr(witness_service, "WAITING", 2)
    good = Note.parse(log.note(9))
    forged = replace(good.signatures[0], signature=bytes(64))
    padding = NoteSignature("x", bytes(4), bytes(size))
    forgery = request(7, [], Note(good.text, (padding, forged)).encode())
    unsigned = request(7, [], Note(good.text, (padding,)).encode())
    judged, goes_on = threading.Event(), threading.Event()
    real = FolderStore.load

    def load(store: FolderStore, origin: str) -> object:
        judged.set()
        assert goes_on.wait(20)
        return real(store, origin)

    async def test(served: Served) -> None:
        assert await served.add(log.request(0, 7)) == 200
        monkeypatch.setattr(FolderStore, "load", load)
        first = asyncio.create_task(served.add(log.request(7, 8)))
        await asyncio.to_thread(judged.wait, 20)
        answers = await asyncio.gather(*(served.add(body) for body in (forgery, unsigned) for _ in range(50)))
        assert answers == [403] * 100, "none of them waits for the log's own"
        replays = [request(old, [], log.note(9)) for old in range(20)]
        del replays[7]
        assert await asyncio.gather(*(served.add(body) for body in replays)) == [409] * 9 + [400] * 10
        copies = [asyncio.create_task(served.add(log.request(7, 8))) for _ in range(50)]
        own = asyncio.create_task(served.add(log.request(7, 9)))
        for _ in range(20):
            await asyncio.sleep(0)
        goes_on.set()
        assert await asyncio.gather(first, *copies) == [200] * 51
        assert await own == 409, "it had its turn"

    run(test)


def test_a_large_request_is_judged_as_a_small_one(run: Run, log: FakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    padding = [NoteSignature(f"x{number}", bytes(4), bytes(2900)) for number in range(30)]

    def large(size: int) -> bytes:
        return request(0, [], Note.parse(log.note(size)).with_signature(*padding).encode())

    async def test(served: Served) -> None:
        assert await served.add(large(7)) == 200
        assert await served.add(large(9)) == 409
        assert await served.add(large(9).replace(b"\n9\n", b"\n09\n")) == 400
        monkeypatch.setattr(witness_service, "READING", -1)
        answer = await served.post("/add-checkpoint", large(9))
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert await served.add(log.request(7, 9)) == 200, "a small one needs no place"

    run(test)


def test_who_is_told_to_wait_is_told_how_long(run: Run, log: FakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_service, "WAITING", -1)

    async def test(served: Served) -> None:
        answer = await served.post("/add-checkpoint", log.request(0, 7))
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert await served.add(FakeLog(origin="us-il.example/log").request(0, 7)) == 404, "an unknown one never waits"

    run(test)


def test_a_client_that_leaves_frees_its_turn_only_when_its_thread_is_done(
    run: Run, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, goes_on, inside = threading.Event(), threading.Event(), []
    real = FolderStore.load

    def load(store: FolderStore, origin: str) -> object:
        inside.append(origin)
        judged.set()
        assert goes_on.wait(20)
        return real(store, origin)

    monkeypatch.setattr(FolderStore, "load", load)

    async def test(served: Served) -> None:
        left = asyncio.create_task(served.add(log.request(0, 7)))
        await asyncio.to_thread(judged.wait, 20)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        following = asyncio.create_task(served.add(log.request(0, 8)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert inside == [ORIGIN]
        goes_on.set()
        assert await following == 409

    run(test)


def test_a_log_that_is_added_meanwhile_is_taken_up(run: Run, folder: Path) -> None:
    late = FakeLog(origin="us-il.example/log/2026")

    async def test(served: Served) -> None:
        assert await served.add(late.request(0, 7)) == 404
        add_log(folder, late.vkey)
        assert await served.add(late.request(0, 7)) == 200
        assert (await served.get(f"/{origin_hash(late.origin)}/checkpoint")).status == 200

    run(test)


def test_a_damaged_state_is_told_to_the_operator_and_stops_no_other_log(
    run: Run, log: FakeLog, other: FakeLog, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def test(served: Served) -> None:
        await served.add(log.request(0, 7))
        (folder / "logs" / origin_hash(ORIGIN) / "checkpoint").write_bytes(b"rubbish")
        for answer in (
            await served.post("/add-checkpoint", log.request(7, 9)),
            await served.get(f"/{origin_hash(ORIGIN)}/checkpoint"),
        ):
            assert (answer.status, answer.headers["content-type"]) == (500, TEXT)
            assert str(folder) not in answer.body.decode()
        assert await served.add(other.request(0, 7)) == 200

    run(test)
    assert str(folder) in "".join(capfd.readouterr())


def test_a_full_disk_is_told_and_the_witness_goes_on_when_there_is_room(
    run: Run, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def test(served: Served) -> None:
        await served.add(log.request(0, 7))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            answer = await served.post("/add-checkpoint", log.request(7, 9))
        assert answer.status == 503
        assert b"cannot keep what it would cosign" in answer.body
        assert await served.add(log.request(7, 9)) == 200

    run(test)


def test_a_failed_fsync_makes_it_unready_for_good(
    run: Run, log: FakeLog, other: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def test(served: Served) -> None:
        assert (await served.get("/readyz")).status == 200
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            assert await served.add(log.request(0, 7)) == 503
        assert await served.add(other.request(0, 7)) == 503
        ready = await served.get("/readyz")
        assert ready.status == 503
        assert b"fsync" in ready.body
        assert (await served.metrics())["chopmark_witness_ready"] == 0
        assert (await served.get("/healthz")).status == 200

    run(test)


def test_a_clock_that_jumped_stops_cosigning_and_shows(run: Run, log: FakeLog) -> None:
    async def test(served: Served) -> None:
        served.jump = 1
        assert await served.add(log.request(0, 7)) == 503
        assert (await served.get("/readyz")).body == b"the clock jumped\n"
        served.jump = 0
        assert await served.add(log.request(0, 7)) == 200
        served.now -= 3600
        assert await served.add(log.request(7, 8)) == 503

    run(test)


@pytest.mark.parametrize(("flag", "free", "says"), [(os.ST_RDONLY, 9999, b"read-only"), (0, 0, b"full")])
def test_a_disk_that_takes_nothing_makes_it_unready(
    run: Run, monkeypatch: pytest.MonkeyPatch, flag: int, free: int, says: bytes
) -> None:
    async def test(served: Served) -> None:
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=flag, f_bavail=free, f_frsize=4096))
        answer = await served.get("/readyz")
        assert answer.status == 503
        assert says in answer.body

    run(test)


def test_a_list_of_logs_that_cannot_be_read_any_more_shows(
    run: Run, log: FakeLog, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def test(served: Served) -> None:
        good = (folder / "witness.json").read_bytes()
        (folder / "witness.json").write_text("rubbish")
        assert await served.add(log.request(0, 7)) == 200
        for _ in range(3):
            assert (await served.get("/readyz")).body == b"the list of logs cannot be read any more\n"
        (folder / "witness.json").write_bytes(good)
        assert await served.add(log.request(7, 9)) == 200
        assert (await served.get("/readyz")).status == 200

    run(test)
    logged = "".join(capfd.readouterr())
    assert logged.count("not_ready") == 1
    assert str(folder / "witness.json") in logged
    assert logged.count("ready_again") == 1


def test_metrics_tell_sizes_forks_and_what_was_answered(run: Run, log: FakeLog, other: FakeLog) -> None:
    async def test(served: Served) -> None:
        await served.add(log.request(0, 7))
        await served.add(other.request(0, 300))
        await served.add(FakeLog("fork").request(7, 7))
        await served.add(FakeLog("fork").request(7, 9))
        await served.add(FakeLog("fork").request(7, 10))
        metrics = await served.metrics()
        assert metrics[f'chopmark_witness_tree_size{{origin="{ORIGIN}"}}'] == 7
        assert metrics[f'chopmark_witness_tree_size{{origin="{OTHER}"}}'] == 300
        assert metrics[f'chopmark_witness_cosigned_seconds{{origin="{ORIGIN}"}}'] == NOW
        cases = "chopmark_witness_evidence_cases"
        assert metrics[f'{cases}{{contradiction="fork",origin="{ORIGIN}"}}'] == 1
        assert metrics[f'{cases}{{contradiction="unproven",origin="{ORIGIN}"}}'] == 2
        assert metrics["chopmark_witness_logs"] == 2
        assert metrics["chopmark_witness_ready"] == 1
        answered = "chopmark_witness_http_requests_total"
        assert metrics[f'{answered}{{method="POST",route="/add-checkpoint",status="200"}}'] == 2
        assert metrics[f'{answered}{{method="POST",route="/add-checkpoint",status="422"}}'] == 3

    run(test)


def test_evidence_that_is_lost_shows_and_is_logged_once(
    run: Run, log: FakeLog, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CASES, Contradiction.FORK, 0)

    async def test(served: Served) -> None:
        await served.add(log.request(0, 7))
        for _ in range(3):
            assert await served.add(FakeLog("fork").request(7, 7)) == 422
        assert (await served.metrics())[f'chopmark_witness_evidence_lost{{origin="{ORIGIN}"}}'] == 1

    run(test)
    assert "".join(capfd.readouterr()).count("evidence_lost") == 1


def test_the_description_of_the_service_is_the_one_in_the_specifications(run: Run) -> None:
    async def test(served: Served) -> None:
        assert (await served.get("/openapi.json")).json() == json.loads(OPENAPI.read_bytes())

    run(test)


def test_a_passphrase_that_does_not_open_the_keys_starts_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("another")

    async def start() -> None:
        async with Served(folder, tmp_path / "passphrase").running():
            pass

    with pytest.raises(Exception, match="the passphrase does not open this key"):
        asyncio.run(start())


def test_requests_that_are_under_way_are_answered_before_it_closes(folder: Path, tmp_path: Path, log: FakeLog) -> None:
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    answers: list[asyncio.Task[int]] = []

    async def test() -> None:
        async with Served(folder, tmp_path / "passphrase").running() as served:
            answers.append(asyncio.create_task(served.add(log.request(0, 7))))
            for _ in range(20):
                await asyncio.sleep(0)
        assert await answers[0] == 200

    asyncio.run(test())
    assert open_witness(folder, PASSPHRASE).witness.add_checkpoint(request(0, [], log.note(8)), NOW).body == b"7\n"


def test_a_clock_that_goes_evenly_or_is_slewed_is_followed() -> None:
    wall, steady = 1000.0, 50.0
    clock = SteadyClock(lambda: wall, lambda: steady)
    for _ in range(20):
        wall, steady = wall + 3700, steady + 3600  # 100 seconds too fast each hour
        assert clock() == int(wall)


@pytest.mark.parametrize("jump", [301, -301, 10**9])
def test_a_clock_that_jumps_gives_no_time_until_it_is_back(jump: int) -> None:
    now, ahead = 1000, 0
    clock = SteadyClock(lambda: now + ahead, lambda: now)
    ahead = jump
    for _ in range(2):
        with pytest.raises(WitnessClockError, match=f"jumped by {jump} seconds"):
            clock()
    ahead = 0
    assert clock() == 1000
