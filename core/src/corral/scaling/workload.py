"""What waits to be computed, what kinds of workers there can be, and which kind is for which tasks: pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

if TYPE_CHECKING:
    from corral.jobs.group import Group

#: What a task asks of its worker, by name of a Dask resource; empty: nothing. Sorted.
Need = tuple[tuple[str, float], ...]

#: A task that was seen to run for so long is long, although nobody knows how long (s).
LONG = 60.0
#: Nothing can be said of when tasks of unknown duration will end that have run for so long (s).
BRIEF = 5.0
#: What takes longer than it should takes so much of its time more.
LATE = 0.3
#: Of two groups that cost the same, the one comes sooner whose jobs wait so many times less long, and so much less (s).
SOONER, WORTH_WAITING = 3.0, 60.0


@frozen(kw_only=True)
class Load:
    """Tasks that ask for the same, and usually take as long as each other."""

    need: Need = ()
    #: Tasks that could run, but that no worker has.
    ready: int = 0
    #: Tasks that a worker has: some run, some wait there.
    assigned: int = 0
    #: Seconds that one takes; None: none has ended yet.
    duration: float | None = None
    #: The longest that one of them was seen to run (s).
    elapsed: float = 0.0
    #: Those of the assigned ones that jobs which leave will finish: nobody needs to come for them.
    finishing: int = 0
    #: Seconds that a worker must have left to begin one of them; 0: not known, then any will do.
    time_needed: float = 0.0
    #: Tasks that wait for nothing but tasks that are ready or run: they come next.
    upcoming: int = 0
    #: Seconds since the latest of the assigned ones was given to a worker.
    latest: float = 0.0

    @property
    def tasks(self) -> int:
        return self.ready + self.assigned - self.finishing


@frozen(kw_only=True)
class Demand:
    """Everything that is to be computed now."""

    loads: tuple[Load, ...] = ()
    #: Tasks that wait for others to end.
    blocked: int = 0

    def horizon(self, threads: float, wait: float) -> float:
        """Seconds until what runs and is ready will be done, with so many threads, which come after such a wait."""
        seconds = work = 0.0
        assigned = sum(load.assigned for load in self.loads)
        # Those beyond the threads wait at workers.
        waiting_there = max(0.0, 1 - threads / assigned) if assigned else 0.0
        for load in self.loads:
            if load.duration is None:
                if load.tasks:
                    # What has run for some time without an end may take any time.
                    seconds = max(seconds, load.latest if load.elapsed < BRIEF else math.inf)
                continue
            work += (load.ready + waiting_there * load.assigned) * load.duration
            if load.assigned:
                # What is late already is late for longer.
                seconds = max(seconds, load.duration - load.latest, LATE * load.latest)
        if work or any(load.ready for load in self.loads):
            seconds = max(seconds, wait + (work / threads if threads else 0.0))
        return seconds

    def beyond(self, threads: float) -> float:
        """Seconds that what comes next will take then, as far as that is known."""
        known = [load for load in self.loads if load.upcoming and load.duration is not None]
        longest = max((load.duration or 0.0 for load in known), default=0.0)
        work = sum(load.upcoming * (load.duration or 0.0) for load in known)
        return max(longest, work / threads if threads else 0.0)


@frozen(kw_only=True)
class Kind:
    """One kind of job, as far as tasks are concerned."""

    name: str
    #: Workers of a job, and threads of a worker.
    workers: int = 1
    threads: int = 1
    #: Dask resources of each worker.
    resources: Mapping[str, float] = field(factory=dict)
    #: Bytes of each worker; 0: not known.
    memory: int = 0
    #: CPU cores of a job, and its GPUs: what it costs.
    cores: int = 1
    gpus: int = 0
    #: What its jobs use is there anyway: it costs nothing.
    is_free: bool = False
    #: False if nothing can be submitted: its jobs keep failing, or were refused.
    is_open: bool = True
    #: Seconds that a worker has when it comes; infinite: its job does not end, or nobody knows when.
    lifetime: float = math.inf
    #: Seconds that a task takes here of which nothing else is known; None: nobody has said.
    task_time: float | None = None

    @property
    def size_of_worker(self) -> tuple[float, float, float]:
        """What GPUs decide, then cores, then memory."""
        return self.gpus, self.cores / self.workers, self.memory

    def room(self, need: Need) -> int:
        """How many tasks that need this one worker runs at a time; 0: none, ever."""
        rooms = [self.threads]
        for name, amount in need:
            if amount > 0:
                rooms.append(math.floor(self.resources.get(name, 0) / amount))
        return min(rooms)

    def price(self, need: Need) -> tuple[float, float, float]:
        """What one such task costs here: GPUs, then cores, then memory decide."""
        room = self.room(need) * self.workers
        memory = self.memory / self.room(need)
        return (0.0, 0.0, memory) if self.is_free else (self.gpus / room, self.cores / room, memory)


def kind_of(group: Group) -> Kind:
    """What a group's jobs are to tasks."""
    resources = group.resources
    return Kind(
        name=group.name,
        workers=resources.workers,
        threads=resources.threads,
        resources=group.spec.worker_resources(group.name, resources),
        memory=(resources.memory or 0) // resources.processes,
        cores=resources.cores * resources.nodes,
        gpus=resources.gpus * resources.nodes,
        is_free=group.is_free,
        is_open=not group.state.is_stopped,
        lifetime=group.lifetime,
        task_time=group.spec.task_seconds,
    )


