"""A cluster that is to live in a job: what it is told through a private file, and the request for its job."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.config
from attrs import asdict, evolve, field, frozen

from corral.environment.surroundings import Surroundings
from corral.errors import CredentialsError, InvalidRequest
from corral.host.home import ORDER, Home
from corral.plugin.user_plugins import path_of
from corral.plugin.values import Job
from corral.request import settings
from corral.request.blueprint import Blueprint
from corral.request.drawing import JOB_OPTIONS, draw
from corral.request.queues import AUTO
from corral.request.sites import NONE, named_groups
from corral.request.worker_group import WorkerGroup
from corral.request.written_sites import with_sites
from corral.security.credentials import Credentials, read_credentials, read_private, secured, write_private

#: What the scheduler's job has of the workers' jobs, where they agree and nobody says otherwise.
_SHARED = (
    "queue", "account", "skip_directives", "env", "inherit_env", "modules", "conda_env", "prologue", "python",
    "shebang",
)  # fmt: skip
#: Arguments that the order has in words of its own.
_ELSEWHERE = ("security", "groups", "plugins", "scheduler", "shared_directory", "via")
#: What a scheduler needs for some hundred thousand tasks.
_MEMORY = "4GB"

#: Those of which the submitting side's count, so that both sides mean the same folders.
_FOLDERS = ("XDG_STATE_HOME",)


@frozen(kw_only=True)
class Order:
    """What the process that will have the scheduler must know."""

    #: Of `Cluster`.
    arguments: dict[str, Any]
    #: What its site has for everybody, as it is on the submitting side.
    site_values: dict[str, Any] = field(factory=dict)
    #: Jobs of each group to ask for at once.
    jobs: dict[str, int] = field(factory=dict)
    #: They name the cluster, and know no address yet.
    credentials: Credentials
    #: Where everything of corral's is, as the submitting side sees it.
    home: str
    #: Dask's configuration on the submitting side.
    configuration: dict[str, Any] = field(factory=dict)
    #: Where commands of the batch system are, and how they find their server.
    environment: dict[str, str] = field(factory=dict)
    surroundings: Surroundings = Surroundings()
    #: Of the scheduler's job; empty if it has none.
    job_name: str = ""
    #: Seconds, of the scheduler's job.
    walltime: float | None = None
    #: Where its output goes: ``{id}`` stands for its id.
    log: str | None = None

    def identify(self, blueprint: Blueprint) -> Blueprint:
        """The blueprint of this very cluster."""
        known = self.credentials
        return evolve(
            blueprint,
            name=known.cluster,
            uuid=known.uuid,
            created=known.created,
            home=Home(Path(self.home)),
            surroundings=self.surroundings,
        )

    def write(self, path: Path, *, home: Home | None = None) -> None:
        """Write the private file, after making the folder of corral's own that it belongs to.

        Raises
        ------
        CredentialsError
        """
        write_private(path, json.dumps(asdict(self)), home=home)

    @classmethod
    def read(cls, path: Path) -> Order:
        """Read what `write` wrote.

        Raises
        ------
        FileNotFoundError, CredentialsError
        """
        try:
            fields = json.loads(read_private(path))
            credentials = read_credentials(path, fields.pop("credentials"))
            return cls(**{**fields, "credentials": credentials, "surroundings": Surroundings(**fields["surroundings"])})
        except (ValueError, TypeError, KeyError) as error:
            raise CredentialsError(f"{path} is not an order for a cluster") from error

    def prepare_process(self) -> None:
        """Make this process what the submitting one was, as far as the engine needs it. Before distributed is there."""
        for name, value in self.environment.items():
            if name in _FOLDERS:
                os.environ[name] = value
            elif name == "PATH":
                # Commands of the batch system may be where only the submitting side looks.
                here = os.environ.get("PATH", os.defpath)
                new = [folder for folder in value.split(os.pathsep) if folder not in here.split(os.pathsep)]
                os.environ["PATH"] = os.pathsep.join([here, *new])
            else:
                os.environ.setdefault(name, value)
        dask.config.update(dask.config.config, self.configuration)
        # Files of this host may say the way to it, for others.
        dask.config.set(dict.fromkeys(settings.ways()))
        self.credentials.program.extend_path()


@frozen(kw_only=True)
class Draft:
    """A cluster that can be started in a job: everything is checked, nothing is submitted."""

    blueprint: Blueprint
    order: Order
    #: For the scheduler's own job.
    job: Job

    def wanting(self, jobs: Mapping[str, int]) -> Draft:
        """The same, which asks for so many jobs of each group at once."""
        return evolve(self, order=evolve(self.order, jobs=dict(jobs)))

    @property
    def path(self) -> Path:
        return self.blueprint.folder / ORDER

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Draft:
        """Check what `Cluster` was given for a cluster whose scheduler will live in a job.

        Raises
        ------
        InvalidRequest, UnknownBackend, PluginError
        """
        blueprint, order = take(given)
        for group, each in blueprint.groups.items():
            refuse_own_system(blueprint, group, each)
        spec = _scheduler_spec(blueprint)
        name = blueprint.job_name(0)
        job = spec.request(
            name=name,
            log_directory=str(blueprint.log_directory),
            launcher_options=(),
            surroundings=blueprint.surroundings,
            own_directory=str(blueprint.folder),
        )
        words = ("corral.remote", f"--order={blueprint.folder / ORDER}")
        job = blueprint.batch.prepare(evolve(job, command=(*job.command[:-1], *words)))
        log = blueprint.batch.render(job).log
        order = evolve(order, job_name=name, walltime=job.walltime, log=log)
        return cls(blueprint=blueprint, order=order, job=job)


def take(given: Mapping[str, Any]) -> tuple[Blueprint, Order]:
    """The cluster that these arguments of `Cluster` mean, and the order for the process that will have it.

    Raises
    ------
    InvalidRequest, UnknownBackend, PluginError
    """
    given = {name: value for name, value in given.items() if value is not None}
    blueprint = draw(given, scheduler_is_here=False)
    for_scheduler = {name: value for name, value in blueprint.scheduler_options.items() if name not in JOB_OPTIONS}
    credentials, _ = secured(blueprint.security, cluster=blueprint.name, uuid=blueprint.uuid, created=blueprint.created)
    site = blueprint.chosen_site
    arguments = {
        **{name: value for name, value in given.items() if name not in _ELSEWHERE},
        # Said, so that the other side does not look for one.
        "site": NONE if site is None else site.name,
        "site_options": {} if site is None else dict(site.options),
        "plugins": list(map(path_of, blueprint.plugins)),
        "backend": blueprint.backend,
        "scheduler_options": for_scheduler,
        "idle_timeout": blueprint.idle_timeout,
        "security": credentials.key is not None,
    }
    if blueprint.chosen_log_directory is not None:
        arguments["log_directory"] = str(blueprint.chosen_log_directory)
    # Variables are those of this process, not of the scheduler's. And what queue="auto" came to here was shown to
    # somebody: it is not decided again, perhaps in another way.
    if (groups := given.get("groups", settings.value("groups", blueprint.backend))) is not None:
        arguments.pop("queue", None)
        arguments["groups"] = {
            name: {
                **_written(group),
                "queue": blueprint.groups[name].queue,
                "inherit_env": [],
                "env": dict(blueprint.groups[name].variables),
            }
            for name, group in named_groups(groups, site, given).items()
        }
    else:
        [spec] = blueprint.groups.values()
        arguments |= {"queue": spec.queue, "inherit_env": [], "env": dict(spec.variables)}
    environ = os.environ if blueprint.elsewhere is None else blueprint.elsewhere.variables
    order = Order(
        arguments={name: _plain(name, value) for name, value in arguments.items() if value is not None},
        site_values={} if site is None else _plain("site", site.values),
        credentials=credentials,
        home=str(blueprint.home.path),
        configuration=settings.elsewhere(with_sites(dask.config.config), is_here=blueprint.elsewhere is None),
        environment={
            name: environ[name] for name in ("PATH", *_FOLDERS, *blueprint.batch.facts.carried) if name in environ
        },
        # What was left out is told here.
        surroundings=evolve(blueprint.surroundings, mattering={}, modules=(), python=()),
    )
    return blueprint, evolve(order, configuration=_plain("configuration", order.configuration))


def refuse_own_system(blueprint: Blueprint, name: str, group: WorkerGroup) -> None:
    """A batch system of a group's own is meant to be where the user is, and may not answer from a job.

    Raises
    ------
    InvalidRequest
    """
    if blueprint.has_own_system(group):
        raise InvalidRequest(
            "backend",
            f"group {name!r} has a batch system of its own ({group.backend}), which the scheduler's job would have to "
            "reach, on whichever node it runs. Leave out scheduler='job', or run the scheduler on this host with "
            "corral serve",
        )


def _written(group: WorkerGroup | Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a group; what it leaves empty is filled where the cluster is drawn."""
    if isinstance(group, WorkerGroup):
        return group.said()
    return {name: value for name, value in group.items() if value not in (None, (), [], {})}


