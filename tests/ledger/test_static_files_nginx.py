"""`deploy/nginx.conf`: a real nginx serves the public folder as the service itself does."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from chopmark_service.static_files import FOR_EVER, FOR_SECONDS

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"
BUNDLE = b"".join(b"\x00\x40" + b"CN-GD/11440000MB2D0P8Q3X" + bytes([number]) * 40 for number in range(256))
FILES = {
    "checkpoint": (b"cn-gd.example/log/2026\n1\nAAAA\n\n", "text/plain; charset=utf-8", FOR_SECONDS),
    "landmarks": (bytes(range(256)) * 64, "application/octet-stream", FOR_SECONDS),
    "tile/0/000": (b"\x01" * 8192, "application/octet-stream", FOR_EVER),
    "tile/0/001.p/5": (b"\x02" * 160, "application/octet-stream", FOR_EVER),
    "tile/63/x001/234": (b"\x03" * 8192, "application/octet-stream", FOR_EVER),
    "tile/entries/000": (BUNDLE, "application/octet-stream", FOR_EVER),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Upstream(BaseHTTPRequestHandler):
    """Stands for the service: it answers what it was asked."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = f"{self.command} {self.path} {self.headers.get('Authorization')} {len(body)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_nginx(text: str, folder: Path) -> Iterator[str]:
    """Run nginx with a server of `deploy/`, without TLS; answers where it listens."""
    nginx = shutil.which("nginx")
    assert nginx is not None
    port = free_port()
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = "\n".join(line for line in text.split("\n") if not line.strip().startswith("ssl_certificate"))
    temporary = "".join(
        f"{each}_temp_path {folder}/{each};\n" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # so that its worker may read the folder of the test
    (folder / "nginx.conf").write_text(
        f"daemon off;\n{user}\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{text}\n}}\n"
    )
    process = subprocess.Popen([nginx, "-e", str(folder / "error.log"), "-p", str(folder), "-c", "nginx.conf"])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib3.request("GET", url, retries=False)
                break
            except urllib3.exceptions.HTTPError:
                assert process.poll() is None, (folder / "error.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The prefix of the log behind a running nginx."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    public = folder / "public"
    for name, (content, _, _) in FILES.items():
        (public / name).parent.mkdir(parents=True, exist_ok=True)
        (public / name).write_bytes(content)
    (folder / "secret").write_bytes(b"secret")
    (public / "tile/0/002").symlink_to(folder / "secret")
    (public / "notes.txt").write_bytes(b"secret")
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    upstream.daemon_threads = True
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    text = CONFIGURATION.read_text()
    text = text.replace("server 127.0.0.1:8480;", f"server 127.0.0.1:{upstream.server_address[1]};")
    text = text.replace("/var/lib/chopmark/log/public", str(public))
    try:
        with running_nginx(text, folder) as url:
            yield f"{url}/log/2026"
    finally:
        upstream.shutdown()
        upstream.server_close()


@pytest.mark.parametrize("name", FILES)
def test_each_file_comes_whole_with_its_type_and_caching(prefix: str, name: str) -> None:
    content, media_type, caching = FILES[name]
    answer = urllib3.request("GET", f"{prefix}/{name}")
    assert (answer.status, answer.data) == (200, content)
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Cache-Control"] == caching
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    head = urllib3.request("HEAD", f"{prefix}/{name}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(content)))
    part = urllib3.request("GET", f"{prefix}/{name}", headers={"Range": "bytes=2-9"})
    assert (part.status, part.data) == (206, content[2:10])
    assert part.headers["Content-Range"] == f"bytes 2-9/{len(content)}"
    assert urllib3.request("GET", f"{prefix}/{name}", headers={"Range": "bytes=99999999-"}).status == 416


def test_tiles_have_tags_and_the_checkpoint_none_that_could_mislead(prefix: str) -> None:
    tag = urllib3.request("GET", f"{prefix}/tile/0/000").headers["ETag"]
    assert urllib3.request("GET", f"{prefix}/tile/0/000", headers={"If-None-Match": tag}).status == 304
    checkpoint = urllib3.request("GET", f"{prefix}/checkpoint")
    assert "ETag" not in checkpoint.headers
    assert "Last-Modified" not in checkpoint.headers


def test_bundles_are_compressed_for_who_accepts_it(prefix: str) -> None:
    answer = urllib3.request(
        "GET", f"{prefix}/tile/entries/000", headers={"Accept-Encoding": "gzip"}, decode_content=False
    )
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(answer.data) == BUNDLE
    tile = urllib3.request("GET", f"{prefix}/tile/0/000", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in tile.headers


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tile/",
        "tile/0/",
        "tile/0/001",
        "tile/0/001.p/6",
        "tile/0/001.p/",
        "tile/64/000",
        "tile/00/000",
        "tile/0/002",
        "notes.txt",
        "../secret",
        "%2e%2e/secret",
        "tile/..%2f..%2fsecret",
        "metrics",
        "readyz",
        "healthz",
    ],
)
def test_whatever_is_no_file_of_the_log_is_not_there(prefix: str, name: str) -> None:
    host, port = prefix.removeprefix("http://").partition("/")[0].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:  # urllib3 would tidy the path
        connection.sendall(f"GET /log/2026/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 403", b"HTTP/1.1 400")), answer[:200]
    assert b"secret" not in answer
    assert b"max-age" not in answer


def test_what_is_written_goes_to_the_service_as_it_came(prefix: str) -> None:
    headers = {"Authorization": "Bearer token"}
    answer = urllib3.request("POST", f"{prefix}/entries?wait=true", headers=headers, body=b"x" * 20_000_000)
    assert answer.data == b"POST /entries?wait=true Bearer token 20000000"
    assert urllib3.request("GET", f"{prefix}/status").data == b"GET /status None 0"
    assert urllib3.request("POST", f"{prefix}/checkpoint").status in {403, 405}
    assert urllib3.request("DELETE", f"{prefix}/entries").status in {403, 405}


def test_the_caching_that_nginx_is_told_is_that_of_the_service() -> None:
    text = CONFIGURATION.read_text()
    assert text.count(f'Cache-Control "{FOR_EVER}"') == 2
    assert text.count(f'Cache-Control "{FOR_SECONDS}"') == 2
