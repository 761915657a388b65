"""Submissions: as an array, or each job by an sbatch of its own where arrays are refused."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from attrs import evolve

from corral.plugin import (
    Command,
    Completed,
    Conversation,
    Directive,
    JobId,
    ParseError,
    Script,
    array_as_large_as_taken,
)
from corral_slurm import answers, directives

#: How a job sees its own id.
ELEMENT_ID = "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
SINGLE_ID = "${SLURM_JOB_ID}"

#: sbatch passes its own environment on to the job (--export=ALL), so it sees what a login sets, and what it needs to
#: reach its controller. KRB5CCNAME is a path that credential plugins of sbatch read.
LOGIN = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ")
_CONTROLLER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "KRB5CCNAME")

#: Wishes that people and sites keep in the environment, by the option that each stands for. sbatch lets them
#: overrule the script, so one is passed on only if the script does not say the same.
_WISHES = {
    name: f"SBATCH_{name.upper().replace('-', '_')}"
    for name in [
        "account", "clusters", "constraint", "core-spec", "cpus-per-gpu", "distribution", "exclusive", "gpu-freq",
        "gpus", "gpus-per-node", "gres", "gres-flags", "hint", "mem-per-cpu", "mem-per-gpu", "network", "open-mode",
        "partition", "power", "profile", "qos", "reservation", "thread-spec", "threads-per-core", "wckey",
    ]
} | {"mem": "SBATCH_MEM_PER_NODE", "time": "SBATCH_TIMELIMIT", "switches": "SBATCH_REQ_SWITCH"}  # fmt: skip


def as_array(script: Script, size: int) -> Conversation[list[JobId]]:
    """Submit an array of so many jobs, or of as many as the site takes.

    Raises
    ------
    CommandError, ParseError
    """
    done, size = yield from array_as_large_as_taken(
        functools.partial(_sbatch, script), size, refused="Invalid job array specification",
        limit=_limit(clusters(script)), setting="MaxArraySize=",
    )  # fmt: skip
    array = _id(done)
    return [JobId(f"{array.text}_{index}", where=array.where) for index in range(size)]


def _limit(names: Sequence[str]) -> Conversation[int | None]:
    """What all of these clusters take, or that which Slurm's own configuration is of."""
    found = []
    for name in names or [""]:
        done = yield Command(["scontrol", *at(name), "show", "config"])
        found.append(answers.array_limit(done.stdout))
    return min((limit for limit in found if limit is not None), default=None)


def clusters(script: Script) -> list[str]:
    """Those that its directives name, of which Slurm chooses one; none if they name none, or all."""
    values = [each.value for each in _options(script) if each.name in ("cluster", "clusters") and each.value]
    names = values[-1].split(",") if values else []
    return [name for name in map(str.strip, names) if name not in ("", "all")]


def at(where: str) -> list[str]:
    """The words that name a cluster to a command; none for that which its configuration is of."""
    return ["-M", where] if where else []


def alone(script: Script) -> Conversation[JobId]:
    """Submit one job that is no element of an array; the script may have been written for either.

    Raises
    ------
    CommandError, ParseError
    """
    return _id((yield _sbatch(single(script))))


def single(script: Script) -> Script:
    """The same script for a job that is no element of an array: it sees another id, and its log is named by that."""

    def renamed(directive: Directive) -> Directive:
        is_ours = directive.name == "output" and script.log is not None
        text = directive.text.replace(directives.ELEMENT_LOG, directives.SINGLE_LOG) if is_ours else directive.text
        return evolve(directive, text=text)

    # The first: what a user wrote comes later.
    body = script.body.replace(ELEMENT_ID, SINGLE_ID, 1)
    return evolve(script, directives=[renamed(each) for each in script.directives], body=body)


def _id(done: Completed) -> JobId:
    # Federations answer "77;gpu"; only the number is the id.
    number, _, where = done.last_line().partition(";")
    if not number.isdecimal():
        raise ParseError("sbatch accepted the job and its answer has no id", done.stdout + done.stderr)
    return JobId(number, where=where)


def _sbatch(script: Script, size: int | None = None) -> Command:
    stated = {name for option in _options(script) for name in directives.replaced_by(option)}
    wishes = (variable for name, variable in _WISHES.items() if name not in stated)
    array = [] if size is None else [f"--array=0-{size - 1}"]
    return Command(
        ["sbatch", "--parsable", *array],
        stdin=str(script),
        inherit=(*LOGIN, *_CONTROLLER, *wishes),
    )


def _options(script: Script) -> Iterator[directives.Option]:
    for directive in script.directives:
        yield from directives.options(directive.text.removeprefix(directives.PREFIX))
