"""The report of a cluster after the fact: one page of HTML that needs nothing else, made of its history. Pure.

It has no script, and asks no server for anything; a policy in its head forbids both, whatever text from elsewhere says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corral._version import __version__
from corral.errors import counted
from corral.view import failures_told
from corral.view.amounts import cut, duration, hours, moment, size
from corral.view.charts import hours_chart, jobs_chart, legend, waits_chart, workers_chart
from corral.view.colours import END, PHASE
from corral.view.elements import Markup, element, joined, table
from corral.view.history import History
from corral.view.overview import USES, GroupView, JobView, Overview
from corral.view.report_style import style_sheet
from corral.view.spans import quantile, start_of, steps_of, waits_of

#: So many jobs are in the table of all jobs.
LISTED = 2000

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
#: How a cluster stands, as a reader is told.
RUNNING, ENDED, CUT_OFF, UNKNOWN = "running", "ended", "cut off", "not known"
_SAID = {
    RUNNING: "It was running when this was written.",
    ENDED: "It has ended.",
    CUT_OFF: "Its process ended without a word, or was killed: how its last jobs ended is not known.",
    UNKNOWN: "Whether it still runs cannot be seen from here.",
}


def report(history: History, *, standing: str, made: float) -> str:
    """The page.

    Parameters
    ----------
    standing
        `RUNNING`, `ENDED`, `CUT_OFF` or `UNKNOWN`.
    made
        Now (s since the epoch).
    """
    overview = history.overview
    sections = (
        _head(history, standing),
        _jobs(history),
        _workers(history),
        _waits(overview),
        _account(overview),
        _used(overview.groups),
        failures_told.section(overview.failures),
        _groups(overview),
        _all_jobs(overview.jobs, overview.moment),
        _foot(history, made),
    )
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="generator", content=f"corral {__version__}"),
            element("title", f"{cut(overview.name, 80)}: report of a Dask cluster"),
            element("style", Markup(style_sheet())),
        ),
        element("body", *sections),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{page}\n"


def _section(title: str, *parts: str | None) -> Markup:
    return element("section", element("h2", title), *parts)


def _head(history: History, standing: str) -> Markup:
    overview, head = history.overview, history.head
    lasted = overview.moment - overview.began
    until = "ended" if standing == ENDED else "last heard of" if standing in (CUT_OFF, UNKNOWN) else "seen"
    failed = sum(1 for job in overview.jobs if job.has_failed)
    peak = max([history.peak, *(each.workers for each in steps_of(history))])
    tiles = [
        (duration(lasted), "lasted" if standing == ENDED else "so far" if standing == RUNNING else "until then"),
        (f"{len(overview.jobs):,}", "job" if len(overview.jobs) == 1 else "jobs"),
        (f"{failed:,}", "of them failed"),
        (f"{peak:,}", "workers at the peak" if peak != 1 else "worker at the peak"),
        (hours(overview.core_hours), _of("core-hours", overview.maximum_core_hours)),
    ]
    if overview.gpu_hours or any(group.gpus for group in overview.groups):
        tiles.append((hours(overview.gpu_hours), _of("GPU-hours", overview.maximum_gpu_hours)))
    where = f" on {head.host}" if head.host else ""
    way = f", by way of {head.via}" if head.via else ""
    return element(
        "header",
        element("h1", overview.name),
        element("p", f"A Dask cluster on backend {overview.backend}{way}, looked after{where}. {_SAID[standing]}"),
        element("p", f"Began {moment(overview.began)}, {until} {moment(overview.moment)}.", class_="faint"),
        element("ul", *(element("li", element("b", number), what) for number, what in tiles), class_="tiles"),
        *(element("p", note, class_="note") for note in history.notes),
    )


def _of(what: str, maximum: float | None) -> str:
    return what if maximum is None else f"of {hours(maximum)} {what}"


def _jobs(history: History) -> Markup:
    overview = history.overview
    if not overview.jobs:
        return _section("Jobs", element("p", "No job was submitted."))
    chart, left_out = jobs_chart(overview.jobs, overview.began, overview.moment)
    seen = {job.outcome for job in overview.jobs if job.phase == "ended"}
    ends = [("wanted", "ended as asked, or in good time")] if seen & {"", "wanted"} else []
    ends += [(word, f"ended: {word}") for word in END if word in seen and word not in ("", "wanted")]
    phases = legend("phase", ((word, word) for word in PHASE))
    return _section(
        "Jobs",
        element("p", "From left to right, what each job was doing; a mark at its right end says how it ended."),
        element("p", left_out, class_="note") if left_out else None,
        phases,
        legend("end", ends) if ends else None,
        chart,
    )


def _workers(history: History) -> Markup:
    overview, steps = history.overview, steps_of(history)
    if not steps:
        return _section("Workers", element("p", "No worker came."))
    has_wanted = bool(history.samples)
    said = "Connected workers (the area), and how many were wanted (the dashed line)."
    if not has_wanted:
        said = "Connected workers, as far as the times of jobs tell: how many were wanted was not written down."
    return _section(
        "Workers", element("p", said), workers_chart(steps, overview.began, overview.moment, has_wanted=has_wanted)
    )


def _waits(overview: Overview) -> Markup:
    waits = waits_of(overview.jobs)
    if not waits:
        return _section("Waits in the queue", element("p", "No job has started."))
    rows = []
    for group, values in waits.items():
        waiting = [job for job in overview.jobs if job.group == group and job.phase == "waiting"]
        longest = max((overview.moment - job.submitted for job in waiting), default=None)
        said = "–" if longest is None else f"{len(waiting):,}, for {duration(longest)} at most"
        figures = (quantile(values, 0.5), quantile(values, 0.9), values[-1])
        rows.append((group, f"{len(values):,}", *map(duration, figures), said))
    return _section(
        "Waits in the queue",
        element("p", "Each thin mark is a job, each thick one the median of its group. The axis grows by factors."),
        waits_chart(waits),
        table(
            ("group", "started", "half within", "90 % within", "longest", "still waiting"), rows, numbers=range(1, 5)
        ),
    )


def _account(overview: Overview) -> Markup:
    parts: list[Markup] = []
    for unit, used in (
        ("core-hours", {group.name: group.core_hours for group in overview.groups}),
        ("GPU-hours", {group.name: group.gpu_hours for group in overview.groups if group.gpus}),
    ):
        if not any(sum(each.values()) for each in used.values()):
            continue
        rows = [
            (name, *(hours(each.get(use, 0.0)) for use in USES), hours(sum(each.values())))
            for name, each in used.items()
        ]
        if len(rows) > 1:
            sums = [sum(each.get(use, 0.0) for each in used.values()) for use in USES]
            rows.append(("all", *map(hours, sums), hours(sum(sums))))
        parts += [
            element("h3", unit),
            hours_chart(unit, used),
            table(("group", *USES, "total"), rows, numbers=range(1, len(USES) + 2)),
        ]
    if not parts:
        return _section("What was used", element("p", "Nothing yet."))
    words = {
        "busy": "ran tasks", "idle": "had a worker and no task", "starting": "had no worker yet",
        "draining": "were on their way out", "interrupted": "ran tasks that were cut off and had to run again",
    }  # fmt: skip
    told = legend("use", ((use, f"{use}: {words[use]}") for use in USES))
    return _section("What was used", told, *parts)


def _used(groups: Sequence[GroupView]) -> Markup | None:
    known = [group for group in groups if group.peak_memory or group.busy_cores]
    if not known:
        return None
    rows = [
        (
            group.name,
            "–" if group.memory is None else size(group.memory),
            size(group.peak_memory) if group.peak_memory else "–",
            _share(group.peak_memory, group.memory),
            f"{group.cores:,}",
            f"{group.busy_cores:.1f}" if group.busy_cores else "–",
            _share(group.busy_cores, group.cores),
        )
        for group in known
    ]
    head = ("group", "memory asked", "peak", "", "cores asked", "busy on average", "")
    advice = [element("li", f"{group.name}: {each}") for group in known for each in group.advice]
    return _section(
        "Used of what was asked for",
        element("p", "Of each node."),
        table(head, rows, numbers=range(1, 7)),
        element("ul", *advice) if advice else None,
    )


def _share(used: float, asked: float | None) -> str:
    return f"{100 * used / asked:.0f} %" if used and asked else ""


def _groups(overview: Overview) -> Markup | None:
    if not overview.groups:
        return None
    head = ("group", "queue", "each job", "wanted", "jobs so far", "failed", "core-hours", "GPU-hours", "remarks")
    rows = [
        (
            group.name,
            " ".join(filter(None, (group.backend, group.queue))) or "(default)",
            _each_job(group),
            f"{group.wanted:,}",
            f"{group.living + group.ended:,}",
            f"{group.failed:,}",
            hours(sum(group.core_hours.values())),
            hours(sum(group.gpu_hours.values())),
            "; ".join(filter(None, (group.trouble, "it was stopped" if group.is_stopped else "", _bounds(group)))),
        )
        for group in overview.groups
    ]
    return _section("Groups", table(head, rows, numbers=range(3, 8)))


def _bounds(group: GroupView) -> str:
    if not group.adapts:
        return ""
    if group.maximum is None:
        return f"adapts, {counted(group.minimum, 'job')} or more"
    return f"adapts, between {group.minimum:,} and {counted(group.maximum, 'job')}"


def _each_job(group: GroupView) -> str:
    parts = [counted(group.workers_per_job, "worker"), counted(group.cores, "core")]
    parts += [size(group.memory)] if group.memory else []
    parts += [counted(group.gpus, "GPU")] if group.gpus else []
    return ", ".join(parts) + (f"; {group.nodes:,} nodes" if group.nodes > 1 else "")


def _all_jobs(jobs: Sequence[JobView], now: float) -> Markup | None:
    if not jobs:
        return None
    title = f"All {len(jobs):,} jobs" if len(jobs) <= LISTED else f"The last {LISTED:,} of {len(jobs):,} jobs"
    rows = [tuple(_cells(job, now)) for job in jobs[-LISTED:]]
    head = ("job", "group", "submitted", "waited", "ran", "hosts", "how it stands")
    whole = table(head, rows, numbers=(3, 4)) if len(jobs) else None
    return element("section", element("h2", "List of jobs"), element("details", element("summary", title), whole))


def _cells(job: JobView, now: float) -> Iterator[str]:
    started = start_of(job)
    end = job.ended if job.ended is not None else now
    yield cut(job.id, 60)
    yield job.group
    yield moment(job.submitted)
    yield duration((started if started is not None else end) - job.submitted)
    yield "–" if started is None else duration(end - started)
    yield cut(" ".join(job.hosts), 60) or "–"
    yield cut(job.why if job.phase == "ended" else f"{job.phase}: {job.condition}", 200)


def _foot(history: History, made: float) -> Markup:
    head = history.head
    source = f"from the journal of cluster {head.uuid}" if head.uuid else "without a journal, from what it showed"
    return element("footer", joined((f"Written by corral {__version__} at {moment(made)}, {source}.",)))
