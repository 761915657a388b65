"""What Grid Engine's commands answer, as values. Pure."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from xml.etree import ElementTree

from attrs import frozen

from corral.plugin import Completed, Failure, FailureKind, JobId, JobState, JobStatus, ParseError, Queue
from corral.plugin.parsing import numbers, pass_over, ranges
from corral_sge import directives

# --- qstat -xml -------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Row:
    """What qstat says of some tasks of an array: those that wait are listed together."""

    ids: Sequence[str]
    name: str
    status: JobStatus

    @property
    def array(self) -> str:
        return self.ids[0].partition(".")[0]

    @property
    def is_in_error(self) -> bool:
        return "E" in self.status.native


def rows(answer: str) -> Iterator[Row]:
    """The jobs of an answer; none if it is empty.

    Raises
    ------
    ParseError
    """
    jobs = list(_document(answer).iter("job_list"))
    problem, is_table = "", False
    for job in jobs:
        number, name, native = job.findtext("JB_job_number"), job.findtext("JB_name"), job.findtext("state")
        if number is None or name is None or native is None:
            problem = "this is not a list of jobs"
            pass_over(_text_of(job), f"that of {number} has no number, name or state")
            continue
        tasks = job.findtext("tasks")
        try:
            ids = [number] if tasks is None else [f"{number}.{task}" for task in numbers(tasks)]
        except ValueError:
            problem = f"{tasks!r} is not a list of tasks"
            pass_over(_text_of(job), problem)
            continue
        is_table = True
        queue = job.findtext("queue_name") or ""
        yield Row(
            ids=ids,
            name=name,
            status=JobStatus(
                state=job_state(native),
                native=native,
                hosts=[host] if (host := queue.partition("@")[2]) else [],
                submitted=_moment(job.findtext("JB_submission_time")),
                started=_moment(job.findtext("JAT_start_time")),
            ),
        )
    if problem and not is_table:
        raise ParseError(problem, answer)


def _text_of(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _document(answer: str) -> ElementTree.Element:
    if not answer.strip():
        return ElementTree.Element("job_info")
    try:
        # The user's own batch system is not hostile, and expat refuses entities that grow.
        document = ElementTree.fromstring(answer[answer.find("<?xml") :])  # noqa: S314
    except ElementTree.ParseError as error:
        raise ParseError(f"this is not a list of jobs ({error})", answer) from error
    if document.tag != "job_info":
        raise ParseError("this is not a list of jobs", answer)
    return document


@lru_cache
def job_state(letters: str) -> JobState:
    """The state that letters mean together: ``hqw``, ``dr``, ``Eqw``; qstat(1)."""
    if not letters or set(letters) - set("qwrthsSTdERNPz"):
        return JobState.UNKNOWN
    if "E" in letters:
        return JobState.HELD
    if "q" in letters or "w" in letters:
        return JobState.HELD if "h" in letters else JobState.PENDING
    if set(letters) & set("sSTNP"):
        return JobState.SUSPENDED
    return JobState.RUNNING if set(letters) & set("rt") else JobState.UNKNOWN


# --- qstat -j, qalter -w p --------------------------------------------------------------------------------------


def error_reasons(answer: str) -> dict[str, str]:
    """Why tasks are in error, by their ids; a job that is no array has one task."""
    found = {}
    array, has_tasks = "", False
    for line in answer.splitlines():
        if match := re.match(r"job_number:\s+(\d+)", line):
            array, has_tasks = match[1], False
        elif line.startswith("job-array tasks:"):
            has_tasks = True
        elif match := re.match(r"error reason\s+(\d+):\s+(.*)", line):
            # After the moment and the process.
            found[f"{array}.{match[1]}" if has_tasks else array] = re.sub(
                r"^\S+ \S+ \[\d+:\d+\]: (error: )?", "", match[2]
            ).strip()
    return found


def is_running(answer: str, task: str) -> bool:
    """Whether ``qstat -j`` knows how much this task has used."""
    return re.search(rf"^usage\s+{re.escape(task)}:", answer, re.MULTILINE) is not None


def scheduler_reasons(answer: str) -> list[str]:
    """The scheduler's reasons of ``qstat -j``, once each: often it may not write them down, or has not yet."""
    _, _, block = answer.partition("\nscheduling info:")
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    is_silent = any(re.search("turned off|no messages available", line) for line in lines)
    return [] if is_silent else list(dict.fromkeys(lines))


