"""How many durations were how long: histograms that only grow; those of commands, by program."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence

from attrs import define, field

#: Bounds of how long commands take (s).
COMMAND_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: So many programs are told apart: plugins name them, and the numbers of a monitoring system must stay few.
PROGRAMS = 40
#: What the others are called.
OTHERS = "other"


@define(kw_only=True)
class Histogram:
    """Counts durations. Changed in one thread; may be read from any."""

    #: Upper bounds (s), rising.
    bounds: Sequence[float]
    #: How many were at most so long, and longer than the bound before; the last has no bound.
    counts: list[int] = field(init=False)
    #: Of all of them (s).
    seconds: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds


@define
class CommandTimes:
    """How often each program was run, how long that took, and how often it failed."""

    times: dict[str, Histogram] = field(factory=dict)
    failed: dict[str, int] = field(factory=dict)

    def ran(self, program: str, seconds: float, *, has_failed: bool) -> None:
        """One command has ended, or was given up."""
        name = os.path.basename(program)
        if name not in self.times and len(self.times) >= PROGRAMS:
            name = OTHERS
        if name not in self.times:
            self.failed[name] = 0
            self.times[name] = Histogram(bounds=COMMAND_BOUNDS)
        self.times[name].add(seconds)
        self.failed[name] += has_failed
