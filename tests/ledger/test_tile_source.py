"""Reading the files of a log from a folder and from a server that misbehaves in every way."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chopmark.errors import FormatError, LimitError, StorageError
from chopmark_ledger.audit.http_source import HttpSource
from chopmark_ledger.audit.tile_source import FileKind, FolderSource, FoundFile, fetching, size_limit
from chopmark_ledger.errors import LogUnreachableError

from tests.ledger.sample_log import Answer, FileServer, put, serving

TILE = "tile/0/000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "checkpoint", b"a checkpoint")
    put(tmp_path / TILE, bytes(8192))
    put(tmp_path / "tile/0/001.p/3", bytes(96))
    put(tmp_path / "tile/entries/000", b"\0\1x" * 256)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[FileServer]:
    with serving(folder) as files:
        yield files


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def source(server: FileServer, pauses: list[float]) -> Iterator[HttpSource]:
    with closing(HttpSource(server.url, sleep=pauses.append)) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("checkpoint", 4 << 20),
        ("landmarks", 64 << 20),
        ("tile/0/000", 8192),
        ("tile/3/x001/000.p/7", 224),
        ("tile/entries/000", 256 * 65_537),
        ("tile/entries/000.p/2", 2 * 65_537),
    ],
)
def test_each_file_of_a_log_has_a_size_that_it_never_exceeds(path: str, limit: int) -> None:
    assert size_limit(path) == limit


def test_what_is_no_file_of_a_log_is_not_read(folder: Path) -> None:
    with pytest.raises(FormatError):
        FolderSource(folder).read("../secret")


def test_a_folder_answers_what_lies_there_and_nothing_for_what_does_not(folder: Path) -> None:
    source = FolderSource(folder)
    assert source.read("checkpoint") == b"a checkpoint"
    assert source.read(TILE) == bytes(8192)
    assert source.read("tile/0/002") is None


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such folder"):
        FolderSource(tmp_path / "none")


def test_what_is_no_file_is_named_and_never_waited_for(folder: Path) -> None:
    source = FolderSource(folder)
    (folder / "tile/0/002").mkdir()
    os.mkfifo(folder / "tile/0/003")
    put(folder / "tile/0/005.p", b"a file where a folder belongs")
    with pytest.raises(StorageError, match="a folder lies where a file belongs"):
        source.read("tile/0/002")
    with pytest.raises(StorageError, match="a device, pipe or socket lies"):
        source.read("tile/0/003")
    assert source.read("tile/0/005.p/7") is None


def test_a_file_that_is_too_large_is_not_read_into_memory(folder: Path) -> None:
    with (folder / TILE).open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(LimitError, match="more than 8192 bytes"):
        FolderSource(folder).read(TILE)


def test_a_folder_lists_everything_in_order_with_its_kind(folder: Path) -> None:
    (folder / "tile/0/002").symlink_to(folder / TILE)
    os.mkfifo(folder / "tile/0/003")
    put(folder / "index.html", b"not of the log")
    assert list(FolderSource(folder).found()) == [
        FoundFile("checkpoint", FileKind.FILE),
        FoundFile("tile", FileKind.FOLDER),
        FoundFile("tile/0", FileKind.FOLDER),
        FoundFile("tile/0/000", FileKind.FILE),
        FoundFile("tile/0/001.p", FileKind.FOLDER),
        FoundFile("tile/0/001.p/3", FileKind.FILE),
        FoundFile("tile/0/002", FileKind.LINK),
        FoundFile("tile/0/003", FileKind.OTHER),
        FoundFile("tile/entries", FileKind.FOLDER),
        FoundFile("tile/entries/000", FileKind.FILE),
    ]


def test_a_tile_reader_is_told_which_file_is_missing(folder: Path) -> None:
    with pytest.raises(StorageError, match="tile/0/007"):
        fetching(FolderSource(folder))("tile/0/007")


def test_a_server_answers_what_it_has_and_nothing_for_what_it_has_not(source: HttpSource, server: FileServer) -> None:
    server.script["tile/0/009"] = [Answer(410)]
    assert source.read("checkpoint") == b"a checkpoint"
    assert source.read("tile/0/001.p/3") == bytes(96)
    assert source.read("tile/0/002") is None
    assert source.read("tile/0/009") is None
    assert source.found() is None


def test_a_prefix_may_have_a_path_and_a_slash_at_its_end(folder: Path) -> None:
    with serving(folder, "/logs/2026") as server, closing(HttpSource(server.url + "/")) as source:
        assert source.read(TILE) == bytes(8192)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://cn-gd.example",
        "cn-gd.example/log",
        "https://",
        "https://user:password@cn-gd.example/",
        "https://cn-gd.example/log?a=b",
        "https://cn-gd.example/log#top",
        "http://[::1",
    ],
)
def test_what_is_no_address_of_a_log_is_refused(url: str) -> None:
    with pytest.raises(FormatError):
        HttpSource(url)


def test_a_connection_is_used_again_also_after_a_file_was_not_there(source: HttpSource, server: FileServer) -> None:
    for _ in range(10):
        source.read(TILE)
        source.read("tile/0/002")
    assert server.connections == 1


def test_files_that_will_be_read_are_fetched_several_at_once(folder: Path) -> None:
    together = threading.Barrier(4, timeout=20)
    paths = [f"tile/0/00{number}" for number in range(8)]
    for path in paths:
        put(folder / path, path.encode())
    with (
        serving(folder, before=lambda path: together.wait() and None) as server,
        closing(HttpSource(server.url, in_flight=4)) as source,
    ):
        source.read_ahead(iter(paths))
        assert [source.read(path) for path in paths] == [path.encode() for path in paths]
        assert server.requests.total() == 8
        assert server.connections <= 5


def test_no_more_is_fetched_ahead_than_asked_for(folder: Path) -> None:
    gate = threading.Event()
    seen: list[str] = []

    def before(path: str) -> None:
        seen.append(path)
        gate.wait(20)

    with serving(folder, before=before) as server, closing(HttpSource(server.url, in_flight=2)) as source:
        source.read_ahead(iter([f"tile/0/00{number}" for number in range(8)]))
        gate.set()
        source.read("tile/0/000")
        source.read_ahead(iter(()))
    assert set(seen) <= {"tile/0/000", "tile/0/001", "tile/0/002"}


def test_bundles_may_come_compressed(folder: Path) -> None:
    with serving(folder, compressed=True) as server, closing(HttpSource(server.url)) as source:
        assert source.read("tile/entries/000") == b"\0\1x" * 256


def test_what_inflates_beyond_its_bound_is_not_read_to_its_end(source: HttpSource, server: FileServer) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    server.script[TILE] = [Answer(200, bomb, {"Content-Encoding": "gzip"})]
    with pytest.raises(LimitError, match="more than 8192 bytes"):
        source.read(TILE)


def test_what_is_longer_than_its_bound_is_not_read_to_its_end(source: HttpSource, server: FileServer) -> None:
    server.script["tile/0/001.p/3"] = [Answer(200, bytes(97))]
    with pytest.raises(LimitError, match="more than 96 bytes"):
        source.read("tile/0/001.p/3")
    assert source.read("tile/0/001.p/3") == bytes(96)


def test_what_is_not_compressed_as_announced_is_damage_of_the_file(source: HttpSource, server: FileServer) -> None:
    server.script[TILE] = [Answer(200, b"not compressed", {"Content-Encoding": "gzip"})]
    with pytest.raises(StorageError, match="compressed"):
        source.read(TILE)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again_at_growing_intervals(
    source: HttpSource, server: FileServer, pauses: list[float], status: int
) -> None:
    server.script[TILE] = [Answer(status)] * 4
    assert source.read(TILE) == bytes(8192)
    assert pauses == [0.25, 0.5, 1, 2]


def test_a_server_says_when_to_ask_again_and_is_heeded_within_bounds(
    source: HttpSource, server: FileServer, pauses: list[float]
) -> None:
    later = ["7", "3600", "0", "Fri, 31 Dec 1999 23:59:59 GMT", "-5"]
    server.script[TILE] = [Answer(503, headers={"Retry-After": each}) for each in later]
    assert source.read(TILE) == bytes(8192)
    assert pauses == [7, 30, 1, 2, 4]


def test_an_answer_that_breaks_off_is_asked_for_again(
    source: HttpSource, server: FileServer, pauses: list[float]
) -> None:
    server.script[TILE] = [Answer(200, bytes(100), announced=8192)] * 2
    assert source.read(TILE) == bytes(8192)
    assert len(pauses) == 2


def test_a_server_that_stays_busy_is_an_error_about_the_log_and_not_the_file(
    source: HttpSource, server: FileServer, pauses: list[float]
) -> None:
    server.script[TILE] = [Answer(503)] * 100
    with pytest.raises(LogUnreachableError, match="503"):
        source.read(TILE)
    assert server.requests[TILE] == 6
    assert len(pauses) == 5


def test_a_server_that_fails_at_one_file_is_an_error_about_the_file(source: HttpSource, server: FileServer) -> None:
    server.script[TILE] = [Answer(500)] * 100
    with pytest.raises(StorageError, match="answers 500"):
        source.read(TILE)


@pytest.mark.parametrize("status", [400, 401, 403, 206, 304])
def test_any_other_answer_is_an_error_at_once(source: HttpSource, server: FileServer, status: int) -> None:
    server.script[TILE] = [Answer(status)]
    with pytest.raises(StorageError, match=f"answers {status}"):
        source.read(TILE)
    assert server.requests[TILE] == 1


def test_a_redirection_is_told_and_not_followed(source: HttpSource, server: FileServer) -> None:
    server.script[TILE] = [Answer(301, headers={"Location": f"{server.url}/tile/0/000"})]
    with pytest.raises(StorageError, match="points to http"):
        source.read(TILE)
    assert server.requests[TILE] == 1


def test_an_error_met_while_reading_ahead_is_told_when_the_file_is_read(source: HttpSource, server: FileServer) -> None:
    server.script[TILE] = [Answer(403)]
    source.read_ahead(iter([TILE, "tile/0/001.p/3"]))
    with pytest.raises(StorageError, match="403"):
        source.read(TILE)
    assert source.read("tile/0/001.p/3") == bytes(96)


def test_where_nobody_listens_the_log_cannot_be_reached(pauses: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with (
            closing(HttpSource(url, sleep=pauses.append)) as source,
            pytest.raises(LogUnreachableError, match="refused"),
        ):
            source.read("checkpoint")
    assert pauses == [0.25], "a wrong address is told at once"


def test_a_source_that_is_closed_waits_for_no_server(folder: Path) -> None:
    asked = threading.Event()
    with serving(folder, before=lambda path: asked.set()) as server:
        server.script[TILE] = [Answer(503, headers={"Retry-After": "30"})] * 9
        source = HttpSource(server.url)
        source.read_ahead(iter([TILE]))
        assert asked.wait(20)
        begun = time.monotonic()
        source.close()
        assert time.monotonic() - begun < 20


def test_a_server_that_has_answered_and_listens_no_more_is_waited_for(folder: Path, pauses: list[float]) -> None:
    with serving(folder) as server:
        server.script["checkpoint"] = [Answer(200, b"a checkpoint", {"Connection": "close"})]
        source = HttpSource(server.url, sleep=pauses.append)
        assert source.read("checkpoint") == b"a checkpoint"
    with closing(source), pytest.raises(LogUnreachableError, match="refused"):
        source.read(TILE)
    assert pauses == [0.25, 0.5, 1, 2, 4]
