"""Keeps the jobs that are wanted: carries out plans, follows what becomes of every job, and says so.

The engine lives on the event loop of the Dask scheduler, beside it. It learns from three sources: polls of the batch
system, workers that connect and leave, and what launchers report. Whatever it learns changes a `JobRecord` or a
`GroupState`, wakes it, and leads to a new plan.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field
from distributed.diagnostics.plugin import SchedulerPlugin

from corral import jobs as lives
from corral import logs
from corral.batch import BatchSystem
from corral.blueprint import Blueprint
from corral.domain import JobId, JobState, JobStatus, Script
from corral.errors import (
    BatchSystemError,
    BatchSystemUnavailable,
    CorralError,
    InvalidRequest,
    JobsFailed,
    LimitReached,
    SubmitRejected,
    WorkersNotReady,
)
from corral.group import WorkerGroup
from corral.jobs import Ending, JobFailure, JobRecord, Parting
from corral.plan import GroupState, Plan, judge, plan, proved, rescaled, submitted
from corral.watch import Rhythm, Watch

if TYPE_CHECKING:
    from distributed import Scheduler

logger = logging.getLogger("corral")

#: The topic under which launchers report (see corral.launch).
TOPIC = "corral"
#: A worker process that its nanny restarts is back by then (s).
VANISHED_GRACE = 2.0
#: A job that was signalled shows its new state by then (s).
LEAVING_GRACE = 1.0
#: When a submission that may have landed twice is looked for again (s).
RECHECKS = (10.0, 60.0)
#: How many jobs that have ended are remembered.
REMEMBERED = 1000
#: How long connected jobs may take to end by themselves while the cluster closes (s).
CLOSING_GRACE = 5.0


@define(kw_only=True)
class Group:
    """A group at work."""

    name: str
    spec: WorkerGroup
    state: GroupState = GroupState()
    #: Jobs of the submission that is under way.
    submitting: int = 0
    #: A submission that failed and may have landed all the same.
    doubtful: Script | None = None
    #: Why the group is stopped or waits.
    trouble: CorralError | None = None
    #: Failures since somebody scaled last.
    failures: list[JobFailure] = field(factory=list)

    @property
    def workers_per_job(self) -> int:
        return self.spec.resources.workers


@define(kw_only=True, eq=False)
class Engine:
    """The jobs of one cluster.

    All methods run on the event loop of the scheduler; the properties may be read from any thread.
    """

    blueprint: Blueprint
    scheduler: Scheduler
    #: Which watch serves this cluster: the same for all clusters that ask the same batch system in the same way.
    watch: Watch
    rhythm: Rhythm
    replacements_per_hour: int | None = None
    #: Called on the event loop when something changed.
    on_change: Callable[[], None] = lambda: None

    groups: dict[str, Group] = field(init=False)
    _records: dict[JobId, JobRecord] = field(factory=dict, init=False)
    _failures: deque[JobFailure] = field(factory=lambda: deque(maxlen=REMEMBERED), init=False)
    _workers: dict[str, tuple[JobId, str]] = field(factory=dict, init=False)
    #: Workers of jobs whose submission has not returned yet.
    _early: dict[JobId, set[str]] = field(factory=dict, init=False)
    _numbers: itertools.count[int] = field(factory=lambda: itertools.count(1), init=False)
    #: Submissions that were repeated, and so may have landed twice.
    _repeated: list[tuple[Group, Script]] = field(factory=list, init=False)
    _rechecks: set[asyncio.Task[None]] = field(factory=set, init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)
    _main: asyncio.Task[None] | None = field(default=None, init=False)
    _polling: asyncio.Task[None] | None = field(default=None, init=False)
    _cancelling: asyncio.Task[None] | None = field(default=None, init=False)
    _wake: asyncio.Event = field(factory=asyncio.Event, init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)
    #: Before this moment no answer of the batch system shows what was last asked of it.
    _acted_at: float = field(default=float("-inf"), init=False)
    _undelivered: list[CorralError] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.groups = {name: Group(name=name, spec=spec) for name, spec in self.blueprint.groups.items()}

    # --- the face -----------------------------------------------------------------------------------------------

    @property
    def batch(self) -> BatchSystem:
        return self.blueprint.batch

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        return tuple(self._records.values())

    @property
    def failures(self) -> tuple[JobFailure, ...]:
        return tuple(self._failures)

    def start(self) -> None:
        self.scheduler.add_plugin(_Ear(self), name=f"corral-{self.blueprint.uuid}")
        self._main = asyncio.create_task(self._run(), name="corral engine")

    def scale(self, group: str, jobs: int) -> None:
        """Want so many jobs of a group; forgives what stopped it."""
        slot = self.groups[group]
        slot.state = rescaled(slot.state, jobs)
        slot.trouble = None
        slot.failures.clear()
        if self._undelivered:
            self._undelivered.clear()
        self._changed()

    async def submitted(self) -> None:
        """Return when no submission is under way; raise what stopped one.

        Raises
        ------
        SubmitRejected
        """
        self._wake.set()
        while True:
            news = self._news
            self._raise_undelivered()
            if not any(slot.submitting or self._is_short(slot) for slot in self.groups.values()):
                return
            await news.wait()

    async def wait_for_workers(self, count: int, timeout: float | None = None) -> None:
        """Return when `count` workers are connected.

        Raises
        ------
        SubmitRejected, JobsFailed
            They can no longer come.
        WorkersNotReady
            They did not come in time.
        """
        async with _deadline(timeout) as deadline:
            while self._connected() < count:
                news = self._news
                self._raise_if_hopeless(count)
                await self._heard(news)
        if deadline.expired:
            raise WorkersNotReady(self._connected(), count, timeout or 0.0, self.whereabouts())
        self._undelivered.clear()

    def whereabouts(self) -> str:
        """``3 jobs running (2 connected), 1 pending (Resources)``."""
        words: dict[str, int] = {}
        for record in self.jobs:
            if record.has_ended:
                continue
            word = record.state.value
            if record.is_connected:
                word = "connected"
            elif record.reason not in ("", "None"):
                word += f" ({record.reason})"
            words[word] = words.get(word, 0) + 1
        text = ", ".join(f"{count} job{'s' * (count > 1)} {word}" for word, count in sorted(words.items()))
        parts = [text or "no job is in the queue"]
        parts += [f"{slot.submitting} being submitted" for slot in self.groups.values() if slot.submitting]
        parts += [str(slot.trouble) for slot in self.groups.values() if slot.trouble]
        return "; ".join(parts)

    async def close(self, timeout: float) -> None:
        """End all jobs, and see that they have ended.

        Parameters
        ----------
        timeout
            After so many seconds it returns although jobs are left, and says which.
        """
        deadline = time.monotonic() + timeout
        for task in (self._main, self._polling, *self._rechecks):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        # A submission that is under way is seen to its end: cutting it off would leave jobs that nobody knows.
        await _settled(self._tasks, timeout)
        for slot, script in self._repeated:
            await self._find(slot, script)
        for slot in self.groups.values():
            if slot.doubtful is not None:
                await self._find(slot, slot.doubtful)
        await self._end_all(deadline)
        with suppress(ValueError):
            self.scheduler.remove_plugin(f"corral-{self.blueprint.uuid}")
        self.watch.forget(self)
        if self.blueprint.chosen_log_directory is None:
            await asyncio.to_thread(logs.tidy, self.jobs)

    def raise_undelivered(self) -> None:
        """Raise a rejection that nobody has heard of yet."""
        self._raise_undelivered()

    # --- the loop -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                again_at = self._step()
            except Exception:
                # One bad moment must not end the care for jobs that cost an allocation.
                logger.exception("cluster %s: planning failed; it is tried again", self.blueprint.name)
                again_at = _now() + 10.0
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, again_at - _now())):
                    await self._wake.wait()

    def _step(self) -> float:
        """Do what is to do now; return when to look again at the latest."""
        now = _now()
        again = [now + 60.0]
        by_group: dict[str, list[JobRecord]] = {name: [] for name in self.groups}
        for record in self._records.values():
            by_group[record.group].append(record)
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
            )
            cancel += [self._update(evolve(record, parting=parting)) for record, parting in todo.cancel]
            for record in todo.retire:
                self._update(evolve(record, parting=Parting.SURPLUS, retire_asked_at=now))
                self._start(self._retire(record.id))
            if todo.submit and not slot.submitting:
                slot.submitting = todo.submit
                self._start(self._submit(slot, todo))
            self._tell_withheld(slot, todo)
            if todo.again_at is not None:
                again.append(todo.again_at)
        if cancel and (self._cancelling is None or self._cancelling.done()):
            self._cancelling = self._start(self._cancel(cancel))
        if living := [record for record in self._records.values() if not record.has_ended]:
            due = self.rhythm.due()
            if due > now:
                again.append(due)
            elif self._polling is None or self._polling.done():
                self._polling = asyncio.create_task(self._poll(living))
                self._polling.add_done_callback(lambda _: self._wake.set())
        return min(again)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _changed(self) -> None:
        """Something changed: plan, poll sooner, and tell who waits."""
        self.rhythm.changed(_now())
        self._told()

    def _told(self) -> None:
        self._wake.set()
        news, self._news = self._news, asyncio.Event()
        news.set()
        self.on_change()

    # --- submission ---------------------------------------------------------------------------------------------

    async def _submit(self, slot: Group, todo: Plan) -> None:
        script = slot.doubtful
        try:
            may_have_landed = script is not None
            if script is None:
                script = self._new_script(slot)
            submission = await self.batch.submit(script, todo.submit, may_have_landed=may_have_landed)
        except (BatchSystemUnavailable, LimitReached) as error:
            self._postpone(slot, error, script)
        except Exception as error:
            self._reject(slot, error)
        else:
            now = _now()
            slot.doubtful = slot.trouble = None
            slot.state = submitted(slot.state, min(todo.replacements, len(submission.ids)), now)
            self._acted_at = time.monotonic()
            self._adopt(slot, script, submission.ids)
            logger.info("submitted %d job(s) of group %s as %s", len(submission.ids), slot.name, script.name)
            if not submission.is_certain:
                self._repeated.append((slot, script))
                recheck = asyncio.create_task(self._recheck(slot, script))
                self._rechecks.add(recheck)
                recheck.add_done_callback(self._rechecks.discard)
        finally:
            slot.submitting = 0
            self._changed()

    def _adopt(self, slot: Group, script: Script, ids: Iterable[JobId]) -> None:
        now = _now()
        for job_id in ids:
            if job_id in self._records:
                continue
            record = JobRecord(
                id=job_id,
                group=slot.name,
                name=script.name,
                expected_workers=slot.workers_per_job,
                log=None if script.log is None else script.log.replace("{id}", job_id.text),
                submitted_at=now,
            )
            for worker in self._early.pop(job_id, ()):
                record = lives.connect(record, worker, now)
            self._records[job_id] = record
            self._broadcast(job_id, None, record.status)

    async def _recheck(self, slot: Group, script: Script) -> None:
        """A submission was repeated: should the first one land late, its jobs must not run unknown."""
        waited = 0.0
        for moment in RECHECKS:
            await asyncio.sleep(moment - waited)
            waited = moment
            await self._find(slot, script)

    async def _find(self, slot: Group, script: Script) -> None:
        with suppress(BatchSystemError):
            self._adopt(slot, script, await self.batch.find(script.name))
            self._told()

    def _postpone(self, slot: Group, error: BatchSystemError, script: Script | None) -> None:
        setbacks = slot.state.setbacks + 1
        # With limits, room comes when a job ends, and that wakes the plan; the rest is patience.
        delay = 60.0 if isinstance(error, LimitReached) else min(60.0, 2.0 ** (setbacks + 1))
        slot.state = evolve(slot.state, setbacks=setbacks, not_before=_now() + delay)
        slot.doubtful = script if isinstance(error, BatchSystemUnavailable) else None
        slot.trouble = error
        if setbacks == 1:
            logger.warning("cluster %s: submission postponed: %s", self.blueprint.name, error)

    def _reject(self, slot: Group, error: Exception) -> None:
        if not isinstance(error, CorralError):
            logger.error("cluster %s: submission failed", self.blueprint.name, exc_info=error)
            error = SubmitRejected(f"submission failed: {error!r}")
        slot.state = evolve(slot.state, rejected=True)
        slot.doubtful = None
        slot.trouble = error
        self._undelivered.append(error)
        logger.error(
            "cluster %s: the batch system refused the jobs of group %s: %s. Scale again to try again.",
            self.blueprint.name, slot.name, error,
        )  # fmt: skip

    def _new_script(self, slot: Group) -> Script:
        job = self.batch.request(
            slot.spec,
            group=slot.name,
            name=self.blueprint.job_name(next(self._numbers)),
            log_directory=str(self.blueprint.log_directory),
            launcher_options=self.blueprint.launcher_options,
        )
        return self.batch.render(job)

    # --- following jobs -----------------------------------------------------------------------------------------

    async def _poll(self, living: list[JobRecord]) -> None:
        try:
            answer = await self.watch.poll(
                self,
                [record.id for record in living],
                self.batch.poll,
                patience=self.rhythm.patience(),
                since=self._acted_at,
            )
        except BatchSystemError as error:
            logger.info("cluster %s: the batch system did not answer: %s", self.blueprint.name, error)
        except Exception as error:
            # A garbled answer tells nothing about any job; the next round will come.
            logger.warning("cluster %s: the batch system's answer was not understood: %s", self.blueprint.name, error)
        else:
            await self._learn(answer, {record.id for record in living})
        finally:
            self.rhythm.polled(_now())

    async def _learn(self, answer: Mapping[JobId, JobStatus], asked: set[JobId]) -> None:
        now = _now()
        ended: list[JobRecord] = []
        is_changed = False
        for job_id in asked:
            before = self._records.get(job_id)
            if before is None or before.has_ended:
                continue
            after = lives.observe(before, answer.get(job_id), now)
            if after is before:
                continue
            self._records[job_id] = after
            if after.has_ended:
                ended.append(after)
            if after.status.state is not before.status.state or after.has_ended:
                is_changed = True
                self._broadcast(job_id, before.status, after.status)
        if ended:
            await self._bury(ended, now)
        if is_changed:
            self._changed()

    async def _bury(self, ended: list[JobRecord], now: float) -> None:
        """Jobs have ended: remember why, tell the user, and let the group draw its conclusions."""
        for name, slot in self.groups.items():
            mine = [record for record in ended if record.group == name]
            if not mine:
                continue
            before = slot.state
            slot.state = judge(proved(slot.state, self.jobs, now), mine, now)
            if isinstance(slot.trouble, LimitReached):
                slot.state = evolve(slot.state, not_before=0.0)
            unwanted = [record for record in mine if lives.ending(record) is not Ending.WANTED]
            failures = await asyncio.to_thread(logs.examine, unwanted)
            slot.failures += failures
            self._failures.extend(failures)
            self._tell(slot, before, failures)
        self._forget_oldest()

    def _tell(self, slot: Group, before: GroupState, failures: list[JobFailure]) -> None:
        died = [failure for failure in failures if failure.ending is Ending.DIED]
        others = [failure for failure in failures if failure.ending is not Ending.DIED]
        if died:
            logger.warning(
                "cluster %s: %d job(s) of group %s failed, for example\n%s",
                self.blueprint.name,
                len(died),
                slot.name,
                died[0],
            )
        for failure in others[:5]:
            logger.info("cluster %s: %s", self.blueprint.name, failure)
        if slot.state.broken and not before.broken:
            slot.trouble = JobsFailed(
                f"{slot.state.strikes} jobs in a row of group {slot.name!r} failed; nothing is submitted until you "
                f"scale again.{_blame(slot.failures)}",
                [failure for failure in slot.failures if failure.ending is Ending.DIED],
            )
            logger.error("cluster %s: %s", self.blueprint.name, slot.trouble)
        if slot.state.wanted < before.wanted:
            slot.trouble = JobsFailed(
                f"jobs of group {slot.name!r} were cancelled from outside, which is taken as a wish: "
                f"{slot.state.wanted} jobs are wanted now instead of {before.wanted}. Scale again to have more.",
                [failure for failure in slot.failures if failure.ending is Ending.OPERATOR],
            )
            logger.warning("cluster %s: %s", self.blueprint.name, str(slot.trouble).splitlines()[0])

    def _tell_withheld(self, slot: Group, todo: Plan) -> None:
        if todo.withheld and slot.trouble is None:
            slot.trouble = JobsFailed(
                f"{len(slot.state.replaced)} jobs of group {slot.name!r} were replaced within the hour; "
                f"{todo.withheld} more must wait", slot.failures,
            )  # fmt: skip
            logger.warning("cluster %s: %s", self.blueprint.name, str(slot.trouble).splitlines()[0])

    def _forget_oldest(self) -> None:
        ended = [record for record in self._records.values() if record.has_ended]
        for record in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._records[record.id]

    def _update(self, record: JobRecord) -> JobRecord:
        self._records[record.id] = record
        return record

    def _broadcast(self, job_id: JobId, before: JobStatus | None, after: JobStatus) -> None:
        try:
            self.batch.manager.hook.job_state_changed(job=job_id, before=before, after=after)
        except Exception:
            logger.exception("a plugin failed in job_state_changed")

    # --- ending jobs --------------------------------------------------------------------------------------------

    async def _cancel(self, records: list[JobRecord]) -> None:
        now = _now()
        for record in records:
            self._update(evolve(self._records.get(record.id, record), cancel_asked_at=now))
        try:
            await self.batch.cancel([record.id for record in records])
        except Exception as error:
            logger.warning(
                "cluster %s: cancelling %d job(s) failed, it is tried again: %s",
                self.blueprint.name,
                len(records),
                error,
            )
        self._acted_at = time.monotonic()
        self._changed()

    async def _retire(self, job_id: JobId) -> None:
        if not await self._ask_launcher(job_id, "corral_retire", reason="no longer wanted"):
            # Deaf: the plan will cancel it.
            if (record := self._records.get(job_id)) is not None and not record.has_ended:
                self._update(evolve(record, retire_asked_at=None))
        self._changed()

    async def _ask_launcher(self, job_id: JobId, operation: str, **arguments: str) -> bool:
        """Call one of the job's nannies, which live in its launcher. False if none answers."""
        for address, (owner, _) in list(self._workers.items()):
            worker = self.scheduler.workers.get(address)
            if owner != job_id or worker is None or not worker.nanny:
                continue
            try:
                async with asyncio.timeout(10.0):
                    await getattr(self.scheduler.rpc(worker.nanny), operation)(**arguments)
            except (OSError, TimeoutError) as error:
                logger.info("cluster %s: job %s does not answer: %s", self.blueprint.name, job_id, error)
            else:
                return True
        return False

    async def _end_all(self, deadline: float) -> None:
        now = _now()
        living = [record for record in self._records.values() if not record.has_ended]
        for record in living:
            self._update(evolve(record, parting=Parting.CLOSING))
        connected = [record.id for record in living if record.workers]
        waiting = [record for record in living if not record.workers]
        await asyncio.gather(
            self._cancel(waiting) if waiting else _nothing(),
            *(self._ask_launcher(job_id, "corral_stop") for job_id in connected),
        )
        pauses = itertools.chain((0.1, 0.3, 0.6, 1.0, 2.0, 3.0), itertools.repeat(5.0))
        while living := [record for record in self._records.values() if not record.has_ended]:
            if time.monotonic() > deadline:
                names = ", ".join(str(record.id) for record in living[:10])
                logger.error("cluster %s: %d job(s) have not ended: %s", self.blueprint.name, len(living), names)
                return
            # Those that end by themselves come first: their workers' leaving is heard, not asked for.
            await self._workers_gone(now + CLOSING_GRACE)
            await asyncio.sleep(next(pauses))
            with suppress(Exception):
                answer = await self.batch.poll([record.id for record in living], urgent=True)
                await self._learn(answer, {record.id for record in living})
            again = [
                record
                for record in self._records.values()
                if not record.has_ended
                and _now() - (now if record.cancel_asked_at is None else record.cancel_asked_at) >= CLOSING_GRACE
            ]
            if again:
                await self._cancel(again)

    async def _workers_gone(self, until: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - _now())):
                while any(record.workers for record in self._records.values()):
                    await self._news.wait()

    # --- what the Dask scheduler tells --------------------------------------------------------------------------

    def worker_came(self, address: str) -> None:
        worker = self.scheduler.workers[address]
        job_id = job_of(str(worker.name))
        if job_id is None:
            return
        self._workers[address] = (job_id, str(worker.name))
        if (record := self._records.get(job_id)) is None:
            self._early.setdefault(job_id, set()).add(str(worker.name))
            return
        after = self._update(lives.connect(record, str(worker.name), _now()))
        if record.state is not after.state:
            self._broadcast(job_id, record.status, evolve(after.status, state=JobState.RUNNING))
        self._told()

    def worker_left(self, address: str) -> None:
        job_id, name = self._workers.pop(address, (None, ""))
        if job_id is None:
            return
        self._early.get(job_id, set()).discard(name)
        if (record := self._records.get(job_id)) is None or record.has_ended:
            return
        self._update(lives.disconnect(record, name))
        self.rhythm.urgent(_now() + (0.5 if record.leaving or record.parting else VANISHED_GRACE))
        self._told()

    def heard(self, message: Mapping[str, Any]) -> None:
        """A launcher reports."""
        record = self._records.get(JobId(str(message.get("job"))))
        if record is None or record.has_ended:
            return
        if message.get("event") == "leaving":
            self._update(evolve(record, leaving=str(message.get("reason") or "leaving")))
            self.rhythm.urgent(_now() + LEAVING_GRACE)
            self._changed()

    # --- small questions ----------------------------------------------------------------------------------------

    async def _heard(self, news: asyncio.Event) -> None:
        """Return when something changed. Nobody tells that a registered worker has become ready: look again soon."""
        is_starting = any(worker.status.name == "init" for worker in self.scheduler.workers.values())
        with suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), 0.05 if is_starting else None)

    def _connected(self) -> int:
        return sum(1 for worker in self.scheduler.workers.values() if worker.status.name == "running")

    def _is_short(self, slot: Group) -> bool:
        if slot.state.is_stopped or isinstance(slot.trouble, BatchSystemError):
            return False
        return sum(1 for r in self.jobs if r.group == slot.name and r.is_capacity) < slot.state.wanted

    def _raise_undelivered(self) -> None:
        if self._undelivered:
            raise self._undelivered.pop(0)

    def _raise_if_hopeless(self, count: int) -> None:
        # Workers that somebody started by hand count as well.
        possible = max(0, self._connected() - sum(len(record.workers) for record in self.jobs))
        for name, slot in self.groups.items():
            expected = sum(r.expected_workers for r in self.jobs if r.group == name and r.is_capacity)
            leaving = sum(len(r.workers) for r in self.jobs if r.group == name and not r.is_capacity)
            if not slot.state.is_stopped:
                expected = max(expected, slot.state.wanted * slot.workers_per_job)
            possible += expected + leaving
        if possible >= count:
            return
        for slot in self.groups.values():
            if isinstance(slot.trouble, SubmitRejected | JobsFailed | InvalidRequest):
                with suppress(ValueError):
                    self._undelivered.remove(slot.trouble)
                raise slot.trouble
        raise InvalidRequest(
            "n_workers", f"{count} workers cannot come: the cluster is scaled to {possible}; call scale({count}) first"
        )

    def _load(self, record: JobRecord) -> float:
        """What a connected job would have to finish or move: tasks, and gigabytes."""
        load = 0.0
        for name in record.workers:
            address = self.scheduler.aliases.get(name)
            if address is not None and (worker := self.scheduler.workers.get(address)) is not None:
                load += len(worker.processing) + worker.nbytes / 1e9
        return load


