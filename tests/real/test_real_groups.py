"""Workers of several kinds on a real Slurm, as large as their work."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from dask.base import annotate
from dask.delayed import delayed
from distributed import Client, Worker, get_worker

from corral import Cluster, JobState, WorkerGroup
from corral.errors import SubmitRejected

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("testbed"), pytest.mark.timeout(180)]

Eventually = Callable[..., None]

#: Of this machine, which plays all nodes.
CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

GROUPS = {
    "cpu": WorkerGroup(cores=2, processes=1, memory="400MB", queue="batch"),
    "bigmem": WorkerGroup(cores=1, memory="2GB", queue="short", walltime="00:08:00"),
    "gpu": WorkerGroup(cores=1, gpus=1, memory="400MB", queue="gpu"),
}


def cluster(**arguments: Any) -> Cluster:
    return Cluster(**{"backend": "slurm", "interface": "lo", "groups": GROUPS, **arguments})


def place(_: int = 0) -> tuple[str, str]:
    """The group that a task runs in, and the GPUs that it sees."""
    [group] = set(get_worker().state.total_resources) - {"GPU", "MEMORY"}
    return group, os.environ.get("CUDA_VISIBLE_DEVICES", "")


def surroundings(dask_worker: Worker) -> tuple[str, dict[str, str]]:
    """The group of a worker, and its environment."""
    [group] = set(dask_worker.state.total_resources) - {"GPU", "MEMORY"}
    return group, dict(os.environ)


@pytest.mark.usefixtures("leaves_nothing")
def test_three_groups_grow_from_nothing_each_for_its_tasks(slurm: Any, eventually: Eventually) -> None:
    """And shrink to nothing when they have been idle; no group has a job that it did not need."""
    with cluster() as c, Client(c) as client:
        adaptive = c.adapt(
            maximum=8, target_duration="1s", idle_timeout="3s", groups={"gpu": {"minimum": 0, "maximum": 4}}
        )
        plain = client.map(place, range(20), resources={"cpu": 1}, pure=False)
        assert {group for group, _ in client.gather(plain)} == {"cpu"}
        assert {job.group for job in c.jobs} == {"cpu"}, "nothing else was needed"
        with annotate(resources={"MEMORY": 1e9}):
            lazy = [delayed(place)(number) for number in range(3)]
        large = client.compute(lazy, optimize_graph=False)
        dear = client.map(place, range(6), resources={"GPU": 1}, pure=False)
        assert {group for group, _ in client.gather(large)} == {"bigmem"}
        assert {group for group, _ in client.gather(dear)} == {"gpu"}
        gpus = {seen for _, seen in client.gather(dear)}
        assert all(seen.isdigit() for seen in gpus), "each task sees one GPU"
        queues = dict(row.split() for row in slurm.run("squeue", "-h", "-t", "all", "-r", "-o", "%i %P").splitlines())
        expected = {"cpu": "batch", "bigmem": "short", "gpu": "gpu"}
        assert all(queues[job.id.text] == expected[job.group] for job in c.jobs)
        del plain, lazy, large, dear
        eventually(lambda: all(job.has_ended for job in c.jobs), lambda: f"{c!r} {list(adaptive.log)}", timeout=60)
        assert {job.state for job in c.jobs} <= {JobState.COMPLETED, JobState.CANCELLED}
        assert not c.failures
        directions = [(change["group"], change["status"]) for _, change in adaptive.log]
        assert {("cpu", "up"), ("bigmem", "up"), ("gpu", "up"), ("cpu", "down")} <= set(directions)
        assert all(usage.total > 0 for usage in c.account().groups.values())


@pytest.mark.usefixtures("leaves_nothing")
def test_every_process_has_gpus_of_its_own() -> None:
    """Two processes in one job of two GPUs, and another job on the same node: no GPU is seen twice."""
    groups = {
        "pair": WorkerGroup(cores=2, gpus=2, memory="800MB", queue="gpu"),
        "one": WorkerGroup(cores=1, gpus=1, memory="400MB", queue="gpu"),
        "none": WorkerGroup(cores=1, memory="400MB", queue="gpu"),
    }
    with cluster(groups=groups) as c, Client(c) as client:
        c.scale(pair=2, one=1, none=1)
        client.wait_for_workers(4, timeout=90)
        seen = client.run(lambda: os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        assert len(c.jobs) == 3
        gpus = sorted(each for each in seen.values() if each.isdigit())
        assert len(gpus) == len(set(gpus)) == 3
        assert [each for each in seen.values() if not each.isdigit()] in ([""], ["NoDevFiles"])


@pytest.mark.usefixtures("leaves_nothing")
def test_gpus_of_every_maker_are_divided(slurm: Any) -> None:
    """Each process has one of its job's two, in the variable of their maker; HIP counts within ROCR_VISIBLE_DEVICES."""
    if "makers" not in slurm.run("sinfo", "-h", "-o", "%R").split():
        pytest.skip("this Slurm has no GPUs of several makers")
    variables = {"a100": "CUDA_VISIBLE_DEVICES", "mi250": "ROCR_VISIBLE_DEVICES", "max1550": "ZE_AFFINITY_MASK"}
    groups = {
        kind: WorkerGroup(cores=2, gpus=2, memory="800MB", queue="makers", backend_options={"gpu_type": kind})
        for kind in variables
    }
    with cluster(groups=groups) as c, Client(c) as client:
        c.scale(a100=1, mi250=1, max1550=1)
        client.wait_for_workers(6, timeout=90)
        seen = client.run(surroundings).values()
        for kind, variable in variables.items():
            own = [environ for group, environ in seen if group == kind]
            granted = own[0]["SLURM_JOB_GPUS"].split(",")
            assert sorted(environ[variable] for environ in own) == sorted(granted)
            others = {name for name in variables.values() if name != variable} - {"CUDA_VISIBLE_DEVICES"}
            assert not any(name in environ for name in others for environ in own)
            if kind == "mi250":
                within = {(environ["HIP_VISIBLE_DEVICES"], environ["CUDA_VISIBLE_DEVICES"]) for environ in own}
                assert within == {("0", "0")}


