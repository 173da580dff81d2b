"""The loop of every peer: read the material, then do and time one round for each line."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any


def serve(prepare: Callable[[dict[str, Any]], Callable[[], object]], packages: tuple[str, ...]) -> None:
    """Prepare the operation from the first line, then time it as often as the parent asks."""
    operation = prepare(json.loads(sys.stdin.readline()))
    operation()
    versions = {"Python": platform.python_version(), **{name: version(name) for name in packages}}
    _answer({"versions": versions})
    for line in sys.stdin:
        turns = range(json.loads(line)["times"])
        started = time.perf_counter()
        for _ in turns:
            operation()
        _answer({"seconds": (time.perf_counter() - started) / len(turns)})


def _answer(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
