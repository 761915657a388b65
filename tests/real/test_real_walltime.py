"""Work that takes longer than any of the jobs that do it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from corral import Cluster, JobState

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(480)]

TASKS = 300


def leave_a_mark(number: int, marks: str) -> int:
    """A task of 2.5 s that writes down that it has begun."""
    import os
    import time

    descriptor = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{number}\n".encode())
    os.close(descriptor)
    time.sleep(2.5)
    return number


@pytest.mark.usefixtures("leaves_nothing")
def test_jobs_of_a_minute_do_the_work_of_three(tmp_path: Path, slurm: Any, record_property: Any) -> None:
    """Every task runs exactly once, though every job ends in the middle of it."""
    marks = tmp_path / "marks"
    with (
        Cluster(
            backend="slurm", cores=1, memory="400MB", walltime="00:01:00", queue="batch", interface="lo"
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        cluster.scale(4)
        futures = client.map(leave_a_mark, range(TASKS), marks=str(marks))
        assert client.gather(futures) == list(range(TASKS))
        jobs = cluster.jobs
        assert not cluster.failures or all(failure.ending.value == "lost" for failure in cluster.failures)
        assert {JobState.COMPLETED} == {job.state for job in jobs if job.has_ended}, "none was cut off by Slurm"
        assert sum(job.unfinished_tasks + job.lost_results for job in jobs) == 0
        record_property("jobs", len(jobs))
    assert Counter(map(int, marks.read_text().split())) == dict.fromkeys(range(TASKS), 1)
    assert len(jobs) >= 12
