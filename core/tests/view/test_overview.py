"""What a cluster says of itself, as plain values: the same here and from a handle, and true."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import asdict, evolve, fields
from distributed import Client, wait

from corral import Cluster, WorkerGroup
from corral.cluster.overviewing import Known, job_view
from corral.cluster.shown import AtWork
from corral.jobs.record import JobRecord, Phase
from corral.plugin.values import JobId
from corral.scaling.account import STATES
from corral.view.overview import PHASES, USES, Load, Overview

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["process", "job"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cluster on a queue of its own, whose engine is here, or in a job."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Cluster(
        backend="local",
        memory="200MB",
        interface="lo",
        backend_options={"directory": str(tmp_path / "queue"), "cores": 3, "memory": "8GB"},
        scheduler=request.param,
        scheduler_options={"memory": "300MB", "cores": 1} if request.param == "job" else None,
    ) as cluster:
        yield cluster


def until(cluster: Any, holds: Any) -> Overview:
    """The first overview of which this holds."""
    for _ in range(600):
        found: Overview = cluster.overview()
        if holds(found):
            return found
        time.sleep(0.1)
    raise AssertionError(asdict(found))


def test_words_are_those_of_records_and_accounts() -> None:
    """Phases and uses are written down twice: pictures import neither jobs nor scaling."""
    assert (*PHASES, "ended") == tuple(phase.value for phase in Phase)
    assert USES == STATES


def test_it_says_what_there_is(cluster: Any) -> None:
    """Jobs by phase with moments of the wall clock, workers against wanted, load, hours; JSON without any help."""
    before = time.time()
    cluster.scale(4)
    found = until(cluster, lambda each: each.groups[0].jobs["working"] >= 2 and each.groups[0].reasons)
    group = found.groups[0]
    assert (found.backend, found.status) == ("local", "running")
    assert 0 < found.began <= before <= found.moment <= time.time()
    assert group.living == 4
    assert (group.wanted, group.workers_wanted, found.workers_wanted) == (4, 4, 4)
    assert found.workers == group.workers == group.jobs["working"]
    assert group.waiting_since is not None
    assert before - 1 < group.waiting_since < found.moment
    assert sum(count for _, count in group.reasons) <= group.jobs["waiting"]
    working = next(job for job in found.jobs if job.phase == "working")
    assert working.started is not None
    assert working.connected is not None
    assert before - 1 <= working.submitted <= working.started + 1 <= working.connected + 2 <= found.moment + 2
    assert json.loads(json.dumps(asdict(found)))["groups"][0]["jobs"]["working"] == group.jobs["working"]
    until(cluster, lambda each: each.core_hours > 0)


def test_it_says_whether_and_how_far_a_group_adapts(cluster: Any) -> None:
    """In jobs; what the whole cluster may have at most, a group may."""
    assert not cluster.overview().groups[0].adapts
    cluster.adapt(minimum=0, maximum=5, groups={"default": {"minimum": 1}})
    group = until(cluster, lambda each: each.groups[0].adapts).groups[0]
    assert (group.minimum, group.maximum) == (1, 5)
    cluster.scale(1)
    until(cluster, lambda each: not each.groups[0].adapts)


def test_it_says_which_tasks_there_are_and_what_fails(cluster: Any) -> None:
    """Of a worker that died: when, which tasks it ran, and where."""
    cluster.scale(1)
    with Client(cluster) as client:
        wait(client.submit(int, 1), timeout=60)
        killing = client.submit(os.kill, client.run(os.getpid).popitem()[1], signal.SIGSEGV, key="kills")
        found = until(cluster, lambda each: each.failures)
        killing.cancel()
    failure = found.failures[0]
    assert failure.worker.startswith(failure.job)
    assert "signal 11" in failure.cause
    assert failure.tasks == ("kills",)
    assert 0 < found.moment - failure.moment < 60


def test_a_cluster_that_has_closed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what there was; nothing is asked of what has ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = {"directory": str(tmp_path / "queue"), "cores": 3, "memory": "8GB"}
    with Cluster(backend="local", memory="200MB", interface="lo", backend_options=options, n_workers=1) as cluster:
        cluster.wait_for_workers(timeout=60)
    found = cluster.overview()
    assert found.status == "closed"
    assert [job.phase for job in found.jobs] == ["ended"]
    assert found.jobs[0].outcome == "wanted"
    assert found.load == Load()
    assert found.dashboard == ""


def test_every_value_is_plain() -> None:
    """What is written down is read by programs that know nothing of corral."""
    overview = Overview(name="n", backend="b", moment=1.0)
    assert set(asdict(overview)) == {field.name for field in fields(Overview)}
    assert json.loads(json.dumps(asdict(overview)))["groups"] == []


def test_a_job_that_leaves_by_itself_says_since_when() -> None:
    """Its launcher said so; whatever else asks it to leave came later, or was first."""
    record = JobRecord(id=JobId("7_0"), workers=frozenset({"7_0-0"}), leaving="walltime", leaving_at=50.0)
    view = job_view(record, None, 1000.0)
    assert (view.phase, view.leaving) == ("draining", 1050.0)
    assert job_view(evolve(record, retire_asked_at=20.0), None, 1000.0).leaving == 1020.0


def test_what_has_not_changed_is_the_same_object() -> None:
    """Of a thousand jobs that are looked at each second, those that changed are made anew; all, if a clock was set."""
    records = [JobRecord(id=JobId(f"7_{number}")) for number in range(3)]
    known = Known()
    known.since(1000.0)
    first = known.views(records, {})
    records[1] = evolve(records[1], was_listed=True, started_at=5.0)
    assert known.since(1000.2) == 1000.0
    second = known.views(records, {})
    assert [one is other for one, other in zip(first, second, strict=True)] == [True, False, True]
    assert known.since(2000.0) == 2000.0
    assert known.views(records, {})[0].submitted == 2000.0


def test_a_group_that_comes_while_somebody_looks_is_seen_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads look: what they read first does not know what they read next."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = {"directory": str(tmp_path / "queue")}
    with Cluster(backend="local", memory="200MB", interface="lo", backend_options=options) as cluster:
        assert cluster._engine is not None
        before, engine = cluster._engine.blueprint, cluster._engine
        cluster.add_group("more", WorkerGroup(memory="100MB"))
        seen = SimpleNamespace(blueprint=before, groups=engine.groups, jobs=engine.jobs, now=engine.now)
        looked = AtWork(seen).groups  # type: ignore[arg-type]
        assert {name: group.spec for name, group in looked.items()} == {"default": before.groups["default"]}
        assert [group.name for group in cluster.overview().groups] == ["default", "more"]
