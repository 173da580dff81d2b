"""Reading the body of a request: bounded while it is read, in bytes, in time, and over all requests together.

What a request says of its length is not believed. A body that is being read counts against the memory that all of them
may take, so that many large ones are told to come back instead of filling the machine; those of one client take a third
of it at most. The first 64 KiB of each count nothing: small bodies are let in whatever large ones are on their way, and
take no more than 64 KiB for each connection.
"""

from __future__ import annotations

import asyncio

from chopmark.errors import FormatError, LimitError
from fastapi import Request

from chopmark_service.errors import BackpressureError, SlowBodyError, UnsupportedBodyError
from chopmark_service.fair_share import FairShare
from chopmark_service.json_answer import JSON_TYPE

FREE = 64 * 1024
"""Bytes of each body that are let in always."""

_DIGITS = 19
"""Digits of a length that is not read as a number."""


def media_type(request: Request) -> str:
    """What a request says that its body is, without parameters and in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class BodyReader:
    """Reads the bodies of a service's requests.

    Args:
        max_size: bytes of one body.
        memory: bytes beyond the first 64 KiB of all bodies that are read at a time; at least one is always read.
        seconds: that a body may take to arrive.
    """

    def __init__(self, *, max_size: int, memory: int, seconds: float) -> None:
        self._max_size = max_size
        self._shared = FairShare(memory)
        self._seconds = seconds

    @property
    def held(self) -> int:
        """Bytes of the bodies that are being read, beyond the first 64 KiB of each."""
        return self._shared.held

    async def read_json(self, request: Request, client: str) -> bytes:
        """Read a body of JSON that this client sends; it is not parsed.

        Raises:
            UnsupportedBodyError: the request says that it is something else, or compressed.
            LimitError, SlowBodyError, FormatError, BackpressureError: as `read`.
        """
        if media_type(request) != JSON_TYPE or request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedBodyError("a body is plain application/json, not compressed", where="body")
        return await self.read(request, client)

    async def read(self, request: Request, client: str | None = None) -> bytes:
        """Read a body of any type; without a client nobody can tell whose it is.

        Raises:
            LimitError: it is too large.
            SlowBodyError: it did not come in time.
            FormatError: it broke off.
            BackpressureError: too many bodies are being read, of this client or of all.
        """
        text = request.headers.get("content-length", "")
        is_number = text.isascii() and text.isdigit()
        declared = int(text) if is_number and len(text) < _DIGITS else None
        if is_number and (declared is None or declared > self._max_size):
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._read(request, declared, client)
        except TimeoutError as error:
            raise SlowBodyError(
                f"the body did not come within {self._seconds:g} seconds", where="body", remedy="Send it again"
            ) from error

    async def _read(self, request: Request, declared: int | None, client: str | None) -> bytes:
        parts: list[bytes] = []
        size = taken = 0
        more = True
        try:
            while more and size != declared:  # what is all there need not be waited for to end
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise FormatError("the body broke off", where="body")
                part = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(part)
                if size > self._max_size:
                    raise self._too_large()
                more_taken = max(size - FREE, 0) - taken
                if more_taken and not self._shared.take(client, more_taken, before=taken):
                    raise BackpressureError(
                        "too many bodies are on their way", retry_after=1, where="body", remedy="Send it again"
                    )
                taken += more_taken
                parts.append(part)
            return b"".join(parts)
        finally:
            self._shared.give_back(client, taken)

    def _too_large(self) -> LimitError:
        return LimitError(
            f"a body of more than {self._max_size:,} bytes", where="body", remedy="Send it as several batches"
        )
