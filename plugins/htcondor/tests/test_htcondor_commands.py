"""HTCondor's commands: what is asked, and what the answers of HTCondor 23.9 and 25.14 mean."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from corral.plugin import (
    Allocation,
    Command,
    CommandFailed,
    Completed,
    Conversation,
    FailureKind,
    Job,
    JobId,
    JobState,
    JobStatus,
    ParseError,
)
from corral.testing import Answer, converse, drive, environment, transcript
from corral_htcondor import HTCondor, answers
from corral_htcondor.testing import HTCondorLaws

HERE = HTCondorLaws.transcripts
CONDOR = HTCondor()
SCRIPT = CONDOR.render_script(Job(name="dask-1"))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def status(**ad: object) -> JobStatus:
    """What condor_q's answer about one job means."""
    answer = json.dumps([{"ClusterId": 7, "ProcId": 0, **ad}], indent=1)
    return drive(CONDOR.poll_status(ids("7.0")), {"condor_q": answer, "condor_history": answer})[JobId("7.0")]


def commands_of(conversation: Conversation[object], answer: Answer = "") -> list[Command]:
    """What a conversation asks, if it always gets this answer."""
    commands: list[Command] = []

    def record(command: Command) -> Answer:
        commands.append(command)
        return answer

    converse(conversation, record)
    return commands


# --- submit -----------------------------------------------------------------------------------------------------


def test_one_submission_starts_many_jobs() -> None:
    """The description comes by standard input, with the count at its end."""
    command = next(CONDOR.submit(SCRIPT, 1000))
    assert command.argv == ("condor_submit", "-terse", "-")
    assert command.stdin.endswith("\nqueue 1000\n")


def test_every_command_goes_to_the_schedd_that_has_the_jobs() -> None:
    """Of another host, in another pool."""
    condor = HTCondor(pool="cm.example.org", schedd="ap2.example.org")
    for conversation in [
        condor.submit(SCRIPT, 1),
        condor.poll_status(ids("7.0")),
        condor.cancel(ids("7.0")),
        condor.find_jobs("dask-1"),
        condor.explain_pending(JobId("7.0")),
    ]:
        assert next(conversation).argv[1:5] == ("-pool", "cm.example.org", "-name", "ap2.example.org")


@pytest.mark.parametrize("answer", ["28.0 - 28.9\n", "28.0 - 29.1\n", "28.0\n", "2 job(s) submitted to cluster 28.\n"])
def test_an_answer_with_other_ids_than_were_asked_for_is_a_parse_error(answer: str) -> None:
    """More jobs than that would be nobody's."""
    with pytest.raises(ParseError):
        drive(CONDOR.submit(SCRIPT, 3), [answer])


# --- poll -------------------------------------------------------------------------------------------------------


def test_the_queue_tells_of_the_living_and_the_history_of_the_ended() -> None:
    """Exit codes, signals, hosts and times of both."""
    found = drive(
        CONDOR.poll_status(ids("27.0", "27.1", "28.0", "30.0", "31.0", "35.0")),
        [HERE / "poll.txt", HERE / "poll-history.txt"],
    )
    running = JobStatus(
        state=JobState.RUNNING,
        native="Running",
        hosts=["node01"],
        submitted=1795645079,
        started=1795645085,
        ends=1795648685,
    )
    completed = evolve(running, state=JobState.COMPLETED, native="Completed", exit_code=0, ends=1795645086)
    failed = evolve(completed, state=JobState.FAILED, exit_code=3, started=1795645086, ends=1795645087)
    assert found == {
        JobId("27.0"): running,
        JobId("27.1"): JobStatus(
            state=JobState.CANCELLED,
            native="Removed",
            reason="via condor_rm (by user user)",
            submitted=1795645079,
            ends=1795645081,
        ),
        JobId("28.0"): completed,
        JobId("30.0"): failed,
        JobId("31.0"): evolve(failed, exit_code=None, signal=9, submitted=1795645080),
        JobId("35.0"): JobStatus(
            state=JobState.TIMEOUT,
            native="Held",
            reason="The job exceeded allowed job duration of 00:05",
            signal=15,
            hosts=["node01"],
            submitted=1795645080,
            started=1795645087,
            ends=1795645094,
        ),
    }


def test_a_job_that_could_not_run_has_failed_and_says_why() -> None:
    """It is held: no interpreter, no log folder. The script that its arguments carry is left out of the reason."""
    found = drive(CONDOR.poll_status(ids("32.0", "33.0")), [HERE / "poll.txt"])
    assert [each.state for each in found.values()] == [JobState.FAILED, JobState.FAILED]
    assert [each.reason for each in found.values()] == [
        "Error from slot1_4@node01: Failed to execute '/no/such/interpreter': (errno=2: 'No such file or directory')",
        "Error from slot1_2@node01: Failed to open '/no/such/folder/33.0.log' as standard output: No such file or "
        "directory (errno 2)",
    ]


