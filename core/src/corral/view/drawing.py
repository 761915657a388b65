"""What the dashboard's page of jobs shows, as columns: made of an overview, away from the event loop. Pure.

Moments are milliseconds since the epoch on the wall clock of this host, as axes of dates show them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from attrs import define, field, frozen

from corral.errors import counted
from corral.text.durations import in_words
from corral.text.printable import html, printable
from corral.view.colours import END, INK, PHASE, colour_of
from corral.view.overview import GroupView, JobView, Overview

#: The end of what has none yet: further right than anybody looks.
FAR = 4_102_444_800_000.0
#: So many failures are listed, the latest.
LISTED = 200
#: A text in a table is cut off after so many characters.
LONGEST = 300

Row = tuple[Any, ...]

#: A job's bar. Its parts lie between ``submitted``, ``started``, ``connected``, ``leaving`` and ``ended``.
BAR = (
    "id", "group", "stands", "state", "reason", "hosts", "waited", "why", "has",
    "submitted", "started", "connected", "leaving", "ended", "leaving_colour", "end", "end_colour", "end_size",
)  # fmt: skip
#: A failure's columns.
FAILURE = ("when", "what", "group", "outcome", "cause", "hint", "hosts")
#: A group's columns.
GROUP = (
    "group", "backend", "wanted", "waiting", "starting", "working", "leaving", "ended", "failed", "workers",
    "core_hours", "gpu_hours", "says",
)  # fmt: skip
#: Of a group's waits (s): what a tenth was shorter than, the middle, what a tenth was longer than, the longest now.
WAIT = ("group", "low", "middle", "high", "now", "words")

Columns = Mapping[str, list[Any]]


@frozen(kw_only=True)
class Drawing:
    """One moment of the page. What has not changed since the one before is the same object."""

    overview: Overview
    #: Now.
    now: float
    #: When the oldest of its jobs was submitted; the cluster's beginning, if there are none.
    oldest: float
    #: By job, oldest first.
    bars: Mapping[str, Row]
    groups: Columns
    waits: Columns
    failures: Columns
    #: HTML: how it stands, in a few lines.
    words: str


@define
class Drawer:
    """Makes drawings, one after the other; in one thread at a time."""

    _bars: dict[str, tuple[JobView, Row]] = field(factory=dict)
    _latest: Drawing | None = None

    def draw(self, overview: Overview) -> Drawing:
        """The page of this moment."""
        before = self._latest
        if before is not None and before.overview is overview:
            return before
        bars = {}
        for job in overview.jobs:
            known = self._bars.get(job.id)
            bars[job.id] = known if known is not None and known[0] is job else (job, bar(job))
        self._bars = bars
        if before is not None and before.overview.failures == overview.failures:
            failures = before.failures
        else:
            failures = failures_of(overview)
        self._latest = Drawing(
            overview=overview,
            now=local(overview.moment),
            oldest=local(min((job.submitted for job in overview.jobs), default=overview.began or overview.moment)),
            bars={job_id: row for job_id, (_, row) in bars.items()},
            groups=groups_of(overview),
            waits=waits_of(overview),
            failures=failures,
            words=words_of(overview),
        )
        return self._latest


def local(moment: float) -> float:
    """A moment (s since the epoch) as an axis shows it: on this host's wall clock."""
    return (moment + time.localtime(moment).tm_gmtoff) * 1000


def bar(job: JobView) -> Row:
    """One job's, in the order of `BAR`."""
    end = FAR if job.ended is None else local(job.ended)
    leaving = _before(job.leaving, end)
    connected = _before(job.connected, leaving)
    started = _before(job.started, connected)
    colour = PHASE["draining" if job.phase == "draining" or job.connected is not None else "cancelling"]
    has_ended = job.ended is not None
    return (
        shown(job.id), shown(job.group), _stands(job), job.state, shown(job.reason) or "-",
        shown(" ".join(job.hosts)) or "-", _waited(job), shown(job.why) or "-", _has(job),
        min(local(job.submitted), started), started, connected, leaving, end, colour.light,
        end if has_ended else float("nan"), (colour_of(job) if has_ended else INK).light, 9 if job.has_failed else 4,
    )  # fmt: skip


def _before(moment: float | None, following: float) -> float:
    """When a part ends; none, if what follows has come before it."""
    return following if moment is None else min(local(moment), following)


def _stands(job: JobView) -> str:
    return f"ended: {job.outcome or 'in good time'}" if job.phase == "ended" else job.phase


def _waited(job: JobView) -> str:
    if job.started is not None:
        return in_words(max(0.0, job.started - job.submitted))
    if job.ended is not None:
        return f"{in_words(max(0.0, job.ended - job.submitted))}, never started"
    expected = "" if job.expected_start is None else f"; is expected to start {clock(job.expected_start)}"
    return f"since {clock(job.submitted)}{expected}"


