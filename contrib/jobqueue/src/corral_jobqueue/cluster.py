"""A cluster that is made as dask-jobqueue's are, and is corral's."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dask.config
import distributed
from attrs import evolve, frozen
from distributed import Scheduler
from distributed.core import Status

import corral
from corral.errors import InvalidRequest, did_you_mean
from corral.migration.jobqueue import native
from corral.migration.jobqueue.translation import Translation, translate
from corral.migration.jobqueue.words import KINDS
from corral.plugin import Command, Conversation, JobId, Script, discovery, hookimpl
from corral.request.blueprint import DEFAULT_GROUP
from corral.request.drawing import draw
from corral.request.scale import jobs_asked_for
from corral_jobqueue.differences import commands_of, differences
from corral_jobqueue.job import NO_ADDRESS, Job, level_outside, section_of

if TYPE_CHECKING:
    from corral.jobs.record import JobRecord

#: Arguments of a translation that a cluster has once and for all.
_OF_PROGRAM = ("asynchronous", "loop", "silence_logs", "n_workers", "name", "security", "scheduler_options")
_SCHEDD = {"schedd": "-name", "pool": "-pool"}


class ChangedWarning(UserWarning):
    """What is different from dask-jobqueue; each sentence is said once in a process."""


@frozen
class Commands:
    """A plugin by which jobs are submitted and cancelled with the commands that a subclass names."""

    words: Mapping[str, Sequence[str]]

    def _instead(self, command: Command) -> Command:
        name, *rest = command.argv
        return evolve(command, argv=[*self.words.get(name, [name]), *rest])

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Any:
        conversation: Conversation[list[JobId]] = yield
        return corral.mapped(conversation, self._instead)

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Sequence[JobId]) -> Any:
        conversation: Conversation[None] = yield
        return corral.mapped(conversation, self._instead)


class JobQueueCluster(corral.Cluster):
    """What all of dask-jobqueue's clusters have. Use the one of your batch system, such as `SLURMCluster`.

    Parameters
    ----------
    n_workers
        Workers to ask for at once.
    job_cls
        The class of its jobs; a class attribute of that name says it, too.
    loop
        The event loop of a synchronous cluster.
    security
        A `distributed.Security`, or True for certificates made for this cluster, which is what corral does anyway.
    shared_temp_directory
        A folder that this host and the nodes share, for certificates and logs.
    silence_logs
        Dask's own messages below this level are not shown.
    name
        What the cluster is called; its jobs are called after it, or else by `job_name`.
    asynchronous
        True if used inside a running event loop.
    scheduler_options
        Keyword arguments of `distributed.Scheduler`: host, port, interface, dashboard_address.
    interface
        Network interface of workers and, unless `scheduler_options` says another, of the scheduler.
    protocol
        Default: TLS. ``"tcp"``: plain connections, open to everybody on the network.
    config_name
        The section of the configuration to read: ``jobqueue.NAME``.
    queue
        Queue, or partition.
    **job_kwargs
        What a job has: cores and memory, and the other arguments of its class.

    Raises
    ------
    InvalidRequest
        An argument cannot be used here; a ValueError.
    """

    #: The class of its jobs.
    job_cls: type[Job] | None = None
    _heeds_jobqueue = True
    _changes_of_jobs = 0
    _workers_later = 0

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls.__module__.startswith("corral_jobqueue.") and cls.job_cls is not None:
            cls.__doc__ = KINDS[cls.job_cls.cluster_class].described(str(cls.__doc__))

    def __init__(
        self,
        n_workers: int = 0,
        job_cls: type[Job] | None = None,
        loop: Any = None,
        security: Any = None,
        shared_temp_directory: str | None = None,
        silence_logs: int | str | None = "error",
        name: str | None = None,
        asynchronous: bool = False,
        dashboard_address: str | None = None,
        host: str | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        scheduler_cls: type | None = None,
        interface: str | None = None,
        protocol: str | None = None,
        config_name: str | None = None,
        queue: str | None = None,
        **job_kwargs: Any,
    ) -> None:
        self.job_cls = job_cls if job_cls is not None else type(self).job_cls
        self._refuse_without_jobs()
        self._refuse_for_scheduler(dashboard_address=dashboard_address, host=host)
        assert self.job_cls is not None, "it was refused"
        self.config_name = self.job_cls.default_config_name() if config_name is None else config_name
        self._refuse_unknown_section(config_name)
        section = section_of(self.config_name)
        interface = section.get("interface") if interface is None else interface
        options = dict(section.get("scheduler_options") or {} if scheduler_options is None else scheduler_options)
        self.queue = queue
        self.shared_temp_directory = shared_temp_directory
        #: What its jobs are made with.
        self._job_kwargs: dict[str, Any] = {
            **job_kwargs, "config_name": self.config_name, "interface": interface, "protocol": protocol,
            "security": None if security in (True, False) else security,
        }  # fmt: skip
        if queue is not None:
            self._job_kwargs["queue"] = queue
        own = {
            "n_workers": n_workers, "loop": loop, "shared_temp_directory": shared_temp_directory,
            "silence_logs": silence_logs, "name": name, "asynchronous": asynchronous, "scheduler_options": options,
            "scheduler_cls": scheduler_cls, "security": security,
        }  # fmt: skip
        self._own_kwargs = {argument: value for argument, value in own.items() if value is not None}
        self._job = job = self._made_job()
        translation = self._translated(job)
        tell(type(self).__name__, translation.changed)
        self._settled = self._said_of_jobs
        #: Jobs are made when whoever derives from this is done: it may still add what they need.
        self._workers_later = translation.arguments.pop("n_workers", 0) if self._prepares_jobs else 0
        commands = commands_of(job)
        super().__init__(
            backend_here(translation.backend),
            plugins=[Commands(commands)] if commands else None,
            **translation.arguments,
        )
        if self._workers_later and not asynchronous:
            self.scale(self._workers_later)

    # --- what is refused ----------------------------------------------------------------------------------------

    def _refuse_without_jobs(self) -> None:
        if self.job_cls is None:
            raise ValueError(
                "a cluster needs a Job type: give your class an attribute 'job_cls', or this call an argument of that "
                f"name, such as SLURMJob; or use SLURMCluster and its like. This is {type(self)}"
            )

    def _refuse_for_scheduler(self, **said: object) -> None:
        for argument, value in said.items():
            if value is not None:
                raise InvalidRequest(
                    argument,
                    f"pass {argument!r} through 'scheduler_options': "
                    f"{type(self).__name__}(…, scheduler_options={{{argument!r}: {value!r}}})",
                )

    def _refuse_unknown_section(self, named: str | None) -> None:
        sections = dask.config.get("jobqueue", default=None)
        if named is not None and isinstance(sections, Mapping) and not section_of(named):
            raise InvalidRequest(
                "config_name",
                f"the configuration has no section jobqueue.{named}.{did_you_mean(named, sections)} There are: "
                f"{', '.join(map(str, sections))}",
            )

    # --- its jobs -----------------------------------------------------------------------------------------------

    @property
    def _prepares_jobs(self) -> bool:
        """Whether a subclass does something between the start of the scheduler and that of the jobs."""
        return type(self)._start is not JobQueueCluster._start  # noqa: SLF001 - its own

    @property
    def _said_of_jobs(self) -> str:
        return repr(self._job_kwargs)

    @property
    def _dummy_job(self) -> Job:
        """A job as it would be made: nobody starts it."""
        return self._made_job()

    def _made_job(self) -> Job:
        assert self.job_cls is not None, "it was refused"
        address = self.scheduler.address if self.scheduler is not None else NO_ADDRESS
        try:
            return self.job_cls(address or NO_ADDRESS, name="dummy-name", **self._job_kwargs)
        except TypeError as error:
            if (match := re.search("unexpected keyword argument.+", str(error))) is None:
                raise
            word = re.search(r"'(\w+)'", match[0])
            raise InvalidRequest(
                word[1] if word else "job_kwargs",
                f"{match[0]} What {type(self).__name__} gives to its jobs is job_kwargs={self._job_kwargs}",
            ) from None

    def _translated(self, job: Job) -> Translation:
        """This cluster in corral's words.

        Raises
        ------
        InvalidRequest
            Something cannot be said in them.
        """
        found = differences(job)
        said = {**found.said, **self._own_kwargs}
        if "name" not in self._own_kwargs:
            said.pop("name", None)
        for argument in ("submit_command_extra", "cancel_command_extra"):
            if argument in said:
                # The rest is in the commands of its jobs.
                where, _ = native.schedd(said[argument])
                said[argument] = [word for option, value in where.items() for word in (_SCHEDD[option], value)]
        translation = translate(job.cluster_class, said)
        if translation.lost:
            first = re.match(r"\w+", translation.lost[0])
            argument = first[0] if first else "job_cls"
            raise InvalidRequest(argument, "; ".join(translation.lost).removeprefix(f"{argument}: "))
        arguments = dict(translation.arguments)
        # What a subclass calls its jobs otherwise has become the cluster's name.
        if more := [each for each in found.skip if each != native.NAME.get(job.kind.backend)]:
            arguments["skip_directives"] = [*dict.fromkeys([*arguments.get("skip_directives", ()), *more])]
        changed = [*translation.changed, *found.changed]
        if hasattr(type(self), "_new_worker_name"):
            changed.append(f"{type(self).__name__}._new_worker_name is not called: workers are called after their jobs")
        return evolve(translation, arguments=arguments, changed=tuple(changed))

    def _heed_changes(self) -> None:
        """Make new jobs as a subclass, or a user, has changed what they are made with."""
        if self._said_of_jobs == self._settled:
            return
        self._job = self._made_job()
        translation = self._translated(self._job)
        arguments = {name: value for name, value in translation.arguments.items() if name not in _OF_PROGRAM}
        spec = draw({"backend": self._shown.backend, **arguments}, heeds_jobqueue=True).groups[DEFAULT_GROUP]
        self._settled = self._said_of_jobs
        [before] = self.groups
        self._changes_of_jobs += 1
        self.add_group(f"changed-{self._changes_of_jobs}", spec)
        self.remove_group(before)

    def __await__(self) -> Any:
        """Start it; of a cluster that has started, wait until what was asked for has been submitted."""
        start = super().__await__

        async def submitted() -> None:
            if self._workers_later:
                later, self._workers_later = self._workers_later, 0
                self.scale(later)
            await self._running_engine.submitted()

        def started() -> Any:
            yield from start()
            if self.status is Status.running:
                yield from submitted().__await__()
            return self

        return started()

    # --- what dask-jobqueue's clusters have ---------------------------------------------------------------------

    @property
    def job_header(self) -> str:
        """The directives of each job, as they are submitted."""
        blueprint = self._blueprint if self._engine is None else self._engine.blueprint
        [group] = self.groups
        return "\n".join(directive.text for directive in blueprint.script(group).directives)

    @property
    def job_name(self) -> str:
        """What its jobs are called, as it was said; the batch system's names begin with the cluster's."""
        return str(self._job.job_name)

    @property
    def scheduler_spec(self) -> dict[str, Any]:
        """What was said of the scheduler, as dask-jobqueue keeps it."""
        options = dict(self._own_kwargs["scheduler_options"])
        if not options.keys() & {"host", "interface"}:
            options["interface"] = self._job_kwargs["interface"]
        return {
            "cls": Scheduler,
            "options": {"protocol": self._job_kwargs["protocol"], "security": self.security} | options,
        }

    @property
    def new_spec(self) -> dict[str, Any]:
        """What was said of each job, as dask-jobqueue keeps it."""
        return {"cls": self.job_cls, "options": self._job_kwargs}

    @property
    def worker_spec(self) -> dict[str, dict[str, Any]]:
        """What was said of each job that is wanted."""
        wanted = sum(group.wanted for group in self._shown.groups.values())
        return {f"{self.name}-{number}": self.new_spec for number in range(wanted)}

    # dask-jobqueue counts jobs here; corral has them by what their workers are called.
    @property
    def workers(self) -> dict[str, JobRecord]:
        """The jobs that there are, by id."""
        return {str(record.id): record for record in self.jobs if record.is_capacity}

    @property
    def requested(self) -> set[str]:
        """Names of the workers that the jobs give or will give."""
        return set(corral.Cluster.workers.fget(self))  # type: ignore[attr-defined]

    def scale(
        self,
        n: int | None = None,
        jobs: int | None = 0,
        memory: int | str | None = None,
        cores: int | None = None,
        **workers: Any,
    ) -> None:
        """Ask for a total size: workers, jobs, memory or cores, rounded up to whole jobs. Of several, the largest."""
        self._heed_changes()
        sizes: dict[str, Any] = {"n": n, "jobs": jobs or None, "memory": memory, "cores": cores}
        given = {unit: value for unit, value in sizes.items() if value is not None}
        if workers or len(given) == 1:
            super().scale(**given, **workers)
            return
        resources = {name: group.resources for name, group in self._shown.groups.items()}
        wanted = [jobs_asked_for(resources, {unit: value}, workers={}) for unit, value in given.items()]
        super().scale(jobs=max((count for each in wanted for count in each.values()), default=0))

    def adapt(self, *classes: type, Adaptive: type | None = None, **bounds: Any) -> Any:  # noqa: N803
        """Let the size of the cluster follow its work, between a least and a most: see `corral.Cluster.adapt`.

        ``minimum`` and ``maximum`` are workers, ``minimum_jobs`` and ``maximum_jobs`` jobs.
        """
        self._heed_changes()
        for policy in (*classes, Adaptive):
            if policy is not None and policy is not distributed.Adaptive:
                raise InvalidRequest(
                    "Adaptive", f"{policy!r} does not decide here. Leave it out: corral decides which jobs there are"
                )
        return super().adapt(**bounds)


def tell(class_name: str, changed: Sequence[str]) -> None:
    """Warn of what is different now, of each difference once."""
    new = [sentence for sentence in changed if sentence not in _TOLD]
    if not new:
        return
    _TOLD.update(new)
    lines = "".join(f"\n  - {sentence}" for sentence in new)
    warnings.warn(
        f"{class_name} is corral's here. What is different from dask-jobqueue:{lines}\n"
        "corral migrate FILE says the same in corral's own words, which need no translation.",
        ChangedWarning,
        stacklevel=level_outside(),
    )


_TOLD: set[str] = set()


def backend_here(backend: str) -> str:
    """The backend for a class: PBSCluster is for TORQUE as well, which has the same commands and other answers."""
    # Grid Engine has a qsub, too, and no pbsnodes.
    if backend != "pbs" or not all(map(shutil.which, ("qsub", "pbsnodes"))):
        return backend
    installed = {plugin.name for plugin in discovery.usable("backend")}
    facts = discovery.facts_of("pbs")
    is_pbs = any(variable in os.environ for variable in facts.variables) or any(map(os.path.exists, facts.files))
    return "torque" if "torque" in installed and not is_pbs else backend
