"""OAR's commands: what is asked, and what the answers of OAR 2.5.9 mean."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from corral.plugin import (
    Allocation,
    Command,
    CommandFailed,
    CommandTimedOut,
    Completed,
    Failure,
    FailureKind,
    Job,
    JobId,
    JobState,
    JobStatus,
    ParseError,
    Queue,
)
from corral.testing import command_environment, converse, drive, environment, transcript
from corral_oar import Oar
from corral_oar.testing import OarLaws

HERE = OarLaws.transcripts
OAR = Oar()
SCRIPT = OAR.render_script(Job(name="dask-1", command=["echo", "it's $HOME"]))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def table(**row: Any) -> str:
    """An answer with one job, 1."""
    return json.dumps({"1": {"Job_Id": 1, "state": "Waiting", **row}})


def status(**row: Any) -> JobStatus:
    [found] = drive(OAR.poll_status(ids("1")), [table(**row)]).values()
    return found


# --- submit -----------------------------------------------------------------------------------------------------


def test_the_script_travels_in_an_argument() -> None:
    """OAR would read a file on the node, long after its submission."""
    command = next(OAR.submit(SCRIPT, 50))
    assert command.argv[:-1] == (
        *("oarsub", "-n", "dask-1", "-l", "/nodes=1/core=1", "-O", "/dev/null", "-E", "/dev/null", "--array", "50"),
    )
    assert command.stdin == ""
    assert command.cwd == "/", "OAR 2.6 starts no job in a folder with an apostrophe"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_the_argument_is_a_line_that_login_shells_read_alike(shell: str) -> None:
    """The job's standard input stays its own: a command in a prologue may read it."""
    script = OAR.render_script(
        Job(name="x", command=["echo", "it's $HOME"], prologue=["read line", 'echo "got $line"'])
    )
    line = next(OAR.submit(script, 1)).argv[-1]
    ran = subprocess.run([shell, "-c", line], input=b"input\n", capture_output=True, check=True)
    assert ran.stdout == b"got input\nit's $HOME\n"


def test_the_script_is_read_by_its_own_interpreter() -> None:
    """A login shell, say."""
    script = OAR.render_script(Job(name="x", shebang="#!/bin/bash -l"))
    assert next(OAR.submit(script, 1)).argv[-1].startswith("exec /bin/bash -l -c 'eval ")


def test_one_array_is_as_large_as_wanted() -> None:
    """The core asks again for the rest."""
    assert next(Oar(max_array_size=200).submit(SCRIPT, 1000)).argv[-3:-1] == ("--array", "200")


def test_a_refusal_has_no_id() -> None:
    """It prints OAR_JOB_ID=-5, or nothing after the sign."""
    for file in ("oarsub-too-much", "oarsub-name"):
        with pytest.raises(CommandFailed):
            drive(OAR.submit(SCRIPT, 1), [HERE / f"{file}.txt"])
        with pytest.raises(ParseError):
            drive(OAR.submit(SCRIPT, 1), [transcript(HERE / f"{file}.txt").stdout or "OAR_JOB_ID=-5\n"])


def test_jobs_that_the_server_did_not_hear_of_are_found_again() -> None:
    """OAR says that they are killed, and they wait: the core looks for them before it asks once more."""
    answer = transcript(HERE / "oarsub-server-down.txt")
    with pytest.raises(CommandFailed) as caught:
        drive(OAR.submit(SCRIPT, 2), [answer])
    assert OAR.classify_failure(caught.value.completed) == Failure(
        kind=FailureKind.TRANSIENT, message="Cannot connect to executor oarserver:6666."
    )


# --- poll -------------------------------------------------------------------------------------------------------


