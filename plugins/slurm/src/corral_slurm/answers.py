"""What Slurm's commands answer, as values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from attrs import evolve

from corral.plugin import Completed, Failure, FailureKind, JobId, JobState, JobStatus, ParseError, Queue, parsing
from corral_slurm import limits
from corral_slurm.directives import MEBI, gpus, seconds

# --- rows of squeue and sacct -----------------------------------------------------------------------------------

#: Columns of `statuses`, as squeue -O and as sacct -o name them. Their common order lets one parser read both.
SQUEUE_COLUMNS = "JobArrayID State exit_code NodeList SubmitTime StartTime EndTime Reason Partition"
SACCT_COLUMNS = "JobID State ExitCode NodeList Submit Start End Reason"


def statuses(answer: str, wanted: Mapping[str, JobId]) -> dict[JobId, JobStatus]:
    """The rows of the jobs that were asked for; arrays are listed whole.

    Raises
    ------
    ParseError
    """
    found: dict[JobId, JobStatus] = {}
    for texts, row in _table(answer, 8):
        ids = [job_id for text in texts if (job_id := wanted.get(text)) is not None]
        if ids:
            status = _status(*row)
            found |= {job_id: status for job_id in ids if job_id not in found or not _is_void(status, found[job_id])}
    return found


def _is_void(status: JobStatus, before: JobStatus) -> bool:
    """Whether a further row of sacct's says nothing of the job.

    Of a job that was cancelled as it began there is one that says PENDING for ever, and a cluster whose job another of
    its federation runs has one of its own.
    """
    is_relic = status.state is JobState.PENDING and before.state is JobState.CANCELLED
    return is_relic or status.native in REVOKED


def cancelled_arrays(answer: str) -> dict[str, JobStatus]:
    """Arrays of which all elements that waited were cancelled: squeue lists none of those, and the array as cancelled.

    Raises
    ------
    ParseError
    """
    rows = ((texts[0], _status(*row)) for texts, row in _table(answer, 8) if len(texts) == 1 and texts[0].isdecimal())
    return {text: status for text, status in rows if status.state is JobState.CANCELLED}


def names(answer: str) -> Iterator[tuple[str, JobState, str]]:
    """Id, state and name of each job in a table of these columns.

    Raises
    ------
    ParseError
    """
    for texts, (word, name) in _table(answer, 3):
        for text in texts:
            yield text, job_state(word), name.removesuffix("|")


_ID = re.compile(r"\d+(_(\d+|\[.*))?$")


def _table(answer: str, columns: int) -> Iterator[tuple[list[str], list[str]]]:
    """The ids of each row, and its other columns; the last may have bars in it."""
    lines = answer.splitlines()
    is_table = not any(line.strip() for line in lines)
    for line in lines:
        row = line.split("|", columns - 1)
        # "CLUSTER: gpu" is no row, nor what a wrapper prints.
        if len(row) == columns and _ID.match(row[0]):
            is_table = True
            try:
                ids = unfolded(row[0])
            except ValueError:
                parsing.pass_over(line, f"{row[0]!r} is not a list of jobs")
            else:
                yield ids, row[1:]
        elif len(row) > 1 and _ID.match(row[0]):
            parsing.pass_over(line, f"that of {row[0]} does not have {columns} columns")
    if not is_table:
        raise ParseError("this is not a table of jobs", answer)


def _status(word: str, exit_text: str, nodes: str, submit: str, start: str, end: str, reason: str) -> JobStatus:
    # sacct says "CANCELLED by 1000".
    word, _, by = word.partition(" ")
    reason, partitions = of_partitions(reason)
    reason = by or reason
    state = job_state(word)
    if state is JobState.PENDING and _is_held(reason):
        state = JobState.HELD
    hosts = host_names(nodes)
    waits = state.is_waiting
    code, signal = _exit(exit_text) if state.is_final else (None, None)
    if signal == _NEVER_BEGAN:
        # Slurm 22.05 says the first of these words, 24.11 "RaisedSignal:53(Real-time signal 19)".
        signal, reason = None, "JobLaunchFailure"
    elif state is JobState.CANCELLED and reason in ("None", "0") and hosts and _is_sudden(start, end):
        reason = _SUDDEN_END
    if state is JobState.NODE_FAILED or not hosts:
        code = signal = None  # it did not say this itself: it never ran, or was lost
    if code == 0 and state is not JobState.COMPLETED:
        code = None  # was ended before it could say anything
    return JobStatus(
        state=state,
        native=word,
        reason="" if reason == "None" else reason,
        exit_code=code,
        signal=signal,
        hosts=hosts,
        submitted=moment(submit),
        # A job cancelled before it started has the moment of its end here, and no node.
        started=None if waits or not hosts else moment(start),
        expected_start=moment(start) if waits else None,
        hopeless=hopeless_words(reason, partitions) if state is JobState.PENDING else "",
        ends=None if waits else moment(end),
    )


_STATES = {
    "PENDING": JobState.PENDING, "PD": JobState.PENDING,
    "REQUEUED": JobState.PENDING, "RQ": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING, "RF": JobState.PENDING,
    "EXPEDITING": JobState.PENDING, "EX": JobState.PENDING,
    "CONFIGURING": JobState.PENDING, "CF": JobState.PENDING,  # its nodes boot
    "REQUEUE_HOLD": JobState.HELD, "RH": JobState.HELD,
    "SPECIAL_EXIT": JobState.HELD, "SE": JobState.HELD,
    "RESV_DEL_HOLD": JobState.HELD, "RD": JobState.HELD,
    "RUNNING": JobState.RUNNING, "R": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING, "CG": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING, "SI": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING, "SO": JobState.RUNNING,
    "RESIZING": JobState.RUNNING, "RS": JobState.RUNNING,
    "SUSPENDED": JobState.SUSPENDED, "S": JobState.SUSPENDED,
    "STOPPED": JobState.SUSPENDED, "ST": JobState.SUSPENDED,
    "COMPLETED": JobState.COMPLETED, "CD": JobState.COMPLETED,
    "FAILED": JobState.FAILED, "F": JobState.FAILED,
    "LAUNCH_FAILED": JobState.FAILED,
    "TIMEOUT": JobState.TIMEOUT, "TO": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT, "DL": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY, "OOM": JobState.OUT_OF_MEMORY,
    "PREEMPTED": JobState.PREEMPTED, "PR": JobState.PREEMPTED,
    "NODE_FAIL": JobState.NODE_FAILED, "NF": JobState.NODE_FAILED,
    "BOOT_FAIL": JobState.NODE_FAILED, "BF": JobState.NODE_FAILED,
    "CANCELLED": JobState.CANCELLED, "CA": JobState.CANCELLED,
}  # fmt: skip


#: Says the cluster to which a job was submitted, when another of its federation has started it.
REVOKED = ("REVOKED", "RV")


@lru_cache
def job_state(word: str) -> JobState:
    """The state that a word means: long, short, or cut by a narrow column (``OUT_OF_ME+``)."""
    stem = word.rstrip("+")
    if stem in _STATES:
        return _STATES[stem]
    longer = {state for name, state in _STATES.items() if len(stem) > 3 and name.startswith(stem)}
    return longer.pop() if len(longer) == 1 else JobState.UNKNOWN


def _is_held(reason: str) -> bool:
    """``JobHeldUser``, ``JobHoldMaxRequeue``, ``launch failed requeued held``."""
    return "held" in reason.lower() or "hold" in reason.lower()


#: Slurm's own number for a script that never began: no log directory, say.
_NEVER_BEGAN = 53

#: Neither squeue nor sacct tells a Prolog that failed from an administrator who cancels.
_SUDDEN_END = "cancelled as it started: its node's Prolog failed (see sinfo -R), or an administrator did it"


def _is_sudden(start: str, end: str) -> bool:
    began, ended = moment(start), moment(end)
    return began is not None and ended is not None and ended - began <= 1


@lru_cache
def _exit(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal of ``3:0``; squeue before 23.02 prints the wait status instead: ``768``."""
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if match is None:
        return None, None
    status = int(match[1])
    code, signal = (status >> 8 & 0xFF, status & 0x7F) if match[2] is None else (status, int(match[2]))
    return (None, signal) if signal else (code, None)


