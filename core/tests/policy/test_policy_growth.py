"""How many jobs are asked for where it is known how long tasks take."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from attrs import evolve

from core.tests.policy.conftest import CPU, GPU, MINUTE, NOW, ON_GPU, ONE, USUAL, followed, idle, size, sizes, tasks
from corral.scaling import policy
from corral.scaling.policy import decide
from corral.scaling.views import PREFERENCES, Past, Preference, Rules, View
from corral.scaling.workload import Demand, Load

#: Whose jobs begin to work as soon as it is their turn, for which they wait for ten minutes.
BUSY = View(kind=ONE, connected=10, waits=[600.0] * 4, starts=[1.0] * 4)


# --- what a job is worth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [30.0, 60.0])
def test_a_job_works_for_several_times_as_long_as_it_starts(start: float) -> None:
    """Three times as long, if nothing is said of what matters: jobs that start slowly are fewer."""
    assert USUAL.prefer.worth == 3
    assert size(tasks(6000, 1.0), View(kind=ONE, starts=[start] * 5)) == math.ceil(6000 / (3 * start))


def test_a_job_whose_start_nobody_saw_starts_as_usual() -> None:
    """Unless one took less than that in all."""
    assert size(tasks(6000, 1.0), View(kind=ONE)) == math.ceil(6000 / (3 * policy.USUAL_START))
    assert size(tasks(6000, 1.0), View(kind=ONE, waits=[10.0])) == 6000 / (3 * 10)


def test_there_are_never_more_jobs_than_tasks() -> None:
    """Where each of them is long."""
    assert size(tasks(100, 600.0), View(kind=ONE)) == 100
    assert size(tasks(1, 0.001), View(kind=ONE)) == 1
    assert size(Demand(), View(kind=ONE)) == 0


def test_a_handful_comes_at_once() -> None:
    """Seconds of work for each are enough for a few jobs, not for many."""
    slow = View(kind=ONE, starts=[600.0])
    assert size(tasks(100, 1.0), slow) == policy.HANDFUL
    assert size(tasks(10, 1.0), slow) == 10 / USUAL.target_duration


def test_a_handful_that_waits_is_kept() -> None:
    """Although it is not asked for where one that is here will have done the work before."""
    slow = View(kind=ONE, connected=1, waits=[600.0], starts=[600.0])
    assert size(tasks(100, 1.0), slow) == 1
    assert size(tasks(100, 1.0), evolve(slow, coming=9)) == policy.HANDFUL


def test_a_duration_that_somebody_gave_is_meant() -> None:
    """Even if jobs start for longer than they work."""
    slow = View(kind=ONE, starts=[30.0])
    assert size(tasks(600, 10.0), slow, rules=Rules(target_duration=10.0, is_thrifty=False)) == 600
    assert size(tasks(600, 10.0), slow, rules=Rules(target_duration=600.0, is_thrifty=False)) == 10


def test_a_long_target_is_longer_than_what_a_start_is_worth() -> None:
    """Dask's configuration may say so as well."""
    assert size(tasks(600, 10.0), View(kind=ONE, starts=[1.0]), rules=Rules(target_duration=600.0)) == 10


def test_a_thread_runs_whole_tasks() -> None:
    """In a minute one of 50 s and not 1.2, or two of 35 s: as many as come nearest to it."""
    assert size(tasks(120, 50.0), View(kind=ONE), rules=MINUTE) == 120
    assert size(tasks(120, 35.0), View(kind=ONE), rules=MINUTE) == 60
    assert size(tasks(120, 29.0), View(kind=ONE), rules=MINUTE) == 60
    assert size(tasks(120, 61.0), View(kind=ONE), rules=MINUTE) == 120


def test_all_threads_of_a_job_count() -> None:
    """Of all its workers."""
    assert size(tasks(160), View(kind=CPU), rules=MINUTE) == 160 / 8
    assert size(tasks(160), View(kind=evolve(CPU, workers=2)), rules=MINUTE) == 160 / 16


def test_a_few_long_tasks_among_many_short_ones_ask_for_few_workers() -> None:
    """They cannot be divided: ten seconds of work for one, and one for each of the long ones."""
    loads = (Load(ready=10_000, duration=0.001), Load(assigned=3, duration=3600.0))
    assert size(Demand(loads=loads), View(kind=ONE)) == 1 + 3


def test_assigned_tasks_count() -> None:
    """A hundred thousand tasks of one worker wait there, not on the scheduler."""
    assert size(tasks(0, 600.0, assigned=500), View(kind=ONE, connected=1)) == 500


# --- what there is already --------------------------------------------------------------------------------------


def test_jobs_on_their_way_are_capacity() -> None:
    """What was asked for is not asked for again."""
    assert size(tasks(50, 600.0), View(kind=ONE, coming=50)) == 50
    assert size(tasks(50, 600.0), View(kind=ONE, connected=20, coming=10)) == 50