def _has(job: JobView) -> str:
    gpus = f", {counted(job.gpus, 'GPU')}" if job.gpus else ""
    return f"{job.workers:,} of {counted(job.expected_workers, 'worker')}, {counted(job.cores, 'core')}{gpus}"


def clock(moment: float) -> str:
    """``2026-11-30 14:05:00``, on this host's wall clock."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def shown(text: str) -> str:
    """A text as one line, and not too long for a table."""
    text = printable(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def groups_of(overview: Overview) -> Columns:
    """Numbers of each group, by `GROUP`."""
    rows = [
        (
            shown(group.name), shown(group.backend or overview.backend), group.wanted, group.jobs["waiting"],
            group.jobs["starting"], group.jobs["working"], group.jobs["draining"] + group.jobs["cancelling"],
            group.ended, group.failed, f"{group.workers:,} of {group.workers_wanted:,}",
            sum(group.core_hours.values()), sum(group.gpu_hours.values()), shown(_says(group)),
        )
        for group in overview.groups
    ]  # fmt: skip
    return _columns(GROUP, rows)


def _says(group: GroupView) -> str:
    return group.trouble or group.waiting or group.because


def waits_of(overview: Overview) -> Columns:
    """How long jobs of each group waited until they started, by `WAIT`; no row for groups of which none did."""
    waited: dict[str, list[float]] = {group.name: [] for group in overview.groups}
    for job in overview.jobs:
        if job.started is not None and job.group in waited:
            # An axis of logarithms has no place for 0.
            waited[job.group].append(max(1.0, job.started - job.submitted))
    rows = []
    for group in overview.groups:
        seconds, since = waited[group.name], group.waiting_since
        now = float("nan") if since is None else max(1.0, overview.moment - since)
        if not seconds and since is None:
            continue
        tenths = quantiles(seconds, n=10) if len(seconds) > 1 else [*seconds, *seconds] or [float("nan")] * 2
        low, high = (max(min(seconds), tenths[0]), min(max(seconds), tenths[-1])) if seconds else tenths
        words = f"{len(seconds):,} have started"
        if since is not None:
            words += f"; one waits, for {in_words(overview.moment - since)} so far"
        rows.append((shown(group.name), low, median(seconds) if seconds else float("nan"), high, now, words))
    return _columns(WAIT, rows)


def failures_of(overview: Overview) -> Columns:
    """The latest failures, newest first, by `FAILURE`."""
    rows = [
        (
            clock(failure.moment) if failure.moment else "-",
            shown(f"worker {failure.worker}" if failure.worker else f"job {failure.job}"), shown(failure.group),
            failure.outcome or "-", shown(failure.cause), shown(failure.hint) or "-",
            shown(" ".join(failure.hosts)) or "-",
        )
        for failure in overview.failures[: -LISTED - 1 : -1]
    ]  # fmt: skip
    return _columns(FAILURE, rows)


def _columns(names: Sequence[str], rows: Sequence[Row]) -> Columns:
    return {name: [row[number] for row in rows] for number, name in enumerate(names)}


def words_of(overview: Overview) -> str:
    """How it stands, as HTML."""
    living = {phase: sum(group.jobs[phase] for group in overview.groups) for phase in PHASE}
    jobs = ", ".join(f"{count:,} {phase}" for phase, count in living.items() if count) or "none"
    lines = [
        f"<b>{html(printable(overview.name))}</b> on {html(printable(overview.backend))}, {html(overview.status)}: "
        f"{overview.workers:,} of {overview.workers_wanted:,} wanted workers. Jobs: {jobs}."
    ]
    for group in overview.groups:
        missing = f"Group <b>{html(shown(group.name))}</b>: "
        if group.trouble or (group.wanted and not group.living):
            there = f"{group.living:,} of {group.wanted:,} wanted jobs are there"
            lines.append(f"{missing}{there}. {html(shown(_says(group)))}".rstrip())
    if not any(group.wanted or group.living for group in overview.groups):
        lines.append("No job is wanted: <code>cluster.scale(10)</code> or <code>cluster.adapt()</code> asks for some.")
    return "<br>".join(lines)


def key() -> str:
    """What the colours mean, as HTML."""
    meanings = [(phase, colour.light, "■") for phase, colour in PHASE.items()]
    meanings += [(f"ended: {outcome}", colour.light, "●") for outcome, colour in END.items() if outcome]
    meanings.append((f"now; all times are {time.strftime('%Z')}", INK.light, "│"))
    return " &ensp; ".join(
        f'<span style="color:{colour}">{sign}</span>&nbsp;{html(name)}' for name, colour, sign in meanings
    )
