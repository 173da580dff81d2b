"""The services of the demo: real processes on the loopback, started, waited for, killed, and stopped in the end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

import urllib3

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections, so that a service that comes back finds its port free."""
_READY_WITHIN = 60.0
_STOPPED_WITHIN = 15.0
_LOOK_EVERY = 0.05


class ServiceError(Exception):
    """A service of the demo did not do what it must."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service: what it is called, where it answers, what starts it, and the file for what it says."""

    name: str
    url: str
    command: tuple[str, ...]
    output: Path


class Services:
    """The processes of services; a context manager that leaves none behind, whatever happens."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, service: Service) -> int:
        """Start a service, in a session of its own: Ctrl-C is for the demo, which then stops it. Answers its pid."""
        with service.output.open("ab") as output, _signals_wait():
            process = subprocess.Popen(  # noqa: S603 - our own command
                service.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
            self._running[service.name] = process
        return process.pid

    def wait_until_ready(self, *services: Service) -> None:
        """Wait until each answers that it can do its work.

        Raises:
            ServiceError: one ended, or takes too long.
        """
        end = time.monotonic() + _READY_WITHIN
        for service in services:
            while not _is_ready(service.url):
                if self._running[service.name].poll() is not None:
                    raise ServiceError(f"{service.name} did not start: {_last_line(service.output)}")
                if time.monotonic() > end:
                    raise ServiceError(f"{service.name} does not answer at {service.url}; see {service.output}")
                time.sleep(_LOOK_EVERY)

    def kill(self, service: Service) -> None:
        """Kill a service with all its processes, as a power cut would."""
        process = self._running.pop(service.name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Let every service finish what it does, the newest first, and kill those that do not."""
        processes = list(reversed(self._running.values()))
        self._running.clear()
        for process in processes:
            process.terminate()
        end = time.monotonic() + _STOPPED_WITHIN
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its group: a worker may outlive its parent by a moment
            process.wait()

    def __enter__(self) -> Services:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _signals_wait():  # a second Ctrl-C must not leave a process behind
            self.stop()


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Make Ctrl-C, SIGTERM and SIGHUP end the demo as an error does, through every `with` on the way."""

    def leave(number: int, _: FrameType | None) -> None:
        print("chopmark demo: interrupted, the services are stopped", file=sys.stderr)
        sys.exit(128 + number)

    with _handled_by(leave):
        yield


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold back what ends the demo while processes are started or stopped that it must not lose sight of."""
    held: list[int] = []
    try:
        with _handled_by(lambda number, _: held.append(number)):
            yield
    finally:
        for number in held:
            signal.raise_signal(number)


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback where nobody listens now."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
            opened = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                opened.bind((HOST, port))
                found.append(port)
            if len(found) == count:
                return found
    raise ServiceError("no port of the loopback is free")


def _is_ready(url: str) -> bool:
    try:
        return urllib3.request("GET", f"{url}/readyz", timeout=2.0, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _last_line(path: Path) -> str:
    """What a service said last: its error, as it logs in JSON lines."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    with contextlib.suppress(ValueError):
        last = json.loads(lines[-1])
        if isinstance(last, dict) and "error" in last:
            return str(last["error"])
    return lines[-1]
