"""Virtual time, and a batch system that lets jobs wait."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from attrs import field, frozen

from corral.launch.run import default_lead, default_spread, leaving_time
from corral.scaling.workload import Kind
from corral.simulation.jobs import Ends, SimulatedJob, Turn
from corral.simulation.scenario import Load, Queue, drawn
from corral.simulation.scheduler import SimulatedScheduler

#: Seconds from the end of a job's last task to the end of the job, when it was asked to leave.
LEAVING = 1.0
#: What is not done by then never will be (s).
LIMIT = 5 * 86400.0
#: Seconds before its walltime ends at which a launcher gives up what still runs.
MARGIN = 5.0


@frozen(kw_only=True)
class Outcome:
    """What a load took."""

    makespan: float
    core_hours: float
    gpu_hours: float
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


class World:
    """Everything, at one moment of virtual time."""

    def __init__(self, load: Load, queue: Queue, *, seed: int = 0) -> None:
        self.load = load
        self.seed = seed
        self.queue = queue
        self.now = 0.0
        self.jobs: dict[int, SimulatedJob] = {}
        self.ended: dict[int, SimulatedJob] = {}
        self.ends = Ends.CUT
        self.submitted = self.requests = self.cancelled = 0
        #: Jobs that have begun to leave because of their walltime.
        self.expired = 0
        self.history: list[tuple[float, int, int]] = []
        self.chance = random.Random(seed)  # noqa: S311 - a simulation must be repeatable
        # Each by itself: what one job meets does not depend on what was decided about others.
        waits, start_ups = queue.waits(random.Random(seed + 1)), random.Random(f"{seed} start-ups")  # noqa: S311
        self._turns = (Turn(number, wait, drawn(queue.start_up, 0.2, start_ups)) for number, wait in enumerate(waits))
        self._coming: list[Turn] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        self._order = itertools.count()
        self._eligible: deque[SimulatedJob] = deque()
        self._running_jobs = 0
        #: Core-seconds and GPU-seconds.
        self._used = self._used_gpus = 0.0
        self.scheduler = SimulatedScheduler(self)

    # --- time ---------------------------------------------------------------------------------------------------

    def run(self, controller: Controller, interval: float = 1.0, limit: float = LIMIT) -> Outcome:
        """Let time pass until the load has been computed."""
        scheduler = self.scheduler
        self.ends = controller.ends
        scheduler.next_step()
        look_at = 0.0
        is_news = True
        while not scheduler.is_done and self.now < limit:
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
            gpu_hours=self._used_gpus / 3600,
            wasted_core_hours=(self._used - scheduler.busy) / 3600,
            lost_core_hours=(scheduler.interrupted + scheduler.idle_ends) / 3600,
            interrupted=scheduler.cut_off,
            submitted=self.submitted,
            requests=self.requests,
            cancelled=self.cancelled,
            history=self.history,
        )

    def at(self, moment: float, happen: Callable[[], None]) -> None:
        """Let something happen then."""
        heapq.heappush(self._events, (moment, next(self._order), happen))

    def _note(self) -> None:
        living = self.jobs.values()
        connected = sum(1 for job in living if job.connected_at is not None and job.parked_at is None)
        counts = connected, sum(1 for job in living if job.started_at is None)
        if not self.history or self.history[-1][1:] != counts:
            self.history.append((self.now, *counts))

    # --- the batch system ---------------------------------------------------------------------------------------

    def coming(self, count: int) -> Sequence[Turn]:
        """What the next jobs will meet in the queue; nobody but the clairvoyant may ask."""
        self._coming += itertools.islice(self._turns, max(0, count - len(self._coming)))
        return self._coming[:count]

    def submit(self, kind: Kind, count: int, turns: Iterable[Turn] = ()) -> list[int]:
        """One request for so many jobs; `turns` of them take these, the others the next."""
        self.requests += 1
        self.submitted += count
        numbers = []
        taken = list(turns)
        for turn in taken:
            self._coming.remove(turn)
        for element in range(count):
            turn = taken[element] if element < len(taken) else self._next_turn()
            job = SimulatedJob(
                next(self._numbers), kind, element, self.requests, self.now, self.now + turn.wait, turn.start_up
            )
            self.jobs[job.number] = job
            self.at(job.may_start_at, partial(self._may_start, job))
            numbers.append(job.number)
        return numbers

    def have(self, kind: Kind, turns: Iterable[Turn]) -> list[SimulatedJob]:
        """Have jobs, in hindsight: they were submitted when it was time to, with one request, and are connected.

        Parameters
        ----------
        turns
            Of `coming`: each long enough ago for a job that was submitted at the beginning.
        """
        self.requests += 1
        jobs = []
        for element, turn in enumerate(turns):
            self._coming.remove(turn)
            started_at = self.now - turn.start_up
            job = SimulatedJob(
                next(self._numbers), kind, element, self.requests, started_at - turn.wait, started_at, turn.start_up
            )
            job.started_at = started_at
            self.submitted += 1
            self._running_jobs += 1
            self.jobs[job.number] = job
            self._plan_end(job)
            self.scheduler.welcome(job)
            jobs.append(job)
        return jobs

    def has_room(self, coming: int = 0) -> bool:
        """One more job may run now, beside so many that are about to come."""
        return self._running_jobs + coming < self.queue.running

    def _next_turn(self) -> Turn:
        return self._coming.pop(0) if self._coming else next(self._turns)

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
                self.scheduler.settle(job)
                job.is_leaving = True
                if not job.running:
                    self.leave(job)

    def leave(self, job: SimulatedJob) -> None:
        """It was asked to end, and has finished what it did."""
        self.at(self.now + LEAVING, partial(self._end, job))

    def _expire(self, job: SimulatedJob) -> None:
        """Its walltime is near."""
        if job.lives and not job.is_leaving:
            job.has_expired = True
            self.expired += 1
            self.retire([job.number])
            self.scheduler.dispatch()

    def _cut(self, job: SimulatedJob) -> None:
        """What it has not finished by now is lost."""
        if job.lives:
            job.has_expired = True
            self._end(job)
            self.scheduler.dispatch()

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
            fails = self.queue.failing and self.chance.random() < self.queue.failing
            self.at(self.now + job.start_up, partial(self._end if fails else self._connect, job))
            self._plan_end(job)

    def _plan_end(self, job: SimulatedJob) -> None:
        walltime = min(self.load.walltime, self.queue.walltime)
        assert job.started_at is not None
        job.cut_at = job.started_at + walltime
        if self.ends is not Ends.CUT:
            lead = default_lead(walltime)
            spread = lead / 4 if self.ends is Ends.DRAINED else default_spread(lead, walltime)
            job.leaves_at = leaving_time(f"{job.array}_{job.element}", job.cut_at, lead, spread)
            job.cut_at -= MARGIN
            self.at(job.leaves_at, partial(self._expire, job))
        self.at(job.cut_at, partial(self._cut, job))

    def _connect(self, job: SimulatedJob) -> None:
        if job.lives:
            self.scheduler.admit(job)

    def _end(self, job: SimulatedJob) -> None:
        if not job.lives:
            return
        if job.parked_at is None:
            self.scheduler.settle(job)
        job.ended_at = self.now if job.parked_at is None else min(self.now, job.parked_at + LEAVING)
        self.scheduler.interrupt(job)
        self.ended[job.number] = self.jobs.pop(job.number)
        if job.started_at is not None:
            self._running_jobs -= 1
            self._used += (job.ended_at - job.started_at) * job.kind.cores
            self._used_gpus += (job.ended_at - job.started_at) * job.kind.gpus
            self._start_jobs()


def simulate(load: Load, queue: Queue, controller: Controller, *, seed: int = 0, interval: float = 1.0) -> Outcome:
    """Compute a load in a queue, in virtual time."""
    return World(load, queue, seed=seed).run(controller, interval)
