"""A child of a process tree: a command in a session of its own, what it says, and whether it can do its work.

    Child(name="log", command=(CHOPMARK, "log", "serve", …), ready=AnswersReady("127.0.0.1", 8471))

What it writes to standard output and standard error comes out as lines of JSON, with the child named:

    {"service": "log", "part": "http", "method": "POST", "event": "request", …}      a line of JSON that it wrote
    {"service": "witness", "event": "said", "text": "cn-gd.example/witness+…"}       any other
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_LAUNCHER = str(Path(__file__).with_name("child_launcher.py"))
_READ = 64 * 1024
MAX_LINE = 64 * 1024
"""Bytes of a line; a longer one is cut into several."""
_MAX_REASON = 500
_NAMED = '{"service": "'
_PROGRAM = "chopmark: "
"""What a command of ours puts before its error."""
_LOOK_WITHIN = 1.0
"""Seconds that a look at a child's readiness may take; the tree does nothing else meanwhile."""


class Readiness(Protocol):
    """How to see that a child can do its work."""

    def look(self) -> bool:
        """Whether it can, now; within a second or so."""
        ...

    @property
    def place(self) -> str:
        """Where it is looked for, for people to read."""
        ...


@dataclass(frozen=True, slots=True)
class AnswersReady:
    """A service that answers 200 to `GET /readyz` once it is ready, and something to `GET /healthz` while it lives."""

    host: str
    port: int

    @property
    def place(self) -> str:
        """Address and port."""
        return f"{self.host} port {self.port}"

    def look(self) -> bool:
        """Ask it."""
        return self._ask("/readyz", _LOOK_WITHIN) == http.client.OK

    def answers(self, *, within: float) -> bool:
        """Whether it answers at all within so many seconds."""
        return self._ask("/healthz", within) is not None

    def _ask(self, path: str, within: float) -> int | None:
        """The status of its answer; None where it gives none."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=within)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Listens:
    """A service that takes connections at a Unix socket."""

    path: Path

    @property
    def place(self) -> str:
        """The socket."""
        return str(self.path)

    def look(self) -> bool:
        """Connect to it."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_LOOK_WITHIN)
            try:
                probe.connect(str(self.path))
            except OSError:
                return False
            return True


@dataclass(frozen=True, slots=True)
class Child:
    """What a tree is told of a child.

    Args:
        name: what it is called in the lines of the tree.
        command: an absolute path and its arguments.
        ready: how to see that those who need it can start.
        needs: the names of children before it that are to be ready first.
        withheld: how the variables begin that it does not get, as they are what another one is told, such as the
            password of a database.
    """

    name: str
    command: tuple[str, ...]
    ready: Readiness
    needs: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """The variables of this process, without those that are withheld."""
        return {name: value for name, value in os.environ.items() if not name.upper().startswith(self.withheld)}


class ChildProcess:
    """A child that runs: its process leads a session, and with it a group of which every process can be killed."""

    def __init__(self, child: Child) -> None:
        self._name = child.name
        self._rest = b""
        self._telling = ""
        self._tells_error = False
        read, write = os.pipe()
        os.set_blocking(read, False)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid()), *child.command],
                child.environment(),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, source, target) for source, target in ((nothing, 0), (write, 1), (write, 2))
                ],
                setsid=True,
                setsigmask=(),
            )
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
            os.close(nothing)
        self.output = read
        self.is_open = True

    def read_lines(self) -> tuple[list[bytes], bool]:
        """Some of what it has written since, as lines of JSON without newlines, and whether more may come.

        It is one read, so that a child that never stops writing keeps nobody from doing something else.
        """
        try:
            data = os.read(self.output, _READ)
        except BlockingIOError:
            return [], True
        return self._lines(data), bool(data)

    def terminate(self) -> None:
        """Ask its leading process to end; that one tells the others."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill every process of its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def is_gone(self) -> bool:
        """Whether no process of its group is left, not even one that waits to be reaped."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # as macOS answers for one that waits to be reaped
            return False
        return False

    def close(self) -> None:
        """Let go of what it writes."""
        os.close(self.output)
        self.is_open = False

    def reason(self) -> str:
        """Why it ended, as far as it said: its last error, else its last line."""
        text = self._telling
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(text)
            if isinstance(event, dict):
                text = str(event.get("error") or event.get("event") or text)
        return text.removeprefix(_PROGRAM)[:_MAX_REASON]

    def _lines(self, data: bytes) -> list[bytes]:
        """Complete lines of what came; an empty `data` ends the last."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > MAX_LINE:
            complete, self._rest = [*complete, self._rest], b""
        return [self._named(each) for each in complete if each.strip()]

    def _named(self, line: bytes) -> bytes:
        text = line.decode("utf-8", "replace").strip()
        is_error = '"error": ' in text or text.startswith(_PROGRAM)
        if is_error or not self._tells_error:
            self._telling, self._tells_error = text, is_error
        name = json.dumps(self._name)
        if text.startswith(_NAMED):  # a tree within this one named it already
            return f"{_NAMED}{self._name}/{text[len(_NAMED) :]}".encode()
        if text.startswith('{"') and text.endswith("}"):
            # Of ours, and there may be thousands a second: they are not parsed to be written again.
            return f'{{"service": {name}, {text[1:]}'.encode()
        return f'{{"service": {name}, "event": "said", "text": {json.dumps(text, ensure_ascii=False)}}}'.encode()
