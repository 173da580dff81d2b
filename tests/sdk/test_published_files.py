"""Fetching published files over HTTP: conditions, ranges, bounds, and servers that do it wrong."""

from __future__ import annotations

import gzip
import select
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark.client.bounded_http import Bounds
from chopmark.client.entity_tags import FILE_NAME, EntityTags
from chopmark.client.published_files import BOUNDS, PublishedFiles
from chopmark.client.region_sources import RegionSources
from chopmark.errors import ChopmarkError, FormatError, LimitError, StorageError, UnreachableError
from chopmark.refresh import Unchanged

from tests.ledger.raw_server import answering
from tests.sdk.published_server import PublishedServer, serving

if TYPE_CHECKING:
    pass

UNCHANGED = Unchanged.UNCHANGED
QUICK = Bounds(whole=0.3, connect=0.3, idle=0.3)
LANDMARKS = "landmarks/CN-GD/1.landmarks"


@pytest.fixture
def server() -> Iterator[PublishedServer]:
    with serving({"bundle.note": b"a bundle", LANDMARKS: bytes(range(16)) + b"1" * 64 + b"2" * 64}) as (one,):
        yield one


def fetch(
    server: PublishedServer,
    path: str = "bundle.note",
    *,
    tags: EntityTags | None = None,
    held: bytes | None = None,
    max_size: int = 1000,
    bounds: Bounds = BOUNDS,
) -> bytes | Unchanged | None:
    with closing(PublishedFiles(server.url, tags=tags, bounds=bounds)) as files:
        return files.fetch(path, max_size=max_size, held=held, grows=path == LANDMARKS)


def test_a_file_that_is_not_held_comes_whole_and_one_that_is_not_there_is_none(server: PublishedServer) -> None:
    assert fetch(server) == b"a bundle"
    assert fetch(server, "status/1") is None


def test_a_file_that_is_held_is_not_sent_again(server: PublishedServer) -> None:
    tags = EntityTags()
    fetch(server, tags=tags)
    sent = server.sent
    assert fetch(server, tags=tags, held=b"a bundle") is UNCHANGED
    assert (server.answers[-1], server.sent) == (("bundle.note", 304), sent)


def test_a_tag_is_not_sent_for_what_it_is_not_of(server: PublishedServer) -> None:
    tags = EntityTags()
    fetch(server, tags=tags)
    assert fetch(server, tags=tags, held=b"an older bundle") == b"a bundle"


def test_without_tags_the_same_bytes_are_unchanged(server: PublishedServer) -> None:
    server.has_tags = False
    assert fetch(server, held=b"a bundle") is UNCHANGED
    assert server.answers[-1][1] == 200


