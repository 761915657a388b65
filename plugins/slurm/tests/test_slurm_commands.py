"""Slurm's commands: what is asked, and what the answers of Slurm 22.05 mean."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

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
    InvalidRequest,
    Job,
    JobId,
    JobState,
    JobStatus,
    ParseError,
    Queue,
)
from corral.testing import Answer, command_environment, converse, drive, environment, transcript
from corral_slurm import Slurm, answers
from corral_slurm.testing import SlurmLaws

HERE = SlurmLaws.transcripts
SLURM = Slurm()
SCRIPT = SLURM.render_script(Job(name="dask-1"))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def refused(stderr: str, stdout: str = "") -> Completed:
    return Completed(returncode=1, stderr=stderr, stdout=stdout)


# --- submit -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", ["--clusters=beta,gamma", "-M beta,gamma", "-Mbeta,gamma"])
def test_a_submission_to_other_clusters_is_looked_for_there(extra: str) -> None:
    """Where it timed out, "not found" here would submit it again; what is found is cancelled where it is."""
    slurm = Slurm()
    script = slurm.render_script(Job(name="dask-1", command=("true",), extra_directives=[extra]))
    with pytest.raises(CommandTimedOut):
        drive(slurm.submit(script, 2), [CommandTimedOut])
    answers = {
        "squeue -a -h -t all -O 'JobArrayID:|,State:|,Name:|' --me": "",
        "squeue -a -h -t all -O 'JobArrayID:|,State:|,Name:|' -M beta": "7_0|RUNNING|dask-1|\n7_1|PENDING|dask-1|\n",
        "squeue -a -h -t all -O 'JobArrayID:|,State:|,Name:|' -M gamma": "",
    }
    found = drive(slurm.find_jobs("dask-1"), answers)
    assert [(job_id.text, job_id.where) for job_id in found] == [("7_0", "beta"), ("7_1", "beta")]
    assert "-M beta" in shlex.join(next(slurm.cancel(found)).argv)


def test_where_a_job_went_it_is_looked_for() -> None:
    """A site's own wish (SBATCH_CLUSTERS) had sent it there; without one, one question suffices."""
    slurm = Slurm()
    assert drive(slurm.find_jobs("dask-1"), [""]) == []
    drive(slurm.submit(SCRIPT, 4), [HERE / "sbatch-where.txt"])
    found = drive(slurm.find_jobs("dask-1"), ["8_0|RUNNING|dask-1|\n", "8_0|RUNNING|dask-1|\n9_0|RUNNING|dask-1|\n"])
    # What the configuration's own cluster lists as well is asked about there.
    assert [(job_id.text, job_id.where) for job_id in found] == [("8_0", ""), ("9_0", "beta")]


def test_a_federation_says_where() -> None:
    """1;beta: only the number is the id, and the cluster is asked for it later."""
    submitted = drive(Slurm().submit(SCRIPT, 4), [HERE / "sbatch-where.txt"])
    assert submitted == ids("1_0", "1_1", "1_2", "1_3")
    assert {job_id.where for job_id in submitted} == {"beta"}


def test_one_array_is_as_large_as_allowed() -> None:
    """The index stays below MaxArraySize; the core asks again for the rest."""
    command = next(Slurm(max_array_size=50).submit(SCRIPT, 1000))
    assert command.argv == ("sbatch", "--parsable", "--array=0-49")
    assert command.stdin == str(SCRIPT)


def test_a_smaller_limit_of_the_site_is_learnt_in_the_conversation() -> None:
    """Slurm refuses 0-1000 where MaxArraySize is 101, and says so when asked."""
    asked: list[tuple[str, ...]] = []
    replies = iter(["sbatch-big-array.txt", "scontrol-config.txt", "sbatch.txt"])

    def answer(command: Command) -> Path:
        asked.append(command.argv)
        return HERE / next(replies)

    assert len(converse(SLURM.submit(SCRIPT, 5000), answer)) == 101
    assert asked[1:] == [("scontrol", "show", "config"), ("sbatch", "--parsable", "--array=0-100")]


def test_an_array_of_the_users_own_is_refused() -> None:
    """Nobody would know its elements."""
    with pytest.raises(InvalidRequest, match=r"scale\(\)"):
        SLURM.render_script(Job(name="x", extra_directives=["-a 0-9"]))


@pytest.mark.parametrize("config", ["MaxArraySize            = 20001\n", ""])
def test_a_limit_that_is_no_cure_ends_the_submission(config: str) -> None:
    """Arrays were refused for another reason: nothing is tried twice."""
    with pytest.raises(CommandFailed, match="Invalid job array specification"):
        drive(SLURM.submit(SCRIPT, 10), [HERE / "sbatch-bad-array.txt", config])


def test_what_sbatch_sees_is_what_the_job_gets() -> None:
    """With --export=ALL: a login's variables, the way to the controller, and standing wishes. Nothing else."""
    environ = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "SLURM_CONF": "/etc/slurm.conf",
        "SBATCH_ACCOUNT": "physics",
        "SECRET_TOKEN": "s",
        "LD_LIBRARY_PATH": "/opt/lib",
        "CONDA_PREFIX": "/opt/conda",
        "LC_ALL": "de_DE.UTF-8",
        "SLURM_JOB_ID": "12",
        "SLURM_MEM_PER_NODE": "300",
        "SBATCH_EXPORT": "NONE",
        "SBATCH_ARRAY_INX": "1-9",
        "SBATCH_WAIT": "1",
    }
    seen = command_environment(environ, next(SLURM.submit(SCRIPT, 1)))
    assert set(seen) == {"PATH", "HOME", "SLURM_CONF", "SBATCH_ACCOUNT", "LC_ALL"}
    assert "unset LC_ALL SLURM_JWT" in SCRIPT.body.splitlines()


def test_an_argument_wins_over_the_environment() -> None:
    """sbatch lets SBATCH_* overrule the script; what the request says must hold."""
    wishes = {f"SBATCH_{name}": "x" for name in ("PARTITION", "TIMELIMIT", "MEM_PER_CPU", "GPUS", "QOS", "RESERVATION")}
    job = Job(name="x", queue="gpu", walltime=60, extra_directives=["--qos=high --gres=gpu:1 --mem=1G"])
    command = next(SLURM.submit(SLURM.render_script(job), 1))
    assert set(command_environment(wishes, command)) == {"SBATCH_RESERVATION", "LC_ALL"}
    assert wishes.keys() <= set(command_environment(wishes, next(SLURM.submit(SCRIPT, 1))))


# --- poll -------------------------------------------------------------------------------------------------------


