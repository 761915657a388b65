"""How large groups should be, asked as values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corral.plugin.values import JobId
from corral.scaling.policy import Decision, IdleJob, Past, Rules, Size, View, decide
from corral.scaling.workload import Demand, Kind, Load, shares

NOW = 10_000.0
USUAL = Rules()
CPU = Kind(name="cpu", threads=8, resources={"cpu": 8, "MEMORY": 32e9}, memory=32 * 10**9, cores=8)
BIG = Kind(name="big", threads=8, resources={"big": 8, "MEMORY": 500e9}, memory=500 * 10**9, cores=8)
GPU = Kind(name="gpu", threads=4, resources={"gpu": 4, "GPU": 1, "MEMORY": 64e9}, memory=64 * 10**9, cores=4, gpus=1)
ONE = Kind(name="one", memory=10**9)


def sizes(demand: Demand, *views: View, now: float = NOW, rules: Rules = USUAL, **past: Past) -> dict[str, int]:
    return {name: size.jobs for name, size in decide(demand, views, past, now, rules).sizes.items()}


def tasks(count: int, duration: float | None = 60.0, **fields: Any) -> Demand:
    return Demand(loads=(Load(ready=count, duration=duration, **fields),))


def idle(count: int, since: float, **fields: Any) -> list[IdleJob]:
    return [IdleJob(id=JobId(str(number)), since=since, **fields) for number in range(count)]


# --- which group ------------------------------------------------------------------------------------------------


def test_each_task_is_for_the_cheapest_group_that_can_run_it() -> None:
    """GPUs cost most, then cores, then memory; what nobody has is told."""
    loads = [
        Load(ready=80, duration=60.0),
        Load(need=(("MEMORY", 100e9),), ready=10, duration=60.0),
        Load(need=(("GPU", 1.0),), ready=3, duration=60.0),
        Load(need=(("GPU", 2.0),), ready=1),
    ]
    demand = Demand(loads=tuple(loads))
    views = [View(kind=kind) for kind in (GPU, BIG, CPU)]
    # Five tasks of 100 GB fit into a worker of 500 GB at a time.
    assert sizes(demand, *views) == {"cpu": 10, "big": 2, "gpu": 3}
    assert decide(demand, views, {}, NOW, Rules()).unmet == ((("GPU", 2.0),),)


def test_a_group_that_is_stopped_is_passed_over() -> None:
    """What it cannot give is asked of the next cheapest."""
    stopped = View(kind=evolve(CPU, is_open=False))
    assert sizes(tasks(80), stopped, View(kind=BIG), View(kind=GPU)) == {"cpu": 0, "big": 10, "gpu": 0}


def test_what_no_job_has_the_time_for_asks_for_none() -> None:
    """A group whose jobs last longer has it; if there is none, nothing is asked for, and the rest is as ever."""
    long = tasks(5, 3600.0, time_needed=4000.0)
    short = View(kind=evolve(ONE, lifetime=3900.0))
    assert sizes(long, short) == {"one": 0}
    assert decide(long, [short], {}, NOW, USUAL).unmet == ()
    assert sizes(long, short, View(kind=evolve(CPU, lifetime=86000.0))) == {"one": 0, "cpu": 1}
    both = evolve(long, loads=(*long.loads, Load(ready=3, duration=60.0, time_needed=70.0)))
    assert sizes(both, short) == {"one": 3}


def test_jobs_that_leave_are_replaced_for_what_waits_and_not_for_what_they_finish() -> None:
    """Ten leave, each of which finishes a task; the last of a computation need nobody more."""
    leaving = View(kind=ONE)
    assert sizes(tasks(30, 3600.0, assigned=10, finishing=10), leaving) == {"one": 30}
    assert sizes(tasks(0, 3600.0, assigned=10, finishing=10), leaving) == {"one": 0}


def test_what_a_group_says_of_its_tasks_is_no_guess() -> None:
    """Until one was seen to run for longer."""
    said = View(kind=evolve(ONE, task_time=1800.0))
    assert sizes(tasks(500, None), said) == {"one": 500}
    assert sizes(tasks(500, None), View(kind=ONE)) == {"one": 50}
    assert sizes(tasks(500, None), View(kind=evolve(ONE, task_time=0.05))) == {"one": 5}


# --- growing ----------------------------------------------------------------------------------------------------


def test_enough_to_be_done_in_time_and_no_more_than_there_are_tasks() -> None:
    """Dask's meaning of the target duration."""
    assert sizes(tasks(100, 1.0), View(kind=ONE)) == {"one": 20}
    assert sizes(tasks(100, 60.0), View(kind=ONE)) == {"one": 100}
    assert sizes(tasks(1, 0.001), View(kind=ONE)) == {"one": 1}
    assert sizes(Demand(), View(kind=ONE)) == {"one": 0}


