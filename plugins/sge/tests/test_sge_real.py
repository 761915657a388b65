"""The plugin's conversations with a real Grid Engine."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import setups
from attrs import evolve
from real_jobs import RealJobs, real_jobs

from corral.plugin import Allocation, JobId, JobState, Resources

pytestmark = [pytest.mark.real("sge"), pytest.mark.timeout(90)]

SGE = setups.of("sge").plugin()


@pytest.fixture
async def sge(tmp_path: Path) -> AsyncIterator[RealJobs]:
    async with real_jobs(SGE, tmp_path) as real:
        yield real


@pytest.fixture
async def smp(sge: RealJobs) -> RealJobs:
    """With a parallel environment of the name that the tests use."""
    if "smp" not in (await sge.ask("qconf", "-spl")).split():
        pytest.skip("this Grid Engine has no parallel environment smp")
    return sge


@pytest.mark.parametrize("folder", ["two words", "$USER $$ $x", "a:b", "~%s", 'it\'s "so"', "\\;*[a]|", "{}é"])
async def test_a_log_lands_in_a_folder_of_any_name(sge: RealJobs, folder: str) -> None:
    """Grid Engine fills some names in, and takes a colon for the end of a host."""
    directory = sge.logs / folder
    directory.mkdir()
    assert await sge.run(sge.job("echo", "here", log_directory=str(directory))) == "here\n"
    assert len(list(directory.glob("*.log"))) == 1


async def test_a_missing_log_folder_holds_the_job(sge: RealJobs) -> None:
    """Grid Engine does not say so at submission: the job is in an error state, with a reason."""
    missing = sge.logs / "missing"
    ids = await sge.submit(sge.job("true", log_directory=str(missing)), 2)
    for status in await sge.until(ids, lambda status: status.state is JobState.HELD and status.reason != ""):
        assert status.native == "Eqw"
        assert str(missing) in status.reason
    explanation = await sge.talk(SGE.explain_pending(ids[1]))
    assert "qmod -cj" in explanation
    assert f"{missing}/{ids[1]}.log" in explanation


@pytest.mark.parametrize("cause", ["held", "no host is left"])
async def test_a_wait_is_explained(sge: RealJobs, cause: str) -> None:
    """It takes the scheduler a moment to say why."""
    hosts = (await sge.ask("qconf", "-sel")).split()
    changes: dict[str, Any] = {"extra_directives": ["-h"]} if cause == "held" else {"excluded_hosts": hosts}
    [job_id] = await sge.submit(sge.job("true", **changes))
    words = "qrls" if cause == "held" else f"hostname=!({hosts[0]}"
    while True:
        if words in await sge.talk(SGE.explain_pending(job_id)):
            return
        await asyncio.sleep(0.2)


async def test_nothing_is_explained_of_jobs_that_nobody_knows(sge: RealJobs) -> None:
    assert await sge.talk(SGE.explain_pending(JobId("9999999.1"))) == ""


async def test_an_array_that_is_too_large_is_made_smaller(sge: RealJobs) -> None:
    """By what the refusal says, with nothing set by the user."""
    configuration = (await sge.ask("qconf", "-sconf")).splitlines()
    limit = next(int(line.split()[1]) for line in configuration if line.startswith("max_aj_tasks"))
    if limit == 0:
        pytest.skip("this Grid Engine sets no limit")
    job = sge.job("true", extra_directives=["-h"])
    assert len(await sge.submit(job, limit + 5, evolve(SGE, max_array_size=limit + 5))) == limit


async def test_qrsh_starts_the_very_words(smp: RealJobs) -> None:
    """On a host of the job; its exit code comes back."""
    [_, argv] = SGE.launch_command(
        Allocation(job_id=JobId("1.1"), hosts=["elsewhere", "HOST"]),
        ["bash", "-c", 'echo "$0|$1"; exit 7', "two words", "$HOME"],
    )
    line = shlex.join(argv).replace("HOST", '"$HOSTNAME"', 1)
    job = smp.job("bash", "-c", f"{line}; echo code $?", resources=Resources(cores=2))
    assert (await smp.run(job)).splitlines() == ["two words|$HOME", "code 7"]


async def test_a_job_that_no_queue_could_ever_run_is_told_from_one_that_waits(sge: RealJobs) -> None:
    """By a dry run on an empty cluster."""
    [never] = await sge.submit(sge.job("true", extra_directives=["-q short.q", "-l h_rt=7200"]))
    [held] = await sge.submit(sge.job("true", extra_directives=["-h"]))
    told = await sge.talk(SGE.explain_pending(never))
    assert told.startswith("it will never start")
    assert "walltime=" in told
    assert "never" not in await sge.talk(SGE.explain_pending(held))


INSIDE = """
import os, subprocess, sys
from pathlib import Path
from corral.plugin.values import Allocation, JobId
from corral.launch.elsewhere import written_for_other_nodes
from corral_sge import GridEngine
see = ["bash", "-c", 'echo "$SAID|$FROM_MODULE|${JOB_ID:+has its own}|${CORRAL_AFTER:-nothing}"']
with written_for_other_nodes(sys.argv[1], JobId("1.1"), {}, see, os.environ) as command:
    granted = Allocation(job_id=JobId("1.1"), hosts=["elsewhere", os.environ["HOSTNAME"]])
    for argv in GridEngine().launch_command(granted, command):
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
"""


async def test_what_a_job_has_set_up_is_there_under_qrsh(smp: RealJobs, tmp_path: Path) -> None:
    """qrsh begins with an environment of its own; the script that it runs has the job's."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    job = smp.job(
        *(sys.executable, "-c", INSIDE, str(private / "credentials.json")),
        resources=Resources(nodes=2),
        environment={"SAID": "it's $HOME"},
        prologue=["export FROM_MODULE=/opt/lib"],
        extra_directives=["-pe smp 2"],
    )
    assert await smp.run(job) == "it's $HOME|/opt/lib|has its own|nothing\n" * 2
    assert not list(private.iterdir())
