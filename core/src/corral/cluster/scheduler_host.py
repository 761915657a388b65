"""A Dask scheduler in this process: how it is started, and what distributed would never forget of it."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen
from distributed import Security, core
from distributed.comm.addressing import get_address_host
from distributed.objects import SchedulerInfo

from corral.cluster.scheduler import Scheduler
from corral.security import addresses
from corral.security.credentials import Credentials
from corral.security.door import Door
from corral.security.listening import guard_http, guarded
from corral.security.membership import ClusterSecurity, bear_with_silent_browsers


@frozen(kw_only=True)
class Dashboard:
    """Where a dashboard listens."""

    host: str
    port: int
    #: Of every path; empty if the user wanted none.
    prefix: str


@frozen(kw_only=True)
class Hosted:
    """A scheduler that runs."""

    scheduler: Scheduler
    #: They know its addresses, and its dashboard's prefix.
    credentials: Credentials
    #: None: it has none.
    dashboard: Dashboard | None


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
        Further keyword arguments of `distributed.Scheduler`; they win. An ``http_prefix`` takes the place of the secret
        one; ``"/"`` is none.
    """
    further = dict(options or {})
    # Loopback is shared by everybody on a login node: hence the prefix that nobody can guess.
    chosen_prefix = further.pop("http_prefix", None)
    door = Door.with_secret() if chosen_prefix is None else Door.of(chosen_prefix)
    prefix = "" if door is None else door.prefix
    chosen: dict[str, Any] = {
        "host": address,
        "port": port,
        "protocol": "tls" if credentials.key is not None else "tcp",
        "security": security,
        "dashboard_address": "127.0.0.1:0",
        **further,
    }
    chosen["security"] = ClusterSecurity.of(chosen["security"])
    scheduler = guarded(Scheduler(**chosen))
    bear_with_silent_browsers(scheduler)
    # It listens already, and accepts once the event loop has its turn.
    if door is not None:
        door.guard(scheduler.http_server)
    guard_http(scheduler.http_server, prefix)
    await scheduler
    everywhere = chosen["host"] is None and "interface" not in chosen
    reachable = addresses.addresses_of(scheduler.address, everywhere=everywhere)
    return Hosted(
        scheduler=scheduler,
        credentials=evolve(credentials, addresses=reachable, dashboard_prefix=prefix),
        dashboard=_dashboard_of(scheduler, chosen, prefix),
    )


def _dashboard_of(scheduler: Scheduler, chosen: Mapping[str, Any], prefix: str) -> Dashboard | None:
    is_wanted = chosen.get("dashboard")
    # As the scheduler reads these two.
    if not (chosen["dashboard_address"] if is_wanted is None else is_wanted):
        return None
    # These attributes are distributed's own.
    server: Any = scheduler.http_server
    host = get_address_host(scheduler.address) if server.address in ("0.0.0.0", "::") else server.address  # noqa: S104
    return Dashboard(host=host, port=server.port, prefix=prefix)


def no_scheduler_info() -> SchedulerInfo:
    """What is said of a scheduler that does not run: every word that Dask's pages about one read."""
    return SchedulerInfo(
        type="Scheduler", id="not running", address="", services={}, workers={}, started=time.time(),
        n_workers=0, total_threads=0, total_memory=0,
    )  # fmt: skip


def have_forgotten(scheduler: Scheduler | None) -> None:
    """Let distributed forget a scheduler, which it would remember as long as this process lives: 0.4 MB each.

    It does so in two places: which handlers take a connection, by the handlers, and what pages of the dashboard begin
    with, by the scheduler. There is no public way to either.
    """
    clear = getattr(getattr(core, "_expects_comm", None), "cache_clear", None)
    if clear is not None:
        clear()
    pages = sys.modules.get("distributed.dashboard.scheduler")
    for cell in getattr(getattr(pages, "template_variables", None), "__closure__", None) or ():
        if isinstance(remembered := cell.cell_contents, dict):
            remembered.pop(scheduler, None)


def finalizers_of(scheduler: Scheduler | None) -> list[weakref.finalize[..., Any]]:
    """By these Dask's scheduler has its temporary folder and its scheduler file removed when it is not closed."""
    if scheduler is None:
        return []
    parts = {id(part) for part in (scheduler, *vars(scheduler).values())}
    # There is no public way to them.
    pending = list(getattr(weakref.finalize, "_registry", ()))
    return [finalizer for finalizer in pending if (alive := finalizer.peek()) and id(alive[0]) in parts]
