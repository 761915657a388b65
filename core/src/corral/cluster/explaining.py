"""Asking why jobs wait: of an engine's own jobs, and, from any process, of jobs that the batch system has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from attrs import define, evolve

from corral.batch.client import BatchSystem
from corral.batch.queues import queues_of
from corral.cluster.engine_state import EngineState
from corral.errors import BatchSystemError, ParseError
from corral.jobs.explanation import (
    HELD,
    NEVER,
    Explanation,
    Explanations,
    how_it_is,
    how_it_stands,
    to_be_explained,
    why_it_waits,
)
from corral.jobs.group import Group
from corral.jobs.record import JobRecord
from corral.plugin.values import Job, JobId, JobState, JobStatus
from corral.request import queues
from corral.text.logs import logger_of

logger = logger_of()

#: Somebody who waits for workers is told why they do not come after so long, and again (s).
TOLD_AFTER, TOLD_AGAIN = 30.0, 600.0


async def explain(
    batch: BatchSystem,
    job_id: JobId,
    status: JobStatus,
    *,
    asked: Job | None = None,
    identity: str = "",
    since: float | None = None,
) -> Explanation:
    """Ask why a job waits, and how its queue stands; of one that does not wait, nothing is asked.

    Parameters
    ----------
    status
        What was polled of it last.
    asked
        What it asks for; None: that is not known, and its queue is not looked at.
    identity, since
        As for `queues_of`: what is free changes all the time, and one answer serves all jobs of one question.

    Raises
    ------
    BatchSystemError, ParseError
        It does not say. Where only the queues are not told, the rest is.
    """
    if not status.state.is_waiting:
        return Explanation(job=str(job_id), state=status.state, why=how_it_is(status))
    words = why_it_waits(status, await batch.explain(job_id))
    about = ""
    if asked is not None and status.state is not JobState.HELD and not words.startswith(HELD):
        try:
            about = queues.about(asked, await queues_of(batch, identity, since=since, is_further=True))
        except (BatchSystemError, ParseError) as error:
            logger.info("nothing is known of the queues: %s", error)
    return Explanation(
        job=str(job_id),
        state=status.state,
        why=words,
        expected_start=status.expected_start,
        never_starts=words.startswith(NEVER),
        queues=about,
    )


@define(kw_only=True, eq=False)
class Explaining:
    """Says why the jobs of an engine wait. What is learnt is kept with the group, for whoever looks at the cluster."""

    _state: EngineState

    async def of(self, job: str | None) -> Explanations:
        """Of one job, or of one that waits in each group; of groups that lack jobs and have none waiting, that.

        Raises
        ------
        LookupError
            There is no such job.
        BatchSystemError, ParseError
        """
        began = time.monotonic()
        records = self._state.roster.jobs
        if job is not None:
            named = next((record for record in records if str(record.id) == job), None)
            if named is None:
                raise LookupError(f"cluster {self._state.name} has no job {job}")
            return Explanations([await self._one(named, began)])
        chosen = to_be_explained(records)
        found = [await self._one(record, began) for record in chosen]
        waiting = {record.group for record in chosen}
        short = [group for group in self._state.groups.values() if group.name not in waiting and self._is_short(group)]
        return Explanations([*found, *map(self._without_jobs, short)])

    async def _one(self, record: JobRecord, began: float) -> Explanation:
        state, group = self._state, self._state.groups.get(record.group)
        if not record.state.is_waiting or record.has_ended or group is None:
            return Explanation(
                job=str(record.id),
                cluster=state.name,
                group=record.group,
                state=record.state,
                why=how_it_stands(record),
            )
        blueprint = state.blueprint
        found = await explain(
            blueprint.batch_of(record.group),
            record.id,
            record.status,
            asked=group.asked,
            identity=blueprint.identity(blueprint.batch_of(record.group)),
            since=began,
        )
        group.learn_why(record, found.why, state.now())
        if group.tell_hopeless(state.roster.jobs):
            state.tell()
        choice = blueprint.choices.get(record.group)
        return evolve(found, cluster=state.name, group=record.group, choice="" if choice is None else str(choice))

    def _is_short(self, group: Group) -> bool:
        return bool(group.count_unsubmitted(self._state.roster.jobs)) or group.trouble is not None

    def _without_jobs(self, group: Group) -> Explanation:
        why = group.trouble_in_words() or group.because or "nothing was submitted yet"
        return Explanation(cluster=self._state.name, group=group.name, why=why)


@contextlib.asynccontextmanager
async def telling(
    name: str,
    explain: Callable[[], Awaitable[Explanations]],
    whereabouts: Callable[[], str],
    *,
    awaited: str = "workers",
    level: int = logging.WARNING,
) -> AsyncIterator[None]:
    """Around waiting for workers, or for what is `awaited`: say after a while why nothing comes, and then again.

    Parameters
    ----------
    name
        The cluster's.
    explain, whereabouts
        Why jobs wait; and where they are, which serves where nobody says why.
    level
        Of the message: less, where the same is shown.
    """

    async def tell() -> None:
        await asyncio.sleep(TOLD_AFTER)
        while True:
            try:
                words = "; ".join(map(str, await explain()))
            except Exception as error:
                # Of a plugin, too: who waits for workers goes on waiting.
                logger.info("why jobs wait is not known: %s", error, cluster=name)
                words = ""
            logger.log(level, "still waiting for %s: %s", awaited, words or whereabouts(), cluster=name)
            await asyncio.sleep(TOLD_AGAIN)

    task = asyncio.create_task(tell(), name="corral telling")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