def test_a_few_long_tasks_among_many_short_ones_ask_for_few_workers() -> None:
    """They cannot be divided."""
    loads = (Load(ready=10_000, duration=0.001), Load(assigned=3, duration=3600.0))
    assert sizes(Demand(loads=loads), View(kind=ONE)) == {"one": 5}


def test_assigned_tasks_count() -> None:
    """A hundred thousand tasks of one worker wait there, not on the scheduler."""
    assert sizes(tasks(0, 60.0, assigned=500), View(kind=ONE, connected=1)) == {"one": 500}


def test_unknown_durations_never_explode_the_size() -> None:
    """As many as a guess asks for; then, while they run long, at most twice those that have come."""
    unknown = tasks(10_000, None, elapsed=30.0)
    assert sizes(unknown, View(kind=ONE)) == {"one": 1000}
    assert sizes(unknown, View(kind=ONE, connected=600)) == {"one": 1200}
    assert sizes(tasks(10_000, None), View(kind=ONE, connected=600)) == {"one": 1000}
    waiting = View(kind=ONE, coming=1000, expected_wait=60.0)
    assert sizes(tasks(10_000, None), waiting) == {"one": 2000}
    assert sizes(tasks(10_000, None), evolve(waiting, expected_wait=7200.0)) == {"one": 4000}
    assert sizes(tasks(500, None, elapsed=90.0), View(kind=ONE, connected=1)) == {"one": 500}, "these are long"


def test_jobs_on_their_way_are_capacity() -> None:
    """What was asked for is not asked for again."""
    assert sizes(tasks(50), View(kind=ONE, coming=50)) == {"one": 50}


def test_what_would_come_too_late_is_not_asked_for() -> None:
    """Ten workers need five minutes for fifty minutes of work, and the queue ten."""
    busy = View(kind=ONE, connected=10, waits=[600.0] * 4)
    assert sizes(tasks(50, 60.0), busy) == {"one": 10}
    assert sizes(tasks(50, 600.0), busy) == {"one": 40}
    assert sizes(tasks(50, 60.0), evolve(busy, waits=[600.0, 1.0, 1.0, 600.0])) == {"one": 50}
    assert sizes(tasks(50, 600.0), evolve(busy, coming=40, waits=[600.0])) == {"one": 50}, "more would come after them"


def test_a_job_must_be_worth_its_start() -> None:
    """Where jobs take half a minute to start, work is for a minute; unless somebody wants it done sooner."""
    slow = View(kind=ONE, starts=[30.0] * 5)
    assert sizes(tasks(600, 10.0), slow) == {"one": 100}
    assert sizes(tasks(600, 10.0), slow, rules=Rules(is_thrifty=False)) == {"one": 600}


def test_results_need_a_place() -> None:
    """Workers are not filled to the brim, and the last copy of a result keeps a worker."""
    assert sizes(Demand(), View(kind=ONE, connected=2, stored=3 * 10**9)) == {"one": 5}
    lazy = View(kind=ONE, connected=2, idle=idle(2, 0.0, stored=4), stored=8)
    assert sizes(Demand(), lazy) == {"one": 1}
    roomy = View(kind=evolve(CPU, cores=1), minimum=1, connected=1)
    assert sizes(Demand(), lazy, roomy) == {"one": 1, "cpu": 1}


# --- shrinking --------------------------------------------------------------------------------------------------


def test_idle_jobs_leave_after_minutes_those_nearest_to_their_end_first() -> None:
    """Two of four are needed."""
    jobs = [
        IdleJob(id=JobId("a"), since=NOW - 121, leaves_at=NOW + 500),
        IdleJob(id=JobId("b"), since=NOW - 121, leaves_at=NOW + 300),
        IdleJob(id=JobId("c"), since=NOW - 119, leaves_at=NOW + 100),
    ]
    view = View(kind=ONE, connected=4, idle=jobs)
    decision = decide(tasks(3), [view], {}, NOW, Rules())
    assert decision.sizes["one"] == Size(jobs=3, release=(JobId("b"),))


def test_idle_jobs_of_a_slow_queue_stay_longer() -> None:
    """But not for hours; and not for long if there never was any work for them."""
    view = View(kind=ONE, connected=1, idle=idle(1, NOW - 200))
    assert sizes(Demand(), view) == {"one": 0}
    assert sizes(Demand(), evolve(view, waits=[900.0])) == {"one": 1}
    assert sizes(Demand(), evolve(view, waits=[900.0], idle=idle(1, NOW - 300))) == {"one": 0}
    assert sizes(Demand(), evolve(view, waits=[900.0]), rules=Rules(idle_timeout=150.0)) == {"one": 0}
    assert sizes(Demand(), evolve(view, waits=[900.0], idle=idle(1, NOW - 80, is_unused=True))) == {"one": 0}


