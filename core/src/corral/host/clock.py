"""Time as an event loop has it: while it is stalled, no time passes.

A Dask scheduler's loop can stand still for ten seconds under load. What was due in that time (a worker's message, the
end of a command) has happened but is not known yet, and a time-out that counted the stall would judge by old news.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: Seconds between two looks at the clock.
TICK = 0.5
#: What a tick may take and still count in full (s): more is a stall.
LONGEST = 1.5


class Clock:
    """Seconds in which one event loop could work; `run` must be running on it. May be read from any thread."""

    def __init__(self) -> None:
        self._counted = time.monotonic()
        self._looked_at = self._counted

    def now(self) -> float:
        return self._counted + min(time.monotonic() - self._looked_at, LONGEST)

    async def run(self) -> None:
        """Look at the clock again and again; for ever."""
        while True:
            await asyncio.sleep(TICK)
            self._counted = self.now()
            self._looked_at = time.monotonic()


@asynccontextmanager
async def timeout(seconds: float | None) -> AsyncIterator[None]:
    """Like `asyncio.timeout`, in seconds of the loop: what a stall has delayed is heard before it is given up.

    Raises
    ------
    TimeoutError
    """
    async with asyncio.timeout(None) as expiry:
        counting = None if seconds is None else asyncio.create_task(_count(seconds, expiry))
        try:
            yield
        finally:
            if counting is not None:
                counting.cancel()


async def _count(seconds: float, expiry: asyncio.Timeout) -> None:
    left = seconds
    while left > 0:
        # A slice counts for what it was meant to last, however long the loop took over it.
        part = min(left, TICK)
        await asyncio.sleep(part)
        left -= part
    expiry.reschedule(asyncio.get_running_loop().time())
