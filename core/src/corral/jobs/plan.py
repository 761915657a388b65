"""What to do next for one group of jobs: pure functions of what is wanted, what is known, and the time.

The engine calls `plan` whenever something changed and carries out what it returns; `draw_conclusions` turns the ends of
jobs into what the group remembers. Nothing here waits, talks or logs, so that a test can ask about any situation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import evolve, frozen

from corral.jobs.record import HEALTHY_AFTER, JobRecord, Outcome, StopReason, outcome
from corral.plugin.values import JobId, JobState

#: So many deaths in a row, and the group stops.
STRIKES = 3
#: Two jobs cancelled from outside within this time are a wish, one is an accident (s).
WISH_WINDOW = 600.0
#: The time over which replacements are counted (s).
REPLACEMENT_WINDOW = 3600.0
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
class GroupState:
    """What a group wants, and what it remembers of its jobs."""

    #: Jobs wanted.
    wanted: int = 0
    #: Deaths in a row, and when the first of them was seen.
    strikes: int = 0
    struck_at: float | None = None
    #: The breaker has tripped: nothing is submitted until somebody scales again.
    broken: bool = False
    #: The batch system refuses this group's jobs: nothing is submitted until somebody scales again.
    rejected: bool = False
    #: Jobs lost and not yet replaced.
    losses: int = 0
    #: When each replacement of the last hour was submitted.
    replaced: tuple[float, ...] = ()
    #: When jobs were cancelled from outside and replaced, in the last ten minutes.
    accidents: tuple[float, ...] = ()
    #: When the target was last lowered because jobs were cancelled from outside.
    wish_at: float | None = None
    #: A transient failure or a limit: no submission before this moment.
    not_before: float = 0.0
    #: Submissions that failed in a row for a transient cause or a limit.
    setbacks: int = 0
    #: Somebody else's wish: no more jobs than this, until somebody scales again.
    ceiling: int | None = None
    #: Jobs that should go first if there are too many.
    release: frozenset[JobId] = frozenset()

    @property
    def is_stopped(self) -> bool:
        return self.broken or self.rejected


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


def rescaled(state: GroupState, wanted: int) -> GroupState:
    """The group after somebody asked for `wanted` jobs: what stopped it is forgiven."""
    return GroupState(wanted=wanted, replaced=state.replaced)


def resized(state: GroupState, wanted: int, release: Iterable[JobId] = ()) -> GroupState:
    """The group after the policy has spoken: nothing is forgiven.

    Parameters
    ----------
    release
        Jobs that should go first if there are too many.
    """
    # Lost jobs that nobody misses any more need no replacement.
    losses = max(0, state.losses - max(0, state.wanted - wanted))
    return evolve(state, wanted=wanted, losses=losses, release=frozenset(release))


def lasts(record: JobRecord, now: float, lead: float) -> bool:
    """False if the job leaves so soon that another one must be on its way."""
    return record.works_until is None or record.works_until - lead > now


def draw_conclusions(state: GroupState, ended: Sequence[JobRecord], now: float) -> GroupState:
    """The group after these jobs have ended, all seen in one poll."""
    by_outcome: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
    for record in ended:
        by_outcome[outcome(record)] += 1

    if cancelled := by_outcome[Outcome.OPERATOR]:
        accidents = tuple(moment for moment in state.accidents if now - moment < WISH_WINDOW)
        wish_is_recent = state.wish_at is not None and now - state.wish_at < WISH_WINDOW
        if cancelled + len(accidents) >= 2 or wish_is_recent:
            # The replacements of the accidents go too: together they were the wish.
            lowered = max(0, state.wanted - cancelled - len(accidents))
            state = evolve(state, wanted=lowered, ceiling=lowered, accidents=(), wish_at=now)
        else:
            state = evolve(state, losses=state.losses + cancelled, accidents=(*accidents, now))

    if died := by_outcome[Outcome.DIED]:
        strikes = state.strikes + died
        struck_at = now if state.struck_at is None else state.struck_at
        state = evolve(state, strikes=strikes, struck_at=struck_at, broken=state.broken or strikes >= STRIKES)
    # Those that left in good time have been replaced already.
    replaced = sum(1 for record in ended if outcome(record) is Outcome.LOST and record.leaving not in ("", "signal"))
    return evolve(state, losses=state.losses + by_outcome[Outcome.LOST] - replaced + died)


def proved(state: GroupState, records: Iterable[JobRecord], now: float) -> GroupState:
    """The group with its strikes forgiven if, after the first of them, a job has shown that it works."""
    if state.struck_at is None or state.broken:
        return state
    for record in records:
        if record.connected_at is not None and not record.has_ended:
            if state.struck_at <= record.connected_at + HEALTHY_AFTER <= now:
                return evolve(state, strikes=0, struck_at=None)
    return state


def plan(
    state: GroupState,
    records: Sequence[JobRecord],
    now: float,
    *,
    submitting: int = 0,
    replacements_per_hour: int | None = None,
    load: Callable[[JobRecord], float] = lambda _: 0.0,
    lead: float = 0.0,
) -> Plan:
    """What to do for a group.

    Parameters
    ----------
    records
        Its jobs; those that have ended may be among them.
    submitting
        Jobs of submissions that are under way.
    replacements_per_hour
        None: as many as are wanted, but at least 3.
    load
        What stands against ending a connected job; the least loaded go first.
    lead
        So many seconds before a job leaves, it no longer counts: its replacement has that long to come.
    """
    living = [record for record in records if record.ended_at is None]
    silent: set[JobId] = set()
    again: list[float] = []
    cancel: list[tuple[JobRecord, StopReason]] = []

    for record in living:
        if record.stop_reason is not None:
            if record.retire_asked_at is not None and record.cancel_asked_at is None:
                if record.workers:
                    continue
                due = record.retire_asked_at + RETIRED_GRACE
            elif record.cancel_asked_at is not None:
                if record.is_cancel_accepted and record.spared_at is None:
                    continue  # it was accepted: whether it has worked, the next answer shows
                due = record.cancel_asked_at + pause_before_cancelling(record.cancellations)
            else:
                due = now
            if due <= now:
                cancel.append((record, record.stop_reason))
            else:
                again.append(due)
        elif (silence := _end_of_patience(record)) is not None:
            due, stop_reason = silence
            if due <= now:
                silent.add(record.id)
                cancel.append((record, stop_reason))
            else:
                again.append(due)

    capacity = [record for record in living if record.is_capacity and record.id not in silent]
    lasting: list[JobRecord] = []
    expiring: list[JobRecord] = []
    for record in capacity:
        if lasts(record, now, lead):
            lasting.append(record)
        else:
            expiring.append(record)
    again += [record.works_until - lead for record in lasting if record.works_until is not None]
    if state.broken:
        cancel += [(record, StopReason.BREAKER) for record in capacity if record.state.is_waiting]
        return Plan(cancel=tuple(cancel), again_at=min(again, default=None))

    # Jobs under way cannot be taken back: if they are too many, they are surplus when they are known.
    victims = _least_useful(lasting, max(0, len(lasting) - state.wanted), load, state.release)
    if victims and lead:
        victims = _without_relief(victims, lasting, now, lead, state.release)
    cancel += [(record, StopReason.SURPLUS) for record in victims if not record.workers]
    # Those that will leave anyway go as soon as enough others work; the nearest to its end first.
    retire = [record for record in victims if record.workers]
    working = sum(1 for record in lasting if record.workers) - len(retire)
    relieved = sorted(expiring, key=lambda record: record.works_until or 0.0)
    retire += relieved[: max(0, working + len(expiring) - state.wanted)]

    # Jobs that could not be cancelled yet are there all the same: never are there more than asked for.
    missing = state.wanted - len(lasting) - submitting - sum(record.is_lingering for record in living)
    submit = replacements = withheld = 0
    if missing > 0 and not state.is_stopped:
        if now < state.not_before:
            again.append(state.not_before)
        else:
            limit = max(3, state.wanted) if replacements_per_hour is None else replacements_per_hour
            recent = [moment for moment in state.replaced if now - moment < REPLACEMENT_WINDOW]
            lost = min(missing, state.losses)
            replacements = min(lost, max(0, limit - len(recent)))
            withheld = lost - replacements
            submit = missing - withheld
            if withheld and recent:
                again.append(min(recent) + REPLACEMENT_WINDOW)
    return Plan(
        submit=submit,
        replacements=replacements,
        cancel=tuple(cancel),
        retire=tuple(retire),
        withheld=withheld,
        again_at=min(again, default=None),
    )


def pause_before_cancelling(cancellations: int) -> float:
    """How long after so many cancellations another one may follow (s): 5, 10, 20, 40 and so on."""
    return min(CANCEL_AGAIN_WITHIN, CANCEL_AGAIN_AFTER * 2.0 ** min(20, max(0, cancellations - 1)))


def submitted(state: GroupState, replacements: int, now: float) -> GroupState:
    """The group after a submission, in which so many jobs replace lost ones."""
    recent = tuple(moment for moment in state.replaced if now - moment < REPLACEMENT_WINDOW)
    return evolve(
        state,
        losses=max(0, state.losses - replacements),
        replaced=recent + (now,) * replacements,
        setbacks=0,
        not_before=0.0,
    )


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
