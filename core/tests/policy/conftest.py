"""Kinds of jobs, and short words for what the policy is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from corral.plugin.values import JobId
from corral.scaling.policy import decide
from corral.scaling.views import Decision, IdleJob, Past, Rules, View
from corral.scaling.workload import Demand, Kind, Load, Need

NOW = 10_000.0
USUAL = Rules()
#: Who says how long it may take means it.
MINUTE = Rules(target_duration=60.0, is_thrifty=False)
CPU = Kind(name="cpu", threads=8, resources={"cpu": 8, "MEMORY": 32e9}, memory=32 * 10**9, cores=8)
BIG = Kind(name="big", threads=8, resources={"big": 8, "MEMORY": 500e9}, memory=500 * 10**9, cores=8)
GPU = Kind(name="gpu", threads=4, resources={"gpu": 4, "GPU": 1, "MEMORY": 64e9}, memory=64 * 10**9, cores=4, gpus=1)
ONE = Kind(name="one", memory=10**9)
#: What asks for a GPU.
ON_GPU: Need = (("GPU", 1.0),)


def sizes(demand: Demand, *views: View, now: float = NOW, rules: Rules = USUAL, **past: Past) -> dict[str, int]:
    """By group."""
    return {name: size.jobs for name, size in decide(demand, views, past, now, rules).sizes.items()}


def size(demand: Demand, view: View, *, past: Past | None = None, rules: Rules = USUAL) -> int:
    """The same of the only group."""
    found = decide(demand, [view], {} if past is None else {view.kind.name: past}, NOW, rules)
    return found.sizes[view.kind.name].jobs


def tasks(count: int, duration: float | None = 60.0, **fields: Any) -> Demand:
    """Tasks that could run."""
    return Demand(loads=(Load(ready=count, duration=duration, **fields),))


def followed(demand: Demand, count: int, duration: float | None) -> Demand:
    """The same, and so many tasks that wait for these."""
    return evolve(
        demand, loads=(*demand.loads, Load(upcoming=count, duration=duration)), blocked=demand.blocked + count
    )


def idle(count: int, seconds: float, *, worked: float = NOW, first: int = 0, **fields: Any) -> list[IdleJob]:
    """Jobs that have had nothing to do for so long, after they have worked for so long."""
    since = NOW - seconds
    return [
        IdleJob(id=JobId(str(number)), since=since, came_at=since - worked, **fields)
        for number in range(first, first + count)
    ]


def story(view: View, moments: Sequence[tuple[float, Demand]], rules: Rules = USUAL) -> Decision:
    """What is decided at the last of these moments (s), by who remembers the others."""
    decision = Decision(sizes={})
    for seconds, demand in moments:
        decision = decide(demand, [view], decision.past, NOW + seconds, rules)
    return decision
