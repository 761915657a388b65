"""What HTCondor declares for the laws of every backend, on answers of HTCondor 23.9 and 25.14."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve
from hypothesis import strategies as st

from corral.plugin import Completed, FailureKind, Job, JobId, JobState, Resources
from corral.testing import (
    BackendConformance,
    CancelsGone,
    Detects,
    ExplainsPending,
    Finds,
    GarbledRow,
    Inside,
    Live,
    Polls,
    Submits,
    UnknownWord,
    transcript,
)

MEBI = 2**20


class HTCondorLaws(BackendConformance):
    """As it answers by default."""

    backend = "htcondor"
    options: ClassVar[Mapping[str, Any]] = {"queue_attribute": "JobFlavour", "walltime_attribute": "MaxRuntime"}
    transcripts = Path(__file__).parent / "transcripts"
    recordings = (
        Submits(["submit.txt"], ids=["28.0", "28.1", "28.2"]),
        Polls(
            ["poll.txt", "poll-history.txt"],
            states={
                "27.0": JobState.RUNNING,
                "27.1": JobState.CANCELLED,
                "28.0": JobState.COMPLETED,
                "28.1": JobState.COMPLETED,
                "28.2": JobState.COMPLETED,
                "29.0": JobState.PENDING,
                "30.0": JobState.FAILED,
                "31.0": JobState.FAILED,
                "32.0": JobState.FAILED,
                "33.0": JobState.FAILED,
                "34.0": JobState.HELD,
                "35.0": JobState.TIMEOUT,
                "36.0": JobState.CANCELLED,
                "37.0": JobState.PENDING,
            },
        ),
        Polls(
            ["poll-later.txt", "poll-later-history.txt"],
            states={
                "29.0": JobState.PENDING,
                "32.0": JobState.FAILED,
                "33.0": JobState.FAILED,
                "34.0": JobState.HELD,
                "35.0": JobState.TIMEOUT,
                "37.0": JobState.FAILED,
            },
        ),
        Polls(["poll-ending.txt"], states={"40.0": JobState.CANCELLED}),
        Polls(["25-poll-ending.txt"], states={"86.0": JobState.CANCELLED}),
        Polls(["poll-held.txt"], states={"3.0": JobState.HELD}),
        Polls(["poll-suspended.txt"], states={"4.0": JobState.SUSPENDED}),
        Polls(["poll-execute-duration.txt"], states={"5.0": JobState.TIMEOUT}),
        Polls(["poll-spooling.txt"], states={"6.0": JobState.HELD}),
        Polls(["poll-hidden-tmp.txt"], states={"66.0": JobState.FAILED}),
        Polls(["poll-evicted.txt"], states={"50.0": JobState.PENDING}),
        Polls(["25-poll-could-not-run.txt"], states={"67.0": JobState.FAILED, "68.0": JobState.FAILED}),
        Polls(
            ["25-poll-held.txt", "25-history.txt"],
            states={
                "4.0": JobState.TIMEOUT,
                "6.0": JobState.PENDING,
                "7.45": JobState.CANCELLED,
                "8.0": JobState.FAILED,
                "9.0": JobState.HELD,
                "12.0": JobState.FAILED,
            },
        ),
        Polls(["poll-unknown.txt", "poll-unknown-history.txt"], states={}, absent=["99999.0"]),
        Polls(["25-poll-unknown.txt", "history-off.txt"], states={}, absent=["99999.0"]),
        CancelsGone(["rm-gone.txt"], ids=["99999.0", "30.0"]),
        CancelsGone(["rm-again.txt"], ids=["40.0"]),
        CancelsGone(["25-rm-unknown.txt"], ids=["99999.0"]),
        Finds(["find.txt"], name="dask-run", ids=["27.0"]),
        Finds(["find.txt"], name="dask-*", ids=["27.0"]),
        Finds(["find-none.txt"], name="nobody", ids=[]),
        Inside(
            ["ads-inside.txt"],
            environ="environment-inside.txt",
            job_id="28.1",
            hosts=["node01"],
            cores=2,
            memory=256 * MEBI,
        ),
        Inside(
            ["ads-gpus.txt"],
            environ="environment-gpus.txt",
            job_id="49.0",
            hosts=["node01"],
            cores=1,
            memory=128 * MEBI,
            gpus=["GPU-a1b2c3", "GPU-d4e5f6"],
        ),
        Inside(
            ["ads-evicted.txt"],
            environ="environment-evicted.txt",
            job_id="50.0",
            hosts=["node01"],
            cores=1,
            memory=128 * MEBI,
            attempt=1,
        ),
        Detects(["version.txt"], version="23.9.6"),
        Detects(["25-version.txt"], version="25.14.0"),
        Detects(["25-version-later.txt"], version="25.14.1"),
        ExplainsPending(["pending-never.txt"], job_id="29.0", words=["never", "TARGET.Cpus >= RequestCpus"]),
        ExplainsPending(
            ["pending-never-large.txt"],
            job_id="45.0",
            words=["never", "RequestMemory (300000 mb)", "less with", "memory=", "cores=", "gpus=", "'disk'"],
        ),
        ExplainsPending(["25-pending-never.txt"], job_id="6.0", words=["never", "TARGET.Cpus >= RequestCpus"]),
        ExplainsPending(["pending-files.txt"], job_id="38.0", words=["never", "file system", "FILESYSTEM_DOMAIN"]),
        ExplainsPending(["pending-busy.txt"], job_id="39.0", words=["room", "1 of 1"]),
        ExplainsPending(["25-pending-busy.txt"], job_id="13.0", words=["room", "1 of 1"]),
    )
    # Output on its way: only where files are transferred.
    never_seen = ("6",)
    unknown_word = UnknownWord(["poll-evicted.txt"], job_id="50.0", known='"JobStatus": 1', unknown='"JobStatus": 9')
    garbled_row = GarbledRow(
        ["poll.txt", "poll-history.txt"], job_id="29.0", known='"ClusterId": 29,', garbled='"ClusterId": "?",'
    )
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "down-submit.txt": FailureKind.TRANSIENT,
        "down-poll.txt": FailureKind.TRANSIENT,
        "down-rm.txt": FailureKind.TRANSIENT,
        "down-pending.txt": FailureKind.TRANSIENT,
        "away-submit.txt": FailureKind.TRANSIENT,
        "away-poll.txt": FailureKind.TRANSIENT,
        "away-rm.txt": FailureKind.TRANSIENT,
        "away-host-submit.txt": FailureKind.TRANSIENT,
        "away-host-poll.txt": FailureKind.TRANSIENT,
        "limit-owner.txt": FailureKind.LIMIT,
        "limit-schedd.txt": FailureKind.LIMIT,
        "limit-submission.txt": FailureKind.LIMIT,
        "refused-account.txt": FailureKind.FATAL,
        "refused-directory.txt": FailureKind.FATAL,
        "refused-disabled.txt": FailureKind.FATAL,
        "refused-expression.txt": FailureKind.FATAL,
        "refused-permission.txt": FailureKind.FATAL,
        "refused-requirement.txt": FailureKind.FATAL,
        "refused-root.txt": FailureKind.FATAL,
        "refused-universe.txt": FailureKind.FATAL,
        "25-refused-executable.txt": FailureKind.FATAL,
        "rm-permission.txt": FailureKind.FATAL,
    }
    # A job runs on one machine.
    job = evolve(BackendConformance.job, resources=Resources(cores=4, memory=8 * 2**30, gpus=1))
    live = Live(
        options={},
        job=Job(resources=Resources(memory=100 * MEBI)),
        wide=Resources(cores=2, memory=200 * MEBI, gpus=2),
        # It knows no queues, and looks for a machine only when it has taken the job.
        refused={"extra_directives": ["rank = (("]},
        held=["hold = True"],
        tells=["hosts", "exit_code", "signal", "submitted", "started", "ends"],
    )
    extra_directives = ('+ProjectName = "dask"', "rank = TARGET.Memory", "concurrency_limits = sw_x", "MY.Wants = True")

    def jobs(self) -> st.SearchStrategy[Job]:
        return super().jobs().map(lambda job: evolve(job, resources=evolve(job.resources, nodes=1)))

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{1234567 + index // 500}.{index % 500}") for index in range(count)]

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        running = json.loads(transcript(self.transcripts / "poll.txt").stdout)[0]
        parts = (job_id.text.split(".") for job_id in job_ids)
        ads = [{**running, "ClusterId": int(cluster), "ProcId": int(proc)} for cluster, proc in parts]
        return [Completed(stdout=json.dumps(ads, indent=2))]