def test_one_squeue_tells_all() -> None:
    """States, exit codes, signals, hosts and times of running, ended and waiting jobs."""
    wanted = ids("97_0", "97_1", "97_2", "97_3", "98_0", "99_3", "100_0", "101_0")
    submitted, started = 1795477270.0, 1795477271.0
    completed = JobStatus(
        state=JobState.COMPLETED,
        native="COMPLETED",
        exit_code=0,
        hosts=["n1"],
        submitted=submitted,
        started=started,
        ends=started,
    )
    not_launched = evolve(completed, state=JobState.FAILED, native="FAILED", reason="JobLaunchFailure", exit_code=None)
    waits = JobStatus(state=JobState.PENDING, native="PENDING", reason="PartitionTimeLimit", submitted=submitted)
    assert drive(SLURM.poll_status(wanted), [HERE / "squeue.txt"]) == {
        JobId("97_0"): completed,
        JobId("97_1"): evolve(not_launched, reason="NonZeroExitCode", exit_code=3),
        JobId("97_2"): evolve(not_launched, signal=9),
        JobId("97_3"): evolve(
            completed, state=JobState.CANCELLED, native="CANCELLED", exit_code=None, signal=15, ends=started + 3
        ),
        JobId("98_0"): evolve(
            completed, state=JobState.RUNNING, native="RUNNING", exit_code=None, hosts=["n1", "n3"], ends=started + 300
        ),
        JobId("99_3"): evolve(waits, state=JobState.HELD, reason="JobHeldUser"),
        JobId("100_0"): not_launched,
        JobId("101_0"): evolve(waits, hopeless=answers.hopeless_words("PartitionTimeLimit")),
    }


def test_a_script_that_never_began_is_told_alike_by_all_versions() -> None:
    """24.11 calls it RaisedSignal:53(Real-time signal 19), where 22.05 said JobLaunchFailure."""
    found = drive(SLURM.poll_status(ids("29_0", "33_0")), [HERE / "squeue-no-log-directory.txt"])
    told = {job_id.text: (each.state, each.reason, each.exit_code, each.signal) for job_id, each in found.items()}
    assert told == {
        "29_0": (JobState.FAILED, "JobLaunchFailure", None, None),
        "33_0": (JobState.FAILED, "NonZeroExitCode", 2, None),
    }


def test_a_prolog_that_fails_is_named() -> None:
    """Slurm gives no reason for a job that was cancelled as it started."""
    [status] = drive(SLURM.poll_status(ids("46_0")), [HERE / "squeue-prolog-fails.txt"]).values()
    assert status.state is JobState.CANCELLED
    assert "Prolog failed" in status.reason
    assert "sinfo -R" in status.reason


def test_squeue_is_asked_by_array_and_in_full() -> None:
    """No filter of the user's hides a job, no narrow column cuts one, and ten jobs of an array are one id."""
    command = next(SLURM.poll_status(ids(*(f"77_{index}" for index in range(10)), "80")))
    assert command.argv[-2:] == ("-j", "77,80")
    assert {"-t", "all"} <= set(command.argv)
    seen = command_environment({"SQUEUE_PARTITION": "gpu", "SLURM_CONF": "x", "SSH_AUTH_SOCK": "y"}, command)
    assert seen == {
        "SLURM_CONF": "x",
        "SSH_AUTH_SOCK": "y",
        "LC_ALL": "C",
        "SLURM_TIME_FORMAT": "%s",
        "SLURM_BITSTR_LEN": "0",
    }


def test_thousands_of_single_jobs_are_asked_for_by_user() -> None:
    """An argument of the kernel's holds 131,072 characters."""
    command = next(SLURM.poll_status(ids(*(f"{number}_0" for number in range(10_000_000, 10_005_000)))))
    assert command.argv[-1] == "--me"


def test_elements_that_wait_are_listed_together() -> None:
    """102_[1-199:2] is a hundred jobs; squeue -r forgets the last of them."""
    wanted = ids(*(f"102_{index}" for index in range(200)))
    found = drive(SLURM.poll_status(wanted), [HERE / "squeue-folded-step.txt", HERE / "sacct-disabled.txt"])
    assert sorted(found) == sorted(wanted[1::2])


def test_a_list_that_was_cut_is_asked_for_again() -> None:
    """A site that carries commands by ssh may lose the variable that asks for all of it."""
    wanted = ids(*(f"115_{index}" for index in range(60)))
    whole = drive(SLURM.poll_status(wanted), [HERE / "squeue-uncut.txt", HERE / "sacct-disabled.txt"])
    again = [HERE / "squeue-cut.txt", HERE / "squeue-unfolded.txt", HERE / "sacct-disabled.txt"]
    assert drive(SLURM.poll_status(wanted), again) == whole
    assert len(whole) == 41


def test_times_as_people_read_them_are_understood() -> None:
    """Such a site loses SLURM_TIME_FORMAT too."""
    [status] = drive(SLURM.poll_status(ids("98_0")), [HERE / "squeue-standard-times.txt"]).values()
    expected = time.mktime(time.strptime("2026-11-23 23:41:11", "%Y-%m-%d %H:%M:%S"))
    assert (status.started, status.ends) == (expected, expected + 300)


def test_newer_slurms_print_exit_codes_otherwise() -> None:
    """Since 23.02 "3:0" and "0:9", before 768 and 9."""
    row = "97_1|FAILED|{}|n1|1795477270|1795477271|1795477271|NonZeroExitCode|\n"
    told = [drive(SLURM.poll_status(ids("97_1")), [row.format(text)]) for text in ("768", "3:0", "9", "0:9", "0:53")]
    statuses = [found[JobId("97_1")] for found in told]
    assert [(status.exit_code, status.signal) for status in statuses] == [
        (3, None),
        (3, None),
        (None, 9),
        (None, 9),
        (None, None),
    ]


def test_a_shells_128_plus_n_stays_an_exit_code() -> None:
    """Slurm saw an exit, not a signal."""
    found = drive(SLURM.poll_status(ids("1_4")), [HERE / "squeue-accounted.txt"])
    assert (found[JobId("1_4")].exit_code, found[JobId("1_4")].signal) == (137, None)


def test_a_dead_node_is_named() -> None:
    """A job that Slurm requeued after it waits again, under its old id, with a moment when it may start."""
    found = drive(SLURM.poll_status(ids("16_0", "17_0", "18_0")), [HERE / "squeue-node-fail.txt"])
    dead, requeued, shrunk = found.values()
    assert (dead.state, dead.reason, dead.hosts) == (JobState.NODE_FAILED, "NodeDown", ("a2",))
    assert (requeued.state, requeued.expected_start, requeued.started) == (JobState.PENDING, 1795477727.0, None)
    assert (shrunk.state, shrunk.hosts) == (JobState.RUNNING, ("a1",))


