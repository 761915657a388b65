"""Groups with a batch system of their own: two embedded queues stand for the cluster's and for another one.

Both count from 1, so that their jobs have the same ids.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Client

from corral import Cluster, WorkerGroup
from corral.errors import InvalidRequest, UnknownBackend

#: A package with a second backend.
LINES = Path(__file__).parent / "waits"


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.syspath_prepend(str(LINES))
    monkeypatch.setenv("PYTHONPATH", str(LINES), prepend=os.pathsep)
    return tmp_path / "state" / "corral"


@pytest.fixture
def here(tmp_path: Path) -> WorkerGroup:
    """A group of the embedded queue."""
    options = {"directory": str(tmp_path / "here"), "cores": 4, "memory": "4GB"}
    return WorkerGroup(backend="local", backend_options=options, memory="200MB")


@pytest.fixture
def arguments(tmp_path: Path, here: WorkerGroup) -> dict[str, Any]:
    """Of a cluster in a centre's queue, whose group "here" is not."""
    options = {"directory": str(tmp_path / "centre"), "cores": 4, "memory": "4GB"}
    return {
        "backend": "lines", "backend_options": options, "interface": "lo",
        "groups": {"there": WorkerGroup(memory="200MB"), "here": here},
    }  # fmt: skip


def eventually(condition: Callable[[], object], complaint: Callable[[], object] = str, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def ids(cluster: Cluster) -> list[str]:
    return sorted(str(job.id) for job in cluster.jobs)


def test_ids_of_two_batch_systems_do_not_clash(arguments: dict[str, Any]) -> None:
    """Jobs of a batch system that is not the cluster's are known by its name and their id: workers and logs, too."""
    with Cluster(**arguments) as c, Client(c) as client:
        c.scale(there=1, here=1)
        c.wait_for_workers(2, timeout=60)
        assert ids(c) == ["1_0", "local:1_0"]
        assert sorted(worker["name"] for worker in client.scheduler_info(-1)["workers"].values()) == [
            "1_0-0",
            "local:1_0-0",
        ]
        assert {job.group: job.phase.value for job in c.jobs} == {"there": "working", "here": "working"}
        logs = {c.logs(job) for job in c.jobs}
        assert len(logs) == 2
        assert c.logs("local:1_0") in logs
        assert client.submit(lambda: 1, resources={"here": 1}).result(timeout=30) == 1
        c.scale(here=0)
        eventually(lambda: [job.has_ended for job in c.jobs if job.group == "here"] == [True], lambda: c.jobs)
        assert [job.phase.value for job in c.jobs if job.group == "there"] == ["working"]
    assert all(job.has_ended for job in c.jobs)
    assert not c.failures
