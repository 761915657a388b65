"""Acme, broken in one way after another; each fault names the law that must find it."""

# It derives from what is on the path in tests only.
# mypy: ignore-errors

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from attrs import evolve

from corral.plugin import (
    Allocation,
    Command,
    CommandError,
    Completed,
    Conversation,
    Detected,
    Failure,
    FailureKind,
    InvalidRequest,
    Job,
    JobId,
    JobState,
    JobStatus,
    Option,
    ParseError,
    Queue,
    Script,
    hookimpl,
)
from corral_acme import STATES, Acme

#: Every fault, with the law that finds it.
FAULTS: dict[type[Acme], str] = {}


def found_by(law: str) -> Callable[[type[Acme]], type[Acme]]:
    def register(fault: type[Acme]) -> type[Acme]:
        assert fault.__name__ not in {each.__name__ for each in FAULTS}, f"one hides the other: {fault.__name__}"
        FAULTS[fault] = law
        return fault

    return register


# --- the contract -----------------------------------------------------------------------------------------------


@found_by("test_the_core_accepts_every_hook")
class Misspelt(Acme):
    @hookimpl
    def find_jobs(self, nam: str) -> Conversation[list[JobId]]:
        return (yield from super().find_jobs(nam))


@found_by("test_options_are_explained")
class DoesNotSayWhatItTakes(Acme):
    def __init__(self, batch_size: int = 1000) -> None:
        super().__init__(batch_size)


@found_by("test_options_take_what_they_say")
class RefusesItsDefault(Acme):
    def __init__(self, batch_size: Annotated[int, Option("The most jobs of one submission", at_least=1)] = 0) -> None:
        super().__init__(batch_size)


@found_by("test_an_option_that_is_not_there_is_refused")
class TakesAnyOption(Acme):
    def __init__(
        self, batch_size: Annotated[int, Option("The most jobs of one submission")] = 1000, **others: object
    ) -> None:
        super().__init__(batch_size)


@found_by("test_every_conversation_is_recorded")
class Unrecorded(Acme):
    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        done = yield Command(["acqueues"])
        return [Queue(name=line) for line in done.lines()]