@frozen(kw_only=True)
class Share:
    """What a group is there for, in terms of its workers."""

    #: Seconds that one worker alone would take for tasks of known duration.
    work: float = 0.0
    #: Workers with which tasks of known duration are done in time.
    workers: float = 0.0
    #: The same for tasks that are long, nobody knows how long.
    long: float = 0.0
    #: The same for tasks whose duration nobody knows: one thread for each, by what they were seen to run, by a guess.
    widest: float = 0.0
    unknown: float = 0.0
    guessed: float = 0.0
    #: What its tasks ask for, and the most seconds that a worker must have left for one of them.
    needs: frozenset[Need] = frozenset()
    time_needed: float = 0.0


def shares(
    loads: Iterable[Load],
    kinds: Sequence[Kind],
    *,
    targets: Mapping[str, float],
    guess: float,
    waits: Mapping[str, float] | None = None,
    overflow: Mapping[str, float] | None = None,
) -> tuple[dict[str, Share], tuple[Need, ...]]:
    """Give each load to the group that runs it most cheaply, or that comes far sooner and needs no more cores.

    Parameters
    ----------
    targets
        By group: seconds in which each load is to be done, if every task can have a thread.
    guess
        Seconds that a task of unknown duration takes at least.
    waits
        By group, as far as that is known: seconds that its jobs usually wait.
    overflow
        By group that is too small for its share and may not be larger: the part that is for the next one.

    Returns
    -------
    tuple[dict[str, Share], tuple[Need, ...]]
        What each group is there for, and what no group has, open or not. What no job has the time for is for no group.
    """
    found = {kind.name: Share() for kind in kinds}
    unmet: list[Need] = []
    for load in loads:
        able = [kind for kind in kinds if kind.room(load.need)]
        if not able:
            if load.need not in unmet:
                unmet.append(load.need)
            continue
        rest: Load | None = load
        able = [kind for kind in able if kind.is_open]
        while rest is not None and (chosen := _chosen(able, rest, waits or {})):
            name, mine = chosen.name, rest
            if mine.duration is None and chosen.task_time is not None:
                mine = evolve(mine, duration=max(chosen.task_time, mine.elapsed))
            found[name] = _with(found[name], mine, chosen.room(mine.need), targets[name], guess)
            rest = _part(rest, (overflow or {}).get(name, 0.0))
            able.remove(chosen)
    return found, tuple(unmet)


def _part(load: Load, part: float) -> Load | None:
    """Such a part of these tasks; None if that is none of them."""
    ready, assigned, finishing = (round(part * tasks) for tasks in (load.ready, load.assigned, load.finishing))
    return evolve(load, ready=ready, assigned=assigned, finishing=finishing) if ready + assigned > finishing else None


def _chosen(kinds: Iterable[Kind], load: Load, waits: Mapping[str, float]) -> Kind | None:
    """The group that is for these tasks; None: no job has the time."""
    prices = sorted((kind.price(load.need), kind.name, kind) for kind in kinds if load.time_needed <= kind.lifetime)
    if not prices:
        return None
    (gpus, cores, _), name, cheapest = prices[0]
    rivals = [kind for price, _, kind in prices if price[:2] == (gpus, cores) and kind.name in waits]
    if name in waits and rivals:
        quickest = min(rivals, key=lambda kind: waits[kind.name])
        if waits[quickest.name] * SOONER <= waits[name] and waits[quickest.name] + WORTH_WAITING <= waits[name]:
            return quickest
    return cheapest


def _with(share: Share, load: Load, room: int, target: float, guess: float) -> Share:
    width = load.tasks / room
    if load.tasks:
        share = evolve(share, needs=share.needs | {load.need}, time_needed=max(share.time_needed, load.time_needed))
    if load.duration is not None:
        # A few long tasks among many short ones ask for few workers; and a thread runs whole tasks.
        workers = width / max(1, round(target / load.duration)) if load.duration else 0.0
        return evolve(share, work=share.work + width * load.duration, workers=share.workers + workers)
    if load.elapsed >= LONG:
        return evolve(share, long=share.long + min(1.0, 2 * load.elapsed / target) * width)
    return evolve(
        share,
        widest=share.widest + width,
        unknown=share.unknown + min(1.0, max(guess, 2 * load.elapsed) / target) * width,
        guessed=share.guessed + min(1.0, guess / target) * width,
    )
