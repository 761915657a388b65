"""Jobs, failures and explanations as people see them in a notebook: HTML of bounded length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from corral.errors import counted
from corral.jobs.explanation import moment
from corral.jobs.record import JobRecord, Jobs, Phase, describe_end
from corral.jobs.worker_failures import WorkerFailure
from corral.text.printable import html
from corral.view.failures import failure_html
from corral.view.markup import bad, bar, counts, faint, page, table
from corral.view.overview import PHASES

if TYPE_CHECKING:
    from corral.jobs.explanation import Explanation
    from corral.jobs.failures import Failures

#: So many rows a listing has at most.
_ROWS = 40
#: So many kinds of failures.
_KINDS = 10


# --- jobs -------------------------------------------------------------------------------------------------------


def jobs_html(jobs: Jobs) -> str:
    """How many jobs each group has in each phase, and the newest of them."""
    if not jobs and not jobs.unsubmitted:
        return page("no jobs")
    groups = dict.fromkeys(record.group for record in jobs)
    parts = [
        table(("Group", "Jobs"), [_summary(name, [each for each in jobs if each.group == name]) for name in groups])
    ]
    if jobs.unsubmitted:
        parts.append(f"<div>{bad(counted(jobs.unsubmitted, 'wanted job') + ' not submitted')} {html(jobs.why)}</div>")
    if shown := _to_be_shown(jobs):
        parts.append(table(("Job", "Group", "Phase", "State", "Hosts", "Workers", ""), map(_row, shown)))
    if (more := len(jobs) - len(shown)) > 0:
        parts.append(f"<div>{faint('and ' + counted(more, 'more job'))}</div>")
    return page(*parts)


def job_html(record: JobRecord) -> str:
    """Everything that people ask about one job."""
    said = {
        "group": record.group,
        "phase": record.phase.value,
        "state": record.state.value + (f": {_reason(record)}" if _reason(record) else ""),
        "hosts": " ".join(record.hosts),
        "lost hosts": " ".join(record.lost_hosts),
        "workers": f"{len(record.workers):,} of {record.expected_workers:,}",
        "expected start": _moment(record.status.expected_start) if record.started_at is None else "",
        "ends at": _moment(record.status.ends) if not record.has_ended else "",
        "leaves because": _leaves(record),
        "ended": describe_end(record) if record.has_ended else "",
        "workers that died": f"{record.worker_deaths:,}" if record.worker_deaths else "",
        "name": record.name,
        "log": record.log or "",
    }
    head = f'<div class="corral-head"><span class="corral-name">job {html(str(record.id))}</span></div>'
    return page(head, table((), [(html(name), html(words)) for name, words in said.items() if words]))


def _summary(group: str, records: Sequence[JobRecord]) -> tuple[str, str]:
    phases = Counter(record.phase.value for record in records)
    there = {phase: number for phase in (*PHASES, Phase.ENDED.value) if (number := phases[phase])}
    return html(group), bar(there) + counts({phase: f"{number:,} {phase}" for phase, number in there.items()})


def _to_be_shown(jobs: Jobs) -> Sequence[JobRecord]:
    """The same number of each phase, if not all: the oldest of those that live, the last of those that have ended."""
    by_phase: dict[str, list[JobRecord]] = {phase: [] for phase in (*PHASES, Phase.ENDED.value)}
    for record in jobs:
        by_phase[record.phase.value].append(record)
    by_phase[Phase.ENDED.value].reverse()
    there = [records for records in by_phase.values() if records]
    shown = [record for place in zip_longest(*there) for record in place if record is not None][:_ROWS]
    order = list(by_phase)
    return sorted(shown, key=lambda record: order.index(record.phase.value))


def _row(record: JobRecord) -> Sequence[str]:
    phase = record.phase.value
    words = describe_end(record) if record.has_ended else _leaves(record) or _reason(record)
    return (
        html(str(record.id)),
        html(record.group),
        counts({phase: phase}),
        html(record.state.value),
        html(" ".join(record.hosts[:4]) + " …" * (len(record.hosts) > 4)),
        f"{len(record.workers):,} of {record.expected_workers:,}",
        html(words),
    )


def _reason(record: JobRecord) -> str:
    return "" if record.reason == "None" else record.reason


def _leaves(record: JobRecord) -> str:
    if record.has_ended:
        return ""
    return record.stop_reason.value if record.stop_reason is not None else record.leaving


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else moment(seconds)


# --- failures and explanations ----------------------------------------------------------------------------------


def failures_html(failures: Failures) -> str:
    """The latest kinds of failures, newest first, each with the evidence of its newest."""
    if not failures:
        return page("no failures")
    kinds = list(reversed(failures.by_kind()))
    parts = [f"<div>{counted(len(failures), 'failure')}, latest first:</div>"]
    for alike in kinds[:_KINDS]:
        last = alike[-1]
        worker = last if isinstance(last, WorkerFailure) else None
        parts.append(
            failure_html(
                what=f"job {last.job.id}" if worker is None else f"worker {worker.worker} of job {last.job.id}",
                group=last.job.group,
                cause=last.cause,
                hint=last.hint,
                number=len(alike),
                hosts=last.job.hosts if worker is None or not worker.host else (worker.host,),
                tasks=() if worker is None else worker.tasks,
                log=last.job.log,
                log_tail=last.log_tail,
            )
        )
    if (more := len(kinds) - _KINDS) > 0:
        parts.append(f"<div>{faint('and ' + counted(more, 'earlier kind'))}</div>")
    return page(*parts)


def explanations_html(explanations: Iterable[Explanation]) -> str:
    """Why jobs wait, a row for each."""
    rows = []
    for each in explanations:
        what = f"job {each.job}" if each.job else "no job in the queue"
        state = "" if each.state is None else each.state.value
        why = bad(each.why) if each.never_starts else html(each.why)
        more = [each.queues, each.choice and f'queue="auto" chose {each.choice}']
        why += "".join(f"<div>{faint(words)}</div>" for words in more if words)
        rows.append((html(what), html(each.group), html(state), why, html(_moment(each.expected_start))))
    if not rows:
        return page("no job is wanted")
    return page(table(("Job", "Group", "State", "Why", "Expected start"), rows))
