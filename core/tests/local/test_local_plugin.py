"""The backend plugin: pure hooks, and conversations with the real commands."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from corral import __version__
from corral.batch.runner import Runner
from corral.errors import CommandFailed, InvalidRequest, ParseError
from corral.local import database
from corral.local.__main__ import main
from corral.local.queue import Queue
from corral.plugin import discovery
from corral.plugin.scripting import job_body
from corral.plugin.values import Completed, FailureKind, Job, JobId, JobState, JobStatus, Resources

JOB = Job(
    name="dask-1",
    command=("echo", "hello"),
    resources=Resources(cores=2, memory=8 * 2**30),
    walltime=3600,
    queue="local",
    log_directory="/scratch/logs",
)


@pytest.fixture
def hooks() -> Any:
    return discovery.load("local").hook


# --- pure hooks -------------------------------------------------------------------------------------------------


def test_a_script_as_a_person_would_submit_it(hooks: Any) -> None:
    """Directives first, then the body, then the command."""
    header = """\
#!/usr/bin/env bash
#CORRAL --name=dask-1
#CORRAL --queue=local
#CORRAL --cores=2
#CORRAL --memory=8GiB
#CORRAL --time=01:00:00
#CORRAL --output=/scratch/logs/{id}.log
#CORRAL --hold

"""
    script = hooks.render_script(job=evolve(JOB, extra_directives=["--hold"]))
    assert header + job_body(JOB, job_id="${CORRAL_LOCAL_JOB_ID}") == str(script)
    assert (script.name, script.log) == ("dask-1", "/scratch/logs/{id}.log")


def test_without_its_directive_there_is_no_log(hooks: Any) -> None:
    """Nobody must look for one."""
    assert hooks.render_script(job=evolve(JOB, skip={"output"})).log is None


def test_a_resource_part_alone_can_be_read(hooks: Any) -> None:
    """As somebody would type it."""
    job = hooks.parse_resources(text="--cores=4 --memory=8GB --time=00:10:00")
    assert Job(resources=Resources(cores=4, memory=8 * 10**9), walltime=600) == job


def test_an_output_of_another_shape_is_kept_as_it_is(hooks: Any) -> None:
    """A Job has no word for it."""
    job = hooks.parse_resources(text="#!/bin/sh\n#CORRAL --output=/tmp/all.log\n")
    assert Job(shebang="#!/bin/sh", extra_directives=["--output=/tmp/all.log"]) == job


def test_several_nodes_are_refused(hooks: Any) -> None:
    """There is one machine."""
    with pytest.raises(InvalidRequest, match="nodes: the embedded queue has one machine"):
        hooks.prepare_job(job=evolve(JOB, resources=Resources(nodes=2)))


def test_options_are_what_people_write() -> None:
    """Memory with a unit, a directory as a path."""
    made = discovery.load("local", options={"memory": "4GB", "directory": Path("/tmp/queue")}).get_plugin("local")
    assert made is not None
    assert (made.memory, made.directory) == (4 * 10**9, "/tmp/queue")
    with pytest.raises(InvalidRequest, match="has no option 'cors'.* Did you mean 'cores'"):
        discovery.load("local", options={"cors": 4})


def test_commands_do_not_import_from_the_current_directory(hooks: Any) -> None:
    """A file named json.py beside a notebook must not become part of the queue."""
    assert next(hooks.describe_queues()).argv[:4] == (sys.executable, "-P", "-m", "corral.local")


def test_part_of_a_table_is_no_table(hooks: Any) -> None:
    """Jobs whose rows were lost on the way are not forgotten by the queue."""
    row = '{"job": "1_0", "state": "RUNNING", "reason": "", "exit_code": null, "signal": null, "host": "vm", '
    row += '"submitted": 1.0, "started": 1.0, "expected_start": null, "ends": null}\n'
    conversation = hooks.poll_status(job_ids=[JobId("1_0"), JobId("1_1")])
    next(conversation)
    with pytest.raises(ParseError, match="not a whole table"):
        conversation.send(Completed(stdout=row + '{"rows": 2}\n'))


def test_outside_of_a_job_there_is_no_allocation(hooks: Any) -> None:
    """Nor in a job of another batch system that was submitted from inside one of ours."""
    for environ in ({}, {"CORRAL_JOB_ID": "77_0", "CORRAL_LOCAL_JOB_ID": "12_0"}):
        assert _answer(hooks.read_allocation(environ=environ)) is None


# --- with the real commands -------------------------------------------------------------------------------------


class Engine:
    """Drives a backend's conversations as the core does."""

    def __init__(self, local: Any, **options: Any) -> None:
        self.hooks = discovery.load("local", options={"directory": str(local.directory), **options}).hook
        self.runner = Runner()
        self.work = local.work

    async def submit(self, job: Job, count: int = 1) -> list[JobId]:
        script = self.hooks.render_script(job=self.hooks.prepare_job(job=job))
        return await self.runner.converse(self.hooks.submit(script=script, count=count))

    async def poll(self, *job_ids: JobId) -> dict[JobId, JobStatus]:
        return await self.runner.converse(self.hooks.poll_status(job_ids=job_ids))

    async def ask(self, hook: str, **arguments: Any) -> Any:
        return await self.runner.converse(getattr(self.hooks, hook)(**arguments))

    async def until(self, state: JobState, *job_ids: JobId) -> dict[JobId, JobStatus]:
        async with asyncio.timeout(30):
            while True:
                statuses = await self.poll(*job_ids)
                if {status.state for status in statuses.values()} == {state}:
                    return statuses


