"""One program started N times becomes a Dask cluster: one rank schedules, one goes on with the script, others work.

The script's rank tells the scheduler's how it ended, or is found dead; the scheduler's tells the workers', and all
end with the same code within seconds. Where the scheduler is they learn from a private file, or by the means of
whoever uses this module (see `corral_mpi`).
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

import dask
from attrs import field, fields, frozen
from distributed import Security
from distributed.comm.core import Comm, connect
from distributed.core import Status, rpc
from distributed.utils import LoopRunner, sync

from corral.allocation.rank_environment import World, find_world
from corral.cluster.scheduler_host import host
from corral.errors import CredentialsError, InvalidRequest, TooFewRanks
from corral.host.home import Home
from corral.launch.contact import Contact, find_scheduler
from corral.launch.ending import Ended, say
from corral.launch.quiet import be_brief
from corral.launch.worker_process import described
from corral.request.synonyms import refuse_unknown
from corral.security import addresses
from corral.security.credentials import Credentials, secured
from corral.security.listening import guarded_worker
from corral.security.membership import LOADER, ClusterSecurity

if TYPE_CHECKING:
    from distributed import Scheduler

#: Exit code of ranks that end because another failed.
FAILURE = 1

#: Seconds for the ranks to find each other: imports from a shared file system take minutes.
PATIENCE = 300.0
#: Seconds for the workers to hear how the script ended, and to go.
_FAREWELL = 5.0
#: Seconds to reach a scheduler that has just answered.
_PROMPT = 10.0
#: How soon to look for the file again (s).
_GLANCE = 0.5


class Exchange(Protocol):
    """How the credentials come from the scheduler's rank to the others."""

    def publish(self, credentials: Credentials | None) -> None:
        """Called once, on the scheduler's rank; None: it has failed, and the others must not wait."""

    def fetch(self) -> tuple[Credentials, Contact]:
        """Called once on every other rank.

        Raises
        ------
        Ended
            There are none.
        """

    def close(self) -> None:
        """Called on the scheduler's rank when all is over."""


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
    """What scheduler and workers shall be like: dask-mpi's words."""

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
            async with asyncio.timeout(_FAREWELL):
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
            say("the rank of the script has died")
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
            say("no rank can be a worker: all end")
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
            say(f"no rank of a {' or a '.join(missing)} came within {PATIENCE:.0f} s: all end")
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
    async with rpc(contact.address, timeout=_PROMPT, connection_args=arguments) as scheduler:
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
                async with asyncio.timeout(_FAREWELL):
                    await worker.close()
            return code
        except OSError:
            say(f"rank {world.rank}: the rank of the scheduler has died")
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


# --- the script's rank ------------------------------------------------------------------------------------------


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
            async with asyncio.timeout(_FAREWELL):
                await self._watching
        await self._comm.close()

    async def _watch(self, comm: Comm) -> None:
        try:
            await comm.read()
        except OSError:
            if not self._is_over:
                say("the rank of the scheduler has died: the script is ended")
                os.kill(os.getpid(), signal.SIGTERM)


class Ranks:
    """The ranks of one launch as a Dask cluster: ``with Ranks() as runner, Client(runner) as client: …``.

    Rank 0 schedules and rank 1 goes on with the script. On all others, and on rank 0, ``with`` does not return: they
    end when the script does, with its exit code.

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
        A folder that all nodes share: the credentials go there, into one of corral's own (``corral-1000``). Default:
        ``corral`` in your state directory (``~/.local/state``).

    Raises
    ------
    InvalidRequest
        There is no such argument.
    TooFewRanks
        Only on rank 0; the others end.
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
            raise InvalidRequest("scheduler_options", f"is no argument of Ranks; what it may say is {ours}")
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
    """Make the ranks of this launch a Dask cluster: rank 0 schedules, rank 1 returns, all others work.

    After it, ``Client()`` finds the cluster. When the script ends, all ranks end with it; if it raises, non-zero.

    Parameters
    ----------
    exit
        False: it returns on all ranks, on the others than rank 1 when all is over; and `send_close_signal` is to be
        called when the script is done.
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
    """End all other ranks, in good order: for scripts that called ``initialize(exit=False)``."""
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


