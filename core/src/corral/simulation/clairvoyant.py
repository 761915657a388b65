"""A bound to aim at: who knows how long tasks take and jobs wait, and what an hour of waiting is worth."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from attrs import define, evolve, field

from corral.simulation.hindsight import Hindsight, Shape
from corral.simulation.jobs import Ends
from corral.simulation.scenario import Load, Queue, Tasks
from corral.simulation.world import LEAVING, Outcome, World

#: Outcomes of one load in one queue that a search looks at, for each price.
LOOKS = 16
#: By how much numbers of jobs are changed: boldly at first, then with care.
STEPS = (2.0, 1.4, 1.15)
#: For how long jobs may be kept that cannot be replaced in time (s).
PATIENCES = (0.0, 60.0, 300.0, 1800.0, math.inf)
#: Prices that span a front, as multiples of what a cluster of fixed size uses in an hour.
PRICES = (0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 200.0)


@define(eq=False)
class Search:
    """Looks for the shapes that are worth it, in one world."""

    load: Load
    queue: Queue
    seed: int
    #: See `Clairvoyant`.
    choice: int = 0
    #: The most jobs at a time.
    maximum: float = math.inf
    found: dict[tuple[object, ...], tuple[Shape, Outcome]] = field(factory=dict, init=False)

    def best(self, price: float) -> Shape:
        """The best for a price, in core-hours for each hour; also of what was found for others."""
        looks = len(self.found) + LOOKS
        for shape in self._beginnings(price):
            self._outcome(shape)
        best, cost = self._cheapest(price)
        for step in STEPS:
            is_better = True
            while is_better:
                is_better = False
                for shape in self._variations(best, step):
                    if len(self.found) >= looks:
                        return best
                    if (other := _cost(self._outcome(shape), price)) < cost:
                        best, cost, is_better = shape, other, True
        return best

    def _cheapest(self, price: float) -> tuple[Shape, float]:
        shape, outcome = min(self.found.values(), key=lambda each: _cost(each[1], price))
        return shape, _cost(outcome, price)

    def _outcome(self, shape: Shape) -> Outcome:
        key = (*shape.widths.values(), shape.patience, shape.is_uniform)
        if key not in self.found:
            controller = Hindsight(shape=shape, choice=self.choice)
            self.found[key] = shape, World(self.load, self.queue, seed=self.seed).run(controller, interval=3600.0)
        return self.found[key][1]

    def _beginnings(self, price: float) -> Iterator[Shape]:
        """As many as pay for their start, and a fixed size."""
        for is_uniform in (False, True)[: len(self.load.kinds)]:
            empty = Shape(widths={}, is_uniform=is_uniform)
            widths = {}
            for tasks in self._tasks():
                kind = empty.kind(self.load, tasks)
                start = kind.cores * (self.queue.start_up + LEAVING)
                widths[tasks] = math.sqrt(price * tasks.count * tasks.seconds / kind.room(tasks.need) / start)
            yield self._shape(empty, widths)
            yield self._shape(empty, dict.fromkeys(widths, float(self.load.fixed)))

    def _variations(self, shape: Shape, step: float) -> Iterator[Shape]:
        work = sum(tasks.count * tasks.seconds for tasks in shape.widths)
        for factor in (step, 1 / step):
            yield self._shape(shape, {tasks: width * factor for tasks, width in shape.widths.items()})
        for tasks, width in shape.widths.items():
            if 0.05 * work < tasks.count * tasks.seconds < 0.95 * work:
                for factor in (step, 1 / step):
                    yield self._shape(shape, {**shape.widths, tasks: width * factor})
        place = PATIENCES.index(shape.patience)
        for patience in PATIENCES[max(0, place - 1) : place + 2]:
            yield evolve(shape, patience=patience)

    def _shape(self, like: Shape, widths: Mapping[Tasks, float]) -> Shape:
        """With widths that can be."""
        most = min(self.queue.running, self.maximum)
        able = {}
        for tasks, width in widths.items():
            of_use = math.ceil(tasks.count / like.kind(self.load, tasks).room(tasks.need))
            able[tasks] = max(1, int(min(most, of_use, _rounded(width, like.widths.get(tasks)))))
        return evolve(like, widths=able)

    def _tasks(self) -> list[Tasks]:
        stages = (stage for step in self.load.steps for stage in step.stages)
        return list(dict.fromkeys(tasks for stage in stages for tasks in stage))


class Clairvoyant:
    """Knows how long each task takes, and how long each job will wait; decides about jobs, not about tasks.

    It tries in advance how many jobs are worth it for tasks of each kind. It submits them when it is time to, so that
    they come when they are needed, and knows at once when there is nothing more for one to do before another, started
    anew, would cost less. Where a task runs, and whether it is begun near the end of a job, is as ever: the scheduler
    learns how long it takes.

    Parameters
    ----------
    price
        Core-hours that one hour less is worth.
    choice
        For each job it may choose among the waits of so many jobs to come, as others do that submit more than they need
        and cancel what is late. 0: as few as come at the same time.
    """

    ends = Ends.HEEDED

    def __init__(self, price: float, choice: int = 0) -> None:
        self.price = price
        self.choice = choice
        self._hindsight: Hindsight | None = None

    def look(self, world: World) -> float:
        """Nothing need be looked at twice."""
        if self._hindsight is None:
            shape = Search(world.load, world.queue, world.seed, self.choice, world.load.maximum).best(self.price)
            self._hindsight = Hindsight(shape=shape, choice=self.choice)
        return self._hindsight.look(world)


def front(load: Load, queue: Queue, *, seed: int = 0, choice: int = 0, maximum: float = math.inf) -> list[Outcome]:
    """What the clairvoyant can have, by core-hours: each costs more than the one before it, and is faster.

    Parameters
    ----------
    choice
        See `Clairvoyant`.
    maximum
        The most jobs at a time.
    """
    search = Search(load, queue, seed, choice, maximum)
    for price in PRICES:
        search.best(price * load.fixed * max(kind.cores for kind in load.kinds))
    found: list[Outcome] = []
    for _, outcome in sorted(search.found.values(), key=lambda each: (each[1].core_hours, each[1].makespan)):
        if not found or outcome.makespan < found[-1].makespan:
            found.append(outcome)
    return found


def makespan_at(outcomes: Sequence[Outcome], core_hours: float) -> float:
    """Seconds that a front needs for so many core-hours, interpolated; at its ends, those of the nearest."""
    for before, after in itertools.pairwise(outcomes):
        if before.core_hours <= core_hours <= after.core_hours:
            part = (core_hours - before.core_hours) / (after.core_hours - before.core_hours)
            return before.makespan + part * (after.makespan - before.makespan)
    return outcomes[0 if core_hours < outcomes[0].core_hours else -1].makespan


def distance(load: Load, queue: Queue, own: Mapping[int, Outcome], *, choice: int = 0) -> float:
    """How many times as long as a clairvoyant a policy takes, at equal core-hours: the middle of some runs.

    The clairvoyant may do what the policy did: choose among as many waits as that has submitted jobs, or a cluster of
    fixed size would; and have as many jobs at a time as that had in the mean, if the load's file allows fewer: where
    jobs end, others come before they have left.

    Parameters
    ----------
    own
        What became of the load in the queue, by the seed of the run.
    choice
        It may choose among the waits of at least so many jobs. The same for several policies makes their distances
        comparable.
    """
    ratios = []
    for seed, outcome in own.items():
        maximum = max(load.maximum, math.ceil(_jobs_at_work(outcome)))
        found = front(load, queue, seed=seed, choice=max(choice, outcome.submitted, load.fixed), maximum=maximum)
        ratios.append(outcome.makespan / makespan_at(found, outcome.core_hours))
    return statistics.median(ratios)


def _jobs_at_work(outcome: Outcome) -> float:
    """How many were connected, in the mean of the time in which any was."""
    spans = [(after[0] - before[0], before[1]) for before, after in itertools.pairwise(outcome.history) if before[1]]
    return sum(span * jobs for span, jobs in spans) / max(1.0, sum(span for span, _ in spans))


def _cost(outcome: Outcome, price: float) -> float:
    """In core-hours."""
    return outcome.core_hours + price * outcome.makespan / 3600


def _rounded(width: float, before: int | None) -> int:
    """A whole number of jobs that differs from the one before, if it should."""
    if before is None or width == before:
        return round(width)
    return max(before + 1, round(width)) if width > before else min(before - 1, round(width))
