"""LSF's commands: what is asked, and what is answered by OpenLava (recorded) and by IBM's LSF (as it is documented)."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from pathlib import Path

import pytest

from corral.plugin import (
    Allocation,
    Command,
    CommandFailed,
    CommandTimedOut,
    Completed,
    Failure,
    FailureKind,
    InvalidRequest,
    Job,
    JobId,
    JobState,
    JobStatus,
    ParseError,
    Queue,
    Resources,
)
from corral.testing import command_environment, converse, drive, environment, transcript
from corral_lsf import LSF, answers
from corral_lsf.testing import OpenLavaLaws

HERE = OpenLavaLaws.transcripts
AUTO = LSF()
WIDE = LSF(job_table="wide")
CUSTOM = LSF(job_table="custom")
SCRIPT = AUTO.render_script(Job(name="dask-1", command=["true"]))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


# --- submit -----------------------------------------------------------------------------------------------------


def test_a_thousand_jobs_are_one_array() -> None:
    """One job is an array too: it knows itself in the same way."""
    command = next(AUTO.submit(SCRIPT, 5000))
    assert command.argv == ("bsub", "-J", "dask-1[1-1000]")
    assert command.stdin == str(SCRIPT)
    assert next(AUTO.submit(SCRIPT, 1)).argv[-1] == "dask-1[1-1]"


def test_what_bsub_sees_is_what_the_job_gets() -> None:
    """It passes its environment on: a login's variables and the way to the cluster. Nothing else."""
    environ = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "LSF_ENVDIR": "/opt/lsf/conf",
        "LSF_SERVERDIR": "/opt/lsf/etc",
        "SECRET_TOKEN": "s",
        "LD_LIBRARY_PATH": "/opt/lib",
        "LC_ALL": "de_DE.UTF-8",
        "LSB_JOBID": "12",
        "BSUB_QUIET": "Y",
    }
    seen = command_environment(environ, next(AUTO.submit(SCRIPT, 1)))
    assert set(seen) == {"PATH", "HOME", "LSF_ENVDIR", "LSF_SERVERDIR", "LC_ALL", "LSB_NTRIES", "LSB_DISPLAY_YEAR"}
    assert "unset LC_ALL LSB_NTRIES LSB_DISPLAY_YEAR" in SCRIPT.body.splitlines()


def test_no_command_waits_without_end() -> None:
    """LSF's tools repeat "Pending job threshold reached. Retrying in 60 seconds" and the like until they are killed."""
    job_ids = ids("65.1")
    conversations = [
        AUTO.submit(SCRIPT, 1),
        AUTO.poll_status(job_ids),
        AUTO.cancel(job_ids),
        AUTO.find_jobs("x"),
        AUTO.explain_pending(job_ids[0]),
        AUTO.describe_queues(),
        AUTO.detect(),
    ]
    assert {next(conversation).env["LSB_NTRIES"] for conversation in conversations} == {"1"}


def test_a_users_data_never_becomes_a_directive() -> None:
    """bsub reads #BSUB lines after the first command, too: such a body travels in base64."""
    hostile = "x\n  # BSUB -q short\n#BSUB -n 99\n"
    script = AUTO.render_script(Job(name="x", environment={"HOSTILE": hostile}))
    sent = next(AUTO.submit(script, 1)).stdin
    assert re.findall("BSUB.*", sent) == ["BSUB -J x", "BSUB -o /dev/null"]
    line = sent.splitlines()[-1]
    assert base64.b64decode(line.split()[2]).decode() == script.body


def test_a_smaller_limit_of_the_site_is_learnt_in_the_conversation() -> None:
    """LSF refuses 5000 where MAX_JOB_ARRAY_SIZE is 1000, and says so when asked."""
    asked: list[tuple[str, ...]] = []
    replies = iter(["bsub-array.txt", "bparams.txt", "bsub.txt"])

    def answer(command: Command) -> Path:
        asked.append(command.argv)
        return HERE / next(replies)

    assert len(converse(LSF(max_array_size=9999).submit(SCRIPT, 5000), answer)) == 1000
    assert asked == [("bsub", "-J", "dask-1[1-5000]"), ("bparams", "-l"), ("bsub", "-J", "dask-1[1-1000]")]


