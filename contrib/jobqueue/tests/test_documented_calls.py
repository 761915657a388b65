"""Calls of the shapes that dask-jobqueue's documentation shows, with nothing but the import changed.

They are asked for their scripts; test_documented_calls_real.py runs those of Slurm on a real one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import dask.config
import pytest
import yaml  # type: ignore[import-untyped]
from distributed import Client

import corral_jobqueue
from corral_jobqueue import LocalCluster, PBSCluster

pytestmark = pytest.mark.usefixtures("quiet")

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


async def lines(class_name: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of the script of a cluster that starts nothing, on a host that has no batch system."""
    monkeypatch.setenv("PATH", "/nowhere")
    cluster = getattr(corral_jobqueue, class_name)(asynchronous=True, **arguments)
    text: str = cluster.job_script()
    await cluster.close()
    return text.splitlines()


@pytest.mark.parametrize(("class_name", "arguments", "expected"), list(CALLS.values()), ids=list(CALLS))
@pytest.mark.asyncio
async def test_a_call_asks_for_what_it_says(
    class_name: str, arguments: dict[str, Any], expected: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await lines(class_name, arguments, monkeypatch)
    assert [line for line in expected if line not in found] == []


@pytest.mark.parametrize(("class_name", "section", "expected"), list(SECTIONS.values()), ids=list(SECTIONS))
@pytest.mark.asyncio
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
