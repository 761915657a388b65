"""A cluster closes although launchers fail at what they are asked, commands cannot be started, or its engine fails."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from distributed.core import rpc
from distributed.diagnostics.plugin import NannyPlugin

from corral import Cluster, hookimpl, mapped
from corral.cluster.registry import entries
from corral.jobs.record import StopReason
from corral.plugin.values import Command

pytestmark = pytest.mark.timeout(240)


class Fails(NannyPlugin):
    """Has every launcher raise what no program expects of a connection."""

    name = "fails"

    def setup(self, nanny: Any) -> None:
        def fail(**_: Any) -> None:
            raise LookupError("the dog ate it")

        nanny.handlers.update(corral_stop=fail, corral_retire=fail)


class NoProcess:
    """A host on which, for a while, no process can be started."""

    def __init__(self) -> None:
        self.left = 0

    def start(self, command: Command) -> Command:
        if self.left:
            self.left -= 1
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return command

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        return mapped((yield), self.start)

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Any) -> Any:
        return mapped((yield), self.start)


@pytest.fixture
def host() -> NoProcess:
    return NoProcess()


@pytest.fixture
def cluster(host: NoProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Cluster(
        backend="local",
        memory="200MB",
        interface="lo",
        plugins=[host],
        backend_options={"directory": str(tmp_path / "queue"), "cores": 3, "memory": "8GB"},
    )


def has_ended(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """All of its jobs have, and nothing is left that would say otherwise."""
    assert all(job.has_ended for job in cluster.jobs)
    assert [job.stop_reason for job in cluster.jobs].count(StopReason.CLOSING) == 2
    assert entries() == []
    assert "could not be ended cleanly" not in caplog.text


def test_launchers_that_raise_are_cancelled(
    cluster: Cluster, eventually: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """When their job is to retire, and when the cluster closes: one of them keeps no other from being asked."""
    with cluster, Client(cluster) as client:
        cluster.scale(jobs=3)
        client.wait_for_workers(3, timeout=60)
        client.register_plugin(Fails())
        cluster.scale(jobs=2)
        eventually(lambda: sum(job.has_ended for job in cluster.jobs) == 1, lambda: repr(cluster.jobs), 90)
    has_ended(cluster, caplog)


def test_a_connection_that_ends_badly_has_answered(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both sides close it at once, distributed shuts down a socket that is None."""
    close = rpc.close_rpc

    async def fail(self: rpc) -> None:
        await close(self)
        raise AttributeError("'NoneType' object has no attribute 'shutdown'")

    with cluster, Client(cluster) as client:
        cluster.scale(jobs=2)
        client.wait_for_workers(2, timeout=60)
        monkeypatch.setattr(rpc, "close_rpc", fail)
    has_ended(cluster, caplog)
    assert not any(job.cancellations for job in cluster.jobs)


def test_commands_that_cannot_be_started_are_started_later(
    cluster: Cluster, host: NoProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """A process too many on a login node is no reason to leave jobs."""
    with cluster, Client(cluster) as client:
        cluster.scale(jobs=2)
        client.wait_for_workers(2, timeout=60)
        host.left = 3
    has_ended(cluster, caplog)
    assert host.left == 0


def test_an_engine_that_fails_while_it_ends_jobs_cancels_them(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong, a job that nobody ends would use up an allocation."""
    with cluster, Client(cluster) as client, caplog.at_level(logging.ERROR, "corral"):
        cluster.scale(jobs=2)
        client.wait_for_workers(2, timeout=60)

        def fail(*_: Any) -> None:
            raise LookupError("the dog ate it")

        monkeypatch.setattr("corral.cluster.ending._is_stubborn", fail)
        monkeypatch.setattr("corral.cluster.launchers.Launchers.ask", fail)
    has_ended(cluster, caplog)
    assert "all are cancelled" in caplog.text
