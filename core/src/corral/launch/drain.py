"""The worker's part in leaving.

Near its end it begins nothing that it cannot finish. When it leaves, it gives back what has not begun, finishes what
runs, and writes to files what nobody else can take.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dask.utils import key_split
from distributed.core import Status
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.worker_state_machine import RescheduleEvent

from corral.launch import parked
from corral.launch.ending import flush_all, print_lines_at_once, say
from corral.launch.nanny import within
from corral.launch.quiet import be_brief
from corral.launch.tasktimes import EXPECTED, SECONDS_LEFT, SECONDS_RUN, time_needed
from corral.launch.used import USED, used
from corral.launch.worker_process import described
from corral.launch.zygote import ignore_warnings
from corral.security.membership import bear_with_silent_browsers

if TYPE_CHECKING:
    from distributed import Worker
    from distributed.worker_state_machine import StateMachineEvent, TaskState

#: Seconds in which the nanny is told why the worker ends.
_TELLING = 2.0
#: Seconds after which the scheduler is asked again what it believes to be here.
_ASK_AGAIN = 0.05
#: A task that was handed back so often comes back because nobody else may have it: then it is begun.
_HANDED_BACK = 5


class Finishing(WorkerPlugin):
    """Lets a worker end in good time; adds the operations ``corral_finish`` and ``corral_park`` to it.

    Parameters
    ----------
    until
        When it must be gone, in seconds since the epoch; None: never.
    folder
        Where results go that no other worker can take.
    began
        When its launcher began, in seconds since the epoch; None: not known.
    """

    name = "corral-finishing"

    def __init__(self, *, until: float | None = None, folder: str = "", began: float | None = None) -> None:
        self._until = until
        self._folder = folder
        self._began = began

    def setup(self, worker: Worker) -> None:
        ignore_warnings()
        be_brief()
        bear_with_silent_browsers(worker)
        # For spawned workers; forked ones have it from the launcher.
        print_lines_at_once()
        self._worker = worker
        self._changed = asyncio.Event()
        self._longest: dict[str, float] = {}
        self._handed_back: dict[Any, int] = {}
        worker.handlers.update(corral_finish=self.finish, corral_park=self.park)
        self._handle_stream = worker.handle_stream
        worker.handle_stream = self._handle_stream_or_tell  # type: ignore[method-assign]
        worker.metrics[USED] = lambda _: used()
        if (began := self._began) is not None:
            worker.metrics[SECONDS_RUN] = lambda _: time.time() - began
        if self._until is not None:
            worker.metrics[SECONDS_LEFT] = lambda _: self._seconds_left()
            self._execute = worker.execute
            worker.execute = self._execute_in_time  # type: ignore[method-assign]

    async def _handle_stream_or_tell(self, comm: Any, extra: dict[str, Any] | None = None) -> None:
        """Read what the scheduler sends; a worker that cannot closes, and nobody would know why."""
        try:
            await self._handle_stream(comm, extra)
        except Exception as error:
            module = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
            words = f"it could not read what it was given to compute: {described(error)}"
            nanny: Any = self._worker.nanny  # its address
            if nanny:
                await within(_TELLING, self._worker.rpc(nanny).corral_unreadable(words=words, module=module))
            # distributed ends the process at once, without Python's own ending.
            flush_all()
            raise

    def _seconds_left(self) -> float:
        assert self._until is not None
        return self._until - time.time()

    async def _execute_in_time(self, key: Any, *, stimulus_id: str) -> StateMachineEvent:
        """Run a task, unless it cannot be finished: then the scheduler gives it to somebody else."""
        task = self._worker.state.tasks[key]
        kind = key_split(key)
        expected = max((task.annotations or {}).get(EXPECTED, 0.0), self._longest.get(kind, 0.0))
        if expected and time_needed(expected) > self._seconds_left():
            self._handed_back[key] = times = self._handed_back.get(key, 0) + 1
            if times <= _HANDED_BACK:
                return RescheduleEvent(key=key, stimulus_id=f"corral-no-time-{time.time()}")
        began = time.time()
        try:
            return await self._execute(key, stimulus_id=stimulus_id)
        finally:
            if "expected_duration" not in (task.annotations or {}):
                self._longest[kind] = max(time.time() - began, self._longest.get(kind, 0.0))

    def transition(self, key: object, start: str, finish: str, **_: object) -> None:
        self._changed.set()

    async def finish(self) -> None:
        """Bring the worker to rest, however long that takes.

        distributed's own retirement leaves running tasks to run twice. Here the scheduler takes back every task that
        has not begun, and this returns when those that have begun are finished *and* the scheduler knows it.
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
                return
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

    async def park(self) -> int:
        """Write to files what the scheduler asks for; returns how many results that were."""
        worker = self._worker
        keys = await worker.scheduler.corral_reserve(address=worker.address)
        files: list[tuple[Any, str, int]] = []
        failed = []
        for key in keys:
            try:
                # Also from where it was spilled.
                value = worker.data[key]
                files.append((key, *await asyncio.to_thread(parked.write, self._folder, value)))
            except Exception as error:
                # One that cannot be written is computed again, as ever.
                failed.append(key)
                say(f"the result {key!r} cannot be kept in {self._folder}: {error!r}")
        if keys:
            await worker.scheduler.corral_parked(address=worker.address, files=files, failed=failed)
        return len(files)
