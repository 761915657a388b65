"""Virtual time: a batch system that lets jobs wait, and a scheduler that gives tasks to the workers that came."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from attrs import define, field, frozen

from corral.testing.simulation.scenario import Load, Queue, Tasks, drawn
from corral.workload import Demand, Kind, Need
from corral.workload import Load as Waiting

#: Seconds from the end of a job's last task to the end of the job, when it was asked to leave.
LEAVING = 1.0


@frozen(kw_only=True)
class Outcome:
    """What a load took."""

    makespan: float
    core_hours: float
    #: Core-hours in which no task ran.
    wasted_core_hours: float
    submitted: int
    #: Submissions: commands of the batch system.
    requests: int
    #: Jobs given up before they had started.
    cancelled: int
    #: When the number of working jobs changed, and to what: (seconds, connected, waiting).
    history: Sequence[tuple[float, int, int]] = field(repr=False, default=())


class Controller(Protocol):
    """Decides how many jobs there are."""

    def look(self, world: World) -> float:
        """Act on what there is; returns when to look again although nothing happened."""


@define(eq=False)
class SimulatedJob:
    """One job, which has one worker."""

    number: int
    kind: Kind
    submitted_at: float
    may_start_at: float
    started_at: float | None = None
    connected_at: float | None = None
    ended_at: float | None = None
    has_failed: bool = False
    is_leaving: bool = False
    free_threads: int = 0
    free: dict[str, float] = field(factory=dict)
    running: int = 0
    idle_since: float | None = None

    @property
    def lives(self) -> bool:
        return self.ended_at is None


@define(eq=False)
class _Species:
    """What is known of tasks of one name, as Dask knows it."""

    average: float = -1.0
    #: The average when it was known last.
    known: float | None = None
    longest: float = 0.0
    #: When those that run have begun.
    begun: deque[tuple[float, int]] = field(factory=deque)
    ended: set[int] = field(factory=set)


class World:
    """Everything, at one moment of virtual time."""

    def __init__(self, load: Load, queue: Queue, *, seed: int = 0) -> None:
        self.load = load
        self.queue = queue
        self.now = 0.0
        self.jobs: dict[int, SimulatedJob] = {}
        self.submitted = self.requests = self.cancelled = 0
        self.blocked = 0
        self.is_done = False
        self.history: list[tuple[float, int, int]] = []
        self._chance = random.Random(seed)  # noqa: S311 - a simulation must be repeatable
        self._waits = queue.waits(random.Random(seed + 1))  # noqa: S311
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        self._order = itertools.count()
        self._eligible: deque[SimulatedJob] = deque()
        self._running_jobs = 0
        self._species: dict[str, _Species] = {}
        self._ready: dict[tuple[Need, str], deque[float]] = {}
        self._assigned: Counter[tuple[Need, str]] = Counter()
        self._open: dict[str, deque[SimulatedJob]] = {}
        self._used = self._busy = 0.0
        self._steps = deque(load.steps)
        self._stages: deque[tuple[Tasks, ...]] = deque()
        self._unfinished = 0

    # --- time ---------------------------------------------------------------------------------------------------

    def run(self, controller: Controller, interval: float = 1.0, limit: float = 30 * 86400.0) -> Outcome:
        """Let time pass until the load has been computed."""
        self._next_step()
        look_at = 0.0
        is_news = True
        while not self.is_done and self.now < limit:
            upcoming = self._events[0][0] if self._events else math.inf
            if look_at <= upcoming:
                self.now = max(self.now, look_at)
                again = controller.look(self)
                is_news = False
                self._note()
                look_at = max(self.now + interval, again)
                continue
            self.now, _, happen = heapq.heappop(self._events)
            happen()
            if not is_news:
                # Something happened: the next regular look is worth it.
                is_news = True
                look_at = min(look_at, math.floor(self.now / interval) * interval + interval)
        for job in list(self.jobs.values()):
            self._end(job)
        self._note()
        return Outcome(
            makespan=self.now,
            core_hours=self._used / 3600,
            wasted_core_hours=(self._used - self._busy) / 3600,
            submitted=self.submitted,
            requests=self.requests,
            cancelled=self.cancelled,
            history=self.history,
        )

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), happen))

    def _note(self) -> None:
        living = self.jobs.values()
        connected = sum(1 for job in living if job.connected_at is not None)
        counts = connected, sum(1 for job in living if job.started_at is None)
        if not self.history or self.history[-1][1:] != counts:
            self.history.append((self.now, *counts))

    # --- the batch system ---------------------------------------------------------------------------------------

    def submit(self, kind: Kind, count: int) -> list[int]:
        """One request for so many jobs."""
        self.requests += 1
        self.submitted += count
        numbers = []
        for _ in range(count):
            job = SimulatedJob(next(self._numbers), kind, self.now, self.now + next(self._waits))
            self.jobs[job.number] = job
            self._at(job.may_start_at, partial(self._may_start, job))
            numbers.append(job.number)
        return numbers

    def cancel(self, numbers: Iterable[int]) -> None:
        """End jobs at once."""
        for number in numbers:
            if (job := self.jobs.get(number)) is not None:
                self.cancelled += job.started_at is None
                self._end(job)

    def retire(self, numbers: Iterable[int]) -> None:
        """Let jobs finish what they do, and end."""
        for number in numbers:
            if (job := self.jobs.get(number)) is not None and not job.is_leaving:
                job.is_leaving = True
                if not job.running:
                    self._at(self.now + LEAVING, partial(self._end, job))

    def _may_start(self, job: SimulatedJob) -> None:
        if job.lives:
            self._eligible.append(job)
            self._start_jobs()

    def _start_jobs(self) -> None:
        while self._eligible and self._running_jobs < self.queue.running:
            job = self._eligible.popleft()
            if not job.lives:
                continue
            self._running_jobs += 1
            job.started_at = self.now
            starting = drawn(self.queue.start_up, 0.2, self._chance)
            fails = self.queue.failing and self._chance.random() < self.queue.failing
            self._at(self.now + starting, partial(self._fail if fails else self._connect, job))
            self._at(self.now + self.queue.walltime, partial(self.retire, [job.number]))

    def _fail(self, job: SimulatedJob) -> None:
        job.has_failed = True
        self._end(job)

    def _connect(self, job: SimulatedJob) -> None:
        if not job.lives:
            return
        job.connected_at = job.idle_since = self.now
        job.free_threads = job.kind.threads
        job.free = dict(job.kind.resources)
        self._open.setdefault(job.kind.name, deque()).append(job)
        self._dispatch()

    def _end(self, job: SimulatedJob) -> None:
        if not job.lives:
            return
        job.ended_at = self.now
        del self.jobs[job.number]
        if job.started_at is not None:
            self._running_jobs -= 1
            self._used += (self.now - job.started_at) * job.kind.cores
            self._start_jobs()

    # --- the scheduler ------------------------------------------------------------------------------------------

    def demand(self) -> Demand:
        """What is to be computed, as corral reads it from a Dask scheduler."""
        loads = []
        for need, name, ready, assigned in self.tasks():
            species = self.species(name)
            loads.append(
                Waiting(need=need, ready=ready, assigned=assigned, duration=species.known, elapsed=species.longest)
            )
        return Demand(loads=tuple(loads), blocked=self.blocked)

    def tasks(self) -> Iterator[tuple[Need, str, int, int]]:
        """Need, name, and how many wait and run."""
        for (need, name), durations in self._ready.items():
            assigned = self._assigned[need, name]
            if durations or assigned:
                yield need, name, len(durations), assigned

    def species(self, name: str) -> _Species:
        """What is known of tasks of this name now: also by how long those that run have run."""
        species = self._species[name]
        while species.begun and species.begun[0][1] in species.ended:
            species.ended.discard(species.begun.popleft()[1])
        if species.begun:
            elapsed = self.now - species.begun[0][0]
            species.longest = max(species.longest, elapsed)
            if elapsed > 2 * species.average:
                species.average = -1.0
        return species

    def _next_step(self) -> None:
        if not self._steps:
            self.is_done = True
            return
        step = self._steps.popleft()

        def begin() -> None:
            self._stages = deque(step.stages)
            self._next_stage()

        self._at(self.now + step.pause, begin)

    def _next_stage(self) -> None:
        if not self._stages:
            self._next_step()
            return
        stage = self._stages.popleft()
        self.blocked = sum(tasks.count for later in self._stages for tasks in later)
        self._unfinished = sum(tasks.count for tasks in stage)
        for tasks in stage:
            self._species.setdefault(tasks.name, _Species())
            durations = self._ready.setdefault((tasks.need, tasks.name), deque())
            durations.extend(drawn(tasks.seconds, tasks.spread, self._chance) for _ in range(tasks.count))
        self._dispatch()

    def _dispatch(self) -> None:
        """Give tasks to free threads: those that need most first, to one worker after the other."""
        for (need, name), durations in sorted(self._ready.items(), key=lambda item: -len(item[0][0])):
            if not durations:
                continue
            for kind in self.load.kinds:
                if not kind.room(need):
                    continue
                workers = self._open.get(kind.name, deque())
                for _ in range(len(workers)):
                    job = workers.popleft()
                    if not job.lives or job.is_leaving:
                        continue
                    if durations and self._fits(job, need):
                        self._begin(job, need, name, durations.popleft())
                    if job.free_threads:
                        workers.append(job)
                while durations and any(self._fits(job, need) for job in workers):
                    for job in [job for job in workers if self._fits(job, need)]:
                        if durations:
                            self._begin(job, need, name, durations.popleft())
                    for job in [job for job in workers if not job.free_threads]:
                        workers.remove(job)

    @staticmethod
    def _fits(job: SimulatedJob, need: Need) -> bool:
        return job.free_threads > 0 and all(job.free.get(resource, 0.0) >= amount for resource, amount in need)

    def _begin(self, job: SimulatedJob, need: Need, name: str, duration: float) -> None:
        job.free_threads -= 1
        for resource, amount in need:
            job.free[resource] -= amount
        job.running += 1
        job.idle_since = None
        self._assigned[need, name] += 1
        number = next(self._order)
        self._species[name].begun.append((self.now, number))
        self._at(self.now + duration, partial(self._finish, job, need, name, duration, number))

    def _finish(self, job: SimulatedJob, need: Need, name: str, duration: float, number: int) -> None:
        species = self._species[name]
        species.ended.add(number)
        self._assigned[need, name] -= 1
        if not job.lives:
            self._ready[need, name].append(duration)  # its job was cut off: it runs again
            self._dispatch()
            return
        self._busy += duration
        species.average = duration if species.average < 0 else (species.average + duration) / 2
        species.known = species.average
        job.running -= 1
        for resource, amount in need:
            job.free[resource] += amount
        job.free_threads += 1
        if not job.running:
            job.idle_since = self.now
            if job.is_leaving:
                self._at(self.now + LEAVING, partial(self._end, job))
        if job.free_threads == 1 and not job.is_leaving:
            self._open[job.kind.name].append(job)
        self._unfinished -= 1
        if not self._unfinished:
            self._next_stage()
        else:
            self._dispatch()


def simulate(load: Load, queue: Queue, controller: Controller, *, seed: int = 0, interval: float = 1.0) -> Outcome:
    """Compute a load in a queue, in virtual time."""
    return World(load, queue, seed=seed).run(controller, interval)
