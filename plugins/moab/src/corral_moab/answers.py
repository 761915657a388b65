"""What Moab's commands answer, as values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from corral.plugin import Completed, Failure, FailureKind, JobId, JobState, JobStatus, ParseError
from corral.plugin.parsing import is_called, pass_over

#: Moab's job states, without the case and the blanks in which its versions differ.
_STATES = {
    "idle": JobState.PENDING,
    "blocked": JobState.PENDING,
    "staging": JobState.PENDING,
    "staged": JobState.PENDING,
    "hold": JobState.HELD,
    "batchhold": JobState.HELD,
    "systemhold": JobState.HELD,
    "userhold": JobState.HELD,
    "deferred": JobState.HELD,
    "starting": JobState.RUNNING,
    "running": JobState.RUNNING,
    "suspended": JobState.SUSPENDED,
    "removed": JobState.CANCELLED,
    "vacated": JobState.NODE_FAILED,
}

#: Completion codes of TORQUE's own: 271 is the SIGTERM of a cancellation.
_ENDS = {0: JobState.COMPLETED, 271: JobState.CANCELLED, -11: JobState.TIMEOUT, -10: JobState.OUT_OF_MEMORY}


def jobs(answer: str) -> Iterator[Mapping[str, str]]:
    """The attributes of each job that ``showq --xml`` lists.

    Raises
    ------
    ParseError
    """
    if not answer.strip():
        return
    # Wrappers print their banners first.
    begin = answer.find("<Data")
    try:
        # S314: expat itself bounds what entities may grow to, and this is the site's own scheduler.
        root = ElementTree.fromstring(answer[max(begin, 0) :])  # noqa: S314
    except ElementTree.ParseError as error:
        raise ParseError("this is not an answer of showq --xml", answer) from error
    if root.tag != "Data":
        raise ParseError("this is not an answer of showq --xml", answer)
    yield from (dict(job.attrib) for queue in root.iter("queue") for job in queue.iter("job"))


def statuses(answer: str, wanted: Mapping[str, JobId]) -> dict[JobId, JobStatus]:
    """What showq says of the jobs that were asked for.

    Raises
    ------
    ParseError
    """
    found: dict[JobId, JobStatus] = {}
    for told in jobs(answer):
        if "JobID" not in told:
            pass_over(repr(told), "it has no JobID")
        elif told["JobID"] in wanted:
            found[wanted[told["JobID"]]] = _status(told)
    return found


def _status(told: Mapping[str, str]) -> JobStatus:
    word = told.get("State", "")
    code_text = told.get("CompletionCode", "")
    code = _integer(code_text)
    key = re.sub(r"\W", "", word).lower()
    if key == "completed":
        state = JobState.CANCELLED if code_text.startswith("CNCLD") else _end(code)
    else:
        state = _STATES.get(key, JobState.UNKNOWN)
    is_exit = state in (JobState.COMPLETED, JobState.FAILED) and code is not None and code >= 0
    started = None if state.is_waiting else _moment(told, "StartTime")
    walltime = _integer(told.get("ReqAWDuration", ""))
    ends = started + walltime if started and walltime else None
    return JobStatus(
        state=state,
        native=word,
        reason=told.get("BlockReason", "") if state.is_waiting else "",
        exit_code=code if is_exit and code is not None and code < 256 else None,
        signal=code % 256 if is_exit and code is not None and code >= 256 else None,
        # Users' and administrators' holds are wishes; a batch hold is Moab's own, and stays until somebody lifts it.
        hopeless=(
            "Moab itself holds it, because it asks for what it cannot have or has failed to start: `checkjob` says why"
            if key == "batchhold"
            else ""
        ),
        submitted=_moment(told, "SubmissionTime"),
        started=started,
        ends=_moment(told, "CompletionTime") if state.is_final else ends,
    )


def _end(code: int | None) -> JobState:
    """How a completed job ended; without a code it is not known, and never taken for success."""
    return JobState.FAILED if code is None else _ENDS.get(code, JobState.FAILED)


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d{1,10}", text, re.ASCII) else None


def _moment(told: Mapping[str, str], name: str) -> float | None:
    return float(_integer(told.get(name, "")) or 0) or None


def named(answer: str, name: str) -> list[JobId]:
    """The jobs of that name that have not ended; an array's element has its index behind the name.

    Raises
    ------
    ParseError
    """
    is_element = re.compile(re.escape(name) + r"[.-]?\[?\d+\]?", re.ASCII)
    return [
        JobId(told["JobID"])
        for told in jobs(answer)
        if "JobID" in told
        and (is_called(found := told.get("JobName", ""), name) or is_element.fullmatch(found))
        and not _status(told).state.is_final
    ]


_ID = re.compile(r"((?:[A-Za-z][\w-]*\.)?\d+)(?:\[[^\]\s]*\])?", re.ASCII)


def job_id(answer: Completed) -> str:
    """``Moab.123`` or ``123``, which msub prints after a blank line; what it adds for an array is left out.

    Raises
    ------
    ParseError
    """
    match = _ID.fullmatch(answer.last_line())
    if match is None:
        raise ParseError("msub accepted the job and its answer has no id", answer.stdout + answer.stderr)
    return match[1]


# --- words of failure and of patience ---------------------------------------------------------------------------

#: What a failed command's words mean; the first that is found decides.
_KINDS = (
    (
        FailureKind.LIMIT,
        r"[Mm]aximum number of jobs|MAXIJOB|MAXJOB|exceeds? .*(job|queue) (limit|count)|max_user_queuable",
    ),
    (
        FailureKind.TRANSIENT,
        r"cannot connect|[Cc]onnection (refused|reset|timed out)|[Cc]ommunication (error|failure)|cannot send request|"
        r"cannot receive|timed? ?out|server is (busy|down)|temporarily|too busy|cannot determine server",
    ),
    (
        FailureKind.FATAL,
        r"[Ii]nvalid|[Uu]nknown|[Ii]llegal|not authorized|[Uu]nauthorized|not permitted|denied|violates|exceeds|"
        r"rejected|no (eligible|feasible) |cannot (submit|locate)|does not have access",
    ),
)

#: What is said of a job that is gone already.
GONE = re.compile(
    r"invalid job (specified|id)|unknown job|cannot locate job|job .*(completed|does not exist)", re.IGNORECASE
)


def complaints(completed: Completed) -> list[str]:
    """The lines that a failed command printed; Moab's errors are on either output."""
    text = completed.stderr if completed.stderr.strip() else completed.stdout
    return [line for line in text.splitlines() if line.strip()]


def failure(completed: Completed) -> Failure | None:
    """What a failed command means; None for words that are not known."""
    sentences = (re.sub(r"^(ERROR|WARNING): *", "", line.strip()) for line in complaints(completed))
    message = "; ".join(dict.fromkeys(sentence for sentence in sentences if sentence))
    for kind, words in _KINDS:
        if re.search(words, message):
            return Failure(kind=kind, message=message)
    return None


def patience(answer: str) -> str:
    """Why a job waits, of ``checkjob -v``; empty if it does not wait."""
    state = re.search(r"^State: *(\w+)", answer, re.MULTILINE)
    if state is None or not _STATES.get(state[1].lower(), JobState.UNKNOWN).is_waiting:
        return ""
    said = re.findall(r"^ *(?:NOTE|BLOCK MSG|Reason|Holds|Message\[\d+\]): *(.*\S)", answer, re.MULTILINE)
    return f"it is {state[1].lower()}" + (f": {'; '.join(said)}" if said else "; Moab does not say more")
