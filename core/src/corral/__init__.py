"""corral: Dask clusters on HPC batch systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corral._version import __version__

if TYPE_CHECKING:
    from corral import errors
    from corral.allocation import Allocation
    from corral.cluster import Cluster
    from corral.connecting import credentials_of
    from corral.conversations import mapped
    from corral.domain import JobState
    from corral.group import WorkerGroup
    from corral.hookspecs import hookimpl
    from corral.remote import RemoteCluster

__all__ = [
    "Allocation", "Cluster", "JobState", "RemoteCluster", "WorkerGroup", "__version__", "credentials_of", "errors",
    "hookimpl", "mapped",
]  # fmt: skip

_HOMES = {
    "Allocation": "corral.allocation",
    "Cluster": "corral.cluster",
    "JobState": "corral.domain",
    "credentials_of": "corral.connecting",
    "RemoteCluster": "corral.remote",
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
    raise AttributeError(f"module 'corral' has no attribute {name!r}")
