"""Calls of the shapes that dask-jobqueue's documentation shows, with nothing but the import changed.

Those of Slurm run on a real one; the others are asked for their scripts.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.config
import pytest
import yaml  # type: ignore[import-untyped]
from distributed import Client, as_completed
from real_life import jobqueue_jobs

import corral_jobqueue
from corral_jobqueue import LocalCluster, PBSCluster, SLURMCluster

if TYPE_CHECKING:
    from real_life import Slurm

#: What a call says, and lines that its job's script has.
CALLS: dict[str, tuple[str, dict[str, Any], Sequence[str]]] = {
    "a node of PBS, cut in six": (
        "PBSCluster",
        {
            "cores": 24, "memory": "100GB", "shebang": "#!/usr/bin/env zsh", "processes": 6, "queue": "long",
            "local_directory": "$TMPDIR", "resource_spec": "select=1:ncpus=24:mem=100GB", "account": "abc-1",
            "walltime": "02:00:00",
        },
        ["#!/usr/bin/env zsh", "#PBS -q long", "#PBS -A abc-1", "#PBS -l select=1:ncpus=24:mem=100GB",
         "#PBS -l walltime=02:00:00"],
    ),
    "PBS is asked for more than Dask may use": (
        "PBSCluster",
        {
            "queue": "long", "account": "Abc", "local_directory": "$TMPDIR", "cores": 24, "processes": 6,
            "memory": "16GB", "resource_spec": "select=1:ncpus=36:mem=109G",
        },
        ["#PBS -l select=1:ncpus=36:mem=109G"],
    ),
    "workers that end before their job": (
        "PBSCluster",
        {
            "walltime": "01:00:00", "cores": 4, "memory": "16gb",
            "worker_extra_args": ["--lifetime", "55m", "--lifetime-stagger", "4m"],
        },
        ["#PBS -l select=1:ncpus=4:mem=15259mb", "#PBS -l walltime=01:00:00"],
    ),
    "Moab": (
        "MoabCluster",
        {
            "cores": 6, "processes": 6, "account": "abc", "memory": "16G", "resource_spec": "pmem=96G",
            "job_extra_directives": ["-d /home/First.Last", "-M none"], "local_directory": os.getenv("TMPDIR", "/tmp"),
        },
        ["#MSUB -A abc", "#MSUB -l pmem=96G", "#MSUB -d /home/First.Last", "#MSUB -M none"],
    ),
    "Grid Engine counts seconds": (
        "SGECluster",
        {
            "queue": "short.q", "walltime": "1500000", "processes": 10, "cores": 10, "memory": "20GB",
            "resource_spec": "m_mem_free=20G",
        },
        ["#$ -q short.q", "#$ -l m_mem_free=20G", "#$ -l h_rt=416:40:00"],
    ),
    "LSF counts hours and minutes": (
        "LSFCluster",
        {"queue": "all", "project": "abc", "walltime": "00:30", "cores": 15, "memory": "25GB", "use_stdin": True},
        ["#BSUB -q all", "#BSUB -P abc", "#BSUB -n 15", "#BSUB -W 30"],
    ),
    "HTCondor, in an environment": (
        "HTCondorCluster",
        {
            "cores": 1, "memory": "2GB", "disk": "4GB", "log_directory": "logs", "python": "python3",
            "job_script_prologue": ["cd /some/path", "source venv/bin/activate"],
        },
        ["request_cpus = 1", "request_memory = 1908M", "request_disk = 3815M", "cd /some/path",
         "source venv/bin/activate"],
    ),
    "OAR": (
        "OARCluster",
        {"queue": "default", "cores": 2, "memory": "4GB"},
        ["#OAR -q default", "#OAR -l /nodes=1/core=2,walltime=00:30:00"],
    ),
    "Slurm, in four processes": (
        "SLURMCluster",
        {
            "cores": 8, "processes": 4, "memory": "16GB", "account": "abc", "walltime": "01:00:00", "queue": "all",
        },
        ["#SBATCH --account=abc", "#SBATCH --partition=all", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=15259M"],
    ),
    "Slurm, with quotes in a directive": (
        "SLURMCluster",
        {
            "cores": 24, "processes": 6, "memory": "16GB", "account": "abc", "queue": "large",
            "job_script_prologue": ['export LANG="en_US.utf8"', 'export LC_ALL="en_US.utf8"'],
            "job_extra_directives": ['--qos="low"'],
        },
        ['#SBATCH --qos="low"', 'export LANG="en_US.utf8"'],
    ),
}  # fmt: skip

#: Sections of configuration as centres publish them, and lines that their jobs' scripts have.
SECTIONS: dict[str, tuple[str, str, Sequence[str]]] = {
    "a set of directives, as YAML takes it": (
        "SLURMCluster",
        "slurm: {name: dask-worker, cores: 1, memory: 25 GB, processes: 1, interface: lo, account: abc, "
        "walltime: '00:30:00', job-extra: {-C haswell}}",
        ["#SBATCH -C haswell", "#SBATCH --account=abc"],
    ),
    "several directives": (
        "SLURMCluster",
        "slurm: {cores: 64, memory: 115GB, processes: 4, queue: debug, walltime: '00:10:00', "
        "job-extra: ['-C haswell', '-L project,scratch']}",
        ["#SBATCH -C haswell", "#SBATCH -L project,scratch", "#SBATCH --partition=debug"],
    ),
    "a time without quotes": (
        "PBSCluster",
        "pbs: {name: dask-worker, cores: 36, memory: 270GB, processes: 6, interface: lo, "
        "local-directory: $localscratch, queue: high_mem, account: abc, walltime: 00:30:00, "
        "job-extra: ['-W group_list=abc']}",
        ["#PBS -W group_list=abc", "#PBS -l walltime=00:30:00"],
    ),
    "the memory that Slurm sees": (
        "SLURMCluster",
        "slurm: {cores: 24, memory: 120GB, processes: 1, interface: lo, death-timeout: 60, "
        "local-directory: /scratch/$USER/$SLURM_JOB_ID, queue: compute, walltime: '00:30:00', job-mem: 100GB}",
        ["#SBATCH --mem=100GB"],
    ),
    "a worker for each core": (
        "PBSCluster",
        "pbs: {cores: 28, processes: 28, memory: 120GB, interface: lo, local-directory: $TMPDIR, queue: mpi_1, "
        "project: abc, walltime: '48:00:00', resource-spec: 'select=1:ncpus=28:mem=120GB', job-extra: ['-m n']}",
        ["#PBS -l select=1:ncpus=28:mem=120GB", "#PBS -m n", "#PBS -l walltime=48:00:00", "#PBS -A abc"],
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(state_directory: Path) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", corral_jobqueue.ChangedWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


async def lines(class_name: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of the script of a cluster that starts nothing, on a host that has no batch system."""
    monkeypatch.setenv("PATH", "/nowhere")
    cluster = getattr(corral_jobqueue, class_name)(asynchronous=True, **arguments)
    text: str = cluster.job_script()
    await cluster.close()
    return text.splitlines()


