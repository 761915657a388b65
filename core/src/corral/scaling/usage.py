"""Once a second: which jobs have something to do, what they cost, and which tasks no group can run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import define, field

from corral.plugin.values import JobId
from corral.scaling.account import Ledger
from corral.scaling.workload import Demand, Need, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from distributed import Scheduler

    from corral.jobs.group import Group
    from corral.jobs.table import Roster

logger = logging.getLogger("corral")


@define(kw_only=True, eq=False)
class Census:
    """What is seen of a cluster's jobs at work."""

    #: The cluster's name, for messages.
    cluster: str
    scheduler: Scheduler
    roster: Roster
    ledger: Ledger = field(factory=Ledger)
    #: Since when each job has had nothing to do; those that have are not in it.
    idle_since: dict[JobId, float] = field(factory=dict, init=False)
    _looked_at: float | None = field(default=None, init=False)
    #: Needs that somebody was told of.
    _told: set[Need] = field(factory=set, init=False)

    def look(self, groups: Mapping[str, Group], now: float) -> None:
        """See what every job does, and write down what it cost since the last time."""
        passed = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        busy = self._busy_workers()
        idle: dict[JobId, float] = {}
        for record in self.roster.living():
            if record.started_at is None or (group := groups.get(record.group)) is None:
                continue
            part = busy.get(record.id, 0) / max(1, record.expected_workers)
            if record.workers and not part:
                idle[record.id] = self.idle_since.get(record.id, now)
            cost = passed * group.resources.cores * group.resources.nodes
            if record.connected_at is None:
                self.ledger.add(record.group, "starting", cost)
            elif record.is_capacity or record.workers:
                # One that has left works no more, whenever the batch system says so.
                self.ledger.add(record.group, "busy", cost * part)
                self.ledger.add(record.group, "idle" if record.is_capacity else "draining", cost * (1 - part))
        self.idle_since = idle

    def stored(self) -> dict[JobId, int]:
        """Bytes of results that each job's workers hold."""
        found: dict[JobId, int] = {}
        for address, worker in self.scheduler.workers.items():
            if worker.nbytes and (record := self.roster.job_at(address)) is not None:
                found[record.id] = found.get(record.id, 0) + worker.nbytes
        return found

    def _busy_workers(self) -> dict[JobId, int]:
        found: dict[JobId, int] = {}
        for address, worker in self.scheduler.workers.items():
            # An actor may have nothing to do and must stay all the same: nobody can take it over.
            if (worker.processing or worker.actors) and (record := self.roster.job_at(address)) is not None:
                found[record.id] = found.get(record.id, 0) + 1
        return found

    def tell_unmet(self, demand: Demand, groups: Iterable[Group]) -> None:
        """Warn, once, of tasks that wait for what no group has and no worker either."""
        if not any(load.ready and load.need for load in demand.loads):
            return
        kinds = [kind_of(group) for group in groups if not group.is_removed]
        waiting: dict[Need, int] = {}
        for load in demand.loads:
            if load.ready and not any(kind.room(load.need) for kind in kinds) and not self._has(load.need):
                waiting[load.need] = waiting.get(load.need, 0) + load.ready
        for need in waiting.keys() - self._told:
            have = "; ".join(f"{kind.name} has {_words(kind.resources)}" for kind in kinds) or "there is no group"
            logger.warning(
                "cluster %s: %d task(s) need %s, which no worker of any group has (%s). "
                "They wait until there is one: ask for less, or add a group that has it with cluster.add_group().",
                self.cluster, waiting[need], _words(dict(need)), have,
            )  # fmt: skip
        self._told = set(waiting)

    def _has(self, need: Need) -> bool:
        return any(
            all(worker.resources.get(name, 0) >= amount for name, amount in need)
            for worker in self.scheduler.workers.values()
        )


def _words(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{name}={amount:g}" for name, amount in resources.items())
