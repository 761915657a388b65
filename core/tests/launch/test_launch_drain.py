"""Leaving before the end: no task is lost, none runs twice, and what could not be finished is told."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from distributed import rpc

from corral.cluster.scheduler import Scheduler
from corral.launch.ending import code_after
from corral.launch.run import default_lead, default_spread, leaving_time
from corral.plugin.scripting import CANCELLED_BY

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster


def recorder(path: Path):
    """A task that takes a while and writes down that it ran."""

    def record(number: int, seconds: float = 0.3) -> int:
        with path.open("a") as file:
            file.write(f"{number}\n")
        time.sleep(seconds)
        return number

    return record


def ran(path: Path) -> list[int]:
    return sorted(int(line) for line in path.read_text().splitlines()) if path.exists() else []


async def begun(path: Path, count: int = 1) -> None:
    async with asyncio.timeout(20):
        while len(ran(path)) < count:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_no_task_runs_twice(cluster: Cluster, tmp_path: Path, launcher: str) -> None:
    """After SIGTERM, what runs is finished and what has not begun goes elsewhere: 24 runs for 24 tasks."""
    leaver = await cluster.connect("--workers=2", f"--launcher={launcher}", job="1")
    await cluster.connect("--workers=1", "--threads=2", job="2")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        futures = client.map(recorder(runs), range(24))
        await begun(runs, 4)

        leaver.signal(signal.SIGTERM)
        code, log = await leaver.end()

        assert code == 0
        assert "SIGTERM" in log
        assert cluster.names == {"2-0"}
        assert await client.gather(futures) == list(range(24))
        assert all(cluster.scheduler.tasks[future.key].suspicious == 0 for future in futures)
    assert ran(runs) == list(range(24))
    assert (await cluster.report("leaving", job="1"))["reason"] == "signal"
    assert (await cluster.report("left", job="1"))["unfinished"] == 0
    assert await leaver.nothing_is_left()


async def test_a_signal_to_every_process_is_a_signal_to_the_launcher(cluster: Cluster, tmp_path: Path) -> None:
    """Batch systems signal all processes of a job, twice if the script passes it on: draining goes on undisturbed."""
    leaver = await cluster.connect("--workers=2", job="1")
    await cluster.connect("--workers=1", job="2")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        futures = client.map(recorder(runs), range(8))
        await begun(runs, 3)

        for process in leaver.descendants():
            process.send_signal(signal.SIGTERM)
        leaver.signal(signal.SIGTERM)
        leaver.signal(signal.SIGTERM)
        code, _ = await leaver.end()

        assert code == 0
        assert await client.gather(futures) == list(range(8))
    assert ran(runs) == list(range(8))


async def test_asked_to_retire(cluster: Cluster, tmp_path: Path) -> None:
    """corral_retire, called on any one of its nannies, drains the whole job; results move to the others."""
    leaver = await cluster.connect("--workers=2", job="1")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        futures = client.map(recorder(runs), range(6), seconds=0.01)
        await client.gather(futures)
        await cluster.connect("--workers=1", job="2")

        assert await cluster.nanny("1-1").corral_retire(reason="no longer wanted") == "OK"
        code, log = await leaver.end()

        assert code == 0
        assert "no longer wanted" in log
        assert await client.gather(futures) == list(range(6))
    assert ran(runs) == list(range(6))
    assert (await cluster.report("left", job="1"))["lost"] == 0


async def test_results_wait_for_another_worker(cluster: Cluster, tmp_path: Path) -> None:
    """The last job to leave keeps its results until a worker comes that can take them."""
    leaver = await cluster.connect(job="1")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        future = client.submit(recorder(runs), 1, seconds=0.01)
        await future
        await cluster.nanny("1-0").corral_retire(reason="test")
        await cluster.report("leaving", job="1")

        await cluster.connect(job="2")
        code, _ = await leaver.end()

        assert code == 0
        assert await future == 1
    assert ran(runs) == [1]


async def test_results_that_nobody_takes(cluster: Cluster, tmp_path: Path) -> None:
    """After its patience the last job goes; what it held is computed again, and told."""
    leaver = await cluster.connect(job="1")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        future = client.submit(recorder(runs), 1, seconds=0.01)
        await future

        await cluster.nanny("1-0").corral_retire(reason="test", patience=0.5)
        code, log = await leaver.end()

        assert code == 0
        assert "1 results that no worker took" in log
        assert (await cluster.report("left", job="1"))["lost"] == 1
        await cluster.connect(job="2")
        assert await future == 1
    assert ran(runs) == [1, 1]


async def test_grace_ends(cluster: Cluster, tmp_path: Path) -> None:
    """A task that takes longer than the grace runs again elsewhere; it is counted, and never blamed."""
    leaver = await cluster.connect("--grace=1", job="1")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        # The other is here before: its start must not use up the time of the task.
        await cluster.connect(job="2")
        future = client.submit(recorder(runs), 1, seconds=20, workers="1-0", allow_other_workers=True)
        await begun(runs)
        began = time.monotonic()

        leaver.signal(signal.SIGTERM)
        code, log = await leaver.end()

        assert code == 0
        assert time.monotonic() - began < 15
        assert "1 unfinished tasks" in log
        assert (await cluster.report("left", job="1"))["unfinished"] == 1
        assert cluster.scheduler.tasks[future.key].suspicious == 0
        assert await future == 1
    assert ran(runs) == [1, 1]


async def test_a_task_that_holds_the_interpreter(cluster: Cluster) -> None:
    """A worker that answers nobody cannot keep the job from ending in time."""

    def hold() -> None:
        import ctypes

        # PyDLL keeps the interpreter's lock.
        ctypes.PyDLL(None).sleep(60)

    leaver = await cluster.connect("--grace=1", job="1")
    async with cluster.client() as client:
        future = client.submit(hold)
        await cluster.log.wait_for(lambda: any(worker.processing for worker in cluster.scheduler.workers.values()))

        leaver.signal(signal.SIGTERM)
        code, _ = await leaver.end(timeout=8)

        assert code == 0
        assert cluster.scheduler.tasks[future.key].suspicious == 0
    assert await leaver.nothing_is_left()


async def test_second_signal(cluster: Cluster) -> None:
    """Signalled again, later, the launcher ends at once, with the signal's code."""
    leaver = await cluster.connect(job="1")
    async with cluster.client() as client:
        sleeping = client.submit(time.sleep, 60)
        await cluster.log.wait_for(lambda: any(worker.processing for worker in cluster.scheduler.workers.values()))
        leaver.signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            await leaver.end(timeout=2.2)

        leaver.signal(signal.SIGTERM)
        code, _ = await leaver.end(timeout=5)
        assert cluster.scheduler.tasks[sleeping.key].suspicious == 0
    assert code == 128 + signal.SIGTERM
    assert await leaver.nothing_is_left()