def test_arrays_that_are_off_are_done_without(caplog: pytest.LogCaptureFixture) -> None:
    """MAX_JOB_ARRAY_SIZE says so."""
    lsf = LSF()
    told = "Job <{}> is submitted to queue <normal>.\n"
    parameters = "    MAX_JOB_ARRAY_SIZE = 0\n"
    found = drive(lsf.submit(SCRIPT, 2), [HERE / "bsub-array.txt", parameters, told.format(7), told.format(8)])
    assert found == [JobId("7"), JobId("8")]
    assert "job arrays are switched off here (MAX_JOB_ARRAY_SIZE=0)" in caplog.text
    assert next(lsf.submit(SCRIPT, 2)).argv == ("bsub", "-J", SCRIPT.name)


@pytest.mark.parametrize("parameters", ["    MAX_JOB_ARRAY_SIZE = 20001\n", ""])
def test_a_limit_that_is_no_cure_ends_the_submission(parameters: str) -> None:
    """Nothing is tried twice."""
    with pytest.raises(CommandFailed, match="array index too large"):
        drive(AUTO.submit(SCRIPT, 10), [HERE / "bsub-array.txt", parameters])


def test_an_answer_without_an_id_is_a_parse_error() -> None:
    """The core looks for the jobs by their name."""
    with pytest.raises(ParseError, match="no id"):
        drive(AUTO.submit(SCRIPT, 1), ["Job <12> was yours.\n"])


# --- GPUs -------------------------------------------------------------------------------------------------------

GPUS = Job(name="dask-1", command=["true"], resources=Resources(gpus=2))


@pytest.mark.parametrize("said", [HERE / "lsid.txt", "Platform LSF 9.1.3.0, Jul 04 2014\n"])
@pytest.mark.parametrize("job", [GPUS, Job(name="dask-1", command=["true"], extra_directives=["-x -gpu num=2"])])
def test_gpus_are_refused_before_bsub_takes_them_for_a_group(job: Job, said: str | Path) -> None:
    """OpenLava reads -gpu as -g pu, and its batch daemon dies of that: twice of two times, seen on 4.0."""
    lsf = LSF()
    with pytest.raises(InvalidRequest, match=r"gpus: .*has no -gpu.*'gpu_resource': 'ngpus'"):
        drive(lsf.submit(lsf.render_script(job), 1), [said])


def test_what_reads_gpus_is_asked_once() -> None:
    """A resource that stands for them needs no question."""
    lsf = LSF()
    script = lsf.render_script(GPUS)
    ibm, taken = "IBM Spectrum LSF Standard 10.1.0.9, Jul 08 2016\n", "Job <65> is submitted to queue <normal>.\n"
    assert drive(lsf.submit(script, 1), [ibm, taken]) == [JobId("65.1")]
    assert drive(lsf.submit(script, 1), [taken]) == [JobId("65.1")]
    other = LSF(gpu_resource="ngpus")
    assert drive(other.submit(other.render_script(GPUS), 1), [taken]) == [JobId("65.1")]


# --- poll -------------------------------------------------------------------------------------------------------


