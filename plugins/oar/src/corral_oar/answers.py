"""What OAR's commands answer, as values. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from corral.plugin import Completed, Failure, FailureKind, JobId, JobState, JobStatus, ParseError, Queue
from corral.plugin.parsing import pass_over

Row = Mapping[str, Any]

# --- tables -----------------------------------------------------------------------------------------------------


def rows(answer: str) -> dict[str, Row]:
    """Jobs of ``oarstat -J`` or resources of ``oarnodes -J``, by id; OAR prints nothing at all where there are none.

    Raises
    ------
    ParseError
    """
    if not answer.strip():
        return {}
    # A wrapper may have printed a banner before it.
    begin = re.search(r"^\{", answer, re.MULTILINE)
    try:
        table = json.loads(answer[begin.start() :]) if begin else None
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict) or (table and not any(map(_is_row, table.values()))):
        raise ParseError("this is not a table of OAR's", answer)
    for text, row in table.items():
        if not _is_row(row):
            pass_over(f"{text}: {row}", f"that of {text} has no state")
    return {text: row for text, row in table.items() if _is_row(row)}


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("state"), str)


def statuses(table: Mapping[str, Row], wanted: Mapping[str, JobId]) -> dict[JobId, JobStatus]:
    """What ``oarstat -f`` says of the jobs that were asked for."""
    return {wanted[text]: _status(row) for text, row in table.items() if text in wanted}


def submitted_again(table: Mapping[str, Row]) -> list[str]:
    """The ids of jobs that ended, and that OAR has submitted again."""
    return [text for text, row in table.items() if text.isdecimal() and _AGAIN in _events(row)]


def _status(row: Row) -> JobStatus:
    native = row["state"]
    state, reason = _STATES.get(native, JobState.UNKNOWN), ""
    code = signal = None
    if native == "Terminated":
        state, code, signal = _ended(row)
    elif native == "Error":
        state, reason = _failed(row)
    elif state.is_waiting:
        reason = waiting_words(row)
    started, walltime = _number(row, "startTime"), _number(row, "walltime")
    ends = _number(row, "stopTime") if state.is_final else started and walltime and started + walltime
    return JobStatus(
        state=state,
        native=native,
        reason=reason,
        exit_code=code,
        signal=signal,
        hosts=[host for host in _list(row, "assigned_network_address") if isinstance(host, str)],
        submitted=_number(row, "submissionTime"),
        started=None if state.is_waiting else started,
        expected_start=_number(row, "scheduledStart") if state.is_waiting else None,
        ends=None if state.is_waiting else ends,
    )


_STATES = {
    "Waiting": JobState.PENDING,
    "toAckReservation": JobState.PENDING,
    "toLaunch": JobState.PENDING,
    "Launching": JobState.PENDING,  # its nodes are prepared
    "Hold": JobState.HELD,
    "Running": JobState.RUNNING,
    "Finishing": JobState.RUNNING,
    "toError": JobState.RUNNING,
    "Suspended": JobState.SUSPENDED,
    "Resuming": JobState.SUSPENDED,
    "Terminated": JobState.COMPLETED,
    "Error": JobState.FAILED,
}


def _ended(row: Row) -> tuple[JobState, int | None, int | None]:
    """State, exit code and signal of a command that ran to its end: OAR keeps what wait(2) says."""
    status = row.get("exit_code")
    if not isinstance(status, int):
        return JobState.COMPLETED, None, None
    code, signal = status >> 8 & 0xFF, status & 0x7F
    return (JobState.FAILED if status else JobState.COMPLETED), (None if signal else code), signal or None


_AGAIN = "RESUBMIT_JOB_AUTOMATICALLY"

#: What ended a job that OAR calls an Error, by its events; the first that is found decides. At a walltime, and for a
#: job of more importance, OAR deletes the job as a person would. NodeChangeState suspects nodes for the third kind.
_ENDINGS = (
    (JobState.TIMEOUT, {"WALLTIME"}),
    (JobState.PREEMPTED, {"BESTEFFORT_KILL"}),
    (
        JobState.NODE_FAILED,
        {
            "BAD_HASHTABLE_DUMP", "CANNOT_CREATE_TMP_DIRECTORY", "CANNOT_WRITE_NODE_FILE", "CANNOT_WRITE_PID_FILE",
            "CPUSET_ERROR", "EXIT_VALUE_OAREXEC", "EXTERMINATE_JOB", "LAUNCHING_OAREXEC_TIMEOUT",
            "PING_CHECKER_NODE_SUSPECTED", "PROLOGUE_ERROR", "RESUME_ERROR", "SERVER_PROLOGUE_EXIT_CODE_ERROR",
            "SERVER_PROLOGUE_TIMEOUT", "SSH_TRANSFER_TIMEOUT", "SUSPEND_ERROR", "USER_SHELL",
        },
    ),
    (JobState.CANCELLED, {"FRAG_JOB_REQUEST"}),
    (JobState.FAILED, {"OUTPUT_FILES", "WORKING_DIRECTORY"}),
)  # fmt: skip


def _failed(row: Row) -> tuple[JobState, str]:
    """State and reason of a job that did not run to its end."""
    events = _events(row)
    for state, kinds in _ENDINGS:
        for kind in sorted(kinds & events.keys()):
            return state, re.sub(r"^(\[[^\]]*\] ?)+", "", events[kind]).strip() or kind
    return JobState.FAILED, str(row.get("message") or "")


def _events(row: Row) -> dict[str, str]:
    """What happened to a job: kinds, with what was said of them."""
    return {
        event["type"]: str(event.get("description") or "")
        for event in _list(row, "events")
        if isinstance(event, dict) and isinstance(event.get("type"), str)
    }


def _number(row: Row, name: str) -> float | None:
    """0 is OAR's word for: not yet."""
    value = row.get(name)
    return float(value) if isinstance(value, int) and 0 < value < 2**53 else None


