"""What sites add to a Slurm: accounting, QOS with limits, plugins that print and refuse, another cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_jobs import RealJobs, real_jobs

from corral.plugin import CommandFailed, Failure, FailureKind, Job, JobId, JobState, Resources
from corral_slurm import Slurm

pytestmark = [pytest.mark.timeout(180)]

MEBI = 2**20


@pytest.fixture
async def slurm(tmp_path: Path) -> AsyncIterator[RealJobs]:
    # A backend of its own for each test: it remembers what was refused.
    async with real_jobs(Slurm(), tmp_path, resources=Resources(memory=10 * MEBI)) as real:
        yield real


async def refusal(slurm: RealJobs, job: Job, count: int = 1) -> Failure:
    """What the backend makes of the words with which a job is refused."""
    with pytest.raises(CommandFailed) as caught:
        await slurm.submit(job, count)
    failure: Failure | None = slurm.backend.classify_failure(caught.value.completed)
    assert failure is not None
    return failure


# --- QOS --------------------------------------------------------------------------------------------------------


@pytest.mark.real("slurm", having="accounting")
@pytest.mark.parametrize(
    ("qos", "cores", "reason"), [("one", 1, "QOSMaxJobsPerUserLimit"), ("narrow", 2, "QOSGrpCpuLimit")]
)
async def test_a_limit_says_why_a_job_waits(slurm: RealJobs, qos: str, cores: int, reason: str) -> None:
    """It will start when the other has ended, and is not hopeless."""
    resources = Resources(cores=cores, memory=10 * MEBI)
    job = slurm.job("sleep", "300", resources=resources, extra_directives=[f"--qos={qos}"])
    first, second = await slurm.submit(job, 2)
    await slurm.until_in([first], JobState.RUNNING)
    [waits] = await slurm.until([second], lambda status: status.reason == reason)
    assert (waits.state, waits.hopeless) == (JobState.PENDING, "")
    words = await slurm.talk(slurm.backend.explain_pending(second))
    assert words == f"a limit of the QOS on what may run at once or be used in all is reached ({reason})"


@pytest.mark.real("slurm", having="accounting")
async def test_a_job_that_is_larger_than_its_qos_will_never_start(slurm: RealJobs) -> None:
    """Slurm gives the same reason as for jobs that will; the limit's own figure tells."""
    resources = Resources(cores=3, memory=10 * MEBI)
    [job_id] = await slurm.submit(slurm.job("true", resources=resources, extra_directives=["--qos=narrow"]))
    await slurm.until([job_id], lambda status: status.reason == "QOSGrpCpuLimit")
    words = await slurm.talk(slurm.backend.explain_pending(job_id))
    assert words == (
        "it will never start: it asks for 3 cores, and all jobs of QOS narrow together may have 2; see cores= "
        "(QOSGrpCpuLimit)"
    )


@pytest.mark.real("slurm", having="accounting")
async def test_a_limit_on_submissions_is_told_from_a_limit_on_a_job(slurm: RealJobs) -> None:
    """The first passes, the second does not."""
    many = await refusal(slurm, slurm.job("true", extra_directives=["--qos=two"]), 3)
    assert (many.kind, many.message.partition(";")[0]) == (FailureKind.LIMIT, "QOSMaxSubmitJobPerUserLimit")
    long = await refusal(slurm, slurm.job("true", walltime=1200, extra_directives=["--qos=brief"]))
    assert (long.kind, long.message.partition(";")[0]) == (FailureKind.FATAL, "QOSMaxWallDurationPerJobLimit")
    assert "walltime=" in long.message


# --- accounting -------------------------------------------------------------------------------------------------


