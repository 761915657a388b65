"""What the core knows of one job, and what its end means; how that knowledge grows is in `corral.jobs.transitions`.

Moments are seconds on the engine's clock (`corral.host.clock`), which no change of the wall clock moves, except where a
:class:`~corral.plugin.values.JobStatus` quotes the batch system.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from attrs import field, frozen

from corral.jobs.nodes import Node
from corral.plugin.values import JobId, JobState, JobStatus
from corral.text.printable import printable, printable_lines

#: A job that ends sooner than this after its workers came has not worked.
HEALTHY_AFTER = 60.0


class Phase(enum.Enum):
    """Where a job stands with corral; which follows which is told at `JobRecord.phase`."""

    WAITING = "waiting"
    STARTING = "starting"
    WORKING = "working"
    DRAINING = "draining"
    CANCELLING = "cancelling"
    ENDED = "ended"


class StopReason(enum.Enum):
    """Why corral wants a job to end."""

    #: More jobs than wanted.
    SURPLUS = "no longer wanted"
    #: Its group's breaker has tripped.
    BREAKER = "jobs of its group keep failing"
    #: It runs, but no worker of it ever connected.
    UNRESPONSIVE = "its workers never connected"
    #: The batch system says that it runs, but all of its workers are gone.
    LOST_WORKERS = "its workers are gone"
    #: It has nothing to do, and too little time for what waits.
    SPENT = "too little of its time is left for the waiting work"
    #: The cluster is closing.
    CLOSING = "the cluster is closing"


class Outcome(enum.Enum):
    """What an end means for the group."""

    #: corral asked for it.
    WANTED = "wanted"
    #: The machine took it: node failure, preemption, walltime; or it vanished from the queue.
    LOST = "lost"
    #: It died by itself before or soon after its workers came, or by memory.
    DIED = "died"
    #: Somebody else cancelled it.
    OPERATOR = "cancelled from outside"


@frozen(kw_only=True, repr=False)
class JobRecord:
    """One job of a cluster, as `cluster.jobs` shows it."""

    id: JobId
    group: str = "default"
    #: The unique name under which it was submitted, together with the other jobs of its array.
    name: str = ""
    #: What the batch system said last.
    status: JobStatus = JobStatus(state=JobState.PENDING)
    #: Names of its connected workers.
    workers: frozenset[str] = frozenset()
    #: How many workers it should have; those of lost nodes are not expected any more.
    expected_workers: int = 1
    #: Of a job of several; empty for others.
    nodes: tuple[Node, ...] = ()
    workers_per_node: int = 1
    #: Where its output is, on the file system that it shares with us; None if it is discarded.
    log: str | None = None

    submitted_at: float = 0.0
    #: Listed by the batch system at least once.
    was_listed: bool = False
    started_at: float | None = None
    absent_since: float | None = None
    #: It was absent before the batch system had agreed to end it: then its absence is no proof that it was ended.
    was_absent_before: bool = False
    #: Since when it was not found by its name either; None: not looked for, or seen since.
    unfound_since: float | None = None
    connected_at: float | None = None
    #: It came where another job of the cluster had just ended: what it waited says nothing of the queue.
    took_own_place: bool = False
    #: When the last of its workers left; None while it has one, or had none yet.
    lost_workers_at: float | None = None
    ended_at: float | None = None
    #: Its absence was believed although no other job was listed either: it may turn out to be there.
    is_presumed: bool = False

    #: Why we want it to end; None while it is wanted.
    stop_reason: StopReason | None = None
    #: It was asked to end by itself, when its tasks are done.
    retire_asked_at: float | None = None
    #: The batch system was asked to cancel it.
    cancel_asked_at: float | None = None
    #: How often it was asked to.
    cancellations: int = 0
    #: The batch system has said that it will, and when it said so.
    is_cancel_accepted: bool = False
    cancel_accepted_at: float | None = None
    #: It said so, and was seen alive all the same, at this moment.
    spared_at: float | None = None
    #: When its launcher will begin to leave, before the walltime ends; None: not said.
    leaves_at: float | None = None
    #: When its workers will have no time for what waits to be computed; None: not to be foreseen.
    spent_at: float | None = None
    #: Why its launcher said that it is leaving ("walltime", "signal", "retire"); empty while it stays.
    leaving: str = ""
    #: When it first said so.
    leaving_at: float | None = None
    #: Tasks that it could not finish, and results that no other worker could take, when it left: they run again.
    unfinished_tasks: int = 0
    lost_results: int = 0
    #: How many of its workers died while it went on: its log is evidence.
    worker_deaths: int = 0

    def __repr__(self) -> str:
        """Return ``<job 77_3: working, running on n1, 1 of 2 workers>``: phase, and state.

        Of several nodes, also which were lost.
        """
        where = f" on {' '.join(self.hosts)}" if self.hosts else ""
        why = f" ({self.reason})" if self.reason not in ("", "None") else ""
        workers = f"{len(self.workers)} of {self.expected_workers} workers"
        lost = "".join(f", {host} lost" for host in self.lost_hosts)
        return printable(f"<job {self.id}: {self.phase.value}, {self.state.value}{why}{where}, {workers}{lost}>")

    def _repr_html_(self) -> str:
        # Not before somebody looks.
        from corral.jobs.notebook import job_html

        return job_html(self)

    @property
    def phase(self) -> Phase:
        """WAITING, WORKING and so on: where it stands with corral; `state` is the batch system's word.

        ========== ================================================= ==============================================
        phase      the job                                           may become
        ========== ================================================= ==============================================
        WAITING    has not started                                   STARTING, WORKING, DRAINING, CANCELLING, ENDED
        STARTING   has started, and has no workers yet, or none now  WAITING, WORKING, DRAINING, CANCELLING, ENDED
        WORKING    has workers                                       STARTING, DRAINING, CANCELLING, ENDED
        DRAINING   finishes what it is doing, and ends by itself     WAITING, WORKING, CANCELLING, ENDED
        CANCELLING is being ended                                    ENDED
        ENDED      is over                                           WORKING, DRAINING, CANCELLING
        ========== ================================================= ==============================================

        A job that is requeued waits again. One whose end was believed comes back when a worker of it does, or, while
        the cluster closes, when the batch system lists it after all.
        """
        if self.ended_at is not None:
            return Phase.ENDED
        if self.stop_reason is not None:
            drains = self.retire_asked_at is not None and self.cancel_asked_at is None
            return Phase.DRAINING if drains and self.stop_reason is not StopReason.CLOSING else Phase.CANCELLING
        if self.leaving:
            return Phase.DRAINING
        if self.workers:
            return Phase.WORKING
        return Phase.WAITING if self.started_at is None else Phase.STARTING

    @property
    def is_leaving(self) -> bool:
        """True if it lives and is about to end: corral wants it to, or its launcher has said so."""
        return self.ended_at is None and (self.stop_reason is not None or self.leaving != "")

    @property
    def condition(self) -> str:
        """``connected``, ``draining``, ``pending`` and so on: how it stands, in one or a few words."""
        if self.is_leaving:
            return "draining" if self.phase is Phase.DRAINING else "being cancelled"
        if self.is_connected:
            return "connected"
        if self.state is JobState.RUNNING and self.lost_workers_at is not None:
            return "running without workers"
        return self.state.value

    @property
    def state(self) -> JobState:
        """PENDING, RUNNING and so on; a job whose worker is connected is RUNNING, whatever was polled last."""
        if self.workers and self.ended_at is None:
            return JobState.RUNNING
        return self.status.state

    @property
    def reason(self) -> str:
        return self.status.reason

    @property
    def exit_code(self) -> int | None:
        return self.status.exit_code

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(host for host in self.status.hosts if host not in self.lost_hosts)

    @property
    def lost_hosts(self) -> tuple[str, ...]:
        """The nodes that died while the rest of the job went on."""
        return tuple(str(node) for node in self.nodes if node.is_lost)

    @property
    def has_ended(self) -> bool:
        return self.ended_at is not None

    @property
    def left_in_good_time(self) -> bool:
        """True if it ended by itself as its launcher had said: its walltime was near, or somebody had it retire."""
        # Where batch systems forget what has ended, nothing contradicts its launcher.
        is_well = self.status.state in (JobState.COMPLETED, JobState.UNKNOWN)
        return self.leaving not in ("", "signal") and is_well

    @property
    def is_connected(self) -> bool:
        """True if all of its workers are here."""
        return self.ended_at is None and len(self.workers) >= self.expected_workers

    @property
    def works_until(self) -> float | None:
        """When it stops being of use, if that can be foreseen; its replacement should be there by then."""
        if self.spent_at is None or self.leaves_at is None:
            return self.leaves_at if self.spent_at is None else self.spent_at
        return min(self.leaves_at, self.spent_at)

    @property
    def is_capacity(self) -> bool:
        """True if it gives workers, or will: it lives, nobody wants it to end, and its time is not up.

        A job that leaves because of a signal still counts until the batch system says why: it may have been
        preempted, or cancelled by somebody who does not want another.
        """
        return self.ended_at is None and self.stop_reason is None and self.leaving in ("", "signal")

    @property
    def is_hopeless(self) -> bool:
        """True if it is waiting, and the batch system says that it will never start."""
        return self.ended_at is None and not self.workers and self.status.hopeless != ""

    @property
    def is_lingering(self) -> bool:
        """True if nobody wants it any more, and it neither ends by itself nor has the batch system agreed to end it."""
        if self.ended_at is not None or self.stop_reason not in (StopReason.SURPLUS, StopReason.BREAKER):
            return False
        return not self.is_cancel_accepted and (self.retire_asked_at is None or self.cancel_asked_at is not None)


class Jobs(tuple[JobRecord, ...]):
    """The jobs of a cluster, oldest first; and how many more are wanted that the batch system does not take now."""

    #: Jobs that are wanted and not submitted: they are tried again when there is room.
    unsubmitted: int
    #: Why, in the batch system's words; empty if nothing stands against them.
    why: str

    def __new__(cls, records: Iterable[JobRecord], unsubmitted: int = 0, why: str = "") -> Jobs:
        jobs = super().__new__(cls, records)
        jobs.unsubmitted = unsubmitted
        jobs.why = why
        return jobs

    def __repr__(self) -> str:
        """Return a line for each job, and one for those that are not submitted."""
        lines = [repr(record) for record in self]
        if len(lines) > _SHOWN:
            lines[_SHOWN // 2 : -(_SHOWN // 2)] = [f"... {len(lines) - _SHOWN} more ..."]
        if self.unsubmitted:
            lines.append(f"<{self.unsubmitted} not submitted{f': {self.why}' if self.why else ''}>")
        return "\n".join(lines) or "no jobs"

    def _repr_html_(self) -> str:
        # Not before somebody looks.
        from corral.jobs.notebook import jobs_html

        return jobs_html(self)


#: How many jobs a listing shows before it leaves out those in the middle.
_SHOWN = 40


def outcome(record: JobRecord) -> Outcome:
    """What the end of this job means. It must have ended."""
    assert record.ended_at is not None
    if record.stop_reason not in (None, StopReason.UNRESPONSIVE, StopReason.LOST_WORKERS):
        return Outcome.WANTED
    state = record.status.state
    if state in (JobState.NODE_FAILED, JobState.PREEMPTED):
        return Outcome.LOST
    if record.stop_reason is not None:
        return Outcome.LOST if _was_healthy(record, record.lost_workers_at) else Outcome.DIED
    if state is JobState.OUT_OF_MEMORY:
        return Outcome.DIED
    if state is JobState.CANCELLED:
        return Outcome.OPERATOR
    # Somebody took it out of the queue, or the batch system has lost it: not every one keeps a trace. Nothing was
    # said, so it is nobody's wish; and it never ran, so it is nobody's failure.
    if state is JobState.UNKNOWN and record.was_listed and record.started_at is None:
        return Outcome.LOST
    if record.connected_at is None:
        return Outcome.DIED
    if record.leaving or state is JobState.TIMEOUT or _was_healthy(record, record.ended_at):
        return Outcome.LOST
    return Outcome.DIED


def _was_healthy(record: JobRecord, until: float | None) -> bool:
    return record.connected_at is not None and until is not None and until - record.connected_at >= HEALTHY_AFTER


def _shown(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(printable_lines(line) for line in lines)


@frozen(kw_only=True)
class JobFailure:
    """A job that ended without being asked to, with the evidence."""

    job: JobRecord
    outcome: Outcome
    #: The last lines of its log, as they may be shown; empty if there is none.
    log_tail: tuple[str, ...] = field(default=(), converter=_shown)
    #: What usually helps; empty if nothing is known.
    hint: str = ""

    @property
    def cause(self) -> str:
        """Why it ended, in a line."""
        return describe_end(self.job)

    @property
    def kind(self) -> object:
        """Equal for failures that are alike, whatever their hosts and logs."""
        status = self.job.status
        had_workers = self.job.connected_at is not None
        # Whoever tells of a job's end first, its own script or the batch system, tells its code. The latter's reason
        # (NonZeroExitCode) says no more.
        has_code = status.exit_code is not None or status.signal is not None
        reason = "" if has_code else status.reason
        return (self.job.group, status.state, reason, status.exit_code, status.signal, had_workers, self.hint)

    def __str__(self) -> str:
        text = f"job {self.job.id}: {describe_end(self.job)}"
        if self.log_tail:
            text += "\n  last lines of its log" + (f" ({self.job.log})" if self.job.log else "") + ":"
            text += "".join(f"\n    {line}" for line in self.log_tail)
        elif self.job.log:
            text += f"\n  its log is empty or missing: {self.job.log}"
        if self.hint:
            text += f"\n  {self.hint}"
        return printable_lines(text)


def describe_end(record: JobRecord) -> str:
    """``FAILED (NonZeroExitCode), exit code 127, on n2, before a worker connected``."""
    status = record.status
    parts = [describe_final(status)]
    if record.connected_at is None:
        parts.append("before a worker connected")
    if record.leaving == "signal":
        parts.append("left after a warning signal" + " (preempted?)" * (status.state is JobState.COMPLETED))
    return ", ".join(parts)


def describe_final(status: JobStatus) -> str:
    """``FAILED (NonZeroExitCode), exit code 127, on n2``."""
    state = status.state.name
    if status.reason not in ("", "None", state):
        state += f" ({status.reason})"
    parts = [state]
    if status.exit_code is not None:
        parts.append(f"exit code {status.exit_code}")
    if status.signal is not None:
        parts.append(f"signal {status.signal}")
    if status.hosts:
        parts.append(f"on {' '.join(status.hosts)}")
    return ", ".join(parts)