def verdict_reasons(answer: str) -> list[str]:
    """The reasons of ``qalter -w p``: whether the job could run now."""
    lines = [re.sub(r"^Job \d+ ", "", line.strip()) for line in answer.splitlines()]
    # Queues that were not asked for, and the sentence that sums up, explain nothing.
    told = (
        line
        for line in lines
        if line and not re.search(r"not contained in its|^verification: (found|no|job is) ", line)
    )
    return list(dict.fromkeys(told))


#: Resources that are limits of queues, never measured on hosts: queue_conf(5).
LIMITS_OF_QUEUES = frozenset(
    f"{kind}_{name}" for kind in "hs" for name in ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem")
) | {"hostname", "qname"}


def requested(answer: str) -> list[str]:
    """The names of the resources that a job cannot do without, of ``qstat -j``."""
    line = re.search(r"^hard resource_list:\s+(.*)$", answer, re.MULTILINE)
    return [request.partition("=")[0] for request in line[1].strip().split(",")] if line else []


def configured(answer: str) -> set[str]:
    """Of ``qhost -F``, the resources that hosts or the cluster have by configuration, and none by a measurement."""
    known = {kind: set(re.findall(rf"\b[hg]{kind}:([\w.]+)=", answer)) for kind in "cfl"}
    return (known["c"] | known["f"]) - known["l"]


def may_be_impossible(reasons: Sequence[str]) -> bool:
    """Whether a job cannot run for what it asks; as long as all is full, Grid Engine does not look at that."""
    told = [reason for reason in reasons if "not contained in its" not in reason]
    if any(re.search("hold state|job dependencies|execution time", reason) for reason in told):
        return False
    return any(re.search("cannot run|overload or full", reason) for reason in told)


def never_words(told: Sequence[str], arguments: Mapping[str, str]) -> str:
    """What to change, of the reasons why an empty cluster could not run a job.

    Parameters
    ----------
    arguments
        Those that ask for resources.
    """
    said = "; ".join(told[:3])
    asked = dict.fromkeys(
        name for request in re.findall(r"\(-l ([^)]*)\)", said) for name in re.findall(r"([\w.]+)=", request)
    )
    found = dict.fromkeys(filter(None, (arguments.get(name) for name in asked)))
    if "cannot run in PE" in said:
        found |= dict.fromkeys(("cores=", "nodes="))
    see = [*found, "queue="] if found else ["queue=", "account=", "extra_directives="]
    return f"it will never start: an empty cluster could not run it; see {', '.join(see[:-1])} and {see[-1]} ({said})"


IN_ERROR = "it is in an error state: 'qmod -cj' lets it try again once the cause is gone"
#: Words of a reason, and its meaning for those who do not know them; the first that is found decides.
_PATIENCE = (
    (r"Job is in error state", IN_ERROR),
    (r"Job is in hold state|running or is held", "it is held: 'qrls' releases it"),
    (r"job dependencies", "it waits for another job to end"),
    (r"execution time not reached", "it may not start before a set time"),
    (r"max_aj_instances|per user", "as many jobs as allowed are running"),
    (r"exceeds? limit|resource quota", "a quota is used up"),
    (r"cannot run (at|in|globally)", "no queue can run it at present, or none ever"),
    (r"overload or full", "all slots are taken, or hosts are overloaded"),
)


def pending_words(reasons: Sequence[str], error: str | None = None) -> str:
    """Reasons in a person's words, with Grid Engine's own behind them."""
    if error is not None:
        return f"{IN_ERROR} ({error})"
    for words, meaning in _PATIENCE:
        if own := [reason for reason in reasons if re.search(words, reason)]:
            return f"{meaning} ({'; '.join(own[:3])})"
    return "; ".join(reasons[:3])


