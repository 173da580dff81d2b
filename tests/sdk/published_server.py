"""A server of a region's published files, over real connections, which does badly what a test tells it to."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from tests.ledger.raw_server import Behaviour, Server

if TYPE_CHECKING:
    from tests.sdk.conftest import TestRegion, World

Published = dict[str, bytes]
PREFIX = "/prefix/"


class PublishedServer:
    """Serves the files in `files`, by their paths, with entity tags and ranges.

    Attributes:
        files: what is published; a test may change it at any time.
        faults: what is done with a request for a path, instead of answering it.
        answers: path and status of each answer, in order.
        has_tags: whether entity tags are known.
        has_ranges: whether ranges are.
        sent: bytes of all bodies.
        url: the prefix of its files.
    """

    def __init__(self, files: Published) -> None:
        self.files = files
        self.faults: dict[str, Behaviour] = {}
        self.answers: list[tuple[str, int]] = []
        self.has_tags = True
        self.has_ranges = True
        self.sent = 0
        self._server = Server(self.behave)
        self.url = self._server.url
        self._is_open = True

    def statuses(self) -> dict[str, int]:
        """The last status by path; those before are forgotten."""
        found = dict(self.answers)
        self.answers.clear()
        return found

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._server.close()

    def behave(self, connection: socket.socket, request: bytes) -> bool | None:
        """Answer one request."""
        line, _, rest = request.decode("latin-1").partition("\r\n")
        path = line.split(" ")[1].removeprefix(PREFIX)
        if path in self.faults:
            self.answers.append((path, 0))
            return self.faults[path](connection, request)
        headers = {name.lower(): value for name, value in re.findall(r"([^\r\n:]+): ([^\r\n]*)", rest)}
        status, body, extra = self._answer(path, headers)
        self.answers.append((path, status))
        self.sent += len(body)
        head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *extra]
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        return True

    def _answer(self, path: str, headers: dict[str, str]) -> tuple[int, bytes, list[str]]:
        data = self.files.get(path)
        if data is None:
            return 404, b"none", []
        tag = f'"{sha256(data).hexdigest()[:16]}"'
        extra = [f"ETag: {tag}"] if self.has_tags else []
        if self.has_tags and headers.get("if-none-match") == tag:
            return 304, b"", extra
        match = re.fullmatch(r"bytes=([0-9]+)-", headers.get("range", ""))
        if match is None or not self.has_ranges:
            return 200, data, extra
        start = int(match.group(1))
        if start >= len(data):
            return 416, b"", [*extra, f"Content-Range: bytes */{len(data)}"]
        return 206, data[start:], [*extra, f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}"]


@contextmanager
def serving(*published: Published) -> Iterator[list[PublishedServer]]:
    """A server for each region's files, until the end of a `with` block."""
    servers = [PublishedServer(files) for files in published]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


def publish(world: World, region: TestRegion) -> Published:
    """All that a region publishes, but for landmarks."""
    bundle = world.home_bundle() if region is world.home else region.bundle()
    published = {"root/1.note": region.epoch_notes[0]}
    published["bundle.note"], published["bundle.tlog-proof"] = region.logged(bundle)
    published["status/1"], published["status/1.tlog-proof"] = region.logged_list(region.token())
    return published


def publish_landmarks(world: World, published: Published, region: TestRegion, *, count: int = 2) -> None:
    """The home region vouches for the landmark file of a region's log."""
    data, proof = world.vouched(world.landmarks(region.log, count), region.log.origin)
    published[f"landmarks/{region.code}/1.landmarks"] = data
    published[f"landmarks/{region.code}/1.tlog-proof"] = proof


def publish_all(world: World) -> tuple[Published, Published]:
    """What both regions publish, with landmarks."""
    home, peer = publish(world, world.home), publish(world, world.peer)
    for region in (world.home, world.peer):
        publish_landmarks(world, home, region)
    return home, peer
