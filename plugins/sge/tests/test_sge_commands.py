"""Grid Engine's commands: what is asked, and what the answers of Son of Grid Engine 8.1.9 mean."""

from __future__ import annotations

import re
import time

import pytest
from attrs import evolve

from corral.plugin import (
    Allocation,
    Command,
    CommandFailed,
    CommandNotFound,
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
from corral.testing import Answer, command_environment, converse, drive, environment, transcript
from corral_sge import GridEngine, answers
from corral_sge.testing import GridEngineLaws

HERE = GridEngineLaws.transcripts
SGE = GridEngine(parallel_environment="smp", gpu_resource="gpu")
SCRIPT = SGE.render_script(Job(name="dask-1"))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def local(text: str) -> float:
    """A moment of this machine's own time."""
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def asked(conversation: object, *files: Answer) -> list[tuple[str, ...]]:
    """The commands of a conversation that gets these answers."""
    commands: list[tuple[str, ...]] = []
    replies = iter(files)

    def answer(command: Command) -> Answer:
        commands.append(command.argv)
        return next(replies)

    converse(conversation, answer)  # type: ignore[arg-type]
    return commands


# --- submit -----------------------------------------------------------------------------------------------------


def test_all_is_said_by_arguments() -> None:
    """qsub would read every line of the script that begins with #$, in a quoted text too: -C '' forbids it."""
    hostile = {"TEXT": "a\n#$ -l nosuch=1\n"}
    script = SGE.render_script(Job(name="dask-1", log_directory="/a b", environment=hostile, extra_directives=["-R y"]))
    command = next(SGE.submit(script, 1000))
    assert command.argv == (
        "qsub", "-terse", "-b", "n", "-sync", "n", "-C", "",
        "-N", "dask-1", "-o", "/a b/$JOB_ID.$TASK_ID.log", "-j", "y", "-S", "/bin/bash", "-r", "n", "-R", "y",
        "-t", "1-1000",
    )  # fmt: skip
    assert command.stdin == str(script)


def test_a_wish_ends_with_its_line() -> None:
    """-soft holds to the end of a line of a script, but to the end of all arguments."""
    script = SGE.render_script(Job(name="x", extra_directives=["-soft -l fast=1", "-l arch=lx"]))
    argv = next(SGE.submit(script, 1)).argv
    assert argv[argv.index("-soft") :] == ("-soft", "-l", "fast=1", "-hard", "-l", "arch=lx", "-t", "1-1")


def test_one_array_is_as_large_as_allowed() -> None:
    """The core asks again for the rest."""
    assert next(evolve(SGE, max_array_size=50).submit(SCRIPT, 1000)).argv[-1] == "1-50"


def test_a_smaller_limit_of_the_site_is_learnt_from_the_refusal() -> None:
    """max_aj_tasks is 75000 by default."""
    site = evolve(SGE, max_array_size=80_000)
    commands = asked(site.submit(SCRIPT, 90_000), HERE / "qsub-large.txt", "9.1-75000:1\n")
    assert [argv[-1] for argv in commands] == ["1-80000", "1-75000"]


def test_a_limit_that_is_no_cure_ends_the_submission() -> None:
    """Nothing is tried twice in vain."""
    with pytest.raises(CommandFailed, match="more than 75000 tasks"):
        drive(SGE.submit(SCRIPT, 10), [HERE / "qsub-large.txt"])


@pytest.mark.parametrize("answer", ["7\n", "7.1-2:1\n", "7.1-3:2\n", "Your job-array 7.1-3:1 has been submitted\n"])
def test_an_id_of_something_else_is_not_taken(answer: str) -> None:
    """Three jobs were asked for."""
    with pytest.raises(ParseError):
        drive(SGE.submit(SCRIPT, 3), [answer])


def test_what_qsub_sees_is_what_a_job_may_get() -> None:
    """A sge_request file may say -V: a login's variables and the way to the master, nothing else."""
    environ = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "SGE_ROOT": "/opt/sge",
        "SGE_QMASTER_PORT": "6444",
        "SGE_TASK_ID": "3",
        "JOB_ID": "12",
        "SECRET_TOKEN": "s",
        "LC_ALL": "de_DE.UTF-8",
    }
    seen = command_environment(environ, next(SGE.submit(SCRIPT, 1)))
    assert set(seen) == {"PATH", "HOME", "SGE_ROOT", "SGE_QMASTER_PORT", "LC_ALL"}
    assert SCRIPT.body.startswith("unset LC_ALL\n")


