"""Jobs have the folder, modules and configuration of the program that makes their cluster, on every batch system."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client
from operators import Operator

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("leaves_nothing")]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, in which the program is, and modules in three others."""
    for place in ("variable", "hand"):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"by_{place}.py").write_text(f"NAME = {place!r}\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path / "variable"), _python_path()])))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "hand")])
    work = tmp_path / "it's a project"
    work.mkdir()
    (work / "data.nc").write_text("42")
    (work / "random.py").write_text("raise SystemExit('not the one that you look for')\n")
    # Where the batch system's own commands would have put things.
    (work / "core").mkdir()
    monkeypatch.chdir(work)
    return work


def _python_path() -> str | None:
    return os.environ.get("PYTHONPATH")


def _task() -> Callable[[], dict[str, Any]]:
    def task() -> dict[str, Any]:
        modules = [importlib.import_module(name) for name in ("by_variable", "by_hand")]
        data = Path("data.nc").read_text()
        Path("result.txt").write_text("written")
        return {
            "modules": [module.NAME for module in modules],
            "data": data,
            "folder": os.getcwd(),
            "terminate": dask.config.get("distributed.worker.memory.terminate"),
            "inherited": os.environ.get("HDF5_USE_FILE_LOCKING"),
            "secret": os.environ.get("HDF5_API_TOKEN"),
            "left out": os.environ.get("PROJ_DATA"),
        }

    return task


def test_a_task_finds_what_the_program_finds(
    operator: Operator, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules, relative paths both ways, configuration, and of the environment what was named."""
    for name in ("HDF5_USE_FILE_LOCKING", "HDF5_API_TOKEN", "PROJ_DATA"):
        monkeypatch.setenv(name, "mine")
    with (
        dask.config.set({"distributed.worker.memory.terminate": 0.97}),
        operator.cluster(inherit_env=["HDF5_*"]) as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(1)
        client.wait_for_workers(1, timeout=operator.patience)
        assert client.submit(_task()).result(timeout=60) == {
            "modules": ["variable", "hand"],
            "data": "42",
            "folder": str(project),
            "terminate": 0.97,
            "inherited": "mine",
            "secret": None,
            "left out": None,
        }
    assert sorted(path.name for path in project.iterdir()) == ["core", "data.nc", "random.py", "result.txt"]


def test_a_local_directory_is_the_node_s(operator: Operator, tmp_path: Path) -> None:
    """A variable that the job's shell sets, and parents that are not there."""
    prologue = [f"export NODE_SCRATCH={tmp_path}"]
    with (
        operator.cluster(prologue=prologue, local_directory="$NODE_SCRATCH/a/$USER") as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(1)
        client.wait_for_workers(1, timeout=operator.patience)
        [worker] = client.scheduler_info()["workers"].values()
        assert worker["local_directory"].startswith(f"{tmp_path}/a/")
        assert "$" not in worker["local_directory"]


def test_what_a_job_has_set_up_holds_on_all_of_its_nodes(operator_of_nodes: Operator, tmp_path: Path) -> None:
    """Also where remote shells start the launchers: variables, the prologue, and the words that run Python."""
    operator = operator_of_nodes
    container = tmp_path / "container"
    # The commands of some batch systems have a folder of their own, which only a login puts into PATH.
    container.write_text('#!/bin/sh\nPATH="/inside:$PATH" IN_CONTAINER=yes exec "$@"\n')
    container.chmod(0o755)
    said = 'it\'s\n"two lines"'
    arguments: dict[str, Any] = {
        "nodes": 2,
        "env": {"SAID": said},
        "prologue": [f"export FROM_MODULE=/opt/lib PATH={tmp_path}:$PATH"],
        "python": ["container", sys.executable],
    }
    names = ("SAID", "FROM_MODULE", "IN_CONTAINER", "PATH")
    with operator.cluster(**arguments) as cluster, Client(cluster) as client:
        cluster.scale(2)
        client.wait_for_workers(2, timeout=operator.patience)
        first, second = client.run(lambda: [os.environ.get(name) for name in names]).values()
        assert first == second
        assert first[:3] == [said, "/opt/lib", "yes"]
        assert first[3].startswith(f"/inside:{tmp_path}:")
        assert len(cluster.jobs) == 1


#: A runtime that takes no variable along but those that are named, as podman does: neither the batch system's commands
#: nor what it says of the job are inside.
RUNTIME = """\
#!{python}
import os, sys
words = sys.argv[1:]
end = words.index("analysis:1") + 1
names = [word.removeprefix("--env=") for word in words[:end] if word.startswith("--env=")]
taken = {{name: os.environ[name] for name in names}}
os.execve(words[end], words[end:], {{**taken, "PATH": "/usr/bin", "IN_CONTAINER": " ".join(words[:2])}})
"""


def test_each_node_has_its_container(operator_of_nodes: Operator, tmp_path: Path) -> None:
    """What was granted is asked outside, where other nodes are started from, too; how long the job lasts is known."""
    operator = operator_of_nodes
    runtime = tmp_path / "podman-hpc"
    runtime.write_text(RUNTIME.format(python=sys.executable))
    runtime.chmod(0o755)
    with (
        operator.cluster(
            nodes=2,
            container="analysis:1",
            launch_prefix=["podman-hpc", "run"],
            python=sys.executable,
            env={"SAID": "it's\ntwo lines"},
            inherit_env=["PYTHONPATH"] if _python_path() else [],
            prologue=[f"export PATH={tmp_path}:$PATH ONLY_OUTSIDE={tmp_path}"],
            local_directory="$ONLY_OUTSIDE/spilled",
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(2)
        client.wait_for_workers(2, timeout=operator.patience)
        first, second = client.run(lambda: dict(os.environ)).values()
        for seen in (first, second):
            assert (seen["SAID"], seen["IN_CONTAINER"]) == ("it's\ntwo lines", "run --rm")
            assert not [name for name in seen if name.startswith(("SLURM_", "PBS_", "SGE_", "LSB_", "OAR_", "FLUX_"))]
        [job] = cluster.jobs
        assert seen["CORRAL_JOB_ID"] == str(job.id)
        assert "cannot tell" not in cluster.logs(job)
        assert cluster.logs(job).count(" goes on as: podman-hpc run --rm ") == 2
