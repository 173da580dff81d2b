"""A service of ours in processes of its own, started by its command, and requests sent to it over open connections."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from bench.rounds import Series

_START_WITHIN = 60


class ServiceProcess:
    """One running command that logs where it listens; a context manager that ends it with SIGTERM."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._command = [sys.executable, "-c", "from chopmark.cli import main; main()", *arguments]
        self._log = log

    def __enter__(self) -> str:
        """Start it; answers its address."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + _START_WITHIN
        while True:
            for line in self._log.read_text().splitlines():
                if '"listening"' in line:
                    url: str = json.loads(line)["url"]
                    return url
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the service did not start: {self._log.read_text()}")
            time.sleep(0.01)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(_START_WITHIN)


def post(path: str, body: bytes, *, token: str | None = None, content_type: str = "application/json") -> bytes:
    """A whole request, as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def send_all(url: str, conversations: Sequence[Sequence[bytes]], *, expected: int) -> tuple[float, Series]:
    """Send each conversation over a connection of its own, one request after the other, all connections at once.

    Returns:
        The seconds for everything, and the seconds that each single request took.
    """
    return asyncio.run(_send_all(url, conversations, expected))


async def _send_all(url: str, conversations: Sequence[Sequence[bytes]], expected: int) -> tuple[float, Series]:
    address = urlsplit(url)
    streams = [await asyncio.open_connection(address.hostname, address.port) for _ in conversations]
    taken: list[float] = []

    async def converse(requests: Sequence[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for request in requests:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            body = await reader.readexactly(length)
            taken.append(time.perf_counter() - began)
            if int(head[9:12]) != expected:
                raise RuntimeError(f"{head!r} {body[:300]!r}")

    started = time.perf_counter()
    await asyncio.gather(
        *(converse(requests, *stream) for requests, stream in zip(conversations, streams, strict=True))
    )
    seconds = time.perf_counter() - started
    for _, writer in streams:
        writer.close()
    return seconds, Series(tuple(sorted(taken)))
