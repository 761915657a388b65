"""PBS's commands: what is asked, and what the answers of OpenPBS 23.06 mean."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from corral.plugin import (
    Allocation,
    Command,
    CommandFailed,
    Completed,
    FailureKind,
    Job,
    JobId,
    JobState,
    JobStatus,
    ParseError,
)
from corral.testing import Answer, command_environment, converse, drive, environment
from corral_pbs import PBS, answers
from corral_pbs.testing import PBSLaws

HERE = PBSLaws.transcripts
PBS_ = PBS()
SCRIPT = PBS_.render_script(Job(name="dask-1"))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def asked(replies: list[Answer], argvs: list[tuple[str, ...]]) -> object:
    """Answer in that order, and keep what was asked."""
    rest = iter(replies)

    def answer(command: Command) -> Answer:
        argvs.append(command.argv)
        return next(rest)

    return answer


# --- submit -----------------------------------------------------------------------------------------------------


def test_one_job_is_an_array_too() -> None:
    """``-J 0-0`` is refused; a step beyond the second index leaves one element."""
    assert next(PBS_.submit(SCRIPT, 1)).argv == ("qsub", "-C", "#PBS", "-J", "0-1:2")
    assert next(PBS_.submit(SCRIPT, 50)).argv == ("qsub", "-C", "#PBS", "-J", "0-49")


def test_directives_are_read_whatever_the_user_set() -> None:
    """PBS_DPREFIX would have qsub look for others; -C wins over it."""
    command = next(PBS_.submit(SCRIPT, 1))
    assert command.argv[1:3] == ("-C", "#PBS")
    assert command.stdin == str(SCRIPT)
    seen = command_environment({"PBS_JOBID": "1.a", "PBS_O_HOME": "/", "PBS_CONF_FILE": "/etc/pbs.conf"}, command)
    assert seen == {"PBS_CONF_FILE": "/etc/pbs.conf", "LC_ALL": "C"}


def test_a_smaller_limit_of_the_site_is_learnt_in_the_conversation() -> None:
    """PBS refuses 0-4999 where max_array_size is 2000, and says so when asked."""
    argvs: list[tuple[str, ...]] = []
    replies: list[Answer] = [
        *(HERE / f"{name}.txt" for name in ("qsub-too-large", "qstat-server", "qstat-queues", "qsub")),
    ]
    submitted = converse(PBS_.submit(SCRIPT, 5000), asked(replies, argvs))  # type: ignore[arg-type]
    assert len(submitted) == 2000
    assert argvs[-1][-1] == "0-1999"


def test_a_limit_that_is_no_cure_ends_the_submission() -> None:
    """Nothing is tried twice."""
    with pytest.raises(CommandFailed, match="size limit"):
        drive(PBS_.submit(SCRIPT, 10), [HERE / "qsub-too-large.txt", HERE / "qstat-server.txt", ""])


def test_arrays_that_are_off_are_done_without(caplog: pytest.LogCaptureFixture) -> None:
    """The server's limit says so; a job on another server is still asked for there."""
    pbs = PBS()
    script = pbs.render_script(Job(name="x", queue="batch@other"))
    limit = "Server: node01\n    max_array_size = 1\n"
    found = drive(pbs.submit(script, 2), [HERE / "qsub-too-large.txt", limit, "", "7.other\n", "8.other\n"])
    assert [(job_id.text, job_id.where) for job_id in found] == [("7.other", "other"), ("8.other", "other")]
    assert "job arrays are switched off here (max_array_size = 1)" in caplog.text
    assert next(pbs.submit(script, 2)).argv == ("qsub", "-C", "#PBS")


@pytest.mark.parametrize("answer", ["7[].node01\n", "7 .node01\n", "node01\n", ""])
def test_an_array_where_one_job_was_submitted_is_refused(answer: str) -> None:
    """Whatever it is, it is not the job's id."""
    with pytest.raises(ParseError):
        drive(PBS(arrays=False).submit(SCRIPT, 1), [answer])


