"""The client of published files and the server of static files agree on tags, ranges and compression."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chopmark.client.entity_tags import EntityTags
from chopmark.client.published_files import PublishedFiles
from chopmark.refresh import Unchanged
from chopmark_service.static_files import FOR_SECONDS, FileKind, StaticFiles
from fastapi import FastAPI, Request, Response

from tests.ledger.asgi import ask
from tests.ledger.raw_server import Server

LANDMARKS = "landmarks/CN-GD/1.landmarks"
KINDS = {
    "bundle.note": FileKind("text/plain; charset=utf-8", FOR_SECONDS, hashed=True, compressed=True),
    LANDMARKS: FileKind("application/octet-stream", FOR_SECONDS, compressed=True),
}


class Site:
    """A folder served over TCP by `StaticFiles`, and what was answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: list[tuple[int, int]] = []
        application = FastAPI()
        files = StaticFiles(folder, KINDS.get)

        @application.get("/prefix/{name:path}")
        async def answer(name: str, request: Request) -> Response:
            return await files.answer(name, request)

        def behave(connection: socket.socket, request: bytes) -> bool:
            line, _, rest = request.decode("latin-1").partition("\r\n")
            headers = dict(re.findall(r"([^\r\n:]+): ([^\r\n]*)", rest))
            found = asyncio.run(ask(application, "GET", line.split(" ")[1], headers=headers))
            self.answers.append((found.status, len(found.body)))
            head = [f"HTTP/1.1 {found.status} X", *(f"{name}: {value}" for name, value in found.headers.items())]
            connection.sendall("\r\n".join([*head, "", ""]).encode() + found.body)
            return True

        self.server = Server(behave)

    def write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    with closing(site.server):
        yield site


def test_a_compressed_file_is_asked_for_under_the_tag_of_its_compressed_form(site: Site) -> None:
    data = b"a bundle of many words, many words, many words" * 100
    site.write("bundle.note", data)
    with closing(PublishedFiles(site.server.url, tags=EntityTags())) as files:
        assert files.fetch("bundle.note", max_size=10_000) == data
        assert files.fetch("bundle.note", max_size=10_000, held=data) is Unchanged.UNCHANGED
        site.write("bundle.note", data + b"!")
        assert files.fetch("bundle.note", max_size=10_000, held=data) == data + b"!"
    assert [status for status, _ in site.answers] == [200, 304, 200]
    assert site.answers[0][1] < len(data) / 10


def test_a_file_that_grows_is_sent_from_its_last_known_record_on(site: Site) -> None:
    data = bytes(16) + b"".join(bytes([number]) * 64 for number in range(50))
    site.write(LANDMARKS, data[: 16 + 40 * 64])
    with closing(PublishedFiles(site.server.url, tags=EntityTags())) as files:

        def fetch(held: bytes | None) -> bytes | Unchanged | None:
            return files.fetch(LANDMARKS, max_size=10_000, held=held, grows=True)

        first = fetch(None)
        assert isinstance(first, bytes)
        assert fetch(first) is Unchanged.UNCHANGED
        assert fetch(first) is Unchanged.UNCHANGED
        site.write(LANDMARKS, data)
        assert fetch(first) == data
        assert fetch(data) is Unchanged.UNCHANGED
    # The first answer was compressed, so its tag is not that of the bytes of which a range is asked for.
    assert [status for status, _ in site.answers] == [200, 206, 304, 206, 304]
    assert [size for _, size in site.answers[1:]] == [64, 0, 64 * 11, 0]
