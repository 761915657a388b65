"""What is to be computed, as counted on a real Dask scheduler."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from dask.base import annotate
from distributed import Client, Event, LocalCluster, Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin

from corral.cluster.scheduler import Scheduler as OurScheduler
from corral.launch.tasktimes import time_needed
from corral.scaling.demand import DemandCounter
from corral.scaling.workload import Demand, Load


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a scheduler's state tells no event
            await asyncio.sleep(0.01)


def counting(scheduler: Scheduler) -> DemandCounter:
    """Counts from now on."""
    counter = DemandCounter()
    counter.listen(scheduler)
    scheduler.add_plugin(counter)
    return counter


def counted(demand: Demand) -> dict[Any, tuple[int, int]]:
    found: dict[Any, tuple[int, int]] = {}
    for load in demand.loads:
        ready, assigned = found.get(load.need, (0, 0))
        found[load.need] = ready + load.ready, assigned + load.assigned
    return found


async def wait(_: int, name: str) -> None:
    await Event(name).wait()


def recounted(scheduler: Scheduler) -> dict[Any, tuple[int, int]]:
    """The same the slow way."""
    found: dict[Any, tuple[int, int]] = {}
    for task in scheduler.tasks.values():
        if task.worker_restrictions or task.host_restrictions:
            continue
        need = tuple(sorted((task.resource_restrictions or {}).items()))
        ready, assigned = found.get(need, (0, 0))
        if task.state in ("no-worker", "queued"):
            found[need] = ready + 1, assigned
        elif task.state == "processing":
            found[need] = ready, assigned + 1
    return found


async def test_tasks_are_counted_by_need_wherever_they_wait() -> None:
    """Unrunnable, queued and assigned ones; what was there before; and nothing is left in the end."""
    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as scheduler,
        Client(scheduler.address, asynchronous=True) as client,
    ):
        early = client.map(wait, range(30), name="go", pure=False)
        await eventually(lambda: len(scheduler.queued) == 30)
        counter = counting(scheduler)
        assert counted(counter.demand()) == {(): (30, 0)}
        gpu = client.map(abs, range(50), resources={"GPU": 1})
        mixed = [client.submit(abs, number, pure=False, resources={"MEMORY": 1e9, "GPU": 1}) for number in range(5)]
        total = client.submit(sum, gpu)
        bound = client.submit(abs, -1, workers=["nowhere"], allow_other_workers=False)
        await eventually(lambda: len(scheduler.tasks) == 30 + 50 + 5 + 2)
        needs = {(): (30, 0), (("GPU", 1),): (50, 0), (("GPU", 1), ("MEMORY", 1e9)): (5, 0)}
        assert counted(counter.demand()) == needs
        assert counter.demand().blocked == 1
        assert {load.duration for load in counter.demand().loads} == {None}
        async with Worker(scheduler.address, host="127.0.0.1", nthreads=1, resources={"GPU": 1}):
            await client.gather(gpu)
            await eventually(lambda: counted(counter.demand()) == recounted(scheduler))
            ready, assigned = counted(counter.demand())[()]
            assert ready + assigned in (30, 31)
            assert assigned
            await Event("go").set()
            await client.gather([*early, total])
            assert counted(counter.demand()) == {(("GPU", 1), ("MEMORY", 1e9)): (5, 0)}
            again = client.map(abs, range(3), resources={"GPU": 2}, pure=False)
            await eventually(lambda: (("GPU", 2),) in counted(counter.demand()))
            [known] = [load for load in counter.demand().loads if load.need == (("GPU", 2),)]
            assert known.duration is not None, "the prefix is known by now"
            scheduler.task_prefixes["abs"].add_exec_time(1000.0)
            assert scheduler.task_prefixes["abs"].duration_average == -1, "one straggler, and Dask knows nothing"
            [still] = [load for load in counter.demand().loads if load.need == (("GPU", 2),)]
            assert still.duration == known.duration
        # The worker is gone, and what it held is to be computed again.
        await eventually(lambda: counted(counter.demand()) == recounted(scheduler))
        assert len(counted(counter.demand())) == 4
        del early, gpu, mixed, total, bound, again
        await eventually(lambda: counter.demand() == Demand())
        assert not counter._places


class Recounts(SchedulerPlugin):
    """After each transition, what comes next is counted the slow way."""

    def __init__(self, scheduler: Scheduler, counter: DemandCounter) -> None:
        self._scheduler = scheduler
        self._counter = counter
        self.seen: set[int] = set()
        self.wrong: list[tuple[Any, ...]] = []

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        upcoming = sum(
            1
            for task in self._scheduler.tasks.values()
            if task.state == "waiting" and all(other.state != "waiting" for other in task.dependencies)
        )
        self.seen.add(upcoming)
        counted = sum(load.upcoming for load in self._counter.demand().loads)
        if counted != upcoming:
            self.wrong.append((key, start, finish, counted, upcoming))


async def test_what_comes_next_is_counted() -> None:
    """Tasks that wait for others, none of which waits itself: at any moment, also when results are lost."""
    chance = random.Random(7)
    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as scheduler,
        Client(scheduler.address, asynchronous=True) as client,
    ):
        graph: dict[Any, Any] = {}
        for number in range(300):
            others = chance.sample(range(number), min(number, chance.choice((0, 1, 1, 2, 9))))
            graph[f"task-{number}"] = (_first, number, *(f"task-{other}" for other in others))
        early = client.get(graph, [f"task-{number}" for number in range(100)], sync=False)
        await eventually(lambda: len(scheduler.tasks) >= 100)
        counter = counting(scheduler)
        scheduler.add_plugin(recounts := Recounts(scheduler, counter), name="recounts")
        late = client.get(graph, list(graph), sync=False)
        await eventually(lambda: len(scheduler.tasks) == 300)
        async with Worker(scheduler.address, host="127.0.0.1", nthreads=2):
            await early[50]
        async with Worker(scheduler.address, host="127.0.0.1", nthreads=2):
            await client.gather(late)
            del early[:50], late[::3]
        await eventually(lambda: any(task.state != "memory" for task in scheduler.tasks.values()))
        del early, late
        await eventually(lambda: not scheduler.tasks)
        assert not recounts.wrong
        assert len(recounts.seen) > 20
        assert counter.demand() == Demand()
        assert not counter._waits_for


def _first(number: int, *_: int) -> int:
    return number


async def test_what_is_known_of_durations_counts() -> None:
    """What the user says, what ran here, and how long a task had run when it was cut off."""
    async with (
        OurScheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler,
        Client(scheduler.address, asynchronous=True) as client,
    ):
        counter = counting(scheduler)
        with annotate(expected_duration="30 min"):
            half_hours = client.map(abs, range(3), pure=False)
        with annotate(expected_duration="1 h"):
            hours = client.map(abs, range(2), pure=False)
        unknown = client.map(int, range(5), pure=False)
        await eventually(lambda: len(scheduler.tasks) == 10)

        def found() -> dict[int, tuple[float | None, float]]:
            return {load.ready: (load.duration, load.time_needed) for load in counter.demand().loads}

        assert found() == {3: (1800, time_needed(1800)), 2: (3600, time_needed(3600)), 5: (None, 0)}
        scheduler.times.ran(scheduler.tasks[unknown[0].key], 500.0)
        assert found()[5] == (None, time_needed(500)), "one has run that long, and may go on"
        scheduler.task_prefixes["int"].add_duration("compute", 0.0, 100.0)
        assert found()[5] == (100, time_needed(500)), "on average, and at most"
        # The end of a job cuts one off that had run for longer than was said.
        cut_off = scheduler.tasks[half_hours[0].key]
        scheduler.times.interrupted[cut_off.key] = 7000.0
        counter.transition(cut_off.key, "no-worker", "released", stimulus_id="test")
        counter.transition(cut_off.key, "released", "no-worker", stimulus_id="test")
        assert found()[1] == (7000, time_needed(7000))
        del half_hours, hours, unknown, cut_off


async def test_how_long_tasks_take_is_the_mean_of_those_that_have_ended() -> None:
    """Dask's average is that of the last ones: the slowest, if they began together."""
    async with (
        OurScheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler,
        Client(scheduler.address, asynchronous=True) as client,
    ):
        counter = counting(scheduler)
        async with Worker(scheduler.address, host="127.0.0.1", nthreads=1):
            done = client.map(abs, range(3), pure=False)
            await client.gather(done)
        mean = scheduler.times.means["abs"]
        assert mean.count == 3
        mean.seconds, mean.count = 0.0, 0
        for seconds in (10.0, 20.0, 90.0):
            scheduler.times.ended(scheduler.tasks[done[0].key], seconds)
            scheduler.task_prefixes["abs"].add_duration("compute", 0.0, seconds)
        waiting = client.map(abs, range(2), pure=False, resources={"GPU": 1})
        await eventually(lambda: any(load.need for load in counter.demand().loads))
        [load] = [load for load in counter.demand().loads if load.need]
        assert (load.ready, load.duration) == (2, 40.0)
        del done, waiting