def test_what_is_done_before_new_jobs_come_is_not_asked_for() -> None:
    """In the ten minutes that a new one would take, ten jobs do ten minutes each."""
    assert size(tasks(50, 60.0), BUSY) == 10
    assert size(tasks(50, 600.0), BUSY) == 50 - 10


def test_new_jobs_may_be_as_quick_as_some_were() -> None:
    """One that comes too late is better than work without it; unless those that wait now have waited for longer."""
    quick = evolve(BUSY, waits=[600.0, 1.0, 1.0, 600.0])
    assert size(tasks(50, 60.0), quick) == 50
    assert size(tasks(50, 60.0), evolve(quick, coming=1, expected_wait=600.0)) == 11


def test_nothing_is_left_to_others_while_nobody_knows_how_long_jobs_take_to_come() -> None:
    """None has come yet: they may be there in a second."""
    assert size(tasks(50), View(kind=ONE, coming=10, expected_wait=600.0), rules=MINUTE) == 50


def test_what_other_groups_wait_is_asked_only_of_a_group_that_has_not_waited() -> None:
    """Its own jobs come at once, whatever those of others do."""
    other = View(kind=GPU, waits=[6000.0])
    new = View(kind=ONE, connected=10)
    assert sizes(tasks(50), evolve(new, waits=[1.0]), other, rules=MINUTE)["one"] == 50
    soon = followed(Demand(loads=(Load(assigned=10, duration=600.0),)), 100, 600.0)
    assert sizes(soon, evolve(new, waits=[1.0]), other)["one"] == 10
    assert sizes(soon, new, other)["one"] == 100


def test_waiting_jobs_are_kept_for_work_that_others_may_do_before() -> None:
    """Nobody knows it yet; only more are not asked for."""
    waiting = evolve(BUSY, coming=40)
    assert size(tasks(50, 600.0), waiting) == 50
    assert size(tasks(60, 600.0), waiting) == 50


def test_those_that_wait_do_half_as_much_meanwhile() -> None:
    """They come some time before a new one would."""
    assert size(tasks(100, 600.0), evolve(BUSY, coming=40)) == 100 - 10 - 40 / 2


def test_what_jobs_of_other_groups_do_meanwhile_is_not_asked_for() -> None:
    """If they could do it, and have no work of their own for that time."""
    helpers, own = View(kind=GPU, connected=20, waits=[600.0]), View(kind=CPU)
    assert sizes(tasks(80), own, helpers, rules=MINUTE)["cpu"] == 0
    assert sizes(tasks(80, need=(("cpu", 1.0),)), own, helpers, rules=MINUTE)["cpu"] == 10
    busy = Demand(loads=(*tasks(80).loads, Load(need=ON_GPU, assigned=20, duration=3600.0)))
    assert sizes(busy, own, helpers, rules=MINUTE)["cpu"] == 10


def test_others_help_with_as_many_tasks_as_they_have_threads() -> None:
    """Eight of 64 tasks in the minute that a new job takes: eight threads, be they of eight jobs or of one."""
    for connected, threads in ((8, 1), (1, 8)):
        helpers = View(kind=evolve(GPU, threads=threads), connected=connected, waits=[60.0])
        assert sizes(tasks(64), View(kind=CPU), helpers, rules=MINUTE)["cpu"] == (64 - 8) / 8


def test_others_do_not_help_with_what_they_have_no_time_for() -> None:
    """It would never be done while they are there."""
    brief = View(kind=evolve(GPU, lifetime=3900.0), minimum=10, connected=10)
    long = tasks(8, 3600.0, time_needed=4000.0)
    assert sizes(long, View(kind=CPU, waits=[7200.0]), brief, rules=MINUTE)["cpu"] == 1


def test_where_work_recurs_jobs_do_not_come_too_late_for_it() -> None:
    """Pauses were worth keeping jobs over: what comes too late for this is there for the next."""
    assert size(tasks(50, 60.0), BUSY, past=Past(pauses=(20.0, 20.0, 20.0))) == 50
    assert size(tasks(50, 60.0), BUSY, past=Past(pauses=(7200.0, 7200.0, 7200.0))) == 10


# --- what comes next --------------------------------------------------------------------------------------------


def test_what_comes_next_is_asked_for_before_it_can_run() -> None:
    """Jobs should be there when it is ready: it is nearer than they are."""
    near, far = (Demand(loads=(Load(assigned=10, duration=left),)) for left in (300.0, 6000.0))
    assert size(followed(near, 100, 600.0), BUSY) == 100
    assert size(followed(far, 100, 600.0), BUSY) == 10


def test_what_was_asked_for_ahead_is_not_cancelled_while_others_say_that_it_takes_long() -> None:
    """A group's first jobs have waited for a minute: they were never expected that soon."""
    views = [View(kind=CPU, connected=10, waits=[600.0]), View(kind=GPU)]
    work = Load(assigned=80, duration=300.0)
    past: Mapping[str, Past] = {}
    for seconds in (0.0, policy.SHORTEST_PATIENCE + 1, 2 * policy.SHORTEST_PATIENCE + 2):
        next_on_gpu = Load(need=ON_GPU, upcoming=40, duration=600.0)
        demand = Demand(loads=(evolve(work, latest=seconds), next_on_gpu), blocked=40)
        decision = decide(demand, views, past, NOW + seconds, USUAL)
        assert decision.sizes["gpu"].jobs == 40
        past, views[1] = decision.past, View(kind=GPU, coming=40, expected_wait=seconds)


