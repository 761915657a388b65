"""Flux's commands: what is asked, and what the answers of Flux 0.88 mean."""

from __future__ import annotations

import base64

import pytest
from attrs import evolve

from corral.plugin import (
    Allocation,
    Command,
    CommandFailed,
    Completed,
    Failure,
    FailureKind,
    Gpus,
    Job,
    JobId,
    JobState,
    JobStatus,
    ParseError,
    Queue,
    Resources,
)
from corral.testing import drive, environment, transcript
from corral_flux import Flux
from corral_flux.testing import FluxLaws

HERE = FluxLaws.transcripts
FLUX = Flux()
SCRIPT = FLUX.render_script(Job(name="dask-1", command=["echo", "{x}"]))


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def command_of(job: Job, count: int = 1) -> Command:
    return next(FLUX.submit(FLUX.render_script(FLUX.prepare_job(job)), count))


# --- submit -----------------------------------------------------------------------------------------------------


def test_a_thousand_jobs_are_one_command() -> None:
    """One job is an array of one: braces mean the same in both."""
    assert "--cc=0-999" in next(FLUX.submit(SCRIPT, 5000)).argv
    assert "--cc=0" in next(FLUX.submit(SCRIPT, 1)).argv
    assert "--cc=0-9" in next(Flux(max_array_size=10).submit(SCRIPT, 5000)).argv


def test_the_script_travels_without_braces() -> None:
    """`flux submit --cc` would take them for templates, and has no way to write one."""
    *_, shell, option, line = next(FLUX.submit(SCRIPT, 1)).argv
    assert (shell, option) == ("bash", "-c")
    assert not {"{", "}"} & set(line)
    assert base64.b64decode(line.split()[2]).decode() == SCRIPT.body


def test_the_users_shell_is_the_jobs() -> None:
    """With its options."""
    argv = command_of(Job(name="x", shebang="#!/bin/bash -l")).argv
    assert argv[-4:-1] == ("/bin/bash", "-l", "-c")


def test_several_nodes_are_an_instance() -> None:
    """Flux would start the script on each of them; inside an instance it runs once, and `flux run` reaches the rest."""
    argv = command_of(Job(name="x", resources=Resources(nodes=2))).argv
    assert argv[argv.index("--cc=0") + 1 :][:2] == ("flux", "start")
    assert {"--nodes=2", "--ntasks=2", "--setopt=exit-timeout=none"} <= set(argv)
    assert "start" not in command_of(Job(name="x")).argv
    assert "start" in command_of(Job(name="x", extra_directives=["-N2"])).argv


def test_nothing_of_the_submitters_environment_reaches_the_job() -> None:
    """Flux would pass all of it on; the rules are in the command, so they hold wherever it is carried."""
    argv = command_of(Job(name="x", extra_directives=["--env=MY_LICENCE"])).argv
    rules = [word for word in argv if word.startswith("--env")]
    assert rules[:2] == ["--env-remove=*", "--env=FLUX_F58_FORCE_ASCII=1"]
    assert {"--env=PATH", "--env=HOME"} <= set(rules)
    assert not {"--env=LC_ALL", "--env=*"} & set(rules)
    assert rules[-1] == "--env=MY_LICENCE"


def test_ids_are_plain_wherever_they_were_printed() -> None:
    """In a UTF-8 locale they begin with a florin sign; jobs see the other form."""
    assert drive(FLUX.submit(SCRIPT, 2), ["2 GPUs at most\nƒRwm49JF\nƒS2ZmpH5\n"]) == ids("fRwm49JF", "fS2ZmpH5")


def test_what_was_taken_before_a_limit_is_ours() -> None:
    """`flux submit` goes on after a refusal, prints the ids of the others, and fails."""
    partial = Completed(returncode=1, stdout="fRwm49JF\n", stderr="cc=1: [Errno 22] user has max active jobs\n")
    assert drive(FLUX.submit(SCRIPT, 2), [partial]) == ids("fRwm49JF")


