"""Overviews of clusters that never were, for pictures of them: of none, a few, and a thousand jobs."""

from __future__ import annotations

from corral.view.overview import PHASES, FailureView, GroupView, JobView, Load, Overview

#: When it was (s since the epoch).
NOW = 1_800_000_000.0


def overview(jobs: int) -> Overview:
    """Of 0 jobs, 3, of which a group has failed for good, or 1,000."""
    groups, of_jobs = {0: _none, 3: _three, 1000: _thousand}[jobs]()
    workers = sum(group.workers for group in groups)
    load = Load(
        workers=workers, threads=8 * workers, tasks=120_345, processing=2800, queued=90_000, memory=9 * 10**9 * workers,
        memory_limit=16 * 10**9 * workers,
    )  # fmt: skip
    return Overview(
        name="corral-3f9c01ab",
        backend="slurm",
        moment=NOW,
        began=NOW - 9000,
        dashboard="http://127.0.0.1:8787/secret/status",
        groups=groups,
        jobs=of_jobs,
        failures=failures(jobs),
        load=load if jobs else Load(),
        maximum_core_hours=10_000 if jobs else None,
    )


def failures(jobs: int) -> tuple[FailureView, ...]:
    """A job in seventy ends before a worker connects, on one of seven nodes; at last a worker dies."""
    if not jobs:
        return ()
    ended = tuple(
        FailureView(
            job=f"41_{index}",
            group="gpu",
            moment=NOW - 500 + index,
            cause=f"FAILED (NonZeroExitCode), exit code 127, on n{index % 7}, before a worker connected",
            outcome="died",
            hosts=(f"n{index % 7}",),
            hint="The job's Python was not found: name the one that has corral with python= or conda_env=.",
            log=f"/home/u/.local/state/corral/logs/41_{index}.log",
            log_tail=("/no/such/python: No such file or directory",),
        )
        for index in range(max(3, jobs // 70))
    )
    died = FailureView(
        job="12_3",
        worker="12_3-0",
        group="cpu",
        moment=NOW - 100,
        cause="over the memory limit of 2.00 GiB (2.10 GiB in use)",
        outcome="died",
        tasks=("inc-123", "('shuffle-abc', 7)"),
        hint="Its tasks need more memory than it has: ask for more with memory=, or run fewer processes per job.",
        hosts=("n3",),
        log="/home/u/.local/state/corral/logs/12_3.log",
        log_tail=("distributed.nanny - WARNING - Worker exceeded its memory limit",),
    )
    return (*ended, died)


def phases(**jobs: int) -> dict[str, int]:
    return {phase: jobs.get(phase, 0) for phase in PHASES}


def _none() -> tuple[tuple[GroupView, ...], tuple[JobView, ...]]:
    return (GroupView(name="default", cores=8, memory=32 * 10**9),), ()


def _three() -> tuple[tuple[GroupView, ...], tuple[JobView, ...]]:
    cpu = GroupView(
        name="cpu", cores=8, memory=32 * 10**9, workers_per_job=2, wanted=2, jobs=phases(working=1, waiting=1),
        workers=2, waiting_since=NOW - 780, reasons=(("Priority", 1),), expected_start=NOW + 1500,
        waiting="queue 'batch' has 0 of 120 nodes free", core_hours={**GroupView(name="").core_hours, "busy": 12.5},
    )  # fmt: skip
    gpu = GroupView(
        name="gpu", cores=16, gpus=1, memory=64 * 10**9, queue="gpu", wanted=4, unsubmitted=4, failed=3, ended=3,
        is_stopped=True, trouble="3 jobs in a row of group 'gpu' failed; nothing is submitted until you scale again",
    )  # fmt: skip
    big = GroupView(
        name="big", cores=64, memory=512 * 10**9, adapts=True, maximum=4, wanted=1, jobs=phases(draining=1), workers=1
    )
    leaving = _job(9, group="big", phase="draining", leaving=NOW - 65, why="no longer wanted")
    return (cpu, gpu, big), (_job(7, phase="working"), _job(8, phase="waiting"), leaving)


def _thousand() -> tuple[tuple[GroupView, ...], tuple[JobView, ...]]:
    counted = phases(waiting=210, starting=45, working=700, draining=25, cancelling=10)
    cpu = GroupView(
        name="cpu", cores=8, memory=32 * 10**9, workers_per_job=2, wanted=990, adapts=True, minimum=1, maximum=1200,
        jobs=counted, workers=1400, ended=312, failed=14, unsubmitted=10, waiting_since=NOW - 7800,
        reasons=(("Priority", 180), ("Resources", 28), ("QOSMaxJobsPerUserLimit", 2)), expected_start=NOW + 90_000,
        core_hours={**GroupView(name="").core_hours, "busy": 4200.0, "idle": 310.0},
    )  # fmt: skip
    gpu = GroupView(
        name="gpu", cores=16, gpus=4, nodes=2, memory=64 * 10**9, queue="gpu", wanted=10, jobs=phases(working=10),
        workers=80, workers_per_job=8, gpu_hours={**GroupView(name="").gpu_hours, "busy": 80.0},
    )  # fmt: skip
    jobs = [_job(number, phase=phase) for number, phase in enumerate(p for p in PHASES for _ in range(counted[p]))]
    return (cpu, gpu), (*jobs, *(_job(2000 + number, group="gpu", phase="working") for number in range(10)))


def _job(number: int, *, phase: str, group: str = "cpu", leaving: float | None = None, why: str = "") -> JobView:
    leaves = phase in ("draining", "cancelling")
    return JobView(
        id=f"{number}_0",
        group=group,
        phase=phase,
        state="pending" if phase == "waiting" else "running",
        condition="pending" if phase == "waiting" else "connected",
        submitted=NOW - 8000,
        leaving=leaving or (NOW - 60 if leaves else None),
        why=why or ("no longer wanted" if leaves else ""),
    )