def test_not_modified_is_no_answer_to_who_did_not_ask(server: PublishedServer) -> None:
    server.faults["bundle.note"] = answering(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    with pytest.raises(StorageError, match="answers 304"):
        fetch(server)
    with pytest.raises(StorageError, match="answers 304"):
        fetch(server, held=b"a bundle")


def test_of_a_file_that_grew_only_the_end_is_sent(server: PublishedServer) -> None:
    whole = server.files[LANDMARKS]
    assert fetch(server, LANDMARKS, held=whole[:80]) == whole
    assert (server.answers, server.sent) == ([(LANDMARKS, 206)], 128)


@pytest.mark.parametrize("has_tags", [True, False])
def test_of_a_file_that_did_not_grow_at_most_a_record_is_sent(server: PublishedServer, has_tags: bool) -> None:
    server.has_tags = has_tags
    tags, whole = EntityTags(), server.files[LANDMARKS]
    assert fetch(server, LANDMARKS, tags=tags, held=whole) is UNCHANGED
    assert fetch(server, LANDMARKS, tags=tags, held=whole) is UNCHANGED
    assert [status for _, status in server.answers] == [206, 304 if has_tags else 206]
    assert server.sent == (64 if has_tags else 128)


def test_the_whole_is_taken_where_ranges_are_not_served(server: PublishedServer) -> None:
    server.has_ranges = False
    whole = server.files[LANDMARKS]
    assert fetch(server, LANDMARKS, held=whole[:80]) == whole
    assert server.answers == [(LANDMARKS, 200)]


@pytest.mark.parametrize(
    "held",
    [bytes(range(16)) + b"x" * 64, bytes(range(16)) + b"1" * 64 + b"2" * 64 + b"3" * 128],
    ids=["other records", "more records"],
)
def test_the_whole_is_taken_where_it_does_not_go_on_from_what_is_held(server: PublishedServer, held: bytes) -> None:
    assert fetch(server, LANDMARKS, held=held) == server.files[LANDMARKS]
    assert [status for _, status in server.answers][-1] == 200


@pytest.mark.parametrize(
    "content_range", ["bytes 0-63/144", "bytes 16-79/144", "bytes 16-143/*", "bytes 16-143/999", "1-2", ""]
)
def test_a_part_that_was_not_asked_for_is_not_believed(server: PublishedServer, content_range: str) -> None:
    whole = server.files[LANDMARKS]
    head = b"HTTP/1.1 206 Partial\r\nContent-Length: 128\r\nContent-Range: %b\r\n\r\n" % content_range.encode()

    def once(connection: socket.socket, request: bytes) -> bool:
        del server.faults[LANDMARKS]
        connection.sendall(head + whole[16:])
        return True

    server.faults[LANDMARKS] = once
    assert fetch(server, LANDMARKS, held=whole[:80]) == whole
    assert server.answers == [(LANDMARKS, 0), (LANDMARKS, 200)]


@pytest.mark.parametrize("held", [None, bytes(range(16)) + b"1" * 64])
def test_a_file_above_its_limit_is_refused(server: PublishedServer, held: bytes | None) -> None:
    with pytest.raises(LimitError, match="more than 143 bytes"):
        fetch(server, LANDMARKS, held=held, max_size=143)


def test_a_file_is_counted_after_it_was_inflated(server: PublishedServer) -> None:
    body = gzip.compress(bytes(100_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    server.faults["bundle.note"] = answering(head + body)
    assert fetch(server, max_size=100_000) == bytes(100_000)
    with pytest.raises(LimitError):
        fetch(server, max_size=99_999)


def test_a_redirection_is_not_followed_but_told(server: PublishedServer) -> None:
    server.faults["bundle.note"] = answering(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"
    )
    with pytest.raises(StorageError, match=r"answers 302.*127\.0\.0\.1:1/x") as caught:
        fetch(server)
    assert not isinstance(caught.value, UnreachableError)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_cannot_serve_now_is_away(server: PublishedServer, status: int) -> None:
    server.faults["bundle.note"] = answering(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
    with pytest.raises(UnreachableError, match=str(status)):
        fetch(server)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answers 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntruncated", "broke off"),
        (b"", "without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
    ],
)
def test_a_bad_answer_is_told_and_says_nothing_of_other_files(
    server: PublishedServer, answer: bytes, words: str
) -> None:
    server.faults["bundle.note"] = answering(answer, again=False)
    with pytest.raises(StorageError, match=words) as caught:
        fetch(server)
    assert not isinstance(caught.value, UnreachableError)
    assert fetch(server, "status/1") is None


def test_a_server_that_is_not_there_is_away(server: PublishedServer) -> None:
    server.close()
    with pytest.raises(UnreachableError, match="no connection: Connection refused"):
        fetch(server)


def trickle(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n")
    while not select.select([connection], [], [], 0.02)[0]:
        connection.sendall(b"x")


def test_a_file_that_trickles_is_given_up(server: PublishedServer) -> None:
    server.faults["bundle.note"] = trickle
    with pytest.raises(StorageError, match=r"nothing whole within 0\.3 seconds"):
        fetch(server, max_size=10_000, bounds=QUICK)


def test_a_visit_is_over_in_its_time(server: PublishedServer) -> None:
    server.faults["bundle.note"] = trickle
    with closing(PublishedFiles(server.url, seconds=0.2)) as files:
        with pytest.raises(StorageError, match=r"nothing whole within 0\.2 seconds"):
            files.fetch("bundle.note", max_size=10_000)
        with pytest.raises(UnreachableError, match=r"0\.2 seconds of a visit are over"):
            files.fetch("status/1", max_size=10_000)


def test_a_visit_that_is_given_up_asks_for_nothing_more(server: PublishedServer) -> None:
    sources = RegionSources({"CN-GD": server.url}, tags=EntityTags())
    with closing(sources):
        sources.give_up()
        with pytest.raises(UnreachableError, match="given up"):
            sources.source_of("CN-GD", None).fetch("bundle.note", max_size=1000)
    assert server.answers == []


def test_a_peer_is_reached_where_its_bundle_is_unless_somebody_names_its_source() -> None:
    with closing(RegionSources({"CN-SH": "http://127.0.0.1:8470/"}, tags=EntityTags())) as sources:
        assert sources.source_of("CN-SH", "https://cn-sh.example/bundle.note").url == "http://127.0.0.1:8470"
        assert (
            sources.source_of("US-IL", "https://us-il.example/trust/bundle.note").url == "https://us-il.example/trust"
        )
        assert sources.url_of("US-IL") == "https://us-il.example/trust"
        with pytest.raises(StorageError, match="home region CN-GD"):
            sources.source_of("CN-GD", None)
        with pytest.raises(FormatError, match="does not end in /bundle"):
            sources.source_of("US-NY", "https://us-ny.example/trust.note")


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "http://user@x/", "http://x/?a", "nothing"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(FormatError):
        PublishedFiles(url)


# Tags


def test_tags_outlive_the_process(tmp_path: Path) -> None:
    tags = EntityTags()
    tags.remember("https://x/bundle.note", '"a-1"', b"a bundle")
    tags.remember("https://x/status/1", 'W/"b"', b"a list")
    tags.save(tmp_path)
    again = EntityTags.load(tmp_path)
    assert again.of("https://x/bundle.note", b"a bundle") == '"a-1"'
    assert again.of("https://x/status/1", b"a list") == 'W/"b"'
    assert again.of("https://x/status/1", b"another list") is None


def test_tags_are_written_only_when_they_changed(tmp_path: Path) -> None:
    tags = EntityTags()
    tags.remember("https://x/bundle.note", '"a"', b"a bundle")
    tags.save(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    tags.save(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("tag", [None, "", "a", '"a\nX: y"', '"' + "a" * 201 + '"', '"é"'])
def test_a_tag_that_is_none_is_not_kept(tag: str | None) -> None:
    tags = EntityTags()
    tags.remember("https://x/a", '"before"', b"a")
    tags.remember("https://x/a", tag, b"a")
    assert tags.of("https://x/a", b"a") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 100_000,
        b'{"format": "chopmark/fetched/v2", "files": []}',
        b'{"format": "chopmark/fetched/v1", "files": [{"url": "x", "etag": "a", "sha256": "00"}]}',
        b'{"format": "chopmark/fetched/v1", "files": [1]}',
    ],
)
def test_a_damaged_file_of_tags_costs_a_transfer_and_no_more(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    tags = EntityTags.load(tmp_path)
    assert tags.of("x", b"") is None
    tags.remember("x", '"a"', b"")
    tags.save(tmp_path)
    assert EntityTags.load(tmp_path).of("x", b"") == '"a"'


def test_tags_that_cannot_be_kept_say_so(tmp_path: Path) -> None:
    tags = EntityTags()
    tags.remember("x", '"a"', b"")
    with pytest.raises(ChopmarkError):
        tags.save(tmp_path / "none")
