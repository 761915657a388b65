"""Time as a stalled event loop has it."""

from __future__ import annotations

import asyncio
import time

import pytest

from corral.host import clock


async def test_a_stall_does_not_count() -> None:
    """Three seconds of which the loop could use nothing are half a tick or so."""
    ticker = clock.Clock()
    ticking = asyncio.create_task(ticker.run())
    await asyncio.sleep(0)
    before = ticker.now()
    time.sleep(3.0)  # noqa: ASYNC251 - the stall
    await asyncio.sleep(0)
    assert 0 <= ticker.now() - before <= clock.LONGEST + 0.1
    ticking.cancel()


async def test_the_clock_never_goes_back() -> None:
    """Not even when a tick and a reading meet."""
    ticker = clock.Clock()
    ticking = asyncio.create_task(ticker.run())
    last = ticker.now()
    for _ in range(60):
        await asyncio.sleep(0.01)
        assert ticker.now() >= last
        last = ticker.now()
    ticking.cancel()


async def test_what_a_stall_has_delayed_is_heard_before_it_is_given_up() -> None:
    """asyncio's own time-out would fire first, since it was due first."""
    answered = asyncio.get_running_loop().create_future()

    async def answer() -> None:
        for _ in range(5):  # several turns of the loop, as the end of a process takes
            await asyncio.sleep(0)
        answered.set_result(42)

    async with clock.timeout(1.0):
        asyncio.create_task(answer())  # noqa: RUF006 - awaited through its future
        await asyncio.sleep(0)
        time.sleep(2.0)  # noqa: ASYNC251 - the stall
        assert await answered == 42


async def test_it_ends_what_never_comes() -> None:
    with pytest.raises(TimeoutError):
        async with clock.timeout(0.05):
            await asyncio.get_running_loop().create_future()


async def test_none_waits_for_ever() -> None:
    async with clock.timeout(None):
        await asyncio.sleep(0)
