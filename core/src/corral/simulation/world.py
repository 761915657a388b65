"""Virtual time: a batch system that lets jobs wait, and a scheduler that gives tasks to the workers that came."""

from __future__ import annotations

import enum
import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from attrs import define, field, frozen

from corral.launch.run import default_lead, default_spread, leaving_time
from corral.launch.tasktimes import idle_from, time_needed
from corral.scaling.workload import Demand, Kind, Need
from corral.scaling.workload import Load as Waiting
from corral.simulation.scenario import Load, Queue, Tasks, drawn

#: Seconds from the end of a job's last task to the end of the job, when it was asked to leave.
LEAVING = 1.0
#: What is not done by then never will be (s).
LIMIT = 5 * 86400.0
#: Seconds before its walltime ends at which a launcher gives up what still runs.
MARGIN = 5.0


class Ends(enum.Enum):
    """What happens to tasks when the walltime of their job comes near."""

    #: They are begun as ever, and what runs in the end is cut off.
    CUT = "cut"
    #: In the last two minutes none is begun, and what runs in the end is cut off: so it was in corral once.
    DRAINED = "drained"
    #: None is begun that could not be finished, and a job that has no time for what waits leaves: so it is in corral.
    HEEDED = "heeded"


@frozen(kw_only=True)
class Outcome:
    """What a load took."""

    makespan: float
    core_hours: float
    #: Core-hours in which no task ran that came to its end.
    wasted_core_hours: float
    #: Those of them that the ends of jobs have cost: spent on tasks that were cut off, and by threads for which nothing
    #: was left while their job was leaving, or had too little time for what waited.
    lost_core_hours: float
    #: Tasks that were cut off, and run again.
    interrupted: int
    submitted: int
    #: Submissions: commands of the batch system.
    requests: int
    #: Jobs given up before they had started.
    cancelled: int
    #: When the number of working jobs changed, and to what: (seconds, connected, waiting).
    history: Sequence[tuple[float, int, int]] = field(repr=False, default=())


class Controller(Protocol):
    """Decides how many jobs there are."""

    @property
    def ends(self) -> Ends:
        """How its jobs come to their end."""

    def look(self, world: World) -> float:
        """Act on what there is; returns when to look again although nothing happened."""


#: What waits is sorted by what is needed, the name, and whether it has been cut off before.
_Place = tuple[Need, str, bool]


@define(eq=False)
class _Task:
    """One task."""

    need: Need
    name: str
    duration: float
    #: The longest that it had run when it was cut off (s).
    cut_off: float = 0.0
    begun_at: float = 0.0

    @property
    def place(self) -> _Place:
        return self.need, self.name, self.cut_off > 0


@define(eq=False)
class SimulatedJob:
    """One job, which has one worker."""

    number: int
    kind: Kind
    #: Its number in its array, and that of the array.
    element: int
    array: int
    submitted_at: float
    may_start_at: float
    started_at: float | None = None
    connected_at: float | None = None
    ended_at: float | None = None
    #: When it begins to leave by itself, and when what still runs is cut off.
    leaves_at: float = math.inf
    cut_at: float = math.inf
    has_failed: bool = False
    is_leaving: bool = False
    #: It leaves, or left, because of its walltime and not because it was asked to.
    has_expired: bool = False
    #: There are tasks that it had room for, and no time.
    is_passed_over: bool = False
    free_threads: int = 0
    free: dict[str, float] = field(factory=dict)
    running: dict[int, _Task] = field(factory=dict)
    idle_since: float | None = None
    #: Until when it is known what its idle threads have cost.
    settled_at: float = 0.0

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
    #: What the user says that one takes (s).
    said: float | None = None


