"""The jobs of one cluster and their workers, as they are known now."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from attrs import frozen

from corral.jobs.record import JobRecord
from corral.jobs.transitions import connect, disconnect, is_gone, must_be_sought, observe, presumed, sought
from corral.plugin.values import JobId, JobState, JobStatus

#: How many jobs that have ended are remembered.
REMEMBERED = 1000
#: A job may have waited for another one of its cluster to end, if it came so soon after (s); of the latest, so many.
OWN_PLACE, LATEST = 60.0, 50

#: Hears of a job whose state changed: its id, the status before (None: new), the status after.
Listener = Callable[[JobId, JobStatus | None, JobStatus], None]

_WORKER = re.compile(r"(?P<job>.+?)(?:\.r\d+)?-\d+")


def job_of(worker: str) -> str | None:
    """The job that a worker belongs to, by its name: ``77_3`` of ``77_3-0``, or of ``77_3.r1-0`` after a requeue."""
    match = _WORKER.fullmatch(worker)
    return match["job"] if match else None


def takes_own_place(came: float, left: Iterable[float]) -> bool:
    """True if a job may have waited for one of its own cluster to end.

    Parameters
    ----------
    came, left
        When its first worker came, and when other jobs lost their last.
    """
    return any(0 <= came - moment <= OWN_PLACE for moment in left)


@frozen(kw_only=True)
class Lesson:
    """What an answer of the batch system has changed."""

    #: The jobs that have ended by it, and whether any state changed.
    ended: Sequence[JobRecord]
    is_changed: bool
    #: Jobs that it should have listed and did not, and that are not believed gone.
    absent: Sequence[JobRecord] = ()
    #: Those of them that must be looked for by their name now.
    to_seek: Sequence[JobRecord] = ()
    #: It lists no living job of the cluster.
    lists_none: bool = False


class Roster:
    """Records by job, workers by address. Changed on the event loop alone; may be read from any thread."""

    def __init__(self, listener: Listener) -> None:
        self._records: dict[JobId, JobRecord] = {}
        #: Ids by how they are written, as jobs name themselves.
        self._ids: dict[str, JobId] = {}
        #: Connected workers: their job, as it is written, and their name.
        self._workers: dict[str, tuple[str, str]] = {}
        #: The same by job.
        self._addresses: dict[str, set[str]] = {}
        #: Workers of jobs whose submission has not returned yet.
        self._early: dict[str, set[str]] = {}
        #: When jobs lost their last worker, by batch system.
        self._left: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._listener = listener

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        """All that are remembered, oldest first."""
        return tuple(self._records.values())

    def living(self) -> list[JobRecord]:
        return [record for record in self.jobs if not record.has_ended]

    def get(self, job_id: JobId) -> JobRecord | None:
        return self._records.get(job_id)

    def called(self, written: str) -> JobRecord | None:
        """The job whose id is written so."""
        job_id = self._ids.get(written)
        return None if job_id is None else self._records.get(job_id)

    def put(self, record: JobRecord) -> JobRecord:
        """Keep what is known of a job now."""
        if record.id not in self._records:
            self._ids[str(record.id)] = record.id
        self._records[record.id] = record
        return record

    def addresses(self, job_id: JobId) -> list[str]:
        """Where the connected workers of a job are."""
        return sorted(self._addresses.get(str(job_id), ()))

    def job_at(self, address: str) -> JobRecord | None:
        """The job to which the worker at this address belongs."""
        written, _ = self._workers.get(address, ("", ""))
        return self.called(written)

    # --- what is learnt -----------------------------------------------------------------------------------------

    def admit(self, records: Iterable[JobRecord], now: float) -> None:
        """Jobs were submitted, or found; those that are known already are left alone."""
        for record in records:
            if record.id in self._records:
                continue
            for worker in self._early.pop(str(record.id), ()):
                record = self._connected(record, worker, now)  # noqa: PLW2901 - the same job, better known
            self.put(record)
            self._listener(record.id, None, record.status)

    def learn(self, answer: Mapping[JobId, JobStatus], asked: Iterable[JobId], now: float) -> Lesson:
        """A poll was answered."""
        known = [record for job_id in asked if (record := self._records.get(job_id)) and not record.has_ended]
        lists_none = all(status.state.is_final and not status.is_ending for status in answer.values())
        # Their workers talk to us: such an answer is wrong, and says nothing of the other jobs that it lacks.
        is_wrong = lists_none and any(record.workers and record.id not in answer for record in known)
        ended: list[JobRecord] = []
        absent: list[JobRecord] = []
        is_changed = False
        for before in known:
            status = answer.get(before.id)
            if status is None and is_wrong:
                absent.append(before)
                continue
            after = observe(before, status, now)
            if is_gone(after, now, lists_none=lists_none, is_unfound=False):
                after = presumed(after, now, lists_none=lists_none)
            self.put(after)
            if after.has_ended:
                ended.append(after)
            elif status is None:
                absent.append(after)
            is_changed |= self._tell(before, after)
        to_seek = [record for record in absent if must_be_sought(record, now, lists_none=lists_none)]
        return Lesson(
            ended=ended,
            is_changed=is_changed,
            absent=absent,
            lists_none=lists_none,
            to_seek=[] if is_wrong else to_seek,
        )

    def sought(self, job_ids: Iterable[JobId], found: Collection[JobId], now: float, *, lists_none: bool) -> Lesson:
        """Absent jobs were looked for by their name."""
        ended: list[JobRecord] = []
        for job_id in job_ids:
            before = self._records[job_id]
            # While it was looked for, its worker may have come.
            if before.absent_since is None or before.has_ended:
                continue
            after = self.put(sought(before, now, is_found=job_id in found, lists_none=lists_none))
            if self._tell(before, after):
                ended.append(after)
        return Lesson(ended=ended, is_changed=bool(ended), lists_none=lists_none)

    def _tell(self, before: JobRecord, after: JobRecord) -> bool:
        """Tell the listener if a job's state has changed."""
        if not after.has_ended and after.status.state is before.status.state:
            return False
        self._listener(after.id, before.status, after.status)
        return True

    def worker_came(self, address: str, name: str, now: float, *, ran: float | None = None) -> bool:
        """A worker registered. False if it is none of ours.

        Parameters
        ----------
        ran
            Seconds that its job has run, as its launcher says; None: it does not say.
        """
        job = job_of(name)
        if job is None:
            return False
        self._workers[address] = (job, name)
        self._addresses.setdefault(job, set()).add(address)
        record = self.called(job)
        if record is None:
            self._early.setdefault(job, set()).add(name)
            return True
        after = self.put(self._connected(record, name, now, ran))
        if record.state is not after.state:
            # Nobody needs to poll for this; the batch system will say the same later.
            self._listener(record.id, record.status, JobStatus(state=JobState.RUNNING))
        return True

    def _connected(self, record: JobRecord, worker: str, now: float, ran: float | None = None) -> JobRecord:
        is_own = record.connected_at is None and takes_own_place(now, self._left[record.id.system])
        return connect(record, worker, now, ran=ran, takes_own_place=is_own)

    def worker_left(self, address: str, now: float) -> JobRecord | None:
        """A worker is gone; its job, if that lives."""
        job, name = self._workers.pop(address, ("", ""))
        if not job:
            return None
        self._addresses[job].remove(address)
        if not self._addresses[job]:
            del self._addresses[job]
            if (job_id := self._ids.get(job)) is not None:
                self._left[job_id.system].append(now)
        self._early.get(job, set()).discard(name)
        record = self.called(job)
        if record is None or record.has_ended:
            return None
        return self.put(disconnect(record, name, now))

    def forget_oldest(self) -> None:
        """Drop jobs that ended long ago: clusters live for weeks."""
        ended = [record for record in self.jobs if record.has_ended]
        for record in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._records[record.id]
            del self._ids[str(record.id)]
