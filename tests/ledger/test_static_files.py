"""The public folder over HTTP: what is there, how it is cached, parts of it, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest
from chopmark_ledger.service.static_files import kind_of
from chopmark_service.static_files import FOR_EVER, FOR_SECONDS, StaticFiles
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.asgi import Answer, ask

BUNDLE = b"".join(b"\x00\x40" + b"CN-GD/11440000MB2D0P8Q3X" + bytes([number]) * 40 for number in range(256))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    public = tmp_path / "public"
    for name, content in {
        "checkpoint": b"cn-gd.example/log/2026\n1\nAAAA\n\n",
        "landmarks": bytes(range(256)) * 4096,
        "tile/0/000": b"\x01" * 8192,
        "tile/0/001.p/5": b"\x02" * 160,
        "tile/0/x001/234": b"\x03" * 8192,
        "tile/entries/000": BUNDLE,
        "notes.txt": b"not for everybody",
    }.items():
        (public / name).parent.mkdir(parents=True, exist_ok=True)
        (public / name).write_bytes(content)
    (tmp_path / "secret").write_bytes(b"secret")
    return public


def get(folder: Path, name: str, *, method: str = "GET", **headers: str) -> Answer:
    application = FastAPI()
    files = StaticFiles(folder, kind_of)

    @application.api_route("/{name:path}", methods=["GET", "HEAD"])
    async def answer(name: str, request: Request) -> Response:
        return await files.answer(name, request)

    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return asyncio.run(ask(application, method, f"/{name}", headers=named))


@pytest.mark.parametrize(
    ("name", "media_type", "caching"),
    [
        ("checkpoint", "text/plain; charset=utf-8", FOR_SECONDS),
        ("landmarks", "application/octet-stream", FOR_SECONDS),
        ("tile/0/000", "application/octet-stream", FOR_EVER),
        ("tile/0/001.p/5", "application/octet-stream", FOR_EVER),
        ("tile/0/x001/234", "application/octet-stream", FOR_EVER),
        ("tile/entries/000", "application/octet-stream", FOR_EVER),
    ],
)
def test_each_file_comes_whole_with_its_type_and_caching(
    folder: Path, name: str, media_type: str, caching: str
) -> None:
    answer = get(folder, name)
    assert answer.status == 200
    assert answer.body == (folder / name).read_bytes()
    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == caching
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["etag"].startswith('"')
    head = get(folder, name, method="HEAD")
    assert (head.status, head.body, head.headers) == (200, b"", answer.headers)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/002",
        "tile/0/001.p",
        "tile/0/001.p/6",
        "tile/0/000.p/256",
        "tile/00/000",
        "tile/0/0",
        "tile/0/000/",
        "tile//0/000",
        "tile/0/../0/000",
        "../secret",
        "tile/../../secret",
        "/etc/passwd",
        "checkpoint/",
        "checkpoint\x00",
        "notes.txt",
        "tile/0/٠٠٠",
    ],
)
def test_whatever_is_no_file_of_the_log_is_not_there(folder: Path, name: str) -> None:
    answer = get(folder, name)
    assert answer.status == 404
    assert answer.json()["code"] == "not_found"
    assert answer.headers["cache-control"] == "no-store"
    assert str(folder) not in answer.body.decode()


def test_no_link_leads_out_of_the_folder_and_nothing_but_files_is_read(folder: Path) -> None:
    (folder / "tile/0/002").symlink_to(folder.parent / "secret")
    (folder / "tile/1").symlink_to(folder.parent)
    (folder.parent / "000").write_bytes(b"secret")
    os.mkfifo(folder / "tile/0/003")
    for name in ("tile/0/002", "tile/1/000", "tile/0/003"):
        assert get(folder, name).status == 404


def test_a_folder_that_is_not_there_yet_has_no_files(tmp_path: Path) -> None:
    assert get(tmp_path / "public", "checkpoint").status == 404


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=16-79", 16, 80),
        ("bytes=1048560-", 1048560, 1048576),
        ("bytes=-64", 1048512, 1048576),
        ("bytes=-2000000", 0, 1048576),
        ("bytes=100-99999999", 100, 1048576),
    ],
)
def test_a_range_is_answered_by_itself(folder: Path, wanted: str, start: int, end: int) -> None:
    answer = get(folder, "landmarks", range=wanted)
    assert answer.status == 206
    assert answer.body == (folder / "landmarks").read_bytes()[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1048576"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("wanted", ["bytes=1048576-", "bytes=2000000-3000000", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(folder: Path, wanted: str) -> None:
    answer = get(folder, "landmarks", range=wanted)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == "bytes */1048576"


@pytest.mark.parametrize("wanted", ["bytes=5-1", "bytes=-", "bytes=0-1,5-6", "items=0-1", "x", ""])
def test_what_is_no_single_range_is_ignored(folder: Path, wanted: str) -> None:
    assert get(folder, "landmarks", range=wanted).status == 200


@given(first=st.integers(0, 1200), last=st.integers(0, 1200))
def test_parts_put_together_are_the_file(tmp_path_factory: pytest.TempPathFactory, first: int, last: int) -> None:
    folder = tmp_path_factory.mktemp("public")
    (folder / "landmarks").write_bytes(bytes(number % 251 for number in range(1000)))
    answer = get(folder, "landmarks", range=f"bytes={first}-{last}")
    content = (folder / "landmarks").read_bytes()
    if last < first:
        assert (answer.status, answer.body) == (200, content)
    elif first >= 1000:
        assert answer.status == 416
    else:
        assert (answer.status, answer.body) == (206, content[first : last + 1])


def test_a_tag_that_matches_answers_without_the_body(folder: Path) -> None:
    for name in ("checkpoint", "landmarks", "tile/0/000"):
        tag = get(folder, name).headers["etag"]
        for wanted in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = get(folder, name, if_none_match=wanted)
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["etag"] == tag
        assert get(folder, name, if_none_match='"other"').status == 200


def test_a_new_checkpoint_has_a_new_tag_even_at_the_same_time(folder: Path) -> None:
    before = get(folder, "checkpoint").headers["etag"]
    found = (folder / "checkpoint").stat()
    (folder / "checkpoint").write_bytes(b"cn-gd.example/log/2026\n2\nAAAA\n\n")
    os.utime(folder / "checkpoint", ns=(found.st_mtime_ns, found.st_mtime_ns))
    assert get(folder, "checkpoint", if_none_match=before).status == 200


def test_a_range_of_a_file_that_changed_is_answered_whole(folder: Path) -> None:
    tag = get(folder, "landmarks").headers["etag"]
    assert get(folder, "landmarks", range="bytes=0-9", if_range=tag).status == 206
    assert get(folder, "landmarks", range="bytes=0-9", if_range='"other"').status == 200


def test_a_bundle_of_many_bytes_is_not_compressed_for_each_request(folder: Path) -> None:
    (folder / "tile/entries/001").write_bytes(bytes(1024 * 1024))
    (folder / "tile/entries/002").write_bytes(bytes(1024 * 1024 + 1))
    assert get(folder, "tile/entries/001", accept_encoding="gzip").headers["content-encoding"] == "gzip"
    answer = get(folder, "tile/entries/002", accept_encoding="gzip")
    assert "content-encoding" not in answer.headers
    assert (len(answer.body), answer.headers["vary"]) == (1024 * 1024 + 1, "Accept-Encoding")


def test_bundles_are_compressed_for_who_accepts_it(folder: Path) -> None:
    plain = get(folder, "tile/entries/000")
    answer = get(folder, "tile/entries/000", accept_encoding="br, gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == BUNDLE
    assert len(answer.body) < len(BUNDLE)
    assert answer.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert answer.headers["etag"] != plain.headers["etag"]
    again = get(folder, "tile/entries/000", accept_encoding="gzip", if_none_match=answer.headers["etag"])
    assert again.status == 304
    for refusing in ("identity", "gzip;q=0", "br", ""):
        assert "content-encoding" not in get(folder, "tile/entries/000", accept_encoding=refusing).headers
    part = get(folder, "tile/entries/000", accept_encoding="gzip", range="bytes=0-1")
    assert (part.status, part.body) == (206, BUNDLE[:2])
    assert "content-encoding" not in get(folder, "tile/0/000", accept_encoding="gzip").headers


def test_a_file_that_is_replaced_while_it_is_sent_comes_as_it_was(folder: Path) -> None:
    before = (folder / "landmarks").read_bytes()

    class Replaced(StaticFiles):
        async def answer(self, name: str, request: Request) -> Response:
            answer = await super().answer(name, request)
            (folder / "new").write_bytes(b"new")
            (folder / "new").replace(folder / "landmarks")
            return answer

    application = FastAPI()
    files = Replaced(folder, kind_of)

    @application.get("/landmarks")
    async def landmarks(request: Request) -> Response:
        return await files.answer("landmarks", request)

    assert asyncio.run(ask(application, "GET", "/landmarks")).body == before


def test_no_file_stays_open(folder: Path) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = opened()
    for _ in range(5):
        get(folder, "landmarks")
        get(folder, "landmarks", method="HEAD")
        get(folder, "tile/0/000")
        get(folder, "tile/0/999")
        get(folder, "landmarks", range="bytes=9999999-")
    assert opened() <= before