def test_what_squeue_forgot_is_looked_up_in_accounting() -> None:
    """Only ends are believed: accounting says PENDING of elements that were cancelled long ago."""
    wanted = ids("1_0", "1_1", "1_2", "1_3", "1_7", "2_0")
    found = drive(SLURM.poll_status(wanted), ["", HERE / "sacct.txt"])
    assert {job_id.text: (status.state, status.exit_code, status.signal) for job_id, status in found.items()} == {
        "1_0": (JobState.COMPLETED, 0, None),
        "1_1": (JobState.FAILED, 3, None),
        "1_2": (JobState.FAILED, None, 9),
        "1_3": (JobState.CANCELLED, None, None),
    }
    assert found[JobId("1_3")].reason == "by 0"
    assert found[JobId("1_0")].hosts == ("a1",)


def test_pending_elements_of_a_cancelled_array_are_cancelled() -> None:
    """squeue lists the array, and none of them; accounting, where there is any, knows better."""
    wanted = ids("103_0", "103_1", "104_0")
    found = drive(SLURM.poll_status(wanted), [HERE / "squeue-all-cancelled.txt", HERE / "sacct-disabled.txt"])
    assert {job_id.text: status.state for job_id, status in found.items()} == {
        "103_0": JobState.CANCELLED,
        "103_1": JobState.CANCELLED,
    }
    ended_well = "103_0|COMPLETED|0:0|a1|2026-11-26T01:00:00|2026-11-26T01:00:00|2026-11-26T01:10:00|None\n"
    found = drive(SLURM.poll_status(wanted), [HERE / "squeue-all-cancelled.txt", ended_well])
    assert [found[job_id].state for job_id in wanted[:2]] == [JobState.COMPLETED, JobState.CANCELLED]


def test_accounting_that_is_away_is_no_error() -> None:
    """It is optional; what squeue said stands."""
    wanted = ids("97_0", "97_9")
    for trouble in (CommandTimedOut, HERE / "sacct-disabled.txt", "Welcome to node17!\n"):
        assert list(drive(SLURM.poll_status(wanted), [HERE / "squeue.txt", trouble])) == ids("97_0")


def test_a_controller_that_is_away_is_an_error() -> None:
    """Not: all jobs are gone."""
    with pytest.raises(CommandFailed, match="Unable to contact slurm controller"):
        drive(SLURM.poll_status(ids("1_0")), [HERE / "squeue-controller-down.txt"])


def test_each_cluster_is_asked_for_its_own() -> None:
    """A job of a federation is asked for where it is, the others here."""
    wanted = [JobId("1_0", where="beta"), JobId("98_0"), JobId("1_3", where="beta")]
    asked: list[tuple[str, ...]] = []

    def answer(command: Command) -> Path:
        asked.append(command.argv)
        return HERE / ("squeue-elsewhere.txt" if "-M" in command.argv else "squeue.txt")

    found = converse(SLURM.poll_status(wanted), answer)
    assert {job_id.text: job_id.where for job_id in found} == {"98_0": "", "1_0": "beta", "1_3": "beta"}
    assert [argv[argv.index("-M") + 1 if "-M" in argv else 0] for argv in asked] == ["squeue", "beta"]


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("PENDING PD REQUEUED RQ CONFIGURING CF REQUEUE_FED RF PENDI", JobState.PENDING),
        ("REQUEUE_HOLD RH SPECIAL_EXIT SE RESV_DEL_HOLD RD SPECIAL_+", JobState.HELD),
        ("RUNNING R COMPLETING CG SIGNALING SI STAGE_OUT SO RESIZING RS RUNN COMPLETI", JobState.RUNNING),
        ("SUSPENDED S STOPPED ST SUSPEND+", JobState.SUSPENDED),
        ("COMPLETED CD COMPLETE", JobState.COMPLETED),
        ("FAILED F LAUNCH_FAILED FAIL", JobState.FAILED),
        ("TIMEOUT TO DEADLINE DL TIMEO+", JobState.TIMEOUT),
        ("OUT_OF_MEMORY OOM OUT_OF_ME+ OUT_OF_MEM", JobState.OUT_OF_MEMORY),
        ("PREEMPTED PR PREEMPTE", JobState.PREEMPTED),
        ("NODE_FAIL NF BOOT_FAIL BF NODE_FAI", JobState.NODE_FAILED),
        ("CANCELLED CA CANCELLED+ CANCELLE", JobState.CANCELLED),
        ("REVOKED RV MOLTING ? COMPLET REQUEUE X", JobState.UNKNOWN),
    ],
)
def test_state_words_come_long_short_and_cut(words: str, state: JobState) -> None:
    """All of squeue's, and those that a narrow column leaves; what could be two is UNKNOWN."""
    assert {word: answers.job_state(word) for word in words.split()} == dict.fromkeys(words.split(), state)


@pytest.mark.parametrize("reason", ["JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue", "launch failed requeued held"])
def test_a_hold_is_told_from_a_wait(reason: str) -> None:
    """Nothing but a person lets a held job go."""
    row = f"1_0|PENDING|0||1795477270|N/A|N/A|{reason}|\n"
    assert drive(SLURM.poll_status(ids("1_0")), [row])[JobId("1_0")].state is JobState.HELD


@pytest.mark.parametrize(
    ("nodelist", "names"),
    [
        ("", ()),
        ("None assigned", ()),
        ("n1", ("n1",)),
        ("n[1,3]", ("n1", "n3")),
        ("n[08-11],g1,m[2]x", ("n08", "n09", "n10", "n11", "g1", "m2x")),
        ("r[1-2]n[09-10]", ("r1n09", "r1n10", "r2n09", "r2n10")),
    ],
)
def test_node_lists_are_written_out(nodelist: str, names: tuple[str, ...]) -> None:
    """Slurm folds them, zeros and several brackets included."""
    assert answers.host_names(nodelist) == names


# --- cancel -----------------------------------------------------------------------------------------------------


def test_a_thousand_jobs_are_one_word() -> None:
    """scancel is asked once, for ranges; each cluster for its own."""
    wanted = ids(*(f"77_{index}" for index in (*range(1000), 1002)), "80_3", "81")
    assert next(SLURM.cancel(wanted)).argv == ("scancel", "77_[0-999,1002]", "80_[3]", "81")
    assert next(SLURM.cancel([JobId("5_0", where="beta")])).argv == ("scancel", "-M", "beta", "5_[0]")


