"""A cluster on a real Slurm, while operators cancel its jobs, and its processes are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from chores import launcher_pid
from distributed import Client
from incidents import Incident
from real_life import Slurm, slurm_cluster, small_jobs

from corral import JobState
from corral.errors import JobsFailed

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("here"), pytest.mark.timeout(180)]

Eventually = Callable[..., None]


@pytest.mark.fault("an operator cancels one job of two workers")
def test_a_job_of_two_workers_that_is_cancelled_is_replaced(
    incident: Incident, slurm: Slurm, eventually: Eventually
) -> None:
    """Counts are right at every moment; a job is one job whatever its workers; its results are computed again."""
    with slurm_cluster(cores=2, processes=2) as c, Client(c) as client, incident.watched(c.name, 2):
        c.scale(4)
        client.wait_for_workers(4, timeout=90)
        assert len(c.jobs) == 2
        futures = client.map(lambda number: number + 1, range(100))
        assert client.gather(futures) == list(range(1, 101))
        victim = c.jobs[0]
        incident.begins()
        slurm.run("scancel", victim.id.text)
        eventually(
            lambda: any(job.id == victim.id and job.state is JobState.CANCELLED for job in c.jobs), lambda: repr(c)
        )
        incident.is_noticed()
        client.wait_for_workers(4, timeout=60)
        assert client.gather(futures) == list(range(1, 101))
        incident.is_over()
        incident.tell("tasks lost", 0)
        assert len(slurm.queue(c.name)) == 2
        assert len(c.observed) == len(c.requested) == 4
        assert victim.id not in {job.id for job in c.jobs if job.is_capacity}


@pytest.mark.fault("an operator cancels all jobs")
def test_all_jobs_cancelled_from_outside_is_a_wish(incident: Incident, slurm: Slurm, eventually: Eventually) -> None:
    """Nothing comes back, and whoever waits is told why."""
    with slurm_cluster() as c, Client(c) as client, incident.watched(c.name, 3):
        c.scale(3)
        client.wait_for_workers(3, timeout=90)
        incident.begins()
        slurm.run("scancel", *(job.id.text for job in c.jobs))
        # Asked in the middle of it, one alone is an accident: it is replaced, and its replacement goes with the others.
        eventually(lambda: len(c.jobs) in (3, 4) and all(job.has_ended for job in c.jobs), lambda: repr(c))
        incident.is_noticed()
        with pytest.raises(JobsFailed, match="cancelled from outside"):
            c.wait_for_workers(3, timeout=30)
        assert len(c.plan) == 0
        incident.is_over()
        assert slurm.queue(c.name) == {}
        c.scale(1)
        client.wait_for_workers(1, timeout=60)


@pytest.mark.fault("a worker is killed")
def test_a_killed_worker_comes_back(incident: Incident, eventually: Eventually) -> None:
    """Its nanny starts another one, in the same job."""
    with slurm_cluster() as c, Client(c) as client, incident.watched(c.name, 1):
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        kept = client.submit(lambda: 42)
        assert kept.result(timeout=30) == 42
        [first] = client.run(os.getpid).values()
        incident.begins()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not c.observed or first not in client.run(os.getpid, on_error="ignore").values())
        incident.is_noticed()
        client.wait_for_workers(1, timeout=30)
        assert kept.result(timeout=30) == 42
        incident.is_over()
        incident.tell("tasks lost", 0)
        assert len(c.jobs) == 1


@pytest.mark.fault("a launcher is killed, the parent of all nannies and workers of its job")
def test_a_killed_launcher_ends_its_job(incident: Incident, eventually: Eventually) -> None:
    """None of its processes stays, the job is told as failed, and another one comes."""
    with slurm_cluster() as c, Client(c) as client, incident.watched(c.name, 1):
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        kept = client.submit(lambda: 42)
        assert kept.result(timeout=30) == 42
        [zygote] = client.run(os.getppid).values()
        [launcher] = client.run(launcher_pid).values()
        incident.begins()
        os.kill(launcher, signal.SIGKILL)
        eventually(lambda: len(c.jobs) == 2 and c.jobs[0].has_ended, lambda: repr(c))
        eventually(lambda: c.failures, lambda: repr(c))
        incident.is_noticed()
        eventually(lambda: not Path(f"/proc/{zygote}").exists())
        client.wait_for_workers(1, timeout=60)
        assert kept.result(timeout=30) == 42
        incident.is_over()
        incident.tell("tasks lost", 0)


CLIENT = """
import sys, time
from corral import Cluster
c = Cluster(**eval(sys.argv[1]))
c.scale(1)
if sys.argv[2] == "0":
    c.wait_for_workers(1, timeout=90)
else:
    while not c.jobs: time.sleep(0.1)
print(c.jobs[0].id, c.name, flush=True)
time.sleep(600)
"""


@pytest.mark.fault("the client is killed, and its job is")
@pytest.mark.parametrize("delay", [0, 8], ids=["running", "pending"])
def test_a_killed_client_leaves_jobs_that_end_themselves(
    incident: Incident, slurm: Slurm, eventually: Eventually, delay: int
) -> None:
    """A running job within 90 s, a pending one within seconds of its start; `corral clean` removes the rest."""
    jobs = small_jobs(extra_directives=[f"--begin=now+{delay}"] if delay else [])
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, repr(jobs), str(delay)], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        job, name = client.stdout.readline().split()
        client.kill()
    with incident.watched(name, 1):
        assert job in slurm.queue()
        if delay:
            eventually(lambda: slurm.queue().get(job) != "PENDING", timeout=60)
        incident.begins()
        eventually(lambda: job not in slurm.queue(), timeout=90 if not delay else 30)
        incident.is_over()
    cleaned = subprocess.run(
        [sys.executable, "-m", "corral.cli", "clean", "--yes"], check=True, capture_output=True, text=True, timeout=60
    )
    assert f"removed {name} (slurm" in cleaned.stdout