def _answer(conversation: Any) -> Any:
    with pytest.raises(StopIteration) as stop:
        next(conversation)
    return stop.value.value


@pytest.fixture
def engine(local: Any) -> Engine:
    return Engine(local, cores=4, memory="1GB", gpus=2)


def _job(*command: str, **changes: Any) -> Job:
    return Job(name="dask-1", command=command, **changes)


async def test_the_life_of_jobs(engine: Engine) -> None:
    """Submitted as an array, found by name, polled to the end; what was never there is not listed."""
    end = engine.work / "end"
    job_ids = await engine.submit(_job("bash", "-c", 'until [ -e "$0" ]; do sleep 0.02; done', str(end)), count=3)
    running = await engine.until(JobState.RUNNING, *job_ids)
    assert {(os.uname().nodename,)} == {status.hosts for status in running.values()}
    assert await engine.ask("find_jobs", name="dask-1") == job_ids
    assert await engine.ask("find_jobs", name="dask-11") == []
    assert await engine.ask("find_jobs", name="das*") == job_ids
    assert await engine.ask("find_jobs", name="DAS*") == []
    end.touch()
    await engine.until(JobState.COMPLETED, *job_ids)
    assert await engine.ask("find_jobs", name="dask-1") == []
    assert set(await engine.poll(JobId("999_0"), job_ids[0])) == {job_ids[0]}


async def test_states_of_jobs_that_did_not_complete(engine: Engine) -> None:
    """Exit codes, signals and walltimes arrive as the core knows them."""
    [failed] = await engine.submit(_job("bash", "-c", "exit 3"))
    [killed] = await engine.submit(_job("bash", "-c", "kill -9 $$"))
    [late] = await engine.submit(_job("sleep", "60", walltime=1))
    [held] = await engine.submit(_job("true", extra_directives=("--hold",)))
    await engine.until(JobState.TIMEOUT, late)
    known = await engine.poll(failed, killed, late, held)
    assert (known[failed].state, known[failed].exit_code) == (JobState.FAILED, 3)
    assert (known[killed].state, known[killed].signal) == (JobState.FAILED, 9)
    assert (known[held].state, known[held].started) == (JobState.HELD, None)


async def test_cancelling(engine: Engine) -> None:
    """Running, waiting and gone ones together."""
    job_ids = await engine.submit(_job("sleep", "60"), count=6)
    await engine.until(JobState.RUNNING, *job_ids[:4])
    await engine.ask("cancel", job_ids=[*job_ids, JobId("999_0")])
    await engine.until(JobState.CANCELLED, *job_ids)
    await engine.ask("cancel", job_ids=job_ids)