# --- qacct -j ---------------------------------------------------------------------------------------------------

#: Codes of ``failed``: sge_status(5).
_RESCHEDULED = {24, 25}
_NODE_LOST = {19, 21, 22}
_LIMIT_ENFORCED = 37
_AFTER_JOB = 100

_SIGKILL = 9


def ends(answer: str, wanted: Mapping[str, JobId]) -> dict[JobId, JobStatus]:
    """How jobs ended, of those that were asked for; a job that was restarted has several records.

    Raises
    ------
    ParseError
    """
    found: dict[JobId, JobStatus] = {}
    records = [dict(_FIELD.findall(text)) for text in re.split(r"^=+$", answer, flags=re.MULTILINE) if text.strip()]
    problem: Exception | None = None
    for record in records:
        number, task = record.get("jobnumber"), record.get("taskid")
        job_id = wanted.get(f"{number}" if task == "undefined" else f"{number}.{task}")
        if job_id is not None:
            try:
                failed, code = int(record["failed"].split()[0]), int(record["exit_status"].split()[0])
            except (KeyError, ValueError, IndexError) as error:
                problem = error
                pass_over(str(record), f"that of {job_id} is not a record of a job's end")
                continue
            found.pop(job_id, None)
            if failed not in _RESCHEDULED:
                found[job_id] = _end(record, failed, code)
    if problem is not None and not found:
        raise ParseError("this is not a record of a job's end", answer) from problem
    if records and not any("jobnumber" in record for record in records):
        raise ParseError("these are no records of jobs", answer)
    return found


