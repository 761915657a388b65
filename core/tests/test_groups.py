"""Several kinds of jobs in one cluster, on the embedded queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from dask.base import annotate
from dask.delayed import delayed
from distributed import Client, Worker, get_worker
from hypothesis import given
from hypothesis import strategies as st

from corral import Cluster, WorkerGroup
from corral.errors import InvalidRequest
from corral.plugin.values import Resources
from corral.request.scale import RESERVED, check_name, jobs_asked_for


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


GROUPS = {
    "small": WorkerGroup(cores=2, processes=1, memory="200MB"),
    "large": WorkerGroup(cores=1, memory="900MB", env={"KIND": "large"}),
    "gpu": WorkerGroup(cores=2, gpus=2, memory="400MB", walltime="00:20:00"),
}


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[..., Cluster]:
    """Makes clusters of three groups, on a queue of the test's own with eight cores and two GPUs."""

    def make(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB", "gpus": 2}
        return Cluster(
            **{"backend": "local", "interface": "lo", "backend_options": options, "groups": GROUPS, **arguments}
        )

    return make


def eventually(condition: Callable[[], object], complaint: Callable[[], str], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def whereabouts(dask_worker: Worker | None = None) -> tuple[str, Any, str | None, str | None]:
    """Which group this task runs in, as its worker sees it."""
    import os

    worker = dask_worker or get_worker()
    [group] = set(worker.state.total_resources) - {"GPU", "MEMORY"}
    return group, worker.state.total_resources, os.environ.get("CUDA_VISIBLE_DEVICES") or None, os.environ.get("KIND")


def test_tasks_go_where_they_can_run(cluster: Callable[..., Cluster]) -> None:
    """Three groups, asked for in one call; each worker tells its group, its memory and its GPUs."""
    with cluster() as c, Client(c) as client:
        c.scale(small=1, large=1, gpu=2)
        client.wait_for_workers(4, timeout=90)
        found = client.run(whereabouts)
        assert sorted((group, gpus, kind) for group, _, gpus, kind in found.values()) == [
            ("gpu", "0", None),
            ("gpu", "1", None),
            ("large", None, "large"),
            ("small", None, None),
        ]
        resources = {group: owned for group, owned, _, _ in found.values()}
        assert resources == {
            "small": {"small": 2, "MEMORY": 200_000_000},
            "large": {"large": 1, "MEMORY": 900_000_000},
            "gpu": {"gpu": 1, "MEMORY": 200_000_000, "GPU": 1},
        }
        for need, group in (({"GPU": 1}, "gpu"), ({"MEMORY": 5e8}, "large"), ({"small": 1}, "small")):
            futures = client.map(lambda _: whereabouts()[0], range(8), resources=need, pure=False)
            assert set(client.gather(futures)) == {group}
        with annotate(resources={"large": 1}):
            lazy = delayed(whereabouts)(dask_key_name="annotated")
        assert lazy.compute(optimize_graph=False)[0] == "large"
        assert {job.group for job in c.jobs} == {"small", "large", "gpu"}
        assert len(c.jobs) == 3


def test_groups_come_and_go_while_it_runs(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """A removed group lets its jobs finish; its name is free again when they have ended. Its workers are its own."""
    (tmp_path / "attentive.py").write_text("from distributed import Worker\nclass Attentive(Worker): pass\n")
    two = WorkerGroup(memory="300MB", worker_class="attentive.Attentive", env={"PYTHONPATH": str(tmp_path)})
    with cluster(groups={"one": GROUPS["small"]}, n_workers=1) as c, Client(c) as client:
        c.add_group("two", two)
        assert list(c.groups) == ["one", "two"]
        assert "--group=two" in c.job_script("two")
        c.scale(1, group="two")
        c.wait_for_workers(2, timeout=60)
        classes = client.run(lambda dask_worker: type(dask_worker).__name__)
        assert sorted(classes.values()) == ["Attentive", "Worker"]
        with pytest.raises(InvalidRequest, match="group 'two' already exists"):
            c.add_group("two", GROUPS["large"])
        c.remove_group("two")
        assert list(c.groups) == ["one"]
        with pytest.raises(InvalidRequest, match="two: is not a group of this cluster, which has one"):
            c.scale(two=1)
        eventually(lambda: [job.has_ended for job in c.jobs] == [False, True], lambda: repr(c))
        assert not c.failures
        eventually(lambda: "two" not in c._running_engine.groups, lambda: repr(c))
        c.add_group("two", GROUPS["large"])
        assert c.groups["two"].memory == "900MB"


def test_backend_options_of_a_group(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """They are laid over the cluster's, and reach the launcher too."""
    other = str(tmp_path / "other")
    groups = {"here": GROUPS["small"], "there": WorkerGroup(memory="200MB", backend_options={"directory": other})}
    with cluster(groups=groups) as c:
        assert other not in c.job_script("here")
        assert f'"directory": "{other}"' in c.job_script("there")
        assert '"cores": 8' in c.job_script("there")


def test_what_groups_leave_empty_is_configured(cluster: Callable[..., Cluster]) -> None:
    """A group's own words win; groups may stand in the configuration altogether."""
    configured: dict[str, Any] = {"corral.memory": "333MB", "corral.queue": "batch", "corral.cores": 4}
    groups = {"a": WorkerGroup(), "b": WorkerGroup(memory="111MB")}
    with dask.config.set(configured), cluster(groups=groups) as c:
        assert [(group.memory, group.cores) for group in c.groups.values()] == [("333MB", 4), ("111MB", 4)]
    configured = {"corral.groups": {"a": {"memory": "222MB", "extra-directives": ["--hold"]}}}
    with dask.config.set(configured), cluster(groups=None) as c:
        assert c.groups["a"].extra_directives == ["--hold"]


def test_what_stands_beside_groups_fills_what_they_leave_empty(cluster: Callable[..., Cluster]) -> None:
    """As the configuration does, and before it; what a group says stays, also where it says what is usual."""
    groups = {"a": WorkerGroup(memory="111MB"), "b": WorkerGroup(memory="111MB", walltime="01:00:00", cores=2)}
    beside: dict[str, Any] = {"walltime": "2h", "queue": "batch", "env": {"A": "1"}}
    with dask.config.set({"corral.walltime": "3h"}), cluster(groups=groups, **beside) as c:
        a, b = c.groups.values()
        assert (a.walltime_seconds, a.queue, a.env, a.interface) == (7200, "batch", {"A": "1"}, "lo")
        assert (b.walltime_seconds, b.queue, b.cores) == (3600, "batch", 2)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"groups": {}}, "groups"),
        ({"groups": {"a": 1}}, "groups"),
        ({"groups": {"a b": WorkerGroup(memory="1GB")}}, "groups"),
        ({"groups": {"GPU": WorkerGroup(memory="1GB")}}, "groups"),
        ({"groups": {"a": {"memroy": "1GB"}}}, "memroy"),
        ({"groups": {"a": WorkerGroup()}}, "memory"),
        ({"groups": {"a": WorkerGroup(memory="1GB", nodes=2)}}, "nodes"),
        ({"walltime": "soon"}, "walltime"),
        ({"n_workers": 3}, "n_workers"),
        ({"n_workers": {"nosuch": 1}}, "n_workers"),
        ({"maximum_core_hours": 0}, "maximum_core_hours"),
        ({"maximum_gpu_hours": "10"}, "maximum_gpu_hours"),
    ],
)
def test_groups_that_cannot_be_are_refused(
    cluster: Callable[..., Cluster], arguments: dict[str, Any], argument: str
) -> None:
    """Before anything is started, by the name of the argument."""
    with pytest.raises(InvalidRequest) as refusal:
        cluster(**arguments)
    assert refusal.value.argument == argument


