"""corral: Dask clusters on HPC batch systems.

General layout, from the ground up; each room imports only those above it here:

- `text`, `errors`, `host`: words, what is raised, and what of this machine is relied on;
- `plugin`: what batch systems and computing centres are written against; `local`, the embedded queue, is one of them;
- `environment`, `batch`, `security`: what follows a program to its jobs, one batch system, and who may connect;
- `launch`: what runs inside a job;
- `request`, `jobs`, `scaling`: what people ask for, what is known of jobs and to be done next, how large groups are;
- `simulation`: the same decisions in simulated queues;
- `view`: what people see of a cluster;
- `cluster`: the engine and its public face; `allocation`: a cluster within one job; `remote`: its scheduler in a job;
- `testing`, `cli`: the conformance kit, and the command line.

docs/design.md says which files to read first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corral._version import __version__

if TYPE_CHECKING:
    from corral import errors
    from corral.allocation.cluster import Allocation
    from corral.cluster.cluster import Cluster
    from corral.cluster.connecting import credentials_of
    from corral.plugin.conversations import mapped
    from corral.plugin.hookspecs import hookimpl
    from corral.plugin.values import JobState
    from corral.remote.cluster import RemoteCluster
    from corral.request.worker_group import WorkerGroup

__all__ = [
    "Allocation", "Cluster", "JobState", "RemoteCluster", "WorkerGroup", "__version__", "credentials_of", "errors",
    "hookimpl", "mapped",
]  # fmt: skip

_HOMES = {
    "Allocation": "corral.allocation.cluster",
    "Cluster": "corral.cluster.cluster",
    "JobState": "corral.plugin.values",
    "credentials_of": "corral.cluster.connecting",
    "RemoteCluster": "corral.remote.cluster",
    "WorkerGroup": "corral.request.worker_group",
    "hookimpl": "corral.plugin.hookspecs",
    "mapped": "corral.plugin.conversations",
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
        importlib.import_module("corral.request.synonyms").refuse_import(name)
    raise AttributeError(f"module 'corral' has no attribute {name!r}")
