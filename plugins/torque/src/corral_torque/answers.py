"""What TORQUE's commands answer, as values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache

from corral.plugin import Completed, Failure, FailureKind, JobId, JobState, JobStatus, ParseError, Queue
from corral.plugin.parsing import blocks, clock_seconds, ctime_seconds, is_called, listed_queue, pass_over

_STATES = {
    "Q": JobState.PENDING,
    "W": JobState.PENDING,
    "T": JobState.PENDING,
    "H": JobState.HELD,
    "R": JobState.RUNNING,
    "E": JobState.RUNNING,
    "S": JobState.SUSPENDED,
}

#: exit_status of a job that TORQUE ended: src/include/pbs_job.h. 271 is SIGTERM, which qdel sends.
_ENDS = {
    271: JobState.CANCELLED,
    -10: JobState.OUT_OF_MEMORY,
    -11: JobState.TIMEOUT,
    -4: JobState.NODE_FAILED,
    -3: JobState.NODE_FAILED,
}


def statuses(answer: str, wanted: Mapping[str, JobId]) -> dict[JobId, JobStatus]:
    """What ``qstat -t -f`` says of the jobs that were asked for.

    Raises
    ------
    ParseError
    """
    found: dict[JobId, JobStatus] = {}
    problem = None
    for name, told in _blocks(answer, "Job Id"):
        if name in wanted:
            try:
                found[wanted[name]] = _status(told, answer)
            except ParseError as error:
                problem = error
                pass_over(f"{name}: {told}", f"{name} has no state that can be read")
    if problem is not None and not found:
        raise problem
    return found


def _blocks(answer: str, title: str) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        yield from blocks(answer, title)
    except ValueError as error:
        raise ParseError(str(error), answer) from error


def _status(told: Mapping[str, str], answer: str) -> JobStatus:
    try:
        word = told["job_state"]
        code = int(told["exit_status"]) if "exit_status" in told else None
    except (KeyError, ValueError) as error:
        raise ParseError("a job has no state", answer) from error
    comment = told.get("comment", "")
    submitted = _moment(told.get("ctime", ""))
    started = _moment(told.get("start_time", ""))
    if word == "C":
        state = _end(code)
        is_exit = state in (JobState.COMPLETED, JobState.FAILED) and code is not None and code >= 0
        return JobStatus(
            state=state,
            native=word,
            reason="" if state is JobState.COMPLETED else comment or _why(code),
            exit_code=code if is_exit and code is not None and code < 256 else None,
            signal=code % 256 if is_exit and code is not None and code >= 256 else None,
            hosts=hosts(told.get("exec_host", "")),
            submitted=submitted,
            started=started,
            ends=_moment(told.get("comp_time") or told.get("mtime", "")),
        )
    state = _STATES.get(word, JobState.UNKNOWN)
    if state.is_waiting:
        never = state is JobState.PENDING and re.search(r"(can|will|would) never run", comment, re.IGNORECASE)
        hopeless = "nothing here can satisfy what it asks for; see cores=, memory=, nodes=, gpus= and queue=" * bool(
            never
        )
        return JobStatus(state=state, native=word, reason=comment, submitted=submitted, hopeless=hopeless)
    walltime = _seconds(told.get("Resource_List.walltime", ""))
    return JobStatus(
        state=state,
        native=word,
        hosts=hosts(told.get("exec_host", "")),
        submitted=submitted,
        started=started,
        ends=started + walltime if started and walltime else None,
    )


def _end(code: int | None) -> JobState:
    """How a job ended; one that was deleted before it began has no exit_status."""
    if code is None:
        return JobState.CANCELLED
    return _ENDS.get(code, JobState.FAILED) if code else JobState.COMPLETED


def _why(code: int | None) -> str:
    return "" if code is None or code >= 0 else f"TORQUE ended it: exit_status {code}"


@lru_cache(maxsize=4096)
def _moment(text: str) -> float | None:
    with suppress(ValueError):
        return ctime_seconds(text)
    return None


def _seconds(text: str) -> int | None:
    with suppress(ValueError):
        return clock_seconds(text)
    return None


@lru_cache(maxsize=4096)
def hosts(exec_host: str) -> tuple[str, ...]:
    """The hosts of ``n1/0-7+n2/0,2``, or of ``n1/1+n1/0``, each once."""
    return tuple(dict.fromkeys(name for part in exec_host.split("+") if (name := part.partition("/")[0])))


# --- ids --------------------------------------------------------------------------------------------------------

_ID = re.compile(r"(?P<number>\d+)\[(?P<index>\d*)\](?P<server>\.[\w.-]+)?", re.ASCII)


def array(answer: Completed) -> tuple[str, str]:
    """Number and server of the array ``12[].server`` that qsub answered.

    Raises
    ------
    ParseError
    """
    match = _ID.fullmatch(answer.last_line())
    if match is None or match["index"]:
        raise ParseError("qsub accepted the job and its answer has no id of an array", answer.stdout + answer.stderr)
    return match["number"], match["server"] or ""


def single(answer: Completed) -> str:
    """The id ``12.server`` that qsub answered for a job that is no array.

    Raises
    ------
    ParseError
    """
    if not re.fullmatch(r"\d+(\.[\w.-]+)?", text := answer.last_line(), re.ASCII):
        raise ParseError("qsub accepted the job and its answer has no id", answer.stdout + answer.stderr)
    return text


def arrays(job_ids: Iterable[JobId]) -> list[str]:
    """The arrays that these are elements of; another job stands for itself."""
    return list(dict.fromkeys(_ID.sub(r"\g<number>[]\g<server>", job_id.text) for job_id in job_ids))


def named(answer: str, name: str, user: str) -> list[JobId]:
    """The user's jobs of that name that have not ended: ``NAME-3`` is the fourth element of an array.

    Raises
    ------
    ParseError
    """
    is_element = re.compile(re.escape(name) + r"-\d+", re.ASCII)
    return [
        JobId(job_id)
        for job_id, told in _blocks(answer, "Job Id")
        if (is_called(found := told.get("Job_Name", ""), name) or is_element.fullmatch(found))
        and "[]" not in job_id
        and told.get("job_state") != "C"
        and user in ("", told.get("Job_Owner", "").partition("@")[0])
    ]


# --- queues and limits ------------------------------------------------------------------------------------------


def queues(answer: str, default: str, *, user: str) -> list[Queue]:
    """The queues of ``qstat -Q -f``, as `user` may use them.

    Raises
    ------
    ParseError
    """
    return [
        listed_queue(name, told, is_default=name == default, user=user, gpus="gpus")
        for name, told in _blocks(answer, "Queue")
    ]


def default_queue(answer: str) -> str:
    """The queue that a server chooses (``qstat -B -f``); empty if none."""
    match = re.search(r"^    default_queue = (\S+)", answer, re.MULTILINE)
    return match[1] if match else ""


def array_limit(answer: str) -> int | None:
    """The server's max_job_array_size (``qstat -B -f``)."""
    match = re.search(r"^    max_job_array_size = (\d{1,9})$", answer, re.MULTILINE)
    return int(match[1]) if match else None


