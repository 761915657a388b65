"""The plugin's conversations with a real Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import setups
from real_jobs import RealJobs, real_jobs, variables

from corral.plugin import Allocation, CommandFailed, JobId, JobState, Resources
from corral.testing import environment
from corral_slurm import Slurm
from corral_slurm.testing import SlurmLaws

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(90)]

SLURM = setups.of("slurm").plugin()
MEBI = 2**20


@pytest.fixture
async def slurm(tmp_path: Path) -> AsyncIterator[RealJobs]:
    async with real_jobs(SLURM, tmp_path, resources=Resources(memory=10 * MEBI)) as real:
        yield real


async def test_slurm_is_detected_and_described(slurm: RealJobs) -> None:
    """There is a version, and a partition with nodes for these tests: by default, or because they were told so."""
    assert (await slurm.talk(SLURM.detect())).version[0].isdigit()
    named = setups.of("slurm").job.get("queue")
    queues = await slurm.talk(SLURM.describe_queues())
    [default] = [queue for queue in queues if (queue.name == named if named else queue.is_default)]
    assert default.nodes > 0
    assert default.cores > 0
    assert default.memory > MEBI


@pytest.mark.needs("arrays")
async def test_ends_are_told_apart(slurm: RealJobs) -> None:
    """One array, four ways to end; the job knows itself by the id that submit returned."""
    script = 'echo "$CORRAL_JOB_ID"; case $CORRAL_JOB_ID in *_1) exit 3;; *_2) kill -9 $PPID;; *_3) exit 143;; esac'
    ids = await slurm.submit(slurm.job("bash", "-c", script), 4)
    ended = await slurm.until(ids, lambda status: status.state.is_final)
    assert [(status.state, status.exit_code, status.signal) for status in ended] == [
        (JobState.COMPLETED, 0, None),
        (JobState.FAILED, 3, None),
        (JobState.FAILED, None, 9),
        (JobState.FAILED, 143, None),
    ]
    for job_id, status in zip(ids, ended, strict=True):
        assert (slurm.logs / f"{job_id}.log").read_text() == f"{job_id}\n"
        assert status.hosts
        assert status.submitted <= status.started <= status.ends  # type: ignore[operator]


async def test_jobs_without_arrays_are_told_apart(tmp_path: Path) -> None:
    """Three submissions of one name, with memory by core; found by that name, and cancelled by their ids."""
    alone = Slurm(arrays=False, memory_option="mem-per-cpu")
    async with real_jobs(alone, tmp_path, resources=Resources(cores=3, memory=10 * MEBI)) as slurm:
        script = 'env; until [ -e "$0/$CORRAL_JOB_ID" ]; do sleep 0.1; done; exit 3'
        job = slurm.job("bash", "-c", script, str(tmp_path))
        ids = first, *others = await slurm.submit(job, 3)
        for job_id in ids:
            await slurm.until_it_prints(job_id, "SLURM_JOB_ID")
        assert set(await slurm.talk(alone.find_jobs(job.name))) == set(ids)
        for job_id in others:
            (tmp_path / job_id.text).touch()
        ended = await slurm.until(others, lambda status: status.state.is_final)
        assert [(status.state, status.exit_code) for status in ended] == [(JobState.FAILED, 3)] * 2
        assert await slurm.talk(alone.find_jobs(job.name)) == [first]
        await slurm.talk(alone.cancel([first]))
        [cancelled] = await slurm.until([first], lambda status: status.state.is_final)
        assert cancelled.state is JobState.CANCELLED
        for job_id in ids:
            seen = variables((tmp_path / f"{job_id}.log").read_text())
            assert seen["CORRAL_JOB_ID"] == seen["SLURM_JOB_ID"] == job_id.text
            assert not [name for name in seen if name.startswith("SLURM_ARRAY")]
            assert seen["SLURM_MEM_PER_CPU"] == "4"


async def test_nothing_of_the_submitters_environment_reaches_the_job(
    slurm: RealJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But what a login sets. LC_ALL=C is for commands, and SBATCH_* loses against what was asked for."""
    monkeypatch.setenv("SECRET_TOKEN", "xyzzy")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    monkeypatch.setenv("SBATCH_JOB_NAME", "other")
    monkeypatch.setenv("SBATCH_OUTPUT", "/dev/null")
    hostile = "a'b\"c $HOME `id` \\ \t|"
    job = slurm.job("env", environment={"HOSTILE": hostile})
    seen = variables(await slurm.run(job))
    assert seen["HOSTILE"] == hostile
    assert seen["SLURM_JOB_NAME"] == job.name
    assert seen["HOME"] == os.environ["HOME"]
    assert not {"SECRET_TOKEN", "LC_ALL", "PYTEST_CURRENT_TEST"} & seen.keys()


