"""Following: what becomes of jobs, as the batch system and the jobs' own scripts say."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from corral.batch.answers import Answer
from corral.batch.budget import Kind
from corral.batch.polling import Need
from corral.cluster.engine_state import EngineState
from corral.cluster.submitting import JobSubmitter
from corral.cluster.system import System
from corral.errors import BatchSystemError
from corral.jobs import exit_codes, logs
from corral.jobs.group import Group, room_for
from corral.jobs.plan import LOST_WORKERS_AFTER
from corral.jobs.record import JobRecord, Outcome, outcome
from corral.jobs.table import Lesson
from corral.jobs.transitions import spared
from corral.plugin.values import JobId, JobState, JobStatus
from corral.text.logs import logger_of

logger = logger_of()

#: A job that was signalled, or whose worker left on purpose, shows its new state by then (s).
LEAVING_GRACE = 1.0
#: Absent jobs are looked for under so many names after each poll, for each is a command; all, when the cluster closes.
NAMES_AT_ONCE = 5
#: So many polls in a row may fail for reasons that pass by themselves, and the user is told.
_PATIENT_POLLS = 3
#: How often is looked for answers to other clusters' questions, and for exit codes that jobs have written (s).
NEWS_INTERVAL = 0.5
EXITS_INTERVAL = 1.0
#: A job that has written its exit code is listed as ended by then (s).
EXIT_GRACE = 0.5
#: So long the batch system may take to say how it ended, before its exit code is taken for the whole truth (s).
EXIT_PATIENCE = 3.0


@define(kw_only=True, eq=False)
class JobFollower:
    """Asks one batch system how its jobs are, reads the exit codes that they write, and says what follows for groups.

    It remembers when it last learnt from an answer, so that an older one of another cluster's question teaches nothing;
    which jobs have written an exit code that the batch system has not confirmed; and, so that each thing is said once,
    why the batch system does not answer, and how many jobs it has lost from sight.
    """

    _state: EngineState
    _system: System
    _submitter: JobSubmitter
    #: So many polls in a row have failed, the last for this reason; and the reason that the user was told.
    failed_polls: int = field(default=0, init=False)
    blindness: str = field(default="", init=False)
    _told_blindness: str = field(default="", init=False)
    #: The last answer of the batch system lacked so many jobs, and listed none.
    _missing: int = field(default=0, init=False)
    #: When the latest answer that is known was asked for, on the watch's clock.
    _learnt_at: float = field(default=float("-inf"), init=False)
    _exits: exit_codes.ExitFiles = field(factory=exit_codes.ExitFiles, init=False)
    #: Jobs that say that they have ended: their exit codes, and when they were seen.
    _said: dict[JobId, tuple[int, float]] = field(factory=dict, init=False)
    _polling: asyncio.Task[None] | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin to learn from what others ask, and from what jobs write."""
        self._system.tasks.do_until_closing(self._listen(), name="corral news")
        self._system.tasks.do_until_closing(self._read_exits(), name="corral exits")

    def living(self) -> list[JobRecord]:
        """The batch system's jobs that have not ended."""
        return self._system.its(self._state.roster.living())

    def poll_when_due(self, now: float) -> float | None:
        """Ask how the living jobs are if it is time to; when to look again, if that is known."""
        living = self.living()
        if not living:
            return None
        rhythm = self._system.rhythm
        rhythm.is_connected = all(job.is_connected and job.status.state is JobState.RUNNING for job in living)
        due = rhythm.due()
        if due > now:
            return due
        if self._polling is None or self._polling.done():
            self._polling = self._system.tasks.do_until_closing(self._poll([record.id for record in living]))
            self._polling.add_done_callback(lambda _: self._state.wake.set())
        return None

    async def measure(self, group: Group) -> None:
        """Learn for how many of the group's jobs there is room, where nobody else has a say in that."""
        try:
            queues = await self._system.batch.queues()
        except Exception as error:
            self._note_silence(error)
            group.room = math.inf
            return
        group.room = sum(room_for(group.resources, queue) for queue in queues) or math.inf
        self._state.wake.set()

    async def glance(self, timeout: float) -> None:
        """See which jobs the batch system lists, if it answers within so many seconds."""
        job_ids = [record.id for record in self.living()]
        try:
            async with asyncio.timeout(timeout):
                answer = await self._system.batch.poll(job_ids, urgent=True)
        except Exception as error:
            self._note_silence(error)
        else:
            await self._learn(answer, job_ids)

    async def ask_while_closing(self, job_ids: Sequence[JobId], newer_than: float) -> None:
        """Learn how these jobs are. A person waits: the budget does not count.

        Parameters
        ----------
        newer_than
            What somebody has asked within so many seconds serves.
        """

        def need() -> Need:
            return Need(max(self._system.acted_at, self._system.watch.now() - newer_than), Kind.MORE)

        try:
            answer = await self._system.ask(job_ids, need)
        except Exception as error:
            # Also a process that could not be started: the next question may be answered.
            self.blindness = str(error) or repr(error)
            self._note_silence(error)
            return
        if answer is not None:
            await self._take(answer)

    def troubles(self) -> list[str]:
        """What keeps it from knowing how the jobs are."""
        troubles = []
        if self._told_blindness:
            troubles.append(f"{self._system} does not report on the jobs: {self._told_blindness}")
        if self._missing:
            troubles.append(f"{self._system} lists none of them at the moment, which may be its own error")
        if delay := self._system.delay():
            troubles.append(delay)
        return troubles

    # --- answers ------------------------------------------------------------------------------------------------

    async def _poll(self, job_ids: Sequence[JobId]) -> None:
        try:
            answer = await self._system.ask(job_ids, functools.partial(self._need, frozenset(job_ids)))
        except BatchSystemError as error:
            self._not_told(error, is_passing=self._system.batch.is_passing(error))
        except Exception as error:
            # A garbled answer tells nothing about any job; the next round will come.
            self._not_told(error, is_passing=False)
        else:
            # None: another cluster's question was answered meanwhile, or this one must be asked anew.
            if answer is not None:
                await self._take(answer)
            return
        self._system.rhythm.polled(self._state.now())

    def _need(self, job_ids: frozenset[JobId]) -> Need | None:
        """What is to be known of these jobs now; None if all is, or there are others by now."""
        now, rhythm = self._state.now(), self._system.rhythm
        living = {record.id for record in self.living()}
        if rhythm.due() > now or not living or living - job_ids:
            return None
        kind = Kind.URGENT if rhythm.is_urgent(now) and self._is_amiss() else Kind.QUESTION
        return Need(max(self._system.acted_at, self._system.watch.now() - now + rhythm.oldest(now)), kind)

    def _is_amiss(self) -> bool:
        """True if only the batch system can say what is wrong: jobs that have failed by themselves tell it in time."""
        if any(record.lost_workers_at is not None or record.leaving for record in self.living()):
            return True
        said = [(self._state.roster.get(job_id), code) for job_id, (code, _) in self._said.items()]
        return any(record is not None and exit_codes.evidence(record, code) is None for record, code in said)

    async def _listen(self) -> None:
        """Learn from the answers to questions of other clusters."""
        while True:
            await asyncio.sleep(NEWS_INTERVAL)
            try:
                job_ids = [record.id for record in self.living()]
                if job_ids and (answer := await self._system.news(job_ids)) is not None:
                    await self._take(answer)
            except Exception:
                logger.exception("an answer could not be processed", **self._about)

    async def _take(self, answer: Answer) -> None:
        """Learn from an answer, unless more is known already."""
        if self._told_blindness:
            logger.info("%s reports on the jobs again", self._system, **self._about)
        self.failed_polls, self.blindness, self._told_blindness = 0, "", ""
        if answer.asked_at <= max(self._learnt_at, self._system.acted_at):
            return
        self._learnt_at = answer.asked_at
        asked_at = self._state.now() - (self._system.watch.now() - answer.asked_at)
        if all(record.id in answer.asked for record in self.living()):
            self._system.rhythm.polled(asked_at)
        await self._learn(answer.jobs, list(answer.asked))
        for job_id in answer.jobs:
            if (record := self._state.roster.get(job_id)) is not None:
                self._state.roster.put(spared(record, asked_at))
        self._ask_again_where_workers_are_lost()
        self._state.wake.set()

    def _ask_again_where_workers_are_lost(self) -> None:
        """Some batch systems call a job running for seconds after its end: it is asked about soon, and ever less so."""
        now = self._state.now()
        gone = [record.lost_workers_at for record in self.living() if record.lost_workers_at is not None]
        passed = now - max(gone, default=float("-inf"))
        if passed < LOST_WORKERS_AFTER:
            self._system.rhythm.urgent(now + max(LEAVING_GRACE, passed))

    async def _read_exits(self) -> None:
        """See jobs end by what their scripts write: ask at once, and if nobody answers, believe it."""
        while True:
            await asyncio.sleep(EXITS_INTERVAL)
            try:
                living = self.living()
                codes = await asyncio.to_thread(self._exits.look, living, self._state.blueprint.home.files)
                now = self._state.now()
                for job_id, code in codes.items():
                    self._said[job_id] = code, now
                    self._system.rhythm.urgent(now + EXIT_GRACE)
                    self._system.rhythm.changed(now)
                    self._state.wake.set()
                await self._believe_exits(now)
            except Exception:
                logger.exception("exit codes could not be read", **self._about)

    async def _believe_exits(self, now: float) -> None:
        """Jobs whose scripts have failed have ended, also while the batch system cannot be asked."""
        answer: dict[JobId, JobStatus] = {}
        for job_id, (code, seen_at) in list(self._said.items()):
            record = self._state.roster.get(job_id)
            if record is None or record.has_ended or now - seen_at >= EXIT_PATIENCE:
                del self._said[job_id]
                if record is not None and (status := exit_codes.evidence(record, code)) is not None:
                    answer[job_id] = status
        if answer:
            await self._conclude(self._state.roster.learn(answer, list(answer), now))

    def _not_told(self, error: Exception, *, is_passing: bool) -> None:
        """A poll failed: say so, unless it is likely to pass; say each thing once."""
        self.failed_polls += 1
        self.blindness = str(error)
        if self.blindness != self._told_blindness and (not is_passing or self.failed_polls == _PATIENT_POLLS):
            self._told_blindness = self.blindness
            logger.warning(
                "%s does not report on the jobs: %s. It will be asked again; until it "
                "answers, only their workers show when jobs end.",
                self._system, error, **self._about,
            )  # fmt: skip
        else:
            self._note_silence(error)

    @property
    def _about(self) -> dict[str, Any]:
        """What its messages are about."""
        return {"cluster": self._state.name, "backend": self._system.batch.backend}

    def _note_silence(self, error: Exception) -> None:
        logger.info("%s did not answer: %s", self._system, error, **self._about)

    async def _learn(self, answer: Mapping[JobId, JobStatus], asked: Sequence[JobId]) -> None:
        # What is being cancelled may be gone before the command has said so.
        asked = [job_id for job_id in asked if job_id in answer or job_id not in self._system.being_cancelled]
        lesson = self._state.roster.learn(answer, asked, self._state.now())
        for group in self._state.groups_of(self._system):
            if group.tell_hopeless(self._state.roster.jobs):
                self._state.tell()
            if (
                not self._state.is_closing
                and (record := group.to_explain(self._state.roster.jobs, self._state.now())) is not None
            ):
                self._system.tasks.see_to_its_end(self._explain(group, record))
        self._tell_missing(lesson)
        await self._conclude(lesson)
        if lesson.to_seek:
            await self._seek(lesson.to_seek, lists_none=lesson.lists_none)
        self._missing = min(self._missing, len(self.living()))

    async def _explain(self, group: Group, record: JobRecord) -> None:
        """Ask why a job waits: some batch systems say only then that it will never start."""
        try:
            words = await self._state.blueprint.batch_of(group.name).explain(record.id)
        except Exception as error:
            of: dict[str, Any] = {**self._about, "group": group.name, "job": record.id}
            logger.info("why job %s is waiting is not known: %s", record.id, error, **of)
            return
        group.learn_why(record, words, self._state.now())
        if group.tell_hopeless(self._state.roster.jobs):
            self._state.tell()
        else:
            self._state.on_change()

    async def _conclude(self, lesson: Lesson) -> None:
        for group in self._state.groups_of(self._system):
            if mine := [record for record in lesson.ended if record.group == group.name]:
                await self._handle_ended(group, mine)
        if lesson.is_changed:
            self._state.changed(self._system)

    async def _seek(self, absent: Iterable[JobRecord], *, lists_none: bool) -> None:
        """Look for absent jobs by the names under which they were submitted."""
        by_name: dict[tuple[str, str], list[JobId]] = {}
        for record in absent:
            by_name.setdefault((record.group, record.name), []).append(record.id)
        most = None if self._state.is_closing else NAMES_AT_ONCE
        for (group, name), job_ids in list(by_name.items())[:most]:
            try:
                found = await self._state.blueprint.batch_of(group).find(name, waits=not self._state.is_closing)
            except Exception as error:
                self._note_silence(error)
                return
            now = self._state.now()
            await self._conclude(self._state.roster.sought(job_ids, frozenset(found), now, lists_none=lists_none))

    def _tell_missing(self, lesson: Lesson) -> None:
        """Say once that the batch system has lost all jobs from sight."""
        before = self._missing
        unexplained = [record for record in lesson.absent if record.was_listed and not record.is_cancel_accepted]
        self._missing = len(unexplained) if lesson.lists_none else 0
        if self._missing and not before:
            logger.warning(
                "%s answers, but lists none of the %d jobs that it should have; "
                "they are assumed to be there until it has said otherwise for several minutes",
                self._system, self._missing, **self._about,
            )  # fmt: skip
        elif before and not self._missing:
            logger.info("%s lists the cluster's jobs again", self._system, **self._about)

    async def _handle_ended(self, group: Group, ended: Sequence[JobRecord]) -> None:
        """Remember why jobs ended, let the group draw its conclusions, and tell the user."""
        before = group.state
        self._state.tally.have_ended(ended)
        group.handle_ended(ended, self._state.roster.jobs, self._state.now())
        group.is_examining = True
        try:
            unasked = [
                record for record in ended if outcome(record) is not Outcome.WANTED and not record.left_in_good_time
            ]
            files = self._state.blueprint.home.files
            failures = await asyncio.to_thread(logs.examine, unasked, files)
            await asyncio.to_thread(exit_codes.remove, ended, files)
        finally:
            group.is_examining = False
        self._state.failures.extend(failures)
        self._state.tally.failed(failures)
        group.tell(before, failures, self._state.roster.jobs)
        if (host := group.blame(self._state.roster.jobs, self._state.now())) is not None:
            self._submitter.avoid(group, host)
        self._state.roster.forget_oldest()