# --- poll -------------------------------------------------------------------------------------------------------


def test_one_qstat_tells_all_that_has_not_ended() -> None:
    """States, hosts, moments; tasks that wait are folded, and one in error says why."""
    wanted = ids("23.1", "24.3", "24.12", "25.4", "26.2", "27.1", "28.1", "29.1")
    found = drive(SGE.poll_status(wanted), [HERE / "qstat.txt", HERE / "qstat-j-error.txt"])
    runs = JobStatus(state=JobState.RUNNING, native="r", hosts=["node01"], started=local("2026-11-25 22:22:40"))
    waits = JobStatus(state=JobState.PENDING, native="qw", submitted=local("2026-11-25 22:22:40"))
    assert found == {
        JobId("23.1"): runs,
        JobId("24.3"): waits,
        JobId("24.12"): waits,
        JobId("25.4"): evolve(waits, state=JobState.HELD, native="hqw", submitted=local("2026-11-25 22:22:41")),
        JobId("26.2"): evolve(
            waits,
            state=JobState.HELD,
            native="Eqw",
            submitted=local("2026-11-25 22:22:41"),
            reason='can\'t open output file "/no/such/dir/26.2.log": No such file or directory',
            hopeless=answers.IN_ERROR,
        ),
        JobId("27.1"): evolve(runs, state=JobState.SUSPENDED, native="s", started=local("2026-11-25 22:22:43")),
        JobId("28.1"): evolve(runs, native="dr", started=local("2026-11-25 22:22:43")),
        JobId("29.1"): evolve(waits, submitted=local("2026-11-25 22:22:41")),
    }


def test_only_the_users_own_jobs_are_asked_for() -> None:
    """qstat itself fills the name in."""
    [command] = asked(SGE.poll_status(ids("23.1")), HERE / "qstat.txt")
    assert command == ("qstat", "-u", "$user", "-s", "prs", "-xml")


def test_errors_are_asked_for_only_if_there_are_some_of_ours() -> None:
    """One command for all of them; that it fails hides no state."""
    wanted = ids("26.1", "26.2")
    assert asked(SGE.poll_status(wanted), HERE / "qstat.txt", HERE / "qstat-j-error.txt")[1:] == [("qstat", "-j", "26")]
    found = drive(SGE.poll_status(wanted), [HERE / "qstat.txt", CommandTimedOut])
    assert {status.state for status in found.values()} == {JobState.HELD}


def test_reasons_of_several_arrays_are_told_apart() -> None:
    """A job that exited with 100, and one without a folder for its log."""
    reasons = answers.error_reasons(transcript(HERE / "qstat-j-errors.txt").stdout)
    assert reasons == {
        "36.1": "exit_status of job start = 100",
        "37.1": 'can\'t open output file "/no/such/dir/37.1.log": No such file or directory',
        "37.2": 'can\'t open output file "/no/such/dir/37.2.log": No such file or directory',
    }


def test_ended_jobs_are_looked_up_once_for_each_array() -> None:
    """qacct takes one array and one range; what it knows nothing of is absent."""
    wanted = ids("31.2", "31.8", "38.1", "38.3", "23.1", "99999.1")
    commands = asked(
        SGE.poll_status(wanted),
        HERE / "qstat.txt",
        HERE / "qacct-ends.txt",
        HERE / "qacct-deleted-waiting.txt",
        HERE / "qacct-no-task.txt",
    )
    assert commands[1:] == [
        ("qacct", "-j", "31", "-t", "2-8"),
        ("qacct", "-j", "38", "-t", "1-3"),
        ("qacct", "-j", "99999", "-t", "1-1"),
    ]


