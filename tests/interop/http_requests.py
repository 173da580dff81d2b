"""Plain HTTP, with nothing of ours in it: requests, and a server of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, content type and body."""

    status: int
    content_type: str | None
    body: bytes


def send(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """POST a body, or GET where there is none."""
    try:
        with urlopen(Request(url, data=body, headers=dict(headers or {})), timeout=30) as answer:
            return Reply(answer.status, answer.headers["Content-Type"], answer.read())
    except HTTPError as error:
        with error:
            return Reply(error.code, error.headers["Content-Type"], error.read())


@contextmanager
def plain_file_server(folder: Path) -> Iterator[str]:
    """Serve a folder as the standard library does; answers the URL."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
