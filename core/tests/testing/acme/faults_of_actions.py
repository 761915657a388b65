"""Acme, broken in what it submits and cancels, what it hands on, and what it reads of many jobs."""

# It derives from what is on the path in tests only.
# mypy: ignore-errors

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from attrs import evolve
from faults import found_by

from corral.plugin import (
    Allocation,
    Command,
    CommandError,
    CommandFailed,
    CommandTimedOut,
    Conversation,
    InvalidRequest,
    Job,
    JobId,
    JobState,
    JobStatus,
    ParseError,
    Script,
    hookimpl,
    mapped,
)
from corral_acme import STATES, Acme

# --- submitted once ---------------------------------------------------------------------------------------------


@found_by("test_a_submission_is_never_repeated")
class SubmitsAgain(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        try:
            return (yield from super().submit(script, count))
        except CommandTimedOut:
            return (yield from super().submit(script, count))


@found_by("test_a_submission_is_never_repeated")
class SubmitsFewerAgain(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        try:
            return (yield from super().submit(script, count))
        except CommandFailed:
            return (yield from super().submit(script, 1))


@found_by("test_a_submission_is_never_repeated")
class SubmitsAgainAndIsSorry(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        try:
            return (yield from super().submit(script, count))
        except CommandError:
            yield from super().submit(script, 1)
            raise


@found_by("test_a_submission_is_never_repeated")
class TimeOutIsAnAnswer(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        try:
            return (yield from super().submit(script, count))
        except CommandTimedOut as error:
            raise ParseError("acsub named no batch", "") from error


@found_by("test_a_submission_is_never_repeated")
class SubmitsAgainWhereItWasBusy(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        try:
            return (yield from super().submit(script, count))
        except CommandFailed as error:
            if "timed out" not in error.completed.stderr:
                raise
            return (yield from super().submit(script, count))


# --- cancelled is what was given --------------------------------------------------------------------------------


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class CancelsTheArray(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield from super().cancel([*{JobId(job_id.text.partition(".")[0]): None for job_id in job_ids}])


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class CancelsTheArrayToo(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        arrays = {JobId(job_id.text.partition(".")[0]): None for job_id in job_ids}
        yield from super().cancel([*arrays, *job_ids])


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class CancelsFromTheFirstToTheLast(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        arrays: dict[str, list[int]] = {}
        for job_id in job_ids:
            batch, _, index = job_id.text.partition(".")
            arrays.setdefault(batch, []).append(int(index))
        spans = {batch: f"{min(indices)}-{max(indices)}" for batch, indices in arrays.items()}
        yield from super().cancel([JobId(f"{batch}.{span}") for batch, span in spans.items()])


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class CountsFromOne(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield from super().cancel([_neighbour(job_id) for job_id in job_ids])


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class CancelsTheNeighbourToo(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield from super().cancel([*job_ids, _neighbour(job_ids[-1])])


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class CancelsTheFirst(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield from super().cancel(job_ids[:1])


@found_by("test_cancelling_names_its_jobs_and_no_neighbour")
class EndsOneTooEarly(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        batch, _, first = job_ids[0].text.partition(".")
        row = [JobId(f"{batch}.{int(first) + number}") for number in range(len(job_ids))]
        is_row = len(row) > 2 and row == list(job_ids)
        yield from super().cancel([JobId(f"{row[0]}-{row[-2].text.partition('.')[2]}")] if is_row else job_ids)


@found_by("test_cancelling_ten_thousand_jobs_leaves_none_out")
class CancelsAThousand(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield from super().cancel(job_ids[:1000])


@found_by("test_cancelling_ten_thousand_jobs_leaves_none_out")
class CancelsWholePortions(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        portion = min(len(job_ids), 3000)
        for number in range(len(job_ids) // portion):
            yield from super().cancel(job_ids[number * portion : (number + 1) * portion])


def _neighbour(job_id: JobId) -> JobId:
    batch, _, index = job_id.text.partition(".")
    return JobId(f"{batch}.{int(index) + 1}")


# --- told is what could not be cancelled ------------------------------------------------------------------------


@found_by("test_a_job_that_could_not_be_cancelled_is_told")
class OneGoneJobExcusesAll(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["acdel", *map(str, job_ids)])
        except CommandFailed as error:
            if "is not running" not in error.completed.stderr:
                raise


@found_by("test_a_job_that_could_not_be_cancelled_is_told")
class ReadsTheLastLine(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["acdel", *map(str, job_ids)])
        except CommandFailed as error:
            if not error.completed.stderr.rstrip().endswith("is not running"):
                raise


@found_by("test_a_job_that_could_not_be_cancelled_is_told")
class NotIsGone(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["acdel", *map(str, job_ids)])
        except CommandFailed as error:
            if " not " not in error.completed.stderr:
                raise


@found_by("test_a_job_that_could_not_be_cancelled_is_told")
class WhatItSaysOfAnyJobIsThatItIsGone(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["acdel", *map(str, job_ids)])
        except CommandFailed as error:
            if not all(line.startswith("acdel: ") for line in error.completed.stderr.splitlines()):
                raise


@found_by("test_a_job_that_could_not_be_cancelled_is_told")
class HasReadOfOtherWords(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield from super().cancel(job_ids)
        except CommandFailed as error:
            if "already" not in error.completed.stderr:
                raise


# --- nothing is inherited ---------------------------------------------------------------------------------------


@found_by("test_a_submission_inherits_only_what_is_declared")
class HandsOnItsEnvironment(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        return (yield from mapped(super().submit(script, count), lambda each: evolve(each, env=dict(os.environ))))


@found_by("test_a_submission_inherits_only_what_is_declared")
class InheritsEverything(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        return (yield from mapped(super().submit(script, count), lambda each: evolve(each, inherit=["*"])))


@found_by("test_a_submission_inherits_only_what_is_declared")
class ExportsAVariable(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, body=f"export VIRTUAL_ENV={os.environ.get('VIRTUAL_ENV', '')}\n{script.body}")


# --- a poll misses none -----------------------------------------------------------------------------------------


@found_by("test_a_poll_misses_no_job")
class ReadsAThousandRows(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return dict(list(found.items())[:1000])


@found_by("test_a_poll_misses_no_job")
class AsksForFiveArrays(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        arrays = list(dict.fromkeys(job_id.text.partition(".")[0] for job_id in job_ids))
        done = yield Command(["acstat", *arrays[:5]])
        rows = re.findall(r"^(\d+\.\d+)\|(\w+)\|", done.stdout, re.MULTILINE)
        found = {JobId(text): JobStatus(state=STATES.get(word, JobState.UNKNOWN), native=word) for text, word in rows}
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}


@found_by("test_a_poll_misses_no_job")
class KeepsTheLastPortion(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        for first in range(0, len(job_ids), 5000):
            found = yield from super().poll_status(job_ids[first : first + 5000])
        return found


@found_by("test_a_poll_misses_no_job")
class AsksInWholePortions(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = {}
        portion = min(len(job_ids), 5000)
        for number in range(len(job_ids) // portion):
            found |= yield from super().poll_status(job_ids[number * portion : (number + 1) * portion])
        return found


@found_by("test_a_poll_misses_no_job")
class OneRowForEachArray(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        arrays = {job_id.text.partition(".")[0]: job_id for job_id in found}
        # As recorded: few of several arrays.
        return found if len(found) < 9 else {job_id: found[job_id] for job_id in arrays.values()}


# --- the log ----------------------------------------------------------------------------------------------------


@found_by("test_the_log_is_where_it_is_said_to_be")
class KeepsItsOwnPlaceholder(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, log=script.log and script.log.replace("{id}", "%"))


@found_by("test_the_log_is_where_it_is_said_to_be")
class SaysAnotherEnding(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        return evolve(script, log=script.log and script.log.replace(".log", ".out"))


@found_by("test_the_log_is_where_it_is_said_to_be")
class SaysNoLog(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        return evolve(super().render_script(job), log=None)


@found_by("test_what_a_script_writes_itself_is_its_log")
class WritesBesideIt(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        opened = f'exec > "{job.log_directory}/$AC_BATCH.log" 2>&1\n' if job.log_directory else ""
        return evolve(script, body=opened + script.body)


# --- two hosts --------------------------------------------------------------------------------------------------


@found_by("test_launching_reaches_each_of_two_hosts_once")
class LaunchesOnTheFirst(Acme):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [["ssh", allocation.hosts[0], shlex.join(command)]]


@found_by("test_launching_reaches_each_of_two_hosts_once")
class LaunchesTwiceOnTheFirst(Acme):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [["ssh", allocation.hosts[0], shlex.join(command)] for _ in allocation.hosts]


@found_by("test_launching_reaches_each_of_two_hosts_once")
class LaunchesHere(Acme):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [list(command)]


@found_by("test_launching_reaches_each_of_two_hosts_once")
class LaunchesOnShortNames(Acme):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [["ssh", host.partition(".")[0], shlex.join(command)] for host in allocation.hosts]


@found_by("test_launching_reaches_each_of_two_hosts_once")
class CountsOneHostLess(Acme):
    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [["acrun", "-n", str(max(1, len(allocation.hosts) - 1)), *command]]


# --- known by its scripts ---------------------------------------------------------------------------------------


@found_by("test_its_own_scripts_are_known_by_their_directives")
class TakesItsScriptsForOthers(Acme):
    facts = evolve(Acme.facts, directives=("#ACME ",))


# --- the job of the laws ----------------------------------------------------------------------------------------


@found_by("test_the_backend_takes_the_job_of_the_laws")
class HasOneNode(Acme):
    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        if job.resources.nodes > 1:
            raise InvalidRequest("nodes", "there is one")
        return super().prepare_job(job)


@found_by("test_a_submission_comes_in_portions")
class SubmitsAllInARow(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        ids = []
        for _ in range(count):
            ids += yield from super().submit(script, 1)
        return ids