@pytest.mark.parametrize(
    ("file", "job", "state", "exit_code", "signal", "reason"),
    [
        ("ends", "31.1", JobState.COMPLETED, 0, None, ""),
        ("ends", "31.2", JobState.FAILED, 3, None, ""),
        ("ends", "31.4", JobState.FAILED, None, 11, "assumedly after job"),
        ("ends", "31.5", JobState.FAILED, 127, None, ""),
        # A shell that says 137 was not killed itself.
        ("ends", "31.6", JobState.FAILED, 137, None, ""),
        ("ends", "31.8", JobState.CANCELLED, None, 9, "assumedly after job"),
        # exit_status is 0 all the same.
        ("lost", "32.1", JobState.NODE_FAILED, None, None, "before writing exit_status"),
        ("log", "37.2", JobState.FAILED, None, None, "opening input/output file"),
        ("walltime", "33.1", JobState.TIMEOUT, None, 9, "qmaster enforced h_rt, h_cpu, or h_vmem limit"),
        ("memory", "34.1", JobState.OUT_OF_MEMORY, None, 9, "qmaster enforced h_rt, h_cpu, or h_vmem limit"),
        ("application", "36.1", JobState.FAILED, 100, None, "application error returned"),
    ],
)
def test_ends_are_told_apart(
    file: str, job: str, state: JobState, exit_code: int | None, signal: int | None, reason: str
) -> None:
    """By what failed, what the exit code was, and how long the job ran."""
    found = drive(SGE.poll_status(ids(job)), [HERE / "qstat-empty.txt", HERE / f"qacct-{file}.txt"])
    status = found[JobId(job)]
    assert (status.state, status.exit_code, status.signal, status.reason) == (state, exit_code, signal, reason)
    assert status.hosts == ("node01",)


def test_an_end_has_its_moments() -> None:
    """In local time, as qacct prints it."""
    found = drive(SGE.poll_status(ids("31.7")), [HERE / "qstat-empty.txt", HERE / "qacct-ends.txt"])
    status = found[JobId("31.7")]
    assert status.submitted == local("2026-11-25 22:23:24")
    assert (status.started, status.ends) == (local("2026-11-25 22:23:27"), local("2026-11-25 22:23:35"))


def test_a_restart_is_no_end() -> None:
    """Exit code 99 and others put a job back into the queue: only its last record counts, if that is an end."""
    rescheduled = transcript(HERE / "qacct-rescheduled.txt").stdout
    assert drive(SGE.poll_status(ids("35.1")), [HERE / "qstat-empty.txt", rescheduled]) == {}
    ended = rescheduled + rescheduled.split("=====\n")[-1].join(["=====\n", ""]).replace("25  : rescheduling", "0")
    assert drive(SGE.poll_status(ids("35.1")), [HERE / "qstat-empty.txt", ended])[JobId("35.1")].exit_code == 99


def test_univas_records_say_who_deleted_a_job() -> None:
    """Then nothing has to be concluded from a signal."""
    record = transcript(HERE / "qacct-ends.txt").stdout.replace("failed       0    ", "failed 0\ndeleted_by   operator")
    found = drive(SGE.poll_status(ids("31.2")), [HERE / "qstat-empty.txt", record])
    assert found[JobId("31.2")].state is JobState.CANCELLED


def test_the_end_of_a_job_that_is_no_array_is_looked_up_by_its_number() -> None:
    """Its task is "undefined" to qacct; so many are asked for in one round."""
    record = re.sub(r"taskid +7 ", "taskid       undefined ", transcript(HERE / "qacct-ends.txt").stdout)
    commands: list[tuple[str, ...]] = []

    def answer(command: Command) -> str:
        commands.append(command.argv)
        return record if command.argv == ("qacct", "-j", "31") else ""

    jobs = ids(*map(str, range(31, 81)))
    found = converse(GridEngine(arrays=False).poll_status(jobs), answer)
    assert list(found) == [JobId("31")]
    assert commands[1:] == [("qacct", "-j", str(number)) for number in range(31, 51)]


