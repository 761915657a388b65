"""The policy, how many jobs of each group there should be: a pure function of demand, of what there is, and the past.

Three questions are answered for each group. How many jobs are worth their start for the work that is known; what is not
known is guessed, and while jobs wait, guessed boldlier. How many of these still help, where those that are here or on
their way work meanwhile. And how long a job without work is kept: to end one and to start another later has a price, a
start and a wait; a job leaves at once if nothing will come within that price, and is kept if pauses of this group were
shorter before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from corral.scaling.views import Decision, Needed, Past, Preference, Rules, Size, View
from corral.scaling.workload import Demand, Kind, Load, Need, Share, shares

#: So many jobs are worth it in any case.
HANDFUL = 4
#: A job should work for so many times as long as it takes to start, whatever an hour of waiting is worth.
LEAST_WORTH, MOST_WORTH = 1.0, 30.0
#: Seconds from a job's start to its workers, until one has come.
USUAL_START = 30.0
#: While nothing is known of how long tasks take: so many jobs for the root of those that could have something to do ...
ROOT = 2.5
#: ... times 1 and the root of how often jobs have waited for so long (s), up to so much.
PACE, BOLDEST, STEP = 15.0, 4.0, math.sqrt(2)
#: Unless something is known, at most so many times as many jobs as work already: a wrong guess must not explode.
GROWTH = 4.0
#: What was asked for at a guess is cancelled where it is more than so many times what is needed.
WRONG = 4.0
#: Waiting jobs are kept for as long as new ones usually take to come, within these limits (s).
SHORTEST_PATIENCE, LONGEST_PATIENCE = 60.0, 3600.0
#: What comes next is asked for when it is nearer than so many times as long as jobs take to come.
AHEAD = 1.5
#: Jobs that have nothing to do leave after so long, if nothing speaks for them (s).
PROMPT = 2.0
#: While nothing is known of pauses, idle jobs are kept for so many starts, or for such a part of what a new one waits.
CREDIT, PART = 1.5, 1 / 8
#: Idle jobs are kept for so many times the pauses that are worth it; the latest pauses count.
MARGIN, PAUSES = 2.0, 6
#: Workers should not be fuller than this with results.
FULL = 0.6


@frozen(kw_only=True)
class _Outlook:
    """What can be foreseen for a group."""

    view: View
    #: What there is to do now, in the time that is worth it, and at once.
    now: Share
    at_once: Share
    #: What comes next, and the same if jobs have to be kept for it from now on.
    next: Share
    next_if_kept: Share
    #: Seconds that a new job takes to come, and that those took that have come: of others, if none has.
    delay: float
    usual: float
    #: Seconds of a job that it costs to end it and to have another one later: its start, and the wait for it.
    price: float
    #: Seconds of workers of other groups that could do this work.
    help: float = 0.0


def decide(demand: Demand, views: Sequence[View], past: Mapping[str, Past], now: float, rules: Rules) -> Decision:
    """The size of each group."""
    floors = _memory_floors(views)
    horizon, end = _horizon(demand, views)
    outlooks, unmet = _outlooks(demand, views, rules, horizon)
    sizes: dict[str, Size] = {}
    memory: dict[str, Past] = {}
    for outlook in outlooks:
        view = outlook.view
        before = past.get(view.kind.name, Past())
        least = max(floors[view.kind.name], view.minimum)
        has_work = _jobs(view, outlook.now)
        is_in_the_way = any(_is_starved(other) for other in outlooks if other is not outlook)
        wanted = _wanted(outlook, before, least)
        needed = max(wanted, least, min(HANDFUL, _jobs(view, outlook.at_once)), has_work)
        if demand.blocked and not is_in_the_way:
            if horizon <= AHEAD * outlook.delay:
                wanted = max(wanted, _jobs(view, outlook.next))
            if horizon <= outlook.price:
                needed = max(needed, _jobs(view, outlook.next_if_kept, root=0.0))
        needed = max(needed, wanted)
        after = _remembered(before, outlook, needed, has_work, now)
        if wanted > view.size:
            size = Size(jobs=wanted)
        else:
            keep = PROMPT if is_in_the_way else _keep(outlook, after, end)
            least_keep = _credit(outlook)
            if rules.idle_timeout is not None:
                keep = least_keep = rules.idle_timeout
            size = _shrunk(view, needed, after, now, keep=keep, credit=least_keep, delay=outlook.delay)
        sizes[view.kind.name] = evolve(size, jobs=int(min(size.jobs, view.maximum)))
        memory[view.kind.name] = after
    return Decision(sizes=_within(views, sizes, rules), past=memory, unmet=unmet)


# --- what can be foreseen ---------------------------------------------------------------------------------------


def _outlooks(
    demand: Demand, views: Sequence[View], rules: Rules, horizon: float
) -> tuple[Sequence[_Outlook], tuple[Need, ...]]:
    kinds = [view.kind for view in views]
    waits = {view.kind.name: sorted(view.waits)[len(view.waits) // 2] for view in views if view.waits}
    upcoming = [evolve(load, ready=load.upcoming, assigned=0, finishing=0) for load in demand.loads if load.upcoming]

    def divided(loads: Iterable[Load], targets: Mapping[str, float]) -> tuple[Mapping[str, Share], tuple[Need, ...]]:
        loads, overflow = list(loads), dict[str, float]()
        while True:
            found, unmet = shares(
                loads, kinds, targets=targets, guess=rules.unknown_duration, waits=waits, overflow=overflow
            )
            free = {view.kind.name: view for view in views if view.kind.is_free and view.kind.name not in overflow}
            jobs = {name: _jobs(view, found[name]) for name, view in free.items()}
            # What they are too small for is for others. Who bounds a group that costs something wants nothing dearer.
            full = {name: 1 - view.maximum / jobs[name] for name, view in free.items() if jobs[name] > view.maximum}
            if not full:
                return found, unmet
            overflow |= full

    at_once, _ = divided(demand.loads, dict.fromkeys((kind.name for kind in kinds), rules.target_duration))
    targets = {view.kind.name: _target(view, at_once[view.kind.name], rules) for view in views}
    current, unmet = divided(demand.loads, targets)
    following, _ = divided(upcoming, targets)
    kept, _ = divided(upcoming, {name: max(target, min(horizon, 1e6)) for name, target in targets.items()})
    found = []
    for view in views:
        name = view.kind.name
        delay = _delay(view, views)
        found.append(
            _Outlook(
                view=view,
                now=current[name],
                at_once=at_once[name],
                next=following[name],
                next_if_kept=kept[name],
                delay=delay,
                usual=max(
                    (_usual_wait(other) for other in ([view] if view.waits else views) if other.waits), default=0.0
                ),
                price=_start(view) + _haste(view, rules.prefer) * max(delay, _start(view)),
                help=sum(
                    max(0.0, _capacity(other, delay) - current[other.kind.name].work)
                    * _likeness(other.kind, view.kind, current[name])
                    for other in views
                    if other is not view
                ),
            )
        )
    return found, unmet


def _horizon(demand: Demand, views: Sequence[View]) -> tuple[float, float]:
    """Seconds until what is ready or runs will be done, and until what comes next will be, as far as that is known."""
    threads = sum(view.size * view.kind.workers * view.kind.threads for view in views)
    is_empty = not any(view.connected for view in views)
    wait = max((view.expected_wait for view in views if view.coming), default=0.0) if is_empty else 0.0
    horizon = demand.horizon(threads, wait)
    return horizon, horizon + demand.beyond(threads) if demand.blocked else horizon


def _delay(view: View, views: Sequence[View]) -> float:
    """How long a new job would take to come (s): as others say, if none has come yet."""
    if view.waits:
        return _usual_wait(view)
    # Even while its first ones wait: that they have not waited for long yet says nothing.
    return max((_usual_wait(other) for other in views), default=0.0)


def _usual_wait(view: View) -> float:
    """The quickest that can be hoped for (s): a job that comes too late is better than work without one."""
    return sorted(view.waits)[len(view.waits) // 4] if view.waits else view.expected_wait


def _start(view: View) -> float:
    """Seconds from a job's start to its workers; if no start was seen, no more than the quickest took in all."""
    return sorted(view.starts)[len(view.starts) // 2] if view.starts else min((USUAL_START, *view.waits))


def _target(view: View, share: Share, rules: Rules) -> float:
    """In how many seconds work should be done: a job that works for less time than it starts is not worth it."""
    if not rules.is_thrifty:
        return rules.target_duration
    start = _start(view)
    worth = rules.prefer.worth
    if rules.prefer.hour is not None:
        # Of all sizes this one costs least: the sum of what all starts cost, and of what the time is worth.
        work = (share.work + share.widest * rules.unknown_duration) / view.kind.workers
        worth = math.sqrt(_cost(view.kind, rules.prefer) * work / (rules.prefer.hour * max(start, 1.0)))
        worth = min(MOST_WORTH, max(LEAST_WORTH, worth))
    return max(rules.target_duration, worth * start)


def _haste(view: View, prefer: Preference) -> float:
    """How many seconds of a job a second of waiting for it is worth."""
    if prefer.hour is None:
        return prefer.haste
    return prefer.hour / (_cost(view.kind, prefer) * max(1, view.connected))


def _cost(kind: Kind, prefer: Preference) -> float:
    """Core-hours of one hour of a job."""
    return kind.cores + prefer.gpu_price * kind.gpus


def _capacity(view: View, seconds: float) -> float:
    """What its workers will do in so many seconds; those that wait come in the middle of it."""
    return (view.connected + view.coming / 2) * view.kind.workers * seconds


def _likeness(other: Kind, own: Kind, share: Share) -> float:
    """How many workers of its own kind one of another kind is worth for this work."""
    if share.time_needed > other.lifetime:
        return 0.0
    return min((other.room(need) / own.room(need) for need in share.needs), default=0.0)


def _is_starved(outlook: _Outlook) -> bool:
    """True if its jobs wait longer than usual for their turn, and are needed: idle ones of others may be in the way."""
    view = outlook.view
    waits_long = view.coming and view.expected_wait > outlook.usual + USUAL_START
    return bool(waits_long and _jobs(view, outlook.now) > view.connected)


# --- how many ---------------------------------------------------------------------------------------------------


def _wanted(outlook: _Outlook, past: Past, least: int) -> int:
    """How many jobs are worth being asked for, for what is ready or runs."""
    view = outlook.view

    def rest(share: Share) -> float:
        # Where work recurs, jobs that come too late for it do not come too late.
        if _worth_keeping(past.pauses, outlook.price):
            return 1.0
        if not share.work or not (view.waits or outlook.help):
            return 1.0
        done = _capacity(view, max(outlook.delay, view.expected_wait)) + outlook.help
        return max(0.0, 1.0 - done / share.work)

    quickly = min(HANDFUL, _jobs(view, outlook.at_once, rest=rest(outlook.at_once)))
    return max(least, quickly, _jobs(view, outlook.now, rest=rest(outlook.now)))


def _jobs(view: View, share: Share, *, rest: float = 1.0, root: float = ROOT) -> int:
    """Jobs that have something to do; `rest` is the part of the known work that is left for them."""
    # While jobs wait, nothing is learnt, and to ask again later means to wait again: the guess grows.
    # In a few large steps: each is a submission.
    bold = min(BOLDEST, STEP ** round(math.log(1 + math.sqrt(view.expected_wait / PACE), STEP)))
    guessed = min(share.widest, bold * max(share.guessed, root * math.sqrt(share.widest * view.kind.workers)))
    most = GROWTH * view.connected * view.kind.workers
    workers = rest * share.workers + share.long + min(max(share.unknown, guessed), max(guessed, most))
    return max(1, math.ceil(round(workers / view.kind.workers, 6))) if workers else 0


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


def _keep(outlook: _Outlook, past: Past, end: float) -> float:
    """How long an idle job is kept for what nobody knows yet (s); all that is known is done in `end` seconds."""
    credit = _credit(outlook)
    if end > (outlook.price if past.pauses else min(credit, outlook.price)):
        return PROMPT
    return max(PROMPT, _worth_keeping(past.pauses, outlook.price) if past.pauses else min(credit, outlook.price))


def _credit(outlook: _Outlook) -> float:
    return max(CREDIT * _start(outlook.view), PART * outlook.delay)


def _worth_keeping(pauses: Sequence[float], price: float) -> float:
    """For how long idle jobs would best have been kept in these pauses (s): what they cost, or to start them again."""

    def cost(keep: float) -> float:
        return sum(pause if pause <= keep else keep + price for pause in pauses)

    return min((0.0, *(MARGIN * pause for pause in pauses if pause <= price)), key=cost)


def _remembered(past: Past, outlook: _Outlook, needed: int, has_work: int, now: float) -> Past:
    """The past with the present: what may still be the largest need of its time, and the latest pauses."""
    view = outlook.view
    is_guess = outlook.now.guessed > 0
    patience = min(LONGEST_PATIENCE, max(SHORTEST_PATIENCE, outlook.delay))

    def counts(before: Needed) -> bool:
        was_wrong = before.is_guess and has_work and not is_guess and before.jobs > WRONG * needed
        return before.jobs > needed and now - before.at < patience and not was_wrong

    larger = tuple(filter(counts, past.needed))
    past = evolve(past, needed=(*larger, Needed(at=now, jobs=needed, is_guess=is_guess)))
    busy = view.connected - len(view.idle)
    if 2 * max(busy, has_work) >= past.peak:
        past = evolve(past, peak=max(past.peak, busy))
        return past if past.paused_at is None else _after_pause(past, now)
    if past.paused_at is None:
        return evolve(past, paused_at=now)
    if now - past.paused_at > 2 * outlook.price:
        # It was not worth it, whatever comes.
        return evolve(_after_pause(past, now), peak=max(busy, has_work))
    return past


def _after_pause(past: Past, now: float) -> Past:
    seconds = now - (past.paused_at or now)
    pauses = (*past.pauses, seconds)[-PAUSES:] if seconds > PROMPT else past.pauses
    return evolve(past, paused_at=None, pauses=pauses)


def _shrunk(view: View, needed: int, past: Past, now: float, *, keep: float, credit: float, delay: float) -> Size:
    """The group less what was of no use for long enough."""
    # Waiting jobs: as many are kept as were needed at any time within their patience.
    largest = max(before.jobs for before in past.needed)
    cancel = min(view.coming, max(0, view.size - max(largest, needed)))
    # Idle jobs: enough of those that are here stay, and who has worked little is not kept for long.
    tired = [job for job in view.idle if now - job.since >= min(keep, max(credit, job.since - job.came_at))]
    tired.sort(key=lambda job: (job.leaves_at or math.inf, job.stored, job.id))
    release = tuple(job.id for job in tired[: max(0, view.connected - needed)])
    if release and delay <= credit:
        # Those that wait would take their places at once, and have nothing to do either.
        cancel = view.coming
    return Size(jobs=view.size - cancel - len(release), release=release)


# --- the cluster as a whole -------------------------------------------------------------------------------------


def _within(views: Sequence[View], sizes: Mapping[str, Size], rules: Rules) -> dict[str, Size]:
    """The same sizes within the bounds of the whole cluster, which count workers."""
    found = dict(sizes)
    by_price = sorted(views, key=lambda view: (not view.kind.is_free, *view.kind.size_of_worker))
    excess = _workers(views, found) - rules.maximum
    if excess > 0:

        def first(view: View) -> int:
            # A group that has nothing gets its first job, if need be from what others have: none must starve.
            return max(view.minimum, min(1, found[view.kind.name].jobs))

        def present(view: View) -> int:
            return max(first(view), view.size)

        def not_free(view: View) -> int:
            return found[view.kind.name].jobs if view.kind.is_free else present(view)

        for lowest in (not_free, present, first, lambda _: 0):
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