def test_openlava_tells_all_in_two_tables() -> None:
    """A list of all jobs, and a long one of those that ran and failed."""
    wanted = ids("115.1", "115.2", "115.3", "115.5", "115.6", "115.12")
    ran = ["node01"]
    assert drive(WIDE.poll_status(wanted), [HERE / "bjobs-wide.txt", HERE / "bjobs-long.txt"]) == {
        JobId("115.1"): JobStatus(state=JobState.COMPLETED, native="DONE", exit_code=0, hosts=ran),
        JobId("115.2"): JobStatus(state=JobState.FAILED, native="EXIT", exit_code=3, hosts=ran),
        JobId("115.3"): JobStatus(state=JobState.FAILED, native="EXIT", exit_code=137, hosts=ran),
        JobId("115.5"): JobStatus(state=JobState.CANCELLED, native="EXIT", exit_code=130, hosts=ran),
        JobId("115.6"): JobStatus(state=JobState.RUNNING, native="RUN", hosts=ran),
        JobId("115.12"): JobStatus(state=JobState.CANCELLED, native="EXIT"),
    }


def test_the_long_table_is_of_those_that_ran_and_failed() -> None:
    """A cancelled array of a thousand is not listed in twenty lines each."""
    conversation = WIDE.poll_status(ids(*(f"115.{index}" for index in range(1, 13))))
    assert next(conversation).argv == ("bjobs", "-w", "-a", "115")
    assert conversation.send(transcript(HERE / "bjobs-wide.txt")).argv == ("bjobs", "-a", "-l", "115[2-5]")


def test_a_table_of_our_own_is_tried_first() -> None:
    """IBM's LSF needs one command; what is older says so at once. An option spares it the refusal."""
    conversation = LSF().poll_status(ids("65.3"))
    assert next(conversation).argv[:3] == ("bjobs", "-noheader", "-o")
    command = conversation.throw(CommandFailed(Command(["bjobs"]), transcript(HERE / "bjobs-no-format.txt")))
    assert command.argv[:2] == ("bjobs", "-w")
    with pytest.raises(CommandFailed):
        drive(CUSTOM.poll_status(ids("65.3")), [HERE / "bjobs-no-format.txt"])


def test_a_refused_table_is_not_tried_again() -> None:
    """On OpenLava it would be a failed command in every poll."""
    lsf = LSF()
    refused, table = HERE / "bjobs-no-format.txt", HERE / "bjobs-wide-wall.txt"
    drive(lsf.poll_status(ids("112.1")), [refused, table, HERE / "bjobs-long-wall.txt"])
    assert next(lsf.poll_status(ids("112.1"))).argv[:2] == ("bjobs", "-w")
    assert next(lsf.find_jobs("dask-1")).argv[:2] == ("bjobs", "-w")


def test_a_trouble_is_no_refusal_of_the_table() -> None:
    """It is tried again."""
    lsf = LSF()
    with pytest.raises(CommandFailed):
        drive(lsf.poll_status(ids("65.1")), [Completed(returncode=255, stderr="LSF is down. Please wait ...\n")])
    assert next(lsf.poll_status(ids("65.1"))).argv[:3] == ("bjobs", "-noheader", "-o")


def test_ibms_table_tells_all() -> None:
    """Times have a year because LSB_DISPLAY_YEAR asks for it; without one they are not guessed."""
    row = (
        "65|3|EXIT|139|2*n1:n2:n2|Nov 23 12:23:16 2026|Nov 23 12:23:17 2026|Nov 23 12:33:20 2026 L"
        "|TERM_PREEMPT: job killed after preemption|-|x[3]\n"
        "65|0|RUN|-|n1|Nov 23 12:23|-|-|-|-|x\n"
    )
    found = drive(CUSTOM.poll_status(ids("65.3", "65")), [row])
    assert found[JobId("65.3")] == JobStatus(
        state=JobState.PREEMPTED,
        native="EXIT",
        reason="TERM_PREEMPT: job killed after preemption",
        exit_code=139,
        hosts=["n1", "n2"],
        submitted=datetime(2026, 11, 23, 12, 23, 16).timestamp(),  # noqa: DTZ001 - local
        started=datetime(2026, 11, 23, 12, 23, 17).timestamp(),  # noqa: DTZ001
        ends=datetime(2026, 11, 23, 12, 33, 20).timestamp(),  # noqa: DTZ001
    )
    assert found[JobId("65")] == JobStatus(state=JobState.RUNNING, native="RUN", hosts=["n1"])


