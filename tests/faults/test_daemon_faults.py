"""A real Slurm whose daemons die while a cluster is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from distributed import Client
from incidents import Incident
from real_life import Slurm, slurm_cluster

from corral import JobState

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("here", "control", "testbed"), pytest.mark.timeout(240)]

Eventually = Callable[..., None]


@contextmanager
def stopped(pid_file: Path) -> Iterator[None]:
    """A daemon that is away for a while, and started again with its own command line."""
    daemon = psutil.Process(int(pid_file.read_text()))
    line, environment = daemon.cmdline(), daemon.environ()
    # A killed slurmctld would not know the jobs of its last seconds, and give their ids to others.
    is_controller = daemon.name() == "slurmctld"
    victims = [daemon] if is_controller else [daemon, *daemon.children(recursive=True)]
    for victim in victims:
        victim.send_signal(signal.SIGTERM if is_controller else signal.SIGKILL)
    _, alive = psutil.wait_procs(victims, timeout=20)
    assert not alive
    try:
        yield
    finally:
        with open(os.devnull, "rb+") as nothing:
            subprocess.run(line, check=True, env=environment, stdin=nothing, stdout=nothing, stderr=nothing, timeout=30)


@pytest.mark.fault("slurmctld is away for 20 s while scaling")
def test_a_controller_that_is_away_while_scaling(incident: Incident, slurm: Slurm, eventually: Eventually) -> None:
    """Running workers do not notice, nothing is lost, nothing comes twice."""
    with slurm_cluster() as c, Client(c) as client, incident.watched(c.name, 4):
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        with stopped(slurm.pid_file("SlurmctldPidFile")):
            incident.begins()
            c.scale(4)
            started = time.monotonic()
            results = client.map(lambda number: number + 1, range(100))
            assert sum(client.gather(results)) == 5050
            eventually(lambda: "submitted" in repr(c), lambda: repr(c))
            assert [job.state for job in c.jobs] == [JobState.RUNNING]
            time.sleep(max(0.0, 20.0 - (time.monotonic() - started)))
        client.wait_for_workers(4, timeout=120)
        incident.is_over()
        time.sleep(10)  # what may come twice comes late
        assert len(c.jobs) == 4
        assert not c.failures


@pytest.mark.fault("a node dies: slurmd and all that it ran")
def test_a_node_that_dies_is_replaced(incident: Incident, slurm: Slurm, eventually: Eventually, tmp_path: Path) -> None:
    """The job is lost to the machine, another comes elsewhere, and what the dead one computed runs again."""
    with slurm_cluster() as c, Client(c) as client, incident.watched(c.name, 1):
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        eventually(lambda: c.jobs[0].hosts, lambda: repr(c))
        [node] = c.jobs[0].hosts
        kept = client.submit(lambda: 42)
        assert kept.result(timeout=30) == 42
        with stopped(slurm.pid_file("SlurmdPidFile", node)):
            incident.begins()
            _kill_job(client)
            eventually(lambda: not c.observed, lambda: repr(c))
            incident.is_noticed()
            eventually(lambda: c.jobs[0].has_ended, lambda: repr(c), timeout=120)
            client.wait_for_workers(1, timeout=120)
            assert kept.result(timeout=30) == 42
            incident.is_over()
            incident.tell("tasks lost", 0)
            eventually(lambda: c.jobs[-1].hosts, lambda: repr(c))
            assert c.jobs[-1].hosts != (node,)


@pytest.mark.fault("a node dies and is back before Slurm misses it")
def test_a_job_of_a_node_that_came_back_at_once_is_given_up(
    incident: Incident, slurm: Slurm, eventually: Eventually
) -> None:
    """Slurm calls its job running until the walltime ends; the workers say otherwise."""
    with slurm_cluster(extra_directives=["--nodelist=n3"]) as c, Client(c) as client, incident.watched(c.name, 1):
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        eventually(lambda: c.jobs[0].hosts == ("n3",), lambda: repr(c))
        kept = client.submit(lambda: 42)
        assert kept.result(timeout=30) == 42
        with stopped(slurm.pid_file("SlurmdPidFile", "n3")):
            incident.begins()
            _kill_job(client)
            eventually(lambda: not c.observed, lambda: repr(c))
            incident.is_noticed()
        eventually(lambda: c.jobs[0].has_ended, lambda: repr(c), timeout=120)
        client.wait_for_workers(1, timeout=120)
        assert kept.result(timeout=30) == 42
        incident.is_over()
        incident.tell("tasks lost", 0)


@pytest.mark.fault("jobs keep dying on one host")
def test_a_host_on_which_jobs_keep_dying_is_avoided(incident: Incident, caplog: pytest.LogCaptureFixture) -> None:
    """Others work, so it is the host: it is named, and the third attempt goes elsewhere."""
    # Each job fills a node. It is seen there before it dies: a job that is gone before the next poll tells no host, and
    # the next one may go there, too.
    prologue = ['[ "$SLURMD_NODENAME" != n1 ] || { sleep 8; exit 9; }']
    with slurm_cluster(cores=64, processes=1, prologue=prologue) as c, incident.watched(c.name, 2):
        incident.begins()
        c.scale(jobs=2)
        c.wait_for_workers(2, timeout=120)
        incident.is_over()
        assert [("n1",)] * len(c.failures) == [failure.job.hosts for failure in c.failures]
        assert {failure.job.exit_code for failure in c.failures} == {9}
    assert len(c.failures) == 2
    assert "keep dying on host n1 and work elsewhere; further jobs ask for other hosts" in caplog.text


def _kill_job(client: Client) -> None:
    """What a power failure does to the job on the node: its step, and everything below it."""
    [pid] = client.run(os.getpid).values()
    step = psutil.Process(pid)
    while not step.name().startswith("slurmstepd"):
        parent = step.parent()
        assert parent is not None
        step = parent
    for process in [step, *step.children(recursive=True)]:
        # The later ones may end because the first have.
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
