"""What the ranks of the scheduler and of the workers do, and how all end together.

The script's rank (`corral.allocation.ranks`) tells the scheduler's how it ended, or is found dead; the scheduler's
tells the workers', and all end with the same code within seconds.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import dask
from attrs import field, frozen
from distributed import Security
from distributed.comm.core import Comm
from distributed.core import Status

from corral.allocation.rank_environment import World
from corral.allocation.rank_exchange import FAILURE, FAREWELL, PATIENCE, Exchange, leave
from corral.cluster.scheduler_host import host
from corral.errors import InvalidRequest, TooFewRanks
from corral.launch.contact import Contact
from corral.launch.ending import say
from corral.launch.quiet import be_brief
from corral.launch.worker_process import described
from corral.security import addresses
from corral.security.connections import connected
from corral.security.credentials import Credentials, secured
from corral.security.listening import guarded_worker
from corral.security.membership import ClusterSecurity

if TYPE_CHECKING:
    from distributed import Scheduler

#: Seconds to reach a scheduler that has just answered.
_PROMPT = 10.0


@frozen(kw_only=True)
class Roles:
    """Which rank does what."""

    #: None: it runs elsewhere.
    scheduler: int | None = 0
    #: None: there is no script among the ranks.
    client: int | None = 1
    #: Workers have ranks of their own.
    exclusive: bool = True

    @property
    def least(self) -> int:
        """How many ranks it takes."""
        taken = {rank for rank in (self.scheduler, self.client) if rank is not None}
        return max(len(taken) + self.exclusive, 1 + max(taken, default=0))

    def has_worker(self, rank: int) -> bool:
        return not self.exclusive or rank not in (self.scheduler, self.client)


@frozen(kw_only=True)
class Wishes:
    """What scheduler and workers should be like: dask-mpi's words."""

    interface: str | None = None
    nthreads: int | None = 1
    local_directory: str | None = None
    memory_limit: float | str | None = "auto"
    dashboard: bool = True
    dashboard_address: str | None = None
    protocol: str | None = None
    worker_class: str = "distributed.Worker"
    worker_options: Mapping[str, Any] = field(factory=dict)
    #: How the workers' names begin; None: they are named by their rank.
    worker_name: str | None = None
    scheduler_port: int | None = None
    scheduler_file: str | None = None

    def scheduler_options(self) -> dict[str, Any]:
        chosen = {"dashboard_address": self.dashboard_address, "protocol": self.protocol}
        options = {"dashboard": self.dashboard, "scheduler_file": self.scheduler_file}
        return options | {name: value for name, value in chosen.items() if value is not None}

    def worker_arguments(self, rank: int, contact: Contact) -> dict[str, Any]:
        return {
            "interface": self.interface,
            "host": None if self.interface else contact.local_host,
            "nthreads": self.nthreads,
            "death_timeout": PATIENCE,
            "memory_limit": self.memory_limit,
            "local_directory": self.local_directory or None,
            "name": f"{self.worker_name}-{rank}" if self.worker_name else rank,
            **self.worker_options,
        }


def refuse_small_world(world: World, roles: Roles) -> None:
    """Say it on one rank; the others end without a word.

    Raises
    ------
    TooFewRanks
    """
    if world.size is not None and world.size < roles.least:
        if world.rank == 0:
            raise TooFewRanks(
                f"{world.size} ranks were started and at least {roles.least} are needed: the scheduler's, the "
                f"script's and a worker's. Start more, for example with srun -n {roles.least} or mpiexec -n "
                f"{roles.least}"
            )
        leave(FAILURE)


# --- the scheduler's rank ---------------------------------------------------------------------------------------


async def schedule(
    exchange: Exchange,
    world: World,
    roles: Roles,
    wishes: Wishes,
    beside: Callable[[Credentials, Contact], Coroutine[Any, Any, object]] | None = None,
) -> int:
    """Be the scheduler until the script has ended; returns its exit code.

    Parameters
    ----------
    beside
        What else this rank does.
    """
    _be_quiet()
    try:
        uses_tls = wishes.protocol in (None, "tls")
        credentials, security = secured(uses_tls, cluster=f"ranks-{world.launch}")
        address = None if wishes.interface is None else addresses.host_of_interface("interface", wishes.interface)
        hosted = await host(
            credentials,
            security,
            address=address,
            port=wishes.scheduler_port or 0,
            options=wishes.scheduler_options(),
        )
    except BaseException:
        exchange.publish(None)
        raise
    meeting = _Meeting(hosted.scheduler, world, roles)
    exchange.publish(hosted.credentials)
    contact = Contact(address=hosted.scheduler.address, local_host=None)
    other = None if beside is None else asyncio.create_task(beside(hosted.credentials, contact))
    try:
        code = await meeting.outcome()
        if other is not None:
            await other
        return code
    finally:
        await hosted.scheduler.close()
        exchange.close()


