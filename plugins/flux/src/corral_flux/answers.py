"""What Flux's commands answer, as values. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from corral.plugin import Completed, Failure, FailureKind, JobId, JobState, JobStatus, ParseError, Queue, parsing

# --- ids --------------------------------------------------------------------------------------------------------

_F58 = r"[1-9A-HJ-NP-Za-km-z]+"


def job_id(text: str) -> JobId:
    """Flux prints ``ƒXYZ`` or ``fXYZ``, by locale; the latter is what jobs see."""
    return JobId(text.replace("ƒ", "f", 1))


def submitted(answer: str, count: int) -> list[JobId]:
    """The last `count` lines that are ids: wrappers print theirs before."""
    ids = [job_id(line.strip()) for line in answer.splitlines() if re.fullmatch(f"[fƒ]{_F58}", line.strip())]
    return ids[-count:]


# --- rows of flux jobs ------------------------------------------------------------------------------------------

_FIELDS = (
    "id.f58plain state result returncode urgency t_submit t_run t_inactive expiration sched.t_estimate nodelist "
    "exception.type dependencies sched.reason_pending exception.note"
)


def columns(fields: str) -> str:
    """A format for ``flux jobs -o``; only the last field may have bars in it."""
    return "|".join(f"{{{field}}}" for field in fields.split())


STATUS_FORMAT = columns(_FIELDS)


def rows(answer: str, width: int) -> Iterator[Sequence[str]]:
    """The rows of a table of jobs.

    Raises
    ------
    ParseError
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    table = [line.split("|", width - 1) for line in lines if re.match(rf"f{_F58}\|", line)]
    if lines and not any(len(row) == width for row in table):
        raise ParseError("this is not a table of jobs", answer)
    for row in table:
        if len(row) != width:
            parsing.pass_over("|".join(row), f"that of {row[0]} does not have {width} columns")
    return (row for row in table if len(row) == width)


def statuses(answer: str, wanted: Mapping[str, JobId]) -> dict[JobId, JobStatus]:
    """The rows of the jobs that were asked for.

    Raises
    ------
    ParseError
    """
    table = rows(answer, len(_FIELDS.split()))
    return {wanted[row[0]]: _status(*row[1:]) for row in table if row[0] in wanted}


_LIVING = {
    "DEPEND": JobState.PENDING,
    "PRIORITY": JobState.PENDING,
    "SCHED": JobState.PENDING,
    "RUN": JobState.RUNNING,
    "CLEANUP": JobState.RUNNING,
}
_ENDED = {
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "CANCELED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
}


def _status(
    word: str,
    result: str,
    returncode: str,
    urgency: str,
    submit: str,
    run: str,
    inactive: str,
    expiration: str,
    estimate: str,
    nodelist: str,
    exception: str,
    dependencies: str,
    pending: str,
    note: str,
) -> JobStatus:
    state = _LIVING.get(word, JobState.UNKNOWN)
    if word == "INACTIVE":
        state = _ENDED.get(result, JobState.UNKNOWN)
        if state is JobState.FAILED and exception == "node-failure":
            state = JobState.NODE_FAILED
    elif state.is_waiting and urgency == "0":
        state = JobState.HELD
    started = moment(run)
    # What never ran has a return code too: 1, or -128.
    code = int(returncode) if started and state.is_final and re.fullmatch(r"-?\d{1,9}", returncode, re.ASCII) else None
    return JobStatus(
        state=state,
        native=result or word,
        reason=_ending_words(exception, note) or dependencies or pending,
        # 128 + n may be a signal's or the program's own: it stays an exit code.
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        hosts=parsing.host_names(nodelist) if nodelist else (),
        submitted=moment(submit),
        started=started,
        expected_start=moment(estimate) if state.is_waiting else None,
        ends=moment(inactive) or moment(expiration),
    )


def _ending_words(exception: str, note: str) -> str:
    """What ended a job; Flux lets none wait for what it does not have."""
    words = ": ".join(filter(None, [exception, note]))
    return f"{words}; see cores=, nodes=, gpus= and queue=" if re.search("unsatisfiable|infeasible", note) else words


def moment(text: str) -> float | None:
    """Seconds since the epoch; 0.0 or nothing where there is none yet."""
    return float(text) or None if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text, re.ASCII) else None


