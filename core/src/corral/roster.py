"""The jobs of one cluster and their workers, as they are known now."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from corral import jobs as lives
from corral.domain import JobId, JobState, JobStatus
from corral.jobs import JobRecord

#: How many jobs that have ended are remembered.
REMEMBERED = 1000

#: Hears of a job whose state changed: its id, the status before (None: new), the status after.
Listener = Callable[[JobId, JobStatus | None, JobStatus], None]

_WORKER = re.compile(r"(?P<job>.+?)(?:\.r\d+)?-\d+")


def job_of(worker: str) -> JobId | None:
    """The job that a worker belongs to, by its name: ``77_3-0``, or ``77_3.r1-0`` after a requeue."""
    match = _WORKER.fullmatch(worker)
    return JobId(match["job"]) if match else None


class Roster:
    """Records by job, workers by address. Changed on the event loop alone; may be read from any thread."""

    def __init__(self, listener: Listener) -> None:
        self._records: dict[JobId, JobRecord] = {}
        #: Connected workers: their job, and their name.
        self._workers: dict[str, tuple[JobId, str]] = {}
        #: The same by job.
        self._addresses: dict[JobId, set[str]] = {}
        #: Workers of jobs whose submission has not returned yet.
        self._early: dict[JobId, set[str]] = {}
        self._listener = listener

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        """All that are remembered, oldest first."""
        return tuple(self._records.values())

    def living(self) -> list[JobRecord]:
        return [record for record in self.jobs if not record.has_ended]

    def get(self, job_id: JobId) -> JobRecord | None:
        return self._records.get(job_id)

    def put(self, record: JobRecord) -> JobRecord:
        """Keep what is known of a job now."""
        self._records[record.id] = record
        return record

    def addresses(self, job_id: JobId) -> list[str]:
        """Where the connected workers of a job are."""
        return sorted(self._addresses.get(job_id, ()))

    def job_at(self, address: str) -> JobRecord | None:
        """The job to which the worker at this address belongs."""
        job_id, _ = self._workers.get(address, (None, ""))
        return None if job_id is None else self._records.get(job_id)

    # --- what is learnt -----------------------------------------------------------------------------------------

    def admit(self, records: Iterable[JobRecord], now: float) -> None:
        """Jobs were submitted, or found; those that are known already are left alone."""
        for record in records:
            if record.id in self._records:
                continue
            for worker in self._early.pop(record.id, ()):
                record = lives.connect(record, worker, now)  # noqa: PLW2901 - the same job, better known
            self.put(record)
            self._listener(record.id, None, record.status)

    def learn(
        self, answer: Mapping[JobId, JobStatus], asked: Iterable[JobId], now: float
    ) -> tuple[list[JobRecord], bool]:
        """A poll was answered.

        Returns
        -------
        tuple[list[JobRecord], bool]
            The jobs that have ended by it, and whether any state changed.
        """
        ended = []
        is_changed = False
        for job_id in asked:
            before = self._records.get(job_id)
            if before is None or before.has_ended:
                continue
            after = self.put(lives.observe(before, answer.get(job_id), now))
            if after.has_ended:
                ended.append(after)
            if after.has_ended or after.status.state is not before.status.state:
                is_changed = True
                self._listener(job_id, before.status, after.status)
        return ended, is_changed

    def worker_came(self, address: str, name: str, now: float) -> bool:
        """A worker registered. False if it is none of ours."""
        job_id = job_of(name)
        if job_id is None:
            return False
        self._workers[address] = (job_id, name)
        self._addresses.setdefault(job_id, set()).add(address)
        record = self._records.get(job_id)
        if record is None:
            self._early.setdefault(job_id, set()).add(name)
            return True
        after = self.put(lives.connect(record, name, now))
        if record.state is not after.state:
            # Nobody needs to poll for this; the batch system will say the same later.
            self._listener(job_id, record.status, JobStatus(state=JobState.RUNNING))
        return True

    def worker_left(self, address: str, now: float) -> JobRecord | None:
        """A worker is gone; its job, if that lives."""
        job_id, name = self._workers.pop(address, (None, ""))
        if job_id is None:
            return None
        self._addresses[job_id].remove(address)
        if not self._addresses[job_id]:
            del self._addresses[job_id]
        self._early.get(job_id, set()).discard(name)
        record = self._records.get(job_id)
        if record is None or record.has_ended:
            return None
        return self.put(lives.disconnect(record, name, now))

    def forget_oldest(self) -> None:
        """Drop jobs that ended long ago: clusters live for weeks."""
        ended = [record for record in self.jobs if record.has_ended]
        for record in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._records[record.id]