def test_a_job_on_another_server_is_asked_for_there() -> None:
    """Of a queue like batch@other; the id stays what the job itself sees."""
    script = PBS_.render_script(Job(name="x", queue="batch@other"))
    [job_id] = drive(PBS_.submit(script, 1), ["7[].other\n"])
    assert (job_id.text, job_id.where) == ("7[0].other", "other")
    assert next(PBS_.poll_status([job_id])).argv[-1] == "7[].other@other"
    assert next(PBS_.cancel([job_id])).argv[-1] == "7[0-1:2].other@other"


def test_jobs_on_another_server_are_found_there() -> None:
    """After a submission whose answer was lost: or the same jobs would be submitted once more."""
    pbs = PBS()
    script = pbs.render_script(Job(name="dask-other", queue="workq@other"))
    with pytest.raises(CommandFailed):
        drive(pbs.submit(script, 1), [HERE / "qsub-server-down.txt"])
    argvs: list[tuple[str, ...]] = []
    replies: list[Answer] = ["root\n", "9059[0].node01\n117[1].other\n", HERE / "qselect-elsewhere.txt"]
    found = converse(pbs.find_jobs("dask-other"), asked(replies, argvs))  # type: ignore[arg-type]
    assert argvs[2] == (*argvs[1], "-q", "@other")
    # Each once, where the default server was named, too.
    assert [(job_id.text, job_id.where) for job_id in found] == [
        ("9059[0].node01", ""), ("117[1].other", ""), ("117[0].other", "other"),
    ]  # fmt: skip


def test_jobs_on_another_server_are_asked_for_beside_those_here() -> None:
    """One qstat asks both servers; what one of them does not know is no obstacle."""
    submitted = drive(
        PBS_.submit(PBS_.render_script(Job(name="x", queue="workq@other")), 2), [HERE / "qsub-elsewhere.txt"]
    )
    argvs: list[tuple[str, ...]] = []
    polled = PBS_.poll_status([*submitted, JobId("7.node01")])
    found = converse(polled, asked([HERE / "qstat-elsewhere.txt"], argvs))  # type: ignore[arg-type]
    assert argvs == [("qstat", "-x", "-t", "-f", "117[].other@other", "7.node01")]
    assert {job_id: status.state for job_id, status in found.items()} == dict.fromkeys(submitted, JobState.HELD)


def test_another_server_has_a_limit_of_its_own() -> None:
    """The default server's says nothing about it."""
    argvs: list[tuple[str, ...]] = []
    replies: list[Answer] = [HERE / "qsub-too-large.txt", "    max_array_size = 3\n", "", "7[].other\n"]
    script = PBS_.render_script(Job(name="x", queue="batch@other"))
    assert len(converse(PBS().submit(script, 10), asked(replies, argvs))) == 3  # type: ignore[arg-type]
    assert argvs[1:3] == [("qstat", "-B", "-f", "other"), ("qstat", "-Q", "-f", "@other")]


@pytest.mark.parametrize("answer", ["7.node01\n", "7[0].node01\n", "[].node01\n", "7[]. node01\n"])
def test_an_id_of_something_else_is_refused(answer: str) -> None:
    """Only an array was asked for."""
    with pytest.raises(ParseError):
        drive(PBS_.submit(SCRIPT, 2), [answer])


# --- poll -------------------------------------------------------------------------------------------------------


def test_one_qstat_tells_all() -> None:
    """How they ended, exit codes, hosts and times."""
    found = drive(PBS_.poll_status(ids(*(f"9058[{index}].node01" for index in range(5)))), [HERE / "qstat-ended.txt"])
    statuses = list(found.values())
    assert [(status.state, status.exit_code) for status in statuses] == [
        (JobState.COMPLETED, 0),
        (JobState.FAILED, 3),
        (JobState.FAILED, 137),
        (JobState.TIMEOUT, None),
        (JobState.CANCELLED, None),
    ]
    assert {status.hosts for status in statuses} == {("node01",)}
    assert statuses[0].reason == ""
    assert "exceeded resource walltime" in statuses[3].reason
    assert all(status.submitted <= status.started <= status.ends for status in statuses)  # type: ignore[operator]


def test_a_running_job_ends_with_its_walltime() -> None:
    """And runs on all of its hosts."""
    [status] = drive(PBS_.poll_status(ids("9084[1].node01")), [HERE / "qstat-two-nodes.txt"]).values()
    assert (status.state, status.hosts, status.native) == (JobState.RUNNING, ("node01", "node02"), "R")
    assert status.started is not None
    assert status.ends == status.started + 300


