"""Which group tasks are for, where results are kept, and the bounds of groups and cluster."""

from __future__ import annotations

from attrs import evolve

from core.tests.policy.conftest import (
    BIG,
    CPU,
    GPU,
    MINUTE,
    NOW,
    ON_GPU,
    ONE,
    USUAL,
    idle,
    size,
    sizes,
    tasks,
)
from corral.plugin.values import JobId
from corral.scaling.policy import FULL, decide
from corral.scaling.views import Rules, Size, View
from corral.scaling.workload import Demand, Load

# --- which group ------------------------------------------------------------------------------------------------


def test_each_task_is_for_the_cheapest_group_that_can_run_it() -> None:
    """GPUs cost most, then cores, then memory."""
    loads = (
        Load(ready=80, duration=60.0),
        Load(need=(("MEMORY", 100e9),), ready=10, duration=60.0),
        Load(need=ON_GPU, ready=3, duration=60.0),
    )
    # Five tasks of 100 GB fit into a worker of 500 GB at a time.
    found = sizes(Demand(loads=loads), *(View(kind=kind) for kind in (GPU, BIG, CPU)), rules=MINUTE)
    assert found == {"cpu": 10, "big": 2, "gpu": 3}


def test_of_two_groups_that_cost_the_same_the_one_is_asked_whose_jobs_come_far_sooner() -> None:
    """It may have more memory than is needed, but no more cores."""
    crowded, quiet = View(kind=CPU, waits=[3600.0]), View(kind=BIG, waits=[60.0])
    assert sizes(tasks(80, 7200.0), crowded, quiet, rules=MINUTE) == {"cpu": 0, "big": 10}
    assert sizes(tasks(80, 7200.0), crowded, evolve(quiet, waits=[2400.0]), rules=MINUTE) == {"cpu": 10, "big": 0}
    assert sizes(tasks(80, 7200.0), evolve(crowded, waits=[50.0]), evolve(quiet, waits=[1.0]), rules=MINUTE)["big"] == 0
    assert sizes(tasks(80, 7200.0), crowded, evolve(quiet, waits=[]), rules=MINUTE) == {"cpu": 10, "big": 0}
    dear = evolve(quiet, kind=evolve(BIG, cores=16))
    assert sizes(tasks(80, 7200.0), crowded, dear, rules=MINUTE) == {"cpu": 10, "big": 0}


def test_what_is_there_anyway_is_used_first_and_the_rest_is_for_the_queue() -> None:
    """Whatever the groups are called, and whoever has waited; a group that costs something keeps its tasks."""
    free = View(kind=evolve(BIG, is_free=True), maximum=4)
    for waits in ([], [5.0]):
        for there in (View(kind=CPU), View(kind=CPU, waits=[600.0])):
            found = sizes(tasks(80), evolve(free, waits=waits), there, rules=MINUTE)
            assert found == {"big": 4, "cpu": 6}
    assert sizes(tasks(32), free, View(kind=CPU), rules=MINUTE) == {"big": 4, "cpu": 0}
    assert sizes(tasks(80), evolve(free, maximum=0), View(kind=CPU), rules=MINUTE) == {"big": 0, "cpu": 10}
    assert sizes(tasks(80), View(kind=CPU, maximum=4), View(kind=BIG), rules=MINUTE) == {"cpu": 4, "big": 0}
    # Of tasks of unknown duration, too.
    found = sizes(tasks(1600, None), free, View(kind=CPU), rules=MINUTE)
    assert found["big"] == 4
    assert found["cpu"] > 20


def test_what_costs_nothing_comes_first_also_where_there_is_a_maximum() -> None:
    """Of the cluster; but no job at work leaves for it."""
    free, rules = View(kind=evolve(BIG, is_free=True), maximum=4), evolve(MINUTE, maximum=6)
    assert sizes(tasks(800), View(kind=CPU), free, rules=rules) == {"cpu": 2, "big": 4}
    assert sizes(tasks(800), View(kind=CPU, connected=5), free, rules=rules) == {"cpu": 5, "big": 1}


def test_the_least_that_there_must_be_is_what_costs_nothing() -> None:
    """As far as there is room."""
    found = sizes(Demand(), View(kind=CPU), View(kind=evolve(BIG, is_free=True), maximum=2), rules=Rules(minimum=3))
    assert found == {"cpu": 1, "big": 2}


def test_what_nobody_has_is_told() -> None:
    """Once for all tasks that need it; nobody grows for them."""
    need = (("GPU", 2.0),)
    demand = Demand(loads=(Load(need=need, ready=1), Load(need=need, ready=5, duration=1.0)))
    decision = decide(demand, [View(kind=CPU), View(kind=GPU)], {}, NOW, USUAL)
    assert decision.unmet == (need,)
    assert [size.jobs for size in decision.sizes.values()] == [0, 0]


def test_a_group_that_is_stopped_is_passed_over() -> None:
    """What it cannot give is asked of the next cheapest."""
    stopped = View(kind=evolve(CPU, is_open=False))
    found = sizes(tasks(80), stopped, View(kind=BIG), View(kind=GPU), rules=MINUTE)
    assert found == {"cpu": 0, "big": 10, "gpu": 0}


