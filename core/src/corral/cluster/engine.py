"""Keeps the jobs that are wanted: carries out plans, and follows what becomes of every job.

The engine lives on the event loop of the Dask scheduler, beside it. It learns from three sources: polls of the batch
system, workers that connect and leave, and what launchers report. Whatever it learns changes a `JobRecord` or a
`GroupState`, wakes it, and leads to a new plan.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field
from distributed.core import rpc
from distributed.diagnostics.plugin import SchedulerPlugin

from corral._version import __version__
from corral.batch.answers import Answer
from corral.batch.budget import Kind
from corral.batch.client import BatchSystem
from corral.batch.polling import Need, Watch
from corral.batch.rhythm import Rhythm
from corral.errors import (
    BatchSystemError,
    BatchSystemUnavailable,
    BudgetSpent,
    CorralError,
    InvalidRequest,
    JobsFailed,
    LimitReached,
    PluginError,
    SubmitRejected,
    WorkersNotReady,
    counted,
)
from corral.host import clock
from corral.jobs import exit_codes, logs, nodes
from corral.jobs.group import NEVER, Group
from corral.jobs.plan import DESERTED_AFTER, Plan, pause_before_cancelling, plan, proved, rescaled, resized, submitted
from corral.jobs.record import Ending, JobFailure, JobRecord, Parting, as_found, ending, lose_node, observe, spared
from corral.jobs.table import REMEMBERED, Lesson, Roster
from corral.jobs.worker_failures import Cause, WorkerFailure
from corral.plugin.values import JobId, JobState, JobStatus, Script
from corral.request.blueprint import Blueprint
from corral.request.worker_group import WorkerGroup
from corral.scaling.demand import DemandCounter
from corral.scaling.usage import Census
from corral.text.printable import printable

if TYPE_CHECKING:
    from distributed import Scheduler as DaskScheduler

    from corral.cluster.scheduler import Scheduler
    from corral.launch.tasktimes import TooLong

logger = logging.getLogger("corral")

#: The topic under which launchers report (see corral.launch).
TOPIC = "corral"
#: A worker process that its nanny restarts is back by then (s).
VANISHED_GRACE = 2.0
#: A job that was signalled, or whose worker left on purpose, shows its new state by then (s).
LEAVING_GRACE = 1.0
#: When a submission that may have landed twice is looked for again (s).
RECHECKS = (10.0, 60.0)
#: Absent jobs are looked for under so many names after each poll, for each is a command; all, when the cluster closes.
NAMES_AT_ONCE = 5
#: Before a cluster that closes cancels jobs, it looks for so long whether they are there (s)...
GLANCE = 5.0
#: ... and where it never sees any, it looks again for so long (s): batch systems come back.
DOUBT = 20.0
#: How long connected jobs may take to end by themselves while the cluster closes (s).
CLOSING_GRACE = 5.0
#: How long results that no other worker can take are kept when the user scaled down (s).
RETIRE_PATIENCE = 10.0
#: How long a launcher may take to answer (s).
ANSWER_TIMEOUT = 10.0
#: How long before it leaves the user is told that a job holds actors (s).
ACTORS_TOLD_BEFORE = 120.0
#: So many polls in a row may fail for reasons that pass by themselves, and the user is told.
_PATIENT_POLLS = 3
#: How often is looked at what jobs do (s).
CENSUS_INTERVAL = 1.0
#: How often is looked for answers to other clusters' questions, and for exit codes that jobs have written (s).
NEWS_INTERVAL = 0.5
EXITS_INTERVAL = 1.0
#: A job that has written its exit code is listed as ended by then (s).
EXIT_GRACE = 0.5
#: So long the batch system may take to say how it ended, before its exit code is taken for the whole truth (s).
EXIT_PATIENCE = 3.0


@define(kw_only=True, eq=False)
class Engine:
    """The jobs of one cluster. Its methods run on the event loop; its properties may be read from any thread."""

    blueprint: Blueprint
    scheduler: Scheduler
    #: Which watch serves this cluster: the same for all clusters that ask the same batch system in the same way.
    watch: Watch
    rhythm: Rhythm
    replacements_per_hour: int | None = None
    #: Called on the event loop when something changed.
    on_change: Callable[[], None] = lambda: None
    #: Called in a thread, with the name of a submission, before it is handed over: whoever cleans up can look for it.
    announce: Callable[[str], None] = lambda _: None
    #: Called with the same name when that has been answered, or will not be.
    settle: Callable[[str], None] = lambda _: None

    groups: dict[str, Group] = field(init=False)
    roster: Roster = field(init=False)
    counter: DemandCounter = field(factory=DemandCounter, init=False)
    census: Census = field(init=False)
    #: Nothing is submitted when the jobs have used so many; None: no limit.
    maximum_core_hours: float | None = field(init=False)
    _failures: deque[JobFailure | WorkerFailure] = field(factory=lambda: deque(maxlen=REMEMBERED), init=False)
    #: Of corral in jobs, that were told.
    _versions: set[str] = field(factory=set, init=False)
    _numbers: itertools.count[int] = field(factory=lambda: itertools.count(1), init=False)
    #: The latest submissions that may have landed unknown, or twice.
    _repeated: deque[tuple[Group, Script]] = field(factory=lambda: deque(maxlen=20), init=False)
    _rechecks: set[asyncio.Task[None]] = field(factory=set, init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)
    #: All moments of records and plans are this clock's.
    _clock: clock.Clock = field(factory=clock.Clock, init=False)
    _ticking: asyncio.Task[None] | None = field(default=None, init=False)
    _looking: asyncio.Task[None] | None = field(default=None, init=False)
    _main: asyncio.Task[None] | None = field(default=None, init=False)
    _polling: asyncio.Task[None] | None = field(default=None, init=False)
    _cancelling: asyncio.Task[None] | None = field(default=None, init=False)
    _cancelling_again: asyncio.Task[None] | None = field(default=None, init=False)
    _listening: asyncio.Task[None] | None = field(default=None, init=False)
    _reading: asyncio.Task[None] | None = field(default=None, init=False)
    _exits: exit_codes.ExitFiles = field(factory=exit_codes.ExitFiles, init=False)
    #: Jobs that say that they have ended: their exit codes, and when they were seen.
    _said: dict[JobId, tuple[int, float]] = field(factory=dict, init=False)
    #: Set when there may be something to do.
    _wake: asyncio.Event = field(factory=asyncio.Event, init=False)
    #: Replaced when something changed: whoever waits for news holds the old one.
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)
    _is_closing: bool = field(default=False, init=False)
    #: So many polls in a row have failed, the last for this reason; and the reason that the user was told.
    _blind_for: int = field(default=0, init=False)
    _blindness: str = field(default="", init=False)
    _told_blindness: str = field(default="", init=False)
    #: The last answer of the batch system lacked so many jobs, and listed none.
    _missing: int = field(default=0, init=False)
    #: An answer of the batch system from before this moment, on the watch's clock, does not show what was last asked
    #: of it.
    _acted_at: float = field(default=float("-inf"), init=False)
    #: When the latest answer that is known was asked for, on the watch's clock.
    _learnt_at: float = field(default=float("-inf"), init=False)
    #: Kinds of deaths of workers of which the user was told.
    _told_deaths: set[object] = field(factory=set, init=False)
    #: Kinds of tasks of which the user was told that no job can finish them.
    _told_too_long: set[str] = field(factory=set, init=False)
    #: Jobs with actors, of whose end the user was told.
    _told_of_actors: set[JobId] = field(factory=set, init=False)
    #: Rejections that nobody has heard of yet.
    _undelivered: list[CorralError] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.roster = Roster(self._broadcast)
        self.census = Census(cluster=self.blueprint.name, scheduler=self.scheduler, roster=self.roster)
        self.maximum_core_hours = self.blueprint.maximum_core_hours
        self.groups = {name: self._new_group(name) for name in self.blueprint.groups}

    def _new_group(self, name: str) -> Group:
        blueprint = self.blueprint
        self.census.ledger.open(name)
        job = blueprint.request(name, 1)
        return Group(
            name=name, cluster=blueprint.name, spec=blueprint.groups[name], resources=job.resources,
            walltime=math.inf if job.walltime is None else job.walltime,
        )  # fmt: skip

    @property
    def batch(self) -> BatchSystem:
        """The batch system, for what concerns jobs of all groups."""
        return self.blueprint.batch

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        return self.roster.jobs

    @property
    def failures(self) -> tuple[JobFailure | WorkerFailure, ...]:
        return tuple(self._failures)

    # --- what is asked of it ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen to the scheduler, and begin."""
        self.scheduler.add_plugin(_Ear(self), name=self._plugin_name)
        self.scheduler.parking.room = self.blueprint.parked_results
        self.scheduler.on_too_long = self._tell_too_long
        self.scheduler.on_silent = self.worker_was_silent
        self.counter.listen(self.scheduler)
        self.scheduler.add_plugin(self.counter, name=f"{self._plugin_name}-demand")
        self._looking = asyncio.create_task(self._look(), name="corral census")
        self._ticking = asyncio.create_task(self._clock.run(), name="corral clock")
        self._listening = asyncio.create_task(self._listen(), name="corral news")
        self._reading = asyncio.create_task(self._read_exits(), name="corral exits")
        self._main = asyncio.create_task(self._run(), name="corral engine")

    def scale_all(self, jobs: Mapping[str, int]) -> None:
        """Want so many jobs of these groups; forgives what stopped them."""
        for name, count in jobs.items():
            slot = self.groups[name]
            slot.state = rescaled(slot.state, count)
            slot.trouble = None
            slot.verdict, slot.explained_at = "", None
            slot.failures.clear()
        self._undelivered.clear()
        self._changed()

    def resize(self, group: str, jobs: int, release: Iterable[JobId]) -> None:
        """Want so many jobs of a group, as the policy says; what stopped it is not forgiven."""
        slot = self.groups[group]
        after = resized(slot.state, jobs, release)
        if after != slot.state:
            slot.state = after
            self._wake.set()

    def allow_core_hours(self, hours: float | None) -> None:
        """Change what the jobs may use."""
        self.maximum_core_hours = hours
        for slot in self.groups.values():
            if isinstance(slot.trouble, BudgetSpent):
                slot.trouble = None
        self._changed()

    def now(self) -> float:
        """The moment, on the clock of all records and plans."""
        return self._clock.now()

    def add_group(self, name: str, spec: WorkerGroup) -> None:
        """Have one group more, which wants nothing yet.

        Raises
        ------
        InvalidRequest
            It cannot be, or jobs of a group of that name, which was removed, have not ended yet.
        """
        if name in self.groups and self.groups[name].is_removed:
            raise InvalidRequest("groups", f"jobs of the removed group {name!r} have not ended yet")
        self.blueprint = self.blueprint.with_group(name, spec)
        self.groups[name] = self._new_group(name)

    def remove_group(self, name: str) -> None:
        """Let the group's jobs finish what they do, and forget it when they have ended."""
        self.scale_all({name: 0})
        self.groups[name].is_removed = True

    async def submitted(self) -> None:
        """Return when no submission is under way or due.

        Raises
        ------
        SubmitRejected
        """
        while True:
            news = self._news
            self.raise_undelivered()
            if not any(slot.submitting or slot.is_short(self.jobs) for slot in self.groups.values()):
                return
            await news.wait()

    async def wait_for_workers(self, count: int, timeout: float | None = None) -> None:
        """Return when `count` workers are ready.

        Raises
        ------
        SubmitRejected, JobsFailed
            They can no longer come.
        WorkersNotReady
            They did not come in time.
        """
        try:
            async with clock.timeout(timeout):
                while self._ready() < count:
                    news = self._news
                    self._raise_if_hopeless(count)
                    await self._hear(news)
        except TimeoutError:
            raise WorkersNotReady(self._ready(), count, timeout or 0.0, self.whereabouts()) from None
        self._undelivered.clear()

    def raise_undelivered(self) -> None:
        """Raise a rejection that nobody has heard of yet."""
        if self._undelivered:
            raise self._undelivered.pop(0)

    def whereabouts(self) -> str:
        """``2 jobs connected, 1 job pending (Resources)``, and what troubles the groups."""
        words: dict[str, int] = {}
        for record in self.roster.living():
            word = record.condition
            if not record.workers and not record.is_leaving and record.reason not in ("", "None"):
                word += f" ({record.reason})"
            words[word] = words.get(word, 0) + 1
        parts = [f"{count} job{'s' * (count > 1)} {word}" for word, count in sorted(words.items())]
        parts += [f"{slot.submitting} being submitted" for slot in self.groups.values() if slot.submitting]
        troubles = [slot.trouble_in_words() for slot in self.groups.values() if slot.trouble]
        if self._told_blindness:
            troubles.append(f"the batch system does not tell how the jobs are: {self._told_blindness}")
        if self._missing:
            troubles.append("the batch system lists none of them now, which may be its own fault")
        if delay := self.watch.delay(self):
            troubles.append(delay)
        return "; ".join([", ".join(parts) or "no job is in the queue", *troubles])

    async def close(self, timeout: float) -> None:
        """End all jobs, and see that they have ended.

        Parameters
        ----------
        timeout
            After so many seconds it returns although jobs are left, and says which.
        """
        deadline = time.monotonic() + timeout
        self._is_closing = True
        watching = (self._polling, self._looking, self._listening, self._reading, self._cancelling_again)
        own = {task for task in (self._main, *watching, *self._rechecks) if task is not None}
        for task in own:
            task.cancel()
        if own:
            await asyncio.wait(own)
        # A submission that is under way is seen to its end: cutting it off would leave jobs that nobody knows.
        if self._tasks:
            _, unfinished = await asyncio.wait(self._tasks, timeout=timeout)
            for task in unfinished:
                task.cancel()
        for slot, script in self._repeated:
            await self._find(slot, script)
        await self._end_all(deadline)
        with suppress(ValueError):
            self.scheduler.remove_plugin(self._plugin_name)
            self.scheduler.remove_plugin(f"{self._plugin_name}-demand")
        await asyncio.to_thread(self.watch.forget, self)
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.to_thread(exit_codes.remove, self.jobs)
        if self.blueprint.chosen_log_directory is None:
            with suppress(OSError):
                await asyncio.to_thread(self.blueprint.home.remove_logs, self.blueprint.uuid, logs.of_no_use(self.jobs))

    async def cancel_all(self, timeout: float) -> None:
        """End all jobs when the scheduler's event loop has ended: the batch system is asked, and nobody else.

        On another event loop. Returns after `timeout` seconds at the latest, or when the batch system is done.
        """
        deadline = time.monotonic() + timeout
        living = {record.id: record for record in self.roster.living()}
        for slot, script in self._repeated:
            with suppress(BatchSystemError):
                unknown = await self.blueprint.batch_of(slot.name).find(script.name)
                living |= {job_id: JobRecord(id=job_id, name=script.name) for job_id in unknown if job_id not in living}
        pauses = itertools.chain((0.3, 0.6, 1.0, 2.0, 3.0), itertools.repeat(5.0))
        is_cancelled = False
        while living:
            try:
                if not is_cancelled:
                    await self.batch.cancel(list(living))
                    is_cancelled = True
                answer = await self.batch.poll(list(living), urgent=True)
                # What is not listed is believed gone when it is not found either.
                absent = {record.name for job_id, record in living.items() if job_id not in answer}
                found = {job_id for name in absent for job_id in await self.batch.find(name)}
            except CorralError as error:
                logger.warning(
                    "cluster %s: %s may be left: %s", self.blueprint.name, counted(len(living), "job"), error
                )
            else:
                for job_id, record in list(living.items()):
                    status = answer.get(job_id)
                    if status is None and job_id not in found:
                        status = evolve(record.status, state=JobState.CANCELLED, native="", reason="")
                    # Nobody can hear of its workers any more.
                    after = self.roster.put(observe(evolve(record, workers=frozenset()), status, self.now()))
                    if after.has_ended:
                        del living[job_id]
            if living and time.monotonic() > deadline:
                names = ", ".join(map(str, list(living)[:10]))
                logger.error("cluster %s: %d job(s) have not ended: %s", self.blueprint.name, len(living), names)
                return
            if living:
                await asyncio.sleep(next(pauses))

    # --- the loop -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                again_at = self._step()
            except Exception:
                # One bad moment must not end the care for jobs that cost an allocation.
                logger.exception("cluster %s: planning failed; it is tried again", self.blueprint.name)
                again_at = self._clock.now() + 10.0
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, again_at - self._clock.now())):
                    await self._wake.wait()

    async def _look(self) -> None:
        """Watch the jobs at work."""
        while True:
            try:
                self.census.look(self.groups, self._clock.now())
                self.census.tell_unmet(self.counter.demand(), self.groups.values())
                self._look_at_ends()
            except Exception:
                logger.exception("cluster %s: the jobs could not be looked at", self.blueprint.name)
            await asyncio.sleep(CENSUS_INTERVAL)

    def _look_at_ends(self) -> None:
        """See which jobs have too little time for what waits, and foresee when others will."""
        now = self._clock.now()
        is_changed = False
        # Also of groups that have had no job yet: they will have one if a task needs it.
        lifetimes = [slot.lifetime for slot in self.groups.values() if not (slot.state.is_stopped or slot.is_removed)]
        self.scheduler.longest_room = max(lifetimes, default=None)
        for record in self.roster.living():
            if not (record.workers and record.is_capacity):
                continue
            workers = [self.scheduler.workers.get(address) for address in self.roster.addresses(record.id)]
            present = [worker for worker in workers if worker is not None]
            if present and all(self.scheduler.has_no_time(worker) for worker in present):
                self.roster.put(evolve(record, parting=Parting.SPENT, retire_asked_at=now))
                self._start(self._retire(record.id, patience=None))
                is_changed = True
                continue
            self._tell_of_actors(record, sum(len(worker.actors) for worker in present), now)
            moments = [self.scheduler.idle_from(worker) for worker in present]
            known = [moment for moment in moments if moment is not None]
            spent_at = now + max(known) if known and len(known) == len(present) else None
            # What is foreseen anew every second is no news, unless it was not foreseen at all.
            if (spent_at is None) != (record.spent_at is None) or (
                spent_at is not None and abs(spent_at - (record.spent_at or 0.0)) > 1.0
            ):
                self.roster.put(evolve(record, spent_at=spent_at))
                is_changed = True
        if is_changed:
            self._wake.set()

    def _tell_of_actors(self, record: JobRecord, actors: int, now: float) -> None:
        """Say it before a job leaves that holds what nobody can take over."""
        leaves_in = float("inf") if record.leaves_at is None else record.leaves_at - now
        if actors and leaves_in <= ACTORS_TOLD_BEFORE and record.id not in self._told_of_actors:
            self._told_of_actors.add(record.id)
            logger.warning(
                "cluster %s: job %s holds %d actor(s), which no other worker can take over, and leaves in %.0f s, "
                "before its walltime ends: save their state now.",
                self.blueprint.name, record.id, actors, max(0.0, leaves_in),
            )  # fmt: skip

    def _tell_too_long(self, task: TooLong) -> None:
        """Say, once for each kind, that tasks are not begun because no job can finish them."""
        if task.kind in self._told_too_long:
            return
        self._told_too_long.add(task.kind)
        evidence = (
            f"ran for {task.expected:.0f} s until the end of its job cut it off"
            if task.was_interrupted
            else f"is expected to take {task.expected:.0f} s"
        )
        logger.warning(
            "cluster %s: task %r %s, and no job of this cluster has so much time for it (%.0f s at most). It is not "
            "begun (again) and waits. Ask for a longer walltime=, or add a group that has it with cluster.add_group(); "
            "if it takes less than that, say so: dask.annotate(expected_duration=\"10 min\").",
            self.blueprint.name, str(task.key), evidence, self.scheduler.longest_room,
        )  # fmt: skip

    def _step(self) -> float:
        """Do what is to do now; return when to look again at the latest."""
        now = self._clock.now()
        again = [now + 60.0]
        self._forget_removed()
        by_group: dict[str, list[JobRecord]] = {name: [] for name in self.groups}
        for record in self.jobs:
            # Those of a removed group have ended.
            by_group.get(record.group, []).append(record)
        again += self._lose_nodes(now)
        cancel: list[JobRecord] = []
        for name, slot in self.groups.items():
            slot.state = proved(slot.state, by_group[name], now)
            todo = plan(
                slot.state,
                by_group[name],
                now,
                submitting=slot.submitting,
                replacements_per_hour=self.replacements_per_hour,
                load=self._load,
                lead=slot.usual_wait,
            )
            cancel += [self.roster.put(evolve(record, parting=parting)) for record, parting in todo.cancel]
            for record in todo.retire:
                self.roster.put(evolve(record, parting=Parting.SURPLUS, retire_asked_at=now))
                self._start(self._retire(record.id))
            if todo.submit and (spent := self._spent()) is not None:
                if not isinstance(slot.trouble, BudgetSpent):
                    slot.warn(spent)
            elif todo.submit and not slot.submitting:
                slot.submitting = slot.portion_of(todo.submit)
                self._start(self._submit(slot, todo))
            slot.tell_withheld(todo)
            if todo.again_at is not None:
                again.append(todo.again_at)
        self._start_to_cancel(cancel)
        if living := self.roster.living():
            self.rhythm.is_connected = all(job.is_connected and job.status.state is JobState.RUNNING for job in living)
            due = self.rhythm.due()
            if due > now:
                again.append(due)
            elif self._polling is None or self._polling.done():
                self._polling = asyncio.create_task(self._poll([record.id for record in living]))
                self._polling.add_done_callback(lambda _: self._wake.set())
        return min(again)

    def _spent(self) -> BudgetSpent | None:
        """Why nothing may be submitted; None if it may."""
        used = self.census.ledger.core_hours
        if self.maximum_core_hours is None or used < self.maximum_core_hours:
            return None
        return BudgetSpent(used, self.maximum_core_hours)

    def _forget_removed(self) -> None:
        """Groups that were removed go when their last job has ended."""
        removed = {slot.name for slot in self.groups.values() if slot.is_removed and not slot.is_submitting}
        if removed:
            for name in removed - {record.group for record in self.roster.living()}:
                del self.groups[name]
                self.blueprint = self.blueprint.without_group(name)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _changed(self) -> None:
        """Something happened to jobs: plan, poll sooner, and tell who waits."""
        self.rhythm.changed(self._clock.now())
        self._tell()

    def _tell(self) -> None:
        self._wake.set()
        news, self._news = self._news, asyncio.Event()
        news.set()
        self.on_change()

    async def _hear(self, news: asyncio.Event) -> None:
        """Return when something changed. Nobody tells that a registered worker has become ready: look again soon."""
        is_starting = any(worker.status.name == "init" for worker in self.scheduler.workers.values())
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05 if is_starting else None):
                await news.wait()

    # --- submitting ---------------------------------------------------------------------------------------------

    async def _submit(self, slot: Group, todo: Plan) -> None:
        script = slot.doubtful
        count = slot.portion_of(todo.submit)
        try:
            may_have_landed = script is not None
            if script is None:
                script = self._new_script(slot)
            batch = self.blueprint.batch_of(slot.name)
            await asyncio.to_thread(self.announce, script.name)
            submission = await batch.submit(
                script, count, may_have_landed=may_have_landed, is_replacement=todo.replacements >= count
            )
        except (BatchSystemUnavailable, LimitReached) as error:
            slot.postpone(error, script, count, self._clock.now())
            if slot.doubtful is not None:
                self._look_again(slot, slot.doubtful)
        except Exception as error:
            # Also what a broken plugin raises: whoever waits for workers must hear of it.
            self._undelivered.append(slot.reject(error))
            if script is not None:
                # Its jobs may be there all the same, behind an answer that nobody could read.
                self._look_again(slot, script)
        else:
            slot.doubtful = slot.trouble = None
            slot.has_room()
            slot.state = submitted(slot.state, min(todo.replacements, len(submission.ids)), self._clock.now())
            self._acted_at = self.watch.now()
            self._admit(slot, script, submission.ids)
            logger.info("submitted %s of group %s as %s", counted(len(submission.ids), "job"), slot.name, script.name)
            if not submission.is_certain:
                self._look_again(slot, script)
        finally:
            slot.submitting = 0
            if script is not None:
                self.settle(script.name)
            self._changed()

    def _new_script(self, slot: Group) -> Script:
        job = self.blueprint.request(
            slot.name, next(self._numbers), excluded_hosts=slot.excluded_hosts(self._clock.now())
        )
        self.blueprint.surroundings.tell_left_out(job)
        return self.blueprint.batch_of(slot.name).render(job)

    def _avoid(self, slot: Group, host: str) -> None:
        """Say what becomes of a host on which jobs keep dying."""
        job = self.blueprint.request(slot.name, 0, excluded_hosts=slot.excluded_hosts(self._clock.now()))
        batch = self.blueprint.batch_of(slot.name)
        can_avoid = batch.render(job) != batch.render(evolve(job, excluded_hosts=()))
        logger.warning(
            "cluster %s: jobs of group %r keep dying on host %s and work elsewhere; %s. Tell your centre.",
            self.blueprint.name, slot.name, host,
            "further jobs ask for other hosts" if can_avoid else "this batch system cannot be asked for other hosts",
        )  # fmt: skip

    def _admit(self, slot: Group, script: Script, ids: Iterable[JobId]) -> None:
        now = self._clock.now()
        self.roster.admit(
            (
                JobRecord(
                    id=job_id,
                    group=slot.name,
                    name=script.name,
                    expected_workers=slot.workers_per_job,
                    nodes=nodes.of_job(slot.spec.resources.nodes),
                    workers_per_node=slot.spec.resources.processes,
                    log=None if script.log is None else script.log.replace("{id}", job_id.text),
                    submitted_at=now,
                )
                for job_id in ids
            ),
            now,
        )

    def _look_again(self, slot: Group, script: Script) -> None:
        """More jobs of this submission than are known may turn up: look for them later, and when the cluster closes."""
        if any(script is repeated for _, repeated in self._repeated):
            return
        self._repeated.append((slot, script))
        recheck = asyncio.create_task(self._recheck(slot, script))
        self._rechecks.add(recheck)
        recheck.add_done_callback(self._rechecks.discard)

    async def _recheck(self, slot: Group, script: Script) -> None:
        """Should jobs have landed, or land late, they must not run unknown."""
        waited = 0.0
        for moment in RECHECKS:
            await asyncio.sleep(moment - waited)
            waited = moment
            while not await self._find(slot, script):  # noqa: ASYNC110 - only the batch system could tell
                await asyncio.sleep(RECHECKS[0])
            if slot.doubtful is script and not slot.submitting:
                slot.doubtful = None
                self._tell()

    async def _find(self, slot: Group, script: Script) -> bool:
        """Know the jobs of this submission; False if the batch system did not answer."""
        with suppress(BatchSystemError):
            self._admit(slot, script, await self.blueprint.batch_of(slot.name).find(script.name))
            self._tell()
            return True
        return False

    # --- following ----------------------------------------------------------------------------------------------

    async def _poll(self, job_ids: Sequence[JobId]) -> None:
        try:
            answer = await self._ask(job_ids, functools.partial(self._need, frozenset(job_ids)))
        except BatchSystemError as error:
            self._not_told(error, is_passing=self.batch.is_passing(error))
        except Exception as error:
            # A garbled answer tells nothing about any job; the next round will come.
            self._not_told(error, is_passing=False)
        else:
            # None: another cluster's question was answered meanwhile, or this one must be asked anew.
            if answer is not None:
                await self._take(answer)
            return
        self.rhythm.polled(self._clock.now())

    def _need(self, job_ids: frozenset[JobId]) -> Need | None:
        """What is to be known of these jobs now; None if all is, or there are others by now."""
        now = self._clock.now()
        living = {record.id for record in self.roster.living()}
        if self.rhythm.due() > now or not living or living - job_ids:
            return None
        kind = Kind.URGENT if self.rhythm.is_urgent(now) and self._is_amiss() else Kind.QUESTION
        return Need(max(self._acted_at, self.watch.now() - now + self.rhythm.oldest(now)), kind)

    def _is_amiss(self) -> bool:
        """True if only the batch system can say what is wrong: jobs that have failed by themselves tell it in time."""
        if any(record.deserted_at is not None or record.leaving for record in self.roster.living()):
            return True
        said = [(self.roster.get(job_id), code) for job_id, (code, _) in self._said.items()]
        return any(record is not None and exit_codes.evidence(record, code) is None for record, code in said)

    def _need_while_closing(self, pause: float) -> Need:
        """A person waits: the budget does not count, and what somebody else has just asked serves."""
        return Need(max(self._acted_at, self.watch.now() - pause / 2), Kind.MORE)

    async def _ask(self, job_ids: Sequence[JobId], need: Callable[[], Need | None]) -> Answer | None:
        """What the batch system says of these jobs, whoever asks it."""
        return await self.watch.poll(
            self, job_ids, lambda everybody: self.batch.poll(everybody, is_admitted=True), need=need
        )

    async def _listen(self) -> None:
        """Learn from the answers to questions of other clusters."""
        while True:
            await asyncio.sleep(NEWS_INTERVAL)
            try:
                job_ids = [record.id for record in self.roster.living()]
                if job_ids and (answer := await self.watch.news(self, job_ids)) is not None:
                    await self._take(answer)
            except Exception:
                logger.exception("cluster %s: an answer could not be learnt from", self.blueprint.name)

    async def _take(self, answer: Answer) -> None:
        """Learn from an answer, unless more is known already."""
        if self._told_blindness:
            logger.info("cluster %s: the batch system tells of the jobs again", self.blueprint.name)
        self._blind_for, self._blindness, self._told_blindness = 0, "", ""
        if answer.asked_at <= max(self._learnt_at, self._acted_at):
            return
        self._learnt_at = answer.asked_at
        asked_at = self._clock.now() - (self.watch.now() - answer.asked_at)
        if all(record.id in answer.asked for record in self.roster.living()):
            self.rhythm.polled(asked_at)
        await self._learn(answer.jobs, list(answer.asked))
        for job_id in answer.jobs:
            if (record := self.roster.get(job_id)) is not None:
                self.roster.put(spared(record, asked_at))
        self._ask_again_about_the_deserted()
        self._wake.set()

    def _ask_again_about_the_deserted(self) -> None:
        """Some batch systems call a job running for seconds after its end: it is asked about soon, and ever less so."""
        now = self._clock.now()
        gone = [record.deserted_at for record in self.roster.living() if record.deserted_at is not None]
        passed = now - max(gone, default=float("-inf"))
        if passed < DESERTED_AFTER:
            self.rhythm.urgent(now + max(LEAVING_GRACE, passed))

    async def _read_exits(self) -> None:
        """See jobs end by what their scripts write: ask at once, and if nobody answers, believe it."""
        while True:
            await asyncio.sleep(EXITS_INTERVAL)
            try:
                living = self.roster.living()
                codes = await asyncio.to_thread(self._exits.look, living)
                now = self._clock.now()
                for job_id, code in codes.items():
                    self._said[job_id] = code, now
                    self.rhythm.urgent(now + EXIT_GRACE)
                    self.rhythm.changed(now)
                    self._wake.set()
                await self._believe_exits(now)
            except Exception:
                logger.exception("cluster %s: exit codes could not be read", self.blueprint.name)

    async def _believe_exits(self, now: float) -> None:
        """Jobs whose scripts have failed have ended, also while the batch system cannot be asked."""
        answer: dict[JobId, JobStatus] = {}
        for job_id, (code, seen_at) in list(self._said.items()):
            record = self.roster.get(job_id)
            if record is None or record.has_ended or now - seen_at >= EXIT_PATIENCE:
                del self._said[job_id]
                if record is not None and (status := exit_codes.evidence(record, code)) is not None:
                    answer[job_id] = status
        if answer:
            await self._conclude(self.roster.learn(answer, list(answer), now))

    def _not_told(self, error: Exception, *, is_passing: bool) -> None:
        """A poll failed: say so, unless it is likely to pass; say each thing once."""
        self._blind_for += 1
        self._blindness = str(error)
        if self._blindness != self._told_blindness and (not is_passing or self._blind_for == _PATIENT_POLLS):
            self._told_blindness = self._blindness
            logger.warning(
                "cluster %s: the batch system does not tell how the jobs are: %s. It is asked again; until it answers, "
                "ends of jobs are noticed by their workers alone.",
                self.blueprint.name, error,
            )  # fmt: skip
        else:
            logger.info("cluster %s: the batch system did not answer: %s", self.blueprint.name, error)

    async def _learn(self, answer: Mapping[JobId, JobStatus], asked: Sequence[JobId]) -> None:
        if self._cancelling is not None and not self._cancelling.done():
            # What is being cancelled may be gone before the command has said so.
            asked = [job_id for job_id in asked if job_id in answer or not self._is_being_cancelled(job_id)]
        lesson = self.roster.learn(answer, asked, self._clock.now())
        for slot in self.groups.values():
            if slot.tell_hopeless(self.jobs):
                self._tell()
            if not self._is_closing and (record := slot.to_explain(self.jobs, self._clock.now())) is not None:
                self._start(self._explain(slot, record))
        self._tell_missing(lesson)
        await self._conclude(lesson)
        if lesson.to_seek:
            await self._seek(lesson.to_seek, lists_none=lesson.lists_none)
        self._missing = min(self._missing, len(self.roster.living()))

    async def _explain(self, slot: Group, record: JobRecord) -> None:
        """Ask why a job waits: some batch systems say only then that it waits in vain."""
        try:
            words = await self.blueprint.batch_of(slot.name).explain(record.id)
        except Exception as error:
            logger.info("cluster %s: why job %s waits is not known: %s", self.blueprint.name, record.id, error)
            return
        words = words.removesuffix(f" ({record.status.reason})")  # told beside it
        slot.verdict = words.removeprefix(NEVER).lstrip(" :,") if words.startswith(NEVER) else ""
        if slot.tell_hopeless(self.jobs):
            self._tell()

    async def _conclude(self, lesson: Lesson) -> None:
        for slot in self.groups.values():
            if mine := [record for record in lesson.ended if record.group == slot.name]:
                await self._bury(slot, mine)
        if lesson.is_changed:
            self._changed()

    def _is_being_cancelled(self, job_id: JobId) -> bool:
        record = self.roster.get(job_id)
        return record is not None and record.cancel_asked_at is not None and not record.is_doomed

    async def _seek(self, absent: Iterable[JobRecord], *, lists_none: bool) -> None:
        """Look for absent jobs by the names under which they were submitted."""
        by_name: dict[tuple[str, str], list[JobId]] = {}
        for record in absent:
            by_name.setdefault((record.group, record.name), []).append(record.id)
        most = None if self._is_closing else NAMES_AT_ONCE
        for (group, name), job_ids in list(by_name.items())[:most]:
            try:
                found = await self.blueprint.batch_of(group).find(name, waits=not self._is_closing)
            except BatchSystemError as error:
                logger.info("cluster %s: the batch system did not answer: %s", self.blueprint.name, error)
                return
            now = self._clock.now()
            await self._conclude(self.roster.sought(job_ids, frozenset(found), now, lists_none=lists_none))

    def _tell_missing(self, lesson: Lesson) -> None:
        """Say once that the batch system has lost all jobs from sight."""
        before = self._missing
        unexplained = [record for record in lesson.absent if record.was_listed and not record.is_doomed]
        self._missing = len(unexplained) if lesson.lists_none else 0
        if self._missing and not before:
            logger.warning(
                "cluster %s: the batch system answers, and lists none of the %d jobs that it should have; "
                "they are believed to be there until it has said otherwise for minutes",
                self.blueprint.name, self._missing,
            )  # fmt: skip
        elif before and not self._missing:
            logger.info("cluster %s: the batch system knows the cluster's jobs again", self.blueprint.name)

    async def _bury(self, slot: Group, ended: Sequence[JobRecord]) -> None:
        """Remember why jobs ended, let the group draw its conclusions, and tell the user."""
        before = slot.state
        slot.bury(ended, self.jobs, self._clock.now())
        slot.is_examining = True
        try:
            unasked = [
                record for record in ended if ending(record) is not Ending.WANTED and not record.left_in_good_time
            ]
            failures = await asyncio.to_thread(logs.examine, unasked)
            await asyncio.to_thread(exit_codes.remove, ended)
        finally:
            slot.is_examining = False
        self._failures.extend(failures)
        slot.tell(before, failures, self.jobs)
        if (host := slot.blame(self.jobs, self._clock.now())) is not None:
            self._avoid(slot, host)
        self.roster.forget_oldest()

    def _broadcast(self, job_id: JobId, before: JobStatus | None, after: JobStatus) -> None:
        self.batch.tell(job_id, before, after)

    def worker_came(self, address: str) -> None:
        """The scheduler has a new worker."""
        now = self._clock.now()
        if self.roster.worker_came(address, str(self.scheduler.workers[address].name), now):
            record = self.roster.job_at(address)
            slot = None if record is None else self.groups.get(record.group)
            if record is not None and slot is not None:
                if record.connected_at == now:
                    slot.has_come(record)
                if slot.spec.task_seconds is not None:
                    self.scheduler.assumed[address] = slot.spec.task_seconds
                slot.has_time(self.scheduler.seconds_left(self.scheduler.workers[address]))
            self._tell()

    def worker_left(self, address: str) -> None:
        """The scheduler has lost a worker: ask what became of its job, unless it comes back."""
        if (record := self.roster.worker_left(address, self._clock.now())) is not None:
            self.rhythm.urgent(
                self._clock.now() + (LEAVING_GRACE if record.leaving or record.parting else VANISHED_GRACE)
            )
            self._tell()

    def heard(self, message: Mapping[str, Any]) -> None:
        """A launcher reports."""
        record = self.roster.get(JobId(str(message.get("job"))))
        if record is None or record.has_ended:
            return
        if record.nodes:
            record = self._hear_of_node(record, message)
        match message.get("event"):
            case "ready":
                self._compare_versions(record, str(message.get("version", "")))
                if (seconds := message.get("leaves_in")) is not None:
                    leaves_at = min(self._clock.now() + seconds, record.leaves_at or float("inf"))
                    self.roster.put(evolve(record, leaves_at=leaves_at))
                    self._wake.set()
            case "leaving":
                self.roster.put(evolve(record, leaving=_reason(message) or "leaving"))
                self.rhythm.urgent(self._clock.now() + LEAVING_GRACE)
                self._changed()
            case "worker died":
                worker, address = str(message.get("worker")), str(message.get("address") or "")
                self._start(
                    self._mourn(record, worker, address, Cause.told_by(message), str((message.get("hosts") or [""])[0]))
                )
            case "left":
                unfinished, lost = int(message.get("unfinished", 0)), int(message.get("lost", 0))
                self._account_for_interrupted(record, float(message.get("seconds", 0.0)))
                names = printable(", ".join(map(str, message.get("names") or ())))
                if unfinished or lost:
                    self.roster.put(
                        evolve(
                            record,
                            unfinished_tasks=record.unfinished_tasks + unfinished,
                            lost_results=record.lost_results + lost,
                        )
                    )
                    logger.warning(
                        "cluster %s: job %s had to leave (%s) with %s unfinished%s and %s that no other "
                        "worker could take: these run again, and count as nobody's failure.",
                        self.blueprint.name, record.id, _reason(message), counted(unfinished, "task"),
                        f" (for example {names})" * bool(names), counted(lost, "result"),
                    )  # fmt: skip

    async def _mourn(self, record: JobRecord, worker: str, address: str, cause: Cause, host: str) -> None:
        """Remember why a worker died while its job goes on, and say it once for each kind."""
        tasks = self.scheduler.ran_on(address)
        record = self.roster.get(record.id) or record
        record = self.roster.put(evolve(record, worker_deaths=record.worker_deaths + 1))
        failure = WorkerFailure(
            job=record,
            worker=worker,
            cause=cause.words,
            host=host,
            tasks=tasks,
            log_tail=await asyncio.to_thread(logs.of_last_death, record.log),
            hint=cause.cure,
        )
        self._failures.append(failure)
        if failure.kind not in self._told_deaths:
            self._told_deaths.add(failure.kind)
            logger.warning(
                "cluster %s: %s. %sIts job goes on and starts it again; further deaths of this kind stand in "
                "cluster.failures%s.",
                self.blueprint.name, failure.headline, f"{failure.hint} " * bool(failure.hint),
                f", what they printed in `corral logs {record.id}`" * (record.log is not None),
            )  # fmt: skip
        self._tell()

    def worker_was_silent(self, address: str) -> None:
        """The scheduler gives up a worker that has said nothing for too long, and has it started again."""
        record = self.roster.job_at(address)
        if record is None or record.has_ended:
            return
        name = str(self.scheduler.workers[address].name)
        cause = Cause(
            words=f"it said nothing for {self.scheduler.worker_ttl:.0f} s and was started again",
            cure="A task that holds Python's lock keeps a worker from answering; the configuration "
            "distributed.scheduler.worker-ttl says how long it may.",
        )
        host = (record.hosts or ("",))[0] if len(record.hosts) == 1 else ""
        self._start(self._mourn(record, name, address, cause, host))

    def _account_for_interrupted(self, record: JobRecord, task_seconds: float) -> None:
        """What tasks had run that were cut off was for nothing."""
        if (slot := self.groups.get(record.group)) is not None and task_seconds:
            resources = slot.resources
            cores_per_task = resources.cores * resources.nodes / max(1, resources.workers * resources.threads)
            self.census.ledger.interrupt(record.group, task_seconds * cores_per_task)

    def _compare_versions(self, record: JobRecord, theirs: str) -> None:
        """Tell the user, once, that jobs run another corral."""
        if theirs != __version__ and theirs not in self._versions:
            self._versions.add(theirs)
            logger.warning(
                "cluster %s: job %s runs corral %s, and this is corral %s: they may misunderstand each other. "
                "Install the same version in both Pythons.",
                self.blueprint.name, record.id, theirs or "of another version", __version__,
            )  # fmt: skip

    def _hear_of_node(self, record: JobRecord, message: Mapping[str, Any]) -> JobRecord:
        """The launcher of one node of a job of several says who it is, or that it has failed."""
        index = int(message.get("node", 0))
        hosts = message.get("hosts") or [""]
        record = self.roster.put(evolve(record, nodes=nodes.changed(record.nodes, index, host=str(hosts[0]))))
        present = {node.index: node for node in record.nodes if not node.is_lost}
        # If it is the last one, the job fails, and that is told.
        if message.get("event") == "failed" and index in present and len(present) > 1:
            record = self._lose_node(record, present[index], f"its launcher failed: {_reason(message)}")
            self._changed()
        return record

    def _lose_nodes(self, now: float) -> list[float]:
        """Give up nodes whose workers are gone while others of the job are here; returns when to look again."""
        again = []
        for record in self.roster.living():
            if not (record.workers and record.is_capacity):
                continue
            for node in nodes.lost(record.nodes, now):
                record = self._lose_node(record, node, "its workers are gone")  # noqa: PLW2901 - the same job
            again += [moment for node in record.nodes if (moment := nodes.lost_at(node)) is not None]
        return again

    def _lose_node(self, record: JobRecord, node: nodes.Node, why: str) -> JobRecord:
        record = self.roster.put(lose_node(record, node))
        logger.warning(
            "cluster %s: node %s of job %s is lost: %s. The job goes on with %d workers.",
            self.blueprint.name, node, record.id, why, record.expected_workers,
        )  # fmt: skip
        return record

    # --- ending jobs --------------------------------------------------------------------------------------------

    def _start_to_cancel(self, records: Sequence[JobRecord]) -> None:
        """Cancel all of them with one command; repetitions alone wait for room, and keep nothing else waiting."""
        is_new = any(record.cancel_asked_at is None for record in records)
        if is_new and (self._cancelling is None or self._cancelling.done()):
            self._cancelling = self._start(self._cancel(records))
        elif records and not is_new and (self._cancelling_again is None or self._cancelling_again.done()):
            self._cancelling_again = self._start(self._cancel(records, again=True))

    async def _cancel(self, records: Sequence[JobRecord], *, again: bool = False) -> None:
        self._note_cancellation(records, cancel_asked_at=self._clock.now())
        try:
            await self.batch.cancel([record.id for record in records], again=again)
        except Exception as error:
            logger.warning(
                "cluster %s: cancelling %s failed, it is tried again: %s",
                self.blueprint.name, counted(len(records), "job"), error,
            )  # fmt: skip
            accepted = {}
        else:
            accepted = {"is_doomed": True, "doomed_at": self._clock.now(), "spared_at": None}
        # A command that waited for room was given just now.
        self._note_cancellation(records, 1, cancel_asked_at=self._clock.now(), **accepted)
        self._acted_at = self.watch.now()
        self._changed()

    def _note_cancellation(self, records: Iterable[JobRecord], more: int = 0, **changes: Any) -> None:
        for record in records:
            record = self.roster.get(record.id) or record  # noqa: PLW2901 - the same job, better known
            self.roster.put(evolve(record, cancellations=record.cancellations + more, **changes))

    async def _retire(self, job_id: JobId, patience: float | None = RETIRE_PATIENCE) -> None:
        record = self.roster.get(job_id)
        reason = Parting.SURPLUS if record is None or record.parting is None else record.parting
        if not await self._ask_launcher(job_id, "corral_retire", reason=reason.value, patience=patience):
            record = self.roster.get(job_id)
            if record is not None and not record.has_ended:
                # It is deaf: now the plan will cancel it.
                self.roster.put(evolve(record, retire_asked_at=None))
        self._changed()

    async def _ask_launcher(self, job_id: JobId, operation: str, **arguments: Any) -> bool:
        """Call one of the job's nannies, which live in its launcher. False if none answers."""
        for address in self.roster.addresses(job_id):
            worker = self.scheduler.workers.get(address)
            if worker is None or not worker.nanny:
                continue
            try:
                # Not by the scheduler's pool, which would keep a connection to each launcher that there ever was.
                connection = rpc(worker.nanny, connection_args=self.scheduler.connection_args)
                async with clock.timeout(ANSWER_TIMEOUT), connection as launcher:
                    await getattr(launcher, operation)(**arguments)
            except (OSError, TimeoutError) as error:
                logger.info("cluster %s: job %s does not answer: %s", self.blueprint.name, job_id, error)
            else:
                return True
        return False

    async def _end_all(self, deadline: float) -> None:
        began = self._clock.now()
        for record in self.roster.living():
            self.roster.put(evolve(record, parting=Parting.CLOSING))
        if any(not record.workers for record in self.roster.living()):
            # That they are absent afterwards means something only if they were there before.
            await self._glance()
        if waiting := [record for record in self.roster.living() if not record.workers]:
            await self._cancel(waiting)
        connected = [record.id for record in self.roster.living() if record.workers]
        await asyncio.gather(*(self._ask_launcher(job_id, "corral_stop") for job_id in connected))
        pauses = itertools.chain((0.1, 0.3, 0.6, 1.0, 2.0, 3.0), itertools.repeat(5.0))
        while living := self.roster.living() or await self._still_there(began):
            is_in_doubt = all(record.absent_since is not None for record in living)
            if time.monotonic() > deadline or (is_in_doubt and self._clock.now() - began > DOUBT):
                names = ", ".join(str(record.id) for record in living[:10])
                logger.error(
                    "cluster %s: %d job(s) %s: %s. `corral clean` looks for them again.",
                    self.blueprint.name, len(living),
                    f"cannot be asked about ({self._blindness})" if self._blindness
                    else "are not listed by the batch system, which never said that they ended" if is_in_doubt
                    else "have not ended",
                    names,
                )  # fmt: skip
                return
            # That workers leave is heard, not asked for.
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + CLOSING_GRACE - self._clock.now())):
                    while any(record.workers for record in self.jobs):
                        await self._news.wait()
            pause = next(pauses)
            await asyncio.sleep(pause)
            try:
                job_ids = [record.id for record in living]
                need = functools.partial(self._need_while_closing, pause)
                if (answer := await self._ask(job_ids, need)) is not None:
                    await self._take(answer)
            except CorralError as error:
                self._blindness = str(error)
                logger.info("cluster %s: the batch system did not answer: %s", self.blueprint.name, error)
            now = self._clock.now()
            stubborn = [record for record in self.roster.living() if _is_stubborn(record, began, now)]
            if stubborn:
                await self._cancel(stubborn)

    async def _glance(self) -> None:
        """See which jobs the batch system lists, if it answers soon."""
        job_ids = [record.id for record in self.roster.living()]
        try:
            async with asyncio.timeout(GLANCE):
                answer = await self.batch.poll(job_ids, urgent=True)
        except (CorralError, TimeoutError) as error:
            logger.info("cluster %s: the batch system did not answer: %s", self.blueprint.name, error)
        else:
            await self._learn(answer, job_ids)

    async def _still_there(self, began: float) -> list[JobRecord]:
        """The jobs that are in the queue although their absence was once believed, and were not looked for since.

        Those that had workers cannot be among them: the workers have left.
        """
        missed: dict[tuple[str, str], list[JobRecord]] = {}
        for record in self.jobs:
            was_sought = record.unfound_since is not None and record.unfound_since >= began
            if record.is_presumed and record.connected_at is None and not was_sought:
                missed.setdefault((record.group, record.name), []).append(record)
        for (group, name), records in missed.items():
            try:
                present = set(await self.blueprint.batch_of(group).find(name))
            except CorralError as error:
                logger.warning(
                    "cluster %s: whether jobs of %s are left is not known: %s", self.blueprint.name, name, error
                )
                present = {record.id for record in records}
            for record in records:
                if record.id in present:
                    self.roster.put(evolve(as_found(record), parting=Parting.CLOSING, is_doomed=False))
                else:
                    self.roster.put(evolve(record, unfound_since=self._clock.now()))
        if living := self.roster.living():
            await self._cancel(living)
        return self.roster.living()

    # --- small questions ----------------------------------------------------------------------------------------

    @property
    def _plugin_name(self) -> str:
        return f"corral-{self.blueprint.uuid}"

    def _ready(self) -> int:
        return sum(1 for worker in self.scheduler.workers.values() if worker.status.name == "running")

    def _raise_if_hopeless(self, count: int) -> None:
        # Workers that somebody started by hand count as well.
        possible = max(0, self._ready() - sum(len(record.workers) for record in self.jobs))
        for name, slot in self.groups.items():
            mine = [record for record in self.jobs if record.group == name]
            capacity = [record for record in mine if record.is_capacity]
            hopeless = sum(record.expected_workers for record in capacity if slot.is_hopeless(record))
            coming = sum(record.expected_workers for record in capacity)
            if not slot.state.is_stopped and not isinstance(slot.trouble, BudgetSpent):
                coming += max(0, slot.state.wanted - len(capacity)) * slot.workers_per_job
            possible += coming - hopeless + sum(len(record.workers) for record in mine if not record.is_capacity)
        if possible >= count or any(slot.is_examining for slot in self.groups.values()):
            return
        for slot in self.groups.values():
            slot.tell_hopeless(self.jobs)
            if isinstance(slot.trouble, SubmitRejected | JobsFailed | InvalidRequest | BudgetSpent | PluginError):
                with suppress(ValueError):
                    self._undelivered.remove(slot.trouble)
                raise slot.trouble
        if lost := [f"{host} of job {record.id}" for record in self.jobs for host in record.lost_hosts]:
            raise JobsFailed(f"{possible} workers can come, not {count}: lost nodes: {', '.join(lost)}", ())
        raise InvalidRequest(
            "n_workers", f"{count} workers cannot come: the cluster is scaled to {possible}; call scale({count}) first"
        )

    def _load(self, record: JobRecord) -> float:
        """What a connected job would have to finish or move: tasks, and gigabytes."""
        workers = [self.scheduler.workers.get(address) for address in self.roster.addresses(record.id)]
        return sum(len(worker.processing) + worker.nbytes / 1e9 for worker in workers if worker is not None)


def _reason(message: Mapping[str, Any]) -> str:
    return printable(str(message.get("reason") or ""))


def _is_stubborn(record: JobRecord, began: float, now: float) -> bool:
    """Whether to cancel a job (again) while the cluster closes, which began at that moment."""
    if record.cancel_asked_at is None:
        return now - began >= CLOSING_GRACE
    is_accepted = record.is_doomed and record.spared_at is None
    return not is_accepted and now - record.cancel_asked_at >= pause_before_cancelling(record.cancellations)


class _Ear(SchedulerPlugin):
    """What the scheduler calls when workers come and go, and when launchers report."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add_worker(self, scheduler: DaskScheduler, worker: str) -> None:
        self.engine.worker_came(worker)

    def remove_worker(self, scheduler: DaskScheduler, worker: str, *, stimulus_id: str, **_: Any) -> None:
        self.engine.worker_left(worker)

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == TOPIC and isinstance(msg, Mapping):
            self.engine.heard(msg)
