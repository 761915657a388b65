"""A Dask scheduler in this process, and what every cluster that has one shows of it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import signal
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from attrs import evolve, frozen
from distributed import Security
from distributed.comm.addressing import get_address_host
from distributed.core import Status
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.objects import SchedulerInfo

from corral import network
from corral.door import Door
from corral.listening import guard_http, guarded
from corral.membership import ClusterSecurity, bear_with_silent_browsers
from corral.scheduler import Scheduler
from corral.security import Credentials

logger = logging.getLogger("corral")

#: How long closing may take at the exit of Python (s).
EXIT_TIMEOUT = 20.0


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
    addresses = network.addresses_of(scheduler.address, everywhere=everywhere)
    return Hosted(
        scheduler=scheduler,
        credentials=evolve(credentials, addresses=addresses, dashboard_prefix=prefix),
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


class HostingCluster(DaskCluster):
    """The part of a cluster that its scheduler in this process answers for."""

    scheduler: Scheduler | None = None
    _dashboard: Dashboard | None = None
    _closing: asyncio.Task[None] | None = None

    @abstractmethod
    async def _close_down(self) -> None:
        """End all workers, and remove every trace; called once."""

    @abstractmethod
    def _remove_traces(self) -> None:
        """Remove the credentials and what else is in files: what still runs takes that for the cluster's end."""

    def _begin(self) -> None:
        """Start now, unless that is for an event loop of the user's to await."""
        if self.asynchronous:
            return
        self._loop_runner.start()
        remember(self)
        try:
            self.sync(self._start)
        except BaseException:
            self.close()
            raise

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

    async def _close(self) -> None:
        # Whoever gives up waiting, by Ctrl-C for example, does not keep the cluster from closing.
        if self.status is not Status.closed:
            self._closing = self._closing or asyncio.create_task(self._end(), name="corral close")
            await asyncio.shield(self._closing)

    async def _end(self) -> None:
        try:
            await self._close_down()
        except asyncio.CancelledError:
            # The loop ends: there is time for one thing.
            self._remove_traces()
            raise
        finally:
            self.status = Status.closed
            forget(self)

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
        """Where the dashboard is, with the secret prefix that keeps others on this host out; empty if there is none."""
        found = self._dashboard
        if found is None or self.scheduler is None or self.scheduler.status is not Status.running:
            return ""
        return network.dashboard_link(found.port, found.prefix, found.host)


# --- the end of Python ------------------------------------------------------------------------------------------

_open: weakref.WeakSet[HostingCluster] = weakref.WeakSet()
#: Event loops that work on while Python exits.
_prepared: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def remember(cluster: HostingCluster) -> None:
    """Close it at exit if nobody did. Registered with the first cluster, not by an import."""
    if not _open:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _open.add(cluster)
    loop = cluster.loop.asyncio_loop  # type: ignore[union-attr]
    if loop not in _prepared:
        _prepared.add(loop)
        loop.call_soon_threadsafe(loop.set_default_executor, _Threads(thread_name_prefix="corral"))


def forget(cluster: HostingCluster) -> None:
    """It is closed."""
    _open.discard(cluster)


def _close_all() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT
    for cluster in list(_open):
        with _interrupts_told(cluster.name):
            _close_at_exit(cluster, max(1.0, deadline - time.monotonic()))


def _close_at_exit(cluster: HostingCluster, timeout: float) -> None:
    try:
        cluster.close(timeout=timeout)
    except Exception as error:
        logger.warning("cluster %s was not closed in an orderly way: %r", cluster.name, error)
    if cluster.status is not Status.closed:
        with suppress(OSError):
            cluster._remove_traces()  # noqa: SLF001 - the same room


class _Threads(ThreadPoolExecutor):
    """Threads for what an event loop must not wait for; when Python exits and gives no more, the loop waits."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        with suppress(RuntimeError):
            return super().submit(function, *arguments, **more)
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments, **more))
        except BaseException as error:
            done.set_exception(error)
        return done


@contextmanager
def _interrupts_told(name: str) -> Iterator[None]:
    """Say why it takes a moment when somebody presses Ctrl-C again; a handler of the user's own is left alone."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def tell(_number: int, _frame: object) -> None:
        logger.warning("cluster %s is ending its jobs, for %.0f s at most", name, EXIT_TIMEOUT)

    signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
