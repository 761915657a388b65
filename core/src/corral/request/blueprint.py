"""Everything about a cluster that can be known, and refused, before anything is started."""

from __future__ import annotations

import fnmatch
import json
import logging
import numbers
import os
import re
import shutil
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from corral._version import __version__
from corral.batch.budget import CommandBudget
from corral.batch.client import BatchSystem
from corral.batch.detection import choose
from corral.batch.polling import Rhythm
from corral.batch.runner import Runner, command_environment
from corral.environment.surroundings import Surroundings
from corral.errors import CorralError, InvalidRequest, NotPrivate
from corral.host.home import Home
from corral.plugin import discovery
from corral.plugin.values import JobId
from corral.request import settings
from corral.request.scale import check_name, memory_or_none, the_group
from corral.request.settings import Settings
from corral.request.synonyms import refuse_unknown
from corral.request.worker_group import WorkerGroup, parse_count, parse_duration, plain_options
from corral.security.addresses import host_of_interface
from corral.text.durations import is_truth
from corral.text.variables import expanded_path

if TYPE_CHECKING:
    from distributed import Security

    from corral.plugin.values import Job, Resources, Script

logger = logging.getLogger("corral")

#: The group of a cluster that has but one.
DEFAULT_GROUP = "default"
#: When a cluster that nobody uses ends itself, if its scheduler lives in a job (s).
IDLE_TIMEOUT = 3600.0
#: The most bytes of results that leaving workers put into files, because no other worker could take them.
PARKED_RESULTS = 20_000_000_000


