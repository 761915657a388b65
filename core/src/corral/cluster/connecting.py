"""Clients that have an address but no credentials: they are told what to write, or given the user's own.

Dask asks the function that ``distributed.client.security-loader`` names for the credentials of a client that was made
from an address alone. Only the scheduler's own user has them, and a scheduler cannot answer a client without them.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dask.config

from corral.errors import CorralError, InvalidRequest

if TYPE_CHECKING:
    from distributed import Security

    from corral.cluster.hosting_cluster import HostingCluster

_LOADER = "distributed.client.security-loader"

_here: weakref.WeakSet[HostingCluster] = weakref.WeakSet()


def remember(cluster: HostingCluster) -> None:
    """From now on, clients that are made from its address alone are told what to write."""
    _here.add(cluster)
    # A loader of the user's own stays.
    if not dask.config.get(_LOADER, default=None):
        dask.config.set({_LOADER: f"{__name__}.explain"})


def explain(client: Mapping[str, Any]) -> Security | None:
    """What this process's clusters set as Dask's loader: names the cluster, and the cure.

    Raises
    ------
    InvalidRequest
        The address is that of a cluster of this process, which has TLS.
    """
    cluster = _cluster_at(client.get("address"))
    if cluster is None or not cluster.scheduler_address.startswith("tls://"):
        return None
    raise InvalidRequest(
        "address",
        f"{client['address']} is cluster {cluster.name!r}, which nobody can join without its credentials: write "
        "Client(cluster), or Client(address, security=cluster.security). Another program writes "
        f"Client(Cluster.connect({cluster.name!r})), or finds the credentials as described in docs/connecting.md",
    )


def credentials_of(client: Mapping[str, Any]) -> Security | None:
    """For Dask's configuration, ``distributed.client.security-loader: corral.credentials_of``.

    Clients that are given only the address of one of your clusters then find its credentials: in this process, or in
    the private files of your registered clusters. None: it is not such an address.
    """
    from corral.cluster.registry import entries
    from corral.security.credentials import Credentials

    address = client.get("address")
    if (cluster := _cluster_at(address)) is not None:
        found: Security = cluster.security  # type: ignore[attr-defined] # as every Dask cluster has
        return found
    for entry in entries():
        if not entry.credentials:
            continue
        try:
            credentials = Credentials.read(entry.credentials)
        except (CorralError, OSError):
            continue  # it has ended, or waits for its job
        if address in credentials.addresses:
            return credentials.security()
    return None


def _cluster_at(address: object) -> HostingCluster | None:
    return next((cluster for cluster in list(_here) if cluster.scheduler_address == address), None)