def test_an_answer_without_an_id_is_a_parse_error() -> None:
    """The core looks for the jobs by their name."""
    with pytest.raises(ParseError, match="no id"):
        drive(FLUX.submit(SCRIPT, 1), ["Welcome to node17!\n"])


# --- poll -------------------------------------------------------------------------------------------------------


def test_one_command_tells_all() -> None:
    """States, exit codes, reasons, hosts and times of running, ended and waiting jobs."""
    wanted = ids("f48v9TgjH", "f48vGsd92", "f49tS2RGb", "f4A9LMCZd", "f4AHCyPMq", "f4AMUZKRR")
    assert drive(FLUX.poll_status(wanted), [HERE / "jobs.txt"]) == {
        JobId("f48v9TgjH"): JobStatus(
            state=JobState.COMPLETED,
            native="COMPLETED",
            exit_code=0,
            hosts=["node1"],
            submitted=1795643385.0113657,
            started=1795643385.0547419,
            ends=1795643386.1706681,
        ),
        JobId("f48vGsd92"): JobStatus(
            state=JobState.RUNNING,
            native="RUN",
            hosts=["node2"],
            submitted=1795643385.0168383,
            started=1795643385.0715106,
            ends=1795643985.0497153,
        ),
        JobId("f49tS2RGb"): JobStatus(
            state=JobState.TIMEOUT,
            native="TIMEOUT",
            reason="timeout: resource allocation expired",
            exit_code=142,
            hosts=["node1"],
            submitted=1795643387.2133617,
            started=1795643387.245017,
            ends=1795643388.2508936,
        ),
        JobId("f4A9LMCZd"): JobStatus(
            state=JobState.FAILED,
            native="FAILED",
            reason="alloc: unsatisfiable request: need 1 node(s) with 99 cores each, only 0 eligible; "
            "see cores=, nodes=, gpus= and queue=",
            submitted=1795643387.7965803,
            ends=1795643387.8221617,
        ),
        JobId("f4AHCyPMq"): JobStatus(
            state=JobState.PENDING,
            native="DEPEND",
            reason="after-finish=f4ACtRUjZ",
            submitted=1795643388.1051056,
        ),
        JobId("f4AMUZKRR"): JobStatus(
            state=JobState.PENDING,
            native="SCHED",
            submitted=1795643388.2716749,
            expected_start=1795643985.0497534,
        ),
    }


def test_exit_codes_are_what_flux_says() -> None:
    """128 + n may be a signal or a program's own; what never ran has none, although Flux writes 1 or -128."""
    wanted = ids("f48vCRfHy", "f48vFPdrf", "f48vGsd91", "f49ymsqAf", "f4A4tPMXd", "f4A9LMCZd")
    found = drive(FLUX.poll_status(wanted), [HERE / "jobs.txt"])
    assert [status.exit_code for status in found.values()] == [3, 137, 143, 127, 1, None]
    assert found[JobId("f4A4tPMXd")].reason == "exec: shell_init: No such file or directory"
    row = "fX|INACTIVE|{}|{}|16|1.5|{}|9.5|0.0||node1|{}|||\n"
    never_ran = drive(FLUX.poll_status(ids("fX")), [row.format("CANCELED", -128, 0.0, "cancel")])[JobId("fX")]
    assert (never_ran.state, never_ran.exit_code, never_ran.signal) == (JobState.CANCELLED, None, None)
    killed = drive(FLUX.poll_status(ids("fX")), [row.format("FAILED", -9, 2.5, "")])[JobId("fX")]
    assert (killed.exit_code, killed.signal) == (None, 9)


def test_a_lost_node_is_told_from_a_failed_job() -> None:
    """Flux calls both FAILED."""
    row = "fX|INACTIVE|FAILED|1|16|1.5|2.5|9.5|0.0||node[1-2]|node-failure|||lost contact with job shell on node2\n"
    status = drive(FLUX.poll_status(ids("fX")), [row])[JobId("fX")]
    assert (status.state, status.hosts) == (JobState.NODE_FAILED, ("node1", "node2"))
    assert status.reason == "node-failure: lost contact with job shell on node2"


