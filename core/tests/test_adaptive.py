"""A cluster on the embedded queue that has the size of its work."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dask.base import annotate
from dask.delayed import delayed
from distributed import Client, Event

from corral import Cluster, JobState, WorkerGroup
from corral.errors import BudgetSpent, InvalidRequest, WorkersNotReady
from corral.scaling.bounds import rules_of
from corral.scaling.views import PREFERENCES, Preference, Rules

GROUPS = {
    "cpu": WorkerGroup(cores=1, memory="200MB"),
    "gpu": WorkerGroup(cores=1, gpus=1, memory="200MB"),
}


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[..., Cluster]:
    """Makes clusters on a queue of the test's own with eight cores and two GPUs."""

    def make(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB", "gpus": 2}
        return Cluster(**{"backend": "local", "interface": "lo", "backend_options": options, **arguments})

    return make


def eventually(condition: Callable[[], object], complaint: Callable[[], str], timeout: float = 40.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def living(c: Cluster, group: str) -> int:
    return sum(1 for job in c.jobs if job.group == group and job.is_capacity)


def test_groups_grow_for_their_tasks_and_shrink_when_idle(cluster: Callable[..., Cluster]) -> None:
    """From nothing and back to nothing: what a GPU is needed for has one, the rest runs where it is cheap."""
    with cluster(groups=GROUPS) as c, Client(c) as client:
        adaptive = c.adapt(
            maximum=6, interval="100ms", target_duration="1s", idle_timeout="1s", groups={"gpu": {"maximum": 1}}
        )
        assert (adaptive.minimum, adaptive.maximum, adaptive.state) == (0, 6, "running")
        go = Event("go")
        cheap = client.map(lambda _: Event("go").wait(), range(20), pure=False, resources={"cpu": 1})
        eventually(lambda: living(c, "cpu"), lambda: repr(c))
        assert not living(c, "gpu")
        with annotate(resources={"GPU": 1}):
            dear = [client.compute(delayed(int)(number), optimize_graph=False) for number in range(3)]
        assert client.gather(dear) == [0, 1, 2]
        assert living(c, "gpu") == 1
        go.set()
        client.gather(cheap)
        del cheap, dear
        eventually(lambda: not living(c, "cpu") and not living(c, "gpu"), lambda: f"{c!r} {list(adaptive.log)}")
        eventually(lambda: all(job.has_ended for job in c.jobs), lambda: repr(c))
        assert {job.state for job in c.jobs} <= {JobState.COMPLETED, JobState.CANCELLED}
        assert max(change["jobs"] for _, change in adaptive.log if change["group"] == "gpu") == 1
        assert not c.failures
        used = c.account()
        assert 0 < used.groups["gpu"].total < used.groups["cpu"].total
        assert used.groups["gpu"].gpus.total == pytest.approx(used.groups["gpu"].total)  # one GPU for each core
        assert used.gpus.total == pytest.approx(used.groups["gpu"].total)
        assert not used.groups["cpu"].gpus.total
        assert "GPU-hours" in str(used)


@pytest.mark.parametrize("used", [(), ("cpu",), ("gpu",), ("cpu", "gpu")], ids=" and ".join)
def test_idle_jobs_of_each_group_leave(cluster: Callable[..., Cluster], used: tuple[str, ...]) -> None:
    """What somebody scaled by hand, and has used or not, goes when it is left to `adapt`, in every group."""
    two = WorkerGroup(cores=2, processes=2, memory="400MB")
    with cluster(groups={**GROUPS, "cpu": two}, n_workers={"cpu": 4, "gpu": 2}) as c, Client(c) as client:
        c.wait_for_workers(timeout=60)
        for name in used:
            assert client.submit(sum, [1, 2], resources={name: 1}, pure=False).result() == 3
        c.adapt(minimum=0, maximum=4, interval="100ms", idle_timeout="500ms")
        eventually(lambda: not living(c, "cpu") and not living(c, "gpu"), lambda: repr(c))


def test_what_can_be_preferred_is_documented() -> None:
    """Each name, and what is the case if nothing is said."""
    words = " ".join((Cluster.adapt.__doc__ or "").split())
    for name in PREFERENCES:
        assert f'``"{name}"``' in words
    [usual] = [name for name, each in PREFERENCES.items() if each == Rules().prefer]
    assert f'Default: ``"{usual}"``.' in words
    assert f"Default: {Preference(hour=1.0).gpu_price:g}." in words


@pytest.mark.parametrize(
    ("given", "prefer"),
    [
        ({}, PREFERENCES["balance"]),
        ({"prefer": "speed"}, PREFERENCES["speed"]),
        ({"prefer": 200}, Preference(hour=200.0)),
        ({"prefer": "2.5"}, Preference(hour=2.5)),
        ({"prefer": 200, "gpu_price": 8}, Preference(hour=200.0, gpu_price=8.0)),
    ],
)
def test_what_is_preferred_is_what_somebody_said(given: dict[str, Any], prefer: Preference) -> None:
    """By name, or as a price."""
    rules, _ = rules_of(given)
    assert rules.prefer == prefer


def test_results_are_not_given_up_with_the_last_worker(cluster: Callable[..., Cluster]) -> None:
    """An idle worker that alone holds a result stays, and goes when nobody wants the result any more."""
    with cluster(cores=1, memory="200MB") as c, Client(c) as client:
        c.adapt(maximum=2, interval="100ms", idle_timeout="500ms")
        result = client.submit(lambda: bytes(1000))
        assert len(result.result()) == 1000
        [address] = client.who_has(result)[result.key]
        eventually(lambda: c._running_engine.census.idle_since, lambda: repr(c))
        [since] = c._running_engine.census.idle_since.values()
        eventually(lambda: c._running_engine.now() > since + 2, lambda: repr(c))
        assert client.who_has(result)[result.key] == (address,)
        del result
        eventually(lambda: not c.observed, lambda: repr(c))


def test_bounds_are_kept_and_hands_win(cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture) -> None:
    """At least the minimum without any task; a group that is scaled by hand is left alone, and then all is."""
    with caplog.at_level(logging.INFO, "corral"), cluster(groups=GROUPS) as c:
        adaptive = c.adapt(minimum=2, interval="100ms", idle_timeout="1s")
        c.wait_for_workers(2, timeout=60)
        assert living(c, "cpu") == 2
        c.scale(cpu=1)
        eventually(lambda: len(c.observed) == 3, lambda: f"{c!r} {list(adaptive.log)}")  # the minimum moves to gpu
        eventually(lambda: living(c, "cpu") == 1, lambda: repr(c))
        assert adaptive.state == "running"
        c.scale(gpu=0)
        assert adaptive.state == "stopped"
        eventually(lambda: living(c, "gpu") == 0, lambda: repr(c))
        again = c.adapt(minimum=1, maximum=1)
        assert again.state == "running"
        again.stop()
    assert "every group was scaled by hand" in caplog.text


def test_tasks_that_no_group_can_run_are_told_once(
    cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    """With what they need, what there is, and the cure; a new group cures it."""
    with cluster(groups=GROUPS) as c, Client(c) as client:
        c.adapt(maximum=4, interval="100ms")
        futures = client.map(lambda number: number, range(3), resources={"MEMORY": 3e8, "cpu": 1})
        words = "3 task(s) need MEMORY=3e+08 and cpu=1, which no worker of any group has (cpu has cpu=1"
        eventually(lambda: words in caplog.text, lambda: caplog.text)
        assert "cluster.add_group()" in caplog.text
        assert not c.jobs
        large = WorkerGroup(memory="400MB", worker_options={"resources": {"cpu": 1}})
        c.add_group("large", large)
        assert client.gather(futures) == [0, 1, 2]
        assert caplog.text.count("which no worker of any group has") == 1
        assert {job.group for job in c.jobs} == {"large"}


def test_tasks_that_are_longer_than_any_job_ask_for_none(
    cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    """It is told before any job has come; shorter ones are as ever, and a group with more time cures it."""
    with cluster(cores=1, memory="200MB", walltime="00:10:00") as c, Client(c) as client:
        c.adapt(maximum=4, interval="100ms")
        with annotate(expected_duration="20 min"):
            long = client.submit(abs, -1)
        eventually(lambda: "no job of this cluster has that much time" in caplog.text, lambda: caplog.text)
        with annotate(expected_duration="1 s"):
            assert client.submit(abs, -2).result() == 2
        assert len(c.jobs) == 1
        c.add_group("long", WorkerGroup(cores=1, memory="200MB", walltime="01:00:00"))
        assert long.result() == 1
        assert {job.group for job in c.jobs} == {"default", "long"}


def test_a_budget_stops_growth(cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture) -> None:
    """What works goes on, nothing more is submitted, and whoever waits is told."""
    with cluster(cores=1, memory="200MB", maximum_core_hours=1 / 3600) as c:
        c.scale(1)
        c.wait_for_workers(fraction=0.8, timeout=60)
        eventually(lambda: c.account().total >= 1 / 3600, lambda: str(c.account()))
        c.scale(2)
        with pytest.raises(BudgetSpent, match=r"core-hours have been used, and 0\.000277778 are allowed"):
            c.wait_for_workers(2, timeout=60)
        assert len(c.observed) == 1
        assert "nothing more is submitted" in caplog.text
        c.maximum_core_hours = None
        c.wait_for_workers(2, timeout=60)
        with pytest.raises(InvalidRequest, match="maximum_core_hours"):
            c.maximum_core_hours = -1


def test_a_budget_of_gpu_hours_stops_jobs_with_gpus(
    cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    """And no others; what it is spent for goes on, and whoever waits is told."""
    with cluster(groups=GROUPS, maximum_gpu_hours=1 / 3600) as c:
        c.scale(gpu=1)
        c.wait_for_workers(1, timeout=60)
        eventually(lambda: c.account().gpus.total >= 1 / 3600, lambda: str(c.account()))
        c.scale(gpu=2)
        with pytest.raises(BudgetSpent, match=r"GPU-hours have been used, and 0\.000277778 are allowed") as spent:
            c.wait_for_workers(2, timeout=60)
        assert spent.value.unit == "GPU-hours"
        assert "no more jobs with GPUs are submitted. Raise cluster.maximum_gpu_hours" in caplog.text
        c.scale(cpu=2)
        eventually(lambda: len(c.observed) == 3, lambda: repr(c))
        assert living(c, "gpu") == 1
        c.adapt(groups={"gpu": {"minimum": 2}}, maximum_gpu_hours=100)
        assert c.maximum_gpu_hours == 100
        eventually(lambda: living(c, "gpu") == 2, lambda: repr(c))
        with pytest.raises(InvalidRequest, match="maximum_gpu_hours"):
            c.adapt(maximum_gpu_hours=0)
        with pytest.raises(InvalidRequest, match="maximum_gpu_hours"):
            c.maximum_gpu_hours = -1
        assert c.maximum_gpu_hours == 100


def test_bounds_in_cores_and_memory_are_bounds_in_whole_jobs(cluster: Callable[..., Cluster]) -> None:
    """As in Dask; what is told of them is JSON, for notebooks' extensions write it so. Jobs have two workers here."""
    with cluster(cores=2, processes=2, memory="400MB") as c:
        c.adapt(maximum_jobs=3)
        for given, bounds in (
            ({"maximum_jobs": 3}, (0, 6)),
            ({"minimum_cores": 3, "maximum_cores": 9}, (4, 8)),
            ({"minimum_memory": "401MB", "maximum_memory": "1.3GB"}, (4, 6)),
            ({"minimum": np.int64(1), "maximum": 4.0, "maximum_cores": np.int64(40)}, (2, 4)),
            ({"groups": {"default": {"maximum_memory": "900MB"}}}, (0, 4)),
        ):
            adaptive = c.adapt(**given)
            assert (adaptive.minimum, adaptive.maximum) == bounds
            assert json.loads(json.dumps([adaptive.minimum, adaptive.maximum], allow_nan=False)) == list(bounds)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"minimum": 3, "maximum": 2}, "minimum"),
        ({"minimum": -1}, "minimum"),
        ({"maximum": 1}, "maximum"),
        ({"maximum": 2.5}, "maximum"),
        ({"interval": 0}, "interval"),
        ({"idle_timeout": "soon"}, "idle_timeout"),
        ({"wait_count": "many"}, "wait_count"),
        ({"prefer": "haste"}, "prefer"),
        ({"prefer": 0}, "prefer"),
        ({"prefer": 200, "gpu_price": -1}, "gpu_price"),
        ({"gpu_price": 8}, "gpu_price"),
        ({"groups": {"nosuch": {}}}, "nosuch"),
        ({"groups": {"default": 3}}, "groups"),
        ({"groups": {"default": {"maximal": 3}}}, "groups"),
        ({"groups": {"default": {"minimum_jobs": 3, "maximum_jobs": 2}}}, "minimum_jobs"),
        ({"maximum_cores": 1}, "maximum_cores"),
        ({"maximum_memory": "300MB"}, "maximum_memory"),
        ({"minimum_memory": "2GB", "maximum_cores": 4}, "minimum_memory"),
    ],
)
def test_bounds_that_cannot_be_are_refused(
    cluster: Callable[..., Cluster], arguments: dict[str, Any], argument: str
) -> None:
    """By the name of the argument; jobs have two workers here."""
    with cluster(cores=2, processes=2, memory="400MB") as c:
        with pytest.raises(InvalidRequest) as refusal:
            c.adapt(**arguments)
        assert refusal.value.argument == argument
        with pytest.raises(InvalidRequest, match="fraction"):
            c.wait_for_workers(1, fraction=0)
        with pytest.raises(InvalidRequest, match="no workers have been asked for"):
            c.wait_for_workers()


def test_an_adapting_cluster_waits_for_work(cluster: Callable[..., Cluster]) -> None:
    """Its workers come with their tasks, which somebody else may submit meanwhile; more than its maximum never come."""
    with cluster(cores=1, memory="200MB") as c, Client(c) as client:
        c.adapt(maximum=2, interval="50ms")
        with pytest.raises(WorkersNotReady):
            c.wait_for_workers(1, timeout=0.2)
        with pytest.raises(InvalidRequest, match=r"adapt\(\) keeps to 2 .* adapt\(maximum=3\)"):
            c.wait_for_workers(3, timeout=60)
        future = client.submit(int, 1)
        c.wait_for_workers(1, timeout=60)
        assert 1 == future.result(60)