def test_a_folder_below_tmp_that_is_not_there_is_told_with_the_cure() -> None:
    """By default HTCondor gives each job a /tmp of its own, without the cluster's files."""
    [held] = drive(CONDOR.poll_status(ids("66.0")), [HERE / "poll-hidden-tmp.txt"]).values()
    assert held.reason == (
        "Error from slot1_1@node01: Failed to execute '/usr/bin/env': Cannot access initial working directory "
        "\"/tmp/me/corral/clusters/1\" (errno=2: 'No such file or directory'); HTCondor may give jobs a /tmp of their "
        "own (MOUNT_UNDER_SCRATCH): name a folder elsewhere with shared_directory="
    )


def test_a_held_job_that_was_removed_is_still_what_it_was_held_for() -> None:
    """corral asks HTCondor to remove them; that is neither a cancellation nor a new failure."""
    before = drive(CONDOR.poll_status(ids("32.0", "33.0", "35.0")), [HERE / "poll.txt"])
    after = drive(
        CONDOR.poll_status(ids("32.0", "33.0", "35.0")), [HERE / "poll-later.txt", HERE / "poll-later-history.txt"]
    )
    assert {job_id: evolve(each, native="Held") for job_id, each in after.items()} == before


@pytest.mark.parametrize(
    ("code", "reason", "state"),
    [
        (1, "via condor_hold (by user user)", JobState.HELD),
        (15, "submitted on hold at user's request", JobState.HELD),
        (16, "Spooling input data files", JobState.HELD),
        (None, "", JobState.HELD),
        (6, "Failed to execute", JobState.FAILED),
        (7, "Failed to open output", JobState.FAILED),
        (14, "Cannot access initial working directory /home/me", JobState.FAILED),
        (46, "The job exceeded allowed job duration of 2:00:00", JobState.TIMEOUT),
        (47, "The job exceeded allowed execute duration of 1:00", JobState.TIMEOUT),
        (34, "Job has gone over cgroup memory limit of 128 megabytes", JobState.OUT_OF_MEMORY),
        (34, "Job has exceeded request_disk", JobState.FAILED),
        (26, "Memory usage exceeds request_memory", JobState.OUT_OF_MEMORY),
        (3, "The job attribute PeriodicHold expression 'x' evaluated to TRUE", JobState.FAILED),
        (999, "something new", JobState.FAILED),
    ],
)
def test_what_a_hold_means(code: int | None, reason: str, state: JobState) -> None:
    """A person's hold waits for its release; any other will never run by itself."""
    held = status(JobStatus=5, HoldReasonCode=code, HoldReason=reason)
    assert (held.state, held.reason) == (state, reason)
    removed = status(JobStatus=3, LastJobStatus=5, LastHoldReasonCode=code, LastHoldReason=reason, RemoveReason="why")
    assert removed.state is (JobState.CANCELLED if state is JobState.HELD else state)


def test_what_htcondor_removes_and_what_a_person_does() -> None:
    """A policy's victim has failed, with the policy for its reason."""
    policy = "The system macro SYSTEM_PERIODIC_REMOVE expression 'DiskUsage > 9' evaluated to TRUE"
    assert status(JobStatus=3, LastJobStatus=2, RemoveReason=policy).state is JobState.FAILED
    assert status(JobStatus=3, LastJobStatus=2, RemoveReason="Python-initiated action. (by user me)").state is (
        JobState.CANCELLED
    )


def test_a_removed_job_is_cancelled_while_its_machine_ends_it() -> None:
    """It has a minute for that, and is never anything but removed again: its replacement need not wait."""
    [ending] = drive(CONDOR.poll_status(ids("40.0")), [HERE / "poll-ending.txt"]).values()
    assert (ending.state, ending.native, ending.hosts) == (JobState.CANCELLED, "Removed", ("node01",))
    assert (ending.is_ending, ending.ends, ending.reason) == (True, None, "via condor_rm (by user user)")
    assert drive(CONDOR.find_jobs("dask-1"), [HERE / "poll-ending.txt"]) == ids("40.0")


def test_an_evicted_job_waits_again() -> None:
    """It keeps its id; where it ran and since when is no longer so."""
    [evicted] = drive(CONDOR.poll_status(ids("50.0")), [HERE / "poll-evicted.txt"]).values()
    assert (evicted.state, evicted.hosts, evicted.started, evicted.ends) == (JobState.PENDING, (), None, None)


