"""The laws hold for a small backend without arrays that keeps them."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from corral import JobState
from corral.plugin.values import Completed, FailureKind, JobId, Resources
from corral.testing import (
    AskedFor,
    BackendConformance,
    CancelsGone,
    Detects,
    Finds,
    GarbledRow,
    Inside,
    Polls,
    Submits,
    UnknownWord,
)


class TestQuern(BackendConformance):
    backend = "quern"
    #: It has no commands.
    live = None
    transcripts = Path(__file__).parent / "quern" / "transcripts"
    recordings = (
        Submits(["put.txt"], ids=["q7"]),
        Polls(
            ["list.txt"],
            states={
                "q1": JobState.COMPLETED,
                "q2": JobState.FAILED,
                "q7": JobState.RUNNING,
                "q8": JobState.PENDING,
                "q9": JobState.CANCELLED,
            },
            absent=["q3"],
        ),
        CancelsGone(["drop-gone.txt"], ids=["q1"]),
        Finds(["list.txt"], name="dask-1", ids=["q7", "q8"]),
        Finds(["list.txt"], name="dask-*", ids=["q7", "q8"]),
        Inside(["inside.txt"], environ="environment.txt", job_id="q7", hosts=["mill1"], cores=4),
        Detects(["version.txt"], version="2.4"),
    )
    never_seen = ("paused",)
    units = (
        AskedFor(
            "#QN mem 1000\n#QN minutes 90",
            Completed(stdout="q7: 1024000 kB for 01:30:00\n"),
            says=["1024000 kB", "01:30:00"],
            memory=1024000 * 1024,
            walltime=5400,
        ),
    )
    unknown_word = UnknownWord(["list.txt"], job_id="q7", known="q7;grinding;", unknown="q7;MOLTING;")
    garbled_row = GarbledRow(["list.txt"], job_id="q7", known="q7;grinding;;", garbled="q7;grind")
    failures = {"put-down.txt": FailureKind.TRANSIENT, "put-limit.txt": FailureKind.LIMIT}  # noqa: RUF012 - read only
    job = evolve(BackendConformance.job, resources=Resources(cores=4, memory=8 * 2**30))
    extra_directives = ("mail never", "after q6")

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"q{number}") for number in range(7, 7 + count)]
