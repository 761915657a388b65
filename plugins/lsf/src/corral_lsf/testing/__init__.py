"""What LSF declares for the laws of every backend, on answers of OpenLava and of IBM's documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from corral.plugin import Completed, FailureKind, JobId, JobState
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
    Recording,
    Submits,
    UnknownWord,
    transcript,
)


class _LSF(BackendConformance):
    """What both have in common."""

    backend = "lsf"
    transcripts = Path(__file__).parent / "transcripts"
    inherits = (
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "KRB5CCNAME", "LSF_*DIR", "XLSF_UIDDIR", "EGO_*",
    )  # fmt: skip
    extra_directives = ("-app dask -x", '-R "select[type==any]"', "-Jd 'two \"words\"'")

    alone = Submits(
        [
            Completed(stdout="Job <111> is submitted to default queue <normal>.\n"),
            Completed(stdout="Job <112> is submitted to default queue <normal>.\n"),
        ],
        ids=["111", "112"],
    )

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{65 + index // 1000}.{index % 1000 + 1}") for index in range(count)]


class OpenLavaLaws(_LSF):
    """Recorded from OpenLava 4.0; where the file says so, 2.2."""

    recordings: ClassVar[Sequence[Recording]] = (
        Submits(["bsub.txt"], ids=["111.1", "111.2", "111.3"]),
        Polls(
            ["bjobs-wide.txt", "bjobs-long.txt"],
            states={
                "115.1": JobState.COMPLETED,
                "115.2": JobState.FAILED,
                "115.3": JobState.FAILED,
                "115.4": JobState.FAILED,
                "115.5": JobState.CANCELLED,
                "115.6": JobState.RUNNING,
                "115.12": JobState.CANCELLED,
                "113.2": JobState.PENDING,
                "114.1": JobState.HELD,
            },
        ),
        Polls(
            ["bjobs-wide-mixed.txt", "bjobs-long-one.txt"],
            states={"115.2": JobState.FAILED},
            absent=["9999.1"],
        ),
        Polls(["bjobs-wide-unknown.txt"], states={}, absent=["9999.1", "9998.2"]),
        Polls(["bjobs-wide-wall.txt", "bjobs-long-wall.txt"], states={"112.1": JobState.TIMEOUT}),
        Polls(
            ["bjobs-wide-2.2.txt", "bjobs-long-2.2.txt"],
            states={"64.7": JobState.FAILED, "64.10": JobState.COMPLETED},
        ),
        CancelsGone(["bkill-ended.txt"], ids=["115.1", "115.2"]),
        CancelsGone(["bkill-mixed.txt"], ids=["115.1", "115.7"]),
        CancelsGone(["bkill-unknown.txt"], ids=["9999.1"]),
        Finds(["bjobs-wide-found.txt"], name="held", ids=["114.1", "114.2", "114.3"]),
        Finds(["bjobs-wide-found.txt"], name="he*", ids=["114.1", "114.2", "114.3"]),
        Finds(["bjobs-wide-not-found.txt"], name="nosuch", ids=[]),
        Inside(environ="environment.txt", job_id="111.2", hosts=["node01"], cores=2),
        Detects(["lsid.txt"], version="4.0dev4"),
        DescribesQueues(["bqueues.txt"], names=["normal", "short"]),
        ExplainsPending(
            ["pending-never.txt", "bjobs-long-2.2.txt"],
            job_id="113.1",
            words=["no host has", "requirements not satisfied"],
        ),
    )
    # bjobs(1) has them.
    never_seen = ("PROV", "SSUSP", "USUSP", "WAIT", "ZOMBI")
    # Memory is in a unit that each site chooses.
    units = (AskedFor("#BSUB -W 1", "bjobs-long-wall.txt", says=["RUNLIMIT", " 1.0 min of node01"], walltime=60),)
    unknown_word = UnknownWord(
        ["bjobs-wide.txt"],
        job_id="115.6",
        known="RUN   normal     node01      node01      ends[6]",
        unknown="MOLTS normal     node01      node01      ends[6]",
    )
    garbled_row = GarbledRow(
        ["bjobs-wide.txt", "bjobs-long.txt"],
        job_id="115.6",
        known="115     user    RUN   normal     node01      node01      ends[6]    Nov 25 22:11",
        garbled="115     user    RUN   nor",
    )
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "bsub-queue.txt": FailureKind.FATAL,
        "bsub-limit.txt": FailureKind.FATAL,
        "bsub-slots.txt": FailureKind.FATAL,
        "bsub-array.txt": FailureKind.FATAL,
        # -gpu, read as -g: the batch daemon dies of it, and has made the group "pu" when it is back.
        "bsub-gpu-daemon.txt": FailureKind.TRANSIENT,
        "bsub-gpu-group.txt": FailureKind.FATAL,
        "bjobs-no-format.txt": FailureKind.FATAL,
        "bkill-id.txt": FailureKind.FATAL,
    }
    options: ClassVar[Mapping[str, object]] = {"job_table": "wide"}

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        head, row, _ = transcript(self.transcripts / "bjobs-wide.txt").stdout.splitlines(keepends=True)[:3]

        def copied(job_id: JobId) -> str:
            array, _, index = job_id.text.partition(".")
            return row.replace("115    ", f"{array:7}", 1).replace("[7]", f"[{index}]" if index else "")

        return [Completed(stdout=head + "".join(map(copied, job_ids)))]


#: No LSF of IBM's was at hand: the forms are those of its documentation (bsub, bjobs -o, bkill, bqueues, lsid).
TABLE = Completed(
    stdout="65|1|DONE|-|2*n1:2*n2|Nov 23 12:23:16 2026|Nov 23 12:23:17 2026|Nov 23 12:23:20 2026|-|-|dask-1[1]\n"
    "65|2|EXIT|3|n1|Nov 23 12:23:16 2026|Nov 23 12:23:17 2026|Nov 23 12:23:20 2026|-|-|dask-1[2]\n"
    "65|3|EXIT|140|n1|Nov 23 12:23:16 2026|Nov 23 12:23:17 2026|Nov 23 12:33:20 2026"
    "|TERM_RUNLIMIT: job killed after reaching LSF run time limit|-|dask-1[3]\n"
    "65|4|EXIT|130|n1|-|-|-|TERM_OWNER: job killed by owner|-|dask-1[4]\n"
    "65|5|EXIT|137|n1|-|-|-|TERM_MEMLIMIT: job killed after reaching LSF memory usage limit|-|dask-1[5]\n"
    "65|6|EXIT|-|-|-|-|-|TERM_ADMIN: job killed by root or LSF administrator|-|dask-1[6]\n"
    "65|7|RUN|-|n1|Nov 23 12:23:16 2026|Nov 23 12:23:17 2026|Nov 23 12:33:17 2026 L|-|-|dask-1[7]\n"
    "65|8|PEND|-|-|Nov 23 12:23:16 2026|-|-|-|New job is waiting for scheduling;|dask-1[8]\n"
    "65|9|UNKWN|-|n3|-|-|-|-|-|dask-1[9]\n"
    "65|10|ZOMBI|-|n3|-|-|-|-|-|dask-1[10]\n"
)
NOT_FOUND = Completed(returncode=255, stderr="Job <999> is not found\n")
QUEUES = Completed(
    stdout="\nQUEUE: normal\n  -- For normal jobs.  This is the default queue.\n\nPARAMETERS/STATISTICS\n"
    "PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV PJOBS\n"
    " 30    0  Open:Active       -    -    -    -     0     0     0     0     0    0     0\n\n"
    "DEFAULT LIMITS:\n RUNLIMIT\n 60.0 min\n\nMAXIMUM LIMITS:\n CPULIMIT             RUNLIMIT\n"
    " 30.0 min of n1       480.0 min\n\nSCHEDULING PARAMETERS\n"
    "----------------------------------------------------------------\n\nQUEUE: night\n  -- No description.\n\n"
    "PARAMETERS/STATISTICS\nPRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV PJOBS\n"
    " 40    0  Closed:Inact      -    -    -    -     0     0     0     0     0    0     0\n"
)


class IBMLaws(_LSF):
    """As IBM's documentation has it."""

    recordings: ClassVar[Sequence[Recording]] = (
        Submits(
            [Completed(stdout="Job <65> is submitted to queue <normal>.\n")],
            ids=[f"65.{index}" for index in range(1, 11)],
        ),
        Polls(
            [TABLE],
            states={
                "65.1": JobState.COMPLETED,
                "65.2": JobState.FAILED,
                "65.3": JobState.TIMEOUT,
                "65.4": JobState.CANCELLED,
                "65.5": JobState.OUT_OF_MEMORY,
                "65.6": JobState.CANCELLED,
                "65.7": JobState.RUNNING,
                "65.8": JobState.PENDING,
                "65.9": JobState.UNKNOWN,
                "65.10": JobState.NODE_FAILED,
            },
            absent=["65.11"],
        ),
        Polls([NOT_FOUND], states={}, absent=["999.1"]),
        CancelsGone(
            [
                Completed(
                    returncode=255,
                    stdout="Job <65[1]> is being terminated\n",
                    stderr="Job <65[2]>: Job has already finished\nJob <65[99]>: No matching job found\n",
                )
            ],
            ids=["65.1", "65.2", "65.99"],
        ),
        Finds([TABLE], name="dask-1", ids=["65.7", "65.8", "65.9"]),
        Finds([TABLE], name="dask-*", ids=["65.7", "65.8", "65.9"]),
        Inside(
            environ={
                "LSB_JOBID": "65",
                "LSB_JOBINDEX": "7",
                "LSB_MCPU_HOSTS": "n1 4 n2 4 ",
                "LSB_DJOB_NUMPROC": "8",
                "CUDA_VISIBLE_DEVICES": "0,1",
            },
            job_id="65.7",
            hosts=["n1", "n2"],
            cores=4,
            gpus=["0", "1"],
        ),
        Detects(
            [Completed(stdout="IBM Spectrum LSF Standard 10.1.0.0, Jul 08 2016\n\nMy cluster name is c1\n")],
            version="10.1.0.0",
        ),
        DescribesQueues([QUEUES], names=["normal", "night"]),
        ExplainsPending(
            [
                Completed(
                    stdout="JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"
                    "65      me      PEND  normal     login1                  dask-1[8]  Nov 23 12:23\n"
                    " New job is waiting for scheduling;\n"
                )
            ],
            job_id="65.8",
            words=["not looked at it yet"],
        ),
    )
    # bjobs(1) has them.
    never_seen = ("PROV", "PSUSP", "SSUSP", "USUSP", "WAIT")
    unknown_word = UnknownWord([TABLE], job_id="65.7", known="65|7|RUN|", unknown="65|7|MOLT|")
    garbled_row = GarbledRow(
        [TABLE], job_id="65.7", known="65|7|RUN|-|n1|Nov 23 12:23:16 2026|Nov 23 12:23:17 2026|", garbled="65|7|RUN|"
    )
    options: ClassVar[Mapping[str, object]] = {"job_table": "custom"}

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        row = next(line for line in TABLE.stdout.splitlines(keepends=True) if "|RUN|" in line)
        parts = (job_id.text.split(".") for job_id in job_ids)
        rows = (row.replace("65|7|", f"{array}|{index}|").replace("[7]", f"[{index}]") for array, index in parts)
        return [Completed(stdout="".join(rows))]


class OpenLavaWithoutArraysLaws(OpenLavaLaws):
    """The same laws where each job is a submission of its own."""

    options: ClassVar[Mapping[str, Any]] = {**OpenLavaLaws.options, "arrays": False}
    recordings: ClassVar[Sequence[Recording]] = OpenLavaLaws.each_alone(
        Inside(
            environ={"LSB_JOBID": "111", "LSB_JOBINDEX": "0", "LSB_MCPU_HOSTS": "node01 2 "},
            job_id="111",
            hosts=["node01"],
            cores=2,
        ),
    )

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(str(1_000_000 + index)) for index in range(count)]