def test_a_running_job_has_no_exit_code_yet() -> None:
    """HTCondor may know it before the job has left its machine."""
    [running] = drive(CONDOR.poll_status(ids("3.0")), [HERE / "25-poll.txt"]).values()
    assert (running.state, running.exit_code) == (JobState.RUNNING, None)


@pytest.mark.parametrize(("code", "state"), [(6, JobState.RUNNING), (7, JobState.SUSPENDED), (8, JobState.UNKNOWN)])
def test_rarer_states(code: int, state: JobState) -> None:
    """Output on its way, a suspended job, a word of the future."""
    assert status(JobStatus=code).state is state


def test_a_zero_exit_status_is_no_exit_code() -> None:
    """ExitStatus stays 0 whatever happens; ExitCode tells."""
    assert status(JobStatus=4, ExitStatus=0, ExitCode=3, ExitBySignal=False).exit_code == 3
    assert status(JobStatus=4, ExitStatus=0, ExitBySignal=False).state is JobState.FAILED


@pytest.mark.parametrize("empty", ["", "\n", "[\n]\n", "[ ]\n", "[]"])
def test_an_empty_queue_and_an_empty_history_are_empty(empty: str) -> None:
    """condor_q prints nothing at all, condor_history an empty list, older ones differ."""
    assert drive(CONDOR.poll_status(ids("7.0")), [empty, empty]) == {}


def test_a_banner_before_the_list_is_no_trouble() -> None:
    """Not even one with brackets."""
    banner = "Welcome [2 GPUs at most]\n"
    answer = banner + transcript(HERE / "poll-evicted.txt").stdout
    assert list(drive(CONDOR.poll_status(ids("50.0")), [answer])) == ids("50.0")


def test_a_sites_history_that_is_switched_off_is_not_asked_for_in_vain() -> None:
    """How the job ended, nobody knows: the core says so. Any other trouble is trouble."""
    assert drive(CONDOR.poll_status(ids("99999.0")), ["", HERE / "history-off.txt"]) == {}
    with pytest.raises(CommandFailed):
        drive(CONDOR.poll_status(ids("99999.0")), ["", Completed(returncode=1, stderr="bus error")])


def test_history_is_not_read_to_its_beginning() -> None:
    """It ends when all that were asked for are found, or after so many jobs of everybody's."""
    queue, history = commands_of(CONDOR.poll_status(ids("7.0", "7.1", "9.0")))
    assert queue.argv[-2:] == ("7", "9")
    assert history.argv[-7:] == ("-limit", "3", "-scanlimit", "50000", "7.0", "7.1", "9.0")


def test_a_job_that_history_has_is_not_alive() -> None:
    """A site may write jobs down before they end."""
    alive = '[\n{"ClusterId": 7, "ProcId": 0, "JobStatus": 2}\n]\n'
    assert drive(CONDOR.poll_status(ids("7.0")), ["", alive]) == {}


# --- cancel and find --------------------------------------------------------------------------------------------


def test_removing_what_is_gone_is_no_error() -> None:
    """Nor what is being removed, nor both; some of many may be gone, too."""
    complaint = "\nJob 7.0 not found\n\nJob 7.1 already marked for removal\n"
    assert drive(CONDOR.cancel(ids("7.0", "7.1")), [Completed(returncode=1, stderr=complaint)]) is None


def test_a_removal_that_was_refused_is_an_error() -> None:
    """HTCondor then says of the job only that it has no result."""
    with pytest.raises(CommandFailed) as caught:
        drive(CONDOR.cancel(ids("40.0")), [HERE / "rm-permission.txt"])
    failure = CONDOR.classify_failure(caught.value.completed)
    assert failure is not None
    assert (failure.kind, "DENIED" in failure.message) == (FailureKind.FATAL, True)


def test_the_rest_is_removed_even_if_the_first_are_gone() -> None:
    """Ten thousand ids go in two commands."""
    gone = Completed(returncode=1, stderr="Job 7.0 not found\n")
    commands = commands_of(CONDOR.cancel([JobId(f"7.{proc}") for proc in range(10_000)]), gone)
    assert [len(command.argv) for command in commands] == [5001, 5001]


def test_a_name_is_found_as_it_is_written() -> None:
    """HTCondor's == tells no upper from lower case, and a name is data."""
    command = next(CONDOR.find_jobs('x" || true || "\\'))
    assert command.argv[-1] == 'JobBatchName =?= "x\\" || true || \\"\\\\"'
    assert drive(CONDOR.find_jobs("DASK-RUN"), [HERE / "find.txt"]) == []


def test_jobs_that_have_ended_are_not_found() -> None:
    """A held job that failed is still in the queue for a while."""
    ads = [{"ClusterId": 7, "ProcId": proc, "JobBatchName": "x"} for proc in range(3)]
    ads[0] |= {"JobStatus": 5, "HoldReasonCode": 6}
    ads[1] |= {"JobStatus": 5, "HoldReasonCode": 1}
    ads[2] |= {"JobStatus": 4, "ExitCode": 0}
    assert drive(CONDOR.find_jobs("x"), [json.dumps(ads, indent=1)]) == ids("7.1")


