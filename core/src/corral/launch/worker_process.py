"""A worker's process, forked by the zygote: what its nanny sees of it, and what it runs.

Both hold one end of a channel, a socket pair. The nanny sends an order; the worker answers with its address, or with
the exception that kept it from starting; the nanny may send one message to stop it. If the nanny's end is closed
without one, the nanny is dead, and the worker goes at once.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import importlib
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask
from attrs import frozen
from dask.multiprocessing import default_initializer
from distributed.compatibility import asyncio_run
from distributed.config import get_loop_factory
from distributed.core import Status
from distributed.nanny import WorkerProcess
from distributed.protocol import pickle

from corral.launch.ending import flush_all
from corral.launch.preimport import redo_effects
from corral.launch.zygote import Zygote

_LENGTH = struct.Struct("!Q")


def root_cause(error: BaseException) -> BaseException:
    """What really happened: distributed wraps it in "Worker failed to start"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def described(error: BaseException) -> str:
    """What really happened, in a line: ``ValueError: no such interface``."""
    return "".join(traceback.format_exception_only(root_cause(error))).strip()


@frozen(kw_only=True)
class Order:
    """What a nanny wants its worker to be."""

    #: Makes the worker; pickled, because `path` may be needed to read it.
    factory: bytes
    #: The nanny's environment, search path and directory. A new interpreter would inherit them, and nanny plugins
    #: change them.
    environ: dict[str, str]
    path: list[str]
    directory: str
    config: dict[str, Any]


# --- the nanny's side -------------------------------------------------------------------------------------------


class ForkedWorkerProcess(WorkerProcess):
    """distributed's WorkerProcess with another way to start; everything else is inherited."""

    def __init__(self, zygote: Zygote, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._zygote = zygote

    async def start(self) -> Status:
        """Start the process; returns when its worker is connected, or gone."""
        if self.status == Status.running:
            return self.status
        if self.status == Status.starting:
            await self.running.wait()
            return self.status
        self.running = asyncio.Event()
        self.stopped = asyncio.Event()
        self.status = Status.starting
        # The nanny has the environment that it would give to a new interpreter, as distributed's has.
        os.environ.update(self.pre_spawn_env)
        # `kill` writes its message to the second of them.
        process = ForkedProcess(self._zygote, self._on_exit)
        self.process = self.child_stop_q = process  # type: ignore[assignment]
        try:
            await process.start(self._order())
            answer = await process.answer()
            if isinstance(answer, BaseException):
                process.terminate()
                raise answer
            if answer is None:
                # It died without a word.
                await process.join()
            elif self.status == Status.starting:
                self.worker_address, self.worker_dir = answer
                self.status = Status.running
        except BaseException:
            if self.status == Status.starting:
                self.status = Status.failed
            raise
        finally:
            self.running.set()
        return self.status

    def _order(self) -> Order:
        return Order(
            factory=pickle.dumps(functools.partial(self.Worker, **self.worker_kwargs)),
            environ={**os.environ, **self.env},
            path=sys.path,
            directory=os.getcwd(),
            config=self.config,
        )


class ForkedProcess:
    """What a WorkerProcess and a nanny's memory manager need of `distributed.process.AsyncProcess`."""

    def __init__(self, zygote: Zygote, on_exit: Callable[[ForkedProcess], None]) -> None:
        self.pid: int | None = None
        self.exitcode: int | None = None
        self._zygote = zygote
        self._on_exit = on_exit
        self._ended = asyncio.Event()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def start(self, order: Order) -> None:
        """Fork, and give the order."""
        ours, theirs = socket.socketpair()
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        try:
            with theirs:
                self.pid = await self._zygote.spawn(theirs, self._exited)
        except OSError:
            self._exited(1)
            raise
        self.put(order)

    async def answer(self) -> tuple[str, str] | BaseException | None:
        """The worker's address and directory, or why it has none; None if it died."""
        received: tuple[str, str] | BaseException | None = await _receive(self._reader)
        return received

    def put(self, message: object) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(_framed(message))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def is_alive(self) -> bool:
        return self.pid is not None and self.exitcode is None

    def terminate(self) -> asyncio.Future[None]:
        # Workers let SIGTERM pass.
        return self.kill()

    def kill(self) -> asyncio.Future[None]:
        if self.pid is not None:
            self._zygote.signal(self.pid, signal.SIGKILL)
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    async def join(self, timeout: float | None = None) -> None:
        async with asyncio.timeout(timeout):
            await self._ended.wait()

    def _exited(self, code: int) -> None:
        self.exitcode = code
        self.close()
        self._on_exit(self)
        self._ended.set()


# --- the worker's side ------------------------------------------------------------------------------------------


def run_worker(channel: socket.socket) -> None:
    """Be a Dask worker, until told to stop: what a process that the zygote forked does."""
    asyncio_run(_work(channel), loop_factory=get_loop_factory())


async def _work(channel: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=channel)
    order: Order | None = await _receive(reader)
    if order is None:
        return
    is_connected = is_closing = False

    async def obey() -> None:
        nonlocal is_closing
        message = await _receive(reader)
        # A task that takes longer than there is time will be killed: what it has printed so far must be there.
        flush_all()
        if message is None or not is_connected:
            # Nobody is left to clean up for, or there is nothing yet to clean up.
            os._exit(1)
        del message["op"]
        is_closing = True
        await worker.close(nanny=False, **message)

    try:
        worker = _made(order)
        obeying = asyncio.create_task(obey())
        async with worker:
            is_connected = True
            writer.write(_framed((worker.address, worker.local_directory)))
            await worker.finished()
    except Exception as error:
        if is_connected:
            raise
        writer.write(_framed(_portable(root_cause(error))))
        await writer.drain()
    else:
        # distributed makes an error of a close that is cut short.
        if is_closing:
            await obeying
        obeying.cancel()


def _made(order: Order) -> Any:
    os.environ.clear()
    os.environ.update(order.environ)
    sys.path[:] = order.path
    os.chdir(order.directory)
    dask.config.refresh()
    dask.config.set(order.config)
    redo_effects()
    importlib.invalidate_caches()
    default_initializer()
    # A crash in compiled code leaves the lines of Python that led there in the job's log.
    with suppress(OSError, ValueError):
        faulthandler.enable(all_threads=False)
    return pickle.loads(order.factory)()


def _portable(error: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(described(error))
    return error


# --- the channel ------------------------------------------------------------------------------------------------


def _framed(message: object) -> bytes:
    body: bytes = pickle.dumps(message)
    return _LENGTH.pack(len(body)) + body


async def _receive(reader: asyncio.StreamReader) -> Any:
    """The next message; None if the other side is gone."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return pickle.loads(await reader.readexactly(length))
    return None
