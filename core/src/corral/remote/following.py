"""What becomes of a scheduler's job while somebody waits for it, or for its end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from corral.batch.client import BatchSystem
from corral.batch.rhythm import Rhythm
from corral.cluster.explaining import explain
from corral.errors import BatchSystemError, JobsFailed, ParseError
from corral.jobs import logs
from corral.jobs.explanation import Explanations
from corral.jobs.record import JobRecord
from corral.jobs.transitions import must_be_sought, observe, sought
from corral.plugin.values import JobId
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from corral.remote.locate import Residence

logger = logger_of()


async def looked_at(batch: BatchSystem, record: JobRecord, *, urgent: bool = True) -> JobRecord:
    """What is known of a lone job after the batch system was asked for it now: by its name too, if it is not listed.

    Raises
    ------
    BatchSystemError, ParseError
    """
    status = (await batch.poll([record.id], urgent=urgent)).get(record.id)
    record = observe(record, status, time.monotonic())
    if must_be_sought(record, time.monotonic(), lists_none=True):
        is_found = record.id in await batch.find(record.name, waits=not urgent)
        record = sought(record, time.monotonic(), is_found=is_found, lists_none=True)
    return record


class SchedulerFollower:
    """What becomes of the scheduler's job while somebody waits for it."""

    def __init__(self, residence: Residence) -> None:
        self._residence = residence
        entry = residence.entry
        self._rhythm = Rhythm.often() if residence.batch.facts.is_free_to_ask else Rhythm()
        now = time.monotonic()
        self._rhythm.changed(now)
        self._record = JobRecord(
            id=JobId(entry.scheduler_job), name=entry.scheduler_name, log=entry.scheduler_log, submitted_at=now
        )
        #: What is known of it.
        self.words = ""

    async def look(self) -> None:
        """Ask the batch system, if it is time to.

        Raises
        ------
        JobsFailed
            The job has ended.
        """
        before, now = self._record, time.monotonic()
        if not before.id.text or self._rhythm.due() > now:
            return
        try:
            self._record = await looked_at(self._residence.batch, before)
        except (BatchSystemError, ParseError) as error:
            self.words = str(error)
        else:
            if self._record.has_ended:
                failures = await asyncio.to_thread(logs.examine, [self._record], self._residence.home.files)
                raise JobsFailed(f"the scheduler of cluster {self._residence.entry.name!r} has ended", failures)
            reason = f" ({self._record.reason})" if self._record.reason not in ("", "None") else ""
            words = f"its job is {self._record.state.value}{reason}"
            if words != self.words:
                logger.info("%s", words, cluster=self._residence.entry.name)
            self.words = words
        self._rhythm.polled(time.monotonic())

    async def explained(self) -> Explanations:
        """Why it waits; nothing if it does not, or nobody knows its id yet.

        Raises
        ------
        BatchSystemError, ParseError
        """
        record = self._record
        if not record.id.text or not record.state.is_waiting:
            return Explanations()
        return Explanations([await explain(self._residence.batch, record.id, record.status)])
