"""Logs written as somebody else's program would, without any of the ledger's, and a server for their files."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chopmark import tiles
from chopmark.checkpoint import Checkpoint
from chopmark.keys import Ed25519Signer
from chopmark.note import NoteSigner, sign_note
from chopmark_ledger import tree

OTHER = NoteSigner("rome.example/tevere", Ed25519Signer(b"\x05" * 32))


def write_log(folder: Path, entries: Sequence[bytes], signer: NoteSigner = OTHER) -> Path:
    """Write a log with its checkpoint, signed."""
    put(folder / "checkpoint", sign_note(write_tiles(folder, entries, signer.name).body(), [signer]).encode())
    return folder


def write_tiles(folder: Path, entries: Sequence[bytes], origin: str) -> Checkpoint:
    """Write tiles and entry bundles, and answer the checkpoint that belongs to them."""
    hashes = [sha256(b"\0" + entry).digest() for entry in entries]
    edge, _ = tree.append(tree.EMPTY_EDGE, hashes)
    level, row = 0, hashes
    while row:
        for index in range(-(-len(row) // 256)):
            part = row[index * 256 : index * 256 + 256]
            put(folder / tiles.tile_path(level, index, len(part)), b"".join(part))
            if level == 0:
                bundle = entries[index * 256 : index * 256 + 256]
                put(folder / tiles.entries_path(index, len(part)), tiles.encode_entry_bundle(bundle))
        row = [tree.tile_nodes(b"".join(row[n : n + 256]))[-1][0] for n in range(0, len(row) // 256 * 256, 256)]
        level += 1
    return Checkpoint(origin, len(entries), edge.root)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def opaque(count: int) -> list[bytes]:
    """Entries of another log: any bytes."""
    return [b"anything " * (number % 5) + b"%d" % number for number in range(count)]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says once to a request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None
    """The Content-Length, where it is another than the body's."""


@dataclass
class FileServer:
    """Serves a folder, over connections that stay open; what is scripted for a path comes first."""

    folder: Path
    compressed: bool = False
    """Whether entry bundles come compressed, asked for or not."""
    script: dict[str, list[Answer]] = field(default_factory=dict)
    before: Callable[[str], None] = lambda path: None
    """Called with each path, before it is answered."""
    requests: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    url: str = ""

    def answer(self, path: str) -> Answer:
        self.requests[path] += 1
        self.before(path)
        if self.script.get(path):
            return self.script[path].pop(0)
        file = self.folder / path
        if not file.is_file():
            return Answer(404, b"nothing here")
        data = file.read_bytes()
        if self.compressed and path.startswith("tile/entries/"):
            return Answer(200, gzip.compress(data, 1), {"Content-Encoding": "gzip"})
        return Answer(200, data)


@contextmanager
def serving(folder: Path, prefix: str = "", **settings: Any) -> Iterator[FileServer]:
    """Run a server in a thread, the files below `prefix`."""
    files = FileServer(folder, **settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            files.connections += 1

        def do_GET(self) -> None:
            path = self.path.removeprefix(f"{prefix}/")
            answer = files.answer(path) if self.path.startswith(f"{prefix}/") else Answer(404)
            self.send_response(answer.status)
            length = len(answer.body) if answer.announced is None else answer.announced
            for name, value in {"Content-Length": str(length), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.announced is not None:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_address[1]}{prefix}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
