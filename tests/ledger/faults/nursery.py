"""A parent that has imported everything and opened nothing, and forks a child for each round.

A fault test needs hundreds of processes that can be killed at any moment; forking one takes milliseconds where starting
Python and importing the ledger takes a second. The nursery is a process of its own with a single thread, so that a
fork copies no lock that somebody holds. It speaks one line of JSON at a time:

    {"run": "<scenario>", "arguments": {…}}   →  {"pid": 4711}      the child leads a process group and waits for `go`
    {"go": 4711}                              →  {}                 it begins
    {"reap": 4711}                            →  {"status": -9}     once it has ended: exit code, or minus the signal
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any

from tests.ledger.faults import scenarios


class Nursery:
    """The nursery as a test sees it; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ledger.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask({"hello": 1})

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()

    def fork(self, scenario: str, **arguments: str | int) -> int:
        """Fork a child for a scenario; it waits for `go`. Answers its process id, which is its group's too."""
        pid: int = self._ask({"run": scenario, "arguments": arguments})["pid"]
        return pid

    def go(self, pid: int) -> None:
        """Let a child begin."""
        self._ask({"go": pid})

    def reap(self, pid: int) -> int:
        """Wait until a child has ended; answers its exit code, or minus the signal that killed it."""
        status: int = self._ask({"reap": pid})["status"]
        return status

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _fork(scenario: str, arguments: dict[str, Any]) -> tuple[int, int]:
    """Fork a child; answers its process id and the pipe that lets it begin."""
    waiting, starting = os.pipe()
    pid = os.fork()
    if pid:
        os.close(waiting)
        os.setpgid(pid, pid)
        return pid, starting
    code = 70
    try:
        os.setpgid(0, 0)
        os.close(starting)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.read(waiting, 1)
        scenarios.SCENARIOS[scenario](**arguments)
        code = 0
    except Exception as error:
        code = scenarios.exit_code(error)
        if code == scenarios.UNEXPECTED:
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


def main() -> None:
    """Answer questions until there are no more."""
    waiting: dict[int, int] = {}
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, int] = {}
        if "run" in question:
            pid, starting = _fork(question["run"], question["arguments"])
            waiting[pid] = starting
            answer = {"pid": pid}
        elif "go" in question:
            starting = waiting.pop(question["go"])
            os.write(starting, b"!")
            os.close(starting)
        elif "reap" in question:
            _, status = os.waitpid(question["reap"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
