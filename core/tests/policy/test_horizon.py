"""When what is known to be computed will be done."""

from __future__ import annotations

import math

from core.tests.policy.conftest import followed, tasks
from corral.scaling.workload import Demand, Load


def test_nothing_is_done_at_once() -> None:
    """With or without threads."""
    assert Demand().horizon(4, 0.0) == Demand().horizon(0, 600.0) == 0


def test_what_is_ready_is_divided_among_threads() -> None:
    """Which come after a wait."""
    assert tasks(8, 60.0).horizon(4, 0.0) == 8 * 60 / 4
    assert tasks(8, 60.0).horizon(4, 600.0) == 600 + 8 * 60 / 4


def test_what_runs_takes_as_long_as_others_did() -> None:
    """Less the time for which it has run; the last of several decides."""
    assert Demand(loads=(Load(assigned=4, duration=60.0, latest=20.0),)).horizon(4, 0.0) == 60 - 20
    both = (Load(assigned=2, duration=60.0), Load(assigned=2, duration=900.0))
    assert Demand(loads=both).horizon(4, 0.0) == 900


def test_what_is_late_is_late_for_longer() -> None:
    """The later, the longer."""
    late, later = (Demand(loads=(Load(assigned=1, duration=60.0, latest=latest),)) for latest in (100.0, 1000.0))
    assert 0 < late.horizon(4, 0.0) < 100
    assert later.horizon(4, 0.0) == 10 * late.horizon(4, 0.0)


def test_tasks_that_wait_at_workers_are_ready() -> None:
    """Each thread runs one at a time."""
    assert Demand(loads=(Load(assigned=12, duration=60.0),)).horizon(4, 0.0) == (12 - 4) * 60 / 4


def test_tasks_of_unknown_duration_are_done_soon_or_any_time() -> None:
    """As long as none has run for long, they will take about as long as until now."""
    brief, endless = (Load(assigned=4, duration=None, elapsed=elapsed, latest=elapsed) for elapsed in (2.0, 20.0))
    assert Demand(loads=(brief,)).horizon(4, 0.0) == 2
    assert Demand(loads=(endless,)).horizon(4, 0.0) == math.inf


def test_what_comes_next_takes_as_long_as_its_longest_task_or_all_of_it() -> None:
    """As far as it is known."""
    assert followed(Demand(), 2, 900.0).beyond(4) == 900
    assert followed(Demand(), 12, 60.0).beyond(4) == 12 * 60 / 4
    assert followed(followed(Demand(), 12, 60.0), 5, None).beyond(4) == 12 * 60 / 4
    assert Demand().beyond(0) == followed(Demand(), 5, None).beyond(4) == 0
