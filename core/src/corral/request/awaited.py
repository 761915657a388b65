"""How many workers somebody waits for, and how long: pure."""

from __future__ import annotations

import math
from datetime import timedelta

from attrs import frozen

from corral.errors import InvalidRequest
from corral.request.quantities import parse_count, parse_duration


@frozen(kw_only=True)
class Awaited:
    """What `Cluster.wait_for_workers` was asked for."""

    #: None: as many as are wanted when the waiting begins.
    n_workers: int | None
    #: So large a part of them is enough.
    fraction: float
    #: Seconds; None: as long as it takes.
    timeout: float | None

    @classmethod
    def of(cls, n_workers: object, timeout: str | float | timedelta | None, fraction: float) -> Awaited:
        """Check what a person wrote.

        Raises
        ------
        InvalidRequest
        """
        if not 0 < fraction <= 1:
            raise InvalidRequest("fraction", f"{fraction!r} is not above 0 and at most 1")
        return cls(
            n_workers=None if n_workers is None else parse_count("n_workers", n_workers, at_least=1),
            fraction=fraction,
            timeout=None if timeout is None else parse_duration("timeout", timeout),
        )

    def count(self, wanted: int) -> int:
        """How many workers are enough.

        Parameters
        ----------
        wanted
            How many the cluster wants now.

        Raises
        ------
        InvalidRequest
            None is wanted, and none was asked for.
        """
        goal = self.goal(wanted)
        if not goal:
            raise InvalidRequest("n_workers", "no workers have been asked for; say how many, or call scale() first")
        return goal

    def goal(self, wanted: int) -> int:
        """The same, where 0 is an answer."""
        return math.ceil(round((wanted if self.n_workers is None else self.n_workers) * self.fraction, 6))
