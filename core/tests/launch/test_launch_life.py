"""What a Dask user expects of workers, kept by workers that a zygote forks."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from distributed import KilledWorker, Nanny
from distributed.diagnostics.plugin import NannyPlugin

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_workers_compute(cluster: Cluster, launcher: str) -> None:
    """Workers connect over TLS, are named after their job, and compute."""
    await cluster.connect("--workers=2", "--threads=3", f"--launcher={launcher}")

    assert cluster.names == {"77_0-0", "77_0-1"}
    assert all(worker.nthreads == 3 for worker in cluster.scheduler.workers.values())
    assert all(address.startswith("tls://127.0.0.1:") for address in cluster.scheduler.workers)
    async with cluster.client() as client:
        assert await client.submit(sum, [1, 2, 3]) == 6


async def test_ready_is_reported(cluster: Cluster) -> None:
    """The launcher says who it is, where, until when, and how long each step took."""
    await cluster.connect("--workers=1", "--job-name=corral-7", "--group=gpu", "--walltime=3600")

    ready = await cluster.report("ready")

    assert (ready["name"], ready["group"], ready["attempt"]) == ("corral-7", "gpu", 0)
    assert ready["hosts"] == (os.uname().nodename,)
    assert 3500 < ready["ends"] - cluster.scheduler.time_started < 3700
    assert set(ready["seconds"]) == {"credentials", "import", "zygote", "workers"}


async def test_strings_hash_alike_everywhere(cluster: Cluster) -> None:
    """dask.bag partitions by hash(): it must be the same in all jobs, and after a worker's restart."""
    await cluster.connect("--workers=2", job="1")
    await cluster.connect("--workers=2", job="2")
    async with cluster.client() as client:
        before = await client.run(hash, "x")
        assert len(before) == 4
        await client.restart()
        after = await client.run(hash, "x")

    assert not before.keys() & after.keys()
    assert len({*before.values(), *after.values()}) == 1


async def test_strings_hash_alike_without_a_seed(cluster: Cluster) -> None:
    """A launcher that was started without PYTHONHASHSEED starts again with one."""
    await cluster.connect(job="1", PYTHONHASHSEED="random")
    await cluster.connect(job="2", PYTHONHASHSEED="random")

    async with cluster.client() as client:
        hashes = await client.run(hash, "x")

    assert len(hashes) == 2
    assert len(set(hashes.values())) == 1


async def test_chance_is_not_shared(cluster: Cluster) -> None:
    """Workers are copies of one process; their random numbers are not."""
    await cluster.connect("--workers=3")
    async with cluster.client() as client:
        for draw in (lambda: random.random(), lambda: uuid.uuid4().hex):  # noqa: PLW0108 - pickled, it would draw here
            assert len(set((await client.run(draw)).values())) == 3


async def test_restart(cluster: Cluster) -> None:
    """client.restart() gives new processes under the old names, without what the old ones knew."""
    await cluster.connect("--workers=2")
    async with cluster.client() as client:
        future = client.submit(lambda: 1, pure=False)
        await future
        before = {cluster.pid(name) for name in cluster.names}

        await client.restart(timeout=20)

        assert future.status == "cancelled"
        assert cluster.names == {"77_0-0", "77_0-1"}
        assert not before & {cluster.pid(name) for name in cluster.names}


async def test_restart_of_one_worker(cluster: Cluster) -> None:
    """client.restart_workers restarts that one only."""
    await cluster.connect("--workers=2")
    before = {name: cluster.pid(name) for name in cluster.names}
    async with cluster.client() as client:
        await client.restart_workers([cluster.scheduler.aliases["77_0-1"]], timeout=20)

    assert cluster.pid("77_0-0") == before["77_0-0"]
    assert cluster.pid("77_0-1") != before["77_0-1"]


async def test_nanny_plugin(cluster: Cluster) -> None:
    """A nanny plugin that asks for a restart changes what the workers' processes start with."""

    class Variable(NannyPlugin):
        name = "variable"
        restart = True

        async def setup(self, nanny: Nanny) -> None:
            os.environ["SEEN_BY_NANNY"] = "yes"
            nanny.env["SEEN_BY_WORKER"] = "yes"

    def seen() -> tuple[Any, Any]:
        return os.environ.get("SEEN_BY_NANNY"), os.environ.get("SEEN_BY_WORKER")

    await cluster.connect("--workers=2")
    async with cluster.client() as client:
        assert set((await client.run(seen)).values()) == {(None, None)}
        await client.register_plugin(Variable())
        assert list((await client.run(seen)).values()) == [("yes", "yes")] * 2


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_killed_worker_comes_back(cluster: Cluster, launcher: str) -> None:
    """kill -9 of a worker's process costs that process, not the job."""
    await cluster.connect("--workers=2", f"--launcher={launcher}")
    victim = cluster.pid("77_0-0")

    os.kill(victim, signal.SIGKILL)

    await cluster.log.wait_for(lambda: cluster.names == {"77_0-0", "77_0-1"} and cluster.pid("77_0-0") != victim)
    async with cluster.client() as client:
        assert await client.submit(lambda: 1, workers="77_0-0") == 1


