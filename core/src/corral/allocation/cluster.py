"""Batch mode: a job's allocation becomes a Dask cluster for as long as the job's script needs it.

Long because it is a public face of its own, whose docstrings are the reference.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from attrs import evolve
from distributed import Security
from distributed.core import Status, rpc

from corral.allocation.arguments import WORKER_ARGUMENTS, configured
from corral.allocation.detect import Grant, Shares, grant_here
from corral.allocation.launchers import Launchers
from corral.allocation.overviewing import overview_of
from corral.cluster import connecting
from corral.cluster.dask_logs import Quiet
from corral.cluster.hosting_cluster import HostingCluster
from corral.cluster.registration import Registration
from corral.cluster.registry import Entry
from corral.cluster.scheduler_host import host
from corral.errors import CorralError, InvalidRequest, WorkersLost, WorkersNotReady
from corral.host import limits
from corral.host.home import CLIENT_PEM, Home
from corral.launch.spread import launcher_commands
from corral.plugin.values import JobId
from corral.request.blueprint import DEFAULT_GROUP
from corral.request.quantities import parse_duration
from corral.request.sites import AUTO, said, site_of
from corral.request.tracebacks import tells_plainly
from corral.request.worker_group import JOB_ENVIRONMENT, WorkerGroup
from corral.security import addresses
from corral.security.connections import disconnect
from corral.security.credentials import secured
from corral.security.membership import LOADER
from corral.text.logs import logger_of
from corral.view.overview import Overview

logger = logger_of()

#: Says to a script that it is run by `corral run`, and by which cluster.
RUN_BY = "CORRAL_RUN"

#: How soon to look again whether workers are ready (s).
_GLANCE = 0.05


class Allocation(HostingCluster):
    """The nodes of the job in which this process runs, as a Dask cluster.

    The scheduler runs in this process, workers on every node. Closing it ends them all; the job carries on.

    Parameters
    ----------
    cores, memory
        What the workers on a node may use together. Default: what the batch system says it granted.
    processes
        Workers per node. Default: one per GPU; without GPUs 1 below 4 cores, else about the square root of the cores.
    threads
        Threads per worker. Default: the node's cores, shared evenly.
    memory_limit
        Memory per worker: ``"4GB"``, a fraction of the node's, 0 for no limit. Default: the job's, shared evenly, less
        a tenth (at most 2 GiB) for the scheduler and the script.
    spare_first_node
        True: no workers on the node that runs the scheduler and the script.
    name
        Prefix of the workers' names. Default: the job's id.
    backend
        The batch system. Default: the one whose job this is; ``"local"`` outside any job: this machine.
    backend_options
        Options of the backend plugin: a mapping.
    site
        The name of an installed site plugin (`corral sites` lists them), or None for no site. Default: the configured
        one, else, with the site's own backend, the one that this host belongs to.
    site_options
        What the site asks of its users beyond other arguments: a mapping. See `corral sites NAME`.
    shared_directory
        A folder that all nodes share; the credentials go there, into a folder of corral's own (``corral-1000``).
        Default: ``corral`` in your state directory (``~/.local/state``).
    interface
        Network interface of scheduler and workers, where `scheduler_interface` or `worker_interface` says nothing.
    scheduler_interface
        Network interface of the scheduler. Default: all.
    worker_interface
        Network interface of the workers. Default: the one that reaches the scheduler.
    scheduler_port
        Port of the scheduler. Default: any.
    scheduler_options
        Further keyword arguments of `distributed.Scheduler`.
    security
        True: TLS with certificates made for this cluster (default). False: none. Or a `distributed.Security`.
    worker_ports
        Ports that workers may listen on: ``"10000:10100"``. Default: any.
    local_directory
        Where workers spill, on the node; ``$TMPDIR`` and other variables are the node's. It is created if it is
        missing. Default: the node's temporary directory.
    launcher
        ``"fork"`` (default) starts workers from one import per node; ``"spawn"`` is for libraries that cannot be
        forked.
    affinity
        CPUs to which each worker is bound: an even share of the job's own (``"cores"``), or of those near the worker's
        GPUs (``"near-gpu"``). Default: ``"none"``.
    preimport
        Modules that workers will use: ``["pandas", "xarray"]``. Each node imports them once, before its workers are
        forked, which start with them and share their memory. One that starts threads or opens connections when it is
        imported is left out, and one that is missing or takes longer than `death_timeout`, with a message.
    death_timeout
        How long a worker tries to reach the scheduler before it gives up (``"60s"``).
    worker_class
        The class of the workers, or its path (``"package.module.Class"``). Default: `distributed.Worker`.
    worker_options
        Further keyword arguments of the workers' class; must be expressible in JSON.
    silence_logs
        Dask's own log messages below this level are not shown while the cluster lives; None: all are.
    asynchronous
        True if used inside a running event loop.

    Raises
    ------
    NoAllocation
        This process is not in a job.
    InvalidRequest
        An argument cannot be used.

    Examples
    --------
    >>> with Allocation() as cluster, Client(cluster) as client:  # doctest: +SKIP
    ...     client.wait_for_workers(cluster.n_workers)
    """

    _supports_scaling = False

    if TYPE_CHECKING:  # Dask's own says nothing of types

        def __enter__(self) -> Self: ...

    @tells_plainly
    def __init__(
        self,
        *,
        cores: int | None = None,
        memory: int | str | None = None,
        processes: int | None = None,
        threads: int | None = None,
        memory_limit: float | str | None = None,
        spare_first_node: bool = False,
        name: str | None = None,
        backend: str | None = None,
        backend_options: Mapping[str, Any] | None = None,
        site: str | None = AUTO,
        site_options: Mapping[str, Any] | None = None,
        shared_directory: str | os.PathLike[str] | None = None,
        interface: str | None = None,
        scheduler_interface: str | None = None,
        worker_interface: str | None = None,
        scheduler_port: int | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        security: bool | Security | None = None,
        worker_ports: str | None = None,
        local_directory: str | os.PathLike[str] | None = None,
        launcher: str | None = None,
        affinity: str | None = None,
        preimport: Sequence[str] | None = None,
        death_timeout: float | str | timedelta | None = None,
        worker_class: str | type | None = None,
        worker_options: Mapping[str, Any] | None = None,
        silence_logs: int | str | None = logging.WARNING,
        asynchronous: bool = False,
        loop: Any = None,
    ) -> None:
        # Long because all arguments are named twice: here, and by where they go.
        # Closed until it is built: a refused argument must not warn about an unclosed cluster.
        self.status = Status.closed
        if owner := os.environ.get(RUN_BY):
            raise CorralError(
                f"corral run has made this job a cluster already ({owner}): use Client(), or start without corral run"
            )
        given = {
            "backend": backend, "backend_options": backend_options, "site_options": site_options,
            "shared_directory": shared_directory, "interface": interface,
            "scheduler_interface": scheduler_interface, "worker_interface": worker_interface,
            "scheduler_port": scheduler_port, "scheduler_options": scheduler_options, "security": security,
            "worker_ports": worker_ports, "local_directory": local_directory, "launcher": launcher,
            "affinity": affinity, "preimport": preimport, "death_timeout": death_timeout, "worker_class": worker_class,
            "worker_options": worker_options,
        }  # fmt: skip
        given = {key: value for key, value in given.items() if value is not None}
        self._site = site_of({**given, "site": said(site)})
        self._arguments = configured(backend, self._site) | given
        self._sizes: dict[str, Any] = {
            "cores": cores, "memory": memory, "processes": processes, "threads": threads, "memory_limit": memory_limit,
        }  # fmt: skip
        self._spare_first_node = spare_first_node
        self._worker_prefix = name
        self._uuid = uuid.uuid4().hex
        self._home = Home.of(self._arguments.get("shared_directory"))
        # It checks what it is given, and writes it for the launchers.
        self._spec = WorkerGroup(
            interface=self._arguments.get("worker_interface", self._arguments.get("interface")),
            **{key: self._arguments[key] for key in WORKER_ARGUMENTS if key in self._arguments},
        )
        self._credentials, self.security = secured(
            self._arguments.get("security", True), cluster=f"corral-{self._uuid[:8]}", uuid=self._uuid
        )
        self._grant: Grant | None = None
        self._shares: Shares | None = None
        self._launchers = Launchers()
        self._registration: Registration | None = None
        #: Set when no worker is left, and not because somebody wished it.
        self.is_deserted = asyncio.Event()
        self._quiet = Quiet(silence_logs)
        super().__init__(asynchronous=asynchronous, loop=loop, name=f"corral-{self._uuid[:8]}")
        self._begin()

    # --- life ---------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        arguments = self._arguments
        self._quiet.begin()
        self._grant, self._site = await grant_here(
            arguments.get("backend"), options=arguments.get("backend_options"), site=self._site
        )
        allocation = self._grant.allocation
        if self._spare_first_node and len(allocation.hosts) == 1:
            raise InvalidRequest("spare_first_node", "this allocation has only one node, so none is left for workers")
        self._shares = Shares.of(allocation, **self._sizes)
        limits.raise_descriptor_limit(self.n_workers)
        interface = arguments.get("scheduler_interface", arguments.get("interface"))
        hosted = await host(
            self._credentials,
            self.security,
            address=None if interface is None else addresses.host_of_interface("interface", interface),
            port=arguments.get("scheduler_port", 0),
            options=arguments.get("scheduler_options"),
        )
        self.scheduler, self._credentials, self._dashboard = hosted.scheduler, hosted.credentials, hosted.dashboard
        self.scheduler_comm = rpc(self.scheduler.address, connection_args=self.security.get_connection_args("client"))
        self._registration = Registration(self._new_entry())
        # First: whatever becomes of this process now, what it leaves is known.
        await asyncio.to_thread(self._registration.renew)
        await asyncio.to_thread(self._credentials.write, self.credentials_path, home=self._home)
        self.status = Status.running
        connecting.remember(self)
        # A job that is killed at its walltime leaves its credentials behind: corral clean finds them by this.
        self._registration.keep()
        await self._launch()

    async def _launch(self) -> None:
        assert self._grant is not None
        # Workers stay as long as the script: nothing would be gained if they left before the job's end.
        allocation = evolve(self._grant.allocation, ends=None)
        if self._worker_prefix is not None:
            allocation = evolve(allocation, job_id=JobId(self._worker_prefix))
        commands = launcher_commands(self._grant.manager, allocation, self._launcher_arguments(), JOB_ENVIRONMENT)
        await self._launchers.start(commands, self._on_end)

    def _on_end(self, argv: Sequence[str], code: int) -> None:
        """A launcher has ended."""
        if self.status is Status.running:
            if code:
                logger.warning(
                    "workers have ended with exit code %d: %s …", code, shlex.join(argv[:3]), cluster=self.name
                )
            is_open = self.scheduler is not None and self.scheduler.status is Status.running
            # A script may retire its workers, or shut the scheduler down, and go on without them.
            if is_open and self._launchers.have_failed:
                self.is_deserted.set()

    def _launcher_arguments(self) -> list[str]:
        assert self._shares is not None
        words = [f"--credentials={self.credentials_path}", f"--cluster-created={self._credentials.created:.0f}"]
        words += self._spec.launcher_arguments(DEFAULT_GROUP, self._shares.resources, None)
        return [*words, "--spare-first-node"] if self._spare_first_node else words

    def _new_entry(self) -> Entry:
        assert self._grant is not None
        return Entry(
            name=self.name,
            uuid=self._uuid,
            backend=self._grant.backend,
            backend_options=dict(self._arguments.get("backend_options", {})),
            site=None if self._site is None else self._site.name,
            site_options={} if self._site is None else dict(self._site.options),
            credentials=str(self.credentials_path),
            scheduler_job=self._grant.allocation.job_id.text,
        )

    async def _close_down(self) -> None:
        self.status = Status.closing
        self._quiet.close_down()
        if self._registration is not None:
            await self._registration.let_go()
        try:
            with self._tried(f"{self.credentials_path} could not be removed"):
                # Launchers that are still starting see that there is nothing to join any more.
                await asyncio.to_thread(self._home.remove_credentials, self._uuid)
            if self.scheduler is not None:
                with self._tried("its workers could not be stopped cleanly"):
                    await self._launchers.stop(self.scheduler)
                with self._tried("its scheduler could not be closed"):
                    await self.scheduler.close()
            if self.scheduler_comm is not None:
                await disconnect(self.scheduler_comm)
            with self._tried("its launchers could not be ended"):
                await self._launchers.end()
            with self._tried("its files could not be removed"):
                await asyncio.to_thread(self._remove_traces)
        finally:
            self._quiet.end()

    async def _end_jobs_apart(self, timeout: float) -> None:
        # Their job goes on; without credentials and scheduler they would end by themselves, a little later.
        self._launchers.signal(signal.SIGTERM)

    def _remove_traces(self) -> None:
        try:
            self._home.remove_cluster(self._uuid)
        except OSError as error:
            # Without launchers nothing was written, and what was wrong is being raised.
            if self._launchers:
                logger.warning("allocation %s: its files are left where they are: %s", self.name, error)
        if self._registration is not None:
            self._registration.remove()

    # --- what there is ------------------------------------------------------------------------------------------

    @property
    def credentials_path(self) -> Path:
        return self._home.credentials(self._uuid)

    @property
    def pem_path(self) -> Path:
        return self.credentials_path.with_name(CLIENT_PEM)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The nodes, this one first."""
        return () if self._grant is None else self._grant.allocation.hosts

    @property
    def n_workers(self) -> int:
        """How many workers there will be, if all nodes do their part."""
        if self._shares is None:
            return 0
        return self._shares.processes * (len(self.hosts) - self._spare_first_node)

    def overview(self) -> Overview:
        """What there is now, as plain values: the allocation is one job, with the workers of all of its nodes."""
        return overview_of(self, self._grant, self._shares, moment=time.time())

    def _news(self) -> object:
        return self.status, len(self.observed)

    def environment(self) -> dict[str, str]:
        """Variables by which `Client()` in another process finds this cluster; writes the file that they name."""
        assert self.scheduler is not None
        found = {
            "DASK_SCHEDULER_ADDRESS": self.scheduler.address,
            "CORRAL_WORKERS": str(self.n_workers),
            RUN_BY: self.name,
        }
        if self._credentials.key is not None:
            self._credentials.write_pem(self.pem_path)
            variables = ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")
            found |= {f"DASK_DISTRIBUTED__COMM__TLS__{variable}": str(self.pem_path) for variable in variables}
            found["DASK_DISTRIBUTED__CLIENT__SECURITY_LOADER"] = LOADER
        return found

    async def _wait_for_workers(self, n_workers: int = 0, timeout: float | str | None = None) -> None:
        seconds = None if timeout is None else parse_duration("timeout", timeout)
        try:
            async with asyncio.timeout(seconds):
                while self._ready() < n_workers:
                    if self.is_deserted.is_set():
                        raise WorkersLost(f"{self._ready()} of {n_workers} workers are here, and no more will come")
                    await asyncio.sleep(_GLANCE)
        except TimeoutError:
            where = f"{len(self.hosts)} nodes of {len(self._launchers)} launchers"
            raise WorkersNotReady(self._ready(), n_workers, seconds or 0.0, where) from None

    def _ready(self) -> int:
        assert self.scheduler is not None
        return sum(1 for worker in self.scheduler.workers.values() if worker.status.name == "running")

    def scale(self, n: int) -> None:
        """Not possible: an allocation has the size that it was granted."""
        raise CorralError(f"this allocation has {len(self.hosts)} nodes and {self.n_workers} workers, no more")

    def adapt(self, *args: Any, **kwargs: Any) -> Any:
        """Not possible: an allocation has the size that it was granted."""
        self.scale(0)

    def __repr__(self) -> str:
        """Return ``Allocation('slurm', job='77_0', nodes=3, workers=24 of 24)``."""
        if self._grant is None or self.scheduler is None:
            return f"Allocation({self.status.name})"
        job = self._grant.allocation.job_id
        here = f"workers={len(self.scheduler.workers)} of {self.n_workers}"
        return f"Allocation({self._grant.backend!r}, job={str(job)!r}, nodes={len(self.hosts)}, {here})"
