"""What TORQUE declares for the laws of every backend, in the form of its documentation and of its source (6.1).

None of them is a recording: they were written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve

from corral.plugin import Completed, FailureKind, Job, JobId, JobState
from corral.testing import (
    BackendConformance,
    CancelsGone,
    DescribesQueues,
    Detects,
    ExplainsPending,
    Finds,
    GarbledRow,
    Inside,
    Polls,
    Recording,
    Submits,
    UnknownWord,
    one_of_each,
    transcript,
)

USER = Completed(stdout="mary\n")


class TorqueLaws(BackendConformance):
    """As it answers by default."""

    backend = "torque"
    transcripts = Path(__file__).parent / "transcripts"
    recordings: ClassVar[Sequence[Recording]] = (
        Submits(["qsub.txt"], ids=[f"12[{index}].srv" for index in range(8)]),
        Polls(
            ["qstat.txt"],
            states={
                "12[0].srv": JobState.COMPLETED,
                "12[1].srv": JobState.FAILED,
                "12[2].srv": JobState.FAILED,
                "12[3].srv": JobState.TIMEOUT,
                "12[4].srv": JobState.CANCELLED,
                "12[5].srv": JobState.RUNNING,
                "12[6].srv": JobState.PENDING,
                "12[7].srv": JobState.HELD,
            },
            absent=["12[8].srv"],
        ),
        Polls(["qstat-mixed.txt"], states={"12[0].srv": JobState.COMPLETED}, absent=["99[0].srv"]),
        Polls(["qstat-unknown.txt"], states={}, absent=["99[0].srv"]),
        CancelsGone(["qdel-gone.txt"], ids=["12[0].srv", "99[0].srv"]),
        Finds([USER, "qstat.txt"], name="dask-ends", ids=["12[5].srv", "12[6].srv", "12[7].srv"]),
        Finds([USER, "qstat.txt"], name="dask", ids=[]),
        Finds([USER, "qstat.txt"], name="dask-e*", ids=["12[5].srv", "12[6].srv", "12[7].srv"]),
        Inside(
            ["nodefile.txt", "gpufile.txt"],
            environ="environment.txt",
            job_id="12[5].srv",
            hosts=["n1", "n2"],
            cores=2,
            gpus=["0", "1"],
        ),
        Detects(["version.txt"], version="6.1.3"),
        DescribesQueues([USER, "server.txt", "queues.txt"], names=["batch", "route"]),
        ExplainsPending(["pending.txt"], job_id="12[6].srv", words=["waits", "Draining"]),
        ExplainsPending(["held.txt"], job_id="12[7].srv", words=["held", "qrls"]),
    )
    alone = Submits([Completed(stdout="13.srv\n"), Completed(stdout="14.srv\n")], ids=["13.srv", "14.srv"])
    # Of its documentation; exit codes are those of its source.
    never_seen = ("-10", "-3", "-4", "E", "S", "T", "W")
    unknown_word = UnknownWord(["qstat.txt"], job_id="12[5].srv", known="job_state = R", unknown="job_state = MOLTING")
    garbled_row = GarbledRow(["qstat.txt"], job_id="12[5].srv", known="job_state = R", garbled="job_stat R")
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "qsub-down.txt": FailureKind.TRANSIENT,
        "qsub-busy.txt": FailureKind.TRANSIENT,
        "qsub-limit.txt": FailureKind.LIMIT,
        "qsub-account.txt": FailureKind.FATAL,
        "qsub-acl.txt": FailureKind.FATAL,
        "qsub-array.txt": FailureKind.FATAL,
        "qsub-feasible.txt": FailureKind.FATAL,
        "qsub-queue.txt": FailureKind.FATAL,
        "qsub-walltime.txt": FailureKind.FATAL,
    }
    also_inside = ("Moab",)
    extra_directives = ("-p 10", "-l software=matlab -W group_list=physics", '-v "A=two words"')

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{77 + index // 1000}[{index % 1000}].srv") for index in range(count)]

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        table = transcript(self.transcripts / "qstat.txt").stdout
        # Its beginning is enough.
        _, row, _ = re.split(r"(Job Id: 12\[5\].*?job_state = R\n)", table, flags=re.DOTALL)
        return [Completed(stdout="".join(row.replace("12[5].srv", each.text) + "\n" for each in job_ids))]


class TorqueWithOptionsLaws(TorqueLaws):
    """The same laws where the site asks in its own way; answers are the same, so one for each hook will do."""

    recordings = one_of_each(TorqueLaws.recordings)
    options: ClassVar[Mapping[str, object]] = {"memory_resource": "vmem", "properties": "bigmem:gen=7"}


class TorqueWithoutArraysLaws(TorqueLaws):
    """The same laws where each job is a submission of its own."""

    options: ClassVar[Mapping[str, Any]] = {"arrays": False}
    recordings = TorqueLaws.each_alone(
        Inside(
            ["nodefile.txt"],
            environ={"PBS_JOBID": "13.srv", "PBS_NODEFILE": "/aux/13.srv", "PBS_NUM_PPN": "2"},
            job_id="13.srv",
            hosts=["n1", "n2"],
            cores=2,
        ),
    )

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{1_000_000 + index}.srv") for index in range(count)]


class TorqueByCoreLaws(TorqueLaws):
    """The same laws of requests where memory is each core's."""

    options: ClassVar[Mapping[str, Any]] = {"memory_resource": "pmem"}
    job: ClassVar[Job] = evolve(TorqueLaws.job, resources=evolve(TorqueLaws.job.resources, processes=4))
