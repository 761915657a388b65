"""No task is begun that its job cannot finish; what a task needs is known, learnt or said."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distributed
import pytest
from dask.base import annotate

from corral.cluster.scheduler import Scheduler
from corral.launch.tasktimes import SECONDS_LEFT, SECONDS_RUN, TaskTimes, TooLong, time_needed

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster

pytestmark = pytest.mark.timeout(100)


def where(number: int, seconds: float = 0.0) -> str:
    """Take a while, and say on which worker that was."""
    time.sleep(seconds)
    return str(distributed.get_worker().name)


def marked(number: int, folder: str, seconds: float) -> int:
    """Write down that it was begun."""
    Path(folder, f"{number}-{time.time()}").touch()
    time.sleep(seconds)
    return number


def begun(folder: Path, number: int) -> int:
    return len(list(folder.glob(f"{number}-*")))


async def waits(cluster: Cluster, *keys: Any) -> None:
    """Return when these tasks wait, and no worker has them."""
    tasks = cluster.scheduler.tasks
    async with asyncio.timeout(30):
        while not all(key in tasks and tasks[key].state in ("queued", "no-worker") for key in keys):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # nobody tells


async def test_a_worker_says_how_long_it_has(cluster: Cluster) -> None:
    """With its first word, before anything is assigned to it."""
    await cluster.connect("--walltime=60", job="1")
    [worker] = cluster.scheduler.workers.values()
    assert 30 < worker.metrics[SECONDS_LEFT] < 55
    assert 30 < cluster.scheduler.seconds_left(worker) < 55


async def test_a_worker_says_how_long_its_job_has_run(cluster: Cluster) -> None:
    """With its first word, too: from when the job's script began, imports and all."""
    asked = time.time()
    await cluster.connect(job="1")
    [worker] = cluster.scheduler.workers.values()
    assert 0.1 < worker.metrics[SECONDS_RUN] <= time.time() - asked


@pytest.mark.parametrize("count", [1, 12])
async def test_a_long_task_goes_where_it_can_be_finished(cluster: Cluster, count: int) -> None:
    """One, or so many that Dask queues them: the worker that ends soon has none of them."""
    await cluster.connect("--walltime=40", job="1")
    await cluster.connect("--walltime=4000", job="2")
    async with cluster.client() as client:
        with annotate(expected_duration="10 min"):
            futures = client.map(where, range(count), seconds=0.01)
        assert set(await client.gather(futures)) == {"2-0"}


@pytest.mark.parametrize("count", [1, 12])
async def test_what_nobody_can_finish_waits_for_somebody_who_can(cluster: Cluster, count: int) -> None:
    """Short tasks fill the time meanwhile, although they came later."""
    await cluster.connect("--walltime=60", job="1")
    async with cluster.client() as client:
        with annotate(expected_duration="10 min"):
            long = client.map(where, range(count), seconds=0.01)
        with annotate(expected_duration="1 s"):
            short = client.map(where, range(100, 100 + count), seconds=0.01)
        assert set(await client.gather(short)) == {"1-0"}
        assert {cluster.scheduler.tasks[future.key].state for future in long} <= {"queued", "no-worker"}
        [worker] = cluster.scheduler.workers.values()
        assert cluster.scheduler.has_no_time(worker)

        await cluster.connect("--walltime=4000", job="2")
        assert set(await client.gather(long)) == {"2-0"}


async def test_what_was_assigned_is_handed_back_unbegun(cluster: Cluster, tmp_path: Path) -> None:
    """How long such tasks take was not known when the worker got its second one."""
    leaver = await cluster.connect("--walltime=30", "--lead=1", job="1")
    [worker] = cluster.scheduler.workers.values()
    # There is time for one of them, however long the job took to start.
    seconds = 0.55 * cluster.scheduler.seconds_left(worker)
    async with cluster.client() as client:
        first, second = client.map(marked, range(2), folder=str(tmp_path), seconds=seconds)
        assert await first == 0
        # What becomes of a result is not asked here.
        first.release()
        await waits(cluster, second.key)
        assert begun(tmp_path, 1) == 0

        await cluster.connect("--walltime=4000", job="2")
        assert await second == 1
    assert [begun(tmp_path, number) for number in range(2)] == [1, 1]
    assert (await leaver.end())[0] == 0


