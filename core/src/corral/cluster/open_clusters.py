"""The clusters of this process: left alone by its forks, missed when nobody refers to them, closed at its exit."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import select
import selectors
import signal
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from distributed.core import Status

from corral.cluster.scheduler_host import finalizers_of
from corral.errors import CorralError
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from corral.cluster.hosting_cluster import HostingCluster

logger = logger_of()

#: How long closing may take at the exit of Python (s).
EXIT_TIMEOUT = 20.0
#: What a step of closing may take beyond its time-out (s).
MARGIN = 15.0

_open: weakref.WeakSet[HostingCluster] = weakref.WeakSet()
#: Those that nobody but this refers to.
_abandoned: set[HostingCluster] = set()
#: Event loops that work on while Python exits.
_prepared: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def remember(cluster: HostingCluster) -> None:
    """Close it at exit if nobody did. Registered with the first cluster, not by an import."""
    if not cluster._ends_with_process:  # noqa: SLF001 - the same room
        return
    _see_to_forks()
    if not _open:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _open.add(cluster)


def forget(cluster: HostingCluster) -> None:
    """It is closed."""
    _open.discard(cluster)
    _abandoned.discard(cluster)


def abandoned(cluster: HostingCluster) -> None:
    """Nobody refers to a cluster any more, and it runs: say so, and keep it for whoever asks for its name."""
    _open.add(cluster)
    _abandoned.add(cluster)
    logger.warning(
        "no variable refers to cluster %s any more, but it is still running: %r. Cluster.connect(%r).close() ends it; "
        "otherwise it ends with this process",
        cluster.name, cluster, cluster.name, cluster=cluster.name,
    )  # fmt: skip


def find_open(name: str) -> HostingCluster | None:
    """The cluster of this process that has this name and runs."""
    here = [each for each in list(_open) if each.name == name and each.status is Status.running]
    return next((each for each in here if not each._is_inherited), None)  # noqa: SLF001 - the same room


# --- forks ------------------------------------------------------------------------------------------------------


@functools.cache
def _see_to_forks() -> None:
    os.register_at_fork(after_in_child=_disinherit)


def _disinherit() -> None:
    """In a fork, take from the garbage collector and from the exit of Python what is the parent's to remove."""
    for cluster in list(_open):
        for finalizer in finalizers_of(cluster.scheduler):
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
        logger.warning("cluster %s was not closed cleanly: %s", cluster.name, said(error), cluster=cluster.name)
    if cluster.status is not Status.closed:
        with cluster._tried("its files could not be removed"):  # noqa: SLF001
            cluster._remove_traces()  # noqa: SLF001


@contextmanager
def _interrupts_told(name: str) -> Iterator[None]:
    """Say why it takes a moment when somebody presses Ctrl-C again; a handler of the user's own is left alone."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def tell(_number: int, _frame: object) -> None:
        logger.warning("cluster %s is ending its jobs, for %.0f s at most", name, EXIT_TIMEOUT, cluster=name)

    signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def said(error: Exception) -> str:
    """What an error says; corral's own say it without their names."""
    return str(error) if isinstance(error, CorralError) else f"{type(error).__name__}: {error}"


# --- event loops that work on while Python exits ----------------------------------------------------------------


def prepare(loop: asyncio.AbstractEventLoop) -> None:
    """Let an event loop of a cluster's own work on while Python exits."""
    if loop not in _prepared:
        _prepared.add(loop)
        loop.call_soon_threadsafe(loop.set_default_executor, _Threads(thread_name_prefix="corral"))


def run_apart(work: Callable[[float], Coroutine[Any, Any, None]], timeout: float) -> None:
    """Run a coroutine function to its end, on an event loop of its own and in a thread that has none."""

    async def worked() -> None:
        asyncio.get_running_loop().set_default_executor(_Threads(thread_name_prefix="corral"))
        async with asyncio.timeout(timeout + MARGIN):
            await work(timeout)

    if is_called_on_a_loop():
        with ThreadPoolExecutor(1) as threads:
            threads.submit(asyncio.run, worked()).result()
    else:
        asyncio.run(worked())


def is_called_on_a_loop() -> bool:
    """True if this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


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
