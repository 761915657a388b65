"""What LSF's commands answer, as values: IBM's, and those of OpenLava, which are those of LSF before 9.1. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from attrs import evolve, frozen

from corral.plugin import Completed, Failure, FailureKind, JobId, JobState, JobStatus, ParseError, Queue, parsing

# --- ids --------------------------------------------------------------------------------------------------------

#: bkill and bjobs refuse a list of 512 characters: "Bad job array index list". A range takes ten at most.
_RANGES = 40


def folded(job_ids: Iterable[JobId]) -> list[str]:
    """``65[1-1000]`` for a thousand elements; an array with many gaps takes several words."""
    arrays: dict[str, set[int]] = {}
    alone = []
    for job_id in job_ids:
        array, _, index = job_id.text.partition(".")
        if index.isdecimal():
            arrays.setdefault(array, set()).add(int(index))
        else:
            alone.append(job_id.text)
    words = []
    for array, indices in arrays.items():
        spans = parsing.ranges(indices).split(",")
        words += [f"{array}[{','.join(spans[i : i + _RANGES])}]" for i in range(0, len(spans), _RANGES)]
    return words + alone


def parents(job_ids: Iterable[JobId]) -> list[str]:
    """The arrays that hold these jobs."""
    return list(dict.fromkeys(job_id.text.partition(".")[0] for job_id in job_ids))


def job_id(number: str, index: str) -> str:
    """``65.3``; a job that is no array has the index 0, or none."""
    return f"{number}.{index}" if index not in ("", "0", "-") else number


# --- rows of bjobs ----------------------------------------------------------------------------------------------


@frozen
class Row:
    """One job of a table."""

    text: str
    status: JobStatus
    #: Its job name, with the array's brackets.
    name: str


FIELDS = "jobid jobindex stat exit_code exec_host submit_time start_time finish_time exit_reason pend_reason job_name"
FORMAT = f"{FIELDS} delimiter='|'"


def rows(answer: str) -> list[Row]:
    """The rows of a table: of ``bjobs -o`` in `FORMAT`, or of ``bjobs -w``.

    Raises
    ------
    ParseError
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    found = [row for line in lines if (row := _custom_row(line) or _wide_row(line)) is not None]
    if lines and not found:
        raise ParseError("this is not a table of jobs", answer)
    for line in lines:
        # An id in the first column; other lines are headings, or a wrapper's.
        if (begins := re.match(r"\d+(\||\s+\S+\s+[A-Z]+\s)", line, re.ASCII)) and not (
            _custom_row(line) or _wide_row(line)
        ):
            parsing.pass_over(line, f"it begins with {begins[0].strip()!r} and does not go on as others do")
    return found


def _custom_row(line: str) -> Row | None:
    row = line.split("|", FIELDS.count(" "))
    if len(row) <= FIELDS.count(" ") or not re.fullmatch(r"\d+", row[0], re.ASCII):
        return None
    number, index, word, code, hosts, submit, start, finish, why, waits, name = (_said(text) for text in row)
    state = job_state(word)
    status = JobStatus(
        state=state,
        native=word,
        reason=waits if state.is_waiting else why,
        exit_code=int(code) if state.is_final and re.fullmatch(r"\d{1,9}", code, re.ASCII) else None,
        hosts=host_names(hosts),
        submitted=moment(submit),
        started=moment(start),
        ends=moment(finish),
    )
    if state is JobState.COMPLETED:
        status = evolve(status, exit_code=0)
    return Row(job_id(number, index), _ended(status), name)


def _said(text: str) -> str:
    return "" if text.strip() == "-" else text.strip()


#: JOBID USER STAT QUEUE FROM_HOST EXEC_HOST JOB_NAME SUBMIT_TIME; EXEC_HOST is blank or "-" where there is none yet.
_WIDE = re.compile(
    r"(\d+)\s+\S+\s+([A-Z]+)\s+\S+\s+\S+\s+(?:(\S+)\s+)?(\S.*?)\s+[A-Z][a-z]{2}\s+\d+\s+\d+:\d+\s*", re.ASCII
)


def _wide_row(line: str) -> Row | None:
    match = _WIDE.fullmatch(line)
    if match is None:
        return None
    number, word, hosts, name = match[1], match[2], _said(match[3] or ""), match[4]
    index = re.search(r"\[(\d+)\]$", name, re.ASCII)
    state = job_state(word)
    status = JobStatus(
        state=state,
        native=word,
        exit_code=0 if state is JobState.COMPLETED else None,
        hosts=() if state.is_waiting else host_names(hosts),
    )
    return Row(job_id(number, index[1] if index else ""), _ended(status), name)


