"""What a cluster has cost: core-hours and GPU-hours by group, and by what the jobs did; and what of it was used."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, fields, frozen

from corral.scaling.used import Used
from corral.view.amounts import size


@frozen(kw_only=True)
class Hours:
    """Hours of cores, or of GPUs, by what their jobs did."""

    #: A worker had tasks.
    busy: float = 0.0
    #: It had none.
    idle: float = 0.0
    #: The job ran, and its workers were not there yet.
    starting: float = 0.0
    #: The job was leaving, and its workers had nothing to do any more.
    draining: float = 0.0
    #: Spent on tasks that were cut off by the end of their job, and run again.
    interrupted: float = 0.0

    @property
    def total(self) -> float:
        return self.busy + self.idle + self.starting + self.draining + self.interrupted

    @property
    def lost(self) -> float:
        """What the ends of jobs have cost: interrupted tasks, and idle ends."""
        return self.draining + self.interrupted


STATES = tuple(attribute.name for attribute in fields(Hours))


@frozen(kw_only=True)
class Usage(Hours):
    """Core-hours, and beside them `gpus`."""

    #: GPU-hours of the same jobs: a GPU is busy when its worker is.
    gpus: Hours = Hours()
    #: Of each node: memory at its peak, and cores, beside what was asked for.
    used: Used = Used()


@frozen(kw_only=True, repr=False)
class Account:
    """What each group has used so far."""

    groups: Mapping[str, Usage]

    @property
    def total(self) -> float:
        """Core-hours of all groups."""
        return sum(usage.total for usage in self.groups.values())

    @property
    def lost(self) -> float:
        """Core-hours that ends of jobs have cost: tasks that were cut off, and idle time while jobs were leaving."""
        return sum(usage.lost for usage in self.groups.values())

    @property
    def gpus(self) -> Hours:
        """GPU-hours of all groups: ``gpus.total`` is all of them, ``gpus.idle`` what was idle."""
        used = [usage.gpus for usage in self.groups.values()]
        return Hours(**{state: sum(getattr(hours, state) for hours in used) for state in STATES})

    def __str__(self) -> str:
        with_gpus = {name: usage.gpus for name, usage in self.groups.items() if usage.gpus.total}
        # Each unit is as wide as a name, so that the columns of both tables are the same.
        width = max([len("core-hours"), *map(len, self.groups)])
        tables = [_table("core-hours", self.groups, width)]
        if with_gpus:
            tables.append(_table("GPU-hours", with_gpus, width))
        if used := {name: usage.used for name, usage in self.groups.items() if usage.used.peak_memory}:
            tables.append(_used_table(used, width))
        return "\n\n".join(tables)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        # Not before somebody looks.
        from corral.scaling.notebook import account_html

        return account_html(self)


def _table(unit: str, groups: Mapping[str, Hours], width: int) -> str:
    rows = [f"{unit:{width}}" + "".join(f"{state:>12}" for state in (*STATES, "total"))]
    for name, used in groups.items():
        hours = [*(getattr(used, state) for state in STATES), used.total]
        rows.append(f"{name:{width}}" + "".join(f"{each:12.2f}" for each in hours))
    return "\n".join(rows)


def _used_table(groups: Mapping[str, Used], width: int) -> str:
    rows = [
        f"{'per node':{width}}" + "".join(f"{head:>12}" for head in ("peak memory", "asked", "busy cores", "asked"))
    ]
    for name, used in groups.items():
        asked = size(used.asked_memory) if used.asked_memory else "-"
        cells = (size(used.peak_memory), asked, f"{used.busy_cores:.1f}", used.asked_cores)
        rows.append(f"{name:{width}}" + "".join(f"{cell:>12}" for cell in cells))
    rows += [f"{name}: {words}" for name, used in groups.items() for words in used.advice]
    return "\n".join(rows)


@define
class Ledger:
    """Adds up core-seconds and GPU-seconds; keeps by group what of a node was used."""

    used: dict[str, Used] = field(factory=dict)
    _cores: dict[str, dict[str, float]] = field(factory=dict)
    _gpus: dict[str, dict[str, float]] = field(factory=dict)

    def open(self, group: str) -> None:
        """A group is there, and has used nothing yet."""
        # The GPUs first: who reads in another thread looks for both by the names of the cores.
        for seconds in (self._gpus, self._cores):
            seconds.setdefault(group, dict.fromkeys(STATES, 0.0))

    def add(self, group: str, state: str, *, core_seconds: float, gpu_seconds: float = 0.0) -> None:
        self.open(group)
        self._cores[group][state] += core_seconds
        self._gpus[group][state] += gpu_seconds

    def interrupt(self, group: str, *, core_seconds: float, gpu_seconds: float = 0.0) -> None:
        """Some of what was taken for work was for nothing."""
        self.open(group)
        for seconds, interrupted in ((self._cores[group], core_seconds), (self._gpus[group], gpu_seconds)):
            wasted = min(interrupted, seconds["busy"])
            seconds["busy"] -= wasted
            seconds["interrupted"] += wasted

    @property
    def core_hours(self) -> float:
        """Of all groups and states."""
        return sum(sum(each.values()) for each in self._cores.values()) / 3600

    @property
    def gpu_hours(self) -> float:
        """Of all groups and states."""
        return sum(sum(each.values()) for each in self._gpus.values()) / 3600

    def account(self) -> Account:
        """What was added so far."""
        return Account(
            groups={
                group: Usage(
                    **_hours(seconds), gpus=Hours(**_hours(self._gpus[group])), used=self.used.get(group, Used())
                )
                for group, seconds in list(self._cores.items())
            }
        )


def _hours(seconds: Mapping[str, float]) -> dict[str, float]:
    return {state: each / 3600 for state, each in seconds.items()}
