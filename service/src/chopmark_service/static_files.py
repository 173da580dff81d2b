"""The public folder of a service over HTTP: files, and nothing computed.

GET and HEAD; single byte ranges; `ETag` with `If-None-Match` and `If-Range`. Which names are files, and how each is
typed and cached, the service says; whatever is none of these names is not there, and no link leads out of the folder.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from fastapi import Request, Response
from starlette.responses import StreamingResponse

from chopmark_service.problems import NOT_FOUND, problem_response

BYTES = "application/octet-stream"
FOR_EVER = "public, max-age=31536000, immutable"
FOR_SECONDS = "public, max-age=5"
_CHUNK = 256 * 1024
_HASHED = 64 * 1024
"""Bytes of a file that is hashed: a checkpoint, or what else is small and replaced often."""
_COMPRESSED = 1024 * 1024
"""Bytes of a file at most that is compressed, anew for each request."""
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FileKind:
    """How a file is served.

    Args:
        media_type: its Content-Type.
        caching: its Cache-Control.
        hashed: whether its tag is a hash of the whole; for small files that are replaced so fast that the time may not
            tell one from the next.
        compressed: whether it is compressed by gzip for who accepts that, up to 1 MiB.
    """

    media_type: str
    caching: str
    hashed: bool = False
    compressed: bool = False


class StaticFiles:
    """Answers requests for the files of a public folder.

    Args:
        folder: where the files stand, or will.
        kind_of: how the file of a path is served, relative to the folder; None for what is none.
    """

    def __init__(self, folder: Path, kind_of: Callable[[str], FileKind | None]) -> None:
        self._folder = folder
        self._kind_of = kind_of

    async def answer(self, name: str, request: Request) -> Response:
        """Answer a GET or HEAD request for a file.

        Args:
            name: the path of the file, relative to the folder.
            request: its headers say what of it is wanted.
        """
        kind = self._kind_of(name)
        found = await _in_thread(lambda: self._open(name)) if kind else None
        if kind is None or found is None:
            return problem_response(NOT_FOUND, headers={"Cache-Control": "no-store"})
        try:
            answer = await _answer(found, kind, request)
        except BaseException:
            found.close()
            raise
        if not isinstance(answer, StreamingResponse):
            found.close()
        return answer

    def _open(self, name: str) -> _OpenFile | None:
        path = self._folder / name
        root = os.path.realpath(self._folder)
        if not os.path.realpath(path).startswith(root + os.sep):
            return None
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            return None
        return _OpenFile(descriptor, found.st_size, found.st_mtime_ns)


@dataclass(slots=True)
class _OpenFile:
    """A file as it was when it was opened: that it is replaced meanwhile changes nothing."""

    descriptor: int
    size: int
    time: int

    def read(self, start: int, end: int) -> bytes:
        return os.pread(self.descriptor, end - start, start)

    def __del__(self) -> None:
        self.close()  # an answer that is never sent never reads its file to the end

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    async def chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end); closes the file."""
        try:
            while start < end:
                position, stop = start, min(start + _CHUNK, end)
                data = await _in_thread(lambda: self.read(position, stop))  # noqa: B023 - awaited at once
                if not data:
                    raise OSError("the file became shorter while it was read")
                yield data
                start += len(data)
        finally:
            self.close()


async def _answer(file: _OpenFile, kind: FileKind, request: Request) -> Response:
    tag = f'"{file.time:x}-{file.size:x}"'
    if kind.hashed:
        content = await _in_thread(lambda: file.read(0, _HASHED))
        tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"Cache-Control": kind.caching, "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff"}
    wanted = request.headers
    span = _range(wanted.get("range"), file.size) if request.method == "GET" else None
    if wanted.get("if-range", tag) != tag:
        span = None
    if kind.compressed:
        headers["Vary"] = "Accept-Encoding"
        if span is None and 0 < file.size <= _COMPRESSED and _accepts_gzip(wanted.get("accept-encoding", "")):
            return await _compressed(file, kind, request, {**headers, "ETag": f'{tag[:-1]}-gzip"'})
    headers["ETag"] = tag
    if _matches(wanted.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    start, end = span or (0, file.size)
    if start >= end and span is not None:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
    headers["Content-Length"] = str(end - start)
    if span is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    status = 200 if span is None else 206
    if request.method == "HEAD":
        return Response(None, status, headers, kind.media_type)
    if end - start > _CHUNK:
        return StreamingResponse(file.chunks(start, end), status, headers, kind.media_type)
    content = await _in_thread(lambda: file.read(start, end))
    return Response(content, status, headers, kind.media_type)


async def _compressed(file: _OpenFile, kind: FileKind, request: Request, headers: dict[str, str]) -> Response:
    if _matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    content = await _in_thread(lambda: gzip.compress(file.read(0, file.size), compresslevel=6, mtime=0))
    headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(content))}
    return Response(content if request.method == "GET" else None, 200, headers, kind.media_type)


def _range(text: str | None, size: int) -> tuple[int, int] | None:
    """The bytes [start, end) that are asked for; None for all. An empty span cannot be satisfied. RFC 9110 §14.2 lets
    what is no single range of bytes be ignored."""
    match = _RANGE.fullmatch(text) if text is not None else None
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _matches(text: str | None, tag: str) -> bool:
    if text is None:
        return False
    return text.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in text.split(","))


def _accepts_gzip(text: str) -> bool:
    for each in text.lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() in {"gzip", "*"}:
            return re.fullmatch(r"\s*q=0(\.0{0,3})?\s*", weight) is None
    return False


async def _in_thread(function: Callable[[], _T]) -> _T:
    """A disk may be slow; the loop must not wait for it."""
    return await asyncio.get_running_loop().run_in_executor(None, function)