@lru_cache(maxsize=4096)
def moment(text: str) -> float | None:
    """Seconds since the epoch; None for ``N/A`` and the like.

    SLURM_TIME_FORMAT=%s asks for just that, but a site that carries commands elsewhere may lose the variable.
    """
    if text.isdecimal():
        return float(text) or None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def host_names(nodelist: str) -> tuple[str, ...]:
    """``n[1-3,05],g1`` written out."""
    if nodelist in ("", "None", "None assigned", "(null)", "N/A", "n/a"):
        return ()
    return parsing.host_names(nodelist)


# --- a squeue that knows less -----------------------------------------------------------------------------------


def refused_option(completed: Completed) -> str | None:
    """Which of squeue's newer options it does not know; None if it fails for another reason."""
    said = completed.stderr
    if re.search(r"--me\b", said) and re.search(r"unrecognized|invalid option|unknown", said):
        return "--me"
    if re.search(
        r"(invalid|unrecognized) option.*(--Format|-O\b|'O')|[Ii]nvalid (job )?format|Unrecognized (job )?format", said
    ):
        return "-O"
    return None


#: The columns as ``squeue -o`` knows them; what it does not, or not everywhere, is empty.
_OLDER = {
    "JobArrayID": "%i", "State": "%T", "exit_code": "", "NodeList": "%N", "SubmitTime": "", "StartTime": "%S",
    "EndTime": "%e", "Reason": "%r", "Name": "%j", "Partition": "%P",
}  # fmt: skip


