"""What a cluster has cost: core-hours by group, and by what the cores did."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, fields, frozen


@frozen(kw_only=True)
class Usage:
    """Core-hours."""

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


STATES = tuple(attribute.name for attribute in fields(Usage))


@frozen(kw_only=True)
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

    def __str__(self) -> str:
        width = max([5, *map(len, self.groups)])
        rows = [f"{'group':{width}}" + "".join(f"{state:>12}" for state in (*STATES, "total"))]
        for name, usage in self.groups.items():
            hours = [*(getattr(usage, state) for state in STATES), usage.total]
            rows.append(f"{name:{width}}" + "".join(f"{each:12.2f}" for each in hours))
        return "\n".join(rows)


@define
class Ledger:
    """Adds up core-seconds."""

    _seconds: dict[str, dict[str, float]] = field(factory=dict)

    def open(self, group: str) -> None:
        """A group is there, and has used nothing yet."""
        self._seconds.setdefault(group, dict.fromkeys(STATES, 0.0))

    def add(self, group: str, state: str, core_seconds: float) -> None:
        self.open(group)
        self._seconds[group][state] += core_seconds

    def interrupt(self, group: str, core_seconds: float) -> None:
        """Some of what was taken for work was for nothing."""
        self.open(group)
        seconds = self._seconds[group]
        wasted = min(core_seconds, seconds["busy"])
        seconds["busy"] -= wasted
        seconds["interrupted"] += wasted

    @property
    def core_hours(self) -> float:
        """Of all groups and states."""
        return sum(sum(each.values()) for each in self._seconds.values()) / 3600

    def account(self) -> Account:
        """What was added so far."""
        return Account(
            groups={
                group: Usage(**{state: seconds / 3600 for state, seconds in each.items()})
                for group, each in list(self._seconds.items())
            }
        )
