"""Lines of a request's body while it arrives, bounded one by one; NDJSON, https://github.com/ndjson/ndjson-spec.

Lines end with `\\n` or `\\r\\n`; the last one may end with the body. Empty ones are left out, and not counted. They
come in parts: so many lines, or so many bytes, decided by what was sent alone, so that the same body sent again comes
in the same parts however the network cuts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from chopmark.errors import FormatError
from chopmark_service.errors import SlowBodyError
from fastapi import Request

TOO_LONG: Final = b"\x00"
"""Stands for a line that is longer than it may be; no line of JSON begins so."""


@dataclass(slots=True)
class LineParts:
    """Cuts bytes into lines, and lines into parts. Pure; `feed` and `finish` answer the parts that became whole.

    Args:
        lines: of one part.
        part_bytes: that end a part however few lines it has.
        line_bytes: of one line at most; of a longer one nothing but `TOO_LONG` is kept.
    """

    lines: int
    part_bytes: int
    line_bytes: int
    _part: list[bytes] = field(default_factory=list)
    _size: int = 0
    _rest: bytearray = field(default_factory=bytearray)
    _skips: bool = False

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Take the next bytes."""
        done: list[list[bytes]] = []
        first = 0
        while (end := data.find(b"\n", first)) >= 0:
            self._extend(data[first:end])
            self._end_line(done)
            first = end + 1
        self._extend(data[first:])
        return done

    def finish(self) -> list[list[bytes]]:
        """Take the end of the body."""
        done: list[list[bytes]] = []
        if self._rest or self._skips:
            self._end_line(done)
        if self._part:
            done.append(self._part)
            self._part = []
        return done

    def _extend(self, data: bytes) -> None:
        if self._skips:
            return
        if len(self._rest) + len(data) > self.line_bytes + 1:  # a carriage return may follow
            self._skips = True
            self._rest.clear()
        else:
            self._rest += data

    def _end_line(self, done: list[list[bytes]]) -> None:
        line = bytes(self._rest).removesuffix(b"\r")
        if self._skips or len(line) > self.line_bytes or line.startswith(TOO_LONG):
            line = TOO_LONG
        self._rest.clear()
        self._skips = False
        if not line:
            return
        self._part.append(line)
        self._size += len(line)
        if len(self._part) >= self.lines or self._size >= self.part_bytes:
            done.append(self._part)
            self._part = []
            self._size = 0


async def read_parts(request: Request, parts: LineParts, *, seconds: float) -> AsyncIterator[list[bytes]]:
    """The parts of a request's body, as they become whole.

    Raises:
        SlowBodyError: nothing came for so many seconds.
        FormatError: the body broke off; what is not whole is not answered with.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(seconds):
                message = await request.receive()
        except TimeoutError as error:
            raise SlowBodyError(
                f"nothing came for {seconds:g} seconds", where="body", remedy="Send it again"
            ) from error
        if message["type"] == "http.disconnect":
            raise FormatError("the body broke off", where="body")
        more = message.get("more_body", False)
        for part in parts.feed(message.get("body", b"")):
            yield part
    for part in parts.finish():
        yield part
