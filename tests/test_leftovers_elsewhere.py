"""What killed clusters leave on other servers of their batch system: the commands here are stand-ins."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from corral.cluster import cleanup
from corral.cluster.registry import Entry, JobLine
from corral.plugin import JobId

#: What lists jobs, by name and by id, answers for the other server alone.
COMMANDS = {
    "pbs": {
        "qselect": "case $* in *@other*) echo '7[0].other';; esac",
        "qstat": "printf 'Job Id: 7[0].other\\n    Job_Name = dask-00000000-1\\n    job_state = Q\\n'",
    },
    "slurm": {
        "squeue": "case $* in *Name:*'-M other'*) echo '7_0|PENDING|dask-00000000-1|';;"
        " *'-M other'*) echo '7_0|PENDING|0||1795477505|||None|';; esac",
    },
}


@pytest.mark.parametrize("backend", COMMANDS)
def test_jobs_of_a_killed_cluster_are_found_on_other_servers(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`corral clean` is another process, which has submitted nothing: the registry says where jobs were."""
    for name, text in COMMANDS[backend].items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    job = "7[0].other" if backend == "pbs" else "7_0"
    line = JobLine(id=job, where="other", group="default", state="pending")
    entry = Entry(name="a", uuid="0" * 32, backend=backend, prefixes=["dask-00000000-"], jobs=[line])
    found = asyncio.run(cleanup.find(entry))
    assert [(job_id, job_id.where) for job_id in found] == [(JobId(job), "other")]