def test_signals_and_reasons_of_the_long_table() -> None:
    """In the form of IBM's documentation, wrapped as bjobs wraps."""
    wide = "65 me EXIT normal login1 n1 x[3] Nov 23 12:23\n66 me EXIT normal login1 n1 x[1] Nov 23 12:23\n"
    long = (
        '\nJob <65[3]>, Job Name <x[3]>, User <me>, Status <EXIT>, Command <echo "Exited with exit c\n'
        '                     ode 9.">\n'
        "Mon Nov 23 12:23:17: [3] started on <n1>;\n"
        "Mon Nov 23 12:23:18: Exited by signal 24. The CPU time used is 0.1 sec\n"
        "                     onds.\n"
        "Mon Nov 23 12:23:18: Completed <exit>; TERM_CPULIMIT: job killed after re\n"
        "                     aching LSF CPU usage limit.\n"
        "------------------------------------------------------------------------------\n"
        "\nJob <66[1]>, Job Name <x[1]>, User <me>, Status <EXIT>\n"
        "Mon Nov 23 12:23:18: Exited with exit code 140. The CPU time used is 0.1 seconds.\n"
        "Mon Nov 23 12:23:18: Completed <exit>; TERM_RUNLIMIT: job killed after reaching LSF run time limit.\n"
    )
    found = drive(WIDE.poll_status(ids("65.3", "66.1")), [wide, long])
    first, second = found.values()
    assert (first.state, first.exit_code, first.signal) == (JobState.FAILED, None, 24)
    assert first.reason == "TERM_CPULIMIT: job killed after reaching LSF CPU usage limit"
    assert (second.state, second.exit_code) == (JobState.TIMEOUT, 140)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("PEND", JobState.PENDING),
        ("WAIT", JobState.PENDING),
        ("PROV", JobState.PENDING),
        ("PSUSP", JobState.HELD),
        ("RUN", JobState.RUNNING),
        ("USUSP", JobState.SUSPENDED),
        ("SSUSP", JobState.SUSPENDED),
        ("DONE", JobState.COMPLETED),
        ("ZOMBI", JobState.NODE_FAILED),
        ("UNKWN", JobState.UNKNOWN),
        ("MOLT", JobState.UNKNOWN),
    ],
)
def test_state_words(word: str, state: JobState) -> None:
    """A host that does not answer may come back; that of a ZOMBI is given up."""
    assert answers.job_state(word) is state


def test_a_job_that_waits_may_have_a_blank_for_its_host() -> None:
    """Old LSF and OpenLava's `bjobs -p` leave the column empty."""
    [status] = drive(
        WIDE.poll_status(ids("7.8")), ["7  me  PEND  normal  login1             x[8]  Nov 23 12:23\n"]
    ).values()
    assert (status.state, status.hosts) == (JobState.PENDING, ())


def test_arrays_are_asked_for_whole() -> None:
    """Ten thousand jobs are ten arguments; more arrays than that are asked for by user."""
    command = next(CUSTOM.poll_status(ids(*(f"{65 + index % 10}.{index // 10 + 1}" for index in range(10_000)))))
    assert command.argv[-11:] == ("-a", *(str(number) for number in range(65, 75)))
    assert next(CUSTOM.poll_status(ids(*(f"{number}.1" for number in range(5000))))).argv[-1] == "-a"


@pytest.mark.parametrize("trouble", ["LSF is down. Please wait ...\n", "Connection refused by server\n", ""])
def test_an_lsf_that_is_away_is_an_error(trouble: str) -> None:
    """Not: all jobs are gone."""
    with pytest.raises(CommandFailed):
        drive(AUTO.poll_status(ids("65.1")), [Completed(returncode=255, stderr=trouble)])
    with pytest.raises(CommandTimedOut):
        drive(AUTO.poll_status(ids("65.1")), [CommandTimedOut])


