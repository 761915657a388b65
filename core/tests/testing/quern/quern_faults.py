"""Quern, broken in one way after another; each fault names the law that must find it."""

# It derives from what is on the path in tests only.
# mypy: ignore-errors

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

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
    Job,
    JobId,
    JobState,
    Script,
    hookimpl,
)
from corral_quern import Quern

#: Every fault, with the law that finds it.
FAULTS: dict[type[Quern], str] = {}


def found_by(law: str) -> Callable[[type[Quern]], type[Quern]]:
    def register(fault: type[Quern]) -> type[Quern]:
        FAULTS[fault] = law
        return fault

    return register


# --- other batch systems ----------------------------------------------------------------------------------------


@found_by("test_detect_says_no_to_its_relatives")
class TakesWhatHasTwoWords(Quern):
    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["qnput", "-V"])
        answer = re.fullmatch(r"\S+ (\d[\d.]*)", done.last_line())
        return Detected(version=answer[1], evidence="qnput -V") if answer else None


@found_by("test_detect_says_no_to_garbage")
class IsThereIfItsProgramIs(Quern):
    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        with suppress(CommandError):
            done = yield Command(["qnput", "-V"])
            return Detected(version=done.last_line().rpartition(" ")[2], evidence="qnput -V")


@found_by("test_outside_of_a_job_there_is_no_allocation")
class IsItsOwnJob(Quern):
    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        if "QUERN_JOB" in environ:
            return (yield from super().read_allocation(environ))
        if environ.get("USER") and not any("JOB" in name for name in environ):
            return Allocation(job_id=JobId("q0"), hosts=["localhost"])
        return None


@found_by("test_in_another_systems_job_there_is_no_allocation")
class ReadsAnyNodeFile(Quern):
    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        for name, value in environ.items():
            if name.endswith(("_NODEFILE", "_JOB_FILE")):
                as_mine = {"QUERN_JOB": environ.get("QUERN_JOB", "q0"), "QUERN_JOB_FILE": value}
                return (yield from super().read_allocation(as_mine))
        return None


@found_by("test_a_failure_that_nobody_knows_is_none")
class LooksForNumbers(Quern):
    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        if re.search(r"\b\d+\b", completed.stderr):
            return Failure(kind=FailureKind.LIMIT, message=completed.stderr)
        return super().classify_failure(completed)


# --- stillness --------------------------------------------------------------------------------------------------


@found_by("test_hooks_neither_wait_nor_look_around")
class WaitsForNobody(Quern):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        threading.Event().wait(0.001)
        return (yield from super().submit(script, count))


@found_by("test_hooks_neither_wait_nor_look_around")
class AsksTheProcess(Quern):
    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        return super().prepare_job(evolve(job, account=job.account or dict(os.environ).get("QN_ACCOUNT")))


# --- words and units --------------------------------------------------------------------------------------------


@found_by("test_every_state_word_was_seen_or_is_said_not_to_be")
class KnowsOneMore(Quern):
    more = {"lost": JobState.NODE_FAILED, "ground": JobState.COMPLETED}  # noqa: RUF012 - read only


@found_by("test_units_are_those_of_the_batch_system")
class TakesMinutesForSeconds(Quern):
    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        return evolve(super().prepare_job(job), walltime=job.walltime)

    @hookimpl
    def render_script(self, job: Job) -> Script:
        return super().render_script(evolve(job, walltime=None if job.walltime is None else job.walltime * 60))

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        job = super().parse_resources(text)
        return evolve(job, walltime=None if job.walltime is None else job.walltime // 60)


# --- what was given ---------------------------------------------------------------------------------------------


@found_by("test_parse_keeps_the_shebang")
class LosesItsOptions(Quern):
    @hookimpl
    def parse_resources(self, text: str) -> Job:
        job = super().parse_resources(text)
        return evolve(job, shebang=job.shebang.removesuffix(" -l"))


@found_by("test_parse_keeps_every_extra_directive")
class KeepsWhatItKnows(Quern):
    @hookimpl
    def parse_resources(self, text: str) -> Job:
        job = super().parse_resources(text)
        return evolve(job, extra_directives=[each for each in job.extra_directives if each.startswith("mail")])
