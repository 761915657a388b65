"""The language of ``#PBS`` lines: what options mean, which exclude each other, and what they make of a job.

PBS asks for `nodes` chunks of one host each (``-l select=2:ncpus=36:mem=92160mb``), on as many hosts (``-l
place=scatter``). What is asked for beside them, of the whole job, is refused by qsub: see `replaced_by`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from corral.plugin import InvalidRequest, Job, Resources, parsing
from corral.plugin.parsing import Option

PREFIX = "#PBS"

#: qsub(1B), as getopt spells them; of PBS Pro 13 to OpenPBS 23.
_LETTERS = "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"

#: Parts of a ``-l``. `select` and `place` do not go with requests of a host's things for the whole job.
_PARTS = frozenset({"select", "place", "walltime"})
_WHOLE_JOB = frozenset({"nodes", "ncpus", "mem", "vmem", "ngpus", "mpiprocs", "host", "vnode"})

#: The options that a Job has words for; `J` is `submit`'s own.
_READ = frozenset({"N", "q", "A", "P", "j", "o", "m", "J"})


# --- written ----------------------------------------------------------------------------------------------------


def written(name: str, value: str, argument: str) -> str:
    """``-N dask``, ``-l walltime=01:00:00``: read back by qsub as the very same value.

    Raises
    ------
    InvalidRequest
        No line can say it; names `argument`.
    """
    if not value or not (value.isascii() and value.isprintable()):
        raise InvalidRequest(argument, f"{value!r} cannot be written into a {PREFIX} line")
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
        if (option.name, option.value) == ("r", "n"):
            raise InvalidRequest("extra_directives", "-r n: PBS takes no array that may not be rerun; leave it out")
        if option.name in "IJCXz":
            raise InvalidRequest("extra_directives", f"-{option.name} is not an option of a job that corral submits")
        if option.name == "W" and parsing.assignments(option.value or "").get("block", "false") != "false":
            raise InvalidRequest("extra_directives", f"-W block: {parsing.NO_BATCH_JOB}")
    return found


def replaced_by(option: Option) -> set[str]:
    """The directives of ours that cannot stand beside this one."""
    if option.name != "l":
        return {option.name}
    parts = parsing.assignments(option.value or "").keys()
    layout = {"select", "place"} if parts & (_WHOLE_JOB | {"select"}) else set()
    return layout | (parts & _PARTS)


# --- read -------------------------------------------------------------------------------------------------------


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


def job(said: Mapping[str, str], extras: Iterable[str], *, account: str, gpus: str) -> Job:
    """The request that options make together.

    Parameters
    ----------
    account, gpus
        The option and the resource by which this site asks for them.

    Raises
    ------
    ValueError
        They make none.
    """
    asked = _asked(extras)
    nodes, chunk = chunks(said["select"]) if "select" in said else _whole_job(asked, gpus)
    cores = max(int(chunk.get("ncpus", "1")), 1)
    memory = parsing.size_in_bytes(chunk["mem"]) if "mem" in chunk else 0
    if "pmem" in asked:
        # Of each process; of which a node has as many as the chunk says, and one for each core otherwise.
        processes = int(chunk.get("mpiprocs", cores))
        memory = max(memory, parsing.size_in_bytes(asked["pmem"]) * processes)
    log = said.get("o", "")
    return Job(
        name=said.get("N", ""),
        queue=said.get("q"),
        account=said.get(account),
        resources=Resources(nodes=nodes, cores=cores, memory=memory or None, gpus=int(chunk.get(gpus, "0"))),
        walltime=(parsing.clock_seconds(said["walltime"]) or None) if "walltime" in said else None,
        log_directory=log[:-1] if log.endswith("/") and len(log) > 1 and said.get("j") == "oe" else None,
        # Whole nodes, of which nobody says how many cores they have.
        skip={"cores"} if "select" in said and "ncpus" not in chunk and "excl" in said.get("place", "") else (),
    )


def chunks(select: str) -> tuple[int, dict[str, str]]:
    """How many chunks, and what each of them has.

    Raises
    ------
    ValueError
        They are not all alike.
    """
    if "+" in select:
        found = [chunks(part) for part in select.split("+")]
        if any(properties != found[0][1] for _, properties in found):
            raise ValueError("chunks of several kinds cannot be one kind of worker; give each a group")
        return sum(count for count, _ in found), found[0][1]
    first, _, rest = select.partition(":")
    if not first.isdecimal():
        first, rest = "1", select
    if int(first) < 1:
        raise ValueError(f"select={select} asks for no chunk")
    return int(first), parsing.assignments(rest, ":")


def is_said(name: str, value: str, job: Job, *, gpus: str, chunk: str) -> bool:
    """Whether the job, or what this site has in each `chunk`, says all that this directive said."""
    if name == "select":
        others = {part for part in chunks(value)[1].items() if part[0] not in ("ncpus", "mem", gpus)}
        if "+" in value and others:
            return False
        return others <= parsing.assignments(chunk, ":").items()
    if name == "walltime":
        return job.walltime is not None
    # PBS would bring what the script writes there itself.
    return name == "J" or (name == "o" and job.log_directory is not None)


def _asked(extras: Iterable[str]) -> dict[str, str]:
    """What other ``-l`` ask for the whole job."""
    asked: dict[str, str] = {}
    for extra in extras:
        for option in parsing.short_options(extra, _LETTERS):
            if option.name == "l":
                asked |= parsing.assignments(option.value or "")
    return asked


def by_node(extras: Iterable[str], job: Job, *, has_chunks: bool) -> list[str]:
    """The same directives, without a limit on each process: workers are fewer than the cores, and larger.

    What all processes may have together is said instead: by our own chunks, or where there are none, for the whole job.
    """
    extras = list(extras)
    if "pmem" not in _asked(extras):
        return extras
    found = []
    for extra in extras:
        for option in parsing.short_options(extra, _LETTERS):
            parts = parsing.assignments(option.value or "") if option.name == "l" else {}
            if not parts.keys() & {"pmem", "mem"}:
                found.append(option.source)
            else:
                kept = [f"{name}={value}" for name, value in parts.items() if name not in ("pmem", "mem")]
                found += [f"-l {shlex.quote(each)}" for each in kept]
    whole = (job.resources.memory or 0) * job.resources.nodes
    return found if has_chunks else [*found, f"-l mem={whole}b"]


def _whole_job(asked: Mapping[str, str], gpus: str) -> tuple[int, dict[str, str]]:
    """The older way to ask: ``-l nodes=2:ppn=8,mem=4gb``, ``-l ncpus=8``; memory and GPUs are the whole job's."""
    found = dict(asked)
    nodes = 1
    if "nodes" in asked:
        nodes, properties = chunks(asked["nodes"])
        # ncpus beside ppn are those of each process.
        cores = int(properties.get("ppn", "1")) * int(properties.get("ncpus", properties.get("cpp", "1")))
        found |= {"ncpus": str(cores)} if properties.keys() & {"ppn", "ncpus", "cpp"} else {}
        if "ppn" in properties:
            found["mpiprocs"] = properties["ppn"]
        found |= {name: properties[name] for name in (gpus, "gpus") if name in properties}
        if "gpus" in properties:
            found[gpus] = properties["gpus"]
    if gpus in asked:
        found[gpus] = str(-(-int(asked[gpus]) // nodes))
    if "mem" in asked:
        found["mem"] = f"{-(-parsing.size_in_bytes(asked['mem']) // nodes)}b"
    return nodes, found


def header(text: str) -> tuple[str | None, list[str]]:
    """The shebang and the option lines; ``select=2:ncpus=4`` alone is what follows an ``-l``."""
    shebang, lines = parsing.header(text, PREFIX)
    return shebang, [line if line.startswith("-") else f"-l {line}" for line in lines]
