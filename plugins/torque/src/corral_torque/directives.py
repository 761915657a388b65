"""The language of ``#PBS`` lines as TORQUE speaks it: ``-l nodes=2:ppn=8:gpus=1``, and memory for the whole job.

Moab reads the same language.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from corral.plugin import InvalidRequest, Job, Resources, parsing
from corral.plugin.parsing import Option

#: qsub(1B) of TORQUE 6.1, as getopt spells them.
_LETTERS = "a:A:b:c:C:d:D:e:EfF:hi:Ij:J:k:K:l:L:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:Xxz"

#: Parts of a ``-l`` that a Job has words for, and what replaces the nodes.
_PARTS = frozenset({"nodes", "mem", "vmem", "pmem", "pvmem", "walltime"})
_INSTEAD_OF_NODES = frozenset({"nodes", "procs", "ncpus", "size", "tpn", "nodect"})
_MEMORY = frozenset({"mem", "vmem", "pmem", "pvmem"})
#: Of each process, and to Moab of each core.
BY_CORE = ("pmem", "pvmem")

#: Options that a Job has words for; `t` is `submit`'s own.
_READ = frozenset({"N", "q", "A", "j", "o", "m", "t"})

#: TORQUE expands the names of logs as a shell does.
_PLAIN_PATH = re.compile(r"/[\w./@%+=,-]*", re.ASCII)


def written(name: str, value: str, argument: str) -> str:
    """``-N dask``, ``-l walltime=01:00:00``: read back by qsub as the very same value.

    Raises
    ------
    InvalidRequest
        No line can say it; names `argument`.
    """
    if not value or not (value.isascii() and value.isprintable()):
        raise InvalidRequest(argument, f"{value!r} cannot be written into a #PBS line")
    return f"-l {name}={shlex.quote(value)}" if name in _PARTS else f"-{name} {shlex.quote(value)}"


def checked(extra: str) -> list[Option]:
    """The options of one of the user's own directives.

    Raises
    ------
    InvalidRequest
        qsub would refuse or misread the line.
    """
    try:
        found = parsing.short_options(extra, _LETTERS)
    except ValueError as error:
        raise InvalidRequest("extra_directives", f"{extra!r}: {error}; write options alone, like '-W x=y'") from error
    if not found or not extra.isprintable():
        raise InvalidRequest("extra_directives", f"{extra!r} is not one line of options, like '-W x=y'")
    for option in found:
        if option.name in "ItCxzF":
            raise InvalidRequest("extra_directives", f"-{option.name} is not an option of a job that corral submits")
    return found


def replaced_by(option: Option) -> set[str]:
    """The directives of ours that cannot stand beside this one."""
    if option.name == "L":  # TORQUE 6's other way to ask: -L tasks=2:lprocs=8
        return {"nodes", *_MEMORY}
    if option.name != "l":
        return {option.name}
    parts = parsing.assignments(option.value or "").keys()
    nodes = {"nodes"} if parts & _INSTEAD_OF_NODES else set()
    memory = _MEMORY if parts & _MEMORY else frozenset()
    return nodes | memory | (parts & {"walltime"})


def log_path(directory: str | None, log_file: str) -> str:
    """Where the log of each element goes, for ``-o``.

    Raises
    ------
    InvalidRequest
    """
    if directory is None:
        return "/dev/null"
    if not _PLAIN_PATH.fullmatch(directory):
        raise InvalidRequest(
            "log_directory", f"TORQUE expands {directory!r} as a shell does; use letters, digits, ._-+=@%,/"
        )
    return directory + log_file


def split(lines: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What the lines say that a Job has words for, and the rest of them as it was written.

    Raises
    ------
    ValueError
    """
    said: dict[str, str] = {}
    rest: list[str] = []
    for line in lines:
        known: dict[str, str] = {}
        unknown: list[str] = []
        for option in parsing.short_options(line, _LETTERS):
            if option.name in _READ:
                known[option.name] = option.value or ""
            elif option.name == "l":
                parts = parsing.assignments(option.value or "")
                known |= {part: value for part, value in parts.items() if part in _PARTS}
                unknown += [
                    f"-l {shlex.quote(f'{name}={value}')}" for name, value in parts.items() if name not in _PARTS
                ]
            else:
                unknown.append(option.source)
        said |= known
        rest += unknown if known else [line] if unknown else []
    return said, rest