def test_the_reason_of_a_job_in_error_that_is_no_array_is_its_own() -> None:
    """qstat speaks of its only task."""
    answer = "job_number:  26\nerror reason          1:      11/25/2026 22:22:41 [0:28431]: error: no log\n"
    assert answers.error_reasons(answer) == {"26": "no log"}


@pytest.mark.parametrize("trouble", [CommandTimedOut, CommandNotFound, HERE / "qacct-no-file.txt", "Welcome!\n"])
def test_accounting_that_is_away_is_no_error(trouble: Answer) -> None:
    """What qstat said stands, and nothing is asked of it for the other arrays."""
    wanted = ids("23.1", "31.1", "32.1")
    assert list(drive(SGE.poll_status(wanted), [HERE / "qstat.txt", trouble])) == ids("23.1")


def test_a_master_that_is_away_is_an_error() -> None:
    """Not: all jobs are gone."""
    with pytest.raises(CommandFailed, match="Connection refused"):
        drive(SGE.poll_status(ids("1.1")), [HERE / "qstat-down.txt"])


@pytest.mark.parametrize(
    ("letters", "state"),
    [
        ("qw Rq Rqw", JobState.PENDING),
        ("hqw hRwq hRqw", JobState.HELD),
        ("Eqw Ehqw EhRqw", JobState.HELD),
        ("r t Rr Rt dr dt dRr hr ht", JobState.RUNNING),
        ("s ts S tS T tT Rs dS dT hs", JobState.SUSPENDED),
        ("x ? molting", JobState.UNKNOWN),
    ],
)
def test_letters_make_a_state_together(letters: str, state: JobState) -> None:
    """All of qstat's; a letter that nobody knows makes it UNKNOWN."""
    assert {word: answers.job_state(word) for word in letters.split()} == dict.fromkeys(letters.split(), state)


def test_jobs_that_are_no_arrays_are_listed_by_their_number() -> None:
    """People have such jobs; they are none of ours, unless they were found by their name."""
    answer = transcript(HERE / "qstat.txt").stdout.replace("<tasks>1</tasks>", "")
    assert drive(SGE.find_jobs("susp"), [answer]) == ids("27")


# --- cancel -----------------------------------------------------------------------------------------------------


def test_a_range_of_tasks_is_one_word() -> None:
    """Never ``-t``: that takes one range, and with several jobs deletes all of every job but the last."""
    wanted = ids(*(f"77.{task}" for task in (*range(1, 1001), 1003)), "80.3", "81")
    assert next(SGE.cancel(wanted)).argv == ("qdel", "77.1-1000", "77.1003", "80.3", "81")


def test_many_ranges_are_several_commands() -> None:
    """Every second of ten thousand tasks."""
    wanted = ids(*(f"77.{task}" for task in range(1, 10_001, 2)))
    commands = asked(SGE.cancel(wanted), "", "", "")
    assert [len(argv) - 1 for argv in commands] == [2000, 2000, 1000]
    assert sum(commands, ()).count("77.9999") == 1


@pytest.mark.parametrize("file", ["qdel-gone", "qdel-ended"])
def test_jobs_that_are_gone_are_cancelled(file: str) -> None:
    """One of them makes qdel fail, although it deletes the others."""
    drive(SGE.cancel(ids("25.1", "25.2")), [HERE / f"{file}.txt"])


@pytest.mark.parametrize(
    "complaint",
    [
        "",
        'denied: job "25" belongs to someone\n',
        'user has deleted job-array task 25.1\ndenied: "user" is not an operator\n',
        "unable to send message to qmaster using port 6444 on host \"node01\": got send error\n",
    ],
)  # fmt: skip
def test_a_job_that_may_live_is_not(complaint: str) -> None:
    """One job that is gone does not excuse another."""
    with pytest.raises(CommandFailed):
        drive(SGE.cancel(ids("25.1", "26.1")), [Completed(returncode=1, stdout=complaint)])


# --- find, describe, explain, detect ----------------------------------------------------------------------------