def test_an_element_that_waits_says_nothing_of_its_array() -> None:
    """It shows the array's start, an Exit_status of 0, and "Subjob finished" if another element was deleted."""
    [status] = drive(PBS_.poll_status(ids("9059[0].node01")), [HERE / "qstat-deleted-waiting.txt"]).values()
    assert (status.state, status.reason, status.started, status.exit_code) == (JobState.HELD, "", None, None)


def test_arrays_are_asked_for_once_in_full_names() -> None:
    """Ten elements are one id; short and long ids are not mixed, which is said to end a server."""
    command = next(PBS_.poll_status(ids(*(f"7[{index}].a" for index in range(10)), "80[3].a")))
    assert command.argv == ("qstat", "-x", "-t", "-f", "7[].a", "80[].a")


def test_a_site_without_history_is_asked_at_once() -> None:
    """Its option saves a command; a job that ended is unknown there, or has finished."""
    pbs = PBS(history=False)
    assert next(pbs.poll_status(ids("7[0].a"))).argv == ("qstat", "-t", "-f", "7[].a")
    complaint = "qstat: 7[].a Job has finished, use -x or -H to obtain historical job information\n"
    assert not drive(pbs.poll_status(ids("7[0].a")), [Completed(returncode=35, stderr=complaint)])


def test_a_server_that_is_away_is_an_error() -> None:
    """Not: all jobs are gone."""
    with pytest.raises(CommandFailed, match="Connection refused"):
        drive(PBS_.poll_status(ids("6[0].node01")), [HERE / "qstat-server-down.txt"])


def block(**attributes: object) -> str:
    told = {"job_state": "F", "substate": 92, "ctime": "Mon Nov 23 11:50:10 2026", **attributes}
    return "Job Id: 7[0].a\n" + "".join(f"    {name} = {value}\n" for name, value in told.items()) + "\n"


def polled(text: str) -> JobStatus:
    return drive(PBS_.poll_status(ids("7[0].a")), [text])[JobId("7[0].a")]


@pytest.mark.parametrize(
    ("attributes", "state", "exit_code", "signal"),
    [
        ({"Exit_status": 0}, JobState.COMPLETED, 0, None),
        ({"Exit_status": 3, "substate": 93}, JobState.FAILED, 3, None),
        ({"Exit_status": 137, "substate": 93}, JobState.FAILED, 137, None),
        ({"Exit_status": 265, "substate": 93}, JobState.FAILED, None, 9),
        ({"Exit_status": -29, "substate": 93}, JobState.TIMEOUT, None, None),
        ({"Exit_status": -27, "substate": 93}, JobState.OUT_OF_MEMORY, None, None),
        ({"Exit_status": -20, "substate": 93}, JobState.NODE_FAILED, None, None),
        ({"Exit_status": -2, "substate": 93}, JobState.FAILED, None, None),
        ({"Exit_status": 0, "substate": 91}, JobState.CANCELLED, None, None),
        (
            {"Exit_status": 0, "substate": 70, "comment": "Subjob finished", "job_state": "X"},
            JobState.CANCELLED,
            None,
            None,
        ),
        ({}, JobState.CANCELLED, None, None),
    ],
)
def test_ends_are_told_apart(
    attributes: dict[str, object], state: JobState, exit_code: int | None, signal: int | None
) -> None:
    """A deleted job shows Exit_status 0, and one that never ran shows none: neither has completed."""
    status = polled(block(**attributes))
    assert (status.state, status.exit_code, status.signal) == (state, exit_code, signal)


@pytest.mark.parametrize(
    ("letters", "state"),
    [("QWT", JobState.PENDING), ("H", JobState.HELD), ("RE", JobState.RUNNING), ("SU", JobState.SUSPENDED)],
)
def test_state_letters(letters: str, state: JobState) -> None:
    """Those of qstat(1B) that a job of ours can have."""
    assert {polled(block(job_state=letter)).state for letter in letters} == {state}


def test_long_lines_are_made_whole() -> None:
    """qstat breaks them at 78 characters, anywhere."""
    text = block(job_state="R", exec_host="n1/0*36+n\n\t2/0*36", comment="a, \n\tb")
    assert polled(text).hosts == ("n1", "n2")


