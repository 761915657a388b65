"""How an overview is made of what a cluster shows of itself, wherever its engine is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from corral.cluster.shown import resources_of
from corral.jobs.record import JobFailure, JobRecord, Outcome, describe_end, outcome
from corral.jobs.worker_failures import WorkerFailure
from corral.plugin.values import JobId, Resources
from corral.scaling.account import STATES, Hours, Usage
from corral.view.overview import PHASES, FailureView, GroupView, JobView, Overview, Totals

if TYPE_CHECKING:
    from corral.cluster.shown import Shown, ShownGroup


#: An epoch that has moved by less is the same (s): it is found anew each time, from two clocks.
_SAME = 0.5


@define
class Known:
    """Jobs as they were shown before: of a thousand jobs, few have changed within a second. In one thread at a time."""

    _epoch: float = 0.0
    _jobs: dict[JobId, tuple[JobRecord, Resources | None, JobView]] = field(factory=dict)

    def since(self, epoch: float) -> float:
        """The epoch that all moments are told by; another one if a clock was set, or stood still."""
        if abs(epoch - self._epoch) > _SAME:
            self._epoch = epoch
            self._jobs.clear()
        return self._epoch

    def views(self, records: Sequence[JobRecord], groups: Mapping[str, ShownGroup]) -> tuple[JobView, ...]:
        """Each job as it is now; the same object as before, if it has not changed."""
        resources = resources_of(groups)
        found = {}
        for record in records:
            before, has = self._jobs.get(record.id), resources.get(record.group)
            if before is not None and before[0] is record and (before[1] is has or before[1] == has):
                found[record.id] = before
            else:
                found[record.id] = (record, has, job_view(record, groups.get(record.group), self._epoch))
        self._jobs = found
        return tuple(view for _, _, view in found.values())


def overview_of(
    shown: Shown,
    *,
    name: str,
    status: str,
    moment: float,
    began: float = 0.0,
    scheduler: str = "",
    dashboard: str = "",
    known: Known | None = None,
) -> Overview:
    """What there is; from any thread.

    Parameters
    ----------
    moment, began
        Now, and when the cluster began (s since the epoch).
    known
        What was shown before: what has not changed is not made again.
    """
    known = Known() if known is None else known
    account, epoch = shown.account.groups, known.since(shown.epoch)
    totals, records = shown.totals, shown.jobs
    by_group: dict[str, list[JobRecord]] = defaultdict(list)
    for record in records:
        by_group[record.group].append(record)
    groups = shown.groups
    return Overview(
        name=name,
        backend=shown.backend,
        status=status,
        moment=moment,
        began=began,
        scheduler=scheduler,
        dashboard=dashboard,
        groups=tuple(
            evolve(
                _group(each, group, by_group[each], account.get(each, Usage()), epoch),
                totals=totals.get(each, Totals()),
            )
            for each, group in groups.items()
        ),
        jobs=known.views(records, groups),
        failures=tuple(failure_view(failure, epoch) for failure in shown.failures),
        load=shown.load,
        commands=shown.commands,
        maximum_core_hours=shown.maximum_core_hours,
        maximum_gpu_hours=shown.maximum_gpu_hours,
        whereabouts=shown.whereabouts,
    )


def job_view(record: JobRecord, group: ShownGroup | None, epoch: float) -> JobView:
    """One job; `epoch` is when the clock of its record stood at 0 (s since the epoch)."""
    resources = None if group is None else group.resources
    asked = (record.retire_asked_at, record.cancel_asked_at, record.leaving_at)
    leaving = min((moment for moment in asked if moment is not None), default=None)
    why = ""
    if record.has_ended:
        why = describe_end(record)
    elif record.stop_reason is not None:
        why = record.stop_reason.value
    elif record.leaving:
        why = f"it leaves: {record.leaving}"
    has_meaning = record.has_ended and not record.left_in_good_time
    return JobView(
        id=str(record.id),
        group=record.group,
        phase=record.phase.value,
        state=record.state.value,
        condition=record.condition,
        reason=_reason(record),
        hosts=record.hosts,
        workers=len(record.workers),
        expected_workers=record.expected_workers,
        cores=0 if resources is None else resources.cores * resources.nodes,
        gpus=0 if resources is None else resources.gpus * resources.nodes,
        submitted=epoch + record.submitted_at,
        started=_moment(record.started_at, epoch),
        connected=_moment(record.connected_at, epoch),
        ended=_moment(record.ended_at, epoch),
        leaving=_moment(leaving, epoch),
        expected_start=record.status.expected_start if record.started_at is None else None,
        why=why,
        outcome=outcome(record).value if has_meaning else "",
        exit_code=record.exit_code,
        log=record.log,
    )


def failure_view(failure: JobFailure | WorkerFailure, epoch: float) -> FailureView:
    """One failure, of a job or of a worker."""
    record = failure.job
    found = FailureView(
        job=str(record.id),
        group=record.group,
        moment=_moment(record.ended_at, epoch) or 0.0,
        cause=failure.cause,
        outcome=failure.outcome.value,
        hint=failure.hint,
        hosts=record.hosts,
        log=record.log,
        log_tail=failure.log_tail,
    )
    if isinstance(failure, JobFailure):
        return found
    hosts = (failure.host,) if failure.host else record.hosts
    return evolve(found, worker=failure.worker, tasks=failure.tasks, hosts=hosts, moment=epoch + failure.died_at)


def _group(name: str, group: ShownGroup, records: Sequence[JobRecord], usage: Usage, epoch: float) -> GroupView:
    living = [record for record in records if not record.has_ended]
    ended = [record for record in records if record.has_ended]
    waiting = [record for record in living if record.is_capacity and record.state.is_waiting]
    phases = Counter(record.phase.value for record in living)
    reasons = Counter(reason for record in waiting if (reason := _reason(record)))
    starts = [start for record in waiting if (start := record.status.expected_start) is not None]
    resources, how = group.resources, group.standing
    there = sum(1 for record in living if record.is_capacity)
    return GroupView(
        name=name,
        backend=group.spec.backend or "",
        queue=group.spec.queue or "",
        workers_per_job=resources.workers,
        nodes=resources.nodes,
        cores=resources.cores,
        memory=resources.memory,
        gpus=resources.gpus,
        wanted=group.wanted,
        adapts=how.adapts,
        minimum=how.minimum,
        maximum=how.maximum,
        jobs={phase: phases[phase] for phase in PHASES},
        ended=len(ended),
        failed=sum(1 for record in ended if not record.left_in_good_time and outcome(record) is not Outcome.WANTED),
        workers=sum(len(record.workers) for record in living),
        unsubmitted=max(0, group.wanted - there),
        waiting_since=min((epoch + record.submitted_at for record in waiting), default=None),
        expected_start=min(starts, default=None),
        reasons=tuple(reasons.most_common()),
        waiting=how.waiting,
        trouble=how.trouble,
        is_stopped=how.is_stopped,
        because=how.because,
        core_hours=_hours(usage),
        gpu_hours=_hours(usage.gpus),
        peak_memory=usage.used.peak_memory,
        busy_cores=usage.used.busy_cores,
        advice=usage.used.advice,
    )


def _hours(hours: Hours) -> Mapping[str, float]:
    return {state: getattr(hours, state) for state in STATES}


def _reason(record: JobRecord) -> str:
    return "" if record.reason == "None" else record.reason


def _moment(at: float | None, epoch: float) -> float | None:
    return None if at is None else epoch + at
