"""A cluster that has the size of its work: what `Cluster.adapt` returns.

Looks at the demand again and again, lets the policy decide, and tells the engine. It has the face of Dask's own
`distributed.deploy.Adaptive`, for whoever knows that.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import dask.config
from attrs import evolve

from corral.jobs.plan import lasts
from corral.scaling.bounds import BOUNDS, Bounds, bounds_of, rules_of
from corral.scaling.policy import decide
from corral.scaling.views import IdleJob, Past, Rules, View
from corral.scaling.workload import kind_of
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from corral.cluster.engine import Engine
    from corral.jobs.group import Group
    from corral.jobs.group_state import GroupState
    from corral.jobs.record import JobRecord
    from corral.plugin.values import JobId
    from corral.scaling.workload import Kind

logger = logger_of()


class Adapting(Protocol):
    """What `Cluster.adapt` returns, wherever the scheduler runs."""

    @property
    def minimum(self) -> int:
        """Workers of the whole cluster."""

    @property
    def maximum(self) -> float:
        """Workers of the whole cluster."""

    @property
    def target_duration(self) -> float:
        """Seconds."""

    @property
    def idle_timeout(self) -> float | None:
        """Seconds; None: until to keep a job would cost more than to wait for a new one."""

    @property
    def state(self) -> str:
        """``starting``, ``running`` or ``stopped``."""

    @property
    def log(self) -> Sequence[tuple[float, dict[str, Any]]]:
        """Each change: when (seconds since the epoch), and which."""

    def stop(self, reason: str = "asked to") -> None:
        """Leave the cluster as large as it is."""


class Adaptive:
    """Adapts a cluster until it is stopped.

    Attributes
    ----------
    minimum, maximum
        Workers of the whole cluster.
    log
        Each change: when (seconds since the epoch), and which.
    """

    def __init__(
        self, engine: Engine, *, rules: Rules, bounds: Mapping[str, Bounds], interval: float, wait_count: int | None
    ) -> None:
        self._engine = engine
        self._rules = rules
        #: By group. Groups that come later have none.
        self._bounds = dict(bounds)
        #: Groups that somebody has scaled by hand since.
        self._left_alone: set[str] = set()
        self._past: Mapping[str, Past] = {}
        self._task: asyncio.Task[None] | None = None
        self.interval = interval
        self.wait_count = wait_count
        self.state = "starting"
        self.log: deque[tuple[float, dict[str, Any]]] = deque(
            maxlen=dask.config.get("distributed.admin.low-level-log-length")
        )

    @classmethod
    def of(cls, engine: Engine, given: Mapping[str, Any], by_group: Mapping[str, Mapping[str, Any]]) -> Adaptive:
        """Check what `Cluster.adapt` was given for the whole cluster, and by group.

        Raises
        ------
        InvalidRequest
        """
        rules, interval = rules_of(given)
        resources = {name: group.resources for name, group in engine.groups.items() if not group.is_removed}
        bounds = bounds_of({name: given[name] for name in BOUNDS if name in given}, by_group, resources)
        return cls(engine, rules=rules, bounds=bounds, interval=interval, wait_count=given.get("wait_count"))

    @property
    def minimum(self) -> int:
        return max(self._rules.minimum, int(sum(least for least, _ in self._workers())))

    @property
    def maximum(self) -> float:
        return min(self._rules.maximum, sum(most for _, most in self._workers()))

    def bounds_of(self, group: str) -> Bounds | None:
        """How many jobs of a group there must be, and may be; None: it does not adapt."""
        if self.state == "stopped" or group in self._left_alone:
            return None
        bounds = self._bounds.get(group, Bounds())
        # What the whole cluster may have is the most for each group.
        most = self._rules.maximum / self._engine.groups[group].workers_per_job
        return evolve(bounds, maximum=min(bounds.maximum, most))

    def _workers(self) -> list[tuple[float, float]]:
        """The bounds of each group in workers; infinity times none would be no number."""
        found: list[tuple[float, float]] = []
        for name, group in self._engine.groups.items():
            bounds = self._bounds.get(name, Bounds())
            if not group.is_removed:
                each = group.workers_per_job
                found.append((bounds.minimum * each, bounds.maximum * each))
        return found

    @property
    def target_duration(self) -> float:
        return self._rules.target_duration

    @property
    def idle_timeout(self) -> float | None:
        """Seconds; None: until to keep a job would cost more than to wait for a new one."""
        return self._rules.idle_timeout

    def __repr__(self) -> str:
        return f"Adaptive(minimum={self.minimum}, maximum={self.maximum}, {self.state})"

    def start(self, instead_of: Adaptive | None = None) -> None:
        """Begin; on the event loop."""
        if instead_of is not None:
            instead_of.stop("replaced")
        # As many as before, but what stopped them is forgiven.
        groups = self._engine.groups
        self._engine.scale_all({name: group.state.wanted for name, group in groups.items() if not group.is_removed})
        self.state = "running"
        self._task = asyncio.create_task(self._run(), name="corral adaptive")

    def stop(self, reason: str = "asked to") -> None:
        """Leave the cluster as large as it is. From any thread."""
        if self.state != "stopped":
            self.state = "stopped"
            logger.info("no longer adaptive: %s", reason, cluster=self._engine.blueprint.name)

    def leave_alone(self, group: str) -> None:
        """Somebody has scaled this group by hand; when that is all of them, there is nothing to adapt."""
        self._left_alone.add(group)
        if self._left_alone >= set(self._engine.groups):
            self.stop("every group was scaled by hand")

    async def _run(self) -> None:
        while self.state == "running":
            try:
                self.adapt()
            except Exception:
                # One bad moment must not end it: dask/distributed#4591.
                logger.exception("adapting failed; it will be tried again", cluster=self._engine.blueprint.name)
            await asyncio.sleep(self.interval)

    def adapt(self) -> None:
        """Look, decide, and tell the engine."""
        engine = self._engine
        now = engine.now()
        groups = [
            group for group in engine.groups.values() if not group.is_removed and group.name not in self._left_alone
        ]
        jobs: dict[str, list[JobRecord]] = {group.name: [] for group in groups}
        for record in engine.jobs:
            if record.is_capacity and record.group in jobs:
                jobs[record.group].append(record)
        stored = engine.census.stored()
        leaving = [
            worker
            for group in groups
            for record in jobs[group.name]
            if not lasts(record, now, group.usual_wait)
            for address in engine.roster.addresses(record.id)
            if (worker := engine.scheduler.workers.get(address)) is not None
        ]
        views = [self._view(group, jobs[group.name], stored, now) for group in groups]
        decision = decide(engine.counter.demand(leaving), views, self._past, now, self._rules)
        self._past = decision.past
        for view in views:
            size = decision.sizes[view.kind.name]
            if size.jobs != view.size:
                status = "up" if size.jobs > view.size else "down"
                self._note({"status": status, "group": view.kind.name, "jobs": size.jobs, "had": view.size})
            engine.resize(view.kind.name, size.jobs, size.release)

    def _note(self, change: dict[str, Any]) -> None:
        # A batch system that takes no jobs for an hour is no news each second.
        if not self.log or self.log[-1][1] != change:
            self.log.append((time.time(), change))

    def _view(self, group: Group, records: Sequence[JobRecord], stored: Mapping[JobId, int], now: float) -> View:
        return view_of(
            kind_of(group),
            group.state,
            records,
            now,
            submitting=group.submitting,
            waits=tuple(group.waits),
            starts=tuple(group.starts),
            lead=group.usual_wait,
            idle_since=self._engine.census.idle_since,
            stored=stored,
            bounds=self._bounds.get(group.name, Bounds()),
            room=group.room,
        )


def view_of(
    kind: Kind,
    state: GroupState,
    capacity: Sequence[JobRecord],
    now: float,
    *,
    submitting: int,
    waits: Sequence[float],
    starts: Sequence[float],
    lead: float,
    idle_since: Mapping[JobId, float],
    stored: Mapping[JobId, int],
    bounds: Bounds,
    room: float = math.inf,
) -> View:
    """A group as the policy sees it.

    Parameters
    ----------
    capacity
        Its jobs that give workers, or will.
    lead
        So many seconds before a job leaves, it no longer counts.
    room
        For so many jobs there is room where they run.
    """
    ceiling = math.inf if state.ceiling is None else state.ceiling
    lasting = [record for record in capacity if lasts(record, now, lead)]
    connected = sum(1 for record in lasting if record.workers)
    return View(
        kind=kind,
        minimum=int(min(bounds.minimum, ceiling)),
        maximum=min(bounds.maximum, ceiling, max(room, bounds.minimum)),
        connected=connected,
        coming=len(lasting) - connected + submitting,
        idle=[
            IdleJob(
                id=record.id,
                since=idle_since[record.id],
                leaves_at=record.leaves_at,
                stored=stored.get(record.id, 0),
                came_at=record.connected_at or idle_since[record.id],
            )
            for record in lasting
            if record.id in idle_since
        ],
        waits=waits,
        starts=starts,
        expected_wait=_expected_wait([record for record in lasting if record.started_at is None], now),
        stored=sum(stored.get(record.id, 0) for record in lasting),
    )


def _expected_wait(waiting: Sequence[JobRecord], now: float) -> float:
    """How long half of the jobs that wait have waited, or will have, as far as the batch system says (s)."""
    waits = []
    for record in waiting:
        wait = now - record.submitted_at
        if (start := record.status.expected_start) is not None:
            wait += max(0.0, start - time.time())
        waits.append(wait)
    return sorted(waits)[len(waits) // 2] if waits else 0.0
