"""The directives that dask-jobqueue's jobs have, as it writes them: what `job_directives_skip` and subclasses know.

What is submitted is written by corral, and asks for the same; here is what people's own code looks for and changes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen
from dask.utils import parse_bytes

from corral.migration.jobqueue.words import Kind

_KIBI, _MEBI, _GIBI = 2**10, 2**20, 2**30


@frozen
class Line:
    """One directive."""

    #: With its prefix.
    text: str
    #: What `skip_directives` calls all that it says; nothing, if corral's jobs have no such directive.
    names: tuple[str, ...] = ()
    #: It is the user's own resource_spec, which corral takes for an extra directive.
    is_spec: bool = False


def lines(kind: Kind, said: Mapping[str, Any]) -> list[Line]:
    """The directives of a job, without the user's own.

    Parameters
    ----------
    said
        Arguments, by their names of today, after what the configuration says.
    """
    write = {
        "slurm": _slurm, "pbs": _pbs, "moab": _pbs, "sge": _sge, "lsf": _lsf, "oar": _oar,
    }.get(kind.backend)  # fmt: skip
    return [] if write is None else [Line(f"{kind.prefix} {text}", *rest) for text, *rest in write(said)]


def extra_lines(kind: Kind, said: Mapping[str, Any]) -> list[str]:
    """The user's own directives, with their prefix."""
    extras = said.get("job_extra_directives") or ()
    return [f"{kind.prefix} {extra}" for extra in ([extras] if isinstance(extras, str) else extras)]


def memory_of(said: Mapping[str, Any]) -> int | None:
    """Bytes of a job."""
    memory = said.get("memory")
    return None if memory is None else int(parse_bytes(memory))


def amount_for_slurm(size: int) -> str:
    """``27G`` of 28 * 10^9 bytes, rounded up."""
    for unit, letter in ((_GIBI, "G"), (_MEBI, "M"), (_KIBI, "K")):
        if size >= unit:
            return f"{math.ceil(size / unit)}{letter}"
    return "1K"


def amount_for_pbs(size: int) -> str:
    """``27GB`` of 28 * 10^9 bytes, rounded up; of less than ten of a unit in the next smaller one."""
    for unit, letters in ((_GIBI, "GB"), (_MEBI, "MB"), (_KIBI, "kB")):
        if size >= 10 * unit:
            return f"{math.ceil(size / unit)}{letters}"
    return f"{size}B"


def amount_for_lsf(size: int, units: str = "mb") -> str:
    """A number in LSF's units, of which each is a thousand of the one before."""
    power = "_kmgtpez".index(units.lower()[0])
    return str(math.ceil(size / 1000**power))


def last_property(extras: Iterable[str]) -> str | None:
    """What the last of OAR's ``-p`` says, which alone counts."""
    found = [extra.removeprefix("-p").strip() for extra in extras if extra.startswith("-p")]
    return found[-1] if found else None


#: The directive that names a job, in corral's words, and the user's own one that would name it otherwise.
NAME: Mapping[str, str] = {
    "slurm": "job-name", "pbs": "N", "moab": "N", "sge": "N", "lsf": "J", "oar": "n", "htcondor": "batch_name",
}  # fmt: skip
_OTHER_NAME: Mapping[str, str] = {
    "slurm": r"(?:-J *|--job-name[= ])(\S+)", "pbs": r"-N *(\S+)", "moab": r"-N *(\S+)", "sge": r"-N *(\S+)",
    "lsf": r"-J *(\S+)", "oar": r"(?:-n *|--name[= ])(\S+)", "htcondor": r"(?i:batch_name|JobBatchName) *= *(.+)",
}  # fmt: skip


def other_name(kind: Kind, directive: str) -> str | None:
    """What this directive of the user's own would have jobs called; None: it is about something else."""
    named = re.fullmatch(_OTHER_NAME.get(kind.backend, "(?!)"), directive.strip())
    return named and named[1].strip("'\"")


def schedd(words: Iterable[object]) -> tuple[dict[str, str], list[str]]:
    """Which of HTCondor's queues and pools words for its commands name, as options of the backend; and the rest."""
    left, rest = list(map(str, words)), []
    found: dict[str, str] = {}
    while left:
        word = left.pop(0)
        option = {"-name": "schedd", "-n": "schedd", "-pool": "pool"}.get(word)
        if option is not None and left:
            found[option] = left.pop(0)
        else:
            rest.append(word)
    return found, rest


def condor_statements(said: Mapping[str, Any], name: object) -> dict[str, Any]:
    """The statements of an HTCondor job, without the user's own."""
    found: dict[str, Any] = {
        "MY.DaskWorkerName": '"htcondor--$F(MY.JobId)--"',
        "batch_name": name,
        "RequestCpus": "MY.DaskWorkerCores",
        "RequestMemory": "floor(MY.DaskWorkerMemory / 1048576)",
        "RequestDisk": "floor(MY.DaskWorkerDisk / 1024)",
        "MY.JobId": '"$(ClusterId).$(ProcId)"',
        "MY.DaskWorkerCores": said.get("cores"),
        "MY.DaskWorkerMemory": memory_of(said),
        "MY.DaskWorkerDisk": None if said.get("disk") is None else int(parse_bytes(said["disk"])),
    }
    if said.get("log_directory"):
        found |= {
            "LogDirectory": said["log_directory"],
            "Output": "$(LogDirectory)/worker-$F(MY.JobId).out",
            "Error": "$(LogDirectory)/worker-$F(MY.JobId).err",
            "Log": "$(LogDirectory)/worker-$(ClusterId).log",
            "Stream_Output": True,
            "Stream_Error": True,
        }
    return found


