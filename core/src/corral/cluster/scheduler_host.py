"""A Dask scheduler in this process, and what every cluster that has one shows of it."""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import os
import select
import selectors
import signal
import sys
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

from attrs import evolve, frozen
from dask.utils import parse_timedelta
from dask.widgets.widgets import get_template
from distributed import Security, core
from distributed.comm.addressing import get_address_host
from distributed.core import Status
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.objects import SchedulerInfo

from corral.cluster.scheduler import Scheduler
from corral.errors import CorralError
from corral.security import addresses
from corral.security.credentials import Credentials
from corral.security.door import Door
from corral.security.listening import guard_http, guarded
from corral.security.membership import ClusterSecurity, bear_with_silent_browsers
from corral.text.printable import html

logger = logging.getLogger("corral")

#: How long closing may take at the exit of Python (s).
EXIT_TIMEOUT = 20.0
#: How often whoever waits for an event loop looks whether there still is one (s).
LOOK_AT_LOOP = 1.0
#: What a step of closing may take beyond its time-out (s).
MARGIN = 15.0


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


class HostingCluster(DaskCluster):
    """The part of a cluster that its scheduler in this process answers for.

    It belongs to the process and to the event loop that it was made on. A fork inherits the object and not the
    cluster; from other threads and loops it can be closed, and when its loop has ended before it, it is ended without.
    """

    scheduler: Scheduler | None = None
    _dashboard: Dashboard | None = None
    _closing: asyncio.Task[None] | None = None
    #: The process that made it; 0: it is not made yet.
    _owner = 0
    _is_asynchronous = False
    #: How many threads wait for its end: the last one stops the event loop.
    _closers = 0
    #: Whether it is closed at the exit of Python, if nobody did.
    _ends_with_process = True
    #: How long closing may take in all (s).
    _patience_with_closing = 90.0

    def __init__(self, *, asynchronous: bool, loop: Any, name: str) -> None:
        self._owner = os.getpid()
        self._is_asynchronous = asynchronous
        # A handler of a signal may close what its own thread is closing.
        self._guard = threading.RLock()
        self._way_back = WayBack(self)
        super().__init__(asynchronous=asynchronous, loop=loop, quiet=True, name=name)

    @abstractmethod
    async def _close_down(self) -> None:
        """End all workers, and remove every trace; called once. What goes wrong is told, and the rest still done."""

    @abstractmethod
    async def _end_jobs_apart(self, timeout: float) -> None:
        """End what runs for the cluster, on another event loop than its own, which has ended."""

    @abstractmethod
    def _remove_traces(self) -> None:
        """Remove the credentials and what else is in files: what still runs takes that for the cluster's end."""

    # --- whose it is --------------------------------------------------------------------------------------------

    @property
    def _is_inherited(self) -> bool:
        """True in a process that was forked from the one that made it."""
        return self._owner not in (0, os.getpid())

    def _whose(self) -> str:
        return (
            f"cluster {self.name!r} belongs to process {self._owner}, which made it, and not to process {os.getpid()}, "
            "which was forked from that one"
        )

    def sync(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a coroutine function on the cluster's event loop.

        Raises
        ------
        CorralError
            This process was forked from the one that made the cluster: there is no loop.
        """
        if self._is_inherited:
            raise CorralError(f"{self._whose()}: use it there")
        return super().sync(func, *args, **kwargs)

    def __del__(self, _warn: Any = None) -> None:
        is_closing = self._closing is not None and not self._closing.done()
        is_open = self.status not in (Status.created, Status.closed) and not is_closing
        if is_open and self._ends_with_process and not self._is_inherited:
            self._way_back.keep(self)
            abandoned(self)

    # --- its beginning ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start now, unless that is for an event loop of the user's to await."""
        if self.asynchronous:
            self._is_asynchronous = True
            return
        self._loop_runner.start()
        remember(self)
        prepare(self.loop.asyncio_loop)  # type: ignore[union-attr]
        try:
            self.sync(self._start)
        except BaseException:
            # Not by way of an error: the one that matters is on its way.
            with self._tried("what was begun could not be ended"):
                self.close()
            raise

    def __await__(self) -> Any:
        async def started() -> Any:
            if self.status is Status.created:
                if not self._is_on_loop():
                    raise CorralError(
                        f"cluster {self.name!r} was made on another event loop: make it on the one that uses it, "
                        "between the same asyncio.run() and its end"
                    )
                remember(self)
                try:
                    await self._start()
                except BaseException:
                    await self._close()
                    raise
            return self

        return started().__await__()

    def _is_on_loop(self) -> bool:
        assert self.loop is not None
        try:
            return asyncio.get_running_loop() is getattr(self.loop, "asyncio_loop", None)
        except RuntimeError:
            return False

    # --- its end ------------------------------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> Any:
        """End all workers, see that they have ended, and remove every trace of the cluster.

        From any thread, any event loop and any handler of a signal, and as often as one likes. In a process that was
        forked from the cluster's own nothing is done, and that is told. What goes wrong is told too, and is no reason
        to leave the rest undone.

        Parameters
        ----------
        timeout
            Seconds, or a text like "30s". Default: as long as it takes, a minute and a half at most.

        Raises
        ------
        TimeoutError
            It took longer than `timeout`; it goes on closing.
        """
        if self._is_inherited:
            logger.warning("%s: it is not closed", self._whose())
        elif self.status is not Status.closed:
            if self._is_on_loop():
                # Begun at once: who forgets to await it, in the handler of a signal say, has closed it all the same.
                self._closing = self._closing or asyncio.create_task(self._end(), name="corral close")
                return _Later(self._close, timeout)
            is_stopped = not self._loop_is_running() and not self._loop_is_closed()
            if self._is_asynchronous and (is_stopped or _is_called_on_a_loop()):
                return _Later(self._close, timeout)
            self._close_and_wait(timeout)
        elif not self._closers and not self._is_asynchronous and not self._is_on_loop():
            self._stop_loop()  # nobody waited for the end
        return _Later(_done) if self._is_asynchronous else None

    def _close_and_wait(self, timeout: float | None) -> None:
        with self._guard:
            self._closers += 1
        try:
            self._await_end(timeout)
        finally:
            with self._guard:
                self._closers -= 1
                is_last = not self._closers
            # Who gave up waiting has not stopped it from closing.
            if is_last and self.status is Status.closed and not self._is_asynchronous:
                self._stop_loop()

    def _await_end(self, timeout: float | None) -> None:
        limit = self._patience_with_closing if timeout is None else parse_timedelta(timeout)
        deadline = time.monotonic() + limit
        closing: Future[None] | None = None
        while True:
            if not self._loop_is_running():
                self._end_without_loop(max(1.0, deadline - time.monotonic()))
                return
            if closing is None:
                closing = asyncio.run_coroutine_threadsafe(self._close(), self.loop.asyncio_loop)  # type: ignore[union-attr]
            left = deadline - time.monotonic()
            # A loop that ends tells nobody who waits for it: hence in slices.
            done, _ = wait([closing], timeout=max(0.0, min(left, LOOK_AT_LOOP)))
            if done and not closing.cancelled():
                closing.result()
                return
            if left > 0:
                if done:
                    time.sleep(min(left, 0.05))  # the loop is ending, and has cancelled what was on it
                    closing = None
            elif timeout is not None:
                raise TimeoutError(f"cluster {self.name!r} has not closed within {limit:g} s; it goes on closing")
            else:
                logger.error(
                    "cluster %s has not closed within %.0f s: its event loop is busy, or the batch system does not "
                    "answer; corral clean removes what is left", self.name, limit,
                )  # fmt: skip
                with self._tried("its files could not be removed"):
                    self._remove_traces()
                return

    async def _close(self) -> None:
        if self._is_inherited or self.status is Status.closed:
            return
        home = self.loop.asyncio_loop  # type: ignore[union-attr]
        if home is asyncio.get_running_loop():
            # Whoever gives up waiting, by Ctrl-C for example, does not keep the cluster from closing.
            self._closing = self._closing or asyncio.create_task(self._end(), name="corral close")
            await asyncio.shield(self._closing)
        elif home.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._close(), home))
        else:
            await asyncio.to_thread(self._end_without_loop, self._patience_with_closing)

    async def _end(self) -> None:
        try:
            await self._close_down()
        except asyncio.CancelledError:
            # The loop ends: there is time for one thing. The rest is done at the exit of Python.
            with self._tried("its files could not be removed"):
                self._remove_traces()
            raise
        except Exception:
            logger.exception("cluster %s was not closed in an orderly way", self.name)
        self._is_ended()

    def _is_ended(self) -> None:
        self.status = Status.closed
        forget(self)
        _have_forgotten(self.scheduler)

    def _end_without_loop(self, timeout: float) -> None:
        """End what can be ended although nobody can speak to scheduler and workers any more."""
        with self._guard:
            if self.status is Status.closed:
                return
            logger.warning(
                "cluster %s: its event loop has ended before it was closed: it is closed now, its tasks are cut off",
                self.name,
            )
            with self._tried("its jobs could not be ended; corral clean ends what is left"):
                run_apart(self._end_jobs_apart, timeout)
            with self._tried("its files could not be removed"):
                self._remove_traces()
            with self._tried("what its scheduler holds could not be given back"):
                for finalizer in _finalizers(self.scheduler):
                    finalizer()
                for listener in self.scheduler.listeners if self.scheduler is not None else ():
                    # A server's own stop() needs its event loop.
                    for listening in getattr(getattr(listener, "tcp_server", None), "_sockets", {}).values():
                        listening.close()
            self._is_ended()

    def _loop_is_running(self) -> bool:
        return bool(self.loop.asyncio_loop.is_running())  # type: ignore[union-attr]

    def _loop_is_closed(self) -> bool:
        return bool(self.loop.asyncio_loop.is_closed())  # type: ignore[union-attr]

    def _stop_loop(self) -> None:
        try:
            self._loop_runner.stop()
        except (Exception, SystemExit) as error:
            # Also what ended the loop's thread before.
            logger.warning("cluster %s: its event loop did not end in an orderly way: %r", self.name, error)

    @contextmanager
    def _tried(self, problem: str) -> Iterator[None]:
        """Let one step of closing fail by itself, and tell."""
        try:
            yield
        except Exception as error:
            logger.error("cluster %s: %s: %s", self.name, problem, said(error))  # noqa: TRY400 - its words say it all

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        # A fork that leaves the with-block has asked for nothing.
        if not self._is_inherited:
            if exc_type is None:
                self.close()
            else:
                with self._tried("it could not be closed"):
                    self.close()

    async def __aexit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        await self._close()

    # --- what there is ------------------------------------------------------------------------------------------

    def _repr_html_(self, cluster_status: Any = None) -> str:
        # Dask's own puts names and addresses into its page as if they were markup.
        info = SchedulerInfo(_escaped(dict(self.scheduler_info)))
        page: str = get_template("cluster.html.j2").render(
            type=type(self).__name__,
            name=html(self.name),
            workers=info["workers"],
            dashboard_link=html(self.dashboard_link),
            scheduler_info_repr=info._repr_html_(),
            cluster_status=cluster_status,
        )
        return page

    @property
    def observed(self) -> set[str]:
        """Names of the workers that are connected."""
        return {str(worker.name) for worker in list(self.scheduler.workers.values())} if self.scheduler else set()

    @property
    def scheduler_info(self) -> Any:
        """What the Dask scheduler says of itself and its workers, now."""
        if self.scheduler is None or self.scheduler.status is not Status.running:
            return no_scheduler_info()
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
        return addresses.dashboard_link(found.port, found.prefix, found.host)