def test_no_filter_of_the_users_spares_a_job() -> None:
    """SCANCEL_STATE=PENDING would leave the running ones."""
    command = next(SLURM.cancel(ids("1_0")))
    assert "SCANCEL_STATE" not in command_environment({"SCANCEL_STATE": "PENDING"}, command)


@pytest.mark.parametrize(
    "complaint",
    [
        "scancel: error: Kill job error on job id 88888: Invalid job id specified\n",
        "scancel: error: Kill job error on job id 77_1: Job/step already completing or completed\n",
    ],
)
def test_a_job_that_is_gone_is_cancelled(complaint: str) -> None:
    """Newer Slurms say so with an exit code."""
    drive(SLURM.cancel(ids("1_0", "1_1")), [refused(complaint * 2)])


@pytest.mark.parametrize(
    "complaint",
    [
        "",
        "scancel: error: Kill job error on job id 1_0: Access/permission denied\n",
        "scancel: error: Kill job error on job id 1_0: Invalid job id specified\n"
        "scancel: error: Kill job error on job id 1_1: Socket timed out on send/recv operation\n",
    ],
)
def test_a_job_that_may_live_is_not(complaint: str) -> None:
    """One job that is gone does not excuse another."""
    with pytest.raises(CommandFailed):
        drive(SLURM.cancel(ids("1_0", "1_1")), [refused(complaint)])


# --- find, describe, explain, detect ----------------------------------------------------------------------------


def test_only_living_jobs_of_that_very_name_are_found() -> None:
    """Whatever characters it has; folded elements are found one by one."""
    assert drive(Slurm().find_jobs("held"), [HERE / "squeue-names.txt"]) == ids(
        *(f"99_{i}" for i in (0, 1, 2, 3, 5, 6, 7, 8, 9))
    )
    rows = "1_0|RUNNING|a|b|\n2_0|RUNNING|a|\n3_0|COMPLETED|a|b|\n4_[0-1]|PENDING|a|b|\n"
    assert drive(Slurm().find_jobs("a|b"), [rows]) == ids("1_0", "4_0", "4_1")


def test_partitions_are_described() -> None:
    """Kinds of nodes are added up; the largest says what a job may ask for."""
    gigabytes = 100_000 * 2**20
    queues = drive(SLURM.describe_queues(), [HERE / "sinfo.txt", ""])
    down = transcript(HERE / "sinfo.txt").stdout.replace("short|up", "short|down")
    assert [queue.starts_jobs for queue in drive(SLURM.describe_queues(), [down, ""])] == [True, False, True, True]
    assert queues[0] == Queue(name="batch", is_default=True, cores=64, memory=gigabytes, gpus=0, nodes=3, free_nodes=0)
    assert (queues[1].name, queues[1].max_walltime, queues[1].is_default) == ("short", 600, False)
    assert (queues[3].gpus, queues[3].free_nodes) == (4, 1)
    mixed = (
        "fat|drain|1-00:00:00|1/2/0/3|64|100000+|gpu:a100:4(S:0-1),tmp:9\nfat|drain|1-00:00:00|0/1/1/2|128|9|(null)\n"
    )
    assert drive(SLURM.describe_queues(), [mixed, refused("slurm_load_partitions error: Access denied")]) == [
        Queue(
            name="fat",
            accepts_jobs=False,
            max_walltime=86400,
            cores=128,
            memory=gigabytes,
            gpus=4,
            nodes=5,
            free_nodes=3,
        )
    ]


def test_a_partition_limits_its_jobs_and_who_may_use_it() -> None:
    """Which sinfo does not say."""
    said = (HERE / "scontrol-partition.txt").read_text()
    said = said.replace("MinNodes=0", "MinNodes=2", 1).replace("MaxNodes=UNLIMITED", "MaxNodes=4", 1)
    said = said.replace("MaxCPUsPerNode=UNLIMITED", "MaxCPUsPerNode=60", 1)
    said = said.replace("MaxMemPerNode=UNLIMITED", "MaxMemPerNode=90000", 1)
    said = said.replace("Default=YES", "AllowAccounts=climate,ocean Default=YES")
    said = said.replace("Default=NO", "AllowAccounts=ALL Default=NO").replace("ReqResv=NO", "ReqResv=YES")
    batch, short, *_ = drive(SLURM.describe_queues(), [HERE / "sinfo.txt", said])
    assert (batch.min_nodes, batch.max_nodes, batch.cores, batch.memory) == (2, 4, 60, 90_000 * 2**20)
    assert (batch.accounts, short.accounts) == (("climate", "ocean"), ())
    assert (short.min_nodes, short.max_nodes, short.cores) == (None, None, 64)
    assert not batch.accepts_jobs, "without a reservation"


@pytest.mark.parametrize(
    ("file", "explanation"),
    [
        ("pending-held", "it is held: 'scontrol release' releases it (JobHeldUser)"),
        (
            "pending-time-limit",
            "it will never start: its walltime is longer than the partition allows; ask for less (PartitionTimeLimit)",
        ),
        (
            "pending-resources",
            "it is next, and waits for nodes to become free (Resources); "
            "Slurm expects to start it at 2026-11-23 23:46:11",
        ),
        (
            "pending-assoc",
            "a limit of the account on what may run at once or be used in all is reached (AssocMaxJobsLimit)",
        ),
    ],
)
def test_a_wait_is_explained(file: str, explanation: str) -> None:
    """In words of a person who never read squeue(1), with Slurm's own behind them."""
    more = [""] if file == "pending-node-limit" else []  # which nodes and partitions is asked as well
    assert drive(SLURM.explain_pending(JobId("1_0")), [HERE / f"{file}.txt", *more]) == explanation


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("QOSMaxCpuPerUserLimit", "limit of the QOS"),
        ("QOSGrpMemLimit", "limit of the QOS"),
        ("AssocGrpCPUMinutesLimit", "limit of the account"),
        ("MaxGRESPerAccount", "limit of the account"),
        ("QOSMaxWallDurationPerJobLimit", "never start: its walltime is longer than one job may have here"),
        ("QOSMinCpuNotSatisfied", "never start: one job must ask for more here"),
        ("MinNewWord", "never start: one job may not ask for this much or this little"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "down, drained or reserved"),
        ("Reservation", "reservation to begin"),
        ("NewWord", "does not say more"),
    ],
)
def test_reasons_have_a_meaning(reason: str, words: str) -> None:
    """The common ones, and whole families of limits."""
    # Of limits, the job and its account are asked as well; here there is no answer.
    more = [""] if words.startswith("limit of") else []
    assert words in drive(SLURM.explain_pending(JobId("1_0")), [f"PENDING|N/A|{reason}|\n", *more])