_STATES = {
    "PEND": JobState.PENDING,
    "WAIT": JobState.PENDING,
    "PROV": JobState.PENDING,
    "PSUSP": JobState.HELD,
    "RUN": JobState.RUNNING,
    "USUSP": JobState.SUSPENDED,
    "SSUSP": JobState.SUSPENDED,
    "DONE": JobState.COMPLETED,
    "EXIT": JobState.FAILED,
    # Its host does not answer (UNKWN: it may come back), and it was killed since.
    "ZOMBI": JobState.NODE_FAILED,
}


def job_state(word: str) -> JobState:
    """The state that a word means; none of them is ever cut."""
    return _STATES.get(word, JobState.UNKNOWN)


#: How IBM's LSF says why it ended a job.
_TERMINATIONS = (
    (r"TERM_(OWNER|ADMIN|FORCE_OWNER|FORCE_ADMIN|BUCKET_KILL)", JobState.CANCELLED),
    (r"TERM_(RUNLIMIT|DEADLINE|WINDOW)", JobState.TIMEOUT),
    (r"TERM_(MEMLIMIT|SWAP)", JobState.OUT_OF_MEMORY),
    (r"TERM_(PREEMPT|LOAD)", JobState.PREEMPTED),
)


def _ended(status: JobStatus) -> JobStatus:
    """The state with what is known of its end."""
    if status.state is not JobState.FAILED:
        return status
    for words, state in _TERMINATIONS:
        if re.search(words, status.reason):
            return evolve(status, state=state)
    # OpenLava gives no reasons. bkill begins with SIGINT, a run limit with SIGUSR2; what has no host never began.
    if not status.hosts or status.exit_code == 128 + 2:
        return evolve(status, state=JobState.CANCELLED)
    return evolve(status, state=JobState.TIMEOUT) if status.exit_code == 128 + 12 else status


@lru_cache(maxsize=4096)
def host_names(text: str) -> tuple[str, ...]:
    """``4*n1:n2:n2`` as n1 and n2: hosts come once a slot, or counted."""
    return tuple(dict.fromkeys(name.rpartition("*")[2] for name in text.split(":") if name))


@lru_cache(maxsize=4096)
def moment(text: str) -> float | None:
    """Seconds since the epoch of ``Nov 23 12:23:16 2026``; None without a year. `` L`` or `` E`` mark an estimate."""
    words = text.split()
    for form in ("%b %d %H:%M:%S %Y", "%b %d %H:%M %Y"):
        try:
            return datetime.strptime(" ".join(words[: len(form.split())]), form).timestamp()  # noqa: DTZ007 - local
        except (ValueError, OverflowError):
            continue
    return None


# --- bjobs -l ---------------------------------------------------------------------------------------------------


def with_details(found: Mapping[JobId, JobStatus], answer: str) -> dict[JobId, JobStatus]:
    """Jobs of a wide table, with the exit codes and reasons of the long one."""
    details = dict(_ends(answer))
    return {job_id: _ended(details.get(job_id.text, _End()).of(status)) for job_id, status in found.items()}


@frozen(kw_only=True)
class _End:
    """How a job ended."""

    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""

    def of(self, status: JobStatus) -> JobStatus:
        code = status.exit_code if self.exit_code is None else self.exit_code
        return evolve(status, exit_code=code, signal=self.signal, reason=self.reason)


def _ends(answer: str) -> Iterator[tuple[str, _End]]:
    """The id of each job that has ended, and how: the last of its dated lines says it."""
    blocks = re.split(r"^Job (?:Id )?<(\d+)(?:\[(\d+)\])?>", _unfolded(answer), flags=re.MULTILINE | re.ASCII)
    for number, index, text in zip(blocks[1::3], blocks[2::3], blocks[3::3], strict=True):
        events = re.findall(r"^\w{3} \w{3} [ \d]\d [\d:]+(?: \d{4})?: (.*)$", text, re.MULTILINE)
        said = " ".join(event for event in events if re.match(r"Exited|Completed|Termination", event))
        code = re.search(r"exit code (\d{1,9})", said, re.ASCII)
        signal = re.search(r"by signal (\d{1,3})", said, re.ASCII)
        why = re.search(r"TERM_\w+: [^.]*", said)
        if said:
            yield (
                job_id(number, index or ""),
                _End(
                    exit_code=int(code[1]) if code else None,
                    signal=int(signal[1]) if signal else None,
                    reason=why[0] if why else "",
                ),
            )


