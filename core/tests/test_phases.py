"""The phases of a job: what its record says at any time is one of them, and they follow each other as is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corral.jobs.group_state import GroupState
from corral.jobs.plan import plan
from corral.jobs.record import JobRecord, Phase, StopReason
from corral.jobs.transitions import as_found, connect, disconnect, is_gone, observe, presumed, sought
from corral.plugin.values import JobId, JobState, JobStatus

CONCEPTS = Path(__file__).parents[2] / "docs/concepts.md"
#: What may follow what, in the words of `JobRecord.phase`.
NEXT: dict[Phase, set[Phase]] = {
    Phase[phase]: {Phase[word] for word in re.findall(r"[A-Z]{5,}", rest)}
    for phase, rest in re.findall(r"^ *([A-Z]{5,}) (.*)$", JobRecord.phase.__doc__ or "", re.MULTILINE)
}
ALLOWED = {(before, after) for before, nexts in NEXT.items() for after in nexts}

Event = Callable[[JobRecord, float], JobRecord]


def listed(state: JobState) -> Event:
    return lambda record, now: observe(record, JobStatus(state=state), now)


def unlisted(record: JobRecord, now: float) -> JobRecord:
    record = observe(record, None, now)
    gone = is_gone(record, now, lists_none=False, is_unfound=False)
    return presumed(record, now, lists_none=False) if gone else record


def looked_for(*, is_found: bool) -> Event:
    def event(record: JobRecord, now: float) -> JobRecord:
        if record.absent_since is None or record.has_ended:
            return record
        return sought(record, now, is_found=is_found, lists_none=True)

    return event


def worker_leaves(record: JobRecord, now: float) -> JobRecord:
    return disconnect(record, "1-0", now) if record.workers and not record.has_ended else record


def launcher_leaves(reason: str) -> Event:
    return lambda record, _: record if record.has_ended else evolve(record, leaving=reason)


def planned(state: GroupState) -> Event:
    """The engine carries out what is planned."""

    def event(record: JobRecord, now: float) -> JobRecord:
        todo = plan(state, [record], now)
        for each, stop_reason in todo.cancel:
            record = evolve(each, stop_reason=stop_reason)
        for each in todo.retire:
            record = evolve(each, stop_reason=StopReason.SURPLUS, retire_asked_at=now)
        return record

    return event


def spent(record: JobRecord, now: float) -> JobRecord:
    is_at_work = record.workers and record.is_capacity
    return evolve(record, stop_reason=StopReason.SPENT, retire_asked_at=now) if is_at_work else record


def launcher_is_silent(record: JobRecord, _: float) -> JobRecord:
    return record if record.has_ended else evolve(record, retire_asked_at=None)


def cancelled(record: JobRecord, now: float) -> JobRecord:
    if record.phase is not Phase.CANCELLING:
        return record
    return evolve(record, cancel_asked_at=now, is_cancel_accepted=True, cancel_accepted_at=now, spared_at=None)


def closing(record: JobRecord, _: float) -> JobRecord:
    return record if record.has_ended else evolve(record, stop_reason=StopReason.CLOSING)


def still_there(record: JobRecord, _: float) -> JobRecord:
    """A cluster that closes finds a job that was believed gone."""
    return (
        evolve(as_found(record), stop_reason=StopReason.CLOSING, is_cancel_accepted=False)
        if record.is_presumed
        else record
    )


#: All that changes what is known of a job, with as many seconds as pass before it.
EVENTS: list[tuple[float, Event]] = [
    *((15.0, listed(state)) for state in (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED)),
    *((1.0, listed(state)) for state in (JobState.COMPLETED, JobState.CANCELLED)),
    (200.0, unlisted),
    (200.0, looked_for(is_found=True)),
    (200.0, looked_for(is_found=False)),
    (1.0, lambda record, now: connect(record, "1-0", now)),
    (1.0, worker_leaves),
    *((1.0, launcher_leaves(reason)) for reason in ("walltime", "signal")),
    *((1.0, planned(state)) for state in (GroupState(), GroupState(broken=True))),
    (400.0, planned(GroupState(wanted=1))),
    (1.0, spent),
    (1.0, launcher_is_silent),
    (1.0, cancelled),
    (1.0, closing),
    (1.0, still_there),
]

NEW = JobRecord(id=JobId("1"), was_listed=True)


def transitions(record: JobRecord, now: float, events: Iterable[tuple[float, Event]]) -> set[tuple[Phase, Phase]]:
    found = set()
    for passed, event in events:
        now += passed
        after = event(record, now)
        found.add((record.phase, after.phase))
        record = after
    return {(before, after) for before, after in found if before is not after}


def test_users_read_the_same_table() -> None:
    """docs/concepts.md says of each phase what `JobRecord.phase` says."""
    table = re.findall(r"^\| ([A-Z]+) \| (.*?) \| ([A-Z, ]+) \|$", CONCEPTS.read_text(), re.MULTILINE)
    told = re.findall(r"^ *([A-Z]{5,}) +(.*?) {2,}(.*)$", JobRecord.phase.__doc__ or "", re.MULTILINE)
    assert [row[0] for row in told] == [phase.name for phase in Phase]
    assert table == told


def test_what_is_written_can_happen_and_nothing_else() -> None:
    """Whatever five events follow each other, in whatever order."""
    seen: set[tuple[Phase, Phase]] = set()
    known = {(NEW, 1000.0)}
    for _ in range(5):
        following = set()
        for record, now in known:
            for passed, event in EVENTS:
                after = event(record, now + passed)
                if after != record:
                    seen.add((record.phase, after.phase))
                    following.add((after, now + passed))
        known = following
    assert {(before, after) for before, after in seen if before is not after} == ALLOWED


@given(st.lists(st.sampled_from(EVENTS), max_size=60))
def test_nothing_else_happens_in_a_long_life(events: list[tuple[float, Event]]) -> None:
    assert transitions(NEW, 1000.0, events) <= ALLOWED
