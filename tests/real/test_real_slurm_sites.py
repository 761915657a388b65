"""A cluster on a Slurm with what sites add: limits, plugins that print and refuse, a second cluster without arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from distributed import Client
from real_life import small_jobs

from corral import Cluster, JobState
from corral.errors import SubmitRejected

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("leaves_nothing")]

Eventually = Callable[..., None]


def cluster(*extra: str) -> Cluster:
    return Cluster(**small_jobs(extra_directives=list(extra)))


@pytest.mark.real("slurm", having="accounting")
def test_a_limit_says_why_jobs_wait(eventually: Eventually) -> None:
    """One of two runs; the other is explained, in Python and wherever the cluster is shown."""
    words = "a limit of the QOS on what may run at once or be used in all is reached (QOSMaxJobsPerUserLimit)"
    with cluster("--qos=one") as c:
        c.scale(jobs=2)
        c.wait_for_workers(1, timeout=90)
        eventually(lambda: words in " ".join(str(c.explain()).split()), lambda: str(c.explain()))
        assert {job.state for job in c.jobs} == {JobState.PENDING, JobState.RUNNING}
        eventually(lambda: "QOSMaxJobsPerUserLimit" in repr(c), lambda: repr(c))


@pytest.mark.real("slurm", having="accounting")
def test_a_limit_on_submissions_is_filled(eventually: Eventually) -> None:
    """Two of three are submitted, and the third when there is room."""
    with cluster("--qos=two") as c, Client(c) as client:
        c.scale(jobs=3)
        client.wait_for_workers(2, timeout=90)
        eventually(lambda: c.jobs.unsubmitted == 1, lambda: repr(c))
        assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.real("slurm", having="plugins")
def test_a_refusal_has_the_words_of_the_plugin() -> None:
    """Whoever waits for workers reads them."""
    with cluster("--comment=site:refuse") as c:
        c.scale(1)
        with pytest.raises(SubmitRejected, match="Projects end in November: ask the help desk for another"):
            c.wait_for_workers(1, timeout=60)


@pytest.mark.real("slurm", having="federation")
def test_a_cluster_without_arrays_elsewhere(slurm: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Another Slurm cluster, named by a directive: corral's works and ends there; what it lacks is said once."""
    with cluster("--clusters=other") as c, Client(c) as client:
        c.scale(2)
        client.wait_for_workers(2, timeout=90)
        assert {job.id.where for job in c.jobs} == {"other"}
        assert set(client.run(lambda: __import__("os").environ["SLURM_CLUSTER_NAME"]).values()) == {"other"}
        assert slurm.queue(c.name) == {}
        c.scale(3)
        client.wait_for_workers(3, timeout=90)
        ids = [job.id.text for job in c.jobs]
        assert not c.failures
    assert caplog.text.count("job arrays are switched off here (MaxArraySize=0)") == 1
    ended = slurm.run("squeue", "-M", "other", "-h", "-t", "all", "-o", "%T", "-j", ",".join(ids)).split()
    assert ended == ["COMPLETED"] * 3
