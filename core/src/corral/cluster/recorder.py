"""Keeps how a cluster's size went, while its engine works."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, field

from corral.cluster.changes import Changes
from corral.view.overview import PHASES
from corral.view.series import Point, Series

if TYPE_CHECKING:
    from corral.cluster.engine import Engine

#: Changes within so long are one point, and without any there is one so often (s).
SHORTEST, LONGEST = 1.0, 60.0


@define(eq=False)
class Recorder:
    """Adds a point after each change. On one event loop."""

    _engine: Engine
    _changes: Changes
    series: Series = field(factory=Series, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="corral series")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        seen = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST):
                    seen = await self._changes.after(seen)
            self.series.add(self._now())
            await asyncio.sleep(SHORTEST)

    def _now(self) -> Point:
        engine = self._engine
        phases = Counter(record.phase.value for record in engine.jobs if not record.has_ended)
        return Point(
            time.time(),
            len(engine.scheduler.workers),
            sum(group.state.wanted * group.workers_per_job for group in engine.groups.values() if not group.is_removed),
            *(phases[phase] for phase in PHASES),
        )