def test_one_oarstat_tells_all() -> None:
    """States, exit codes, signals, hosts and times; what ended a job that is an Error, by its events."""
    wanted = ids(*(str(number) for number in range(1021, 1035)))
    found = {job_id.text: status for job_id, status in drive(OAR.poll_status(wanted), [HERE / "oarstat.txt"]).items()}
    completed = JobStatus(
        state=JobState.COMPLETED,
        native="Terminated",
        exit_code=0,
        hosts=["node01"],
        submitted=1795644997,
        started=1795644999,
        ends=1795645005,
    )
    assert found["1021"] == completed
    assert found["1022"] == evolve(completed, state=JobState.FAILED, exit_code=3)
    assert found["1023"] == evolve(completed, state=JobState.FAILED, exit_code=None, signal=9)
    assert found["1024"] == evolve(completed, state=JobState.FAILED, exit_code=143)
    assert {number: (job.state, job.reason) for number, job in found.items() if job.native == "Error"} == {
        "1025": (JobState.TIMEOUT, "Job [1025] from 1795644999 with 3; current time=1795645006 (Elapsed)"),
        "1026": (JobState.CANCELLED, "User user requested to frag the job 1026"),
        "1028": (JobState.FAILED, "Cannot create .stdout and .stderr files in /home/user on the node node01"),
        "1029": (JobState.FAILED, "Cannot go into the working directory /no/such/dir of the job on node node02"),
        "1030": (JobState.CANCELLED, "User user requested to frag the job 1030"),
        "1032": (JobState.PREEMPTED, "kill the besteffort job 1032"),
    }
    running = found["1033"]
    assert (running.state, running.hosts) == (JobState.RUNNING, ("node01", "node02", "node03"))
    assert running.ends == (running.started or 0) + 300
    assert found["1034"] == JobStatus(state=JobState.PENDING, native="Waiting", submitted=1795645017)


def test_oarstat_is_asked_for_ranges() -> None:
    """A thousand jobs of an array are as short as one."""
    command = next(OAR.poll_status([JobId(str(number)) for number in range(60, 1060)]))
    assert command.argv == ("oarstat", "-f", "-J", "--sql", "job_id BETWEEN 60 AND 1059")


def test_a_node_that_died_is_told_from_a_deletion() -> None:
    """OAR deletes the job in both cases; where the node does not answer, it exterminates it."""
    found = drive(OAR.poll_status(ids("1039")), {"oarstat": HERE / "oarstat-exterminated.txt", "oardel": ""})
    [lost] = found.values()
    assert (lost.state, lost.hosts, lost.reason) == (JobState.NODE_FAILED, ("node03",), "I exterminate the job 1039")


def test_what_oar_submits_again_by_itself_is_deleted() -> None:
    """Under a new id nobody would look after it, and the core replaces a job that a node lost."""
    asked: list[Command] = []
    replies = iter([HERE / "oarstat-again.txt", HERE / "oardel-submitted-again.txt"])

    def answer(command: Command) -> Path:
        asked.append(command)
        return next(replies)

    found = converse(OAR.poll_status(ids("1045", "1046")), answer)
    assert {job.state for job in found.values()} == {JobState.NODE_FAILED}
    assert asked[1].argv[:2] == ("oardel", "--sql")
    assert "resubmit_job_id IN (1046,1045)" in asked[1].argv[2]


@pytest.mark.parametrize(
    ("native", "state"),
    [
        ("Waiting", JobState.PENDING),
        ("toAckReservation", JobState.PENDING),
        ("toLaunch", JobState.PENDING),
        ("Launching", JobState.PENDING),
        ("Hold", JobState.HELD),
        ("Running", JobState.RUNNING),
        ("Finishing", JobState.RUNNING),
        ("toError", JobState.RUNNING),
        ("Suspended", JobState.SUSPENDED),
        ("Resuming", JobState.SUSPENDED),
        ("Terminated", JobState.COMPLETED),
        ("Error", JobState.FAILED),
        ("Moulting", JobState.UNKNOWN),
    ],
)
def test_states_have_a_meaning(native: str, state: JobState) -> None:
    """All of OAR's; a word that nobody knows is kept."""
    assert (status(state=native).state, status(state=native).native) == (state, native)


