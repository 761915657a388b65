"""One program started N times becomes a Dask cluster: one rank schedules, one goes on with the script, others work.

Here is the script's rank, by two ways in: `initialize` and `Ranks`. What the other ranks do, and how all end, is in
`corral.allocation.rank_parts`; how they find each other in `corral.allocation.rank_exchange`. Further ways in are
written with what is in `__all__`, as `corral_mpi` is.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import dask
from attrs import fields
from distributed import Security
from distributed.comm.core import Comm, connect
from distributed.core import Status
from distributed.utils import LoopRunner, sync

from corral.allocation.rank_environment import World, find_world
from corral.allocation.rank_exchange import FAILURE, FAREWELL, PATIENCE, Exchange, FileExchange, fetched, leave
from corral.allocation.rank_parts import Roles, Wishes, hide_script, refuse_small_world, schedule, work
from corral.errors import InvalidRequest
from corral.launch.contact import Contact, find_scheduler
from corral.launch.ending import Ended, say
from corral.request.synonyms import refuse_unknown
from corral.security import addresses
from corral.security.credentials import Credentials
from corral.security.membership import LOADER

__all__ = [  # noqa: RUF022 - by whom it is for
    # For scripts.
    "Ranks", "initialize", "send_close_signal",
    # For other ways in.
    "FAILURE", "PATIENCE", "Contact", "Credentials", "Ended", "Exchange", "Roles", "Script", "Wishes", "World",
    "configure", "exit_code", "fetched", "find_scheduler", "hide_script", "leave", "refuse_small_world", "schedule",
    "work",
]  # fmt: skip


class Ranks:
    """The ranks of one launch as a Dask cluster: ``with Ranks() as runner, Client(runner) as client: …``.

    Rank 0 is the scheduler and rank 1 carries on with the script. On all others, and on rank 0, ``with`` does not
    return: they end when the script does, with its exit code.

    Parameters
    ----------
    interface
        Network interface of scheduler and workers.
    nthreads
        Threads of each worker.
    local_directory
        Where workers spill.
    memory_limit
        Of each worker: bytes, a fraction of the node's memory, or "auto".
    dashboard, dashboard_address
        Whether there is a dashboard, and where. Default: on loopback.
    protocol
        Default: TLS, with certificates made for this launch. ``"tcp"``: without.
    worker_class
        Class of the workers, as ``package.module.Class``.
    worker_options
        Further keyword arguments of it.
    scheduler_port, scheduler_file
        Port of the scheduler; where to write its address, as JSON.
    shared_directory
        A folder that all nodes share: the credentials go there, into a folder of corral's own (``corral-1000``).
        Default: ``corral`` in your state directory (``~/.local/state``).

    Raises
    ------
    InvalidRequest
        There is no such argument.
    TooFewRanks
        Raised only on rank 0; the others end.
    NoAllocation
        This process was not started by a launcher of ranks.
    """

    def __init__(
        self,
        *,
        shared_directory: str | os.PathLike[str] | None = None,
        exchange: Exchange | None = None,
        world: World | None = None,
        exits: bool = True,
        **wishes: Any,
    ) -> None:
        if "scheduler_options" in wishes:
            # A cluster has such an argument, and dask-jobqueue's runner.
            ours = "dashboard_address=, protocol=, scheduler_port= and scheduler_file="
            raise InvalidRequest("scheduler_options", f"is not an argument of Ranks; here it may be {ours}")
        refuse_unknown(wishes, [each.name for each in fields(Wishes)], "Ranks")
        self._wishes = Wishes(**wishes)
        self._world = world or find_world(os.environ)
        self._roles = Roles()
        self._exchange = exchange or FileExchange(self._world, shared_directory)
        self._exits = exits
        self._loop_runner = LoopRunner()
        self._script: Script | None = None
        self._owner = os.getpid()
        self.status = Status.created
        self.security: Security | None = None
        self.scheduler_address = ""

    @property
    def loop(self) -> Any:
        return self._loop_runner.loop

    @property
    def n_workers(self) -> int | None:
        """How many workers there will be; None: the launcher does not say."""
        return None if self._world.size is None else self._world.size - 2

    def start(self) -> bool:
        """Do this rank's part. True on the script's rank, at once; on others when all is over, if at all."""
        refuse_small_world(self._world, self._roles)
        if self._world.rank == self._roles.scheduler:
            return self._finish(asyncio.run(schedule(self._exchange, self._world, self._roles, self._wishes)))
        credentials, contact = fetched(self._exchange)
        if self._world.rank != self._roles.client:
            hide_script()
            return self._finish(asyncio.run(work(credentials, contact, self._world, self._wishes)))
        self.security = credentials.security()
        self.scheduler_address = contact.address
        configure(credentials, contact)
        self._loop_runner.start()
        self._script = Script(contact, self.security)
        sync(self.loop, self._script.begin)
        self.status = Status.running
        return True

    def _finish(self, code: int) -> bool:
        if self._exits:
            leave(code)
        return False

    def end(self, code: int = 0) -> None:
        """Say on the script's rank that the script has ended: all other ranks end with this code."""
        # A fork of the script ends for itself alone.
        if self.status is Status.running and self._owner == os.getpid():
            self.status = Status.closed
            assert self._script is not None
            sync(self.loop, self._script.end, code)
            self._loop_runner.stop()

    def close(self) -> None:
        """The same, for whoever treats this as a cluster."""
        self.end()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(exit_code(error))