@frozen(kw_only=True)
class Blueprint:
    """A cluster on paper. Making one validates every argument and runs no command."""

    backend: str
    batch: BatchSystem
    settings: Settings
    groups: Mapping[str, WorkerGroup]
    #: The batch system as groups with backend options of their own see it.
    batches: Mapping[str, BatchSystem] = field(factory=dict)
    plugins: Sequence[object] = ()
    name: str
    uuid: str = field(factory=lambda: uuid.uuid4().hex)
    created: float = field(factory=time.time)
    #: Of the process that made it.
    surroundings: Surroundings = field(factory=Surroundings.here)
    site: str | None = None
    backend_options: Mapping[str, Any] = field(factory=dict)
    #: What was named; None: nothing.
    shared_directory: Path | None = None
    #: Where everything of corral's is.
    home: Home
    #: The user's own choice; None: a folder of ours, from which logs of jobs that did well are removed.
    chosen_log_directory: Path | None = None
    scheduler_host: str | None = None
    scheduler_port: int = 0
    scheduler_options: Mapping[str, Any] = field(factory=dict)
    #: True: certificates of its own; False: none; or the user's.
    security: bool | Security = True
    #: Nothing more is submitted when so many were used; None: no limit.
    maximum_core_hours: float | None = None
    #: The most bytes of results in files, which no worker could take.
    parked_results: int = PARKED_RESULTS
    #: Seconds after which a cluster with a scheduler of its own ends if it has nothing to do; 0: never.
    idle_timeout: float = IDLE_TIMEOUT

    @property
    def folder(self) -> Path:
        """What only this cluster has."""
        return self.home.cluster_folder(self.uuid)

    @property
    def credentials_path(self) -> Path:
        return self.home.credentials(self.uuid)

    @property
    def log_directory(self) -> Path:
        return self.chosen_log_directory or self.home.log_folder(self.uuid)

    def make_log_directory(self) -> None:
        """Make the folder for logs, ours or the user's.

        Raises
        ------
        InvalidRequest
            It cannot be made.
        NotPrivate
            Others could change what is in it, or it is not corral's.
        """
        try:
            if self.chosen_log_directory is not None:
                self.chosen_log_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            else:
                self.home.make_log_folder(self.uuid)
        except NotPrivate:
            raise
        except OSError as error:
            raise InvalidRequest("log_directory", f"{self.log_directory} cannot be made: {error.strerror}") from error

    def batch_of(self, group: str) -> BatchSystem:
        """The batch system as this group's jobs are asked of it."""
        return self.batches.get(group, self.batch)

    def with_group(self, name: str, spec: WorkerGroup) -> Blueprint:
        """The same cluster with one group more.

        Raises
        ------
        InvalidRequest
            There is one of that name, or the batch system cannot do this.
        """
        if check_name(name) in self.groups:
            raise InvalidRequest("groups", f"there is a group {name!r} already")
        batches = dict(self.batches)
        if spec.backend_options:
            options = self._backend_options(spec)
            manager = discovery.load(self.backend, options=options, site=self.site, plugins=self.plugins)
            batches[name] = evolve(self.batch, manager=manager)
        larger = evolve(self, groups={**self.groups, name: spec}, batches=batches)
        # What the batch system cannot do is refused here, by the very code that will write the scripts.
        try:
            larger.script(name)
        except InvalidRequest as error:
            whose = "" if name == DEFAULT_GROUP else f" (group {name!r})"
            raise InvalidRequest(error.argument, error.problem + whose) from error
        if vain := larger.skipped_in_vain(name):
            names = ", ".join(dict.fromkeys(each.name for each in larger.script(name).directives))
            warnings.warn(
                f"skip_directives: {', '.join(map(repr, vain))} is the name of no directive here, and leaves nothing "
                f"out. A job has {names}",
                stacklevel=2,
            )
        return larger

    def skipped_in_vain(self, group: str) -> list[str]:
        """What a group wants to leave out, and no job of this batch system could have."""
        if not (names := self.groups[group].skip_directives):
            return []
        batch, job = self.batch_of(group), self.request(group, 1)
        # What is left out of all jobs that a configuration is for need not be in this one.
        resources = evolve(job.resources, cores=max(2, job.resources.cores), gpus=max(1, job.resources.gpus))
        fullest = evolve(
            job,
            queue=job.queue or "x",
            account=job.account or "x",
            resources=resources,
            extra_directives=(),
            skip=frozenset(),
        )
        try:
            script = batch.render(fullest)
            without = {name: batch.render(evolve(fullest, skip={name, name.lstrip("-")})) for name in names}
        except CorralError:
            return []  # what this site has no words for
        return [name for name in names if without[name] == script and name not in SKIPPED_BY_WORD]

    def without_group(self, name: str) -> Blueprint:
        """The same cluster with one group less."""
        return evolve(self, groups={other: spec for other, spec in self.groups.items() if other != name})

    def request(self, group: str, number: int, *, excluded_hosts: Sequence[str] = ()) -> Job:
        """The prepared request of submission `number`, for jobs of this group.

        Raises
        ------
        InvalidRequest
        """
        spec = self.groups[group]
        options = [
            f"--made-by={__version__}",
            f"--credentials={self.credentials_path}",
            f"--cluster-created={self.created:.0f}",
            f"--backend={self.backend}",
        ]
        if backend_options := self._backend_options(spec):
            options.append(f"--backend-options={json.dumps(backend_options)}")
        if self.site is not None:
            options.append(f"--site={self.site}")
        name = self.job_name(number)
        wanted = spec.request(
            name=name,
            log_directory=str(self.log_directory),
            launcher_options=[*options, f"--job-name={name}", f"--group={group}"],
            surroundings=self.surroundings,
            own_directory=str(self.folder),
        )
        job = self.batch_of(group).prepare(evolve(wanted, excluded_hosts=excluded_hosts))
        if job.resources.memory is None:
            raise InvalidRequest("memory", "say how much a job may use on each node: memory='16GB'")
        # What was prepared may be more than what was asked for: the workers shall use it.
        if job.resources.processes > job.resources.cores:
            job = evolve(job, resources=evolve(job.resources, processes=job.resources.cores))
        return evolve(job, command=(*job.command, *spec.launcher_arguments(group, job.resources, job.walltime)))

    def resources(self, group: str) -> Resources:
        """What a job of this group has: what was prepared may be more than what was asked for."""
        return self.request(group, 1).resources

    def script(self, group: str | None = None) -> Script:
        """The script of this group's jobs, as the first of them would be submitted."""
        group = the_group(group, self.groups)
        return self.batch_of(group).render(self.request(group, 1))

    def _backend_options(self, spec: WorkerGroup) -> dict[str, Any]:
        return {**self.backend_options, **spec.backend_options}

    def identity(self) -> str:
        """Which batch system is asked, and how: clusters that have this in common can share answers.

        That is the first command of a question, where its program is, and what it would see of the environment. So
        nothing is shared between two servers that only a variable, a site's plugin or the order of PATH tells apart.
        """
        try:
            question = self.batch.manager.hook.poll_status(job_ids=[JobId("1")])
            command = next(question)
            question.close()
        except Exception:
            # What a plugin does wrong is told when it is asked for real; until then its cluster asks for itself.
            return self.uuid
        server = self.batch.facts.server
        environment = command_environment(os.environ, command)
        told = {
            name: value
            for name, value in environment.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in server)
        }
        own = [f"{type(plugin).__module__}.{type(plugin).__qualname__}" for plugin in self.plugins]
        what = [self.backend, repr(self.backend_options), self.site, own, command.argv, shutil.which(command.argv[0])]
        return json.dumps([__version__, what, sorted(told.items())], default=str)

    def rhythm(self) -> Rhythm:
        return Rhythm.often() if self.batch.facts.is_free_to_ask else Rhythm(at_rest=self.settings.polling_interval)

    def job_name(self, number: int) -> str:
        """The unique name of a submission."""
        return f"{self.job_prefix}{number}"

    @property
    def job_prefix(self) -> str:
        """How the names of this cluster's jobs begin, and no other's; with a letter, as some batch systems insist."""
        prefix = re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)
        prefix = prefix if prefix[:1].isalpha() else f"c{prefix}"
        if not prefix.endswith(self.uuid[:8]):
            prefix += f"-{self.uuid[:8]}"
        return f"{prefix}-"


