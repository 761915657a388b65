"""The language of ``#OAR`` lines, and what they make of a job.

OAR reads one option from each line (``scan_script`` in its Sub.pm), and takes the rest of the line for its value, as it
stands: there are no quotes and nothing is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence

from attrs import frozen

from corral.plugin import InvalidRequest, parsing

PREFIX = "#OAR"
LOG_FILE = "/%jobid%.log"

#: Long options, by the names under which a person may skip them.
_SHORT = {
    "anterior": "a", "connect": "C", "directory": "d", "interactive": "I", "name": "n", "property": "p", "queue": "q",
    "reservation": "r", "resource": "l", "scanscript": "S", "stderr": "E", "stdout": "O", "type": "t",
    "use-job-key": "k",
}  # fmt: skip

#: The options that a Job has words for; `array` is `submit`'s own.
READ = frozenset({"array", "E", "l", "n", "O", "p", "project", "q"})

#: Options without a value.
_ALONE = frozenset({"hold", "k"})

#: Options that are none of a job's, or that change how its command is read.
_NOT_ONES_OWN = frozenset({"array", "array-param-file", "C", "I", "resubmit", "S", "h", "help", "V", "version"})

#: OAR puts names into SQL and into Perl as they are, and log files into Perl after a check of its own.
_NAME = re.compile(r"[\w.:@+-]{1,100}", re.ASCII)
_PATH = re.compile(r"/[\w./ -]*", re.ASCII)


@frozen
class Option:
    """What one line says."""

    #: Without dashes; short where it has a short form.
    name: str
    #: None if it has none.
    value: str | None
    #: As it was written.
    source: str

    @property
    def words(self) -> list[str]:
        """The same for oarsub."""
        flag = f"-{self.name}" if len(self.name) == 1 else f"--{self.name}"
        return [flag] if self.value is None else [flag, unquoted(self.value)]


def line(name: str, value: str) -> str:
    """The whole line that says this."""
    return f"{PREFIX} {'-' if len(name) == 1 else '--'}{name} {value}"


def option(line: str) -> Option:
    """Read a line without its prefix.

    Raises
    ------
    ValueError
    """
    match = re.fullmatch(r"(?:--([a-z][a-z0-9-]+)(?:[\s=]\s*(.+))?|-([A-Za-z])\s*(.+)?)", line.strip())
    if match is None:
        raise ValueError(f"{line!r} is not one option of oarsub")
    long, long_value, short, short_value = match.groups()
    return Option(short or _SHORT.get(long, long), short_value or long_value, line)


def checked(extra: str) -> Option:
    """One of the user's own directives.

    Raises
    ------
    InvalidRequest
    """
    try:
        found = option(extra)
    except ValueError as error:
        raise InvalidRequest("extra_directives", f"{error}; write one, like '-t besteffort'") from error
    if found.name in _NOT_ONES_OWN:
        raise InvalidRequest("extra_directives", f"{extra!r} cannot be used for a job that runs workers")
    if found.name in _ALONE and found.value is not None:
        raise InvalidRequest("extra_directives", f"{extra!r} is more than one option; write each as one directive")
    return found


def unquoted(value: str) -> str:
    """A value without the double quotes around all of it.

    OAR would take them for a part of it, and PostgreSQL for the name of one strange column; who writes them thinks of
    a shell.
    """
    return value[1:-1] if re.fullmatch(r'"[^"]*"', value) else value


def check_name(argument: str, value: str) -> None:
    """Refuse a name that OAR would not take as it is.

    Raises
    ------
    InvalidRequest
    """
    if not _NAME.fullmatch(value):
        raise InvalidRequest(argument, f"{value!r} must be at most 100 letters, digits and .:@+-_ for OAR")


def check_log_directory(directory: str) -> None:
    """Refuse a folder in which OAR writes no log.

    Raises
    ------
    InvalidRequest
    """
    if not _PATH.fullmatch(directory):
        raise InvalidRequest("log_directory", f"OAR takes only letters, digits, spaces and /._-, not {directory!r}")


def log_directory(said: Mapping[str, str]) -> str | None:
    """The folder of logs that are named as ours are."""
    directory = said.get("O", "").removesuffix(LOG_FILE)
    is_ours = said.get("O") == said.get("E") == directory + LOG_FILE and _PATH.fullmatch(directory)
    return directory if is_ours else None


# --- resources --------------------------------------------------------------------------------------------------


@frozen
class Wanted:
    """The value of ``-l``: ``/nodes=2/core=4,walltime=1:00:00``."""

    #: From the outermost to the innermost; a count may be ALL or BEST.
    levels: tuple[tuple[str, str], ...]
    #: Seconds.
    walltime: int | None = None
    #: What the resources must be like: ``{gpu_model = 'A100'}/nodes=1``.
    condition: str | None = None

    def __str__(self) -> str:
        levels = "".join(f"/{name}={count}" for name, count in self.levels)
        walltime = "" if self.walltime is None else f"walltime={parsing.hours_and_time(self.walltime)}"
        return ",".join(part for part in (levels, walltime) if part)

    def amounts(self, nodes: Container[str], gpus: str, cores: Container[str]) -> tuple[int, int, int | None]:
        """Nodes, and GPUs and cores of each, by the names that their levels may have; None: all cores, or so.

        Raises
        ------
        ValueError
            The number of nodes is left to OAR.
        """
        found_nodes, found_gpus, found_cores = 1, 0, None
        product = 1
        for name, count in self.levels:
            if not count.isdecimal():
                if name in nodes:
                    raise ValueError(f"{name}={count} is not a number of nodes")
                break
            product *= int(count)
            if name in nodes:
                found_nodes, product = product, 1
            elif name == gpus:
                found_gpus = product
            elif name in cores:
                found_cores = product
        return found_nodes, found_gpus, found_cores

    def is_of(self, names: Container[str]) -> bool:
        """Whether it says no more than how many there should be of these."""
        return self.condition is None and all(name in names and count.isdecimal() for name, count in self.levels)


def wanted(value: str) -> Wanted:
    """Read the value of ``-l``.

    Raises
    ------
    ValueError
        It is none, or of several groups of resources.
    """
    match = re.fullmatch(
        r"\s*(?:\{(.*)\})?\s*/*([^,+{}]*?)\s*(?:(?:^|,)\s*walltime\s*=\s*([\d:]+))?\s*", unquoted(value), re.ASCII
    )
    if match is None:
        raise ValueError(f"-l {value} is not one group of resources; give each a group of workers")
    condition, levels, walltime = match.groups()
    pairs = []
    for level in filter(None, levels.split("/")):
        name, equals, count = (part.strip() for part in level.partition("="))
        if not equals or not re.fullmatch(r"[1-9]\d{0,8}|ALL|BEST|BESTHALF", count, re.ASCII):
            raise ValueError(f"{level!r} in -l {value} is not a number of resources")
        pairs.append((name, count))
    return Wanted(tuple(pairs), None if walltime is None else clock_seconds(walltime), condition)


def clock_seconds(text: str) -> int:
    """Seconds of ``1`` (an hour), ``1:30`` or ``1:30:00``.

    Raises
    ------
    ValueError
    """
    if not re.fullmatch(r"\d{1,6}(:\d{1,6}){0,2}", text, re.ASCII):
        raise ValueError(f"{text!r} is not a walltime")
    hours, minutes, seconds = [*map(int, text.split(":")), 0, 0][:3]
    return (hours * 60 + minutes) * 60 + seconds


# --- conditions, in SQL -----------------------------------------------------------------------------------------


def all_of(conditions: Sequence[str]) -> str:
    """One condition for several; `amount_of` and `without` take it apart again."""
    first, *rest = conditions
    return f"({first}) AND ({all_of(rest)})" if rest else first


def at_least(name: str, amount: int) -> str:
    """The condition that a resource has so much of a property."""
    return f"{name} >= {amount}"


def amount_of(name: str, condition: str) -> tuple[int | None, str]:
    """The amount that a condition begins with, if it begins with `at_least` of this, and the rest of it."""
    if match := re.match(rf"\(?{re.escape(name)} >= (\d+)", condition, re.ASCII):
        amount = int(match[1])
        if (rest := without(at_least(name, amount), condition)) != condition:
            return amount, rest
    return None, condition


def is_there(name: str) -> str:
    """The condition that a resource has a property at all: to OAR, all that lack it are one of its values."""
    return f"{name} IS NOT NULL"


def without(first: str, condition: str) -> str:
    """The rest of a condition that begins with this one."""
    if condition == first:
        return ""
    rest = condition.removeprefix(f"({first}) AND (")
    return rest.removesuffix(")") if rest != condition else condition


def text(value: str) -> str:
    """A text as SQL spells it."""
    return "'" + value.replace("'", "''") + "'"


def is_one_of(job_ids: Iterable[int]) -> str:
    """The condition that a job has one of these ids; those of an array are a range."""
    singly: list[int] = []
    ranges = []
    for span in parsing.ranges(job_ids).split(","):
        low, _, high = span.partition("-")
        if int(high or low) - int(low) < 5:  # a range is longer than five numbers
            singly += range(int(low), int(high or low) + 1)
        else:
            ranges.append(f"job_id BETWEEN {low} AND {high}")
    if singly:
        ranges.append(f"job_id IN ({','.join(map(str, singly))})")
    return " OR ".join(ranges)