def test_an_error_without_events_has_its_message() -> None:
    """It is all that OAR says then."""
    assert status(state="Error", message="This reservation cannot run", events=[]).reason == (
        "This reservation cannot run"
    )


def test_why_a_job_waits_is_its_reason() -> None:
    """Less the summary of the request, which is no reason."""
    assert status(message="No enough matching resources (no_matching_slot)", scheduledStart=2000).reason == (
        "No enough matching resources (no_matching_slot)"
    )
    assert status(message="R=4,W=0:5:0,J=B,N=dask-1 (Karma=0.000,quota_ok)").reason == ""
    assert status(message="R=4,W=0:5:0,J=B (Karma=0.000,quota_exceeded:x)").reason == "quota_exceeded:x"
    assert status(scheduledStart=2000).expected_start == 2000


def test_an_answer_of_nothing_is_no_job() -> None:
    """oarstat prints nothing at all, and succeeds."""
    assert drive(OAR.poll_status(ids("1")), [HERE / "oarstat-unknown.txt"]) == {}


def test_a_banner_before_the_answer_is_passed_over() -> None:
    """A site wraps its commands."""
    [found] = drive(OAR.poll_status(ids("1")), ["Welcome to {this} site!\n" + table()]).values()
    assert found.state is JobState.PENDING


@pytest.mark.parametrize("answer", ["{", "[]", '{"1": 2}', '{"1": {}}', '{"1": {"state": 3}}', "{}x", "[" * 100_000])
def test_what_is_no_table_is_a_parse_error(answer: str) -> None:
    """Not: all jobs are gone."""
    with pytest.raises(ParseError):
        drive(OAR.poll_status(ids("1")), [answer])


def test_fields_of_other_kinds_are_not_said() -> None:
    """Of a job whose state is known."""
    odd = {"startTime": "soon", "submissionTime": 10**400, "assigned_network_address": [None], "events": [1, {}]}
    assert status(state="Error", **odd) == JobStatus(state=JobState.FAILED, native="Error")


def test_a_database_that_is_away_is_an_error() -> None:
    """oarsub then hangs, and oarstat says so."""
    for trouble in (CommandTimedOut, HERE / "oarstat-database-down.txt"):
        with pytest.raises((CommandFailed, CommandTimedOut)):
            drive(OAR.poll_status(ids("1")), [trouble])


# --- cancel and find --------------------------------------------------------------------------------------------


def test_only_living_jobs_are_deleted() -> None:
    """oardel would register the deletion of one that has ended, too."""
    assert next(OAR.cancel(ids("4", "5", "9"))).argv == (
        "oardel",
        "--sql",
        "(job_id IN (4,5,9)) AND state NOT IN ('Terminated', 'Error')",
    )


def test_deleting_twice_is_no_error() -> None:
    """A job runs on for some seconds, and is asked to end until it does."""
    assert drive(OAR.cancel(ids("1018", "1019")), [HERE / "oardel-again.txt"]) is None
    assert drive(OAR.cancel(ids("1018", "1019")), [HERE / "oardel.txt"]) is None


@pytest.mark.parametrize(
    "complaint",
    [
        "",
        "Cannot frag 5 ; You are not the right user.\n",
        "Cannot frag 4 ; This job was already killed.\nCannot frag 5 ; You are not the right user.\n",
        "Cannot frag 4 ; This job was already killed.\nCould not connect to the socket oarserver:6666\n",
    ],
)
def test_a_job_that_may_live_is_not_cancelled(complaint: str) -> None:
    """One that was killed does not excuse another, nor a server that heard nothing."""
    with pytest.raises(CommandFailed):
        drive(OAR.cancel(ids("4", "5")), [Completed(returncode=6, stderr=complaint)])


def test_only_jobs_of_that_very_name_are_found() -> None:
    """MySQL takes DASK-1 for dask-1."""
    rows = json.dumps({"1": {"state": "Running", "name": "dask-1"}, "2": {"state": "Running", "name": "DASK-1"}})
    assert drive(OAR.find_jobs("dask-1"), [rows]) == ids("1")


