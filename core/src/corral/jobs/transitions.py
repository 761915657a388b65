"""How what is known of a job grows: by answers of the batch system, by its workers, by its nodes; pure functions.

Each takes a `JobRecord` and returns another. Which phases follow each other by them is told at `JobRecord.phase`.
"""

from __future__ import annotations

from attrs import evolve

from corral.jobs import nodes
from corral.jobs.nodes import Node
from corral.jobs.record import JobRecord
from corral.plugin.values import JobState, JobStatus

#: How long a batch system may fail to list a job before it is looked for by its name (s). Controllers forget jobs for
#: a moment right after a submission and while they restart.
ABSENCE_GRACE = 60.0
#: Where nothing but its absence speaks for the end of a job, it must not be found by its name either, twice, and so
#: far apart (s): a controller that fails over may answer for a minute and a half, with success, that there is nothing.
SOUGHT_AGAIN_AFTER = 120.0
#: How long a job that was cancelled before it was ever listed may still turn up (s).
UNSEEN_GRACE = 2.0
#: A job whose workers have just left is not waiting again, whatever an answer says, for so long (s): some batch systems
#: tell late that it began.
REQUEUE_GRACE = 10.0


def observe(record: JobRecord, status: JobStatus | None, now: float) -> JobRecord:
    """What is known after a poll that asked for this job; `status` is None if the batch system did not list it.

    That alone never ends a job: see `is_gone`.
    """
    if record.has_ended:
        return record
    if status is None:
        return _unlisted(record, now)
    if status.is_ending and record.stop_reason is not None:
        # It was corral that wanted it to end, and sees to it that it is gone.
        status = evolve(status, state=JobState.RUNNING)
    if status.state.is_waiting and _has_just_worked(record, now):
        # Its workers are the better witness: the answer is older than they are, or late.
        status = _at_work(status)
    if status.state.is_waiting and record.started_at is not None and not record.workers:
        record = _anew(record)
        for node in record.nodes:
            record = _regained(record, node.index)
    if status.state is JobState.SUSPENDED and record.lost_workers_at is not None:
        record = evolve(record, lost_workers_at=now)  # patience begins when it goes on
    started = record.started_at
    if started is None and not status.state.is_waiting:
        started = now
    return evolve(
        record,
        status=status,
        was_listed=True,
        absent_since=None,
        was_absent_before=False,
        unfound_since=None,
        started_at=started,
        ended_at=now if status.state.is_final else None,
        workers=frozenset() if status.state.is_final else record.workers,
    )


def _anew(record: JobRecord) -> JobRecord:
    """The same of a job that was requeued: it keeps its id, and begins once more."""
    return evolve(
        record, started_at=None, connected_at=None, lost_workers_at=None, leaves_at=None, leaving="", leaving_at=None
    )


def _has_just_worked(record: JobRecord, now: float) -> bool:
    if record.workers:
        return True
    return record.lost_workers_at is not None and now - record.lost_workers_at < REQUEUE_GRACE


def _at_work(status: JobStatus) -> JobStatus:
    """The same of a job that has begun: why it waited is no longer true."""
    if status.state in (JobState.RUNNING, JobState.SUSPENDED):
        return status
    return evolve(status, state=JobState.RUNNING, native="", reason="", hopeless="")


def _unlisted(record: JobRecord, now: float) -> JobRecord:
    if record.workers or record.absent_since is not None:
        return record  # One with workers is alive: they talk to us.
    return evolve(record, absent_since=now, was_absent_before=not record.is_cancel_accepted)


def is_gone(record: JobRecord, now: float, *, lists_none: bool, is_unfound: bool) -> bool:
    """True if the absence of a job is to be believed.

    Parameters
    ----------
    lists_none
        The answer that lacks it lists no living job of the cluster: it may be the batch system that knows nothing.
    is_unfound
        It was just looked for by its name too, and not found.
    """
    if record.has_ended or record.workers or record.absent_since is None:
        return False
    was_cancelled = (
        record.is_cancel_accepted
        and record.cancel_asked_at is not None
        and (record.was_listed or now - record.cancel_asked_at >= UNSEEN_GRACE)
    )
    if was_cancelled and not lists_none:
        return True
    if not is_unfound:
        return False
    # Its workers are a second witness.
    has_lost_workers = record.lost_workers_at is not None
    if was_cancelled and (has_lost_workers or not record.was_absent_before):
        return True
    if now - record.absent_since < ABSENCE_GRACE:
        return False
    return has_lost_workers or not lists_none or _was_sought_before(record, now)