@pytest.mark.parametrize(
    ("state", "result", "meaning", "native"),
    [
        ("PRIORITY", "", JobState.PENDING, "PRIORITY"),
        ("CLEANUP", "", JobState.RUNNING, "CLEANUP"),
        ("INACTIVE", "MELTED", JobState.UNKNOWN, "MELTED"),
        ("INACTIVE", "", JobState.UNKNOWN, "INACTIVE"),
    ],
)
def test_state_words(state: str, result: str, meaning: JobState, native: str) -> None:
    """Those that pass quickly, and those that nobody knows."""
    row = f"fX|{state}|{result}||16|1.5|0.0|0.0|0.0||||||\n"
    status = drive(FLUX.poll_status(ids("fX")), [row])[JobId("fX")]
    assert (status.state, status.native) == (meaning, native)


def test_a_few_jobs_are_asked_for_by_id_and_many_by_user() -> None:
    """An argument list has its limits, and a user's history of days is long."""
    assert next(FLUX.poll_status(ids("f1", "f2"))).argv[-2:] == ("f1", "f2")
    command = next(FLUX.poll_status(ids(*(f"f{number}" for number in range(5000)))))
    assert command.argv[-3:] == ("-a", "-c", "0")


def test_a_flux_that_is_away_is_an_error() -> None:
    """Not: all jobs are gone."""
    with pytest.raises(CommandFailed, match="Unable to connect"):
        drive(FLUX.poll_status(ids("f123")), [HERE / "jobs-down.txt"])


# --- cancel, find, explain, describe, detect --------------------------------------------------------------------


def test_one_job_that_is_gone_does_not_excuse_another() -> None:
    """An ended job is no error; one that may live is."""
    error = Completed(
        returncode=1,
        stderr="flux-cancel: ERROR: f1: job is inactive\nflux-cancel: ERROR: f2: Operation not permitted\n",
    )
    with pytest.raises(CommandFailed):
        drive(FLUX.cancel(ids("f1", "f2")), [error])


def test_only_living_jobs_of_that_very_name_are_found() -> None:
    """flux jobs lists no ended ones unless it is asked to."""
    assert "-a" not in next(FLUX.find_jobs("x")).argv
    assert drive(FLUX.find_jobs("a|b"), ["f1|a|b\nf2|a\n"]) == ids("f1")
    assert drive(FLUX.find_jobs("a"), [""]) == []


@pytest.mark.parametrize(
    ("file", "explanation"),
    [
        ("held", "it is held: 'flux urgency ID default' releases it"),
        ("depends", "it waits for what it depends on (after-finish=f4ACtRUjZ)"),
        ("resources", "it waits for resources to become free; Flux expects to start it at 2026-11-25 21:59:48"),
        ("running", ""),
    ],
)
def test_a_wait_is_explained(file: str, explanation: str) -> None:
    """In words of a person who never read flux-jobs(1)."""
    assert drive(FLUX.explain_pending(JobId("f1")), [HERE / f"pending-{file}.txt"]) == explanation


def test_a_wait_for_a_priority_is_explained() -> None:
    """flux-accounting may need a while; a scheduler may give a reason."""
    assert "priority" in drive(FLUX.explain_pending(JobId("f1")), ["f1|PRIORITY|16|||\n"])
    assert "(too big)" in drive(FLUX.explain_pending(JobId("f1")), ["f1|SCHED|16|||too big\n"])


def test_queues_are_described() -> None:
    """An instance without named queues has one."""
    assert drive(FLUX.describe_queues(), [HERE / "queues.txt"]) == [
        Queue(name="batch", is_default=True, cores=4, gpus=2, nodes=3, free_nodes=3),
        Queue(name="debug", max_walltime=1800, cores=4, gpus=2, nodes=1, free_nodes=1),
    ]
    mixed = "||disabled|inf|3|13|0|1\n"
    assert drive(FLUX.describe_queues(), [mixed]) == [
        Queue(name="", is_default=True, accepts_jobs=False, gpus=0, nodes=3, free_nodes=1)
    ]


