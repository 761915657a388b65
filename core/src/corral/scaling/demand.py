"""What is to be computed, counted on the Dask scheduler while it happens.

To go through 100,000 tasks takes a tenth of a second, in which the scheduler does nothing else. So tasks are counted as
they change their state, which costs a microsecond or two each time; a question is answered from the counts. What comes
next is counted as well: tasks that wait for others, none of which waits itself.

How long they take is what the user says of them, or else how long others of their kind took. Whether a job has the
time for them is decided by what corral's own scheduler would ask for (`corral.launch.tasktimes`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, field
from distributed.diagnostics.plugin import SchedulerPlugin

from corral.launch.tasktimes import TaskTimes, time_needed
from corral.scaling.workload import Demand, Load, Need

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

#: States of tasks that are still to be computed. Without a worker, those with restrictions are in "no-worker", others
#: in "queued"; once one worker fits, all that wait for it are in "processing" at once.
_READY = ("no-worker", "queued")
_COUNTED = frozenset({"waiting", "processing", *_READY})
#: Tasks of which the user says nearly the same, with this factor between them, are counted together.
_ALIKE = 1.02
#: What tasks are counted by: need, prefix, and what is said of their duration, on a scale of such steps.
_Place = tuple[Need, str, int | None]


@define(slots=True, eq=False)
class _Count:
    """Tasks of one place, by state."""

    need: Need
    prefix: str
    #: Seconds that the user says one takes; None: nothing is said.
    said: float | None
    #: Seconds that Dask said a task takes, when it knew last: one straggler makes it forget.
    duration: float | None = None
    tasks: dict[str, int] = field(factory=lambda: dict.fromkeys(_COUNTED, 0))
    #: Those of the waiting ones that wait for no waiting ones.
    upcoming: int = 0
    #: When one was given to a worker last (`time.monotonic`).
    assigned_at: float = -math.inf


class DemandCounter(SchedulerPlugin):
    """Counts the tasks of one scheduler.

    Registered by a client (``client.register_plugin(DemandCounter())``), it also answers remote calls of
    ``corral_demand`` there.
    """

    name = "corral-demand"

    def __init__(self) -> None:
        self._scheduler: Scheduler
        #: Those of corral's own scheduler, if it is one.
        self._times: TaskTimes | None = None
        #: Those without tasks are dropped when somebody asks.
        self._counts: dict[_Place, _Count] = {}
        #: Where each task that is counted is counted, and in which state.
        self._places: dict[Any, tuple[_Count, str]] = {}
        #: How many waiting tasks each waiting one waits for.
        self._waits_for: dict[Any, int] = {}

    async def start(self, scheduler: Scheduler) -> None:
        """Begin, with what is there already."""
        self.listen(scheduler)
        scheduler.handlers["corral_demand"] = self._answer

    def listen(self, scheduler: Scheduler) -> None:
        """Count what is there already; whoever calls adds the plugin."""
        self._scheduler = scheduler
        self._times = getattr(scheduler, "times", None)
        for key, task in scheduler.tasks.items():
            if task.state in _COUNTED:
                self._enter(key, task, task.state)

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        """Count the task where it is now."""
        place = self._places.get(key)
        if place is not None:
            count, state = place
            count.tasks[state] -= 1
            if state == "waiting":
                self._waits_no_longer(key, count)
            if finish in _COUNTED:
                self._place(key, count, finish)
            else:
                del self._places[key]
        elif finish in _COUNTED:
            self._enter(key, self._scheduler.tasks[key], finish)

    def _enter(self, key: Any, task: TaskState, state: str) -> None:
        if (task.worker_restrictions or task.host_restrictions) and not task.loose_restrictions:
            return  # bound to workers that are known by name: another one would not help
        restrictions = task.resource_restrictions
        need = tuple(sorted(restrictions.items())) if restrictions else ()
        said = self._said(task) if task.annotations else None
        place = need, task.prefix.name, None if said is None else round(math.log(said, _ALIKE))
        count = self._counts.get(place)
        if count is None:
            count = self._counts[place] = _Count(need, task.prefix.name, said)
        self._place(key, count, state)

    def _place(self, key: Any, count: _Count, state: str) -> None:
        count.tasks[state] += 1
        self._places[key] = count, state
        if state == "waiting":
            self._waits(key, count)
        elif state == "processing":
            count.assigned_at = time.monotonic()

    def _waits(self, key: Any, count: _Count) -> None:
        """The task waits now: what depends on it does not come next, nor does it if it depends on such a one."""
        task, waits_for = self._scheduler.tasks[key], self._waits_for
        waits_for[key] = others = sum(1 for other in task.dependencies if other.key in waits_for)
        if not others:
            count.upcoming += 1
        for other in task.dependents:
            if (others := waits_for.get(other.key, -1)) >= 0:
                waits_for[other.key] = others + 1
                if not others:
                    self._places[other.key][0].upcoming -= 1

    def _waits_no_longer(self, key: Any, count: _Count) -> None:
        waits_for = self._waits_for
        if not waits_for.pop(key):
            count.upcoming -= 1
        task = self._scheduler.tasks.get(key)
        for other in () if task is None else task.dependents:
            if others := waits_for.get(other.key):
                waits_for[other.key] = others - 1
                if others == 1:
                    self._places[other.key][0].upcoming += 1

    def _said(self, task: TaskState) -> float | None:
        """What the user says of this task, or how long it had run already when it was cut off, if that is more."""
        if self._times is None or (said := self._times.said(task)) is None:
            return None
        return max(said, self._times.interrupted.get(task.key, 0.0), 0.001)

    def demand(self, leaving: Iterable[WorkerState] = ()) -> Demand:
        """What is to be computed now.

        Parameters
        ----------
        leaving
            Workers that finish what they run, and begin little or nothing more.
        """
        finishing = Counter(
            id(self._places[task.key][0])
            for worker in leaving
            for task in worker.executing
            if task.state == "processing" and task.processing_on is worker and task.key in self._places
        )
        loads = []
        blocked = 0
        for place, count in list(self._counts.items()):
            tasks = count.tasks
            if not any(tasks.values()):
                del self._counts[place]
                continue
            blocked += tasks["waiting"]
            ready, assigned = sum(tasks[state] for state in _READY), tasks["processing"]
            if ready or assigned or count.upcoming:
                loads.append(self._load(count, ready, assigned, finishing[id(count)]))
        return Demand(loads=tuple(loads), blocked=blocked)

    def _load(self, count: _Count, ready: int, assigned: int, finishing: int) -> Load:
        prefix = self._scheduler.task_prefixes.get(count.prefix)
        average = -1.0 if prefix is None else prefix.duration_average
        if average >= 0:
            count.duration = average
        longest = duration = count.said
        if longest is None and self._times is not None:
            longest = max(average, self._times.longest.get(count.prefix, 0.0))
            mean = self._times.means.get(count.prefix)
            duration = None if mean is None else mean.seconds
        return Load(
            need=count.need,
            ready=ready,
            assigned=assigned,
            upcoming=count.upcoming,
            latest=max(0.0, time.monotonic() - count.assigned_at) if assigned else 0.0,
            duration=count.duration if duration is None else duration,
            elapsed=0.0 if prefix is None else max(0.0, prefix.max_exec_time),
            finishing=min(finishing, assigned),
            time_needed=time_needed(longest) if longest else 0.0,
        )

    def _answer(self) -> dict[str, Any]:
        return asdict(self.demand())