def _have_forgotten(scheduler: Scheduler | None) -> None:
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


def _escaped(value: Any) -> Any:
    """The same dictionaries and lists, with texts that are no markup."""
    match value:
        case str():
            return html(value)
        case dict():
            return {_escaped(key): _escaped(each) for key, each in value.items()}
        case list() | tuple():
            return [_escaped(each) for each in value]
        case _:
            return value


# --- clusters of this process -----------------------------------------------------------------------------------

_open: weakref.WeakSet[HostingCluster] = weakref.WeakSet()
#: Those that nobody but this refers to.
_abandoned: set[HostingCluster] = set()
#: Event loops that work on while Python exits.
_prepared: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


class WayBack:
    """How a cluster's own tasks reach it, without keeping it: so it is noticed when nobody else refers to it."""

    def __init__(self, cluster: HostingCluster) -> None:
        self._find: Callable[[], Any] = weakref.ref(cluster)

    def __call__(self) -> Any:
        """Return the cluster, or None: it is about to be missed."""
        return self._find()

    def keep(self, cluster: HostingCluster) -> None:
        """Keep it from now on: a weak reference does not survive the collection of a cycle."""
        self._find = lambda: cluster


def remember(cluster: HostingCluster) -> None:
    """Close it at exit if nobody did. Registered with the first cluster, not by an import."""
    if not cluster._ends_with_process:  # noqa: SLF001 - the same room
        return
    _see_to_forks()
    if not _open:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _open.add(cluster)


