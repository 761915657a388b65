"""One certain job is ended, and not replaced: here, and asked for by a handle."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral import Cluster
from corral.errors import InvalidRequest
from corral.view.overview import Overview

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["process", "job"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cluster with room for two of its jobs, whose engine is here, or in a job."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    is_apart = request.param == "job"
    with Cluster(
        backend="local",
        memory="200MB",
        interface="lo",
        backend_options={"directory": str(tmp_path / "queue"), "cores": 3 if is_apart else 2, "memory": "8GB"},
        scheduler=request.param,
        scheduler_options={"memory": "300MB", "cores": 1} if is_apart else None,
    ) as cluster:
        yield cluster


def until(cluster: Any, holds: Callable[[Overview], bool]) -> Overview:
    """The first overview of which this holds."""
    for _ in range(600):
        found: Overview = cluster.overview()
        if holds(found):
            return found
        time.sleep(0.1)
    raise AssertionError(repr(found))


def test_a_job_that_waits_and_one_that_works_are_ended_and_not_replaced(cluster: Any) -> None:
    """The oldest of those that work, which scaling down would not choose."""
    cluster.scale(jobs=4)
    found = until(cluster, lambda each: each.groups[0].jobs["working"] == 2 and each.groups[0].jobs["waiting"] == 2)

    waiting = [job for job in found.jobs if job.phase == "waiting"]
    working = next(job for job in found.jobs if job.phase == "working")
    cluster.cancel_job(waiting[0].id)
    cluster.cancel_job(working.id)
    gone = {waiting[0].id, working.id}
    found = until(cluster, lambda each: all(job.phase == "ended" for job in each.jobs if job.id in gone))
    assert found.groups[0].wanted == 2
    found = until(cluster, lambda each: each.groups[0].jobs["working"] == 2)
    assert {job.id for job in found.jobs if job.phase != "ended"} == {job.id for job in found.jobs} - gone
    assert {job.outcome for job in found.jobs if job.id in gone} <= {"", "wanted"}
    assert found.failures == ()
    with pytest.raises(InvalidRequest, match="has ended"):
        cluster.cancel_job(working.id)
    with pytest.raises(LookupError, match="no job 77777"):
        cluster.cancel_job("77777")