def _plain(argument: str, value: Any) -> Any:
    """The same in words that JSON has."""

    def spelled(other: object) -> object:
        if isinstance(other, datetime.timedelta):
            return other.total_seconds()
        if isinstance(other, datetime.date):
            return other.isoformat()
        if isinstance(other, os.PathLike):
            return os.fspath(other)
        if isinstance(other, type):
            return f"{other.__module__}.{other.__qualname__}"
        if isinstance(other, Sequence | set | frozenset):
            return list(other)
        if isinstance(other, Mapping):
            return dict(other)
        raise InvalidRequest(argument, f"{other!r} cannot be sent to the scheduler's job: write it in plain values")

    return json.loads(json.dumps(value, default=spelled))


def _scheduler_spec(blueprint: Blueprint) -> WorkerGroup:
    """The job of the scheduler, as a group of one."""
    specs = list(blueprint.groups.values())
    said = {name: value for name, value in blueprint.scheduler_options.items() if name in JOB_OPTIONS}
    alike = {
        name: getattr(specs[0], name)
        for name in _SHARED
        if all(getattr(each, name) == getattr(specs[0], name) for each in specs)
    }
    if all(name in blueprint.choices for name in blueprint.groups):
        # A small job: not where the workers' GPUs are.
        alike["queue"] = AUTO
    # It submits jobs, which is done outside: a container's Python is not there.
    if any(each.container is not None or each.launch_prefix for each in specs):
        alike.pop("python", None)
    if blueprint.elsewhere is not None and "conda_env" not in {**alike, **said}:
        # This process's own is on no other host.
        alike.setdefault("python", blueprint.elsewhere.python)
    # It must not end before the workers that it has.
    longest = max(each.walltime_seconds for each in specs)
    try:
        spec = WorkerGroup(**{"memory": _MEMORY, "walltime": longest, **alike, **said})
        if spec.queue == AUTO:
            spec = evolve(spec, queue=blueprint.choose_queue(spec, blueprint.batch).queue or None)
        return spec
    except InvalidRequest as error:
        raise InvalidRequest("scheduler_options", f"{error.argument}: {error.problem}") from error
