"""Asking the launchers in the jobs: to finish what they do and end, or to end at once."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve

from corral.cluster.engine_state import EngineState
from corral.host import clock
from corral.jobs.record import JobRecord, StopReason
from corral.plugin.values import JobId
from corral.security.connections import connected
from corral.text.logs import logger_of

logger = logger_of()

#: How long results that no other worker can take are kept when the user scaled down (s).
RETIRE_PATIENCE = 10.0
#: How long a launcher may take to answer (s).
ANSWER_TIMEOUT = 10.0


@define(kw_only=True, eq=False)
class Launchers:
    """The launchers of jobs that have workers, whichever batch system has started them."""

    _state: EngineState

    def retire(self, record: JobRecord, why: StopReason, patience: float | None = RETIRE_PATIENCE) -> None:
        """Have a connected job end by itself when its tasks are done.

        Parameters
        ----------
        patience
            How long it keeps results that no other worker can take (s); None: as long as it may.
        """
        self._state.roster.put(evolve(record, stop_reason=why, retire_asked_at=self._state.now()))
        self._state.tasks.see_to_its_end(self._retire(record.id, patience))

    async def _retire(self, job_id: JobId, patience: float | None) -> None:
        record = self._state.roster.get(job_id)
        reason = StopReason.SURPLUS if record is None or record.stop_reason is None else record.stop_reason
        if not await self.ask(job_id, "corral_retire", reason=reason.value, patience=patience):
            record = self._state.roster.get(job_id)
            if record is not None and not record.has_ended:
                # It is unresponsive: now the plan will cancel it.
                self._state.roster.put(evolve(record, retire_asked_at=None))
        self._state.changed(self._state.systems[job_id.system])

    async def ask(self, job_id: JobId, operation: str, **arguments: Any) -> bool:
        """Call one of the job's nannies, which live in its launcher. False if none answers."""
        for address in self._state.roster.addresses(job_id):
            worker = self._state.scheduler.workers.get(address)
            if worker is None or not worker.nanny:
                continue
            try:
                # Not by the scheduler's pool, which would keep a connection to each launcher that there ever was.
                async with (
                    clock.timeout(ANSWER_TIMEOUT),
                    connected(worker.nanny, self._state.scheduler.connection_args) as launcher,
                ):
                    await getattr(launcher, operation)(**arguments)
            except Exception as error:
                # Also what it raised itself, which comes as it was raised there: what it was asked is not done.
                logger.info("job %s does not answer: %r", job_id, error, cluster=self._state.name, job=job_id)
            else:
                return True
        return False
