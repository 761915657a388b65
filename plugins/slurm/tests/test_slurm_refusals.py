"""Sites that refuse what others demand: no arrays, no memory by node."""

from __future__ import annotations

import re
from typing import Any

import pytest
from attrs import evolve

from corral.plugin import (
    Command,
    CommandError,
    CommandFailed,
    CommandTimedOut,
    Completed,
    Job,
    JobId,
    ParseError,
    Resources,
)
from corral.testing import Answer, converse, drive
from corral_slurm import Slurm
from corral_slurm.testing import SlurmLaws

HERE = SlurmLaws.transcripts
SLURM = Slurm()
SCRIPT = SLURM.render_script(Job(name="dask-1"))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def refused(stderr: str) -> Completed:
    return Completed(returncode=1, stderr=stderr)


def lines(job: Job, slurm: Slurm) -> list[str]:
    """The header of a job's script, without its prefix."""
    return [each.text.removeprefix("#SBATCH ") for each in slurm.render_script(job).directives]


#: What a filter of a site's prints, as TACC's Frontera has one.
ARRAY_REFUSED = refused("--> Job arrays are not supported on this system\nsbatch: error: Unspecified error\n")


# --- arrays -----------------------------------------------------------------------------------------------------


def test_without_arrays_each_job_is_a_submission() -> None:
    """No --array, and the script names the job as it sees itself then."""
    slurm = Slurm(arrays=False)
    script = slurm.render_script(slurm.prepare_job(Job(name="dask-1", command=["true"], log_directory="/logs")))
    asked: list[Command] = []
    numbers = iter(range(77, 99))

    def answer(command: Command) -> str:
        asked.append(command)
        return f"{next(numbers)};beta\n"

    submitted = converse(slurm.submit(script, 3), answer)
    assert submitted == ids("77", "78", "79")
    assert {job_id.where for job_id in submitted} == {"beta"}
    assert [command.argv for command in asked] == [("sbatch", "--parsable")] * 3
    assert {command.stdin for command in asked} == {str(script)}
    assert "#SBATCH --output=/logs/%j.log\n" in str(script)
    assert 'export CORRAL_JOB_ID="${SLURM_JOB_ID}"\n' in script.body
    assert script.log == "/logs/{id}.log"


@pytest.mark.parametrize("limit", [0, 1])
def test_arrays_that_are_off_are_done_without(limit: int, caplog: pytest.LogCaptureFixture) -> None:
    """MaxArraySize says so; it is told once, and the next submission does not try."""
    slurm = Slurm()
    script = slurm.render_script(Job(name="dask-1", command=["true"], log_directory="/logs/%A_%a.log"))
    answers: list[Answer] = [HERE / "sbatch-arrays-off.txt", f"MaxArraySize            = {limit}\n", "77\n", "78\n"]
    assert drive(slurm.submit(script, 2), answers) == ids("77", "78")
    assert f"job arrays are switched off here (MaxArraySize={limit})" in caplog.text
    caplog.clear()
    assert drive(slurm.submit(script, 1), ["79\n"]) == ids("79")
    assert not caplog.records


def test_a_script_that_was_written_for_an_array_is_written_anew() -> None:
    """As it would have been with arrays=False; a user's own words stay."""
    job = Job(
        name="dask-1",
        command=["true"],
        log_directory="/logs",
        prologue=["echo ${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"],
        extra_directives=["--comment=/%A_%a.log"],
    )
    written: list[Command] = []

    def answer(command: Command) -> str | Completed:
        written.append(command)
        return ARRAY_REFUSED if command.argv[-1].startswith("--array") else "77\n"

    converse(Slurm().submit(Slurm().render_script(job), 1), answer)
    assert written[-1].stdin == str(Slurm(arrays=False).render_script(job))


def test_a_filter_that_refuses_arrays_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """It says so on whatever output, in its own words: told with them."""
    assert drive(Slurm().submit(SCRIPT, 1), [ARRAY_REFUSED, "77\n"]) == ids("77")
    assert "Job arrays are not supported on this system" in caplog.text


@pytest.mark.parametrize("words", ["Socket timed out on send/recv operation", "Job violates policy (job submit limit)"])
def test_words_about_arrays_beside_a_doubt_or_a_limit_are_no_refusal(words: str) -> None:
    """The array may be there, or fit later: nothing is submitted instead of it."""
    said = refused(f"No need for arrays on weekends!\nsbatch: error: Batch job submission failed: {words}\n")
    with pytest.raises(CommandFailed, match=re.escape(words)):
        drive(SLURM.submit(SCRIPT, 5), [said])