def test_queues_are_described() -> None:
    """A queue is on several hosts; the largest of them says what a job may ask for."""
    memory = int(23.541 * 2**30)
    assert drive(SGE.describe_queues(), [HERE / "qstat-f.txt"]) == [
        Queue(name="all.q", cores=64, memory=memory, nodes=1, free_nodes=0),
        Queue(name="short.q", cores=64, memory=memory, nodes=1, free_nodes=0, max_walltime=600),
    ]
    instance = (
        "<Queue-List><name>fat.q@{}</name><slots_used>{}</slots_used><slots_resv>0</slots_resv>"
        "<slots_total>{}</slots_total>{}<resource name='mem_total'>{}</resource>"
        "<resource name='h_rt'>{}</resource></Queue-List>"
    )
    instances = [
        instance.format("n1", 0, 16, "", "64.000G", "01:00:00"),
        instance.format("n2", 0, 32, "<state>au</state>", "128.000G", "24:00:00"),
        instance.format("n3", 1, 32, "", "128.000G", "24:00:00"),
    ]
    answer = f"<?xml version='1.0'?><job_info><queue_info>{''.join(instances)}</queue_info></job_info>"
    assert drive(SGE.describe_queues(), [answer]) == [
        Queue(name="fat.q", cores=32, memory=2**37, nodes=3, free_nodes=1, max_walltime=86400)
    ]


@pytest.mark.parametrize(
    ("states", "starts", "free"), [(("d", ""), True, 1), (("d", "s"), False, 0), (("a", "a"), True, 0)]
)
def test_a_queue_that_is_disabled_everywhere_starts_nothing(states: tuple[str, str], starts: bool, free: int) -> None:
    """What is disabled with ``qmod -d`` takes jobs; a host that has too much to do will have less."""
    rows = "".join(
        f"<Queue-List><name>all.q@n{number}</name><slots_total>8</slots_total><state>{state}</state></Queue-List>"
        for number, state in enumerate(states)
    )
    answer = f"<?xml version='1.0'?><job_info><queue_info>{rows}</queue_info></job_info>"
    [queue] = drive(SGE.describe_queues(), [answer])
    assert (queue.starts_jobs, queue.free_nodes) == (starts, free)


@pytest.mark.parametrize(
    ("job", "files", "explanation"),
    [
        ("25.3", ["qstat-j-held"], "it is held: 'qrls' releases it (Job is in hold state)"),
        (
            "26.1",
            ["qstat-j-error"],
            "it is in an error state: 'qmod -cj' lets it try again once the cause is gone "
            '(can\'t open output file "/no/such/dir/26.1.log": No such file or directory)',
        ),
        (
            "24.5",
            ["qstat-j-full", "qalter-v-busy"],
            "all slots are taken, or hosts are overloaded (All queues dropped because of overload or full)",
        ),
        ("42.1", ["qstat-j-dependency"], "it waits for another job to end (job dropped because of job dependencies)"),
        ("44.1", ["qstat-j-late"], "it may not start before a set time (execution time not reached)"),
        (
            "39.2",
            ["qstat-j-silent", "qalter-never", "qalter-v-busy"],
            "no queue can run it at present, or none ever "
            '((-l gpu=5) cannot run at host "node01" because it offers only hc:gpu=4.000000)',
        ),
        (
            "43.1",
            ["qstat-j-silent", "qalter-long", "qalter-v-busy"],
            "no queue can run it at present, or none ever "
            '((-l h_rt=3600) cannot run in queue "short.q" because of cluster queue)',
        ),
        ("44.1", ["qstat-j-silent", "qalter-found"], ""),
    ],
)
def test_a_wait_is_explained(job: str, files: list[str], explanation: str) -> None:
    """In a person's words, with Grid Engine's own behind them; where nothing is written down, qalter knows."""
    assert drive(SGE.explain_pending(JobId(job)), [HERE / f"{file}.txt" for file in files]) == explanation


