"""One overview for all who look at a cluster's pages: made away from the event loop, and only while somebody looks."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import define, field

from corral.cluster.overviewing import Known
from corral.view.overview import Overview

#: An overview that is not older is not made again (s): less than a page's interval.
FRESH = 0.9

T = TypeVar("T")


@define(eq=False)
class Snapshots:
    """The latest overview. On the scheduler's event loop."""

    #: None: the cluster is gone.
    _take: Callable[[Known], Overview | None]
    #: How many were made.
    taken: int = field(default=0, init=False)
    _known: Known = field(factory=Known, init=False)
    _latest: Overview | None = field(default=None, init=False)
    _taken_at: float = field(default=float("-inf"), init=False)
    _taking: asyncio.Task[None] | None = field(default=None, init=False)

    async def latest(self) -> Overview | None:
        """What there is, or was a moment ago; None if the cluster is gone."""
        if time.monotonic() - self._taken_at >= FRESH:
            self._taking = self._taking or asyncio.create_task(self._renew(), name="corral overview")
            # Whoever goes away takes nothing from the others.
            await asyncio.shield(self._taking)
        return self._latest

    async def _renew(self) -> None:
        try:
            self._latest = await asyncio.to_thread(self._take, self._known)
            self._taken_at = time.monotonic()
            self.taken += 1
        finally:
            self._taking = None


@define(eq=False)
class OncePer(Generic[T]):
    """What is made of the latest overview, away from the event loop, once for all who look."""

    _snapshots: Snapshots
    _make: Callable[[Overview], T]
    _of: Overview | None = field(default=None, init=False)
    _made: T | None = field(default=None, init=False)
    _lock: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    async def latest(self) -> T | None:
        overview = await self._snapshots.latest()
        if overview is None:
            return None
        async with self._lock:
            if self._of is not overview:
                self._made = await asyncio.to_thread(self._make, overview)
                self._of = overview
            return self._made


def weakly(taker: Callable[[Known], Overview]) -> Callable[[Known], Overview | None]:
    """A method of an object that this does not keep alive."""
    method = weakref.WeakMethod(taker)

    def take(known: Known) -> Overview | None:
        found = method()
        return None if found is None else found(known)

    return take
