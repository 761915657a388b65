"""What a subclass has changed of a job: its directives, its lines, and the command that starts its workers.

A class of a computing centre's derives from one of dask-jobqueue's and writes another script. dask-jobqueue's script,
before and after, says what the class wants; what corral has no words for is refused, with the name of what is in the
way.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field

from corral.errors import InvalidRequest
from corral.migration.jobqueue import native
from corral.migration.jobqueue.translation import listed
from corral.migration.jobqueue.words import Kind
from corral_jobqueue.job import Job

#: What a subclass must not do by itself, because corral does.
_CORRALS_OWN = ("start", "_submit_job", "_call", "job_file")
#: What is never called, and need not be.
_NOT_CALLED = ("close", "_close_job", "_job_id_from_submit_output", "job_id_regexp")


@define
class Differences:
    """What the class of a job wants beside what it was told."""

    #: What was said, with what the class changed of it.
    said: dict[str, Any]
    #: Directives to leave out, in corral's words.
    skip: list[str] = field(factory=list)
    changed: list[str] = field(factory=list)


def differences(job: Job) -> Differences:
    """Read what a subclass has changed.

    Raises
    ------
    InvalidRequest
        It changes what corral does by itself.
    """
    ours = _our_class(job)
    found = Differences(dict(job.said))
    for name in _overridden(job, ours, _CORRALS_OWN):
        raise InvalidRequest(
            "job_cls",
            f"{type(job).__name__}.{name} submits jobs itself, and here that is corral's: a subclass may say another "
            "submit_command, other arguments, directives and lines of the script; what goes beyond that is a plugin, "
            "Cluster(plugins=[…])",
        )
    for name in _overridden(job, ours, _NOT_CALLED):
        found.changed.append(
            f"{type(job).__name__}.{name} is not called: corral submits, follows and cancels jobs itself"
        )
    # What a job was told itself does not count twice.
    before, after = job.first_script, job.job_script()
    if before != after:
        _compare(found, job, before, after)
    return found


def commands_of(job: Job) -> dict[str, tuple[str, ...]]:
    """The words that stand in for a batch system's own commands, by the command."""
    ours = _our_class(job)
    found = {}
    for own, said in ((ours.submit_command, job.submit_command), (ours.cancel_command, job.cancel_command)):
        words = tuple(shlex.split(said or ""))
        if own is not None and words and words != (own,):
            found[own] = words
    return found


def _our_class(job: Job) -> type[Job]:
    """The class of this package that a job's class derives from."""
    return next(each for each in type(job).__mro__ if each.__module__.startswith("corral_jobqueue."))


def _overridden(job: Job, ours: type[Job], names: Iterable[str]) -> list[str]:
    return [
        name for name in names if _own(job, name) and getattr(type(job), name, None) is not getattr(ours, name, None)
    ]


def _own(job: Job, name: str) -> bool:
    """Whether a class that is not of this package has this."""
    mine = [each for each in type(job).__mro__ if not each.__module__.startswith("corral_jobqueue.")]
    return any(name in vars(each) for each in mine if each is not object)


def _compare(found: Differences, job: Job, before: str, after: str) -> None:
    kind = job.kind
    if kind.backend == "htcondor":
        _compare_statements(found, _statements(before), _statements(after))
        _compare_commands(found, job)
        return
    _compare_directives(found, kind, before, after)
    _compare_lines(found, job, after)


# --- directives -----------------------------------------------------------------------------------------------------


def _directives(kind: Kind, script: str) -> list[str]:
    if not kind.prefix:
        return []
    return [line.strip() for line in script.splitlines() if line.lstrip().startswith(f"{kind.prefix} ")]


def _compare_directives(found: Differences, kind: Kind, before: str, after: str) -> None:
    old, new = Counter(_directives(kind, before)), Counter(_directives(kind, after))
    by_text = {line.text: line for line in native.lines(kind, found.said)}
    kept = listed(found.said.get("job_extra_directives"))
    for text in (old - new).elements():
        directive = text.removeprefix(f"{kind.prefix} ")
        if directive in kept:
            kept.remove(directive)
        elif (line := by_text.get(text)) is not None and line.is_spec:
            found.said.pop("resource_spec", None)
            found.skip += line.names
        elif line is not None:
            found.skip += line.names
    found.said["job_extra_directives"] = [
        *kept, *(text.removeprefix(f"{kind.prefix} ").strip() for text in (new - old).elements()),
    ]  # fmt: skip


