"""A cluster's life on a real OAR, where a job takes some seconds to start and some to end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from corral import Cluster, JobState
from corral.errors import JobsFailed, SubmitRejected

pytestmark = [pytest.mark.real("oar"), pytest.mark.timeout(120)]

Eventually = Callable[..., None]


def cluster(**arguments: Any) -> Cluster:
    usual = {"backend": "oar", "cores": 1, "memory": "400MB", "walltime": "00:10:00", "interface": "lo"}
    return Cluster(**{**usual, "backend_options": {"memory_property": "memcore"}, **arguments})


def living(name: str) -> list[str]:
    """The ids of this cluster's jobs that OAR has not ended."""
    condition = f"job_name LIKE '{name}%' AND state NOT IN ('Terminated', 'Error')"
    ran = subprocess.run(["oarstat", "--sql", condition], check=True, capture_output=True, text=True, timeout=30)
    return [line.split()[0] for line in ran.stdout.splitlines() if line[:1].isdecimal()]


@pytest.mark.usefixtures("leaves_nothing")
def test_jobs_compute_and_one_that_is_deleted_is_replaced(
    eventually: Eventually, state_directory: Path, tmp_path: Path
) -> None:
    """One submission for both; counts are right at every moment, and the end is complete and orderly."""
    # OAR kills all of a job at once: its scratch directory stays for the next job on that host to remove.
    with cluster(local_directory=str(tmp_path)) as c, Client(c) as client:
        c.scale(2)
        client.wait_for_workers(2, timeout=60)
        assert sorted(client.gather(client.map(lambda number: number**2, range(20)))) == [n**2 for n in range(20)]
        assert len({job.name for job in c.jobs}) == 1
        victim, survivor = c.jobs
        subprocess.run(["oardel", victim.id.text], check=True, capture_output=True)
        eventually(
            lambda: any(job.id == victim.id and job.state is JobState.CANCELLED for job in c.jobs), lambda: repr(c)
        )
        client.wait_for_workers(2, timeout=60)
        assert sorted(living(c.name)) == sorted(job.id.text for job in c.jobs if job.is_capacity)
        assert victim.id.text not in living(c.name)
        ended = [job.id.text for job in c.jobs if job.id != victim.id]
    assert survivor.id.text in ended
    assert living(c.name) == []
    assert not (state_directory / "clusters").exists()
    states = subprocess.run(
        ["oarstat", "-s", *(word for job_id in ended for word in ("-j", job_id))],
        check=True, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert states.stdout.count("Terminated") == 2, "an orderly end is no deletion"


@pytest.mark.usefixtures("leaves_nothing")
def test_a_job_that_fails_is_explained() -> None:
    """By the job's own log and exit code, to whoever waits."""
    with cluster(python="/no/such/python") as c:
        c.scale(2)
        with pytest.raises(JobsFailed, match="/no/such/python") as told:
            c.wait_for_workers(2, timeout=60)
    assert "exit code 127" in str(told.value)
    assert living(c.name) == []


@pytest.mark.usefixtures("leaves_nothing")
def test_a_refusal_reaches_whoever_waits() -> None:
    """In OAR's own words."""
    with cluster(queue="nosuch") as c:
        c.scale(1)
        with pytest.raises(SubmitRejected, match="The queue nosuch does not exist"):
            c.wait_for_workers(1, timeout=60)
        assert not c.jobs