def test_a_scheduler_that_has_not_looked_yet_explains_nothing() -> None:
    """It says so in a sentence of its own; qalter knows all the same."""
    silent = transcript(HERE / "qstat-j-silent.txt").stdout
    unseen = silent.replace(
        "(Collecting of scheduler job information is turned off)", "There are no messages available"
    )
    assert unseen != silent
    answers = [HERE / "qalter-long.txt", HERE / "qalter-v-busy.txt"]
    assert "no queue can run it" in drive(SGE.explain_pending(JobId("43.1")), [unseen, *answers])


FULL = "qstat-j-full"


@pytest.mark.parametrize(
    ("files", "see", "own"),
    [
        ([FULL, "qalter-v-memory"], "memory= and queue=", 'at host "node01" because it offers only hc:memory=100.000G'),
        ([FULL, "qalter-v-walltime"], "walltime= and queue=", '(-l h_rt=2000) cannot run in queue "short.q"'),
        (["qstat-j-pemem", "qalter-v-slots", "qhost-resources"], "cores=, nodes= and queue=", "only offers 0 slots"),
    ],
)
def test_what_not_even_an_empty_cluster_could_run_never_starts(files: list[str], see: str, own: str) -> None:
    """Whatever is full, disabled or down at present."""
    sge = evolve(SGE, memory_resource="memory")
    told = drive(sge.explain_pending(JobId("99.7")), [HERE / f"{file}.txt" for file in files])
    assert told.startswith(f"it will never start: an empty cluster could not run it; see {see} (")
    assert own in told


@pytest.mark.parametrize(
    "files",
    [[FULL, "qalter-v-busy"], [FULL, "qalter-v-load"], ["qstat-j-freepe", "qalter-v-load-pe", "qhost-load"]],
    ids=["busy", "load", "slots with load"],
)
def test_what_grid_engine_measures_may_be_free_again(files: list[str]) -> None:
    """`qalter -w v` takes no notice of loads, and says of `-l mem_free=1G` that no host has any."""
    told = drive(SGE.explain_pending(JobId("99.7")), [HERE / f"{file}.txt" for file in files])
    assert told.startswith(("all slots are taken", "no queue can run it at present"))


def test_what_is_measured_anywhere_is_not_known_by_configuration() -> None:
    """A site may configure on some hosts what it measures on others."""
    both = (HERE / "qhost-resources.txt").read_text() + "    Host Resource(s):      hl:memory=21.345G\n"
    told = drive(SGE.explain_pending(JobId("99.7")), [HERE / "qstat-j-pemem.txt", HERE / "qalter-v-slots.txt", both])
    assert told.startswith("all slots are taken")


@pytest.mark.parametrize(
    "failures",
    [
        [CommandTimedOut],
        [Completed(returncode=1, stderr='denied: job "99" does not exist\n')],
        [HERE / "qalter-v-slots.txt", CommandNotFound],
    ],
    ids=["late", "gone", "no qhost"],
)
def test_a_second_question_that_fails_takes_nothing_from_the_first_answer(failures: list[Answer]) -> None:
    """What the scheduler itself has said is told."""
    told = drive(SGE.explain_pending(JobId("99.7")), [HERE / "qstat-j-pemem.txt", *failures])
    assert told.startswith("all slots are taken")


@pytest.mark.parametrize(("job", "file"), [("24.1", "qstat-j-full"), ("99999.1", "qstat-j-unknown")])
def test_a_job_that_does_not_wait_is_not_explained(job: str, file: str) -> None:
    """It runs, although others of its array wait, or is gone."""
    assert drive(SGE.explain_pending(JobId(job)), [HERE / f"{file}.txt"]) == ""


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("GE 6.2u5\nusage: qstat [options]\n", "6.2u5"),
        ("OGS/GE 2011.11p1\nusage: qstat [options]\n", "2011.11p1"),
        ("UGE 8.6.18\nusage: qstat [options]\n", "8.6.18"),
        ("AGE 2023.1.1\nusage: qstat [options]\n", "2023.1.1"),
        ("OCS 9.0.2\nusage: qstat [options]\n", "9.0.2"),
        ("pbs_version = 23.06.06\n", None),
        ("Version: 6.1.3\n", None),
        ("usage: qstat [-f] [-J]\n", None),
        (Completed(returncode=2, stderr="usage: qstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format] [-D delim]\n"), None),
    ],
)
def test_relatives_are_told_apart(answer: Answer, version: str | None) -> None:
    """PBS and TORQUE have a qstat too."""
    found = drive(SGE.detect(), [answer])
    assert (found and found.version) == version


