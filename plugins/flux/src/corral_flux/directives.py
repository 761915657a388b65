"""The language of ``#flux:`` lines (Flux RFC 36): the options of ``flux submit``, and what they make of a job.

Words are split as a shell splits them. ``flux submit --cc`` takes braces for templates of its own and cannot be told
otherwise: whatever has one is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping

from corral.plugin import InvalidRequest, Job, ParseError, Resources, parsing

PREFIX = "#flux:"

#: Jobs inherit the environment in which they are submitted. They get what a login sets, and their id in plain ASCII.
ENVIRONMENT = shlex.join(
    [
        "--env-remove=*",
        "--env=FLUX_F58_FORCE_ASCII=1",
        *(f"--env={name}" for name in ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ")),
    ]
)
#: For a job of several nodes, which is an instance of Flux: as ``flux batch`` starts one.
INSTANCE = "--setopt=exit-timeout=none --setopt=mpi=none"

#: Flux knows no memory. What was asked for is written down beside the job, where nothing acts on it.
_MEMORY = "user.corral.memory="

#: Short options, by their long names.
_LONG = {
    "B": "bank", "c": "cores-per-task", "g": "gpus-per-task", "l": "label-io", "N": "nodes", "n": "ntasks",
    "o": "setopt", "q": "queue", "S": "setattr", "t": "time-limit", "u": "unbuffered", "v": "verbose",
    "x": "exclusive",
}  # fmt: skip

#: Of ``flux batch`` and ``flux alloc``, which give slots to an instance.
_SLOTS = {"nslots": "ntasks", "cores-per-slot": "cores-per-task", "gpus-per-slot": "gpus-per-task"}

_ALONE = (
    "exclusive", "label-io", "unbuffered", "verbose", "quiet", "dry-run", "wait", "watch", "wait-event", "help",
    "progress", "jps", *"luvx",
)  # fmt: skip

#: ``flux submit`` waits for the job, or submits none, or not this script.
_NO_BATCH_JOB = frozenset({"dry-run", "help", "wait", "wait-event", "watch", "wrap"})

#: ``flux submit`` takes resources by task or by node, never both.
_BY_TASK = frozenset({"ntasks", "cores-per-task", "gpus-per-task"})
_BY_NODE = frozenset({"cores", "tasks-per-node", "tasks-per-core", "gpus-per-node"})

_READ = frozenset({"job-name", "queue", "bank", "nodes", "time-limit", "output", "memory"}) | _BY_TASK | _BY_NODE

_LOG_FILE = "/{{id.f58plain}}.log"


# --- writing ----------------------------------------------------------------------------------------------------


def written(name: str, value: str, argument: str) -> str:
    """``--name=value``, so that Flux reads back the very same value.

    Raises
    ------
    InvalidRequest
        No line can say it; names `argument`.
    """
    if len(value.splitlines()) != 1 or "\0" in value:
        raise InvalidRequest(argument, f"{value!r} cannot be written into a {PREFIX} line")
    if name == "memory":
        return f"--setattr={_MEMORY}{value}"
    return shlex.quote(f"--{name}={value}")


def without_braces(value: str, argument: str) -> str:
    """The same text.

    Raises
    ------
    InvalidRequest
    """
    if "{" in value or "}" in value:
        raise InvalidRequest(argument, f"{value!r} has a brace, where 'flux submit' sees a template")
    return value


def log_pattern(directory: str | None) -> str:
    """The name of the logs, for ``--output``.

    Raises
    ------
    InvalidRequest
    """
    if directory is None:
        return "/dev/null"
    return without_braces(directory, "log_directory") + _LOG_FILE


# --- reading ----------------------------------------------------------------------------------------------------


def header(text: str) -> tuple[str | None, list[str]]:
    """The shebang and the directives of a script; other comment signs before ``flux:`` are read too."""
    return parsing.header(re.sub(r"^[^\w\n]+(?:flux|FLUX):", PREFIX, text, flags=re.MULTILINE), PREFIX)


def options(line: str) -> list[parsing.Option]:
    """The options of a line, by their long names.

    Raises
    ------
    ValueError
    """
    words: list[str] = []
    for word in shlex.split(line, comments=True):
        is_attached = re.match(r"-[A-Za-z].", word) is not None  # -N2
        words += [word[:2], word[2:]] if is_attached else [word]
    found = parsing.options(shlex.join(words), alone=_ALONE)
    return [parsing.Option(_called(each.name), each.value, each.source) for each in found]


def _called(name: str) -> str:
    """The long name of an option of ``flux submit``."""
    return _SLOTS.get(name) or _LONG.get(name, name)


def checked(extra: str) -> frozenset[str]:
    """What one of the user's own directives replaces of ours.

    Raises
    ------
    InvalidRequest
        Flux would refuse or misread the line.
    """
    try:
        names = {option.name for option in options(extra)}
    except ValueError as error:
        raise InvalidRequest("extra_directives", f"{error}; write options alone, like '--exclusive'") from error
    if not names or len(extra.splitlines()) != 1:
        raise InvalidRequest("extra_directives", f"{extra!r} is not one line of options, like '--exclusive'")
    if names & {"cc", "bcc"}:
        raise InvalidRequest("extra_directives", f"{extra!r}: how many jobs there are is said in scale()")
    if found := sorted(names & _NO_BATCH_JOB):
        raise InvalidRequest("extra_directives", f"--{found[0]}: {parsing.NO_BATCH_JOB}")
    # These may be given again and again, and add up.
    repeated = {"setopt", "setattr", "env", "env-remove", "dependency", "requires", "rlimit", "add-file"}
    return frozenset(names - repeated) | (_BY_TASK if names & _BY_NODE else frozenset())


def nodes(lines: Iterable[str]) -> int:
    """How many nodes the lines ask for."""
    values = [option.value for line in lines for option in options(line) if option.name == "nodes"]
    return int(values[-1]) if values and values[-1] and values[-1].isdecimal() else 1


def split(lines: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What the lines say that a Job has words for, and the rest of them as it was written.

    Raises
    ------
    ParseError
    """
    said: dict[str, str] = {}
    rest: list[str] = []
    for line in lines:
        if line in (ENVIRONMENT, INSTANCE):
            continue
        try:
            found = [_named(option) for option in options(line)]
        except ValueError as error:
            raise ParseError(str(error), line) from error
        known = {option.name: option.value or "" for option in found if option.name in _READ}
        said |= known
        if known:
            rest += [option.source for option in found if option.name not in known]
        elif found:
            rest.append(line)
    if "nodes" in said and "ntasks" not in said and not said.keys() & {"cores"}:
        rest.append("--exclusive")  # nodes alone are whole nodes
    return said, list(dict.fromkeys(rest))


