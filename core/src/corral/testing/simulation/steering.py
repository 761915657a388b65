"""Who decides about jobs: corral's policy, Dask's, or nobody."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from attrs import evolve
from distributed.deploy.adaptive_core import AdaptiveCore

from corral.adaptive import Bounds, view_of
from corral.domain import JobId, JobState, JobStatus
from corral.jobs import JobRecord, Parting, connect
from corral.plan import GroupState, judge, plan, proved, resized, submitted
from corral.policy import Past, Rules, decide
from corral.testing.simulation.world import SimulatedJob, World
from corral.workload import Kind

#: How soon a time-out is noticed if nothing happens (s).
RESOLUTION = 10.0


class Fixed:
    """So many jobs from the beginning to the end; None: as many as the load's file says."""

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = jobs

    def look(self, world: World) -> float:
        """Submit once."""
        if not world.submitted:
            world.submit(_uniform(world), world.load.fixed if self.jobs is None else self.jobs)
        return math.inf


class Corral:
    """The policy and the plan that a cluster runs."""

    def __init__(self, rules: Rules = Rules(), bounds: Mapping[str, Bounds] | None = None) -> None:  # noqa: B008 - frozen
        self.rules = rules
        self._bounds = bounds or {}
        self._states: dict[str, GroupState] = {}
        self._records: dict[int, JobRecord] = {}
        self._waits: dict[str, deque[float]] = {}
        self._starts: dict[str, deque[float]] = {}
        self._past: Mapping[str, Past] = {}

    def look(self, world: World) -> float:
        """Learn, let the policy decide, carry out the plans."""
        now = world.now
        ended = self._learn(world)
        by_group: dict[str, list[JobRecord]] = {kind.name: [] for kind in world.load.kinds}
        for record in self._records.values():
            by_group[record.group].append(record)
        for name, records in by_group.items():
            state = self._states.setdefault(name, GroupState())
            self._waits.setdefault(name, deque(maxlen=20))
            self._starts.setdefault(name, deque(maxlen=20))
            if mine := [record for record in ended if record.group == name]:
                state = judge(state, mine, now)
            self._states[name] = proved(state, records, now)
        self._decide(world, by_group)
        again = now + RESOLUTION
        for kind in world.load.kinds:
            todo = plan(self._states[kind.name], by_group[kind.name], now, lead=self._lead(kind.name))
            world.cancel(int(record.id.text) for record, _ in todo.cancel)
            world.retire(int(record.id.text) for record in todo.retire)
            for record, parting in todo.cancel:
                self._records[int(record.id.text)] = evolve(record, parting=parting, cancel_asked_at=now)
            for record in todo.retire:
                self._records[int(record.id.text)] = evolve(record, parting=Parting.SURPLUS, retire_asked_at=now)
            if todo.submit:
                for number in world.submit(kind, todo.submit):
                    self._records[number] = JobRecord(id=JobId(str(number)), group=kind.name, submitted_at=now)
                self._states[kind.name] = submitted(self._states[kind.name], todo.replacements, now)
        return again

    def _decide(self, world: World, by_group: Mapping[str, list[JobRecord]]) -> None:
        idle_since = {
            JobId(str(job.number)): job.idle_since for job in world.jobs.values() if job.idle_since is not None
        }
        views = []
        for kind in world.load.kinds:
            state = self._states[kind.name]
            views.append(
                view_of(
                    evolve(kind, is_open=not state.is_stopped),
                    state,
                    [record for record in by_group[kind.name] if record.is_capacity],
                    world.now,
                    submitting=0,
                    waits=tuple(self._waits[kind.name]),
                    starts=tuple(self._starts[kind.name]),
                    lead=self._lead(kind.name),
                    idle_since=idle_since,
                    stored={},
                    bounds=self._bounds.get(kind.name, Bounds()),
                )
            )
        decision = decide(world.demand(), views, self._past, world.now, self.rules)
        self._past = decision.past
        for name, size in decision.sizes.items():
            self._states[name] = resized(self._states[name], size.jobs, size.release)

    def _learn(self, world: World) -> list[JobRecord]:
        """See what became of each job; returns those that have ended."""
        ended = []
        for number, record in list(self._records.items()):
            job = world.jobs.get(number)
            if job is None:
                del self._records[number]
                state = JobState.CANCELLED if record.parting else JobState.FAILED
                ended.append(evolve(record, status=JobStatus(state=state), ended_at=world.now, workers=frozenset()))
            elif record.connected_at is None:
                self._records[number] = self._grown(record, job)
        return ended

    def _grown(self, record: JobRecord, job: SimulatedJob) -> JobRecord:
        if job.connected_at is not None and job.started_at is not None:
            self._waits[record.group].append(job.connected_at - job.submitted_at)
            self._starts[record.group].append(job.connected_at - job.started_at)
            return connect(record, f"{job.number}-0", job.connected_at)
        if job.started_at is not None and record.started_at is None:
            return evolve(record, started_at=job.started_at, status=JobStatus(state=JobState.RUNNING))
        return record

    def _lead(self, group: str) -> float:
        waits = self._waits[group]
        return sorted(waits)[(3 * len(waits)) // 4] if waits else 0.0


class Dask(AdaptiveCore):
    """Dask's own: its recommendations are made by its own code, on the numbers that its scheduler would give."""

    def __init__(self, wait_count: int = 3, interval: float = 1.0, target_duration: float = 5.0) -> None:
        super().__init__(wait_count=wait_count)
        self._interval = interval
        self._target_duration = target_duration
        self._world: World

    def look(self, world: World) -> float:
        """Let Dask's code adapt, once."""
        self._world = world
        # None of its steps waits for anything here.
        with suppress(StopIteration):
            self.adapt().send(None)
        return world.now + self._interval if self.close_counts else math.inf

    @property
    def plan(self) -> set[Any]:
        return {job.number for job in self._world.jobs.values() if not job.is_leaving}

    @property
    def requested(self) -> set[Any]:
        return self.plan

    @property
    def observed(self) -> set[Any]:
        return {job.number for job in self._workers()}

    async def target(self) -> int:
        """What `Scheduler.adaptive_target` would say of this load, without results in memory."""
        world = self._world
        occupancy = 0.0
        ready = assigned = 0
        for _, name, more_ready, more_assigned in world.tasks():
            species = world.species(name)
            # Dask takes a task that nobody has seen end for twice what one has run so far.
            unknown = 2 * species.longest if species.longest > 0 else 0.5
            duration = unknown if species.average < 0 else species.average
            occupancy += (more_ready + more_assigned) * duration
            ready += more_ready
            assigned += more_assigned
        threads = math.ceil(occupancy / self._target_duration)
        if ready <= threads:
            threads = min(ready + assigned, threads)
        workers = self._workers()
        wanted = threads
        if workers:
            wanted = math.ceil(threads / sum(job.kind.threads for job in workers) * len(workers))
        elif ready:
            wanted = max(1, threads)
        return wanted if wanted >= len(workers) else len(workers) - len(self._idle())

    async def workers_to_close(self, target: int) -> list[Any]:
        """Idle ones."""
        return self._idle()[: max(0, len(self._workers()) - target)]

    async def scale_up(self, n: int) -> None:  # type: ignore[override]
        """One request a job, as its relatives for batch systems do."""
        kind = _uniform(self._world)
        for _ in range(n - len(self.plan)):
            self._world.submit(kind, 1)

    async def scale_down(self, workers: Iterable[Any]) -> None:  # type: ignore[override]
        """Workers retire; jobs without one are cancelled."""
        connected: Collection[Any] = self.observed
        self._world.retire(number for number in workers if number in connected)
        self._world.cancel(number for number in workers if number not in connected)

    def _workers(self) -> list[SimulatedJob]:
        return [job for job in self._world.jobs.values() if job.connected_at is not None and not job.is_leaving]

    def _idle(self) -> list[int]:
        return [job.number for job in self._workers() if not job.running]


def _uniform(world: World) -> Kind:
    """The kind of all jobs, for whoever has no groups."""
    return next(kind for kind in world.load.kinds if kind.name == world.load.uniform)