def test_an_estimate_is_told() -> None:
    """Where the scheduler makes one."""
    status = polled(block(job_state="Q", **{"estimated.start_time": "Mon Nov 23 12:00:00 2026"}))
    assert status.expected_start == time.mktime(time.strptime("2026-11-23 12:00:00", "%Y-%m-%d %H:%M:%S"))
    words = answers.patience(status)
    assert words.endswith("; PBS expects to start it at 2026-11-23 12:00:00")


# --- cancel, find, detect ---------------------------------------------------------------------------------------


def test_every_word_of_qdel_is_a_range() -> None:
    """Several words, the last of them one waiting element, end the server of OpenPBS 23.06: observed 7 times of 7."""
    wanted = ids(*(f"7[{index}].a" for index in (*range(1000), 1002)), "80[3].a", "81.a")
    assert next(PBS_.cancel(wanted)).argv == ("qdel", "81.a", "7[0-999].a", "7[1002-1003:2].a", "80[3-4:2].a")


def test_a_job_that_is_ending_is_cancelled() -> None:
    """And so is one that was deleted while it waited."""
    complaint = (
        "qdel: Request invalid for state of job 7[0].a\nqdel: Request invalid for finished array subjob 7[1].a\n"
    )
    drive(PBS_.cancel(ids("7[0].a")), [Completed(returncode=16, stderr=complaint)])


def test_a_refused_cancellation_is_an_error() -> None:
    """Even if other jobs of the same command are gone."""
    complaint = "qdel: Job has finished 7[0].a\nqdel: Unauthorized Request 8[0].a\n"
    with pytest.raises(CommandFailed):
        drive(PBS_.cancel(ids("7[0].a", "8[0].a")), [Completed(returncode=159, stderr=complaint)])


def test_only_own_jobs_are_found() -> None:
    """A name is no secret: others may use it."""
    argvs: list[tuple[str, ...]] = []
    converse(PBS_.find_jobs("dask-held"), asked(["mary\n", HERE / "qselect.txt"], argvs))  # type: ignore[arg-type]
    assert argvs[1] == ("qselect", "-T", "-s", "EHQRSTUW", "-u", "mary", "-N", "dask-held")


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("pbs_version = 23.06.06\n", "23.06.06"),
        ("pbs_version = PBSPro_13.0.403.160923\n", "13.0.403.160923"),
        ("Version: 6.1.3\nCommit: 91d5d6d\n", None),
        (Completed(returncode=1, stderr='qstat: Unknown option "--version"\n'), None),
    ],
)
def test_relatives_are_told_apart(answer: Answer, version: str | None) -> None:
    """PBS, TORQUE and Grid Engine have a qsub and a qstat each."""
    detected = drive(PBS_.detect(), [answer])
    assert (detected and detected.version) == version


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("qsub: Maximum number of jobs already in complex", FailureKind.LIMIT),
        ("qsub: Maximum number of jobs for user mary already in queue batch", FailureKind.LIMIT),
        ("qsub: would exceed limit on resource ncpus in queue batch", FailureKind.LIMIT),
        ("qsub: Invalid Account", FailureKind.FATAL),
        ("qsub: Access to queue is denied", FailureKind.FATAL),
        ("qsub: Bad UID for job execution", FailureKind.FATAL),
        ("qsub: hook rejected request", FailureKind.FATAL),
        ("qsub: Request not allowed: Server shutting down", FailureKind.TRANSIENT),
        ("Communication failure.\nqstat: cannot connect to server a (errno=15137)", FailureKind.TRANSIENT),
        ("pbs_iff: cannot connect to host\nNo Permission.\nqstat: cannot connect to server a", FailureKind.TRANSIENT),
    ],
)
def test_failures_are_told_apart(message: str, kind: FailureKind) -> None:
    """By the words of src/lib/Liblog/pbs_messages.c."""
    failure = PBS_.classify_failure(Completed(returncode=1, stderr=message))
    assert failure is not None
    assert failure.kind is kind
    assert not failure.message.startswith("qsub")