def must_be_sought(record: JobRecord, now: float, *, lists_none: bool) -> bool:
    """True if it is time to look for an absent job by its name."""
    if record.has_ended or record.workers or record.absent_since is None:
        return False
    is_first_time = record.unfound_since is None and now - record.absent_since >= ABSENCE_GRACE
    return is_first_time or is_gone(record, now, lists_none=lists_none, is_unfound=True)


def sought(record: JobRecord, now: float, *, is_found: bool, lists_none: bool) -> JobRecord:
    """What is known after an absent job was looked for by its name."""
    if is_found:
        return as_found(record)
    if is_gone(record, now, lists_none=lists_none, is_unfound=True):
        return presumed(evolve(record, unfound_since=now), now, lists_none=lists_none)
    return evolve(record, unfound_since=now if record.unfound_since is None else record.unfound_since)


def as_found(record: JobRecord) -> JobRecord:
    """The job is in the queue after all, even if its absence was believed once."""
    if record.is_presumed:
        status = evolve(record.status, state=JobState.PENDING, reason="")
        record = evolve(record, status=status, ended_at=None, is_presumed=False)
    return evolve(record, was_listed=True, absent_since=None, was_absent_before=False, unfound_since=None)


def presumed(record: JobRecord, now: float, *, lists_none: bool) -> JobRecord:
    """The job has ended, as far as can be known."""
    state = JobState.UNKNOWN if record.cancel_asked_at is None else JobState.CANCELLED
    reason = "" if record.is_cancel_accepted else "the batch system no longer lists it"
    status = evolve(record.status, state=state, native="", reason=reason)
    return evolve(record, status=status, ended_at=now, is_presumed=lists_none)


def _was_sought_before(record: JobRecord, now: float) -> bool:
    return record.unfound_since is not None and now - record.unfound_since >= SOUGHT_AGAIN_AFTER


def spared(record: JobRecord, asked_at: float) -> JobRecord:
    """A question of this moment has shown that the job lives: if it was to be cancelled, that has not worked yet."""
    if record.has_ended or record.cancel_accepted_at is None or asked_at <= record.cancel_accepted_at:
        return record
    return evolve(record, spared_at=asked_at)


def connect(
    record: JobRecord, worker: str, now: float, *, ran: float | None = None, takes_own_place: bool = False
) -> JobRecord:
    """A worker of this job has registered with the Dask scheduler: it lives, even if it was given up.

    Parameters
    ----------
    ran
        Seconds that the job has run, as its launcher says; None: it does not say.
    takes_own_place
        It is the first, and came where another job of this cluster had just ended.
    """
    if record.leaving and record.lost_workers_at is not None:
        record = _anew(record)  # evicted, and back sooner than anybody asked
    started = now if record.started_at is None else record.started_at
    if ran is not None and record.connected_at is None:
        # The batch system is asked from time to time: most starts are not seen, others late.
        started = min(started, max(record.submitted_at, now - ran))
    connected = now if record.connected_at is None else record.connected_at
    if record.nodes:
        record = _regained(record, nodes.node_of(worker, record.workers_per_node))
    return evolve(
        record,
        status=_at_work(record.status),
        workers=record.workers | {worker},
        connected_at=connected,
        took_own_place=record.took_own_place or takes_own_place,
        lost_workers_at=None,
        started_at=started,
        absent_since=None,
        was_absent_before=False,
        unfound_since=None,
        ended_at=None,
        # Whatever cancellation was accepted has not worked.
        spared_at=now if record.is_cancel_accepted else None,
        is_presumed=False,
    )


def disconnect(record: JobRecord, worker: str, now: float) -> JobRecord:
    """A worker of this job is gone from the Dask scheduler."""
    workers = record.workers - {worker}
    if record.nodes:
        record = evolve(record, nodes=nodes.silenced(record.nodes, workers, record.workers_per_node, worker, now))
    return evolve(record, workers=workers, lost_workers_at=None if workers else now)


def lose_node(record: JobRecord, node: Node) -> JobRecord:
    """A node of this job is dead, or its launcher is: no workers are expected of it."""
    others = nodes.changed(record.nodes, node.index, is_lost=True)
    return evolve(record, nodes=others, expected_workers=record.expected_workers - record.workers_per_node)


def _regained(record: JobRecord, index: int) -> JobRecord:
    """A node gives workers (again), or will."""
    was_lost = any(node.is_lost for node in record.nodes if node.index == index)
    return evolve(
        record,
        nodes=nodes.changed(record.nodes, index, is_lost=False, silent_since=None),
        expected_workers=record.expected_workers + record.workers_per_node * was_lost,
    )
