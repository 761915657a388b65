"""The part of a cluster that its scheduler in this process answers for: how it begins and ends, and what it shows."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.objects import SchedulerInfo

from corral.cluster.displayed import Displayed
from corral.cluster.open_clusters import (
    abandoned,
    forget,
    is_called_on_a_loop,
    prepare,
    remember,
    run_apart,
    said,
)
from corral.cluster.scheduler import Scheduler
from corral.cluster.scheduler_host import Dashboard, finalizers_of, have_forgotten, no_scheduler_info
from corral.errors import CorralError
from corral.security import addresses
from corral.text.logs import logger_of

logger = logger_of()

#: How often whoever waits for an event loop looks whether there still is one (s).
LOOK_AT_LOOP = 1.0


class HostingCluster(Displayed):
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
            f"cluster {self.name!r} belongs to process {self._owner}, which made it, not to process {os.getpid()}, "
            "which was forked from it"
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
            with self._tried("what had been started could not be stopped"):
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
            logger.warning("%s: it is not closed", self._whose(), extra={"corral_cluster": self.name})
        elif self.status is not Status.closed:
            if self._is_on_loop():
                # Begun at once: who forgets to await it, in the handler of a signal say, has closed it all the same.
                self._closing = self._closing or asyncio.create_task(self._end(), name="corral close")
                return _Later(self._close, timeout)
            is_stopped = not self._loop_is_running() and not self._loop_is_closed()
            if self._is_asynchronous and (is_stopped or is_called_on_a_loop()):
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
                raise TimeoutError(f"cluster {self.name!r} has not closed within {limit:g} s; it is still closing")
            else:
                logger.error(
                    "cluster %s has not closed within %.0f s: its event loop is busy, or the batch system does not "
                    "answer; corral clean removes what is left", self.name, limit, cluster=self.name,
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
            logger.exception("cluster %s was not closed cleanly", self.name, cluster=self.name)
        self._is_ended()

    def _is_ended(self) -> None:
        self.status = Status.closed
        forget(self)
        have_forgotten(self.scheduler)

    def _end_without_loop(self, timeout: float) -> None:
        """End what can be ended although nobody can speak to scheduler and workers any more."""
        with self._guard:
            if self.status is Status.closed:
                return
            logger.warning(
                "its event loop ended before it was closed: it is being closed now, its tasks are cut off",
                cluster=self.name,
            )
            with self._tried("its jobs could not be ended; corral clean ends what is left"):
                run_apart(self._end_jobs_apart, timeout)
            with self._tried("its files could not be removed"):
                self._remove_traces()
            with self._tried("what its scheduler holds could not be released"):
                for finalizer in finalizers_of(self.scheduler):
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
            logger.warning("its event loop did not end cleanly: %r", error, cluster=self.name)

    @contextmanager
    def _tried(self, problem: str) -> Iterator[None]:
        """Let one step of closing fail by itself, and tell."""
        try:
            yield
        except Exception as error:
            logger.error("%s: %s", problem, said(error), cluster=self.name)  # noqa: TRY400 - its words say it all

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
