"""A cluster as people see it in a notebook: HTML made of an overview, of a few rows whatever the cluster's size."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from attrs import frozen

from corral.errors import counted
from corral.text.durations import in_words
from corral.text.printable import html
from corral.view.amounts import hours
from corral.view.failures import failures_html
from corral.view.markup import (
    bad,
    bar,
    clock,
    counts,
    faint,
    listed,
    page,
    quoted,
    table,
    unfolded,
    until,
    whole,
)
from corral.view.overview import GroupView, JobView, Load, Overview

#: So many groups have a row of their own, and so many sentences are said of what leaves.
_GROUPS, _SENTENCES = 12, 6


@frozen
class Face:
    """The two parts of a cluster's HTML: what changes with the time, and what changes when something fails."""

    standing: str
    failures: str


def cluster_html(overview: Overview) -> str:
    """The cluster as one piece of HTML, at most some dozen rows, without scripts."""
    face = face_of(overview)
    return page(face.standing, face.failures, is_closed=is_closed(overview))


def face_of(overview: Overview) -> Face:
    """The same in two parts, without style sheet: what is unfolded in one stays while the other changes."""
    now = "" if is_closed(overview) else _load(overview.load) + _leaving(overview)
    return Face(_head(overview) + _groups(overview) + now, _failures(overview))


def is_closed(overview: Overview) -> bool:
    """True if there is no cluster any more, only what there was."""
    return overview.status not in ("running", "created", "closing")


@frozen(kw_only=True)
class Message:
    """What somebody should know who looks at a cluster."""

    #: Seconds since the epoch.
    moment: float
    words: str
    is_error: bool = False


def messages_html(messages: Iterable[Message]) -> str:
    """Messages, newest first; each in a line, and what further lines it has after a click."""
    said = []
    for message in reversed(list(messages)):
        first, _, rest = message.words.partition("\n")
        when = faint(time.strftime("%H:%M:%S", time.localtime(message.moment)))
        said.append(unfolded(f"{when} {bad(first) if message.is_error else html(first)}", quoted(rest.splitlines())))
    return "".join(said)


# --- the head ---------------------------------------------------------------------------------------------------


def _head(overview: Overview) -> str:
    parts = [f'<span class="corral-name">{html(overview.name)}</span>', faint(overview.backend)]
    if is_closed(overview):
        parts.append(f"<span>{html(overview.status)}: this is what there was</span>")
    else:
        parts.append(f"<span>{html(overview.status)}</span>")
        wanted = overview.workers_wanted
        if overview.groups:
            parts.append(f"<span>Workers: {overview.workers:,} of {counted(wanted, 'wanted worker')}</span>")
        else:
            parts.append(f"<span>Workers: {overview.workers:,}</span>")
    parts.append(_cost("core-hours", overview.core_hours, overview.maximum_core_hours))
    if overview.gpu_hours or overview.maximum_gpu_hours is not None:
        parts.append(_cost("GPU-hours", overview.gpu_hours, overview.maximum_gpu_hours))
    if overview.dashboard:
        parts.append(f'<a href="{html(overview.dashboard)}" target="_blank" rel="noopener noreferrer">Dashboard</a>')
    return f'<div class="corral-head">{"".join(parts)}</div>'


def _cost(unit: str, used: float, most: float | None) -> str:
    if most is None:
        return f"<span>{hours(used)} {unit}</span>"
    words = f"{hours(used)} of {hours(most)} {unit}"
    return f"<span>{bad(f'{words}: all are used') if used >= most else html(words)}</span>"


# --- groups -----------------------------------------------------------------------------------------------------


def _groups(overview: Overview) -> str:
    if not overview.groups:
        return ""
    closed = is_closed(overview)
    heads = ("Group", "Jobs", *(() if closed else ("Workers", "Size", "How it stands")))
    rows = [_row(group, overview.moment, closed) for group in islice(overview.groups, _GROUPS)]
    more = len(overview.groups) - _GROUPS
    return table(heads, rows) + (f"<div>{faint('and ' + counted(more, 'more group'))}</div>" if more > 0 else "")


def _row(group: GroupView, now: float, closed: bool) -> list[str]:
    name = f"{html(group.name)}<div style='font-weight: 400'>{faint(_each(group))}</div>"
    if closed:
        return [name, _ended(group) or faint("none")]
    workers = whole(f"{group.workers:,} of {group.workers_wanted:,}")
    return [name, _jobs(group), workers, html(size_in_words(group)), _standing(group, now)]


def _each(group: GroupView) -> str:
    """What a job of a group is: ``each 2 nodes of 8 cores, 32 GB, 1 GPU; 4 workers; queue batch``."""
    nodes = f"{group.nodes} nodes of " if group.nodes > 1 else ""
    parts = [counted(group.cores, "core")]
    if group.memory is not None:
        parts.append(_bytes(group.memory))
    if group.gpus:
        parts.append(counted(group.gpus, "GPU"))
    more = [f"each {nodes}{', '.join(parts)}", counted(group.workers_per_job, "worker")]
    more += [f"queue {group.queue}"] * bool(group.queue) + [f"on {group.backend}"] * bool(group.backend)
    return "; ".join(more)