def _statements(script: str) -> dict[str, str]:
    """HTCondor's, without those that say what runs."""
    pairs = (line.partition("=") for line in script.splitlines() if "=" in line and not line.startswith("#"))
    return {
        key.strip(): value.strip() for key, _, value in pairs if key.strip().lower() not in ("arguments", "executable")
    }


def _compare_statements(found: Differences, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    kept = native.condor_pairs(found.said.get("job_extra_directives"))
    for key in before.keys() - after.keys():
        if kept.pop(key, None) is None:
            found.skip += native.CONDOR_NAMES.get(key, ())
    kept |= {key: value for key, value in after.items() if before.get(key) != value}
    found.said["job_extra_directives"] = kept


# --- lines and command -----------------------------------------------------------------------------------------------


def _compare_commands(found: Differences, job: Job) -> None:
    """HTCondor's script has its lines in one argument."""
    command = job.command
    for word in ("job_script_prologue", "job_script_epilogue"):
        found.said[word] = job.lines_of(word)
    if command != job.first_command:
        _command(found, job, command)


def _compare_lines(found: Differences, job: Job, after: str) -> None:
    lines = after.splitlines()
    prefix = job.kind.prefix
    if lines and lines[0].startswith("#!"):
        found.said["shebang"] = lines.pop(0)
    body = [line for line in lines if not (prefix and line.lstrip().startswith(f"{prefix} "))]
    at = next((number for number, line in enumerate(body) if _runs_workers(job, line)), None)
    if at is None:
        raise InvalidRequest(
            "job_cls",
            f"the script of {type(job).__name__} does not run workers any more: there is no line with "
            f"{_module(job)!r}. What else a job runs goes into job_script_prologue=",
        )
    for word, part in (("job_script_prologue", body[:at]), ("job_script_epilogue", body[at + 1 :])):
        found.said[word] = [line for line in part if line.strip()]
    if body[at].strip() != job.first_command.strip():
        _command(found, job, body[at].strip())


def _module(job: Job) -> str:
    match = re.search(r" -m (\S+)", job.first_command)
    return match[1] if match else job.first_command


def _runs_workers(job: Job, line: str) -> bool:
    return job.first_command in line or f"-m {_module(job)}" in line


def _command(found: Differences, job: Job, line: str) -> None:
    """Another command for the workers: words before Python, and words for them at its end."""
    module = f" -m {_module(job)}"
    before, _, arguments = line.partition(module)
    first_before, _, first_arguments = job.first_command.partition(module)
    if before != first_before:
        assignments = re.match(r"\s*\w+=", before)
        found.said["python"] = f"env {before.strip()}" if assignments else before.strip() or sys.executable
    try:
        old, new = Counter(shlex.split(first_arguments)), Counter(shlex.split(arguments))
    except ValueError as error:
        raise InvalidRequest("job_cls", f"{type(job).__name__} runs {line!r}: {error}") from None
    gone = set(old - new) - {"--nanny", "--no-nanny"}
    if gone or any(word in (">", "|", "||", "&&", ";", "&") or word.startswith((">", "2>")) for word in new):
        raise InvalidRequest(
            "job_cls",
            f"{type(job).__name__} runs {line!r}, of which corral can run what stands before {_module(job)} and "
            "options of workers behind it; what else it does goes into job_script_prologue= and job_script_epilogue=",
        )
    added = _in_order(shlex.split(arguments), new - old)
    if "--no-nanny" in added:
        added.remove("--no-nanny")
        found.said["nanny"] = False
    if added:
        found.said["worker_extra_args"] = [*listed(found.said.get("worker_extra_args")), *map(shlex.quote, added)]


def _in_order(words: list[str], wanted: Counter[str]) -> list[str]:
    left = Counter(wanted)
    found: list[str] = []
    for word in reversed(words):
        if left[word] > 0:
            left[word] -= 1
            found.insert(0, word)
    return found
