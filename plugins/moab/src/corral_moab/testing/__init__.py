"""What Moab declares for the laws of every backend, in the form of its documentation.

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
    transcript,
)

USER = Completed(stdout="mary\n")


class MoabLaws(BackendConformance):
    """As it answers by default."""

    backend = "moab"
    transcripts = Path(__file__).parent / "transcripts"
    # A log is opened by the job's script itself, in a folder that this machine has not.
    job: ClassVar[Job] = evolve(BackendConformance.job, log_directory=None)
    recordings: ClassVar[Sequence[Recording]] = (
        Submits(["msub.txt"], ids=["Moab.12[1]", "Moab.12[2]", "Moab.12[3]"]),
        Polls(
            [USER, "showq.txt", "showq-completed.txt"],
            states={
                "Moab.12[1]": JobState.RUNNING,
                "Moab.12[2]": JobState.RUNNING,
                "Moab.12[3]": JobState.PENDING,
                "Moab.12[4]": JobState.HELD,
                "Moab.12[5]": JobState.HELD,
                "Moab.12[6]": JobState.COMPLETED,
                "Moab.12[7]": JobState.FAILED,
                "Moab.12[8]": JobState.CANCELLED,
                "Moab.12[9]": JobState.FAILED,
                "Moab.12[10]": JobState.CANCELLED,
                "Moab.12[11]": JobState.NODE_FAILED,
            },
        ),
        Polls([USER, "showq-none.txt", "showq-none.txt"], states={}, absent=["Moab.99[1]"]),
        CancelsGone(["canceljob-gone.txt"], ids=["Moab.12[6]", "Moab.99[1]"]),
        Finds([USER, "showq.txt"], name="dask-ends", ids=[f"Moab.12[{index}]" for index in range(1, 6)]),
        Finds([USER, "showq.txt"], name="dask", ids=[]),
        Finds([USER, "showq.txt"], name="dask-e*", ids=[f"Moab.12[{index}]" for index in range(1, 6)]),
        Inside(["nodefile.txt"], environ="environment.txt", job_id="Moab.12[2]", hosts=["n1", "n2"], cores=2),
        Detects(["version.txt"], version="9.1.3"),
        DescribesQueues([USER, "server.txt", "queues.txt"], names=["batch"]),
        ExplainsPending(["checkjob-blocked.txt"], job_id="Moab.12[3]", words=["idle", "MAXPROC", "proc limit"]),
        ExplainsPending(["checkjob-gone.txt"], job_id="Moab.99[1]", words=[]),
    )
    alone = Submits([Completed(stdout="\nMoab.13\n"), Completed(stdout="\nMoab.14\n")], ids=["Moab.13", "Moab.14"])
    # Of its documentation; exit codes are TORQUE's.
    never_seen = ("-10", "-11", "271", "batchhold", "blocked", "hold", "staged", "staging", "suspended", "systemhold")
    unknown_word = UnknownWord(
        [USER, "showq.txt"], job_id="Moab.12[1]", known='State="Running"', unknown='State="Molting"'
    )
    garbled_row = GarbledRow(
        [USER, "showq.txt", "showq-completed.txt"],
        job_id="Moab.12[1]",
        known='JobID="Moab.12[1]"',
        garbled='Job="Moab.12[1]"',
    )
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "msub-down.txt": FailureKind.TRANSIENT,
        "msub-limit.txt": FailureKind.LIMIT,
        "msub-account.txt": FailureKind.FATAL,
        "msub-class.txt": FailureKind.FATAL,
    }
    extra_directives = ("-p 10", "-l software=matlab -W group_list=physics", '-v "A=two words"')

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"Moab.{77 + index // 1000}[{index % 1000 + 1}]") for index in range(count)]

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        head, row, rest = re.split(
            r'(    <job JobID="Moab\.12\[1\]".*\n)', transcript(self.transcripts / "showq.txt").stdout
        )
        return [USER, Completed(stdout=head + "".join(row.replace("Moab.12[1]", str(each)) for each in job_ids) + rest)]


class MoabWithoutArraysLaws(MoabLaws):
    """The same laws where each job is a submission of its own."""

    options: ClassVar[Mapping[str, Any]] = {"arrays": False}
    recordings: ClassVar[Sequence[Recording]] = MoabLaws.each_alone(
        Inside(
            ["nodefile.txt"],
            environ={"MOAB_JOBID": "Moab.13", "PBS_JOBID": "78.srv", "PBS_NODEFILE": "/aux/78.srv"},
            job_id="Moab.13",
            hosts=["n1", "n2"],
        ),
    )

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"Moab.{1_000_000 + index}") for index in range(count)]
