"""What is to be computed, counted on the Dask scheduler while it happens.

To go through 100,000 tasks takes a tenth of a second, in which the scheduler does nothing else. So tasks are counted as
they change their state, which costs about a microsecond each time; a question is answered from the counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import asdict, define, field
from distributed.diagnostics.plugin import SchedulerPlugin

from corral.workload import Demand, Load, Need

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState

#: States of tasks that are still to be computed. Without a worker, those with restrictions are in "no-worker", others
#: in "queued"; once one worker fits, all that wait for it are in "processing" at once.
_READY = ("no-worker", "queued")
_COUNTED = frozenset({"waiting", "processing", *_READY})


@define(slots=True, eq=False)
class _Count:
    """Tasks of one need and one prefix, by state."""

    need: Need
    prefix: str
    #: Seconds that a task took when that was known last: one straggler makes Dask forget it.
    duration: float | None = None
    tasks: dict[str, int] = field(factory=lambda: dict.fromkeys(_COUNTED, 0))


class DemandCounter(SchedulerPlugin):
    """Counts the tasks of one scheduler.

    Registered by a client (``client.register_plugin(DemandCounter())``), it also answers remote calls of
    ``corral_demand`` there.
    """

    name = "corral-demand"

    def __init__(self) -> None:
        self._scheduler: Scheduler
        #: By need and prefix. Those without tasks are dropped when somebody asks.
        self._counts: dict[tuple[Need, str], _Count] = {}
        #: Where each task that is counted is counted, and in which state.
        self._places: dict[Any, tuple[_Count, str]] = {}

    async def start(self, scheduler: Scheduler) -> None:
        """Begin, with what is there already."""
        self.listen(scheduler)
        scheduler.handlers["corral_demand"] = self._answer

    def listen(self, scheduler: Scheduler) -> None:
        """Count what is there already; whoever calls adds the plugin."""
        self._scheduler = scheduler
        for key, task in scheduler.tasks.items():
            if task.state in _COUNTED:
                self._enter(key, task, task.state)

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        """Count the task where it is now."""
        place = self._places.get(key)
        if place is not None:
            count, state = place
            count.tasks[state] -= 1
            if finish in _COUNTED:
                count.tasks[finish] += 1
                self._places[key] = count, finish
            else:
                del self._places[key]
        elif finish in _COUNTED:
            self._enter(key, self._scheduler.tasks[key], finish)

    def _enter(self, key: Any, task: TaskState, state: str) -> None:
        if (task.worker_restrictions or task.host_restrictions) and not task.loose_restrictions:
            return  # bound to workers that are known by name: another one would not help
        restrictions = task.resource_restrictions
        need = tuple(sorted(restrictions.items())) if restrictions else ()
        place = need, task.prefix.name
        count = self._counts.get(place)
        if count is None:
            count = self._counts[place] = _Count(*place)
        count.tasks[state] += 1
        self._places[key] = count, state

    def demand(self) -> Demand:
        """What is to be computed now."""
        loads = []
        blocked = 0
        for place, count in list(self._counts.items()):
            tasks = count.tasks
            if not any(tasks.values()):
                del self._counts[place]
                continue
            blocked += tasks["waiting"]
            ready, assigned = sum(tasks[state] for state in _READY), tasks["processing"]
            if ready or assigned:
                prefix = self._scheduler.task_prefixes.get(count.prefix)
                if prefix is not None and prefix.duration_average >= 0:
                    count.duration = prefix.duration_average
                loads.append(
                    Load(
                        need=count.need,
                        ready=ready,
                        assigned=assigned,
                        duration=count.duration,
                        elapsed=max(0.0, prefix.max_exec_time) if prefix is not None else 0.0,
                    )
                )
        return Demand(loads=tuple(loads), blocked=blocked)

    def _answer(self) -> dict[str, Any]:
        return asdict(self.demand())
