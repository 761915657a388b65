"""What HTCondor's commands answer, as values. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from corral.plugin import Completed, Failure, FailureKind, JobState, JobStatus, ParseError
from corral.plugin.parsing import pass_over

# --- jobs -------------------------------------------------------------------------------------------------------

#: What `status` reads of a job's ClassAd.
ATTRIBUTES = ",".join([
    "ClusterId", "ProcId", "JobStatus", "JobBatchName", "ExitBySignal", "ExitCode", "ExitSignal", "HoldReason",
    "HoldReasonCode", "LastHoldReason", "LastHoldReasonCode", "LastJobStatus", "RemoveReason", "LastRejMatchReason",
    "RemoteHost", "LastRemoteHost", "QDate", "JobCurrentStartDate", "AllowedJobDuration", "CompletionDate",
    "EnteredCurrentStatus",
])  # fmt: skip

ClassAd = Mapping[str, Any]


def jobs(answer: str) -> dict[str, ClassAd]:
    """The jobs of ``-json``, by their ids. An empty queue is nothing at all, an empty history ``[ ]``.

    Raises
    ------
    ParseError
    """
    lines = answer.splitlines(keepends=True)
    begins = next((number for number, line in enumerate(lines) if line.strip() in ("[", "[]", "[ ]")), None)
    if begins is None:
        if answer.strip():
            raise ParseError("this is not a list of jobs", answer)
        return {}
    try:
        ads, _ = json.JSONDecoder().raw_decode("".join(lines[begins:]).lstrip())
    except (ValueError, RecursionError) as error:
        raise ParseError(f"this is not a list of jobs ({error})", answer) from error
    found: dict[str, ClassAd] = {
        f"{ad['ClusterId']}.{ad['ProcId']}": ad
        for ad in ads
        if isinstance(ad, dict) and type(ad.get("ClusterId")) is int and type(ad.get("ProcId")) is int
    }
    if ads and not found:
        raise ParseError("none of these is a job", answer)
    if len(found) < len(ads):
        odd = next(
            ad for ad in ads if not isinstance(ad, dict) or f"{ad.get('ClusterId')}.{ad.get('ProcId')}" not in found
        )
        pass_over(repr(odd), "it has no ClusterId and ProcId")
    return found


#: JobStatus, in the words of the manual.
_WORDS = {
    1: "Idle",
    2: "Running",
    3: "Removed",
    4: "Completed",
    5: "Held",
    6: "Transferring Output",
    7: "Suspended",
}
_LIVING = {2: JobState.RUNNING, 6: JobState.RUNNING, 7: JobState.SUSPENDED}

#: HoldReasonCode of jobs that a person holds, or that are submitted so: they go on when they are released.
HELD_BY_PEOPLE = (1, 15)
#: HoldReasonCode of holds that are something better than a failure, and of a policy's, whose words say what it was.
_HOLDS = {
    **dict.fromkeys(HELD_BY_PEOPLE, JobState.HELD),
    16: JobState.HELD,  # its files are on their way
    46: JobState.TIMEOUT,
    47: JobState.TIMEOUT,
}
_HIDDEN = (
    "; HTCondor may give jobs a /tmp of their own (MOUNT_UNDER_SCRATCH): name a folder elsewhere with shared_directory="
)
_POLICIES = (3, 21, 26, 34)


def status(ad: ClassAd) -> JobStatus:
    """What a job's ClassAd says of it."""
    code = _whole(ad, "JobStatus")
    state, reason = _state(code, ad)
    # Removed for good, but its machine is still about to end it.
    is_ending = code == 3 and "RemoteHost" in ad
    begun = None if state.is_waiting else _number(ad, "JobCurrentStartDate")
    ends = None
    if state.is_final and not is_ending:
        ends = _number(ad, "CompletionDate") or _number(ad, "EnteredCurrentStatus")
    elif not state.is_final and begun is not None and (allowed := _number(ad, "AllowedJobDuration")) is not None:
        ends = begun + allowed
    by_signal = ad.get("ExitBySignal") is True
    host = _text(ad, "RemoteHost") or (_text(ad, "LastRemoteHost") if state.is_final else "")
    return JobStatus(
        state=state,
        native=_WORDS.get(code or 0, str(ad.get("JobStatus"))),
        reason=reason.strip(),
        # A running job may have a code of its own already; one that was ended has none.
        exit_code=_whole(ad, "ExitCode") if code == 4 and not by_signal else None,
        signal=_whole(ad, "ExitSignal") if state.is_final and not is_ending and by_signal else None,
        hosts=[host.rpartition("@")[2]] if host and not state.is_waiting else [],
        submitted=_number(ad, "QDate"),
        started=begun,
        ends=ends,
        is_ending=is_ending and state.is_final,
    )


