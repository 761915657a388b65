"""Work on the cores that one has already, while a real Slurm lets its jobs wait."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, get_worker

from corral import Cluster, WorkerGroup

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("testbed", "control"), pytest.mark.timeout(240)]

Eventually = Callable[..., None]


@pytest.fixture
def closed(slurm: Any) -> Iterator[str]:
    """A partition that starts nothing until somebody opens it."""
    slurm.run("scontrol", "create", "PartitionName=closed", "Nodes=n1", "State=DOWN")
    yield "closed"
    slurm.run("scontrol", "delete", "PartitionName=closed")


@pytest.fixture
def cluster(closed: str, tmp_path: Path) -> Callable[..., Cluster]:
    """Makes clusters with a group in that partition, and one on two cores of this machine."""
    options = {"directory": str(tmp_path / "queue"), "cores": 2, "memory": "2GB"}
    groups = {
        "queue": WorkerGroup(queue=closed, memory="400MB", walltime="00:10:00"),
        "here": WorkerGroup(backend="local", memory="400MB", backend_options=options),
    }
    return lambda **arguments: Cluster(backend="slurm", interface="lo", groups=groups, **arguments)


def slow(_: int) -> str:
    import time

    time.sleep(0.5)
    [group] = set(get_worker().state.total_resources) - {"MEMORY"}
    return group


@pytest.mark.usefixtures("leaves_nothing")
def test_work_begins_at_once_and_jobs_of_the_queue_join(
    cluster: Callable[..., Cluster], closed: str, slurm: Any, eventually: Eventually
) -> None:
    """Nobody says how many jobs there shall be where; the machine's cores are not asked for twice."""
    with cluster() as c, Client(c) as client:
        c.adapt(maximum=8)
        futures = client.map(slow, range(200), pure=False)
        eventually(lambda: sum(future.done() for future in futures) >= 4, lambda: repr(c), timeout=90)
        assert {job.group: job.state.value for job in c.jobs if job.workers} == {"here": "running"}
        eventually(lambda: any(job.group == "queue" for job in c.jobs), lambda: repr(c))
        eventually(lambda: "PartitionDown" in repr(c), lambda: repr(c))
        assert sum(job.group == "here" for job in c.jobs) == 2
        assert all(str(job.id).startswith("local:") == (job.group == "here") for job in c.jobs)
        slurm.run("scontrol", "update", f"PartitionName={closed}", "State=UP")
        eventually(lambda: any(job.workers for job in c.jobs if job.group == "queue"), lambda: repr(c), timeout=90)
        assert set(client.gather(futures)) == {"here", "queue"}
    assert slurm.queue(c.name) == {}
    assert not c.failures


CLIENT = """
import sys, time
from corral import Cluster, WorkerGroup

options = {"directory": sys.argv[1], "cores": 2, "memory": "2GB"}
# Workers would end by themselves when they miss their scheduler.
PROLOGUE = ["sleep 600"]
groups = {
    "queue": WorkerGroup(memory="400MB", walltime="00:10:00", prologue=PROLOGUE),
    "here": WorkerGroup(backend="local", memory="400MB", backend_options=options, prologue=PROLOGUE),
}
c = Cluster(backend="slurm", interface="lo", name="doomed", groups=groups)
c.scale(queue=2, here=2)
while [job.state.value for job in c.jobs] != ["running"] * 4:
    time.sleep(0.1)
print("ready", flush=True)
time.sleep(600)
"""


def test_what_a_killed_client_leaves_in_both_is_cleaned(slurm: Any, tmp_path: Path) -> None:
    """By the command, which says what was where."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(tmp_path / "queue")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert list(slurm.queue("doomed").values()) == ["RUNNING"] * 2
    ran = subprocess.run(
        [sys.executable, "-m", "corral.cli", "clean", "--yes"], check=True, capture_output=True, text=True
    )
    assert "removed doomed (slurm and local" in ran.stdout
    assert "cancelled 4 jobs" in ran.stdout
    assert slurm.queue("doomed") == {}
    left = subprocess.run(
        [sys.executable, "-m", "corral.local", "status", "--directory", str(tmp_path / "queue")],
        check=True, capture_output=True, text=True, input="1_0\n1_1\n",
    ).stdout  # fmt: skip
    assert [json.loads(line).get("state") for line in left.splitlines()][:2] == ["CANCELLED"] * 2