async def test_an_enclosing_job_does_not_confuse_a_submission(slurm: RealJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variables belong to it: with them a job would seem to have been requeued before it began."""
    recorded = environment(SlurmLaws.transcripts / "environment-requeued.txt")
    for name in recorded.keys() - {"SLURM_CONF", "SLURM_WORKING_CLUSTER"}:
        monkeypatch.setenv(name, recorded[name])
    resources = Resources(cores=2, memory=20 * MEBI)
    seen = variables(await slurm.run(slurm.job("env", resources=resources)))
    allocation = await slurm.talk(SLURM.read_allocation(seen))
    assert (allocation.job_id, allocation.attempt) == (slurm.submitted[0], 0)
    assert (allocation.cores, allocation.memory) == (2, 20 * MEBI)


@pytest.mark.parametrize("folder", ["two words", "100%d %%A", '"it\'s"', "#no comment", "$HOME;*[a]\t~", "{}é"])
async def test_a_log_lands_in_a_folder_of_any_name(slurm: RealJobs, folder: str) -> None:
    """sbatch reads quotes, `#` and `%` by rules of its own."""
    directory = slurm.logs / folder
    directory.mkdir()
    assert await slurm.run(slurm.job("echo", "here", log_directory=str(directory), name=f"real {folder}")) == "here\n"
    assert len(list(directory.glob("*.log"))) == 1


async def test_a_missing_log_folder_fails_the_job(slurm: RealJobs) -> None:
    """Slurm does not say so at submission: the job ends at once, unstarted."""
    [status] = await slurm.until(
        # Newer Slurms make a folder that is missing, if they can.
        await slurm.submit(slurm.job("true", log_directory="/proc/missing")),
        lambda status: status.state.is_final,
    )
    assert (status.state, status.reason, status.exit_code, status.signal) == (
        JobState.FAILED,
        "JobLaunchFailure",
        None,
        None,
    )


async def test_elements_that_wait_are_polled_cancelled_and_found(slurm: RealJobs) -> None:
    """Every second one of 200 is cancelled; the others stay, to the last."""
    job = slurm.job("true", extra_directives=["--hold"])
    ids = await slurm.submit(job, 200)
    held = await slurm.until(ids, lambda status: status.state is JobState.HELD)
    assert {status.reason for status in held} == {"JobHeldUser"}
    assert "held" in await slurm.talk(SLURM.explain_pending(ids[7]))
    await slurm.talk(SLURM.cancel(ids[::2]))
    assert sorted(await slurm.talk(SLURM.find_jobs(job.name))) == sorted(ids[1::2])
    assert sorted(await slurm.talk(SLURM.find_jobs(f"{job.name[:-1]}*"))) == sorted(ids[1::2])
    assert await slurm.talk(SLURM.find_jobs(f"{job.name}-*")) == []
    found = await slurm.talk(SLURM.poll_status(ids))
    assert {job_id for job_id, status in found.items() if not status.state.is_final} == set(ids[1::2])
    await slurm.talk(SLURM.cancel(ids))
    await slurm.talk(SLURM.cancel(ids))
    assert await slurm.talk(SLURM.find_jobs(job.name)) == []


async def test_jobs_that_nobody_knows_are_not_listed(slurm: RealJobs) -> None:
    """Slurm fails for one unknown id; that is no error."""
    assert await slurm.talk(SLURM.poll_status([JobId("66999999_0")])) == {}
    await slurm.talk(SLURM.cancel([JobId("66999999_0")]))
    [known] = await slurm.submit(slurm.job("true"))
    assert list(await slurm.talk(SLURM.poll_status([JobId("66999999_0"), known]))) == [known]


@pytest.mark.needs("arrays")
async def test_an_array_that_is_too_large_is_made_smaller(slurm: RealJobs) -> None:
    """By what the site's configuration says, with nothing set by the user."""
    config = await slurm.talk(_answer("scontrol", "show", "config"))
    limit = next(int(line.split()[-1]) for line in config.splitlines() if line.startswith("MaxArraySize"))
    job = slurm.job("true", extra_directives=["--hold"])
    ids = await slurm.submit(job, limit + 5, Slurm(max_array_size=limit + 5))
    assert len(ids) == limit
    await slurm.until(ids, lambda status: status.state is JobState.HELD)


async def test_a_cancelled_job_hears_sigterm(slurm: RealJobs) -> None:
    """The command took the script's place: Slurm's signal is its own."""
    script = "trap 'echo heard; exit 0' TERM; echo ready; while :; do read -t 0.1 <> <(:); done"
    ids = await slurm.submit(slurm.job("bash", "-c", script))
    log = slurm.logs / f"{ids[0]}.log"
    await slurm.until(ids, lambda _: log.exists() and "ready" in log.read_text())
    await slurm.talk(SLURM.cancel(ids))
    [status] = await slurm.until(ids, lambda status: status.state.is_final)
    assert status.state is JobState.CANCELLED
    assert status.signal in (None, signal.SIGTERM)
    assert "heard" in log.read_text()


async def test_srun_starts_one_process_on_every_node(slurm: RealJobs) -> None:
    """One that fails does not end the others."""
    command = ["bash", "-c", "[ $SLURM_PROCID = 0 ] && exit 1; sleep 1; echo $SLURM_JOB_NODELIST $SLURM_CPUS_PER_TASK"]
    [argv] = SLURM.launch_command(Allocation(job_id=JobId("1_0"), hosts=["a", "b"], cores=2), command)
    job = slurm.job(*argv, resources=Resources(nodes=2, cores=2, memory=10 * MEBI))
    printed = await slurm.run(job)
    assert [line for line in printed.splitlines() if line.endswith(" 2")], printed


async def test_a_job_reads_what_it_was_granted(slurm: RealJobs) -> None:
    """From its environment, with scontrol's help for the names of two nodes."""
    resources = Resources(nodes=2, cores=2, memory=30 * MEBI)
    environ = variables(await slurm.run(slurm.job("env", resources=resources)))
    allocation = await slurm.talk(SLURM.read_allocation(environ))
    assert (allocation.job_id, allocation.cores, allocation.memory) == (slurm.submitted[0], 2, 30 * MEBI)
    assert len(allocation.hosts) == 2
    assert allocation.hosts[0] == environ["SLURMD_NODENAME"]


def slurm_says(*arguments: str) -> str:
    """What scontrol prints."""
    return subprocess.run(["scontrol", *arguments], capture_output=True, text=True, check=True).stdout


async def test_gpus_are_granted(slurm: RealJobs) -> None:
    """By either option, in the partition that has them."""
    queues = [queue for queue in await slurm.talk(SLURM.describe_queues()) if queue.gpus]
    if not queues:
        pytest.skip("this Slurm has no GPUs")
    for option in ("gres", "gpus-per-node"):
        job = slurm.job("env", queue=queues[0].name, resources=Resources(gpus=1, memory=10 * MEBI))
        ids = await slurm.submit(job, 1, Slurm(gpu_option=option))
        await slurm.until(ids, lambda status: status.state.is_final)
        environ = variables((slurm.logs / f"{ids[0]}.log").read_text())
        assert len((await slurm.talk(SLURM.read_allocation(environ))).gpus) == 1


@pytest.mark.parametrize(("kind", "maker"), [("a100", "nvidia"), ("mi250", "amd"), ("max1550", "intel")])
async def test_gpus_are_whose_they_are(slurm: RealJobs, kind: str, maker: str) -> None:
    """Slurm sets the variable of their maker, if the site says who that is."""
    if "makers" not in {queue.name for queue in await slurm.talk(SLURM.describe_queues())}:
        pytest.skip("this Slurm has no GPUs of several makers")
    job = slurm.job("env", queue="makers", resources=Resources(gpus=2, memory=10 * MEBI))
    ids = await slurm.submit(job, 1, Slurm(gpu_type=kind))
    await slurm.until(ids, lambda status: status.state.is_final)
    environ = variables((slurm.logs / f"{ids[0]}.log").read_text())
    granted = (await slurm.talk(SLURM.read_allocation(environ))).gpus
    assert (list(granted.by_maker), len(granted)) == ([maker], 2)


async def test_a_shard_is_the_gpu_that_it_is_of(slurm: RealJobs) -> None:
    """Slurm has no names for shards: the variables have the GPU's."""
    if "shard" not in slurm_says("show", "config"):
        pytest.skip("this Slurm has no shards of GPUs")
    job = slurm.job("env", queue="gpu", extra_directives=["--gres=shard:2"], resources=Resources(memory=10 * MEBI))
    environ = variables(await slurm.run(job))
    assert environ["SLURM_SHARDS_ON_NODE"] == "2"
    granted = (await slurm.talk(SLURM.read_allocation(environ))).gpus
    assert granted.names == (environ["CUDA_VISIBLE_DEVICES"],)
    assert len(granted) == 1


async def test_an_impossible_job_is_refused_at_once(slurm: RealJobs) -> None:
    """In Slurm's own words, classified."""
    with pytest.raises(CommandFailed) as caught:
        await slurm.submit(slurm.job("true", queue="no-such-partition"))
    failure = SLURM.classify_failure(caught.value.completed)
    assert failure is not None
    assert "invalid partition specified: no-such-partition" in failure.message


def _answer(*argv: str) -> Any:
    from corral.plugin.values import Command

    done = yield Command(argv)
    return done.stdout
