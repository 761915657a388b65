"""A person's day with a cluster, while the batch system's commands fail, hang, lie or answer late."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Client

from corral import Cluster

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(300)]

WRAPPERS = Path(__file__).parent / "wrappers"
FAULTS = sorted(path.stem for path in WRAPPERS.glob("*.sh"))
COMMANDS = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo")

Eventually = Callable[..., None]


@pytest.fixture(params=FAULTS)
def operator(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Every command of Slurm has this fault, except for the operator who watches."""
    folder = tmp_path / "commands"
    folder.mkdir()
    real = {}
    for command in COMMANDS:
        path = shutil.which(command)
        if path is None:
            continue
        real[command] = path
        faulty = folder / command
        faulty.write_text(f"#!/usr/bin/env bash\nreal={path}\nsource {WRAPPERS / f'{request.param}.sh'}\n")
        faulty.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def run(command: str, *words: str) -> str:
        return subprocess.run([real[command], *words], check=True, capture_output=True, text=True, timeout=60).stdout

    return run


@contextmanager
def counted(operator: Callable[..., str], name: str) -> Iterator[list[int]]:
    """How many jobs of this cluster Slurm has, looked at again and again."""
    counts: list[int] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.2):
            counts.append(len(living(operator, name)))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield counts
    finally:
        is_over.set()
        watcher.join()


def living(operator: Callable[..., str], name: str) -> list[str]:
    """The jobs of a cluster that wait or run."""
    rows = [row.split() for row in operator("squeue", "-h", "-r", "-t", "PD,R", "-o", "%i %j").splitlines()]
    return [job for job, called in rows if called.startswith(name)]


def ended(cluster: Cluster) -> set[str]:
    return {job.id.text for job in cluster.jobs if job.has_ended}


@pytest.mark.usefixtures("leaves_nothing")
def test_nothing_is_lost_doubled_or_left(
    operator: Callable[..., str], eventually: Eventually, tmp_path: Path, record_property: Any
) -> None:
    """Grow, compute, lose a job, shrink, close: every result is right, and never more jobs than were asked for."""
    marks = tmp_path / "marks"

    def task(number: int) -> int:
        with open(marks, "a") as file:
            file.write(f"{number}\n")
        time.sleep(0.02)
        return number**2

    with dask.config.set({"corral.command-timeout": 4}):
        cluster = Cluster(
            backend="slurm", cores=1, memory="400MB", walltime="00:10:00", queue="batch", interface="lo"
        )  # fmt: skip
    with cluster, Client(cluster) as client, counted(operator, cluster.name) as counts:
        cluster.scale(2)
        client.wait_for_workers(2, timeout=120)
        assert client.gather(client.map(task, range(100))) == [number**2 for number in range(100)]
        cluster.scale(4)
        client.wait_for_workers(4, timeout=120)
        assert client.gather(client.map(task, range(100, 200))) == [number**2 for number in range(100, 200)]
        # No task is lost or repeated but by the death of a worker.
        assert sorted(map(int, marks.read_text().split())) == list(range(200))
        victim = cluster.jobs[0].id.text
        killed_at = time.monotonic()
        operator("scancel", victim)
        eventually(
            lambda: any(job.id.text == victim and job.has_ended for job in cluster.jobs), lambda: repr(cluster), 120
        )
        record_property("seconds to notice", time.monotonic() - killed_at)
        client.wait_for_workers(4, timeout=120)
        record_property("seconds to recover", time.monotonic() - killed_at)
        assert client.gather(client.map(task, range(200, 300))) == [number**2 for number in range(200, 300)]
        cluster.scale(1)
        eventually(lambda: len(living(operator, cluster.name)) == 1, lambda: repr(cluster), 120)
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
    assert living(operator, cluster.name) == []
    assert max(counts) == 4
