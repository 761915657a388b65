"""distributed's nanny, whose worker may be forked by the zygote, and which can let its worker leave in peace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import distributed
from attrs import frozen
from dask.utils import format_bytes
from distributed.core import RPCClosed, Status

from corral.launch.worker_process import ForkedWorkerProcess, described, root_cause
from corral.launch.zygote import Zygote
from corral.security.connections import connected

T = TypeVar("T")

#: Why a worker says that it closes when its connection to the scheduler broke.
LOST = "worker-handle-scheduler-connection-broken"
#: Why it does when the scheduler was closed.
CLUSTER_ENDED = "scheduler-close"
#: Why a nanny does when its worker has been drained.
DRAINED = "corral-drained"
#: Prefixes of the reasons for which a nanny closes that nobody asked to.
_FAILURES = ("nanny-instantiate", "nanny-unregister", "nanny-start", "failure-to-start")

#: So many starts that come to nothing, and a worker is given up.
_FALSE_STARTS = 3
#: Seconds between attempts to move results that no other worker could take.
_MOVE_AGAIN = 1.0
#: Seconds for a small question to the scheduler.
_QUESTION = 5.0


@frozen(kw_only=True)
class Remains:
    """What a worker left behind."""

    #: Tasks that were cut off, and are to be run again; and how long those had run together (s).
    unfinished: int = 0
    seconds: float = 0.0
    #: The keys of some of them.
    names: tuple[str, ...] = ()
    #: Results that no other worker has, and are to be computed again.
    lost: int = 0


@frozen(kw_only=True)
class Death:
    """Why a worker's process ended that nobody had asked to."""

    #: Its name.
    worker: str
    #: Empty if it was not connected.
    address: str = ""
    #: -N after signal N.
    exit_code: int = 0
    #: Bytes; 0 unless it was ended for using more.
    memory_limit: int = 0
    memory_used: int = 0
    #: A module that its Python does not have, and a task needs.
    module: str = ""
    #: What else is known.
    words: str = ""

    def __str__(self) -> str:
        if self.memory_limit:
            return f"over its memory limit of {format_bytes(self.memory_limit)}"
        if self.module:
            return f"there is no module {self.module!r}"
        return self.words or (f"signal {-self.exit_code}" if self.exit_code < 0 else f"exit code {self.exit_code}")


