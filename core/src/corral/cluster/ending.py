"""Ending: jobs that are cancelled, and all of them when the cluster closes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field

from corral.cluster.engine_state import EngineState
from corral.cluster.following import JobFollower
from corral.cluster.launchers import Launchers
from corral.cluster.submitting import JobSubmitter
from corral.cluster.system import System
from corral.errors import counted
from corral.jobs.plan import pause_before_cancelling
from corral.jobs.record import JobRecord, StopReason
from corral.jobs.transitions import as_found, observe
from corral.plugin.values import JobId, JobState, JobStatus
from corral.text.logs import logger_of

logger = logger_of()

#: Before a cluster that closes cancels jobs, it looks for so long whether they are there (s)...
GLANCE = 5.0
#: ... and where it never sees any, it looks again for so long (s): batch systems come back.
DOUBT = 20.0
#: How long connected jobs may take to end by themselves while the cluster closes (s).
CLOSING_GRACE = 5.0


@define(kw_only=True, eq=False)
class JobEnder:
    """Has jobs of one batch system end.

    Why a job is to end, and what was asked of whom and when, is in its record. The ender itself knows only which two
    commands to cancel are under way: one for jobs that were never cancelled before, and one that repeats.
    """

    _state: EngineState
    _system: System
    _submitter: JobSubmitter
    _follower: JobFollower
    _launchers: Launchers
    _cancelling: asyncio.Task[None] | None = field(default=None, init=False)
    _cancelling_again: asyncio.Task[None] | None = field(default=None, init=False)

    def cancel(self, records: Sequence[JobRecord]) -> None:
        """Cancel all of them with one command; repetitions alone wait for room, and keep nothing else waiting."""
        is_new = any(record.cancel_asked_at is None for record in records)
        if is_new and (self._cancelling is None or self._cancelling.done()):
            self._cancelling = self._system.tasks.see_to_its_end(self._cancel(records))
        elif records and not is_new and (self._cancelling_again is None or self._cancelling_again.done()):
            self._cancelling_again = self._system.tasks.do_until_closing(self._cancel(records, again=True))

    async def end_all(self, deadline: float) -> None:
        """End its jobs, and see that they have ended; after the deadline (of `time.monotonic`), say which have not."""
        began = self._state.now()
        await self._begin_to_end_all()
        pauses = itertools.chain((0.1, 0.3, 0.6, 1.0, 2.0, 3.0), itertools.repeat(5.0))
        while living := self._follower.living() or await self._still_there(began):
            is_in_doubt = all(record.absent_since is not None for record in living)
            if time.monotonic() > deadline or (is_in_doubt and self._state.now() - began > DOUBT):
                self._tell_left(living, is_in_doubt=is_in_doubt)
                return
            await self._until_workers_have_left(began + CLOSING_GRACE)
            pause = next(pauses)
            await asyncio.sleep(pause)
            await self._follower.ask_while_closing([record.id for record in living], newer_than=pause / 2)
            now = self._state.now()
            if stubborn := [record for record in self._follower.living() if _is_stubborn(record, began, now)]:
                await self._cancel(stubborn)

    async def cancel_all(self, timeout: float) -> None:
        """End all of its jobs where nobody else can: the batch system is asked, and neither scheduler nor launchers.

        On any event loop: the scheduler's may have ended. Returns after `timeout` seconds at the latest, or when the
        batch system is done.
        """
        deadline = time.monotonic() + timeout
        living = await self._all_that_may_live()
        pauses = itertools.chain((0.3, 0.6, 1.0, 2.0, 3.0), itertools.repeat(5.0))
        is_cancelled = False
        while living:
            try:
                if not is_cancelled:
                    await self._system.batch.cancel(list(living))
                    is_cancelled = True
                answer = await self._ask_apart(living)
            except Exception as error:
                logger.warning("%s may be left: %s", counted(len(living), "job"), error, cluster=self._state.name)
            else:
                for job_id, status in answer.items():
                    # Nobody can hear of its workers any more.
                    record = evolve(living[job_id], workers=frozenset(), stop_reason=StopReason.CLOSING)
                    if self._state.roster.put(observe(record, status, self._state.now())).has_ended:
                        del living[job_id]
            if living and time.monotonic() > deadline:
                names = ", ".join(map(str, list(living)[:10]))
                left = [*living]
                logger.error("%d job(s) have not ended: %s", len(living), names, cluster=self._state.name, job=left)
                return
            if living:
                await asyncio.sleep(next(pauses))

    # --- cancelling and retiring --------------------------------------------------------------------------------

    async def _cancel(self, records: Sequence[JobRecord], *, again: bool = False) -> None:
        self._note_cancellation(records, cancel_asked_at=self._state.now())
        if not again:
            self._system.being_cancelled = frozenset(record.id for record in records)
        accepted: dict[str, Any] = {}
        try:
            await self._system.batch.cancel([record.id for record in records], again=again)
            accepted = {"is_cancel_accepted": True, "cancel_accepted_at": self._state.now(), "spared_at": None}
        except Exception as error:
            logger.warning(
                "cancelling %s failed; it will be tried again: %s", counted(len(records), "job"), error,
                cluster=self._state.name, job=[record.id for record in records],
            )  # fmt: skip
        finally:
            if not again:
                self._system.being_cancelled = frozenset()
        # A command that waited for room was given just now.
        self._note_cancellation(records, 1, cancel_asked_at=self._state.now(), **accepted)
        self._system.has_acted()
        self._state.changed(self._system)

    def _note_cancellation(self, records: Iterable[JobRecord], more: int = 0, **changes: Any) -> None:
        for record in records:
            record = self._state.roster.get(record.id) or record  # noqa: PLW2901 - the same job, better known
            self._state.roster.put(evolve(record, cancellations=record.cancellations + more, **changes))

    # --- closing ------------------------------------------------------------------------------------------------

    async def _begin_to_end_all(self) -> None:
        for record in self._follower.living():
            self._state.roster.put(evolve(record, stop_reason=StopReason.CLOSING))
        if any(not record.workers for record in self._follower.living()):
            # That they are absent afterwards means something only if they were there before.
            await self._follower.glance(GLANCE)
        if waiting := [record for record in self._follower.living() if not record.workers]:
            await self._cancel(waiting)
        connected = [record.id for record in self._follower.living() if record.workers]
        await asyncio.gather(*(self._launchers.ask(job_id, "corral_stop") for job_id in connected))

    async def _until_workers_have_left(self, moment: float) -> None:
        """That workers leave is heard, not asked for; but not waited for beyond this moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, moment - self._state.now())):
                while any(record.workers for record in self._system.its(self._state.roster.jobs)):
                    await self._state.news.wait()

    def _tell_left(self, living: Sequence[JobRecord], *, is_in_doubt: bool) -> None:
        """Say which jobs are left, as far as is known."""
        names = ", ".join(str(record.id) for record in living[:10])
        blindness = self._follower.blindness
        logger.error(
            "%d job(s) %s: %s. `corral clean` will look for them again.", len(living),
            f"cannot be asked about ({blindness})" if blindness
            else f"are not listed by {self._system}, which never said that they ended" if is_in_doubt
            else "have not ended",
            names, cluster=self._state.name, job=[record.id for record in living],
        )  # fmt: skip

    async def _still_there(self, began: float) -> list[JobRecord]:
        """The jobs that are in the queue although their absence was once believed, and were not looked for since.

        Those that had workers cannot be among them: the workers have left.
        """
        missed: dict[tuple[str, str], list[JobRecord]] = {}
        for record in self._system.its(self._state.roster.jobs):
            was_sought = record.unfound_since is not None and record.unfound_since >= began
            if record.is_presumed and record.connected_at is None and not was_sought:
                missed.setdefault((record.group, record.name), []).append(record)
        for (group, name), records in missed.items():
            try:
                present = set(await self._state.blueprint.batch_of(group).find(name))
            except Exception as error:
                logger.warning("whether jobs of %s are left is not known: %s", name, error, cluster=self._state.name)
                present = {record.id for record in records}
            for record in records:
                if record.id in present:
                    self._state.roster.put(
                        evolve(as_found(record), stop_reason=StopReason.CLOSING, is_cancel_accepted=False)
                    )
                else:
                    self._state.roster.put(evolve(record, unfound_since=self._state.now()))
        if living := self._follower.living():
            await self._cancel(living)
        return self._follower.living()

    # --- without the scheduler ----------------------------------------------------------------------------------

    async def _all_that_may_live(self) -> dict[JobId, JobRecord]:
        """The jobs that are known to live, and those of uncertain submissions that the batch system finds."""
        living = {record.id: record for record in self._follower.living()}
        for group, script in self._submitter.uncertain_in(self._system):
            with suppress(Exception):
                found = await self._state.blueprint.batch_of(group.name).find(script.name)
                living |= {job_id: JobRecord(id=job_id, name=script.name) for job_id in found if job_id not in living}
        return living

    async def _ask_apart(self, living: Mapping[JobId, JobRecord]) -> dict[JobId, JobStatus | None]:
        """What the batch system says of each; what it does not list is believed gone when it is not found either."""
        answer = await self._system.batch.poll(list(living), urgent=True)
        absent = {record.name for job_id, record in living.items() if job_id not in answer}
        found = {job_id for name in absent for job_id in await self._system.batch.find(name)}
        statuses: dict[JobId, JobStatus | None] = {}
        for job_id, record in living.items():
            is_gone = job_id not in answer and job_id not in found
            gone = evolve(record.status, state=JobState.CANCELLED, native="", reason="") if is_gone else None
            statuses[job_id] = answer.get(job_id, gone)
        return statuses


def _is_stubborn(record: JobRecord, began: float, now: float) -> bool:
    """Whether to cancel a job (again) while the cluster closes, which began at that moment."""
    if record.cancel_asked_at is None:
        return now - began >= CLOSING_GRACE
    is_accepted = record.is_cancel_accepted and record.spared_at is None
    return not is_accepted and now - record.cancel_asked_at >= pause_before_cancelling(record.cancellations)
