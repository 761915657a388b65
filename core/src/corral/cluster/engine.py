"""Keeps the jobs that are wanted: plans again whenever something changed, and has its parts carry the plans out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from corral.cluster.ending import JobEnder
from corral.cluster.engine_state import EngineState
from corral.cluster.explaining import Explaining
from corral.cluster.following import JobFollower
from corral.cluster.giving_up import give_up
from corral.cluster.keeping_waits import WaitKeeper
from corral.cluster.launchers import Launchers
from corral.cluster.submitting import JobSubmitter
from corral.cluster.system import System
from corral.cluster.tally import Tally
from corral.cluster.waiting import Waiting
from corral.cluster.workers import WorkerFollower
from corral.errors import InvalidRequest
from corral.jobs import exit_codes, logs
from corral.jobs.explanation import Explanations
from corral.jobs.group import Group
from corral.jobs.group_state import proved, rescaled, resized
from corral.jobs.plan import plan
from corral.jobs.record import JobFailure, JobRecord, StopReason
from corral.jobs.table import Roster
from corral.jobs.worker_failures import WorkerFailure
from corral.plugin.values import JobId
from corral.request.blueprint import Blueprint
from corral.request.worker_group import WorkerGroup
from corral.scaling.demand import DemandCounter
from corral.scaling.usage import Census
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from corral.cluster.scheduler import Scheduler

logger = logger_of()


@frozen(kw_only=True)
class Care:
    """Who looks after the jobs that one batch system has."""

    system: System
    follower: JobFollower
    ender: JobEnder


class Engine:
    """The jobs of one cluster, beside its Dask scheduler.

    Its state is an `EngineState`: a record of each job, a `Group` for each group that says what it wants and what
    troubles it, and two events, one that wakes the engine and one for whoever waits. Beside it the engine has only its
    loop. Its parts change that state, and have three duties:

    - submitting: `JobSubmitter` brings jobs to the batch system, and knows which submissions may have landed unseen;
    - following: `JobFollower` learns from the batch system's answers and from what jobs write, `WorkerFollower` from
      workers that come and leave, and from what launchers report;
    - ending: `JobEnder` cancels jobs, and ends all of them when the cluster closes; `Launchers` has them retire.

    Each `System`, of which a cluster normally has one, has a follower and an ender of its own (`Care`).

    Whatever they learn changes a record or a group, wakes the loop, and leads to a new plan. `Waiting` tells those who
    wait what has come of it, and `WaitKeeper` remembers for other clusters how long jobs have waited.

    Its methods run on the event loop; its properties may be read from any thread.
    """

    def __init__(
        self,
        *,
        blueprint: Blueprint,
        scheduler: Scheduler,
        replacements_per_hour: int | None = None,
        on_change: Callable[[], None] = lambda: None,
        announce: Callable[[str], None] = lambda _: None,
        settle: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Know the blueprint's groups, which want nothing yet. `start` begins.

        Parameters
        ----------
        replacements_per_hour
            None: as many as are wanted, but at least 3.
        on_change
            Called on the event loop when something changed.
        announce
            Called in a thread, with the name of a submission, before it is handed over: whoever cleans up can look
            for it.
        settle
            Called with the same name when that has been answered, or will not be.
        """
        state = EngineState(blueprint=blueprint, scheduler=scheduler, on_change=on_change)
        self._state = state
        self._replacements_per_hour = replacements_per_hour
        #: What tasks need that wait.
        self.counter = DemandCounter()
        self._submitter = JobSubmitter(
            state=state,
            announce=announce,
            settle=settle,
            maximum_core_hours=blueprint.maximum_core_hours,
            maximum_gpu_hours=blueprint.maximum_gpu_hours,
        )
        self._launchers = Launchers(state=state)
        self._cares = {name: self._care_for(system) for name, system in state.systems.items()}
        self._workers = WorkerFollower(state=state, launchers=self._launchers, counter=self.counter)
        self._waiting = Waiting(state=state, unknown=self._unknown)
        self._explaining = Explaining(state=state)
        self._waits = WaitKeeper(state=state, submitter=self._submitter)
        self._ticking: asyncio.Task[None] | None = None

    def _care_for(self, system: System) -> Care:
        follower = JobFollower(state=self._state, system=system, submitter=self._submitter)
        ender = JobEnder(
            state=self._state, system=system, submitter=self._submitter, follower=follower, launchers=self._launchers
        )
        return Care(system=system, follower=follower, ender=ender)

    def _unknown(self) -> list[str]:
        return [trouble for care in self._cares.values() for trouble in care.follower.troubles()]

    @property
    def blueprint(self) -> Blueprint:
        """With the groups that there are now."""
        return self._state.blueprint

    @property
    def scheduler(self) -> Scheduler:
        return self._state.scheduler

    @property
    def groups(self) -> dict[str, Group]:
        return self._state.groups

    @property
    def roster(self) -> Roster:
        return self._state.roster

    @property
    def census(self) -> Census:
        """What the jobs do, and what they have cost."""
        return self._state.census

    @property
    def tally(self) -> Tally:
        """What has happened since the cluster began."""
        return self._state.tally

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        return self._state.roster.jobs

    @property
    def failures(self) -> tuple[JobFailure | WorkerFailure, ...]:
        return tuple(self._state.failures)

    @property
    def maximum_core_hours(self) -> float | None:
        """Nothing is submitted when the jobs have used so many; None: no limit."""
        return self._submitter.maximum_core_hours

    @property
    def maximum_gpu_hours(self) -> float | None:
        """No job with GPUs is submitted when the jobs have used so many; None: no limit."""
        return self._submitter.maximum_gpu_hours

    def now(self) -> float:
        """The moment, on the clock of all records and plans."""
        return self._state.now()

    # --- what is asked of it ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn how long jobs have waited before, listen to the scheduler, and begin."""
        await self._waits.start()
        self._workers.start()
        self._ticking = asyncio.create_task(self._state.clock.run(), name="corral clock")
        for care in self._cares.values():
            care.follower.start()
        for group in self._state.groups.values():
            self._measure(group)
        self._state.tasks.do_until_closing(self._run(), name="corral engine")

    def scale_all(self, jobs: Mapping[str, int]) -> None:
        """Want so many jobs of these groups; forgives what stopped them."""
        for name, count in jobs.items():
            group = self._state.groups[name]
            group.state = rescaled(group.state, count)
            group.trouble = None
            group.verdict, group.explained_at, group.told = "", None, None
            group.failures.clear()
        self._state.undelivered.clear()
        self._state.changed(*map(self._state.system_of, jobs))

    def resize(self, name: str, jobs: int, release: Iterable[JobId]) -> None:
        """Want so many jobs of a group, as the policy says; what stopped it is not forgiven."""
        group = self._state.groups[name]
        after = resized(group.state, jobs, release)
        if after != group.state:
            group.state = after
            self._state.wake.set()

    def give_up(self, job: str) -> None:
        """Have one job end, and want one less of its group: see `corral.cluster.giving_up`."""
        give_up(job, state=self._state, launchers=self._launchers)

    def allow(self, argument: str, hours: float | None) -> None:
        """Change what the jobs may use: the argument is ``"maximum_core_hours"`` or ``"maximum_gpu_hours"``."""
        self._submitter.allow(argument, hours)

    def add_group(self, name: str, spec: WorkerGroup) -> None:
        """Have one group more, which wants nothing yet.

        Raises
        ------
        InvalidRequest
            It cannot be, or jobs of a group of that name, which was removed, have not ended yet.
        """
        if name in self._state.groups and self._state.groups[name].is_removed:
            raise InvalidRequest("groups", f"jobs of the removed group {name!r} have not ended yet")
        self._state.blueprint = self._state.blueprint.with_group(name, spec)
        for system in self._state.know_systems():
            self._cares[system.name] = care = self._care_for(system)
            care.follower.start()
        self._state.groups[name] = group = self._state.new_group(name)
        self._waits.know(group)
        self._measure(group)

    def _measure(self, group: Group) -> None:
        if group.is_free:
            # Until that is known, one begins.
            group.room = 1
            system = self._state.system_of(group.name)
            system.tasks.do_until_closing(self._cares[system.name].follower.measure(group))

    def remove_group(self, name: str) -> None:
        """Let the group's jobs finish what they do, and forget it when they have ended."""
        self.scale_all({name: 0})
        self._state.groups[name].is_removed = True

    async def submitted(self) -> None:
        """Return when no submission is under way or due.

        Raises
        ------
        SubmitRejected
        """
        await self._waiting.for_submissions()

    async def wait_for_workers(
        self, count: int, timeout: float | None = None, *, reach: Callable[[], float | None] = lambda: None
    ) -> None:
        """Return when `count` workers are ready.

        Parameters
        ----------
        reach
            As many may be wanted when there is work for them; None: as many as there are wanted now.

        Raises
        ------
        SubmitRejected, JobsFailed
            They can no longer come.
        WorkersNotReady
            They did not come in time.
        """
        await self._waiting.for_workers(count, timeout, reach=reach)

    async def explain(self, job: str | None) -> Explanations:
        """Ask why a job waits; None: one of each group that has waiting jobs, or lacks jobs.

        Raises
        ------
        LookupError
            There is no such job.
        BatchSystemError, ParseError
        """
        return await self._explaining.of(job)

    def raise_undelivered(self) -> None:
        """Raise a rejection that nobody has heard of yet."""
        self._waiting.raise_undelivered()

    def whereabouts(self) -> str:
        """``2 jobs connected, 1 job pending (Resources)``, and what troubles the groups."""
        return self._waiting.whereabouts()

    async def close(self, timeout: float) -> None:
        """End all jobs, and see that they have ended.

        Parameters
        ----------
        timeout
            After so many seconds it returns although jobs are left, and says which.
        """
        deadline = time.monotonic() + timeout
        state = self._state
        state.is_closing = True
        for tasks in (state.tasks, *(system.tasks for system in state.systems.values())):
            await tasks.cut_off()
        # The rest of the time is for ending what is there, also of a submission that is cut off.
        patience = deadline - timeout / 2
        await state.tasks.finish(patience - time.monotonic())
        await asyncio.gather(*(self._end_all(care, patience, deadline) for care in self._cares.values()))
        self._workers.stop()
        await asyncio.to_thread(self._waits.write, at_once=True)
        for system in state.systems.values():
            await asyncio.to_thread(system.forget)
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.to_thread(exit_codes.remove, self.jobs, state.blueprint.home.files)
        if state.blueprint.chosen_log_directory is None:
            with suppress(OSError):
                await asyncio.to_thread(
                    state.blueprint.home.remove_logs, state.blueprint.uuid, logs.of_no_use(self.jobs)
                )

    async def _end_all(self, care: Care, patience: float, deadline: float) -> None:
        await care.system.tasks.finish(max(0.0, patience - time.monotonic()))
        try:
            await self._submitter.find_uncertain(care.system)
            await care.ender.end_all(deadline)
        except Exception:
            # Whatever it is, and whosever fault: jobs that nobody ends use up an allocation.
            logger.exception("its jobs could not be ended one by one: all are cancelled", cluster=self._state.name)
            await care.ender.cancel_all(max(1.0, deadline - time.monotonic()))

    async def cancel_all(self, timeout: float) -> None:
        """End all jobs when the scheduler's event loop has ended: see `JobEnder.cancel_all`."""
        await asyncio.gather(*(care.ender.cancel_all(timeout) for care in self._cares.values()))

    # --- the loop -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._state.wake.clear()
            try:
                again_at = self._step()
            except Exception:
                # One bad moment must not end the care for jobs that cost an allocation.
                logger.exception("planning failed; it will be tried again", cluster=self._state.name)
                again_at = self._state.now() + 10.0
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, again_at - self._state.now())):
                    await self._state.wake.wait()

    def _step(self) -> float:
        """Do what is to do now; return when to look again at the latest."""
        state = self._state
        now = state.now()
        again = [now + 60.0]
        self._forget_removed()
        again += self._workers.lose_nodes(now)
        by_group: dict[str, list[JobRecord]] = {name: [] for name in state.groups}
        for record in self.jobs:
            # Those of a removed group have ended.
            by_group.get(record.group, []).append(record)
        cancel: list[JobRecord] = []
        for name, group in state.groups.items():
            group.state = proved(group.state, by_group[name], now)
            todo = plan(
                group.state,
                by_group[name],
                now,
                submitting=group.submitting,
                replacements_per_hour=self._replacements_per_hour,
                spent=self._submitter.spent(group),
                load=self._workers.load,
                lead=group.usual_wait,
            )
            cancel += [state.roster.put(evolve(record, stop_reason=stop_reason)) for record, stop_reason in todo.cancel]
            for record in todo.retire:
                self._launchers.retire(record, StopReason.SURPLUS)
            self._submitter.submit(group, todo)
            group.tell_withheld(todo)
            if group.explain(todo, now):
                state.on_change()
            if todo.again_at is not None:
                again.append(todo.again_at)
        for care in self._cares.values():
            care.ender.cancel(care.system.its(cancel))
            if (due := care.follower.poll_when_due(now)) is not None:
                again.append(due)
        return min(again)

    def _forget_removed(self) -> None:
        """Groups that were removed go when their last job has ended."""
        removed = {group.name for group in self._state.groups.values() if group.is_removed and not group.is_submitting}
        if removed:
            for name in removed - {record.group for record in self._state.roster.living()}:
                del self._state.groups[name]
                self._state.blueprint = self._state.blueprint.without_group(name)
