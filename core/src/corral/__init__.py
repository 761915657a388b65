"""corral: Dask clusters on HPC batch systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corral._version import __version__

if TYPE_CHECKING:
    from corral import errors
    from corral.allocation import Allocation
    from corral.cluster import Cluster
    from corral.conversations import mapped
    from corral.domain import JobState
    from corral.group import WorkerGroup
    from corral.hookspecs import hookimpl

__all__ = ["Allocation", "Cluster", "JobState", "WorkerGroup", "__version__", "errors", "hookimpl", "mapped"]

_HOMES = {
    "Allocation": "corral.allocation",
    "Cluster": "corral.cluster",
    "JobState": "corral.domain",
    "WorkerGroup": "corral.group",
    "hookimpl": "corral.hookspecs",
    "mapped": "corral.conversations",
}


# Lazy: the launcher must import nothing that starts a thread before it forks, and a command line that only prints
# a script must not wait for distributed.
def __getattr__(name: str) -> Any:
    import importlib

    if name == "errors":
        return importlib.import_module("corral.errors")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name.endswith(("Cluster", "Runner")):
        importlib.import_module("corral.words").refuse_import(name)
    raise AttributeError(f"module 'corral' has no attribute {name!r}")
