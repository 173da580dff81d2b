"""A peer library in a process and environment of its own, timed in turns with ours.

The protocol is in `bench/peers/README.md`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = Path(__file__).parent / "peers"
PYTHON = FOLDER / ".venv" / "bin" / "python"


class PeerProcess:
    """One running driver of `bench/peers`; `versions` are those of the libraries it uses."""

    def __init__(self, driver: str, material: Mapping[str, object]) -> None:
        if not PYTHON.exists():
            raise FileNotFoundError(f"{PYTHON}: the environment of the peers is made by `make bench`")
        self._process = subprocess.Popen(
            [PYTHON, "-m", f"bench.peers.{driver}"],
            cwd=FOLDER.parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions: dict[str, str] = self._ask(material)["versions"]

    def round(self, times: int) -> Callable[[], float]:
        """A round in which the peer does its operation `times` times."""
        return lambda: float(self._ask({"times": times})["seconds"])

    def title(self) -> str:
        """The libraries and their versions."""
        return ", ".join(f"{name} {version}" for name, version in self.versions.items())

    def _ask(self, message: Mapping[str, object]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(message) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"a peer ended with exit code {self._process.wait()}; its error stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The driver ends when its input does.
        self._process.communicate()
