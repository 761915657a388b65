"""Tasks in virtual time: given to the workers that came, as corral's Dask scheduler does, which knows when they end."""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

from corral.launch.tasktimes import Mean, idle_from, time_needed
from corral.scaling.workload import Demand, Load, Need
from corral.simulation.jobs import Ends, Place, SimulatedJob, Task
from corral.simulation.scenario import Tasks, durations

if TYPE_CHECKING:
    from corral.simulation.world import World


class Overseer(Protocol):
    """Acts at the very moment."""

    def stage_begins(self, stage: Sequence[Tasks]) -> None:
        """These wait, and none has been given out."""

    def dispatched(self) -> None:
        """Tasks were given out, as far as there were threads for them."""


@define(eq=False)
class Species:
    """What is known of tasks of one name, as Dask knows it."""

    average: float = -1.0
    #: Those that came to their end.
    mean: Mean = field(factory=Mean)
    longest: float = 0.0
    #: When those that run have begun.
    begun: deque[tuple[float, int]] = field(factory=deque)
    ended: set[int] = field(factory=set)
    #: What the user says that one takes (s).
    said: float | None = None

    @property
    def known(self) -> float | None:
        """Seconds that one takes, as far as that is known."""
        return self.said or (self.mean.seconds if self.mean.count else None)