# --- words of failure and of patience ---------------------------------------------------------------------------

#: What a failed command's words mean; the first that is found decides. From src/include/pbs_error_db.h.
_KINDS = (
    (FailureKind.LIMIT, r"[Mm]aximum number of jobs|exceeds? .*max_user_queuable|total number of .*jobs in"),
    (
        FailureKind.TRANSIENT,
        r"[Cc]annot connect to (default )?server|Connection (refused|reset|timed out)|[Cc]ould not connect|"
        r"Server shutting down|temporarily unavailable|No free connections|too busy|[Tt]ime ?out|trqauthd|"
        r"[Bb]atch protocol error|End of File|Communication failure|pbs_iff|currently not available|"
        r"Can not establish connection|internal error",
    ),
    (
        FailureKind.FATAL,
        r"Unknown|[Ii]nvalid|[Ii]llegal|[Uu]nauthorized|denied|not enabled|not allow|exceeds|Bad [UG]ID|Bad Job Array|"
        r"No default queue|rejected|directive error|usage:|requires an argument|too long|No support|"
        r"cannot locate feasible nodes|submit filter",
    ),
)

#: What is said of a job that is gone already, or going.
GONE = re.compile(
    r"Unknown Job Id|nonexistent job id|Unknown Array|Request invalid for state of job|already in exit state"
)


def complaints(completed: Completed) -> list[str]:
    """The lines that a failed command printed as errors."""
    return [line for line in completed.stderr.splitlines() if line.strip()]


def failure(completed: Completed) -> Failure | None:
    """What a failed command means; None for words that are not known."""
    lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
    sentences = (re.sub(r"^(q\w+|pbs_\w+): *(submit error)? *", "", line.strip()) for line in lines)
    message = "; ".join(dict.fromkeys(sentence for sentence in sentences if sentence))
    for kind, words in _KINDS:
        if re.search(words, message):
            return Failure(kind=kind, message=message.partition("; usage:")[0])
    return None


def patience(status: JobStatus) -> str:
    """Why a job waits, in a person's words; empty if it does not."""
    if not status.state.is_waiting:
        return ""
    if status.state is JobState.HELD:
        words = "it is held: 'qrls' releases it"
    elif not status.reason:
        words = "TORQUE does not say more; its scheduler may ('checkjob' of Moab or Maui)"
    else:
        words = "it waits for its turn"
    return words + (f" ({status.reason})" if status.reason else "")


def gpus(answer: str, host: str) -> list[str]:
    """The numbers of a host's GPUs in a GPU file: a line ``n1-gpu0`` for each."""
    found = (re.fullmatch(r"(.+)-gpu(\d+)", line.strip(), re.ASCII) for line in answer.splitlines())
    return sorted({match[2] for match in found if match and match[1] == host}, key=int)
