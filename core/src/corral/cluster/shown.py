"""What a cluster shows of itself, wherever that is known from: its blueprint, its engine, or what an engine told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from corral.jobs.record import JobFailure, Jobs
from corral.jobs.worker_failures import WorkerFailure
from corral.plugin.values import Resources
from corral.request.blueprint import Blueprint
from corral.request.worker_group import WorkerGroup
from corral.scaling.account import Account

if TYPE_CHECKING:
    from corral.cluster.engine import Engine


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


@frozen(kw_only=True)
class DrawnGroup:
    """One kind of jobs of a blueprint."""

    name: str
    blueprint: Blueprint
    resources: Resources
    wanted: int = 0

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

    @property
    def backend(self) -> str:
        return self.engine.blueprint.backend

    @property
    def groups(self) -> dict[str, DrawnGroup]:
        blueprint = self.engine.blueprint
        return {
            name: DrawnGroup(name=name, blueprint=blueprint, resources=group.resources, wanted=group.state.wanted)
            for name, group in list(self.engine.groups.items())
            if not group.is_removed
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


def resources_of(groups: Mapping[str, ShownGroup]) -> dict[str, Resources]:
    """What a job of each group has."""
    return {name: group.resources for name, group in groups.items()}


def workers_of(groups: Mapping[str, ShownGroup], jobs: Mapping[str, int] | None = None) -> int:
    """How many workers so many jobs of some groups give, and those that the others want."""
    return sum((jobs or {}).get(name, group.wanted) * group.resources.workers for name, group in groups.items())