def _named(option: parsing.Option) -> parsing.Option:
    if option.name == "setattr" and option.value and option.value.startswith(_MEMORY):
        return parsing.Option("memory", option.value.removeprefix(_MEMORY), option.source)
    return option


def job(said: Mapping[str, str]) -> Job:
    """The request that options make together.

    Raises
    ------
    ValueError
        They make none.
    """
    count = int(said.get("nodes", 1))
    if count < 1:
        raise ValueError("--nodes=0 is not a job")
    # By node, a task is started on each unless there should be more of them.
    per_node = int(said.get("tasks-per-node", 1))
    tasks = max(per_node, -(-int(said.get("ntasks", count)) // count))
    cores = tasks * int(said.get("cores-per-task", 1))
    if "cores" in said:
        cores = max(per_node, -(-int(said["cores"]) // count))
    gpus = max(int(said.get("gpus-per-node", 0)), tasks * int(said.get("gpus-per-task", 0)))
    return Job(
        name=said.get("job-name", ""),
        queue=said.get("queue"),
        account=said.get("bank"),
        resources=Resources(
            nodes=count, cores=max(1, cores), gpus=gpus, memory=int(said["memory"]) if "memory" in said else None
        ),
        walltime=seconds(said["time-limit"]) if "time-limit" in said else None,
        log_directory=_log_directory(said.get("output", "")),
    )


def left(said: Mapping[str, str], job: Job) -> Iterator[str]:
    """Directives for what was said and the job does not say by itself."""
    if "time-limit" in said and job.walltime is None:
        yield written("time-limit", said["time-limit"], "walltime")
    if "output" in said and said["output"] != log_pattern(job.log_directory):
        yield written("output", said["output"], "log_directory")


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> int | None:
    """Seconds of ``90`` (minutes) or of ``90s``, ``1.5h`` (Flux standard duration); None: no limit.

    Raises
    ------
    ValueError
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?)(ms|[smhd])?", text, re.ASCII)
    if match is None:
        if text.lower() in ("inf", "infinity"):
            return None
        raise ValueError(f"{text!r} is not a time")
    return -int(-float(match[1]) * _UNITS[match[2] or "m"] // 1) or None


def _log_directory(pattern: str) -> str | None:
    directory = pattern.removesuffix(_LOG_FILE)
    is_ours = directory and directory + _LOG_FILE == pattern and not {"{", "}"} & set(directory)
    return directory if is_ours else None
