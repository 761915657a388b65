"""A cluster elsewhere that has the size of its work, as its handles show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from corral.remote.messages import AdaptiveState


class RemoteAdaptive:
    """What `Cluster.adapt` returned in the scheduler's process, as last reported."""

    def __init__(self, told: Callable[[], AdaptiveState], stop: Callable[[str], None]) -> None:
        self._told = told
        self._stop = stop

    @property
    def minimum(self) -> int:
        return self._told().minimum

    @property
    def maximum(self) -> float:
        return self._told().maximum

    @property
    def target_duration(self) -> float:
        return self._told().target_duration

    @property
    def idle_timeout(self) -> float | None:
        return self._told().idle_timeout

    @property
    def state(self) -> str:
        return self._told().state

    @property
    def log(self) -> Sequence[tuple[float, dict[str, Any]]]:
        return self._told().log

    def stop(self, reason: str = "asked to") -> None:
        self._stop(reason)

    def __repr__(self) -> str:
        return f"Adaptive(minimum={self.minimum}, maximum={self.maximum}, {self.state})"
