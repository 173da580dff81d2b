"""Pictures of strangers, read by processes that may die of them."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from chopmark.errors import LimitError, StorageError
from chopmark.qr_drawing import draw
from chopmark_service.errors import BackpressureError
from chopmark_verifier.errors import ExhaustingPictureError, NoCodeError, SeveralCodesError, UnreadablePictureError
from chopmark_verifier.image_pool import ImageLimits, ImagePool
from PIL import Image

from tests.verifier.service_stage import Stage, staged

LIMITS = ImageLimits(processes=1)
TEXT = "EL1:A TEXT"


def run(scenario: Callable[[ImagePool], Coroutine[Any, Any, None]], limits: ImageLimits = LIMITS) -> None:
    async def within() -> None:
        async with ImagePool(limits) as pool:
            await scenario(pool)

    asyncio.run(within())


def blank(width: int, height: int, kind: str = "PNG", mode: str = "L") -> bytes:
    output = io.BytesIO()
    Image.new(mode, (width, height), "white").save(output, kind)
    return output.getvalue()


@cache
def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says it is huge, with a stream that inflates to as much, up to 100 MB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    deflate = zlib.compressobj(9)
    rows = [deflate.compress(b"\x00" * (1 + 4 * width)) for _ in range(min(height, 100_000_000 // (4 * width)))]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", b"".join(rows) + deflate.flush())
        + chunk(b"IEND", b"")
    )


def test_codes_are_read_from_both_kinds_of_picture() -> None:
    async def scenario(pool: ImagePool) -> None:
        drawn = draw(TEXT).png()
        assert await pool.read(drawn) == [TEXT]
        output = io.BytesIO()
        Image.open(io.BytesIO(drawn)).convert("RGB").save(output, "JPEG")
        assert await pool.read(output.getvalue()) == [TEXT]
        assert await pool.read(blank(200, 200)) == []
        assert pool.killed == 0

    run(scenario)


def test_what_is_no_picture_is_unreadable_and_kills_nothing() -> None:
    async def scenario(pool: ImagePool) -> None:
        drawn = draw(TEXT).png()
        for data in (
            b"",
            b"GIF89a",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0" + b"\x00" * 100,
            drawn[: len(drawn) // 2],
        ):
            with pytest.raises(UnreadablePictureError):
                await pool.read(data)
        assert await pool.read(drawn) == [TEXT]
        assert pool.killed == 0

    run(scenario)


def test_a_bomb_is_refused_by_its_head() -> None:
    async def scenario(pool: ImagePool) -> None:
        for data in (bomb(100_000, 100_000), bomb(5001, 5000)):
            with pytest.raises(LimitError):
                await pool.read(data)
        with pytest.raises(LimitError):
            await pool.read(b"\x00" * (LIMITS.max_size + 1))
        assert pool.killed == 0

    run(scenario)


def test_a_picture_that_needs_too_much_memory_ends_its_process_which_is_replaced() -> None:
    async def scenario(pool: ImagePool) -> None:
        with pytest.raises(ExhaustingPictureError):
            await pool.read(bomb(5000, 5000))
        assert pool.killed == 1
        assert await pool.read(draw(TEXT).png()) == [TEXT]

    run(scenario, replace(LIMITS, memory=300 * 1024 * 1024))


def test_a_picture_that_takes_too_long_ends_its_process_which_is_replaced() -> None:
    async def scenario(pool: ImagePool) -> None:
        with pytest.raises(ExhaustingPictureError):
            await pool.read(bomb(5000, 5000))
        assert pool.killed == 1

    run(scenario, replace(LIMITS, seconds=0.02))


def test_the_largest_picture_with_transparency_fits_into_the_memory() -> None:
    async def scenario(pool: ImagePool) -> None:
        assert await pool.read(bomb(5000, 5000)) == []

    run(scenario, replace(LIMITS, seconds=60))


def test_more_pictures_than_may_wait_are_told_to_come_back() -> None:
    async def scenario(pool: ImagePool) -> None:
        drawn = draw(TEXT).png()
        answers = await asyncio.gather(*(pool.read(drawn) for _ in range(8)), return_exceptions=True)
        assert sum(answer == [TEXT] for answer in answers) == 3
        assert sum(isinstance(answer, BackpressureError) for answer in answers) == 5
        assert await pool.read(drawn) == [TEXT]

    run(scenario, replace(LIMITS, waiting=4))


def test_strangers_leave_room_for_those_who_are_known() -> None:
    async def scenario(pool: ImagePool) -> None:
        drawn = draw(TEXT).png()
        strangers = [asyncio.ensure_future(pool.read(drawn)) for _ in range(8)]
        await asyncio.sleep(0)
        assert await pool.read(drawn, known=True) == [TEXT]
        await asyncio.gather(*strangers, return_exceptions=True)

    run(scenario, replace(LIMITS, waiting=4))


def test_a_process_that_ended_while_idle_is_replaced_without_a_refusal() -> None:
    async def scenario(pool: ImagePool) -> None:
        process = pool._idle[0]._process
        process.kill()
        await process.wait()
        assert await pool.read(draw(TEXT).png()) == [TEXT]
        assert pool.killed == 0

    run(scenario)


def test_a_process_is_replaced_after_its_share_of_pictures() -> None:
    async def scenario(pool: ImagePool) -> None:
        drawn = draw(TEXT).png()
        seen: set[int] = set()
        for _ in range(4):
            seen.update(process._process.pid for process in pool._idle)
            assert await pool.read(drawn) == [TEXT]
        assert len(seen) == 2

    run(scenario, replace(LIMITS, pictures=2))


def test_a_request_that_is_given_up_leaves_no_answer_behind_for_the_next() -> None:
    async def scenario(pool: ImagePool) -> None:
        first = asyncio.ensure_future(pool.read(draw("EL1:FIRST").png()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await pool.read(draw(TEXT).png()) == [TEXT]

    run(scenario)


def test_a_process_that_cannot_begin_is_told_at_once() -> None:
    async def scenario() -> None:
        with pytest.raises(StorageError, match="does not begin"):
            async with ImagePool(replace(LIMITS, memory=1024)):
                pass

    asyncio.run(scenario())


def test_a_picture_is_answered_by_what_is_in_it(out: Any) -> None:
    def beside(*texts: str) -> bytes:
        pictures = [Image.open(io.BytesIO(draw(text).png())) for text in texts]
        whole = Image.new("L", (sum(each.width for each in pictures), max(each.height for each in pictures)), "white")
        left = 0
        for each in pictures:
            whole.paste(each, (left, 0))
            left += each.width
        output = io.BytesIO()
        whole.save(output, "PNG")
        return output.getvalue()

    async def scenario() -> None:
        async with staged(out) as stage:
            await _pictures(stage, beside)

    asyncio.run(scenario())


async def _pictures(stage: Stage, beside: Callable[..., bytes]) -> None:
    food, other = stage.code(), stage.code("constructor")
    answer = await stage.picture(beside(food), "?with_fields=true")
    assert answer.json()["verdict"]["outcome"] == "VALID"
    assert answer.json()["licence"] is not None
    answer = await stage.picture(beside(food), "?purpose=x&record=true", known=True)
    assert answer.json()["record"] is not None
    assert (await stage.picture(beside("HTTPS://SHOP.EXAMPLE/MENU", food))).json()["verdict"]["outcome"] == "VALID"
    assert (await stage.picture(beside("HTTPS://SHOP.EXAMPLE/MENU"))).json()["decided_by"] == 0
    for data, code in (
        (beside(food, other), "several_codes"),
        (blank(99, 99), "no_code"),
        (b"x", "unreadable_picture"),
    ):
        answer = await stage.picture(data)
        assert (answer.status, answer.json()["code"]) == (422, code)
    assert (await stage.picture(bomb(30_000, 30_000))).status == 413
    with pytest.raises(NoCodeError):
        await stage.service.read_picture(blank(99, 99), known=False)
    with pytest.raises(SeveralCodesError):
        await stage.service.read_picture(beside(food, other), known=False)
