"""What a cluster shows of itself, wherever that is known from: its blueprint, its engine, or what an engine told."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from attrs import evolve, field, frozen

from corral.cluster.tally import commands_of
from corral.jobs.record import JobFailure, Jobs
from corral.jobs.worker_failures import WorkerFailure
from corral.plugin.values import Resources
from corral.request.blueprint import Blueprint
from corral.request.worker_group import WorkerGroup
from corral.scaling.account import Account
from corral.view.overview import CommandCount, Load, Totals

if TYPE_CHECKING:
    from distributed import Scheduler

    from corral.cluster.engine import Engine
    from corral.jobs.group import Group
    from corral.scaling.adaptive import Adaptive


@frozen(kw_only=True)
class Standing:
    """How a group stands, beside its jobs."""

    #: What keeps it from growing, in words; empty: nothing.
    trouble: str = ""
    #: Nothing is submitted until somebody scales again.
    is_stopped: bool = False
    #: Why its jobs wait, as the batch system said when it was asked; empty: it did not.
    waiting: str = ""
    #: Why the last plan did what it did.
    because: str = ""
    #: Whether its size follows its work; between these numbers of jobs. None: no limit.
    adapts: bool = False
    minimum: int = 0
    maximum: int | None = None


class ShownGroup(Protocol):
    """One kind of jobs."""

    @property
    def spec(self) -> WorkerGroup:
        """What was asked for."""

    @property
    def resources(self) -> Resources:
        """What a job has."""

    @property
    def wanted(self) -> int:
        """Jobs."""

    @property
    def standing(self) -> Standing:
        """What troubles it, and whether it adapts."""

    @property
    def script(self) -> str:
        """What a job runs."""


class Shown(Protocol):
    """What there is. May be read from any thread."""

    @property
    def backend(self) -> str:
        """The name of its plugin."""

    @property
    def groups(self) -> Mapping[str, ShownGroup]:
        """Those that can be scaled."""

    @property
    def jobs(self) -> Jobs:
        """Oldest first."""

    @property
    def failures(self) -> tuple[JobFailure | WorkerFailure, ...]:
        """What ended without being asked to, oldest first."""

    @property
    def account(self) -> Account:
        """What the jobs have used so far."""

    @property
    def maximum_core_hours(self) -> float | None:
        """What they may use; None: any amount."""

    @property
    def maximum_gpu_hours(self) -> float | None:
        """What those with GPUs may use; None: any amount."""

    @property
    def whereabouts(self) -> str:
        """Where the jobs are, in words."""

    @property
    def load(self) -> Load:
        """What the Dask scheduler has."""

    @property
    def totals(self) -> Mapping[str, Totals]:
        """What has happened in each group since the cluster began."""

    @property
    def commands(self) -> tuple[CommandCount, ...]:
        """What the batch systems were asked since then."""

    @property
    def epoch(self) -> float:
        """When the clock of its records stood at 0 (s since the epoch)."""


@frozen(kw_only=True)
class DrawnGroup:
    """One kind of jobs of a blueprint."""

    name: str
    blueprint: Blueprint
    resources: Resources
    wanted: int = 0
    standing: Standing = Standing()

    @property
    def spec(self) -> WorkerGroup:
        return self.blueprint.groups[self.name]

    @property
    def script(self) -> str:
        return str(self.blueprint.script(self.name))


@frozen
class OnPaper:
    """A cluster that has not started."""

    blueprint: Blueprint
    jobs: Jobs = Jobs(())
    failures: tuple[JobFailure | WorkerFailure, ...] = ()
    account: Account = Account(groups={})
    whereabouts: str = ""
    load: Load = Load()
    totals: Mapping[str, Totals] = field(factory=dict)
    commands: tuple[CommandCount, ...] = ()
    epoch: float = 0.0

    @property
    def backend(self) -> str:
        return self.blueprint.backend

    @property
    def groups(self) -> dict[str, DrawnGroup]:
        return {
            name: DrawnGroup(name=name, blueprint=self.blueprint, resources=self.blueprint.resources(name))
            for name in self.blueprint.groups
        }

    @property
    def maximum_core_hours(self) -> float | None:
        return self.blueprint.maximum_core_hours

    @property
    def maximum_gpu_hours(self) -> float | None:
        return self.blueprint.maximum_gpu_hours


@frozen
class AtWork:
    """A cluster whose engine is in this process."""

    engine: Engine
    #: What it adapts by; None: it does not.
    adaptive: Adaptive | None = None

    @property
    def backend(self) -> str:
        return self.engine.blueprint.backend

    @property
    def groups(self) -> dict[str, DrawnGroup]:
        blueprint = self.engine.blueprint
        return {
            name: DrawnGroup(
                name=name,
                blueprint=blueprint,
                resources=group.resources,
                wanted=group.state.wanted,
                standing=self._standing(group),
            )
            for name, group in list(self.engine.groups.items())
            # One that has been added since the blueprint was read is seen the next time.
            if not group.is_removed and name in blueprint.groups
        }

    @property
    def jobs(self) -> Jobs:
        records = self.engine.jobs
        short = [
            (group, count) for group in list(self.engine.groups.values()) if (count := group.count_unsubmitted(records))
        ]
        why = "; ".join(str(group.trouble) for group, _ in short if group.trouble)
        return Jobs(records, sum(count for _, count in short), why)

    @property
    def failures(self) -> tuple[JobFailure | WorkerFailure, ...]:
        return self.engine.failures

    @property
    def account(self) -> Account:
        return self.engine.census.ledger.account()

    @property
    def maximum_core_hours(self) -> float | None:
        return self.engine.maximum_core_hours

    @property
    def maximum_gpu_hours(self) -> float | None:
        return self.engine.maximum_gpu_hours

    @property
    def whereabouts(self) -> str:
        return self.engine.whereabouts()

    @property
    def load(self) -> Load:
        return load_of(self.engine.scheduler)

    @property
    def totals(self) -> dict[str, Totals]:
        return self.engine.tally.totals()

    @property
    def commands(self) -> tuple[CommandCount, ...]:
        return commands_of(self.engine.blueprint.systems)

    @property
    def epoch(self) -> float:
        return time.time() - self.engine.now()

    def _standing(self, group: Group) -> Standing:
        bounds = None if self.adaptive is None else self.adaptive.bounds_of(group.name)
        how = Standing(
            trouble=group.trouble_in_words(),
            is_stopped=group.state.is_stopped,
            waiting=group.waiting_words(self.engine.jobs, self.engine.now()),
            because=group.because,
        )
        if bounds is None:
            return how
        maximum = None if bounds.maximum == math.inf else int(bounds.maximum)
        return evolve(how, adapts=True, minimum=bounds.minimum, maximum=maximum)


def resources_of(groups: Mapping[str, ShownGroup]) -> dict[str, Resources]:
    """What a job of each group has."""
    return {name: group.resources for name, group in groups.items()}


def workers_of(groups: Mapping[str, ShownGroup], jobs: Mapping[str, int] | None = None) -> int:
    """How many workers so many jobs of some groups give, and those that the others want."""
    return sum((jobs or {}).get(name, group.wanted) * group.resources.workers for name, group in groups.items())


def load_of(scheduler: Scheduler) -> Load:
    """What a Dask scheduler has; the cost grows with its workers, not with its tasks."""
    workers = list(scheduler.workers.values())
    return Load(
        workers=len(workers),
        threads=sum(worker.nthreads for worker in workers),
        tasks=len(scheduler.tasks),
        processing=sum(len(worker.processing) for worker in workers),
        queued=len(scheduler.queued),
        no_worker=len(scheduler.unrunnable),
        memory=sum(int(worker.metrics.get("memory", 0)) for worker in workers),
        memory_limit=sum(worker.memory_limit or 0 for worker in workers),
    )