def condor_pairs(extras: Mapping[str, Any] | Iterable[object] | None) -> dict[str, Any]:
    """The user's own statements, also where they are a list of ``key = value``."""
    if isinstance(extras, Mapping):
        return dict(extras)
    pairs = (str(each).partition("=") for each in ([extras] if isinstance(extras, str) else extras or ()))
    return {key.strip(): value.strip() for key, _, value in pairs}


#: What corral calls an HTCondor statement of dask-jobqueue's; none: it writes no such thing.
CONDOR_NAMES: Mapping[str, tuple[str, ...]] = {
    "batch_name": ("batch_name",),
    "RequestCpus": ("cores",),
    "RequestMemory": ("memory",),
    "RequestDisk": ("request_disk",),
    "Output": ("output",),
    "Error": ("error",),
}


# --- the batch systems' own words ----------------------------------------------------------------------------------


def _slurm(said: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    name = said.get("job_name")
    if name is not None:
        yield f"-J {name}", ("job-name",)
    if said.get("log_directory") is not None:
        yield f"-e {said['log_directory']}/{name or 'worker'}-%J.err", ()
        yield f"-o {said['log_directory']}/{name or 'worker'}-%J.out", ("output",)
    if said.get("queue") is not None:
        yield f"-p {said['queue']}", ("partition",)
    if said.get("account") is not None:
        yield f"-A {said['account']}", ("account",)
    yield "-n 1", ("ntasks-per-node",)
    yield "-N 1", ("nodes",)
    yield f"--cpus-per-task={said.get('job_cpu') or said.get('cores')}", ("cores",)
    memory = said.get("job_mem")
    if memory is None and memory_of(said) is not None:
        memory = amount_for_slurm(memory_of(said) or 0)
    if memory is not None:
        yield f"--mem={memory}", ("memory",)
    if said.get("walltime") is not None:
        yield f"-t {said['walltime']}", ("walltime",)


def _pbs(said: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    if said.get("job_name") is not None:
        yield f"-N {said['job_name']}", ("N",)
    if said.get("queue") is not None:
        yield f"-q {said['queue']}", ("q",)
    if said.get("account") is not None:
        yield f"-A {said['account']}", ("A",)
    if (spec := said.get("resource_spec")) is not None:
        yield f"-l {spec}", ("nodes", "cores", "memory"), True
    else:
        yield (
            f"-l select=1:ncpus={said.get('cores')}:mem={amount_for_pbs(memory_of(said) or 0)}",
            ("nodes", "cores", "memory"),
        )
    if said.get("walltime") is not None:
        yield f"-l walltime={said['walltime']}", ("walltime",)
    if said.get("log_directory") is not None:
        yield f"-e {said['log_directory']}/", ()
        yield f"-o {said['log_directory']}/", ("o",)


def _sge(said: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    if said.get("job_name") is not None:
        yield f"-N {said['job_name']}", ("N",)
    if said.get("queue") is not None:
        yield f"-q {said['queue']}", ("q",)
    if said.get("project") is not None:
        yield f"-P {said['project']}", ("P",)
    if said.get("resource_spec") is not None:
        yield f"-l {said['resource_spec']}", (), True
    if said.get("walltime") is not None:
        yield f"-l h_rt={said['walltime']}", ("walltime",)
    if said.get("log_directory") is not None:
        yield f"-e {said['log_directory']}/", ()
        yield f"-o {said['log_directory']}/", ("o",)
    yield "-cwd", ()
    yield "-j y", ("j",)


def _lsf(said: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    name = said.get("name") or "worker"
    if said.get("name") is not None:
        yield f"-J {said.get('job_name')}", ("J",)
    if said.get("log_directory") is not None:
        yield f"-e {said['log_directory']}/{name}-%J.err", ()
        yield f"-o {said['log_directory']}/{name}-%J.out", ("o",)
    if said.get("queue") is not None:
        yield f"-q {said['queue']}", ("q",)
    if said.get("project") is not None:
        yield f'-P "{said["project"]}"', ("P",)
    cores = said.get("ncpus") if said.get("ncpus") is not None else said.get("cores")
    if cores is not None:
        yield f"-n {cores}", ("n",)
        if int(cores) > 1:
            yield '-R "span[hosts=1]"', ("R",)
    memory = said.get("mem") if said.get("mem") is not None else memory_of(said)
    if memory is not None:
        yield f"-M {amount_for_lsf(memory, said.get('lsf_units') or 'mb')}", ("memory",)
    if said.get("walltime") is not None:
        yield f"-W {said['walltime']}", ("walltime",)


def _oar(said: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    if said.get("job_name") is not None:
        yield f"-n {said['job_name']}", ("n",)
    if said.get("queue") is not None:
        yield f"-q {said['queue']}", ("q",)
    if said.get("project") is not None:
        yield f"--project {said['project']}", ("project",)
    spec = said.get("resource_spec") or f"/nodes=1/core={said.get('cores')}"
    walltime = f",walltime={said['walltime']}" if said.get("walltime") is not None else ""
    yield f"-l {spec}{walltime}", ("l",), said.get("resource_spec") is not None
