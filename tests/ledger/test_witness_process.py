"""The command `chopmark witness serve` as real processes, over real HTTP, killed at any time."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3
from chopmark.errors import ChopmarkError
from chopmark.note import NoteVerifier
from chopmark_ledger.client import open_ledger
from chopmark_ledger.commands import witness_commands
from chopmark_ledger.errors import WitnessUnreachableError
from chopmark_ledger.publication.witness_client import HttpWitness
from chopmark_ledger.witness.witness_folder import add_log, init_witness, open_witness, witness_vkeys
from chopmark_ledger.witness.witness_state import origin_hash
from typer.testing import CliRunner

from tests.ledger.sample_witness import CHEAP, NAME, NOW, ORIGIN, PASSPHRASE, FakeLog, cosigned

if TYPE_CHECKING:
    from tests.ledger.conftest import World

COMMAND = [sys.executable, "-c", "from chopmark.cli.app import run; run()", "witness"]
DEADLINE = 30.0


class Process:
    """A served witness: where it answers, and what it printed."""

    def __init__(self, place: Path, *options: str) -> None:
        self.place = place
        place.mkdir(parents=True)
        (place / "passphrase").write_bytes(PASSPHRASE)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHOPMARK_")}
        with (place / "stdout").open("wb") as output, (place / "stderr").open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", "--passphrase-file", str(place / "passphrase"), *options],
                stdout=output,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    @property
    def printed(self) -> list[str]:
        return (self.place / "stdout").read_text().splitlines()

    @property
    def error(self) -> str:
        return (self.place / "stderr").read_text()

    @property
    def url(self) -> str:
        until(lambda: '"listening"' in self.error or self.process.poll() is not None)
        lines = [json.loads(line) for line in self.error.splitlines(keepends=True) if line.endswith("}\n")]
        return str(next(line["url"] for line in lines if line["event"] == "listening"))

    def client(self, folder: Path, timeout: float = DEADLINE) -> HttpWitness:
        return HttpWitness(self.url, witness_vkeys(folder), timeout=timeout)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the whole group, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait(DEADLINE)


def until(condition: Callable[[], bool]) -> None:
    """Poll until it holds; fails at the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        threading.Event().wait(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts witnesses, and kills what is left of them in the end."""
    started: list[Process] = []

    def begin(*options: str) -> Process:
        started.append(Process(tmp_path / f"process-{len(started)}", *options))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def folder(tmp_path: Path, log: FakeLog) -> Path:
    folder = tmp_path / "witness"
    init_witness(folder, NAME, PASSPHRASE, logs=log.vkeys, cost=CHEAP)
    return folder


def test_the_first_start_makes_a_witness_and_the_next_ones_open_it(
    start: Callable[..., Process], tmp_path: Path, log: FakeLog
) -> None:
    folder = tmp_path / "new" / "witness"
    first = start("--data", str(folder), "--name", NAME, "--log", log.vkey)
    answer = HttpWitness(first.url, first.printed, timeout=DEADLINE).add_checkpoint(log.request(0, 7))
    assert abs(cosigned(answer, first.printed, log.note(7)) - time.time()) < DEADLINE
    assert [NoteVerifier.from_vkey(vkey).type for vkey in first.printed] == [0x04, 0x06]
    first.process.terminate()
    assert first.process.wait(DEADLINE) == 0
    other = FakeLog(origin="cn-bj.example/log/2026", keys="ed pq")
    second = start("--data", str(folder), "--log", other.vkeys[0], "--log", other.vkeys[1])
    client = second.client(folder)
    assert second.printed == first.printed
    assert client.add_checkpoint(log.request(0, 9)).body == b"7\n"
    assert client.add_checkpoint(log.request(7, 9)).status == 200
    assert client.add_checkpoint(other.request(0, 3)).status == 200
    client.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--name", "cn-bj.example/witness"], "the witness there is cn-gd.example/witness"),
        (["--log", "rubbish"], "vkey"),
        (["--port", "70000"], "port"),
        (["--log-level", "loud"], "log_level"),
        (["--config", "/nowhere"], "no such file"),
        (["--data", "/nowhere"], "there is no witness"),
    ],
)
def test_what_is_said_wrongly_starts_nothing(folder: Path, options: list[str], says: str) -> None:
    result = CliRunner().invoke(witness_commands.witness, ["serve", "--data", str(folder), *options])
    assert isinstance(result.exception, ChopmarkError)
    assert says in str(result.exception)


def test_the_commands_tell_vkeys_and_take_logs(folder: Path, log: FakeLog) -> None:
    run = CliRunner().invoke
    assert run(witness_commands.witness, ["vkeys", str(folder)]).stdout.splitlines() == list(witness_vkeys(folder))
    other = FakeLog(origin="cn-bj.example/log/2026")
    assert run(witness_commands.witness, ["add-log", str(folder), other.vkey]).exit_code == 0
    told = run(witness_commands.witness, ["status", str(folder)])
    assert told.stdout.splitlines() == [
        f"witness {NAME}",
        f"{ORIGIN}: nothing cosigned yet",
        "cn-bj.example/log/2026: nothing cosigned yet",
    ]
    opened = open_witness(folder, PASSPHRASE)
    opened.witness.add_checkpoint(log.request(0, 7), NOW)
    opened.witness.add_checkpoint(FakeLog("fork").request(7, 9), NOW)
    told = run(witness_commands.witness, ["status", str(folder)])
    assert told.exit_code == 0
    assert told.stdout.splitlines()[1] == f"{ORIGIN}: size 7, cosigned 2026-11-22T09:30:00Z"
    assert told.stdout.splitlines()[3].startswith(f"unproven growth of {ORIGIN} at size 9: evidence/unproven-")
    (folder / "logs" / origin_hash(ORIGIN) / "checkpoint").unlink()
    told = run(witness_commands.witness, ["status", str(folder)])
    assert told.exit_code == 1
    assert f"{ORIGIN}: damaged: " in told.stdout


def test_a_passphrase_that_does_not_open_the_keys_is_said_in_one_line(
    start: Callable[..., Process], tmp_path: Path, log: FakeLog
) -> None:
    init_witness(tmp_path / "other", NAME, b"another passphrase", logs=log.vkeys, cost=CHEAP)
    process = start("--data", str(tmp_path / "other"))
    assert process.process.wait(DEADLINE) != 0
    (line,) = [json.loads(line) for line in process.error.splitlines() if "cannot_run" in line]
    assert "the passphrase does not open this key" in line["error"]


def test_settings_may_stand_in_the_folder_s_file(
    start: Callable[..., Process], folder: Path, log: FakeLog, tmp_path: Path
) -> None:
    other = FakeLog(origin="cn-bj.example/log/2026")
    (folder / "witness.toml").write_text(f'log_level = "debug"\nlogs = ["{other.vkey}"]\n')
    process = start("--data", str(folder))
    assert process.client(folder).add_checkpoint(other.request(0, 3)).status == 200
    until(lambda: '"/add-checkpoint"' in process.error)


def test_a_log_that_is_added_by_command_is_taken_up_while_it_serves(
    start: Callable[..., Process], folder: Path
) -> None:
    other = FakeLog(origin="cn-bj.example/log/2026")
    client = start("--data", str(folder)).client(folder)
    assert client.add_checkpoint(other.request(0, 3)).status == 404
    subprocess.run([*COMMAND, "add-log", str(folder), other.vkey], check=True)
    assert client.add_checkpoint(other.request(0, 3)).status == 200
    client.close()


def test_many_requests_go_over_one_connection_and_monitors_are_served(
    start: Callable[..., Process], folder: Path, log: FakeLog
) -> None:
    process = start("--data", str(folder))
    with urllib3.PoolManager(maxsize=1) as pool:
        for size in range(1, 6):
            body = log.request(size - 1, size)
            answer = pool.request("POST", f"{process.url}/add-checkpoint", body=body)
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
            shown = pool.request("GET", f"{process.url}/{origin_hash(ORIGIN)}/checkpoint")
            assert shown.data == log.note(size) + answer.data
        host = pool.connection_from_url(process.url)
        assert isinstance(host, urllib3.HTTPConnectionPool)
        assert host.num_connections == 1
        assert pool.request("GET", f"{process.url}/readyz").data == b"ready\n"


def test_forks_are_told_by_status_and_metrics(start: Callable[..., Process], folder: Path, log: FakeLog) -> None:
    process = start("--data", str(folder))
    client = process.client(folder)
    assert client.add_checkpoint(log.request(0, 7)).status == 200
    command = [*COMMAND, "status", str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0] == f"witness {NAME}"
    assert told[1].startswith(f"{ORIGIN}: size 7, cosigned 20")
    assert len(told) == 2
    assert client.add_checkpoint(FakeLog("fork").request(7, 7)).status == 422
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert f"fork of {ORIGIN} at size 7: evidence/fork-" in found.stdout
    metrics = urllib3.request("GET", f"{process.url}/metrics").data.decode()
    assert f'chopmark_witness_evidence_cases{{contradiction="fork",origin="{ORIGIN}"}} 1.0' in metrics
    client.close()


def test_of_two_services_on_one_folder_only_one_cosigns_each_size(
    start: Callable[..., Process], folder: Path, log: FakeLog
) -> None:
    clients = [start("--data", str(folder)).client(folder) for _ in range(2)]
    fork = FakeLog("fork")
    assert clients[0].add_checkpoint(log.request(0, 5)).status == 200
    bodies = [log.request(5, 12), fork.request(5, 12)] * 8
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: clients[n % 4 // 2].add_checkpoint(bodies[n]), range(len(bodies))))
    good = [n for n, answer in enumerate(answers) if answer.status == 200]
    assert len({n % 2 for n in good}) == 1
    assert len({answers[n].body for n in good}) == 1, "who asks for the same at a time shares one answer"
    assert {answer.status for answer in answers} <= {200, 409, 422}
    for client in clients:
        client.close()


@pytest.mark.parametrize("seed", range(2))
def test_no_cosignature_is_forgotten_whenever_it_is_killed(
    start: Callable[..., Process], folder: Path, seed: int
) -> None:
    """Logs grow by ever new checkpoints until the group is killed; what was answered is held afterwards."""
    chance = random.Random(seed)
    logs = [FakeLog(origin=f"cn-{number:02}.example/log/2026", seed=bytes([number]) * 32) for number in range(3)]
    for log in logs:
        add_log(folder, log.vkey)
    acknowledged = dict.fromkeys(range(len(logs)), 0)
    for _ in range(2):
        process = start("--data", str(folder))
        client = process.client(folder)
        enough = acknowledged[0] + chance.randrange(1, 12)
        killed = threading.Event()

        def grow(
            number: int, client: HttpWitness = client, enough: int = enough, killed: threading.Event = killed
        ) -> None:
            log, size = logs[number], acknowledged[number]
            while not killed.is_set():
                try:
                    answer = client.add_checkpoint(log.request(size, size + 1))
                except WitnessUnreachableError:
                    return
                if answer.status == 409:  # it was cosigned, and the answer never came
                    size = int(answer.body)
                    continue
                assert answer.status == 200, answer.body
                size += 1
                acknowledged[number] = size
                if number == 0 and size == enough:
                    killed.set()

        with ThreadPoolExecutor(len(logs)) as threads:
            growing = [threads.submit(grow, number) for number in range(len(logs))]
            assert killed.wait(DEADLINE)
            process.kill()
            for future in growing:
                future.result(DEADLINE)
        client.close()
        opened = open_witness(folder, PASSPHRASE)
        for number, log in enumerate(logs):
            conflict = opened.witness.add_checkpoint(log.request(150, 200), NOW)
            held = int(conflict.body)
            assert conflict.status == 409
            assert acknowledged[number] <= held <= acknowledged[number] + 1
            acknowledged[number] = held


def test_a_worker_whose_parent_is_killed_ends_and_another_takes_its_place(
    start: Callable[..., Process], folder: Path, log: FakeLog
) -> None:
    process = start("--data", str(folder))
    assert process.client(folder).add_checkpoint(log.request(0, 7)).status == 200
    url = process.url
    process.process.kill()
    process.process.wait(DEADLINE)

    def answers() -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            urllib3.request("GET", f"{url}/healthz", retries=False, timeout=5)
            return True
        return False

    until(lambda: not answers())
    port = url.rpartition(":")[2]
    again = start("--data", str(folder), "--port", port)
    assert again.client(folder).add_checkpoint(log.request(7, 9)).status == 200


def test_a_log_is_published_with_witnesses_over_http(start: Callable[..., Process], world: World) -> None:
    for name in ("cn-sh", "us-il"):
        (world.folder / f"{name}-passphrase").write_bytes(PASSPHRASE)
    processes = [start("--data", str(world.folder / name)) for name in ("cn-sh", "us-il")]
    witnesses = [HttpWitness(process.url, process.printed, timeout=DEADLINE) for process in processes if process.url]
    world.open().close()
    world.clock.now = int(time.time())
    with open_ledger(
        world.log_folder, key=world.key, witnesses=witnesses, policy_text=world.policy, clock=world.clock
    ) as ledger:
        world.append(ledger, 1, 300)
        assert ledger.publish().checkpoint.size == 301
        processes[1].kill()
        world.append(ledger, 2, 3)
        with pytest.raises(ChopmarkError, match="us-il"):
            ledger.publish()
    for witness in witnesses:
        witness.close()