def job(said: Mapping[str, str], extras: Iterable[str], memory: str, log_file: str) -> Job:
    """The request that options make together; `memory` is the resource by which this site asks for it.

    Parameters
    ----------
    extras
        The directives of which no option is a Job's own word.

    Raises
    ------
    ValueError
        They make none.
    """
    asked = _asked(extras)
    nodes, properties = node_list(said.get("nodes", "1"))
    if "nodes" not in said and "L" in asked:
        nodes, properties = _tasks(asked["L"])
    for name in ("procs", "size", "nodect"):
        if name in asked:
            raise ValueError(
                f"{name}={asked[name]} leaves it to the batch system how many nodes there are; say nodes=N:ppn=M"
            )
    cores = int(properties.get("ppn", asked.get("ncpus", "1") if "nodes" not in said else "1"))
    if "tpn" in asked:
        cores = max(cores, int(asked["tpn"]))
    log = said.get("o", "")
    found = [-(-parsing.size_in_bytes(said[memory]) // nodes)] if memory in said.keys() - {*BY_CORE} else []
    found += [parsing.size_in_bytes(said[name]) * cores for name in BY_CORE if name in said]
    if "memory" in properties:
        found.append(parsing.size_in_bytes(properties["memory"]))
    return Job(
        name=said.get("N", ""),
        queue=said.get("q"),
        account=said.get("A"),
        resources=Resources(
            nodes=nodes,
            cores=cores,
            memory=max(found, default=0) or None,
            gpus=int(properties.get("gpus", "0")),
        ),
        walltime=(parsing.clock_seconds(said["walltime"]) or None) if "walltime" in said else None,
        log_directory=log.removesuffix(log_file) if log.endswith(log_file) and said.get("j") == "oe" else None,
    )


def _asked(extras: Iterable[str]) -> dict[str, str]:
    """What other ``-l`` ask for, and what ``-L`` does."""
    asked: dict[str, str] = {}
    for extra in extras:
        for option in parsing.short_options(extra, _LETTERS):
            if option.name == "l":
                asked |= parsing.assignments(option.value or "")
            elif option.name == "L":
                if "L" in asked:
                    raise ValueError("several -L cannot be one kind of worker; give each a group")
                asked["L"] = option.value or ""
    return asked


def _tasks(request: str) -> tuple[int, dict[str, str]]:
    """Nodes, and what each has, of ``-L tasks=2:lprocs=8:memory=4gb:place=node``.

    Raises
    ------
    ValueError
        Several tasks may share a node.
    """
    values = parsing.assignments(request, ":")
    count = int(values.get("tasks", "1"))
    if count < 1 or not values.get("lprocs", "1").isdecimal():
        raise ValueError(f"-L {request} is not a number of tasks and of processors")
    if count > 1 and not values.get("place", "").startswith("node"):
        raise ValueError(
            f"-L {request} leaves it to TORQUE how many tasks share a node; add place=node, or say nodes=N:ppn=M"
        )
    found = {"ppn": values.get("lprocs", "1"), "gpus": values.get("gpus", "0")}
    return count, found | ({"memory": values["memory"]} if "memory" in values else {})


def node_list(text: str) -> tuple[int, dict[str, str]]:
    """How many nodes, and the properties of each: ``2:ppn=8:gpus=1``.

    Raises
    ------
    ValueError
        They are not all alike, or named one by one.
    """
    if "+" in text:
        raise ValueError("nodes of several kinds cannot be one kind of worker; give each a group")
    count, _, rest = text.partition(":")
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"nodes={text} is not a number of nodes")
    return int(count), parsing.assignments(rest, ":")


def is_said(name: str, value: str, job: Job, *, properties: str, memory: str) -> bool:
    """Whether the job, or the `properties` that this site asks of each node, says all that this directive said."""
    if name == "nodes":
        others = {part for part in node_list(value)[1].items() if part[0] not in ("ppn", "gpus")}
        return others <= parsing.assignments(properties, ":").items()
    # Workers are fewer than the cores, and larger: what each process may have is said of all together.
    return name in ("t", memory, *BY_CORE) or (name == "walltime" and job.walltime is not None)


def header(text: str, prefix: str) -> tuple[str | None, list[str]]:
    """The shebang and the option lines; ``nodes=2:ppn=8`` alone is what follows an ``-l``."""
    shebang, lines = parsing.header(text, prefix)
    return shebang, [line if line.startswith("-") else f"-l {line}" for line in lines]
