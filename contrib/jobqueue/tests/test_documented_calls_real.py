"""Calls of the shapes that dask-jobqueue's documentation shows, on a real Slurm."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dask.config
import pytest
from distributed import Client, as_completed
from real_life import jobqueue_jobs

from corral_jobqueue import SLURMCluster

if TYPE_CHECKING:
    from real_life import Slurm

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(180), pytest.mark.usefixtures("quiet", "state_directory")]


def test_jobs_by_number_cores_and_memory() -> None:
    """Three ways to ask for two jobs of two workers."""
    with (
        SLURMCluster(**{"account": "abc", **jobqueue_jobs(cores=2, processes=2)}) as cluster,
        Client(cluster) as client,
    ):
        for size in ({"jobs": 2}, {"cores": 4}, {"memory": "800 MB"}):
            cluster.scale(**size)
            client.wait_for_workers(4, timeout=90)
            assert len(cluster.plan) == 4
        assert client.gather(client.map(lambda x: x**2, range(4))) == [0, 1, 4, 9]


def test_lines_and_directives_of_ones_own() -> None:
    """What a prologue exports is the tasks'; a directive's quotes are Slurm's to take off."""
    with (
        SLURMCluster(
            **jobqueue_jobs(
                prologue=['export LANG="C.UTF-8"', 'export CALLED="by me"'],
                extra_directives=['--comment="low priority"'],
            )
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(1)
        assert client.submit(os.getenv, "CALLED").result(timeout=90) == "by me"


def test_resources_that_only_dask_knows() -> None:
    """Tasks that ask for more than a worker has at once wait for each other."""
    with (
        SLURMCluster(
            worker_extra_args=["--resources ssdGB=200,GPU=2"], **jobqueue_jobs(processes=1, cores=2)
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(2)
        first = client.map(str.upper, ["a", "b", "c"], resources={"GPU": 1})
        second = client.map(str.lower, first, resources={"ssdGB": 100})
        assert client.gather(second) == ["a", "b", "c"]


def test_a_size_between_two_bounds() -> None:
    """By jobs, and by memory; results as they come."""
    with (
        SLURMCluster(worker_extra_args=["--lifetime", "8m"], **jobqueue_jobs()) as cluster,
        Client(cluster) as client,
    ):
        cluster.adapt(minimum_jobs=1, maximum_jobs=2)
        cluster.adapt(maximum_memory="800 MB")
        futures = client.map(lambda number: number * 2, range(20))
        assert sorted(future.result() for future in as_completed(futures)) == list(range(0, 40, 2))


def test_all_in_the_configuration() -> None:
    section = {name.replace("_", "-"): value for name, value in jobqueue_jobs().items()}
    with (
        dask.config.set({"jobqueue": {"slurm": section}}),
        SLURMCluster() as cluster,
        Client(cluster) as client,
    ):
        cluster.adapt(minimum=1, maximum=10)
        assert client.submit(sum, [1, 2]).result(timeout=90) == 3


@pytest.mark.needs("testbed")
def test_an_allocation_of_ones_own(slurm: Slurm, tmp_path: Path) -> None:
    """One process runs the script, one schedules, the others work."""
    script = tmp_path / "program.py"
    script.write_text(
        "from dask.distributed import Client\n"
        "from corral_jobqueue.slurm import SLURMRunner\n"
        f"with SLURMRunner(scheduler_file='{tmp_path}/scheduler-{{job_id}}.json') as runner:\n"
        "    with Client(runner) as client:\n"
        "        client.wait_for_workers(runner.n_workers)\n"
        "        print('sum', client.submit(lambda x: x + 1, 10).result(), runner.n_workers)\n"
    )
    output = tmp_path / "output"
    wants = ["--ntasks=4", "--nodes=2", "--mem=900", "--time=5", f"--output={output}"]
    line = f"srun --ntasks=4 --overlap {sys.executable} {script}"
    job = slurm.run("sbatch", "--parsable", *wants, f"--wrap={line}").split()[-1]
    assert slurm.exit_code(job) == 0, output.read_text()
    assert "sum 11 2\n" in output.read_text()