#: Words of `skip_directives` that every batch system knows.
SKIPPED_BY_WORD = ("memory", "cores", "nodes", "walltime", "gpus")
#: Arguments of `Cluster` that end up in a blueprint, beside those of `WorkerGroup`.
CLUSTER_ARGUMENTS = (
    "backend", "site", "plugins", "backend_options", "name", "shared_directory", "log_directory", "interface",
    "scheduler_interface", "worker_interface", "scheduler_port", "scheduler_options", "security", "groups",
    "maximum_core_hours", "parked_results", "scheduler", "on_exists", "idle_timeout", "shutdown_on_close",
)  # fmt: skip
#: What `scheduler_options` may say of the scheduler's job; the rest belongs to `distributed.Scheduler`.
JOB_OPTIONS = (
    "cores", "memory", "walltime", "queue", "account", "extra_directives", "skip_directives", "env", "inherit_env",
    "modules", "conda_env", "prologue", "epilogue", "python", "shebang",
)  # fmt: skip
#: Arguments of `WorkerGroup` that a cluster without groups takes for its only one.
GROUP_ARGUMENTS = tuple(name for name in WorkerGroup.argument_names() if name not in ("interface", "backend_options"))


def scheduler_place(given: str | None, backend: str | None) -> str:
    """Where the scheduler is to be, by argument or configuration: "process" or "job".

    Raises
    ------
    InvalidRequest
    """
    place = given if given is not None else settings.value("scheduler", backend)
    if place not in (None, "process", "job"):
        raise InvalidRequest("scheduler", f"{place!r} is not 'process' or 'job'")
    return place or "process"


def draw(given: Mapping[str, Any], *, scheduler_is_here: bool = True) -> Blueprint:
    """Check what `Cluster` was given, after adding what the configuration says.

    Parameters
    ----------
    given
        Arguments of `Cluster` and `WorkerGroup` by name; None stands for an argument that was not given.
    scheduler_is_here
        False: the scheduler will be on another host, whose network interfaces are not looked at.

    Raises
    ------
    InvalidRequest, UnknownBackend, PluginError
    """
    known = [*CLUSTER_ARGUMENTS, *GROUP_ARGUMENTS]
    given = {name: value for name, value in given.items() if value is not None}
    refuse_unknown(given, known)
    backend, site = _backend_and_site(given)
    arguments = {**settings.arguments(backend, known), **given, "site": site}
    if not scheduler_is_here:
        arguments["scheduler_interface"] = None
    try:
        return _drawn(backend, arguments, for_job=() if scheduler_is_here else JOB_OPTIONS)
    except InvalidRequest as error:
        raise (error if error.argument in given else settings.located(error, backend)) from None