def test_what_no_job_has_the_time_for_asks_for_none() -> None:
    """A group whose jobs last longer has it; if there is none, the rest is as ever, and nothing is unmet."""
    long = tasks(5, 3600.0, time_needed=4000.0)
    short = View(kind=evolve(ONE, lifetime=3900.0))
    assert size(long, short) == 0
    assert decide(long, [short], {}, NOW, USUAL).unmet == ()
    assert sizes(long, short, View(kind=evolve(CPU, lifetime=86000.0))) == {"one": 0, "cpu": 1}
    both = evolve(long, loads=(*long.loads, Load(ready=3, duration=600.0, time_needed=700.0)))
    assert size(both, short) == 3


def test_jobs_that_leave_are_replaced_for_what_waits_and_not_for_what_they_finish() -> None:
    """Ten leave, each of which finishes a task; the last of a computation need nobody more."""
    leaving = View(kind=ONE)
    assert size(tasks(30, 3600.0, assigned=10, finishing=10), leaving) == 30
    assert size(tasks(0, 3600.0, assigned=10, finishing=10), leaving) == 0


# --- results ----------------------------------------------------------------------------------------------------


def test_results_need_a_place() -> None:
    """Workers are not filled to the brim."""
    full = View(kind=ONE, connected=2, stored=3 * ONE.memory)
    assert size(Demand(), full) == 3 / FULL


def test_the_last_copy_of_a_result_keeps_a_worker() -> None:
    """However long that has been idle."""
    lazy = View(kind=ONE, connected=2, idle=idle(2, 9000.0, stored=4), stored=8)
    assert size(Demand(), lazy) == 1


def test_results_can_be_where_a_cheaper_group_has_room() -> None:
    """What is there for its own results takes those of others; a second one is not kept for them."""
    lazy = View(kind=CPU, connected=2, idle=idle(2, 9000.0, stored=4), stored=8)
    assert sizes(Demand(), lazy, View(kind=ONE, connected=1, stored=1)) == {"cpu": 0, "one": 1}
    full = int(FULL * ONE.memory)
    assert sizes(Demand(), lazy, View(kind=ONE, connected=1, stored=full)) == {"cpu": 1, "one": 1}


# --- bounds -----------------------------------------------------------------------------------------------------


def test_a_group_has_bounds_of_its_own() -> None:
    """Whatever there is to do, or is not."""
    assert size(tasks(100, 600.0), View(kind=ONE, maximum=7)) == 7
    assert size(Demand(), View(kind=ONE, minimum=3)) == 3
    assert size(Demand(), View(kind=ONE, minimum=3, connected=5, idle=idle(5, 9000.0))) == 3
    assert size(Demand(), View(kind=ONE, minimum=3, coming=5)) == 3


def test_the_maximum_is_shared_by_what_each_group_wants() -> None:
    """And what is there already goes last."""
    both = Demand(loads=(Load(ready=240, duration=60.0), Load(need=ON_GPU, ready=30, duration=60.0)))
    views = [View(kind=CPU), View(kind=GPU)]
    assert sizes(both, *views, rules=evolve(MINUTE, maximum=20)) == {"cpu": 10, "gpu": 10}
    there = [View(kind=CPU, connected=18), View(kind=GPU, connected=1)]
    assert sizes(both, *there, rules=evolve(MINUTE, maximum=20)) == {"cpu": 18, "gpu": 2}
    assert sizes(both, *there, rules=evolve(MINUTE, maximum=5)) == {"cpu": 4, "gpu": 1}


def test_no_group_starves() -> None:
    """A group that has nothing gets its first job from what others have."""
    both = Demand(loads=(Load(ready=240, duration=60.0), Load(need=ON_GPU, ready=1, duration=60.0)))
    views = [View(kind=CPU, connected=20), View(kind=GPU)]
    for order in (views, views[::-1]):
        assert sizes(both, *order, rules=evolve(MINUTE, maximum=20)) == {"cpu": 19, "gpu": 1}


def test_the_minimum_is_given_by_the_cheapest_group() -> None:
    """In workers; whole jobs, and as many as the group may have."""
    views = [View(kind=GPU), View(kind=evolve(CPU, workers=2), maximum=2)]
    assert sizes(Demand(), *views, rules=Rules(minimum=3)) == {"cpu": 2, "gpu": 0}
    assert sizes(Demand(), *views, rules=Rules(minimum=5)) == {"cpu": 2, "gpu": 1}


def test_a_group_that_is_stopped_gives_nothing_to_the_minimum() -> None:
    """The next cheapest does."""
    views = [View(kind=GPU), View(kind=evolve(CPU, is_open=False))]
    assert sizes(Demand(), *views, rules=Rules(minimum=1)) == {"cpu": 0, "gpu": 1}


def test_of_idle_jobs_the_minimum_stays() -> None:
    """Nothing new is asked for instead of them."""
    lazy = View(kind=ONE, connected=3, idle=idle(3, 9000.0))
    decision = decide(Demand(), [lazy], {}, NOW, Rules(minimum=2))
    assert decision.sizes["one"] == Size(jobs=2, release=(JobId("0"),))
