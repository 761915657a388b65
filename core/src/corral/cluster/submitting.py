"""Submitting: the jobs that a plan asks for, and submissions of which nobody knows whether they have landed."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve, field

from corral.cluster.engine_state import EngineState
from corral.cluster.system import System
from corral.errors import BatchSystemUnavailable, BudgetSpent, LimitReached, counted
from corral.jobs import nodes
from corral.jobs.group import Group
from corral.jobs.group_state import submitted
from corral.jobs.plan import Plan
from corral.jobs.reasons import Case
from corral.jobs.record import JobRecord
from corral.plugin.values import JobId, Script
from corral.text.logs import logger_of

logger = logger_of()

#: When a submission that may have landed twice is looked for again (s).
RECHECKS = (10.0, 60.0)


@define(kw_only=True, eq=False)
class JobSubmitter:
    """Submits what plans ask for, one submission of a group at a time.

    It knows which submissions were not answered for certain. Their jobs may be there, once or twice, or land late: it
    looks for them by their name, later and when the cluster closes, so that none runs unknown.
    """

    _state: EngineState
    #: Called in a thread, with the name of a submission, before it is handed over: whoever cleans up can look for it.
    _announce: Callable[[str], None]
    #: Called with the same name when that has been answered, or will not be.
    _settle: Callable[[str], None]
    #: Nothing is submitted when the jobs have used so many, nor anything with GPUs; None: no limit.
    maximum_core_hours: float | None
    maximum_gpu_hours: float | None
    _numbers: itertools.count[int] = field(factory=lambda: itertools.count(1), init=False)
    #: The latest submissions that may have landed unknown, or twice.
    _uncertain: deque[tuple[Group, Script]] = field(factory=lambda: deque(maxlen=20), init=False)

    @property
    def uncertain(self) -> tuple[tuple[Group, Script], ...]:
        """The latest submissions that may have landed unknown, or twice, and their groups."""
        return tuple(self._uncertain)

    def submit(self, group: Group, todo: Plan) -> None:
        """Begin to submit what the plan asks for, unless a submission is under way; say if the budget is spent."""
        if todo.case is Case.SPENT and not isinstance(group.trouble, BudgetSpent) and (spent := self.spent(group)):
            group.warn(spent)
        if todo.submit and not group.submitting:
            group.submitting = group.portion_of(todo.submit)
            self._state.system_of(group.name).tasks.see_to_its_end(self._submit(group, todo, group.submitting))

    def allow(self, argument: str, hours: float | None) -> None:
        """Change what the jobs may use: the argument is ``"maximum_core_hours"`` or ``"maximum_gpu_hours"``."""
        if argument == "maximum_gpu_hours":
            self.maximum_gpu_hours = hours
        else:
            self.maximum_core_hours = hours
        for group in self._state.groups.values():
            if isinstance(group.trouble, BudgetSpent):
                group.trouble = None
        self._state.changed(*self._state.systems.values())

    def uncertain_in(self, system: System) -> list[tuple[Group, Script]]:
        """Those of them that were handed to this batch system."""
        return [(group, script) for group, script in self._uncertain if self._state.system_of(group.name) is system]

    async def find_uncertain(self, system: System) -> None:
        """Know all jobs of submissions that may have landed unknown there, if it answers."""
        for group, script in self.uncertain_in(system):
            await self._find(group, script)

    def avoid(self, group: Group, host: str) -> None:
        """Say what becomes of a host on which jobs keep dying."""
        job = self._state.blueprint.request(group.name, 0, excluded_hosts=group.excluded_hosts(self._state.now()))
        batch = self._state.blueprint.batch_of(group.name)
        can_avoid = batch.render(job) != batch.render(evolve(job, excluded_hosts=()))
        logger.warning(
            "jobs of group %r keep dying on host %s and work elsewhere; %s. Tell your centre.", group.name, host,
            "further jobs ask for other hosts" if can_avoid else "this batch system cannot be asked for other hosts",
            cluster=self._state.name, group=group.name, host=host,
        )  # fmt: skip

    def spent(self, group: Group) -> BudgetSpent | None:
        """Why nothing may be submitted for this group; None if something may."""
        ledger = self._state.census.ledger
        if self.maximum_core_hours is not None and (used := ledger.core_hours) >= self.maximum_core_hours:
            return BudgetSpent(used, self.maximum_core_hours)
        if not group.resources.gpus:
            return None
        if self.maximum_gpu_hours is not None and (used := ledger.gpu_hours) >= self.maximum_gpu_hours:
            return BudgetSpent(used, self.maximum_gpu_hours, "GPU-hours")
        return None

    async def _submit(self, group: Group, todo: Plan, count: int) -> None:
        script, system = group.doubtful, self._state.system_of(group.name)
        try:
            may_have_landed = script is not None
            if script is None:
                script = self._new_script(group)
            batch = self._state.blueprint.batch_of(group.name)
            self._state.tally.attempted(group.name)
            await asyncio.to_thread(self._announce, script.name)
            submission = await batch.submit(
                script, count, may_have_landed=may_have_landed, is_replacement=todo.replacements >= count
            )
        except asyncio.CancelledError:
            # The cluster closes, and will look for what has been submitted so far.
            if script is not None:
                self._uncertain.append((group, script))
            raise
        except (BatchSystemUnavailable, LimitReached) as error:
            self._state.tally.ended(group.name, "postponed")
            group.postpone(error, script, count, self._state.now())
            if group.doubtful is not None:
                self._look_again(group, group.doubtful)
        except Exception as error:
            # Also what a broken plugin raises: whoever waits for workers must hear of it.
            self._state.tally.ended(group.name, "refused")
            self._state.undelivered.append(group.reject(error))
            if script is not None:
                # Its jobs may be there all the same, behind an answer that nobody could read.
                self._look_again(group, script)
        else:
            self._state.tally.ended(group.name, "accepted", jobs=len(submission.ids))
            group.doubtful = group.trouble = None
            group.has_room()
            group.state = submitted(group.state, min(todo.replacements, len(submission.ids)), self._state.now())
            system.has_acted()
            self._admit(group, script, submission.ids)
            logger.info(
                "submitted %s of group %s as %s",
                counted(len(submission.ids), "job"),
                group.name,
                script.name,
                cluster=self._state.name,
                group=group.name,
                job=submission.ids,
            )
            if not submission.is_certain:
                self._look_again(group, script)
        finally:
            group.submitting = 0
            if script is not None:
                self._settle(script.name)
            self._state.changed(system)

    def _new_script(self, group: Group) -> Script:
        job = self._state.blueprint.request(
            group.name, next(self._numbers), excluded_hosts=group.excluded_hosts(self._state.now())
        )
        self._state.blueprint.surroundings.tell_left_out(job)
        return self._state.blueprint.batch_of(group.name).render(job)

    def _admit(self, group: Group, script: Script, ids: Iterable[JobId]) -> None:
        now = self._state.now()
        self._state.roster.admit(
            (
                JobRecord(
                    id=job_id,
                    group=group.name,
                    name=script.name,
                    expected_workers=group.workers_per_job,
                    nodes=nodes.of_job(group.resources.nodes),
                    workers_per_node=group.resources.processes,
                    log=None if script.log is None else script.log.replace("{id}", job_id.text),
                    submitted_at=now,
                )
                for job_id in ids
            ),
            now,
        )

    def _look_again(self, group: Group, script: Script) -> None:
        """More jobs of this submission than are known may turn up: look for them later, and when the cluster closes."""
        if any(script is known for _, known in self._uncertain):
            return
        self._uncertain.append((group, script))
        self._state.system_of(group.name).tasks.do_until_closing(self._recheck(group, script))

    async def _recheck(self, group: Group, script: Script) -> None:
        """Should jobs have landed, or land late, they must not run unknown."""
        waited = 0.0
        for moment in RECHECKS:
            await asyncio.sleep(moment - waited)
            waited = moment
            while not await self._find(group, script):  # noqa: ASYNC110 - only the batch system could tell
                await asyncio.sleep(RECHECKS[0])
            if group.doubtful is script and not group.submitting:
                group.doubtful = None
                self._state.tell()

    async def _find(self, group: Group, script: Script) -> bool:
        """Know the jobs of this submission; False if the batch system did not answer."""
        batch = self._state.blueprint.batch_of(group.name)
        try:
            found = await batch.find(script.name)
        except Exception as error:
            about: dict[str, Any] = {"cluster": self._state.name, "group": group.name, "backend": batch.backend}
            logger.info("whether jobs of %s are there is not known: %s", script.name, error, **about)
            return False
        self._admit(group, script, found)
        self._state.tell()
        return True
