"""Reading the body of a request: bounded while it is read, in bytes, in time, and over all requests together.

What a request says of its length is not believed. A body that is being read counts against the memory that all of them
may take, so that many large ones are told to come back instead of filling the machine.
"""

from __future__ import annotations

import asyncio

from chopmark.errors import FormatError, LimitError
from fastapi import Request

from chopmark_ledger.errors import BackpressureError, SlowBodyError, UnsupportedBodyError


class BodyReader:
    """Reads the bodies of a service's requests.

    Args:
        max_size: bytes of one body.
        memory: bytes of all bodies that are read at a time; at least one is always read.
        seconds: that a body may take to arrive.
    """

    def __init__(self, *, max_size: int, memory: int, seconds: float) -> None:
        self._max_size = max_size
        self._memory = memory
        self._seconds = seconds
        self.held = 0
        """Bytes of the bodies that are being read."""

    async def read_json(self, request: Request) -> bytes:
        """Read a body of JSON; it is not parsed.

        Raises:
            UnsupportedBodyError: the request says that it is something else, or compressed.
            LimitError, SlowBodyError, FormatError, BackpressureError: as `read`.
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedBodyError("a body is plain application/json, not compressed", where="body")
        return await self.read(request)

    async def read(self, request: Request) -> bytes:
        """Read a body of any type.

        Raises:
            LimitError: it is too large.
            SlowBodyError: it did not come in time.
            FormatError: it broke off.
            BackpressureError: too many bodies are being read.
        """
        text = request.headers.get("content-length", "")
        declared = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
        if declared is not None and declared > self._max_size:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._read(request, declared)
        except TimeoutError as error:
            raise SlowBodyError(
                f"the body did not come within {self._seconds:g} seconds", where="body", remedy="Send it again"
            ) from error

    async def _read(self, request: Request, declared: int | None) -> bytes:
        parts: list[bytes] = []
        size = 0
        more = True
        try:
            while more and size != declared:  # what is all there need not be waited for to end
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise FormatError("the body broke off", where="body")
                part = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(part)
                self.held += len(part)
                if size > self._max_size:
                    raise self._too_large()
                if self.held > self._memory and self.held > size:
                    raise BackpressureError(
                        "too many bodies are on their way", retry_after=1, where="body", remedy="Send it again"
                    )
                parts.append(part)
            return b"".join(parts)
        finally:
            self.held -= size

    def _too_large(self) -> LimitError:
        return LimitError(
            f"a body of more than {self._max_size:,} bytes", where="body", remedy="Send it as several batches"
        )