def older_columns(names: str) -> str:
    """A format for ``squeue -o``, with the same bars."""
    return "".join(f"{_OLDER[name]}|" for name in names.split())


def is_cut(answer: str) -> bool:
    """Whether an array's list of elements ends before its bracket does: squeue shows so many characters of it."""
    return re.search(r"_\[[^\]|]*(\||\.\.\.)", answer) is not None


# --- sinfo ------------------------------------------------------------------------------------------------------

#: %F: allocated/idle/other/total.
SINFO_FORMAT = "%P|%a|%l|%F|%c|%m|%G"


def queues(answer: str) -> list[Queue]:
    """Partitions of `SINFO_FORMAT`; sinfo prints a line for each kind of node in each of them.

    Raises
    ------
    ParseError
    """
    found: dict[str, Queue] = {}
    for line in answer.splitlines():
        row = line.split("|")
        if len(row) == 7:
            try:
                known = found.get(row[0], Queue(name=row[0].removesuffix("*")))
                found[row[0]] = _queue(known, *row)
            except ValueError as error:
                raise ParseError(f"{line!r} is not a partition", answer) from error
    if not found and answer.strip():
        raise ParseError("this is not a table of partitions", answer)
    return list(found.values())


def _queue(known: Queue, name: str, up: str, limit: str, counts: str, cores: str, memory: str, gres: str) -> Queue:
    """A partition, with one more kind of node in it."""
    _, idle, _, total = (int(count) for count in counts.split("/"))
    return evolve(
        known,
        is_default=name.endswith("*"),
        accepts_jobs=up in ("up", "down"),  # "drain" and "inact" take none
        starts_jobs=up in ("up", "drain"),
        max_walltime=None if limit == "n/a" else seconds(limit),
        cores=max(known.cores or 0, int(cores.rstrip("+"))),
        memory=max(known.memory or 0, int(memory.rstrip("+")) * MEBI),
        gpus=max(known.gpus or 0, gpus(gres)),
        nodes=(known.nodes or 0) + total,
        free_nodes=(known.free_nodes or 0) + idle,
    )


# --- words of failure -------------------------------------------------------------------------------------------

#: What a failed command's words mean; the first that is found decides. From src/common/slurm_errno.c.
_KINDS = (
    # A limit on one job's size comes with the same sentence as a limit on the number of jobs.
    (FailureKind.FATAL, r"(QOS|Assoc|Max)\w*(PerJob|PerNode|Wall|TimeLimit)|QOSMin"),
    (FailureKind.LIMIT, r"job submit limit|MaxJobCount|SubmitJob"),
    (
        FailureKind.TRANSIENT,
        r"Unable to contact slurm controller|Socket timed out|Connection (refused|timed out|reset)|"
        r"Communication connection failure|standby mode|Rate limit exceeded|try again|Transport endpoint|"
        r"temporarily un(able|available)|scheduling attempts deferred|Zero Bytes were transmitted|"
        r"Protocol authentication error|[Mm]unge|Problem talking to|Unexpected message received",
    ),
    (
        FailureKind.FATAL,
        r"[Ii]nvalid|not available|can not be satisfied|not permitted|denied|unrecognized option|mutually exclusive|"
        r"does not look like a batch script|Batch script is empty|requires an argument|is ambiguous|"
        r"DOS line breaks|[Dd]ependency problem|Unspecified error",  # the last is job_submit.lua's refusal
    ),
)

_PREFIX = re.compile(
    r"^(\w+: )?(error|fatal|warning): |^\w+ error: |^(sbatch|scancel|squeue|sinfo|sacct|srun|scontrol): |"
    r"Batch job submission failed: ",
)


