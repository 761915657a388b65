"""What OAR declares for the laws of every backend, on answers of OAR 2.5.9."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve

from corral.plugin import Completed, FailureKind, Job, JobId, JobState, Resources
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
    Live,
    Polls,
    Recording,
    Submits,
    UnknownWord,
    transcript,
)

#: How it is tried where it answers.
LIVE = Live(
    wide=Resources(nodes=2, cores=2, memory=2**30),
    patience=90.0,
    held=["--hold"],
    tells=["hosts", "exit_code", "signal", "submitted", "started", "ends"],
)


class OarLaws(BackendConformance):
    """As it answers by default."""

    backend = "oar"
    options: ClassVar[Mapping[str, Any]] = {"memory_property": "memcore", "gpu_resource": "gpu"}
    transcripts = Path(__file__).parent / "transcripts"
    recordings: ClassVar[Sequence[Recording]] = (
        Submits(["oarsub.txt"], ids=["1018", "1019", "1020"]),
        Polls(
            ["oarstat.txt"],
            states={
                "1021": JobState.COMPLETED,
                "1022": JobState.FAILED,
                "1023": JobState.FAILED,
                "1024": JobState.FAILED,
                "1025": JobState.TIMEOUT,
                "1026": JobState.CANCELLED,
                "1027": JobState.RUNNING,
                "1028": JobState.FAILED,
                "1029": JobState.FAILED,
                "1030": JobState.CANCELLED,
                "1031": JobState.HELD,
                "1032": JobState.PREEMPTED,
                "1033": JobState.RUNNING,
                "1034": JobState.PENDING,
            },
            absent=["999999"],
        ),
        Polls(["oarstat-unknown.txt"], states={}, absent=["999999"]),
        Polls(
            ["oarstat-again.txt", "oardel-submitted-again.txt"],
            states={"1045": JobState.NODE_FAILED, "1046": JobState.NODE_FAILED},
        ),
        CancelsGone(["oardel-gone.txt"], ids=["1018", "1019", "1020"]),
        CancelsGone(["oardel-again.txt"], ids=["1018", "1019", "1020"]),
        Finds(["oarstat-found.txt"], name="dask-inside", ids=["1018", "1019", "1020"]),
        Finds(["oarstat-found.txt"], name="dask-*", ids=["1018", "1019", "1020"]),
        Inside(
            ["nodefile.txt", "stat.txt"], environ="environment.txt", job_id="1019", hosts=["node01", "node02"], cores=2
        ),
        Detects(["oarstat-version.txt"], version="2.5.9"),
        Detects(["oarstat-version-2.6.txt"], version="2.6.1"),
        DescribesQueues(["oarnodes.txt"], names=["default"]),
        ExplainsPending(["pending-expected.txt"], job_id="1038", words=["free", "expects to start"]),
        ExplainsPending(["pending-no-nodes.txt"], job_id="1035", words=["no nodes", "no_matching_slot"]),
    )
    alone = Submits(
        [Completed(stdout="OAR_JOB_ID=1019\n"), Completed(stdout="OAR_JOB_ID=1020\n")], ids=["1019", "1020"]
    )
    # Of OAR's source: a job passes them quickly, or is suspended by an administrator.
    never_seen = ("Finishing", "Launching", "Resuming", "Suspended", "toAckReservation", "toError", "toLaunch")
    units = (
        AskedFor(
            "#OAR -l /nodes=3/core=7,walltime=00:05:00",
            "oarstat.txt",
            says=["walltime=0:5:0", "/nodes=3/core=7,walltime=00:05:00"],
            walltime=300,
        ),
    )
    unknown_word = UnknownWord(["oarstat.txt"], job_id="1031", known='"state" : "Hold"', unknown='"state" : "Moulting"')
    garbled_row = GarbledRow(["oarstat.txt"], job_id="1031", known='"state" : "Hold"', garbled='"state" : 7')
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "oarsub-server-down.txt": FailureKind.TRANSIENT,
        "oardel-server-down.txt": FailureKind.TRANSIENT,
        "oarstat-database-down.txt": FailureKind.TRANSIENT,
        "oarsub-limit.txt": FailureKind.LIMIT,
        "oarsub-admin.txt": FailureKind.FATAL,
        "oarsub-count.txt": FailureKind.FATAL,
        "oarsub-log.txt": FailureKind.FATAL,
        "oarsub-name.txt": FailureKind.FATAL,
        "oarsub-option.txt": FailureKind.FATAL,
        "oarsub-property.txt": FailureKind.FATAL,
        "oarsub-queue.txt": FailureKind.FATAL,
        "oarsub-resource.txt": FailureKind.FATAL,
        "oarsub-root.txt": FailureKind.FATAL,
        "oarsub-too-much.txt": FailureKind.FATAL,
        "oarsub-type.txt": FailureKind.FATAL,
    }
    live: ClassVar[Live | None] = LIVE
    extra_directives: ClassVar[Sequence[str]] = ("-t besteffort", "--checkpoint 60", "-d /scratch/my work")

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(str(12_345_000 + index)) for index in range(count)]

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        long = json.loads(transcript(self.transcripts / "oarstat.txt").stdout)["1027"]
        row = {name: long[name] for name in ("name", "state", "startTime", "assigned_network_address")}
        return [Completed(stdout=json.dumps({each.text: {**row, "Job_Id": int(each.text)} for each in job_ids}))]


class OarWithoutOptionsLaws(OarLaws):
    """At a site of which nothing is known: memory is no matter of OAR's."""

    options: ClassVar[Mapping[str, Any]] = {}
    job = Job(
        name="dask-conformance",
        command=("true",),
        resources=Resources(nodes=2, cores=4),
        walltime=3600,
        queue="batch",
        account="physics",
        log_directory="/scratch/my logs",
    )
    live = None
    extra_directives = (*OarLaws.extra_directives, "-p cluster = 'taurus' AND gpu > 0")


class OarWithoutArraysLaws(OarLaws):
    """The same laws where each job is a submission of its own."""

    options: ClassVar[Mapping[str, Any]] = {**OarLaws.options, "arrays": False}
    recordings: ClassVar[Sequence[Recording]] = OarLaws.each_alone(
        Inside(
            ["nodefile.txt", "stat.txt"], environ="environment.txt", job_id="1019", hosts=["node01", "node02"], cores=2
        ),
    )
    live = evolve(LIVE, many=6)

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(str(12_345_000 + index)) for index in range(count)]
