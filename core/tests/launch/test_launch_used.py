"""What workers say that they have used."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from corral.launch.used import USED

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster


async def said(cluster: Cluster, key: str, than: float) -> dict[str, Any]:
    """What the only worker says, once it says more than this."""
    [worker] = cluster.scheduler.workers.values()

    def says_more() -> bool:
        return bool(worker.metrics[USED][key] > than)

    # The scheduler tells of transitions, not of heartbeats; each task makes some.
    async with cluster.client() as client:
        deadline = time.monotonic() + 30
        while not says_more():
            assert time.monotonic() < deadline, worker.metrics[USED]
            await client.submit(time.sleep, 0.05, pure=False)
    return dict(worker.metrics[USED])


def busy() -> None:
    """Half a second of a core."""
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass


async def test_a_worker_says_its_peak_of_memory(cluster: Cluster) -> None:
    """Also when it has given back what it used, and with the first word."""
    await cluster.connect("--workers=1")
    [worker] = cluster.scheduler.workers.values()
    before = worker.metrics[USED]["memory"]
    assert 20e6 < before < 500e6
    async with cluster.client() as client:
        await client.submit(lambda: len(b"x" * 300_000_000))

    used = await said(cluster, "memory", before + 290e6)

    assert used["memory"] < before + 400e6
    assert not used["has_programs"]


async def test_a_worker_says_the_time_of_its_cores(cluster: Cluster) -> None:
    """Its own: the zygote's, of which it is a fork, is not counted."""
    await cluster.connect("--workers=1")
    async with cluster.client() as client:
        await client.submit(busy)

    assert (await said(cluster, "cores", 0.5))["cores"] < 5


async def test_a_worker_says_that_tasks_run_programs(cluster: Cluster) -> None:
    """Their memory is not seen: nothing must be concluded from what is."""
    await cluster.connect("--workers=1")
    async with cluster.client() as client:
        code = "import time\nend = time.process_time() + 1.1\nwhile time.process_time() < end: pass"
        await client.submit(subprocess.run, [sys.executable, "-c", code])
        await client.submit(busy)
    # Said after its end.
    assert (await said(cluster, "cores", 0.5))["has_programs"]


async def test_a_worker_says_that_a_program_is_running(cluster: Cluster) -> None:
    """As long as it does, and however little it has used."""
    await cluster.connect("--workers=1")
    async with cluster.client() as client:
        child = client.submit(lambda: subprocess.Popen(["cat"], stdin=subprocess.PIPE), actor=True)
        assert (await said(cluster, "has_programs", 0))["has_programs"]
        del child
