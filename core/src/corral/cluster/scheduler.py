"""The Dask scheduler of a cluster whose workers have an end: it begins no task that its job cannot finish.

distributed's scheduler takes every worker for immortal. This one knows how long each worker has left, because the
worker says so with its first word and with every heartbeat, and how long each task takes (`corral.launch.tasktimes`).
A worker that cannot finish a task is passed over; if none can, the task waits for a job with more time. A task of which
nothing is known is begun anywhere. Results that a leaving worker could give to nobody are in files:
`corral.cluster.parking`.

What is overridden is public in distributed's own words, but for `_task_to_msg`; a test holds each.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import distributed
from distributed.diagnostics.plugin import SchedulerPlugin

from corral.cluster.parking import Parking
from corral.launch.tasktimes import EXPECTED, SECONDS_LEFT, TaskTimes, TooLong, idle_from, time_needed
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState

logger = logger_of()

#: So many waiting tasks are looked through for one that a worker near its end can still finish.
_LOOKED_AT = 500
#: So many workers that left are remembered, with what they ran.
_REMEMBERED = 1000
#: So many tasks that were cut off are named.
_NAMED = 3
#: How long browsers are waited for when a scheduler closes (s).
BROWSERS_GRACE = 1.0


class Scheduler(distributed.Scheduler):
    """A Dask scheduler that knows when its workers must be gone."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.times = TaskTimes()
        #: By address: the moment (`time.monotonic`) at which a worker must be gone, if it has said so.
        self.leaves_at: dict[str, float] = {}
        #: Called with each task that no job of this cluster can finish.
        self.on_too_long: Callable[[TooLong], None] = lambda _: None
        #: Called with the address of each worker that has said nothing for too long, before it is started again.
        self.on_silent: Callable[[str], None] = lambda _: None
        #: Workers that had room for a task, but not the time: which task that was.
        self.passed_over: dict[str, Any] = {}
        #: By address: how long a task takes there of which nothing is known (s).
        self.assumed: dict[str, float] = {}
        #: Told when a worker is gone.
        self._removed = asyncio.Condition()
        #: Addresses of workers whose launchers look after their end.
        self._dismissed: OrderedDict[str, None] = OrderedDict()
        #: By address: what the latest workers ran that left without having been asked to.
        self._left_running: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        #: The task that is being decided about.
        self._deciding: TaskState | None = None
        super().__init__(*arguments, **more)
        #: Results in files.
        self.parking = Parking(self)
        self.handlers.update(corral_abandon=self.abandon, corral_dismiss=self.dismiss)
        self.add_plugin(_Ends(self), name="corral-task-times")

    @property
    def longest_room(self) -> float | None:
        """The longest that a task may take which a new job begins at once (s); None: not known."""
        return self.times.room

    @longest_room.setter
    def longest_room(self, seconds: float | None) -> None:
        self.times.room = seconds

    async def close(self, timeout: float | None = None, reason: str = "unknown") -> None:
        """Close, and close the connections of browsers: Dask only stops listening for more of them."""
        await super().close(timeout, reason)
        with suppress(TimeoutError):
            async with asyncio.timeout(BROWSERS_GRACE):
                await self.http_server.close_all_connections()

    # --- how long workers have ----------------------------------------------------------------------------------

    def heartbeat_worker(self, *, address: str, metrics: dict[str, Any], **more: Any) -> dict[str, Any]:
        # Also called when a worker joins, before anything is assigned to it.
        sender = self.coerce_address(address, more.get("resolve_address", True))
        if sender in self._dismissed and sender not in self.workers:
            # Its launcher closes it: it must not close by itself, nor is there anything to warn of.
            return {"status": "OK", "time": time.time(), "heartbeat-interval": 10.0}
        said: dict[str, Any] = super().heartbeat_worker(address=address, metrics=metrics, **more)
        left = metrics.get(SECONDS_LEFT)
        worker = self.workers.get(sender)
        if worker is not None:
            if isinstance(left, int | float):
                self.leaves_at[sender] = time.monotonic() + left
            for task, seconds in worker.executing.items():
                self.times.ran(task, seconds)
        return said

    def seconds_left(self, worker: WorkerState) -> float:
        """Until the worker must be gone; infinite if it has not said."""
        return self.leaves_at.get(worker.address, float("inf")) - time.monotonic()

    def _too_short_lived(self, task: TaskState, workers: Iterable[WorkerState]) -> set[WorkerState]:
        """Those of the workers that could not finish this task."""
        if not self.leaves_at:
            return set()
        expected, now = self.times.expected(task), time.monotonic()
        if expected is None and not self.assumed:
            return set()

        def is_too_short_lived(worker: WorkerState) -> bool:
            seconds = self.assumed.get(worker.address) if expected is None else expected
            leaves_at = self.leaves_at.get(worker.address)
            return seconds is not None and leaves_at is not None and leaves_at < now + time_needed(seconds)

        return set(filter(is_too_short_lived, workers))

    # --- deciding where a task runs -----------------------------------------------------------------------------

    def is_rootish(self, task: TaskState) -> bool:
        # Asked first whenever a task is to be assigned.
        self._deciding = task
        self._tell_if_too_long(task)
        return super().is_rootish(task)

    def valid_workers(self, task: TaskState) -> set[WorkerState] | None:
        valid = super().valid_workers(task)
        short_lived = self._too_short_lived(task, self.running if valid is None else valid)
        if not short_lived:
            return valid
        self._pass_over(short_lived, task)
        return (self.running if valid is None else valid) - short_lived

    def decide_worker_rootish_queuing_enabled(self) -> WorkerState | None:
        if self._deciding is None or not (short_lived := self._too_short_lived(self._deciding, self.idle_task_count)):
            return super().decide_worker_rootish_queuing_enabled()
        self._pass_over(short_lived, self._deciding)
        return min(
            self.idle_task_count - short_lived,
            key=lambda worker: len(worker.processing) / worker.nthreads,
            default=None,
        )

    def decide_worker_rootish_queuing_disabled(self, task: TaskState) -> WorkerState | None:
        if self._too_short_lived(task, self.running):
            return self.decide_worker_non_rootish(task)
        return super().decide_worker_rootish_queuing_disabled(task)

    def stimulus_queue_slots_maybe_opened(self, *, stimulus_id: str) -> None:
        if not self.queued or not self.idle_task_count:
            return
        head = self.queued.peek()
        if not self._too_short_lived(head, self.idle_task_count):
            self._deciding = head
            super().stimulus_queue_slots_maybe_opened(stimulus_id=stimulus_id)
            return
        # Shorter tasks further back may fill the time that is too short for the first.
        waiting = sorted(itertools.islice(self.queued, _LOOKED_AT), key=lambda task: task.priority or ())
        for task in waiting:
            if not self.idle_task_count:
                return
            if task.state == "queued" and self.idle_task_count - self._too_short_lived(task, self.idle_task_count):
                self._deciding = task
                self.transitions({task.key: "processing"}, stimulus_id)
        self._pass_over(self._too_short_lived(head, self.idle_task_count), head)

    def _task_to_msg(self, task: TaskState) -> dict[str, Any]:
        # The worker looks once more when it begins the task: it may have waited there.
        message: dict[str, Any] = super()._task_to_msg(task)
        expected = self.times.expected(task)
        if expected is None and task.processing_on is not None:
            expected = self.assumed.get(task.processing_on.address)
        if expected is not None:
            message["annotations"] = {**message["annotations"], EXPECTED: expected}
        return message

    def _pass_over(self, workers: Iterable[WorkerState], task: TaskState) -> None:
        for worker in workers:
            self.passed_over[worker.address] = task.key

    def has_no_time(self, worker: WorkerState) -> bool:
        """True if it does nothing, and work that waits is too long for what is left of its time."""
        if worker.processing:
            return False
        key = self.passed_over.get(worker.address)
        task = None if key is None else self.tasks.get(key)
        if task is None or task.state not in ("queued", "no-worker"):
            self.passed_over.pop(worker.address, None)
            return False
        # What no job can do is no reason to leave.
        expected = self.times.expected(task)
        return expected is None or not self._is_too_long(expected)

    def idle_from(self, worker: WorkerState) -> float | None:
        """Seconds until the worker will have nothing that it can finish, if work waits; None: not to be foreseen."""
        waiting = next(iter(self.queued.peekn(1)), None) or next(iter(self.unrunnable), None)
        if waiting is None or (expected := self.times.expected(waiting)) is None or self._is_too_long(expected):
            return None
        running = []
        for task in worker.processing:
            if (takes := self.times.expected(task)) is None:
                return None
            running.append((takes, worker.executing.get(task)))
        return idle_from(running, worker.nthreads, self.seconds_left(worker), expected)

    # --- tasks that are too long --------------------------------------------------------------------------------

    def _is_too_long(self, expected: float) -> bool:
        return self.longest_room is not None and time_needed(expected) > self.longest_room

    def _tell_if_too_long(self, task: TaskState) -> None:
        expected = self.times.expected(task)
        if expected is not None and self._is_too_long(expected):
            self.on_too_long(
                TooLong(
                    key=task.key,
                    kind=task.prefix.name,
                    expected=expected,
                    was_interrupted=task.key in self.times.interrupted,
                )
            )

    # --- dying --------------------------------------------------------------------------------------------------

    async def restart_workers(self, workers: list[str] | None = None, **more: Any) -> Any:
        if str(more.get("stimulus_id")).startswith("check-worker-ttl"):
            for address in set(workers or ()).intersection(self.workers):
                self.on_silent(address)
        return await super().restart_workers(workers, **more)

    # --- leaving ------------------------------------------------------------------------------------------------

    async def remove_worker(self, address: str, **more: Any) -> Any:
        worker = self.workers.get(self.coerce_address(address))
        if worker is not None:
            self._left_running[worker.address] = self._running_on(worker)
            while len(self._left_running) > _REMEMBERED:
                self._left_running.popitem(last=False)
            self._note_interrupted(worker)
            self.leaves_at.pop(worker.address, None)
            self.passed_over.pop(worker.address, None)
            self.assumed.pop(worker.address, None)
            self.parking.release(worker.address)
            try:
                return await super().remove_worker(address=address, **more)
            finally:
                async with self._removed:
                    self._removed.notify_all()
        return await super().remove_worker(address=address, **more)

    def ran_on(self, address: str) -> tuple[str, ...]:
        """The tasks that run on a worker, or ran when it left."""
        worker = self.workers.get(address)
        return self._left_running.get(address, ()) if worker is None else self._running_on(worker)

    @staticmethod
    def _running_on(worker: WorkerState) -> tuple[str, ...]:
        """As many of its tasks as it has threads: what it has said that it runs, then what it was given first."""
        said = [task for task in worker.executing if task in worker.processing]
        others = sorted(worker.processing - set(said), key=lambda task: task.priority or ())
        return tuple(str(task.key) for task in [*said, *others][: max(len(said), worker.nthreads)])

    def _note_interrupted(self, worker: WorkerState) -> dict[Any, float]:
        """What runs there is cut off: each has taken at least so long."""
        since = max(0.0, time.time() - worker.last_seen)
        found = {}
        for task, seconds in worker.executing.items():
            if task in worker.processing:
                found[task.key] = seconds + since
                self.times.interrupted[task.key] = max(seconds + since, self.times.interrupted.get(task.key, 0.0))
        return found

    async def abandon(self, address: str) -> dict[str, Any]:
        """Remote call of a launcher: this worker ends with what it has and does, and none of its tasks is to blame.

        Returns
        -------
        dict
            ``unfinished``: tasks that are run again; ``seconds`` that those had run, and their ``names``, the longest
            first; ``lost``: results that nobody has.
        """
        worker = self.workers.get(address)
        if worker is None:
            return {}
        cut_off = self._note_interrupted(worker)
        said = {
            "unfinished": len(worker.processing),
            "seconds": sum(cut_off.values()),
            "names": [str(key) for key in sorted(cut_off, key=lambda key: -cut_off[key])[:_NAMED]],
            "lost": self.parking.unsaved(worker),
        }
        await self.dismiss(address)
        return said

    async def dismiss(self, address: str) -> None:
        """Remote call of a launcher: this worker goes as expected, and its process is looked after."""
        self._dismissed[self.coerce_address(address)] = None
        while len(self._dismissed) > _REMEMBERED:
            self._dismissed.popitem(last=False)
        await self.remove_worker(address, stimulus_id=f"corral-dismiss-{time.time()}", expected=True, close=False)

    async def retire_workers(
        self,
        workers: list[str] | None = None,
        *,
        names: list[Any] | None = None,
        close_workers: bool = False,
        remove: bool = True,
        stimulus_id: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Let workers leave: as distributed has it, but what runs is finished, and what nobody takes is kept.

        Workers of jobs are asked to drain, and end; it returns when they have.
        """
        super_retires: Callable[..., Any] = super().retire_workers
        if not remove:
            return dict(  # nothing but their results moves: launchers ask for that
                await super_retires(workers=workers, close_workers=close_workers, remove=False, stimulus_id=stimulus_id)
            )
        if names is not None:
            wanted = set(map(str, names))
            chosen = [each.address for each in self.workers.values() if str(each.name) in wanted]
        else:
            chosen = self.workers_to_close(**more) if workers is None else list(workers)
        draining = {
            address: worker.identity()
            for address in chosen
            if (worker := self.workers.get(address)) is not None and await self._drains(worker)
        }
        others = [address for address in chosen if address not in draining]
        retired = (
            dict(await super_retires(workers=others, close_workers=close_workers, stimulus_id=stimulus_id))
            if others
            else {}
        )
        async with self._removed:
            await self._removed.wait_for(lambda: not draining.keys() & self.workers.keys())
        return {**retired, **draining}

    async def _drains(self, worker: WorkerState) -> bool:
        """Ask a worker's nanny to let it drain; False if it is none of a launcher's, or does not answer."""
        if not worker.nanny:
            return False
        try:
            return bool(await self.rpc(worker.nanny).corral_drain() == "OK")
        except (OSError, AttributeError, ValueError):
            return False


class _Ends(SchedulerPlugin):
    """Hears how long tasks took, and which are forgotten."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *_: Any, **more: Any) -> None:
        scheduler = self._scheduler
        if finish == "memory" and start == "processing" and key not in scheduler.parking.files:
            seconds = sum(
                each["stop"] - each["start"] for each in more.get("startstops") or () if each["action"] == "compute"
            )
            scheduler.times.ended(scheduler.tasks[key], seconds)
        if finish in ("memory", "erred", "forgotten"):
            scheduler.times.interrupted.pop(key, None)
        if finish == "forgotten":
            scheduler.parking.forget(key)
