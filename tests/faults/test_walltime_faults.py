"""Work that takes longer than any of the jobs that do it."""

from __future__ import annotations

from pathlib import Path

import pytest
from chores import leave_a_mark
from distributed import Client
from incidents import Incident
from real_life import slurm_cluster

from corral import JobState

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(480)]

TASKS = 300


@pytest.mark.fault("every job ends after a minute, in the middle of three minutes of work for each of four")
def test_jobs_of_a_minute_do_the_work_of_three(incident: Incident, tmp_path: Path) -> None:
    """Every task runs exactly once."""
    marks = tmp_path / "marks"
    # Each may have its replacement beside it.
    with slurm_cluster(walltime="00:01:00") as cluster, Client(cluster) as client, incident.watched(cluster.name, 8):
        incident.begins()
        cluster.scale(4)
        futures = client.map(leave_a_mark, range(TASKS), marks=str(marks), seconds=2.5)
        assert client.gather(futures) == list(range(TASKS))
        incident.is_over()
        jobs = cluster.jobs
        assert not cluster.failures or all(failure.ending.value == "lost" for failure in cluster.failures)
        assert {JobState.COMPLETED} == {job.state for job in jobs if job.has_ended}, "none was cut off by Slurm"
        assert sum(job.unfinished_tasks + job.lost_results for job in jobs) == 0
    incident.ran_once(marks, TASKS)
    assert len(jobs) >= 12
