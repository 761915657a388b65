"""The plugin's conversations with a real OAR."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import setups
from attrs import evolve
from real_jobs import RealJobs, real_jobs

from corral.plugin import CommandFailed, FailureKind, JobState, Resources

pytestmark = [pytest.mark.real("oar"), pytest.mark.timeout(90)]

OAR = setups.of("oar").plugin()


@pytest.fixture
async def oar(tmp_path: Path) -> AsyncIterator[RealJobs]:
    async with real_jobs(OAR, tmp_path) as real:
        yield real


#: One line for each core, with its properties.
SHOW = 'cat "$OAR_RESOURCE_PROPERTIES_FILE"'

#: Reads what its job was granted, and starts a process on every host of it.
INSIDE = """
import asyncio, os, subprocess, time
from corral.batch.runner import Runner
from corral_oar import Oar
granted = asyncio.run(Runner().converse(Oar().read_allocation(os.environ)))
print(granted.job_id, granted.cores, len(granted.hosts), 0 < granted.ends - time.time() <= 300, flush=True)
for argv in Oar().launch_command(granted, ["printf", "%s|", "two words", "$HOME", "it's"]):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
"""


async def test_a_held_job_says_so(oar: RealJobs) -> None:
    ids = await oar.submit(oar.job("true", extra_directives=["--hold"]))
    await oar.until(ids, lambda status: status.state is JobState.HELD)
    assert "held" in await oar.talk(OAR.explain_pending(ids[0]))


async def test_a_deleted_job_may_be_deleted_again_while_it_runs_on(oar: RealJobs) -> None:
    ids = await oar.submit(oar.job("sleep", "300"))
    await oar.until(ids, lambda status: status.state is JobState.RUNNING)
    await oar.talk(OAR.cancel(ids))
    await oar.talk(OAR.cancel(ids))
    [status] = await oar.until(ids, lambda status: status.state.is_final)
    assert (status.state, status.exit_code) == (JobState.CANCELLED, None)


async def test_a_missing_log_folder_fails_the_job(oar: RealJobs) -> None:
    """OAR does not say so at submission."""
    ids = await oar.submit(oar.job("true", log_directory=str(oar.logs / "missing")))
    [status] = await oar.until(ids, lambda status: status.state.is_final)
    assert status.state is JobState.FAILED
    assert "Cannot create .stdout" in status.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resources": Resources(nodes=999)}, "not enough resources"),
        ({"extra_directives": ["-p nosuch = 1"]}, 'column "nosuch" does not exist'),
    ],
    ids=["nodes", "property"],
)
async def test_an_impossible_job_is_refused_at_once(oar: RealJobs, changes: dict[str, Any], words: str) -> None:
    """In OAR's own words, classified."""
    with pytest.raises(CommandFailed) as caught:
        await oar.submit(oar.job("true", **changes))
    failure = OAR.classify_failure(caught.value.completed)
    assert failure is not None
    assert failure.kind is FailureKind.FATAL
    assert re.search(words, failure.message)


async def test_what_is_asked_for_by_property_is_granted(oar: RealJobs) -> None:
    """Memory, GPUs, hosts to avoid and a condition of the user's, all of them at once."""
    [queue] = await oar.talk(OAR.describe_queues())
    if not queue.gpus:
        pytest.skip("this OAR has no GPUs")
    job = oar.job("cat", "/dev/null", resources=Resources(cores=2, gpus=1, memory=2**30), prologue=[SHOW])
    job = evolve(job, excluded_hosts=["nosuch"], extra_directives=["-p core > 0"])
    printed = await oar.run(job, evolve(OAR, memory_property="memcore"))
    gpus = re.findall(r" gpu = '(\d+)'", printed)
    assert (len(gpus), len(set(gpus))) == (2, 1)
