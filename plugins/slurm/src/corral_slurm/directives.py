"""The language of ``#SBATCH`` lines: words, units, which options mean the same, and what they make of a job.

sbatch splits a line by rules of its own (``get_argument`` in src/sbatch/opt.c), not by the shell's: a backslash keeps
the next character, inside quotes too; both kinds of quotes group; an unquoted ``#`` begins a comment, even within a
word; nothing is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from corral.plugin import InvalidRequest, Job, ParseError, Resources, parsing

PREFIX = "#SBATCH"

#: Short options, by their long names.
_LONG = {
    "A": "account", "a": "array", "B": "extra-node-info", "b": "begin", "C": "constraint", "c": "cpus-per-task",
    "D": "chdir", "d": "dependency", "e": "error", "F": "nodefile", "G": "gpus", "H": "hold", "i": "input",
    "J": "job-name", "k": "no-kill", "L": "licenses", "M": "clusters", "m": "distribution", "N": "nodes",
    "n": "ntasks", "O": "overcommit", "o": "output", "p": "partition", "Q": "quiet", "q": "qos", "S": "core-spec",
    "s": "oversubscribe", "t": "time", "v": "verbose", "W": "wait", "w": "nodelist", "x": "exclude",
}  # fmt: skip

#: All long options, of Slurm 22.05 to 24.11: sbatch takes any of them by as much of it as no other begins with.
_ALL = frozenset({
    "account", "acctg-freq", "array", "batch", "bb", "bbf", "begin", "chdir", "cluster", "cluster-constraint",
    "clusters", "comment", "consolidate-segments", "constraint", "container", "container-id", "context", "contiguous",
    "core-spec", "cores-per-socket", "cpu-freq", "cpus-per-gpu", "cpus-per-task", "deadline", "delay-boot",
    "dependency", "distribution", "error", "exclude", "exclusive", "export", "export-file", "extra", "extra-node-info",
    "get-user-env", "gid", "gpu-bind", "gpu-freq", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gres",
    "gres-flags", "help", "hint", "hold", "ignore-pbs", "input", "job-name", "kill-on-invalid-dep", "licenses",
    "mail-type", "mail-user", "mcs-label", "mem", "mem-bind", "mem-per-cpu", "mem-per-gpu", "mincpus", "network",
    "nice", "no-kill", "no-requeue", "nodefile", "nodelist", "nodes", "ntasks", "ntasks-per-core", "ntasks-per-gpu",
    "ntasks-per-node", "ntasks-per-socket", "ntasks-per-tres", "oom-kill-step", "open-mode", "output", "overcommit",
    "oversubscribe", "parsable", "partition", "power", "prefer", "priority", "profile", "propagate", "qos", "quiet",
    "reboot", "requeue", "reservation", "resv-ports", "segment", "signal", "sockets-per-node", "spread-job",
    "spread-segments", "stepmgr", "switches", "tasks-per-node", "test-only", "thread-spec", "threads-per-core", "time",
    "time-min", "tmp", "tres-bind", "tres-per-task", "uid", "usage", "use-min-nodes", "verbose", "version", "wait",
    "wait-all-nodes", "wckey", "wrap",
})  # fmt: skip

#: Long options that have another name as well.
_ALIASES = {"tasks-per-node": "ntasks-per-node"}

#: sbatch waits for the job's end, submits none, or something else than the script.
_NO_BATCH_JOB = frozenset({"help", "test-only", "usage", "version", "wait", "wrap"})

#: Options that never take the next word for their value (some take one after ``=``).
_ALONE = frozenset({
    "contiguous", "exclusive", "get-user-env", "hold", "ignore-pbs", "nice", "no-kill", "no-requeue", "overcommit",
    "oversubscribe", "parsable", "propagate", "quiet", "reboot", "requeue", "spread-job", "spread-segments", "stepmgr",
    "test-only", "use-min-nodes", "verbose", "wait",
})  # fmt: skip

#: Options that exclude or replace each other: one of the user's own stands in for ours.
_SAME_MEANING = (
    frozenset({"mem", "mem-per-cpu", "mem-per-gpu"}),
    frozenset({"gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task"}),
    frozenset({"ntasks", "ntasks-per-node", "ntasks-per-gpu", "ntasks-per-socket"}),
    frozenset({"cpus-per-task", "cpus-per-gpu"}),
    frozenset({"requeue", "no-requeue"}),
)

#: The options that a Job has words for; `array` is `submit`'s own.
_READ = frozenset({
    "job-name", "partition", "account", "nodes", "no-kill", "ntasks", "ntasks-per-node", "cpus-per-task", "mem",
    "mem-per-cpu", "gres", "gpus", "gpus-per-node", "time", "signal", "output", "open-mode", "export", "requeue",
    "no-requeue", "array", "gpus-per-task", "gpus-per-socket", "cpus-per-gpu", "mem-per-gpu", "ntasks-per-gpu",
    "ntasks-per-socket", "mincpus",
})  # fmt: skip
#: Those that stay as they are, and say how to understand others.
_HEEDED = frozenset({"sockets-per-node", "exclusive", "nodelist", "tres-per-task"})
#: Those that a job says in other words: it has one task on each node.
_SAID_OTHERWISE = frozenset({
    "nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "array", "cpus-per-gpu", "ntasks-per-gpu",
    "ntasks-per-socket", "mincpus",
})  # fmt: skip

#: What the log of an array's element is called, and that of another job.
ELEMENT_LOG = "/%A_%a.log"
SINGLE_LOG = "/%j.log"


# --- words ------------------------------------------------------------------------------------------------------

_WORD = re.compile(r"""\s*((?:\\.|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\s\\'"#])+)""", re.ASCII | re.DOTALL)
_PIECE = re.compile(r"""\\(.)|'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)\"""", re.DOTALL)
_PLAIN = re.compile(r"[\w@%+:,./=~\[\]{}*^-]+", re.ASCII)


@frozen
class Option:
    """One option of a line."""

    #: Its long name, without dashes.
    name: str
    #: None if it has none.
    value: str | None
    #: As it was written.
    source: str


def options(line: str) -> list[Option]:
    """Split a line (without its prefix) as sbatch does.

    Raises
    ------
    ParseError
        A quote is not closed, or a word is not an option.
    """
    words = list(_words(line))
    found = []
    while words:
        source, word = words.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = _full_name(name, line)
            attached = value if equals else None
        elif word.startswith("-") and len(word) > 1:
            name, attached = _LONG.get(word[1], word[1]), word[2:] or None
        else:
            raise ParseError(f"{word!r} is not an sbatch option; write options alone, like '--qos=high'", line)
        if attached is None and name not in _ALONE and words:
            next_source, attached = words.pop(0)
            source = f"{source} {next_source}"
        found.append(Option(name, attached, source))
    return found


def long_names(word: str) -> frozenset[str]:
    """What an option is called that is named as it is written, with its dashes: ``-t``, ``--tasks-per-node``.

    A job says how many tasks it has by the node, so that ``-n`` is that, too.
    """
    if not word.startswith("-"):
        return frozenset()
    name = word[2:] if word.startswith("--") else _LONG.get(word[1:], "")
    found = {_ALIASES.get(name, name)} - {""}
    return frozenset(found | {"ntasks-per-node"} if name == "ntasks" else found)


def _full_name(name: str, line: str) -> str:
    """``partition`` for ``part``; what nobody knows may be a newer Slurm's.

    Raises
    ------
    ParseError
        It is the beginning of several.
    """
    if name not in _ALL and (longer := sorted(other for other in _ALL if other.startswith(name))):
        if len(longer) > 1:
            meant = ", ".join(f"--{other}" for other in longer[:5]) + ", …" * (len(longer) > 5)
            raise ParseError(f"--{name} may mean {meant}: write it out", line)
        name = longer[0]
    return _ALIASES.get(name, name)


def replaced_by(option: Option) -> frozenset[str]:
    """The options that cannot stand beside this one, itself included."""
    if option.name == "gres" and not gpus(option.value or ""):
        return frozenset({"gres"})
    return next((group for group in _SAME_MEANING if option.name in group), frozenset({option.name}))


def _words(line: str) -> Iterator[tuple[str, str]]:
    """Each word as written, and as sbatch understands it."""
    position = 0
    while match := _WORD.match(line, position):
        yield match[1], _PIECE.sub(_unquoted, match[1])
        position = match.end()
    rest = line[position:].strip()
    if rest and not rest.startswith("#"):
        raise ParseError("a quote or backslash has no end", line)


def _unquoted(piece: re.Match[str]) -> str:
    if piece[1] is not None:
        return piece[1]
    return re.sub(r"\\(.)", r"\1", piece[2] if piece[2] is not None else piece[3], flags=re.DOTALL)


def written(name: str, value: str | None, argument: str = "extra_directives") -> str:
    """``--name=value``, so that sbatch reads back the very same value.

    Raises
    ------
    InvalidRequest
        No line can say it; names `argument`.
    """
    if value is None:
        return f"--{name}"
    if not value or "\n" in value or "\0" in value:
        raise InvalidRequest(argument, f"{value!r} cannot be written into an {PREFIX} line")
    if not _PLAIN.fullmatch(value):
        value = '"' + re.sub(r'([\\"])', r"\\\1", value) + '"'
    return f"--{name}={value}"


def checked(extra: str) -> list[Option]:
    """The options of one of the user's own directives.

    Raises
    ------
    InvalidRequest
        sbatch would refuse or misread the line.
    """
    try:
        found = options(extra)
    except ParseError as error:
        raise InvalidRequest("extra_directives", str(error)) from error
    if not found or "\n" in extra:
        raise InvalidRequest("extra_directives", f"{extra!r} is not one line of options, like '--qos=high'")
    if any(option.name == "array" for option in found):
        raise InvalidRequest("extra_directives", "--array is corral's own: how many jobs there are is said in scale()")
    for option in found:
        if option.name in _NO_BATCH_JOB:
            raise InvalidRequest("extra_directives", f"--{option.name}: {parsing.NO_BATCH_JOB}")
    return found


def header(text: str) -> tuple[str | None, list[str]]:
    """The shebang and the option lines of a job script; text that is no script is option lines alone.

    Raises
    ------
    ParseError
        A heterogeneous job.
    """
    shebang, found = parsing.header(text, PREFIX)
    if any(re.match(r"\s*(het|pack)job\b", line, re.IGNORECASE) for line in found):
        raise ParseError("a heterogeneous job cannot be one kind of worker; give each component a group", text)
    return shebang, found


# --- units ------------------------------------------------------------------------------------------------------

MEBI = 2**20
_UNITS = {"K": 2**10, "M": MEBI, "G": 2**30, "T": 2**40}


def memory(text: str) -> int:
    """Bytes of ``4G``; a bare number is in MiB.

    Raises
    ------
    ValueError
    """
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory")
    return int(match[1]) * _UNITS[match[2].upper() or "M"]


def seconds(text: str) -> int | None:
    """Seconds of ``30`` (minutes), ``30:00``, ``1:30:00``, ``1-12``, ``1-12:30:00``; None: no limit.

    Raises
    ------
    ValueError
    """
    if text.lower() in ("infinite", "unlimited", "-1"):
        return None
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", text, re.ASCII):
        raise ValueError(f"{text!r} is not a time")
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if not dash and len(parts) < 3:
        parts.insert(0, 0)  # minutes, or minutes and seconds
    hours, minutes, rest_seconds = [*parts, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest_seconds


def days_and_time(duration: int) -> str:
    """``1-02:03:04``: the form that no reader takes for minutes."""
    days, rest = divmod(duration, 86400)
    return f"{days}-{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def gpus(gres: str) -> int:
    """How many GPUs ``gpu:a100:2(S:0-1),tmp:5`` names; 0 if none."""
    count = 0
    for item in re.split(r",(?![^(]*\))", gres):
        kind, *rest = re.split("[:=]", item.partition("(")[0].removeprefix("gres/").removeprefix("gres:"))
        if kind == "gpu":
            count += int(rest[-1]) if rest and rest[-1].isdecimal() else 1
    return count


# --- logs -------------------------------------------------------------------------------------------------------


def log_pattern(directory: str | None, log_file: str = ELEMENT_LOG) -> str:
    """The name of the jobs' logs, for ``--output``.

    Raises
    ------
    InvalidRequest
    """
    if directory is None:
        return "/dev/null"
    if "\\" in directory:
        raise InvalidRequest("log_directory", f"Slurm cannot write into {directory!r}: it drops backslashes from paths")
    return directory.replace("%", "%%") + log_file


def _log_directory(pattern: str, log_file: str) -> str | None:
    directory = pattern.removesuffix(log_file).replace("%%", "%")
    is_ours = directory and "\\" not in directory and log_pattern(directory, log_file) == pattern
    return directory if is_ours else None


# --- requests read back -----------------------------------------------------------------------------------------


def split(lines: Iterable[str]) -> tuple[dict[str, str | None], list[str]]:
    """What the lines say that a Job has words for, and the rest of them as it was written.

    Raises
    ------
    ParseError
    """
    said: dict[str, str | None] = {}
    rest: list[str] = []
    for line in lines:
        found = options(line)
        known = {option.name: option.value for option in found if option.name in _READ}
        said |= known | {option.name: option.value for option in found if option.name in _HEEDED}
        if known:
            rest += [option.source for option in found if option.name not in known]
        elif found:
            rest.append(line)
    return said, rest


def job(said: Mapping[str, str | None], log_file: str = ELEMENT_LOG) -> Job:
    """The request that options make together.

    Parameters
    ----------
    log_file
        How jobs that corral submits call their logs.

    Raises
    ------
    ValueError
        They make none.
    """
    values = {name: value for name, value in said.items() if value is not None}
    if "tres-per-task" in values:
        raise ValueError("--tres-per-task counts by task; say --cpus-per-task and --gpus-per-node instead")
    nodes, tasks = _layout(values)
    gpus_per_node = _gpus_per_node(values, nodes, tasks)
    if "ntasks-per-gpu" in values:
        per_gpu = _number(values, "ntasks-per-gpu")
        if not gpus_per_node and "ntasks" in values:
            gpus_per_node = -(-tasks // per_gpu)
        tasks = max(tasks, per_gpu * gpus_per_node)
    cores = tasks * _number(values, "cpus-per-task", 1)
    if "cpus-per-gpu" in values:
        if not gpus_per_node:
            raise ValueError("--cpus-per-gpu is said without a number of GPUs")
        cores = max(tasks, _number(values, "cpus-per-gpu") * gpus_per_node)
    cores = max(1, cores, _number(values, "mincpus", 0))
    bytes_per_node = None
    if "mem" in values:
        bytes_per_node = memory(values["mem"])
    elif "mem-per-cpu" in values:
        bytes_per_node = memory(values["mem-per-cpu"]) * cores
    elif "mem-per-gpu" in values:
        if not gpus_per_node:
            raise ValueError("--mem-per-gpu is said without a number of GPUs")
        bytes_per_node = memory(values["mem-per-gpu"]) * gpus_per_node
    # Whole nodes, of which nobody says how many cores they have.
    is_whole = "exclusive" in said and not said.keys() & _CORES
    return Job(
        name=values.get("job-name", ""),
        queue=values.get("partition"),
        account=values.get("account"),
        resources=Resources(nodes=nodes, cores=cores, memory=bytes_per_node or None, gpus=gpus_per_node),
        walltime=(seconds(values["time"]) or None) if "time" in values else None,
        log_directory=_log_directory(values.get("output", ""), log_file),
        skip={"cores"} if is_whole else (),
    )


#: What says how many cores there should be.
_CORES = frozenset({"ntasks", "ntasks-per-node", "cpus-per-task", "cpus-per-gpu", "mincpus", "ntasks-per-socket"})


def _number(values: Mapping[str, str], name: str, usual: int | None = None) -> int:
    if name not in values and usual is not None:
        return usual
    text = values.get(name, "")
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError(f"--{name}={text} is not one number")
    return int(text)


def _layout(values: Mapping[str, str]) -> tuple[int, int]:
    """Nodes, and tasks on each of them: as many as on the fullest."""
    tasks = _number(values, "ntasks", 0)
    per_node = _number(values, "ntasks-per-node", 0)
    if "ntasks-per-socket" in values and not per_node:
        if not tasks and "sockets-per-node" not in values:
            raise ValueError(
                "--ntasks-per-socket says nothing of a node without --sockets-per-node; say tasks per node"
            )
        per_node = _number(values, "ntasks-per-socket") * _number(values, "sockets-per-node", 1 << 30)
    if "nodes" in values:
        fewest, _, most = values["nodes"].partition("-")
        if most not in ("", fewest) or not re.fullmatch(r"[1-9]\d{0,8}", fewest, re.ASCII):
            raise ValueError(f"--nodes={values['nodes']} is not one number of nodes")
        nodes = int(fewest)
        if per_node and tasks > nodes * per_node:
            raise ValueError(f"{tasks} tasks are more than {per_node} on each of {nodes} nodes")
        return nodes, -(-tasks // nodes) if tasks else per_node if 0 < per_node < 1 << 20 else 1
    named = values.get("nodelist", "")
    nodes = len(parsing.host_names(named)) if named and "/" not in named else 1
    if not tasks:
        return nodes, per_node or 1
    if per_node:
        nodes = max(nodes, -(-tasks // per_node))
    return nodes, -(-tasks // nodes)


def _gpus_per_node(values: Mapping[str, str], nodes: int, tasks: int) -> int:
    """GPUs of each node, by whatever they are counted."""
    found = [gpus(values.get("gres", ""))]
    if "gpus-per-node" in values:
        found.append(gpus("gpu:" + values["gpus-per-node"]))
    if "gpus" in values:
        found.append(-(-gpus("gpu:" + values["gpus"]) // nodes))
    if "gpus-per-task" in values:
        each = gpus("gpu:" + values["gpus-per-task"])
        if not values.keys() & {"ntasks", "ntasks-per-node", "ntasks-per-socket", "gpus", "gpus-per-node", "gres"}:
            tasks = 1
        found.append(each * tasks)
    if "gpus-per-socket" in values:
        if "sockets-per-node" not in values:
            raise ValueError("--gpus-per-socket says nothing of a node without --sockets-per-node; say --gpus-per-node")
        found.append(gpus("gpu:" + values["gpus-per-socket"]) * _number(values, "sockets-per-node"))
    return max(found)


def kind_of_gpu(value: str) -> str | None:
    """``a100`` of ``a100:2``; of several kinds there is no one."""
    kinds = {item.rpartition(":")[0] for item in value.split(",")}
    return kinds.pop() or None if len(kinds) == 1 else None


def is_said(name: str, job: Job, memory_option: str) -> bool:
    """Whether the job says by itself all that an option of this name said."""
    if name in ("mem", memory_option):
        return job.resources.memory is not None
    if name == "time":
        return job.walltime is not None
    return name in _SAID_OTHERWISE | _HEEDED