def _unfolded(answer: str) -> str:
    """``bjobs -l`` breaks its lines anywhere, and indents what follows."""
    return re.sub(r"\n {21}", "", answer)


# --- bjobs -p ---------------------------------------------------------------------------------------------------

#: The beginning of an explanation which says that a job will never start.
NEVER = "it will never start"

_PATIENCE = (
    ("suspended by the user while pending", "it is held: 'bresume' releases it"),
    ("resource requirements not satisfied", "no host has what it asks for: at present, or ever"),
    ("Not enough job slot", "it waits for slots to become free"),
    ("Not enough processors", "it waits for slots to become free"),
    ("New job is waiting", "LSF has not looked at it yet"),
    ("job slot limit", "a limit on what may run at once is reached"),
    ("limit", "a limit is reached"),
    ("dependency condition", "it waits for what it depends on"),
    ("Closed by LSF administrator", "hosts are closed by an administrator"),
    ("Load information unavailable", "hosts do not answer"),
)


#: Reasons that no other job's end cures; from lsbatch.h.
_NEVER = (
    (
        "dependency condition is invalid or never satisfied",
        "what it depends on did not end as required: see extra_directives=",
    ),
    ("an't run jobs submitted by root", "no host here runs jobs as root: submit them as another user"),
)
_REQUIREMENT = re.compile(r"resource requirements not satisfied|requirements? for re(serving|source)", re.IGNORECASE)


def lacks_resources(answer: str) -> bool:
    """Whether ``bjobs -p`` says of all hosts that they lack what is asked for, now or ever."""
    reasons = _reasons(answer)
    return bool(reasons) and all(_REQUIREMENT.search(reason) for reason in reasons)


def asked_memory(answer: str, unit: str) -> int:
    """Bytes that ``rusage[mem=]`` of ``bjobs -l`` asks for on a host; 0 if it does not.

    Parameters
    ----------
    unit
        Of a number without one.
    """
    asked = r"Requested Resources <[^>]*\brusage\[[^]]*\bmem=(\d+(?:\.\d+)?)([KMGTP]?)"
    found = re.search(asked, _unfolded(answer))
    return parsing.size_in_bytes(f"{found[1]}{found[2] or unit}") if found else 0


def most_memory(answer: str) -> int:
    """Bytes of the largest host of ``lshosts -w``; 0 if one of them does not say: it may be down."""
    rows = [line.split() for line in answer.splitlines()]
    if not rows or "maxmem" not in rows[0]:
        return 0
    column = rows[0].index("maxmem")
    memory = [re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP])", row[column]) for row in rows[1:] if len(row) > column]
    sizes = [parsing.size_in_bytes(f"{size[1]}{size[2]}") for size in memory if size]
    return max(sizes) if sizes and len(sizes) == len(memory) else 0


def beyond_words(asked: int, most: int) -> str:
    """Words, if a job asks for more bytes than the largest host has; empty if it does not, or that is not known."""
    if not 0 < most < asked:
        return ""
    wanted, had = (f"{size / 2**30:.1f} GiB" for size in (asked, most))
    return f"it asks for {wanted} on a host, the largest has {had}; see memory="


def pending_words(answer: str) -> str:
    """Why a job waits, in a person's words, with LSF's own behind them; empty if it does not wait."""
    reasons = _reasons(answer)
    if not reasons:
        return ""
    for mark, cure in _NEVER:
        # Of hosts, each has its reason; of the job, there is one.
        if all(mark in reason for reason in reasons):
            return f"{NEVER}: {cure} ({'; '.join(reasons)})"
    words = [meaning for line in reasons for mark, meaning in _PATIENCE if mark.lower() in line.lower()]
    return f"{words[0] if words else 'it waits'} ({'; '.join(reasons)})"


def _reasons(answer: str) -> list[str]:
    return [line.strip().rstrip(";") for line in answer.splitlines() if re.match(r"\s+\S.*;\s*$", line)]


# --- bqueues -l and bparams -l -----------------------------------------------------------------------------------