def _jobs(group: GroupView) -> str:
    there = {phase: number for phase, number in group.jobs.items() if number}
    said = {phase: f"{number:,} {phase}" for phase, number in there.items()}
    return (bar(there) + counts(said) if there else "") + _ended(group) or faint("none")


def _ended(group: GroupView) -> str:
    said = {}
    if well := group.ended - group.failed:
        said["ended"] = f"{well:,} ended"
    if group.failed:
        said["failed"] = f"{group.failed:,} failed"
    return counts(said) if said else ""


def size_in_words(group: GroupView) -> str:
    """``fixed at 4 jobs``, ``adapts, 1 to 100 jobs``."""
    if not group.adapts:
        return f"fixed at {counted(group.wanted, 'job')}"
    if group.maximum is None:
        return f"adapts, at least {counted(group.minimum, 'job')}" if group.minimum else "adapts, any number of jobs"
    return f"adapts, {group.minimum:,} to {counted(group.maximum, 'job')}"


def _standing(group: GroupView, now: float) -> str:
    """What keeps it from being what is wanted; worst first."""
    said = []
    if group.trouble:
        # The evidence is below, with the failures.
        said.append(bad(group.trouble.splitlines()[0]))
    elif group.is_stopped:
        said.append(html("It has stopped: nothing is submitted until you scale it again."))
    if group.unsubmitted and not group.is_stopped:
        said.append(html(f"{counted(group.unsubmitted, 'wanted job')} not submitted" + "." * (not group.trouble)))
    if group.waiting_since is not None:
        said.append(html(_wait(group, now)))
    if group.waiting:
        said.append(html(group.waiting))
    return "<br/>".join(said)


def _wait(group: GroupView, now: float) -> str:
    assert group.waiting_since is not None
    parts = [f"longest wait {in_words(max(0.0, now - group.waiting_since))}"]
    # The most frequent reasons: a queue may have one for each job.
    reasons = [f"{reason} ({number:,})" for reason, number in islice(group.reasons, 3)]
    if len(group.reasons) > 3:
        reasons.append(f"{counted(len(group.reasons) - 3, 'other reason')}")
    if reasons:
        parts[0] += f": {', '.join(reasons)}"
    if group.expected_start is not None:
        parts.append(f"first start expected {until(group.expected_start, now)}")
    return "; ".join(parts)


# --- the rest ---------------------------------------------------------------------------------------------------


def _load(load: Load) -> str:
    if not load.workers and not load.tasks:
        return ""
    parts = [f"{counted(load.threads, 'thread')}, {_bytes(load.memory)} in use"]
    if load.memory_limit:
        parts[0] += f" of {_bytes(load.memory_limit)}"
    if load.tasks:
        tasks = f"{counted(load.tasks, 'task')}, {load.processing:,} with workers"
        parts.append(tasks + f", {load.queued:,} queued" * bool(load.queued))
    text = html("; ".join(parts))
    if load.no_worker:
        text += "; " + bad(f"{counted(load.no_worker, 'task')} that no worker can run")
    return f"<div>{text}</div>"


def _leaving(overview: Overview) -> str:
    leaving = [job for job in overview.jobs if job.phase in ("draining", "cancelling")]
    if not leaving:
        return ""
    kinds = Counter((job.phase, job.group, job.why) for job in leaving).most_common()
    said = [_leave(kind, number, leaving, overview.moment) for kind, number in kinds[:_SENTENCES]]
    if len(kinds) > _SENTENCES:
        said.append(faint("and others"))
    return f"<div>Leaving:</div>{listed(said)}"


def _leave(kind: tuple[str, str, str], number: int, jobs: Iterable[JobView], now: float) -> str:
    phase, group, why = kind
    since = min((job.leaving for job in jobs if job.leaving and (job.phase, job.group, job.why) == kind), default=None)
    does = "being cancelled" if phase == "cancelling" else "finishing what it does" if number == 1 else "finishing"
    text = f"{counted(number, 'job')} of {group} {does}" + f": {why}" * bool(why)
    return html(text + (f", since {clock(since, now)}" if since is not None else ""))


def _failures(overview: Overview) -> str:
    said = failures_html(overview.failures, overview.moment)
    return f"<div>Failures ({len(overview.failures):,}), latest first:</div>{said}" if said else ""


def _bytes(size: int) -> str:
    """``63 MB``, ``32 GB``, ``1,500 GB``."""
    if size < 1e9:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.3g} GB" if size < 1e11 else f"{size / 1e9:,.0f} GB"