# --- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        (
            "qsub-queue",
            FailureKind.FATAL,
            'Job was rejected because job requests unknown queue "nosuch.q"',
        ),
        ("qsub-resource", FailureKind.FATAL, 'unknown resource "nosuch"'),
        ("qsub-never", FailureKind.FATAL, "no suitable queues"),
        (
            "qsub-limit-user",
            FailureKind.LIMIT,
            "job rejected: only 1 jobs are allowed per user (current job count: 1)",
        ),
        (
            "qsub-down",
            FailureKind.TRANSIENT,
            "commlib error: got select error (Connection refused); "
            'unable to send message to qmaster using port 17999 on host "node01": got send error',
        ),
    ],
)
def test_a_failure_is_one_sentence(file: str, kind: FailureKind, message: str) -> None:
    """Grid Engine's own words, less what repeats the command."""
    assert SGE.classify_failure(transcript(HERE / f"{file}.txt")) == Failure(kind=kind, message=message)


# --- inside a job -----------------------------------------------------------------------------------------------


def test_another_systems_job_is_none() -> None:
    """JOB_ID alone is a variable of many."""
    assert drive(SGE.read_allocation({"JOB_ID": "7", "PBS_JOBID": "7.server"})) is None


def test_outside_of_an_array_the_task_is_undefined() -> None:
    """A job that a person submitted by hand."""
    allocation = drive(SGE.read_allocation(environment(HERE / "environment-no-array.txt")))
    assert allocation is not None
    assert (allocation.job_id, allocation.hosts, allocation.cores) == (JobId("10"), ("node01",), 1)


def test_a_host_has_a_line_for_each_queue() -> None:
    """Slots of one host may come from several queues; this host is the first."""
    environ = environment(HERE / "environment.txt") | {"HOSTNAME": "node02"}
    lines = "node01 4 all.q@node01 UNDEFINED\nnode02 3 all.q@node02 UNDEFINED\nnode02 1 short.q@node02 <NULL>\n"
    allocation = drive(SGE.read_allocation(environ), [lines])
    assert allocation is not None
    assert (allocation.hosts, allocation.cores) == (("node02", "node01"), 4)


@pytest.mark.parametrize("answer", ["", "Welcome to node01!\n", "node01\n"])
def test_a_host_file_that_is_none_is_a_parse_error(answer: str) -> None:
    """Rather than a host of a strange name."""
    with pytest.raises(ParseError):
        drive(SGE.read_allocation(environment(HERE / "environment.txt")), [answer])


@pytest.mark.parametrize(
    ("variables", "gpus", "attempt"),
    [
        ({}, (), 0),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, ("0", "1"), 0),
        ({"SGE_HGR_gpu": "2 3"}, ("2", "3"), 0),
        ({"RESTARTED": "1"}, (), 1),
    ],
)
def test_gpus_and_restarts_are_in_the_environment(
    variables: dict[str, str], gpus: tuple[str, ...], attempt: int
) -> None:
    """A site's prolog names GPUs, or the batch system does if it counts each of them."""
    environ = environment(HERE / "environment-one-slot.txt") | variables
    allocation = drive(SGE.read_allocation(environ))
    assert allocation is not None
    assert (allocation.gpus.names, allocation.attempt) == (gpus, attempt)


def test_other_hosts_are_reached_by_qrsh() -> None:
    """Word by word, without a shell; this host needs nothing."""
    allocation = Allocation(job_id=JobId("7.1"), hosts=["node02", "node01"])
    assert SGE.launch_command(allocation, ["python", "two words"]) == [
        ["python", "two words"],
        ["qrsh", "-inherit", "-nostdin", "-noshell", "node01", "python", "two words"],
    ]
