"""How type checkers see a cluster on an event loop: the same class, whose methods that take time are awaited.

Nothing here exists when a program runs. ``async with Cluster(..., asynchronous=True) as cluster`` and ``cluster = await
Cluster(..., asynchronous=True)`` hand over a `Cluster`, which type checkers take for an `AsyncCluster`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corral.cluster.cluster import Cluster
    from corral.jobs.explanation import Explanations
    from corral.jobs.record import JobRecord
    from corral.plugin.values import JobId

    class AsyncCluster(Cluster):
        """A cluster that was awaited."""

        def wait_for_workers(  # type: ignore[override] # that is what is different
            self,
            n_workers: int | None = None,
            timeout: float | str | timedelta | None = None,
            *,
            fraction: float = 1.0,
        ) -> Coroutine[Any, Any, None]: ...

        def explain(  # type: ignore[override]
            self, job: JobRecord | JobId | str | None = None
        ) -> Coroutine[Any, Any, Explanations]: ...

        # What a subclass adds; its own type is lost where it is awaited.
        def __getattr__(self, name: str) -> Any: ...