@pytest.mark.parametrize("answer", ["RUNNING|2026-11-23T23:41:11|None|\n", "", HERE / "squeue-unknown.txt"])
def test_a_job_that_does_not_wait_is_not_explained(answer: str | Path) -> None:
    """It runs, or is gone."""
    assert drive(SLURM.explain_pending(JobId("1_0")), [answer]) == ""


def test_only_slurms_own_sbatch_is_slurm() -> None:
    """Other systems have one for those who are used to it."""
    assert drive(SLURM.detect(), ["flux wrapper 0.8\n"]) is None
    found = drive(SLURM.detect(), ["slurm 23.11.10\n"])
    assert found is not None
    assert found.version == "23.11.10"


# --- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        (
            "sbatch-memory",
            FailureKind.FATAL,
            "Memory specification can not be satisfied; Requested node configuration is not available",
        ),
        (
            "sbatch-limit-assoc",
            FailureKind.LIMIT,
            "AssocMaxSubmitJobLimit; Job violates accounting/QOS policy "
            "(job submit limit, user's size and/or time limits)",
        ),
        (
            "sbatch-wall-deny",
            FailureKind.FATAL,
            "QOSMaxWallDurationPerJobLimit; Job violates accounting/QOS policy "
            "(job submit limit, user's size and/or time limits); "
            "its walltime is longer than one job may have here: ask for less with walltime=",
        ),
        (
            "sbatch-deny-user",
            FailureKind.FATAL,
            "QOSMaxCpuPerUserLimit; Job violates accounting/QOS policy "
            "(job submit limit, user's size and/or time limits); "
            "this job alone asks for more than several may have together: ask for less with cores=",
        ),
        (
            "sbatch-controller-down",
            FailureKind.TRANSIENT,
            "Unable to contact slurm controller (connect failure)",
        ),
        ("sbatch-dependency", FailureKind.FATAL, "Job dependency problem"),
        (
            "sbatch-crlf",
            FailureKind.FATAL,
            "Batch script contains DOS line breaks (\\r\\n); instead of expected UNIX line breaks (\\n)",
        ),
        (
            "sbatch-lua-refuses",
            FailureKind.FATAL,
            "Welcome. Your project has 100 core-hours left; Jobs named bad are not allowed here: ask the help desk",
        ),
        (
            "sbatch-lua-refuses-account",
            FailureKind.FATAL,
            "Welcome. Your project has 100 core-hours left; no account given; "
            "Invalid account or account/partition combination specified",
        ),
        (
            "sbatch-option",
            FailureKind.FATAL,
            "unrecognized option '--nosuch'; Try \"sbatch --help\" for more information",
        ),
    ],
)
def test_a_failure_is_one_sentence(file: str, kind: FailureKind, message: str) -> None:
    """Slurm's own words, less what repeats the command."""
    assert SLURM.classify_failure(transcript(HERE / f"{file}.txt")) == Failure(kind=kind, message=message)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", FailureKind.TRANSIENT),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", FailureKind.TRANSIENT),
        ("squeue: error: Rate limit exceeded, please retry momentarily", FailureKind.TRANSIENT),
        ("sbatch: error: Batch job submission failed: MaxJobCount limit reached", FailureKind.LIMIT),
        ("sbatch: error: QOSGrpSubmitJobsLimit", FailureKind.LIMIT),
        ("sbatch: error: AssocGrpSubmitJobsLimit", FailureKind.LIMIT),
        ("sbatch: error: MaxSubmitJobsPerAccount", FailureKind.LIMIT),
        (
            "sbatch: error: AssocMaxCpuPerJobLimit\n" + "Job violates accounting/QOS policy (job submit limit",
            FailureKind.FATAL,
        ),
        ("the dog ate it", None),
    ],
)
def test_failures_are_told_apart(said: str, kind: FailureKind | None) -> None:
    """Try again, wait for room, or tell the user."""
    failure = SLURM.classify_failure(refused(said))
    assert (failure and failure.kind) == kind


# --- inside a job -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "cores"), [("7,1", 1), ("1,7(x3)", 1), ("8(x2)", 8), ("4(x12),16", 4), ("", 8), ("garbage", 8)]
)
def test_nodes_with_unequal_cpus_give_what_the_smallest_has(counts: str, cores: int) -> None:
    """With more, srun waits for ever: "Job step may never run"."""
    environ = environment(HERE / "environment-gpus.txt")
    environ |= {"SLURM_JOB_CPUS_PER_NODE": counts, "SLURM_CPUS_ON_NODE": "8"}
    allocation = drive(SLURM.read_allocation(environ))
    assert allocation is not None
    assert allocation.cores == cores


def test_the_node_that_asks_comes_first() -> None:
    """A launcher may run on any of them."""
    environ = environment(HERE / "environment.txt") | {"SLURMD_NODENAME": "n2"}
    allocation = drive(SLURM.read_allocation(environ), [HERE / "hostnames.txt"])
    assert allocation is not None
    assert allocation.hosts == ("n2", "n1")


def test_newer_slurms_say_when_the_job_ends() -> None:
    """SLURM_JOB_END_TIME is not there in 22.05; the core then adds the walltime to the start."""
    environ = environment(HERE / "environment-gpus.txt")
    before = drive(SLURM.read_allocation(environ))
    after = drive(SLURM.read_allocation(environ | {"SLURM_JOB_END_TIME": "1795480000"}))
    assert before is not None
    assert before.ends is None
    assert after == evolve(before, ends=1795480000)


NO_GPU = dict.fromkeys(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "SLURM_JOB_GPUS"), "")


