"""The public face: a Dask cluster whose workers are jobs of a batch system.

Long because its docstrings are the reference. What is done is done elsewhere: an argument is checked in
`corral.request`, what is shown is read in `corral.cluster.shown`, and everything that takes time is the engine's.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import os
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, Self, cast

from distributed import Security
from distributed.core import Status, rpc

import corral
from corral.cluster import connecting, kept_logs
from corral.cluster.basis import Basis
from corral.cluster.changes import Changes
from corral.cluster.dask_logs import Quiet
from corral.cluster.explaining import telling
from corral.cluster.hosting_cluster import HostingCluster
from corral.cluster.journalling import Journalling
from corral.cluster.open_clusters import MARGIN, find_open
from corral.cluster.overviewing import Known, overview_of
from corral.cluster.progress import showing
from corral.cluster.registration import Registration
from corral.cluster.registry import AskedLine, JobLine, lines_of
from corral.cluster.scheduler_host import host
from corral.cluster.shown import AtWork, OnPaper, Shown, resources_of, workers_of
from corral.errors import CorralError, HostUnreachable, InvalidRequest, LoginRefused
from corral.host import limits
from corral.host.files import Files
from corral.host.home import Home
from corral.jobs.explanation import Explanations
from corral.jobs.failures import Failures
from corral.jobs.record import JobRecord, Jobs
from corral.plugin.values import JobId
from corral.request.arguments import GROUP_ARGUMENTS
from corral.request.awaited import Awaited
from corral.request.drawing import draw, read_script, scheduler_place
from corral.request.quantities import hours_of
from corral.request.scale import jobs_asked_for, jobs_at_once, known_group, the_group
from corral.request.sites import AUTO, said
from corral.request.synonyms import missing_attribute, refuse_unknown_bounds
from corral.request.tracebacks import tells_plainly
from corral.request.worker_group import WorkerGroup
from corral.scaling.account import Account
from corral.security.connections import disconnect
from corral.text.logs import logger_of
from corral.text.printable import html
from corral.view.overview import Overview

if TYPE_CHECKING:
    from distributed import Client

    from corral.cluster.asynchronous import AsyncCluster
    from corral.cluster.engine import Engine
    from corral.cluster.pages import Pages
    from corral.scaling.adaptive import Adapting

logger = logger_of()

#: How long closing may take (s).
CLOSE_TIMEOUT = 60.0


class Cluster(HostingCluster):
    """A Dask cluster whose workers are jobs of a batch system.

    Parameters
    ----------
    backend
        The batch system: the name of an installed backend plugin (``"slurm"``, ``"local"``; `corral backends` lists
        them). Default: the configured one, else the site's, else the one that answers on this host, else, where there
        is no trace of a batch system, the embedded queue ``"local"``.
    groups
        Several kinds of jobs: a mapping of names to `WorkerGroup`. Arguments of `WorkerGroup` given beside it, or in
        the configuration, then fill in what a group leaves out. A text is a group that the site has ready:
        ``["perlmutter.gpu"]``, or ``{"gpu": "perlmutter.gpu"}``; arguments given beside it win over what it says.
    n_workers
        Workers to ask for at once, or a mapping of groups to workers; `scale` changes that.
    name
        What the cluster is called in `corral ps` and in job names. Default: ``corral-`` and eight characters.
    backend_options
        Options of the backend plugin: a mapping.
    site
        The name of an installed site plugin (`corral sites` lists them), or None for no site. Default: the configured
        one, else, with the site's own backend, the one that this host belongs to.
    site_options
        What the site asks of its users beyond other arguments: a mapping. See `corral sites NAME`.
    via
        The host on which the batch system's commands are to run, over ssh: ``"ssh://login.example.org"``, also with a
        user and a port, or an alias of your ssh configuration. The cluster's files are there, too, and folders,
        Pythons and the site are that host's. Default: this host.
    plugins
        Plugins of your own, wrapped around the rest: objects, or their paths in Python (``"my_lab:Quirks"``), as the
        configuration names them. Those of the configuration are there as well. Default: none.
    shared_directory
        A folder that this host and the compute nodes share. In it corral creates one of its own for each user
        (``corral-1000``), for credentials and logs. Default: ``corral`` in your state directory (``~/.local/state``).
    log_directory
        Where the jobs' logs go, all of them kept. Default: corral's own folder, where only logs of failed jobs
        are kept, for a week.
    interface
        Network interface of scheduler and workers, where `scheduler_interface` or `worker_interface` says nothing.
    scheduler_interface
        Network interface of the scheduler. Default: all.
    worker_interface
        Network interface of the workers. Default: the one that reaches the scheduler.
    scheduler_port
        Port of the scheduler. Default: any.
    scheduler
        Where the Dask scheduler and corral's engine run: in this ``"process"`` (default), or in a ``"job"`` of their
        own, which outlives this process: see `connect`. What that job needs, such as cores, memory, walltime and queue,
        then goes into `scheduler_options`, too.
    scheduler_options
        Further keyword arguments of `distributed.Scheduler`.
    on_exists
        With ``scheduler="job"``, what to do if there already is such a cluster of this `name`: ``"error"`` (default),
        ``"connect"`` to it, or ``"replace"`` it.
    idle_timeout
        With ``scheduler="job"``, a cluster ends itself after this long without a connection, a task or a result ("1h",
        the default; 0: never).
    shutdown_on_close
        With ``scheduler="job"``, whether closing ends the cluster. Default: yes for the object that made it, no for one
        that connected to it.
    security
        True: TLS with certificates made for this cluster (default). False: none. Or a `distributed.Security`.
    maximum_core_hours
        When the cluster's jobs have used this many core-hours, nothing more is submitted; `account` shows how many they
        have used.
    maximum_gpu_hours
        When they have used this many GPU-hours, no more jobs with GPUs are submitted.
    parked_results
        How much may be put into files in the shared directory when jobs leave and no other worker can take their
        results: ``"20GB"`` (default), or 0. These are read back instead of being computed again.
    silence_logs
        Dask's own log messages below this level are not shown while the cluster lives; None: all are.
    asynchronous
        True if used inside a running event loop: ``async with Cluster(..., asynchronous=True) as cluster``.
    **worker
        What each job needs: the arguments of `WorkerGroup`, such as cores, memory, processes, walltime, queue.

    Raises
    ------
    InvalidRequest
        An argument cannot be used. Nothing was submitted.
    UnknownBackend, PluginError
        Plugins are missing or broken.
    SubmitRejected
        The batch system refuses the jobs that `n_workers` asks for.

    Examples
    --------
    >>> with Cluster(backend="slurm", cores=8, memory="32GB") as cluster:  # doctest: +SKIP
    ...     cluster.scale(10)
    ...     client = Client(cluster)
    """

    #: Until it is built: a refused argument must not warn about an unclosed cluster.
    status = Status.closed
    #: None: it has not started, or is elsewhere.
    _engine: Engine | None = None
    #: None: it has not started, is elsewhere, or is to have no journal.
    _journalling: Journalling | None = None
    _pages: Pages | None = None
    #: True in a subclass that reads dask-jobqueue's section of the configuration.
    _heeds_jobqueue = False

    @tells_plainly
    def __init__(
        self,
        backend: str | None = None,
        *,
        groups: Mapping[str, WorkerGroup | str] | Sequence[str] | None = None,
        n_workers: int | Mapping[str, int] = 0,
        name: str | None = None,
        backend_options: Mapping[str, Any] | None = None,
        site: str | None = AUTO,
        site_options: Mapping[str, Any] | None = None,
        via: str | None = None,
        plugins: Sequence[object] | None = None,
        shared_directory: str | os.PathLike[str] | None = None,
        log_directory: str | os.PathLike[str] | None = None,
        interface: str | None = None,
        scheduler_interface: str | None = None,
        worker_interface: str | None = None,
        scheduler_port: int | None = None,
        scheduler: str | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        on_exists: str | None = None,
        idle_timeout: str | float | None = None,
        shutdown_on_close: bool | None = None,
        security: bool | Security | None = None,
        maximum_core_hours: float | None = None,
        maximum_gpu_hours: float | None = None,
        parked_results: int | str | None = None,
        silence_logs: int | str | None = logging.WARNING,
        asynchronous: bool = False,
        loop: Any = None,
        **worker: Any,
    ) -> None:
        # Long because all arguments are named twice: here, and by where they go.
        given = {
            "backend": backend,
            "site": said(site),
            "site_options": site_options,
            "via": via,
            "plugins": plugins,
            "backend_options": backend_options,
            "name": name,
            "shared_directory": shared_directory,
            "log_directory": log_directory,
            "interface": interface,
            "scheduler_interface": scheduler_interface,
            "worker_interface": worker_interface,
            "scheduler_port": scheduler_port,
            "scheduler_options": scheduler_options,
            "idle_timeout": idle_timeout,
            "security": security,
            "maximum_core_hours": maximum_core_hours,
            "maximum_gpu_hours": maximum_gpu_hours,
            "parked_results": parked_results,
            "groups": groups,
            **worker,
        }
        if scheduler_place(scheduler, backend) == "job":
            # As with pathlib.Path: those who ask for a cluster need not know which kind they get. Here and not in
            # __new__, which sees what a subclass takes, not what it makes of that.
            corral.RemoteCluster.in_place_of(self).set_up(
                given,
                n_workers=n_workers,
                on_exists=on_exists,
                shutdown_on_close=shutdown_on_close,
                asynchronous=asynchronous,
                loop=loop,
            )
            return
        elsewhere = {"on_exists": on_exists, "shutdown_on_close": shutdown_on_close, "idle_timeout": idle_timeout}
        for argument, value in elsewhere.items():
            if value is not None:
                raise InvalidRequest(argument, "only makes sense with scheduler='job'")
        blueprint = draw(given, heeds_jobqueue=self._heeds_jobqueue)
        self._stand_on(
            Basis.new(blueprint),
            at_once=jobs_at_once(resources_of(OnPaper(blueprint).groups), n_workers),
            silence_logs=silence_logs,
            asynchronous=asynchronous,
            loop=loop,
        )

    def _stand_on(
        self,
        basis: Basis,
        *,
        at_once: Mapping[str, int],
        silence_logs: int | str | None,
        asynchronous: bool,
        loop: Any = None,
    ) -> None:
        """Be the cluster of this basis, with so many jobs of each group at once, and begin."""
        self._blueprint = basis.blueprint
        self._jobs_at_once = at_once
        self._credentials, self.security = basis.credentials, basis.security
        self._registration = Registration(basis.entry)
        self._changes = Changes()
        self._quiet = Quiet(silence_logs)
        HostingCluster.__init__(self, asynchronous=asynchronous, loop=loop, name=basis.blueprint.name)
        with limits.threads_allowed():
            self._begin()

    @classmethod
    @tells_plainly
    def connect(
        cls, name: str, *, timeout: str | float = "60s", asynchronous: bool = False, loop: Any = None
    ) -> Cluster:
        """Come back to a cluster whose scheduler runs in a job, or was started by `corral serve`.

        From any process of yours that sees the same state directory: another shell, a notebook, another node. Closing
        what is returned leaves the cluster as it is; `shutdown` ends it.

        A cluster of this very process is returned itself, even if no variable refers to it any more.

        Parameters
        ----------
        name
            As `corral ps` lists it.
        timeout
            How long to wait for a scheduler whose job is waiting or starting.

        Raises
        ------
        ClusterNotFound
            There is none, or its scheduler runs in a process that cannot be connected to.
        SchedulerNotReady
            It does not answer.
        JobsFailed
            The scheduler's job has ended.
        """
        return cls.from_name(name, timeout=timeout, asynchronous=asynchronous, loop=loop)

    @classmethod
    @tells_plainly
    def from_name(
        cls,
        name: str,
        *,
        timeout: str | float = "60s",
        shutdown_on_close: bool = False,
        asynchronous: bool = False,
        loop: Any = None,
    ) -> Cluster:
        """`connect`, by the name that Dask's other clusters have for it.

        Parameters
        ----------
        shutdown_on_close
            Whether closing what is returned ends the cluster.
        """
        if isinstance(here := find_open(name), Cluster):
            return here
        return corral.RemoteCluster.to(
            name, timeout=timeout, shutdown_on_close=shutdown_on_close, asynchronous=asynchronous, loop=loop
        )

    @classmethod
    @tells_plainly
    def from_script(cls, path: str | os.PathLike[str], **arguments: Any) -> Cluster:
        """A cluster whose jobs ask for what an existing job script asks for.

        Its directives are read; its commands are not run, and a warning lists them. Arguments of `Cluster` take
        precedence.

        Raises
        ------
        ParseError
            The script asks for something that one group of workers cannot be.
        """
        found, unused = read_script(path, arguments)
        if unused:
            logger.warning(
                "%s: these commands are not run by workers:\n%s", path, "\n".join(f"  {line}" for line in unused)
            )
        return cls(**{**found, **arguments})

    # --- life ---------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        blueprint = self._blueprint
        self._quiet.begin()
        limits.raise_descriptor_limit()
        hosted = await host(
            self._credentials,
            self.security,
            address=blueprint.scheduler_host,
            port=blueprint.scheduler_port,
            options=blueprint.scheduler_options,
        )
        self.scheduler, self._credentials, self._dashboard = hosted.scheduler, hosted.credentials, hosted.dashboard
        await asyncio.to_thread(self._make_folders)
        self.scheduler_comm = rpc(self.scheduler.address, connection_args=self.security.get_connection_args("client"))
        # Not with this module: who imports Cluster does not wait for what runs one.
        from corral.cluster.engine import Engine
        from corral.cluster.pages import Pages

        registration = self._registration
        self._engine = engine = Engine(
            blueprint=blueprint,
            scheduler=self.scheduler,
            replacements_per_hour=blueprint.settings.replacements_per_hour,
            on_change=self._changes.tell,
            # Not a method of this object: the engine must not keep it alive.
            announce=lambda submission: _announce(submission, engine, registration),
            settle=self._registration.settle,
        )
        await engine.start()
        self._pages = Pages.of(engine, self._changes, self._overview)
        self._pages.open()
        self._registration.keep(lambda: news_of(engine), self._changes)
        self._keep_journal(engine)
        self.status = Status.running
        connecting.remember(self)
        if any(self._jobs_at_once.values()):
            self._want(self._jobs_at_once)
            await engine.submitted()

    def _keep_journal(self, engine: Engine) -> None:
        if not self._blueprint.settings.journal:
            return
        # Neither may keep this object alive.
        this = weakref.ref(self)

        def look() -> Shown:
            adaptive = None if (cluster := this()) is None else cluster._adaptive  # noqa: SLF001 - this object's
            return AtWork(engine, adaptive)

        self._journalling = Journalling(self._blueprint, self._began, look)
        self._journalling.keep(self._changes)

    def _make_folders(self) -> None:
        blueprint = self._blueprint
        # First: whatever becomes of this process now, what it leaves is known.
        self._registration.renew()
        if blueprint.elsewhere is not None:
            blueprint.elsewhere.connection.use(blueprint.uuid)
        self._credentials.write(blueprint.credentials_path, home=blueprint.home)
        # Before the submission: a job whose log has no folder fails without a word, on more than one batch system.
        blueprint.make_log_directory()
        if blueprint.chosen_log_directory is None:
            blueprint.home.remove_old_logs()
        if blueprint.home != (own := Home.of()):
            # What tells where logs are is in the user's own folder, wherever they are.
            own.remove_old_logs()

    async def _close_down(self) -> None:
        self.status = Status.closing
        self._quiet.close_down()
        try:
            if self._adaptive is not None:
                self._adaptive.stop("the cluster is closing")
            if self._engine is not None:
                with self._tried("its jobs could not be ended cleanly; corral clean ends what is left"):
                    async with asyncio.timeout(CLOSE_TIMEOUT + MARGIN):
                        await self._engine.close(CLOSE_TIMEOUT)
            await self._registration.let_go()
            # What is only looked at must not keep the scheduler from closing.
            with self._tried("its journal could not be ended"):
                if self._journalling is not None:
                    await self._journalling.let_go()
            with self._tried("its pages could not be closed"):
                if self._pages is not None:
                    self._pages.close()
            if self.scheduler is not None:
                with self._tried("its scheduler could not be closed"):
                    async with asyncio.timeout(MARGIN):
                        await self.scheduler.close()
            if self.scheduler_comm is not None:
                await disconnect(self.scheduler_comm)
            with self._tried(f"its files could not be removed ({self._blueprint.credentials_path} is one of them)"):
                await asyncio.to_thread(self._remove_traces)
            if (there := self._blueprint.elsewhere) is not None:
                await asyncio.to_thread(there.connection.let_go, self._blueprint.uuid)
        finally:
            self._quiet.end()

    async def _end_jobs_apart(self, timeout: float) -> None:
        if self._engine is not None:
            await self._engine.cancel_all(timeout)

    def _remove_files(self) -> None:
        self._blueprint.home.remove_cluster(self._blueprint.uuid)

    def _remove_traces(self) -> None:
        blueprint = self._blueprint
        if self._journalling is not None:
            self._journalling.close()
        if self._engine is not None:
            try:
                kept_logs.keep(self.name, blueprint, self._engine.jobs)
            except OSError as error:
                logger.debug("could not record which logs to keep: %s", error, cluster=self.name)
        try:
            self._remove_files()
        except OSError as error:
            # Where nothing was written, what was wrong is being raised.
            if self._engine is not None or os.path.lexists(blueprint.credentials_path):
                logger.warning(
                    "its files are left where they are, %s too: %s",
                    blueprint.credentials_path, error, cluster=self.name,
                )  # fmt: skip
            if isinstance(error, HostUnreachable | LoginRefused):
                # It stays registered, for `corral clean` to remove them when there is a way.
                return
        if self._engine is None or all(job.has_ended for job in self._engine.jobs):
            self._registration.remove()

    def shutdown(self, timeout: float | None = None) -> Any:
        """End the cluster and wait until its jobs have ended; `close` leaves a cluster that others use running."""
        return self.close(timeout)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        if exc_type is None and not self._is_inherited:
            self._raise_undelivered()

    async def __aexit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        await super().__aexit__(exc_type, exc_value, traceback)
        if exc_type is None and not self._is_inherited:
            self._raise_undelivered()

    def _raise_undelivered(self) -> None:
        if self._engine is not None:
            self._engine.raise_undelivered()

    # --- size ---------------------------------------------------------------------------------------------------

    @property
    def groups(self) -> Mapping[str, WorkerGroup]:
        """The kinds of jobs that this cluster can have."""
        return {name: group.spec for name, group in self._shown.groups.items()}

    @tells_plainly
    def add_group(self, name: str, group: WorkerGroup) -> None:
        """Add another kind of jobs; `scale` or `adapt` asks for them.

        Raises
        ------
        InvalidRequest
        """
        self._refuse_unless_running("cannot have another group")
        self._add_group(name, group)

    @tells_plainly
    def remove_group(self, name: str) -> None:
        """Let the jobs of a group finish what they are doing and end; then forget the group."""
        self._refuse_unless_running("cannot lose a group")
        known_group(name, self.groups)
        self._remove_group(name)

    @tells_plainly
    def scale(
        self,
        n: int | None = None,
        *,
        jobs: int | None = None,
        cores: int | None = None,
        memory: int | str | None = None,
        group: str | None = None,
        **workers: int,
    ) -> None:
        """Ask for a total size in workers, jobs, cores or memory. It is rounded up to whole jobs.

        Returns at once. Also restarts a group that stopped because its jobs kept failing, and ends `adapt` for the
        group.

        Parameters
        ----------
        group
            The group to scale. May be left out if there is only one.
        **workers
            Workers by group: ``scale(cpu=10, gpu=2)``; ``workers=2`` is n, as elsewhere.

        Raises
        ------
        InvalidRequest
        """
        units = {"n": n, "jobs": jobs, "cores": cores, "memory": memory}
        wanted = jobs_asked_for(resources_of(self._shown.groups), units, group=group, workers=workers)
        self._refuse_unless_running("cannot be scaled")
        self._want(wanted)

    @tells_plainly
    def cancel_job(self, job: JobRecord | JobId | str) -> None:
        """End one job, and want one job less of its group, so that it is not replaced.

        A job that waits is cancelled. One that works finishes its tasks, hands over its results and ends. Returns at
        once. A group that adapts may ask for another job, if there is work for it.

        Raises
        ------
        LookupError
            No such job.
        InvalidRequest
            It has ended, or is leaving already.
        """
        self._refuse_unless_running("cannot end a job")
        wanted = str(job.id if isinstance(job, JobRecord) else job)
        if all(str(record.id) != wanted for record in self.jobs):
            raise LookupError(f"cluster {self.name} has no job {wanted}")
        self._give_up(wanted)

    # Dask's takes the class of the policy first, and lets anything follow.
    @tells_plainly
    def adapt(  # type: ignore[override]
        self,
        *,
        minimum: int | None = None,
        maximum: float | None = None,
        minimum_jobs: int | None = None,
        maximum_jobs: int | None = None,
        minimum_cores: int | None = None,
        maximum_cores: int | None = None,
        minimum_memory: int | str | None = None,
        maximum_memory: int | str | None = None,
        prefer: str | float | None = None,
        gpu_price: float | None = None,
        target_duration: str | float | timedelta | None = None,
        interval: str | float | timedelta | None = None,
        wait_count: int | None = None,
        idle_timeout: str | float | timedelta | None = None,
        maximum_core_hours: float | None = None,
        maximum_gpu_hours: float | None = None,
        groups: Mapping[str, Mapping[str, Any]] | None = None,
        **others: Never,
    ) -> Adapting:
        """Let the size of the cluster follow its work.

        Waiting jobs count as capacity on its way, and are kept for as long as the queue is slow. Idle jobs leave as
        soon as keeping them costs more than it would to wait for new ones. Each group grows for the tasks that only it,
        or it most cheaply, can run. Restarts groups that stopped because their jobs kept failing, and replaces an
        earlier `adapt`. See :doc:`scaling`.

        Parameters
        ----------
        minimum, maximum
            The least and the most workers of the whole cluster. A group has whole jobs. Default: Dask's
            configuration (``distributed.adaptive``), which says 0 and no limit.
        minimum_jobs, maximum_jobs, minimum_cores, maximum_cores, minimum_memory, maximum_memory
            The same in jobs, or in total cores or memory ("1TB"), if there is only one group. The narrower bound
            counts; whole jobs stay within it.
        prefer
            What matters more: ``"speed"`` (more jobs, kept for longer), ``"balance"`` or ``"cost"`` (fewer, which leave
            sooner); or a number, how many core-hours an hour of waiting is worth to you. Default: ``"balance"``.
        gpu_price
            How many core-hours an hour of a GPU costs, for a number as `prefer`. Default: 16.
        target_duration
            Waiting tasks should be done within this time, if there were no queue ("5s"), even by jobs that work for no
            longer than they take to start. Default: as `prefer` says.
        interval
            How often to look ("1s").
        wait_count
            How many times in a row a job must be found idle before it leaves: another way to give `idle_timeout`.
        idle_timeout
            How long a job may be idle. Default: until to keep it would cost more than to wait for a new one, judged by
            the work in sight and by the pauses so far.
        maximum_core_hours, maximum_gpu_hours
            The cluster's `maximum_core_hours` and `maximum_gpu_hours` from now on.
        groups
            Bounds by group: ``{"gpu": {"minimum": 0, "maximum": 4}}``, in workers or by the other names for bounds.

        Returns
        -------
        Adapting
            Has ``minimum``, ``maximum``, ``stop()`` and ``log``, like Dask's own.

        Raises
        ------
        InvalidRequest
        """
        # Long because all bounds are named twice, and described.
        refuse_unknown_bounds(others)
        self._refuse_unless_running("cannot adapt")
        asked = {
            "minimum": minimum,
            "maximum": maximum,
            "minimum_jobs": minimum_jobs,
            "maximum_jobs": maximum_jobs,
            "minimum_cores": minimum_cores,
            "maximum_cores": maximum_cores,
            "minimum_memory": minimum_memory,
            "maximum_memory": maximum_memory,
            "prefer": prefer,
            "gpu_price": gpu_price,
            "target_duration": target_duration,
            "interval": interval,
            "wait_count": wait_count,
            "idle_timeout": idle_timeout,
            "maximum_core_hours": maximum_core_hours,
            "maximum_gpu_hours": maximum_gpu_hours,
            "groups": groups,
        }
        return self._adapt({name: value for name, value in asked.items() if value is not None})

    @tells_plainly
    def wait_for_workers(
        self,
        n_workers: int | None = None,
        timeout: float | str | timedelta | None = None,
        *,
        fraction: float = 1.0,
        progress: bool | None = None,
    ) -> None:
        """Wait until this many workers are connected; on an event loop, what it returns is to be awaited.

        Parameters
        ----------
        n_workers
            Default: as many as are wanted now.
        fraction
            Wait for only this part of them, rounded up: ``wait_for_workers(fraction=0.8)``.
        progress
            Show meanwhile what waits, why and since when. Default: in a terminal and in a notebook. True: also
            elsewhere, as a few plain lines on stderr.

        Raises
        ------
        SubmitRejected, JobsFailed, BudgetSpent
            They can no longer come; raised as soon as that is known. Those of a cluster that adapts come with their
            tasks, which another thread or program may submit meanwhile.
        WorkersNotReady
            They did not come within `timeout` seconds; a TimeoutError that says where the jobs are.
        """
        awaited = Awaited.of(n_workers, timeout, fraction)
        if self.status in (Status.closing, Status.closed):
            raise CorralError(f"cluster {self.name!r} is {self.status.name}: no workers will come")
        # None, or on an event loop what is to be awaited: see `corral.cluster.asynchronous`.
        shown = showing(self.overview, lambda found: awaited.goal(found.workers_wanted), progress)
        if self.asynchronous:
            return cast("None", self.sync(self._await_and_show, awaited, shown))
        # Around the waiting thread: what Ctrl-C interrupts is that one.
        with shown as is_shown:
            return cast("None", self.sync(self._await_and_tell, awaited, is_shown))

    @tells_plainly
    def explain(self, job: JobRecord | JobId | str | None = None) -> Explanations:
        """Ask the batch system why a job waits, and when it may start.

        Printed, the answer is a few lines for each job. It also says how the job's queue is filled, and which others
        would take such a job, as far as the batch system tells. `corral explain` says the same in any shell.

        Parameters
        ----------
        job
            Which. Default: in each group the job that has waited longest; or why a group has no job in the queue.

        Returns
        -------
        Explanations
            A tuple of `Explanation`: its ``why`` is a sentence, its ``expected_start`` a time, or None.

        Raises
        ------
        LookupError
            No such job.
        BatchSystemError
            The batch system does not answer.
        """
        self._refuse_unless_running("has no jobs that wait")
        wanted = None if job is None else str(job.id if isinstance(job, JobRecord) else job)
        if wanted is not None and all(str(record.id) != wanted for record in self.jobs):
            raise LookupError(f"cluster {self.name} has no job {wanted}")
        return cast("Explanations", self.sync(self._explain, wanted))

    # --- cost ---------------------------------------------------------------------------------------------------

    def account(self) -> Account:
        """Core-hours and GPU-hours that the jobs have used so far, by group, and by what the jobs were doing.

        ``account().total`` is all core-hours; ``account().groups["gpu"].idle`` is what was idle there. For GPU-hours
        ``.gpus`` stands before the last word: ``account().gpus.total`` and ``account().groups["gpu"].gpus.idle``.
        ``account().groups["gpu"].used`` has the peak memory of a node's workers and its busy cores, beside what was
        asked for; ``used.advice`` says what would do, where that is much less.
        """
        return self._shown.account

    @property
    def maximum_core_hours(self) -> float | None:
        """When the jobs have used so many, nothing more is submitted; None: no limit."""
        return self._shown.maximum_core_hours

    @maximum_core_hours.setter
    def maximum_core_hours(self, hours: float | None) -> None:
        self._refuse_unless_running("has no budget")
        self._allow("maximum_core_hours", hours_of("maximum_core_hours", hours))

    @property
    def maximum_gpu_hours(self) -> float | None:
        """When the jobs have used so many, no more jobs with GPUs are submitted; None: no limit."""
        return self._shown.maximum_gpu_hours

    @maximum_gpu_hours.setter
    def maximum_gpu_hours(self, hours: float | None) -> None:
        self._refuse_unless_running("has no budget")
        self._allow("maximum_gpu_hours", hours_of("maximum_gpu_hours", hours))

    # --- what there is ------------------------------------------------------------------------------------------

    @property
    def _shown(self) -> Shown:
        return OnPaper(self._blueprint) if self._engine is None else AtWork(self._engine, self._adaptive)

    @property
    def jobs(self) -> Jobs:
        """Every job of this cluster, oldest first; those that ended long ago are forgotten.

        `jobs.unsubmitted` says how many more are wanted that the batch system does not accept now, and `jobs.why` why.
        """
        return self._shown.jobs

    @property
    def failures(self) -> Failures:
        """What ended unexpectedly, with the evidence, oldest first: a tuple, which is shown as sentences.

        A `JobFailure` is a job, a `WorkerFailure` a worker that died while its job went on and started it again. Both
        have ``job``, ``cause``, ``outcome``, ``log_tail`` and ``hint``.
        """
        return Failures(self._shown.failures)

    def overview(self) -> Overview:
        """What there is now, as plain values: groups, jobs, failures, hours and load, with moments of the wall clock.

        What the notebook, `corral top`, the dashboard's page of jobs and the report show is made of it. See
        `corral.view.overview`; ``attrs.asdict(cluster.overview())`` is JSON.
        """
        return self._overview()

    def _overview(self, known: Known | None = None) -> Overview:
        return overview_of(
            self._shown,
            name=self.name,
            status=self.status.name,
            moment=time.time(),
            began=self._began,
            scheduler=self.scheduler_address,
            dashboard=self.dashboard_link,
            known=known,
        )

    @tells_plainly
    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write a page of HTML about the cluster from its beginning until now, for people to read, keep and send.

        What became of each job, workers over time, how long jobs waited, what was used, and what failed. It needs no
        script and no network. After the cluster has closed it can still be written: by this object, or by ``corral
        report NAME`` in any shell. See :doc:`reports`.

        Parameters
        ----------
        path
            The file to write. One that is there is replaced, in one step.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        InvalidRequest
            There is no such folder, or it cannot be written to.
        OSError
            The disk is full, say.
        """
        from corral.cluster.reporting import history_of, standing_of, write_report

        if self._journalling is not None:
            self._journalling.write()
        is_closed = self._engine is not None and self.status is Status.closed
        return write_report(path, history_of(self._uuid, self.overview()), standing_of(self._uuid, is_closed=is_closed))

    @property
    def _uuid(self) -> str:
        return self._blueprint.uuid

    def _news(self) -> object:
        return self.status, self._changes.count

    @property
    def _began(self) -> float:
        """When it began (s since the epoch); 0: not known."""
        return self._registration.entry.started

    def job_script(self, group: str | None = None) -> str:
        """The script that each job of a group runs; the group may be left out if there is one alone."""
        groups = self._shown.groups
        return groups[the_group(group, groups)].script

    @tells_plainly
    def logs(self, job: JobRecord | JobId | str | None = None) -> str:
        """What a job has printed so far, unchanged; `corral logs` escapes control sequences for a terminal.

        Raises
        ------
        InvalidRequest
            No job was named: Dask's own logs are `get_logs`.
        LookupError
            No such job, or it has no log here.
        """
        if job is None:
            raise InvalidRequest(
                "job", "say which: cluster.logs(cluster.jobs[0]); Dask's own logs of all workers are cluster.get_logs()"
            )
        wanted = str(job.id if isinstance(job, JobRecord) else job)
        record = next((record for record in self.jobs if str(record.id) == wanted), None)
        if record is None:
            raise LookupError(f"cluster {self.name} has no job {wanted}")
        if record.log is None:
            raise LookupError(f"the output of job {wanted} is discarded")
        try:
            return self._files.text(record.log).decode(errors="replace")
        except FileNotFoundError:
            raise LookupError(f"job {wanted} has printed nothing yet: there is no {record.log}") from None

    @property
    def _files(self) -> Files:
        """The way to its jobs' logs."""
        return self._blueprint.home.files

    @property
    def workers(self) -> dict[str, JobRecord]:
        """The workers that the jobs give or will give, by name."""
        return {name: record for record in self.jobs if record.is_capacity for name in _names(record)}

    @property
    def plan(self) -> set[str]:
        """Names of the workers that are wanted; those not yet submitted have no real names."""
        named = self.requested
        wanted = workers_of(self._shown.groups)
        wanted -= sum(len(job.lost_hosts) * job.workers_per_node for job in self.jobs if job.is_capacity)
        return named | {f"wanted-{number}" for number in range(len(named), wanted)}

    @property
    def requested(self) -> set[str]:
        return set(self.workers)

    def __repr__(self) -> str:
        if self.status is not Status.running:
            return f"Cluster({self._shown.backend!r}, name={self.name!r}, {self.status.name})"
        workers = f"workers={len(self.observed)}: {self._shown.whereabouts}"
        return f"Cluster({self._shown.backend!r}, name={self.name!r}, {workers})"

    def _scaling_status(self) -> str:
        text = html(f"Workers: {len(self.observed)}; {self._shown.whereabouts}")
        return f"<table><tr><td style='text-align: left;'>{text}</td></tr></table>"

    if TYPE_CHECKING:  # Dask's own say nothing of types

        def __enter__(self) -> Self: ...

        async def __aenter__(self) -> AsyncCluster: ...

        def __await__(self) -> Generator[Any, Any, AsyncCluster]: ...

        def get_client(self) -> Client: ...

        def get_logs(
            self, cluster: bool = True, scheduler: bool = True, workers: bool = True
        ) -> Mapping[str, Mapping[str, str] | str]: ...

        name: str

    else:  # or every misspelt attribute would be one

        def __getattr__(self, name: str) -> Any:
            raise missing_attribute(type(self).__name__, name)

    # --- what is asked of the engine; a handle asks one that is elsewhere -----------------------------------------

    def _refuse_unless_running(self, what: str) -> None:
        if self.status is not Status.running:
            raise CorralError(f"cluster {self.name!r} is {self.status.name}: it {what}")

    def _add_group(self, name: str, group: WorkerGroup) -> None:
        engine = self._running_engine
        engine.blueprint.ask_ahead(group)
        self._on_loop(engine.add_group, name, group)

    def _remove_group(self, name: str) -> None:
        self._on_loop(self._running_engine.remove_group, name)

    def _want(self, jobs: Mapping[str, int]) -> None:
        """Want so many jobs of each group."""
        if self._adaptive is not None:
            for name in jobs:
                self._adaptive.leave_alone(name)
        limits.raise_descriptor_limit(workers_of(self._shown.groups, jobs))
        self._on_loop(self._running_engine.scale_all, jobs)

    def _give_up(self, job: str) -> None:
        self._on_loop(self._running_engine.give_up, job)

    def _adapt(self, asked: dict[str, Any]) -> Adapting:
        # Not with this module: clusters of one size import nothing that decides about sizes.
        from corral.scaling.adaptive import Adaptive

        limits_of_hours = ("maximum_core_hours", "maximum_gpu_hours")
        hours = {name: hours_of(name, asked.pop(name)) for name in limits_of_hours if name in asked}
        groups = asked.pop("groups", {})
        adaptive = Adaptive.of(self._running_engine, asked, groups)
        for name, number in hours.items():
            self._allow(name, number)
        if adaptive.maximum != math.inf:
            limits.raise_descriptor_limit(int(adaptive.maximum))
        before, self._adaptive = self._adaptive, adaptive
        self._on_loop(adaptive.start, before)
        return adaptive

    def _allow(self, argument: str, hours: float | None) -> None:
        self._on_loop(self._running_engine.allow, argument, hours)

    async def _explain(self, job: str | None) -> Explanations:
        return await self._running_engine.explain(job)

    async def _await_and_show(self, awaited: Awaited, shown: AbstractContextManager[bool]) -> None:
        with shown as is_shown:
            await self._await_and_tell(awaited, is_shown)

    async def _await_and_tell(self, awaited: Awaited, is_shown: bool) -> None:
        # The batch system is asked in any case; what it says is shown, or logged.
        level = logging.INFO if is_shown else logging.WARNING
        async with telling(self.name, lambda: self._explain(None), lambda: self._shown.whereabouts, level=level):
            await self._await_workers(awaited)

    async def _await_workers(self, awaited: Awaited) -> None:
        count = awaited.count(workers_of(self._shown.groups))
        await self._running_engine.wait_for_workers(count, awaited.timeout, reach=self._reach)

    def _reach(self) -> float | None:
        """How many workers the cluster has at most, if its size follows its work."""
        adaptive = self._adaptive
        return None if adaptive is None or adaptive.state == "stopped" else float(adaptive.maximum)

    @property
    def _running_engine(self) -> Engine:
        assert self._engine is not None, "it has started"
        return self._engine

    def _on_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call on the event loop; at once if we are on it."""
        if self._is_on_loop():
            function(*arguments)
        else:
            self.sync(_called, function, *arguments)


# For help() and completion: the arguments of WorkerGroup belong to the signature.
_own = inspect.signature(Cluster.__init__)
_workers = inspect.signature(WorkerGroup.__init__)
Cluster.__init__.__signature__ = _own.replace(  # type: ignore[attr-defined]
    parameters=[
        *(parameter for parameter in _own.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD),
        *(_workers.parameters[name] for name in GROUP_ARGUMENTS),
    ]
)


def _announce(submission: str, engine: Engine, registration: Registration) -> None:
    """Make ready for a submission: what it leaves, if this process is killed now, is known."""
    blueprint = engine.blueprint
    registration.announce(submission, lines_of(blueprint))
    if len(blueprint.systems) > 1:
        # A group that has come since may have brought one.
        blueprint.make_log_directory()


async def _called(function: Callable[..., None], *arguments: Any) -> None:
    function(*arguments)


def _names(record: JobRecord) -> set[str]:
    """The names of a job's workers; those that have not connected yet are named as they will be."""
    missing = record.expected_workers - len(record.workers)
    awaited = (f"{record.id}-{index}" for index in range(record.expected_workers))
    names = set(record.workers)
    for name in awaited:
        if missing <= 0:
            break
        if name not in names:
            names.add(name)
            missing -= 1
    return names


def news_of(engine: Engine) -> dict[str, Any]:
    """What a cluster's entry in the registry says of its engine."""
    return {
        "jobs": tuple(JobLine.of(record) for record in engine.jobs),
        "why": {name: group.because for name, group in engine.groups.items() if group.because},
        "asked": {name: AskedLine.of(group.asked) for name, group in engine.groups.items() if group.asked is not None},
    }
