"""Which job, which node, until when, with which GPUs: what a launcher is told, and what it makes of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from corral.host.cpus import share
from corral.host.gpus import Gpus
from corral.launch.ending import Ended
from corral.launch.options import Options
from corral.launch.place import HANDED_DOWN, Place, find_place, handed_down, read, told, written
from corral.plugin import discovery
from corral.plugin.values import Allocation, JobId

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster

    Grant = Callable[..., tuple[list[str], dict[str, str]]]

HOST = socket.gethostname()


@pytest.fixture
def granted(tmp_path, monkeypatch):
    """What the batch system of the test says that it granted; returns the arguments and variables to read it."""
    pretend = str(Path(__file__).parent / "pretend")
    monkeypatch.syspath_prepend(pretend)

    def grant(**fields: Any) -> tuple[list[str], dict[str, str]]:
        file = tmp_path / "allocation.json"
        file.write_text(json.dumps({"job_id": "5", "hosts": [HOST], **fields}))
        return ["--backend=pretend"], {"PYTHONPATH": pretend, "PRETEND_ALLOCATION": str(file)}

    return grant


def options(*arguments: str) -> Options:
    return Options.parse(["--credentials=x", *arguments])


async def test_workers_are_named_after_the_batch_system_if_it_is_not_the_cluster_s(granted: Grant) -> None:
    """On every node; the batch system itself knows its job by the plain id."""
    arguments, environ = granted(hosts=[HOST, "b"], attempt=1)
    there = options(*arguments, "--system=pbs")
    place = await find_place(there, {**environ, "CORRAL_JOB_ID": "5"})
    assert place.worker_name(1, workers=4) == "pbs:5.r1-1"
    assert str(place.allocation.job_id) == "5"
    assert place.manager is not None
    other = await find_place(there, {HANDED_DOWN: handed_down(place.allocation, place.manager)})
    assert other.worker_name(1, workers=4) == "pbs:5.r1-1"


async def test_the_batch_system_knows_best(granted: Grant) -> None:
    """Attempt and end time come from the batch system, the id from the job's script."""
    arguments, environ = granted(ends=5000.0, attempt=2)

    place = await find_place(options(*arguments, "--walltime=60"), {**environ, "CORRAL_JOB_ID": "5[1]"})

    assert place.allocation.job_id == JobId("5[1]")
    assert place.allocation.ends == 5000.0
    assert place.is_alone
    assert place.worker_name(1, workers=4) == "5[1].r2-1"


async def test_without_a_batch_system() -> None:
    """The walltime counts from the start of the process, which the job's script was before it became the launcher."""
    place = await find_place(options("--walltime=3600"), {"CORRAL_JOB_ID": "77_3"})

    started = time.time() - (time.monotonic() - _monotonic_start())
    assert place.allocation.hosts == (HOST,)
    assert place.allocation.ends == pytest.approx(started + 3600, abs=1)
    assert place.worker_name(0, workers=1) == "77_3-0"


def _monotonic_start() -> float:
    import psutil

    return time.monotonic() - (time.time() - psutil.Process().create_time())


