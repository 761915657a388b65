"""While nobody knows how long tasks take; and what becomes of jobs that wait in the queue."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from core.tests.policy.conftest import ONE, USUAL, size, story, tasks
from corral.scaling import policy
from corral.scaling.views import View
from corral.scaling.workload import LONG, Demand

#: Seen to run for half a minute, and none has ended.
UNKNOWN = tasks(10_000, None, elapsed=30.0)
#: How long jobs have waited (s).
WAITS = range(0, 14_400, 5)


# --- a guess ----------------------------------------------------------------------------------------------------


def test_a_first_guess_is_the_root_of_what_there_could_be() -> None:
    """Four times as many tasks ask for twice as many jobs, and few ask for one each."""
    few, many = (size(tasks(count, None), View(kind=ONE)) for count in (2500, 10_000))
    assert few < 2500 / 4
    assert many == pytest.approx(2 * few, abs=1)
    assert size(tasks(3, None), View(kind=ONE)) == 3


def test_a_guess_grows_while_jobs_wait() -> None:
    """While they do, nothing is learnt, and to ask later means to wait again."""
    found = [size(tasks(10_000, None), View(kind=ONE, coming=1, expected_wait=wait)) for wait in WAITS]
    assert found == sorted(found)
    assert 2 * found[0] < found[-1] <= policy.BOLDEST * found[0]


def test_a_guess_grows_in_a_few_steps() -> None:
    """Each is a submission, and small ones are not worth it."""
    found = {size(tasks(10_000, None), View(kind=ONE, coming=1, expected_wait=wait)) for wait in WAITS}
    assert len(found) <= 1 + math.log(policy.BOLDEST, math.sqrt(2))


def test_a_guess_is_never_more_than_there_are_tasks() -> None:
    """However long jobs wait."""
    assert size(tasks(50, None), View(kind=ONE, coming=1, expected_wait=1e6)) == 50


def test_a_guess_that_is_confirmed_grows_with_those_that_work() -> None:
    """Tasks run and do not end: a few times as many as work are not far off."""
    assert size(UNKNOWN, View(kind=ONE, connected=600)) == policy.GROWTH * 600
    assert 50 < size(tasks(100, None, elapsed=30.0), View(kind=ONE, connected=50)) <= 100
    assert size(tasks(10_000, None), View(kind=ONE, connected=600)) == 600


def test_unknown_durations_never_explode_the_size() -> None:
    """While nobody works, the guess is all there is."""
    assert size(UNKNOWN, View(kind=ONE)) == size(tasks(10_000, None), View(kind=ONE))


def test_a_task_that_has_run_for_a_minute_is_long() -> None:
    """Each asks for a thread then, whoever works already."""
    assert size(tasks(500, None, elapsed=LONG), View(kind=ONE, connected=1)) == 500


def test_what_a_group_says_of_its_tasks_is_no_guess() -> None:
    """Until one was seen to run for longer."""
    said = View(kind=evolve(ONE, task_time=1800.0))
    assert size(tasks(500, None), said) == 500
    brief = View(kind=evolve(ONE, task_time=0.001))
    assert size(tasks(500, None), brief) == 1
    assert size(tasks(500, None, elapsed=1000.0), brief) == 500


# --- jobs that wait ---------------------------------------------------------------------------------------------


def test_what_a_wrong_guess_asked_for_is_cancelled_once_durations_are_known() -> None:
    """Of hundreds that wait, a few will do; had it been no guess, the need might come back."""
    guess = size(tasks(10_000, None), View(kind=ONE))
    view = View(kind=ONE, coming=guess)
    known = tasks(9000, 0.01)
    assert story(view, [(0, tasks(10_000, None)), (5, known)]).sizes["one"].jobs == size(known, View(kind=ONE)) < 10
    assert story(view, [(0, tasks(guess, 600.0)), (5, known)]).sizes["one"].jobs == guess


def test_a_guess_that_was_not_far_off_is_kept() -> None:
    """Half of those that wait are needed."""
    guess = size(tasks(10_000, None), View(kind=ONE))
    decision = story(View(kind=ONE, coming=guess), [(0, tasks(10_000, None)), (5, tasks(guess // 2, 600.0))])
    assert decision.sizes["one"].jobs == guess


def test_a_guess_is_kept_while_nothing_is_known() -> None:
    """Nor does it shrink with the tasks that are left."""
    guess = size(tasks(10_000, None), View(kind=ONE))
    decision = story(View(kind=ONE, coming=guess), [(0, tasks(10_000, None)), (5, tasks(10, None))])
    assert decision.sizes["one"].jobs == guess


@pytest.mark.parametrize(
    ("usual", "patience"),
    [(0.0, policy.SHORTEST_PATIENCE), (600.0, 600.0), (7200.0, policy.LONGEST_PATIENCE)],
    ids=["quick", "slow", "slowest"],
)
def test_waiting_jobs_are_kept_for_as_long_as_new_ones_take(usual: float, patience: float) -> None:
    """A dip in load cancels nothing: a minute at least, and an hour at most."""
    view = View(kind=ONE, coming=20, waits=[usual])
    needed = (0.0, tasks(20, 600.0))
    for seconds, jobs in ((patience - 1, 20), (patience + 1, 0)):
        assert story(view, [needed, (1.0, Demand()), (seconds, Demand())]).sizes["one"].jobs == jobs


def test_waiting_jobs_are_given_up_down_to_what_was_needed_meanwhile() -> None:
    """Not to what is needed this second."""
    moments = [(float(second), tasks(count, 600.0)) for second, count in ((0, 20), (50, 12), (100, 3), (130, 0))]
    assert story(View(kind=ONE, coming=20, waits=[100.0]), moments).sizes["one"].jobs == 12


def test_those_that_have_come_are_as_good_as_those_that_wait() -> None:
    """What is needed is there: the others are given up when it is their time."""
    view = View(kind=ONE, connected=5, coming=15)
    needed = (0.0, tasks(20, 600.0))
    for seconds, jobs in ((1.0, 20), (policy.SHORTEST_PATIENCE, 5)):
        assert story(view, [needed, (seconds, tasks(0, 600.0, assigned=5))], USUAL).sizes["one"].jobs == jobs
