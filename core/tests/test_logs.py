"""What logs tell about jobs that died, and which logs are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from corral.jobs.logs import examine, hint, of_no_use, tail
from corral.jobs.record import JobRecord, Outcome, StopReason, describe_end
from corral.plugin.values import JobId, JobState, JobStatus


def job(
    state: JobState, *, code: int | None = None, log: Path | None = None, stop_reason: StopReason | None = None
) -> JobRecord:
    status = JobStatus(state=state, exit_code=code, hosts=("n2",))
    return JobRecord(
        id=JobId("41_0"), status=status, log=None if log is None else str(log), ended_at=1.0, stop_reason=stop_reason
    )


def test_a_failure_is_told_with_state_code_host_log_and_cure(tmp_path: Path) -> None:
    """Everything that a person needs, in one message."""
    log = tmp_path / "41_0.log"
    log.write_text("Loading modules\n\n/var/job/script: line 9: /no/such/python: No such file or directory\n")
    [failure] = examine([job(JobState.FAILED, code=127, log=log)])
    assert failure.outcome is Outcome.DIED
    assert str(failure) == (
        "job 41_0: FAILED, exit code 127, on n2, before a worker connected\n"
        f"  last lines of its log ({log}):\n"
        "    Loading modules\n"
        "    /var/job/script: line 9: /no/such/python: No such file or directory\n"
        "  The node has no such Python: name one that is there with python=, or load it with modules= or conda_env=."
    )


#: What a launcher says before it becomes one in a container.
INSIDE = "corral: job 41_0 goes on as: apptainer exec --bind=/home/me /images/a.sif python3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/usr/bin/python3: No module named corral", "corral"),
        ("ModuleNotFoundError: No module named 'numpy'", "lacks a module"),
        ("line 3: module: command not found", "modules="),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("corral: no directory for workers: [Errno 122] Disk quota exceeded: '/home/me/corral-n1-x'", "quota"),
        ("corral: no directory for workers: [Errno 2] No such file or directory: '/nvme'", "local_directory="),
        (
            "corral: no scheduler answered within 10 s; tried tls://10.0.0.1:4000: connection refused",
            "scheduler='job'",
        ),
        ("corral: the cluster has ended: there are no credentials at /home/me/credentials.json", "shared_directory="),
        ("corral: no directory for workers: [Errno 30] Read-only file system: '/scratch/corral-n1-x'", "local_dir"),
        (f"{INSIDE}\n/usr/bin/python3: No module named corral", "install it in the image"),
        (f"{INSIDE}\nModuleNotFoundError: No module named 'distributed'", "install it in the image"),
        (f'{INSIDE}\nFATAL:   "python3": executable file not found in $PATH', "no such Python in the image"),
        (f"{INSIDE}\nFATAL:   stat /opt/python: no such file or directory", "no such Python in the image"),
        (
            "Error: crun: executable file `python3` not found in $PATH: No such file or directory: OCI runtime "
            "attempted to invoke a command that was not found",
            "no such Python in the image",
        ),
        ("ch-run[9]: error: can't execve(2): python3: No such file or directory", "no such Python in the image"),
        ("FATAL:   could not open image /a.sif: failed to retrieve path for /a.sif", "cannot have the image"),
        (
            "FATAL:   While making image from oci registry: while searching for mksquashfs: exec: "
            '"mksquashfs": executable file not found in $PATH',
            "cannot have the image",
        ),
        ("Error: initializing source docker://a:latest: reading manifest: denied", "cannot have the image"),
        ("FAILED to find requested image.", "cannot have the image"),
        ("Unknown option: -P\nusage: python3 [option] ... [-c cmd | -m mod | file | -] [arg] ...", "from 3.11 on"),
        ("everything went well", ""),
    ],
)
def test_the_usual_causes_have_a_hint(text: str, words: str) -> None:
    """From the words that the programs themselves print."""
    said = hint(job(JobState.FAILED, code=1), [text])
    assert words in said
    assert bool(words) == bool(said)


def test_states_have_hints_of_their_own() -> None:
    """Memory, and a walltime that ended too early."""
    assert "memory=" in hint(job(JobState.OUT_OF_MEMORY), [])
    assert "walltime=" in hint(job(JobState.TIMEOUT), [])


def test_a_job_that_ended_without_a_word_was_ended_by_its_script(tmp_path: Path) -> None:
    """By `exit 3` in a prologue, for example; a log that is missing is no evidence of anything."""
    silent = tmp_path / "silent.log"
    silent.touch()
    assert "prologue=" in hint(job(JobState.FAILED, code=3, log=silent), [])
    assert hint(job(JobState.FAILED, code=3, log=tmp_path / "missing.log"), []) == ""


@pytest.mark.parametrize("code", [1, 125, 127, 143])
def test_a_job_that_ended_between_its_script_and_its_container(code: int) -> None:
    """By a signal, or by a runtime with words that nobody knows. What started inside has words of its own."""
    died = job(JobState.FAILED, code=code)
    words = "run the command after 'goes on as:' on a node"
    assert words in hint(died, [INSIDE])
    several = ["corral: job 41_0 on 2 hosts", INSIDE, "srun: error", "corral: job 41_0 has ended on all hosts"]
    assert words in hint(died, several)
    assert words not in hint(died, [INSIDE, "corral: SIGTERM before there was a worker"])
    assert words not in hint(evolve(died, connected_at=0.0), [INSIDE])
    assert words not in hint(died, ["corral: job 41_0 on 2 hosts"])
    assert "memory=" in hint(evolve(died, status=evolve(died.status, exit_code=137)), [INSIDE])


def test_a_job_that_was_killed_is_suspected_of_having_needed_memory() -> None:
    """Where the batch system does not watch memory, the kernel does: by SIGKILL, which the shell calls 137."""
    assert "memory=" in hint(job(JobState.FAILED, code=137), ["corral: job 41_0 on n2: 1 worker connected"])

    assert hint(job(JobState.CANCELLED, code=137), ["slurmstepd: error: *** JOB 41 ON n2 CANCELLED ***"]) == ""


def test_a_job_that_was_warned_and_left_in_time_is_told_as_such() -> None:
    """Its state alone, COMPLETED, would not say why it is gone."""
    preempted = evolve(job(JobState.COMPLETED, code=0), connected_at=0.0, leaving="signal")
    assert describe_end(preempted) == "COMPLETED, exit code 0, on n2, left after a warning signal (preempted?)"


def test_the_tail_of_a_huge_log_is_read_quickly(tmp_path: Path) -> None:
    """Only its end; and a log that is not there is no error."""
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(10**9)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast but one\nthe last \xff\n")
    assert tail(str(log), 2) == ("last but one", "the last \ufffd")
    assert tail(str(tmp_path / "missing")) == ()


def test_logs_of_failed_jobs_are_kept_and_the_others_go() -> None:
    """So do those of jobs that were lost to the machine; one that still runs writes its log."""
    well, failed, running, lost = (Path(f"/logs/{name}.log") for name in ("well", "failed", "running", "lost"))
    records = [
        job(JobState.COMPLETED, log=well, stop_reason=StopReason.CLOSING),
        job(JobState.FAILED, code=1, log=failed),
        evolve(job(JobState.RUNNING, log=running), ended_at=None),
        job(JobState.NODE_FAILED, log=lost),
        job(JobState.COMPLETED),
    ]
    assert of_no_use(records) == ["/logs/well.log", "/logs/lost.log"]
