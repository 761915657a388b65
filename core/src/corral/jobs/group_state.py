"""What a group wants and remembers, and what it concludes when its jobs end: pure functions of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from corral.jobs.record import HEALTHY_AFTER, JobRecord, Outcome, outcome
from corral.plugin.values import JobId

#: So many deaths in a row, and the group stops.
STRIKES = 3
#: Two jobs cancelled from outside within this time are a wish, one is an accident (s).
WISH_WINDOW = 600.0
#: The time over which replacements are counted (s).
REPLACEMENT_WINDOW = 3600.0


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

    @property
    def is_lowered(self) -> bool:
        """True if more would be wanted, had nobody cancelled jobs."""
        return self.ceiling is not None and self.wanted >= self.ceiling


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