# --- cancel -----------------------------------------------------------------------------------------------------


def test_a_thousand_jobs_are_one_word() -> None:
    """bkill is asked once, for ranges."""
    wanted = ids(*(f"65.{index}" for index in (*range(1, 1001), 1003)), "66.3", "67")
    assert next(AUTO.cancel(wanted)).argv == ("bkill", "65[1-1000,1003]", "66[3]", "67")


def test_a_list_with_many_gaps_is_several_words() -> None:
    """LSF refuses one of 512 characters: "Bad job array index list"."""
    wanted = ids(*(f"65.{index}" for index in range(1_000_000, 1_002_000, 2)))
    _, *words = next(AUTO.cancel(wanted)).argv
    assert len(words) == 25
    assert max(map(len, words)) < 512
    assert sum(word.count(",") + 1 for word in words) == 1000


@pytest.mark.parametrize("complaint", ["", "Job <65[1]>: User permission denied\n", "LSF is down. Please wait ...\n"])
def test_a_job_that_may_live_is_an_error(complaint: str) -> None:
    """One job that is gone does not excuse another."""
    said = complaint and f"Job <65[2]>: Job has already finished\n{complaint}"
    with pytest.raises(CommandFailed):
        drive(AUTO.cancel(ids("65.1", "65.2")), [Completed(returncode=255, stderr=said)])


# --- find, explain, describe, detect ----------------------------------------------------------------------------


def test_only_living_jobs_of_that_very_name_are_found() -> None:
    """bjobs -J understands patterns, and may list what has just ended."""
    rows = "65|1|RUN|-|n1|-|-|-|-|-|dask-1[1]\n65|2|DONE|-|n1|-|-|-|-|-|dask-1[2]\n66|1|RUN|-|n1|-|-|-|-|-|dask-10[1]\n"
    assert drive(CUSTOM.find_jobs("dask-1"), [rows]) == ids("65.1")


@pytest.mark.parametrize(
    ("file", "explanation"),
    [
        ("held", "it is held: 'bresume' releases it (The job was suspended by the user while pending: 1 host)"),
        (
            "never",
            "no host has what it asks for: at present, or ever (Job's resource requirements not satisfied: 1 host)",
        ),
        ("running", ""),
    ],
)
def test_a_wait_is_explained(file: str, explanation: str) -> None:
    """In words of a person who never read bjobs(1), with LSF's own behind them."""
    # What it asks for is asked as well, where hosts lack it.
    more = [""] if file == "never" else []
    assert drive(AUTO.explain_pending(JobId("113.1")), [HERE / f"pending-{file}.txt", *more]) == explanation


LSHOSTS = """\
HOST_NAME                       type       model  cpuf ncpus maxmem maxswp server RESOURCES
node01                        X86_64  Intel_EM64T  60.0    16  63.7G   8.0G    Yes (mg)
node02                        X86_64  Intel_EM64T  60.0    16 {}   8.0G    Yes ()
"""


@pytest.mark.parametrize(
    ("asked", "largest", "is_never"),
    [("200000", "125.5G", True), ("100000", "125.5G", False), ("200G", "125.5G", True), ("200000", "-", False)],
)
def test_more_memory_than_any_host_has_never_comes(asked: str, largest: str, is_never: bool) -> None:
    """LSF's reason is the same for a load that passes; a host that is down does not say how much it has."""
    job = f"Job <113>, Job Name <x[1]>, Requested Resources <select[type==any] rusage[mem={asked[:3]}\n"
    job += f"{' ' * 21}{asked[3:]}]>;\n"
    told = drive(AUTO.explain_pending(JobId("113.1")), [HERE / "pending-never.txt", job, LSHOSTS.format(largest)])
    assert told.startswith("it will never start") == is_never
    assert "memory=" in told or not is_never