def test_queues_have_limits() -> None:
    """A default, the longest walltime, and whether they take jobs."""
    queues = drive(PBS_.describe_queues(), ["you\n", HERE / "qstat-server.txt", HERE / "qstat-queues.txt"])
    told = {queue.name: (queue.is_default, queue.accepts_jobs, queue.max_walltime) for queue in queues}
    assert told["workq"] == (True, True, None)
    assert told["short"] == (False, True, 600)
    assert told["closed"] == (False, False, None)


def test_queues_limit_whole_jobs_and_who_may_use_them() -> None:
    """As queue="auto" must know."""
    text = (HERE / "qstat-queues.txt").read_text()
    limits = "resources_max.ncpus = 256\n    resources_max.mem = 235gb\n    resources_max.ngpus = 0\n"
    limits += "    resources_max.nodect = 2\n    resources_min.nodect = 1\n    resources_max.walltime"
    answer = text.replace("resources_max.walltime", limits).replace("started = True", "started = False", 1)
    server = HERE / "qstat-server.txt"
    queues = {queue.name: queue for queue in drive(PBS_.describe_queues(), ["you\n", server, answer])}
    short = queues["short"]
    assert (short.max_cores, short.max_memory, short.max_gpus) == (256, 235 * 2**30, 0)
    assert (short.min_nodes, short.max_nodes, short.cores) == (1, 2, None)
    assert (queues["workq"].starts_jobs, short.starts_jobs) == (False, True)
    assert not queues["mine"].accepts_jobs, "it is nobody's"
    queues = {queue.name: queue for queue in drive(PBS_.describe_queues(), ["nobody\n", server, answer])}
    assert queues["mine"].accepts_jobs


# --- inside a job -----------------------------------------------------------------------------------------------


def test_gpus_are_those_that_cuda_sees() -> None:
    """PBS's cgroups hook sets the variable."""
    environ = environment(HERE / "environment.txt") | {"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2"}
    allocation = drive(PBS_.read_allocation(environ), [HERE / "nodefile.txt"])
    assert allocation is not None
    assert allocation.gpus.names == ("GPU-1", "GPU-2")


def test_a_host_is_counted_once() -> None:
    """The node file has a line for each process that MPI would start."""
    environ = environment(HERE / "environment.txt")
    allocation = drive(PBS_.read_allocation(environ), ["n1\nn1\nn2\nn2\n"])
    assert allocation is not None
    assert allocation.hosts == ("n1", "n2")


def test_outside_of_a_job_there_is_no_allocation() -> None:
    """Nothing is asked."""
    assert drive(PBS_.read_allocation({"PBS_O_HOME": "/"}), []) is None


def test_a_site_may_set_torques_variables() -> None:
    """PBS_NUM_PPN, for old scripts: the job is PBS's still. A job of TORQUE's is not."""
    environ = environment(HERE / "environment.txt") | {"PBS_NUM_PPN": "2"}
    assert drive(PBS_.read_allocation(environ), [HERE / "nodefile.txt"]) is not None
    of_torque = {"PBS_JOBID": "1.srv", "PBS_NODEFILE": "/aux/1.srv", "PBS_VERSION": "TORQUE-4.2.10"}
    assert drive(PBS_.read_allocation(of_torque), []) is None


def test_a_process_is_started_on_each_host() -> None:
    """pbs_tmrsh hands the words on as they are, and ends with the command's code."""
    allocation = Allocation(job_id=JobId("7[0].a"), hosts=["n1", "n2"])
    assert PBS_.launch_command(allocation, ["printf", "two  words"]) == [
        ["pbs_tmrsh", "n1", "printf", "two  words"],
        ["pbs_tmrsh", "n2", "printf", "two  words"],
    ]


def test_what_runs_on_other_nodes_writes_to_the_job_s_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PBS would bring it to where -o points; where the folder is missing, the command runs all the same."""
    allocation = Allocation(job_id=JobId("7[0].a"), hosts=["n1", "n2"])
    for folder in (tmp_path, tmp_path / "missing"):
        monkeypatch.setenv("PBS_JOB_LOG", f"{folder}/7[0].a.log")
        for _, _, *words in PBS_.launch_command(allocation, ["sh", "-c", 'echo "$0" >&2; exit 3', "two  words"]):
            assert subprocess.run(words, check=False, stderr=subprocess.DEVNULL).returncode == 3
    assert (tmp_path / "7[0].a.log").read_text() == "two  words\n" * 2
