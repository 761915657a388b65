"""A person's day with a cluster, while the batch system's commands fail, hang, lie or answer late."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import dask.config
import pytest
from chores import leave_a_mark
from distributed import Client
from incidents import Incident
from real_life import Slurm, slurm_cluster

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(300)]

WRAPPERS = Path(__file__).parent / "wrappers"
FAULTS = sorted(path.stem for path in WRAPPERS.glob("*.sh"))
COMMANDS = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo")

Eventually = Callable[..., None]


@pytest.fixture(params=FAULTS)
def operator(slurm: Slurm, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """Every command of Slurm has this fault, except for the operator who watches."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for command in COMMANDS:
        faulty = folder / command
        wrapper = WRAPPERS / f"{request.param}.sh"
        faulty.write_text(f"#!/usr/bin/env bash\nreal={slurm.program(command)}\nsource {wrapper}\n")
        faulty.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return slurm


@pytest.mark.fault("a job is cancelled while commands go wrong")
def test_nothing_is_lost_doubled_or_left(
    incident: Incident, operator: Slurm, eventually: Eventually, tmp_path: Path
) -> None:
    """Grow, compute, lose a job, shrink, close: every result is right, and never more jobs than were asked for."""
    marks = tmp_path / "marks"
    done = 0

    def compute(client: Client) -> None:
        nonlocal done
        numbers = range(done, done + 100)
        assert client.gather(client.map(leave_a_mark, numbers, marks=str(marks), seconds=0.02)) == list(numbers)
        done += 100

    with dask.config.set({"corral.command-timeout": 4}):
        cluster = slurm_cluster()
    with cluster, Client(cluster) as client, incident.watched(cluster.name, 4):
        cluster.scale(2)
        client.wait_for_workers(2, timeout=120)
        compute(client)
        cluster.scale(4)
        client.wait_for_workers(4, timeout=120)
        compute(client)
        victim = cluster.jobs[0].id
        incident.begins()
        operator.run("scancel", victim.text)
        eventually(
            lambda: any(job.id == victim and job.has_ended for job in cluster.jobs), lambda: repr(cluster), timeout=120
        )
        incident.is_noticed()
        client.wait_for_workers(4, timeout=120)
        incident.is_over()
        compute(client)
        cluster.scale(1)
        eventually(lambda: len(operator.queue(cluster.name, "PD,R")) == 1, lambda: repr(cluster), timeout=120)
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
    incident.ran_once(marks, done)