def test_what_one_host_lacks_another_may_have() -> None:
    """Then nothing more is asked."""
    lacks = "Job's resource requirements not satisfied: 1 host;"
    answer = (HERE / "pending-never.txt").read_text().replace(lacks, f"{lacks}\n Closed by LSF administrator: 1 host;")
    assert "Closed by" in drive(AUTO.explain_pending(JobId("113.1")), [answer])


@pytest.mark.parametrize(
    "reasons", ["The dependency condition is invalid or never satisfied", "Can't run jobs submitted by root: 2 hosts"]
)
def test_reasons_that_waiting_cannot_cure(reasons: str) -> None:
    """From lsbatch.h; of several hosts, all must say so."""
    answer = (
        (HERE / "pending-never.txt").read_text().replace("Job's resource requirements not satisfied: 1 host", reasons)
    )
    assert drive(AUTO.explain_pending(JobId("113.1")), [answer]).startswith("it will never start")
    both = answer.replace(f" {reasons};", f" {reasons};\n Closed by LSF administrator: 1 host;")
    assert "never start" not in drive(AUTO.explain_pending(JobId("113.1")), [both])


def test_queues_are_described() -> None:
    """With the longest walltime; what hosts they have LSF does not say here."""
    assert drive(AUTO.describe_queues(), [HERE / "bqueues.txt"]) == [
        Queue(name="short", max_walltime=600),
        Queue(name="normal", is_default=True),
    ]
    closed = (
        "QUEUE: night\nPRIO NICE STATUS\n 40  0  Closed:Inact\n\nDEFAULT LIMITS:\n RUNLIMIT\n 60.0 min\n"
        "MAXIMUM LIMITS:\n CPULIMIT        RUNLIMIT\n 5.0 min of n1   480.0 min\n"
    )
    assert drive(AUTO.describe_queues(), [closed]) == [
        Queue(name="night", accepts_jobs=False, starts_jobs=False, max_walltime=28800)
    ]


@pytest.mark.parametrize(
    ("said", "version", "evidence"),
    [
        ("IBM Spectrum LSF Standard 10.1.0.0, Jul 08 2016\n", "10.1.0.0", "lsid: IBM Spectrum LSF Standard"),
        ("Platform LSF 9.1.3.0, Jul 04 2014\n", "9.1.3.0", "lsid: Platform LSF"),
        ("openlava project 2.2, Nov 23 2026\n", "2.2", "lsid: openlava project"),
        ("lsid 1.0, made elsewhere\n", None, None),
    ],
)
def test_relatives_are_told_apart(said: str, version: str | None, evidence: str | None) -> None:
    """bsub is IBM's and OpenLava's."""
    found = drive(AUTO.detect(), [said])
    assert (found and found.version, found and found.evidence) == (version, evidence)


# --- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        ("bsub-queue", FailureKind.FATAL, "nosuch: No such queue."),
        ("bsub-limit", FailureKind.FATAL, "RUNLIMIT: Cannot exceed queue's hard limit(s)."),
        ("bsub-slots", FailureKind.FATAL, "Queue does not have enough per-user job slots."),
    ],
)
def test_a_failure_is_one_sentence(file: str, kind: FailureKind, message: str) -> None:
    """LSF's own words."""
    assert AUTO.classify_failure(transcript(HERE / f"{file}.txt")) == Failure(kind=kind, message=message)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("User <me>: Pending job threshold reached. Retrying in 60 seconds...", FailureKind.LIMIT),
        ("The destination queue has reached its job limit. Job not submitted.", FailureKind.LIMIT),
        ("User or one of user's groups does not have enough job slots. Job not submitted.", FailureKind.LIMIT),
        ("No job Id can be used now. Job not submitted.", FailureKind.LIMIT),
        ("batch system daemon not responding ... still trying", FailureKind.TRANSIENT),
        ("LSF is down. Please wait ...", FailureKind.TRANSIENT),
        ("Failed in an LSF library call: LIM is down; try later", FailureKind.TRANSIENT),
        ("Connection refused by server. Job not submitted.", FailureKind.TRANSIENT),
        ("Batch system concurrent job query limit exceeded. LSF is retrying. Please wait...", FailureKind.TRANSIENT),
        ("night: Queue has been closed. Job not submitted.", FailureKind.TRANSIENT),
        ("Request aborted by esub. Job not submitted.", FailureKind.FATAL),
        ("User permission denied. Job not submitted.", FailureKind.FATAL),
        ("the dog ate it", None),
    ],
)
def test_failures_are_told_apart(said: str, kind: FailureKind | None) -> None:
    """Try again, wait for room, or tell the user. The words are OpenLava's own and those of IBM's documentation."""
    failure = AUTO.classify_failure(Completed(returncode=255, stderr=said))
    assert (failure and failure.kind) == kind


