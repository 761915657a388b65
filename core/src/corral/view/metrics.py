"""An overview as metrics for Prometheus. Needs prometheus_client, which whoever calls this has looked for.

Names and units follow https://prometheus.io/docs/practices/naming: base units, ``_total`` for what only grows. No label
holds what there is any number of: no job, host, reason or exit code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

import corral
from corral.text.printable import printable
from corral.view.overview import PHASES, SUBMISSIONS, GroupView, Overview, Spread

_HOUR = 3600.0
#: Core-seconds by use. What was cut off was work when it was counted, and only then turned out to be for nothing: so it
#: counts as work here, and again by itself, and neither number ever shrinks.
_USES = ("busy", "idle", "starting", "draining")


class OverviewCollector:
    """What prometheus_client asks for the metrics of one overview."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        overview = self._overview
        yield InfoMetricFamily(
            "corral_cluster",
            "The cluster that these metrics are of.",
            value={
                "name": printable(overview.name),
                "backend": printable(overview.backend),
                "version": corral.__version__,
            },
        )
        yield _gauge("corral_cluster_start_time_seconds", "When the cluster began, in Unix time.", overview.began)
        yield _gauge("corral_workers", "Connected workers, also those of nobody's group.", overview.workers)
        yield from _sizes(overview)
        yield from _jobs(overview)
        yield from _submissions(overview)
        yield from _ends(overview)
        yield from _use(overview)
        yield from _commands(overview)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


def _where(overview: Overview, group: GroupView) -> list[str]:
    """Which group, and on which backend."""
    return [printable(group.name), printable(group.backend or overview.backend)]


def _sizes(overview: Overview) -> Iterator[Metric]:
    labels = ["group", "backend"]
    connected = GaugeMetricFamily("corral_group_workers", "Connected workers of a group's jobs.", labels=labels)
    wanted = GaugeMetricFamily("corral_group_wanted_workers", "Workers that are wanted.", labels=labels)
    wanted_jobs = GaugeMetricFamily("corral_group_wanted_jobs", "Jobs that are wanted.", labels=labels)
    unsubmitted = GaugeMetricFamily(
        "corral_group_unsubmitted_jobs", "Wanted jobs that the batch system does not have.", labels=labels
    )
    is_stopped = GaugeMetricFamily(
        "corral_group_stopped", "1 if nothing is submitted until somebody scales again, else 0.", labels=labels
    )
    for group in overview.groups:
        where = _where(overview, group)
        connected.add_metric(where, group.workers)
        wanted.add_metric(where, group.workers_wanted)
        wanted_jobs.add_metric(where, group.wanted)
        unsubmitted.add_metric(where, group.unsubmitted)
        is_stopped.add_metric(where, int(group.is_stopped))
    yield from (connected, wanted, wanted_jobs, unsubmitted, is_stopped)


def _jobs(overview: Overview) -> Iterator[Metric]:
    phases = GaugeMetricFamily(
        "corral_jobs", "Living jobs, by where they stand with corral.", labels=["group", "backend", "phase"]
    )
    states = GaugeMetricFamily(
        "corral_batch_jobs",
        "Living jobs, by their state in the batch system's terms.",
        labels=["group", "backend", "state"],
    )
    oldest = GaugeMetricFamily(
        "corral_oldest_waiting_job_seconds",
        "How long the job has waited that waits longest; 0 if none does.",
        labels=["group", "backend"],
    )
    counts: dict[tuple[str, str], int] = {}
    for job in overview.jobs:
        if job.phase != "ended":
            counts[job.group, job.state] = counts.get((job.group, job.state), 0) + 1
    for group in overview.groups:
        where = _where(overview, group)
        for phase in PHASES:
            phases.add_metric([*where, phase], group.jobs.get(phase, 0))
        for (name, state), count in sorted(counts.items()):
            if name == group.name:
                states.add_metric([*where, state], count)
        since = group.waiting_since
        oldest.add_metric(where, 0.0 if since is None else max(0.0, overview.moment - since))
    yield from (phases, states, oldest)


