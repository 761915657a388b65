"""How a launcher ends: with which code, which last words, and nothing left behind."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from attrs import evolve

from corral.launch import contact
from corral.security.credentials import Credentials

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_cluster_ends(cluster: Cluster, launcher: str) -> None:
    """When the scheduler is closed, the job ends as it was meant to."""
    launched = await cluster.connect("--workers=2", f"--launcher={launcher}")

    await cluster.scheduler.close()
    code, log = await launched.end()

    assert code == 0
    assert "the cluster has ended" in log
    assert "Traceback" not in log
    assert await launched.nothing_is_left()


async def test_cluster_ended_before(cluster: Cluster, tmp_path: Path) -> None:
    """A job that starts after its cluster was closed says so without waiting for more, and is no failure."""
    cluster.path.unlink()
    began = time.monotonic()
    launched = await cluster.start()

    code, log = await launched.end()

    assert code == 0
    assert "the cluster has ended" in log
    assert time.monotonic() - began < contact._HIDDEN / 2


async def test_credentials_that_come_late(cluster: Cluster) -> None:
    """A file server may show a new file to other hosts only after a while."""
    cluster.path.rename(cluster.path.with_suffix(".hidden"))
    launched = await cluster.start(f"--cluster-created={time.time()}")
    with pytest.raises(TimeoutError):
        await launched.end(timeout=1)

    cluster.path.with_suffix(".hidden").rename(cluster.path)

    await cluster.report("ready")


async def test_credentials_that_others_could_read(cluster: Cluster) -> None:
    """Such credentials are not used, and the log says why."""
    cluster.path.chmod(0o644)
    launched = await cluster.start()

    code, log = await launched.end()

    assert code == 1
    assert "others could use your cluster" in log


async def test_scheduler_is_dead(cluster: Cluster) -> None:
    """A killed cluster leaves its credentials: the job names what it tried, and ends before long."""
    addresses = (f"tls://127.0.0.1:{unused_port()}", f"tls://127.0.0.2:{unused_port()}")
    cluster.path.unlink()
    evolve(cluster.credentials, addresses=addresses).write(cluster.path)
    began = time.monotonic()
    launched = await cluster.start()

    code, log = await launched.end()

    assert code == 69
    assert all(f"{address}: connection refused" in log for address in addresses)
    assert 8 < time.monotonic() - began < 30


async def test_first_address_that_belongs_to_the_cluster(cluster: Cluster) -> None:
    """Addresses that refuse, are silent, or belong to somebody else are passed over."""
    stranger = Credentials.create(cluster="other")
    from distributed import Scheduler

    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        async with Scheduler(
            host="127.0.0.1", protocol="tls", port=0, security=stranger.security(), dashboard_address="127.0.0.1:0"
        ) as other:
            addresses = (
                f"tls://127.0.0.1:{unused_port()}",
                f"tls://127.0.0.1:{silent.getsockname()[1]}",
                other.address,
                *cluster.credentials.addresses,
            )
            cluster.path.unlink()
            evolve(cluster.credentials, addresses=addresses).write(cluster.path)

            await cluster.connect()

            assert not other.workers


async def test_scheduler_vanishes(cluster: Cluster, tmp_path: Path) -> None:
    """When the client was killed, its jobs end within seconds of noticing it."""
    launched = await cluster.connect("--workers=2")
    # What the kernel does when the scheduler's process dies: connections break, nobody listens, nobody says goodbye.
    cluster.break_connections()
    for listener in cluster.scheduler.listeners:
        listener.stop()

    code, log = await launched.end()

    assert code == 69
    assert f"{cluster.scheduler.address}: connection refused" in log
    assert "Traceback" not in log
    assert await launched.nothing_is_left()


async def test_connection_breaks(cluster: Cluster) -> None:
    """Workers that lost their connection to a living scheduler come back."""
    await cluster.connect("--workers=2")
    before = set(cluster.scheduler.workers)

    cluster.break_connections()

    await cluster.log.wait_for(
        lambda: cluster.names == {"77_0-0", "77_0-1"} and not before & set(cluster.scheduler.workers)
    )


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_killed_launcher_leaves_nothing(cluster: Cluster, launcher: str) -> None:
    """kill -9 of the launcher ends all its processes."""
    launched = await cluster.connect("--workers=2", f"--launcher={launcher}")
    workers = {psutil.Process(cluster.pid(name)) for name in cluster.names}
    assert workers <= launched.descendants()

    launched.process.kill()

    code, _ = await launched.end()
    assert code == -signal.SIGKILL
    if launcher == "fork":
        assert await launched.nothing_is_left()
    else:
        await cluster.log.wait_for(lambda: not cluster.names)


async def test_what_a_killed_job_left_is_removed_by_the_next(cluster: Cluster, tmp_path: Path) -> None:
    """When all processes of a job are killed at once, the next launcher on that host tidies up; a living one stays."""
    shared = tmp_path / "scratch"
    shared.mkdir()
    option = f"--local-directory={shared}"
    killed = await cluster.connect(option, job="1")
    [leftover] = shared.iterdir()
    living = await cluster.connect(option, job="2")
    [neighbour] = set(shared.iterdir()) - {leftover}
    for process in [*killed.descendants(), psutil.Process(killed.process.pid)]:
        process.suspend()
    for process in [*killed.descendants(), psutil.Process(killed.process.pid)]:
        process.kill()
    await killed.end()

    await cluster.connect(option, job="3")

    async with asyncio.timeout(10):
        while leftover.exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    assert neighbour.exists()
    assert living.process.returncode is None


async def test_killed_zygote_ends_the_job(cluster: Cluster) -> None:
    """Without the process that forks workers there can be no more of them: the job fails, and says so."""
    launched = await cluster.connect("--workers=2")
    [zygote] = psutil.Process(launched.process.pid).children()

    zygote.kill()
    code, log = await launched.end()

    assert code == 1
    assert "given up" in log
    assert await launched.nothing_is_left()


async def test_asked_to_stop(cluster: Cluster) -> None:
    """corral_stop ends the job now; the tasks that were running are to blame for nothing."""
    launched = await cluster.connect("--workers=2")
    async with cluster.client() as client:
        future = client.submit(time.sleep, 60)
        await cluster.log.wait_for(lambda: any(worker.processing for worker in cluster.scheduler.workers.values()))

        assert await cluster.nanny("77_0-1").corral_stop() == "OK"
        code, _ = await launched.end(timeout=10)

        assert code == 0
        assert cluster.scheduler.tasks[future.key].suspicious == 0
    assert not cluster.names
    assert await launched.nothing_is_left()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "--credentials"),
        (("--credentials=x", "--workers=0"), "--workers"),
        (("--credentials=x", "--workers=many"), "'many' is not a number"),
        (("--credentials=x", "--walltime=nan"), "--walltime"),
        (("--credentials=x", "--worker-ports=9000"), "10000:10100"),
        (("--credentials=x", "--worker-ports=9000:9002", "--workers=2"), "3 ports are too few for 2 workers"),
        (("--credentials=x", "--worker-options=[]"), "not a JSON object"),
        (("--credentials=x", '--worker-options={"name": 1}'), "'name'"),
        (("--credentials=x", "--worker=2"), "--worker"),
        (("--credentials=x", "--launcher=exec"), "--launcher"),
    ],
)
async def test_wrong_command_lines(
    arguments: tuple[str, ...], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrong argument is named, with code 2."""
    from corral.launch.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert complaint in capfd.readouterr().err


async def test_no_job_id(cluster: Cluster) -> None:
    """A launcher that no job's script has started says so."""
    launched = await cluster.start(job="")

    code, log = await launched.end()

    assert code == 2
    assert "CORRAL_JOB_ID is not set" in log
