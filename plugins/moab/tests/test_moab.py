"""What Moab is asked, and what a job makes of its two masters. No answer here is a recording."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from attrs import evolve

from corral.plugin import (
    Allocation,
    CommandFailed,
    Completed,
    InvalidRequest,
    Job,
    JobId,
    ParseError,
    Resources,
    discovery,
    job_body,
)
from corral.testing import drive, environment
from corral_moab import Moab
from corral_moab.testing import MoabLaws

HERE = MoabLaws.transcripts
JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(nodes=2, cores=8, memory=2**30),
    walltime=3600,
    queue="batch",
    log_directory="/scratch/logs",
)


def test_a_script_is_torques_with_another_prefix() -> None:
    """The script opens its log itself: no resource manager knows Moab's id."""
    script = Moab().render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "#MSUB -N dask-1\n"
        "#MSUB -q batch\n"
        "#MSUB -l nodes=2:ppn=8\n"
        "#MSUB -l mem=2048mb\n"
        "#MSUB -l walltime=01:00:00\n"
        "#MSUB -j oe\n"
        "#MSUB -o /scratch/logs/moab.out\n"
        "#MSUB -m n\n"
        "\n"
    ) + job_body(
        evolve(JOB, prologue=['exec >/scratch/logs/"$CORRAL_JOB_ID.log" 2>&1']),
        job_id=r"${MOAB_JOBID%%\[*}[${MOAB_JOBARRAYINDEX}]",
    )
    assert script.log == "/scratch/logs/{id}.log"


@pytest.mark.parametrize("moab_job_id", ["Moab.12", "Moab.12[2]"])
def test_the_index_is_in_the_id_once(moab_job_id: str, tmp_path: Path) -> None:
    """Whether Moab's own variable has it or not; the log is named by it."""
    script = Moab().render_script(Job(command=("printenv", "CORRAL_JOB_ID"), log_directory=str(tmp_path)))
    environ = {"MOAB_JOBID": moab_job_id, "MOAB_JOBARRAYINDEX": "2", "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-c", str(script)], env=environ, check=True)
    assert (tmp_path / "Moab.12[2].log").read_text() == "Moab.12[2]\n"


@pytest.mark.parametrize("prefix", ["#PBS", "#MSUB"])
def test_both_prefixes_are_read(prefix: str) -> None:
    """msub takes scripts that were written for qsub."""
    assert Moab().parse_resources(f"#!/bin/bash\n{prefix} -l nodes=2:ppn=8 -q batch\ntrue\n") == Job(
        shebang="#!/bin/bash", resources=Resources(nodes=2, cores=8), queue="batch"
    )


def test_arrays_begin_with_one_and_have_a_name() -> None:
    """As the documentation has them."""
    script = Moab().render_script(JOB)
    assert next(Moab().submit(script, 5000)).argv == ("msub", "-E", "-t", "dask-1.[1-1000]")


@pytest.mark.parametrize(
    "answer", ["\n\nMoab.12\n", "*** 5 nodes are down ***\n\n12\n", "12[1-50]\n", "cluster.12[]\n"]
)
def test_an_id_comes_after_blank_lines(answer: str) -> None:
    """With or without Moab's name, and whatever it says of the array."""
    [job_id] = drive(Moab(arrays=False).submit(Moab(arrays=False).render_script(JOB), 1), [answer])
    assert job_id.text in ("Moab.12", "12", "cluster.12")
    submitted = drive(Moab().submit(Moab().render_script(JOB), 2), [answer])
    assert [each.text for each in submitted] == [f"{job_id}[1]", f"{job_id}[2]"]


def test_an_answer_without_id_is_refused() -> None:
    """Moab may be configured to print more; then it is not guessed."""
    with pytest.raises(ParseError):
        drive(Moab().submit(Moab().render_script(JOB), 2), ["job 12 was submitted\n"])


def test_completed_jobs_are_asked_for_only_when_one_is_missing() -> None:
    """Two lists, whatever the number of jobs; times and exits are read."""
    wanted = [JobId("Moab.12[1]")]
    [running] = drive(Moab().poll_status(wanted), [Completed(stdout="mary\n"), HERE / "showq.txt"]).values()
    assert (running.started, running.ends) == (1795434611.0, 1795434911.0)
    wanted = [JobId("Moab.12[7]"), JobId("Moab.12[9]")]
    answers = [HERE / "showq-none.txt", HERE / "showq-completed.txt"]
    failed, killed = drive(Moab().poll_status(wanted), ["mary\n", *answers]).values()
    assert (failed.exit_code, failed.signal, failed.ends) == (3, None, 1795434650.0)
    assert (killed.exit_code, killed.signal) == (None, 9)


def test_a_refused_cancellation_is_an_error() -> None:
    """Even if other jobs of the same command are gone."""
    complaint = "ERROR:  invalid job specified (7)\nERROR:  user mary is not authorized to cancel job 8\n"
    with pytest.raises(CommandFailed):
        drive(Moab().cancel([JobId("7"), JobId("8")]), [Completed(returncode=1, stdout=complaint)])


def test_slurm_below_starts_processes_and_tells_hosts() -> None:
    """The id is Moab's all the same."""
    moab = Moab(resource_manager="slurm")
    environ = {
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "n1",
        "SLURM_CPUS_ON_NODE": "4",
        "MOAB_JOBID": "Moab.12",
        "MOAB_JOBARRAYINDEX": "3",
    }
    allocation = drive(moab.read_allocation(environ), [])
    assert allocation is not None
    assert (allocation.job_id.text, allocation.hosts, allocation.cores) == ("Moab.12[3]", ("n1",), 4)
    [argv] = moab.launch_command(allocation, ["true"])
    assert argv[0] == "srun"


def test_torque_below_starts_processes_and_tells_hosts() -> None:
    """Outside of a job there is nothing to tell."""
    allocation = drive(Moab().read_allocation(environment(HERE / "environment.txt")), [HERE / "nodefile.txt"])
    assert allocation == Allocation(job_id=JobId("Moab.12[2]"), hosts=["n1", "n2"], cores=2)
    assert Moab().launch_command(allocation, ["true"]) == [["pbsdsh", "-u", "true"]]
    assert drive(Moab().read_allocation({}), []) is None


@pytest.mark.parametrize("options", [{"resource_manager": "lsf"}, {"arrays": 1}, {"max_array_size": 0}])
def test_options_are_checked_at_once(options: dict[str, object]) -> None:
    """A misspelt option of the backend is an error before any job."""
    with pytest.raises(InvalidRequest, match=next(iter(options))):
        discovery.load("moab", options=options)