def _list(row: Row, name: str) -> list[Any]:
    value = row.get(name)
    return value if isinstance(value, list) else []


# --- words of patience ------------------------------------------------------------------------------------------

#: What messages of OAR's schedulers mean, for those who do not know them by heart.
_PATIENCE = (
    (r"no_matching_slot", "no nodes that are alive, or will be, fit what it asks for"),
    (r"quota_exceeded", "a quota on what may run at once is reached"),
    (r"[Nn]o enough [Tt]oken|Token value", "it waits for a token (a licence, perhaps)"),
    (r"dependency", "it waits for another job to end"),
    (r"[Cc]ontainer", "it waits for its container job"),
    (r"[Nn]o enough matching resources", "too few nodes fit what it asks for"),
)


def waiting_words(row: Row) -> str:
    """What OAR says of a job that waits, less the summary of its request."""
    message = str(row.get("message") or "")
    request = re.fullmatch(r"R=\d+,W=.*?(?: \((.*)\))?", message, re.DOTALL)
    if request is None:
        return message
    remark = re.sub(r"Karma=[\d.]+,?|quota_ok", "", request[1] or "")
    return remark.strip(", ")


def explanation(row: Row) -> str:
    """Why a job waits, and when it may start, in a person's words; empty if it does not wait."""
    if not _STATES.get(str(row.get("state")), JobState.UNKNOWN).is_waiting:
        return ""
    if row["state"] == "Hold":
        return f"it is held: 'oarresume {row.get('Job_Id')}' releases it"
    if row["state"] != "Waiting":
        return "its nodes are being prepared"
    words = waiting_words(row)
    meaning = next((meaning for pattern, meaning in _PATIENCE if re.search(pattern, words)), words)
    start = _number(row, "scheduledStart")
    if start is None:
        return f"{meaning} ({words})" if meaning != words else words or "OAR has not looked at it yet"
    when = datetime.fromtimestamp(start, UTC).astimezone()
    expected = f"OAR expects to start it at {when:%Y-%m-%d %H:%M:%S}"
    return f"{meaning or 'it waits for nodes to become free'}; {expected}"


# --- nodes ------------------------------------------------------------------------------------------------------


def default_queue(answer: str, *, gpu: str | None) -> list[Queue]:
    """All nodes, as the queue of jobs that name none: OAR tells its users of no queues.

    Parameters
    ----------
    gpu
        The property that numbers GPUs.

    Raises
    ------
    ParseError
    """
    nodes: dict[str, list[Row]] = {}
    for row in rows(answer).values():
        if row.get("type") == "default" and isinstance(row.get("network_address"), str):
            nodes.setdefault(row["network_address"], []).append(row)
    if not nodes:
        return []
    return [
        Queue(
            name="default",
            is_default=True,
            cores=max(len(resources) for resources in nodes.values()),
            gpus=max(_gpus(resources, gpu) for resources in nodes.values()) if gpu else None,
            nodes=len(nodes),
            free_nodes=sum(all(_is_free(row) for row in resources) for resources in nodes.values()),
        )
    ]


def _gpus(resources: list[Row], name: str) -> int:
    return len({row[name] for row in resources if isinstance(row.get(name), int | str)})


def _is_free(resource: Row) -> bool:
    return resource.get("state") == "Alive" and not resource.get("jobs")


# --- failures ---------------------------------------------------------------------------------------------------

#: What a failed command's words mean; the first that is found decides. Admission rules are the site's own words.
_KINDS = (
    (FailureKind.TRANSIENT, r"DB connection error|Cannot connect to|Could not connect to the socket|try again"),
    (FailureKind.LIMIT, r"more than \S+ (\w+ )*(jobs?|reservations?)|[Tt]oo many|[Mm]ax(imum)? number"),
    (
        FailureKind.FATAL,
        r"ADMISSION RULE|does not exist|not enough resources|Bad resource request|Cannot recognize|Unknown option|"
        r"Invalid |not the right user|No Perl JSON|verify your request",
    ),
)

_PREFIX = re.compile(r"^\[(ERROR|ADMISSION RULE)\] ?(Error: ?)?|^ERROR ?: |^/!\\ ?")

#: What says no more than that there was an error, or where in a statement of OAR's own.
_IDLE = re.compile(r"Oarsub failed, please|Simple array job submission is used|LINE \d|\)$")


def failure(completed: Completed) -> Failure | None:
    """What a failed command means; None for words that are not known."""
    said = completed.stderr.strip() or completed.stdout.strip()
    for kind, words in _KINDS:
        if re.search(words, said):
            # It is not killed: it waits for the server.
            lines = (_PREFIX.sub("", line.strip()).removesuffix(" Job is killed.") for line in said.splitlines())
            sentences = dict.fromkeys(line for line in lines if line and not _IDLE.match(line))
            if "not enough resources" in said:  # it counts all nodes, also those that are down
                sentences["no nodes here have that much: see nodes=, cores=, gpus=, memory= and queue="] = None
            return Failure(kind=kind, message="; ".join(sentences) or said)
    return None