class _Meeting:
    """The scheduler's part in how all ranks end."""

    def __init__(self, scheduler: Scheduler, world: World, roles: Roles) -> None:
        self._scheduler = scheduler
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._roles = roles
        #: Ranks with workers, as far as is known, and those of them that have asked how the script ends.
        self._expected = {rank for rank in range(world.size or 0) if roles.has_worker(rank)}
        self._asked: set[int] = set()
        #: Of which kind a rank has come.
        self._came: set[str] = set()
        #: Ranks that could not be workers.
        self._failed: set[int] = set()
        #: Workers that wait to hear how the script ended.
        self._waiting = 0
        scheduler.handlers["corral_script"] = self.script
        scheduler.handlers["corral_outcome"] = self.outcome_for
        scheduler.handlers["corral_worker_failed"] = self.worker_failed
        # What client.shutdown() asks for is an orderly end of all ranks.
        scheduler.handlers["terminate"] = self.terminate
        asyncio.get_running_loop().call_later(PATIENCE, self._miss)

    async def outcome(self) -> int:
        """How the script has ended, when the workers have been told."""
        code = await self._code
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while self._is_somebody_here():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
        return code

    def _is_somebody_here(self) -> bool:
        return bool(self._waiting or self._scheduler.workers or self._expected - self._asked - self._failed)

    async def script(self, comm: Comm) -> Status:
        """Remote call of the script's rank: a connection that lasts as long as the script."""
        self._came.add("script")
        code = FAILURE
        try:
            code = int(await comm.read())
        except OSError:
            say("the script's rank has died")
        self._end(code)
        with suppress(OSError):
            await comm.write("OK")
        await comm.close()
        return Status.dont_reply

    async def outcome_for(self, rank: int) -> int:
        """Remote call of a worker's rank: answered when all is over, with the exit code."""
        self._came.add("worker")
        self._asked.add(rank)
        self._waiting += 1
        try:
            return await asyncio.shield(self._code)
        finally:
            self._waiting -= 1

    def worker_failed(self, rank: int) -> str:
        """Remote call of a worker's rank: it will never work."""
        self._failed.add(rank)
        if self._expected and self._failed >= self._expected:
            say("no rank can be a worker: ending them all")
            self._end(FAILURE)
        return "OK"

    async def terminate(self, **_: object) -> str:
        self._end(0)
        return "OK"

    def _end(self, code: int) -> None:
        if not self._code.done():
            _fall_silent()
            self._code.set_result(code)

    def _miss(self) -> None:
        """Who has not come by now will not come."""
        wanted = ["worker"] if self._roles.client is None else ["script", "worker"]
        missing = [name for name in wanted if name not in self._came]
        if missing and not self._code.done():
            say(f"no rank of a {' or a '.join(missing)} came within {PATIENCE:.0f} s: ending them all")
            self._end(FAILURE)


# --- a worker's rank --------------------------------------------------------------------------------------------


async def work(
    credentials: Credentials, contact: Contact, world: World, wishes: Wishes, *, is_guest: bool = False
) -> int:
    """Be a worker until the script has ended; returns its exit code.

    Parameters
    ----------
    is_guest
        The scheduler is no rank: the worker stays as long as that does.
    """
    _be_quiet()
    security = credentials.security()
    arguments = security.get_connection_args("worker")
    async with connected(contact.address, arguments, _PROMPT) as scheduler:
        # Asked before there is a worker: the script may be over by then.
        ending = asyncio.create_task(_guest_end() if is_guest else scheduler.corral_outcome(rank=world.rank))
        starting = asyncio.create_task(_started(contact, security, world, wishes))
        await asyncio.wait([ending, starting], return_when=asyncio.FIRST_COMPLETED)
        try:
            if not starting.done():
                starting.cancel()
                return int(await ending)
            if (error := starting.exception()) is not None:
                say(f"rank {world.rank} cannot be a worker: {described(error)}")
                if not is_guest:
                    await scheduler.corral_worker_failed(rank=world.rank)
                return FAILURE
            worker = starting.result()
            if is_guest:
                await worker.finished()
                return 0
            code = int(await ending)
            _fall_silent()
            with suppress(TimeoutError):
                # A nanny that is just restarting its worker may wait for what no longer comes.
                async with asyncio.timeout(FAREWELL):
                    await worker.close()
            return code
        except OSError:
            say(f"rank {world.rank}: the scheduler's rank has died")
            return FAILURE
        finally:
            ending.cancel()
            _fall_silent()


async def _started(contact: Contact, security: Security, world: World, wishes: Wishes) -> Any:
    arguments = {"security": security, **wishes.worker_arguments(world.rank, contact)}
    arguments["security"] = ClusterSecurity.of(arguments["security"])
    return await guarded_worker(_class(wishes.worker_class), contact.address, **arguments)


async def _guest_end() -> int:
    """A guest hears nothing: its worker's end is its own."""
    await asyncio.get_running_loop().create_future()
    return 0


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise InvalidRequest("worker_class", f"{path!r} cannot be imported: {error}") from error


def hide_script() -> None:
    """A nanny's worker is a new interpreter, which must not run the script too: on ranks that only work."""
    main = sys.modules["__main__"]
    main.__file__ = main.__spec__ = None


# --- what is said -----------------------------------------------------------------------------------------------


def _be_quiet() -> None:
    """Log what goes wrong; a user who wants to hear more has said so in Dask's configuration."""
    be_brief()
    if not dask.config.get("logging", None) and not dask.config.get("distributed.logging", None):
        logging.getLogger("distributed").setLevel(logging.WARNING)
        os.environ["DASK_LOGGING__DISTRIBUTED"] = "warning"  # for nannies' new interpreters


def _fall_silent() -> None:
    """All ranks end at once: that connections break is no news any more."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
