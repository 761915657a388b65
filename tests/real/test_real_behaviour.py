"""What a cluster does, alike on every batch system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from distributed import Client
from operators import Operator

from corral import JobState
from corral.errors import JobsFailed

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("leaves_nothing")]

Eventually = Callable[..., None]


def test_four_jobs_compute_and_end_well(operator: Operator, state_directory: Path, eventually: Eventually) -> None:
    """One submission, workers over TLS, results; scaled to nothing, every job ends with 0; nothing is left."""
    with operator.cluster() as cluster, Client(cluster) as client:
        cluster.scale(4)
        client.wait_for_workers(4, timeout=operator.patience)
        assert cluster.scheduler_address.startswith("tls://")
        assert sorted(client.gather(client.map(lambda number: number**2, range(20)))) == [n**2 for n in range(20)]
        assert operator.count(cluster.name) == 4
        assert [job.state for job in cluster.jobs] == [JobState.RUNNING] * 4
        assert len({job.name for job in cluster.jobs}) == 1, "one submission for all"
        assert cluster.plan == cluster.requested == cluster.observed
        assert cluster.logs(cluster.jobs[0])
        cluster.scale(0)
        eventually(lambda: all(job.has_ended for job in cluster.jobs), lambda: repr(cluster), timeout=operator.patience)
        assert [(job.state, job.exit_code) for job in cluster.jobs] == [(JobState.COMPLETED, 0)] * 4
        assert not cluster.failures
    assert operator.count(cluster.name) == 0
    assert not (state_directory / "logs").exists()
    assert not (state_directory / "clusters").exists()


@pytest.mark.needs("cores")
def test_a_job_of_two_workers_that_an_operator_cancels_is_replaced(
    operator: Operator, tmp_path: Path, eventually: Eventually
) -> None:
    """Counts are those of workers; the end is told, another job comes, and closing the cluster ends what runs."""
    # Some batch systems kill a whole job at once: its directory is left to the next launcher to remove.
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with operator.cluster(cores=2, processes=2, local_directory=str(scratch)) as cluster, Client(cluster) as client:
        cluster.scale(4)
        client.wait_for_workers(4, timeout=operator.patience)
        assert [len(job.workers) for job in cluster.jobs] == [2, 2]
        victim = cluster.jobs[0]
        operator.cancel(victim.id.text)
        eventually(lambda: cluster.failures, lambda: repr(cluster), timeout=operator.patience)
        assert [failure.job.id for failure in cluster.failures] == [victim.id]
        eventually(lambda: len(cluster.observed) == 4, lambda: repr(cluster), timeout=operator.patience)
        assert client.submit(lambda: 41 + 1).result(timeout=30) == 42
        assert operator.count(cluster.name) == 2
        assert [job.id for job in cluster.jobs if job.has_ended] == [victim.id]
        assert len(cluster.requested) == 4
    assert operator.count(cluster.name) == 0
    assert all(job.has_ended for job in cluster.jobs)


def test_jobs_that_fail_are_explained(operator: Operator) -> None:
    """Whoever waits hears the cause, from the job's own log, with the exit code and what to do."""
    with operator.cluster(python="/no/such/python") as cluster:
        cluster.scale(2)
        with pytest.raises(JobsFailed, match="/no/such/python: No such file") as told:
            cluster.wait_for_workers(2, timeout=operator.patience)
        assert "exit code 127" in str(told.value)
        assert "python=" in str(told.value)
        assert {failure.job.state for failure in told.value.failures} == {JobState.FAILED}
    assert operator.count(cluster.name) == 0
