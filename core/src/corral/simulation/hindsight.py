"""A controller whose jobs were submitted when it was time to, and had left when nothing more was to do.

It need not foresee anything: jobs come at the moment at which they are needed, as though they had been submitted as
long before as they wait and start, unless that would have been before the beginning. What has nothing to do is parked.
When it is needed again, it turns out whether it has been there all the time, or has left and another one has come,
whichever costs less. Where only so many jobs may run at a time, one that leaves makes room for one that has started
already: half a minute too early.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from corral.scaling.workload import Kind
from corral.simulation.jobs import Ends, SimulatedJob, Turn
from corral.simulation.scenario import Load, Tasks
from corral.simulation.world import LEAVING, World


@frozen(kw_only=True)
class Shape:
    """How many jobs there are, and when."""

    #: The most jobs while tasks of this kind wait, none of those before them.
    widths: Mapping[Tasks, int]
    #: Seconds that a job is kept without work when another one could not come in time.
    patience: float = math.inf
    #: All tasks run on the one kind of jobs that can run everything.
    is_uniform: bool = False

    def kind(self, load: Load, tasks: Tasks) -> Kind:
        """Where they run: where they cost least."""
        if self.is_uniform:
            return next(kind for kind in load.kinds if kind.name == load.uniform)
        return min((kind for kind in load.kinds if kind.room(tasks.need)), key=lambda kind: kind.price(tasks.need))


@define(kw_only=True, eq=False)
class Hindsight:
    """Has as many jobs as a shape says, exactly when they are of use."""

    shape: Shape
    #: For each job it may choose among the waits of so many jobs to come; the others are left for later.
    choice: int
    _world: World = field(init=False)
    #: Of the present stage, by the name of their kind of jobs, in the order in which they are given out.
    _tasks: dict[str, list[Tasks]] = field(factory=dict, init=False)
    #: By the name of a kind of jobs: which tasks waited last, and how many jobs had gone in one way or another.
    _seen: dict[str, tuple[Tasks | None, int]] = field(factory=dict, init=False)
    #: Jobs without work, the latest last.
    _parked: dict[str, list[SimulatedJob]] = field(factory=dict, init=False)
    #: Jobs that have too little time for what waits; others have come, or will.
    _replaced: set[SimulatedJob] = field(factory=set, init=False)
    #: When more jobs can be there.
    _more_at: dict[str, float] = field(factory=dict, init=False)

    @property
    def ends(self) -> Ends:
        return Ends.HEEDED

    def look(self, world: World) -> float:
        """Everything happens at the very moment, not when it is looked at."""
        if world.scheduler.overseer is None:
            self._world = world
            world.scheduler.overseer = self
            self._parked = {kind.name: [] for kind in world.load.kinds}
        return math.inf

    def stage_begins(self, stage: Sequence[Tasks]) -> None:
        """Have who is needed, before any of its tasks has been given out."""
        self._tasks = {}
        for tasks in sorted(stage, key=lambda tasks: -len(tasks.need)):
            self._tasks.setdefault(self.shape.kind(self._world.load, tasks).name, []).append(tasks)
        self._seen.clear()
        self._adjust()

    def dispatched(self) -> None:
        """Have fewer, or others, if other tasks wait now; park who has nothing to do."""
        if self._adjust():
            self._world.scheduler.dispatch()

    def _adjust(self) -> bool:
        """True if somebody has come."""
        kinds = self._world.load.kinds
        waiting = {
            kind.name: [
                tasks
                for tasks in self._tasks.get(kind.name, ())
                if self._world.scheduler.waiting(tasks.need, tasks.name)
            ]
            for kind in kinds
        }
        # First those that have nothing to do: they make room.
        for kind in kinds:
            self._let_go(kind, bool(waiting[kind.name]))
        come = [self._resize(kind, waiting[kind.name]) for kind in kinds if self._is_news(kind, waiting[kind.name])]
        return any(come)

    def _let_go(self, kind: Kind, something_waits: bool) -> None:
        for job in self._world.scheduler.open_jobs(kind.name):
            # Another one would have no time either for what one has no time for that has just come.
            if something_waits and job.is_passed_over and job.connected_at != self._world.now:
                if not job.running:
                    self._world.retire([job.number])
                # Another one comes at once; this one may still have time for what comes next.
                self._replaced.add(job)
            elif not something_waits and not job.running:
                self._world.scheduler.park(job)
                self._parked[kind.name].append(job)

    def _is_news(self, kind: Kind, waiting: Sequence[Tasks]) -> bool:
        """True if another number of jobs may be right now."""
        gone = sum(len(jobs) for jobs in (self._world.ended, self._replaced, *self._parked.values()))
        seen = (waiting[0] if waiting else None, gone + self._world.expired)
        is_news = seen != self._seen.get(kind.name) or self._world.now >= self._more_at.get(kind.name, math.inf)
        self._seen[kind.name] = seen
        return is_news

    def _resize(self, kind: Kind, waiting: Sequence[Tasks]) -> bool:
        """True if somebody has come."""
        world, scheduler = self._world, self._world.scheduler
        self._more_at.pop(kind.name, None)
        if not waiting:
            return False
        team = [
            job for job in world.jobs.values() if job.kind is kind and not job.is_leaving and job not in self._replaced
        ]
        surplus = len(team) - self.shape.widths[waiting[0]]
        if surplus > 0:
            # Those that would have finished first.
            team.sort(key=lambda job: max((task.begun_at + task.duration for task in job.running.values()), default=0))
            world.retire(job.number for job in team[:surplus])
            return False
        ready = sum(scheduler.waiting(tasks.need, tasks.name) for tasks in waiting)
        # At the beginning of a stage some do nothing yet.
        free = sum(1 for job in scheduler.open_jobs(kind.name) if not job.running and job not in self._replaced)
        of_use = math.ceil(ready / kind.room(waiting[0].need)) - free
        return self._bring(kind, min(-surplus, of_use))

    def _bring(self, kind: Kind, count: int) -> bool:
        """Have so many more, if so many can be there."""
        world, parked = self._world, self._parked[kind.name]
        coming = world.coming(max(self.choice, count))
        turns = deque(turn for turn in coming if _arrival(turn) <= world.now)
        fresh: list[Turn] = []
        found = 0
        while found < count:
            while parked and not parked[-1].lives:
                parked.pop()
            keep = turns[0].start_up + LEAVING if turns else self.shape.patience
            if parked and world.now - (parked[-1].parked_at or 0.0) <= keep:
                world.scheduler.unpark(parked.pop())
            elif turns and self._make_room(len(fresh)):
                fresh.append(turns.popleft())
            else:
                break
            found += 1
        if fresh:
            world.have(kind, fresh)
        if found < count and (later := [at for turn in coming if (at := _arrival(turn)) > world.now]):
            self._more_at[kind.name] = min(later)
            world.at(min(later), world.scheduler.dispatch)
        return found > 0

    def _make_room(self, coming: int) -> bool:
        """True if one more job may run beside those that are about to come; who is parked has left long ago, then."""
        while not self._world.has_room(coming):
            parked = [job for jobs in self._parked.values() for job in jobs if job.lives]
            if not parked:
                return False
            self._world.cancel([min(parked, key=lambda job: job.parked_at or 0.0).number])
        return True


def _arrival(turn: Turn) -> float:
    """When a job would be there that was submitted at the beginning."""
    return turn.wait + turn.start_up
