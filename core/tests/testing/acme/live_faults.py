"""Acme, broken in ways that only its own commands show; each fault names the live law that must find it."""

# It derives from what is on the path in tests only.
# mypy: ignore-errors

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import evolve

from corral.plugin import (
    Allocation,
    Command,
    Completed,
    Conversation,
    Detected,
    Failure,
    Job,
    JobId,
    JobState,
    JobStatus,
    Queue,
    Script,
    hookimpl,
)
from corral_acme import Acme, _table

#: Every fault, with the live law that finds it, without ``test_live_``.
FAULTS: dict[type[Acme], str] = {}


def found_by(law: str) -> Callable[[type[Acme]], type[Acme]]:
    def register(fault: type[Acme]) -> type[Acme]:
        FAULTS[fault] = law
        return fault

    return register


# --- the batch system -------------------------------------------------------------------------------------------


@found_by("it_is_detected")
class LooksForAnotherName(Acme):
    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["acstat", "--version"])
        return Detected(version="3.1") if done.stdout.startswith("Acme") else None


@found_by("queues_are_described")
class KnowsNoSize(Acme):
    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        yield Command(["acstat", "--version"])
        return [Queue(name="barn", cores=0)]


@found_by("a_refusal_is_known")
class KnowsOtherWords(Acme):
    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return super().classify_failure(evolve(completed, stderr=completed.stderr.replace("no queue", "")))


# --- inside -----------------------------------------------------------------------------------------------------


@found_by("a_job_knows_its_id")
class CountsFromOne(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        ids = yield from super().submit(script, count)
        return [JobId(f"{each.text.partition('.')[0]}.{index}") for index, each in enumerate(ids, 1)]


@found_by("a_job_reads_what_it_was_granted")
class ReadsTheWholeBatch(Acme):
    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        found = yield from super().read_allocation(environ)
        return found and evolve(found, job_id=JobId(environ["AC_BATCH"]))


@found_by("a_job_reads_what_it_was_granted")
class ReadsHostsTwice(Acme):
    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        found = yield from super().read_allocation(environ)
        return found and evolve(found, hosts=[*found.hosts, "node02"])


@found_by("values_survive_and_no_others_come")
class StripsValues(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        return super().render_script(evolve(job, environment={n: text.strip() for n, text in job.environment.items()}))


@found_by("values_survive_and_no_others_come")
class HandsOnWhatItWasTold(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        secret = 'export CORRAL_KIT_SECRET="$(tr "\\0" "\\n" </proc/$PPID/environ | sed -n s/CORRAL_KIT_SECRET=//p)"\n'
        script = super().render_script(job)
        return evolve(script, body=secret + "CORRAL_KIT_SECRET=${CORRAL_KIT_SECRET:-xyzzy}\n" + script.body)


@found_by("a_command_starts_once_on_each_host")
class StartsTwice(Acme):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return super().launch_command(allocation, command) * 2


@found_by("a_command_starts_once_on_each_host")
class ForgetsTheOtherShell(Acme):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [["ssh", host, " ".join(command)] for host in allocation.hosts]


@found_by("the_log_is_where_it_is_said_to_be")
class SaysAnotherFolder(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, log=script.log.replace("/{id}", "/acme/{id}"))


# --- its life ---------------------------------------------------------------------------------------------------


@found_by("jobs_pass_through_their_states")
class LosesAllForAWhile(Acme):
    polls = 0

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        self.polls += 1
        found = yield from super().poll_status(job_ids)
        return {} if self.polls == 2 else found


@found_by("jobs_pass_through_their_states")
class EndsTooEarly(Acme):
    polls = 0

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        self.polls += 1
        found = yield from super().poll_status(job_ids)
        return {j: evolve(s, state=JobState.COMPLETED if self.polls == 1 else s.state) for j, s in found.items()}


@found_by("names_find_their_jobs_and_no_others")
class TakesNamesForBeginnings(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        return (yield from super().find_jobs(name.rstrip("*") + "*"))


@found_by("names_find_their_jobs_and_no_others")
class FindsTheFirstOfEach(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        found = yield from super().find_jobs(name)
        return [each for each in found if each.text.endswith(".0")]


@found_by("unknown_ids_do_not_disturb")
class FailsForOneUnknown(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        yield Command(["acstat", *{each.text.partition(".")[0] for each in job_ids}])
        return (yield from super().poll_status(job_ids))


@found_by("unknown_ids_do_not_disturb")
class ListsWhatNobodyKnows(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {each: found.get(each, JobStatus(state=JobState.PENDING)) for each in job_ids}


@found_by("one_of_three_is_cancelled")
class CancelsTheNeighbours(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        batches = {each.text.partition(".")[0] for each in job_ids}
        yield from super().cancel([JobId(f"{batch}.{index}") for batch in batches for index in range(3)])


@found_by("one_of_three_is_cancelled")
class CallsItFailed(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {j: evolve(s, state=JobState.FAILED) if s.native == "KILLED" else s for j, s in found.items()}


@found_by("ends_are_told_apart")
class TakesSignalsForCancellations(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {j: evolve(s, state=JobState.CANCELLED) if s.exit_code == 143 else s for j, s in found.items()}


@found_by("ends_are_told_apart")
class LosesTheCode(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {job_id: evolve(status, exit_code=None) for job_id, status in found.items()}


@found_by("ended_jobs_are_not_found")
class FindsTheEnded(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        rows = yield from _table([])
        return [job_id for job_id, _, found in rows if found.startswith(name.rstrip("*"))]


# --- limits -----------------------------------------------------------------------------------------------------


@found_by("too_long")
class LateIsFailed(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {j: evolve(s, state=JobState.FAILED) if s.native == "LATE" else s for j, s in found.items()}


@found_by("many_that_wait")
class FindsNoneThatWaits(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        rows = yield from _table([])
        return [job_id for job_id, status, found in rows if status.state is JobState.RUNNING and found == name]


@found_by("many_that_wait")
class CancelsTooMany(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        first, last = (int(each.text.partition(".")[2]) for each in (job_ids[0], job_ids[-1]))
        batch = job_ids[0].text.partition(".")[0]
        yield from super().cancel([JobId(f"{batch}.{index}") for index in range(first, last + 1)])