def _submissions(overview: Overview) -> Iterator[Metric]:
    labels = ["group", "backend"]
    attempted = CounterMetricFamily(
        "corral_submission_attempts", "Submissions that were begun; one may have many jobs.", labels=labels
    )
    ended = CounterMetricFamily(
        "corral_submissions",
        "Submissions by what became of them: accepted, refused for good, or postponed.",
        labels=[*labels, "result"],
    )
    jobs = CounterMetricFamily("corral_submitted_jobs", "Jobs that the batch system has accepted.", labels=labels)
    waits = HistogramMetricFamily(
        "corral_queue_wait_seconds",
        "How long jobs took from their submission to their first worker.",
        labels=labels,
    )
    for group in overview.groups:
        where, totals = _where(overview, group), group.totals
        attempted.add_metric(where, totals.attempted)
        for result in SUBMISSIONS:
            ended.add_metric([*where, result], totals.submissions.get(result, 0))
        jobs.add_metric(where, totals.submitted)
        waits.add_metric(where, buckets=_buckets(totals.waits), sum_value=totals.waits.seconds)
    yield from (attempted, ended, jobs, waits)


def _ends(overview: Overview) -> Iterator[Metric]:
    labels = ["group", "backend"]
    ended = CounterMetricFamily(
        "corral_ended_jobs", "Jobs that have ended, by what that means.", labels=[*labels, "outcome"]
    )
    failures = CounterMetricFamily(
        "corral_failures",
        "Jobs that ended without being asked to, and workers that died while their job went on.",
        labels=[*labels, "what", "outcome", "cause"],
    )
    for group in overview.groups:
        where = _where(overview, group)
        for outcome, count in sorted(group.totals.ended.items()):
            ended.add_metric([*where, outcome], count)
        for kind in sorted(group.totals.failures, key=lambda each: (each.what, each.outcome, each.cause)):
            failures.add_metric([*where, kind.what, kind.outcome, kind.cause], kind.count)
    yield from (ended, failures)


def _use(overview: Overview) -> Iterator[Metric]:
    for name, what in (("core", "core_hours"), ("gpu", "gpu_hours")):
        word = {"core": "Core", "gpu": "GPU"}[name]
        used = CounterMetricFamily(
            f"corral_{name}_seconds",
            f"{word}-seconds of jobs, by what they were used for; work that was cut off counts as busy.",
            labels=["group", "backend", "use"],
        )
        interrupted = CounterMetricFamily(
            f"corral_interrupted_{name}_seconds",
            f"{word}-seconds of tasks that were cut off by the end of their job; part of what was busy.",
            labels=["group", "backend"],
        )
        for group in overview.groups:
            hours: Mapping[str, float] = getattr(group, what)
            where, cut_off = _where(overview, group), hours.get("interrupted", 0.0)
            for use in _USES:
                seconds = hours.get(use, 0.0) + (cut_off if use == "busy" else 0.0)
                used.add_metric([*where, use], seconds * _HOUR)
            interrupted.add_metric(where, cut_off * _HOUR)
        yield from (used, interrupted)
    for name, limit in (("core", overview.maximum_core_hours), ("gpu", overview.maximum_gpu_hours)):
        if limit is not None:
            yield _gauge(f"corral_maximum_{name}_seconds", "Nothing is submitted when so much is used.", limit * _HOUR)


def _commands(overview: Overview) -> Iterator[Metric]:
    labels = ["backend", "command"]
    times = HistogramMetricFamily(
        "corral_command_duration_seconds", "How long commands to the batch system took.", labels=labels
    )
    failed = CounterMetricFamily(
        "corral_failed_commands", "Commands to the batch system that did not end with 0.", labels=labels
    )
    for each in overview.commands:
        where = [printable(each.backend), printable(each.program)]
        times.add_metric(where, buckets=_buckets(each.times), sum_value=each.times.seconds)
        failed.add_metric(where, each.failed)
    yield from (times, failed)


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    found, below = [], 0
    for bound, count in zip([*map(str, spread.bounds), "+Inf"], spread.counts, strict=True):
        below += count
        found.append((bound, float(below)))
    return found