def test_a_name_is_a_text_in_the_question() -> None:
    """Whatever a person asks for."""
    assert next(OAR.find_jobs("' OR 1=1")).argv[-1] == (
        "job_name = ''' OR 1=1' AND state NOT IN ('Terminated', 'Error')"
    )


def test_an_enclosing_job_is_not_asked_about() -> None:
    """oarsub and oarstat look at OAR_JOB_ID and OAR_JOB_KEY_FILE."""
    recorded = environment(HERE / "environment.txt")
    for command in (next(OAR.submit(SCRIPT, 1)), next(OAR.poll_status(ids("1")))):
        assert not [name for name in command_environment(recorded, command) if name.startswith("OAR_")]


# --- explain, describe, detect ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "explanation"),
    [
        ("held", "it is held: 'oarresume 1031' releases it"),
        (
            "no-nodes",
            "no nodes that are alive, or will be, fit what it asks for "
            "(No enough matching resources (no_matching_slot))",
        ),
        (
            "dependency",
            "it waits for another job to end (Cannot determine scheduling time due to dependency with the job 1035)",
        ),
    ],
)
def test_a_wait_is_explained(file: str, explanation: str) -> None:
    """In a person's words, with OAR's own behind them."""
    job_id = next(iter(json.loads(transcript(HERE / f"pending-{file}.txt").stdout)))
    assert drive(OAR.explain_pending(JobId(job_id)), [HERE / f"pending-{file}.txt"]) == explanation


def test_a_start_that_oar_expects_is_told() -> None:
    """In the time of this host."""
    when = datetime.fromtimestamp(1795645141, UTC).astimezone()
    assert drive(OAR.explain_pending(JobId("1038")), [HERE / "pending-expected.txt"]) == (
        f"it waits for nodes to become free; OAR expects to start it at {when:%Y-%m-%d %H:%M:%S}"
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"message": "R=1,W=0:5:0,J=B (Karma=0.1,quota_exceeded:Gantt)"}, "a quota"),
        ({"message": "No enough Tokens: matlab (0 < 1)"}, "a token"),
        ({"message": "Inner job: container 5 is yet to scheduled"}, "container job"),
        ({"message": "A new message"}, "A new message"),
        ({"message": "R=1,W=0:5:0,J=B"}, "has not looked at it yet"),
        ({"state": "Launching"}, "being prepared"),
    ],
)
def test_messages_have_a_meaning(row: dict[str, str], words: str) -> None:
    """Those of OAR's schedulers; others are passed on."""
    assert words in drive(OAR.explain_pending(JobId("1")), [table(**row)])


@pytest.mark.parametrize("answer", [table(state="Running"), "", table(state="Moulting")])
def test_a_job_that_does_not_wait_is_not_explained(answer: str) -> None:
    """It runs, or is gone."""
    assert drive(OAR.explain_pending(JobId("1")), [answer]) == ""


def test_the_nodes_are_described() -> None:
    """As the queue of jobs that name none: OAR lists its queues for administrators alone."""
    [queue] = drive(Oar(gpu_resource="gpu").describe_queues(), [HERE / "oarnodes.txt"])
    assert queue == Queue(name="default", is_default=True, cores=8, gpus=2, nodes=3, free_nodes=1)
    rows = {
        "1": {"type": "default", "state": "Alive", "network_address": "n1"},
        "2": {"type": "default", "state": "Alive", "network_address": "n2", "jobs": "7"},
        "3": {"type": "default", "state": "Dead", "network_address": "n3"},
        "4": {"type": "storage", "state": "Alive", "network_address": "s1"},
    }
    assert drive(OAR.describe_queues(), [json.dumps(rows)]) == [
        Queue(name="default", is_default=True, cores=1, nodes=3, free_nodes=1)
    ]
    assert drive(OAR.describe_queues(), [""]) == []


