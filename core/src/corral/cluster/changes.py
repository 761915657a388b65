"""How whoever shows a cluster elsewhere hears that something has changed."""

from __future__ import annotations

import asyncio


class Changes:
    """Counts changes. On one event loop."""

    def __init__(self) -> None:
        self.count = 1
        #: Set by the next change, and replaced then: whoever waits holds the old one.
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self.count += 1
        told, self._next = self._next, asyncio.Event()
        told.set()

    async def after(self, seen: int) -> int:
        """Return the count as soon as it is not the one that was seen."""
        while self.count == seen:
            await self._next.wait()
        return self.count
