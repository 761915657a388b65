"""What `Cluster.adapt` was given, checked: bounds of each group, in jobs, and rules for the whole cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dask.config
from attrs import evolve, frozen
from dask.utils import format_bytes

from corral.errors import InvalidRequest, counted
from corral.request.quantities import parse_count, parse_duration
from corral.request.scale import known_group, memory_or_none
from corral.scaling.views import PREFERENCES, Preference, Rules

if TYPE_CHECKING:
    from corral.plugin.values import Resources

#: What bounds a size: in workers, and in other units, by which one group alone is counted.
BOUNDS = (
    "minimum", "maximum", "minimum_jobs", "maximum_jobs", "minimum_cores", "maximum_cores", "minimum_memory",
    "maximum_memory",
)  # fmt: skip


@frozen(kw_only=True)
class Bounds:
    """How many jobs of a group there must be, and may be."""

    minimum: int = 0
    maximum: float = math.inf

    @classmethod
    def of(cls, given: Mapping[str, Any], resources: Resources, where: str = "") -> Bounds:
        """Read what `Cluster.adapt` was given, in workers and in jobs; the narrower wins.

        Raises
        ------
        InvalidRequest
        """
        given = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if name not in BOUNDS:
                raise InvalidRequest("groups", f"{name!r} is not a bound{where}; there are {', '.join(BOUNDS)}")
        least = [_in_jobs(name, value, resources) for name, value in given.items() if name.startswith("minimum")]
        minimum = max((math.ceil(jobs) for jobs in least), default=0)
        maximum = math.inf
        for name, value in given.items():
            jobs = _in_jobs(name, value, resources) if name.startswith("maximum") else math.inf
            if jobs == math.inf:
                continue
            if 0 < jobs < 1:
                raise InvalidRequest(name, f"{value} is less than one job{where}, which has {_size(name, resources)}")
            maximum = min(maximum, math.floor(jobs))
        if minimum > maximum:
            raise InvalidRequest(
                next(name for name in given if name.startswith("minimum")),
                f"is {counted(minimum, 'job')}{where}, and the maximum is {counted(int(maximum), 'job')}: a job has "
                f"{_size('workers', resources)}",
            )
        return cls(minimum=minimum, maximum=maximum)


def rules_of(given: Mapping[str, Any]) -> tuple[Rules, float]:
    """What `Cluster.adapt` was given for the whole cluster, or else Dask's configuration; and the interval (s).

    Raises
    ------
    InvalidRequest
    """
    configured = dask.config.get("distributed.adaptive", {})
    chosen = {**{name.replace("-", "_"): value for name, value in configured.items()}, **given}
    interval = _seconds("interval", chosen["interval"])
    timeout = given.get("idle_timeout")
    if timeout is not None:
        timeout = _seconds("idle_timeout", timeout)
    elif given.get("wait_count") is not None:
        # Dask's meaning: so many looks in a row at which a worker was of no use.
        timeout = parse_count("wait_count", given["wait_count"]) * interval
    maximum = chosen["maximum"]
    unknown = dask.config.get("distributed.scheduler.unknown-task-duration", "500ms")
    return (
        Rules(
            minimum=parse_count("minimum", chosen["minimum"]),
            maximum=math.inf if isinstance(maximum, float) and maximum == math.inf else parse_count("maximum", maximum),
            target_duration=_seconds("target_duration", chosen["target_duration"]),
            # Who says how quick it should be means it.
            is_thrifty="target_duration" not in given,
            prefer=_preference(given.get("prefer"), given.get("gpu_price")),
            idle_timeout=timeout,
            unknown_duration=_seconds("unknown-task-duration", unknown),
        ),
        interval,
    )


def _preference(prefer: Any, gpu_price: Any) -> Preference:
    """What `prefer` and `gpu_price` say."""
    if isinstance(prefer, str) and (hour := _number(prefer)) is not None:
        prefer = hour
    if prefer is None or isinstance(prefer, str):
        if prefer is not None and prefer not in PREFERENCES:
            raise InvalidRequest(
                "prefer",
                f"{prefer!r} is none of {', '.join(map(repr, PREFERENCES))}, nor a number: how many core-hours an hour "
                "of waiting is worth",
            )
        if gpu_price is not None:
            raise InvalidRequest(
                "gpu_price",
                "is for a number as prefer, which is a price in core-hours as well: for example prefer=200, "
                f"gpu_price={gpu_price}",
            )
        return PREFERENCES[prefer or "balance"]
    found = Preference(hour=_price("prefer", prefer))
    return found if gpu_price is None else evolve(found, gpu_price=_price("gpu_price", gpu_price))


def _price(argument: str, value: Any) -> float:
    number = _number(value)
    if number is None or not 0 < number < math.inf:
        raise InvalidRequest(argument, f"{value!r} is not a number of core-hours above 0")
    return number


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def bounds_of(
    given: Mapping[str, Any], by_group: Mapping[str, Mapping[str, Any]], resources: Mapping[str, Resources]
) -> dict[str, Bounds]:
    """The bounds of each group.

    Parameters
    ----------
    given
        The bounds of the whole cluster.

    Raises
    ------
    InvalidRequest
    """
    jobs = [name for name in BOUNDS if "_" in name and given.get(name) is not None]
    if jobs and len(resources) != 1:
        raise InvalidRequest(
            jobs[0],
            f"jobs of different groups are not the same; say it by group: groups={{{next(iter(resources))!r}: …}}",
        )
    found = {}
    for name, bounds in by_group.items():
        if not isinstance(bounds, Mapping):
            raise InvalidRequest("groups", f"{name!r} is {bounds!r}, which is not a mapping like {{'maximum': 4}}")
        found[name] = Bounds.of(bounds, known_group(name, resources), f" (group {name!r})")
    if len(resources) == 1:
        [(name, each)] = resources.items()
        whole = Bounds.of(given, each)
        own = found.get(name, Bounds())
        found[name] = Bounds(minimum=max(whole.minimum, own.minimum), maximum=min(whole.maximum, own.maximum))
    return found


def _in_jobs(bound: str, value: Any, resources: Resources) -> float:
    """A bound in jobs, which may be a part of one."""
    unit = bound.partition("_")[2]
    if isinstance(value, float) and value == math.inf:
        return math.inf
    if unit == "memory":
        if resources.memory is None:
            raise InvalidRequest(bound, "the memory of a job is up to the site; say it in jobs")
        return memory_or_none(bound, value) / (resources.memory * resources.nodes)
    amount = parse_count(bound, value)
    return amount / {"": resources.workers, "jobs": 1, "cores": resources.cores * resources.nodes}[unit]


def _size(bound: str, resources: Resources) -> str:
    """What one job has, in the unit of a bound."""
    if bound.endswith("memory"):
        return format_bytes((resources.memory or 0) * resources.nodes)
    if bound.endswith("cores"):
        return counted(resources.cores * resources.nodes, "core")
    return counted(resources.workers, "worker")


def _seconds(argument: str, value: Any) -> float:
    seconds = parse_duration(argument, value)
    if not seconds:
        raise InvalidRequest(argument, f"{value!r} is not above 0")
    return seconds