def initialize(
    interface: str | None = None,
    nthreads: int | None = 1,
    local_directory: str | None = None,
    memory_limit: float | str | None = "auto",
    *,
    exit: bool = True,  # noqa: A002 - dask-mpi's word
    shared_directory: str | os.PathLike[str] | None = None,
    exchange: Exchange | None = None,
    world: World | None = None,
    **more: Any,
) -> bool:
    """Turn the ranks of this launch into a Dask cluster: rank 0 is the scheduler, rank 1 returns, all others work.

    Afterwards, ``Client()`` finds the cluster. When the script ends, all ranks end with it; if it raises, non-zero.

    Parameters
    ----------
    exit
        False: it returns on all ranks, on those other than rank 1 when all is over; call `send_close_signal` when the
        script is done.
    **more
        The arguments of `Ranks`.

    Returns
    -------
    bool
        True on the script's rank.
    """
    ranks = Ranks(
        interface=interface,
        nthreads=nthreads,
        local_directory=local_directory,
        memory_limit=memory_limit,
        shared_directory=shared_directory,
        exchange=exchange,
        world=world,
        exits=exit,
        **more,
    )
    is_script = ranks.start()
    if is_script:
        global _current  # noqa: PLW0603 - the one script of this process
        _current = ranks
        _end_with_python(ranks)
    return is_script


_current: Ranks | None = None


def send_close_signal() -> None:
    """End all other ranks cleanly: for scripts that called ``initialize(exit=False)``."""
    if _current is not None:
        _current.end(0)


def _end_with_python(ranks: Ranks) -> None:
    """Say how the script ended when it does. Where SystemExit goes nobody can see: this rank's own code tells."""
    before = sys.excepthook
    failed: list[BaseException] = []

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        failed.append(error)
        before(kind, error, traceback)

    sys.excepthook = hook
    atexit.register(lambda: ranks.end(exit_code(failed[0]) if failed else 0))


# --- how the script's rank ends ---------------------------------------------------------------------------------


class Script:
    """The connection through which the scheduler's rank hears how the script ends."""

    def __init__(self, contact: Contact, security: Security) -> None:
        self._contact = contact
        self._security = security
        self._comm: Comm | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_over = False

    async def begin(self) -> None:
        self._comm = await connect(self._contact.address, **self._security.get_connection_args("client"))
        await self._comm.write({"op": "corral_script", "reply": False})
        self._watching = asyncio.create_task(self._watch(self._comm))

    async def end(self, code: int) -> None:
        """Tell it, and know that it was heard."""
        self._is_over = True
        assert self._comm is not None
        assert self._watching is not None
        with suppress(OSError, TimeoutError):
            await self._comm.write(code)
            async with asyncio.timeout(FAREWELL):
                await self._watching
        await self._comm.close()

    async def _watch(self, comm: Comm) -> None:
        try:
            await comm.read()
        except OSError:
            if not self._is_over:
                say("the scheduler's rank has died: ending the script")
                os.kill(os.getpid(), signal.SIGTERM)


def exit_code(error: BaseException | None) -> int:
    """What Python makes of an exception that nobody catches."""
    match error:
        case None | SystemExit(code=None):
            return 0
        case SystemExit(code=int(code)):
            return code
        case _:
            return FAILURE


def configure(credentials: Credentials, contact: Contact) -> None:
    """Let ``Client()`` in this process find the cluster, and its dashboard."""
    dask.config.set({"scheduler-address": contact.address})
    template = dask.config.get("distributed.dashboard.link")
    dask.config.set({"distributed.dashboard.link": addresses.link_template(template, credentials.dashboard_prefix)})
    if credentials.key is not None:
        tls = {"ca-file": credentials.ca, "client.cert": credentials.certificate, "client.key": credentials.key}
        dask.config.set({f"distributed.comm.tls.{name}": text for name, text in tls.items()})
        dask.config.set({"distributed.client.security-loader": LOADER})
