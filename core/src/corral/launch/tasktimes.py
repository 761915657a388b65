"""How long tasks take, and what that means for a worker that must be gone at a certain moment.

What is known of a task's time, the best first:

1. what the user says of it: ``dask.annotate(expected_duration="30 min")``;
2. how long it has run already, if the end of a job interrupted it;
3. the longest that a task of its kind (Dask's prefix) has run;
4. what Dask expects (``distributed.scheduler.default-task-durations``, or the average so far);
5. what the user says of all tasks of a group: ``WorkerGroup(task_time="30 min")``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from corral.text.durations import seconds_in
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

logger = logger_of()

#: The annotation by which a user says how long a task takes.
ANNOTATION = "expected_duration"
#: What a worker says with every heartbeat: seconds until it must be gone.
SECONDS_LEFT = "corral_seconds_left"
#: And this too: seconds since its launcher began, which its job's script became.
SECONDS_RUN = "corral_seconds_run"
#: What this scheduler tells a worker of each task: how long it is expected to take (s).
EXPECTED = "corral_expected"
#: What tasks take more than was expected, and what it takes to begin and to hand over (s): time that must be left.
SLACK = 1.1
MARGIN = 1.0
#: So much of its time is left to a job that has hardly begun.
_HARDLY_BEGUN = 0.8
#: About so many of the latest tasks count in the mean of how long they take.
MEMORY = 200


def time_needed(expected: float) -> float:
    """Seconds that a worker must have left to begin a task."""
    return expected * SLACK + MARGIN


def idle_from(
    running: Iterable[tuple[float, float | None]], threads: int, seconds_left: float, expected: float
) -> float | None:
    """Seconds until a worker will have no time for a task that takes so long; None: it will have.

    Parameters
    ----------
    running
        Of each task that it has: how long it takes, and how long it has run; None: it has not begun.
    """
    remaining = 0.0
    for takes, ran in running:
        if ran is None and time_needed(takes) > seconds_left - remaining:
            continue  # it waits there, and will be handed back
        remaining += max(0.0, takes - (ran or 0.0))
    remaining /= threads
    return remaining if seconds_left - remaining < time_needed(expected) else None


@frozen(kw_only=True)
class TooLong:
    """A task that cannot be finished by any job that this cluster can have."""

    key: Any
    #: Dask's prefix: what tasks of its kind have in common.
    kind: str
    #: Seconds; what it is known to need.
    expected: float
    #: True if it has run that long and was interrupted; False if somebody said so, or another of its kind took that.
    was_interrupted: bool


@define(slots=True)
class Mean:
    """How long tasks of a kind took that came to their end (s).

    Dask's own average forgets all but the last few, and of tasks that began together the slowest are the last.
    """

    seconds: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        """Another one took so long."""
        self.count = min(self.count + 1, MEMORY)
        self.seconds += (seconds - self.seconds) / self.count


@define(kw_only=True, eq=False)
class TaskTimes:
    """How long tasks take."""

    #: By Dask's prefix: the longest that one has run (s).
    longest: dict[str, float] = field(factory=dict)
    #: By Dask's prefix: those that came to their end.
    means: dict[str, Mean] = field(factory=dict)
    #: The longest that a task may take which a new job begins at once (s); None: not known.
    room: float | None = None
    #: By key: how long it had run when its job's end, or its worker's, interrupted it (s).
    interrupted: dict[Any, float] = field(factory=dict)
    _misread: set[str] = field(factory=set, init=False)

    def ran(self, task: TaskState, seconds: float) -> None:
        """A task has run for so long, and may go on."""
        kind = task.prefix.name
        if seconds > self.longest.get(kind, 0.0):
            self.longest[kind] = seconds

    def ended(self, task: TaskState, seconds: float) -> None:
        """A task came to its end after so long."""
        self.ran(task, seconds)
        self.means.setdefault(task.prefix.name, Mean()).add(seconds)

    def expected(self, task: TaskState) -> float | None:
        """Seconds that this task will take, as far as anything is known."""
        said = self.said(task)
        known = [] if said is None else [said]
        if (seconds := self.interrupted.get(task.key)) is not None:
            known.append(seconds)
        if said is None:
            # What the user says of one task is better than what others took.
            average = task.prefix.duration_average
            others = [seconds for seconds in (self.longest.get(task.prefix.name), average) if seconds and seconds > 0]
            known += [min(seconds, self._most()) for seconds in others]
        return max(known, default=None)

    def _most(self) -> float:
        """The most that others of its kind can say of a task: that it needs a job that has hardly begun.

        One that takes longer than any job lasts must not keep the others of its kind from being begun.
        """
        return math.inf if self.room is None else max(0.0, (_HARDLY_BEGUN * self.room - MARGIN) / SLACK)

    def said(self, task: TaskState) -> float | None:
        """Seconds that the user says this task takes."""
        return self._read(task.annotations) if task.annotations else None

    def _read(self, annotations: Mapping[str, Any]) -> float | None:
        value = annotations.get(ANNOTATION)
        if value is None:
            return None
        with suppress(ValueError):
            return seconds_in(value)
        if repr(value) not in self._misread and len(self._misread) < 100:
            self._misread.add(repr(value))
            logger.warning("%s=%r is not a duration and is ignored; write for example '30 min'", ANNOTATION, value)
        return None
