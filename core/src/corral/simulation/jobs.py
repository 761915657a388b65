"""Jobs, each of which has one worker, and tasks, in virtual time."""

from __future__ import annotations

import enum
import math

from attrs import define, field, frozen

from corral.scaling.workload import Kind, Need


class Ends(enum.Enum):
    """What happens to tasks when the walltime of their job comes near."""

    #: They are begun as ever, and what runs in the end is cut off.
    CUT = "cut"
    #: In the last two minutes none is begun, and what runs in the end is cut off: so it was in corral once.
    DRAINED = "drained"
    #: None is begun that could not be finished, and a job that has no time for what waits leaves: so it is in corral.
    HEEDED = "heeded"


#: What waits is sorted by what is needed, the name, and whether it has been cut off before.
Place = tuple[Need, str, bool]


@define(eq=False)
class Task:
    """One task."""

    need: Need
    name: str
    duration: float
    #: The longest that it had run when it was cut off (s).
    cut_off: float = 0.0
    begun_at: float = 0.0

    @property
    def place(self) -> Place:
        return self.need, self.name, self.cut_off > 0


@frozen(eq=False)
class Turn:
    """What a job to come will meet in the queue, whoever submits it and when."""

    number: int
    #: Seconds until it may start, and from its start to its worker.
    wait: float
    start_up: float


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
    #: Seconds from its start to its worker.
    start_up: float
    started_at: float | None = None
    connected_at: float | None = None
    ended_at: float | None = None
    #: When it begins to leave by itself, and when what still runs is cut off.
    leaves_at: float = math.inf
    cut_at: float = math.inf
    is_leaving: bool = False
    #: It leaves, or left, because of its walltime and not because it was asked to.
    has_expired: bool = False
    #: There are tasks that it had room for, and no time.
    is_passed_over: bool = False
    free_threads: int = 0
    free: dict[str, float] = field(factory=dict)
    running: dict[int, Task] = field(factory=dict)
    idle_since: float | None = None
    #: In hindsight it may have left then; None: it is at work.
    parked_at: float | None = None
    #: Until when it is known what its idle threads have cost.
    settled_at: float = 0.0

    @property
    def lives(self) -> bool:
        return self.ended_at is None
