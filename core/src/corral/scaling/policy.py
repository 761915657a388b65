"""The policy, how many jobs of each group there should be: a pure function of demand, of what there is, and the past.

Growth is as quick as Dask's own: enough workers to be done within the target duration, but no more than there are
tasks. Three things differ, because jobs wait in a queue. Jobs on their way count as capacity. What would come too late
to help is not asked for. And nothing is given up in a hurry: waiting jobs stay for as long as the queue is slow, idle
ones for minutes, and a group that has grown does not shrink for one idle time-out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from attrs import evolve, field, frozen

from corral.plugin.values import JobId
from corral.scaling.workload import Demand, Kind, Need, Share, shares

#: Between these, idle jobs are kept for as long as new ones usually take to come (s).
SHORTEST_IDLE_TIMEOUT = 120.0
LONGEST_IDLE_TIMEOUT = 300.0
#: The longest that waiting jobs are kept without demand (s).
LONGEST_PATIENCE = 3600.0
#: Idle jobs leave after this part of the time-out if no work is in sight, or if they have never had any.
EARLY = 0.25
#: A job should work for so many times as long as it takes to start; so many jobs are worth it in any case.
WORTH = 2.0
HANDFUL = 8
#: Idle jobs for which work will come are kept for this part of the time that new ones take to come, within a limit (s).
FORESIGHT, LONGEST_FORESIGHT = 0.25, 1800.0
#: How many times over tasks of unknown duration are taken for longer than the guess while jobs wait.
BOLDEST = 4.0
#: Workers should not be fuller than this with results.
FULL = 0.6


@frozen(kw_only=True)
class Rules:
    """What `Cluster.adapt` was asked for, for the cluster as a whole."""

    #: Workers.
    minimum: int = 0
    maximum: float = math.inf
    #: Seconds that what waits should take.
    target_duration: float = 5.0
    #: Take longer where jobs take long to start.
    is_thrifty: bool = True
    #: Seconds that a job may be idle; None: as long as the queue is slow, within limits.
    idle_timeout: float | None = None
    #: Seconds that a task of unknown duration is taken for.
    unknown_duration: float = 0.5


@frozen(kw_only=True)
class IdleJob:
    """A job whose workers all have nothing to do."""

    id: JobId
    since: float
    #: When it leaves anyway; None: not known.
    leaves_at: float | None = None
    #: Bytes of results that it holds.
    stored: int = 0
    #: It has had no task yet.
    is_unused: bool = False


@frozen(kw_only=True)
class View:
    """A group as it is now. Jobs that leave, or will before another could come, are not counted."""

    kind: Kind
    #: Jobs that must be there, and that may be.
    minimum: int = 0
    maximum: float = math.inf
    #: Jobs that have workers.
    connected: int = 0
    #: Jobs that are being submitted, wait in the queue, or start.
    coming: int = 0
    idle: Sequence[IdleJob] = ()
    #: Seconds that the latest jobs took from their submission to their first worker.
    waits: Sequence[float] = ()
    #: Seconds of these in which they ran already.
    starts: Sequence[float] = ()
    #: Seconds that those who wait now have waited, or are expected to, whichever is more.
    expected_wait: float = 0.0
    #: Bytes of results that its workers hold.
    stored: int = 0

    @property
    def size(self) -> int:
        return self.connected + self.coming


@frozen(kw_only=True)
class Past:
    """What is remembered of a group."""

    grown_at: float = -math.inf
    #: What was needed, and when: the latest for each size that no later one reached.
    needed: tuple[tuple[float, int], ...] = ()


@frozen(kw_only=True)
class Size:
    """What a group should be."""

    jobs: int
    #: Idle jobs that should leave.
    release: tuple[JobId, ...] = ()


@frozen(kw_only=True)
class Decision:
    """What should be, and what to remember."""

    sizes: Mapping[str, Size]
    past: Mapping[str, Past] = field(factory=dict)
    #: What tasks ask for and no group has.
    unmet: tuple[Need, ...] = ()


def decide(demand: Demand, views: Sequence[View], past: Mapping[str, Past], now: float, rules: Rules) -> Decision:
    """The size of each group."""
    kinds = [view.kind for view in views]
    quick, unmet = _shares(demand, kinds, {view.kind.name: rules.target_duration for view in views}, rules)
    parts, _ = _shares(demand, kinds, {view.kind.name: _target(view, rules) for view in views}, rules)
    floors = _memory_floors(views)
    sizes: dict[str, Size] = {}
    memory: dict[str, Past] = {}
    for view in views:
        name = view.kind.name
        least = max(floors[name], view.minimum, min(HANDFUL, _jobs(view, quick[name])))
        needed = max(least, _jobs(view, parts[name]))
        least = max(floors[name], view.minimum, min(HANDFUL, _jobs(view, quick[name], rest=_rest(view, quick[name]))))
        wanted = max(least, _jobs(view, parts[name], rest=_rest(view, parts[name])))
        before = past.get(name, Past())
        after = evolve(before, needed=_remembered(before.needed, now, needed, _patience(view, rules)))
        if wanted > view.size:
            size = Size(jobs=wanted)
        else:
            size = _shrunk(view, needed, after, now, demand, rules)
        sizes[name] = evolve(size, jobs=int(min(size.jobs, view.maximum)))
        memory[name] = after
    sizes = _within(views, sizes, rules)
    for view in views:
        name = view.kind.name
        if sizes[name].jobs > view.size:
            memory[name] = evolve(memory[name], grown_at=now)
    return Decision(sizes=sizes, past=memory, unmet=unmet)


def idle_timeout(view: View, rules: Rules) -> float:
    """How long a job of this group may be idle (s): what came soon is let go soon."""
    if rules.idle_timeout is not None:
        return rules.idle_timeout
    return min(LONGEST_IDLE_TIMEOUT, max(SHORTEST_IDLE_TIMEOUT, _typical_wait(view)))


# --- how many ---------------------------------------------------------------------------------------------------


def _shares(
    demand: Demand, kinds: Sequence[Kind], targets: Mapping[str, float], rules: Rules
) -> tuple[Mapping[str, Share], tuple[Need, ...]]:
    return shares(demand.loads, kinds, targets=targets, guess=rules.unknown_duration)


def _jobs(view: View, share: Share, rest: float = 1.0) -> int:
    """Jobs that have something to do; `rest` is the part of the known work that is left for them."""
    # While jobs wait, nothing is learnt, and to ask again later means to wait again: the guess grows, but not for long.
    guessed = min(share.widest, share.guessed * min(BOLDEST, 1 + view.expected_wait / 60))
    # Unless something is known, at most twice as many as work already: a wrong guess must not explode.
    twice = 2.0 * view.connected * view.kind.workers
    workers = rest * share.workers + share.long + min(max(share.unknown, guessed), max(guessed, twice))
    if not workers:
        return 0
    return max(1, math.ceil(round(workers / view.kind.workers, 6)))


def _rest(view: View, share: Share) -> float:
    """The part of the known work that will be left when new jobs come: what there is works meanwhile."""
    if not view.waits or not share.work:
        return 1.0
    # The quickest that can be hoped for: a job that comes too late is better than work without one.
    delay = max(sorted(view.waits)[len(view.waits) // 4], view.expected_wait)
    # Those that wait already come before new ones: about half of the time is theirs.
    done = (view.connected + view.coming / 2) * view.kind.workers * delay
    return max(0.0, 1.0 - done / share.work)


def _target(view: View, rules: Rules) -> float:
    """In how many seconds work should be done: a job that works for less time than it starts is not worth it."""
    if not rules.is_thrifty or not view.starts:
        return rules.target_duration
    return max(rules.target_duration, WORTH * sorted(view.starts)[len(view.starts) // 2])


def _memory_floors(views: Sequence[View]) -> dict[str, int]:
    """Jobs of each group without which results would have no place.

    Groups can take each other's, but not all of them at once: each relies on those that come before it.
    """
    floors: dict[str, int] = {}
    spare = 0.0
    for view in sorted(views, key=lambda view: (view.kind.gpus, view.kind.cores)):
        room = FULL * view.kind.memory * view.kind.workers
        homeless = view.stored - spare
        floor = math.ceil(homeless / room) if homeless > 0 and room else int(homeless > 0)
        floors[view.kind.name] = floor
        spare = max(0.0, spare + floor * room - view.stored)
    return floors


# --- how long ---------------------------------------------------------------------------------------------------


def _typical_wait(view: View) -> float:
    """How long a new job would take to come (s)."""
    learnt = sorted(view.waits)[len(view.waits) // 2] if view.waits else 0.0
    return max(learnt, view.expected_wait)


def _patience(view: View, rules: Rules) -> float:
    """How long waiting jobs are kept without demand (s): what was waited for long is not given up soon."""
    return max(idle_timeout(view, rules), min(LONGEST_PATIENCE, _typical_wait(view)))


def _remembered(
    needed: tuple[tuple[float, int], ...], now: float, jobs: int, patience: float
) -> tuple[tuple[float, int], ...]:
    """The past with what is needed now; only what may still be the largest of its time is kept."""
    larger = [(moment, count) for moment, count in needed if count > jobs and now - moment < patience]
    return (*larger, (now, jobs))


def _shrunk(view: View, needed: int, past: Past, now: float, demand: Demand, rules: Rules) -> Size:
    """The group less what was of no use for long enough."""
    timeout = idle_timeout(view, rules)
    if demand.blocked and rules.idle_timeout is None:
        timeout = max(timeout, min(LONGEST_FORESIGHT, FORESIGHT * _typical_wait(view)))
    is_quiet = demand.is_quiet_for(timeout)
    if now - past.grown_at < timeout:
        return Size(jobs=view.size)
    # Waiting jobs: as many are kept as were needed at any time within their patience.
    largest = max((count for _, count in past.needed), default=0)
    cancel = min(view.coming, max(0, view.size - max(largest, needed)))
    # Idle jobs: no more leave than leaves enough of those that are here.
    spare = min(view.connected - needed, view.size - cancel - view.minimum)
    tired = [job for job in view.idle if now - job.since >= (timeout * EARLY if is_quiet or job.is_unused else timeout)]
    tired.sort(key=lambda job: (job.leaves_at or math.inf, job.stored, job.id))
    release = tuple(job.id for job in tired[: max(0, spare)])
    return Size(jobs=view.size - cancel - len(release), release=release)


# --- the cluster as a whole -------------------------------------------------------------------------------------


def _within(views: Sequence[View], sizes: Mapping[str, Size], rules: Rules) -> dict[str, Size]:
    """The same sizes within the bounds of the whole cluster, which count workers."""
    found = dict(sizes)
    by_price = sorted(views, key=lambda view: (view.kind.gpus, view.kind.cores / view.kind.workers, view.kind.memory))
    excess = _workers(views, found) - rules.maximum
    if excess > 0:

        def first(view: View) -> int:
            # A group that has nothing gets its first job, if need be from what others have: none must starve.
            return max(view.minimum, min(1, found[view.kind.name].jobs))

        for lowest in (lambda view: max(first(view), view.size), first, lambda _: 0):
            excess = _lower(views, found, excess, lowest)
    missing = rules.minimum - _workers(views, found)
    for view in by_price:
        if missing <= 0:
            break
        name = view.kind.name
        if view.kind.is_open:
            jobs = int(min(found[name].jobs + math.ceil(missing / view.kind.workers), view.maximum))
            kept = max(0, len(found[name].release) - (jobs - found[name].jobs))
            missing -= max(0, jobs - found[name].jobs) * view.kind.workers
            found[name] = Size(jobs=max(jobs, found[name].jobs), release=found[name].release[:kept])
    return found


def _lower(views: Sequence[View], sizes: dict[str, Size], excess: float, lowest: Callable[[View], int]) -> float:
    """Take workers from all groups, from each as large a part of what it can lose; returns the excess that is left."""
    loose = {view.kind.name: max(0, sizes[view.kind.name].jobs - lowest(view)) for view in views}
    total = sum(loose[view.kind.name] * view.kind.workers for view in views)
    if not total:
        return excess
    part = min(1.0, excess / total)
    for view in views:
        name = view.kind.name
        taken = math.ceil(round(loose[name] * part, 6))
        taken = min(taken, math.ceil(excess / view.kind.workers), loose[name]) if excess > 0 else 0
        excess -= taken * view.kind.workers
        sizes[name] = evolve(sizes[name], jobs=sizes[name].jobs - taken)
    return excess


def _workers(views: Sequence[View], sizes: Mapping[str, Size]) -> int:
    return sum(sizes[view.kind.name].jobs * view.kind.workers for view in views)