def _backend_and_site(given: Mapping[str, Any]) -> tuple[str, str | None]:
    """Which batch system, and whose plugin: as was given, else as is configured, else what answers here."""
    general = settings.arguments("", [*CLUSTER_ARGUMENTS, *GROUP_ARGUMENTS])
    site = given.get("site", general.get("site"))
    backend = given.get("backend", general.get("backend"))
    return backend or (site and discovery.backend_of_site(site)) or choose(site), site


def read_script(path: str | os.PathLike[str], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Arguments of `WorkerGroup` from an existing job script, and its lines that are of no use here.

    Parameters
    ----------
    given
        Arguments of `Cluster` that say whose directives these are: backend, backend_options, site.

    Raises
    ------
    ParseError
        The script asks for what one group of workers cannot be.
    """
    text = Path(path).read_text()
    backend, site = _backend_and_site({name: value for name, value in given.items() if value is not None})
    manager = discovery.load(backend, options=_options("backend_options", given.get("backend_options")), site=site)
    job: Job = manager.hook.parse_resources(text=text)
    if "cores" in job.skip and "cores" not in given:
        logger.warning(
            "%s asks for whole nodes and does not say how many cores they have: workers will use one. Say cores=", path
        )
    # Directives alone, as of a submit description, are no commands.
    is_script = any(re.match(r"#\S", line) for line in text.splitlines())
    commands = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    commands = commands if is_script else []
    return {"backend": backend, **WorkerGroup.arguments_of(job)}, commands


def _scheduler_host(arguments: Mapping[str, Any]) -> str | None:
    """Where the scheduler listens, if an interface is named; complaints name the argument that did."""
    argument = "scheduler_interface" if "scheduler_interface" in arguments else "interface"
    interface = arguments.get(argument)
    return None if interface is None else host_of_interface(argument, interface)


def _drawn(backend: str, arguments: Mapping[str, Any], *, for_job: Sequence[str]) -> Blueprint:
    """`for_job`: what `scheduler_options` may say of the scheduler's own job."""
    groups = _groups(arguments)
    options = plain_options("backend_options", arguments.get("backend_options") or {})
    security = _security(arguments.get("security"))
    scheduler_options = _scheduler_options(arguments.get("scheduler_options"), security, for_job)
    site: str | None = arguments["site"]
    own_plugins = arguments.get("plugins", ())
    manager = discovery.load(backend, options=options, site=site, plugins=own_plugins)
    chosen = settings.settings()
    batch = BatchSystem(
        backend=backend,
        manager=manager,
        runner=Runner(timeout=chosen.command_timeout),
        facts=(facts := discovery.facts_of(backend)),
        budget=None if facts.is_free_to_ask else CommandBudget(chosen.commands_per_minute),
    )
    identity = uuid.uuid4().hex
    shared_directory = _directory("shared_directory", arguments.get("shared_directory"))
    blueprint = Blueprint(
        backend=backend,
        batch=batch,
        settings=chosen,
        groups={},
        plugins=own_plugins,
        name=_name(arguments["name"]) if "name" in arguments else f"corral-{identity[:8]}",
        uuid=identity,
        site=site,
        backend_options=options,
        shared_directory=shared_directory,
        home=Home.of(shared_directory),
        chosen_log_directory=_directory("log_directory", arguments.get("log_directory")),
        scheduler_host=_scheduler_host(arguments),
        scheduler_port=_port("scheduler_port", arguments.get("scheduler_port", 0)),
        scheduler_options=scheduler_options,
        security=security,
        maximum_core_hours=hours_of("maximum_core_hours", arguments.get("maximum_core_hours")),
        parked_results=memory_or_none("parked_results", arguments.get("parked_results", PARKED_RESULTS)),
        idle_timeout=parse_duration("idle_timeout", arguments.get("idle_timeout", IDLE_TIMEOUT)),
    )
    for group, spec in groups.items():
        blueprint = blueprint.with_group(group, spec)
    return blueprint


def _groups(arguments: Mapping[str, Any]) -> dict[str, WorkerGroup]:
    """The groups that were asked for, or the only one."""
    shared = {name: arguments[name] for name in GROUP_ARGUMENTS if name in arguments}
    shared["interface"] = arguments.get("worker_interface", arguments.get("interface"))
    if "groups" not in arguments:
        return {DEFAULT_GROUP: WorkerGroup(**shared)}
    asked = arguments["groups"]
    if not isinstance(asked, Mapping) or not asked:
        raise InvalidRequest("groups", f"{asked!r} is not a mapping of names to WorkerGroups")
    return {check_name(name): _group(name, group, shared) for name, group in asked.items()}


def _group(name: str, group: object, shared: Mapping[str, Any]) -> WorkerGroup:
    """One of several groups; what it leaves empty is as said beside groups=, or by the configuration."""
    if isinstance(group, Mapping):
        written = {str(key).replace("-", "_"): value for key, value in group.items()}
        refuse_unknown(written, WorkerGroup.argument_names(), "WorkerGroup")
        return WorkerGroup(**{**shared, **written})
    if not isinstance(group, WorkerGroup):
        raise InvalidRequest("groups", f"{name!r} is {group!r}, which is no WorkerGroup")
    return group.filled(shared)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest("name", f"{value!r} is no name")
    if not value.isprintable() or "/" in value or len(value) > 100:
        raise InvalidRequest("name", f"{value!r} must be one printable line of at most 100 characters without '/'")
    return value


def _directory(argument: str, value: str | os.PathLike[str] | None) -> Path | None:
    if value is None:
        return None
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise InvalidRequest(argument, f"{value!r} is no path of printable characters")
    try:
        return Path(expanded_path(text, os.environ))
    except ValueError as error:
        raise InvalidRequest(argument, str(error)) from None


def _port(argument: str, value: object) -> int:
    port = parse_count(argument, value)
    if port > 65535:
        raise InvalidRequest(argument, f"{value!r} is no port (0: any)")
    return port


def hours_of(argument: str, value: object) -> float | None:
    """A number of hours, or None.

    Raises
    ------
    InvalidRequest
    """
    if value is None:
        return None
    # numpy's numbers are some, too.
    if is_truth(value) or not isinstance(value, numbers.Real) or not float(value) > 0:
        raise InvalidRequest(argument, f"{value!r} is not a number of hours above 0")
    return float(value)


def _options(argument: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidRequest(argument, f"{value!r} is not a mapping of names to values")
    return dict(value)


def _scheduler_options(value: object, security: bool | Security, for_job: Sequence[str]) -> dict[str, Any]:
    found = _options("scheduler_options", value)
    if not found:
        return found
    # Looks at Dask's own classes, which takes a second to import.
    from corral.request.keywords import check_scheduler

    check_scheduler(found, also=for_job)
    # Everything that joins speaks the one protocol for which there are credentials.
    is_plain = security is False or (security is not True and not security.get_tls_config_for_role("worker").get("key"))
    expected = "tcp" if is_plain else "tls"
    if (protocol := found.get("protocol") or expected).rstrip(":/") != expected:
        cure = "leave security= out for TLS" if is_plain else "say security=False for a cluster without TLS"
        raise InvalidRequest(
            "scheduler_options",
            f"its protocol {protocol!r} does not go with security={security!r}, where corral's jobs speak {expected}; "
            f"leave the protocol out, or {cure}",
        )
    return found


def _security(value: object) -> bool | Security:
    from distributed import Security

    if value is None or value is True:
        return True
    if value is False or isinstance(value, Security):
        return value
    raise InvalidRequest("security", f"{value!r} is not True, False or a distributed.Security")