class _Ear(SchedulerPlugin):
    """What the scheduler calls when workers come and go, and when launchers report."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self.engine.worker_came(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **_: Any) -> None:
        self.engine.worker_left(worker)

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == TOPIC and isinstance(msg, Mapping):
            self.engine.heard(msg)


_WORKER = re.compile(r"(?P<job>.+?)(?:\.r\d+)?-\d+")


def job_of(worker: str) -> JobId | None:
    """The job that a worker belongs to, by its name: ``77_3-0``, or ``77_3.r1-0`` after a requeue."""
    match = _WORKER.fullmatch(worker)
    return JobId(match["job"]) if match else None


def _blame(failures: Iterable[JobFailure]) -> str:
    """A host on which every one of several jobs died deserves to be named."""
    hosts = [failure.job.hosts for failure in failures if failure.ending is Ending.DIED]
    if len(hosts) >= 2 and len({host[:1] for host in hosts}) == 1 and hosts[0]:
        return f" All of them ran on {hosts[0][0]}: that host may be at fault."
    return ""


def _now() -> float:
    return time.monotonic()


async def _nothing() -> None:
    return None


async def _settled(tasks: set[asyncio.Task[None]], timeout: float) -> None:
    if tasks:
        _, unfinished = await asyncio.wait(tasks, timeout=max(0.0, timeout))
        for task in unfinished:
            task.cancel()


class _deadline:  # noqa: N801 - used like asyncio.timeout
    """Like `asyncio.timeout`, but tells instead of raising."""

    def __init__(self, seconds: float | None) -> None:
        self._timeout = asyncio.timeout(seconds)
        self.expired = False

    async def __aenter__(self) -> _deadline:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> bool:
        try:
            await self._timeout.__aexit__(*exception)
        except TimeoutError:
            self.expired = True
            return True
        return False
