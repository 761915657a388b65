"""What Grid Engine declares for the laws of every backend, on answers of Son of Grid Engine 8.1.9."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve, frozen

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


@frozen(kw_only=True)
class PollsWithAccounting(Polls):
    """A poll that looks ended jobs up: where accounting does not answer, less is known, and nothing wrong."""

    def is_honest(self, result: Any) -> None:
        self.is_possible(result)
        assert {job_id.text: status.state for job_id, status in result.items()}.items() <= self.states.items()


ENDS = {
    "31.1": JobState.COMPLETED,
    "31.2": JobState.FAILED,
    "31.3": JobState.CANCELLED,
    "31.4": JobState.FAILED,
    "31.5": JobState.FAILED,
    "31.6": JobState.FAILED,
    "31.7": JobState.CANCELLED,
    "31.8": JobState.CANCELLED,
    "31.9": JobState.COMPLETED,
}


class GridEngineLaws(BackendConformance):
    """As it answers by default."""

    backend = "sge"
    options: ClassVar[Mapping[str, Any]] = {
        "memory_resource": "mem_free,h_vmem",
        "parallel_environment": "smp",
        "multi_node_environment": "mpi-{cores}",
        "gpu_resource": "gpu",
    }
    transcripts = Path(__file__).parent / "transcripts"
    recordings: ClassVar[Sequence[Recording]] = (
        Submits(["qsub.txt"], ids=["7.1", "7.2", "7.3"]),
        Polls(
            ["qstat.txt", "qstat-j-error.txt"],
            states={
                "23.1": JobState.RUNNING,
                "24.2": JobState.RUNNING,
                "24.3": JobState.PENDING,
                "24.12": JobState.PENDING,
                "25.1": JobState.HELD,
                "25.4": JobState.HELD,
                "25.9": JobState.HELD,
                "26.2": JobState.HELD,
                "27.1": JobState.SUSPENDED,
                "28.1": JobState.RUNNING,
            },
            hopeless=["26.2"],
        ),
        Polls(["qstat.txt", "qacct-deleted-waiting.txt"], states={"25.3": JobState.HELD}, absent=["25.2"]),
        PollsWithAccounting(["qstat-empty.txt", "qacct-ends.txt"], states=ENDS),
        PollsWithAccounting(["qstat-empty.txt", "qacct-walltime.txt"], states={"33.1": JobState.TIMEOUT}),
        Polls(["qstat-empty.txt", "qacct-no-file.txt"], states={}, absent=["31.1"]),
        CancelsGone(["qdel-gone.txt"], ids=["25.1", "25.2", "25.5", "25.6", "99999.1", "99999.2", "99999.3"]),
        Finds(["qstat.txt"], name="held", ids=["25.1", "25.3", "25.4", "25.7", "25.8", "25.9"]),
        Finds(["qstat.txt"], name="hel", ids=[]),
        Finds(["qstat.txt"], name="hel*", ids=["25.1", "25.3", "25.4", "25.7", "25.8", "25.9"]),
        Inside(["pe-hostfile.txt"], environ="environment.txt", job_id="7.2", hosts=["node01"], cores=2),
        Inside(environ="environment-one-slot.txt", job_id="9.1", hosts=["node01"], cores=1),
        Detects(["qstat-help.txt"], version="8.1.9"),
        DescribesQueues(["qstat-f.txt"], names=["all.q", "short.q"]),
        ExplainsPending(["qstat-j-never.txt", "qalter-never.txt"], job_id="39.1", words=["never start", "hc:gpu=4"]),
        ExplainsPending(
            ["qstat-j-silent.txt", "qalter-never.txt", "qalter-never.txt"], job_id="39.1", words=["never", "gpu=4"]
        ),
    )
    alone = Submits([Completed(stdout="10\n"), Completed(stdout="11\n")], ids=["10", "11"])
    # Letters that stand together: qstat(1).
    state_words = ("Eqw", "dr", "hqw", "qw", "r", "s", "S", "T", "t")
    # A queue that is suspended, a load that is too high, and the instant before a job runs.
    never_seen = ("S", "T", "t")
    units = (AskedFor("#$ -l h_rt=01:00:00", "qstat-j-long.txt", says=[" h_rt=3600"], walltime=3600),)
    unknown_word = UnknownWord(["qstat.txt"], job_id="27.1", known="<state>s<", unknown="<state>MOLTING<")
    garbled_row = GarbledRow(
        ["qstat.txt", "qstat-j-error.txt"], job_id="27.1", known="<state>s</state>", garbled="<stat>s</stat>"
    )
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "qsub-down.txt": FailureKind.TRANSIENT,
        "qstat-down.txt": FailureKind.TRANSIENT,
        "qdel-down.txt": FailureKind.TRANSIENT,
        "qsub-limit-user.txt": FailureKind.LIMIT,
        "qsub-limit-cluster.txt": FailureKind.LIMIT,
        "qsub-environment.txt": FailureKind.FATAL,
        "qsub-large.txt": FailureKind.FATAL,
        "qsub-log.txt": FailureKind.FATAL,
        "qsub-name.txt": FailureKind.FATAL,
        "qsub-never.txt": FailureKind.FATAL,
        "qsub-no-cell.txt": FailureKind.FATAL,
        "qsub-option.txt": FailureKind.FATAL,
        "qsub-project.txt": FailureKind.FATAL,
        "qsub-queue.txt": FailureKind.FATAL,
        "qsub-resource.txt": FailureKind.FATAL,
        "qsub-time.txt": FailureKind.FATAL,
    }
    job = evolve(BackendConformance.job, resources=Resources(nodes=2, cores=4, memory=8 * 2**30, gpus=1))
    inherits = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "SGE_*", "KRB5CCNAME")
    live = Live(
        # A site may ask for all of the submitter's environment.
        job=Job(resources=Resources(memory=2**28), extra_directives=["-V"]),
        # Of GPUs it says nothing to a job.
        wide=Resources(cores=3, memory=2**29),
        held=["-h"],
        tells=["hosts", "exit_code", "signal", "submitted", "started", "ends"],
    )
    extra_directives = ("-l arch=lx-amd64", "-R y", "-soft -l fast=1 -q all.q", "-ac 'two words'", "-p -100")

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{77 + index // 75_000}.{index % 75_000 + 1}") for index in range(count)]

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        head, row, rest = re.split(
            r"( *<job_list.*?</job_list>\n)",
            transcript(self.transcripts / "qstat.txt").stdout,
            maxsplit=1,
            flags=re.DOTALL,
        )

        def copied(job_id: JobId) -> str:
            array, _, task = job_id.text.partition(".")
            copy = row.replace("<JB_job_number>23<", f"<JB_job_number>{array}<")
            return copy.replace("<tasks>1</tasks>", f"<tasks>{task}</tasks>" if task else "")

        return [Completed(stdout=head + "".join(map(copied, job_ids)) + rest)]


class GridEngineWithoutArraysLaws(GridEngineLaws):
    """The same laws where each job is a submission of its own."""

    options: ClassVar[Mapping[str, Any]] = {**GridEngineLaws.options, "arrays": False}
    recordings: ClassVar[Sequence[Recording]] = GridEngineLaws.each_alone(
        Inside(environ="environment-no-array.txt", job_id="10", hosts=["node01"], cores=1),
    )
    live = evolve(GridEngineLaws.live, many=12)
    # An accounting of single jobs is read for one of them at a time.
    most_commands = 21

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(str(1_000_000 + index)) for index in range(count)]
