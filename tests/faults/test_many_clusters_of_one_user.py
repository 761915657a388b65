"""Many notebooks of one user on one host: each learns as soon as a single one would, for what a single one costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from incidents import Incident
from real_life import Slurm, small_jobs, wait_until

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(300)]

COMMANDS = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo")

COUNTED = """#!/usr/bin/env bash
echo "$(date +%s.%N) {name} $*" >>{record}
exec {program} "$@"
"""


class Commands:
    """What was run of Slurm's commands, and when."""

    def __init__(self, record: Path) -> None:
        self._record = record

    def moments(self) -> list[float]:
        return [float(line.split()[0]) for line in self._record.read_text().splitlines()]

    def most_in_a_minute(self) -> int:
        moments = self.moments()
        return max(sum(first <= moment < first + 60 for moment in moments) for first in moments)

    def __str__(self) -> str:
        return self._record.read_text()


@pytest.fixture
def commands(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Counts the commands of all processes that this test starts; the operator's own are not counted."""
    folder = tmp_path / "commands"
    folder.mkdir()
    record = tmp_path / "record"
    record.touch()
    for name in COMMANDS:
        if shutil.which(name):
            (folder / name).write_text(COUNTED.format(name=name, record=record, program=slurm.program(name)))
            (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Commands(record)


#: A notebook: it says when it has a job, and again whenever another one has come.
NOTEBOOK = """
import sys, threading, time
from corral import Cluster
from corral.errors import JobsFailed
cluster = Cluster(**eval(sys.argv[3]), python=sys.argv[1], name=f"notebook-{sys.argv[2]}")
print("ready", flush=True)
sys.stdin.readline()
threading.Thread(target=lambda: (sys.stdin.read(), cluster.close())).start()
cluster.scale(jobs=1)
try:
    cluster.wait_for_workers(1, timeout=120)
except JobsFailed as error:
    print("failed", time.time(), str(error).splitlines()[0], flush=True)
    sys.exit()
known = set()
while cluster.status.name == "running":
    for job in cluster.jobs:
        if job.id not in known:
            known.add(job.id)
            print("job", time.time(), job.id, flush=True)
    time.sleep(0.05)
"""


@contextmanager
def notebooks(count: int, python: str) -> Iterator[list[subprocess.Popen[str]]]:
    """So many clusters in as many processes, all of which begin at the same moment; closed at the end."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", NOTEBOOK, python, str(number), repr(small_jobs())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(count)
        ]
        try:
            for process in processes:
                assert says(process) == ["ready"]
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            yield processes
        finally:
            for process in processes:
                assert process.stdin is not None
                process.stdin.close()


def eventually_all_run(slurm: Slurm, jobs: list[str]) -> None:
    """Return when all have worked for some seconds: what their clusters asked about their start is answered."""
    wait_until(lambda: all(slurm.queue().get(job) == "RUNNING" for job in jobs), lambda: str(slurm.queue()), 60)
    time.sleep(10)


def says(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split(maxsplit=2)


@pytest.mark.fault("the jobs of six clusters of one user are all cancelled at once")
def test_six_clusters_lose_their_jobs_at_once(incident: Incident, slurm: Slurm, commands: Commands) -> None:
    """Each asks for another job within 15 s, and no minute has more than 20 commands."""
    with incident.watched("notebook", 6), notebooks(6, sys.executable) as processes:
        jobs = [says(process)[2].strip() for process in processes]
        eventually_all_run(slurm, jobs)
        cancelled = time.time()
        incident.begins()
        slurm.run("scancel", *jobs)
        replaced = [float(says(process)[1]) - cancelled for process in processes]
        most = commands.most_in_a_minute()
        incident.is_over()
    incident.tell("noticed", max(replaced))
    assert max(replaced) < 15, str(commands)
    assert most <= 20, str(commands)


@pytest.mark.fault("six clusters of one user name a Python that does not exist")
def test_six_clusters_are_told_what_is_wrong(incident: Incident, commands: Commands) -> None:
    """Each hears of three failed jobs within 30 s, and no minute has more than 20 commands."""
    with incident.watched("notebook", 6), notebooks(6, "/no/such/python") as processes:
        incident.begins()
        began = time.time()
        told = []
        for process in processes:
            word, moment, message = says(process)
            assert (word, "3 jobs in a row" in message) == ("failed", True)
            told.append(float(moment) - began)
        incident.is_over()
    incident.tell("noticed", min(told))
    assert max(told) < 30
    assert commands.most_in_a_minute() <= 20, str(commands)