_FIELD = re.compile(r"^(\w+)[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)


def _end(record: Mapping[str, str], failed: int, code: int) -> JobStatus:
    # A shell's own 137 comes with failed 0: Grid Engine saw an exit, not a signal.
    signal = code - 128 if failed in (_LIMIT_ENFORCED, _AFTER_JOB) and code > 128 else None
    return JobStatus(
        state=_final_state(record, failed, code, signal),
        native=record["failed"],
        reason=record["failed"].partition(":")[2].strip(),
        # Without it, 0 is what a job has that never got so far.
        exit_code=code if signal is None and (code or not failed) else None,
        signal=signal,
        hosts=[record["hostname"]] if record.get("hostname") not in (None, "NONE", "UNKNOWN") else [],
        submitted=_moment(record.get("qsub_time")),
        started=_moment(record.get("start_time")),
        ends=_moment(record.get("end_time")),
    )


def _final_state(record: Mapping[str, str], failed: int, code: int, signal: int | None) -> JobState:
    if record.get("deleted_by", "NONE") != "NONE":  # Univa's and later
        return JobState.CANCELLED
    if failed == 0 and code == 0:
        return JobState.COMPLETED
    if failed in _NODE_LOST:
        return JobState.NODE_FAILED
    if failed == _LIMIT_ENFORCED:
        asked = dict(re.findall(r"([\w.]+)=([^\s,]+)", record.get("category", "")))
        limit, ran = _amount(asked.get("h_rt", "")), _amount(record.get("ru_wallclock", ""))
        if limit is None or ran is None or ran >= limit:
            return JobState.TIMEOUT
        return JobState.OUT_OF_MEMORY if "h_vmem" in asked else JobState.FAILED
    # qdel leaves no other trace than this, and the job's first process, a small one, is not what runs out of memory.
    return JobState.CANCELLED if failed == _AFTER_JOB and signal == _SIGKILL else JobState.FAILED


def _amount(text: str) -> float | None:
    match = re.match(r"\d+(\.\d+)?", text)
    return float(match[0]) if match else None


@lru_cache(maxsize=4096)
def _moment(text: str | None) -> float | None:
    """Seconds since the epoch of a local time, in the forms of qstat and of qacct; None if it is not known."""
    for form in ("%Y-%m-%dT%H:%M:%S", "%a %b %d %H:%M:%S %Y", "%m/%d/%Y %H:%M:%S"):
        try:
            return time.mktime(time.strptime(re.sub(r"\.\d+$", "", text or ""), form))
        except (ValueError, OverflowError):
            continue
    return None


# --- qstat -f ---------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _Instance:
    """A queue on one host."""

    slots: int
    memory: int
    walltime: float
    #: Disabled, suspended or unreachable ones start nothing at present; a load that is too high passes sooner.
    starts_jobs: bool
    is_free: bool


def queues(answer: str) -> list[Queue]:
    """The queues of an answer that lists the instances of each.

    Raises
    ------
    ParseError
    """
    found: dict[str, list[_Instance]] = {}
    for instance in _document(answer).iter("Queue-List"):
        name = (instance.findtext("name") or "").partition("@")[0]
        try:
            found.setdefault(name, []).append(_instance(instance))
        except ValueError as error:
            raise ParseError(f"queue {name!r} is not understood ({error})", answer) from error
    return [
        Queue(
            name=name,
            starts_jobs=any(instance.starts_jobs for instance in instances),
            cores=max(instance.slots for instance in instances),
            memory=max(instance.memory for instance in instances) or None,
            max_walltime=None if math.isinf(longest := max(each.walltime for each in instances)) else int(longest),
            nodes=len(instances),
            free_nodes=sum(instance.is_free for instance in instances),
        )
        for name, instances in found.items()
    ]


def _instance(element: ElementTree.Element) -> _Instance:
    values = {resource.get("name"): resource.text or "" for resource in element.iter("resource")}
    used, reserved, slots = (int(element.findtext(f"slots_{each}") or 0) for each in ("used", "resv", "total"))
    walltime = directives.seconds(values.get("h_rt", "infinity"))
    states = set(element.findtext("state") or "")
    starts_jobs = not states & set("cudsCDSE")
    return _Instance(
        slots=slots,
        memory=directives.memory(values.get("mem_total", "0")),
        walltime=math.inf if walltime is None else walltime,
        starts_jobs=starts_jobs,
        is_free=starts_jobs and not used and not reserved and not states & set("aA"),
    )


# --- words of failure -------------------------------------------------------------------------------------------

#: What a failed command's words mean; the first that is found decides.
_KINDS = (
    (
        FailureKind.TRANSIENT,
        r"commlib error|unable to (send message to|contact) qmaster|got \w+ (error|timeout)|failed receiving|"
        r"qmaster is not alive|Connection (refused|timed out|reset)|try again",
    ),
    (FailureKind.LIMIT, r"jobs are allowed per (user|cluster)"),
    (
        FailureKind.FATAL,
        r"unknown|rejected|denied|does not exist|not exist|no suitable queues|not allowed|is not a|invalid|[Ww]rong|"
        r"must (not )?|can't resolve|[Uu]nable to (run job|initialize)",
    ),
)

_PREFIX = re.compile(r"^(Unable to run job|error|qsub|qstat|qdel|qacct|qalter): ")


def failure(completed: Completed) -> Failure | None:
    """What a failed command means; None for words that are not known."""
    said = completed.stdout + "\n" + completed.stderr
    kind = next((kind for kind, words in _KINDS if re.search(words, said)), None)
    if kind is None:
        return None
    sentences = dict.fromkeys(bare for line in said.splitlines() if (bare := _bare(line)) and bare != "Exiting")
    return Failure(kind=kind, message="; ".join(sentences))


def _bare(line: str) -> str:
    while (shorter := _PREFIX.sub("", line.strip(), count=1)) != line:
        line = shorter
    return line.rstrip(".")


# --- ids --------------------------------------------------------------------------------------------------------


def folded(job_ids: Iterable[JobId]) -> list[str]:
    """``107.1-1000`` for a thousand tasks: one word for each range of each array."""
    arrays: dict[str, list[int]] = {}
    alone = []
    for job_id in job_ids:
        array, _, task = job_id.text.partition(".")
        if task.isdecimal():
            arrays.setdefault(array, []).append(int(task))
        else:
            alone.append(job_id.text)
    return [f"{array}.{span}" for array, tasks in arrays.items() for span in ranges(tasks).split(",")] + alone
