"""The panel of Dask's JupyterLab extension makes clusters of corral's, and shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from corral import Cluster

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["process", "job"])
def factory(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is written under `labextension.factory.kwargs`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    more: dict[str, Any] = {"scheduler-options": {"memory": "300MB"}} if request.param == "job" else {}
    return {
        "backend": "local",
        "memory": "200MB",
        "interface": "lo",
        "scheduler": request.param,
        "backend-options": {"directory": str(tmp_path / "queue"), "cores": 5, "memory": "8GB"},
        **more,
    }


def strict(model: Any) -> Any:
    """What the browser reads: JavaScript knows neither NaN nor Infinity."""
    return json.loads(json.dumps(model, allow_nan=False))


def model_of(cluster: Any, adaptive: Any) -> dict[str, Any]:
    """What the extension reads of a cluster, and of what `adapt` returned."""
    workers = cluster.scheduler_info["workers"].values()
    return {
        "type": type(cluster).__name__,
        "scheduler_address": cluster.scheduler_address,
        "dashboard_link": cluster.dashboard_link or "",
        "workers": len(workers),
        "memory": sum(each["memory_limit"] for each in workers),
        "cores": sum(each["nthreads"] for each in workers),
        "adapt": {"minimum": adaptive.minimum, "maximum": adaptive.maximum} if adaptive else None,
    }


@pytest.mark.asyncio
async def test_every_value_that_it_shows_is_one_that_a_browser_reads(factory: dict[str, Any]) -> None:
    """At each moment, from its start, with bounds that were just set, to after its end; awaited as it awaits."""
    given = {key.replace("-", "_"): value for key, value in factory.items()}
    async with await Cluster(**given, asynchronous=True) as cluster:
        adaptive = cluster.adapt(minimum=0, maximum=2)
        just_begun = strict(model_of(cluster, adaptive))
        assert just_begun["adapt"] == {"minimum": 0, "maximum": 2}
        assert cluster.scale(1) is None
        await cluster.wait_for_workers(1, timeout=60)
        working = strict(model_of(cluster, None))
        assert (working["workers"], working["cores"], working["memory"]) == (1, 1, 200_000_000)
        assert working["scheduler_address"].startswith("tls://")
        await cluster.close()
        assert strict(model_of(cluster, adaptive))["workers"] == 0


@pytest.mark.skipif(find_spec("dask_labextension") is None, reason="dask-labextension is not installed")
def test_with_the_extension_itself(factory: dict[str, Any], tmp_path: Path) -> None:
    """Its own code, its configuration in a file, in a process of its own: its import writes to the folder of both."""
    written = {"labextension": {"factory": {"module": "corral", "class": "Cluster", "args": [], "kwargs": factory}}}
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "mine.yaml").write_text(json.dumps(written))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", Path(__file__).parent / "jupyterlab_panel.py"],
        capture_output=True, text=True, check=False, env={**os.environ, "DASK_CONFIG": str(tmp_path / "config")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    new, scaled, adapts, listed, closed = json.loads(done.stdout)
    assert new["name"] in {"Cluster 1", "RemoteCluster 1"}
    assert scaled["workers"] == scaled["cores"] == 2
    assert adapts["adapt"] == listed["adapt"] == {"minimum": 1, "maximum": 3}
    assert closed["workers"] == 0
