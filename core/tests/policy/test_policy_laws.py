"""What holds of the policy whatever happens."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from core.tests.policy.conftest import BIG, CPU, GPU, NOW, USUAL, sizes
from corral.plugin.values import JobId
from corral.scaling.policy import SHORTEST_PATIENCE, decide
from corral.scaling.views import PREFERENCES, Decision, IdleJob, Past, Preference, Rules, View
from corral.scaling.workload import Demand, Kind, Load

KNOWN = st.sampled_from([0.001, 0.5, 5.0, 60.0, 3600.0])
DURATIONS = st.none() | KNOWN
NEEDS = st.sampled_from([(), (("GPU", 1.0),), (("MEMORY", 100e9),), (("cpu", 1.0),), (("tape", 1.0),)])
PREFERENCE = st.sampled_from([*PREFERENCES.values(), Preference(hour=1.0), Preference(hour=300.0)])


@st.composite
def loads(draw: st.DrawFn, upcoming: int = 0, durations: st.SearchStrategy[float | None] = DURATIONS) -> Load:
    ready, assigned = draw(st.integers(0, 3000)), draw(st.integers(0, 3000))
    return Load(
        need=draw(NEEDS),
        ready=ready,
        assigned=assigned,
        duration=draw(durations),
        elapsed=draw(st.sampled_from([0.0, 1.0, 5000.0])),
        latest=draw(st.sampled_from([0.0, 30.0, 5000.0])) if assigned else 0.0,
        upcoming=draw(st.integers(0, upcoming)),
    )


def demands(upcoming: int = 0, durations: st.SearchStrategy[float | None] = DURATIONS) -> st.SearchStrategy[Demand]:
    def demand(some: list[Load], more: int) -> Demand:
        return Demand(loads=tuple(some), blocked=sum(load.upcoming for load in some) + more)

    return st.builds(demand, st.lists(loads(upcoming, durations), max_size=4), st.integers(0, 1))


@st.composite
def views(draw: st.DrawFn, kind: Kind, most_idle: int = 40) -> View:
    connected = draw(st.integers(0, 40))
    coming = draw(st.integers(0, 40))
    ages = st.sampled_from([1.0, 20.0, 200.0, 9000.0])
    return View(
        kind=evolve(kind, workers=draw(st.integers(1, 4)), is_open=draw(st.booleans())),
        minimum=draw(st.sampled_from([0, 0, 2])),
        maximum=draw(st.sampled_from([math.inf, 2, 30])),
        connected=connected,
        coming=coming,
        idle=[
            IdleJob(id=JobId(f"{kind.name}{number}"), since=NOW - (age := draw(ages)), came_at=NOW - age - draw(ages))
            for number in range(draw(st.integers(0, min(connected, most_idle))))
        ],
        waits=draw(st.lists(st.floats(0, 10_000), max_size=5)),
        starts=draw(st.lists(st.floats(0, 600), max_size=2)),
        expected_wait=draw(st.sampled_from([0.0, 100.0, 5000.0])) if coming else 0.0,
        stored=draw(st.sampled_from([0, 10**9])),
    )


GROUPS = st.tuples(views(CPU), views(BIG), views(GPU))
PAST = st.builds(Past, pauses=st.lists(st.sampled_from([5.0, 100.0, 3600.0]), max_size=6).map(tuple))
RULES = st.builds(
    Rules, minimum=st.sampled_from([0, 3]), maximum=st.sampled_from([math.inf, 12, 100]), prefer=PREFERENCE,
    target_duration=st.sampled_from([1.0, 5.0, 600.0]), idle_timeout=st.none() | st.sampled_from([10.0, 300.0]),
)  # fmt: skip


@given(demands(3000), GROUPS, PAST, RULES)
def test_bounds_are_kept(demand: Demand, groups: tuple[View, ...], past: Past, rules: Rules) -> None:
    """Of every group, and of the cluster, whatever there is to do."""
    decision = decide(demand, groups, {"cpu": past}, NOW, rules)
    workers = 0
    for view in groups:
        size = decision.sizes[view.kind.name]
        assert 0 <= size.jobs <= view.maximum
        workers += size.jobs * view.kind.workers
        assert len(set(size.release)) == len(size.release) <= max(0, view.size - size.jobs)
        assert set(size.release) <= {job.id for job in view.idle}
    assert workers <= rules.maximum


@given(demands(), st.tuples(*(views(kind, most_idle=0) for kind in (CPU, BIG, GPU))), loads())
def test_more_to_do_never_means_fewer_jobs(demand: Demand, groups: tuple[View, ...], more: Load) -> None:
    """Another load takes nothing from any group: unless jobs are idle, which have no part in it."""
    larger = evolve(demand, loads=(*demand.loads, more))
    before, after = sizes(demand, *groups), sizes(larger, *groups)
    assert all(after[name] >= jobs for name, jobs in before.items())


@given(demands(3000), GROUPS, PAST, PREFERENCE)
def test_never_more_workers_than_tasks_ask_for(
    demand: Demand, groups: tuple[View, ...], past: Past, prefer: Preference
) -> None:
    """Growth has a task for every worker, unless results need a place or a bound says so."""
    found = sizes(demand, *groups, rules=Rules(prefer=prefer), cpu=past, gpu=past)
    for view in groups:
        jobs = found[view.kind.name]
        if jobs > max(view.size, view.minimum) and not view.stored:
            fits = [load for load in demand.loads if view.kind.room(load.need)]
            assert (jobs - 1) * view.kind.workers < max(
                sum(load.tasks for load in fits), sum(load.upcoming for load in fits)
            )


# --- what is preferred ------------------------------------------------------------------------------------------


@given(demands(3000), views(CPU), PAST)
def test_who_prefers_speed_never_has_fewer_jobs(demand: Demand, view: View, past: Past) -> None:
    """Nor are idle ones let go sooner: a group alone, for there may be something in the way of others."""
    found = [sizes(demand, view, rules=Rules(prefer=PREFERENCES[name]), cpu=past)["cpu"] for name in PREFERENCES]
    assert found == sorted(found, reverse=True), list(PREFERENCES)


@given(demands(3000), views(CPU), PAST, st.floats(1e-3, 1e6))
def test_who_doubles_the_value_of_an_hour_never_has_fewer_jobs(
    demand: Demand, view: View, past: Past, hour: float
) -> None:
    """Nor are idle ones let go sooner."""
    less, more = (
        sizes(demand, view, rules=Rules(prefer=Preference(hour=each)), cpu=past)["cpu"] for each in (hour, 2 * hour)
    )
    assert more >= less


# --- no to and fro ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(demands(durations=KNOWN), st.integers(1, 90)), max_size=60))
def test_at_most_one_turn_to_cancelling_in_the_patience_of_waiting_jobs(moments: list[tuple[Demand, int]]) -> None:
    """Whatever the load does, if it is known how long tasks take."""
    now, coming = NOW, 0
    past: Mapping[str, Past] = {}
    turns: list[float] = []
    is_growing = False
    for demand, seconds in moments:
        now += seconds
        decision = decide(demand, [View(kind=CPU, coming=coming)], past, now, USUAL)
        past, jobs = decision.past, decision.sizes["cpu"].jobs
        if jobs < coming and is_growing:
            turns.append(now)
        is_growing = jobs > coming or (is_growing and jobs == coming)
        coming = jobs
    assert all(later - earlier >= SHORTEST_PATIENCE for earlier, later in itertools.pairwise(turns))


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90)), max_size=60), st.sampled_from([30.0, 120.0]))
def test_at_most_one_turn_to_releasing_in_the_idle_timeout_that_somebody_gave(
    moments: list[tuple[int, int]], timeout: float
) -> None:
    """Whatever the load does, if jobs come at once: those that work are not idle."""
    now = NOW
    jobs: list[IdleJob] = []
    past: Mapping[str, Past] = {}
    turns: list[float] = []
    is_growing = False
    for count, seconds in moments:
        now += seconds
        working = math.ceil(count / CPU.threads)
        jobs = [evolve(job, since=now) if number < working else job for number, job in enumerate(jobs)]
        view = View(kind=CPU, connected=len(jobs), idle=jobs[working:], starts=[1.0])
        demand = Demand(loads=(Load(ready=count, duration=600.0),))
        decision: Decision = decide(demand, [view], past, now, Rules(idle_timeout=timeout))
        past, size = decision.past, decision.sizes["cpu"]
        if size.release and is_growing:
            turns.append(now)
        is_growing = size.jobs > view.size or (is_growing and not size.release)
        jobs = [job for job in jobs if job.id not in size.release]
        new = range(size.jobs - len(jobs))
        jobs += [IdleJob(id=JobId(f"{now}:{number}"), since=now, came_at=now) for number in new]
    assert all(later - earlier >= timeout for earlier, later in itertools.pairwise(turns))
