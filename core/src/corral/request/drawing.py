"""How a blueprint is drawn: from arguments and the configuration, or arguments from a job script."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corral.batch.budget import CommandBudget
from corral.batch.client import BatchSystem
from corral.batch.detection import choose
from corral.batch.runner import Runner
from corral.environment.surroundings import Surroundings
from corral.errors import InvalidRequest
from corral.host.home import Home
from corral.plugin import discovery
from corral.request import carrying, settings, sites
from corral.request.arguments import GROUP_ARGUMENTS, KNOWN
from corral.request.blueprint import DEFAULT_GROUP, IDLE_TIMEOUT, PARKED_RESULTS, Blueprint
from corral.request.carrying import connection, refuse_here
from corral.request.plugins import plugins_of
from corral.request.quantities import hours_of, parse_count, parse_duration, plain_options
from corral.request.scale import check_name, memory_or_none
from corral.request.sites import Site
from corral.request.synonyms import refuse_unknown
from corral.request.texts import check_line
from corral.request.worker_group import WorkerGroup
from corral.ssh.elsewhere import Elsewhere
from corral.text.logs import logger_of
from corral.text.variables import expanded, expanded_path, has_variable

if TYPE_CHECKING:
    from distributed import Security

    from corral.plugin.values import Job

logger = logger_of()

#: What `scheduler_options` may say of the scheduler's job; the rest belongs to `distributed.Scheduler`.
JOB_OPTIONS = (
    "cores", "memory", "walltime", "queue", "account", "extra_directives", "skip_directives", "env", "inherit_env",
    "modules", "conda_env", "prologue", "epilogue", "python", "shebang",
)  # fmt: skip

#: Of a script that leaves the number of cores to whole nodes.
WHOLE_NODES = "asks for whole nodes and does not say how many cores they have: workers will use one. Say cores="


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


def draw(
    given: Mapping[str, Any],
    *,
    scheduler_is_here: bool = True,
    site_values: Mapping[str, Any] | None = None,
    heeds_jobqueue: bool = False,
) -> Blueprint:
    """Check what `Cluster` was given, after adding what the configuration says, and the site.

    Parameters
    ----------
    given
        Arguments of `Cluster` and `WorkerGroup` by name; None stands for an argument that was not given.
    scheduler_is_here
        False: the scheduler will be on another host, whose network interfaces are not looked at.
    site_values
        The site's defaults, where another process has read them.
    heeds_jobqueue
        True: a section ``jobqueue:`` of the configuration has been read, and is in what was given.

    Raises
    ------
    InvalidRequest, UnknownBackend, PluginError
    """
    given = {name: value for name, value in given.items() if value is not None}
    refuse_unknown(given, KNOWN)
    backend, site = _backend_and_site(given, site_values)
    arguments = _arguments(backend, site, given, heeds_jobqueue=heeds_jobqueue)
    if not scheduler_is_here:
        arguments["scheduler_interface"] = None
    try:
        groups = _groups(backend, site, arguments, given)
        return _drawn(backend, site, arguments, groups, () if scheduler_is_here else JOB_OPTIONS)
    except InvalidRequest as error:
        raise (error if error.argument in given else sites.located(error, backend, site)) from None


def _arguments(
    backend: str, site: Site | None, given: Mapping[str, Any], *, heeds_jobqueue: bool = False
) -> dict[str, Any]:
    """What was given, what is configured, and what the site has for everybody, in this order.

    Raises
    ------
    InvalidRequest
    """
    values = {} if site is None else {name: value for name, value in site.values.items() if name in KNOWN}
    is_here = given.get("via", settings.value("via", backend)) is None
    configured = settings.arguments(backend, KNOWN, heeds_jobqueue=heeds_jobqueue, is_here=is_here)
    arguments = {**values, **configured, **given, "plugins": plugins_of(given.get("plugins"), backend)}
    refuse_here(backend, arguments)
    return arguments


def _backend_and_site(
    given: Mapping[str, Any], site_values: Mapping[str, Any] | None = None
) -> tuple[str, Site | None]:
    """Which batch system, and which site: as was given, else as is configured, else what the host is part of.

    That is this host, or the one to which commands are carried.
    """
    backend: str | None = given.get("backend", settings.value("backend", None))
    via = connection(given.get("via", settings.value("via", backend)))
    site = sites.site_of(given, values=site_values, via=via)
    if site is None:
        return backend or choose(via=via), None
    return backend or site.backend or choose(site.name, site.options, via), site


def batch_system(given: Mapping[str, Any]) -> tuple[BatchSystem, dict[str, Any]]:
    """The batch system of a cluster with these arguments, and the arguments with those of configuration and site.

    For questions that need no cluster.

    Raises
    ------
    InvalidRequest, UnknownBackend, PluginError
    """
    return batch_and_site(given)[:2]


def batch_and_site(given: Mapping[str, Any]) -> tuple[BatchSystem, dict[str, Any], Site | None]:
    """The same, and the site."""
    given = {name: value for name, value in given.items() if value is not None}
    backend, site = _backend_and_site(given)
    arguments = _arguments(backend, site, given)
    try:
        return _batch(backend, site, arguments), arguments, site
    except InvalidRequest as error:
        raise (error if error.argument in given else sites.located(error, backend, site)) from None


def read_script(path: str | os.PathLike[str], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Arguments of `WorkerGroup` from an existing job script, and its lines that are of no use here.

    Parameters
    ----------
    given
        Arguments of `Cluster` that say whose directives these are: backend, backend_options, site, site_options.

    Raises
    ------
    ParseError
        The script asks for something that one group of workers cannot be.
    """
    text = Path(path).read_text()
    backend, job = parsed_script(text, given)
    if "cores" in job.skip and "cores" not in given:
        logger.warning("%s %s", path, WHOLE_NODES)
    # Directives alone, as of a submit description, are no commands.
    is_script = any(re.match(r"#\S", line) for line in text.splitlines())
    commands = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    commands = commands if is_script else []
    return {"backend": backend, **WorkerGroup.arguments_of(job)}, commands


