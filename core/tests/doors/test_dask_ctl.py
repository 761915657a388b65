"""`dask cluster …`, the command line of dask-ctl, on clusters of corral's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed.core import Status

from corral import Cluster
from corral.cluster.registry import entries
from corral.errors import ClusterNotFound
from corral.remote.cluster import RemoteCluster
from corral.remote.discovery import Discovered, discover

pytestmark = pytest.mark.timeout(120)

#: What a shell's `dask` does. dask-ctl 2024.1.0 imports a function that newer versions of distributed do not have any
#: more: without it, the command does not exist, whatever clusters there are.
DASK = """
import distributed.cli.utils
if not hasattr(distributed.cli.utils, "install_signal_handlers"):
    distributed.cli.utils.install_signal_handlers = lambda loop: None
from dask.cli import run_cli
run_cli()
"""


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """A queue of the test's own."""
    return {"directory": str(tmp_path / "queue"), "cores": 4, "memory": "8GB"}


@pytest.fixture
def served(tmp_path: Path, options: dict[str, Any]) -> Iterator[str]:
    """The name of a cluster that `corral serve` runs."""
    command = [
        sys.executable, "-m", "corral", "serve", "--name", "door", "--backend", "local", "--interface", "lo",
        "--memory", "200MB", "--cores", "1", "--n-workers", "1",
        *(f"--backend-option={name}={value}" for name, value in options.items()),
    ]  # fmt: skip
    with (tmp_path / "served").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        until(lambda: "door" in names())
        Cluster.connect("door").close()
        yield "door"
        process.terminate()


def until(holds: Any) -> None:
    """What a file says tells no event."""
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def names() -> list[str]:
    """What dask-ctl is told."""

    async def listed() -> list[str]:
        return [name async for name, _ in discover()]

    return asyncio.run(listed())


def dask(*words: str) -> str:
    """What a person sees who types it."""
    pytest.importorskip("dask_ctl.exceptions", reason="dask-ctl is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DASK, "cluster", *words],
        capture_output=True, text=True, check=False, timeout=100, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_served_cluster_is_listed_scaled_and_deleted(served: str) -> None:
    """By the names and sizes of the real command line; delete ends what other handles leave running."""
    with Cluster.connect(served) as cluster:
        cluster.wait_for_workers(1, timeout=60)
        line = next(line for line in dask("list").splitlines() if served in line)
        assert cluster.scheduler_address in line
        assert line.split()[3:7] == ["corral", "1", "1", "190.73"]
        assert "Running" in line
        assert "Scaled cluster door to 2 workers." in dask("scale", served, "2")
        assert len(cluster.scheduler_info["workers"]) == 2
        assert "Deleted cluster door." in dask("delete", served)
    assert names() == []
    with pytest.raises(ClusterNotFound):
        Cluster.connect(served)


def test_a_cluster_in_a_process_is_listed_and_says_why_it_is_left_alone(options: dict[str, Any]) -> None:
    """dask-ctl passes over what it cannot make; who looks for the cluster would think that it had ended."""
    with Cluster(
        backend="local", name="own", memory="200MB", interface="lo", n_workers=1, backend_options=options
    ) as cluster:
        cluster.wait_for_workers(timeout=60)
        until(lambda: any(job.workers for entry in entries() for job in entry.jobs))
        line = next(line for line in dask("list").splitlines() if "own" in line)
        assert cluster.scheduler_address in line
        assert "Running" in line
        assert "which alone can change it" in " ".join(dask("scale", "own", "3").split())
        assert cluster.observed


def test_a_dead_cluster_is_listed_as_failed(options: dict[str, Any]) -> None:
    """Its jobs may be left: `corral clean` ends them, and the error says so."""
    given = {"backend": "local", "name": "lost", "memory": "200MB", "backend_options": options}
    code = f"import time; from corral import Cluster\nc = Cluster(**{given})"
    with subprocess.Popen([sys.executable, "-c", f"{code}\ntime.sleep(100)"]) as process:
        until(lambda: "lost" in names())
        process.kill()
    found = Discovered.from_name("lost")
    assert (found.name, found.status, found.dashboard_link) == ("lost", Status.failed, "")
    assert not found.scheduler_info["workers"]
    with pytest.raises(ClusterNotFound, match="corral clean"):
        found.close()
    with pytest.raises(ClusterNotFound, match="no cluster 'other'"):
        Discovered.from_name("other")


def test_a_broken_registry_breaks_no_list(tmp_path: Path) -> None:
    """Files that are not corral's are passed over; no folder is no clusters."""
    assert names() == []
    registry = tmp_path / "state" / "corral" / "registry"
    registry.mkdir(parents=True, mode=0o700)
    (registry / "odd.json").write_text("{")
    assert names() == []


def test_discovery_is_imported_by_every_dask_command() -> None:
    """So it must cost nothing: neither distributed nor what a cluster is made of."""
    code = "import sys, json, corral.remote.discovery; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"distributed", "corral.cluster", "corral.plugin"} & set(json.loads(done.stdout))


def test_from_name_is_what_connect_is(served: str) -> None:
    """Closing what it returns leaves the cluster as it is, unless it was told to end it; also on an event loop."""

    async def look() -> None:
        async with Cluster.from_name(served, asynchronous=True) as cluster:
            assert isinstance(cluster, RemoteCluster)
            await cluster.wait_for_workers(1, timeout=60)

    asyncio.run(look())
    with Cluster.from_name(served, shutdown_on_close=True) as cluster:
        assert cluster.name == served
    with pytest.raises(ClusterNotFound):
        Cluster.from_name(served)
