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

from corral.plugin import Allocation, JobId, JobState, Resources
from corral_slurm import Slurm

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


async def test_variables_of_sbatch_lose_against_what_was_asked_for(
    slurm: RealJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a login sets is there."""
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    monkeypatch.setenv("SBATCH_JOB_NAME", "other")
    monkeypatch.setenv("SBATCH_OUTPUT", "/dev/null")
    job = slurm.job("env")
    seen = variables(await slurm.run(job))
    assert seen["SLURM_JOB_NAME"] == job.name
    assert seen["HOME"] == os.environ["HOME"]


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


async def test_a_held_job_says_so(slurm: RealJobs) -> None:
    """In Slurm's word, and in plain ones."""
    ids = await slurm.submit(slurm.job("true", extra_directives=["--hold"]), 2)
    held = await slurm.until(ids, lambda status: status.state is JobState.HELD)
    assert {status.reason for status in held} == {"JobHeldUser"}
    assert "held" in await slurm.talk(SLURM.explain_pending(ids[1]))


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


def _answer(*argv: str) -> Any:
    from corral.plugin.values import Command

    done = yield Command(argv)
    return done.stdout