async def test_a_cancelled_job_says_so_where_its_exit_code_decides(cluster: Cluster) -> None:
    """OpenLava calls a job DONE that was ended by bkill and left in good order."""
    leaver = await cluster.connect(job="1", CORRAL_CANCELLED_BY="SIGINT")
    leaver.signal(signal.SIGINT)
    code, log = await leaver.end()
    assert (code, "drained" in log) == (128 + signal.SIGINT, True)


@pytest.mark.parametrize(
    ("said", "heard", "code"),
    [
        ("SIGINT", signal.SIGINT, 130),
        ("SIGINT", signal.SIGTERM, 0),
        ("SIGINT", None, 0),
        ("", signal.SIGINT, 0),
        ("nonsense", signal.SIGINT, 0),
        ("signal", signal.SIGINT, 0),
        (None, signal.SIGINT, 0),
    ],
)
def test_only_the_signal_that_cancels_is_told(said: str | None, heard: signal.Signals | None, code: int) -> None:
    """A warning before the walltime, or a batch system that knows for itself, leaves 0."""
    environ = {} if said is None else {CANCELLED_BY: said}
    assert code_after(set() if heard is None else {heard}, environ) == code


async def test_walltime(cluster: Cluster, tmp_path: Path) -> None:
    """Before its time is over, the job leaves by itself, and a task that runs is finished."""
    await cluster.connect(job="2")
    # It begins to leave after six seconds, and has thirteen more for the task.
    leaver = await cluster.connect("--walltime=20", "--lead=14", job="1")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        future = client.submit(recorder(runs), 1, seconds=7, workers="1-0", allow_other_workers=True)
        code, log = await leaver.end(timeout=30)

        assert code == 0
        assert "walltime" in log
        assert await future == 1
    assert (await cluster.report("leaving", job="1"))["reason"] == "walltime"
    assert ran(runs) == [1]