def failure(completed: Completed) -> Failure | None:
    """What a failed command means; None for words that are not known."""
    lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
    sentences = list(dict.fromkeys(sentence for line in lines if (sentence := _bare(line))))
    message = "; ".join(sentences)
    # With DenyOnLimit, sbatch refuses what is larger than a limit on many jobs; what others use is not looked at.
    sizes = [words for sentence in sentences if (words := limits.size_words(sentence))]
    if sizes:
        return Failure(kind=FailureKind.FATAL, message="; ".join([*sentences, *sizes]))
    for kind, words in _KINDS:
        if re.search(words, message):
            said = [sentence for sentence in sentences if sentence != "Unspecified error"]
            # "QOSMaxCpuPerJobLimit" is no word of a person's.
            said += filter(None, map(hopeless_words, sentences))
            return Failure(kind=kind, message="; ".join(said) or message)
    return None


def _bare(line: str) -> str:
    while (shorter := _PREFIX.sub("", line.strip(), count=1)) != line:
        line = shorter
    return line.rstrip(".")


# --- words of patience ------------------------------------------------------------------------------------------

#: The beginning of an explanation which says that a job will never start.
NEVER = "it will never start"
#: squeue(1), JOB REASON CODES, for those who do not know them by heart: the beginning of a reason, and its meaning.
_PATIENCE = (
    ("JobHeldAdmin", "an administrator holds it"),
    ("JobHeld", "it is held: 'scontrol release' releases it"),
    ("JobHoldMaxRequeue", "it was requeued too often and is held"),
    ("JobArrayTaskLimit", "its array runs as many jobs at once as it may"),
    ("PartitionTimeLimit", "it will never start: its walltime is longer than the partition allows; ask for less"),
    ("PartitionNodeLimit", "it asks for more or fewer nodes than the partition allows, or than are up in it"),
    ("PartitionDown", "the partition takes jobs but starts none at present"),
    ("PartitionInactive", "the partition is closed at present"),
    ("PartitionConfig", "the partition does not allow such jobs at present"),
    ("BadConstraints", "it will never start: no node can satisfy what it asks for"),
    ("DependencyNeverSatisfied", "it will never start: a job that it depends on did not end as required"),
    ("Dependency", "it waits for another job to end"),
    ("InvalidAccount", "it will never start: the account is not valid"),
    ("InvalidQOS", "it will never start: the QOS is not valid"),
    ("AccountNotAllowed", "it will never start: the account may not use this partition"),
    ("QOSNotAllowed", "it will never start: the QOS may not use this partition"),
    ("QOSTimeLimit", "it will never start: its walltime is longer than the QOS allows"),
    ("ReservationDeleted", "it will never start: its reservation was deleted"),
    ("Reservation", "it waits for its reservation to begin"),
    ("ReqNodeNotAvail", "a node that it needs is down, drained or reserved (maintenance, perhaps)"),
    ("NodeDown", "a node that it needs is down"),
    ("BeginTime", "it may not start before a set time"),
    ("Licenses", "it waits for a licence"),
    ("Priority", "jobs of higher priority are before it"),
    ("Resources", "it is next, and waits for nodes to become free"),
    ("MaxMemPerLimit", "it will never start: it asks for more memory than allowed"),
    ("Prolog", "its nodes are being prepared"),
    ("Cleaning", "it was requeued, and its last run is being cleaned up"),
    ("BurstBuffer", "its burst buffer is being prepared"),
    ("MaxPoweredUpNodes", "as many nodes as allowed are powered up"),
    ("None", "Slurm has not looked at it yet"),
)


#: Reasons that do not pass by themselves, and what to change: squeue(1), JOB REASON CODES. Not PartitionNodeLimit,
#: which may mean nodes that are down, nor limits on a user, an account or a QOS as a whole, whose other jobs will end.
_TOO_LONG = "ask for less with walltime="
_HOPELESS = (
    (r"PartitionTimeLimit$", f"its walltime is longer than the partition allows: {_TOO_LONG}, or name another queue="),
    (r"(QOS|Assoc)\w*WallDuration\w*PerJob", f"its walltime is longer than one job may have here: {_TOO_LONG}"),
    (r"QOSTimeLimit$|AssociationTimeLimit$", f"its walltime is longer than one job may have here: {_TOO_LONG}"),
    (r"\w*Max\w*Min\w*PerJob", f"one job may not use that much for that long: {_TOO_LONG} or cores="),
    (r"\w*MaxC(pu|PU)\w*Per(Job|Node)", "one job may not have that many cores: ask for fewer with cores="),
    (r"\w*MaxMem\w*Per(Job|Node|Limit)", "one job may not have that much memory: ask for less with memory="),
    (r"\w*MaxNode\w*PerJob", "one job may not have that many nodes: ask for fewer with nodes="),
    (r"\w*MaxGRES\w*Per(Job|Node)", "one job may not have that many GPUs: ask for fewer with gpus="),
    (r"\w*Max\w+Per(Job|Node)", "one job may not have that much: ask for less with cores=, memory=, nodes= or gpus="),
    (r"(QOS|Assoc)Min", "one job must ask for more here: see cores=, memory=, nodes= and gpus="),
    (r"BadConstraints", "no node can satisfy what it asks for: see cores=, memory=, gpus= and extra_directives="),
    # What squeue says instead where a partition is for some alone: src/slurmctld/job_mgr.c, part_policy_valid_acct().
    (
        r"Job's account not (known|permitted)",
        "its account may not use this partition: name another with account=, or another queue=",
    ),
    (
        r"Job's QOS not (known|permitted)",
        "its QOS may not use this partition: name another with extra_directives=['--qos=…'], or another queue=",
    ),
    (r"InvalidAccount|AccountNotAllowed", "its account may not be used that way: name another with account="),
    (r"InvalidQOS|QOSNotAllowed", "its QOS may not be used that way: name another with extra_directives=['--qos=…']"),
    (r"DependencyNeverSatisfied", "a job that it depends on did not end as required: see extra_directives="),
    (r"ReservationDeleted", "its reservation was deleted: see extra_directives="),
)