def parsed_script(text: str, given: Mapping[str, Any]) -> tuple[str, Job]:
    """Whose directives a job script has, and what they ask for.

    Raises
    ------
    ParseError
    """
    if "site" in given:
        given = {**given, "site": sites.said(given["site"])}
    backend, site = _backend_and_site({name: value for name, value in given.items() if value is not None})
    options = _options("backend_options", given.get("backend_options"))
    manager = discovery.load(backend, options=options, **_of_site(site))
    job: Job = manager.hook.parse_resources(text=text)
    return backend, job


def _scheduler_host(arguments: Mapping[str, Any]) -> str | None:
    """Where the scheduler listens, if an interface is named; complaints name the argument that did."""
    argument = "scheduler_interface" if "scheduler_interface" in arguments else "interface"
    interface = arguments.get(argument)
    if interface is None:
        return None
    # It asks distributed, which who prints a script need not wait for.
    from corral.security.addresses import host_of_interface

    return host_of_interface(argument, interface)


def _of_site(site: Site | None) -> dict[str, Any]:
    """The site in arguments of `discovery.load`."""
    return {} if site is None else {"site": site.name, "site_options": site.options}


def _drawn(
    backend: str,
    site: Site | None,
    arguments: Mapping[str, Any],
    groups: Mapping[str, WorkerGroup],
    for_job: Sequence[str],
) -> Blueprint:
    """`for_job`: what `scheduler_options` may say of the scheduler's own job."""
    options = plain_options("backend_options", arguments.get("backend_options") or {})
    security = _security(arguments.get("security"))
    scheduler_options = _scheduler_options(arguments.get("scheduler_options"), security, for_job)
    batch = _batch(backend, site, arguments)
    elsewhere = carrying.elsewhere(batch.runner.via, groups)
    identity = uuid.uuid4().hex
    shared_directory = _directory("shared_directory", arguments.get("shared_directory"), elsewhere)
    blueprint = Blueprint(
        backend=backend,
        batch=batch,
        settings=_settings(site),
        groups={},
        plugins=arguments["plugins"],
        name=_name(arguments["name"]) if "name" in arguments else f"corral-{identity[:8]}",
        uuid=identity,
        chosen_site=site,
        elsewhere=elsewhere,
        surroundings=Surroundings.here() if elsewhere is None else Surroundings(python=elsewhere.python),
        backend_options=options,
        shared_directory=shared_directory,
        home=Home.of(shared_directory) if elsewhere is None else elsewhere.home(shared_directory),
        chosen_log_directory=_directory("log_directory", arguments.get("log_directory"), elsewhere),
        scheduler_host=_scheduler_host(arguments),
        scheduler_port=_port("scheduler_port", arguments.get("scheduler_port", 0)),
        scheduler_options=scheduler_options,
        security=security,
        maximum_core_hours=hours_of("maximum_core_hours", arguments.get("maximum_core_hours")),
        maximum_gpu_hours=hours_of("maximum_gpu_hours", arguments.get("maximum_gpu_hours")),
        parked_results=memory_or_none("parked_results", arguments.get("parked_results", PARKED_RESULTS)),
        idle_timeout=parse_duration("idle_timeout", arguments.get("idle_timeout", IDLE_TIMEOUT)),
    )
    for group, spec in groups.items():
        blueprint = blueprint.with_group(group, spec)
    return blueprint


def _settings(site: Site | None) -> settings.Settings:
    return settings.settings(None if site is None else site.values)


