"""What jobs did from when to when, how long they waited, and how many workers there were: made of their moments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from attrs import frozen

from corral.view.history import History
from corral.view.journal import Sample
from corral.view.overview import JobView

#: A job that was cancelled while it waited has, to some batch systems, started when it ended; to within so much (s).
_AT_ONCE = 0.5


@frozen
class Span:
    """A job was in this phase, from when to when (s since the epoch)."""

    phase: str
    begin: float
    end: float


def spans_of(job: JobView, now: float) -> list[Span]:
    """The phases of a job so far, none of them empty."""
    end = job.ended if job.ended is not None else max(now, job.submitted)
    started, connected = start_of(job), job.connected
    leaving = job.leaving if job.leaving is not None and job.leaving < end else None
    if connected is None and leaving is not None:
        begun = [("waiting", job.submitted), ("starting", min(started or leaving, leaving)), ("cancelling", leaving)]
    else:
        begun = [("waiting", job.submitted), ("starting", started), ("working", connected)]  # type: ignore[list-item]
        begun.append(("cancelling" if job.phase == "cancelling" else "draining", leaving))  # type: ignore[arg-type]
    known = [(phase, min(at, end)) for phase, at in begun if at is not None]
    ordered, latest = [], job.submitted
    for phase, at in known:
        # Moments come from several clocks.
        latest = max(latest, at)
        ordered.append((phase, latest))
    ordered.append(("", max(latest, end)))
    return [Span(phase, at, after) for (phase, at), (_, after) in pairwise(ordered) if after > at]


def start_of(job: JobView) -> float | None:
    """When it started (s since the epoch); None: it has not, or never did."""
    if job.started is None:
        return job.connected
    is_never = job.connected is None and job.ended is not None and job.ended - job.started < _AT_ONCE
    return None if is_never and job.outcome in ("", "wanted") else job.started


def waits_of(jobs: Iterable[JobView]) -> dict[str, list[float]]:
    """By group, how long its jobs waited that started (s), shortest first."""
    found: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        if (started := start_of(job)) is not None:
            found[job.group].append(max(0.0, started - job.submitted))
    return {group: sorted(waits) for group, waits in found.items()}


def quantile(values: Sequence[float], part: float) -> float | None:
    """Of sorted values the one below which this part of them is; None: there are none."""
    return values[min(len(values) - 1, int(part * len(values)))] if values else None


def steps_of(history: History) -> list[Sample]:
    """How many workers there were and were wanted, over time; without a journal as jobs had workers, none wanted."""
    return list(history.samples) or _from_jobs(history.overview.jobs, history.overview.moment)


def _from_jobs(jobs: Iterable[JobView], now: float) -> list[Sample]:
    changes: dict[float, int] = defaultdict(int)
    for job in jobs:
        if job.connected is not None:
            changes[job.connected] += max(1, job.expected_workers)
            changes[max(job.connected, job.ended if job.ended is not None else now)] -= max(1, job.expected_workers)
    found, workers = [], 0
    for moment in sorted(changes):
        workers += changes[moment]
        found.append(Sample(moment=moment, workers=workers))
    return found


def by_group(jobs: Iterable[JobView]) -> Mapping[str, list[JobView]]:
    """Jobs by group, each in the order in which they were submitted."""
    found: dict[str, list[JobView]] = defaultdict(list)
    for job in sorted(jobs, key=lambda job: job.submitted):
        found[job.group].append(job)
    return found