class SimulatedScheduler:
    """The tasks of a load, which come step by step and stage by stage."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: What waits to be computed after this stage.
        self.blocked = 0
        #: Seconds that a new worker has at most, as far as the controller knows.
        self.longest_room = math.inf
        #: Thread-seconds: in tasks that came to their end, in those that were cut off, and of threads for which nothing
        #: was left because their job was about to end.
        self.busy = self.interrupted = self.idle_ends = 0.0
        #: How many tasks were cut off.
        self.cut_off = 0
        #: Everything has been computed.
        self.is_done = False
        self._numbers = itertools.count()
        self._species: dict[str, Species] = {}
        self._ready: dict[Place, deque[Task]] = {}
        self._assigned: Counter[Place] = Counter()
        self._latest: dict[Place, float] = {}
        self._open: dict[str, deque[SimulatedJob]] = {}
        self._passed_over: set[SimulatedJob] = set()
        #: Told of what happens; nobody but the clairvoyant listens.
        self.overseer: Overseer | None = None
        # All at once: whoever decides about jobs, the tasks are the same.
        self._durations = deque(durations(world.load, world.chance))
        self._steps = deque(world.load.steps)
        self._stages: deque[tuple[Tasks, ...]] = deque()
        self._unfinished = 0

    # --- the load -----------------------------------------------------------------------------------------------

    def next_step(self) -> None:
        if not self._steps:
            self.is_done = True
            return
        if self.overseer is not None:
            self.overseer.dispatched()
        step = self._steps.popleft()

        def begin() -> None:
            self._stages = deque(step.stages)
            self._next_stage()

        self._world.at(self._world.now + step.pause, begin)

    def _next_stage(self) -> None:
        if not self._stages:
            self.next_step()
            return
        stage = self._stages.popleft()
        for tasks in self._stages[0] if self._stages else ():
            self._species.setdefault(tasks.name, Species(said=tasks.expected))
        self.blocked = sum(tasks.count for later in self._stages for tasks in later)
        self._unfinished = sum(tasks.count for tasks in stage)
        for tasks in stage:
            self._species.setdefault(tasks.name, Species(said=tasks.expected))
            waiting = self._ready.setdefault((tasks.need, tasks.name, False), deque())
            waiting.extend(Task(tasks.need, tasks.name, duration) for duration in self._durations.popleft())
        if self.overseer is not None:
            self.overseer.stage_begins(stage)
        self.dispatch()

    # --- workers ------------------------------------------------------------------------------------------------

    def admit(self, job: SimulatedJob) -> None:
        """Its worker is here."""
        self.welcome(job)
        self.dispatch()

    def welcome(self, job: SimulatedJob) -> None:
        """Its worker is here, and gets tasks as soon as they are given out."""
        job.connected_at = job.idle_since = job.settled_at = self._world.now
        job.free_threads = job.kind.threads
        job.free = dict(job.kind.resources)
        self._open.setdefault(job.kind.name, deque()).append(job)

    def park(self, job: SimulatedJob) -> None:
        """It has nothing to do, and gets nothing until it is unparked."""
        self.settle(job)
        self._open[job.kind.name].remove(job)
        job.is_leaving = True
        job.parked_at = self._world.now

    def unpark(self, job: SimulatedJob) -> None:
        """It has been there all the time."""
        job.is_leaving = False
        job.parked_at = None
        job.settled_at = self._world.now
        self._open[job.kind.name].append(job)

    def interrupt(self, job: SimulatedJob) -> None:
        """What runs there has run for nothing, and waits again."""
        for number, task in job.running.items():
            ran = self._world.now - task.begun_at
            self.interrupted += ran
            self.cut_off += 1
            species = self._species[task.name]
            species.ended.add(number)
            species.longest = max(species.longest, ran)
            self._assigned[task.place] -= 1
            task.cut_off = max(ran, task.cut_off)
            self._ready.setdefault(task.place, deque()).append(task)

    def settle(self, job: SimulatedJob) -> None:
        """Account for threads that had nothing to do because the end was near."""
        if job.lives and job.connected_at is not None and (job.is_leaving or job.is_passed_over):
            self.idle_ends += (self._world.now - job.settled_at) * job.free_threads
        job.settled_at = self._world.now

    # --- deciding where a task runs -----------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Give tasks to free threads: those that need most first, to one worker after the other."""
        for (need, *_), tasks in sorted(self._ready.items(), key=lambda item: -len(item[0][0])):
            if not tasks:
                continue
            for kind in self._world.load.kinds:
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
        if self._world.ends is Ends.HEEDED:
            self._pass_over()
        if self.overseer is not None:
            self.overseer.dispatched()

    def waiting(self, need: Need, name: str) -> int:
        """How many such tasks wait."""
        return sum(len(self._ready.get((need, name, is_again), ())) for is_again in (False, True))

    def open_jobs(self, kind: str) -> list[SimulatedJob]:
        """Those of a kind with a free thread."""
        return [job for job in self._open.get(kind, ()) if job.lives and not job.is_leaving]

    def _suits(self, job: SimulatedJob, task: Task) -> bool:
        """True if it has room for this task, and time."""
        return self._fits(job, task.need) and self._world.now + self._time_needed(task) <= job.cut_at

    @staticmethod
    def _fits(job: SimulatedJob, need: Need) -> bool:
        return job.free_threads > 0 and all(job.free.get(resource, 0.0) >= amount for resource, amount in need)

    def _begin(self, job: SimulatedJob, task: Task) -> None:
        self.settle(job)
        job.free_threads -= 1
        for resource, amount in task.need:
            job.free[resource] -= amount
        number = next(self._numbers)
        job.running[number] = task
        job.idle_since = None
        task.begun_at = self._world.now
        self._assigned[task.place] += 1
        self._latest[task.place] = self._world.now
        self._species[task.name].begun.append((self._world.now, number))
        self._world.at(self._world.now + task.duration, partial(self._finish, job, number))

    def _finish(self, job: SimulatedJob, number: int) -> None:
        if not job.lives:
            return  # it was cut off
        task = job.running.pop(number)
        species = self._species[task.name]
        species.ended.add(number)
        self._assigned[task.place] -= 1
        self.busy += task.duration
        species.average = task.duration if species.average < 0 else (species.average + task.duration) / 2
        species.mean.add(task.duration)
        species.longest = max(species.longest, task.duration)
        self.settle(job)
        for resource, amount in task.need:
            job.free[resource] += amount
        job.free_threads += 1
        if not job.running:
            job.idle_since = self._world.now
            if job.is_leaving:
                self._world.leave(job)
        if job.free_threads == 1 and not job.is_leaving:
            self._open[job.kind.name].append(job)
        self._unfinished -= 1
        if not self._unfinished:
            self._next_stage()
        else:
            self.dispatch()

    # --- what is known ------------------------------------------------------------------------------------------

    def demand(self, leaving: Collection[int] = ()) -> Demand:
        """What is to be computed, as corral reads it from a Dask scheduler.

        Parameters
        ----------
        leaving
            Numbers of jobs that finish what they do, and begin little or nothing more.
        """
        finishing = Counter(task.place for number in leaving for task in self._world.jobs[number].running.values())
        loads = []
        for place, ready, assigned in self.tasks():
            need, name, _ = place
            species = self.species(name)
            loads.append(
                Load(
                    need=need,
                    ready=ready,
                    assigned=assigned,
                    duration=species.known,
                    elapsed=species.longest,
                    finishing=finishing[place],
                    latest=self._world.now - self._latest.get(place, self._world.now),
                    time_needed=self._time_needed(self._ready[place][0]) if ready else 0.0,
                )
            )
        for tasks in self._stages[0] if self._stages else ():
            species = self.species(tasks.name)
            loads.append(Load(need=tasks.need, duration=species.known, elapsed=species.longest, upcoming=tasks.count))
        return Demand(loads=tuple(loads), blocked=self.blocked)

    def tasks(self) -> Iterator[tuple[Place, int, int]]:
        """How many wait and run, by place."""
        for place, waiting in self._ready.items():
            assigned = self._assigned[place]
            if waiting or assigned:
                yield place, len(waiting), assigned

    def expected(self, task: Task) -> float | None:
        """Seconds that a task will take, as far as anything is known: see `corral.launch.tasktimes`."""
        species = self._species[task.name]
        seconds = max(species.longest, species.average) if species.said is None else species.said
        return max(seconds, task.cut_off) or None

    def _time_needed(self, task: Task) -> float:
        expected = self.expected(task) if self._world.ends is Ends.HEEDED else None
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
        running = [(self.expected(task) or 0.0, self._world.now - task.begun_at) for task in job.running.values()]
        return idle_from(running, job.kind.threads, job.cut_at - self._world.now, expected)

    def _heads(self) -> Iterator[Task]:
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
            self.settle(job)
            job.is_passed_over = job in passed_over
        self._passed_over = passed_over

    def species(self, name: str) -> Species:
        """What is known of tasks of this name now: also by how long those that run have run."""
        species = self._species[name]
        while species.begun and species.begun[0][1] in species.ended:
            species.ended.discard(species.begun.popleft()[1])
        if species.begun:
            elapsed = self._world.now - species.begun[0][0]
            species.longest = max(species.longest, elapsed)
            if elapsed > 2 * species.average:
                species.average = -1.0
        return species
