"""How long jobs are kept that have nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve

from core.tests.policy.conftest import CPU, GPU, NOW, ON_GPU, ONE, USUAL, followed, idle, size, sizes, tasks
from corral.plugin.values import JobId
from corral.scaling import policy
from corral.scaling.policy import decide
from corral.scaling.views import PREFERENCES, IdleJob, Needed, Past, Preference, Rules, Size, View
from corral.scaling.workload import Demand, Load

NOTHING = Demand()
#: Nothing is ready, and what runs takes an hour more.
TAIL = Demand(loads=(Load(assigned=2, duration=3600.0),))
#: To have another one instead later costs its start and the wait for it, 40 s and 600 s.
SLOW = View(kind=ONE, connected=10, waits=[600.0], starts=[40.0])
SHORT_PAUSES, LONG_PAUSES = Past(pauses=(100.0,) * 4), Past(pauses=(3600.0,) * 4)


def kept(seconds: float, *, past: Past | None = None, rules: Rules = USUAL, worked: float = NOW) -> bool:
    """Is one that has been idle for so long still there, when nothing is to be done?"""
    view = evolve(SLOW, connected=1, idle=idle(1, seconds, worked=worked))
    return size(NOTHING, view, past=past, rules=rules) == 1


# --- what speaks for them ---------------------------------------------------------------------------------------


def test_idle_jobs_leave_at_once_if_nothing_speaks_for_them() -> None:
    """Only a long tail is left, which they have no part in; they are not idle just because a task has ended."""
    assert size(TAIL, evolve(SLOW, idle=idle(8, policy.PROMPT))) == 2
    assert size(TAIL, evolve(SLOW, idle=idle(8, policy.PROMPT - 0.5))) == 10


def test_those_that_are_needed_stay() -> None:
    """As many as there is work for, however long they have been idle."""
    lazy = evolve(SLOW, idle=idle(8, 9000.0))
    assert size(Demand(loads=(Load(assigned=2, ready=3, duration=3600.0),)), lazy) == 5


def test_idle_jobs_have_some_credit_while_nothing_is_known_of_pauses() -> None:
    """As long as a start takes, or a part of what a new one waits, if that is more: so much it costs to be wrong."""
    credit = max(policy.CREDIT * 40, policy.PART * 600)
    assert 20 < credit < 300
    assert kept(credit - 1)
    assert not kept(credit + 1)
    for waits, starts in (([1200.0], [40.0]), ([600.0], [120.0])):
        slower = evolve(SLOW, connected=1, idle=idle(1, credit + 10), waits=waits, starts=starts)
        assert size(NOTHING, slower) == 1


def test_idle_jobs_that_have_worked_little_are_not_kept_for_long() -> None:
    """For no longer than that, or than their credit, whatever speaks for them."""
    assert kept(190, worked=200, past=SHORT_PAUSES)
    past = Past(pauses=(400.0,) * 4)
    assert kept(390, worked=400, past=past)
    assert not kept(390, worked=350, past=past)
    assert not kept(390, worked=0, past=past)
    assert kept(30, worked=0, past=past)


def test_idle_jobs_are_kept_over_pauses_like_those_that_were_seen() -> None:
    """With some margin; they leave when this one is not like those."""
    assert kept(100, past=SHORT_PAUSES)
    assert not kept(2 * policy.MARGIN * 100, past=SHORT_PAUSES)


def test_idle_jobs_leave_at_once_where_pauses_were_long() -> None:
    """To keep them was not worth it then, nor is it now."""
    assert not kept(policy.PROMPT, past=LONG_PAUSES)


def test_most_of_the_pauses_decide() -> None:
    """A long one among short ones does not matter, nor does a short one among long ones."""
    assert kept(100, past=Past(pauses=(100.0, 3600.0, 100.0, 100.0)))
    assert not kept(100, past=Past(pauses=(3600.0, 3600.0, 30.0, 3600.0)))
    assert not kept(500, past=Past(pauses=(600.0, 3600.0, 3600.0, 3600.0)))


def test_idle_jobs_are_kept_where_new_ones_take_long_to_come() -> None:
    """Over the same pauses, idle ones of a quick queue leave."""
    lazy = evolve(SLOW, connected=1, idle=idle(1, 90.0))
    assert size(NOTHING, lazy, past=SHORT_PAUSES) == 1
    assert size(NOTHING, evolve(lazy, waits=[5.0], starts=[5.0]), past=SHORT_PAUSES) == 0


def test_to_start_again_costs_the_start_and_the_wait_for_it() -> None:
    """Over pauses that are longer than either, and shorter than both."""
    lazy = View(kind=ONE, connected=1, idle=idle(1, 60.0), starts=[40.0])
    for waits in ([], [40.0]):
        assert size(NOTHING, evolve(lazy, waits=waits), past=Past(pauses=(60.0,) * 4)) == 1
        assert size(NOTHING, evolve(lazy, waits=waits), past=Past(pauses=(90.0,) * 4)) == 0


def test_what_speaks_for_idle_jobs_ends_with_what_is_in_sight() -> None:
    """Nothing comes between now and the end of a long tail; a short one is over before it matters."""
    lazy = evolve(SLOW, idle=idle(8, 90.0))
    assert size(TAIL, lazy, past=SHORT_PAUSES) == 2
    for left in (60.0, 300.0):
        assert size(Demand(loads=(Load(assigned=2, duration=left),)), lazy, past=SHORT_PAUSES) == 10


def test_a_long_tail_that_comes_next_is_in_sight() -> None:
    """Two are kept for it, and the others have no part in it."""
    lazy = evolve(SLOW, idle=idle(8, 50.0))
    soon = Demand(loads=(Load(assigned=2, duration=30.0),))
    assert size(soon, lazy) == 10
    assert size(followed(soon, 2, 3600.0), lazy) == 2


# --- what is learnt ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pause", "jobs"), [(120.0, 4), (1800.0, 0)], ids=["short", "long"])
def test_pauses_are_learnt(pause: float, jobs: int) -> None:
    """After three of them it is known whether idle jobs should be kept over the next."""
    view, now = evolve(SLOW, connected=4), NOW
    past: Mapping[str, Past] = {}
    for _ in range(3):
        past = decide(tasks(0, 600.0, assigned=4), [view], past, now, USUAL).past
        begun, ended = now + 600.0, now + 600.0 + pause
        for now in (begun, (begun + ended) / 2, ended - 1.0):
            lazy = [evolve(job, since=begun) for job in idle(4, 0.0)]
            past = decide(NOTHING, [evolve(view, idle=lazy)], past, now, USUAL).past
        now = ended
    past = decide(tasks(0, 600.0, assigned=4), [view], past, now, USUAL).past
    lazy = [evolve(job, since=now) for job in idle(4, 0.0)]
    assert decide(NOTHING, [evolve(view, idle=lazy)], past, now + 100.0, USUAL).sizes["one"].jobs == jobs


def test_a_moment_without_work_is_no_pause() -> None:
    """Between two tasks a worker has nothing to do for an instant."""
    past = decide(tasks(0, 600.0, assigned=4), [evolve(SLOW, connected=4)], {}, NOW, USUAL).past
    for second in range(20):
        lazy = [] if second % 2 else idle(4, 0.5)
        demand = tasks(0, 600.0, assigned=4) if second % 2 else NOTHING
        past = decide(demand, [evolve(SLOW, connected=4, idle=lazy)], past, NOW + second, USUAL).past
    assert past["one"].pauses == ()


def pauses(*moments: tuple[float, int]) -> tuple[float, ...]:
    """What is remembered of pauses when so many of four jobs were busy at these moments (s)."""
    past: Mapping[str, Past] = {}
    for seconds, busy in moments:
        demand = tasks(0, 600.0, assigned=busy)
        view = evolve(SLOW, connected=4, idle=idle(4 - busy, 0.0))
        past = decide(demand, [view], past, NOW + seconds, USUAL).past
    return past["one"].pauses


def test_a_pause_is_when_fewer_than_half_of_the_jobs_have_work() -> None:
    """Of as many as ever had: not a dip, but not only when all are idle."""
    assert pauses((0, 4), (100, 3), (200, 4)) == ()
    assert pauses((0, 4), (100, 1), (200, 4)) == (100.0,)
    assert pauses((0, 4), (50, 2), (100, 1), (200, 4)) == (100.0,)


def test_a_pause_is_over_when_it_was_not_worth_it() -> None:
    """Whatever comes then: as many as work now are all that work."""
    price = 640.0
    assert pauses((0, 4), (100, 1), (101 + 2 * price, 1)) == (1 + 2 * price,)
    assert pauses((0, 4), (100, 1), (101 + 2 * price, 1), (3000, 1), (3100, 0), (3200, 1)) == (1 + 2 * price, 100.0)


# --- who decides otherwise --------------------------------------------------------------------------------------


def test_idle_jobs_leave_at_once_where_others_wait_for_their_place() -> None:
    """Those of another group are needed, and wait for longer than usual: these may be in their way."""
    lazy = View(kind=CPU, connected=4, idle=idle(4, 10.0), waits=[600.0])
    starving = View(kind=GPU, coming=2, waits=[10.0], expected_wait=300.0)
    on_gpu = tasks(8, 60.0, need=ON_GPU)
    soon = evolve(on_gpu, loads=(*on_gpu.loads, Load(need=(("cpu", 1.0),), upcoming=32, duration=600.0)), blocked=32)
    for demand in (on_gpu, soon):
        assert sizes(demand, lazy, starving, cpu=SHORT_PAUSES)["cpu"] == 0
        assert sizes(demand, lazy, evolve(starving, expected_wait=10.0), cpu=SHORT_PAUSES)["cpu"] == 4


def test_a_group_of_which_nothing_has_come_yet_may_starve_too() -> None:
    """Its first jobs wait for longer than those of others did."""
    lazy = View(kind=CPU, connected=4, idle=idle(4, 10.0), waits=[300.0])
    new = View(kind=GPU, coming=2, expected_wait=900.0)
    on_gpu = tasks(8, 60.0, need=ON_GPU)
    assert sizes(on_gpu, lazy, new, cpu=SHORT_PAUSES)["cpu"] == 0
    assert sizes(on_gpu, lazy, evolve(new, expected_wait=320.0), cpu=SHORT_PAUSES)["cpu"] == 4


def test_idle_jobs_are_in_nobodys_way_while_others_wait_as_usual() -> None:
    """Or are not needed any more."""
    lazy = View(kind=CPU, connected=4, idle=idle(4, 10.0), waits=[600.0])
    usual = View(kind=GPU, coming=2, waits=[300.0], expected_wait=100.0)
    past: dict[str, Any] = {"cpu": SHORT_PAUSES, "gpu": SHORT_PAUSES}
    assert sizes(tasks(8, 60.0, need=ON_GPU), lazy, usual, **past)["cpu"] == 4
    assert sizes(NOTHING, lazy, evolve(usual, expected_wait=3000.0), **past)["cpu"] == 4


def test_who_says_how_long_jobs_may_be_idle_means_it() -> None:
    """Neither pauses, nor a tail, nor how long they have worked decide then."""
    said = Rules(idle_timeout=150.0)
    assert not kept(151, past=SHORT_PAUSES, rules=said)
    assert kept(149, past=LONG_PAUSES, rules=said)
    assert kept(149, worked=1.0, rules=said)
    assert not kept(1.0, rules=Rules(idle_timeout=0.5))
    assert size(TAIL, evolve(SLOW, idle=idle(8, 149.0)), rules=said) == 10


@pytest.mark.parametrize(
    ("pause", "who"), [(100.0, ["speed", "balance", "cost"]), (500.0, ["speed", "balance"]), (1500.0, ["speed"])]
)
def test_idle_jobs_are_kept_over_longer_pauses_the_more_time_matters(pause: float, who: list[str]) -> None:
    """In a queue of ten minutes."""
    past = Past(pauses=(pause,) * 4)
    assert [name for name in PREFERENCES if kept(pause, past=past, rules=Rules(prefer=PREFERENCES[name]))] == who


def test_idle_jobs_are_kept_for_longer_the_more_an_hour_is_worth() -> None:
    """And for less long, the more of them there are, and the more each costs."""
    past = Past(pauses=(500.0,) * 4)
    dear, cheap = (Rules(prefer=Preference(hour=hour)) for hour in (10.0, 0.1))
    assert kept(500, past=past, rules=dear)
    assert not kept(500, past=past, rules=cheap)
    many = evolve(SLOW, connected=100, idle=idle(100, 500.0))
    assert size(NOTHING, many, past=past, rules=dear) == 0
    costly = evolve(SLOW, kind=evolve(ONE, cores=100), connected=1, idle=idle(1, 500.0))
    assert size(NOTHING, costly, past=past, rules=dear) == 0


# --- which ones -------------------------------------------------------------------------------------------------


def test_those_nearest_to_their_end_leave_first() -> None:
    """They would be of no use for long; one whose end nobody knows is the last."""
    jobs = [
        IdleJob(id=JobId(name), since=0.0, came_at=-NOW, leaves_at=leaves)
        for name, leaves in (("a", NOW + 500), ("b", NOW + 300), ("c", None))
    ]
    decision = decide(tasks(0, 600.0, assigned=2), [View(kind=ONE, connected=4, idle=jobs)], {}, NOW, USUAL)
    assert decision.sizes["one"] == Size(jobs=2, release=(JobId("b"), JobId("a")))


def test_those_with_fewest_results_leave_first() -> None:
    """Less must be moved."""
    jobs = [*idle(2, 9000.0, stored=5), *idle(2, 9000.0, stored=1, first=2)]
    decision = decide(tasks(0, 600.0, assigned=2), [View(kind=ONE, connected=4, idle=jobs)], {}, NOW, USUAL)
    assert decision.sizes["one"].release == (JobId("2"), JobId("3"))


def test_jobs_that_wait_are_given_up_with_idle_ones_where_they_come_at_once() -> None:
    """They would take their places, with nothing to do; those of a slow queue are kept for as long as ever."""
    past = Past(needed=(Needed(at=NOW - 5, jobs=15),))
    lazy = evolve(SLOW, coming=5, idle=idle(8, 100.0))
    assert size(TAIL, evolve(lazy, waits=[5.0]), past=past) == 2
    assert size(TAIL, lazy, past=past) == 2 + 5
    assert size(TAIL, evolve(lazy, waits=[5.0], idle=[]), past=past) == 15


def test_only_idle_jobs_leave() -> None:
    """Others that are too many have something to do yet."""
    decision = decide(tasks(1, 0.01), [View(kind=ONE, connected=4, idle=idle(1, 9000.0))], {}, NOW, USUAL)
    assert decision.sizes["one"] == Size(jobs=3, release=(JobId("0"),))
