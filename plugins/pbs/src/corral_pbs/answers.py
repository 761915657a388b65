"""What PBS's commands answer, as values. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from attrs import evolve

from corral.plugin import Completed, Failure, FailureKind, JobId, JobState, JobStatus, ParseError, Queue
from corral.plugin.parsing import (
    blocks,
    clock_seconds,
    ctime_seconds,
    is_called,
    listed_queue,
    pass_over,
    ranges,
)

# --- qstat -f ---------------------------------------------------------------------------------------------------

_STATES = {
    "Q": JobState.PENDING,
    "W": JobState.PENDING,  # until a set time
    "T": JobState.PENDING,  # on its way to another queue or server
    "H": JobState.HELD,
    "R": JobState.RUNNING,
    "E": JobState.RUNNING,  # its end is being recorded; how it ended is not yet
    "S": JobState.SUSPENDED,
    "U": JobState.SUSPENDED,
}
#: An element of an array that has ended, while others of it have not; any job that has ended.
_ENDED = ("X", "F")

_DELETED = 91
_DELETED_UNSTARTED = "Subjob finished"
#: Exit_status of a job that PBS ended: src/include/job.h.
_ENDS = {
    -29: JobState.TIMEOUT,
    -27: JobState.OUT_OF_MEMORY,
    -26: JobState.OUT_OF_MEMORY,
    -20: JobState.NODE_FAILED,
    -14: JobState.NODE_FAILED,
    -4: JobState.NODE_FAILED,
}


def statuses(answer: str, wanted: Mapping[str, JobId]) -> dict[JobId, JobStatus]:
    """What ``qstat -f`` says of the jobs that were asked for; arrays are listed whole.

    The text form: ``-F json`` prints only the first of several ids (23.06), and is no JSON in older ones.

    Raises
    ------
    ParseError
    """
    found: dict[JobId, JobStatus] = {}
    problem = None
    held: set[str] = set()
    for name, attributes in _blocks(answer, "Job Id"):
        if "[]" in name and attributes.get("job_state") == "H":
            held.add(name)
        if name in wanted:
            try:
                status = _status(attributes, answer)
            except ParseError as error:
                problem = error
                pass_over(f"{name}: {attributes}", f"{name} has no state that can be read")
                continue
            # An array comes before its elements, which say Q when it is held.
            if status.state is JobState.PENDING and array_of(name) in held:
                status = evolve(status, state=JobState.HELD)
            found[wanted[name]] = status
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
        substate = int(told.get("substate", 0))
        code = int(told["Exit_status"]) if "Exit_status" in told else None
    except (KeyError, ValueError) as error:
        raise ParseError("a job has no state", answer) from error
    comment = told.get("comment", "")
    submitted = moment(told.get("ctime", ""))
    if word in _ENDED:
        state = _end(substate, code, comment)
        is_exit = state in (JobState.COMPLETED, JobState.FAILED) and code is not None and code >= 0
        return JobStatus(
            state=state,
            native=word,
            reason="" if state is JobState.COMPLETED else comment,
            # A top process that a signal ended: 256 and its number.
            exit_code=code if is_exit and code is not None and code < 256 else None,
            signal=code % 256 if is_exit and code is not None and code >= 256 else None,
            hosts=hosts(told.get("exec_host", "")),
            submitted=submitted,
            started=moment(told.get("stime", "")) if "exec_host" in told else None,
            ends=moment(told.get("obittime") or told.get("mtime", "")),
        )
    state = _STATES.get(word, JobState.UNKNOWN)
    if state.is_waiting:
        # An element that waits shows its array's start, an Exit_status of 0, and what was said of another element.
        return JobStatus(
            state=state,
            native=word,
            reason="" if comment == _DELETED_UNSTARTED or comment.startswith("Job Array Began") else comment,
            submitted=submitted,
            expected_start=moment(told.get("estimated.start_time", "")),
            hopeless=hopeless_words(comment) if state is JobState.PENDING else "",
        )
    started = moment(told.get("stime", ""))
    walltime = _seconds(told.get("Resource_List.walltime", ""))
    return JobStatus(
        state=state,
        native=word,
        hosts=hosts(told.get("exec_host", "")),
        submitted=submitted,
        started=started,
        ends=started + walltime if started and walltime else None,
    )


#: The argument that asks for a resource.
_ARGUMENTS = {"ncpus": "cores=", "mem": "memory=", "ngpus": "gpus=", "walltime": "walltime=", "nodect": "nodes="}


def hopeless_words(comment: str) -> str:
    """What to change, if PBS says that a job can never run; else empty."""
    if not comment.startswith("Can Never Run"):
        return ""
    found = re.search(r"resource: *(\w+)", comment)
    argument = _ARGUMENTS.get(found[1], "extra_directives=") if found else "cores=, memory=, nodes=, gpus= and queue="
    return f"nothing here can satisfy what it asks for; see {argument}"


def _end(substate: int, code: int | None, comment: str) -> JobState:
    """How a job ended; a deleted one says Exit_status 0 if it ran, and none or its array's own if it did not."""
    if substate == _DELETED or code is None or comment == _DELETED_UNSTARTED:
        return JobState.CANCELLED
    if code == 0:
        return JobState.COMPLETED
    return _ENDS.get(code, JobState.FAILED)


