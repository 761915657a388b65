"""A person's day with a cluster, while the batch system's commands fail, hang, lie or answer late."""

from __future__ import annotations

import os
import threading
import time
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
    put_in_the_way(slurm, request.param, tmp_path, monkeypatch)
    return slurm


@pytest.fixture
def silence(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While there is this file, every command does and prints nothing, with success, except for the operator's."""
    silence = tmp_path / "silence"
    put_in_the_way(slurm, "answers-nothing", tmp_path, monkeypatch, f"silence={silence}")
    return silence


def put_in_the_way(slurm: Slurm, fault: str, folder: Path, monkeypatch: pytest.MonkeyPatch, setting: str = "") -> None:
    commands = folder / "commands"
    commands.mkdir()
    for command in COMMANDS:
        faulty = commands / command
        lines = ["#!/usr/bin/env bash", f"real={slurm.program(command)}", setting, f"source {WRAPPERS / fault}.sh"]
        faulty.write_text("\n".join(lines) + "\n")
        faulty.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")


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


@pytest.mark.timeout(600)
@pytest.mark.fault("the controller answers nothing, with success, for 90 s")
def test_an_answer_without_any_job_is_no_end_of_all_jobs(
    incident: Incident, slurm: Slurm, silence: Path, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a cluster that waits and of one that works: the targets stay, nothing is submitted anew, nothing is left."""
    # Each job of the second fills one of three nodes.
    with (
        slurm_cluster(extra_directives=["--hold"]) as waits,
        slurm_cluster(cores=64, processes=1) as works,
        incident.watched(waits.name, 4),
        incident.watched(works.name, 4),
    ):
        works.scale(jobs=4)
        works.wait_for_workers(3, timeout=120)
        waits.scale(4)
        eventually(lambda: len(slurm.queue(waits.name)) == len(slurm.queue(works.name)) == 4)
        eventually(lambda: all(job.was_listed for job in (*waits.jobs, *works.jobs)), lambda: f"{waits} {works}")
        there = {job.id for job in (*waits.jobs, *works.jobs)}
        silence.touch()
        incident.begins()
        eventually(lambda: "lists none of them" in repr(waits), lambda: repr(waits), timeout=90)
        incident.is_noticed()
        time.sleep(90)
        silence.unlink()
        eventually(lambda: "lists none of them" not in repr(waits), lambda: repr(waits), timeout=90)
        incident.is_over()
        assert len(waits.plan) == len(works.plan) == 4
        assert {job.id for job in (*waits.jobs, *works.jobs)} == there
        assert not any(job.has_ended for job in (*waits.jobs, *works.jobs))
        assert len(slurm.queue(waits.name)) == len(slurm.queue(works.name)) == 4
    assert slurm.queue(waits.name) == slurm.queue(works.name) == {}
    assert "lists none of the 4 jobs that it should have" in caplog.text


@pytest.mark.fault("the controller answers nothing, with success, for 10 s, while a cluster closes")
def test_a_cluster_closes_while_nothing_is_answered(
    incident: Incident, slurm: Slurm, silence: Path, eventually: Eventually
) -> None:
    """A cancellation that was lost is repeated when the jobs are seen again; what cannot be seen is not forgotten."""
    with slurm_cluster(extra_directives=["--hold"]) as c, incident.watched(c.name, 4):
        c.scale(4)
        eventually(lambda: len(slurm.queue(c.name)) == 4)
        eventually(lambda: all(job.was_listed for job in c.jobs), lambda: repr(c))
        silence.touch()
        threading.Timer(10, silence.unlink).start()
        incident.begins()
        c.close()
        incident.is_over()
        assert slurm.queue(c.name) == {}
