"""Who decides about jobs: corral's policy, Dask's, or nobody."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from attrs import evolve
from distributed.deploy.adaptive_core import AdaptiveCore

from corral.jobs.group_state import GroupState, draw_conclusions, proved, resized, submitted
from corral.jobs.plan import lasts, plan, usual_wait
from corral.jobs.record import JobRecord, StopReason
from corral.jobs.table import LATEST, takes_own_place
from corral.jobs.transitions import connect
from corral.plugin.values import JobId, JobState, JobStatus
from corral.scaling.adaptive import view_of
from corral.scaling.bounds import Bounds
from corral.scaling.policy import decide
from corral.scaling.views import Past, Rules
from corral.scaling.workload import Kind
from corral.simulation.jobs import Ends, SimulatedJob
from corral.simulation.world import World

#: How soon a time-out is noticed if nothing happens (s); that of an idle job, in a part of the time that it was idle.
RESOLUTION, PART = 10.0, 0.1


class Corral:
    """The policy and the plan that a cluster runs.

    Parameters
    ----------
    resolution
        How soon a time-out is noticed if nothing happens (s): a cluster looks every second, which takes its time.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        bounds: Mapping[str, Bounds] | None = None,
        ends: Ends = Ends.HEEDED,
        resolution: float = RESOLUTION,
    ) -> None:
        self.ends = ends
        self._resolution = resolution
        #: None: as the load's file says.
        self._rules = rules
        self._bounds = bounds or {}
        self._states: dict[str, GroupState] = {}
        self._records: dict[int, JobRecord] = {}
        self._waits: dict[str, deque[float]] = defaultdict(_latest)
        self._starts: dict[str, deque[float]] = defaultdict(_latest)
        #: How long the latest workers had when they came.
        self._times: dict[str, deque[float]] = defaultdict(_latest)
        self._past: Mapping[str, Past] = {}
        self._left: deque[float] = deque(maxlen=LATEST)

    def look(self, world: World) -> float:
        """Learn, let the policy decide, carry out the plans."""
        now = world.now
        ended = self._learn(world)
        self._look_at_ends(world)
        by_group: dict[str, list[JobRecord]] = {kind.name: [] for kind in world.load.kinds}
        for record in self._records.values():
            by_group[record.group].append(record)
        for name, records in by_group.items():
            state = self._states.setdefault(name, GroupState())
            if mine := [record for record in ended if record.group == name]:
                state = draw_conclusions(state, mine, now)
            self._states[name] = proved(state, records, now)
        self._decide(world, by_group)
        idle = [now - job.idle_since for job in world.jobs.values() if job.idle_since is not None]
        again = now + min([self._resolution, *(PART * seconds for seconds in idle)])
        for kind in world.load.kinds:
            todo = plan(self._states[kind.name], by_group[kind.name], now, lead=self._lead(kind.name))
            world.cancel(int(record.id.text) for record, _ in todo.cancel)
            world.retire(int(record.id.text) for record in todo.retire)
            for record, stop_reason in todo.cancel:
                self._records[int(record.id.text)] = evolve(record, stop_reason=stop_reason, cancel_asked_at=now)
            for record in todo.retire:
                self._records[int(record.id.text)] = evolve(record, stop_reason=StopReason.SURPLUS, retire_asked_at=now)
            if todo.submit:
                for number in world.submit(kind, todo.submit):
                    self._records[number] = JobRecord(id=JobId(str(number)), group=kind.name, submitted_at=now)
                self._states[kind.name] = submitted(self._states[kind.name], todo.replacements, now)
        return again

    def _look_at_ends(self, world: World) -> None:
        """As the engine does: jobs that have no time for what waits leave, and when that is foreseen it is noted."""
        if self.ends is not Ends.HEEDED:
            return
        world.scheduler.longest_room = max(self._lifetime(world, kind.name) for kind in world.load.kinds)
        expected = world.scheduler.next_expected()
        for number, record in self._records.items():
            if not (record.workers and record.is_capacity):
                continue
            job = world.jobs[number]
            if world.scheduler.has_no_time(job):
                self._records[number] = evolve(record, stop_reason=StopReason.SPENT, retire_asked_at=world.now)
                world.retire([number])
                continue
            remaining = None if expected is None else world.scheduler.idle_from(job, expected)
            spent_at = None if remaining is None else world.now + remaining
            # What is foreseen anew is no news.
            if (spent_at is None) != (record.spent_at is None) or abs(
                (spent_at or 0.0) - (record.spent_at or 0.0)
            ) > 0.001:
                self._records[number] = evolve(record, spent_at=spent_at)

    def _lifetime(self, world: World, group: str) -> float:
        return max(self._times[group], default=min(world.load.walltime, world.queue.walltime))

    def _decide(self, world: World, by_group: Mapping[str, list[JobRecord]]) -> None:
        idle_since = {
            JobId(str(job.number)): job.idle_since for job in world.jobs.values() if job.idle_since is not None
        }
        views = []
        for kind in world.load.kinds:
            state = self._states[kind.name]
            views.append(
                view_of(
                    evolve(kind, is_open=not state.is_stopped, lifetime=self._lifetime(world, kind.name)),
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
        leaving = [
            int(record.id.text)
            for records in by_group.values()
            for record in records
            if record.workers and record.is_capacity and not lasts(record, world.now, self._lead(record.group))
        ]
        rules = Rules(maximum=world.load.maximum) if self._rules is None else self._rules
        decision = decide(world.scheduler.demand(leaving), views, self._past, world.now, rules)
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
                ended.append(self._ended(record, world.ended[number]))
                if (left := world.ended[number]).started_at is not None and left.ended_at is not None:
                    self._left.append(left.ended_at)
            elif record.connected_at is None:
                self._records[number] = self._grown(record, job)
            elif job.has_expired and not record.leaving:
                self._records[number] = evolve(record, leaving="walltime")
        return ended

    def _ended(self, record: JobRecord, job: SimulatedJob) -> JobRecord:
        state = JobState.CANCELLED if record.stop_reason else JobState.FAILED
        if job.has_expired:
            state = JobState.TIMEOUT if self.ends is Ends.CUT else JobState.COMPLETED
            record = evolve(record, leaving="" if self.ends is Ends.CUT else "walltime")
        return evolve(record, status=JobStatus(state=state), ended_at=job.ended_at, workers=frozenset())

    def _grown(self, record: JobRecord, job: SimulatedJob) -> JobRecord:
        if job.connected_at is not None and job.started_at is not None:
            if not takes_own_place(job.connected_at, self._left):
                self._waits[record.group].append(job.connected_at - job.submitted_at)
            self._starts[record.group].append(job.connected_at - job.started_at)
            self._times[record.group].append(job.cut_at - job.connected_at)
            leaves_at = None if self.ends is Ends.CUT else job.leaves_at
            return evolve(connect(record, f"{job.number}-0", job.connected_at), leaves_at=leaves_at)
        if job.started_at is not None and record.started_at is None:
            return evolve(record, started_at=job.started_at, status=JobStatus(state=JobState.RUNNING))
        return record

    def _lead(self, group: str) -> float:
        return usual_wait(self._waits[group])


class Fixed(Corral):
    """So many jobs from the beginning to the end, kept by the plan; None: as many as the load's file says."""

    def __init__(self, jobs: int | None = None, ends: Ends = Ends.HEEDED) -> None:
        super().__init__(ends=ends)
        self.jobs = jobs

    def _decide(self, world: World, by_group: Mapping[str, list[JobRecord]]) -> None:
        name = world.load.uniform
        wanted = world.load.fixed if self.jobs is None else self.jobs
        self._states[name] = evolve(self._states[name], wanted=wanted)


class Dask(AdaptiveCore):
    """Dask's own: its recommendations are made by its own code, on the numbers that its scheduler would give."""

    def __init__(self, wait_count: int = 3, interval: float = 1.0, target_duration: float = 5.0) -> None:
        super().__init__(wait_count=wait_count, maximum=math.inf)
        self.ends = Ends.CUT
        self._interval = interval
        self._target_duration = target_duration
        self._world: World

    def look(self, world: World) -> float:
        """Let Dask's code adapt, once."""
        self._world = world
        self.maximum = world.load.maximum
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
        for (_, name, _), more_ready, more_assigned in world.scheduler.tasks():
            species = world.scheduler.species(name)
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


def _latest() -> deque[float]:
    return deque(maxlen=20)


def _uniform(world: World) -> Kind:
    """The kind of all jobs, for whoever has no groups."""
    return next(kind for kind in world.load.kinds if kind.name == world.load.uniform)
