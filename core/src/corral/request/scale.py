"""What a person asks for when scaling, as whole jobs of each group: pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeVar

from corral.errors import InvalidRequest, did_you_mean
from corral.plugin.values import Resources
from corral.request.quantities import parse_count, parse_memory
from corral.request.synonyms import MEANINGS, meaning
from corral.text.durations import is_truth

T = TypeVar("T")

#: Keywords of `Cluster.scale`, which no group can be called.
RESERVED = ("n", "jobs", "cores", "memory", "group")
#: Other words for n, where no group is called so.
WORKERS = ("workers", "n_workers")
#: Names of Dask resources that every worker has; a group's name is one as well.
RESOURCES = ("GPU", "MEMORY")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")


def check_name(name: object) -> str:
    """The name of a group, if it can be one.

    Raises
    ------
    InvalidRequest
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest("groups", f"{name!r} cannot name a group: a letter, then letters, digits, '_' and '-'")
    if name in RESERVED:
        raise InvalidRequest("groups", f"a group cannot be called {name!r}, which is a keyword of scale()")
    if name in RESOURCES:
        raise InvalidRequest("groups", f"a group cannot be called {name!r}, which is a resource of workers")
    return name


def jobs_asked_for(
    groups: Mapping[str, Resources],
    units: Mapping[str, object],
    *,
    group: str | None = None,
    workers: Mapping[str, object],
) -> dict[str, int]:
    """How many jobs of each group that `Cluster.scale` names.

    Parameters
    ----------
    groups
        What a job of each group has.
    units
        One of n (workers), jobs, cores and memory; those that are None were not given.
    group
        Whose; may be left out if there is one group alone.
    workers
        Workers by group, as in ``scale(cpu=10, gpu=2)``.

    Raises
    ------
    InvalidRequest
    """
    given = {unit: value for unit, value in units.items() if value is not None}
    if len(workers) == 1 and (word := next(iter(workers))) in WORKERS and word not in groups:
        given["n"] = workers[word]
        if units.get("n") is not None:
            raise InvalidRequest("scale", f"takes n or {word}, which is the same")
        workers = {}
    if workers:
        if given or group is not None:
            others = ", ".join([*given, *(["group"] if group is not None else [])])
            raise InvalidRequest("scale", f"takes workers by group ({', '.join(workers)}) or {others}, not both")
        for name in workers:
            is_word = name in MEANINGS and not did_you_mean(name, groups)
            if name not in groups and (is_word or set(groups) == {"default"}):
                # Where nobody has given a group a name, this is another word for a size.
                said = meaning(name, [*RESERVED, *WORKERS])
                raise InvalidRequest(
                    name, f"is not a size of a cluster, which is n (workers), jobs, cores or memory.{said}"
                )
        return {name: _jobs(known_group(name, groups), {name: value}, name) for name, value in workers.items()}
    if len(given) != 1:
        raise InvalidRequest(
            "scale", f"takes exactly one of n (workers), jobs, cores and memory; got {', '.join(given) or 'none'}"
        )
    name = the_group(group, groups)
    return {name: _jobs(groups[name], given, "n")}


def jobs_at_once(groups: Mapping[str, Resources], n_workers: object) -> dict[str, int]:
    """How many jobs of each group a cluster has from its beginning, by its argument `n_workers`.

    Raises
    ------
    InvalidRequest
    """
    try:
        if isinstance(n_workers, Mapping):
            return jobs_asked_for(groups, {}, workers=n_workers) if n_workers else {}
        return jobs_asked_for(groups, {"n": n_workers}, workers={}) if parse_count("n_workers", n_workers) else {}
    except InvalidRequest as error:
        raise InvalidRequest("n_workers", error.problem) from None


def the_group(name: str | None, groups: Mapping[str, object]) -> str:
    """The group that was named, or the only one.

    Raises
    ------
    InvalidRequest
    """
    if name is not None:
        known_group(name, groups)
        return name
    if len(groups) != 1:
        raise InvalidRequest("group", f"say which: this cluster has {', '.join(groups) or 'no group'}")
    return next(iter(groups))


def known_group(name: str, groups: Mapping[str, T]) -> T:
    """What there is under that name."""
    if name not in groups:
        raise InvalidRequest(
            name,
            f"is not a group of this cluster, which has {', '.join(groups) or 'none'}.{did_you_mean(name, groups)}",
        )
    return groups[name]


def _jobs(resources: Resources, given: Mapping[str, object], workers: str) -> int:
    """Whole jobs, rounded up; `workers` is the unit that counts workers."""
    [(unit, value)] = given.items()
    if unit == workers:
        return math.ceil(parse_count(unit, value) / resources.workers)
    if unit == "jobs":
        return parse_count(unit, value)
    if unit == "cores":
        return math.ceil(parse_count(unit, value) / (resources.cores * resources.nodes))
    size = memory_or_none("memory", value)
    if resources.memory is None:
        raise InvalidRequest("memory", "the memory of a job is up to the site; scale by jobs= instead")
    return math.ceil(size / (resources.memory * resources.nodes))


def memory_or_none(argument: str, value: object) -> int:
    """Bytes; 0 for none of it.

    Raises
    ------
    InvalidRequest
    """
    is_nothing = not isinstance(value, str) and hasattr(value, "__float__") and not is_truth(value) and value == 0
    return 0 if is_nothing else parse_memory(argument, value)