# --- failures and patience --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("down-poll.txt", "Can't find address for schedd node01"),
        ("limit-owner.txt", "Failed to create proc; Number of submitted jobs would exceed MAX_JOBS_PER_OWNER"),
        ("refused-requirement.txt", "Failed to commit job submission into the queue; ask for more disk"),
        ("refused-account.txt", "Invalid accounting_group: phy sics"),
        ("refused-disabled.txt", "User user@example.org is disabled : out of hours; User is disabled"),
        (
            "refused-root.txt",
            "Cannot allocate a cluster id (HTCondor runs no jobs as root: submit as another user)",
        ),
        (
            "away-host-submit.txt",
            "unknown host node09 (schedd= in backend_options is a name that condor_status -schedd shows)",
        ),
    ],
)
def test_a_failure_is_told_in_htcondors_words(name: str, message: str) -> None:
    """Without its prefixes, and without the lecture about the configuration."""
    failure = answers.failure(transcript(HERE / name))
    assert failure is not None
    assert failure.message == message


@pytest.mark.parametrize("name", ["pending-running.txt", "pending-unknown.txt"])
def test_a_job_that_does_not_wait_needs_no_explanation(name: str) -> None:
    """It started meanwhile, or is gone."""
    assert drive(CONDOR.explain_pending(JobId("27.0")), [HERE / name]) == ""


@pytest.mark.parametrize(
    ("analysis", "words"),
    [
        (
            "Job has not yet been considered by the matchmaker.\nOf 4 machines,\n 0 are rejected by your job's "
            "requirements\n 4 are able to run your job\n",
            "not looked at it yet",
        ),
        (
            "Of 4 slots on 2 machines,\n 1 slots are rejected by your job's requirements\n"
            " 3 slots reject your job because of their own requirements\n"
            " 0 slots match and are willing to run your job\n",
            "3 refuse it",
        ),
        (
            "Of 9 machines,\n 2 are rejected by your job's requirements\n 0 reject your job because of their own "
            "requirements\n 3 match and are already running your jobs\n 4 match but are serving other users\n"
            " 0 are able to run your job\n",
            "7 of 9",
        ),
        (
            "[0]   1   1  TARGET.Memory >= RequestMemory\n[1]   0   2  TARGET.Cpus >= RequestCpus\n"
            "[2]   1   0  TARGET.HasX\nOf 2 slots on 1 machines,\n"
            " 2 slots are rejected by your job's requirements\n 0 slots match and are willing to run your job\n",
            "no machine has TARGET.HasX",
        ),
    ],
)
def test_an_analysis_in_a_persons_words(analysis: str, words: str) -> None:
    """Versions spell it differently."""
    assert words in answers.pending_words(analysis)


# --- inside a job -----------------------------------------------------------------------------------------------


def test_a_job_reads_what_it_was_granted() -> None:
    """From the two ClassAds that its environment names: more memory than was asked for, no GPUs, and its end."""
    environ = environment(HERE / "environment-inside.txt")
    assert environ["CUDA_VISIBLE_DEVICES"] == "10000"
    assert drive(CONDOR.read_allocation(environ), [HERE / "ads-inside.txt"]) == Allocation(
        job_id=JobId("28.1"),
        hosts=["node01"],
        cores=2,
        memory=256 * 2**20,
        ends=1795645085 + 3600,
    )


def test_a_job_without_a_walltime_does_not_say_its_end() -> None:
    """Nobody set one."""
    environ = environment(HERE / "environment-inside.txt")
    ads = transcript(HERE / "ads-inside.txt").stdout.replace("AllowedJobDuration = 3600\n", "")
    assert drive(CONDOR.read_allocation(environ), [ads]).ends is None  # type: ignore[union-attr]


def test_elsewhere_is_no_job_of_htcondors() -> None:
    """A login node's environment may have other _CONDOR_ variables: they are configuration."""
    assert drive(CONDOR.read_allocation({"_CONDOR_SCHEDD_HOST": "ap2"})) is None


def test_a_jobs_workers_start_where_it_is() -> None:
    """It has one machine."""
    allocation = Allocation(job_id=JobId("7.0"), hosts=["node01"])
    assert CONDOR.launch_command(allocation, ["python", "-m", "x"]) == [["python", "-m", "x"]]


def test_other_programs_of_that_name_are_not_htcondor() -> None:
    """The version is where HTCondor puts it."""
    assert drive(CONDOR.detect(), ["condor 0.3.3\n"]) is None
