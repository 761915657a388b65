"""Remembering how long jobs wait, for this user's other clusters, and learning from what those remember."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence

from attrs import define, field

from corral.cluster import kept_waits
from corral.cluster.engine_state import EngineState
from corral.cluster.submitting import JobSubmitter
from corral.jobs.group import Group
from corral.jobs.record import JobRecord
from corral.plugin.values import JobId, JobState
from corral.request.blueprint import Blueprint
from corral.scaling.history import Asked, Wait, advice, likely
from corral.text.logs import logger_of
from corral.text.printable import printable

logger = logger_of()

#: How often waits are written down, if there are any (s).
INTERVAL = 30.0
#: So long after its first worker came, a job's wait is written down although the batch system has not said when it
#: started (s): it is asked less often when all goes well.
SETTLED = 60.0
#: So many jobs of one submission are enough: their waits are much alike.
SAMPLE = 100


@define(kw_only=True, eq=False)
class WaitKeeper:
    """Writes down how long each job waited, and lets groups begin with what such jobs waited before.

    The embedded queue is no batch system: whether its jobs wait depends on what this user runs on this very host, which
    the queue itself can tell. Its waits would tell other clusters, on other hosts, nothing. So of a backend that is
    available everywhere nothing is remembered.
    """

    _state: EngineState
    _submitter: JobSubmitter
    #: What jobs of other clusters, and of this one, have waited.
    _history: Sequence[Wait] = field(default=(), init=False)
    #: By group, what its jobs ask for.
    _asked: dict[str, Asked] = field(factory=dict, init=False)
    #: Jobs whose waits are written down, or will not be.
    _done: set[JobId] = field(factory=set, init=False)
    _told: set[str] = field(factory=set, init=False)
    _is_at_work: bool = field(default=False, init=False)
    #: Two threads may write: when the cluster closes, the one before may not have finished.
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def _remembers(self, group: str) -> bool:
        """False if nothing of it is to be remembered: the user does not want it, or there is nothing to learn."""
        blueprint = self._state.blueprint
        return blueprint.settings.remember_waits and not blueprint.batch_of(group).facts.is_everywhere

    async def start(self) -> None:
        """Read what is remembered, let the groups begin with that, and from now on add to it."""
        groups = [group for group in self._state.groups.values() if self._remembers(group.name)]
        if not groups:
            return
        self._is_at_work = True
        try:
            self._history = await asyncio.to_thread(kept_waits.read)
        except OSError as error:
            logger.debug("no waits of other clusters are known: %s", error, cluster=self._state.name)
        for group in groups:
            self.prime(group)
            self._advise(group)
        self._state.tasks.do_until_closing(self._keep(), name="corral waits")

    def know(self, group: Group) -> None:
        """Do for a group that has just come what was done for the others; it may be the first of which to remember."""
        if self._is_at_work:
            self.prime(group)
        elif self._remembers(group.name):
            self._state.tasks.do_until_closing(self.start(), name="corral waits")

    def prime(self, group: Group) -> None:
        """Let a new group begin with what such jobs waited before."""
        if self._remembers(group.name):
            self._asked[group.name] = asked = asked_of(self._state.blueprint, group.name)
            group.expect(*likely(self._history, asked, time.time()))

    def _advise(self, group: Group) -> None:
        """Say what would start sooner."""
        for each in advice(self._history, self._asked[group.name], time.time()):
            if (line := printable(str(each))) not in self._told:
                self._told.add(line)
                logger.warning("%s", line, cluster=self._state.name)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await asyncio.to_thread(self.write)

    def write(self, *, at_once: bool = False) -> None:
        """Write down what is known and was not written before; waits for a disk.

        Parameters
        ----------
        at_once
            The cluster closes: nobody will learn any better when a job started.
        """
        if not self._asked:
            return
        with self._lock:
            try:
                if waits := self._news(at_once=at_once):
                    self._history = kept_waits.bounded([*self._history, *waits])
                    kept_waits.add(waits, time.time())
            except OSError as error:
                logger.debug("waits are not remembered: %s", error, cluster=self._state.name)
            except Exception:
                logger.exception("waits could not be written down", cluster=self._state.name)

    def _news(self, *, at_once: bool) -> list[Wait]:
        now, records = self._state.now(), self._state.roster.jobs
        counts = Counter(record.name for record in records)
        uncertain = {script.name for _, script in self._submitter.uncertain}
        self._done &= {record.id for record in records}
        found = []
        for record in records:
            if record.id in self._done:
                continue
            # Nobody knows when it was submitted, or whether it could have started.
            is_odd = (
                record.name in uncertain
                or record.is_presumed
                or record.took_own_place
                or record.status.state is JobState.HELD
            )
            if is_odd or (record.connected_at is not None and (at_once or _is_settled(record, now))):
                self._done.add(record.id)
                asked = self._asked.get(record.group)
                if not is_odd and asked is not None and _is_sampled(record, counts[record.name]):
                    found.append(wait_of(record, asked, count=counts[record.name], epoch=time.time() - now))
        return found


def asked_of(blueprint: Blueprint, group: str) -> Asked:
    """What the jobs of a group ask for."""
    job = blueprint.request(group, 1)
    batch = blueprint.batch_of(group)
    named = {name: os.environ[name] for name in sorted(batch.facts.carried) if name in os.environ}
    own = "\n".join(job.extra_directives)
    return Asked(
        backend=batch.backend,
        server=printable(" ".join(f"{name}={value}" for name, value in named.items()))[:500]
        if blueprint.elsewhere is None
        else blueprint.elsewhere.via,
        queue=printable(job.queue or "")[:500],
        directives=hashlib.blake2s(own.encode(errors="replace"), digest_size=8).hexdigest() if own else "",
        nodes=job.resources.nodes,
        cores=job.resources.cores,
        memory=job.resources.memory or 0,
        gpus=job.resources.gpus,
        walltime=job.walltime,
    )


def wait_of(record: JobRecord, asked: Asked, *, count: int, epoch: float) -> Wait:
    """How long a job waited that has had a worker.

    Parameters
    ----------
    count
        How many jobs were submitted with it, itself included.
    epoch
        When the clock of all records began, in seconds since the epoch.
    """
    assert record.connected_at is not None
    took = max(0.0, record.connected_at - record.submitted_at)
    waited = _waited(record)
    start_up = None if waited is None else took - min(waited, took)
    return Wait(
        asked=asked,
        submission=printable(record.name)[:500],
        job=printable(record.id.text)[:500],
        count=count,
        submitted=round(max(0.0, epoch + record.submitted_at), 1),
        waited=round(took - (start_up or 0.0), 1),
        started_up=None if start_up is None else round(start_up, 1),
    )


def _waited(record: JobRecord) -> float | None:
    """Seconds until a job started; None: nobody saw it before its worker."""
    status = record.status
    if status.started is not None and status.submitted is not None:
        # Both on the batch system's own clock; answers come late.
        return max(0.0, status.started - status.submitted)
    if record.started_at is not None and record.connected_at is not None and record.started_at < record.connected_at:
        return max(0.0, record.started_at - record.submitted_at)
    return None


def _is_settled(record: JobRecord, now: float) -> bool:
    assert record.connected_at is not None
    return record.status.started is not None or now - record.connected_at >= SETTLED


def _is_sampled(record: JobRecord, count: int) -> bool:
    """True for about `SAMPLE` jobs of a submission, by their ids: those that started soon, and those that did not."""
    return zlib.crc32(record.id.text.encode()) * count < SAMPLE * 2**32
