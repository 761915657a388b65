"""What PBS declares for the laws of every backend, on answers of OpenPBS 23.06."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

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
    one_of_each,
    transcript,
)

USER = Completed(stdout="root\n")


class PBSLaws(BackendConformance):
    """As it answers by default."""

    backend = "pbs"
    transcripts = Path(__file__).parent / "transcripts"
    recordings: ClassVar[Sequence[Recording]] = (
        Submits(["qsub-two.txt"], ids=["9084[0].node01", "9084[1].node01"]),
        Submits(["qsub.txt"], ids=[f"9058[{index}].node01" for index in range(6)]),
        Submits(["qsub-inside.txt"], ids=["10001[0].node01"]),
        Polls(
            ["qstat-deleted-element.txt"],
            states={
                "9058[0].node01": JobState.RUNNING,
                "9058[1].node01": JobState.FAILED,
                "9058[2].node01": JobState.FAILED,
                "9058[3].node01": JobState.RUNNING,
                "9058[4].node01": JobState.CANCELLED,
            },
        ),
        Polls(
            ["qstat-running.txt"],
            states={
                "9058[0].node01": JobState.RUNNING,
                "9058[1].node01": JobState.RUNNING,
            },
            absent=["9058[6].node01"],
        ),
        Polls(
            ["qstat-ended.txt"],
            states={
                "9058[0].node01": JobState.COMPLETED,
                "9058[1].node01": JobState.FAILED,
                "9058[2].node01": JobState.FAILED,
                "9058[3].node01": JobState.TIMEOUT,
                "9058[4].node01": JobState.CANCELLED,
            },
        ),
        Polls(["qstat-mem-exceeded.txt"], states={"59[0].node01": JobState.OUT_OF_MEMORY}),
        Polls(
            ["qstat-waiting.txt"],
            states={"9059[0].node01": JobState.HELD, "9060[0].node01": JobState.PENDING},
            hopeless=["9060[0].node01"],
        ),
        Polls(
            ["qstat-deleted-waiting.txt"],
            states={"9059[1].node01": JobState.CANCELLED, "9059[2].node01": JobState.HELD},
        ),
        Polls(
            ["qstat-mixed.txt"],
            states={"9058[0].node01": JobState.COMPLETED},
            absent=["999999[0].node01", "999998[1].node01"],
        ),
        Polls(["qstat-unknown.txt"], states={}, absent=["999999[0].node01"]),
        Polls(
            ["qstat-no-history.txt", "qstat-plain.txt"],
            states={"10000[0].node01": JobState.HELD, "10000[1].node01": JobState.HELD},
        ),
        Polls(
            ["qstat-no-history.txt", "qstat-plain-unknown.txt"],
            states={"10000[0].node01": JobState.HELD},
            absent=["6[0].node01"],
        ),
        CancelsGone(["qdel-gone.txt"], ids=["9059[0].node01", "9060[0].node01"]),
        CancelsGone(["qdel-unknown.txt"], ids=["999999[0].node01"]),
        Finds([USER, "qselect.txt"], name="dask-held", ids=["9059[0].node01", "9059[2].node01"]),
        Finds([USER, "qselect-none.txt"], name="nosuch", ids=[]),
        Finds([USER, "qselect.txt", "qstat-waiting.txt"], name="dask-*", ids=["9059[0].node01", "9059[2].node01"]),
        Inside(
            ["nodefile-two-nodes.txt"],
            environ="environment-two-nodes.txt",
            job_id="9084[1].node01",
            hosts=["node01", "node02"],
            cores=4,
        ),
        Inside(["nodefile.txt"], environ="environment.txt", job_id="10001[0].node01", hosts=["node01"], cores=2),
        Detects(["qstat-version.txt"], version="23.06.06"),
        DescribesQueues(
            [USER, "qstat-server.txt", "qstat-queues.txt"], names=["workq", "short", "closed", "few", "mine"]
        ),
        ExplainsPending(["pending-never.txt"], job_id="9060[0].node01", words=["never", "ncpus (R: 999"]),
        ExplainsPending(["pending-held.txt"], job_id="9059[0].node01", words=["held", "qrls"]),
    )
    alone = Submits([Completed(stdout="74.node01\n"), Completed(stdout="75.node01\n")], ids=["74.node01", "75.node01"])
    # The letters of qstat(1B); H is an array's here, never an element's. Exit codes are those of PBS's source.
    never_seen = ("-14", "-20", "-26", "-4", "H", "S", "T", "U", "W")
    units = (
        AskedFor(
            "#PBS -l select=1:ncpus=1:mem=100mb\n#PBS -l walltime=00:01:00",
            # Of `qstat -f` on OpenPBS 23.06.06.
            Completed(
                stdout="comment = Job run at Mon Nov 23 at 11:50 on (node01:ncpus=1:mem=102400kb) and finished\n"
                "Submit_arguments = -N ok -l select=1:ncpus=1:mem=100mb -l walltime=00:01:00 -o /scratch/demo/ -j oe\n"
            ),
            says=["mem=102400kb"],
            memory=102400 * 1024,
            walltime=60,
        ),
    )
    unknown_word = UnknownWord(
        ["qstat-two-nodes.txt"], job_id="9084[1].node01", known="job_state = R", unknown="job_state = MOLTING"
    )
    garbled_row = GarbledRow(
        ["qstat-deleted-element.txt"], job_id="9058[3].node01", known="job_state = R", garbled="job_stat R"
    )
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "qsub-server-down.txt": FailureKind.TRANSIENT,
        "qstat-server-down.txt": FailureKind.TRANSIENT,
        "qselect-no-host.txt": FailureKind.TRANSIENT,
        "qstat-no-host.txt": FailureKind.TRANSIENT,
        "qsub-limit.txt": FailureKind.LIMIT,
        "qsub-acl.txt": FailureKind.FATAL,
        "qsub-closed.txt": FailureKind.FATAL,
        "qsub-mixed.txt": FailureKind.FATAL,
        "qsub-name.txt": FailureKind.FATAL,
        "qsub-queue.txt": FailureKind.FATAL,
        "qsub-resource.txt": FailureKind.FATAL,
        "qsub-too-large.txt": FailureKind.FATAL,
        "qsub-walltime.txt": FailureKind.FATAL,
    }
    live = Live(
        job=Job(resources=Resources(memory=2**28)),
        # On two hosts, if there are two. Of GPUs it says nothing to a job.
        wide=Resources(nodes=2, cores=3, memory=2**29),
        # How long a job may run is looked at every few seconds, and it has some of grace.
        held=["-h"],
        tells=["hosts", "exit_code", "signal", "submitted", "started", "ends"],
    )
    extra_directives = ("-p 10", "-l software=matlab -W group_list=physics", '-v "A=two words"')

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{77 + index // 10_000}[{index % 10_000}].node01") for index in range(count)]

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        table = transcript(self.transcripts / "qstat-running.txt").stdout
        # Its beginning is enough.
        _, row, _ = re.split(r"(Job Id: 9058\[0\].*?job_state = R\n)", table, flags=re.DOTALL)
        return [Completed(stdout="".join(row.replace("9058[0].node01", each.text) + "\n" for each in job_ids))]


class PBSWithOptionsLaws(PBSLaws):
    """The same laws where the site asks in its own way; answers are the same, so one for each hook will do."""

    backend = "openpbs"
    recordings = one_of_each(PBSLaws.recordings)
    options: ClassVar[Mapping[str, object]] = {
        "account_option": "P",
        "gpu_resource": "gpus",
        "chunk": "model=bro:mpiprocs=1",
        "place": "scatter:excl",
    }


class PBSWithoutArraysLaws(PBSLaws):
    """The same laws where each job is a submission of its own."""

    options: ClassVar[Mapping[str, Any]] = {"arrays": False}
    recordings = PBSLaws.each_alone(
        Inside(
            ["nodefile.txt"],
            environ={"PBS_JOBID": "74.node01", "PBS_NODEFILE": "/aux/74.node01", "NCPUS": "2"},
            job_id="74.node01",
            hosts=["node01"],
            cores=2,
        ),
    )

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{1_000_000 + index}.node01") for index in range(count)]