def _state(code: int | None, ad: ClassAd) -> tuple[JobState, str]:
    if code == 1:
        return JobState.PENDING, _text(ad, "LastRejMatchReason")
    if code == 3:
        return _removed(ad)
    if code == 4:
        is_well = ad.get("ExitBySignal") is not True and ad.get("ExitCode") == 0
        return (JobState.COMPLETED if is_well else JobState.FAILED), ""
    if code == 5:
        return _held(ad, "HoldReason")
    return _LIVING.get(code or 0, JobState.UNKNOWN), ""


def _held(ad: ClassAd, attribute: str) -> tuple[JobState, str]:
    """What a hold means: nobody but a person releases a job, so one that HTCondor itself holds has failed."""
    code = _whole(ad, f"{attribute}Code")
    # Some reasons quote all arguments, in which the job's script travels.
    why = re.sub(r" with arguments .*base64.*?: ", ": ", _text(ad, attribute))
    if re.search(r'Cannot access initial working directory "?(/var)?/tmp/', why):
        why += _HIDDEN
    if code in _POLICIES and "memory" in why.lower():
        return JobState.OUT_OF_MEMORY, why
    return (JobState.HELD if code is None else _HOLDS.get(code, JobState.FAILED)), why


def _removed(ad: ClassAd) -> tuple[JobState, str]:
    """What a removed job was: failed, if it was held for that; a policy's victim; or cancelled."""
    why = _text(ad, "RemoveReason")
    if ad.get("LastJobStatus") == 5:
        state, hold = _held(ad, "LastHoldReason")
        if state is not JobState.HELD:
            return state, hold
    return (JobState.FAILED if "evaluated to TRUE" in why else JobState.CANCELLED), why


def _text(ad: ClassAd, name: str) -> str:
    value = ad.get(name)
    return value if isinstance(value, str) else ""


def _number(ad: ClassAd, name: str) -> float | None:
    value = ad.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _whole(ad: ClassAd, name: str) -> int | None:
    value = _number(ad, name)
    return None if value is None else int(value)


# --- why a job waits --------------------------------------------------------------------------------------------

_COUNTS = {
    "all": r"Of (\d+) (?:slots|machines)",
    "rejected": r"(\d+) (?:slots )?are rejected by your job's requirements",
    "refusing": r"(\d+) (?:slots )?reject your job because of their own requirements",
    "busy": r"(\d+) (?:slots )?(?:match (?:but|and) are (?:serving other|already running)|would match if drained)",
    "willing": r"(\d+) (?:slots )?(?:are able|match and are willing) to run your job",
}
#: How many slots a condition leaves; newer versions add how many it would leave of an empty pool.
_CONDITION = re.compile(r"^\[\d+\]\s+(?:\d+ +)?(\d+) +([^\d\s].*?)\s*$", re.MULTILINE)
_SHARED = "FileSystemDomain"
#: What a job asks for, and the argument that says it.
_ARGUMENTS = {
    "RequestMemory": "memory=",
    "RequestCpus": "cores=",
    "RequestGPUs": "gpus=",
    "RequestDisk": "backend_options={'disk': …}",
}