def test_idle_jobs_leave_early_when_no_work_is_in_sight() -> None:
    """When nothing is left but a few long tasks, or nothing but long tasks is what the others wait for."""
    view = View(kind=ONE, connected=10, idle=idle(8, NOW - 40))
    tail = Demand(loads=(Load(assigned=2, duration=3600.0),))
    assert sizes(tail, view) == {"one": 2}
    assert sizes(evolve(tail, blocked=1), view) == {"one": 2}
    uneven = evolve(tail, loads=(*tail.loads, Load(assigned=1, duration=60.0)))
    assert sizes(uneven, view) == {"one": 3}
    assert sizes(evolve(uneven, blocked=1), view) == {"one": 10}
    short = Demand(loads=(Load(assigned=2, duration=60.0),))
    assert sizes(short, view) == {"one": 10}, "it is over before that"
    assert sizes(Demand(), view) == {"one": 10}, "the next computation may come"


def test_waiting_jobs_are_kept_for_as_long_as_the_queue_is_slow() -> None:
    """A dip in load cancels nothing; an hour without demand does."""
    view = View(kind=ONE, coming=20, expected_wait=7200.0)
    past: Mapping[str, Past] = {}
    cancelled = None
    for second in range(0, 4000, 10):
        demand = tasks(20) if second < 100 else Demand()
        decision = decide(demand, [view], past, NOW + second, Rules())
        past = decision.past
        if decision.sizes["one"].jobs < 20:
            cancelled = second
            break
    assert cancelled == 90 + 3600


def test_waiting_jobs_are_given_up_down_to_what_was_needed_meanwhile() -> None:
    """Not to what is needed this second."""
    view = View(kind=ONE, coming=20)
    past: Mapping[str, Past] = {}
    for second, count in ((0, 20), (50, 12), (100, 3), (130, 0)):
        decision = decide(tasks(count), [view], past, NOW + second, Rules())
        past = decision.past
    assert decision.sizes["one"].jobs == 12


def test_a_group_that_has_grown_does_not_shrink_at_once() -> None:
    """For one idle time-out."""
    view = View(kind=ONE, connected=4, idle=idle(4, 0.0))
    assert sizes(Demand(), view, one=Past(grown_at=NOW - 119)) == {"one": 4}
    assert sizes(Demand(), view, one=Past(grown_at=NOW - 121)) == {"one": 0}


# --- bounds -----------------------------------------------------------------------------------------------------


def test_the_maximum_is_shared_by_what_each_group_wants() -> None:
    """And what is there already goes last."""
    both = Demand(loads=(Load(ready=240, duration=60.0), Load(need=(("GPU", 1.0),), ready=30, duration=60.0)))
    views = [View(kind=CPU), View(kind=GPU)]
    assert sizes(both, *views, rules=Rules(maximum=20)) == {"cpu": 10, "gpu": 10}
    there = [View(kind=CPU, connected=18), View(kind=GPU, connected=1)]
    assert sizes(both, *there, rules=Rules(maximum=20)) == {"cpu": 18, "gpu": 2}
    assert sizes(both, *there, rules=Rules(maximum=5)) == {"cpu": 4, "gpu": 1}


def test_no_group_starves() -> None:
    """A group that has nothing gets its first job from what others have."""
    both = Demand(loads=(Load(ready=240, duration=60.0), Load(need=(("GPU", 1.0),), ready=1, duration=60.0)))
    views = [View(kind=CPU, connected=20), View(kind=GPU)]
    assert sizes(both, *views, rules=Rules(maximum=20)) == {"cpu": 19, "gpu": 1}


def test_the_minimum_is_given_by_the_cheapest_group() -> None:
    """In workers; whole jobs."""
    views = [View(kind=GPU), View(kind=evolve(CPU, workers=2), maximum=2)]
    assert sizes(Demand(), *views, rules=Rules(minimum=3)) == {"cpu": 2, "gpu": 0}
    assert sizes(Demand(), *views, rules=Rules(minimum=5)) == {"cpu": 2, "gpu": 1}
    lazy = View(kind=ONE, connected=3, idle=idle(3, 0.0))
    decision = decide(Demand(), [lazy], {}, NOW, Rules(minimum=2))
    assert decision.sizes["one"] == Size(jobs=2, release=(JobId("0"),))


# --- whatever happens -------------------------------------------------------------------------------------------

DURATIONS = st.none() | st.sampled_from([0.001, 0.5, 5.0, 60.0, 3600.0])
NEEDS = st.sampled_from([(), (("GPU", 1.0),), (("MEMORY", 100e9),), (("cpu", 1.0),), (("tape", 1.0),)])
LOADS = st.builds(
    Load,
    need=NEEDS,
    ready=st.integers(0, 3000),
    assigned=st.integers(0, 3000),
    duration=DURATIONS,
    elapsed=st.sampled_from([0.0, 1.0, 5000.0]),
)
DEMANDS = st.builds(Demand, loads=st.lists(LOADS, max_size=4).map(tuple), blocked=st.integers(0, 1))


