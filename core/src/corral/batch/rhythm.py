"""When one cluster wants to know what its batch system says of its jobs: as seldom as administrators accept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

#: Seconds after a change at which jobs are polled, and the pace when nothing changes.
AFTER_CHANGE = (2.0, 5.0, 10.0, 20.0)
AT_REST = 60.0
#: The pace while all jobs are connected: launchers and workers report by themselves.
ALL_CONNECTED = 600.0
#: An answer that is asked for so little before an urgent question is due serves it as well (s).
_SLACK = 0.5


class Rhythm:
    """The moments at which one cluster wants to know: soon and often after a change, slowly when things rest.

    Moments are seconds on the clock of whoever calls.
    """

    def __init__(
        self,
        *,
        after_change: Sequence[float] = AFTER_CHANGE,
        at_rest: float = AT_REST,
        all_connected: float = ALL_CONNECTED,
    ) -> None:
        self.after_change = after_change
        self.at_rest = at_rest
        self.all_connected = max(at_rest, all_connected)
        #: True while every job reports by itself.
        self.is_connected = False
        self._changed_at = 0.0
        self._polled_at: float | None = None
        self._urgent_at: float | None = None

    @classmethod
    def often(cls) -> Self:
        """For a batch system that nobody shares."""
        return cls(after_change=(0.3, 1.0, 2.0, 5.0, 10.0), at_rest=10.0, all_connected=10.0)

    def changed(self, now: float) -> None:
        """Something happened: begin again with short intervals."""
        self._changed_at = now

    def urgent(self, at: float) -> None:
        """A question that cannot wait, at that moment."""
        self._urgent_at = at if self._urgent_at is None else min(at, self._urgent_at)

    def polled(self, asked_at: float) -> None:
        """Everything is known that could be known at that moment."""
        self._polled_at = asked_at if self._polled_at is None else max(asked_at, self._polled_at)
        if self._urgent_at is not None and self._urgent_at <= asked_at + _SLACK:
            self._urgent_at = None

    def due(self) -> float:
        """When to ask next."""
        due, _ = self._next()
        return due if self._urgent_at is None else min(due, self._urgent_at)

    def is_urgent(self, now: float) -> bool:
        """Whether what is due now cannot wait."""
        return self._urgent_at is not None and self._urgent_at <= now

    def oldest(self, now: float) -> float:
        """An answer that was asked for at this moment or later, by whomever, serves for what is due now."""
        due, oldest = self._next()
        if self._urgent_at is not None and self._urgent_at <= now:
            return self._urgent_at - _SLACK if due > now else max(oldest, self._urgent_at - _SLACK)
        return oldest

    def _next(self) -> tuple[float, float]:
        """When the next question of the rhythm is due, and since when an answer serves in its stead."""
        last = self._changed_at if self._polled_at is None else self._polled_at
        before = self._changed_at
        for seconds in self.after_change:
            step = self._changed_at + seconds
            if (oldest := (before + step) / 2) > last:
                return step, oldest
            before = step
        last = max(last, before)
        pause = self.all_connected if self.is_connected else self.at_rest
        return last + pause, last + pause / 2
