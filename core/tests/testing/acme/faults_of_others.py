"""Acme, broken in more ways: where it must say no, be silent, or keep what it was given."""

# It derives from what is on the path in tests only.
# mypy: ignore-errors

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep

from attrs import evolve
from faults import found_by

from corral.plugin import (
    Allocation,
    Command,
    CommandFailed,
    Completed,
    Conversation,
    Detected,
    Failure,
    FailureKind,
    Job,
    JobId,
    JobState,
    JobStatus,
    Script,
    hookimpl,
)
from corral_acme import Acme

# --- other batch systems ----------------------------------------------------------------------------------------


@found_by("test_detect_says_no_to_its_relatives")
class TakesAnyVersion(Acme):
    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["acstat", "--version"])
        match = re.search(r"(?:acme|version\s*[:=]?) (\d\S*)", done.stdout)
        return Detected(version=match[1], evidence="acstat --version") if match else None


@found_by("test_detect_says_no_to_garbage")
class TakesAnything(Acme):
    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["acstat", "--version"])
        return Detected(version=done.last_line().removeprefix("acme "), evidence="acstat --version")


@found_by("test_detect_says_no_to_garbage")
class OlderOnesKnowNoVersion(Acme):
    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        try:
            return (yield from super().detect())
        except CommandFailed:
            return Detected(version="old", evidence="acstat")


@found_by("test_outside_of_a_job_there_is_no_allocation")
class InAJobWhereItsServerIs(Acme):
    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        job = {"AC_BATCH": "0", "AC_INDEX": "0", "AC_HOSTS": "localhost"}
        return (yield from super().read_allocation({**job, **environ} if "ACME_SERVER" in environ else environ))


@found_by("test_in_another_systems_job_there_is_no_allocation")
class TakesAnyJobsId(Acme):
    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        names = {"JOB_ID": "AC_BATCH", "SGE_TASK_ID": "AC_INDEX", "HOSTNAME": "AC_HOSTS"}
        as_mine = {names.get(name, name): value for name, value in environ.items() if name in names}
        return (yield from super().read_allocation({**as_mine, **environ}))


@found_by("test_in_another_systems_job_there_is_no_allocation")
class TakesAnyJobOfCorrals(Acme):
    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        job = {"AC_BATCH": environ.get("CORRAL_JOB_ID"), "AC_INDEX": "0", "AC_HOSTS": "localhost"}
        return (yield from super().read_allocation({**job, **environ} if job["AC_BATCH"] else environ))


@found_by("test_a_failure_that_nobody_knows_is_none")
class EveryErrorIsFatal(Acme):
    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        said = completed.stderr
        return Failure(kind=FailureKind.FATAL, message=said) if re.match(r"err\w*\b", said) else None


@found_by("test_a_failure_that_nobody_knows_is_none")
class WhatBeginsWithACapitalIsALimit(Acme):
    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        said = completed.stderr
        return Failure(kind=FailureKind.LIMIT, message=said) if said.startswith("Error") else None


@found_by("test_a_failure_that_nobody_knows_is_none")
class WhoSaysNothingIsBusy(Acme):
    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return None if completed.stderr else Failure(kind=FailureKind.TRANSIENT, message="busy")


@found_by("test_its_own_scripts_are_known_by_their_directives")
class KnowsOthersLines(Acme):
    facts = evolve(Acme.facts, directives=(r"#QN\b",))


# --- stillness --------------------------------------------------------------------------------------------------

STILL = "test_hooks_neither_wait_nor_look_around"


@found_by(STILL)
class SleepsBeforeItAsks(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        sleep(0.001)
        return (yield from super().poll_status(job_ids))


@found_by(STILL)
class LooksForTheFolder(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        with suppress(Exception):  # and swallows what it is told
            job = job if Path(job.log_directory or "").exists() else evolve(job, log_directory=job.log_directory)
        return super().render_script(job)


@found_by(STILL)
class AsksWhoIsThere(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        return (yield from super().find_jobs(name.removeprefix(os.environ.get("USER", "") + "/")))


@found_by(STILL)
class WaitsByTheClock(Acme):
    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            pass
        yield from super().cancel(job_ids)


@found_by(STILL)
class CountsSheep(Acme):
    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        for _ in range(1_000_000):
            pass
        return None


# --- words and units --------------------------------------------------------------------------------------------


@found_by("test_every_state_word_was_seen_or_is_said_not_to_be")
class HasHeardOfOthers(Acme):
    words = {"ZOMBIE": JobState.NODE_FAILED}  # noqa: RUF012 - read only


@found_by("test_units_are_those_of_the_batch_system")
class CountsInThousands(Acme):
    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        job = super().prepare_job(job)
        memory = job.resources.memory
        return evolve(job, resources=evolve(job.resources, memory=memory and -(-memory // 1000) * 1000))

    @hookimpl
    def render_script(self, job: Job) -> Script:
        memory = job.resources.memory
        return super().render_script(
            evolve(job, resources=evolve(job.resources, memory=memory and memory * 1024 // 1000))
        )

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        job = super().parse_resources(text)
        memory = job.resources.memory
        return evolve(job, resources=evolve(job.resources, memory=memory and memory * 1000 // 1024))


@found_by("test_units_are_those_of_the_batch_system")
class AgreesOnMinutes(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        script = super().render_script(job)
        lines = [evolve(each, text=re.sub(r"time=(\d+)$", _in_minutes, each.text)) for each in script.directives]
        return evolve(script, directives=lines)

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        return super().parse_resources(re.sub(r"time=([\d.]+)m$", _in_seconds, text, flags=re.MULTILINE))


def _in_minutes(match: re.Match[str]) -> str:
    return f"time={int(match[1]) / 60}m"


def _in_seconds(match: re.Match[str]) -> str:
    return f"time={round(float(match[1]) * 60)}"


# --- what was given ---------------------------------------------------------------------------------------------


@found_by("test_parse_keeps_the_shebang")
class ForgetsTheShell(Acme):
    @hookimpl
    def parse_resources(self, text: str) -> Job:
        return evolve(super().parse_resources(text), shebang="#!/usr/bin/env bash")


@found_by("test_parse_keeps_the_shebang")
class HasAShellOfItsOwn(Acme):
    @hookimpl
    def render_script(self, job: Job) -> Script:
        return evolve(super().render_script(job), shebang="#!/bin/sh")


@found_by("test_parse_keeps_every_extra_directive")
class KeepsOneOfThem(Acme):
    @hookimpl
    def parse_resources(self, text: str) -> Job:
        job = super().parse_resources(text)
        return evolve(job, extra_directives=job.extra_directives[:1])


@found_by("test_parse_keeps_every_extra_directive")
class KeepsTheLastOfAName(Acme):
    @hookimpl
    def parse_resources(self, text: str) -> Job:
        job = super().parse_resources(text)
        named = {each.partition("=")[0]: each for each in job.extra_directives}
        return evolve(job, extra_directives=list(named.values()))