async def test_memory_hog(cluster: Cluster) -> None:
    """A task that wants more memory than its worker may have ends as KilledWorker, and the worker comes back."""
    await cluster.connect("--memory-limit=300000000")

    def hog() -> int:
        blocks = []
        while True:
            blocks.append(bytearray(20_000_000))

    async with cluster.client() as client:
        with pytest.raises(KilledWorker):
            await client.submit(hog)
        await cluster.log.wait_for(lambda: cluster.names == {"77_0-0"})
        assert await client.submit(lambda: 1, pure=False) == 1


async def test_worker_options(cluster: Cluster) -> None:
    """Options reach the worker: resources, another class, and the variables of its environment."""
    options = '{"resources": {"disk": 2}, "env": {"COLOUR": "red"}, "worker_class": "distributed.worker.Worker"}'
    await cluster.connect(f"--worker-options={options}")

    [worker] = cluster.scheduler.workers.values()
    assert worker.resources == {"disk": 2}
    async with cluster.client() as client:
        assert await client.submit(os.getenv, "COLOUR") == "red"


async def test_gpus_are_divided(cluster: Cluster) -> None:
    """Each worker of a node sees its own GPUs, and offers as many to tasks that ask for them."""
    await cluster.connect("--workers=2", "--gpus=4", CUDA_VISIBLE_DEVICES="0,1,GPU-a,GPU-b")

    async with cluster.client() as client:
        seen = await client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    by_name = {cluster.scheduler.workers[address].name: devices for address, devices in seen.items()}
    assert by_name == {"77_0-0": "0,1", "77_0-1": "GPU-a,GPU-b"}
    assert all(worker.resources == {"GPU": 2} for worker in cluster.scheduler.workers.values())


async def test_tasks_may_start_programs_that_hear_signals(cluster: Cluster) -> None:
    """Workers let a batch system's SIGTERM pass, what their tasks start does not."""
    await cluster.connect()

    def end_a_program() -> int:
        import subprocess

        with subprocess.Popen(["sleep", "60"]) as program:
            program.terminate()
            return program.wait(10)

    def end_a_fork() -> int | None:
        import multiprocessing
        import time

        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=False)
        process.start()
        process.terminate()
        process.join(10)
        code = process.exitcode
        process.kill()
        return code

    async with cluster.client() as client:
        os.kill(cluster.pid("77_0-0"), signal.SIGTERM)
        assert await client.submit(end_a_program) == -signal.SIGTERM
        assert await client.submit(end_a_fork) == -signal.SIGTERM


async def test_worker_ports(cluster: Cluster) -> None:
    """Workers and nannies listen where the firewall is open, and nowhere else."""
    first = 20000 + os.getpid() % 20000
    await cluster.connect("--workers=2", f"--worker-ports={first}:{first + 9}")

    for worker in cluster.scheduler.workers.values():
        for address in (worker.address, worker.nanny):
            assert address is not None
            assert first <= int(address.rpartition(":")[2]) <= first + 9


async def test_interface(cluster: Cluster) -> None:
    """Workers use the network that they are told to use."""
    await cluster.connect("--interface=lo")

    assert all(address.startswith("tls://127.0.0.1:") for address in cluster.scheduler.workers)


async def test_a_worker_that_cannot_start_is_explained(cluster: Cluster) -> None:
    """The job's log says what is wrong, in one line without a traceback, and the cluster hears it."""
    launched = await cluster.start("--workers=2", "--interface=ib7")

    failed = await cluster.report("failed")
    code, log = await launched.end()

    assert code == 1
    assert "'ib7' is not a valid network interface" in log
    assert log.count("ib7") == 1
    assert "ib7" in failed["reason"]
    assert "Traceback" not in log
    assert await launched.nothing_is_left()


async def test_a_taken_name_is_waited_for(cluster: Cluster) -> None:
    """The scheduler may still know a worker of that name, on a host that is no more: knock until it forgets."""
    first = await cluster.connect("--workers=1")
    first_address = cluster.scheduler.aliases["77_0-0"]
    second = await cluster.start("--workers=1")
    refused = asyncio.Event()
    async with asyncio.timeout(20):
        while not refused.is_set():
            if "name taken" in second.log.read_text():
                refused.set()
            await asyncio.sleep(0.05)

    first.process.kill()

    await cluster.log.wait_for(lambda: cluster.scheduler.aliases.get("77_0-0", first_address) != first_address)
    assert "Traceback" not in second.log.read_text()


BRITTLE = """
import os, pathlib
from distributed import Worker


class Brittle(Worker):
    def __init__(self, *args, **kwargs):
        match os.environ["FLAW"], pathlib.Path(os.environ["FLAG"]).exists():
            case "raises", True:
                raise ValueError("no longer")
            case "dies", True:
                os._exit(3)
        super().__init__(*args, **kwargs)
"""


@pytest.mark.parametrize(("flaw", "reason"), [("raises", "ValueError: no longer"), ("dies", "died 3 times")])
async def test_a_worker_that_cannot_start_again(cluster: Cluster, tmp_path: Path, flaw: str, reason: str) -> None:
    """distributed would try for ever, as fast as it can: the launcher gives up and says why."""
    (tmp_path / "brittle.py").write_text(BRITTLE)
    flag = tmp_path / "flag"
    launched = await cluster.connect(
        '--worker-options={"worker_class": "brittle.Brittle"}', PYTHONPATH=str(tmp_path), FLAG=str(flag), FLAW=flaw
    )
    flag.touch()

    os.kill(cluster.pid("77_0-0"), signal.SIGKILL)
    code, log = await launched.end()

    assert code == 1
    assert reason in log
    assert await launched.nothing_is_left()
