"""What is under way: tasks that are cut off when the cluster closes, and others that are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from attrs import define, field


@define(kw_only=True, eq=False)
class Tasks:
    """Tasks of an engine, or of what it has under way with one batch system."""

    _until_closing: set[asyncio.Task[None]] = field(factory=set, init=False)
    _to_the_end: set[asyncio.Task[None]] = field(factory=set, init=False)

    def do_until_closing(self, work: Coroutine[Any, Any, None], name: str | None = None) -> asyncio.Task[None]:
        """Begin what is cut off when the cluster closes."""
        return _keep(asyncio.create_task(work, name=name), self._until_closing)

    def see_to_its_end(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin what a closing cluster waits for: cutting off a submission would leave jobs that nobody knows."""
        return _keep(asyncio.create_task(work), self._to_the_end)

    async def cut_off(self) -> None:
        """End what need not be seen to its end."""
        if cut_off := set(self._until_closing):
            for task in cut_off:
                task.cancel()
            await asyncio.wait(cut_off)

    async def finish(self, timeout: float) -> None:
        """Wait for the others, which have so many seconds; what has not ended by then is cut off, too."""
        if self._to_the_end:
            _, unfinished = await asyncio.wait(self._to_the_end, timeout=timeout)
            for task in unfinished:
                task.cancel()
            if unfinished:
                await asyncio.wait(unfinished)


def _keep(task: asyncio.Task[None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task