@pytest.fixture
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An squeue that lists no job that has ended, as every one does when MinJobAge is over."""
    squeue = tmp_path / "bin/squeue"
    squeue.parent.mkdir()
    squeue.write_text(f'#!/bin/bash\nexec {shutil.which("squeue")} "${{@/all/pending,running,completing}}"\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")


@pytest.mark.real("slurm", having="accounting")
@pytest.mark.usefixtures("forgetful")
async def test_accounting_knows_how_jobs_ended(slurm: RealJobs) -> None:
    """Exit codes, signals, the walltime, a node that was lost: when squeue has forgotten them."""
    script = "case $CORRAL_JOB_ID in *_1) exit 3;; *_2) kill -9 $PPID;; *_3) exec sleep 300;; esac"
    ids = await slurm.submit(slurm.job("bash", "-c", script), 4)
    [timeout] = await slurm.submit(slurm.job("sleep", "300", walltime=60))
    [lost] = await slurm.submit(slurm.job("sleep", "300", extra_directives=["--nodelist=n3"]))
    await slurm.until_in([ids[3], timeout, lost], JobState.RUNNING)
    await slurm.talk(slurm.backend.cancel([ids[3]]))
    scontrol("update", "NodeName=n3", "State=DOWN", "Reason=test")
    ended = await slurm.until([*ids, lost, timeout], lambda status: status.state.is_final)
    assert [(status.state, status.exit_code, status.signal) for status in ended] == [
        (JobState.COMPLETED, 0, None),
        (JobState.FAILED, 3, None),
        (JobState.FAILED, None, 9),
        (JobState.CANCELLED, None, None),
        (JobState.NODE_FAILED, None, None),
        (JobState.TIMEOUT, None, None),
    ]
    for status in ended:
        assert status.hosts
        assert status.submitted <= status.started <= status.ends  # type: ignore[operator]


@pytest.mark.real("slurm", having="accounting")
@pytest.mark.usefixtures("forgetful")
async def test_accounting_knows_who_cancelled_what_waited(slurm: RealJobs) -> None:
    """A job that never ran has no start and no node."""
    [job_id] = await slurm.submit(slurm.job("true", extra_directives=["--hold"]))
    await slurm.until_in([job_id], JobState.HELD)
    await slurm.talk(slurm.backend.cancel([job_id]))
    [status] = await slurm.until([job_id], lambda status: status.state.is_final)
    assert (status.state, status.reason, status.started, status.hosts) == (
        JobState.CANCELLED,
        f"by {os.getuid()}",
        None,
        (),
    )


def scontrol(*arguments: str) -> str:
    return subprocess.run(["scontrol", *arguments], capture_output=True, text=True, check=True).stdout


# --- plugins ----------------------------------------------------------------------------------------------------


@pytest.mark.real("slurm", having="plugins")
async def test_what_a_plugin_prints_is_no_id(slurm: RealJobs) -> None:
    """A line on standard output with two numbers, one on standard error with another."""
    ids = await slurm.submit(slurm.job("true", extra_directives=["--comment=site:greet"]), 2)
    assert [job_id.text.partition("_")[2] for job_id in ids] == ["0", "1"]
    await slurm.until_in(ids, JobState.COMPLETED)


@pytest.mark.real("slurm", having="plugins")
async def test_a_refusal_has_the_words_of_the_plugin(slurm: RealJobs) -> None:
    """Slurm says no more of it than "Unspecified error"."""
    failure = await refusal(slurm, slurm.job("true", extra_directives=["--comment=site:refuse"]))
    assert failure.kind is FailureKind.FATAL
    assert "Projects end in November: ask the help desk for another" in failure.message
    assert "Unspecified error" not in failure.message


# --- another cluster --------------------------------------------------------------------------------------------


@pytest.mark.real("slurm", having="federation")
@pytest.mark.parametrize("way", ["SLURM_CLUSTERS", "--clusters", "-M"])
async def test_jobs_of_another_cluster(
    slurm: RealJobs, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no arrays, which is said once; every question about them names it."""
    extra = []
    if way.startswith("-"):
        extra = [f"{way}=other" if way.startswith("--") else f"{way} other"]
    else:
        monkeypatch.setenv(way, "other")
    job = slurm.job("sleep", "300", extra_directives=extra)
    ids = first, second = await slurm.submit(job, 2)
    assert {job_id.where for job_id in ids} == {"other"}
    assert {job_id.text.isdecimal() for job_id in ids} == {True}
    assert caplog.text.count("job arrays are switched off here (MaxArraySize=0)") == 1
    ran = await slurm.until(ids, lambda status: status.state is JobState.RUNNING)
    assert {status.hosts for status in ran} == {("x1",)}
    await slurm.talk(slurm.backend.cancel([first]))
    [cancelled] = await slurm.until([first], lambda status: status.state.is_final)
    assert cancelled.state is JobState.CANCELLED
    assert await slurm.talk(slurm.backend.find_jobs(job.name)) == [second]


@pytest.mark.real("slurm", having="federation")
async def test_a_federation_has_ids_of_its_own(slurm: RealJobs) -> None:
    """They are large, and each of its clusters knows them."""
    first, second = await slurm.submit(slurm.job("sleep", "300"), 2)
    assert int(first.text.partition("_")[0]) > 2**26
    assert first.where == ""
    await slurm.until_in([first, second], JobState.RUNNING)
    await slurm.talk(slurm.backend.cancel([second]))
    [cancelled] = await slurm.until([second], lambda status: status.state.is_final)
    assert cancelled.state is JobState.CANCELLED
    found: dict[JobId, Any] = await slurm.talk(slurm.backend.poll_status([first]))
    assert found[first].state is JobState.RUNNING


@pytest.fixture
def full() -> Iterator[None]:
    """The first cluster starts nothing."""
    scontrol("update", "NodeName=n[1-3]", "State=DRAIN", "Reason=test")
    yield
    scontrol("update", "NodeName=n[1-3]", "State=RESUME")


@pytest.mark.real("slurm", having="federation")
@pytest.mark.usefixtures("full")
async def test_a_job_that_another_cluster_of_the_federation_runs(tmp_path: Path) -> None:
    """The cluster to which it was submitted knows it as REVOKED, with no node and no end."""
    async with real_jobs(Slurm(arrays=False), tmp_path, resources=Resources(memory=10 * MEBI)) as slurm:
        job = slurm.job("bash", "-c", 'until [ -e "$0" ]; do sleep 0.1; done; exit 3', str(tmp_path / "end"))
        [job_id] = await slurm.submit(job)
        [runs] = await slurm.until([job_id], lambda status: status.state is JobState.RUNNING)
        assert (job_id.where, runs.hosts) == ("", ("x1",))
        assert await slurm.talk(slurm.backend.find_jobs(job.name)) == [job_id]
        (tmp_path / "end").touch()
        [ended] = await slurm.until([job_id], lambda status: status.state.is_final)
        assert (ended.state, ended.exit_code) == (JobState.FAILED, 3)
        assert await slurm.talk(slurm.backend.find_jobs(job.name)) == []
        [second] = await slurm.submit(slurm.job("sleep", "300"))
        await slurm.until_in([second], JobState.RUNNING)
        await slurm.talk(slurm.backend.cancel([second]))
        await slurm.until_in([second], JobState.CANCELLED)
