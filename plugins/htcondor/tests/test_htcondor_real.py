"""The plugin's conversations with a real HTCondor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import setups
from real_jobs import RealJobs, real_jobs, variables

from corral.plugin import JobState, Resources

pytestmark = [pytest.mark.real("htcondor"), pytest.mark.timeout(90)]

CONDOR = setups.of("htcondor").plugin()


@pytest.fixture
async def condor(tmp_path: Path) -> AsyncIterator[RealJobs]:
    small = Resources(cores=1, memory=100 * 2**20)
    async with real_jobs(CONDOR, tmp_path, resources=small, own_directory=str(tmp_path)) as real:
        yield real


async def test_jobs_that_could_not_run_leave_the_queue(condor: RealJobs) -> None:
    """HTCondor holds them for good: corral reports the failure, and has HTCondor remove them."""
    no_shell = await condor.submit(condor.job("true", shebang="#!/no/such/bash"))
    no_folder = await condor.submit(condor.job("true", log_directory="/no/such/folder"))
    ended = await condor.until([*no_shell, *no_folder], lambda status: status.state.is_final)
    assert [status.state for status in ended] == [JobState.FAILED, JobState.FAILED]
    assert "Failed to execute '/no/such/bash'" in ended[0].reason
    assert "Failed to open '/no/such/folder/" in ended[1].reason
    again = await condor.until([*no_shell, *no_folder], lambda status: status.native == "Removed")
    assert [(status.state, status.reason) for status in again] == [(each.state, each.reason) for each in ended]


async def test_what_people_do_to_a_job(condor: RealJobs) -> None:
    """Held it waits, released or evicted it begins anew under its id, and removed it is cancelled."""
    script = 'echo "start $CORRAL_JOB_ID"; sleep 300'
    ids = await condor.submit(condor.job("bash", "-c", script))
    await condor.until_in(ids, JobState.RUNNING)
    await condor.ask("condor_hold", ids[0].text)
    [held] = await condor.until(ids, lambda status: status.state is JobState.HELD)
    assert "via condor_hold" in held.reason
    await condor.ask("condor_release", ids[0].text)
    await condor.until_in(ids, JobState.RUNNING)
    await condor.ask("condor_vacate_job", ids[0].text)
    await condor.until_in(ids, JobState.PENDING)
    await condor.until_in(ids, JobState.RUNNING)
    await condor.ask("condor_rm", ids[0].text)
    await condor.until_in(ids, JobState.CANCELLED)
    await condor.talk(CONDOR.cancel(ids))  # gone: no error


async def test_walltime_is_kept_and_a_deaf_job_has_a_minute(condor: RealJobs) -> None:
    """HTCondor knows how long it may take to end; its machine would give it ten minutes."""
    ids = await condor.submit(condor.job("sleep", "300", walltime=1))
    [late] = await condor.until(ids, lambda status: status.state.is_final)
    assert late.state is JobState.TIMEOUT
    waiting = await condor.submit(condor.job("true", extra_directives=["hold = True"]))
    words = await condor.ask("condor_q", waiting[0].text, "-af", "JobMaxVacateTime", "JobDescription", "JobBatchName")
    seconds, *names = words.split()
    assert seconds == "60"
    assert names == [names[0]] * 2
    assert await condor.talk(CONDOR.find_jobs(names[0])) == waiting


async def test_no_core_of_a_project_is_renamed(condor: RealJobs, tmp_path_factory: pytest.TempPathFactory) -> None:
    """At a job's end HTCondor renames a "core" in the folder that it began in: that is the cluster's own."""
    project = tmp_path_factory.mktemp("project")
    (project / "core").mkdir()
    script = f"cd {project} 2>/dev/null; pwd; mkdir core 2>/dev/null; echo $?"
    ids = await condor.submit(condor.job("bash", "-c", script))
    await condor.until(ids, lambda status: status.state.is_final)
    assert (condor.logs / f"{ids[0]}.log").read_text() == f"{project}\n1\n"
    assert (project / "core").is_dir()


async def test_a_job_sees_what_it_was_given(condor: RealJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its allocation, two of the pool's GPUs, and nothing of the submitting environment."""
    monkeypatch.setenv("SECRET_TOKEN", "xyzzy")
    hostile = "a'b\"c $HOME `id` $$(Name) \\ \t|"
    job = condor.job(
        "bash", "-c", "env; cat $_CONDOR_JOB_AD $_CONDOR_MACHINE_AD >ads; pwd; sleep 300",
        environment={"HOSTILE": hostile}, resources=Resources(cores=2, memory=200 * 2**20, gpus=2),
    )  # fmt: skip
    ids = await condor.submit(job)
    printed = await condor.until_it_prints(ids[0], f"\n{condor.logs}\n")
    seen = variables(printed)
    assert seen["HOSTILE"] == hostile
    assert not {"SECRET_TOKEN", "PYTEST_CURRENT_TEST"} & seen.keys()
    allocation = await condor.talk(CONDOR.read_allocation(seen))
    assert (allocation.job_id, allocation.cores, allocation.attempt) == (ids[0], 2, 0)
    assert allocation.memory >= 200 * 2**20
    assert len(set(allocation.gpus.names)) == 2
    assert allocation.ends is not None


async def test_a_job_that_is_too_large_for_every_machine_will_never_start(condor: RealJobs) -> None:
    """And which argument would have to say less."""
    ids = await condor.submit(condor.job("true", resources=Resources(cores=10_000, memory=100 * 2**20)))
    words = await condor.talk(CONDOR.explain_pending(ids[0]))
    assert words.startswith("it will never start")
    assert words.endswith("no machine has TARGET.Cpus >= RequestCpus (10000); ask for less with cores=")
