"""A cluster on a screen of a certain size: what `corral top` shows, also as plain lines without an end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

from attrs import frozen

from corral.view.amounts import size
from corral.view.lines import ROLES, Line, Role, bar, expected, failed, roughly, since
from corral.view.overview import PHASES, USES, GroupView, JobView, Overview
from corral.view.table import Cell, Column, fitted, table

T = TypeVar("T")

_GROUPS = (
    Column(head="group", role="strong"),
    Column(head="wanted", is_number=True),
    *(Column(head=phase, is_number=True, rank=2 + (phase not in ("waiting", "working"))) for phase in PHASES),
    Column(head="workers", is_number=True),
    Column(head="failed", is_number=True, rank=1, role="bad"),
    Column(head="why", rank=4),
)
_JOBS = (
    Column(head="job"),
    Column(head="group", rank=2),
    Column(head="phase"),
    Column(head="for", is_number=True, rank=1),
    Column(head="workers", is_number=True),
    Column(head="hosts", rank=4),
    Column(head="why", rank=3),
)


@frozen
class Choice:
    """A row that can be selected."""

    kind: Literal["group", "job"]
    name: str
    #: Of a job.
    group: str


def choices(overview: Overview) -> list[Choice]:
    """The rows, in the order in which they are shown."""
    return [
        *(Choice("group", group.name, group.name) for group in overview.groups),
        *(Choice("job", job.id, job.group) for job in listed(overview)),
    ]


def listed(overview: Overview) -> list[JobView]:
    """The jobs that are shown: those that live, oldest first; then those that failed, the latest first."""
    living = [job for job in overview.jobs if job.phase != "ended"]
    failures = sorted((job for job in overview.jobs if job.has_failed), key=lambda job: job.ended or 0.0)
    return [*living, *reversed(failures)]


@frozen(kw_only=True)
class Room:
    """How the lines of a screen are shared out; None: there is no end of them."""

    lines: int | None
    groups: int | None = None
    jobs: int | None = None
    failures: int | None = None
    has_heads: bool = True
    has_blanks: bool = True

    @classmethod
    def of(cls, height: int | None, *, top: int, groups: int, failures: int) -> Room:
        """Of a screen of that height, whose first `top` lines and last two are taken."""
        if height is None:
            return cls(lines=None)
        has_heads, has_blanks = height >= 14, height >= 20
        shown = min(failures, 3 if height >= 24 else 1 if height >= 16 else 0)
        left = height - top - 2 - shown - 2 * has_heads - has_blanks * (2 + bool(shown))
        for_groups = max(1, min(groups, left // 3))
        return cls(
            lines=height, groups=for_groups, jobs=max(1, left - for_groups), failures=shown, has_heads=has_heads,
            has_blanks=has_blanks,
        )  # fmt: skip


def page(
    overview: Overview,
    *,
    width: int | None,
    height: int | None = None,
    chosen: Choice | None = None,
    told: Sequence[Line] = (),
    partial: str = "",
) -> list[Line]:
    """A cluster, in so many lines of so many cells.

    Parameters
    ----------
    width, height
        Of the screen; None: it has no end.
    chosen
        The row that is selected.
    told
        The last two lines: what has happened or is asked, and the keys.
    partial
        Why not everything is known, if it is not: what is wanted, computed and spent is then left out.
    """
    top = _top(overview, width, partial, is_short=height is not None and height < 14)
    recent = overview.failures
    room = Room.of(height, top=len(top), groups=len(overview.groups), failures=len(recent))
    blank = [Line.of()] if room.has_blanks else []
    found = [*top, *blank, *_groups(overview, room, width, chosen, partial), *blank]
    found += _jobs(overview, room, width, chosen)
    if below := recent if room.failures is None else recent[len(recent) - room.failures :]:
        found += [*blank, *map(failed, below)]
    if height is not None:
        found = found[: max(0, height - len(told))]
        found += [Line.of()] * (height - len(told) - len(found))
    found += told
    return found if width is None else [line.cut(width) for line in found[:height]]


def detail(overview: Overview, chosen: Choice | None) -> Line:
    """What there is to say of the selected row that its columns may have no room for."""
    if chosen is None:
        return Line.of()
    for group in overview.groups:
        if chosen.kind == "group" and group.name == chosen.name:
            if group.trouble:
                return Line.of((f"{group.name}: {group.trouble}", "bad"))
            told = "; ".join(text for text in (_why(group, overview.moment), group.because, *group.advice) if text)
            return Line.of(f"{group.name}: {told}" if told else "")
    for job in overview.jobs:
        if chosen.kind == "job" and job.id == chosen.name:
            where = f"on {' '.join(job.hosts)}" if job.hosts else ""
            told = "; ".join(text for text in (job.why or job.condition, where, job.reason) if text)
            return Line.of((f"job {job.id}: {told}", "bad" if job.has_failed else ""))
    return Line.of()


def _groups(overview: Overview, room: Room, width: int | None, chosen: Choice | None, partial: str) -> list[Line]:
    names = [group.name for group in overview.groups]
    window = _Window.of(
        overview.groups, room.groups, names.index(chosen.group) if chosen and chosen.group in names else 0
    )
    columns = [column for column in _GROUPS if not partial or column.head != "wanted"]
    head, lines = table(columns, [_group_row(group, overview.moment, partial) for group in window.shown], width)
    keys = [Choice("group", group.name, group.name) for group in window.shown]
    marked = [_marked(line, chosen, key, width) for line, key in zip(lines, keys, strict=True)]
    return [*([head] if room.has_heads else []), *window.with_rest(marked, "groups")]


def _jobs(overview: Overview, room: Room, width: int | None, chosen: Choice | None) -> list[Line]:
    jobs = listed(overview)
    if not jobs:
        return [Line.of(("no job is in the queue", "faint"))]
    ids = [job.id for job in jobs]
    at = ids.index(chosen.name) if chosen and chosen.kind == "job" and chosen.name in ids else 0
    window = _Window.of(jobs, room.jobs, at)
    head, lines = table(_JOBS, [_job_row(job, overview) for job in window.shown], width)
    keys = [Choice("job", job.id, job.group) for job in window.shown]
    marked = [_marked(line, chosen, key, width) for line, key in zip(lines, keys, strict=True)]
    return [*([head] if room.has_heads else []), *window.with_rest(marked, "jobs")]


# --- parts ------------------------------------------------------------------------------------------------------


def _top(overview: Overview, width: int | None, partial: str, *, is_short: bool) -> list[Line]:
    """What the cluster is, and what it has."""
    age = f"  for {roughly(overview.moment - overview.began)}" if overview.began else ""
    clock = time.strftime("%H:%M:%S", time.localtime(overview.moment))
    status: Role = "good" if overview.status == "running" else "bad"
    title = Line.of((overview.name, "strong"), "  ", (overview.status, status), f"  {overview.backend}{age}",
                    (f"  {clock}", "faint"))  # fmt: skip
    if partial:
        return [title, *(Line.of((text, "busy")) for text in _wrapped(partial, width))]
    load = overview.load
    memory = f"memory {size(load.memory)} of {size(load.memory_limit)}"
    wanted = overview.workers_wanted
    workers = Line.of("workers ", *bar(overview.workers, wanted, 12), f" {overview.workers:,} of {wanted:,}  {memory}")
    tasks = [f"tasks {load.tasks:,}"]
    tasks += [f"{count:,} {word}" for count, word in ((load.processing, "running"), (load.queued, "queued")) if count]
    stuck = f", {load.no_worker:,} without a worker" if load.no_worker else ""
    hours = _hours("core-hours", overview.core_hours, overview.maximum_core_hours, overview, "core_hours")
    if overview.gpu_hours or overview.maximum_gpu_hours is not None:
        hours += _hours("GPU-hours", overview.gpu_hours, overview.maximum_gpu_hours, overview, "gpu_hours")
    rest = [Line.of(", ".join(tasks), (stuck, "bad")), Line.of("  ".join(hours))]
    return [title, workers, *(rest[:1] if is_short else rest)]


def _hours(unit: str, used: float, maximum: float | None, overview: Overview, field: str) -> list[str]:
    of = "" if maximum is None else f" of {maximum:,g}"
    uses = {use: sum(getattr(group, field)[use] for group in overview.groups) for use in USES}
    told = ", ".join(f"{hours / used:.0%} {use}" for use, hours in uses.items() if used and hours / used >= 0.01)
    return [f"{unit} {used:,.1f}{of}{f' ({told})' if told else ''}"]


def _group_row(group: GroupView, now: float, partial: str) -> list[str | Cell]:
    wanted = f"{group.wanted:,}{' auto' if group.adapts else ''}"
    workers = f"{group.workers:,}" if partial else f"{group.workers:,}/{group.workers_wanted:,}"
    why = Cell(group.trouble, "bad") if group.trouble else Cell(_why(group, now))
    return [
        group.name,
        *([] if partial else [wanted]),
        *(Cell(f"{count:,}" if count else "", ROLES[phase]) for phase, count in group.jobs.items()),
        workers,
        f"{group.failed:,}" if group.failed else "",
        why,
    ]


def _why(group: GroupView, now: float) -> str:
    if group.jobs["waiting"] == 0:
        return ""
    start = expected(group.expected_start, now)
    parts = [
        f"waiting{since(group, now)}" if since(group, now) else "",
        f"first {start}" if start else "",
        group.waiting,
    ]
    return "; ".join(part for part in parts if part)


def _job_row(job: JobView, overview: Overview) -> list[str | Cell]:
    since = {
        "waiting": job.submitted, "starting": job.started, "working": job.connected, "draining": job.leaving,
        "cancelling": job.leaving, "ended": job.ended,
    }.get(job.phase)  # fmt: skip
    role: Role = "bad" if job.has_failed else ROLES.get(job.phase, "")
    why = job.why or job.reason
    if start := expected(job.expected_start, overview.moment):
        why = f"{why}; {start}" if why else f"starts {start}"
    return [
        job.id,
        job.group if len(overview.groups) > 1 else "",
        Cell("failed" if job.has_failed else job.phase or job.state, role),
        roughly(overview.moment - since) if since else "",
        f"{job.workers:,}/{job.expected_workers:,}",
        " ".join(job.hosts),
        Cell(why, "bad" if job.has_failed else ""),
    ]


def _marked(line: Line, chosen: Choice | None, row: Choice, width: int | None) -> Line:
    """The line, so that it is seen whether it is the selected one, also without colours."""
    if chosen is None or chosen != row:
        return line
    text = str(line)
    return Line.of((text if width is None else fitted(text, width), "chosen"))


@frozen
class _Window(Generic[T]):
    """Some rows of many, and how many are left out before and after them."""

    shown: Sequence[T]
    before: int
    after: int

    @classmethod
    def of(cls, rows: Sequence[T], room: int | None, at: int) -> _Window[T]:
        """So many rows that they fit, with a line for what is left out; the row `at` is among them."""
        if room is None or len(rows) <= room:
            return cls(rows, 0, 0)
        shown = max(1, room - 1)
        first = max(0, min(at - shown // 2, len(rows) - shown))
        return cls(rows[first : first + shown], first, len(rows) - first - shown)

    def with_rest(self, lines: Sequence[Line], what: str) -> list[Line]:
        """The lines, and one that says how many more there are."""
        if not self.before and not self.after:
            return list(lines)
        where = " and ".join(
            f"{count:,} {side}" for count, side in ((self.before, "above"), (self.after, "below")) if count
        )
        return [*lines, Line.of((f"… more {what}: {where}", "faint"))]


def _wrapped(text: str, width: int | None) -> list[str]:
    import textwrap

    return [text] if width is None else textwrap.wrap(text, max(10, width))[:3]


def text_of(raw: bytes, width: int) -> list[str]:
    """The lines of a log as they may be shown, none wider than the screen."""
    from rich.cells import chop_cells

    from corral.text.printable import printable_lines

    found: list[str] = []
    for line in printable_lines(raw.decode(errors="replace")).split("\n"):
        found += chop_cells(line.expandtabs(8), max(1, width)) or [""]
    return found[:-1] if found and not found[-1] else found
