"""The language of submit descriptions: statements, macros, quotes, and how a script travels in one of them.

Keys are the same in any case, and with or without underscores where ClassAds have none (``RequestMemory``). The last
statement about a key counts. ``$`` begins a macro, and is itself written ``$(DOLLAR)``; two in a row would begin one
that is expanded on the machine, and cannot be written at all.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping

from attrs import frozen

from corral.plugin import InvalidRequest, Script

#: In a job's script as people see it, the description ends here: a comment to HTCondor and to the shell.
BODY = "# What runs on the machine; corral hands it over as an argument:"

#: What the job's name, account and queue may be made of; more would have to be quoted, and be quoted in questions.
WORD = re.compile(r"[A-Za-z0-9][\w.@:+/-]*", re.ASCII)

#: Other spellings of keys that corral writes, without case and underscores.
_SPELLINGS = {
    name.replace("_", ""): name
    for name in [
        "accounting_group", "allowed_job_duration", "batch_name", "getenv", "periodic_remove", "request_cpus",
        "request_disk", "request_gpus", "request_memory", "should_transfer_files", "transfer_executable",
    ]
} | {
    "out": "output", "stdout": "output", "err": "error", "stderr": "error", "env": "environment", "cmd": "executable",
    "args": "arguments", "initialdir": "initialdir", "iwd": "initialdir", "jobiwd": "initialdir",
    "jobbatchname": "batch_name",
}  # fmt: skip

#: What the script's way to the machine needs for itself.
CARRIED = frozenset({"executable", "arguments", "transfer_executable", "environment", "initialdir"})
#: Jobs that are created later would be taken for lost.
_LATE = frozenset({"max_materialize", "max_idle"})

_STATEMENT = re.compile(r"(\+|MY\.)?([A-Za-z_][\w.]*)\s*=\s*(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
_QUEUE = re.compile(r"queue\b(?!\s*=)\s*(.*)", re.IGNORECASE)


@frozen
class Statement:
    """One ``key = value``."""

    #: As corral spells it; an attribute of the job's ClassAd begins with ``+``.
    name: str
    #: With its macros.
    value: str
    source: str


def statement(line: str) -> Statement:
    """Read one line.

    Raises
    ------
    ValueError
    """
    match = _STATEMENT.fullmatch(line)
    if match is None:
        raise ValueError(f"{line!r} is not 'key = value' or '+Attribute = value'")
    key = match[2].lower()
    name = f"+{key}" if match[1] else _SPELLINGS.get(key.replace("_", ""), key)
    return Statement(name, match[3].strip(), line)


def statements(text: str) -> list[Statement]:
    """Everything that a description says before it queues.

    Raises
    ------
    ValueError
        It has a line that is no statement, or queues jobs that differ.
    """
    found = []
    queues = 0
    for line in _lines(text.partition(BODY)[0]):
        queue = _QUEUE.fullmatch(line)
        if queue is None:
            found.append(statement(line))
            continue
        queues += 1
        if queues > 1 or not re.fullmatch(r"(\d|\$\(\w+\))*", queue[1].strip(), re.ASCII):
            raise ValueError(f"{line!r} makes jobs differ; corral's are all alike")
    return found


_MACRO = re.compile(r"\$\((?!DOLLAR\b)([A-Za-z_][\w.]*)(?::([^()]*))?\)", re.ASCII | re.IGNORECASE)


def expanded(value: str, said: Mapping[str, str]) -> str:
    """A value with the macros filled in that the description itself defines; others stay.

    Raises
    ------
    ValueError
        They go round in circles.
    """
    for _ in range(20):
        filled = _MACRO.sub(lambda match: said.get(match[1].lower(), match[2] or match[0]), value)
        if filled == value:
            return value
        value = filled
    raise ValueError(f"{value!r} has macros that go round in circles")


def whole(name: str, value: str) -> int:
    """A number that HTCondor need not compute.

    Raises
    ------
    ValueError
    """
    if not re.fullmatch(r"\d{1,12}", value, re.ASCII):
        raise ValueError(f"{name} = {value} is not a plain number, and corral must know it; write what it stands for")
    return int(value)


def checked(extra: str) -> Statement:
    """One of the user's own statements.

    Raises
    ------
    InvalidRequest
    """
    example = "write one statement, like 'request_disk = 20G' or '+ProjectName = \"dask\"'"
    if not extra.isprintable() or extra.endswith("\\") or _QUEUE.fullmatch(extra.strip()):
        raise InvalidRequest("extra_directives", f"{extra!r} is not one line of a description; {example}")
    try:
        said = statement(extra.strip())
    except ValueError as error:
        raise InvalidRequest("extra_directives", f"{error}; {example}") from error
    if said.name == "initialdir":
        raise InvalidRequest(
            "extra_directives",
            f"{extra!r}: initialdir is corral's own; jobs start in the folder in which the cluster is made, or where "
            "prologue=['cd …'] says",
        )
    if said.name == "+jobbatchname":
        raise InvalidRequest("extra_directives", f"{extra!r}: corral finds its jobs by that; Cluster(name=…) says it")
    if said.name in CARRIED:
        raise InvalidRequest("extra_directives", f"{extra!r}: {said.name} is corral's own; variables go into env=")
    if said.name in _LATE:
        raise InvalidRequest("extra_directives", f"{extra!r}: corral follows jobs from their submission on")
    return said


def literal(value: str, argument: str) -> str:
    """The value with its macros made plain text.

    Raises
    ------
    InvalidRequest
        No description can say it; names `argument`.
    """
    if not value.isprintable() or value != value.strip() or "$$" in value or value.endswith("\\"):
        raise InvalidRequest(argument, f"{value!r} cannot be written into a submit description")
    return value.replace("$", "$(DOLLAR)")


def unquoted(value: str) -> str:
    """The text that `literal` wrote, or a string of the ClassAd language.

    Raises
    ------
    ValueError
        It depends on a macro.
    """
    if value[:1] == value[-1:] == '"' and len(value) > 1:
        value = value[1:-1]
    pieces = value.split("$(DOLLAR)")
    if any("$" in piece for piece in pieces):
        raise ValueError(f"{value!r} has macros, which only condor_submit can expand; write what they stand for")
    return "$".join(pieces)


def complete(script: Script, count: int) -> str:
    """The description that ``condor_submit`` reads: the script's own, what carries its body, and how many."""
    interpreter, *options = script.shebang.removeprefix("#!").split(maxsplit=1)
    code = base64.b64encode(script.body.encode()).decode()
    words = [*options, "-c", f'eval "`echo {code} | base64 -d`"']
    arguments = " ".join("'" + word.replace("'", "''").replace('"', '""') + "'" for word in words)
    lines = [
        *(directive.text for directive in script.directives),
        f"executable = {interpreter}",
        "transfer_executable = False",
        f'arguments = "{arguments}"',
        f"queue {count}",
    ]
    return "\n".join(lines) + "\n"


def _lines(text: str) -> Iterator[str]:
    """Lines that say something; a backslash at the end of one continues it."""
    unfinished = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        unfinished += line
        if unfinished.endswith("\\"):
            unfinished = unfinished[:-1]
            continue
        if said := unfinished.strip():
            yield said
        unfinished = ""
    if said := unfinished.strip():
        yield said
