"""The language of ``#SBATCH`` lines: words, units, which options mean the same, and what they make of a job.

sbatch splits a line by rules of its own (``get_argument`` in src/sbatch/opt.c), not by the shell's: a backslash keeps
the next character, inside quotes too; both kinds of quotes group; an unquoted ``#`` begins a comment, even within a
word; nothing is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from corral import parsing
from corral.domain import Job, Resources
from corral.errors import InvalidRequest, ParseError

PREFIX = "#SBATCH"

#: Short options, by their long names.
_LONG = {
    "A": "account", "a": "array", "B": "extra-node-info", "b": "begin", "C": "constraint", "c": "cpus-per-task",
    "D": "chdir", "d": "dependency", "e": "error", "F": "nodefile", "G": "gpus", "H": "hold", "i": "input",
    "J": "job-name", "k": "no-kill", "L": "licenses", "M": "clusters", "m": "distribution", "N": "nodes",
    "n": "ntasks", "O": "overcommit", "o": "output", "p": "partition", "Q": "quiet", "q": "qos", "S": "core-spec",
    "s": "oversubscribe", "t": "time", "v": "verbose", "W": "wait", "w": "nodelist", "x": "exclude",
}  # fmt: skip

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
    frozenset({"ntasks", "ntasks-per-node"}),
    frozenset({"cpus-per-task", "cpus-per-gpu"}),
    frozenset({"requeue", "no-requeue"}),
)

#: The options that a Job has words for; `array` is `submit`'s own.
_READ = frozenset({
    "job-name", "partition", "account", "nodes", "no-kill", "ntasks", "ntasks-per-node", "cpus-per-task", "mem",
    "mem-per-cpu", "gres", "gpus", "gpus-per-node", "time", "signal", "output", "open-mode", "export", "requeue",
    "no-requeue", "array",
})  # fmt: skip

_LOG_FILE = "/%A_%a.log"


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
            attached = value if equals else None
        elif word.startswith("-") and len(word) > 1:
            name, attached = _LONG.get(word[1], word[1]), word[2:] or None
        else:
            raise ParseError(f"{word!r} is not an sbatch option", line)
        if attached is None and name not in _ALONE and words:
            next_source, attached = words.pop(0)
            source = f"{source} {next_source}"
        found.append(Option(name, attached, source))
    return found


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
        raise InvalidRequest("extra_directives", f"{error}; write options alone, like '--qos=high'") from error
    if not found or "\n" in extra:
        raise InvalidRequest("extra_directives", f"{extra!r} is not one line of options, like '--qos=high'")
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
        raise ValueError(f"{text!r} is no amount of memory")
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
        raise ValueError(f"{text!r} is no time")
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


def log_pattern(directory: str | None) -> str:
    """The name of an array's logs, for ``--output``.

    Raises
    ------
    InvalidRequest
    """
    if directory is None:
        return "/dev/null"
    if "\\" in directory:
        raise InvalidRequest("log_directory", f"Slurm cannot write into {directory!r}: it drops backslashes from paths")
    return directory.replace("%", "%%") + _LOG_FILE


def _log_directory(pattern: str) -> str | None:
    directory = pattern.removesuffix(_LOG_FILE).replace("%%", "%")
    is_ours = directory and "\\" not in directory and log_pattern(directory) == pattern
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
        said |= known
        if known:
            rest += [option.source for option in found if option.name not in known]
        elif found:
            rest.append(line)
    return said, rest


def job(said: Mapping[str, str | None]) -> Job:
    """The request that options make together.

    Raises
    ------
    ValueError
        They make none.
    """
    values = {name: value for name, value in said.items() if value is not None}
    fewest, _, most = values.get("nodes", "1").partition("-")
    nodes = int(fewest)
    if most not in ("", fewest) or nodes < 1:
        raise ValueError(f"--nodes={values['nodes']} is not one number of nodes")
    tasks = int(values.get("ntasks-per-node") or -(-int(values.get("ntasks", nodes)) // nodes))
    cores = max(1, tasks * int(values.get("cpus-per-task", 1)))
    bytes_per_node = None
    if "mem" in values:
        bytes_per_node = memory(values["mem"])
    elif "mem-per-cpu" in values:
        bytes_per_node = memory(values["mem-per-cpu"]) * cores
    gpus_per_node = gpus(values.get("gres", ""))
    if "gpus-per-node" in values:
        gpus_per_node = gpus("gpu:" + values["gpus-per-node"])
    elif "gpus" in values:
        gpus_per_node = -(-gpus("gpu:" + values["gpus"]) // nodes)
    return Job(
        name=values.get("job-name", ""),
        queue=values.get("partition"),
        account=values.get("account"),
        resources=Resources(nodes=nodes, cores=cores, memory=bytes_per_node or None, gpus=gpus_per_node),
        walltime=(seconds(values["time"]) or None) if "time" in values else None,
        log_directory=_log_directory(values.get("output", "")),
    )


def is_said(name: str, job: Job) -> bool:
    """Whether the job says by itself all that an option of this name said."""
    if name == "mem":
        return job.resources.memory is not None
    if name == "time":
        return job.walltime is not None
    return name in ("nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "array")