# --- inside a job -----------------------------------------------------------------------------------------------


def test_what_lsf_granted() -> None:
    """As OpenLava says it, and by the slot list that IBM's LSF gives alone when the short one is too long."""
    granted = drive(AUTO.read_allocation(environment(HERE / "environment.txt")))
    assert granted == Allocation(job_id=JobId("111.2"), hosts=["node01"], cores=2)
    environ = {"LSB_JOBID": "65", "LSB_JOBINDEX": "0", "LSB_DJOB_HOSTFILE": "/home/me/.lsbatch/65.hostfile"}
    conversation = AUTO.read_allocation(environ)
    assert next(conversation).argv == ("cat", "/home/me/.lsbatch/65.hostfile")
    granted = drive(AUTO.read_allocation(environ), ["n1\nn1\nn2\nn2\n"])
    assert granted == Allocation(job_id=JobId("65"), hosts=["n1", "n2"], cores=2)
    slots = {"LSB_JOBID": "65", "LSB_HOSTS": "n1 n1 n1 n2"}
    assert drive(AUTO.read_allocation(slots)) == Allocation(job_id=JobId("65"), hosts=["n1", "n2"], cores=3)


def test_a_job_that_was_started_again_says_so() -> None:
    """LSF keeps the id when a host fails under a rerunnable job."""
    environ = environment(HERE / "environment.txt") | {"LSB_RESTART": "Y"}
    granted = drive(AUTO.read_allocation(environ))
    assert granted is not None
    assert granted.attempt == 1


def test_no_job_has_no_allocation() -> None:
    """A login node has LSF_ENVDIR, and no job."""
    assert drive(AUTO.read_allocation({"LSF_ENVDIR": "/opt/lsf/conf"})) is None


def test_hosts_that_are_none_are_refused() -> None:
    """The launcher would start nothing, silently."""
    with pytest.raises(ParseError):
        drive(AUTO.read_allocation({"LSB_JOBID": "65"}), [""])


def test_blaunch_reaches_each_host() -> None:
    """As rsh would, which may mean by a shell: one word is the whole line."""
    allocation = Allocation(job_id=JobId("65.1"), hosts=["n1", "n2"], cores=4)
    assert AUTO.launch_command(allocation, ["echo", "a b"]) == [
        ["blaunch", "n1", "echo 'a b'"],
        ["blaunch", "n2", "echo 'a b'"],
    ]


def test_jsrun_reaches_all_but_the_launch_node() -> None:
    """Whole nodes: LSB_MCPU_HOSTS begins with the host of the script, which has one slot and computes nothing."""
    lsf = LSF(nnodes=True, launcher="jsrun")
    allocation = drive(lsf.read_allocation({"LSB_JOBID": "65", "LSB_MCPU_HOSTS": "batch1 1 n1 42 n2 42"}))
    assert allocation == Allocation(job_id=JobId("65"), hosts=["batch1", "n1", "n2"])
    [argv] = lsf.launch_command(allocation, ["echo", "a b"])
    assert argv[:3] == ["jsrun", "--nrs=2", "--rs_per_host=1"]
    assert argv[-2:] == ["echo", "a b"]
