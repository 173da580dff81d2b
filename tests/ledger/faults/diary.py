"""What was promised to somebody outside the log: a file that outlives every process that writes into it.

A line is written with one system call after the promise was given, so what it says was said. Whoever is killed between
promise and line has promised nothing that anybody heard.

    {"batch": [client, number, count], "indexes": [first, …]}     acknowledged
    {"checkpoint": [size, root in hex]}                            seen in the public folder
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from chopmark.entries import CredentialEntry

ISSUER = "CN-GD/11440000MB2D0P8Q3X"


@dataclass(frozen=True, slots=True)
class Promise:
    """A batch that was acknowledged: who sent it, under which number, and the index of each entry."""

    client: str
    number: int
    indexes: tuple[int, ...]


class Diary:
    """Appends to the file of promises, whole lines only."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def acknowledged(self, client: str, number: int, indexes: Sequence[int | None]) -> None:
        """Note that a batch was acknowledged."""
        self._write({"batch": [client, number], "indexes": list(indexes)})

    def saw(self, size: int, root: bytes) -> None:
        """Note a checkpoint that was published."""
        self._write({"checkpoint": [size, root.hex()]})

    def _write(self, line: dict[str, object]) -> None:
        data = json.dumps(line).encode() + b"\n"
        assert os.write(self._descriptor, data) == len(data)


def read(path: Path) -> tuple[list[Promise], list[tuple[int, bytes]]]:
    """Read all promises, and all checkpoints that were seen."""
    promises: list[Promise] = []
    checkpoints: list[tuple[int, bytes]] = []
    for line in path.read_text().splitlines() if path.exists() else []:
        note = json.loads(line)
        if "batch" in note:
            client, number = note["batch"]
            promises.append(Promise(client, number, tuple(note["indexes"])))
        else:
            size, root = note["checkpoint"]
            checkpoints.append((size, bytes.fromhex(root)))
    return promises, checkpoints


def entries(client: str, number: int, count: int) -> list[bytes]:
    """The entries of a batch: they follow from who sends it under which number."""
    return [
        CredentialEntry(ISSUER, sha256(f"{client} {number} {place}".encode()).digest()).encode()
        for place in range(count)
    ]
