"""What workers have of the program that made their cluster, and of the node that they are on."""

from __future__ import annotations

import importlib
import json
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from corral._version import __version__
from corral.environment.program import STAYS, Program, _travelling
from corral.launch.ending import Exit

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster


def _made_by(cluster: Cluster, program: Program) -> None:
    """Let the credentials say what this program has."""
    cluster.path.unlink()
    evolve(cluster.credentials, program=program).write(cluster.path)


def _seen(*names: str) -> dict[str, Any]:
    import dask
    import distributed.worker

    seen = {name: dask.config.get(name, "nothing") for name in names}
    # Read once, when distributed is imported.
    seen["level"] = distributed.worker.logger.getEffectiveLevel()
    return seen


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_dask_is_configured_as_in_the_program(cluster: Cluster, launcher: str) -> None:
    """On nannies and workers, and before distributed is imported; what the job's own environment says wins."""
    configuration = {
        "distributed": {"worker": {"memory": {"terminate": 0.97, "pause": 0.81}}, "comm": {"retry": {"count": 7}}},
        "logging": {"distributed": "error"},
        "my-own": {"key": [1, {"a": None}]},
    }
    _made_by(cluster, Program(configuration=configuration))
    names = ("distributed.worker.memory.terminate", "distributed.comm.retry.count", "my-own.key")
    await cluster.connect(f"--launcher={launcher}", DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE="0.77")
    async with cluster.client() as client:
        workers = await client.run(_seen, *names, "distributed.worker.memory.pause")
        nannies = await client.run(_seen, *names, "distributed.worker.memory.pause", nanny=True)
    expected = dict(zip(names, (0.97, 7, [1, {"a": None}]), strict=True))
    expected |= {"distributed.worker.memory.pause": 0.77, "level": 40}
    assert [*workers.values(), *nannies.values()] == [expected] * 2


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_the_configuration_is_in_no_environment(cluster: Cluster, launcher: str) -> None:
    """A task's own processes inherit that, and print it."""
    _made_by(cluster, Program(configuration={"my-own": {"password": "a-secret-word"}}))
    launched = await cluster.connect(f"--launcher={launcher}")
    async with cluster.client() as client:
        [environ] = (await client.run(lambda: dict(os.environ))).values()
    assert not [name for name, value in environ.items() if "a-secret-word" in value]
    for process in launched.descendants():
        assert "a-secret-word" not in " ".join(process.cmdline())
    for path in launched.directory.rglob("*.yaml"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_modules_are_found_where_the_program_found_them(cluster: Cluster, launcher: str, tmp_path: Path) -> None:
    """Before the standard library, or after it, as there."""
    first, last = tmp_path / "first", tmp_path / "last"
    for folder in (first, last):
        folder.mkdir()
        (folder / "of_both.py").write_text(f"WHERE = {folder.name!r}\n")
    (first / "of_first.py").write_text("")
    # What the program appended does not hide Python's own.
    (last / "graphlib.py").write_text("raise ImportError\n")
    _made_by(cluster, Program(first=[str(first)], last=[str(last)]))
    await cluster.connect(f"--launcher={launcher}")

    def seen() -> str:
        for name in ("graphlib", "of_first"):
            importlib.import_module(name)
        return str(importlib.import_module("of_both").WHERE)

    async with cluster.client() as client:
        assert list((await client.run(seen)).values()) == ["first"]


def test_what_is_about_the_host_stays_there(caplog: pytest.LogCaptureFixture) -> None:
    """Folders, addresses and files; however a key is spelled. What is no plain data is told by its name."""
    here = {
        "temporary_directory": "/mine",
        "scheduler-address": "tcp://other:1",
        "distributed": {
            "scheduler": {"contact-address": "a", "dashboard": {"tls": {"key": "/k"}, "status": {"x": 1}}},
            "comm": {"tls": {"ca-file": "/c", "worker": {"key": "/k"}, "ciphers": "X"}, "require_encryption": True},
            "dashboard": {"link": "http://proxy/{port}"},
        },
        "pool": object(),
        "folder": Path("/p"),
        "limits": {"inf": float("inf"), "two": (1, 2)},
    }
    assert _travelling(here) == {
        "distributed": {
            "scheduler": {"dashboard": {"status": {"x": 1}}},
            "comm": {"tls": {"ciphers": "X"}},
            "dashboard": {},
        },
        "folder": "/p",
        "limits": {"inf": float("inf"), "two": [1, 2]},
    }
    assert caplog.messages == [
        "Dask's configuration of this program has values that are not plain data, which workers will not get: pool"
    ]
    assert all(STAYS.values()), "each has its reason"


# --- the node's own ---------------------------------------------------------------------------------------------


async def test_variables_in_the_local_directory_are_the_node_s(cluster: Cluster, tmp_path: Path) -> None:
    """It is made, with its parents, for this user alone."""
    await cluster.connect("--local-directory=$NODE_SCRATCH/a/${NODE_USER}", NODE_SCRATCH=str(tmp_path), NODE_USER="me")
    [worker] = cluster.scheduler.workers.values()
    assert worker.local_directory.startswith(f"{tmp_path}/a/me/")
    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/me")]
    assert modes == [0o700, 0o700]


async def test_a_variable_that_the_node_does_not_have_is_told(cluster: Cluster) -> None:
    """A folder called $SCRATCH helps nobody."""
    launched = await cluster.start("--local-directory=$NOT_SET_THERE/x")
    code, log = await launched.end()
    assert code == Exit.USAGE
    assert f"'$NOT_SET_THERE/x': NOT_SET_THERE is not set here, on {os.uname().nodename}" in log


# --- versions ---------------------------------------------------------------------------------------------------


async def test_an_option_of_another_version_is_told_with_both(cluster: Cluster) -> None:
    """Not "unrecognized arguments" alone."""
    launched = await cluster.start("--made-by=9.9", "--not-invented-yet=1")
    code, log = await launched.end()
    assert code == Exit.USAGE
    assert "made by corral 9.9" in log
    assert f"this job's Python, {sys.executable}, has corral {__version__}" in log
    assert "unrecognized arguments: --not-invented-yet=1" in log


async def test_credentials_of_another_version_are_told_with_both(cluster: Cluster) -> None:
    """Their fields may be others."""
    fields = {**json.loads(cluster.path.read_text()), "version": "9.9", "not-invented-yet": 1}
    cluster.path.write_text(json.dumps(fields))
    launched = await cluster.start()
    code, log = await launched.end()
    assert code == Exit.FAILED
    assert "made by corral 9.9" in log
    assert f"has corral {__version__}" in log


async def test_another_version_that_is_understood_is_told_and_works(cluster: Cluster) -> None:
    """In the log, and to the cluster."""
    launched = await cluster.connect(f"--made-by={__version__}.dev9")
    assert f"made by corral {__version__}.dev9" in launched.log.read_text()
    assert (await cluster.report("ready"))["version"] == __version__
