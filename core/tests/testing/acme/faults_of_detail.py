"""Acme, broken in what one law or another sees only if it looks closely: what is handed over, said and compared."""

# It derives from what is on the path in tests only.
# mypy: ignore-errors

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve
from faults import found_by

from corral.plugin import (
    Command,
    Conversation,
    Detected,
    Directive,
    JobId,
    JobState,
    JobStatus,
    Script,
    hookimpl,
    mapped,
)
from corral_acme import Acme, _table

# --- the whole script -------------------------------------------------------------------------------------------


@found_by("test_a_submission_hands_over_the_whole_script")
class KnowsTheDirectivesThatCount(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        def counts(directive: Directive) -> bool:
            return directive.name not in ("mail", "walltime")

        return (yield from super().submit(evolve(script, directives=filter(counts, script.directives)), count))


@found_by("test_a_submission_hands_over_the_whole_script")
class HasALineOfSoMuch(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        return (yield from mapped(super().submit(script, count), lambda each: evolve(each, stdin=each.stdin[:400])))


@found_by("test_a_submission_hands_over_the_whole_script")
class StartsItsOwnShell(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        return (yield from super().submit(evolve(script, shebang="#!/bin/sh"), count))


# --- the environment --------------------------------------------------------------------------------------------


@found_by("test_a_submission_inherits_only_what_is_declared")
class HandsItOverAsAVariable(Acme):
    """And what else is in the environment with it."""

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        def handed(command: Command) -> Command:
            return evolve(command, stdin="", env={"AC_SCRIPT": command.stdin}, inherit=["AC*", "OMP_*"])

        return (yield from mapped(super().submit(script, count), handed))


@found_by("test_a_submission_inherits_only_what_is_declared")
class SeesNoServer(Acme):
    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        return (yield from mapped(super().submit(script, count), lambda each: evolve(each, inherit=["HOME"])))


# --- what is said of jobs ---------------------------------------------------------------------------------------


@found_by("test_an_answer_means_what_was_recorded")
class WhatWaitsIsHopeless(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {
            job_id: status if status.state.is_final else evolve(status, hopeless="ask for less with cores=")
            for job_id, status in found.items()
        }


@found_by("test_an_answer_means_what_was_recorded")
class FailsWithoutACause(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {
            job_id: evolve(status, exit_code=0) if status.state is JobState.FAILED else status
            for job_id, status in found.items()
        }


@found_by("test_an_answer_means_what_was_recorded")
class ForgetsTheExitCode(Acme):
    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        found = yield from super().poll_status(job_ids)
        return {job_id: evolve(status, exit_code=None) for job_id, status in found.items()}


# --- names ------------------------------------------------------------------------------------------------------


@found_by("test_jobs_are_found_by_their_name_and_by_its_beginning")
class EveryNameIsABeginning(Acme):
    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        rows = yield from _table([])
        beginning = name.removesuffix("*")
        return [job_id for job_id, status, found in rows if found.startswith(beginning) and not status.state.is_final]


@found_by("test_detect_says_no_to_garbage")
class KnowsVersionsOnly(Acme):
    """With a number that nothing else in the kit is printed with."""

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["acstat", "--version"])
        found = re.fullmatch(r"[a-z]+ (3\.\d+)", done.last_line())
        return Detected(version=found[1], evidence="acstat --version") if found else None