def _batch(backend: str, site: Site | None, arguments: Mapping[str, Any]) -> BatchSystem:
    options = plain_options("backend_options", arguments.get("backend_options") or {})
    manager = discovery.load(backend, options=options, plugins=arguments["plugins"], **_of_site(site))
    # Imports every backend: here, rather than on the scheduler's event loop with the first command.
    discovery.enclosing()
    chosen = _settings(site)
    return BatchSystem(
        backend=backend,
        options=options,
        manager=manager,
        runner=Runner(timeout=chosen.command_timeout, via=connection(arguments.get("via"))),
        facts=(facts := discovery.facts_of(backend)),
        budget=None if facts.is_free_to_ask else CommandBudget(chosen.commands_per_minute),
    )


def _groups(
    backend: str, site: Site | None, arguments: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, WorkerGroup]:
    """The groups that were asked for, or the only one; `arguments` are what was `given`, configured, and the site's."""
    if "groups" not in arguments:
        only = WorkerGroup(**_shared(arguments))
        if site is not None:
            site.check_required(only, arguments)
        return {DEFAULT_GROUP: only}
    groups = {}
    for name, group in sites.named_groups(arguments["groups"], site, given).items():
        own = group.get("backend") if isinstance(group, Mapping) else getattr(group, "backend", None)
        check_line("backend", own)
        if own is None or discovery.are_one(own, backend):
            try:
                groups[check_name(name)] = made = _group(name, group, _shared(arguments))
            except InvalidRequest as error:
                raise (group.located(error) if isinstance(group, sites.ReadyMade) else error) from None
            if site is not None:
                site.check_required(made, arguments, name)
            continue
        said = {argument: value for argument, value in given.items() if argument not in settings.OF_ONE_BACKEND}
        shared = _shared({**settings.arguments_of_another(own, KNOWN), **said})
        try:
            groups[check_name(name)] = _group(name, group, shared)
        except InvalidRequest as error:
            raise (error if error.argument in said else settings.located(error, own)) from None
    return groups


def _shared(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What is said for all groups."""
    shared = {name: arguments[name] for name in GROUP_ARGUMENTS if name in arguments}
    shared["interface"] = arguments.get("worker_interface", arguments.get("interface"))
    return shared


def _group(name: str, group: object, shared: Mapping[str, Any]) -> WorkerGroup:
    """One of several groups; what it leaves empty is as said beside groups=, or by the configuration."""
    if isinstance(group, Mapping):
        written = {str(key).replace("-", "_"): value for key, value in group.items()}
        refuse_unknown(written, WorkerGroup.argument_names(), "WorkerGroup")
        return WorkerGroup(**{**shared, **written})
    if not isinstance(group, WorkerGroup):
        raise InvalidRequest("groups", f"{name!r} is {group!r}, which is not a WorkerGroup")
    return group.filled(shared)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest("name", f"{value!r} is not a name")
    if not value.isprintable() or "/" in value or len(value) > 100:
        raise InvalidRequest("name", f"{value!r} must be one printable line of at most 100 characters without '/'")
    return value


def _directory(argument: str, value: str | os.PathLike[str] | None, elsewhere: Elsewhere | None = None) -> Path | None:
    if value is None:
        return None
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise InvalidRequest(argument, f"{value!r} is not a path of printable characters")
    try:
        if elsewhere is not None:
            return _directory_there(argument, text, elsewhere)
        return Path(expanded_path(text, os.environ))
    except ValueError as error:
        raise InvalidRequest(argument, str(error)) from None


def _directory_there(argument: str, text: str, elsewhere: Elsewhere) -> Path:
    """A folder of another host, in whose words it may be written."""
    text_there, known = re.sub(r"^~(?=/|$)", "${HOME}", text), elsewhere.variables
    if "HOME" not in known and has_variable(text_there):
        raise ValueError(
            f"what {text!r} is on {elsewhere.connection} is not known, for your login shell there does not say: write "
            "the whole path"
        )
    path = Path(expanded(text_there, known))
    if not path.is_absolute():
        raise InvalidRequest(argument, f"{text!r} is not an absolute path, and commands run on {elsewhere.connection}")
    return path


def _port(argument: str, value: object) -> int:
    port = parse_count(argument, value)
    if port > 65535:
        raise InvalidRequest(argument, f"{value!r} is not a port (0: any)")
    return port


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
    from corral.request.keywords import check_protocol, check_scheduler

    check_scheduler(found, also=for_job)
    is_plain = security is False or (security is not True and not security.get_tls_config_for_role("worker").get("key"))
    check_protocol(found.get("protocol"), security, is_plain=is_plain)
    return found


def _security(value: object) -> bool | Security:
    if value is None or value is True:
        return True
    if value is False:
        return False
    from distributed import Security

    if isinstance(value, Security):
        return value
    raise InvalidRequest("security", f"{value!r} is not True, False or a distributed.Security")
