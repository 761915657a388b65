"""Every argument of every class shows in the job's script, or in the cluster, what it does."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Security

import corral_jobqueue
from corral.migration.jobqueue.words import CLUSTER_ARGUMENTS, JOB_ARGUMENTS, KINDS

SIZE: dict[str, Any] = {"cores": 4, "memory": "4GB"}
#: What each class must be given besides.
NEEDED: Mapping[str, Mapping[str, Any]] = {"HTCondorCluster": {"disk": "2GB"}}
SECTION = {"cores": 3, "memory": "3GB", "disk": "2GB", "job-script-prologue": ["echo from-the-section"]}

#: For each argument of all classes: a value, and a pattern of what the script has then and has not without it.
#: ``(?i)`` where batch systems differ in no more than that.
EVERYWHERE: Mapping[str, tuple[Any, str]] = {
    "name": ("mine", r"--job-name=mine-"),
    "job_name": ("other", r"--job-name=other-"),
    "cores": (6, r"--workers=3 --threads=2 "),
    "memory": ("8GB", r"--memory-limit=2\d{9} "),
    "processes": (2, r"--workers=2 --threads=2 "),
    "interface": ("lo", r"--interface=lo"),
    "death_timeout": (123, r"--death-timeout=123"),
    "local_directory": ("/scratch/$USER", r"'?--local-directory=/scratch/\$USER"),
    "worker_extra_args": (["--resources", "A=2"], r'"A": 2'),
    "extra": (["--resources B=3"], r'"B": 3'),
    "job_script_prologue": (["echo before"], r"\necho before\n(.*\n)*.*corral\.launch"),
    "env_extra": (["echo early"], r"\necho early\n(.*\n)*.*corral\.launch"),
    "job_script_epilogue": (["echo after"], r"corral\.launch (.*\n)*echo after\n"),
    "log_directory": ("/own/logs", r"/own/logs"),
    "python": ("/opt/python", r"\n/opt/python -P -m corral\.launch"),
    "config_name": ("own", r"\necho from-the-section\n"),
    "shared_temp_directory": ("/shared", r"--credentials=/shared/"),
}  # fmt: skip

#: What only some batch systems have, or say in words of their own.
OWN: Mapping[str, Mapping[str, tuple[Any, str]]] = {
    "SLURMCluster": {
        "queue": ("long", r"#SBATCH --partition=long"), "account": ("bio", r"#SBATCH --account=bio"),
        "project": ("bio", r"#SBATCH --account=bio"), "walltime": ("00:45:00", r"#SBATCH --time=0-00:45:00"),
        "job_cpu": (12, r"#SBATCH --cpus-per-task=12\n(.*\n)*.*--threads=1 "), "job_mem": ("0", r"#SBATCH --mem=0\n"),
        "job_extra_directives": (["--qos=low"], r"#SBATCH --qos=low"), "job_extra": (["-C a"], r"#SBATCH -C a"),
        "shebang": ("#!/usr/bin/env zsh", r"^#!/usr/bin/env zsh\n"),
    },
    "PBSCluster": {
        "queue": ("long", r"#PBS -q long"), "account": ("bio", r"#PBS -A bio"), "project": ("bio", r"#PBS -A bio"),
        "walltime": ("00:45:00", r"#PBS -l walltime=00:45:00"),
        "resource_spec": ("select=1:ncpus=9:mem=5GB", r"#PBS -l select=1:ncpus=9:mem=5GB"),
        "job_extra_directives": (["-m ae"], r"#PBS -m ae"), "job_extra": (["-M you"], r"#PBS -M you"),
        "shebang": ("#!/usr/bin/env zsh", r"^#!/usr/bin/env zsh\n"),
    },
    "MoabCluster": {
        "queue": ("long", r"#MSUB -q long"), "account": ("bio", r"#MSUB -A bio"), "project": ("bio", r"#MSUB -A bio"),
        "walltime": ("00:45:00", r"#MSUB -l walltime=00:45:00"), "resource_spec": ("pmem=9G", r"#MSUB -l pmem=9G"),
        "job_extra_directives": (["-m ae"], r"#MSUB -m ae"), "job_extra": (["-M you"], r"#MSUB -M you"),
        "shebang": ("#!/usr/bin/env zsh", r"^#!/usr/bin/env zsh\n"),
    },
    "SGECluster": {
        "queue": ("long.q", r"#\$ -q long\.q"), "project": ("bio", r"#\$ -P bio"),
        "walltime": ("00:45:00", r"#\$ -l h_rt=00:45:00"), "resource_spec": ("mem_free=9G", r"#\$ -l mem_free=9G"),
        "job_extra_directives": (["-pe smp 4"], r"#\$ -pe smp 4"), "job_extra": (["-p -5"], r"#\$ -p -5"),
        "shebang": ("#!/usr/bin/env zsh", r"^#!/usr/bin/env zsh\n"),
    },
    "LSFCluster": {
        "queue": ("long", r"#BSUB -q long"), "project": ("bio", r"#BSUB -P bio"),
        "walltime": ("01:30", r"#BSUB -W 90"), "ncpus": (12, r"#BSUB -n 12\n"),
        "mem": (9_000_000_000, r"#BSUB -M 8790016"), "lsf_units": ("mb", r"#BSUB -M 3815\n"),
        "use_stdin": (True, ""),
        "job_extra_directives": (["-G team"], r"#BSUB -G team"), "job_extra": (["-x"], r"#BSUB -x"),
        "shebang": ("#!/usr/bin/env zsh", r"^#!/usr/bin/env zsh\n"),
    },
    "OARCluster": {
        "queue": ("long", r"#OAR -q long"), "project": ("bio", r"#OAR --project bio"),
        "walltime": ("00:45:00", r"#OAR -l \S*walltime=0?0:45:00"),
        "resource_spec": ("/nodes=1/core=9", r"#OAR -l /nodes=1/core=9,walltime=00:30:00"),
        "memory_per_core_property_name": ("memcore", r"#OAR -p \S*memcore *>= *\d+"),
        "job_extra_directives": (["-t besteffort"], r"#OAR -t besteffort"),
        "job_extra": (["-t night"], r"#OAR -t night"),
        "shebang": ("#!/usr/bin/env zsh", r"^#!/usr/bin/env zsh\n"),
    },
    "HTCondorCluster": {
        "disk": ("6GB", r"\nrequest_disk = 57\d\dM"),
        "submit_command_extra": (["-name", "schedd.example.org"], ""),
        "cancel_command_extra": (["-pool", "pool.example.org"], ""),
        "job_extra_directives": ({"+Flavour": '"long"'}, r'\n\+Flavour = "long"'),
        "job_extra": ({"rank": "Memory"}, r"\nrank = Memory"),
        "name": ("mine", r"\nbatch_name = mine-"), "job_name": ("other", r"\nbatch_name = other-"),
    },
    "LocalCluster": {
        # Its jobs ask nobody for anything.
        "queue": ("long", ""), "project": ("bio", ""), "resource_spec": ("a=1", ""), "walltime": ("00:45:00", ""),
        "job_extra_directives": (["x"], ""), "job_extra": (["x"], ""), "shebang": ("#!/usr/bin/env zsh", ""),
    },
}  # fmt: skip
#: What a script does not show; each has a test of its own below.
NOT_IN_SCRIPTS = {
    "n_workers", "silence_logs", "asynchronous", "loop", "scheduler_options", "scheduler_cls", "job_cls",
    "dashboard_address", "host", "security", "protocol", "nanny", "worker_command", "job_directives_skip",
    "header_skip",
}  # fmt: skip
#: Scripts of calls that say nothing but the size.
PLAIN: dict[str, str] = {}
NAMES = {"SGECluster": "-N ", "PBSCluster": "-N ", "MoabCluster": "-N ", "LSFCluster": "-J ", "OARCluster": "-n "}


@pytest.fixture(autouse=True)
def no_batch_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host on which nothing answers, whichever commands this one has; and only the section that is named here."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with dask.config.set({"jobqueue": {"own": SECTION}}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def made(class_name: str, **said: Any) -> corral_jobqueue.JobQueueCluster:
    arguments = {**SIZE, **NEEDED.get(class_name, {}), **said}
    if "config_name" in said:
        arguments = said
    cluster: corral_jobqueue.JobQueueCluster = getattr(corral_jobqueue, class_name)(**arguments)
    return cluster


async def script(class_name: str, **said: Any) -> str:
    """Of a cluster that nobody awaits, and that so starts nothing."""
    cluster = made(class_name, asynchronous=True, **said)
    text = cluster.job_script()
    await cluster.close()
    return text


def cases() -> Iterator[Any]:
    for class_name in KINDS:
        for argument, (value, pattern) in {**EVERYWHERE, **OWN[class_name]}.items():
            own = pattern.replace("--job-name=", NAMES.get(class_name, "--job-name="))
            own = own.replace("--job-name=", "--name=") if class_name == "LocalCluster" else own
            yield pytest.param(class_name, argument, value, own, id=f"{class_name}-{argument}")


@pytest.mark.parametrize(("class_name", "argument", "value", "pattern"), list(cases()))
@pytest.mark.asyncio
async def test_an_argument_shows_what_it_does(class_name: str, argument: str, value: Any, pattern: str) -> None:
    """In the script; some change nothing in it, and are accepted."""
    if class_name not in PLAIN:
        PLAIN[class_name] = await script(class_name)
    assert re.search(pattern, await script(class_name, **{argument: value}))
    assert not pattern or not re.search(pattern, PLAIN[class_name])


@pytest.mark.parametrize("class_name", KINDS)
def test_no_argument_is_forgotten_here(class_name: str) -> None:
    named = {*JOB_ARGUMENTS, *CLUSTER_ARGUMENTS, *KINDS[class_name].own} - {"queue"}
    assert named <= {*EVERYWHERE, *OWN[class_name], *NOT_IN_SCRIPTS} | ({"shebang"} if class_name[0] == "H" else set())


# --- what scripts do not show -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_words_leave_directives_out() -> None:
    """The old word, too."""
    for word in ("job_directives_skip", "header_skip"):
        text = await script("SLURMCluster", **{word: ["--mem", "another-text"]})
        assert "#SBATCH --mem" not in text
        assert "#SBATCH --cpus-per-task=4" in text


@pytest.mark.asyncio
async def test_workers_have_nannies_whatever_is_said() -> None:
    assert "corral.launch" in await script("SLURMCluster", nanny=False)


@pytest.mark.asyncio
async def test_a_command_of_ones_own_for_workers_is_refused() -> None:
    """corral starts them itself; what to write instead is said."""
    assert "corral.launch" in await script("SLURMCluster", worker_command="distributed.cli.dask_worker")
    with pytest.raises(ValueError, match="worker_class="):
        made("SLURMCluster", worker_command="my.worker")


@pytest.mark.parametrize(("argument", "value"), [("dashboard_address", ":8787"), ("host", "here")])
def test_what_belongs_to_the_scheduler_is_refused_elsewhere(argument: str, value: str) -> None:
    with pytest.raises(ValueError, match="scheduler_options"):
        made("SLURMCluster", **{argument: value})


def test_what_belongs_to_the_program() -> None:
    """Jobs at once, a plain scheduler on an address of one's own, and no messages of Dask's."""
    options = {"host": "127.0.0.1", "dashboard_address": ":0"}
    with made("LocalCluster", protocol="tcp", scheduler_options=options, silence_logs="error", n_workers=0) as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        assert cluster.requested == set()
    with pytest.raises(ValueError, match="job_cls"):
        corral_jobqueue.JobQueueCluster(**SIZE)


def test_security_is_tls_unless_it_is_said_otherwise() -> None:
    with made("LocalCluster", interface="lo", security=True) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
    with made("LocalCluster", interface="lo", security=Security.temporary()) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