class World:
    """Everything, at one moment of virtual time."""

    def __init__(self, load: Load, queue: Queue, *, seed: int = 0) -> None:
        self.load = load
        self.queue = queue
        self.now = 0.0
        self.jobs: dict[int, SimulatedJob] = {}
        self.ended: dict[int, SimulatedJob] = {}
        self.ends = Ends.CUT
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
        self._ready: dict[_Place, deque[_Task]] = {}
        self._assigned: Counter[_Place] = Counter()
        self._open: dict[str, deque[SimulatedJob]] = {}
        self._used = self._busy = self._interrupted = self._idle_ends = 0.0
        self._cut_off = 0
        #: Seconds that a new worker has at most, as far as the controller knows.
        self.longest_room = math.inf
        self._passed_over: set[SimulatedJob] = set()
        self._steps = deque(load.steps)
        self._stages: deque[tuple[Tasks, ...]] = deque()
        self._unfinished = 0

    # --- time ---------------------------------------------------------------------------------------------------

    def run(self, controller: Controller, interval: float = 1.0, limit: float = LIMIT) -> Outcome:
        """Let time pass until the load has been computed."""
        self.ends = controller.ends
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
            lost_core_hours=(self._interrupted + self._idle_ends) / 3600,
            interrupted=self._cut_off,
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
        for element in range(count):
            job = SimulatedJob(
                next(self._numbers), kind, element, self.requests, self.now, self.now + next(self._waits)
            )
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
                self._settle(job)
                job.is_leaving = True
                if not job.running:
                    self._at(self.now + LEAVING, partial(self._end, job))

    def _expire(self, job: SimulatedJob) -> None:
        """Its walltime is near."""
        if job.lives and not job.is_leaving:
            job.has_expired = True
            self.retire([job.number])

    def _cut(self, job: SimulatedJob) -> None:
        """What it has not finished by now is lost."""
        if job.lives:
            job.has_expired = True
            self._end(job)
            self._dispatch()

    def _interrupt(self, job: SimulatedJob) -> None:
        """What runs there has run for nothing, and waits again."""
        for number, task in job.running.items():
            ran = self.now - task.begun_at
            self._interrupted += ran
            self._cut_off += 1
            species = self._species[task.name]
            species.ended.add(number)
            species.longest = max(species.longest, ran)
            self._assigned[task.place] -= 1
            task.cut_off = max(ran, task.cut_off)
            self._ready.setdefault(task.place, deque()).append(task)

    def _settle(self, job: SimulatedJob) -> None:
        """Account for threads that had nothing to do because the end was near."""
        if job.lives and job.connected_at is not None and (job.is_leaving or job.is_passed_over):
            self._idle_ends += (self.now - job.settled_at) * job.free_threads
        job.settled_at = self.now

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
            self._plan_end(job)

    def _plan_end(self, job: SimulatedJob) -> None:
        walltime = min(self.load.walltime, self.queue.walltime)
        job.cut_at = self.now + walltime
        if self.ends is not Ends.CUT:
            lead = default_lead(walltime)
            spread = lead / 4 if self.ends is Ends.DRAINED else default_spread(lead, walltime)
            job.leaves_at = leaving_time(f"{job.array}_{job.element}", job.cut_at, lead, spread)
            job.cut_at -= MARGIN
            self._at(job.leaves_at, partial(self._expire, job))
        self._at(job.cut_at, partial(self._cut, job))

    def _fail(self, job: SimulatedJob) -> None:
        job.has_failed = True
        self._end(job)

    def _connect(self, job: SimulatedJob) -> None:
        if not job.lives:
            return
        job.connected_at = job.idle_since = job.settled_at = self.now
        job.free_threads = job.kind.threads
        job.free = dict(job.kind.resources)
        self._open.setdefault(job.kind.name, deque()).append(job)
        self._dispatch()

    def _end(self, job: SimulatedJob) -> None:
        if not job.lives:
            return
        self._settle(job)
        self._interrupt(job)
        job.ended_at = self.now
        self.ended[job.number] = self.jobs.pop(job.number)
        if job.started_at is not None:
            self._running_jobs -= 1
            self._used += (self.now - job.started_at) * job.kind.cores
            self._start_jobs()

    # --- the scheduler ------------------------------------------------------------------------------------------

    def demand(self, leaving: Collection[int] = ()) -> Demand:
        """What is to be computed, as corral reads it from a Dask scheduler.

        Parameters
        ----------
        leaving
            Numbers of jobs that finish what they do, and begin little or nothing more.
        """
        finishing = Counter(task.place for number in leaving for task in self.jobs[number].running.values())
        loads = []
        for place, ready, assigned in self.tasks():
            need, name, _ = place
            species = self.species(name)
            loads.append(
                Waiting(
                    need=need,
                    ready=ready,
                    assigned=assigned,
                    duration=species.known if species.said is None else species.said,
                    elapsed=species.longest,
                    finishing=finishing[place],
                    time_needed=self._time_needed(self._ready[place][0]) if ready else 0.0,
                )
            )
        return Demand(loads=tuple(loads), blocked=self.blocked)

    def tasks(self) -> Iterator[tuple[_Place, int, int]]:
        """How many wait and run, by place."""
        for place, waiting in self._ready.items():
            assigned = self._assigned[place]
            if waiting or assigned:
                yield place, len(waiting), assigned

    # --- ends of jobs, as corral's scheduler sees them -------------------------------------------------------------

    def expected(self, task: _Task) -> float | None:
        """Seconds that a task will take, as far as anything is known: see `corral.launch.tasktimes`."""
        species = self._species[task.name]
        seconds = max(species.longest, species.average) if species.said is None else species.said
        return max(seconds, task.cut_off) or None

    def _time_needed(self, task: _Task) -> float:
        expected = self.expected(task) if self.ends is Ends.HEEDED else None
        return 0.0 if expected is None else time_needed(expected)

    def has_no_time(self, job: SimulatedJob) -> bool:
        """True if it does nothing, and work that waits is too long for what is left of its time."""
        return job.is_passed_over and not job.running

    def next_expected(self) -> float | None:
        """Seconds that the task takes that waits first; None: none waits, or nothing is known of it."""
        waiting = next(self._heads(), None)
        return None if waiting is None else self.expected(waiting)

    def idle_from(self, job: SimulatedJob, expected: float) -> float | None:
        """Seconds until it has no time for a task that takes so long; None: it will have."""
        running = [(self.expected(task) or 0.0, self.now - task.begun_at) for task in job.running.values()]
        return idle_from(running, job.kind.threads, job.cut_at - self.now, expected)

    def _heads(self) -> Iterator[_Task]:
        """The first task of each place, but for those that no job has the time for."""
        for waiting in self._ready.values():
            if waiting and self._time_needed(waiting[0]) <= self.longest_room:
                yield waiting[0]

    def _pass_over(self) -> None:
        """See who has room for what still waits, and no time."""
        heads = list(self._heads())
        passed_over = set()
        for job in itertools.chain.from_iterable(self._open.values()) if heads else ():
            if job.lives and not job.is_leaving and any(self._fits(job, task.need) for task in heads):
                passed_over.add(job)
        for job in passed_over ^ self._passed_over:
            self._settle(job)
            job.is_passed_over = job in passed_over
        self._passed_over = passed_over

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
            self._species.setdefault(tasks.name, _Species(said=tasks.expected))
            waiting = self._ready.setdefault((tasks.need, tasks.name, False), deque())
            for _ in range(tasks.count):
                waiting.append(_Task(tasks.need, tasks.name, drawn(tasks.seconds, tasks.spread, self._chance)))
        self._dispatch()

    def _dispatch(self) -> None:
        """Give tasks to free threads: those that need most first, to one worker after the other."""
        for (need, *_), tasks in sorted(self._ready.items(), key=lambda item: -len(item[0][0])):
            if not tasks:
                continue
            for kind in self.load.kinds:
                if not kind.room(need):
                    continue
                workers = self._open.get(kind.name, deque())
                for _ in range(len(workers)):
                    job = workers.popleft()
                    if not job.lives or job.is_leaving:
                        continue
                    if tasks and self._suits(job, tasks[0]):
                        self._begin(job, tasks.popleft())
                    if job.free_threads:
                        workers.append(job)
                while tasks and (suited := [job for job in workers if self._suits(job, tasks[0])]):
                    for job in suited:
                        if tasks and self._suits(job, tasks[0]):
                            self._begin(job, tasks.popleft())
                    for job in [job for job in workers if not job.free_threads]:
                        workers.remove(job)
        if self.ends is Ends.HEEDED:
            self._pass_over()

    def _suits(self, job: SimulatedJob, task: _Task) -> bool:
        """True if it has room for this task, and time."""
        return self._fits(job, task.need) and self.now + self._time_needed(task) <= job.cut_at

    @staticmethod
    def _fits(job: SimulatedJob, need: Need) -> bool:
        return job.free_threads > 0 and all(job.free.get(resource, 0.0) >= amount for resource, amount in need)

    def _begin(self, job: SimulatedJob, task: _Task) -> None:
        self._settle(job)
        job.free_threads -= 1
        for resource, amount in task.need:
            job.free[resource] -= amount
        number = next(self._order)
        job.running[number] = task
        job.idle_since = None
        task.begun_at = self.now
        self._assigned[task.place] += 1
        self._species[task.name].begun.append((self.now, number))
        self._at(self.now + task.duration, partial(self._finish, job, number))

    def _finish(self, job: SimulatedJob, number: int) -> None:
        if not job.lives:
            return  # it was cut off
        task = job.running.pop(number)
        species = self._species[task.name]
        species.ended.add(number)
        self._assigned[task.place] -= 1
        self._busy += task.duration
        species.average = task.duration if species.average < 0 else (species.average + task.duration) / 2
        species.known = species.average
        species.longest = max(species.longest, task.duration)
        self._settle(job)
        for resource, amount in task.need:
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
