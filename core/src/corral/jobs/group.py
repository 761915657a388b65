"""How a group stands: what it wants, what troubles it, and the words in which that is told."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, evolve, field
from dask.utils import format_bytes

from corral.errors import (
    BatchSystemError,
    BatchSystemUnavailable,
    BudgetSpent,
    CorralError,
    JobsFailed,
    LimitReached,
    NeverStarts,
    SubmitRejected,
    counted,
)
from corral.jobs.explanation import NEVER
from corral.jobs.group_state import GroupState, draw_conclusions, proved
from corral.jobs.plan import Plan, usual_wait
from corral.jobs.reasons import Case
from corral.jobs.record import JobFailure, JobRecord, Outcome, outcome
from corral.plugin.values import Job, JobId, JobState, Queue, Resources, Script
from corral.request.worker_group import WorkerGroup
from corral.text.logs import logger_of
from corral.text.printable import printable

logger = logger_of()

#: With a limit, room comes when a job ends, and that is noticed; the rest is patience (s).
LIMIT_PATIENCE = 60.0
#: When the batch system is asked why a job waits, and when again (s): it costs a command.
EXPLAINED_AFTER, EXPLAINED_AGAIN = 8.0, 600.0
#: So many refusals in a row of a single job, and what it asks for is told too.
BARE_REFUSALS = 3
#: So many deaths on one host, none of whose jobs has worked since the first, and the host is to blame.
BLAMED_AFTER = 2
#: How long a host is avoided (s): administrators mend hosts.
AVOIDED_FOR = 3600.0


@define(kw_only=True)
class Group:
    """A group at work."""

    name: str
    #: The cluster's name, for messages.
    cluster: str
    spec: WorkerGroup
    #: What each of its jobs has, and how long it lasts (s).
    resources: Resources
    walltime: float = math.inf
    #: What each of its jobs asks for, as it was prepared; None: not known.
    asked: Job | None = None
    #: Its jobs use what the user has already, beside a batch system where others want it: they cost nothing.
    is_free: bool = False
    #: For so many jobs there is room, as far as that is known.
    room: float = math.inf
    state: GroupState = GroupState()
    #: Jobs of the submission that is under way.
    submitting: int = 0
    #: A submission that failed and may have landed all the same: it is looked for before anything is submitted.
    doubtful: Script | None = None
    #: Why the group is stopped or waits.
    trouble: CorralError | None = None
    #: Jobs have ended and their logs are being read: what follows from it will be told in a moment.
    is_examining: bool = False
    #: The most jobs of one submission, since the batch system said that there were too many; None: it never did.
    portion: int | None = None
    #: It was removed: it goes when its last job has ended.
    is_removed: bool = False
    #: Why its jobs will never start, as the batch system said when asked; and when that was. Empty: nothing is known.
    verdict: str = ""
    explained_at: float | None = None
    #: Why a job waits, as the batch system said when asked; which job that is, and when that was.
    told: tuple[JobId, str, float] | None = None
    #: Failures since somebody scaled last.
    failures: list[JobFailure] = field(factory=list)
    #: Hosts on which its jobs kept dying while they worked on others, and until when they are avoided.
    avoided: dict[str, float] = field(factory=dict)
    #: How long its latest jobs took from their submission to their first worker (s), but for those that waited for
    #: others of this cluster to end; until there were twenty, also how long jobs of other clusters took, as far as that
    #: is remembered.
    waits: deque[float] = field(factory=lambda: deque(maxlen=20))
    #: How long they had run by then, as far as that was noticed (s).
    starts: deque[float] = field(factory=lambda: deque(maxlen=20))
    #: How long its latest workers had when they came (s).
    times: deque[float] = field(factory=lambda: deque(maxlen=20))
    #: Why what was last done for it was done, or nothing; empty before the first plan.
    because: str = ""

    @property
    def workers_per_job(self) -> int:
        return self.resources.workers

    @property
    def is_submitting(self) -> bool:
        """True if jobs may come to be known that are not known yet."""
        return bool(self.submitting) or self.doubtful is not None

    @property
    def usual_wait(self) -> float:
        """How long before a job leaves its replacement is asked for (s)."""
        return usual_wait(self.waits)

    def has_time(self, seconds: float) -> None:
        """A new worker has so many seconds, or any number."""
        if seconds != float("inf"):
            self.times.append(seconds)

    @property
    def lifetime(self) -> float:
        """Seconds that a worker has when it comes; until one has come, the walltime bounds it."""
        return max(self.times, default=self.walltime)

    def expect(self, waits: Iterable[float], starts: Iterable[float]) -> None:
        """Begin with what such jobs took before, oldest first: what its own will take comes after, and replaces it.

        Parameters
        ----------
        waits, starts
            As the attributes of these names (s).
        """
        self.waits.extend(waits)
        self.starts.extend(starts)

    def has_come(self, record: JobRecord) -> None:
        """A job got its first worker."""
        if record.connected_at is not None:
            if not record.took_own_place:
                self.waits.append(record.connected_at - record.submitted_at)
            # One whose launcher does not say when it began, and whose start was not seen, says nothing of it.
            if record.started_at is not None and record.started_at < record.connected_at:
                self.starts.append(record.connected_at - record.started_at)

    def is_short(self, jobs: Iterable[JobRecord]) -> bool:
        """True if jobs are missing that will be submitted without anybody's doing."""
        if self.state.is_stopped or isinstance(self.trouble, BatchSystemError | BudgetSpent):
            return False
        return self.count_unsubmitted(jobs) + self.submitting > 0

    # --- submissions --------------------------------------------------------------------------------------------

    def portion_of(self, count: int) -> int:
        """How many of these jobs to submit now: a refused array is tried again with half of its jobs."""
        return count if self.portion is None else min(count, self.portion)

    def has_room(self) -> None:
        """The batch system took as many as it was given: it may take twice as many."""
        if self.portion is not None:
            self.portion *= 2

    def postpone(self, error: BatchSystemError, script: Script | None, count: int, now: float) -> None:
        """The batch system did not take so many jobs this time."""
        if isinstance(error, LimitReached):
            self.portion = max(1, count // 2)
            if count > 1:
                self.doubtful = None
                return
        setbacks = self.state.setbacks + 1
        delay = LIMIT_PATIENCE if isinstance(error, LimitReached) else min(60.0, 2.0 ** (setbacks + 1))
        self.state = evolve(self.state, setbacks=setbacks, not_before=now + delay)
        self.doubtful = script if isinstance(error, BatchSystemUnavailable) else None
        self.trouble = error
        if setbacks == 1:
            logger.warning("submission postponed: %s", error, **self._about)
        if isinstance(error, LimitReached) and setbacks >= BARE_REFUSALS:
            self.trouble = LimitReached(f"{error}. {self._what_may_be_over_the_limit(setbacks)}", cause=error.cause)
            if setbacks == BARE_REFUSALS:
                logger.warning("submission postponed again: %s", self.trouble, **self._about)

    def _what_may_be_over_the_limit(self, times: int) -> str:
        """Where the batch system does not say which limit it is, one job alone may be over it, for ever."""
        each, walltime = self.resources, self.spec.walltime
        asked = [f"nodes={each.nodes}" * (each.nodes > 1), f"cores={each.cores}", f"gpus={each.gpus}" * bool(each.gpus)]
        asked.append(f"memory={format_bytes(each.memory)}" if each.memory else "")
        asked.append(f"walltime={walltime!r}" if walltime is not None else "no walltime")
        return (
            f"It was refused {times} times, one job at a time: either you already have as many jobs as you may, "
            "counting those of other programs, or a single job asks for more than it may "
            f"({', '.join(filter(None, asked))}, "
            f"queue={self.spec.queue!r}, account={self.spec.account!r}). It is retried every minute"
        )

    def trouble_in_words(self) -> str:
        """What keeps it from growing, and whether that is left to the user; empty if nothing does."""
        words = "" if self.trouble is None else str(self.trouble)
        is_tried_again = isinstance(self.trouble, BatchSystemUnavailable | LimitReached)
        if not is_tried_again or "retried" in words:
            return words
        return f"the submission will be retried automatically: {words}"

    def count_unsubmitted(self, jobs: Iterable[JobRecord]) -> int:
        """How many wanted jobs the batch system does not have, nor is being given."""
        there = sum(1 for job in jobs if job.group == self.name and job.is_capacity)
        return max(0, self.state.wanted - there - self.submitting)

    def reject(self, error: Exception) -> CorralError:
        """The batch system never will take the jobs, or a plugin failed; the error to raise."""
        if not isinstance(error, CorralError):
            logger.error("submission failed", exc_info=error, **self._about)
            error = SubmitRejected(f"submission failed: {error!r}")
        self.state = evolve(self.state, rejected=True)
        self.doubtful = None
        self.trouble = error
        logger.error("jobs of group %r were refused: %s. Scale again to try again.", self.name, error, **self._about)
        return error

    def is_hopeless(self, job: JobRecord) -> bool:
        """True if the job will never start, as far as is known."""
        return job.is_hopeless or bool(self.verdict and job.status.state is JobState.PENDING and not job.workers)

    def to_explain(self, jobs: Iterable[JobRecord], now: float) -> JobRecord | None:
        """The job of which to ask why it waits, if it is time to: one of many, as long as none has ever started."""
        mine = [job for job in jobs if job.group == self.name]
        if any(job.started_at is not None or self.is_hopeless(job) for job in mine):
            return None
        waiting = [job for job in mine if job.is_capacity and job.status.state is JobState.PENDING and job.was_listed]
        if not waiting or now - waiting[0].submitted_at < EXPLAINED_AFTER:
            return None
        if self.explained_at is not None and now - self.explained_at < EXPLAINED_AGAIN:
            return None
        self.explained_at = now
        return waiting[0]

    def learn_why(self, record: JobRecord, words: str, now: float) -> None:
        """The batch system has said why a job waits; empty: it did not."""
        words = words.replace(f" ({record.status.reason})", "", 1)  # told beside it
        self.verdict = words.removeprefix(NEVER).lstrip(" :,") if words.startswith(NEVER) else ""
        self.told = (record.id, words, now) if words and not self.verdict else None

    def waiting_words(self, jobs: Iterable[JobRecord], now: float) -> str:
        """Why a job waits, as was said of it, if it still waits and that was not long ago; else empty."""
        if self.told is None:
            return ""
        job_id, words, moment = self.told
        if now - moment > EXPLAINED_AGAIN:
            return ""
        is_so = any(job.id == job_id and job.is_capacity and job.state.is_waiting for job in jobs)
        return f"job {job_id}: {printable(words)}" if is_so else ""

    def tell_hopeless(self, jobs: Iterable[JobRecord]) -> bool:
        """Note jobs that will never start; True if that is news."""
        mine = [job for job in jobs if job.group == self.name]
        if any(job.started_at is not None for job in mine):
            self.verdict = ""
        hopeless = [job for job in mine if job.is_capacity and self.is_hopeless(job)]
        before = self.trouble if isinstance(self.trouble, NeverStarts) else None
        if not hopeless:
            # Somebody has raised a limit, or they were given up.
            self.trouble = self.trouble if before is None else None
            return before is not None
        status = hopeless[0].status
        cure = status.hopeless or self.verdict
        trouble = NeverStarts(self.name, len(hopeless), status.reason or status.native, cure)
        is_news = before is None or str(before) != str(trouble)
        if is_news:
            self.trouble = trouble
        if before is None or before.reason != trouble.reason:
            logger.error("%s", trouble, **self._about)
        return is_news

    def tell_withheld(self, todo: Plan) -> None:
        """More jobs were lost than may be replaced within the hour."""
        if todo.withheld and self.trouble is None:
            trouble = JobsFailed(
                f"{len(self.state.replaced)} jobs of group {self.name!r} were replaced within the hour; "
                f"{todo.withheld} more must wait (replacements-per-hour in the configuration)",
                self.failures,
            )
            self.warn(trouble)

    def explain(self, todo: Plan, now: float) -> bool:
        """Remember why this is to be done, and what plans do not know of; True if that is news."""
        because = todo.because
        if hosts := self.excluded_hosts(now):
            because += f"; jobs avoid {' '.join(hosts)}"
        if isinstance(self.trouble, NeverStarts):
            because += f" (a job will never start: {self.trouble.cure})"
        elif self.trouble is not None and todo.case in (Case.REFUSED, Case.POSTPONED):
            because += f" ({str(self.trouble).splitlines()[0]})"
        because = printable(because)
        is_news, self.because = because != self.because, because
        if is_news:
            logger.debug("group %r: %s", self.name, because, **self._about)
        return is_news

    # --- ends of jobs -------------------------------------------------------------------------------------------

    def handle_ended(self, ended: Sequence[JobRecord], jobs: Iterable[JobRecord], now: float) -> None:
        """Draw the conclusions from jobs that have ended."""
        self.state = draw_conclusions(proved(self.state, jobs, now), ended, now)
        if isinstance(self.trouble, LimitReached):
            self.state = evolve(self.state, not_before=0.0)

    def tell(self, before: GroupState, failures: Sequence[JobFailure], jobs: Sequence[JobRecord] = ()) -> None:
        """Tell the user what happened and what follows, each thing once; `jobs` are all of the cluster's."""
        self.failures += failures
        died = [failure for failure in failures if failure.outcome is Outcome.DIED]
        ids = [failure.job.id for failure in died]
        earlier = self.failures[: len(self.failures) - len(failures)]
        told = {failure.kind for failure in earlier if failure.outcome is Outcome.DIED}
        if self.state.broken and not before.broken:
            problem = (
                f"{self.state.strikes} jobs in a row of group {self.name!r} failed; nothing is submitted until you "
                f"scale again.{self._blame_of_all(jobs)}"
            )
            all_died = [failure for failure in self.failures if failure.outcome is Outcome.DIED]
            self.trouble = JobsFailed(problem, all_died)
            # What was told with the first of them is not told again.
            unseen = [failure for failure in died if failure.kind not in told]
            told_now = JobsFailed(problem, unseen) if unseen else problem
            logger.error("%s", told_now, job=ids, **self._about)
        elif unseen := [failure for failure in died if failure.kind not in told]:
            which = counted(len(died), "job")
            logger.warning("%s of group %r failed%s", which, self.name, JobsFailed("", unseen), job=ids, **self._about)
        elif died:
            which = counted(len(died), "more job")
            names = ", ".join(str(failure.job.id) for failure in died[:5]) + " …" * (len(died) > 5)
            words = "%s of group %r failed in the same way: %s"
            logger.warning(words, which, self.name, names, job=ids, **self._about)
        for failure in [failure for failure in failures if failure.outcome is not Outcome.DIED][:5]:
            logger.info("%s", failure, **self._about, job=failure.job.id)
        if self.state.wanted < before.wanted:
            self.trouble = JobsFailed(
                f"jobs of group {self.name!r} were cancelled from outside, which is taken to be intended: "
                f"{self.state.wanted} jobs are wanted now instead of {before.wanted}. Scale again to get more.",
                [failure for failure in self.failures if failure.outcome is Outcome.OPERATOR],
            )
            self.warn(self.trouble)

    def excluded_hosts(self, now: float) -> tuple[str, ...]:
        """The hosts to ask for no more."""
        return tuple(host for host, until in self.avoided.items() if now < until)

    def blame(self, jobs: Iterable[JobRecord], now: float) -> str | None:
        """The next host to avoid: jobs die there, one after the other, and work elsewhere. None if there is none."""
        deaths: dict[str, list[JobRecord]] = {}
        for failure in self.failures:
            if failure.outcome is Outcome.DIED:
                for host in failure.job.hosts:
                    if (failure.job.ended_at or 0.0) >= self.avoided.get(host, 0.0):
                        deaths.setdefault(host, []).append(failure.job)
        works = self._those_that_work(jobs)
        elsewhere = {host for job in works for host in job.hosts} - set(self.excluded_hosts(now))
        for host, records in deaths.items():
            if len(records) < BLAMED_AFTER:
                continue
            since = records[-BLAMED_AFTER].ended_at or 0.0
            is_well = any(host in job.hosts and (job.connected_at or 0.0) > since for job in works)
            # One host at least is left.
            if not is_well and elsewhere - {host}:
                self.avoided[host] = now + AVOIDED_FOR
                return host
        return None

    def _those_that_work(self, jobs: Iterable[JobRecord]) -> list[JobRecord]:
        return [job for job in jobs if job.group == self.name and job.connected_at is not None and not _has_died(job)]

    def _blame_of_all(self, jobs: Sequence[JobRecord]) -> str:
        """Words for a host on which all jobs died, if others have worked elsewhere: else nothing speaks against it."""
        hosts = {failure.job.hosts[:1] for failure in self.failures if failure.outcome is Outcome.DIED}
        if len(hosts) != 1 or not (host := "".join(*hosts)):
            return ""
        works_elsewhere = any(job.hosts and host not in job.hosts for job in self._those_that_work(jobs))
        return (
            f" All of them ran on {host}, while others work elsewhere: that host may be at fault."
            if works_elsewhere
            else ""
        )

    def warn(self, trouble: CorralError) -> None:
        """Say what keeps the group from growing."""
        self.trouble = trouble
        logger.warning("%s", str(trouble).splitlines()[0], **self._about)

    @property
    def _about(self) -> dict[str, Any]:
        """What its messages are about."""
        return {"cluster": self.cluster, "group": self.name}


def room_for(resources: Resources, queue: Queue) -> float:
    """How many such jobs, of one node each, fit on the nodes of a queue; infinite where it does not say."""
    asked = ((resources.cores, queue.cores), (resources.memory or 0, queue.memory), (resources.gpus, queue.gpus))
    return (queue.nodes or math.inf) * min(
        (there // each for each, there in asked if each and there is not None), default=math.inf
    )


def _has_died(job: JobRecord) -> bool:
    return job.has_ended and outcome(job) is Outcome.DIED