@lru_cache(maxsize=4096)
def moment(text: str) -> float | None:
    """Seconds since the epoch of ``Mon Nov 23 11:50:10 2026``, this host's time; None if it is no time."""
    with suppress(ValueError):
        return ctime_seconds(text)
    return None


def _seconds(text: str) -> int | None:
    with suppress(ValueError):
        return clock_seconds(text)
    return None


@lru_cache(maxsize=4096)
def hosts(exec_host: str) -> tuple[str, ...]:
    """The hosts of ``n1/0*36+n2/3``, each once."""
    return tuple(dict.fromkeys(name for part in exec_host.split("+") if (name := part.partition("/")[0])))


# --- ids --------------------------------------------------------------------------------------------------------

_ID = re.compile(r"(?P<number>\d+)\[(?P<index>\d*)\](?P<server>\.[\w.-]+)?", re.ASCII)


def array(answer: Completed) -> tuple[str, str]:
    """Number and server of the array ``73[].server`` that qsub answered.

    Raises
    ------
    ParseError
    """
    match = _ID.fullmatch(answer.last_line())
    if match is None or match["index"]:
        raise ParseError("qsub accepted the job and its answer has no id", answer.stdout + answer.stderr)
    return match["number"], match["server"] or ""


def single(answer: Completed) -> str:
    """The id ``73.server`` that qsub answered for a job that is no array.

    Raises
    ------
    ParseError
    """
    if not re.fullmatch(r"\d+(\.[\w.-]+)?", text := answer.last_line(), re.ASCII):
        raise ParseError("qsub accepted the job and its answer has no id", answer.stdout + answer.stderr)
    return text


def array_of(text: str) -> str:
    """``73[].server``, which ``73[5].server`` is an element of."""
    return _ID.sub(r"\g<number>[]\g<server>", text)


def arrays(job_ids: Iterable[JobId]) -> list[str]:
    """The arrays that these are elements of; another job stands for itself."""
    return list(dict.fromkeys(_at(array_of(job_id.text), job_id) for job_id in job_ids))


def folded(job_ids: Iterable[JobId]) -> list[str]:
    """``73[0-999].server`` for a thousand elements, for qdel, which takes one range a word.

    An element alone is a range too, ``73[5-6:2]``: several words, the last of them an element that waits, end the
    server of OpenPBS 23.06 (it goes on with a request that it has answered and freed). Such a range may go beyond the
    array's end, and ``73[5-5]`` is refused.
    """
    found: dict[str, set[int]] = {}
    words: list[str] = []
    for job_id in job_ids:
        match = _ID.fullmatch(job_id.text)
        if match is None or not match["index"]:
            words.append(addressed(job_id))
        else:
            found.setdefault(_at(f"{match['number']}[]{match['server'] or ''}", job_id), set()).add(int(match["index"]))
    for name, indices in found.items():
        for span in ranges(indices).split(","):
            elements = span if "-" in span else f"{span}-{int(span) + 1}:2"
            words.append(name.replace("[]", f"[{elements}]", 1))
    return words


def element_ids(answer: str, where: str = "") -> list[JobId]:
    """The jobs that ``qselect -T`` lists, one a line, of the server `where`.

    Raises
    ------
    ParseError
    """
    lines = answer.split()
    found = [JobId(line, where=where) for line in lines if re.fullmatch(r"\d+(\[\d+\])?(\.[\w.-]+)?", line, re.ASCII)]
    if lines and not found:
        raise ParseError("this is not a list of jobs", answer)
    return found


