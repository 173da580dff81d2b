"""Pictures that strangers send, read by a few processes that may die of them.

    async with ImagePool(ImageLimits()) as pool:
        texts = await pool.read(data)

Each process (`image_worker`) reads one picture at a time, under limits of the operating system on its memory and time.
One that dies is replaced; the picture that it died of is refused. A few pictures may wait for a process, more are told
to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from typing import Any, Self

from chopmark.errors import LimitError, StorageError
from chopmark_service import telemetry
from chopmark_service.errors import BackpressureError

from chopmark_verifier.errors import ExhaustingPictureError, UnreadablePictureError

_LENGTH = 4
_MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer: 64 texts of 4,296 characters, each of which JSON may spell with six, or twelve."""
_START_WITHIN = 20.0
"""Seconds that a process may take to begin, on a machine that is busy."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What reading pictures may take.

    Args:
        max_size: bytes of a picture: a phone's photograph has 3 to 6 MB.
        max_pixels: of a picture: those of a phone have 12 million.
        memory: bytes of address space of one process: 25 megapixels with transparency take some 350 MB at the worst.
        seconds: that one picture may take.
        processes: how many read at a time.
        waiting: pictures that may wait for one of them; those of strangers half as many.
        pictures: that one process reads before it is replaced, so that a leak of a decoder ends with it.
    """

    max_size: int = 8 * 1024 * 1024
    max_pixels: int = 25_000_000
    memory: int = 1024 * 1024 * 1024
    seconds: float = 5.0
    processes: int = 2
    waiting: int = 16
    pictures: int = 500


class ImagePool:
    """The processes that read pictures; an asynchronous context manager. For one event loop.

    Args:
        limits: what reading may take.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self.limits = limits
        self.killed = 0
        """Processes that a picture took with it."""
        self._free = asyncio.Semaphore(limits.processes)
        self._waiting = 0
        self._idle: list[_Process] = []

    async def __aenter__(self) -> Self:
        """Start one process, so that what is missing for it is told at once.

        Raises:
            StorageError: no process can be started.
        """
        self._idle.append(await self._start())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the processes."""
        while self._idle:
            await self._idle.pop().end()

    async def read(self, data: bytes, *, known: bool = False) -> list[str]:
        """The texts of the QR codes in a picture; none where there is no code.

        Args:
            data: a PNG or JPEG file.
            known: whether whoever sends it is a client or inspector of the service: strangers leave them room.

        Raises:
            LimitError: too many bytes or pixels.
            UnreadablePictureError: no PNG or JPEG picture.
            ExhaustingPictureError: it took too much time or memory.
            BackpressureError: too many pictures wait.
            StorageError: no process can be started.
        """
        if len(data) > self.limits.max_size:
            raise _too_large(f"{self.limits.max_size:,} bytes")
        if self._waiting >= (self.limits.waiting if known else self.limits.waiting // 2):
            raise BackpressureError("too many pictures wait to be read", retry_after=1, where="picture")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            answer = await self._ask(data)
        finally:
            self._free.release()
        if answer.get("refused") == "too_large":
            raise _too_large(f"{self.limits.max_pixels:,} pixels")
        texts = answer.get("texts")
        if not isinstance(texts, list):
            raise UnreadablePictureError(
                "it is no PNG or JPEG picture, or a damaged one", where="picture", remedy="Take another"
            )
        return [text for text in texts if isinstance(text, str)]

    async def _ask(self, data: bytes) -> dict[str, Any]:
        process = await self._take()
        try:
            # The process ends itself in time; one that does not is beyond its own clock, and is killed.
            async with asyncio.timeout(self.limits.seconds * 2 + 1):
                answer = await process.ask(data)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            await process.kill()
            self.killed += 1
            telemetry.get_logger("pictures").warning("process_ended_by_picture", size=len(data))
            raise ExhaustingPictureError(
                "reading it took too much time or memory", where="picture", remedy="Take another, of the code alone"
            ) from error
        except BaseException:  # cancelled: what it would answer now nobody waits for
            await process.kill()
            raise
        if process.asked < self.limits.pictures:
            self._idle.append(process)
        else:
            await process.end()
        return answer

    async def _take(self) -> _Process:
        while self._idle:
            process = self._idle.pop()
            if process.is_running:
                return process
            await process.kill()  # it ended while nobody asked it
        return await self._start()

    async def _start(self) -> _Process:
        limits = self.limits
        arguments = (str(limits.memory), str(limits.max_pixels), str(limits.seconds))
        try:
            started = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-m",
                "chopmark_verifier.image_worker",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={},  # nothing of ours that a decoder gone wrong could tell
                cwd="/",
                limit=_MAX_ANSWER,
            )
        except OSError as error:
            raise StorageError(f"no process can be started: {error.strerror}", where="reading of pictures") from error
        process = _Process(started)
        try:
            async with asyncio.timeout(_START_WITHIN):
                await process.answer()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            await process.kill()
            raise StorageError(
                "the process that reads pictures does not begin",
                where="reading of pictures",
                remedy="Look at what it wrote to standard error; it may need more memory",
            ) from error
        except BaseException:
            await process.kill()
            raise
        return process


class _Process:
    """One running `image_worker`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.asked = 0

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def ask(self, data: bytes) -> dict[str, Any]:
        """The answer to one picture."""
        self.asked += 1
        into = self._process.stdin
        assert into is not None  # noqa: S101 - it was started with a pipe
        into.write(len(data).to_bytes(_LENGTH, "big") + data)
        await into.drain()
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """What it says next."""
        out = self._process.stdout
        assert out is not None  # noqa: S101 - it was started with a pipe
        size = int.from_bytes(await out.readexactly(_LENGTH), "big")
        if size > _MAX_ANSWER:
            raise ValueError("an answer of impossible size")
        answer = json.loads(await out.readexactly(size))
        if not isinstance(answer, dict):
            raise ValueError("not an answer")
        return answer

    async def kill(self) -> None:
        """End it whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._close()

    async def end(self) -> None:
        """Let it end by itself, which it does when its input ends."""
        into = self._process.stdin
        assert into is not None  # noqa: S101 - it was started with a pipe
        into.close()
        try:
            async with asyncio.timeout(2):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._close()

    async def _close(self) -> None:
        into = self._process.stdin
        assert into is not None  # noqa: S101 - it was started with a pipe
        into.close()
        with contextlib.suppress(OSError):
            await into.wait_closed()
        await self._process.wait()


def _too_large(bound: str) -> LimitError:
    return LimitError(f"a picture of more than {bound}", where="picture", remedy="Make it smaller, or cut out the code")
