"""The logs of jobs: their last lines, what they usually mean, and which of them are kept."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Sequence

from corral.host.files import HERE, Files
from corral.jobs.record import JobFailure, JobRecord, Outcome, outcome
from corral.launch.ending import GOES_ON
from corral.plugin.values import JobState

TAIL_LINES = 12
#: With the Python lines that led to a crash in compiled code.
CRASH_LINES = 20
#: The exit code of a shell whose command was killed by SIGKILL.
_KILLED = 128 + signal.SIGKILL

#: What a log or an exit code usually means; the first match counts.
_HINTS: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        # What comes first in a job comes first here: the rest may follow from it.
        (
            r"(corral: module load .* failed|module: (command )?not found|Unable to locate a modulefile|unknown module"
            r"|Lmod has detected the following error)",
            "A module of modules= cannot be loaded on the node: `module avail` there shows which can.",
        ),
        (
            r"(corral: conda activate .* failed|EnvironmentNameNotFound|EnvironmentLocationNotFound|"
            r"Not a conda environment|Could not find conda environment|conda: (command )?not found)",
            "The environment of conda_env= cannot be activated on the node: `conda env list` there shows which can.",
        ),
        # Before what these words mean outside of a container.
        (
            rf"(?s){GOES_ON} .*No module named '?corral",
            "The Python inside does not have corral: install it in the image of container=, in the version that you "
            "have here, or name another Python of the image with python=.",
        ),
        (
            rf"(?s){GOES_ON} .*(ModuleNotFoundError|ImportError|No module named)",
            "The Python inside lacks a module: install it in the image of container=, or name another Python of the "
            "image with python=.",
        ),
        (
            r"(FATAL: +(could not open image|While making image|Unable to handle)|unable to copy from source|"
            r"initializing source|short-name .* did not resolve|FAILED to find requested image)",
            "The node cannot have the image of container=: see its name, and whether the node may fetch it; a file "
            "that nodes share is fetched once.",
        ),
        (
            r"(executable file .*not found|: +stat \S+: no such file|can't execve\(2\): \S+: No such file)",
            "There is no such Python in the image of container=: name one that is there with python=.",
        ),
        (
            r"[Uu]nknown option: -P",
            "The job's Python is too old for corral: name one from 3.11 on with python= or conda_env=, or another "
            "image with container=.",
        ),
        (
            r"No module named '?corral",
            "The job's Python does not have corral: install it there, or name another with python= or conda_env=.",
        ),
        (
            r"(ModuleNotFoundError|ImportError|No module named)",
            "The job's Python lacks a module; is it the environment that you use here (python=, conda_env=)?",
        ),
        (
            r"(python\S*: (No such file or directory|not found|cannot execute)|: python\S*: command not found)",
            "The node has no such Python: name one that is there with python=, or load it with modules= or conda_env=.",
        ),
        (
            r"(No space left on device|Disk quota exceeded)",
            "A disk is full, or your quota is used up: see local_directory= and log_directory=.",
        ),
        (
            r"no scheduler answered within",
            "The node cannot reach the scheduler: name a network that both share with interface=, or put the scheduler "
            "where the jobs are with scheduler='job'.",
        ),
        (
            r"there are no credentials at",
            "The node does not see the cluster's credentials: name a folder that it shares with this host with "
            "shared_directory=.",
        ),
        (r"Read-only file system", "A folder that the job writes to is read-only on the node: see local_directory=."),
        (
            r"corral: (no directory for workers|argument --local-directory)",
            "The node has no such folder, or you may not write to it: name another with local_directory=.",
        ),
    )
)


def examine(ended: Iterable[JobRecord], files: Files = HERE) -> list[JobFailure]:
    """What is known of jobs that were not asked to end. Reads their logs: not on an event loop."""
    return [
        JobFailure(
            job=record,
            outcome=outcome(record),
            log_tail=(lines := tail(record.log, files=files)),
            hint=hint(record, lines, files),
        )
        for record in ended
    ]


#: What a launcher writes when a worker has died: what stands before it is another death's evidence.
_DEATH = re.compile(r"corral: job \S+: worker \S+ died: ")


def of_last_death(path: str | None, files: Files = HERE) -> tuple[str, ...]:
    """The last lines of a log, as far as they are about the last worker that died; see `tail`."""
    lines = tail(path, CRASH_LINES, files=files)
    deaths = [number for number, line in enumerate(lines) if _DEATH.match(line)]
    return lines[deaths[-2] + 1 :] if len(deaths) > 1 else lines


def tail(path: str | None, count: int = TAIL_LINES, *, files: Files = HERE) -> tuple[str, ...]:
    """The last lines of a log that are not blank; nothing if it cannot be read."""
    if path is None:
        return ()
    try:
        text = files.end(path, 16_384).decode(errors="replace")
    except OSError:
        return ()
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-count:]


def hint(record: JobRecord, lines: Sequence[str], files: Files = HERE) -> str:
    """What usually helps; empty if nothing is known."""
    state = record.status.state
    if state is JobState.OUT_OF_MEMORY:
        return "It used more memory than it asked for: ask for more with memory=, or run fewer processes in it."
    if state is JobState.TIMEOUT and record.connected_at is None:
        return "Its walltime ended before a worker connected: ask for more with walltime=."
    text = "\n".join(lines)
    for pattern, words in _HINTS:
        if pattern.search(text):
            return words
    if record.reason == "JobLaunchFailure" and record.connected_at is None:
        return "The node could not start it; often its log directory is missing or read-only there: see log_directory=."
    # Whoever cancels a job kills what does not end, and so does who takes its node.
    was_ended = state in (JobState.CANCELLED, JobState.PREEMPTED, JobState.TIMEOUT)
    if not was_ended and (record.exit_code == _KILLED or record.status.signal == signal.SIGKILL):
        return (
            "Something killed it, most often the kernel when memory runs out: ask for more with memory=, or run fewer "
            "processes in it."
        )
    if record.exit_code and record.connected_at is None and _never_went_on(lines):
        return (
            f"It ended before corral started inside: run the command after '{GOES_ON}' on a node to see why; see "
            "container=, launch_prefix= and python=."
        )
    if record.exit_code == 127:
        return "Exit code 127: a command of the job script was not found on the node; see python=, modules=, prologue=."
    if record.exit_code == 126:
        return "Exit code 126: a command of the job script may not be executed on the node; see python=."
    if record.exit_code and record.connected_at is None and _is_empty(record.log, files):
        # A launcher never fails without a word.
        return (
            "It ended before corral started in it, in a line of the job script, which cluster.job_script() shows; see "
            "prologue=."
        )
    return ""


def _never_went_on(lines: Sequence[str]) -> bool:
    """True if the launchers became other words, and were not heard of since; that of the first node speaks on."""
    said = [line for line in lines if line.startswith("corral: ") and not line.endswith(" hosts")]
    return bool(said) and all(f" {GOES_ON} " in line for line in said)


def _is_empty(log: str | None, files: Files) -> bool:
    """True if there is such a file, and nobody has written to it."""
    return log is not None and files.size(log) == 0


def of_no_use(records: Iterable[JobRecord]) -> list[str]:
    """The logs of jobs that did what they should."""
    return [record.log for record in records if record.log is not None and record.has_ended and not is_evidence(record)]


def is_evidence(record: JobRecord) -> bool:
    """True if the log of this job, which has ended, says what went wrong."""
    return record.worker_deaths > 0 or outcome(record) not in (Outcome.WANTED, Outcome.LOST)
