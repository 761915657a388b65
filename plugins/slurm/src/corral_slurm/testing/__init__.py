"""What Slurm declares for the laws of every backend, on answers of Slurm 22.05."""

from __future__ import annotations

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
)


def _asked(option: str, answer: str, *, says: str) -> AskedFor:
    """A request for 2^30 bytes and an hour and a half: 1024M are 1G to Slurm."""
    request = f"#SBATCH --{option}=1024M\n#SBATCH --time=0-01:30:00"
    return AskedFor(request, answer, says=[says, " TimeLimit=01:30:00"], memory=2**30, walltime=5400)


class SlurmLaws(BackendConformance):
    """As it answers by default."""

    backend = "slurm"
    transcripts = Path(__file__).parent / "transcripts"
    recordings: ClassVar[Sequence[Recording]] = (
        Submits(["sbatch.txt"], ids=["195_0", "195_1", "195_2"]),
        Submits(["sbatch-where.txt"], ids=["1_0", "1_1", "1_2", "1_3"], where="beta"),
        Submits(
            ["sbatch-big-array.txt", "scontrol-config.txt", "sbatch.txt"],
            count=1001,
            ids=[f"195_{index}" for index in range(101)],
        ),
        Polls(
            ["squeue.txt"],
            states={
                "97_0": JobState.COMPLETED,
                "97_1": JobState.FAILED,
                "97_2": JobState.FAILED,
                "97_3": JobState.CANCELLED,
                "98_0": JobState.RUNNING,
                "99_9": JobState.HELD,
                "100_0": JobState.FAILED,
                "101_1": JobState.PENDING,
            },
            hopeless=["101_1"],
        ),
        Polls(["squeue.txt", "sacct-disabled.txt"], states={"99_5": JobState.HELD}, absent=["99_4"]),
        Polls(["squeue-unknown.txt", "sacct-disabled.txt"], states={}, absent=["999999_0"]),
        Polls(["squeue-two-unknown.txt", "sacct-unknown.txt"], states={}, absent=["999999_0", "999998_0"]),
        Polls(["squeue-node-fail.txt"], states={"16_0": JobState.NODE_FAILED, "17_0": JobState.PENDING}),
        Polls(
            ["squeue-preempted.txt"],
            states={"37_0": JobState.PREEMPTED, "37_1": JobState.PREEMPTED, "39_0": JobState.RUNNING},
        ),
        CancelsGone(["scancel-elsewhere.txt"], ids=["1_1", "1_2"]),
        Finds(["squeue-found.txt"], name="dask-inside", ids=["195_0", "195_1", "195_2"]),
        Finds(["squeue-names-ended.txt"], name="ends", ids=[]),
        Finds(
            ["squeue-mine.txt"],
            name="dask-12345678-*",
            ids=["1_0", "1_1", "1_2", "2_0", "2_1", "2_2"],
        ),
        Inside(
            ["hostnames.txt"],
            environ="environment.txt",
            job_id="195_1",
            hosts=["n1", "n2"],
            cores=4,
            memory=2**30,
        ),
        Inside(
            environ="environment-gpus.txt",
            job_id="198_0",
            hosts=["g1"],
            cores=1,
            memory=10 * 2**20,
            gpus=["0", "1"],
            gpu_makers=["nvidia", "amd"],
        ),
        Inside(environ="environment-requeued.txt", job_id="31_0", hosts=["a2"], cores=1, memory=10 * 2**20, attempt=1),
        Detects(["sbatch-version.txt"], version="22.05.8"),
        DescribesQueues(
            ["sinfo.txt", "scontrol-partition.txt"],
            names=["batch", "short", "preempt", "gpu"],
            limits={
                "batch": {"is_default": True, "max_walltime": None, "gpus": 0},
                "short": {"max_walltime": 600, "cores": 64, "memory": 100_000 * 2**20, "nodes": 3, "free_nodes": 0},
                "gpu": {"gpus": 4, "nodes": 1, "free_nodes": 1},
            },
        ),
        ExplainsPending(["pending-time-limit.txt"], job_id="101_0", words=["never", "walltime", "PartitionTimeLimit"]),
        ExplainsPending(["pending-resources.txt"], job_id="106_0", words=["free", "2026-11-23 23:46:11"]),
    )
    alone = Submits([Completed(stdout="209\n"), Completed(stdout="210\n")], ids=["209", "210"])
    # squeue(1) has them, and the short ones where a site's squeue is a script around it.
    never_seen = (
        "BOOT_FAIL", "COMPLETING", "CONFIGURING", "DEADLINE", "EXPEDITING", "LAUNCH_FAILED", "OUT_OF_MEMORY",
        "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD", "SIGNALING", "SPECIAL_EXIT",
        "STAGE_OUT", "STOPPED", "SUSPENDED", "TIMEOUT",
        "BF", "CA", "CD", "CF", "CG", "DL", "EX", "F", "NF", "OOM", "PD", "PR", "R", "RD", "RF", "RH", "RQ",
        "RS", "S", "SE", "SI", "SO", "ST", "TO",
    )  # fmt: skip
    units = (_asked("mem", "scontrol-asked.txt", says="MinMemoryNode=1G"),)
    unknown_word = UnknownWord(["squeue.txt"], job_id="98_0", known="98_0|RUNNING|", unknown="98_0|MOLTING|")
    garbled_row = GarbledRow(["squeue.txt"], job_id="99_9", known="99_[0-3,5-9%4]", garbled="99_[0-?,5-9%4]")
    failures: ClassVar[Mapping[str, FailureKind | None]] = {
        "sbatch-controller-down.txt": FailureKind.TRANSIENT,
        "squeue-controller-down.txt": FailureKind.TRANSIENT,
        "sbatch-cluster.txt": FailureKind.TRANSIENT,
        "sbatch-limit-assoc.txt": FailureKind.LIMIT,
        "sbatch-limit-qos.txt": FailureKind.LIMIT,
        "sbatch-wall-deny.txt": FailureKind.FATAL,
        "sbatch-deny-user.txt": FailureKind.FATAL,
        "sbatch-deny-group.txt": FailureKind.FATAL,
        "sbatch-account.txt": FailureKind.FATAL,
        "sbatch-bad-array.txt": FailureKind.FATAL,
        "sbatch-arrays-off.txt": FailureKind.FATAL,
        "sbatch-cpus.txt": FailureKind.FATAL,
        "sbatch-crlf.txt": FailureKind.FATAL,
        "sbatch-dependency.txt": FailureKind.FATAL,
        "sbatch-lua-refuses.txt": FailureKind.FATAL,
        "sbatch-lua-refuses-account.txt": FailureKind.FATAL,
        "sbatch-exclusive-memory.txt": FailureKind.FATAL,
        "sbatch-feature.txt": FailureKind.FATAL,
        "sbatch-gpus.txt": FailureKind.FATAL,
        "sbatch-memory.txt": FailureKind.FATAL,
        "sbatch-no-script.txt": FailureKind.FATAL,
        "sbatch-option.txt": FailureKind.FATAL,
        "sbatch-partition.txt": FailureKind.FATAL,
        "sbatch-qos.txt": FailureKind.FATAL,
        "sbatch-time.txt": FailureKind.FATAL,
    }
    not_cancelled = ("scancel-other-user.txt",)
    inherits = (
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ",
        "SLURM_CONF*", "SLURM_CLUSTERS", "SLURM_JWT", "KRB5CCNAME", "SBATCH_*",
    )  # fmt: skip
    live = Live(
        job=Job(resources=Resources(memory=10 * 2**20)),
        wide=Resources(nodes=2, cores=2, memory=30 * 2**20),
        # It counts in minutes, and looks for jobs that are too long twice in each.
        walltime=60,
        lateness=60.0,
        held=["--hold"],
        tells=["hosts", "exit_code", "signal", "submitted", "started", "ends"],
    )
    extra_directives = ("--qos=high", "-C haswell --reservation=dask", '--comment="two words # and more"')

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{77 + index // 1001}_{index % 1001}") for index in range(count)]


class SlurmWithoutArraysLaws(SlurmLaws):
    """The same laws where --array and --mem are refused, as on TACC's Frontera."""

    options: ClassVar[Mapping[str, Any]] = {"arrays": False, "memory_option": "mem-per-cpu"}
    units = (_asked("mem-per-cpu", "scontrol-asked-by-core.txt", says="MinMemoryCPU=1G"),)
    live = evolve(SlurmLaws.live, many=12, cannot={"too_long": "the same as for arrays, and it takes a minute"})
    recordings: ClassVar[Sequence[Recording]] = SlurmLaws.each_alone(
        Inside(
            # Of the recorded ones, what Slurm says of a job that is no element of an array.
            environ={
                "SLURM_JOB_ID": "209",
                "SLURM_JOB_NODELIST": "n1",
                "SLURMD_NODENAME": "n1",
                "SLURM_JOB_CPUS_PER_NODE": "2",
                "SLURM_MEM_PER_CPU": "128",
            },
            job_id="209",
            hosts=["n1"],
            cores=2,
            memory=2**28,
        ),
    )

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(str(10_000_000 + index)) for index in range(count)]