def test_only_oar_is_oar() -> None:
    """A command of that name may be another's."""
    assert drive(OAR.detect(), ["oarstat 1.0\n"]) is None


# --- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "oarsub-too-much",
            "There are not enough resources for your request; "
            "no nodes here have that much: see nodes=, cores=, gpus=, memory= and queue=",
        ),
        ("oarsub-property", 'Bad resource request (ERROR:  column "nosuch" does not exist'),
        ("oarsub-queue", "The queue nosuch does not exist"),
        ("oarsub-type", "unknown job type: nosuch"),
        ("oarsub-root", "root and oar users are not allowed to submit jobs."),
        ("oarsub-name", "[ERROR] Oarsub failed, please verify your request syntax."),
        ("oarsub-limit", "you cannot have more than 2 waiting advance reservations."),
    ],
)
def test_a_failure_is_one_sentence(file: str, message: str) -> None:
    """OAR's own words, less what repeats that there was an error."""
    failure = OAR.classify_failure(transcript(HERE / f"{file}.txt"))
    assert failure is not None
    assert failure.message == message


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("[ADMISSION RULE] Error: you may not run more than 10 jobs.", FailureKind.LIMIT),
        ("[ADMISSION RULE] Too many jobs of yours wait", FailureKind.LIMIT),
        ("[ADMISSION RULE] walltime too long for this queue", FailureKind.FATAL),
        (
            "No Perl JSON module is available on the system. If required, ask your admin to install one.",
            FailureKind.FATAL,
        ),
        ("the dog ate it", None),
    ],
)
def test_failures_are_told_apart(said: str, kind: FailureKind | None) -> None:
    """Wait for room, or tell the user. Admission rules are the site's own words."""
    failure = OAR.classify_failure(Completed(returncode=254, stderr=said))
    assert (failure and failure.kind) == kind


# --- inside a job -----------------------------------------------------------------------------------------------


def test_a_job_reads_what_it_was_granted() -> None:
    """Hosts and cores from the node file, the end from its age: OAR tells a job nothing of its start."""
    granted = drive(
        OAR.read_allocation(environment(HERE / "environment.txt")), [HERE / "nodefile.txt", HERE / "stat.txt"]
    )
    assert granted == Allocation(job_id=JobId("1019"), hosts=["node01", "node02"], cores=2, ends=1795644990 + 300)


@pytest.mark.parametrize(("missing", "answer"), [("OAR_JOB_WALLTIME_SECONDS", "1\n"), ("", "Welcome!\n")])
def test_an_end_that_is_not_known_is_not_said(missing: str, answer: str) -> None:
    """The core then adds the walltime to the start."""
    environ = environment(HERE / "environment.txt")
    environ.pop(missing, None)
    granted = drive(OAR.read_allocation(environ), ["n1\nn1\nn2\n", answer])
    assert granted == Allocation(job_id=JobId("1019"), hosts=["n1", "n2"], cores=1)


def test_no_job_has_no_allocation() -> None:
    """Configuration of the front end is no job."""
    assert drive(OAR.read_allocation({"OAR_JOB_KEY_FILE": "/home/user/key"})) is None


@pytest.mark.parametrize("answer", ["", "Welcome to node17!\n"])
def test_hosts_that_are_none_are_refused(answer: str) -> None:
    """The launcher would start nothing, silently."""
    with pytest.raises(ParseError):
        drive(OAR.read_allocation(environment(HERE / "environment.txt")), [answer])


def test_oarsh_starts_one_process_on_each_host() -> None:
    """It hands a line to a shell there: the words are quoted for it."""
    launched = OAR.launch_command(Allocation(job_id=JobId("1"), hosts=["n1", "n2"]), ["echo", "a b", "$HOME"])
    assert launched == [["oarsh", "n1", "echo 'a b' '$HOME'"], ["oarsh", "n2", "echo 'a b' '$HOME'"]]