#: Of a job that names several partitions, squeue shows why it cannot start in one of them; these hold in all.
_ANYWHERE = r"Assoc|InvalidAccount|InvalidQOS|Dependency|Reservation"


def of_partitions(text: str) -> tuple[str, str]:
    """A reason, and the partitions that were asked about with it; empty if they were not."""
    reason, _, partitions = text.rstrip("|").partition("|")
    return reason, partitions


def hopeless_words(reason: str, partitions: str = "") -> str:
    """What to change, if it will never start; empty if it will, or may."""
    if "," in partitions and not re.match(_ANYWHERE, reason):
        return ""
    return next((words for pattern, words in _HOPELESS if re.match(pattern, reason)), "")


def pending_words(reason: str, partitions: str = "") -> str:
    """A reason in a person's words."""
    words = _pending_words(reason)
    if "," in partitions and words.startswith(NEVER) and not hopeless_words(reason, partitions):
        return "not in one of its partitions, at least: it waits for another"
    return words


def _pending_words(reason: str) -> str:
    for beginning, meaning in _PATIENCE:
        if reason.startswith(beginning):
            return meaning
    limit = re.match(r"(QOS|Assoc)?(?:iation)?(Grp|Max|Min)?(\w*)", reason)
    if limit and (limit[1] or limit[2]):
        whose = "the QOS" if limit[1] == "QOS" else "the account"
        if "PerJob" in reason or limit[2] == "Min":
            words = hopeless_words(reason) or "one job may not ask for this much or this little"
            return f"{NEVER}: {words} ({whose})"
        return f"a limit of {whose} on what may run at once or be used in all is reached"
    return "Slurm does not say more"


# --- numbers ----------------------------------------------------------------------------------------------------


def least_cpus(counts: str) -> int | None:
    """The smallest of ``7(x2),1``: what every node of a job has.

    A step that asks for more of each than one of them has never starts, and srun waits for ever.
    """
    numbers = re.findall(r"(\d+)(?:\(x\d+\))?(?:,|$)", counts)
    return min(map(int, numbers)) if numbers else None


def array_limit(answer: str) -> int | None:
    """MaxArraySize of ``scontrol show config``."""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer, re.MULTILINE)
    return int(match[1]) if match else None


# --- ids --------------------------------------------------------------------------------------------------------


#: slurm.conf(5), MaxArraySize.
_LARGEST_INDEX = 4_000_001


def unfolded(text: str) -> list[str]:
    """The ids that ``77_[0-2,9%4]`` stands for: squeue folds the elements of an array that wait.

    ``squeue -r`` would unfold, but it loses the last of ``77_[1-199:2]`` (22.05).

    Raises
    ------
    ValueError
    """
    array, bracket, elements = text.partition("_[")
    if not bracket:
        return [text]
    waiting = elements.removesuffix("]").partition("%")[0]
    return [f"{array}_{index}" for index in parsing.numbers(waiting, largest=_LARGEST_INDEX)]


def folded(job_ids: Iterable[JobId]) -> list[str]:
    """``77_[0-999]`` for a thousand elements, in the order in which their arrays first came."""
    arrays: dict[str, set[int]] = {}
    alone = []
    for job_id in job_ids:
        array, _, index = job_id.text.partition("_")
        if index.isdecimal():
            arrays.setdefault(array, set()).add(int(index))
        else:
            alone.append(job_id.text)
    return [f"{array}_[{parsing.ranges(indices)}]" for array, indices in arrays.items()] + alone