def named(answer: str, name: str, listed: Sequence[JobId]) -> list[JobId]:
    """Those of the listed jobs that ``qstat -f`` gives this name, or one that begins like it.

    Raises
    ------
    ParseError
    """
    wanted = {job_id.text: job_id for job_id in listed}
    return [
        wanted[text]
        for text, told in _blocks(answer, "Job Id")
        if text in wanted and is_called(told.get("Job_Name", ""), name)
    ]


def addressed(job_id: JobId) -> str:
    """The id, and after an ``@`` the server that must be asked."""
    return _at(job_id.text, job_id)


def _at(text: str, job_id: JobId) -> str:
    return f"{text}@{job_id.where}" if job_id.where else text


# --- queues and limits ------------------------------------------------------------------------------------------


def queues(answer: str, default: str, *, user: str, gpus: str) -> list[Queue]:
    """The queues of ``qstat -Q -f``.

    Parameters
    ----------
    user, gpus
        As for `listed_queue`.

    Raises
    ------
    ParseError
    """
    return [
        listed_queue(name, told, is_default=name == default, user=user, gpus=gpus)
        for name, told in _blocks(answer, "Queue")
    ]


def default_queue(answer: str) -> str:
    """The queue that a server chooses (``qstat -B -f``); empty if none."""
    match = re.search(r"^    default_queue = (\S+)", answer, re.MULTILINE)
    return match[1] if match else ""


def array_limit(answers: Iterable[str]) -> int | None:
    """The smallest max_array_size of a server and its queues."""
    limits = [
        int(size)
        for answer in answers
        for size in re.findall(r"^    max_array_size = (\d{1,9})$", answer, re.MULTILINE)
    ]
    return min(limits, default=None)


# --- words of failure and of patience ---------------------------------------------------------------------------

#: What a failed command's words mean; the first that is found decides. From src/lib/Liblog/pbs_messages.c.
_KINDS = (
    (FailureKind.LIMIT, r"would exceed .*limit|[Mm]aximum number of jobs|exceed.* limit of jobs"),
    (
        FailureKind.TRANSIENT,
        r"[Cc]annot connect to server|Connection (refused|reset|timed out)|[Cc]ould not connect|Server shutting down|"
        r"temporarily unavailable|table full|No free connections|[Cc]ommunication failure|End of File|"
        r"[Bb]atch protocol error|Premature end of message|Request timed out|busy|system error|pbs_iff|"
        # The last is said of ids whose server has no address at the moment.
        r"Could not contact|Unable to connect|internal error|Unknown Host|illegally formed job identifier",
    ),
    (
        FailureKind.FATAL,
        r"Unknown|[Ii]nvalid|[Ii]llegal|[Uu]nauthorized|denied|not enabled|not allowed|violates|exceeds|cannot be used|"
        r"Cannot have|No default queue|rejected|Bad [UG]ID|directive error|usage:|requires an argument|too long|"
        r"duplicated|No support|cr, lf",
    ),
)

#: What is said of a job that is gone already, or going.
GONE = re.compile(r"Unknown Job Id|Job has finished|Request invalid for (state of job|finished)|already in progress")

NO_HISTORY = "not configured to maintain job history"
TOO_LARGE = "Array job exceeds server or queue size limit"


def complaints(completed: Completed) -> list[str]:
    """The lines that a failed command printed as errors."""
    return [line for line in completed.stderr.splitlines() if line.strip()]


def failure(completed: Completed) -> Failure | None:
    """What a failed command means; None for words that are not known."""
    lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
    sentences = (re.sub(r"^(q\w+|pbs_\w+): *", "", line.strip()) for line in lines)
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
    elif status.reason.startswith("Can Never Run"):
        words = "it will never start: nothing here can satisfy what it asks for"
    elif not status.reason:
        words = "PBS has not looked at it yet, or does not say more"
    else:
        words = "it waits for its turn"
    when = ""
    if status.expected_start is not None:
        when = (
            f"; PBS expects to start it at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(status.expected_start))}"
        )
    return words + (f" ({status.reason})" if status.reason else "") + when