def pending_words(analysis: str) -> str:
    """``condor_q -better-analyze`` in a person's words; empty if it is no analysis of a job that waits."""
    counts = {name: sum(map(int, re.findall(words, analysis))) for name, words in _COUNTS.items()}
    if not counts["all"] or re.search(r"Job is (running|completed|held|removed)", analysis):
        return ""
    if counts["rejected"] >= counts["all"]:
        unmet = [words for slots, words in _CONDITION.findall(analysis) if slots == "0"]
        if any(_SHARED in words for words in unmet):
            return "it will never start: no machine of the pool shares this host's file system (FILESYSTEM_DOMAIN)"
        what = " and ".join(_with_amount(words, analysis) for words in unmet) or "all that it asks for together"
        arguments = ", ".join(
            argument for asked, argument in _ARGUMENTS.items() if any(asked in words for words in unmet)
        )
        cure = f"; ask for less with {arguments}" if arguments else ""
        return f"it will never start in this pool as it is now: no machine has {what}{cure}"
    if counts["refusing"] and not counts["busy"] and not counts["willing"]:
        return f"the machines that fit take no such jobs at present ({counts['refusing']} refuse it by their own rules)"
    if "not yet been considered" in analysis:
        return "HTCondor has not looked at it yet"
    fitting = counts["busy"] + counts["willing"]
    return f"it waits for room: {fitting} of {counts['all']} machines or slots fit, and none of them is free for it"


def _with_amount(condition: str, analysis: str) -> str:
    """``TARGET.Memory >= RequestMemory (300000 mb)``: with what the job says, if the analysis tells."""
    asked = re.search(r"Request\w+$", condition)
    said = asked and re.search(rf"^ +{asked[0]} = (\d+)(?: \((\w+)\))?$", analysis, re.MULTILINE)
    return f"{condition} ({' '.join(filter(None, said.groups()))})" if said else condition


# --- words of failure -------------------------------------------------------------------------------------------

#: What a failed command's words mean; the first that is found decides.
_KINDS = (
    (FailureKind.LIMIT, r"MAX_JOBS_\w+"),
    (FailureKind.FATAL, r"DENIED|AUTHENTICATE|[Pp]ermission denied|not authorized"),
    (
        FailureKind.TRANSIENT,
        r"[Cc]an't find address|cannot get address|[Uu]nable to locate|no record of|[Ff]ailed to (connect|fetch ads)|"
        r"[Cc]onnection (refused|reset|timed out)|[Tt]imed out|CEDAR:\d|SECMAN:\d|[Dd]isconnected|"
        r"unknown host|[Cc]an't connect|[Uu]nable to connect|communication error",
    ),
    (
        FailureKind.FATAL,
        r"[Ii]nvalid|[Pp]arse error|on Line \d+ of submit file|[Ff]ailed to parse|I don't know about|No such directory|"
        r"Cannot allocate a cluster id|is disabled|"
        r"Failed to commit job submission|Can't access|Failed to open|Can't open|must be|not a valid",
    ),
)

#: What HTCondor's own words leave to be guessed.
_MEANINGS = (
    (r"Cannot allocate a cluster id$", "HTCondor runs no jobs as root: submit as another user"),
    (r"unknown host \S+$", "schedd= in backend_options is a name that condor_status -schedd shows"),
)


def failure(completed: Completed) -> Failure | None:
    """What a failed command means; None for words that are not known."""
    said = (completed.stderr.strip() or completed.stdout.strip()).partition("Extra Info")[0]
    lines = (re.sub(r"^((ERROR|Error|WARNING|condor_\w+): )+", "", line.strip()) for line in said.splitlines())
    message = "; ".join(dict.fromkeys(line.rstrip(".:") for line in lines if line))
    message += next((f" ({meaning})" for words, meaning in _MEANINGS if re.search(words, message)), "")
    for kind, words in _KINDS:
        if re.search(words, message):
            return Failure(kind=kind, message=message)
    return None


def is_gone(completed: Completed) -> bool:
    """Whether ``condor_rm`` complains of nothing but jobs that are not there any more."""
    complaints = [line for line in completed.stderr.splitlines() if line.strip()]
    gone = r"Job \d+\.\d+ not found|Job \d+\.\d+ already marked for removal|Couldn't find/remove all jobs .*"
    return bool(complaints) and all(re.fullmatch(gone, line.strip()) for line in complaints)


def has_no_history(completed: Completed) -> bool:
    """Whether this site keeps none, or not for everybody: then nobody knows how a job ended."""
    return re.search(r"HISTORY is (unset|not defined)|DENIED", completed.stderr) is not None
