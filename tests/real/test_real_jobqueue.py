"""Scripts that were written for dask-jobqueue, on a real Slurm, with nothing but the import changed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Client, Security
from real_life import jobqueue_jobs

from corral import JobState
from corral_jobqueue import SLURMCluster
from corral_jobqueue.slurm import SLURMJob

pytestmark = [
    pytest.mark.real("slurm"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::corral_jobqueue.ChangedWarning"),
]

Eventually = Callable[..., None]
SMALL = jobqueue_jobs(cores=1, processes=1, memory="200MB")


@pytest.mark.usefixtures("leaves_nothing")
def test_the_common_example(slurm: Any, eventually: Eventually) -> None:
    with pytest.warns(FutureWarning, match="project has been renamed"):
        cluster = SLURMCluster(**{**SMALL, "project": SMALL.get("account", "root"), "account": None})
    with cluster, Client(cluster) as client:
        cluster.scale(2)
        client.wait_for_workers(2, timeout=90)
        assert 2 == len(cluster.workers)
        assert cluster.plan == cluster.requested == cluster.observed
        cluster.adapt(minimum=1, maximum=3, wait_count=2, interval="500ms")
        assert 45 == client.submit(sum, range(10)).result(60)
        eventually(lambda: 1 == len(cluster.observed), lambda: repr(cluster))
        assert "Scheduler" in cluster.get_logs()
    assert {} == slurm.queue(cluster.name)


@pytest.mark.usefixtures("leaves_nothing")
def test_an_adapting_cluster_is_waited_for(slurm: Any) -> None:
    """The jobs come with the work, also where a client has asked for them first."""
    with SLURMCluster(**SMALL) as cluster, Client(cluster) as client:
        cluster.adapt(minimum_jobs=1, maximum_jobs=2)
        client.wait_for_workers(1, timeout=90)
        assert 3 == client.submit(sum, [1, 2]).result(60)


@pytest.mark.usefixtures("leaves_nothing")
def test_everything_in_the_configuration(tmp_path: Path) -> None:
    asked = jobqueue_jobs(
        cores=2, processes=2, walltime="00:05:00", extra_directives=["--comment=climate"], prologue=["export FIRST=1"]
    )
    section = {
        **{name.replace("_", "-"): value for name, value in asked.items()},
        "name": "mine", "local-directory": str(tmp_path / "spill"), "log-directory": str(tmp_path / "logs"),
        "worker-extra-args": ["--resources FOO=2", "--lifetime 1h"],
    }  # fmt: skip
    with dask.config.set({"jobqueue.site": section}), SLURMCluster(config_name="site") as cluster:
        cluster.scale(jobs=1)
        with Client(cluster) as client:
            client.wait_for_workers(2, timeout=90)
            assert {"1"} == set(client.run(lambda: os.environ["FIRST"]).values())
            assert 2 == client.submit(abs, -2, resources={"FOO": 1}).result(60)
        [job] = cluster.jobs
        assert job.name.startswith("mine-")
        assert Path(str(job.log)).parent == tmp_path / "logs"


def test_asynchronous(slurm: Any) -> None:
    import asyncio

    async def main() -> int:
        async with SLURMCluster(**SMALL, asynchronous=True) as cluster:
            cluster.scale(jobs=2)
            await cluster
            assert 2 == len(cluster.workers)
            async with Client(cluster, asynchronous=True) as client:
                await client.wait_for_workers(2, timeout=90)
                return int(await client.submit(sum, [1, 2]))

    assert 3 == asyncio.run(main())


def test_a_security_of_the_users_own(tmp_path: Path) -> None:
    """In files, as dask-jobqueue wants it, or in memory, for which it wants a shared folder."""
    security = Security.temporary()
    with SLURMCluster(**SMALL, security=security, protocol="tls", shared_temp_directory=str(tmp_path)) as cluster:
        cluster.scale(1)
        with Client(cluster, security=security) as client:
            assert 11 == client.submit(lambda x: x + 1, 10).result(90)
    with SLURMCluster(**SMALL, protocol="tcp://") as cluster:
        assert cluster.scheduler_address.startswith("tcp://")


# --- what goes wrong with dask-jobqueue -----------------------------------------------------------------------------


@pytest.mark.usefixtures("leaves_nothing")
def test_a_submission_that_fails_is_tried_again(tmp_path: Path) -> None:
    """dask-jobqueue counts on the job for ever. And a class may name the command that submits."""
    script = tmp_path / "sbatch.sh"
    script.write_text(
        f'#!/bin/sh\nif mkdir {tmp_path}/tried; then echo "sbatch: error: Batch job submission failed: '
        'Socket timed out on send/recv operation" >&2; exit 1; fi\nexec sbatch "$@"\n'
    )
    script.chmod(0o755)
    job_cls = type("Hesitant", (SLURMJob,), {"submit_command": str(script)})
    with SLURMCluster(job_cls=job_cls, **SMALL) as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=120)
        assert (tmp_path / "tried").is_dir()


@pytest.mark.usefixtures("leaves_nothing")
def test_a_dead_job_of_two_workers_is_seen_and_replaced(slurm: Any, eventually: Eventually) -> None:
    """To dask-jobqueue it is running for ever."""
    with SLURMCluster(**{**SMALL, "cores": 2, "processes": 2, "memory": "400MB"}) as cluster:
        cluster.scale(jobs=1)
        cluster.wait_for_workers(2, timeout=90)
        [first] = cluster.jobs
        slurm.run("scancel", "--signal=KILL", "--full", first.id.text)
        eventually(lambda: cluster.failures, lambda: repr(cluster))
        eventually(lambda: 1 == len([job for job in cluster.jobs if job.is_connected]), lambda: repr(cluster.jobs))
        cluster.wait_for_workers(2, timeout=90)
        assert first.id not in [job.id for job in cluster.jobs if job.state is JobState.RUNNING]


# --- classes of computing centres ------------------------------------------------------------------------------------


class SiteJob(SLURMJob):
    """Knows its site: queue by walltime, and what its nodes need."""

    config_name = "site"

    def __init__(self, *arguments: Any, gpus: int = 0, **further: Any) -> None:
        for name, value in SMALL.items():
            further.setdefault(name, value)
        super().__init__(*arguments, **further)
        if gpus:
            self.job_header += f"\n#SBATCH --gres=gpu:{gpus}"
        self.job_header += "\n#SBATCH --comment=site"


class SiteCluster(SLURMCluster):
    """Asks for what its users say in words of its own."""

    job_cls = SiteJob

    def __init__(self, *, size: str = "small", **further: Any) -> None:
        further = {"memory": {"small": "200MB", "large": "400MB"}[size], **further}
        super().__init__(**further)

    async def _start(self) -> None:
        await super()._start()
        self._job_kwargs["job_script_prologue"] = ["export PREPARED=yes"]


@pytest.mark.needs("testbed")
@pytest.mark.usefixtures("leaves_nothing")
def test_a_class_of_a_computing_centre(slurm: Any) -> None:
    with SiteCluster(size="large") as cluster, Client(cluster) as client:
        cluster.scale(1)
        client.wait_for_workers(1, timeout=90)
        assert {"yes"} == set(client.run(lambda: os.environ["PREPARED"]).values())
        [job] = cluster.jobs
        assert "site" == slurm.run("squeue", "-h", "-j", job.id.text, "-o", "%k").strip()


@pytest.mark.needs("testbed")
def test_the_runner(tmp_path: Path) -> None:
    """Its example as it is written, but for the import."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from dask.distributed import Client
            from corral_jobqueue.slurm import SLURMRunner
            with SLURMRunner(scheduler_file="address-{job_id}.json") as runner:
                with Client(runner) as client:
                    client.wait_for_workers(2)
                    assert client.submit(lambda x: x + 1, 10).result() == 11
                    assert client.submit(lambda x: x + 1, 20, workers=2).result() == 21
                    import glob
                    print("passed", len(glob.glob("address-*.json")))
        """)
    )
    done = subprocess.run(
        ["srun", "-p", "batch", "-n", "4", "--overcommit", sys.executable, str(script)],
        check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (0, "passed 1\n") == (done.returncode, done.stdout), done.stderr
