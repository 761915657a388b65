"""What an engine and its parts know together, and how they wake one another."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from corral.cluster.system import System
from corral.cluster.tally import Tally
from corral.cluster.tasks import Tasks
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
    """The jobs of a cluster, its groups and batch systems, as they are known now; and who is told when that changes.

    All moments of records and plans are of one clock: `now`. Whoever has changed a record or a group calls `changed`;
    or `tell`, where the batch system need not be asked sooner for it. Both have the engine plan again, and wake whoever
    waits. It is changed on the event loop alone; `roster`, `groups` and `failures` may be read from any thread.
    """

    blueprint: Blueprint
    scheduler: Scheduler
    #: Called on the event loop when something changed.
    on_change: Callable[[], None] = lambda: None

    roster: Roster = field(init=False)
    groups: dict[str, Group] = field(init=False)
    #: By name. The cluster's own has none, and is the first.
    systems: dict[str, System] = field(init=False)
    #: What the jobs do, and what they have cost.
    census: Census = field(init=False)
    #: What has happened since the cluster began.
    tally: Tally = field(factory=Tally, init=False)
    failures: deque[JobFailure | WorkerFailure] = field(factory=lambda: deque(maxlen=REMEMBERED), init=False)
    #: Rejections that nobody has heard of yet.
    undelivered: list[CorralError] = field(factory=list, init=False)
    is_closing: bool = field(default=False, init=False)
    #: Set when there may be something to do.
    wake: asyncio.Event = field(factory=asyncio.Event, init=False)
    #: Replaced when something changed: whoever waits for news holds the old one.
    news: asyncio.Event = field(factory=asyncio.Event, init=False)
    clock: clock.Clock = field(factory=clock.Clock, init=False)
    #: What is under way with no batch system in particular.
    tasks: Tasks = field(factory=Tasks, init=False)

    def __attrs_post_init__(self) -> None:
        self.roster = Roster(self._tell_plugins)
        self.census = Census(cluster=self.name, scheduler=self.scheduler, roster=self.roster)
        self.systems = {}
        self.know_systems()
        self.groups = {name: self.new_group(name) for name in self.blueprint.groups}

    def _tell_plugins(self, job_id: JobId, before: JobStatus | None, after: JobStatus) -> None:
        self.systems[job_id.system].batch.tell(job_id, before, after)

    def know_systems(self) -> list[System]:
        """Know the blueprint's batch systems; returns those that are new."""
        new = [System.of(self.blueprint, batch) for batch in self.blueprint.systems if batch.name not in self.systems]
        self.systems |= {system.name: system for system in new}
        return new

    def new_group(self, name: str) -> Group:
        """One of the blueprint's groups, which wants nothing yet."""
        self.census.ledger.open(name)
        self.tally.know(name)
        job, batch = self.blueprint.request(name, 1), self.blueprint.batch_of(name)
        return Group(
            name=name, cluster=self.name, spec=self.blueprint.groups[name], resources=job.resources,
            walltime=math.inf if job.walltime is None else job.walltime,
            asked=job, is_free=bool(batch.name) and batch.facts.is_everywhere,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The cluster's."""
        return self.blueprint.name

    def system_of(self, group: str) -> System:
        """Where a group's jobs are; it may have been removed."""
        return self.systems[self.blueprint.batch_of(group).name]

    def groups_of(self, system: System) -> list[Group]:
        """Those whose jobs are there."""
        return [group for group in self.groups.values() if self.system_of(group.name) is system]

    def now(self) -> float:
        """The moment, on the clock of all records and plans."""
        return self.clock.now()

    # --- telling ------------------------------------------------------------------------------------------------

    def changed(self, *systems: System) -> None:
        """Something happened to jobs of these batch systems: plan, poll sooner, and tell who waits."""
        for system in systems:
            system.rhythm.changed(self.now())
        self.tell()

    def tell(self) -> None:
        """Something is known that was not: plan, and tell who waits."""
        self.wake.set()
        news, self.news = self.news, asyncio.Event()
        news.set()
        self.on_change()
