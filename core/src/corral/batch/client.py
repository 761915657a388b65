"""The hooks of one backend as awaitable calls, with their failures sorted into those worth repeating and those not."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, frozen

from corral.batch import refusals, unenforced
from corral.batch.budget import CommandBudget, Kind
from corral.batch.runner import Runner
from corral.errors import (
    BatchSystemError,
    BatchSystemUnavailable,
    CommandError,
    CommandFailed,
    CorralError,
    LimitReached,
    ParseError,
    SubmitRejected,
)
from corral.plugin.facts import BackendFacts
from corral.plugin.job_names import check_name
from corral.plugin.values import (
    Conversation,
    Detected,
    Failure,
    FailureKind,
    Finding,
    Job,
    JobId,
    JobStatus,
    Queue,
    Resources,
    Script,
    Verdict,
)
from corral.text.logs import logger_of

if TYPE_CHECKING:
    import pluggy
    import tenacity

T = TypeVar("T")

logger = logger_of("corral.batch.client")


@frozen(kw_only=True)
class Submission:
    """Jobs that the batch system has taken."""

    ids: Sequence[JobId]
    #: False if an earlier attempt may still show up under the same name.
    is_certain: bool = True


@frozen(kw_only=True)
class BatchSystem:
    """One batch system, as one cluster talks to it.

    Two of a cluster's may have jobs of the same id. So to the cluster, the name of a batch system that is some groups'
    own is part of its jobs' ids; the backend sees them without.
    """

    backend: str
    #: Empty for the cluster's own.
    name: str = ""
    #: Those of the backend's plugin.
    options: Mapping[str, Any] = field(factory=dict)
    manager: pluggy.PluginManager
    facts: BackendFacts = field(factory=BackendFacts)
    runner: Runner = field(factory=Runner)
    #: Shared with every other process of this user on this host; None: commands are free.
    budget: CommandBudget | None = None
    #: Quick repetitions of a command that failed for a passing reason; whoever calls tries again later.
    attempts: int = 3

    # --- pure ---------------------------------------------------------------------------------------------------

    def prepare(self, job: Job) -> Job:
        prepared: Job = self.manager.hook.prepare_job(job=job)
        return prepared

    def render(self, job: Job) -> Script:
        script: Script = self.manager.hook.render_script(job=job)
        check_name(self.manager, job, script)
        return script

    def tell(self, job_id: JobId, before: JobStatus | None, after: JobStatus) -> None:
        """Let every plugin that listens hear of a job's new state, whatever another one makes of it."""
        listening = self.manager.hook.job_state_changed.get_hookimpls()
        for each in listening:
            others = [other.plugin for other in listening if other.plugin is not each.plugin]
            hook = self.manager.subset_hook_caller("job_state_changed", others)
            try:
                hook(job=job_id, before=before, after=after)
            except BaseException:
                # SystemExit too: on an event loop it would end the loop, and with it the care for all jobs.
                logger.exception(
                    "plugin %r failed in job_state_changed", each.plugin_name, job=job_id, backend=self.backend
                )

    def tell_unenforced(self, resources: Resources, walltime: int | None) -> None:
        """Say once what is asked for here, and nobody holds jobs to."""
        if words := unenforced.told_once(self.facts, self.facts.title or self.backend, resources, walltime):
            logger_of().warning("%s", words, backend=self.backend)

    # --- ids ----------------------------------------------------------------------------------------------------

    def our_id(self, job_id: JobId) -> JobId:
        """A job's id as the cluster knows it."""
        return evolve(job_id, system=self.name) if self.name else job_id

    def its_ids(self, job_ids: Iterable[JobId]) -> list[JobId]:
        """Ids of jobs as the batch system knows them."""
        return [evolve(job_id, system="") for job_id in job_ids] if self.name else list(job_ids)

    # --- conversations ------------------------------------------------------------------------------------------

    async def submit(
        self, script: Script, count: int, *, may_have_landed: bool = False, is_replacement: bool = False
    ) -> Submission:
        """Submit up to `count` jobs; what may have landed is looked for, by its name, before it is repeated.

        Parameters
        ----------
        may_have_landed
            This script was submitted before, and nobody knows whether that worked.
        is_replacement
            These jobs take the place of lost ones: nobody has asked for them just now.

        Raises
        ------
        SubmitRejected, LimitReached, BatchSystemUnavailable
        """
        async for attempt in self._attempts():
            with attempt:
                if may_have_landed and (found := await self.find(script.name)):
                    logger.info(
                        "submission %s went through although its command failed", script.name, backend=self.backend
                    )
                    return Submission(ids=found, is_certain=False)
                landed_before, may_have_landed = may_have_landed, True
                try:
                    ids = await self._converse(
                        lambda: self.manager.hook.submit(script=script, count=count),
                        unknown=SubmitRejected,
                        admit=self._admission(Kind.REPLACEMENT if is_replacement else Kind.ACT),
                    )
                except (ParseError, SubmitRejected) as error:
                    if isinstance(error, ParseError) and not error.text.strip():
                        # No refusal is silent. It may have been taken, and is looked for before it is repeated.
                        raise BatchSystemUnavailable(f"the submission was not answered: {error}") from error
                    if self._is_refusal(error):
                        raise
                    # Words that nobody knows may hide that it was accepted.
                    if found := await self.find(script.name):
                        return Submission(ids=found, is_certain=False)
                    raise SubmitRejected(str(error)) from error
                return Submission(ids=list(map(self.our_id, ids)), is_certain=not landed_before)
        raise AssertionError("the last attempt returns or raises")

    async def poll(self, job_ids: Sequence[JobId], *, urgent: bool = False) -> Mapping[JobId, JobStatus]:
        """One round of questions; not repeated here, because the next round will come.

        Parameters
        ----------
        urgent
            The user waits for it (a cluster is closing): it does not wait for the command budget.
        """
        found = await self._poll(self.its_ids(job_ids), Kind.MORE if urgent else Kind.QUESTION)
        return {self.our_id(job_id): status for job_id, status in found.items()} if self.name else found

    async def poll_its_ids(self, job_ids: Sequence[JobId]) -> Mapping[JobId, JobStatus]:
        """The same for a watch, with ids as the batch system knows them: its first command is in the ledger already."""
        return await self._poll(job_ids, None)

    async def _poll(self, job_ids: Sequence[JobId], first: Kind | None) -> Mapping[JobId, JobStatus]:
        return await self._converse(
            lambda: self.manager.hook.poll_status(job_ids=job_ids), admit=self._admission(first)
        )

    async def cancel(self, job_ids: Sequence[JobId], *, again: bool = False) -> None:
        """Ask for the end of these jobs.

        Parameters
        ----------
        again
            It was asked for before, and nobody waits: it waits for the command budget.
        """
        async for attempt in self._attempts():
            with attempt:
                await self._converse(
                    lambda: self.manager.hook.cancel(job_ids=self.its_ids(job_ids)),
                    admit=self._admission(Kind.AGAIN if again else Kind.ACT),
                )

    async def find(self, name: str, *, waits: bool = False) -> list[JobId]:
        """The jobs of this name that have not ended.

        Parameters
        ----------
        waits
            For the command budget: nobody depends on it now.

        Raises
        ------
        BatchSystemError
        """
        try:
            found = await self._converse(
                lambda: self.manager.hook.find_jobs(name=name),
                admit=self._admission(Kind.QUESTION if waits else Kind.MORE),
            )
        except ParseError as error:
            # "Not found" would mean: submit it again.
            raise BatchSystemUnavailable(f"no readable answer: {error}") from error
        return list(map(self.our_id, found))

    async def explain(self, job_id: JobId) -> str:
        [its_id] = self.its_ids([job_id])
        return await self._converse(
            lambda: self.manager.hook.explain_pending(job_id=its_id), admit=self._admission(Kind.QUESTION)
        )

    async def queues(self, *, is_further: bool = False) -> list[Queue]:
        """The queues with their limits.

        Parameters
        ----------
        is_further
            It belongs to a question that has begun: it does not wait for the command budget.
        """
        first = Kind.MORE if is_further else Kind.QUESTION
        return await self._converse(self.manager.hook.describe_queues, admit=self._admission(first))

    async def detect(self) -> Detected | None:
        """None if it is not here."""
        try:
            return await self.runner.converse(self.manager.hook.detect())
        except CommandError as error:
            logger.debug("%s was not detected: %s", self.backend, error, backend=self.backend)
            return None

    async def check_health(self, job: Job) -> list[Finding]:
        """What each plugin finds, whatever becomes of the others; one that fails is a finding."""
        hook = self.manager.hook.check_health
        answering = [each for each in hook.get_hookimpls() if not each.wrapper and not each.hookwrapper]
        found: list[Finding] = []
        for each in answering:
            others = [other.plugin for other in answering if other.plugin is not each.plugin]
            try:
                for conversation in self.manager.subset_hook_caller("check_health", others)(job=job):
                    found += _findings(await self.runner.converse(conversation, self._admission(Kind.MORE)))
            except (Exception, SystemExit) as error:
                words = str(error) if isinstance(error, CorralError) else f"{type(error).__name__}: {error}"
                found.append(
                    Finding(
                        subject=f"plugin {each.plugin_name}",
                        verdict=Verdict.DOUBTFUL,
                        text=f"cannot say how things are: {words}",
                        cure="Do what it says, or report it to the plugin's author",
                    )
                )
        return found

    # --- failures -----------------------------------------------------------------------------------------------

    def _attempts(self) -> tenacity.AsyncRetrying:
        import tenacity  # not before the first command: it is a sixth of what importing Cluster costs

        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(BatchSystemUnavailable),
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=5.0, jitter=1.0),
            before_sleep=tenacity.before_sleep_log(logger, logging.INFO),
            reraise=True,
        )

    async def _converse(
        self,
        conversation: Callable[[], Conversation[T]],
        *,
        unknown: type[BatchSystemError] = BatchSystemUnavailable,
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        try:
            return await self.runner.converse(conversation(), admit or self._admission(Kind.ACT))
        except CommandError as error:
            raise self._sorted(error, unknown) from error

    def _admission(self, first: Kind | None) -> Callable[[], Awaitable[None]] | None:
        """What the commands of one conversation wait for.

        Parameters
        ----------
        first
            Of what kind the first command is; None: it is in the ledger. The others follow without waiting: half a
            query helps nobody.
        """
        if (budget := self.budget) is None:
            return None
        kinds = itertools.chain([first], itertools.repeat(Kind.MORE))

        async def admit() -> None:
            if (kind := next(kinds)) is not None:
                await budget.wait(kind)

        return admit

    def is_passing(self, error: BatchSystemError) -> bool:
        """True if the same question is likely to be answered soon: the plugin knows the words, or nothing was said."""
        if not isinstance(error, BatchSystemUnavailable):
            return False
        if not isinstance(error.cause, CommandFailed):
            return error.cause is None or not error.cause.is_lasting
        return self.manager.hook.classify_failure(completed=error.cause.completed) is not None

    def _is_refusal(self, error: Exception) -> bool:
        """True if the batch system said, in words that the plugin knows, that it did not take the jobs."""
        cause = error.cause if isinstance(error, SubmitRejected) else None
        if not isinstance(cause, CommandFailed):
            return cause is not None and cause.is_lasting
        return self.manager.hook.classify_failure(completed=cause.completed) is not None

    def _sorted(self, error: CommandError, unknown: type[BatchSystemError]) -> BatchSystemError:
        """The error that tells the caller what to do; `unknown` is for words that the plugin does not know."""
        if not isinstance(error, CommandFailed):
            kind = unknown if error.is_lasting else BatchSystemUnavailable
            return kind(str(error), cause=error)
        failure: Failure | None = self.manager.hook.classify_failure(completed=error.completed)
        if failure is None:
            return unknown(str(error), cause=error)
        match failure.kind:
            case FailureKind.TRANSIENT:
                return BatchSystemUnavailable(failure.message, cause=error)
            case FailureKind.LIMIT:
                return LimitReached(failure.message, cause=error)
            case FailureKind.FATAL:
                if unknown is SubmitRejected:
                    return SubmitRejected(failure.message + refusals.advice(failure.message), cause=error)
                return BatchSystemError(failure.message, cause=error)


def _findings(answer: object) -> list[Finding]:
    if isinstance(answer, list) and all(isinstance(each, Finding) for each in answer):
        return answer
    raise TypeError(f"check_health answered {answer!r} where a list of Findings is expected")