async def test_all_jobs_leave_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """Jobs that are asked to leave together lose nothing as long as one stays."""
    leavers = [await cluster.connect("--workers=1", job=str(number)) for number in range(3)]
    await cluster.connect("--workers=1", job="9")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        futures = client.map(recorder(runs), range(20), seconds=0.1)
        await begun(runs, 5)

        for leaver in leavers:
            leaver.signal(signal.SIGTERM)
        codes = [code for code, _ in await asyncio.gather(*(leaver.end() for leaver in leavers))]

        assert codes == [0, 0, 0]
        assert await client.gather(futures) == list(range(20))
    assert ran(runs) == list(range(20))


def test_siblings_do_not_leave_together() -> None:
    """The jobs of an array begin at the same time; their leaving is spread evenly, the same each time."""
    moments = [leaving_time(f"77_{index}", ends=10_000.0, lead=100.0, spread=200.0) for index in range(200)]

    assert moments == [leaving_time(f"77_{index}", ends=10_000.0, lead=100.0, spread=200.0) for index in range(200)]
    assert 9700 <= min(moments) < 9705
    assert 9895 < max(moments) <= 9900
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(moments))]
    assert max(gaps) < 2


def test_four_siblings_leave_far_apart() -> None:
    """Also a few of them: each gap is an eighth of the spread at least."""
    moments = sorted(leaving_time(f"526_{index}", ends=180.0, lead=18.0, spread=18.0) for index in range(4))
    assert all(later - earlier >= 18.0 / 8 for earlier, later in itertools.pairwise(moments))


@pytest.mark.parametrize(("walltime", "spread"), [(60, 6), (180, 18), (7200, 720), (86_400, 900)])
def test_default_spread(walltime: float, spread: float) -> None:
    """A tenth of the time, a quarter of an hour at most."""
    assert default_spread(default_lead(walltime), walltime) == spread


@pytest.mark.parametrize(("walltime", "lead"), [(8, 4), (60, 10), (600, 60), (86_400, 120)])
def test_default_lead(walltime: float, lead: float) -> None:
    """A tenth of the time, within limits: a short job must have time to work."""
    assert default_lead(walltime) == lead


async def test_a_worker_that_is_lost_already_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """And the scheduler does not answer with a traceback on the user's screen."""
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler, rpc(scheduler.address) as asked:
        assert await asked.corral_abandon(address="tcp://127.0.0.1:1") == {}
        assert await asked.corral_held(address="tcp://127.0.0.1:1") == {"results": 0, "others": 0}
    assert "Exception" not in caplog.text


async def test_workers_that_a_client_retires_finish_what_they_do(cluster: Cluster, tmp_path: Path) -> None:
    """Dask's own retirement would run it twice; the other worker of the job stays, and works."""
    leaver = await cluster.connect("--workers=2", job="1")
    runs = tmp_path / "runs"
    async with cluster.client() as client:
        futures = client.map(recorder(runs), range(6), seconds=1.0)
        await begun(runs, 2)
        retired = await client.retire_workers(names=["1-0"])
        assert [info["name"] for info in retired.values()] == ["1-0"]
        assert cluster.names == {"1-1"}
        assert await client.gather(futures) == list(range(6))
        assert ran(runs) == list(range(6))
        # The last one of the job: nobody else can take its results.
        cluster.scheduler.parking.room = 1_000_000
        await client.retire_workers(names=["1-1"])
        code, log = await leaver.end()
        assert (code, "retired" in log) == (0, True)
        await cluster.connect(job="2")
        assert await client.gather(futures) == list(range(6))
    assert ran(runs) == list(range(6))