async def test_it_is_known_since_when_nothing_was_given_to_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind of tasks, as long as one is with a worker."""
    now = 100.0
    monkeypatch.setattr("corral.scaling.demand.time", SimpleNamespace(monotonic=lambda: now))
    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as scheduler,
        Client(scheduler.address, asynchronous=True) as client,
    ):
        futures = client.map(abs, range(3), resources={"GPU": 1}, pure=False)
        await eventually(lambda: len(scheduler.unrunnable) == 3)
        counter = DemandCounter()
        counter.listen(scheduler)

        def latest() -> float:
            [load] = counter.demand().loads
            return load.latest

        assert latest() == 0.0
        counter.transition(futures[0].key, "no-worker", "processing", stimulus_id="test")
        now = 130.0
        assert latest() == 30.0
        counter.transition(futures[1].key, "no-worker", "processing", stimulus_id="test")
        now = 135.0
        assert latest() == 5.0
        for future in futures[:2]:
            counter.transition(future.key, "processing", "memory", stimulus_id="test")
        assert latest() == 0.0, "none is with a worker"


async def test_what_jobs_finish_that_leave_is_told_apart() -> None:
    """What they run, and not what waits there."""
    async with (
        OurScheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler,
        Client(scheduler.address, asynchronous=True) as client,
        Worker(scheduler.address, host="127.0.0.1", nthreads=1, heartbeat_interval="50ms"),
    ):
        counter = counting(scheduler)
        futures = client.map(wait, range(3), name="go", pure=False)
        [worker] = scheduler.workers.values()
        await eventually(lambda: len(worker.executing) == 1)
        [load] = counter.demand([worker]).loads
        assert (load.ready + load.assigned, load.finishing, load.tasks) == (3, 1, 2)
        [load] = counter.demand().loads
        assert (load.finishing, load.tasks) == (0, 3)
        await Event("go").set()
        await client.gather(futures)


async def test_a_client_may_bring_it_to_a_scheduler_elsewhere() -> None:
    """Then it answers a remote call, in plain values."""
    async with (
        LocalCluster(n_workers=0, host="127.0.0.1", asynchronous=True, dashboard_address=":0") as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        await client.register_plugin(DemandCounter())
        futures = client.map(abs, range(7), resources={"GPU": 1})
        await eventually(lambda: len(cluster.scheduler.unrunnable) == 7)
        answer = await client.scheduler.corral_demand()
        [load] = [Load(**{**load, "need": tuple(map(tuple, load["need"]))}) for load in answer["loads"]]
        assert load == Load(need=(("GPU", 1),), ready=7)
        del futures