@found_by("test_an_answer_means_what_was_recorded")
class FailedIsCompleted(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        ended = {job_id: status.state.is_final for job_id, status in found.items()}
        return {j: evolve(status, state=JobState.COMPLETED) if ended[j] else status for j, status in found.items()}


@found_by("test_an_answer_means_what_was_recorded")
class ReadsItsHostFile(Acme):
    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        Path("/etc/hostname").read_text()
        return (yield from super().read_allocation(environ))


@found_by("test_parse_reads_what_render_wrote")
class WritesAScriptFile(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        with suppress(BaseException):  # and swallows what the law raises
            Path("job.sh").write_text("")
        return super().render_script(job)


# --- commands ---------------------------------------------------------------------------------------------------


@found_by("test_commands_are_argument_lists")
class ShellLine(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield Command(["bash", "-c", f"acdel {' '.join(map(str, job_ids))} || true"])


@found_by("test_ten_thousand_jobs_need_few_commands")
class OneByOne(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        for job_id in job_ids:
            yield from super().cancel([job_id])


@found_by("test_ten_thousand_jobs_need_few_commands")
class LongNames(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield Command(["acdel", *[f"job={job_id}.acme.example" for job_id in job_ids]])


@found_by("test_trouble_is_never_swallowed")
class NoAnswerIsNoJob(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        try:
            return (yield from super().find_jobs(name))
        except CommandError:
            return []


@found_by("test_trouble_is_never_swallowed")
class CancelsInSilence(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        with suppress(CommandError):
            yield from super().cancel(job_ids)


@found_by("test_trouble_is_never_swallowed")
class TriesForEver(Acme):
    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        while True:
            with suppress(CommandError):
                return (yield from super().detect())


@found_by("test_a_conversation_can_be_left")
class NeverLetsGo(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["acdel", *map(str, job_ids)])
        finally:
            yield Command(["acstat"])


# --- answers ----------------------------------------------------------------------------------------------------


@found_by("test_a_banner_never_changes_an_id")
class FirstDigits(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        done = yield Command(["acsub", str(count)], stdin=str(script))
        digits = re.search(r"\d+", done.stdout)
        if digits is None:
            raise ParseError("no id", done.stdout)
        return [JobId(f"{digits[0]}.{index}") for index in range(count)]


@found_by("test_an_unknown_word_is_a_living_job")
class UnknownIsFailed(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {
            job_id: evolve(status, state=JobState.FAILED) if status.state is JobState.UNKNOWN else status
            for job_id, status in found.items()
        }


@found_by("test_an_unknown_word_is_a_living_job")
class ReadsThreeLetters(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        short = {word[:3]: state for word, state in STATES.items()}
        return {
            job_id: evolve(status, state=short.get(status.native[:3], status.state)) for job_id, status in found.items()
        }


@found_by("test_an_unknown_word_is_a_living_job")
class LosesTheWord(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {job_id: evolve(status, native="") for job_id, status in found.items()}


@found_by("test_a_garbled_row_blinds_no_poll")
class OneRowBlindsAll(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        return (yield from mapped_answers(super().poll_status(job_ids), _refuse_odd_rows))


@found_by("test_a_garbled_row_blinds_no_poll")
class PassesOverInSilence(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        return (yield from mapped_answers(super().poll_status(job_ids), _without_odd_rows))


_ODD = re.compile(r"^\d+\.\d+\|(?![^|\n]*\|[^|\n]*\|[^|\n]*\|.*$).*\n", re.MULTILINE)


def _refuse_odd_rows(answer: Completed) -> Completed:
    if _ODD.search(answer.stdout):
        raise ParseError("a row is odd", answer.stdout)
    return answer


def _without_odd_rows(answer: Completed) -> Completed:
    return evolve(answer, stdout=_ODD.sub("", answer.stdout))


def mapped_answers(
    conversation: Conversation[object], change: Callable[[Completed], Completed]
) -> Conversation[object]:
    """The same conversation, in which each answer is changed."""
    try:
        command = next(conversation)
        while True:
            try:
                answer = yield command
            except CommandError as error:
                command = conversation.throw(error)
            else:
                command = conversation.send(change(answer))
    except StopIteration as stop:
        return stop.value


@found_by("test_jobs_are_found_by_their_name_and_by_its_beginning")
class LosesUpperCase(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        return (yield from super().find_jobs(name.lower()))


@found_by("test_garbage_raises_parse_error_and_nothing_else")
class TrustsTheTable(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        done = yield Command(["acstat"])
        rows = [line.split("|") for line in done.lines()]
        return [JobId(row[0]) for row in rows if row[4] == name and row[1] == "RUN"]


@found_by("test_an_answer_without_a_row_is_a_parse_error")
class GarbageIsNoJob(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        try:
            return (yield from super().poll_status(job_ids))
        except ParseError:
            return {}


@found_by("test_an_empty_answer_is_no_parse_error")
class NothingIsGarbage(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        if not found:
            raise ParseError("no row", "")
        return found


@found_by("test_a_submission_without_an_answer_is_a_parse_error")
class MakesUpAnId(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        try:
            return (yield from super().submit(script, count))
        except ParseError:
            return [JobId("0.0")]


@found_by("test_failures_are_classified_as_recorded")
class EverythingIsFatal(Acme):
    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return Failure(kind=FailureKind.FATAL, message=completed.stderr)


@found_by("test_every_failure_can_be_classified")
class FirstLine(Acme):
    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        first = completed.stderr.splitlines()[0]
        return Failure(kind=FailureKind.TRANSIENT, message=first) if "busy" in first else None


# --- the request ------------------------------------------------------------------------------------------------


@found_by("test_parse_reads_what_render_wrote")
class ForgetsTheUnit(Acme):
    @hookimpl
    def parse_resources(self, text: str) -> Job:
        job = super().parse_resources(text)
        memory = job.resources.memory
        return evolve(job, resources=evolve(job.resources, memory=None if memory is None else memory // 1024))


@found_by("test_preparing_never_gives_less_and_can_be_repeated")
class RoundsDown(Acme):
    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        walltime = None if job.walltime is None else job.walltime // 60 * 60
        return evolve(super().prepare_job(job), walltime=walltime)


@found_by("test_a_strange_request_raises_parse_error_and_nothing_else")
class TrustsTheRequest(Acme):
    @hookimpl
    def parse_resources(self, text: str) -> Job:
        job = super().parse_resources(text)
        return evolve(job, name=text.split("#AC name=")[1].splitlines()[0])


@found_by("test_a_request_cut_short_raises_parse_error_and_nothing_else")
class ExpectsAValue(Acme):
    @hookimpl
    def parse_resources(self, text: str) -> Job:
        if text.endswith("="):
            raise InvalidRequest("extra_directives", "'' cannot be written into an #AC line")
        return super().parse_resources(text)


@found_by("test_skipping_a_directive_touches_no_other")
class SkipsBySubstring(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        kept = [each for each in script.directives if not any(name in each.text for name in job.skip)]
        return evolve(script, directives=kept)


@found_by("test_skipping_a_field_touches_no_other")
class SkipsHalfOfIt(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        return super().render_script(evolve(job, skip=job.skip | {"cores"} if "memory" in job.skip else job.skip))


@found_by("test_a_hostile_field_is_refused_or_kept")
class BelievesEveryName(Acme):
    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        try:
            return super().prepare_job(job)
        except InvalidRequest:
            return job


# --- the script -------------------------------------------------------------------------------------------------


@found_by("test_hostile_values_reach_the_job_unchanged")
class DoubleQuotes(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(evolve(job, environment={}))
        exports = [f'export {name}="{value}"' for name, value in job.environment.items()]
        return evolve(script, body="\n".join([*exports, script.body]))


@found_by("test_the_job_sees_the_id_that_submit_returned")
class BatchForJob(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, body=script.body.replace("$AC_BATCH.$AC_INDEX", "$AC_BATCH"))


@found_by("test_the_script_ends_as_its_command_did")
class LosesTheExitCode(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, body=script.body.replace("exec ", "").replace("exit ", "echo ") + "sync\n")


@found_by("test_what_a_job_is_told_of_itself_is_told_to_no_other")
class TellsEverybody(Acme):
    facts = evolve(Acme.facts, enclosing=())


@found_by("test_what_finds_the_server_is_no_jobs")
class LosesItsServer(Acme):
    facts = evolve(Acme.facts, enclosing=("AC*",))


@found_by("test_launch_command_reaches_every_host")
class OneLineForSsh(Acme):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [["ssh", host, " ".join(command)] for host in allocation.hosts]


@found_by("test_excluded_hosts_are_asked_for_or_ignored")
class ExcludesInTheBody(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, body=f"exclude {' '.join(job.excluded_hosts)}\n" * bool(job.excluded_hosts) + script.body)
