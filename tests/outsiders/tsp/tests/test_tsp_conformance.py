"""Task Spooler keeps the laws of every backend."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from corral.plugin import FailureKind, Job, JobId, JobState, Resources
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
)


class TestTsp(BackendConformance):
    backend = "tsp"
    transcripts = Path(__file__).parent / "transcripts"
    # It has no nodes, queues or accounts to ask for.
    job = Job(
        name="dask-conformance",
        command=("true",),
        resources=Resources(cores=2, memory=8 * 2**30),
        walltime=3600,
        log_directory="/scratch/logs",
    )
    recordings = (
        Submits(["submit.txt", "submit-second.txt"], ids=["0", "1"]),
        Polls(["list-empty.txt"], states={}, absent=["0"]),
        Polls(
            ["list.txt"],
            states={
                "0": JobState.RUNNING,
                "1": JobState.FAILED,
                "2": JobState.COMPLETED,
                "3": JobState.FAILED,
                "4": JobState.TIMEOUT,
                "5": JobState.CANCELLED,
                "7": JobState.PENDING,
            },
            absent=["99"],
            exit_codes={"1": 3, "2": 0, "4": 124, "7": None},
        ),
        CancelsGone(["list.txt", "remove-unknown.txt", "kill-unknown.txt"], ids=["99"]),
        CancelsGone(["list.txt"], ids=["1", "4", "5"]),
        Finds(["list.txt"], name="dask-conformance", ids=["0"]),
        Finds(["list.txt"], name="dask-*", ids=["0", "6", "7", "8"]),
        Inside(
            environ={"TSP_JOB": "0", "TSP_HOST": "n1", "TSP_ENDS": "1796000000"},
            job_id="0",
            hosts=["n1"],
            ends=1796000000,
        ),
        Detects(["version.txt"], version="1.0.1"),
        ExplainsPending(["info-waits.txt", "slots.txt"], job_id="7", words=["1 of", "3 slots"]),
        ExplainsPending(["info-never.txt", "slots.txt"], job_id="8", words=["it will never start", "cores=3"]),
    )
    unknown_word = UnknownWord(["list.txt"], job_id="0", known="0    running", unknown="0    molting")
    garbled_row = GarbledRow(["list.txt"], job_id="1", known="ts-out.ZCGRSU 3", garbled="ts-out.ZCGRSU ?")
    failures: ClassVar = {"full.txt": FailureKind.LIMIT, "no-server.txt": None}
    not_cancelled = ("no-server.txt",)
    inherits = ("TS_*", "TMPDIR", "HOME", "USER", "LOGNAME", "SHELL", "LANG")
    extra_directives = ("-m", "-D 3")
    live = Live(
        tells={"exit_code"},
        cannot={
            "one_of_three_is_cancelled": "it says how a job ended, not that it was cancelled: see test_tsp_real.py",
        },
    )
    # tsp -r takes one number.
    most_commands = 10_001

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(str(index)) for index in range(count)]