@functools.cache
def _see_to_forks() -> None:
    os.register_at_fork(after_in_child=_disinherit)


def _disinherit() -> None:
    """In a fork, take from the garbage collector and from the exit of Python what is the parent's to remove."""
    for cluster in list(_open):
        for finalizer in _finalizers(cluster.scheduler):
            finalizer.detach()
        _part(cluster.loop.asyncio_loop)  # type: ignore[union-attr]


def _part(loop: Any) -> None:
    """Let the event loop of a fork take nothing from its parent's: they share one epoll set and one pipe to wake up.

    Else the parent would not hear any more from what a child's loop, that is torn down by SystemExit, takes out of the
    set. There is no public way; loops of other makers are left alone.
    """
    if isinstance(getattr(loop, "_selector", None), selectors.EpollSelector) and hasattr(loop, "_make_self_pipe"):
        loop._selector._selector.close()  # noqa: SLF001 - see above
        loop._selector._selector = select.epoll()  # noqa: SLF001
        loop._close_self_pipe()  # noqa: SLF001
        loop._make_self_pipe()  # noqa: SLF001


def _finalizers(scheduler: Scheduler | None) -> list[weakref.finalize[..., Any]]:
    """By these Dask's scheduler has its temporary folder and its scheduler file removed when it is not closed."""
    if scheduler is None:
        return []
    parts = {id(part) for part in (scheduler, *vars(scheduler).values())}
    # There is no public way to them.
    pending = list(getattr(weakref.finalize, "_registry", ()))
    return [finalizer for finalizer in pending if (alive := finalizer.peek()) and id(alive[0]) in parts]


