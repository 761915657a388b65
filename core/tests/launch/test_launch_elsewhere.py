"""What a job's script has set up holds on all of its nodes, also where remote shells start the launchers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from core.tests.launch.conftest import Launched
from corral.launch import elsewhere
from corral.plugin.scripting import job_body
from corral.plugin.values import Job, JobId, Resources
from corral.request.worker_group import JOB_ENVIRONMENT

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster

PRETEND = os.pathsep.join(filter(None, [str(Path(__file__).parent / "pretend"), os.environ.get("PYTHONPATH")]))
SECRET = 'it\'s a $HOME `of` "secrets"\nand two lines'


async def launch(cluster: Cluster, job: Job, *more: str) -> Launched:
    """Start a job's script; its workers are connected."""
    allocation = cluster.directory / "allocation.json"
    allocation.write_text(json.dumps({"job_id": "8", "hosts": ["known-as-a", "known-as-b"]}))
    directory = cluster.directory / "local"
    directory.mkdir()
    arguments = [f"--credentials={cluster.path}", f"--local-directory={directory}", "--backend=pretend"]
    arguments += ['--backend-options={"is_remote": true}', *more]
    job = evolve(
        job,
        resources=Resources(nodes=2),
        command=[*job.command, sys.executable, "-P", "-m", "corral.launch", *arguments],
        environment={**JOB_ENVIRONMENT, "PYTHONPATH": PRETEND, **job.environment},
        directory=str(cluster.directory),
    )
    log = cluster.directory / "job.log"
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *job.shebang.removeprefix("#!").split(),
            "-c",
            job_body(job, job_id="8"),
            env={**os.environ, "PRETEND_ALLOCATION": str(allocation), "OF_NODE": "the first", "DROPPED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    launched = Launched(process=process, log=log, directory=directory)
    cluster.launched.append(launched)
    await cluster.log.wait_for(lambda: cluster.names == {"8-0", "8-1"})
    launched.descendants()
    return launched


async def environments(cluster: Cluster) -> list[dict[str, str]]:
    """Those of tasks on the first node and the second."""
    async with cluster.client() as client:
        seen: dict[str, Any] = await client.run(lambda: dict(os.environ))
    names = {address: str(worker.name) for address, worker in cluster.scheduler.workers.items()}
    return [seen[address] for address in sorted(seen, key=names.__getitem__)]


@pytest.mark.parametrize("shebang", ["#!/bin/bash", "#!/bin/sh"])
async def test_variables_and_prologue_hold_on_the_other_nodes(cluster: Cluster, shebang: str) -> None:
    """What a node says of itself stays; nothing of it is in a command line; and the file goes with the job."""
    prologue = ["export FROM_MODULE=/opt/lib PATH=/opt/bin:$PATH", "unset DROPPED"]
    launched = await launch(cluster, Job(shebang=shebang, environment={"SECRET": SECRET}, prologue=prologue))

    first, second = await environments(cluster)
    words = [" ".join(process.cmdline()) for process in launched.family if process.is_running()]
    files = {path.name: path.stat().st_mode & 0o777 for path in cluster.path.parent.glob("node-*")}
    await cluster.nanny("8-1").corral_retire(reason="test")
    code, log = await launched.end()

    names = ("SECRET", "FROM_MODULE", "PATH", "DROPPED", "CORRAL_JOB_ID", "OMP_NUM_THREADS")
    assert {name: second.get(name) for name in names} == {name: first.get(name) for name in names}
    assert second["SECRET"] == SECRET
    assert second["OF_NODE"] == "own"
    assert not any("secrets" in line or "/opt/lib" in line for line in words if "corral_before" not in line)
    assert files == {"node-8.sh": 0o600}
    assert not any("CORRAL_BEFORE" in seen for seen in (first, second))
    assert code == 0, log
    assert not list(cluster.path.parent.glob("node-*"))


async def test_the_other_nodes_run_the_words_that_run_python(cluster: Cluster) -> None:
    """A container's, which has a search path of its own: on the others it is found outside."""
    tool = cluster.directory / "bin" / "container"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nPATH=/inside:/usr/bin:/bin IN_CONTAINER=$1 exec "$@"\n')
    tool.chmod(0o755)
    prologue = [f"export PATH={tool.parent}:$PATH"]
    launched = await launch(cluster, Job(command=["container", "env", "WRAPPED=yes"], prologue=prologue))

    first, second = await environments(cluster)
    await cluster.nanny("8-1").corral_retire(reason="test")
    code, log = await launched.end()

    for name in ("WRAPPED", "IN_CONTAINER", "PATH"):
        assert second.get(name) == first[name], log
    assert code == 0


def test_scripts_of_others_say_nothing() -> None:
    """Nor does one that is damaged: then launchers carry what they know."""
    for environ in ({}, {"CORRAL_BEFORE": "x", "CORRAL_AFTER": "y"}, {"CORRAL_BEFORE": "eA==", "CORRAL_AFTER": "eA=="}):
        assert elsewhere.taken_environment(environ) is None


def test_an_environment_that_is_too_large_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The kernel takes no variable of more than 128 KiB."""
    with elsewhere.written_for_other_nodes(
        str(tmp_path / "credentials.json"), JobId("8"), {}, ["true"], {"CORRAL_COMMAND": "true"}
    ) as command:
        assert command is None
    assert "too large to pass on" in capfd.readouterr().err