def test_what_is_refused_alone_too_was_not_refused_for_its_array(caplog: pytest.LogCaptureFixture) -> None:
    """The refusal without an array is told; arrays are tried again."""
    slurm = Slurm()
    with pytest.raises(CommandFailed, match="Invalid qos"):
        drive(slurm.submit(SCRIPT, 5), [ARRAY_REFUSED, HERE / "sbatch-qos.txt"])
    assert not caplog.records
    assert next(slurm.submit(SCRIPT, 5)).argv[-1] == "--array=0-4"


def test_jobs_that_were_taken_before_a_limit_are_known() -> None:
    """The third is refused: that was said, so it is not there."""
    limit = HERE / "sbatch-limit-qos.txt"
    assert drive(Slurm(arrays=False).submit(SCRIPT, 5), ["77\n", "78\n", limit]) == ids("77", "78")
    with pytest.raises(CommandFailed, match="job submit limit"):
        drive(Slurm(arrays=False).submit(SCRIPT, 5), [limit])


@pytest.mark.parametrize(
    "doubt", [CommandTimedOut, HERE / "sbatch-controller-down.txt", refused("the dog ate it\n"), "no id\n"]
)
def test_a_doubtful_submission_among_many_is_told(doubt: Answer) -> None:
    """It may have been taken: the core looks for it, and those before it, by their name."""
    with pytest.raises((CommandError, ParseError)):
        drive(Slurm(arrays=False).submit(SCRIPT, 5), ["77\n", "78\n", doubt])


def test_so_many_are_submitted_in_a_row() -> None:
    """Then the core knows them, does what else is to do, and calls again."""
    assert len(converse(Slurm(arrays=False).submit(SCRIPT, 1000), lambda _: "77\n")) == 20


# --- memory -----------------------------------------------------------------------------------------------------


def test_a_script_for_a_site_that_refuses_arrays_and_memory_by_node() -> None:
    """Other words for the log, the job's own id and its memory; all else is the same."""
    slurm = Slurm(arrays=False, memory_option="mem-per-cpu")
    job = Job(
        name="dask-1",
        command=["python", "-m", "corral.launch"],
        resources=Resources(nodes=2, processes=4, cores=8, memory=32 * 10**9),
        log_directory="/scratch/a b/100%",
    )
    expected = str(Slurm().render_script(job))
    for before, after in (
        ("--mem=30518M\n", "--mem-per-cpu=3815M\n"),
        ("/%A_%a.log", "/%j.log"),
        ("${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}", "${SLURM_JOB_ID}"),
    ):
        assert before in expected
        expected = expected.replace(before, after)
    assert str(slurm.render_script(job)) == expected


MEMORY = 4000 * 2**20


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, "1334M"),
        # Cores that are not asked for may be but one.
        ({"skip": ["cores"]}, "4000M"),
        ({"skip": ["cpus-per-task"]}, "4000M"),
        ({"extra_directives": ["-c 2"]}, "2000M"),
        ({"extra_directives": ["--cpus-per-gpu=2"], "resources": Resources(cores=3, gpus=1, memory=MEMORY)}, "2000M"),
    ],
)
def test_memory_by_core_is_rounded_up(changes: dict[str, Any], share: str) -> None:
    """The node gives at least what was asked for, and the workers have all that it gives."""
    slurm = Slurm(memory_option="mem-per-cpu")
    job = evolve(Job(name="x", resources=Resources(cores=3, memory=MEMORY)), **changes)
    prepared = slurm.prepare_job(job)
    assert f"--mem-per-cpu={share}" in lines(prepared, slurm)
    assert MEMORY <= (prepared.resources.memory or 0) < MEMORY + 3 * 2**20


def test_memory_by_core_can_be_left_out() -> None:
    """As memory by node can."""
    job = Job(name="x", resources=Resources(cores=3, memory=2**30))
    for word in ("memory", "mem-per-cpu", "--mem-per-cpu"):
        assert not [
            line for line in lines(evolve(job, skip=[word]), Slurm(memory_option="mem-per-cpu")) if "mem" in line
        ]


@pytest.mark.parametrize("said", ["--mem=8G", "--mem-per-cpu=2G", "--mem-per-cpu=2048"])
def test_memory_is_read_however_it_is_asked_for(said: str) -> None:
    """And written as the site wants it."""
    job = Slurm(memory_option="mem-per-cpu").parse_resources(f"{said} --cpus-per-task=4")
    assert (job.resources.memory, job.extra_directives) == (8 * 2**30, ())
    assert "--mem-per-cpu=2048M" in lines(job, Slurm(memory_option="mem-per-cpu"))
