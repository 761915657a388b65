"""How a cluster's size went: exact lately, coarser the longer ago, and never more than a few thousand points."""

from __future__ import annotations

import itertools
import random

from corral.view.overview import PHASES
from corral.view.series import COARSENESS, COLUMNS, SPAN, Point, Series, thinned


def test_a_day_of_changes_each_second_is_few_points() -> None:
    """The last minute is there second by second, and each moment of the day within a part of its age."""
    series, seed = Series(), random.Random(1)
    for second in range(90_000):
        series.add(Point(float(second), workers=seed.randrange(100)))
    now, moments = 89_999.0, [point.moment for point in series]
    assert len(series) < 3500
    assert moments == sorted(moments)
    assert moments[-60:] == [now - age for age in range(59, -1, -1)]
    assert now - SPAN - 300 <= moments[0] <= now - SPAN + 600
    gaps = [(now - after, after - before) for before, after in itertools.pairwise(moments)]
    assert all(gap <= max(1.0, 2 * (age + 200) * COARSENESS) for age, gap in gaps)


def test_while_nothing_changes_the_last_point_moves_on() -> None:
    """A plateau is its beginning and its end, and a step stays where it was."""
    series = Series()
    for second in range(100):
        series.add(Point(float(second), workers=3, wanted=5))
    series.add(Point(100.0, workers=4, wanted=5))
    assert [(point.moment, point.workers) for point in series] == [(0.0, 3), (99.0, 3), (100.0, 4)]


def test_a_clock_that_was_set_back_leaves_no_later_points() -> None:
    """A line that runs backwards is none."""
    series = Series()
    for moment in (10.0, 20.0, 30.0):
        series.add(Point(moment, workers=int(moment)))
    series.add(Point(15.0, workers=1))
    assert [point.moment for point in series] == [10.0, 15.0]


def test_what_is_older_than_a_day_is_forgotten() -> None:
    """But not the last point."""
    assert thinned([Point(0.0), Point(SPAN + 1)], SPAN + 2) == [Point(SPAN + 1)]


def test_points_say_the_phases_that_overviews_have() -> None:
    """In their order, because they are given by it."""
    assert COLUMNS == ("moment", "workers", "wanted", *PHASES)
