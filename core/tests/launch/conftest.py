"""A real Dask scheduler in the test's process, and launchers as the processes that jobs start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest
from attrs import define, evolve, field
from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

from corral.cluster.scheduler import Scheduler
from corral.request.worker_group import JOB_ENVIRONMENT
from corral.security.credentials import Credentials


class Log(SchedulerPlugin):
    """What the scheduler sees, as something to wait for."""

    name = "test-log"

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def add_worker(self, scheduler: distributed.Scheduler, worker: str) -> None:
        self._tell()

    def remove_worker(self, scheduler: distributed.Scheduler, worker: str, **_: object) -> None:
        self._tell()

    def transition(self, key: object, start: str, finish: str, *_: object, **__: object) -> None:
        if finish == "processing":
            self._tell()

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == "corral":
            self.reports.append(dict(msg))
            self._tell()

    def _tell(self) -> None:
        async def notify() -> None:
            async with self.changed:
                self.changed.notify_all()

        task = asyncio.get_running_loop().create_task(notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_for(self, predicate: Callable[[], bool], timeout: float = 30) -> None:
        async with asyncio.timeout(timeout), self.changed:
            await self.changed.wait_for(predicate)


@define(kw_only=True)
class Launched:
    """A launcher, as its job sees it."""

    process: asyncio.subprocess.Process
    log: Path
    directory: Path
    #: Every process that it was ever seen to have.
    family: set[psutil.Process] = field(factory=set)

    def descendants(self) -> set[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
        return {process for process in self.family if process.is_running()}

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self, timeout: float = 30) -> tuple[int, str]:
        """Wait for its end; returns its exit code and what it said."""
        async with asyncio.timeout(timeout):
            code = await self.process.wait()
        return code, self.log.read_text()

    async def nothing_is_left(self, timeout: float = 5) -> bool:
        """True if no process and no directory of it remains."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._is_anything_left():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)
                return True
        return False

    def _is_anything_left(self) -> bool:
        return any(is_alive(process) for process in self.family) or any(self.directory.iterdir())


def is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        # Orphans of a container without an init stay zombies: they hold nothing.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@define(kw_only=True)
class Cluster:
    """A scheduler with its credentials, and the launchers of its jobs."""

    scheduler: Scheduler
    credentials: Credentials
    path: Path
    log: Log
    directory: Path
    launched: list[Launched] = field(factory=list)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with Client(self.scheduler.address, security=self.credentials.security(), asynchronous=True) as client:
            yield client

    async def start(self, *arguments: str, job: str = "77_0", **environ: str) -> Launched:
        """Start a launcher; it is not connected yet."""
        directory = self.directory / f"local-{len(self.launched)}"
        directory.mkdir()
        log = self.directory / f"job-{len(self.launched)}.log"
        command = [f"--credentials={self.path}", f"--local-directory={directory}", *arguments]
        with log.open("w") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "corral.launch", *command),
                # As a job's script has it: libraries that start threads at their import could not be forked.
                env={**os.environ, **JOB_ENVIRONMENT, "CORRAL_JOB_ID": job, **environ},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        launched = Launched(process=process, log=log, directory=directory)
        self.launched.append(launched)
        return launched

    async def connect(self, *arguments: str, job: str = "77_0", **environ: str) -> Launched:
        """Start a launcher, and wait until all its workers are connected."""
        launched = await self.start(*arguments, job=job, **environ)
        await self.report("ready", job)
        launched.descendants()
        return launched

    async def report(self, event: str, job: str = "77_0", timeout: float = 30) -> dict[str, Any]:
        """What a launcher reported; waits for it."""

        def reports() -> list[dict[str, Any]]:
            return [each for each in self.log.reports if each["event"] == event and each["job"] == job]

        await self.log.wait_for(lambda: bool(reports()), timeout)
        return reports()[-1]

    def break_connections(self) -> None:
        """Cut off all workers without a word."""
        for stream in list(self.scheduler.stream_comms.values()):
            assert stream.comm is not None
            stream.comm.abort()

    @property
    def names(self) -> set[str]:
        return {str(worker.name) for worker in self.scheduler.workers.values()}

    def nanny(self, name: str) -> Any:
        """The nanny of a worker, to be called."""
        return self.scheduler.rpc(self.scheduler.workers[self.scheduler.aliases[name]].nanny)

    def pid(self, name: str) -> int:
        return self.scheduler.workers[self.scheduler.aliases[name]].pid


@contextlib.asynccontextmanager
async def running_cluster(directory: Path) -> AsyncIterator[Cluster]:
    credentials = Credentials.create(cluster="test")
    log = Log()
    async with Scheduler(
        host="127.0.0.1",
        protocol="tls",
        port=0,
        security=credentials.security(),
        dashboard_address="127.0.0.1:0",
        plugins=[log],
    ) as scheduler:
        credentials = evolve(credentials, addresses=(scheduler.address,))
        path = directory / "shared" / "credentials.json"
        credentials.write(path)
        cluster = Cluster(scheduler=scheduler, credentials=credentials, path=path, log=log, directory=directory)
        try:
            yield cluster
        finally:
            for launched in cluster.launched:
                if launched.process.returncode is None:
                    launched.process.kill()
                    await launched.process.wait()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as running:
        yield running
