"""How a cluster's size went over the last day, in few points: coarser the longer ago it was. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import astuple, define, field, fields, frozen

#: What is older is forgotten (s).
SPAN = 86_400.0
#: Of each cell of time one point is kept. A cell is at most this part of its age: a day ago five minutes; and at least
#: so long (s).
COARSENESS, SHORTEST = 1 / 300, 0.25
#: After so many points, those that are too close are dropped.
_THINNED_EVERY = 200


@frozen
class Point:
    """A cluster at one moment."""

    #: s since the epoch.
    moment: float
    #: Connected workers, and how many are wanted.
    workers: int = 0
    wanted: int = 0
    #: Living jobs by phase, in the order of `corral.view.overview.PHASES`.
    waiting: int = 0
    starting: int = 0
    working: int = 0
    draining: int = 0
    cancelling: int = 0

    @property
    def counts(self) -> tuple[int, ...]:
        """All but the moment."""
        return astuple(self)[1:]


#: The names of what a point says, in order.
COLUMNS = tuple(attribute.name for attribute in fields(Point))


@define
class Series:
    """Points, oldest first: each holds until the next. Some 3,000 at most, however often it is added to.

    While nothing changes, the last point moves on; so a day of rest is two points.
    """

    _points: list[Point] = field(factory=list)
    _added: int = 0

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self._points)

    @property
    def points(self) -> tuple[Point, ...]:
        """All of them; may be read from any thread."""
        return tuple(self._points)

    def add(self, point: Point) -> None:
        """What is so now; earlier than the last one, because a clock was set: the later ones are dropped."""
        points = self._points
        while points and points[-1].moment >= point.moment:
            points.pop()
        if len(points) > 1 and points[-1].counts == points[-2].counts == point.counts:
            points.pop()
        points.append(point)
        self._added += 1
        if self._added % _THINNED_EVERY == 0:
            self._points = thinned(points, point.moment)


def thinned(points: list[Point], now: float) -> list[Point]:
    """The first of each cell of time; cells are the longer the longer ago they were.

    Each cell is a half of one that is twice as long, so that what is kept once stays until a longer cell has another
    first: however often points are thinned, their gaps do not add up.
    """
    kept: list[Point] = []
    cell = (0.0, -1.0)
    for point in points:
        age = now - point.moment
        if age > SPAN:
            continue
        length = 2.0 ** math.floor(math.log2(max(age * COARSENESS, SHORTEST)))
        here = (length, point.moment // length)
        if here != cell:
            kept.append(point)
        cell = here
    return kept
