"""Failures in HTML: those that are alike once, with cause, cure, and what was in the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from corral.errors import counted
from corral.text.printable import html
from corral.view.markup import bad, clock, faint, quoted, unfolded
from corral.view.overview import FailureView


@frozen(kw_only=True)
class Failed:
    """Failures that are alike."""

    #: The newest of them.
    last: FailureView
    number: int


def alike(failures: Iterable[FailureView]) -> list[Failed]:
    """Failures, newest first, of those that differ in nothing but job, host and moment the newest."""
    found: dict[tuple[str, ...], Failed] = {}
    for failure in reversed(list(failures)):
        kind = (failure.group, failure.outcome, bool(failure.worker) * "worker", _without_hosts(failure), failure.hint)
        last, number = (found[kind].last, found[kind].number) if kind in found else (failure, 0)
        found[kind] = Failed(last=last, number=number + 1)
    return list(found.values())


def failures_html(failures: Sequence[FailureView], now: float, *, at_most: int = 5) -> str:
    """The latest kinds of failures, each with its newest; empty if there are none.

    No word of it changes while no failure comes: what somebody has unfolded can stay so.
    """
    kinds = alike(failures)
    parts = [_one(each, now) for each in kinds[:at_most]]
    if len(kinds) > at_most:
        parts.append(f"<div>{faint('and ' + counted(len(kinds) - at_most, 'earlier kind'))}</div>")
    return "".join(parts)


def _one(failed: Failed, now: float) -> str:
    last = failed.last
    return failure_html(
        what=f"worker {last.worker} of job {last.job}" if last.worker else f"job {last.job}",
        group=last.group,
        when=f" at {clock(last.moment, now)}" if last.moment else "",
        cause=last.cause,
        hint=last.hint,
        number=failed.number,
        hosts=last.hosts,
        tasks=last.tasks,
        log=last.log,
        log_tail=last.log_tail,
    )


def failure_html(
    *,
    what: str,
    group: str,
    when: str = "",
    cause: str,
    hint: str,
    number: int,
    hosts: Iterable[str],
    tasks: Iterable[str],
    log: str | None,
    log_tail: Iterable[str],
) -> str:
    """One of `number` failures that are alike: cause and cure, and the evidence after a click."""
    more = f" {faint(f'and {number - 1:,} before it like this')}" if number > 1 else ""
    summary = f"{bad(f'{what} of {group}')}{faint(when)}: {html(cause)}{more}"
    tail = quoted(log_tail)
    said = {"on ": " ".join(hosts), "it ran ": ", ".join(tasks)}
    parts = [f"<div>{html(before + words)}</div>" for before, words in said.items() if words]
    if log:
        words = "the last lines of its log" if tail else "its log is empty or missing"
        parts.append(f"<div>{faint(f'{words}: {log}')}</div>")
    # Beside the summary: what helps is to be seen without a click.
    return unfolded(summary, "".join([*parts, tail])) + (f'<div class="corral-hint">{html(hint)}</div>' if hint else "")


def _without_hosts(failure: FailureView) -> str:
    return failure.cause.replace(f"on {' '.join(failure.hosts)}", "") if failure.hosts else failure.cause
