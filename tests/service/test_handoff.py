"""Futures of other threads, waited for in the event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import Future

import pytest
from chopmark_service.handoff import Handoff


def test_every_wait_gets_its_own_result_from_many_threads() -> None:
    async def scenario() -> None:
        handoff = Handoff()
        futures: list[Future[int]] = [Future() for _ in range(2_000)]

        def answer(start: int) -> None:
            for number in range(start, 2_000, 4):
                futures[number].set_result(number)

        threads = [threading.Thread(target=answer, args=(start,)) for start in range(4)]
        waits = [asyncio.ensure_future(handoff.wait(future)) for future in futures]
        for thread in threads:
            thread.start()
        assert await asyncio.wait_for(asyncio.gather(*waits), 20) == list(range(2_000))
        for thread in threads:
            thread.join()

    asyncio.run(scenario())


def test_a_future_that_is_done_already_is_answered() -> None:
    async def scenario() -> None:
        future: Future[str] = Future()
        future.set_result("done")
        assert await asyncio.wait_for(Handoff().wait(future), 5) == "done"

    asyncio.run(scenario())


def test_an_exception_is_raised_where_it_was_waited_for() -> None:
    async def scenario() -> None:
        handoff = Handoff()
        future: Future[str] = Future()
        waiting = asyncio.ensure_future(handoff.wait(future))
        await asyncio.sleep(0)
        future.set_exception(KeyError("why"))
        with pytest.raises(KeyError):
            await asyncio.wait_for(waiting, 5)

    asyncio.run(scenario())


def test_a_wait_that_was_cancelled_disturbs_no_other() -> None:
    async def scenario() -> None:
        handoff = Handoff()
        first: Future[int] = Future()
        second: Future[int] = Future()
        waits = [asyncio.ensure_future(handoff.wait(future)) for future in (first, second)]
        await asyncio.sleep(0)
        waits[0].cancel()
        await asyncio.wait({waits[0]})
        first.set_result(1)
        second.set_result(2)
        assert await asyncio.wait_for(waits[1], 5) == 2
        assert first.result() == 1

    asyncio.run(scenario())


def test_no_answer_is_left_behind_when_two_threads_answer_at_once() -> None:
    """Each pair is answered by two threads that wait for each other, as close to one moment as they can."""

    async def scenario() -> None:
        handoff = Handoff()
        together = threading.Barrier(2)
        pairs: list[tuple[Future[int], Future[int]]] = [(Future(), Future()) for _ in range(3_000)]

        def answer(side: int) -> None:
            for pair in pairs:
                together.wait()
                pair[side].set_result(side)

        threads = [threading.Thread(target=answer, args=(side,)) for side in (0, 1)]
        waits = [asyncio.ensure_future(handoff.wait(future)) for pair in pairs for future in pair]
        await asyncio.sleep(0)
        for thread in threads:
            thread.start()
        assert await asyncio.wait_for(asyncio.gather(*waits), 30) == [0, 1] * len(pairs)
        for thread in threads:
            thread.join()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        asyncio.run(scenario())
    finally:
        sys.setswitchinterval(interval)