# --- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        ("submit-queue", FailureKind.FATAL, "Invalid queue 'nosuch' specified"),
        ("submit-limit", FailureKind.FATAL, "requested duration (1h) exceeds policy limit of 30m for queue debug"),
        ("submit-option", FailureKind.FATAL, "unrecognized arguments: --nosuch=1"),
        ("submit-disabled", FailureKind.TRANSIENT, "job submission to debug is disabled: maintenance until noon"),
        (
            "submit-down",
            FailureKind.TRANSIENT,
            "Unable to connect to Flux: broker socket /run/flux/gone was not found",
        ),
    ],
)
def test_a_failure_is_one_sentence(file: str, kind: FailureKind, message: str) -> None:
    """Flux's own words, once for all jobs of an array, less what repeats the command."""
    assert FLUX.classify_failure(transcript(HERE / f"{file}.txt")) == Failure(kind=kind, message=message)


def test_a_limit_of_accounting_is_a_limit() -> None:
    """The words of flux-accounting's priority plugin, from its source; there was none to record."""
    failure = FLUX.classify_failure(Completed(returncode=1, stderr="cc=0: [Errno 22] user has max active jobs\n"))
    assert failure == Failure(kind=FailureKind.LIMIT, message="user has max active jobs")


# --- inside a job -----------------------------------------------------------------------------------------------


def test_a_job_is_asked_for_where_it_is_known() -> None:
    """The script of an instance must ask the instance above."""
    plain = next(FLUX.read_allocation(environment(HERE / "environment.txt")))
    assert plain.argv == ("flux", "job", "info", "f48LTU1Jo", "R")
    nodes = next(FLUX.read_allocation(environment(HERE / "environment-nodes.txt")))
    assert nodes.argv == ("flux", "--parent", "job", "info", "f64hj2qAo", "R")
    # Batch mode: a script of the user's own, in any locale.
    assert next(FLUX.read_allocation({"FLUX_JOB_ID": "ƒ2UNt29hR"})).argv[-2:] == ("f2UNt29hR", "R")


def test_a_job_knows_its_end() -> None:
    """None where Flux sets none."""
    environ = environment(HERE / "environment.txt")
    granted = drive(FLUX.read_allocation(environ), [HERE / "resources.txt"])
    gpus = Gpus({"nvidia": ("0",)}, of_node=("0",))
    assert granted == Allocation(
        job_id=JobId("f48LTU1Jo"), hosts=["node2"], cores=2, gpus=gpus, ends=1795643983.7262924
    )
    endless = transcript(HERE / "resources.txt").stdout.replace("1795643983.7262924", "0.0")
    assert drive(FLUX.read_allocation(environ), [endless]) == evolve(granted, ends=None)


def test_gpus_are_named_as_cuda_sees_them() -> None:
    """Flux says -1 where there are none, and the set of resources knows which they are."""
    environ = environment(HERE / "environment.txt")
    two = transcript(HERE / "resources.txt").stdout.replace('"gpu": "0"', '"gpu": "2-3"')
    none = transcript(HERE / "resources.txt").stdout.replace(', "gpu": "0"', "")
    for visible, answer, gpus in [("0,1", two, ("0", "1")), ("-1", two, ("2", "3")), ("-1", none, ())]:
        granted = drive(FLUX.read_allocation(environ | {"CUDA_VISIBLE_DEVICES": visible}), [answer])
        assert granted is not None
        assert granted.gpus.names == gpus


def test_no_job_has_no_allocation() -> None:
    """A shell that reaches an instance is not in a job."""
    assert drive(FLUX.read_allocation({"FLUX_URI": "local:///run/flux/local"})) is None


def test_flux_run_starts_one_process_a_node() -> None:
    """With all of each node, and no way for one node to end the others."""
    [argv] = FLUX.launch_command(Allocation(job_id=JobId("f1"), hosts=["n1", "n2"]), ["echo", "a b"])
    assert argv[:5] == ["flux", "run", "--nodes=2", "--ntasks=2", "--exclusive"]
    assert "--setopt=exit-timeout=none" in argv
    assert argv[-2:] == ["echo", "a b"]