async def test_an_allocation_is_what_was_granted(engine: Engine) -> None:
    """Read inside a job with every kind of resource, and one with none."""
    everything = Resources(cores=2, memory=5 * 10**8, gpus=2)
    for name, job in (
        ("all", _job("env", "-0", resources=everything, walltime=600, log_directory=str(engine.work))),
        ("least", _job("env", "-0", log_directory=str(engine.work))),
    ):
        [job_id] = await engine.submit(job)
        status = (await engine.until(JobState.COMPLETED, job_id))[job_id]
        log = (engine.work / f"{job_id}.log").read_text()
        environ = dict(line.split("=", 1) for line in log.split("\0") if line)
        allocation = _answer(engine.hooks.read_allocation(environ=environ))
        assert (job_id, (os.uname().nodename,), 0) == (allocation.job_id, allocation.hosts, allocation.attempt)
        if name == "all":
            assert (allocation.cores, allocation.memory, allocation.gpus.names) == (2, 5 * 10**8, ("0", "1"))
            assert abs(allocation.ends - (status.started or 0) - 600) < 2
        else:
            assert (allocation.cores, allocation.memory, allocation.gpus.names, allocation.ends) == (1, None, (), None)
        assert [["true"]] == engine.hooks.launch_command(allocation=allocation, command=("true",))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"queue": "nightly"}, "queue 'nightly' does not exist"),
        ({"resources": Resources(cores=5)}, "the job asks for 5 cores and the queue has 4"),
        ({"extra_directives": ["--qos=high"]}, "unknown directive '--qos=high'"),
    ],
)
async def test_a_refusal_is_fatal_and_says_why(engine: Engine, changes: dict[str, Any], words: str) -> None:
    """The core tells the user at once."""
    with pytest.raises(CommandFailed) as caught:
        await engine.submit(_job("true", **changes))
    failure = engine.hooks.classify_failure(completed=caught.value.completed)
    assert failure.kind is FailureKind.FATAL
    assert words in failure.message


def test_a_locked_database_is_a_matter_of_time(
    hooks: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody else writes for longer than a command waits: try again."""
    monkeypatch.setattr(database, "PATIENCE", 0.01)
    with closing(Queue(tmp_path)) as queue, queue.transaction():
        code = main(["cancel", f"--directory={tmp_path}", "1_0"])
    failure = hooks.classify_failure(completed=Completed(returncode=code, stderr=capsys.readouterr().err))
    assert (failure.kind, failure.message) == (FailureKind.TRANSIENT, "database is locked")
    assert code == os.EX_TEMPFAIL


async def test_the_queue_describes_itself(engine: Engine) -> None:
    """Its capacity, and whether the machine is free."""
    [job_id] = await engine.submit(_job("sleep", "60"))
    await engine.until(JobState.RUNNING, job_id)
    [found] = await engine.ask("describe_queues")
    assert (found.name, found.is_default, found.nodes, found.free_nodes) == ("local", True, 1, 0)
    assert (found.cores, found.memory, found.gpus) == (4, 10**9, 2)


async def test_waiting_is_explained(engine: Engine) -> None:
    """How many are before it, and when it starts at the latest; or that it is held, or does not wait."""
    whole = Resources(cores=4)
    [running] = await engine.submit(_job("sleep", "60", walltime=600, resources=whole))
    [first] = await engine.submit(_job("true", walltime=60, resources=whole))
    [second] = await engine.submit(_job("true", resources=whole))
    [third] = await engine.submit(_job("true"))
    [held] = await engine.submit(_job("true", extra_directives=("--hold",)))
    await engine.until(JobState.RUNNING, running)
    explained = [await engine.ask("explain_pending", job_id=each) for each in (running, first, second, third, held)]
    assert explained[0] == "", "it does not wait"
    assert explained[1].startswith("it is the next; it starts at 20")
    assert explained[2].startswith("1 job is before it; it starts at 20")
    assert explained[3].startswith("2 jobs are before it; when it starts cannot be told")
    assert explained[4] == "it is held: release it"


async def test_it_is_always_there(engine: Engine) -> None:
    """It is part of corral."""
    assert (await engine.ask("detect")).version == __version__
