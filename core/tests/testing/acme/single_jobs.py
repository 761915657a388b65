"""Acme without arrays: each job is a batch of its own, known by the batch's number; and faults of that."""

# It derives from what is on the path in tests only.
# mypy: ignore-errors

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from attrs import evolve

from corral.plugin import (
    Allocation,
    Command,
    CommandError,
    CommandFailed,
    Conversation,
    Job,
    JobId,
    JobStatus,
    ParseError,
    Script,
    hookimpl,
)
from corral_acme import STATES, Acme


class Single(Acme):
    """Three submissions in a row at most."""

    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, body=script.body.replace("$AC_BATCH.$AC_INDEX", "$AC_BATCH", 1))

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        ids = []
        for _ in range(min(count, 3)):
            done = yield Command(["acsub"], stdin=str(script))
            ids.append(_number(done.last_line()))
        return ids

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = set(job_ids)
        done = yield Command(["acstat", *map(str, job_ids)])
        rows = re.findall(r"^(\d+)\|(\w+)\|", done.stdout, re.MULTILINE)
        return {
            JobId(number): JobStatus(state=STATES[word], native=word)
            for number, word in rows
            if JobId(number) in wanted
        }

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        return Allocation(job_id=JobId(environ["AC_BATCH"]), hosts=environ["AC_HOSTS"].split())
        yield


def _number(line: str) -> JobId:
    match = re.fullmatch(r"accepted: batch (\d+)", line)
    if match is None:
        raise ParseError("acsub did not name a batch", line)
    return JobId(match[1])


#: Every fault, with the law that finds it.
FAULTS: dict[type[Single], str] = {}


def found_by(law: str) -> Callable[[type[Single]], type[Single]]:
    def register(fault: type[Single]) -> type[Single]:
        FAULTS[fault] = law
        return fault

    return register


@found_by("test_a_submission_is_never_repeated")
class TriesEachTwice(Single):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        ids = []
        for _ in range(min(count, 3)):
            try:
                done = yield Command(["acsub"], stdin=str(script))
            except CommandError:
                done = yield Command(["acsub"], stdin=str(script))
            ids.append(_number(done.last_line()))
        return ids


@found_by("test_a_submission_is_never_repeated")
class KeepsWhatItHas(Single):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        ids = []
        for _ in range(min(count, 3)):
            try:
                done = yield Command(["acsub"], stdin=str(script))
            except CommandError:
                if ids:
                    return ids
                raise
            ids.append(_number(done.last_line()))
        return ids


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class CancelsWhatLiesBetween(Single):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        numbers = [int(job_id.text) for job_id in job_ids]
        yield from super().cancel([JobId(str(each)) for each in range(min(numbers), max(numbers) + 1)])


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class CancelsByTheName(Single):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield Command(["acdel", "-u", "me"])


@found_by("test_cancelling_ten_thousand_jobs_leaves_none_out")
class CancelsAHundredPortionsOfTen(Single):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield from super().cancel(job_ids[: 100 * 10])


@found_by("test_a_job_that_could_not_be_cancelled_is_told")
class CodeOneIsGone(Single):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["acdel", *map(str, job_ids)])
        except CommandFailed as error:
            if error.completed.returncode != 1:
                raise


@found_by("test_a_poll_misses_no_job")
class AsksForAThousand(Single):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        return (yield from super().poll_status(job_ids[:1000]))


@found_by("test_a_poll_misses_no_job")
class ForgetsTheLastOfAll(Single):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return dict(list(found.items())[: max(3, len(found) - 1)])


@found_by("test_a_submission_inherits_only_what_is_declared")
class OneOfThreeInherits(Single):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        ids = []
        for number in range(min(count, 3)):
            done = yield Command(["acsub"], stdin=str(script), inherit=["PATH"] if number else None)
            ids.append(_number(done.last_line()))
        return ids


@found_by("test_the_log_is_where_it_is_said_to_be")
class OneLogForAll(Single):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, log=script.log and script.log.replace("{id}", job.name))


@found_by("test_launching_reaches_each_of_two_hosts_once")
class LaunchesOnTheLast(Single):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [["ssh", allocation.hosts[-1], *command] for _ in allocation.hosts]
