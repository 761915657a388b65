"""TORQUE's commands: what is asked, and what answers in the form of its documentation mean. None is a recording."""

from __future__ import annotations

import pytest

from corral.plugin import Allocation, CommandFailed, Completed, Job, JobId, JobState, ParseError
from corral.testing import Answer, drive, environment
from corral_torque import Torque, answers
from corral_torque.testing import TorqueLaws

HERE = TorqueLaws.transcripts
TORQUE = Torque()
SCRIPT = TORQUE.render_script(Job(name="dask-1"))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def test_every_job_is_an_array() -> None:
    """One of a single element too, under the prefix that the script is written with."""
    assert next(TORQUE.submit(SCRIPT, 1)).argv == ("qsub", "-C", "#PBS", "-t", "0-0")
    assert next(TORQUE.submit(SCRIPT, 5000)).argv == ("qsub", "-C", "#PBS", "-t", "0-999")


def test_a_smaller_limit_of_the_site_is_learnt_in_the_conversation() -> None:
    """TORQUE does not say how many; its server does."""
    answers_ = [HERE / name for name in ("qsub-array.txt", "server.txt", "qsub.txt")]
    assert len(drive(TORQUE.submit(SCRIPT, 500), answers_)) == 50
    with pytest.raises(CommandFailed, match="Bad Job Array"):
        drive(TORQUE.submit(SCRIPT, 10), answers_[:2])


@pytest.mark.parametrize("answer", ["12.srv\n", "12[0].srv\n", "qsub: waiting\n"])
def test_an_id_of_something_else_is_refused(answer: str) -> None:
    """Only an array was asked for."""
    with pytest.raises(ParseError):
        drive(TORQUE.submit(SCRIPT, 2), [answer])


def test_one_qstat_tells_all() -> None:
    """How they ended, exit codes, signals, hosts and times; -x would be XML, not history."""
    command = next(TORQUE.poll_status(ids("12[0].srv", "12[1].srv", "13[5].srv")))
    assert command.argv == ("qstat", "-t", "-f", "12[].srv", "13[].srv")
    found = drive(TORQUE.poll_status(ids(*(f"12[{index}].srv" for index in range(7)))), [HERE / "qstat.txt"])
    told = [(status.exit_code, status.signal, status.hosts) for status in found.values()]
    assert told == [
        (0, None, ("n1",)),
        (3, None, ("n1",)),
        (None, 9, ("n1",)),
        (None, None, ("n1",)),
        (None, None, ("n1",)),
        (None, None, ("n1", "n2")),
        (None, None, ()),
    ]
    statuses = list(found.values())
    assert statuses[5].started is not None
    assert statuses[5].ends == statuses[5].started + 300
    assert statuses[3].reason == "TORQUE ended it: exit_status -11"
    assert statuses[6].reason.startswith("Not Running")


def test_a_job_deleted_before_it_began_was_cancelled() -> None:
    """It is complete, and has no exit_status."""
    [status] = drive(TORQUE.poll_status(ids("1[0].a")), ["Job Id: 1[0].a\n    job_state = C\n"]).values()
    assert status.state is JobState.CANCELLED


def test_a_refused_cancellation_is_an_error() -> None:
    """Even if other jobs of the same command are gone."""
    complaint = "qdel: nonexistent job id: 7[0].a\nqdel: Unauthorized Request  8[0].a\n"
    with pytest.raises(CommandFailed):
        drive(TORQUE.cancel(ids("7[0].a", "8[0].a")), [Completed(returncode=159, stderr=complaint)])


def test_only_own_jobs_of_that_very_name_are_found() -> None:
    """Elements have an index behind the name; other people may use it too."""
    assert drive(TORQUE.find_jobs("dask-ends"), [Completed(stdout="john\n"), HERE / "qstat.txt"]) == []
    assert drive(TORQUE.find_jobs("dask-end"), [Completed(stdout="mary\n"), HERE / "qstat.txt"]) == []


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (Completed(stderr="version: 2.5.12\n"), "2.5.12"),
        ("pbs_version = 23.06.06\n", None),
        (Completed(returncode=1, stderr='qstat: Unknown option "--version"\n'), None),
    ],
)
def test_relatives_are_told_apart(answer: Answer, version: str | None) -> None:
    """TORQUE says its version on standard error; PBS and Grid Engine have a qstat too."""
    detected = drive(TORQUE.detect(), [answer])
    assert (detected and detected.version) == version


def test_gpus_come_from_cuda_or_from_the_gpu_file() -> None:
    """Those of the first host; the variable is set where the MOM is told so."""
    assert answers.gpus("n2-gpu0\nn1-gpu10\nn1-gpu9\n", "n1") == ["9", "10"]
    environ = environment(HERE / "environment.txt") | {"CUDA_VISIBLE_DEVICES": "3"}
    allocation = drive(TORQUE.read_allocation(environ), [HERE / "nodefile.txt"])
    assert allocation is not None
    assert allocation.gpus.names == ("3",)


def test_outside_of_a_job_there_is_no_allocation() -> None:
    """Nothing is asked."""
    assert drive(TORQUE.read_allocation({"PBS_O_HOME": "/"}), []) is None


def test_a_process_is_started_once_on_each_host() -> None:
    """Not once for each core."""
    allocation = Allocation(job_id=JobId("7[0].a"), hosts=["n1", "n2"])
    assert TORQUE.launch_command(allocation, ["printf", "two  words"]) == [["pbsdsh", "-u", "printf", "two  words"]]
