"""The plugin's conversations with a real OAR."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import setups
from attrs import evolve
from real_jobs import RealJobs, real_jobs, variables

from corral.plugin import CommandFailed, FailureKind, JobId, JobState, Resources

pytestmark = [pytest.mark.real("oar"), pytest.mark.timeout(90)]

OAR = setups.of("oar").plugin()


@pytest.fixture
async def oar(tmp_path: Path) -> AsyncIterator[RealJobs]:
    async with real_jobs(OAR, tmp_path) as real:
        yield real


async def test_oar_is_detected_and_described(oar: RealJobs) -> None:
    """There is a version, and nodes with cores."""
    assert (await oar.talk(OAR.detect())).version[0].isdigit()
    [queue] = await oar.talk(OAR.describe_queues())
    assert queue.nodes > 0
    assert queue.cores > 0


async def test_ends_are_told_apart(oar: RealJobs) -> None:
    """One array, four ways to end; the job knows itself by the id that submit returned."""
    script = 'echo "$CORRAL_JOB_ID"; case $OAR_ARRAY_INDEX in 2) exit 3;; 3) kill -9 $PPID;; 4) exit 143;; esac'
    ids = await oar.submit(oar.job("bash", "-c", script), 4)
    ended = await oar.until(ids, lambda status: status.state.is_final)
    assert [(status.state, status.exit_code, status.signal) for status in ended] == [
        (JobState.COMPLETED, 0, None),
        (JobState.FAILED, 3, None),
        (JobState.FAILED, None, signal.SIGKILL),
        (JobState.FAILED, 143, None),
    ]
    for job_id, status in zip(ids, ended, strict=True):
        assert (oar.logs / f"{job_id}.log").read_text() == f"{job_id}\n"
        assert status.hosts
        assert status.submitted <= status.started <= status.ends  # type: ignore[operator]


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


async def test_a_job_reads_what_it_was_granted_and_reaches_its_hosts(oar: RealJobs) -> None:
    """Two nodes of two cores each, by oarsh; the log's folder has a blank in its name."""
    folder = oar.logs / "two words"
    folder.mkdir()
    job = oar.job(sys.executable, "-c", INSIDE, resources=Resources(nodes=2, cores=2), log_directory=str(folder))
    printed = await oar.run(job)
    [status] = await oar.until(oar.submitted, lambda status: status.state.is_final)
    assert status.state is JobState.COMPLETED, printed
    assert printed == f"{oar.submitted[0]} 2 2 True\n" + "two words|$HOME|it's|" * 2
    assert len(status.hosts) == 2


async def test_nothing_of_the_submitters_environment_reaches_the_job(
    oar: RealJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But what `env=` says, unharmed."""
    monkeypatch.setenv("SECRET_TOKEN", "xyzzy")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    hostile = "a'b\"c $HOME `id` \\ \t|"
    printed = await oar.run(oar.job("env", environment={"HOSTILE": hostile}))
    seen = variables(printed)
    assert seen["HOSTILE"] == hostile
    assert not {"SECRET_TOKEN", "LC_ALL", "PYTEST_CURRENT_TEST"} & seen.keys()


async def test_jobs_that_wait_are_polled_cancelled_and_found(oar: RealJobs) -> None:
    """Every second one of 200 is deleted; the others stay, to the last."""
    job = oar.job("true", extra_directives=["--hold"])
    ids = await oar.submit(job, 200)
    await oar.until(ids, lambda status: status.state is JobState.HELD)
    assert "held" in await oar.talk(OAR.explain_pending(ids[7]))
    await oar.talk(OAR.cancel(ids[::2]))
    ended = await oar.until(ids[::2], lambda status: status.state.is_final)
    assert {status.state for status in ended} == {JobState.CANCELLED}
    assert sorted(await oar.talk(OAR.find_jobs(job.name))) == sorted(ids[1::2])
    await oar.talk(OAR.cancel(ids))
    await oar.talk(OAR.cancel(ids))
    await oar.until(ids, lambda status: status.state.is_final)
    assert await oar.talk(OAR.find_jobs(job.name)) == []


async def test_a_deleted_job_runs_on_and_ends_as_cancelled(oar: RealJobs) -> None:
    """Deleting it again meanwhile is no error; what is not known is not listed."""
    ids = await oar.submit(oar.job("sleep", "300"))
    await oar.until(ids, lambda status: status.state is JobState.RUNNING)
    await oar.talk(OAR.cancel(ids))
    await oar.talk(OAR.cancel(ids))
    [status] = await oar.until(ids, lambda status: status.state.is_final)
    assert (status.state, status.exit_code) == (JobState.CANCELLED, None)
    await oar.talk(OAR.cancel([JobId("66999999")]))
    assert list(await oar.talk(OAR.poll_status([*ids, JobId("66999999")]))) == ids


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
        ({"queue": "no-such-queue"}, r"no-such-queue\W* does not exist"),  # OAR 2.6 quotes it
        ({"extra_directives": ["-p nosuch = 1"]}, 'column "nosuch" does not exist'),
    ],
    ids=["nodes", "queue", "property"],
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