@pytest.mark.usefixtures("leaves_nothing", "slurm")
@pytest.mark.skipif(len(CPUS) < 2, reason="this machine has one CPU")
def test_workers_share_the_cpus_of_their_job_and_no_others() -> None:
    """Each has some of its own, where there are enough; libraries that would start more threads start as many."""
    settings: dict[str, Any] = {"cores": 2, "processes": 2, "memory": "400MB", "affinity": "cores"}
    settings["env"] = {"OMP_NUM_THREADS": "8"}
    groups = {
        # As a control group would leave them to a job.
        "two": WorkerGroup(**settings, prologue=[f"taskset -pc {CPUS[0]},{CPUS[1]} $$"]),
        "one": WorkerGroup(**settings, prologue=[f"taskset -pc {CPUS[1]} $$"]),
    }
    with cluster(groups=groups) as c, Client(c) as client:
        c.scale(two=1, one=1)
        client.wait_for_workers(4, timeout=90)
        seen = client.run(lambda: (sorted(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"]))
        of_groups = client.run(surroundings)
        for group, expected in {"two": [[CPUS[0]], [CPUS[1]]], "one": [[CPUS[1]]] * 2}.items():
            own = [seen[address] for address, (name, _) in of_groups.items() if name == group]
            assert sorted(own) == [(cpus, "1") for cpus in expected]


@pytest.mark.usefixtures("leaves_nothing")
def test_a_group_can_be_added_and_removed(slurm: Any, eventually: Eventually) -> None:
    """While the others work; what it had ends as COMPLETED."""
    with cluster(groups={"cpu": GROUPS["cpu"]}) as c, Client(c) as client:
        c.scale(1)
        c.add_group("gpu", GROUPS["gpu"])
        c.scale(2, group="gpu")
        c.wait_for_workers(fraction=0.8, timeout=90)
        client.wait_for_workers(3, timeout=90)
        assert client.submit(place, resources={"GPU": 1}).result(timeout=30)[0] == "gpu"
        gpus = [job.id.text for job in c.jobs if job.group == "gpu"]
        c.remove_group("gpu")
        eventually(lambda: sum(job.state is JobState.COMPLETED for job in c.jobs) == 2, lambda: repr(c))
        assert not set(gpus) & set(slurm.queue(c.name))
        assert list(c.groups) == ["cpu"]
        assert len(c.observed) == 1


@pytest.mark.usefixtures("leaves_nothing")
def test_the_example_of_the_documentation() -> None:
    """As it is written there: a queue that this Slurm does not have harms nobody until it is asked for."""
    groups = {
        "cpu": WorkerGroup(cores=8, memory="32GB"),
        "bigmem": WorkerGroup(cores=8, memory="500GB", queue="bigmem"),
        "gpu": WorkerGroup(gpus=1, cores=4, memory="64GB", queue="gpu"),
    }
    with cluster(groups=groups) as c, Client(c) as client:
        c.scale(cpu=2)
        c.scale(1, group="gpu")
        c.wait_for_workers(3, timeout=90)
        assert "--partition=bigmem" in c.job_script("bigmem")
        assert client.submit(place, resources={"GPU": 1}).result(timeout=30)[0] == "gpu"
        adaptive = c.adapt(minimum=1, maximum=100, wait_count=60, groups={"gpu": {"minimum": 0, "maximum": 4}})
        assert (adaptive.minimum, adaptive.maximum, adaptive.wait_count, adaptive.idle_timeout) == (1, 100, 60, 60.0)  # type: ignore[attr-defined] # of the engine here
        adaptive.stop()
        c.scale(bigmem=1)
        with pytest.raises(SubmitRejected, match="bigmem"):
            c.wait_for_workers(4, timeout=60)
