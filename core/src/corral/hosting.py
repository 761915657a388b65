"""A Dask scheduler in this process, and what every cluster that has one shows of it."""

from __future__ import annotations

import atexit
import secrets
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import evolve, frozen
from distributed import Scheduler, Security
from distributed.core import Status
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.objects import SchedulerInfo

from corral import network
from corral.security import Credentials

#: How long closing may take at the exit of Python (s).
EXIT_TIMEOUT = 20.0


@frozen(kw_only=True)
class Hosted:
    """A scheduler that runs."""

    scheduler: Scheduler
    #: They know its addresses.
    credentials: Credentials
    #: Of every path of its dashboard.
    prefix: str


async def host(
    credentials: Credentials,
    security: Security,
    *,
    address: str | None = None,
    port: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Hosted:
    """Start a scheduler.

    Parameters
    ----------
    address
        Where it listens; None: everywhere.
    options
        Further keyword arguments of `distributed.Scheduler`; they win.
    """
    chosen: dict[str, Any] = {
        "host": address,
        "port": port,
        "protocol": "tls" if credentials.key is not None else "tcp",
        "security": security,
        # Loopback is shared by everybody on a login node: hence the prefix that nobody can guess.
        "dashboard_address": "127.0.0.1:0",
        "http_prefix": f"/{secrets.token_urlsafe(16)}",
        **(options or {}),
    }
    scheduler = await Scheduler(**chosen)
    everywhere = chosen["host"] is None and "interface" not in chosen
    addresses = network.addresses_of(scheduler.address, everywhere=everywhere)
    return Hosted(
        scheduler=scheduler,
        credentials=evolve(credentials, addresses=addresses),
        prefix=chosen["http_prefix"].rstrip("/"),
    )


class HostingCluster(DaskCluster):
    """The part of a cluster that its scheduler in this process answers for."""

    scheduler: Scheduler | None = None
    _prefix = ""

    def __await__(self) -> Any:
        async def started() -> Any:
            if self.status is Status.created:
                try:
                    await self._start()
                except BaseException:
                    await self._close()
                    raise
            return self

        return started().__await__()

    def close(self, timeout: float | None = None) -> Any:
        """End all workers, see that they have ended, and remove every trace of the cluster."""
        closing = super().close(timeout)
        if not self.asynchronous:
            self._loop_runner.stop()
        return closing

    @property
    def observed(self) -> set[str]:
        """Names of the workers that are connected."""
        return {str(worker.name) for worker in list(self.scheduler.workers.values())} if self.scheduler else set()

    @property
    def scheduler_info(self) -> Any:
        """What the Dask scheduler says of itself and its workers, now."""
        if self.scheduler is None or self.scheduler.status is not Status.running:
            return SchedulerInfo({"type": "Scheduler", "id": "", "workers": {}, "services": {}, "address": ""})
        return SchedulerInfo(self.scheduler.identity())

    @scheduler_info.setter
    def scheduler_info(self, value: Any) -> None:
        """Dask's base class assigns its own copy, which nobody needs beside the scheduler itself."""

    @property
    def dashboard_link(self) -> str:
        """Where the dashboard is, with the secret prefix that keeps others on this host out."""
        port = self.scheduler_info["services"].get("dashboard")
        return "" if port is None else network.dashboard_link(port, self._prefix)


# --- the end of Python ------------------------------------------------------------------------------------------

_open: weakref.WeakSet[HostingCluster] = weakref.WeakSet()


def remember(cluster: HostingCluster) -> None:
    """Close it at exit if nobody did. Registered with the first cluster, not by an import."""
    if not _open:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _open.add(cluster)


def forget(cluster: HostingCluster) -> None:
    """It is closed."""
    _open.discard(cluster)


def _close_all() -> None:
    for cluster in list(_open):
        if not cluster.asynchronous:
            with suppress(Exception):
                cluster.close(timeout=EXIT_TIMEOUT)
