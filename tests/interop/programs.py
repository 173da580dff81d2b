"""Programs of others, at pinned versions, in a cache folder outside the repository; what they are stands in
`outside/README.md`.

Those in Python are installed at the first use, which needs the package registry; later uses need nothing. Those in Go
are taken from the folder that CHOPMARK_INTEROP_GO names; without it, the tests that need them are skipped, and say so.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

_HERE = Path(__file__).parent / "outside"
_CACHE = Path(os.environ.get("CHOPMARK_INTEROP_CACHE", Path.home() / ".cache" / "chopmark-interop"))
_BUILD_SECONDS = 900
_START_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code, and what it wrote to stdout and stderr."""

    code: int
    raw_out: bytes
    err: str

    @property
    def out(self) -> str:
        """What it wrote to stdout, as text."""
        return self.raw_out.decode("utf-8", "replace")

    @property
    def all(self) -> str:
        """Everything it wrote, as text."""
        return self.out + self.err


def has_go_programs() -> bool:
    """Whether the programs in Go are at hand."""
    return "CHOPMARK_INTEROP_GO" in os.environ


def go_program(name: str) -> str:
    """The path of a Go program, by the name that `outside/README.md` gives it."""
    folder = os.environ.get("CHOPMARK_INTEROP_GO")
    if folder is None:
        pytest.skip("CHOPMARK_INTEROP_GO names no folder with programs of others; see tests/interop/outside/README.md")
    found = shutil.which(name, path=folder)
    assert found is not None, f"{folder} has no program `{name}`"
    return found


def python_program(name: str) -> str:
    """The path of a program of the environment of `outside/python/requirements.txt`; makes it if need be."""
    return str(_python_programs() / name)


def run(*command: str | Path, timeout: float = 60, code: int | None = 0) -> Ended:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        timeout: seconds after which it has failed.
        code: the exit code it must end with, None for any.
    """
    done = subprocess.run([str(each) for each in command], capture_output=True, timeout=timeout, check=False)
    ended = Ended(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))
    assert code is None or ended.code == code, f"{command[0]} ended with {ended.code}\n{ended.all[-4000:]}"
    return ended


class Running:
    """A server that runs within a `with` block; `output` is what it has written so far.

    Args:
        command: the program and its arguments.
        ready: a URL that it answers, with whatever status, once it is ready.
        output_file: where to keep what it writes.
    """

    def __init__(self, *command: str | Path, ready: str, output_file: Path) -> None:
        self._file = output_file
        with output_file.open("wb") as stream:
            self._process = subprocess.Popen(
                [str(each) for each in command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_for(ready)
        except BaseException:
            self.close()
            raise

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._file.read_text(errors="replace")

    def _wait_for(self, url: str) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            assert self._process.poll() is None, f"{self._process.args!r} ended at once\n{self.output[-4000:]}"
            if answers(url):
                return
            time.sleep(0.05)
        raise AssertionError(f"{self._process.args!r} does not answer\n{self.output[-4000:]}")

    def close(self) -> None:
        """End it, gently at first."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it at once, whatever it is doing, and whatever it started with it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def answers(url: str) -> bool:
    """Whether anybody answers at a URL, with whatever status."""
    try:
        with urlopen(url, timeout=1):
            return True
    except HTTPError:
        return True
    except (URLError, OSError):
        return False


@cache
def _python_programs() -> Path:
    requirements = _HERE / "python" / "requirements.txt"
    with _made_once("python", sys.version, requirements) as (place, made):
        if not made:
            _make([sys.executable, "-m", "venv", str(place)], _CACHE)
            pip = [str(place / "bin" / "pip"), "--quiet", "--disable-pip-version-check", "install"]
            _make([*pip, "--ignore-requires-python", "--require-hashes", "-r", str(requirements)], _CACHE)
    return place / "bin"


@contextmanager
def _made_once(kind: str, version: str, *pins: Path) -> Iterator[tuple[Path, bool]]:
    """A folder that stands for these pins, and whether it is made already; one process at a time."""
    digest = sha256(version.encode() + b"".join(pin.read_bytes() for pin in pins)).hexdigest()[:16]
    place, done = _CACHE / f"{kind}-{digest}", _CACHE / f"{kind}-{digest}.made"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
        yield place, done.exists()
        done.touch()


def _make(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} failed\n{done.stderr[-4000:]}"
