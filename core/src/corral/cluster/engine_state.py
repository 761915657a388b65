"""What an engine and its parts know together, and how they wake one another."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from attrs import define, field

from corral.batch.client import BatchSystem
from corral.batch.polling import Watch
from corral.batch.rhythm import Rhythm
from corral.errors import CorralError
from corral.host import clock
from corral.jobs.group import Group
from corral.jobs.record import JobFailure
from corral.jobs.table import REMEMBERED, Roster
from corral.jobs.worker_failures import WorkerFailure
from corral.plugin.values import JobId, JobStatus
from corral.request.blueprint import Blueprint
from corral.scaling.usage import Census

if TYPE_CHECKING:
    from corral.cluster.scheduler import Scheduler


@define(kw_only=True, eq=False)
class EngineState:
    """The jobs of a cluster and its groups, as they are known now; and who is told when that changes.

    All moments of records and plans are of one clock: `now`. Whoever has changed a record or a group calls `changed`;
    or `tell`, where the batch system need not be asked sooner for it. Both have the engine plan again, and wake whoever
    waits. It is changed on the event loop alone; `roster`, `groups` and `failures` may be read from any thread.
    """

    blueprint: Blueprint
    scheduler: Scheduler
    #: Which watch serves this cluster: the same for all clusters that ask the same batch system in the same way.
    watch: Watch
    rhythm: Rhythm
    #: Called on the event loop when something changed.
    on_change: Callable[[], None] = lambda: None

    roster: Roster = field(init=False)
    groups: dict[str, Group] = field(init=False)
    #: What the jobs do, and what they have cost.
    census: Census = field(init=False)
    failures: deque[JobFailure | WorkerFailure] = field(factory=lambda: deque(maxlen=REMEMBERED), init=False)
    #: Rejections that nobody has heard of yet.
    undelivered: list[CorralError] = field(factory=list, init=False)
    #: Jobs of which the batch system has been told to cancel them, and has not said yet whether it will.
    being_cancelled: frozenset[JobId] = field(default=frozenset(), init=False)
    #: An answer of the batch system from before this moment, on the watch's clock, does not show what was last asked
    #: of it.
    acted_at: float = field(default=float("-inf"), init=False)
    is_closing: bool = field(default=False, init=False)
    #: Set when there may be something to do.
    wake: asyncio.Event = field(factory=asyncio.Event, init=False)
    #: Replaced when something changed: whoever waits for news holds the old one.
    news: asyncio.Event = field(factory=asyncio.Event, init=False)
    clock: clock.Clock = field(factory=clock.Clock, init=False)
    _until_closing: set[asyncio.Task[None]] = field(factory=set, init=False)
    _to_the_end: set[asyncio.Task[None]] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self.roster = Roster(self._tell_plugins)
        self.census = Census(cluster=self.name, scheduler=self.scheduler, roster=self.roster)
        self.groups = {name: self.new_group(name) for name in self.blueprint.groups}

    def _tell_plugins(self, job_id: JobId, before: JobStatus | None, after: JobStatus) -> None:
        self.batch.tell(job_id, before, after)

    def new_group(self, name: str) -> Group:
        """One of the blueprint's groups, which wants nothing yet."""
        self.census.ledger.open(name)
        job = self.blueprint.request(name, 1)
        return Group(
            name=name, cluster=self.name, spec=self.blueprint.groups[name], resources=job.resources,
            walltime=math.inf if job.walltime is None else job.walltime, asked=job,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The cluster's."""
        return self.blueprint.name

    @property
    def batch(self) -> BatchSystem:
        """The batch system, for what concerns jobs of all groups."""
        return self.blueprint.batch

    def now(self) -> float:
        """The moment, on the clock of all records and plans."""
        return self.clock.now()

    # --- telling ------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something happened to jobs: plan, poll sooner, and tell who waits."""
        self.rhythm.changed(self.now())
        self.tell()

    def tell(self) -> None:
        """Something is known that was not: plan, and tell who waits."""
        self.wake.set()
        news, self.news = self.news, asyncio.Event()
        news.set()
        self.on_change()

    def has_acted(self) -> None:
        """The batch system was just told to do something: older answers do not show it."""
        self.acted_at = self.watch.now()

    # --- tasks --------------------------------------------------------------------------------------------------

    def do_until_closing(self, work: Coroutine[Any, Any, None], name: str | None = None) -> asyncio.Task[None]:
        """Begin what is cut off when the cluster closes."""
        return _keep(asyncio.create_task(work, name=name), self._until_closing)

    def see_to_its_end(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin what a closing cluster waits for: cutting off a submission would leave jobs that nobody knows."""
        return _keep(asyncio.create_task(work), self._to_the_end)

    async def finish_tasks(self, timeout: float) -> None:
        """End everything that was begun; what must be seen to its end has so many seconds."""
        if cut_off := set(self._until_closing):
            for task in cut_off:
                task.cancel()
            await asyncio.wait(cut_off)
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