def exit_code(error: BaseException | None) -> int:
    """What Python makes of an exception that nobody catches."""
    match error:
        case None | SystemExit(code=None):
            return 0
        case SystemExit(code=int(code)):
            return code
        case _:
            return FAILURE


# --- small parts ------------------------------------------------------------------------------------------------


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


def leave(code: int) -> NoReturn:
    """End this process: what follows in the script is for another rank."""
    sys.stdout.flush()
    sys.stderr.flush()
    raise SystemExit(code)


def fetched(exchange: Exchange) -> tuple[Credentials, Contact]:
    """The credentials; a process that cannot have them ends."""
    try:
        return exchange.fetch()
    except Ended as ended:
        say(str(ended))
        leave(FAILURE)


def hide_script() -> None:
    """A nanny's worker is a new interpreter, which must not run the script too: on ranks that only work."""
    main = sys.modules["__main__"]
    main.__file__ = main.__spec__ = None


def _be_quiet() -> None:
    """Log what goes wrong; a user who wants to hear more has said so in Dask's configuration."""
    be_brief()
    if not dask.config.get("logging", None) and not dask.config.get("distributed.logging", None):
        logging.getLogger("distributed").setLevel(logging.WARNING)
        os.environ["DASK_LOGGING__DISTRIBUTED"] = "warning"  # for nannies' new interpreters


def _fall_silent() -> None:
    """All ranks end at once: that connections break is no news any more."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def configure(credentials: Credentials, contact: Contact) -> None:
    """Let ``Client()`` in this process find the cluster, and its dashboard."""
    dask.config.set({"scheduler-address": contact.address})
    template = dask.config.get("distributed.dashboard.link")
    dask.config.set({"distributed.dashboard.link": addresses.link_template(template, credentials.dashboard_prefix)})
    if credentials.key is not None:
        tls = {"ca-file": credentials.ca, "client.cert": credentials.certificate, "client.key": credentials.key}
        dask.config.set({f"distributed.comm.tls.{name}": text for name, text in tls.items()})
        dask.config.set({"distributed.client.security-loader": LOADER})


#: In the folder of corral's own.
_RANKS = "ranks"


class FileExchange:
    """Through a private file, which names the launch: another launch, or a requeue, has another one.

    One that a killed launch of the same name left behind leads to no scheduler, and is read again until it is
    replaced.
    """

    def __init__(self, world: World, shared_directory: str | os.PathLike[str] | None) -> None:
        self.home = Home.of(shared_directory or None)
        self.path = self.home.path / _RANKS / f"{world.launch}.json"

    def publish(self, credentials: Credentials | None) -> None:
        self._remove()
        if credentials is not None:
            credentials.write(self.path, home=self.home)
            return
        Credentials(cluster="failed").write(self.path, home=self.home)
        time.sleep(_FAREWELL)
        self.close()

    def fetch(self) -> tuple[Credentials, Contact]:
        deadline = time.monotonic() + PATIENCE
        problem = "there is no file"
        while time.monotonic() < deadline:
            try:
                credentials = Credentials.read(self.path)
                if not credentials.addresses:
                    raise Ended(FAILURE, "the rank of the scheduler has failed")
                return credentials, asyncio.run(find_scheduler(credentials, patience=0.0))
            except (FileNotFoundError, CredentialsError) as error:
                problem = str(error)
            except Ended as ended:
                if ended.code == FAILURE:
                    raise
                problem = str(ended)
            time.sleep(_GLANCE)
        raise Ended(FAILURE, f"no scheduler by {self.path} within {PATIENCE:.0f} s: {problem}")

    def close(self) -> None:
        self._remove()
        with suppress(FileNotFoundError), self.home.open() as folder:
            folder.remove_folder(_RANKS)

    def _remove(self) -> None:
        with suppress(FileNotFoundError), self.home.folder(_RANKS) as folder:
            folder.remove(self.path.name)