def pending_words(state: str, urgency: str, dependencies: str, reason: str) -> str:
    """Why a job waits, in a person's words."""
    if state == "DEPEND":
        return f"it waits for what it depends on ({dependencies})"
    if state == "PRIORITY":
        return "Flux has not given it a priority yet"
    if urgency == "0":
        return "it is held: 'flux urgency ID default' releases it"
    return "it waits for resources to become free" + (f" ({reason})" if reason else "")


# --- flux queue list --------------------------------------------------------------------------------------------

QUEUE_FORMAT = columns(
    "queue queuem submission limits.timelimit resources.all.nnodes resources.all.ncores resources.all.ngpus "
    "resources.free.nnodes"
)


def queues(answer: str) -> list[Queue]:
    """The queues of `QUEUE_FORMAT`; an instance without any has one that has no name.

    Raises
    ------
    ParseError
    """
    table = [line.split("|") for line in answer.splitlines()]
    found = [_queue(*row) for row in table if len(row) == 8 and row[2] in ("enabled", "disabled")]
    if not found and answer.strip():
        raise ParseError("this is not a table of queues", answer)
    return found


def _queue(name: str, marked: str, submission: str, limit: str, nodes: str, cores: str, gpus: str, free: str) -> Queue:
    seconds = moment(limit)
    return Queue(
        name=name,
        is_default=marked.endswith("*") or not name,
        accepts_jobs=submission == "enabled",
        max_walltime=int(seconds) if seconds else None,
        cores=_each(cores, nodes),
        gpus=_each(gpus, nodes),
        nodes=int(nodes) if nodes.isdecimal() else None,
        free_nodes=int(free) if free.isdecimal() else None,
    )


def _each(total: str, nodes: str) -> int | None:
    """What one node has, if all have the same."""
    if not (total.isdecimal() and nodes.isdecimal()) or int(nodes) == 0 or int(total) % int(nodes):
        return None
    return int(total) // int(nodes)


# --- what a job was granted -------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Granted:
    """The resource set of a job: Flux RFC 20, version 1."""

    hosts: tuple[str, ...]
    #: Of the first host.
    cores: int
    gpus: tuple[str, ...]
    ends: float | None


def granted(answer: str) -> Granted:
    """What ``flux job info ID R`` says.

    Raises
    ------
    ParseError
    """
    try:
        execution = json.loads(answer[answer.index("{") :])["execution"]
        first = execution["R_lite"][0]["children"]
        hosts = tuple(name for part in execution["nodelist"] for name in parsing.host_names(part) if name)
        expiration = float(execution.get("expiration") or 0)
        found = Granted(
            hosts=hosts,
            cores=len(parsing.numbers(first["core"])),
            gpus=tuple(map(str, parsing.numbers(first["gpu"]))) if first.get("gpu") else (),
            ends=expiration if expiration > 0 else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ParseError("this is not a set of resources", answer) from error
    if not hosts:
        raise ParseError("this set of resources has no host", answer)
    return found


# --- failures ---------------------------------------------------------------------------------------------------

_KINDS = (
    (r"max(imum)? (number of )?(active|running|pending)? ?jobs", FailureKind.LIMIT),
    (r"[Uu]nable to connect|flux_open|[Cc]onnection (refused|reset)|timed out", FailureKind.TRANSIENT),
    (r"[Hh]ost is down|[Rr]esource temporarily unavailable|not implemented", FailureKind.TRANSIENT),
    # An administrator stopped a queue for a while, and said why.
    (r"submission.* is disabled", FailureKind.TRANSIENT),
    # Its own words alone: what anything else calls an error may pass.
    (r"(?m)^(cc=\d+: )?\[Errno \d+\]|^flux[\w -]*: (ERROR|error): ", FailureKind.FATAL),
)


def failure(completed: Completed) -> Failure | None:
    """What a command that failed means; None if it does not speak as Flux does."""
    said = [
        re.sub(r"^(flux[\w-]*( \w+)?: )?((ERROR|error): )?(cc=\d+: )?(\[Errno \d+\] )?", "", line.strip())
        for line in completed.stderr.splitlines()
        if line.strip() and not line.startswith("usage: ")
    ]
    for words, kind in _KINDS:
        if re.search(words, completed.stderr):
            return Failure(kind=kind, message="; ".join(dict.fromkeys(said)))
    return None


#: What ``flux cancel`` says of a job that has ended, and each command of one that was forgotten.
GONE = r"job is inactive|unknown job id"
UNKNOWN = r"JobID \S+ unknown"
