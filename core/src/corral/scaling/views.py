"""What the policy is asked about, and what it answers: values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from corral.plugin.values import JobId
from corral.scaling.workload import Kind, Need


@frozen(kw_only=True)
class Preference:
    """What time is worth, beside jobs."""

    #: A job should work for so many times as long as it takes to start.
    worth: float = 3.0
    #: So many seconds of a job are worth a second of waiting for one.
    haste: float = 1.0
    #: Core-hours that an hour of waiting is worth, which then decides; and those that an hour of a GPU costs.
    hour: float | None = None
    gpu_price: float = 16.0


#: Those that have a name.
PREFERENCES = {
    "speed": Preference(worth=1.0, haste=3.0),
    "balance": Preference(),
    "cost": Preference(worth=10.0, haste=0.3),
}


@frozen(kw_only=True)
class Rules:
    """What `Cluster.adapt` was asked for, for the cluster as a whole."""

    #: Workers.
    minimum: int = 0
    maximum: float = math.inf
    #: Seconds that what waits should take.
    target_duration: float = 5.0
    #: Take longer where jobs take long to start.
    is_thrifty: bool = True
    prefer: Preference = PREFERENCES["balance"]
    #: Seconds that a job may be idle; None: as long as the pauses so far, or the work in sight, make it worth it.
    idle_timeout: float | None = None
    #: Seconds that a task of unknown duration is taken for.
    unknown_duration: float = 0.5


@frozen(kw_only=True)
class IdleJob:
    """A job whose workers all have nothing to do."""

    id: JobId
    since: float
    #: When its workers came.
    came_at: float
    #: When it leaves anyway; None: not known.
    leaves_at: float | None = None
    #: Bytes of results that it holds.
    stored: int = 0


@frozen(kw_only=True)
class View:
    """A group as it is now. Jobs that leave, or will before another could come, are not counted."""

    kind: Kind
    #: Jobs that must be there, and that may be.
    minimum: int = 0
    maximum: float = math.inf
    #: Jobs that have workers.
    connected: int = 0
    #: Jobs that are being submitted, wait in the queue, or start.
    coming: int = 0
    idle: Sequence[IdleJob] = ()
    #: Seconds that the latest jobs took from their submission to their first worker.
    waits: Sequence[float] = ()
    #: Seconds of these in which they ran already.
    starts: Sequence[float] = ()
    #: Seconds that those who wait now have waited, or are expected to, whichever is more.
    expected_wait: float = 0.0
    #: Bytes of results that its workers hold.
    stored: int = 0

    @property
    def size(self) -> int:
        return self.connected + self.coming


@frozen(kw_only=True)
class Needed:
    """How many jobs were needed at a moment."""

    at: float
    jobs: int
    #: Nobody knew how long the tasks take.
    is_guess: bool = False


@frozen(kw_only=True)
class Past:
    """What is remembered of a group."""

    #: The latest for each size that no later one reached.
    needed: tuple[Needed, ...] = ()
    #: The most jobs that had something to do, since when fewer than half have, and how long that was before (s).
    peak: int = 0
    paused_at: float | None = None
    pauses: tuple[float, ...] = ()


@frozen(kw_only=True)
class Size:
    """What a group should be."""

    jobs: int
    #: Idle jobs that should leave.
    release: tuple[JobId, ...] = ()


@frozen(kw_only=True)
class Decision:
    """What should be, and what to remember."""

    sizes: Mapping[str, Size]
    past: Mapping[str, Past] = field(factory=dict)
    #: What tasks ask for and no group has.
    unmet: tuple[Need, ...] = ()