@pytest.mark.parametrize(
    ("changes", "memory", "gpus"),
    [
        ({"SLURM_MEM_PER_NODE": "0"}, None, ("0", "1")),
        (
            {"SLURM_MEM_PER_NODE": "", "SLURM_MEM_PER_CPU": "30", "SLURM_JOB_CPUS_PER_NODE": "4"},
            120 * 2**20,
            ("0", "1"),
        ),
        ({**NO_GPU, "CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 10 * 2**20, ()),
        ({**NO_GPU, "SLURM_JOB_GPUS": "2,3"}, 10 * 2**20, ("2", "3")),
        ({"CUDA_VISIBLE_DEVICES": "4", "SLURM_JOB_GPUS": "4", "SLURM_SHARDS_ON_NODE": "2"}, 10 * 2**20, ("4",)),
        ({"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}, 10 * 2**20, ("MIG-a", "MIG-b")),
    ],
)
def test_what_slurm_granted(changes: dict[str, str], memory: int | None, gpus: tuple[str, ...]) -> None:
    """Memory per node or per core, 0 for an unknown whole; GPUs as CUDA sees them."""
    allocation = drive(SLURM.read_allocation(environment(HERE / "environment-gpus.txt") | changes))
    assert allocation is not None
    assert (allocation.memory, allocation.gpus.names) == (memory, gpus)


def test_no_job_has_no_allocation() -> None:
    """A login node has SLURM_CONF, and no job."""
    assert drive(SLURM.read_allocation({"SLURM_CONF": "/etc/slurm.conf"})) is None


def test_a_job_that_is_no_array_is_read_too() -> None:
    """Batch mode runs in whatever the user submitted."""
    allocation = drive(SLURM.read_allocation({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1"}))
    assert allocation == Allocation(job_id=JobId("7"), hosts=["n1"])


def test_hosts_that_are_none_are_refused() -> None:
    """The launcher would start nothing, silently."""
    environ = environment(HERE / "environment.txt")
    for answer in ("", "Welcome to node17!\n"):
        with pytest.raises(ParseError):
            drive(SLURM.read_allocation(environ), [answer])


def test_srun_starts_one_process_a_node() -> None:
    """With all cores of the job, and no way for one node to end the others."""
    [argv] = SLURM.launch_command(Allocation(job_id=JobId("1_0"), hosts=["n1", "n2"], cores=4), ["echo", "a b"])
    assert argv[0] == "srun"
    assert argv[-2:] == ["echo", "a b"]
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=4"} <= set(argv)
    assert {"--kill-on-bad-exit=0", "--no-kill", "--wait=0", "--export=ALL"} <= set(argv)


# --- an older squeue ----------------------------------------------------------------------------------------------

NO_FORMAT = Completed(returncode=1, stderr="squeue: invalid option -- 'O'\nTry \"squeue --help\"\n")
NO_ME = Completed(returncode=1, stderr="squeue: unrecognized option '--me'\nTry \"squeue --help\"\n")
OLDER = "77_0|RUNNING||n1||2026-11-23T23:41:11|N/A|None|\n77_1|PENDING|||||N/A|PartitionTimeLimit|\n"


def test_a_squeue_without_its_newer_formats_is_asked_in_the_older_one_ever_after() -> None:
    """The refusal is remembered: one command more, once."""
    slurm, asked = Slurm(), []
    wanted = ids("77_0", "77_1")

    def answer(command: Command) -> Answer:
        asked.append(command.argv)
        return NO_FORMAT if "-O" in command.argv else OLDER

    for _ in range(2):
        found = converse(slurm.poll_status(wanted), answer)
        assert [status.state for status in found.values()] == [JobState.RUNNING, JobState.PENDING]
        assert found[wanted[0]].hosts == ("n1",)
    assert ["-O" in argv for argv in asked] == [True, False, False]
    assert asked[-1][asked[-1].index("-o") + 1] == "%i|%T||%N||%S|%e|%r|%P|"


def test_a_squeue_without_me_is_asked_for_the_user() -> None:
    """--me is of 20.02."""
    slurm, asked = Slurm(), []

    def answer(command: Command) -> Answer:
        asked.append(command.argv)
        if command.argv[0] == "id":
            return "mary\n"
        return NO_ME if "--me" in command.argv else "77_0|RUNNING|dask-1|\n"

    for _ in range(2):
        assert converse(slurm.find_jobs("dask-1"), answer) == ids("77_0")
    assert ("-u", "mary") == tuple(asked[-1][asked[-1].index("-u") :][:2])
    assert sum("--me" in argv for argv in asked) == 1


def test_what_squeue_refuses_for_other_reasons_is_raised() -> None:
    """And not tried again in other words."""
    refused = Completed(returncode=1, stderr="squeue: error: Unable to contact slurm controller (connect failure)\n")
    with pytest.raises(CommandFailed, match="Unable to contact"):
        drive(Slurm().poll_status(ids("77_0")), [refused])


# --- jobs that never start ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "argument"),
    [
        ("PartitionTimeLimit", "walltime="),
        ("QOSMaxWallDurationPerJobLimit", "walltime="),
        ("AssocMaxWallDurationPerJobLimit", "walltime="),
        ("AssocMaxCpuMinutesPerJobLimit", "walltime="),
        ("QOSMaxCpuPerJobLimit", "cores="),
        ("QOSMaxCpuPerNode", "cores="),
        ("AssocMaxNodePerJobLimit", "nodes="),
        ("QOSMaxMemoryPerJob", "memory="),
        ("MaxMemPerLimit", "memory="),
        ("QOSMaxGRESPerJob", "gpus="),
        ("QOSMinCpuNotSatisfied", "cores="),
        ("BadConstraints", "extra_directives="),
        ("InvalidAccount", "account="),
        ("InvalidQOS", "--qos="),
        ("Job's account not known, so it can't use this partition (project allows climate)", "account="),
        ("Job's QOS not permitted to use this partition (project allows long not normal)", "--qos="),
    ],
)
def test_reasons_that_waiting_cannot_cure_name_the_argument(reason: str, argument: str) -> None:
    """squeue(1), JOB REASON CODES; from src/common/slurm_protocol_defs.c."""
    table = f"77_0|PENDING|0||1795477270|N/A|N/A|{reason}|\n"
    [status] = drive(SLURM.poll_status(ids("77_0")), [table]).values()
    assert argument in status.hopeless


@pytest.mark.parametrize(
    "reason",
    [
        "Resources", "Priority", "None", "AssocGrpCpuLimit", "QOSGrpNodeLimit", "QOSMaxCpuPerUserLimit",
        "QOSMaxJobsPerUserLimit", "AssocGrpCPUMinutesLimit", "PartitionNodeLimit", "ReqNodeNotAvail", "BeginTime",
        "MaxCpuPerAccount", "JobHeldUser",
    ],
)  # fmt: skip
def test_reasons_that_may_pass_are_none_of_them(reason: str) -> None:
    """Others' jobs end, nodes come back, budgets are renewed."""
    table = f"77_0|PENDING|0||1795477270|N/A|N/A|{reason}|\n"
    [status] = drive(SLURM.poll_status(ids("77_0")), [table]).values()
    assert not status.hopeless


#: What each job asked for, of a real Slurm with slurmdbd: account lab may have 4 cores together, account mins 10
#: core-minutes, and the QOS are called by what they limit.
ROWS = {
    "lab": "user|lab|normal|batch|cpu={0},mem=10M,node=1,billing={0}|UNLIMITED|1|\n",
    "mins": "user|mins|normal|batch|cpu={0},mem=10M,node=1,billing={0}|1:00:00|1|\n",
    "grp": "user|plenty|grp|batch|cpu={0},mem=10M,node=1,billing={0}|UNLIMITED|1|\n",
    "grp nodes": "user|plenty|grp|batch|cpu=3,mem=30M,node={0},billing=3|UNLIMITED|{0}|\n",
    "grpmem": "user|plenty|grpmem|batch|cpu=1,mem={0},node=1,billing=1|UNLIMITED|1|\n",
    "grpgpu": "user|plenty|grpgpu|gpu|cpu=1,mem=10M,node=1,billing=1,gres/gpu={0}|UNLIMITED|1|\n",
    "peruser": "user|plenty|peruser|batch|cpu={0},mem=10M,node=1,billing={0}|UNLIMITED|1|\n",
    "peracct": "user|plenty|peracct|batch|cpu={0},mem=10M,node=1,billing={0}|UNLIMITED|1|\n",
    "qlim": "user|plenty|normal|qlim|cpu={0},mem=10M,node=1,billing={0}|UNLIMITED|1|\n",
    "both": "user|plenty|grpmem|qlim,batch|cpu={0},mem=10M,node=1,billing={0}|UNLIMITED|1|\n",
    "of nobody": "nobody|lost|lost|lost|cpu={0},mem=10M,node=1,billing={0}|UNLIMITED|1|\n",
}


def explained(reason: str, kind: str, amount: str) -> str:
    """Why such a job waits."""
    answers = [f"PENDING|N/A|{reason}|batch|\n", ROWS[kind].format(amount)]
    files = [HERE / "scontrol-partition.txt", HERE / "scontrol-assoc.txt"]
    return drive(SLURM.explain_pending(JobId("77_0")), [*answers, *files])


@pytest.mark.parametrize(
    ("reason", "kind", "amount", "words"),
    [
        ("AssocGrpCpuLimit", "lab", "8", "8 cores, and all jobs of account lab together may have 4; see cores="),
        ("AssocGrpCPULimit", "lab", "8", "see cores="),
        ("QOSGrpCpuLimit", "grp", "8", "all jobs of QOS grp together may have 4; see cores="),
        ("QOSGrpNodeLimit", "grp nodes", "3", "3 nodes, and all jobs of QOS grp together may have 2; see nodes="),
        ("QOSGrpMemLimit", "grpmem", "2000M", "2000 MB of memory, and all jobs of QOS grpmem together may have 1000"),
        ("QOSGrpGRES", "grpgpu", "2", "2 GPUs, and all jobs of QOS grpgpu together may have 1; see gpus="),
        ("QOSMaxGRESPerUser", "grpgpu", "3", "all of one user's jobs in QOS grpgpu together may have 2; see gpus="),
        ("QOSMaxCpuPerUserLimit", "peruser", "8", "all of one user's jobs in QOS peruser together may have 4"),
        (
            "MaxCpuPerAccount",
            "peracct",
            "8",
            "one account's jobs in QOS peracct together may have 4; see cores=",
        ),
        ("QOSMaxCpuPerUserLimit", "qlim", "8", "in QOS percpu together may have 4; see cores="),
        ("AssocGrpCPUMinutesLimit", "mins", "8", "480 core-minutes, and all jobs of account mins together may use 10"),
    ],
)
def test_a_job_that_asks_for_more_than_all_together_may_have_never_starts(
    reason: str, kind: str, amount: str, words: str
) -> None:
    """The same reason is said while others use what there is: the limit itself tells them apart."""
    told = explained(reason, kind, amount)
    assert told.startswith("it will never start: it ")
    assert words in told
    assert told.endswith(f" ({reason})")


@pytest.mark.parametrize(
    ("reason", "kind", "amount"),
    [
        ("AssocGrpCpuLimit", "lab", "3"),
        ("QOSGrpMemLimit", "grpmem", "1000M"),
        ("QOSGrpGRES", "grpgpu", "1"),
        ("QOSMaxCpuPerUserLimit", "peruser", "4"),
        ("QOSMaxCpuPerUserLimit", "both", "8"),
        ("MaxCpuPerAccount", "peracct", "1"),
        ("AssocGrpCPUMinutesLimit", "mins", "0"),
        ("QOSGrpCpuLimit", "lab", "8"),
        ("AssocGrpCpuLimit", "of nobody", "8"),
    ],
)
def test_a_limit_that_others_use_up_will_be_free_again(reason: str, kind: str, amount: str) -> None:
    """Or it is another's; or there is another partition."""
    assert "never" not in explained(reason, kind, amount)


def test_the_limit_of_another_user_in_the_account_is_none_of_mine() -> None:
    """And one of an account above is."""
    limits = (HERE / "scontrol-assoc.txt").read_text()
    theirs = "ClusterName=corral Account=plenty UserName=other(7) Partition= Priority=0 ID=9\n    GrpTRES=cpu=2(0)\n"
    answers: list[Answer] = [
        "PENDING|N/A|AssocGrpCpuLimit|batch|\n",
        ROWS["peruser"].format(4),
        HERE / "scontrol-partition.txt",
    ]
    assert "never" not in drive(SLURM.explain_pending(JobId("77_0")), [*answers, theirs + limits])
    elsewhere = theirs.replace("UserName=other(7) Partition=", "UserName=user(0) Partition=gpu")
    assert "never" not in drive(SLURM.explain_pending(JobId("77_0")), [*answers, elsewhere + limits])
    above = limits.replace("GrpTRES=cpu=N", "GrpTRES=cpu=2", 1)
    assert "account root together may have 2" in drive(SLURM.explain_pending(JobId("77_0")), [*answers, above])


def test_the_limit_of_another_partition_is_none_of_mine() -> None:
    """Its QOS may allow more, which helps no job that does not ask for that partition."""
    limits = (HERE / "scontrol-assoc.txt").read_text()
    more = re.sub(r"(QOS=percpu\(.*?MaxTRESPU=cpu=)4", r"\g<1>64", limits, count=1, flags=re.DOTALL)
    assert more != limits
    answers: list[Answer] = [
        "PENDING|N/A|QOSMaxCpuPerUserLimit|batch|\n",
        ROWS["peruser"].format(8),
        HERE / "scontrol-partition.txt",
    ]
    assert "QOS peruser together may have 4" in drive(SLURM.explain_pending(JobId("77_0")), [*answers, more])
    # Of two that are the job's, Slurm heeds one.
    answers[1] = ROWS["qlim"].format(8).replace("|normal|", "|peruser|")
    assert "never" not in drive(SLURM.explain_pending(JobId("77_0")), [*answers, more])


def test_minutes_are_counted_of_what_is_limited() -> None:
    """GPUs for so long are not cores for so long."""
    limits = "QOS=grpgpu(9)\n    GrpTRESMins=cpu=N(0),gres/gpu=60(0)\n"
    row = "user|plenty|grpgpu|gpu|cpu=1,mem=10M,node=1,billing=1,gres/gpu=2|1:00:00|1|\n"
    answers: list[Answer] = ["PENDING|N/A|QOSGrpGRESMinutes|gpu|\n", row, HERE / "scontrol-partition.txt", limits]
    told = drive(SLURM.explain_pending(JobId("77_0")), answers)
    assert "120 GPU-minutes, and all jobs of QOS grpgpu together may use 60; see gpus= and walltime=" in told


def test_limits_are_asked_of_the_job_s_own_cluster() -> None:
    """Another one of the federation may have a partition of the same name, and fewer nodes."""
    row = "user|plenty|normal|batch|cpu=3,mem=30M,node=9|UNLIMITED|9|\n"
    table = (HERE / "scontrol-partition.txt").read_text()
    there = {"squeue -M gpu": row, "scontrol -M gpu": table.replace("TotalNodes=3", "TotalNodes=12"), "scontrol": table}
    first = iter(["PENDING|N/A|PartitionNodeLimit|batch|\n"])

    def answer(command: Command) -> Answer:
        return next(first, "") or there[" ".join(command.argv[: 3 if "-M" in command.argv else 1])]

    assert "never" not in converse(SLURM.explain_pending(JobId("77_0", where="gpu")), answer)


def test_a_refusal_for_a_budget_is_not_one_for_a_job_s_size() -> None:
    """It may be used up."""
    refused = transcript(HERE / "sbatch-deny-user.txt")
    said = (refused.stdout + refused.stderr).replace("QOSMaxCpuPerUserLimit", "QOSGrpCPUMinutesLimit")
    failure = answers.failure(Completed(returncode=1, stderr=said))
    assert failure is not None
    assert failure.kind is FailureKind.LIMIT
    assert failure.message.startswith("QOSGrpCPUMinutesLimit; ")
    assert "this job alone" not in failure.message


def test_a_budget_that_is_used_up_may_be_renewed() -> None:
    """Then the same word says nothing of this job's size."""
    limits = re.sub(r"Mins=cpu=10\(\d+\)", "Mins=cpu=10(10)", (HERE / "scontrol-assoc.txt").read_text())
    answers: list[Answer] = [
        "PENDING|N/A|AssocGrpCPUMinutesLimit|batch|\n",
        ROWS["mins"].format(8),
        HERE / "scontrol-partition.txt",
    ]
    assert "never" not in drive(SLURM.explain_pending(JobId("77_0")), [*answers, limits])


def test_where_limits_may_not_be_seen_nothing_is_concluded() -> None:
    """PrivateData, or no accounting at all."""
    refused = Completed(returncode=1, stderr="Access/permission denied\n")
    answers = ["PENDING|N/A|AssocGrpCpuLimit|batch|\n", ROWS["lab"].format(8)]
    told = drive(SLURM.explain_pending(JobId("77_0")), [*answers, HERE / "scontrol-partition.txt", refused])
    assert "never" not in told
    told = drive(SLURM.explain_pending(JobId("77_0")), [answers[0], ""])
    assert "never" not in told


PARTITION = "PartitionName=short MaxNodes={most} MinNodes={fewest} State=UP TotalCPUs=192 TotalNodes=3 DefMem=1\n"


@pytest.mark.parametrize(
    ("nodes", "fewest", "most", "words"),
    [
        ("9", 0, "UNLIMITED", "it will never start: it asks for 9 nodes, and partition short has 3; see nodes="),
        ("3", 0, "2", "it asks for 3 nodes, and partition short gives a job 2 at most"),
        ("1", 2, "UNLIMITED", "it asks for 1 node, and partition short gives a job 2 at least"),
        ("3", 0, "UNLIMITED", ""),
        ("N/A", 0, "UNLIMITED", ""),
    ],
)
def test_more_nodes_than_a_partition_has_never_come(nodes: str, fewest: int, most: str, words: str) -> None:
    """Slurm gives the same reason for nodes that are down at present."""
    row = f"user|plenty|normal|short|cpu=3,mem=30M,node=3|UNLIMITED|{nodes}|\n"
    answers: list[Answer] = ["PENDING|N/A|PartitionNodeLimit|short|\n", row, PARTITION.format(fewest=fewest, most=most)]
    told = drive(SLURM.explain_pending(JobId("1_0")), answers)
    assert words in told
    assert ("never" in told) == bool(words)


@pytest.mark.parametrize(
    ("partition", "nodes", "words"),
    [
        ("nodeny", 3, "partition nodeny gives a job 2 at most; see nodes= and queue="),
        ("nodeny", 2, ""),
        ("nodeny,batch", 3, ""),
        ("batch", 3, ""),
        ("gone", 3, ""),
    ],
)
def test_more_nodes_than_a_partition_gives_to_one_job(partition: str, nodes: int, words: str) -> None:
    """The same reason stands for nodes that are down."""
    row = f"user|plenty|normal|{partition}|cpu=3,mem=30M,node={nodes}|UNLIMITED|{nodes}|\n"
    answers: list[Answer] = [f"PENDING|N/A|PartitionNodeLimit|{partition}|\n", row, HERE / "scontrol-partition.txt"]
    told = drive(SLURM.explain_pending(JobId("77_0")), answers)
    assert told.startswith("it will never start") == bool(words)
    assert words in told


def test_what_one_of_several_partitions_does_not_allow_is_not_hopeless() -> None:
    """squeue says PartitionTimeLimit of `-p batch,short` while batch is full; a real Slurm started such a job."""
    rows = "77_0|PENDING|0||1795477270|N/A|N/A|{}|batch,short|\n"
    [status] = drive(SLURM.poll_status(ids("77_0")), [rows.format("PartitionTimeLimit")]).values()
    assert (status.reason, status.hopeless) == ("PartitionTimeLimit", "")
    [status] = drive(SLURM.poll_status(ids("77_0")), [rows.format("AssocMaxWallDurationPerJobLimit")]).values()
    assert "walltime=" in status.hopeless
    told = drive(SLURM.explain_pending(JobId("77_0")), ["PENDING|N/A|PartitionTimeLimit|batch,short|\n"])
    assert "never" not in told