@pytest.mark.parametrize(("class_name", "arguments", "expected"), list(CALLS.values()), ids=list(CALLS))
async def test_a_call_asks_for_what_it_says(
    class_name: str, arguments: dict[str, Any], expected: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await lines(class_name, arguments, monkeypatch)
    assert [line for line in expected if line not in found] == []


@pytest.mark.parametrize(("class_name", "section", "expected"), list(SECTIONS.values()), ids=list(SECTIONS))
async def test_a_section_asks_for_what_it_says(
    class_name: str, section: str, expected: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call without arguments; those that it has override the section."""
    with dask.config.set({"jobqueue": yaml.safe_load(section)}):
        found = await lines(class_name, {}, monkeypatch)
        assert [line for line in expected if line not in found] == []
        overridden = await lines(class_name, {"queue": "other"}, monkeypatch)
    assert any("other" in line for line in overridden)


def test_directives_that_are_refused_somewhere_can_be_left_out() -> None:
    """Text that is in none of them leaves out nothing."""
    with PBSCluster(
        cores=1, memory="1GB", interface="lo", job_directives_skip=["-l walltime", "another-string"], queue="all"
    ) as cluster:
        assert "walltime=" not in cluster.job_header
        assert "-q all" in cluster.job_header


def test_jobs_of_this_host() -> None:
    """Dask's own cluster of one host, with jobs."""
    with LocalCluster(cores=2, memory="400 MB", interface="lo") as cluster, Client(cluster) as client:
        cluster.scale(jobs=2)
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3


# --- on a real Slurm --------------------------------------------------------------------------------------------

on_slurm = [pytest.mark.real("slurm"), pytest.mark.timeout(180)]


class TestOnSlurm:
    """Jobs that run."""

    pytestmark = on_slurm

    def test_jobs_by_number_cores_and_memory(self) -> None:
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

    def test_lines_and_directives_of_ones_own(self) -> None:
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

    def test_resources_that_only_dask_knows(self) -> None:
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

    def test_a_size_between_two_bounds(self) -> None:
        """By jobs, and by memory; results as they come."""
        with (
            SLURMCluster(worker_extra_args=["--lifetime", "8m"], **jobqueue_jobs()) as cluster,
            Client(cluster) as client,
        ):
            cluster.adapt(minimum_jobs=1, maximum_jobs=2)
            cluster.adapt(maximum_memory="800 MB")
            futures = client.map(lambda number: number * 2, range(20))
            assert sorted(future.result() for future in as_completed(futures)) == list(range(0, 40, 2))

    def test_all_in_the_configuration(self) -> None:
        section = {name.replace("_", "-"): value for name, value in jobqueue_jobs().items()}
        with (
            dask.config.set({"jobqueue": {"slurm": section}}),
            SLURMCluster() as cluster,
            Client(cluster) as client,
        ):
            cluster.adapt(minimum=1, maximum=10)
            assert client.submit(sum, [1, 2]).result(timeout=90) == 3

    @pytest.mark.needs("testbed")
    def test_an_allocation_of_ones_own(self, slurm: Slurm, tmp_path: Path) -> None:
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
