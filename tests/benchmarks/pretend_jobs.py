"""A cluster of a thousand jobs on one host: a batch system that believes in them, and workers that nobody needs.

The engine, the scheduler, its pages and all that they cost are real; there is no process behind a job.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import evolve

from corral import Cluster, hookimpl
from corral.cluster.engine import Engine
from corral.jobs.record import JobFailure, JobRecord
from corral.plugin.values import Conversation, JobId, JobState, JobStatus, Script

#: Told of a job that waits, and one that has failed; hostile, as what comes from elsewhere may be.
REASON, LOG = "<b>Priority</b> \u202e", "</script><img src=x onerror=alert(1)>"


class PretendQueue:
    """A plugin around a backend's hooks: it takes jobs, says what it was told of them, and starts nothing."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, JobStatus] = {}
        self._arrays = itertools.count(1)

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Any:
        yield
        return self._take(count)

    def _take(self, count: int) -> Conversation[list[JobId]]:
        array = next(self._arrays)
        new = [JobId(f"{array}_{number}") for number in range(count)]
        self.jobs |= dict.fromkeys(new, JobStatus(state=JobState.PENDING, reason=REASON))
        return new
        yield  # a conversation that asks nothing

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Sequence[JobId]) -> Any:
        yield
        return self._say(job_ids)

    def _say(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        return {job_id: self.jobs[job_id] for job_id in job_ids if job_id in self.jobs}
        yield

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Sequence[JobId]) -> Any:
        yield
        return self._end(job_ids)

    def _end(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        self.jobs |= dict.fromkeys(job_ids, JobStatus(state=JobState.CANCELLED))
        return
        yield


def engine_of(cluster: Cluster) -> Engine:
    assert cluster._engine is not None
    return cluster._engine


def live(cluster: Cluster, queue: PretendQueue, *, step: float = 1.0, failing: int = 7) -> None:
    """Let the jobs have had lives of their own until now: on the cluster's event loop.

    Parameters
    ----------
    step
        How far apart they started (s).
    failing
        Each of so many has failed; another one waits, one starts, one drains. 0: all work.
    """
    engine = engine_of(cluster)
    roster, now = engine._state.roster, engine.now()
    count = len(roster.jobs)
    for number, record in enumerate(roster.jobs):
        began = now - (count - number) * step
        host = f"n{number % 250 + 1}"
        kind = number % failing if failing and number >= failing - 2 else -1
        running = JobStatus(state=JobState.RUNNING, hosts=(host,))
        record = evolve(record, submitted_at=began - 60 - 40 * (number % 5), was_listed=True)  # noqa: PLW2901
        if kind == 0:
            queue.jobs[record.id] = JobStatus(state=JobState.PENDING, reason=REASON)
            roster.put(evolve(record, status=queue.jobs[record.id]))
            continue
        queue.jobs[record.id] = running
        if kind == 1:
            roster.put(evolve(record, status=running, started_at=max(began, now - 60)))
            continue
        record = works(record, running, began)  # noqa: PLW2901
        if kind == 2:
            record = evolve(record, leaving="walltime", leaving_at=now - 60)  # noqa: PLW2901
        if kind == 3:
            failed = JobStatus(state=JobState.FAILED, exit_code=127, hosts=(host,))
            queue.jobs[record.id] = failed
            ended = now - (count - number) * step / 2
            record = evolve(record, status=failed, workers=frozenset(), ended_at=ended)  # noqa: PLW2901
            engine._state.failures.append(
                JobFailure(job=record, outcome=_died(record), log_tail=(LOG,), hint=f"Load the module: {LOG}")
            )
        roster.put(record)
    engine._state.tell()


def _died(record: JobRecord) -> Any:
    from corral.jobs.record import outcome

    return outcome(record)


def works(record: JobRecord, running: JobStatus, began: float) -> JobRecord:
    """It has a worker since a moment after it began."""
    return evolve(
        record, status=running, started_at=began, connected_at=began + 5, workers=frozenset({f"{record.id}-0"}),
        was_listed=True,
    )  # fmt: skip


def change(cluster: Cluster, numbers: Iterable[int]) -> None:
    """Some jobs' reasons and states change, as a poll would have it: on the cluster's event loop."""
    engine = engine_of(cluster)
    jobs = engine._state.roster.jobs
    for number in numbers:
        record = jobs[number % len(jobs)]
        if record.has_ended:
            continue
        leaves = not record.leaving
        since = engine.now() if leaves else None
        engine._state.roster.put(evolve(record, leaving="signal" if leaves else "", leaving_at=since))
    engine._state.tell()
