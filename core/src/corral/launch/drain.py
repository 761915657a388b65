"""The worker's part in leaving: begin nothing more, give back what has not begun, and finish what runs."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from distributed.core import Status
from distributed.diagnostics.plugin import WorkerPlugin

from corral.launch.quiet import be_brief
from corral.launch.zygote import ignore_warnings

if TYPE_CHECKING:
    from distributed import Worker
    from distributed.worker_state_machine import TaskState

#: Seconds after which the scheduler is asked again what it believes to be here.
_ASK_AGAIN = 0.05


class Finishing(WorkerPlugin):
    """Adds the operation ``corral_finish`` to a worker."""

    name = "corral-finishing"

    def setup(self, worker: Worker) -> None:
        ignore_warnings()
        be_brief()
        self._worker = worker
        self._changed = asyncio.Event()
        worker.handlers["corral_finish"] = self.finish

    def transition(self, key: object, start: str, finish: str, **_: object) -> None:
        self._changed.set()

    async def finish(self) -> int:
        """Bring the worker to rest, however long that takes.

        distributed's own retirement leaves running tasks to run twice. Here the scheduler takes back every task that
        has not begun, and this returns when those that have begun are finished *and* the scheduler knows it.

        Returns
        -------
        int
            How many results it holds.
        """
        worker = self._worker
        # It asked for this, and may no longer listen when the worker closes.
        worker.nanny = None
        returned: set[TaskState] = set()
        while True:
            # The scheduler sends nothing more, and what is here does not begin. Said again and again: a retirement
            # that fails sets the worker running again.
            if worker.status in (Status.running, Status.paused):
                worker.status = Status.closing_gracefully
                returned.clear()
            self._changed.clear()
            self._give_back(returned)
            is_busy = self._is_busy()
            if not is_busy and not await self._is_expected_to_work():
                return len(worker.data)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if is_busy else _ASK_AGAIN):
                    await self._changed.wait()

    async def _is_expected_to_work(self) -> bool:
        address, scheduler = self._worker.address, self._worker.scheduler
        # Asked for the tasks of a worker that it has lost, the scheduler fails, and its log says so to the user.
        if not await scheduler.ncores(workers=[address]):
            return False
        return bool((await scheduler.processing(workers=[address]))[address])

    def _is_busy(self) -> bool:
        state = self._worker.state
        # A cancelled task may still be running, but nobody wants it.
        return any(task.state != "cancelled" for tasks in (state.executing, state.long_running) for task in tasks)

    def _give_back(self, returned: set[TaskState]) -> None:
        state = self._worker.state
        for tasks in (state.ready, state.constrained, state.waiting):
            for task in [task for task in tasks if task not in returned]:
                returned.add(task)
                self._worker.batched_send(
                    {
                        "op": "reschedule",
                        "key": task.key,
                        "worker": self._worker.address,
                        "stimulus_id": f"corral-give-back-{time.time()}",
                    }
                )