async def test_a_task_that_was_cut_off_is_not_begun_again_in_vain(cluster: Cluster, tmp_path: Path) -> None:
    """How long it had run is known, and who can hear it is told that no job has the time."""
    told: list[TooLong] = []
    cluster.scheduler.on_too_long = told.append
    cluster.scheduler.longest_room = 5.0
    leaver = await cluster.connect("--walltime=20", "--lead=2", job="1")
    async with cluster.client() as client:
        future = client.submit(marked, 1, folder=str(tmp_path), seconds=600, pure=False)
        assert (await leaver.end())[0] == 0
        left = await cluster.report("left", job="1")
        assert left["unfinished"] == 1
        assert list(left["names"]) == [future.key]
        ran = left["seconds"]
        assert 5 < ran < 20

        # However long each took to start, it has less time than was not enough.
        await cluster.connect(f"--walltime={ran + 2:.0f}", "--lead=2", job="2")
        await waits(cluster, future.key)
        assert begun(tmp_path, 1) == 1
        assert told[-1] == TooLong(key=future.key, kind="marked", expected=told[-1].expected, was_interrupted=True)
        assert ran <= told[-1].expected < 20


async def test_results_go_while_the_last_task_runs(cluster: Cluster, tmp_path: Path) -> None:
    """A task that takes all the time that there is costs no result of others."""
    leaver = await cluster.connect("--walltime=20", "--lead=12", job="1")
    async with cluster.client() as client:
        results = client.map(marked, range(3), folder=str(tmp_path), seconds=0.01)
        await client.gather(results)
        long = client.submit(marked, 9, folder=str(tmp_path), seconds=600, pure=False)
        await cluster.report("leaving", job="1")
        await cluster.connect(job="2")
        assert (await leaver.end())[0] == 0
        left = await cluster.report("left", job="1")
        assert (left["unfinished"], left["lost"]) == (1, 0)
        assert await client.gather(results) == [0, 1, 2]
        await long.cancel()
    assert [begun(tmp_path, number) for number in range(3)] == [1, 1, 1]


async def test_what_a_group_says_of_its_tasks_counts_where_nothing_is_known(cluster: Cluster) -> None:
    """Until one has run."""
    await cluster.connect("--walltime=60", job="1")
    [address] = cluster.scheduler.workers
    cluster.scheduler.assumed[address] = 600.0
    async with cluster.client() as client:
        unknown = client.submit(where, 1)
        await waits(cluster, unknown.key)
        with annotate(expected_duration=1):
            known = client.submit(where, 2)
        assert await known == "1-0"


async def test_what_is_overridden_is_there() -> None:
    """A new version of distributed may have other names, and what has none is never called."""
    for name in (
        "heartbeat_worker", "is_rootish", "valid_workers", "decide_worker_rootish_queuing_enabled",
        "decide_worker_rootish_queuing_disabled", "stimulus_queue_slots_maybe_opened", "_task_to_msg", "remove_worker",
    ):  # fmt: skip
        assert callable(getattr(distributed.Scheduler, name))


class _Prefix:
    name = "load"
    duration_average = -1.0


class _Task:
    prefix = _Prefix()

    def __init__(self, key: str, **annotations: Any) -> None:
        self.key = key
        self.annotations = annotations


def test_what_is_known_of_a_task() -> None:
    """The user's word of one task wins over what its kind took; an interrupted one needs at least what it ran."""
    times: Any = TaskTimes()
    assert times.expected(_Task("a")) is None
    times.ran(_Task("b"), 20.0)
    times.ran(_Task("c"), 10.0)
    assert times.expected(_Task("a")) == 20.0
    assert times.expected(_Task("a", expected_duration="5 min")) == 300.0
    assert times.expected(_Task("a", expected_duration=3)) == 3.0
    times.interrupted["a"] = 400.0
    assert times.expected(_Task("a", expected_duration="5 min")) == 400.0


def test_one_that_takes_for_ever_does_not_condemn_its_kind() -> None:
    """Others of the kind are begun by jobs that have hardly begun; the one itself is not."""
    times: Any = TaskTimes(room=100.0)
    times.ran(_Task("b"), 95.0)
    times.interrupted["b"] = 95.0
    assert time_needed(times.expected(_Task("b"))) > 100.0
    assert 75.0 < time_needed(times.expected(_Task("a"))) <= 80.0


@pytest.mark.parametrize("nonsense", ["soon", -1, [], {"a": 1}, None, float("nan")])
def test_nonsense_about_a_task_is_ignored_and_told(nonsense: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Once: there may be thousands of such tasks."""
    times: Any = TaskTimes()
    for _ in range(3):
        assert times.expected(_Task("a", expected_duration=nonsense)) is None
    assert len(caplog.records) == (nonsense is not None)


async def test_a_scheduler_without_ends_is_as_ever() -> None:
    """Workers that say nothing of their end get everything."""
    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler,
        distributed.Worker(scheduler.address),
        distributed.Client(scheduler.address, asynchronous=True) as client,
    ):
        with annotate(expected_duration="10 days"):
            futures = client.map(lambda x: x + 1, range(10))
        async with asyncio.timeout(20):
            assert sum(await client.gather(futures)) == 55