@pytest.mark.parametrize("name", RESERVED)
def test_the_keywords_of_scale_are_no_names(name: str) -> None:
    """scale(jobs=3) must have one meaning."""
    with pytest.raises(InvalidRequest, match="keyword of scale"):
        check_name(name)


SIZES = {"cpu": Resources(processes=4, cores=8, memory=32 * 10**9), "gpu": Resources(nodes=2, gpus=4, processes=4)}


@pytest.mark.parametrize(
    ("request_", "jobs"),
    [
        ({"workers": {"cpu": 10, "gpu": 2}}, {"cpu": 3, "gpu": 1}),
        ({"units": {"n": 9}, "group": "gpu"}, {"gpu": 2}),
        ({"units": {"cores": 17}, "group": "cpu"}, {"cpu": 3}),
        ({"units": {"memory": "33GB"}, "group": "cpu"}, {"cpu": 2}),
        ({"workers": {"cpu": 0}}, {"cpu": 0}),
    ],
)
def test_a_size_is_whole_jobs_of_each_group(request_: dict[str, Any], jobs: dict[str, int]) -> None:
    """What is not named keeps its size."""
    assert jobs_asked_for(SIZES, **{"units": {}, "workers": {}, **request_}) == jobs


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"units": {"n": 3}}, "group: say which: this cluster has cpu, gpu"),
        ({"workers": {"cpus": 1}}, "cpus: is not a group.*Did you mean 'cpu'"),
        ({"workers": {"cpu": 1}, "units": {"n": 1}}, "not both"),
        ({"workers": {"cpu": -1}}, "cpu: -1 is not a whole number"),
        ({"units": {"memory": "1GB"}, "group": "gpu"}, "up to the site"),
    ],
)
def test_a_size_with_two_meanings_is_refused(request_: dict[str, Any], words: str) -> None:
    """The message names what is there."""
    with pytest.raises(InvalidRequest, match=words):
        jobs_asked_for(SIZES, **{"units": {}, "workers": {}, **request_})


@given(st.integers(0, 10**6), st.integers(1, 16), st.integers(1, 8))
def test_as_many_workers_as_asked_for_and_less_than_a_job_more(workers: int, processes: int, nodes: int) -> None:
    """Whole jobs, rounded up."""
    resources = Resources(processes=processes, nodes=nodes, cores=16)
    [jobs] = jobs_asked_for({"a": resources}, {"n": workers}, workers={}).values()
    assert workers <= jobs * resources.workers < workers + resources.workers


def test_gpus_have_a_worker_each() -> None:
    """Unless somebody says otherwise: dask-cuda's rule."""
    assert WorkerGroup(cores=8, gpus=4, memory="1GB").resources.processes == 4
    assert WorkerGroup(cores=2, gpus=4, memory="1GB").resources.processes == 2
    group = WorkerGroup(cores=8, gpus=1, processes=2, memory="1GB", worker_options={"resources": {"DISK": 5}})
    assert group.worker_resources("g", group.resources) == {"g": 4, "MEMORY": 5 * 10**8, "GPU": 1, "DISK": 5}


@pytest.mark.parametrize("value", [3, "Class", "a b.C", type("Local", (Worker,), {"__module__": "__main__"})])
def test_a_worker_class_must_be_importable(value: Any) -> None:
    """A job has nothing but its path."""
    with pytest.raises(InvalidRequest, match="worker_class"):
        WorkerGroup(memory="1GB", worker_class=value)
