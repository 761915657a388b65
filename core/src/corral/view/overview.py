"""What there is of a cluster at one moment, as plain values: every picture and every listing is made of this.

Nothing here is an object of the engine's: an overview can be kept, compared, sent, and written down with
`attrs.asdict` and `json`. Moments are seconds since the epoch, durations seconds, memory bytes. Text from elsewhere
(reasons, names of hosts, lines of logs) is as it was said: whoever shows it escapes it for where it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

#: The phases of jobs that live, in the order in which pictures show them.
PHASES = ("waiting", "starting", "working", "draining", "cancelling")
#: What cores and GPUs were used for, in the order in which pictures show it: fields of `corral.scaling.account.Hours`.
USES = ("busy", "idle", "starting", "draining", "interrupted")


#: What becomes of a submission: the batch system took its jobs, refuses them for good, or is asked again later.
SUBMISSIONS = ("accepted", "refused", "postponed")


@frozen(kw_only=True)
class Spread:
    """How many durations were how long: a histogram. Its numbers only grow."""

    #: Upper bounds (s), rising.
    bounds: tuple[float, ...] = ()
    #: How many were at most so long, and longer than the bound before; the last has no bound.
    counts: tuple[int, ...] = (0,)
    #: Of all of them (s).
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)


@frozen(kw_only=True)
class FailureCount:
    """How many failures of one kind there were."""

    #: ``job``, or ``worker``, which its job has started again.
    what: str
    #: A value of `corral.jobs.record.Outcome`.
    outcome: str
    #: The batch system's word for a job's end (``failed``, ``timeout`` …); of a worker one of a few words.
    cause: str
    count: int


@frozen(kw_only=True)
class Totals:
    """What has happened in a group since the cluster began. The numbers only grow, whatever is forgotten of jobs."""

    #: Submissions that were begun, and what became of them: one entry for each of `SUBMISSIONS`.
    attempted: int = 0
    submissions: Mapping[str, int] = field(factory=lambda: dict.fromkeys(SUBMISSIONS, 0))
    #: Jobs that the batch system took.
    submitted: int = 0
    #: How long jobs took from their submission to their first worker.
    waits: Spread = Spread()
    #: Jobs that ended, by what that means: a value of `corral.jobs.record.Outcome`, or ``in good time``.
    ended: Mapping[str, int] = field(factory=dict)
    failures: tuple[FailureCount, ...] = ()


@frozen(kw_only=True)
class CommandCount:
    """How often one program of a batch system was run."""

    #: The name of the backend plugin that ran it, and the program's own, without its folder.
    backend: str
    program: str
    times: Spread
    #: Those that did not end with 0.
    failed: int


@frozen(kw_only=True)
class JobView:
    """One job."""

    id: str
    group: str
    #: ``waiting``, ``starting``, ``working``, ``draining``, ``cancelling`` or ``ended``: see `JobRecord.phase`.
    phase: str
    #: The batch system's word: ``pending``, ``running``, ``held`` …
    state: str
    #: How it stands, in one or a few words: ``connected``, ``running without workers`` …
    condition: str
    #: The batch system's reason; empty: it gives none.
    reason: str = ""
    hosts: tuple[str, ...] = ()
    #: Connected workers, and how many it should have.
    workers: int = 0
    expected_workers: int = 0
    #: Of all of its nodes.
    cores: int = 0
    gpus: int = 0
    #: 0: not known.
    submitted: float
    started: float | None = None
    #: When its first worker came.
    connected: float | None = None
    ended: float | None = None
    #: When it began to leave, or was asked to; None: it does not.
    leaving: float | None = None
    #: When the batch system expects to start it; None: it does not say.
    expected_start: float | None = None
    #: Why it ended, in a line; why it is to end, if it lives and leaves; else empty.
    why: str = ""
    #: What its end means: a value of `corral.jobs.record.Outcome`; empty while it lives, and if it ended in good time.
    outcome: str = ""
    exit_code: int | None = None
    log: str | None = None

    @property
    def has_failed(self) -> bool:
        """True if it ended without being asked to."""
        return self.outcome not in ("", "wanted")


@frozen(kw_only=True)
class GroupView:
    """One kind of jobs."""

    name: str
    #: Of a batch system of its own; empty: the cluster's.
    backend: str = ""
    queue: str = ""
    #: Of each job: workers, nodes, and on each node cores, bytes of memory (None: not said), and GPUs.
    workers_per_job: int = 1
    nodes: int = 1
    cores: int = 1
    memory: int | None = None
    gpus: int = 0
    #: Jobs.
    wanted: int = 0
    #: True if its size follows its work; between these numbers of jobs. None: no limit.
    adapts: bool = False
    minimum: int = 0
    maximum: int | None = None
    #: Living jobs by phase, one entry for each of `PHASES`.
    jobs: Mapping[str, int] = field(factory=lambda: dict.fromkeys(PHASES, 0))
    ended: int = 0
    #: Of the ended, those that were not asked to.
    failed: int = 0
    #: Connected.
    workers: int = 0
    #: Wanted jobs that the batch system does not have.
    unsubmitted: int = 0
    #: When the job that waits longest was submitted; when the first of them is expected to start.
    waiting_since: float | None = None
    expected_start: float | None = None
    #: The batch system's reasons of waiting jobs, and of how many, most frequent first.
    reasons: tuple[tuple[str, int], ...] = ()
    #: Why its jobs wait, as the batch system said when it was asked; empty: it was not, or did not say.
    waiting: str = ""
    #: What keeps it from growing; empty: nothing.
    trouble: str = ""
    #: Nothing is submitted until somebody scales again.
    is_stopped: bool = False
    #: Why the last plan did what it did.
    because: str = ""
    #: Core-hours and GPU-hours by what they were used for, one entry for each of `USES`.
    core_hours: Mapping[str, float] = field(factory=lambda: dict.fromkeys(USES, 0.0))
    gpu_hours: Mapping[str, float] = field(factory=lambda: dict.fromkeys(USES, 0.0))
    #: Of a node: bytes at the peak, and busy cores on average while its workers had tasks; 0: not known.
    peak_memory: int = 0
    busy_cores: float = 0.0
    #: What would have been enough, where that is much less; a sentence each.
    advice: tuple[str, ...] = ()
    totals: Totals = Totals()

    @property
    def workers_wanted(self) -> int:
        return self.wanted * self.workers_per_job

    @property
    def living(self) -> int:
        """Jobs that have not ended."""
        return sum(self.jobs.values())


@frozen(kw_only=True)
class FailureView:
    """A job that ended without being asked to, or a worker that died."""

    job: str
    group: str
    #: Empty: the job itself.
    worker: str = ""
    #: When; 0: not known.
    moment: float = 0.0
    cause: str
    #: A value of `corral.jobs.record.Outcome`.
    outcome: str = ""
    hint: str = ""
    hosts: tuple[str, ...] = ()
    #: Keys of the tasks that a worker ran.
    tasks: tuple[str, ...] = ()
    log: str | None = None
    log_tail: tuple[str, ...] = ()


@frozen(kw_only=True)
class Load:
    """What the Dask scheduler has."""

    workers: int = 0
    threads: int = 0
    #: Tasks that it knows; of these, how many run or are about to on a worker, wait for room, and wait for a worker
    #: that has what they need.
    tasks: int = 0
    processing: int = 0
    queued: int = 0
    no_worker: int = 0
    #: Bytes of all workers: in use, and at most.
    memory: int = 0
    memory_limit: int = 0


@frozen(kw_only=True)
class Overview:
    """One cluster."""

    name: str
    #: The name of its backend plugin.
    backend: str
    #: ``running``, ``closed`` …: Dask's word.
    status: str = "running"
    #: When this was so.
    moment: float
    #: When the cluster began; 0: not known.
    began: float = 0.0
    scheduler: str = ""
    dashboard: str = ""
    groups: tuple[GroupView, ...] = ()
    #: Oldest first.
    jobs: tuple[JobView, ...] = ()
    #: Oldest first.
    failures: tuple[FailureView, ...] = ()
    load: Load = Load()
    #: What the batch systems were asked since the cluster began.
    commands: tuple[CommandCount, ...] = ()
    maximum_core_hours: float | None = None
    maximum_gpu_hours: float | None = None
    #: Where the jobs are, in a sentence.
    whereabouts: str = ""

    @property
    def workers(self) -> int:
        """Connected; those that somebody started by hand count."""
        return self.load.workers

    @property
    def workers_wanted(self) -> int:
        return sum(group.workers_wanted for group in self.groups)

    @property
    def core_hours(self) -> float:
        return sum(sum(group.core_hours.values()) for group in self.groups)

    @property
    def gpu_hours(self) -> float:
        return sum(sum(group.gpu_hours.values()) for group in self.groups)
