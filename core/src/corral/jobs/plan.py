"""What to do next for one group of jobs: a pure function of what is wanted, what is known, and the time.

The engine calls `plan` whenever something changed and carries out what it returns. Nothing here waits, talks or logs,
so that a test can ask about any situation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from attrs import field, frozen

from corral.errors import BudgetSpent
from corral.jobs.group_state import REPLACEMENT_WINDOW, GroupState
from corral.jobs.reasons import Case, figures, sentence
from corral.jobs.record import JobRecord, StopReason
from corral.plugin.values import JobId, JobState

#: A running job without any worker for so long is unresponsive (s).
UNRESPONSIVE_AFTER = 300.0
#: A job that the batch system calls running although all of its workers have been gone for so long is lost (s): a
#: node that lost power, and came back before anybody missed it, leaves such jobs. Launchers that live are back by then.
LOST_WORKERS_AFTER = 60.0
#: A job that was told to end by itself, and has no worker any more, is cancelled after this (s).
RETIRED_GRACE = 60.0
#: How soon a cancellation that has not worked is repeated (s): each time after twice the pause.
CANCEL_AGAIN_AFTER = 5.0
CANCEL_AGAIN_WITHIN = 300.0


@frozen(kw_only=True)
class Plan:
    """What to do now."""

    submit: int = 0
    #: How many of them replace lost jobs.
    replacements: int = 0
    cancel: tuple[tuple[JobRecord, StopReason], ...] = ()
    retire: tuple[JobRecord, ...] = ()
    #: Jobs that are missing but not submitted, because too many were replaced within the hour.
    withheld: int = 0
    #: When to plan again even if nothing happens.
    again_at: float | None = None
    #: Which of the cases of `plan` decided, and that in words, with its figures. Plans that do the same are equal.
    case: Case = field(default=Case.ENOUGH, eq=False)
    because: str = field(default="", eq=False)


def usual_wait(waits: Collection[float]) -> float:
    """How long before a job leaves its replacement is asked for (s): three of four came within this time."""
    return sorted(waits)[(3 * len(waits)) // 4] if waits else 0.0


def lasts(record: JobRecord, now: float, lead: float) -> bool:
    """False if the job leaves so soon that another one must be on its way."""
    return record.works_until is None or record.works_until - lead > now


def plan(
    state: GroupState,
    records: Sequence[JobRecord],
    now: float,
    *,
    submitting: int = 0,
    replacements_per_hour: int | None = None,
    spent: BudgetSpent | None = None,
    load: Callable[[JobRecord], float] = lambda _: 0.0,
    lead: float = 0.0,
) -> Plan:
    """What to do for a group, and why.

    Whatever the group wants, jobs are cancelled that have had no worker for too long, and again those whose end was
    asked for and has not come. How many jobs there shall be is decided by the first of these cases that holds.
    Long because they are told where they are decided:

    1. BROKEN: too many jobs have failed in a row. Those that wait are cancelled, none is submitted.
    2. SURPLUS: more are there than are wanted. The least useful are cancelled; those that work retire instead.
    3. RELIEF: more are there than are wanted, and wait to relieve some that leave soon. They are kept.
    4. RELIEVED: none is missing, and more work than are wanted, some of which leave soon. Those retire.
    5. ENOUGH: none is missing.
    6. REFUSED: some are missing, and the batch system never will take them. None is submitted.
    7. POSTPONED: some are missing, and the last submission has just failed. None is submitted yet.
    8. SPENT: some are missing, and the core-hours are used up, or the GPU-hours that they need. None is submitted.
    9. WITHHELD: some of the missing replace lost jobs, and too many did within the hour. The others are submitted.
    10. MISSING: some are missing. They are submitted.

    Parameters
    ----------
    records
        Its jobs; those that have ended may be among them.
    submitting
        Jobs of submissions that are under way.
    replacements_per_hour
        None: as many as are wanted, but at least 3.
    spent
        The cluster has used the core-hours that it may, or the GPU-hours, and these jobs have GPUs.
    load
        What stands against ending a connected job; the least loaded go first.
    lead
        So many seconds before a job leaves, it no longer counts: its replacement has that long to come.
    """
    living = [record for record in records if record.ended_at is None]
    cancel, again = _overdue(living, now)
    given_up = {record.id for record, _ in cancel if record.stop_reason is None}
    lasting: list[JobRecord] = []
    expiring: list[JobRecord] = []
    parting: list[JobRecord] = []
    for record in living:
        if not record.is_capacity or (given_up and record.id in given_up):
            parting.append(record)
        elif (until := record.works_until) is None:
            lasting.append(record)
        elif until - lead > now:
            lasting.append(record)
            again.append(until - lead)
        else:
            expiring.append(record)
    there = figures(
        state.wanted, lasting, expiring + parting, is_lowered=state.is_lowered, given_up=given_up, submitting=submitting
    )

    # 1. BROKEN
    if state.broken:
        cancel += [(record, StopReason.BREAKER) for record in lasting + expiring if record.state.is_waiting]
        because = sentence(Case.BROKEN, there, f"{state.strikes} failed in a row", cancel=len(cancel))
        return Plan(cancel=tuple(cancel), again_at=min(again, default=None), case=Case.BROKEN, because=because)

    # Jobs under way cannot be taken back: if they are too many, they are surplus when they are known.
    surplus = max(0, len(lasting) - state.wanted)
    victims = _least_useful(lasting, surplus, load, state.release)
    if victims and lead:
        victims = _without_relief(victims, lasting, now, lead, state.release)
    cancel += [(record, StopReason.SURPLUS) for record in victims if not record.workers]
    # Those that will leave anyway go as soon as enough others work; the nearest to its end first.
    retire = [record for record in victims if record.workers]
    working = sum(1 for record in lasting if record.workers) - len(retire)
    relieved = sorted(expiring, key=lambda record: record.works_until or 0.0)
    retire += relieved[: max(0, working + len(expiring) - state.wanted)]

    # Jobs that could not be cancelled yet are there all the same: never are there more than asked for.
    missing = state.wanted - len(lasting) - submitting - sum(record.is_lingering for record in parting)
    if victims:  # 2. SURPLUS
        supply = _Supply(case=Case.SURPLUS)
    elif surplus:  # 3. RELIEF
        supply = _Supply(case=Case.RELIEF, why="some leave soon")
    elif missing <= 0:  # 4. RELIEVED, 5. ENOUGH
        supply = _Supply(case=Case.RELIEVED if retire else Case.ENOUGH)
    else:
        supply = _supply(state, missing, submitting, now, replacements_per_hour, spent)
        again += supply.again
    actions = {"cancel": len(cancel), "retire": len(retire), "keep": surplus - len(victims)}
    return Plan(
        submit=supply.submit,
        replacements=supply.replacements,
        cancel=tuple(cancel),
        retire=tuple(retire),
        withheld=supply.withheld,
        again_at=min(again, default=None),
        case=supply.case,
        because=sentence(
            supply.case,
            there,
            supply.why,
            limit="" if spent is None else spent.limit,
            **actions,
            submit=supply.submit,
            withhold=supply.withheld,
        ),
    )


def _overdue(living: Iterable[JobRecord], now: float) -> tuple[list[tuple[JobRecord, StopReason]], list[float]]:
    """The jobs to cancel whatever the group wants, and why; and when others of them are due."""
    cancel: list[tuple[JobRecord, StopReason]] = []
    again: list[float] = []
    for record in living:
        end = (
            _end_of_patience(record)
            if record.stop_reason is None
            else _next_cancellation(record, record.stop_reason, now)
        )
        if end is None:
            continue
        due, stop_reason = end
        if due <= now:
            cancel.append((record, stop_reason))
        else:
            again.append(due)
    return cancel, again


@frozen(kw_only=True)
class _Supply:
    """Which jobs to add."""

    case: Case
    #: What else than the figures stands for it.
    why: str = ""
    submit: int = 0
    replacements: int = 0
    withheld: int = 0
    again: tuple[float, ...] = ()


def _supply(
    state: GroupState,
    missing: int,
    submitting: int,
    now: float,
    replacements_per_hour: int | None,
    spent: BudgetSpent | None,
) -> _Supply:
    """How many of the missing jobs to submit now, and what stands against the others."""
    # 6. REFUSED
    if state.is_stopped:
        return _Supply(case=Case.REFUSED, why="the batch system refuses such jobs")
    # 7. POSTPONED
    if now < state.not_before:
        times = f"last {state.setbacks} submissions" if state.setbacks > 1 else "last submission"
        return _Supply(case=Case.POSTPONED, why=f"the {times} failed", again=(state.not_before,))
    limit = max(3, state.wanted) if replacements_per_hour is None else replacements_per_hour
    recent = [moment for moment in state.replaced if now - moment < REPLACEMENT_WINDOW]
    lost = min(missing, state.losses)
    replacements = min(lost, max(0, limit - len(recent)))
    withheld = lost - replacements
    again = (min(recent) + REPLACEMENT_WINDOW,) if withheld and recent else ()
    # 8. SPENT
    if spent is not None and missing > withheld:
        why = f"the cluster's {spent.maximum:g} {spent.unit} are used up"
        return _Supply(case=Case.SPENT, why=why, withheld=withheld, again=again)
    if withheld:  # 9. WITHHELD
        case, why = Case.WITHHELD, f"at most {limit} lost jobs an hour are replaced, and {len(recent)} were"
    else:  # 10. MISSING
        case, why = Case.MISSING, "one submission at a time" if submitting else ""
    return _Supply(
        case=case, why=why, submit=missing - withheld, replacements=replacements, withheld=withheld, again=again
    )


def pause_before_cancelling(cancellations: int) -> float:
    """How long after so many cancellations another one may follow (s): 5, 10, 20, 40 and so on."""
    return min(CANCEL_AGAIN_WITHIN, CANCEL_AGAIN_AFTER * 2.0 ** min(20, max(0, cancellations - 1)))


def _next_cancellation(record: JobRecord, stop_reason: StopReason, now: float) -> tuple[float, StopReason] | None:
    """When a job whose end was asked for is cancelled (again); None if that is not to be said yet."""
    if record.cancel_asked_at is not None:
        if record.is_cancel_accepted and record.spared_at is None:
            return None  # it was accepted: whether it has worked, the next answer shows
        return record.cancel_asked_at + pause_before_cancelling(record.cancellations), stop_reason
    if record.retire_asked_at is None:
        return now, stop_reason
    return None if record.workers else (record.retire_asked_at + RETIRED_GRACE, stop_reason)


def _end_of_patience(record: JobRecord) -> tuple[float, StopReason] | None:
    """When a job without workers is given up, and why; None if it has some, waits, sleeps or leaves."""
    if record.workers or record.started_at is None or record.leaving not in ("", "signal"):
        return None
    if record.state is JobState.SUSPENDED:
        return None
    if record.connected_at is None:
        return record.started_at + UNRESPONSIVE_AFTER, StopReason.UNRESPONSIVE
    if record.lost_workers_at is None:
        return None
    return record.lost_workers_at + LOST_WORKERS_AFTER, StopReason.LOST_WORKERS


def _without_relief(
    victims: Sequence[JobRecord],
    lasting: Sequence[JobRecord],
    now: float,
    lead: float,
    release: frozenset[JobId],
) -> list[JobRecord]:
    """The victims without waiting jobs that will soon relieve those that stay.

    How early a replacement is asked for changes with how long the latest jobs had to wait. What has waited for a while
    is not given up, and asked for anew a minute later, because the queue was quicker once.
    """
    given_up = {record.id for record in victims}
    soon = sum(
        1 for record in lasting if record.workers and record.id not in given_up and not lasts(record, now, 2 * lead)
    )
    waiting = [record for record in victims if not record.workers and record.id not in release]
    # The youngest are first.
    kept = {record.id for record in waiting[max(0, len(waiting) - soon) :]}
    return [record for record in victims if record.id not in kept]


def _least_useful(
    capacity: Sequence[JobRecord], count: int, load: Callable[[JobRecord], float], first: frozenset[JobId]
) -> list[JobRecord]:
    """Jobs to give up: waiting before running before connected; the youngest first, and the least loaded."""
    if not count:
        return []

    def rank(record: JobRecord) -> tuple[int, float, float]:
        if record.id in first:
            return -1, 0.0, 0.0
        if record.workers:
            return 2, load(record), record.connected_at or 0.0
        return (0 if record.state.is_waiting else 1), 0.0, -record.submitted_at

    return sorted(capacity, key=rank)[:count]