class Nanny(distributed.Nanny):
    """One worker of the launcher.

    Parameters
    ----------
    zygote
        Forks the worker's process; None leaves it to distributed.
    operations
        More remote calls that it answers, by name.
    on_death
        Called when the worker's process has ended although nobody asked it to.
    """

    def __init__(
        self,
        *,
        zygote: Zygote | None,
        operations: dict[str, Callable[..., Any]],
        on_death: Callable[[Death], None] = lambda _: None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.handlers.update(operations, corral_drain=self._drain_alone, corral_unreadable=self.hear_unreadable)
        self._on_death = on_death
        #: Its worker was connected, and its end has not been noticed.
        self._has_worker = False
        #: The worker's end was asked for, or its cause has been told.
        self._is_expected = False
        #: What the worker used when it was ended for that (bytes).
        self._memory_used: int | None = None
        self._zygote = zygote
        self._draining: asyncio.Task[Remains] | None = None
        #: The scheduler was told that the worker goes: it will be closed in a moment, in an orderly way.
        self._is_forgotten = False
        #: From then on, a worker that dies is not replaced.
        self._is_draining = False
        #: How often in a row the process died while it started.
        self._false_starts = 0
        #: Why it closes, or closed.
        self.reason: str | None = None

    @property
    def has_failed(self) -> bool:
        """True if it has given up: its worker could not be started (again)."""
        return self.reason is None or self.reason.startswith(_FAILURES)

    async def instantiate(self) -> Status:
        """Start the worker's process; gives up if it cannot be started again."""
        if self.process is None and self._zygote is not None:
            self.process = ForkedWorkerProcess(
                self._zygote,
                worker_kwargs={
                    "scheduler_ip": self.scheduler_addr,
                    "nthreads": self.nthreads,
                    "local_directory": self._original_local_dir,
                    "services": self.services,
                    "nanny": self.address,
                    "name": self.name,
                    "memory_limit": self.memory_manager.memory_limit,
                    "resources": self.resources,
                    "validate": self.validate,
                    "silence_logs": self.silence_logs,
                    "death_timeout": self.death_timeout,
                    "preload": self.preload,
                    "preload_argv": self.preload_argv,
                    "security": self.security,
                    "contact_address": self.contact_address,
                    **self.worker_kwargs,
                },
                silence_logs=self.silence_logs,
                on_exit=self._on_worker_exit_sync,
                worker=self.Worker,
                env=self.env,
                pre_spawn_env=self.pre_spawn_env,
                config=self.config,
            )
        is_restart = self.status == Status.running
        problem = None
        try:
            status = await super().instantiate()
        except Exception as error:
            # A scheduler that is busy may not have noticed yet that the worker before it is gone.
            if not is_name_taken(error):
                problem = described(error)
            raise
        else:
            # The end of its process will have started another one meanwhile.
            self._false_starts = 0 if status == Status.running else self._false_starts + 1
            self._has_worker = status == Status.running
            self._is_expected = False
            if self._false_starts == _FALSE_STARTS:
                problem = f"its process died {_FALSE_STARTS} times before it was connected"
            return status
        finally:
            # distributed's nanny would try for ever, without a pause.
            if is_restart and problem is not None:
                await self.close(reason=f"nanny-instantiate-failed: {problem}")

    def log_event(self, topic: str, msg: Any) -> None:
        """Tell the scheduler; also heard here: why the memory manager is about to end the worker."""
        if topic == "worker-restart-memory":
            self._memory_used = int(msg["rss"])
        super().log_event(topic, msg)

    async def kill(self, timeout: float = 5, reason: str = "nanny-kill") -> None:
        """End the worker's process, for a restart or for good."""
        self._is_expected = True
        await super().kill(timeout=timeout, reason=reason)

    def hear_unreadable(self, words: str, module: str = "") -> None:
        """Remote call of the worker: it ends, because it cannot read what the scheduler sent."""
        self._is_expected = True
        self._tell_death(words=words, module=module)

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        is_leaving = self._is_draining or self.status in (Status.closing, Status.closed, Status.closing_gracefully)
        if not (self._is_expected or is_leaving or self.status == Status.init):
            used, self._memory_used = self._memory_used, None
            limit = 0 if used is None else self.memory_manager.memory_limit or 0
            self._tell_death(exit_code=exitcode, memory_limit=limit, memory_used=used or 0)
        self._has_worker = False
        super()._on_worker_exit_sync(exitcode)

    def _tell_death(self, **evidence: Any) -> None:
        address = (self.worker_address or "") if self._has_worker else ""
        self._on_death(Death(worker=str(self.name), address=address, **evidence))

    async def _on_worker_exit(self, exitcode: int) -> None:
        if self._is_forgotten:
            return  # whoever had it forgotten closes this nanny
        if self._is_draining:
            await self.close(reason=DRAINED)
        else:
            await super()._on_worker_exit(exitcode)

    def close_gracefully(self, reason: str = "nanny-close-gracefully") -> None:
        """Hear from the worker that it is closing, and do not start another."""
        self.reason = self.reason or reason
        super().close_gracefully(reason=reason)
        if reason == LOST and not self._is_forgotten and self.process is not None and self.process.process is not None:
            # What it holds is worth nothing any more, and its tasks may run for hours.
            self.process.process.kill()

    async def close(self, timeout: float = 5, reason: str = "nanny-close") -> str:  # type: ignore[override]
        """End the worker's process, and this nanny."""
        self.reason = self.reason or reason
        return await super().close(timeout=timeout, reason=reason)

    # --- leaving ------------------------------------------------------------------------------------------------

    async def drain(self, give_up: asyncio.Event) -> Remains:
        """Let the worker finish what it has begun, give its results to others or to files, and end it.

        Parameters
        ----------
        give_up
            Set when results that neither take should no longer be kept.
        """
        self._is_draining = True
        if (address := self.worker_address) is not None:
            async with connected(self.scheduler_addr, self.connection_args) as scheduler:
                if not await self._hand_over(scheduler, address, give_up):
                    return await self.abandon()
        await self.close(reason=DRAINED)
        return Remains()

    def _drain_alone(self) -> str:
        """Remote call: let this one worker of the job leave."""
        if not self._is_draining:
            self._draining = asyncio.create_task(self.drain(asyncio.Event()))
        return "OK"

    async def abandon(self) -> Remains:
        """End the worker with what it has and does, in such a way that no task is suspected of having killed it."""
        self._is_draining = True
        remains = None
        if (address := self.worker_address) is not None:
            async with connected(self.scheduler_addr, self.connection_args) as scheduler:
                remains = await within(_QUESTION, scheduler.corral_abandon(address=address))
        await self.close(timeout=1, reason=DRAINED)
        return Remains(**(remains or {}))

    async def forget(self, scheduler: Any) -> None:
        """Tell the scheduler that the worker goes as expected: none of its tasks is to blame."""
        self._is_forgotten = True
        if (address := self.worker_address) is not None:
            # The worker itself hears nothing of it: it is about to be closed from here, in an orderly way.
            await within(_QUESTION, scheduler.corral_dismiss(address=address))

    async def _hand_over(self, scheduler: Any, address: str, give_up: asyncio.Event) -> bool:
        """Have the worker finish, and others take its results; False if that cannot be."""
        finishing = asyncio.create_task(self._finish(address))
        try:
            # What it holds goes while it works: what runs may take all the time that there is.
            while not finishing.done():
                await self._give_away(scheduler, address)
                await asyncio.wait([finishing], timeout=_MOVE_AGAIN)
        finally:
            finishing.cancel()
        if not finishing.result():
            return False
        while await self._give_away(scheduler, address):
            # A new worker may come.
            with suppress(TimeoutError):
                async with asyncio.timeout(_MOVE_AGAIN):
                    await give_up.wait()
                return False
        await scheduler.corral_dismiss(address=address)
        return True

    async def _give_away(self, scheduler: Any, address: str) -> int:
        """Have others take the results that only this worker has, else write them to files; how many are left."""
        held = await scheduler.corral_held(address=address)
        if held["results"] and held["others"]:
            # Where nobody can take them, asking would do nothing but put warnings into the user's log.
            stimulus = f"corral-move-{time.time()}"
            await scheduler.retire_workers(workers=[address], close_workers=False, remove=False, stimulus_id=stimulus)
            held = await scheduler.corral_held(address=address)
        if held["results"]:
            with suppress(OSError):
                async with connected(address, self.connection_args) as worker:
                    await worker.corral_park()
            held = await scheduler.corral_held(address=address)
        left: int = held["results"]
        return left

    async def _finish(self, address: str) -> bool:
        """Return when the worker has finished; False if it has died."""
        with suppress(OSError):
            async with connected(address, self.connection_args) as worker:
                await worker.corral_finish()
                return True
        return False


def is_name_taken(error: BaseException) -> bool:
    """True if the scheduler knows a worker of that name."""
    return "name taken" in str(root_cause(error))


async def within(timeout: float, call: Awaitable[T]) -> T | None:
    """The answer to a remote call; None if there is none in time, or the other side is gone."""
    with suppress(OSError, TimeoutError, RPCClosed, KeyError):
        async with asyncio.timeout(timeout):
            return await call
    return None
