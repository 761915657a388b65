"""Several clusters that one database knows, and what accounting says: answers of Slurm 24.11."""

from __future__ import annotations

from typing import Any

import pytest

from corral.plugin import Command, CommandFailed, CommandTimedOut, Job, JobId, JobState
from corral.testing import converse, drive
from corral_slurm import Slurm
from corral_slurm.testing import SlurmLaws

HERE = SlurmLaws.transcripts
SCRIPT = Slurm().render_script(Job(name="dask-1"))


@pytest.mark.parametrize("directive", ["--clusters=other", "-M other", "-Mother"])
def test_the_cluster_to_which_a_script_goes_says_how_large_an_array_may_be(
    directive: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not the one that the configuration is of."""
    slurm = Slurm()
    script = slurm.render_script(Job(name="dask-1", extra_directives=[directive]))
    asked: list[tuple[str, ...]] = []

    def answer(command: Command) -> object:
        asked.append(command.argv)
        if command.argv[0] == "scontrol":
            return HERE / "scontrol-config-other.txt"
        return HERE / ("sbatch-other-no-arrays.txt" if "--array=0-1" in command.argv else "sbatch-other.txt")

    first, second = converse(slurm.submit(script, 2), answer)  # type: ignore[arg-type]
    assert ("scontrol", "-M", "other", "show", "config") in asked
    assert first == second == JobId("134217742", where="other")
    assert "job arrays are switched off here (MaxArraySize=0)" in caplog.text


def test_of_several_clusters_the_smallest_arrays_are_taken() -> None:
    """Slurm chooses where a job starts first."""
    script = Slurm().render_script(Job(name="dask-1", extra_directives=["--clusters=a,b"]))
    answers: list[Any] = [HERE / "sbatch-big-array.txt", "MaxArraySize = 500\n", "MaxArraySize = 50\n", "7;b\n"]
    assert len(drive(Slurm().submit(script, 1000), answers)) == 50


def test_jobs_are_looked_for_where_they_were_submitted() -> None:
    """Also where that was tried and nobody knows what came of it."""
    slurm = Slurm()
    script = slurm.render_script(Job(name="dask-1", extra_directives=["--clusters=other"]))
    with pytest.raises(CommandFailed):
        drive(slurm.submit(script, 1), [HERE / "sbatch-controller-down.txt"])
    drive(slurm.submit(SCRIPT, 1), ["7;third\n"])
    asked: list[str] = []

    def answer(command: Command) -> str:
        asked.append(command.argv[command.argv.index("-M") + 1] if "-M" in command.argv else "")
        return {"": "1_0|RUNNING|dask-1|\n", "other": "8|PENDING|dask-1|\n", "third": "1_0|RUNNING|dask-1|\n"}[
            asked[-1]
        ]

    assert converse(slurm.find_jobs("dask-1"), answer) == [JobId("1_0"), JobId("8", where="other")]
    assert asked == ["", "other", "third"]


def test_a_job_that_a_sibling_runs_is_looked_up_in_the_federation() -> None:
    """squeue says REVOKED of it, for ever; accounting has a row for either cluster."""
    job_id = JobId("67108939")
    runs = drive(Slurm().poll_status([job_id]), [HERE / "squeue-revoked.txt", HERE / "sacct-federation.txt"])
    assert (runs[job_id].state, runs[job_id].hosts) == (JobState.RUNNING, ("x1",))
    ended = drive(Slurm().poll_status([job_id]), [HERE / "squeue-revoked.txt", HERE / "sacct-federation-ended.txt"])
    assert (ended[job_id].state, ended[job_id].exit_code) == (JobState.FAILED, 3)
    backwards = "67108939|RUNNING|0:0|x1|1|1|Unknown|None\n67108939|REVOKED|0:0|None assigned|1|None|1|None\n"
    runs = drive(Slurm().poll_status([job_id]), [HERE / "squeue-revoked.txt", backwards])
    assert runs[job_id].state is JobState.RUNNING


@pytest.mark.parametrize(("accounting", "finds"), [("sacct-federation.txt", 1), ("sacct-federation-ended.txt", 0)])
def test_a_job_that_a_sibling_has_run_is_not_found(accounting: str, finds: int) -> None:
    """squeue lists it by its name, too, for ever."""
    listed = "67108939|REVOKED|dask-1|\n"
    assert drive(Slurm().find_jobs("dask-1"), [listed, HERE / accounting]) == [JobId("67108939")] * finds
    # Accounting does not answer: it may be there.
    assert drive(Slurm().find_jobs("dask-1"), [listed, CommandTimedOut]) == [JobId("67108939")]


def test_a_job_of_which_accounting_does_not_know_yet_is_there() -> None:
    """In a state that nobody can tell: it has not vanished."""
    job_id = JobId("67108939")
    found = drive(Slurm().poll_status([job_id]), [HERE / "squeue-revoked.txt", ""])
    assert (found[job_id].state, found[job_id].native) == (JobState.UNKNOWN, "REVOKED")


def test_a_job_that_was_cancelled_as_it_began_has_ended() -> None:
    """Accounting's second row says PENDING for ever."""
    wanted = [JobId("67108934_0"), JobId("67108934_1")]
    found = drive(Slurm().poll_status(wanted), ["", HERE / "sacct-cancelled-at-once.txt"])
    assert {job_id: (status.state, status.hosts) for job_id, status in found.items()} == dict.fromkeys(
        wanted, (JobState.CANCELLED, ("n1",))
    )


@pytest.mark.parametrize("answers", [["squeue-node-down.txt"], ["", "sacct-node-down.txt"]])
def test_a_job_that_lost_its_node_said_nothing_itself(answers: list[str]) -> None:
    """squeue says "0:1" and sacct "1:0": neither is a signal or an exit code of the job."""
    job_id = JobId("67108938_0")
    found = drive(Slurm().poll_status([job_id]), [HERE / name if name else "" for name in answers])
    status = found[job_id]
    assert (status.state, status.exit_code, status.signal) == (JobState.NODE_FAILED, None, None)


def test_a_job_that_never_ran_has_no_signal() -> None:
    """squeue says "0:1" of one that no node can satisfy."""
    row = "10_0|FAILED|0:1||1795885336|1795885336|1795885336|BadConstraints|batch|\n"
    status = drive(Slurm().poll_status([JobId("10_0")]), [row])[JobId("10_0")]
    assert (status.state, status.exit_code, status.signal) == (JobState.FAILED, None, None)


@pytest.mark.parametrize("name", ["sbatch-filter.txt", "sbatch-lua-greets.txt"])
def test_what_a_plugin_of_the_site_prints_is_no_id(name: str) -> None:
    """Before the id, on standard output: "2 of 3 file systems are up."."""
    found = drive(Slurm().submit(SCRIPT, 2), [HERE / name])
    assert [job_id.text[:8] for job_id in found] == ["67108932" if "filter" in name else "67108933"] * 2