def prepare(loop: asyncio.AbstractEventLoop) -> None:
    """Let an event loop of a cluster's own work on while Python exits."""
    if loop not in _prepared:
        _prepared.add(loop)
        loop.call_soon_threadsafe(loop.set_default_executor, _Threads(thread_name_prefix="corral"))


def forget(cluster: HostingCluster) -> None:
    """It is closed."""
    _open.discard(cluster)
    _abandoned.discard(cluster)


def abandoned(cluster: HostingCluster) -> None:
    """Nobody refers to a cluster any more, and it runs: say so, and keep it for whoever asks for its name."""
    _open.add(cluster)
    _abandoned.add(cluster)
    logger.warning(
        "cluster %s is not referred to by any variable any more, and goes on: %r. Cluster.connect(%r).close() ends it; "
        "otherwise it ends with this process",
        cluster.name, cluster, cluster.name,
    )  # fmt: skip


def find_open(name: str) -> HostingCluster | None:
    """The cluster of this process that has this name and runs."""
    here = [each for each in list(_open) if each.name == name and each.status is Status.running]
    return next((each for each in here if not each._is_inherited), None)  # noqa: SLF001 - the same room


def run_apart(work: Callable[[float], Coroutine[Any, Any, None]], timeout: float) -> None:
    """Run a coroutine function to its end, on an event loop of its own and in a thread that has none."""

    async def worked() -> None:
        asyncio.get_running_loop().set_default_executor(_Threads(thread_name_prefix="corral"))
        async with asyncio.timeout(timeout + MARGIN):
            await work(timeout)

    if _is_called_on_a_loop():
        with ThreadPoolExecutor(1) as threads:
            threads.submit(asyncio.run, worked()).result()
    else:
        asyncio.run(worked())


def _is_called_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Later(Coroutine[Any, Any, None]):
    """A coroutine that begins when it is awaited, and that nobody need await."""

    def __init__(self, begin: Callable[[], Awaitable[None]], timeout: float | None = None) -> None:
        self._begin = begin if timeout is None else lambda: asyncio.wait_for(begin(), parse_timedelta(timeout))
        self._steps: Any = None

    def __await__(self) -> Any:
        self._steps = self._steps or self._begin().__await__()
        return self._steps

    def send(self, value: Any) -> Any:
        return self.__await__().send(value)

    def throw(self, *error: Any) -> Any:
        return self.__await__().throw(*error)

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()


async def _done() -> None:
    """There is nothing to do."""


def said(error: Exception) -> str:
    """What an error says; corral's own say it without their names."""
    return str(error) if isinstance(error, CorralError) else f"{type(error).__name__}: {error}"


# --- the end of Python ------------------------------------------------------------------------------------------


def _close_all() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT
    for cluster in list(_open):
        if not cluster._is_inherited:  # noqa: SLF001 - the same room
            with _interrupts_told(cluster.name):
                _close_at_exit(cluster, max(1.0, deadline - time.monotonic()))


def _close_at_exit(cluster: HostingCluster, timeout: float) -> None:
    try:
        cluster._close_and_wait(timeout)  # noqa: SLF001 - the same room
    except Exception as error:
        logger.warning("cluster %s was not closed in an orderly way: %s", cluster.name, said(error))
    if cluster.status is not Status.closed:
        with cluster._tried("its files could not be removed"):  # noqa: SLF001
            cluster._remove_traces()  # noqa: SLF001


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
