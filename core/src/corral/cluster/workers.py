"""Following workers: what the Dask scheduler sees of them, and what the launchers in the jobs report."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field
from distributed.diagnostics.plugin import SchedulerPlugin

from corral._version import __version__
from corral.cluster.engine_state import EngineState
from corral.cluster.following import LEAVING_GRACE
from corral.cluster.launchers import Launchers
from corral.errors import counted
from corral.jobs import logs, nodes
from corral.jobs.record import JobRecord, StopReason
from corral.jobs.transitions import lose_node
from corral.jobs.worker_failures import Cause, WorkerFailure
from corral.launch.tasktimes import SECONDS_RUN
from corral.plugin.values import JobId
from corral.scaling.demand import DemandCounter
from corral.text.logs import logger_of
from corral.text.printable import printable

if TYPE_CHECKING:
    from distributed import Scheduler as DaskScheduler

    from corral.launch.tasktimes import TooLong

logger = logger_of()

#: The topic under which launchers report (see corral.launch).
TOPIC = "corral"
#: A worker process that its nanny restarts is back by then (s).
VANISHED_GRACE = 2.0
#: How often is looked at what jobs do (s).
CENSUS_INTERVAL = 1.0
#: How long before it leaves the user is told that a job holds actors (s).
ACTORS_TOLD_BEFORE = 120.0


@define(kw_only=True, eq=False)
class WorkerFollower:
    """Learns from workers that come, leave and die, and from what there is for them to do.

    All that it learns is in the records; its own memory is of what the user was told, so that each thing is said once.
    """

    _state: EngineState
    _launchers: Launchers
    #: What tasks need that wait.
    _counter: DemandCounter
    #: Of corral in jobs, that were told.
    _versions: set[str] = field(factory=set, init=False)
    #: What was not imported before workers, and why, of which the user was told.
    _told_left_out: set[tuple[str, str]] = field(factory=set, init=False)
    #: Kinds of deaths of workers of which the user was told.
    _told_deaths: set[object] = field(factory=set, init=False)
    #: Kinds of tasks of which the user was told that no job can finish them.
    _told_too_long: set[str] = field(factory=set, init=False)
    #: Jobs with actors, of whose end the user was told.
    _told_of_actors: set[JobId] = field(factory=set, init=False)

    def start(self) -> None:
        """Listen to the scheduler, and begin to look at the jobs at work."""
        scheduler = self._state.scheduler
        scheduler.add_plugin(SchedulerListener(self), name=self._plugin_name)
        scheduler.parking.room = self._state.blueprint.parked_results
        scheduler.parking.remove = self._state.blueprint.home.files.remove_private
        scheduler.on_too_long = self._tell_too_long
        scheduler.on_silent = self.worker_was_silent
        self._counter.listen(scheduler)
        scheduler.add_plugin(self._counter, name=f"{self._plugin_name}-demand")
        self._state.tasks.do_until_closing(self._look(), name="corral census")

    def stop(self) -> None:
        """Listen no longer."""
        with suppress(ValueError):
            self._state.scheduler.remove_plugin(self._plugin_name)
            self._state.scheduler.remove_plugin(f"{self._plugin_name}-demand")

    @property
    def _plugin_name(self) -> str:
        return f"corral-{self._state.blueprint.uuid}"

    def load(self, record: JobRecord) -> float:
        """What a connected job would have to finish or move: tasks, and gigabytes."""
        workers = [self._state.scheduler.workers.get(address) for address in self._state.roster.addresses(record.id)]
        return sum(len(worker.processing) + worker.nbytes / 1e9 for worker in workers if worker is not None)

    def lose_nodes(self, now: float) -> list[float]:
        """Give up nodes whose workers are gone while others of the job are here; returns when to look again."""
        again = []
        for record in self._state.roster.living():
            if not (record.workers and record.is_capacity):
                continue
            for node in nodes.lost(record.nodes, now):
                record = self._lose_node(record, node, "its workers are gone")  # noqa: PLW2901 - the same job
            again += [moment for node in record.nodes if (moment := nodes.lost_at(node)) is not None]
        return again

    # --- what the scheduler sees ----------------------------------------------------------------------------------

    def worker_came(self, address: str) -> None:
        """The scheduler has a new worker."""
        now = self._state.now()
        worker = self._state.scheduler.workers[address]
        ran = worker.metrics.get(SECONDS_RUN)
        if self._state.roster.worker_came(
            address, str(worker.name), now, ran=ran if isinstance(ran, int | float) else None
        ):
            record = self._state.roster.job_at(address)
            group = None if record is None else self._state.groups.get(record.group)
            if record is not None and group is not None:
                if record.connected_at == now:
                    group.has_come(record)
                    self._state.tally.has_come(record)
                if group.spec.task_seconds is not None:
                    self._state.scheduler.assumed[address] = group.spec.task_seconds
                group.has_time(self._state.scheduler.seconds_left(worker))
            self._state.tell()

    def worker_left(self, address: str) -> None:
        """The scheduler has lost a worker: ask what became of its job, unless it comes back."""
        if (record := self._state.roster.worker_left(address, self._state.now())) is not None:
            self._state.systems[record.id.system].rhythm.urgent(
                self._state.now() + (LEAVING_GRACE if record.leaving or record.stop_reason else VANISHED_GRACE)
            )
            self._state.tell()

    def worker_was_silent(self, address: str) -> None:
        """The scheduler gives up a worker that has said nothing for too long, and has it started again."""
        record = self._state.roster.job_at(address)
        if record is None or record.has_ended:
            return
        name = str(self._state.scheduler.workers[address].name)
        cause = Cause(
            words=f"it said nothing for {self._state.scheduler.worker_ttl:.0f} s and was restarted",
            cure="A task that holds Python's GIL keeps a worker from answering; "
            "distributed.scheduler.worker-ttl in the configuration says for how long it may.",
        )
        host = record.hosts[0] if len(record.hosts) == 1 else ""
        self._state.tasks.see_to_its_end(self._remember_death(record, name, address, cause, host))

    # --- what launchers report ------------------------------------------------------------------------------------

    def on_message(self, message: Mapping[str, Any]) -> None:
        """A launcher reports."""
        record = self._state.roster.called(str(message.get("job")))
        if record is None:
            return
        if record.has_ended:
            if record.status.is_ending and message.get("event") == "left":
                self._has_left(record, message)
            return
        system = self._state.systems[record.id.system]
        if record.nodes:
            record = self._hear_of_node(record, message)
        match message.get("event"):
            case "ready":
                self._compare_versions(record, str(message.get("version", "")))
                self._tell_left_out(record, message.get("left_out") or {})
                if (seconds := message.get("leaves_in")) is not None:
                    leaves_at = min(self._state.now() + seconds, record.leaves_at or float("inf"))
                    self._state.roster.put(evolve(record, leaves_at=leaves_at))
                    self._state.wake.set()
            case "leaving":
                self._state.roster.put(
                    evolve(
                        record, leaving=_reason(message) or "leaving", leaving_at=record.leaving_at or self._state.now()
                    )
                )
                system.rhythm.urgent(self._state.now() + LEAVING_GRACE)
                self._state.changed(system)
            case "worker died":
                worker, address = str(message.get("worker")), str(message.get("address") or "")
                self._state.tasks.see_to_its_end(
                    self._remember_death(
                        record, worker, address, Cause.told_by(message), str((message.get("hosts") or [""])[0])
                    )
                )
            case "left":
                self._has_left(record, message)

    def _has_left(self, record: JobRecord, message: Mapping[str, Any]) -> None:
        """A launcher says what its job could not finish in the time that it had."""
        unfinished, lost = int(message.get("unfinished", 0)), int(message.get("lost", 0))
        self._account_for_interrupted(record, float(message.get("seconds", 0.0)))
        if not (unfinished or lost):
            return
        self._state.roster.put(
            evolve(
                record,
                unfinished_tasks=record.unfinished_tasks + unfinished,
                lost_results=record.lost_results + lost,
            )
        )
        names = printable(", ".join(map(str, message.get("names") or ())))
        logger.warning(
            "job %s had to leave (%s) with %s unfinished%s and %s that no other "
            "worker could take: these run again and do not count as failures.",
            record.id, _reason(message), counted(unfinished, "task"), f" (for example {names})" * bool(names),
            counted(lost, "result"), cluster=self._state.name, job=record.id, group=record.group,
        )  # fmt: skip

    def _account_for_interrupted(self, record: JobRecord, task_seconds: float) -> None:
        """What tasks had run that were cut off was for nothing."""
        if (group := self._state.groups.get(record.group)) is not None and task_seconds:
            resources = group.resources
            # Of each hour of a job, a task is taken to have used as much as of its threads: one of them.
            seconds = task_seconds * resources.nodes / max(1, resources.workers * resources.threads)
            self._state.census.ledger.interrupt(
                record.group, core_seconds=seconds * resources.cores, gpu_seconds=seconds * resources.gpus
            )

    def _compare_versions(self, record: JobRecord, theirs: str) -> None:
        """Tell the user, once, that jobs run another corral."""
        if theirs != __version__ and theirs not in self._versions:
            self._versions.add(theirs)
            logger.warning(
                "job %s runs corral %s, and this is corral %s: they may not work together. "
                "Install the same version in both Pythons.", record.id, theirs or "of another version", __version__,
                cluster=self._state.name, job=record.id, group=record.group,
            )  # fmt: skip

    def _tell_left_out(self, record: JobRecord, left_out: Mapping[str, str]) -> None:
        """Say, once for each reason, which modules a job has not imported for all of its workers."""
        untold: dict[str, list[str]] = {}
        for module, why in left_out.items():
            if (module, why) not in self._told_left_out:
                self._told_left_out.add((module, why))
                untold.setdefault(why, []).append(module)
        for why, modules in untold.items():
            logger.warning(
                "job %s has not imported %s for all workers of a node: %s. Its workers have started "
                "without, and each imports what its tasks need: mend that, or take it out of preimport=.",
                record.id, printable(", ".join(modules)), printable(why),
                cluster=self._state.name, job=record.id, group=record.group,
            )  # fmt: skip

    def _hear_of_node(self, record: JobRecord, message: Mapping[str, Any]) -> JobRecord:
        """The launcher of one node of a job of several says who it is, or that it has failed."""
        index = int(message.get("node", 0))
        hosts = message.get("hosts") or [""]
        record = self._state.roster.put(evolve(record, nodes=nodes.changed(record.nodes, index, host=str(hosts[0]))))
        present = {node.index: node for node in record.nodes if not node.is_lost}
        # If it is the last one, the job fails, and that is told.
        if message.get("event") == "failed" and index in present and len(present) > 1:
            record = self._lose_node(record, present[index], f"its launcher failed: {_reason(message)}")
            self._state.changed(self._state.systems[record.id.system])
        return record

    async def _remember_death(self, record: JobRecord, worker: str, address: str, cause: Cause, host: str) -> None:
        """Remember why a worker died while its job goes on, and say it once for each kind."""
        tasks = self._state.scheduler.ran_on(address)
        record = self._state.roster.get(record.id) or record
        record = self._state.roster.put(evolve(record, worker_deaths=record.worker_deaths + 1))
        failure = WorkerFailure(
            job=record,
            worker=worker,
            cause=cause.words,
            host=host,
            died_at=self._state.now(),
            tasks=tasks,
            log_tail=await asyncio.to_thread(logs.of_last_death, record.log, self._state.blueprint.home.files),
            hint=cause.cure,
        )
        self._state.failures.append(failure)
        self._state.tally.failed([failure])
        if failure.kind not in self._told_deaths:
            self._told_deaths.add(failure.kind)
            logger.warning(
                "%s. %sIts job goes on and starts it again; further deaths of this kind are listed in "
                "cluster.failures%s.", failure.headline, f"{failure.hint} " * bool(failure.hint),
                f", and what they printed is in `corral logs {record.id}`" * (record.log is not None),
                cluster=self._state.name, job=record.id, group=record.group, worker=failure.worker,
            )  # fmt: skip
        self._state.tell()

    def _lose_node(self, record: JobRecord, node: nodes.Node, why: str) -> JobRecord:
        record = self._state.roster.put(lose_node(record, node))
        logger.warning(
            "node %s of job %s is lost: %s. The job goes on with %d workers.",
            node, record.id, why, record.expected_workers,
            cluster=self._state.name, job=record.id, group=record.group, host=node,
        )  # fmt: skip
        return record

    # --- what jobs at work have time for --------------------------------------------------------------------------

    async def _look(self) -> None:
        """Watch the jobs at work."""
        while True:
            try:
                self._state.census.look(self._state.groups, self._state.now())
                self._state.census.tell_unmet(self._counter.demand(), self._state.groups.values())
                self._look_at_ends()
            except Exception:
                logger.exception("the jobs could not be checked", cluster=self._state.name)
            await asyncio.sleep(CENSUS_INTERVAL)

    def _look_at_ends(self) -> None:
        """See which jobs have too little time for what waits, and foresee when others will."""
        now = self._state.now()
        is_changed = False
        # Also of groups that have had no job yet: they will have one if a task needs it.
        lifetimes = [
            group.lifetime for group in self._state.groups.values() if not (group.state.is_stopped or group.is_removed)
        ]
        self._state.scheduler.longest_room = max(lifetimes, default=None)
        for record in self._state.roster.living():
            if not (record.workers and record.is_capacity):
                continue
            workers = [
                self._state.scheduler.workers.get(address) for address in self._state.roster.addresses(record.id)
            ]
            present = [worker for worker in workers if worker is not None]
            if present and all(self._state.scheduler.has_no_time(worker) for worker in present):
                self._launchers.retire(record, StopReason.SPENT, patience=None)
                is_changed = True
                continue
            self._tell_of_actors(record, sum(len(worker.actors) for worker in present), now)
            moments = [self._state.scheduler.idle_from(worker) for worker in present]
            known = [moment for moment in moments if moment is not None]
            spent_at = now + max(known) if known and len(known) == len(present) else None
            # What is foreseen anew every second is no news, unless it was not foreseen at all.
            if (spent_at is None) != (record.spent_at is None) or (
                spent_at is not None and abs(spent_at - (record.spent_at or 0.0)) > 1.0
            ):
                self._state.roster.put(evolve(record, spent_at=spent_at))
                is_changed = True
        if is_changed:
            self._state.wake.set()

    def _tell_of_actors(self, record: JobRecord, actors: int, now: float) -> None:
        """Say it before a job leaves that holds what nobody can take over."""
        leaves_in = float("inf") if record.leaves_at is None else record.leaves_at - now
        if actors and leaves_in <= ACTORS_TOLD_BEFORE and record.id not in self._told_of_actors:
            self._told_of_actors.add(record.id)
            logger.warning(
                "job %s holds %d actor(s), which no other worker can take over, and leaves in %.0f s, "
                "before its walltime ends: save their state now.",
                record.id, actors, max(0.0, leaves_in), cluster=self._state.name, job=record.id, group=record.group,
            )  # fmt: skip

    def _tell_too_long(self, task: TooLong) -> None:
        """Say, once for each kind, that tasks are not begun because no job can finish them."""
        if task.kind in self._told_too_long:
            return
        self._told_too_long.add(task.kind)
        evidence = (
            f"ran for {task.expected:.0f} s until the end of its job cut it off"
            if task.was_interrupted
            else f"is expected to take {task.expected:.0f} s"
        )
        logger.warning(
            "task %r %s, and no job of this cluster has that much time for it (%.0f s at most). It is not "
            "started (again) and waits. Ask for a longer walltime=, or add a group that has it with "
            "cluster.add_group(); if it takes less than that, say so: dask.annotate(expected_duration=\"10 min\").",
            str(task.key), evidence, self._state.scheduler.longest_room, cluster=self._state.name,
        )  # fmt: skip


def _reason(message: Mapping[str, Any]) -> str:
    return printable(str(message.get("reason") or ""))


class SchedulerListener(SchedulerPlugin):
    """What the scheduler calls when workers come and go, and when launchers report."""

    def __init__(self, follower: WorkerFollower) -> None:
        self._follower = follower

    def add_worker(self, scheduler: DaskScheduler, worker: str) -> None:
        self._follower.worker_came(worker)

    def remove_worker(self, scheduler: DaskScheduler, worker: str, *, stimulus_id: str, **_: Any) -> None:
        self._follower.worker_left(worker)

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == TOPIC and isinstance(msg, Mapping):
            self._follower.on_message(msg)
