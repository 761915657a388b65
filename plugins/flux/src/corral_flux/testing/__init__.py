"""What Flux declares for the laws of every backend, on answers of Flux 0.88."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from corral.plugin import FailureKind, JobId, JobState
from corral.testing import (
    AskedFor,
    BackendConformance,
    CancelsGone,
    DescribesQueues,
    Detects,
    ExplainsPending,
    Finds,
    GarbledRow,
    Inside,
    Polls,
    Submits,
    UnknownWord,
)

#: The digits of Flux's ids.
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class FluxLaws(BackendConformance):
    """As it answers by default."""

    backend = "flux"
    transcripts = Path(__file__).parent / "transcripts"
    recordings = (
        Submits(["submit.txt"], ids=["f48LRz22T", "f48LTU1Jo", "f48LTU1Jp"]),
        Submits(["submit-nodes.txt"], ids=["f64hj2qAo"]),
        Polls(
            ["jobs.txt"],
            states={
                "f48v9TgjH": JobState.COMPLETED,
                "f48vCRfHy": JobState.FAILED,
                "f48vGsd92": JobState.RUNNING,
                "f48vGsd93": JobState.CANCELLED,
                "f49tS2RGb": JobState.TIMEOUT,
                "f49ymsqAf": JobState.FAILED,
                "f4A4tPMXd": JobState.FAILED,
                "f4A9LMCZd": JobState.FAILED,
                "f4ACuuU1u": JobState.HELD,
                "f4AHCyPMq": JobState.PENDING,
                "f4AMUZKRR": JobState.PENDING,
            },
        ),
        Polls(["jobs-mixed.txt"], states={"f48vCRfHy": JobState.FAILED}, absent=["f123"]),
        Polls(["jobs-unknown.txt"], states={}, absent=["f123", "f124"]),
        CancelsGone(["cancel-ended.txt"], ids=["f48v9TgjH", "f48vGsd93"]),
        CancelsGone(["cancel-unknown.txt"], ids=["f123"]),
        CancelsGone(["cancel-mixed.txt"], ids=["f48vGsd92", "f48v9TgjH"]),
        Finds(["find.txt"], name="held", ids=["f4ACtRUjZ", "f4ACuuU1u"]),
        Finds(["find.txt"], name="he*", ids=["f4ACtRUjZ", "f4ACuuU1u"]),
        Inside(["resources.txt"], environ="environment.txt", job_id="f48LTU1Jo", hosts=["node2"], cores=2, gpus=["0"]),
        Inside(
            ["resources-nodes.txt"],
            environ="environment-nodes.txt",
            job_id="f64hj2qAo",
            hosts=["node1", "node2"],
            cores=2,
            gpus=["0"],
        ),
        Detects(["version.txt"], version="0.88.0"),
        DescribesQueues(["queues.txt"], names=["batch", "debug"]),
        ExplainsPending(["pending-resources.txt"], job_id="f4AMW3Jhn", words=["free", "2026-11-25 21:59:48"]),
    )
    # A job is in these states for an instant.
    never_seen = ("CLEANUP", "PRIORITY")
    units = (
        AskedFor(
            "#flux: --queue=debug\n#flux: --time-limit=3600s",
            "submit-limit.txt",
            says=["requested duration (1h) exceeds policy limit of 30m"],
            walltime=3600,
        ),
    )
    unknown_word = UnknownWord(["jobs.txt"], job_id="f48vGsd92", known="f48vGsd92|RUN|", unknown="f48vGsd92|MOLTING|")
    garbled_row = GarbledRow(
        ["jobs.txt"], job_id="f48vGsd92", known="f48vGsd92|RUN|||16|1795643385.0168383|", garbled="f48vGsd92|R"
    )
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "jobs-down.txt": FailureKind.TRANSIENT,
        "submit-down.txt": FailureKind.TRANSIENT,
        "cancel-down.txt": FailureKind.TRANSIENT,
        "submit-disabled.txt": FailureKind.TRANSIENT,
        "submit-queue.txt": FailureKind.FATAL,
        "submit-limit.txt": FailureKind.FATAL,
        "submit-option.txt": FailureKind.FATAL,
    }
    extra_directives = ("--urgency=20", "-x --requires=host:n1", "--setattr=user.comment='two words # and more'")

    def job_ids(self, count: int) -> list[JobId]:
        return [
            JobId(f"f4zzzzzzz{BASE58[index // 58 % 58]}{BASE58[index % 58]}{index // 3364 + 1}")
            for index in range(count)
        ]