@st.composite
def views(draw: st.DrawFn, kind: Kind) -> View:
    minimum = draw(st.sampled_from([0, 0, 2]))
    connected = draw(st.integers(0, 40))
    return View(
        kind=evolve(kind, workers=draw(st.integers(1, 4)), is_open=draw(st.booleans())),
        minimum=minimum,
        maximum=draw(st.sampled_from([math.inf, 2, 30])),
        connected=connected,
        coming=draw(st.integers(0, 40)),
        idle=[
            IdleJob(id=JobId(f"{kind.name}{number}"), since=NOW - draw(st.sampled_from([1, 200, 9000])))
            for number in range(draw(st.integers(0, connected)))
        ],
        waits=draw(st.lists(st.floats(0, 10_000), max_size=5)),
        expected_wait=draw(st.sampled_from([0.0, 5000.0])),
        stored=draw(st.sampled_from([0, 10**9])),
    )


GROUPS = st.tuples(views(CPU), views(BIG), views(GPU))
RULES = st.builds(
    Rules, minimum=st.sampled_from([0, 3]), maximum=st.sampled_from([math.inf, 12, 100]),
    target_duration=st.sampled_from([1.0, 5.0, 600.0]), idle_timeout=st.none() | st.sampled_from([10.0, 300.0]),
)  # fmt: skip


@given(DEMANDS, GROUPS, RULES)
def test_bounds_are_kept(demand: Demand, groups: tuple[View, ...], rules: Rules) -> None:
    """Of every group, and of the cluster, whatever there is to do."""
    decision = decide(demand, groups, {}, NOW, rules)
    workers = 0
    for view in groups:
        size = decision.sizes[view.kind.name]
        assert 0 <= size.jobs <= view.maximum
        workers += size.jobs * view.kind.workers
        assert len(set(size.release)) == len(size.release) <= max(0, view.size - size.jobs)
    assert workers <= rules.maximum


@given(DEMANDS, GROUPS, LOADS)
def test_more_to_do_never_means_fewer_jobs(demand: Demand, groups: tuple[View, ...], more: Load) -> None:
    """The policy is monotone: another load takes nothing from any group."""
    busy = evolve(demand, blocked=1)
    larger = evolve(busy, loads=(*busy.loads, more))
    before, after = sizes(busy, *groups), sizes(larger, *groups)
    assert all(after[name] >= jobs for name, jobs in before.items())


@given(DEMANDS, GROUPS)
def test_never_more_workers_than_tasks_ask_for(demand: Demand, groups: tuple[View, ...]) -> None:
    """Growth has a task for every thread, unless results need a place or a bound says so."""
    parts, _ = shares(
        demand.loads, [view.kind for view in groups], targets={"cpu": 5.0, "big": 5.0, "gpu": 5.0}, guess=0.5
    )
    total = sum(load.tasks for load in demand.loads)
    for view in groups:
        jobs = sizes(demand, *groups)[view.kind.name]
        if jobs > max(view.size, view.minimum, 1) and not view.stored:
            assert (jobs - 1) * view.kind.workers < total
            share = parts[view.kind.name]
            assert share.workers or share.long or share.unknown


@given(st.lists(st.tuples(DEMANDS, st.integers(1, 90), st.booleans()), max_size=60), st.sampled_from([30.0, 120.0]))
def test_at_most_one_turn_to_shrinking_in_one_idle_timeout(
    story: list[tuple[Demand, int, bool]], timeout: float
) -> None:
    """Whatever the load does, and whether jobs come at once or never."""
    now, connected, coming = NOW, 0, 0
    past: Mapping[str, Past] = {}
    since: float | None = None
    turns: list[float] = []
    is_growing = False
    for demand, seconds, they_come in story:
        now += seconds
        if they_come:
            connected, coming = connected + coming, 0
            since = now
        # The worst case: everything that is there is idle all the time.
        lazy = idle(connected, now if since is None else since)
        view = View(kind=CPU, connected=connected, coming=coming, idle=lazy)
        decision: Decision = decide(demand, [view], past, now, Rules(idle_timeout=timeout))
        past, size = decision.past, decision.sizes["cpu"]
        if size.jobs > view.size:
            is_growing = True
        elif size.jobs < view.size and is_growing:
            turns.append(now)
            is_growing = False
        cancelled = max(0, view.size - size.jobs - len(size.release))
        connected -= len(size.release)
        coming = coming - cancelled if size.jobs <= view.size else size.jobs - connected
    assert all(later - earlier >= timeout for earlier, later in itertools.pairwise(turns))
