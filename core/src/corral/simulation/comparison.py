"""Policies beside each other: each runs the same load in the same queue, several times."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen

from corral.scaling.views import Rules
from corral.simulation.scenario import Load, Queue
from corral.simulation.steering import Corral, Dask, Fixed
from corral.simulation.world import LIMIT, Controller, Outcome, simulate

#: Less than this part of a figure is noise.
NOISE = 0.02


@frozen(kw_only=True)
class Policy:
    """Who decides how many jobs there are."""

    #: What it is called in tables and pictures.
    title: str
    #: Makes one for one run. What a person asked for is for corral's own; None: the defaults, and the load's maximum.
    make: Callable[[Rules | None], Controller]


#: All that can be compared, by the names that the command line has for them.
POLICIES: Mapping[str, Policy] = {
    "corral": Policy(title="corral", make=Corral),
    "dask": Policy(title="Dask", make=lambda _: Dask()),
    "dask-60": Policy(title="Dask, wait_count=60", make=lambda _: Dask(wait_count=60)),
    "fixed": Policy(title="fixed size", make=lambda _: Fixed()),
}


@frozen(kw_only=True)
class Row:
    """One policy on one load in one queue: of each figure, the middle of several runs."""

    load: str
    queue: str
    policy: str
    runs: int
    #: Seconds; `LIMIT` if it was not done by then.
    makespan: float
    core_hours: float
    #: None: the load has no jobs with GPUs.
    gpu_hours: float | None
    #: Parts of the core-hours, as `Outcome` has them.
    wasted_core_hours: float
    lost_core_hours: float
    #: Jobs, commands of the batch system, and jobs that were given up before they had started.
    submitted: float
    requests: float
    cancelled: float
    #: The most jobs that worked and waited at a time, and in how many stages the load comes.
    largest: float
    stages: int
    #: How often jobs had to be replaced because they ended: by the walltime, and how long it took.
    renewals: int = 1

    @property
    def is_done(self) -> bool:
        return self.makespan < LIMIT

    def dominates(self, other: Row) -> bool:
        """True if it is as fast and as cheap as another policy, but for noise, and clearly better in something.

        Core-hours and GPU-hours have different prices: who is cheap uses no more of either.
        """
        pairs = [(self.makespan, other.makespan), (self.core_hours, other.core_hours)]
        if self.gpu_hours is not None and other.gpu_hours is not None:
            pairs.append((self.gpu_hours, other.gpu_hours))
        return (
            self.is_done
            and all(mine <= (1 + NOISE) * its for mine, its in pairs)
            and any(mine < (1 - NOISE) * its for mine, its in pairs)
        )

    @property
    def is_sparing(self) -> bool:
        """True if it submitted no more jobs than a cluster that has its largest size anew in every stage."""
        return self.submitted <= self.largest * self.stages * self.renewals


def measure(
    load: Load, queue: Queue, policy: Policy, seeds: Sequence[int], rules: Rules | None = None
) -> tuple[Row, Outcome]:
    """Run it a few times; returns the middle of all runs, and the first of them.

    Parameters
    ----------
    seeds
        What happens in a queue depends on chance: one run for each of these numbers, which decide it.
    rules
        What a person asks of corral's policy; None: the defaults, and what the load's file says.
    """
    found = [simulate(load, queue, policy.make(rules), seed=seed) for seed in seeds]

    def middle(name: str) -> float:
        return float(statistics.median(getattr(outcome, name) for outcome in found))

    makespan = middle("makespan")
    row = Row(
        load=load.title,
        queue=queue.title,
        policy=policy.title,
        runs=len(found),
        makespan=makespan,
        core_hours=middle("core_hours"),
        gpu_hours=middle("gpu_hours") if any(kind.gpus for kind in load.kinds) else None,
        wasted_core_hours=middle("wasted_core_hours"),
        lost_core_hours=middle("lost_core_hours"),
        submitted=middle("submitted"),
        requests=middle("requests"),
        cancelled=middle("cancelled"),
        largest=float(statistics.median(_largest(outcome) for outcome in found)),
        stages=sum(len(step.stages) for step in load.steps),
        renewals=max(1, math.ceil(makespan / min(load.walltime, queue.walltime))),
    )
    return row, found[0]


def _largest(outcome: Outcome) -> int:
    return max((working + waiting for _, working, waiting in outcome.history), default=0)


def dominators(own: Row, rows: Iterable[Row]) -> list[Row]:
    """Those that dominate it among rows of the same load and queue; rows of others are left out."""
    return [row for row in rows if (row.load, row.queue) == (own.load, own.queue) and row.dominates(own)]


def minutes(row: Row) -> str:
    """How long it took, in minutes."""
    spent = row.makespan / 60
    return f"{'' if row.is_done else '> '}{spent:.{1 if spent < 10 else 0}f}"
