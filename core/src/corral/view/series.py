"""How a cluster's size went over the last day, in few points: exact a moment ago, coarser the longer ago it was. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import astuple, define, field, fields, frozen

#: What is older is forgotten (s).
SPAN = 86_400.0
#: Two points are at least this part of their age apart: a minute ago a fifth of a second, a day ago five minutes.
COARSENESS = 1 / 300
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
    """Points, oldest first: each holds until the next. Some 2,000 at most, however often it is added to.

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
        points = [each for each in self._points if each.moment < point.moment]
        if len(points) > 1 and points[-1].counts == points[-2].counts == point.counts:
            points.pop()
        points.append(point)
        self._added += 1
        if self._added % _THINNED_EVERY == 0:
            points = thinned(points, point.moment)
        self._points = points


def thinned(points: list[Point], now: float) -> list[Point]:
    """Without those that are too old, and those that are closer to the one kept before than their age allows."""
    kept: list[Point] = []
    for point in points:
        age = now - point.moment
        if age <= SPAN and (not kept or point.moment - kept[-1].moment >= age * COARSENESS):
            kept.append(point)
    return kept
