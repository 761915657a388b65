"""Once a second: which jobs have something to do, what they cost, and which tasks no group can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import define, field

from corral.plugin.values import JobId
from corral.scaling.account import Ledger
from corral.scaling.used import Meter, Reading
from corral.scaling.workload import Demand, Need, kind_of
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from distributed import Scheduler

    from corral.jobs.group import Group
    from corral.jobs.table import Roster

logger = logger_of()

#: How often workers are asked what they have used (s). They remember their peak, and ten thousand take 50 ms.
_MEASURED_EVERY = 5.0


@define(kw_only=True, eq=False)
class Census:
    """What is seen of a cluster's jobs at work."""

    #: The cluster's name, for messages.
    cluster: str
    scheduler: Scheduler
    roster: Roster
    ledger: Ledger = field(factory=Ledger)
    _meter: Meter = field(factory=Meter, init=False)
    _measured_at: float = field(default=float("-inf"), init=False)
    #: Since when each job has had nothing to do; those that have are not in it.
    idle_since: dict[JobId, float] = field(factory=dict, init=False)
    #: Until when what each job cost is written down; empty before the first look.
    _counted: dict[JobId, float] = field(factory=dict, init=False)
    _has_looked: bool = field(default=False, init=False)
    #: Needs that somebody was told of.
    _told: set[Need] = field(factory=set, init=False)

    def look(self, groups: Mapping[str, Group], now: float) -> None:
        """See what every job does, and write down what it cost since the last time."""
        busy = self._busy_workers()
        idle: dict[JobId, float] = {}
        counted: dict[JobId, float] = {}
        for record in self.roster.jobs:
            before = self._counted.get(record.id)
            group = groups.get(record.group)
            if record.has_ended or record.started_at is None or group is None:
                if before is not None:
                    counted[record.id] = before  # it may turn out to be there
                continue
            if before is None and not self._has_looked:
                before = now
            counted[record.id] = now
            part = busy.get(record.id, 0) / max(1, record.expected_workers)
            if record.workers and not part:
                idle[record.id] = self.idle_since.get(record.id, now)
            # Most starts become known with the first worker alone.
            since = record.started_at if before is None else max(before, record.started_at)
            came = now if record.connected_at is None else min(now, max(since, record.connected_at))
            self._write_down(group, "starting", came - since)
            if record.is_capacity or record.workers:
                # One that has left works no more, whenever the batch system says so.
                rest = "idle" if record.is_capacity else "draining"
                for state, share in (("busy", part), (rest, 1 - part)):
                    self._write_down(group, state, share * (now - came))
        self._counted, self._has_looked = counted, True
        self.idle_since = idle
        if now - self._measured_at >= _MEASURED_EVERY:
            self._measured_at = now
            self._measure(groups, now)

    def _measure(self, groups: Mapping[str, Group], now: float) -> None:
        """See what workers use of what was asked for."""
        found = [
            (address, worker, record)
            for address, worker in self.scheduler.workers.items()
            if (record := self.roster.job_at(address)) is not None
        ]
        self._meter.read(
            (
                Reading(
                    address=address,
                    node=(record.id, worker.host),
                    group=record.group,
                    is_busy=bool(worker.processing),
                    metrics=worker.metrics,
                )
                for address, worker, record in found
            ),
            now,
        )
        for name in {record.group for _, _, record in found} & groups.keys():
            resources = groups[name].resources
            self.ledger.used[name] = self._meter.used(
                name,
                memory=resources.memory or 0,
                cores=resources.cores,
                processes=resources.processes,
                threads=groups[name].spec.threads_of(resources),
            )

    def _write_down(self, group: Group, state: str, seconds: float) -> None:
        """One job of a group has done this for so long."""
        cores, gpus = (seconds * group.resources.nodes * each for each in (group.resources.cores, group.resources.gpus))
        self.ledger.add(group.name, state, core_seconds=cores, gpu_seconds=gpus)

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
                "%d task(s) need %s, which no worker of any group has (%s). "
                "They wait until there is one: ask for less, or add a group that has it with cluster.add_group().",
                waiting[need], _words(dict(need)), have, cluster=self.cluster,
            )  # fmt: skip
        self._told = set(waiting)

    def _has(self, need: Need) -> bool:
        return any(
            all(worker.resources.get(name, 0) >= amount for name, amount in need)
            for worker in self.scheduler.workers.values()
        )


def _words(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{name}={amount:g}" for name, amount in resources.items())