def queues(answer: str) -> list[Queue]:
    """The queues of ``bqueues -l``.

    Raises
    ------
    ParseError
    """
    blocks = re.split(r"^QUEUE: (\S+)", answer, flags=re.MULTILINE)
    if len(blocks) == 1 and answer.strip():
        raise ParseError("this is not a list of queues", answer)
    return [_queue(name, text) for name, text in zip(blocks[1::2], blocks[2::2], strict=True)]


def _queue(name: str, text: str) -> Queue:
    # A default limit may stand before the largest one.
    limits = text.partition("MAXIMUM LIMITS:")[2] or text
    return Queue(
        name=name,
        is_default="This is the default queue" in text,
        accepts_jobs=re.search(r"^ *-?\d+ +-?\d+ +Open:", text, re.MULTILINE) is not None,
        starts_jobs=re.search(r"^ *-?\d+ +-?\d+ +\w+:Inact", text, re.MULTILINE) is None,
        max_walltime=_run_limit(limits),
    )


def _run_limit(text: str) -> int | None:
    """Seconds of RUNLIMIT, in a table of limits that stand side by side."""
    table = re.search(r"^([A-Z ]*\bRUNLIMIT\b[A-Z ]*)\n(.*)$", text, re.MULTILINE)
    if table is None:
        return None
    column = table[1].split().index("RUNLIMIT")
    values = re.findall(r"([\d.]+) (min|[KMGT])\b(?: of \S+)?", table[2])
    if len(values) <= column or values[column][1] != "min":
        return None
    minutes = re.fullmatch(r"\d{1,9}(\.\d+)?", values[column][0], re.ASCII)
    return int(float(minutes[0]) * 60) if minutes else None


def array_limit(answer: str) -> int | None:
    """MAX_JOB_ARRAY_SIZE of ``bparams -l``."""
    match = re.search(r"MAX_JOB_ARRAY_SIZE\s*=\s*(\d{1,9})\b", answer, re.ASCII)
    return int(match[1]) if match else None


# --- lsid -------------------------------------------------------------------------------------------------------


def version(answer: str) -> tuple[str, str] | None:
    """Name and version; None if this is not an LSF.

    ``IBM Spectrum LSF Standard 10.1.0.0, Jul 08 2016``, ``Platform LSF 9.1.3.0, …``, ``OpenLava 4.0dev4, …``.
    """
    match = re.search(r"^(.*\bLSF\b.*|open ?lava.*?) (\d[\w.]*),", answer, re.MULTILINE | re.IGNORECASE)
    return (match[1], match[2]) if match else None


# --- failures ---------------------------------------------------------------------------------------------------

#: What bkill and bjobs say of a job that has ended, is being ended, or was forgotten.
GONE = r"already finished|No matching job found|is being (terminated|signal)|Operation is in progress|is not found"
UNKNOWN = r"is not found|^No (\w+ )*job found"
#: Before 9.1, and in OpenLava.
NO_FORMAT = r"invalid option|[Ii]llegal option|^Usage:"

_KINDS = (
    (r"[Pp]ending job threshold reached|reached its job limit|No job Id can be used", FailureKind.LIMIT),
    (r"does not have enough job slots|violates the job group limit|maximum number of", FailureKind.LIMIT),
    (r"not responding|still trying|[Tt]imeout|Connection refused|connection already|is down", FailureKind.TRANSIENT),
    (r"LSF library call|library internal error|daemon internal error|System call failed", FailureKind.TRANSIENT),
    (r"XDR|protocol error|[Uu]nable to contact|cannot fork|query limit|locate master", FailureKind.TRANSIENT),
    # An administrator closed it for a while.
    (r"Queue has been closed|queue windows are closed", FailureKind.TRANSIENT),
    (r"not submitted|Request aborted by esub|permission denied|No such queue|Illegal job ID", FailureKind.FATAL),
    (NO_FORMAT, FailureKind.FATAL),
)


def failure(completed: Completed) -> Failure | None:
    """What a command that failed means; None if it does not speak as LSF does."""
    lines = [line.strip() for line in completed.stderr.splitlines() if line.strip()]
    said = "; ".join(re.sub(r"\s*Job not submitted\.?$", "", line) for line in lines[:5])
    for words, kind in _KINDS:
        if re.search(words, completed.stderr, re.MULTILINE):
            return Failure(kind=kind, message=said)
    return None
