"""``execute(function)``: a function runs on one rank, and all ranks return when it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed.core import rpc

from corral.allocation.ranks import (
    FAILURE,
    Contact,
    Credentials,
    Exchange,
    Roles,
    Script,
    Wishes,
    World,
    configure,
    exit_code,
    fetched,
    hide_script,
    leave,
    refuse_small_world,
    schedule,
    work,
)
from corral_mpi.broadcast import Broadcast, world_communicator, world_of
from corral_mpi.initializing import class_of_worker
from corral_mpi.outside import Outside

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm


def execute(
    client_function: Callable[..., Any] | None = None,
    client_args: Sequence[Any] = (),
    client_kwargs: Mapping[str, Any] | None = None,
    client_rank: int = 1,
    scheduler: bool = True,
    scheduler_rank: int = 0,
    scheduler_address: str | None = None,
    scheduler_port: int | None = None,
    scheduler_file: str | None = None,
    interface: str | None = None,
    nthreads: int | None = 1,
    local_directory: str | None = "",
    memory_limit: float | str | None = "auto",
    nanny: bool = False,
    dashboard: bool = True,
    dashboard_address: str | None = None,
    protocol: str | None = None,
    exclusive_workers: bool = True,
    worker_class: str = "distributed.Worker",
    worker_options: Mapping[str, Any] | None = None,
    worker_name: str | None = None,
    comm: Intracomm | None = None,
) -> None:
    """Run a function on one rank, with the others as a Dask cluster; returns on all ranks when it has ended.

    Parameters
    ----------
    client_function, client_args, client_kwargs
        In it, ``Client()`` finds the cluster. If it raises, all ranks end, non-zero. None: the ranks are a cluster
        until a client elsewhere calls ``shutdown()``.
    client_rank, scheduler_rank
        Where the function runs, and where the scheduler.
    scheduler
        False: the workers join a scheduler that runs elsewhere, at `scheduler_address` or in `scheduler_file`.
    scheduler_port
        Default: any.
    scheduler_file
        Where to write the scheduler's address, as JSON; its credentials are put beside (see `security`).
    exclusive_workers
        False: the ranks of the scheduler and of the function have a worker too.
    worker_name
        How the workers' names begin; they end with the rank.
    interface, nthreads, local_directory, memory_limit, nanny, dashboard, dashboard_address, protocol, worker_class, \
worker_options, comm
        As for `initialize`.

    Raises
    ------
    TooFewRanks
        On one rank; the others end.
    """
    communicator = comm or world_communicator()
    has_function = callable(client_function)
    roles = Roles(
        scheduler=scheduler_rank if scheduler else None,
        client=client_rank if has_function else None,
        exclusive=exclusive_workers,
    )
    wishes = Wishes(
        interface=interface,
        nthreads=nthreads,
        local_directory=local_directory,
        memory_limit=memory_limit,
        dashboard=dashboard,
        dashboard_address=dashboard_address,
        protocol=protocol,
        worker_class=class_of_worker(worker_class, nanny=nanny),
        worker_options=dict(worker_options or {}),
        worker_name=worker_name,
        scheduler_port=scheduler_port,
        scheduler_file=scheduler_file if scheduler else None,
    )
    world = world_of(communicator)
    refuse_small_world(world, roles)
    exchange: Exchange
    if scheduler:
        exchange = Broadcast(communicator, root=scheduler_rank)
        if scheduler_file is not None:
            exchange = Outside(exchange, scheduler_file)
    else:
        exchange = Outside.joining(scheduler_address, scheduler_file)
    part = _Part(world, roles, wishes)
    if client_function is not None and has_function:
        part.function = lambda: client_function(*client_args, **(client_kwargs or {}))
    code = part.play(exchange)
    if part.error is not None:
        raise part.error
    if code:
        leave(code)


class _Part:
    """What this rank does, all at once."""

    def __init__(self, world: World, roles: Roles, wishes: Wishes) -> None:
        self._world = world
        self._roles = roles
        self._wishes = wishes
        #: The scheduler is no rank.
        self._is_guest = roles.scheduler is None
        self.function: Callable[[], Any] = lambda: None
        #: What the function raised.
        self.error: BaseException | None = None

    def play(self, exchange: Exchange) -> int:
        """Do it to its end; returns the exit code for this rank."""
        if self._world.rank == self._roles.scheduler:
            return asyncio.run(schedule(exchange, self._world, self._roles, self._wishes, self._others))
        credentials, contact = fetched(exchange)
        if self._world.rank != self._roles.client:
            hide_script()
        return asyncio.run(self._others(credentials, contact))

    async def _others(self, credentials: Credentials, contact: Contact) -> int:
        """Everything but the scheduler."""
        parts = []
        if self._roles.has_worker(self._world.rank):
            parts.append(work(credentials, contact, self._world, self._wishes, is_guest=self._is_guest))
        if self._world.rank == self._roles.client:
            parts.append(self._call(credentials, contact))
        return max(await asyncio.gather(*parts), default=0)

    async def _call(self, credentials: Credentials, contact: Contact) -> int:
        configure(credentials, contact)
        script = None if self._is_guest else Script(contact, credentials.security())
        if script is not None:
            await script.begin()
        code = FAILURE
        try:
            await asyncio.to_thread(self.function)
            code = 0
        except (Exception, SystemExit) as error:
            self.error = error
            code = exit_code(error)
        finally:
            if script is not None:
                await script.end(code)
            else:
                await self._shut_down(credentials, contact)
        return code

    async def _shut_down(self, credentials: Credentials, contact: Contact) -> None:
        """As dask-mpi does: the function's end is that of the scheduler, wherever it runs."""
        arguments = credentials.security().get_connection_args("client")
        async with rpc(contact.address, connection_args=arguments) as scheduler:
            with suppress(OSError):
                await scheduler.terminate()
