"""Quern, broken in one way after another; each fault names the law that must find it."""

# It derives from what is on the path in tests only.
# mypy: ignore-errors

from __future__ import annotations

import re
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