def test_the_prologue_counts() -> None:
    """What the script did before `exec` is part of the job's time."""
    script = (
        "sleep 1; exec " + sys.executable + " -c 'import time; from corral.launch.place import process_started; "
        "print(time.time() - process_started())'"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert 1 <= float(done.stdout) < 4


async def test_a_batch_system_that_does_not_answer(granted: Grant, capfd: pytest.CaptureFixture[str]) -> None:
    """Workers are worth more than a precise end time: the job's log says what is not known."""
    arguments, environ = granted()

    place = await find_place(
        options(*arguments, "--walltime=60"),
        {**environ, "PRETEND_ALLOCATION": "/no/such/file", "CORRAL_JOB_ID": "77"},
    )

    assert place.allocation.job_id == JobId("77")
    assert place.allocation.ends is not None
    assert "/no/such/file" in capfd.readouterr().err


def test_a_place_is_found_without_dask_and_other_backends(granted: Grant) -> None:
    """Each worker would wait for them; and which Dask there is, the program's search path says later."""
    code = """
import asyncio, os, sys
import corral.launch.__main__
from corral.launch.options import Options
from corral.launch.place import find_place
place = asyncio.run(find_place(Options.parse(["--credentials=x", *sys.argv[1:]]), os.environ))
print(place.allocation.job_id, *sorted(name for name in sys.modules if name == "dask" or name.startswith("corral_")))
"""
    arguments, environ = granted()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "5 corral_pretend\n"


def test_workers_are_numbered_over_the_whole_job() -> None:
    """Names are unique in the cluster: three nodes with four workers each."""
    allocation = Allocation(job_id=JobId("8"), hosts=("a", "b", "c"))

    names = [Place(allocation=allocation, node_index=node).worker_name(i, 4) for node in range(3) for i in range(4)]

    assert names == [f"8-{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("hosts", "environ", "index"),
    [
        (("a", HOST, "b"), {}, 1),
        (("a.site.org", f"{HOST}.site.org"), {}, 1),
        ((HOST, HOST), {"PMI_RANK": "1"}, 1),
        (("x", "y", "z"), {"SLURM_NODEID": "2", "PMI_RANK": "1"}, 2),
    ],
)
async def test_which_node_this_is(hosts: tuple[str, ...], environ: dict[str, str], index: int) -> None:
    """By the host's name, with or without its domain; by the batch system's or a launcher's number where names fail."""
    allocation = Allocation(job_id=JobId("8"), hosts=hosts, cores=4, ends=7.0, attempt=1)

    place = await find_place(options(), {HANDED_DOWN: handed_down(allocation, discovery.load("slurm")), **environ})

    assert place.node_index == index
    assert place.allocation == allocation
    assert place.is_alone


async def test_what_a_launcher_knows_goes_inside_with_it() -> None:
    """All of it, whatever a plugin says of its job, and although the environment there says something else."""
    allocation = Allocation(
        job_id=JobId("8", where="other"), hosts=("a", "b"), cores=4, memory=9, ends=7.5, attempt=1,
        gpus=Gpus({"nvidia": ("GPU-5", "6"), "amd": ("0",)}, of_node=("2", "3")),
    )  # fmt: skip
    place = Place(allocation=allocation, node_index=1)
    elsewhere = {HANDED_DOWN: handed_down(Allocation(job_id=JobId("9"), hosts=("x",)), discovery.load("local"))}
    found = await find_place(options(f"--allocation={told(place)}"), elsewhere)
    assert found == place
    assert found.allocation.job_id.where == "other"


async def test_the_other_nodes_of_a_job_start_where_its_script_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Remote shells start at home; a folder that this node has not is a line in the log."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    handed = handed_down(Allocation(job_id=JobId("8"), hosts=(HOST,)), discovery.load("local"))
    monkeypatch.chdir(tmp_path)

    await find_place(options(), {HANDED_DOWN: handed})
    assert Path.cwd() == tmp_path / "project"

    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").rmdir()
    await find_place(options(), {HANDED_DOWN: handed})
    assert "project: No such file or directory; the job is in" in capfd.readouterr().err


@pytest.mark.parametrize(
    "gpus", [Gpus(), Gpus({"amd": ("4", "6"), "intel": ("0.1",)}, of_node=("2", "3")), Gpus.of(["MIG-a", "MIG-b"])]
)
def test_what_is_written_down_is_read_again(gpus: Gpus) -> None:
    """By way of JSON, which has neither tuples nor classes of ours."""
    allocation = Allocation(job_id=JobId("8"), hosts=("a", "b"), cores=4, memory=7, gpus=gpus, ends=7.5, attempt=1)

    assert read(json.loads(json.dumps(written(allocation)))) == allocation


async def test_an_unknown_node() -> None:
    """A node that cannot be told from the others must not take another one's names."""
    allocation = Allocation(job_id=JobId("8"), hosts=("x", "y"))

    with pytest.raises(Ended, match=f"host '{HOST}' is not one of the job's"):
        await find_place(options(), {HANDED_DOWN: handed_down(allocation, discovery.load("local"))})


@pytest.mark.parametrize(
    ("gpus", "workers", "shares"),
    [
        ("0123", 2, ["01", "23"]),
        ("0123", 1, ["0123"]),
        ("01234", 2, ["01", "234"]),
        ("01", 4, ["0", "0", "1", "1"]),
    ],
)
def test_shares_of_gpus(gpus: str, workers: int, shares: list[str]) -> None:
    """Every GPU is somebody's, and every worker has one."""
    assert ["".join(share(tuple(gpus), worker, workers)) for worker in range(workers)] == shares


async def test_several_nodes(cluster: Cluster, granted: Grant) -> None:
    """The first launcher starts one on each node; retiring one of them retires the job, with one exit code."""
    arguments, environ = granted(hosts=[HOST, HOST], job_id="8")

    launched = await cluster.start(*arguments, "--workers=2", job="8", **environ)
    await cluster.log.wait_for(lambda: cluster.names == {"8-0", "8-1", "8-2", "8-3"})
    await cluster.log.wait_for(lambda: len(cluster.log.reports) == 2)
    launched.descendants()
    await cluster.nanny("8-3").corral_retire(reason="test")
    code, log = await launched.end()

    assert {report["node"] for report in cluster.log.reports} == {0, 1}
    assert code == 0
    assert "2 hosts" in log
    assert not cluster.names
    assert await launched.nothing_is_left()


async def test_several_nodes_are_signalled(cluster: Cluster, granted: Grant) -> None:
    """A signal to the job's script reaches the launchers of all nodes."""
    arguments, environ = granted(hosts=[HOST, HOST], job_id="8")
    launched = await cluster.start(*arguments, job="8", **environ)
    await cluster.log.wait_for(lambda: len(cluster.log.reports) == 2)
    launched.descendants()

    launched.signal(signal.SIGTERM)
    code, _ = await launched.end()

    assert code == 0
    assert [report["reason"] for report in cluster.log.reports if report["event"] == "left"] == ["signal"] * 2
    assert await launched.nothing_is_left()