def test_what_comes_next_is_not_asked_for_sooner_than_it_takes_to_come() -> None:
    """Or jobs would wait for it, idle."""
    next_in_a_minute = followed(Demand(loads=(Load(assigned=10, duration=60.0),)), 100, 600.0)
    assert size(next_in_a_minute, evolve(BUSY, waits=[50.0])) == 100
    assert size(next_in_a_minute, evolve(BUSY, waits=[30.0])) == 10


def test_nobody_comes_ahead_for_tasks_that_follow_what_may_take_any_time() -> None:
    """It has run for a while, and nobody knows how long such tasks take."""
    unknown = Demand(loads=(Load(assigned=10, duration=None, elapsed=20.0, latest=20.0),))
    assert size(followed(unknown, 100, 600.0), BUSY) < 100


def test_nobody_comes_ahead_of_what_waits_for_jobs_itself() -> None:
    """The queue is slow today: what is ready will not be done before these have come."""
    before = followed(tasks(10, 60.0), 100, 600.0)
    waiting = View(kind=ONE, coming=10, waits=[600.0], starts=[1.0])
    assert size(before, evolve(waiting, expected_wait=100.0)) == 100
    assert size(before, evolve(waiting, expected_wait=6000.0)) == 10


def test_idle_jobs_are_kept_for_what_comes_soon() -> None:
    """If it comes sooner than others could instead; as many as it has work for."""
    lazy = evolve(BUSY, idle=idle(8, 300.0))
    near, far = (Demand(loads=(Load(assigned=2, duration=left),)) for left in (60.0, 6000.0))
    assert size(followed(near, 10, 600.0), lazy) == 10
    assert size(followed(near, 5, 600.0), lazy) == 5
    assert size(followed(far, 10, 60_000.0), lazy) == 2


def test_idle_jobs_are_kept_for_what_nobody_would_come_for_yet() -> None:
    """Where time matters: as many as do it in the time for which they are kept."""
    lazy, later = evolve(BUSY, idle=idle(8, 300.0)), Demand(loads=(Load(assigned=2, duration=1500.0),))
    speed, cost = (Rules(prefer=PREFERENCES[name]) for name in ("speed", "cost"))
    assert size(followed(later, 10, 1500.0), lazy, rules=speed) == 10
    assert size(followed(later, 10, 1500.0), evolve(lazy, connected=2, idle=[]), rules=speed) == 2
    assert size(followed(later, 10, 1500.0), lazy, rules=cost) == 2
    assert size(followed(later, 100, 100.0), lazy, rules=speed) == math.ceil(100 / 15)


# --- what matters -----------------------------------------------------------------------------------------------


def test_there_are_as_many_jobs_as_is_preferred() -> None:
    """Speed has most of them, cost has fewest."""
    counts = [
        size(tasks(6000, 1.0), View(kind=ONE, starts=[30.0]), rules=Rules(prefer=PREFERENCES[name]))
        for name in ("speed", "balance", "cost")
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3


def test_the_more_an_hour_is_worth_the_more_jobs_there_are() -> None:
    """Four times as much, twice as many: starts cost as much as the time that more of them save is worth."""
    slow = View(kind=ONE, starts=[30.0])
    few, many = (size(tasks(90_000, 1.0), slow, rules=Rules(prefer=Preference(hour=hour))) for hour in (60.0, 240.0))
    assert many == pytest.approx(2 * few, rel=0.02)


def test_what_an_hour_is_worth_has_limits() -> None:
    """A job works for as long as it starts, at least; nor is there but one where time is cheap."""
    slow = View(kind=ONE, starts=[30.0])
    dear, cheap = (Rules(prefer=Preference(hour=hour)) for hour in (1e9, 1e-9))
    assert size(tasks(9000, 1.0), slow, rules=dear) == 9000 / 30
    assert size(tasks(9000, 1.0), slow, rules=cheap) == 9000 / (30 * policy.MOST_WORTH)


def test_jobs_with_gpus_are_fewer_the_dearer_these_are() -> None:
    """And no others."""
    work = Demand(loads=(Load(ready=90_000, duration=1.0), Load(need=ON_GPU, ready=9000, duration=1.0)))
    groups = [View(kind=kind, starts=[30.0]) for kind in (CPU, GPU)]
    cheap, dear = (sizes(work, *groups, rules=Rules(prefer=Preference(hour=500, gpu_price=each))) for each in (1, 100))
    assert dear["gpu"] < cheap["gpu"]
    assert dear["cpu"] == cheap["cpu"]
