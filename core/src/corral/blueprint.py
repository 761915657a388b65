"""Everything about a cluster that can be known, and refused, before anything is started."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from attrs import field, frozen

from corral import plugins, settings
from corral.batch import BatchSystem
from corral.choice import choose
from corral.errors import InvalidRequest
from corral.group import WorkerGroup, refuse_unknown
from corral.network import host_of_interface
from corral.runner import Runner
from corral.settings import Settings
from corral.watch import CommandBudget, Rhythm

if TYPE_CHECKING:
    from distributed import Security

    from corral.domain import Job, Script


DEFAULT_GROUP = "default"


@frozen(kw_only=True)
class Blueprint:
    """A cluster on paper. Making one validates every argument and runs no command."""

    backend: str
    batch: BatchSystem
    settings: Settings
    groups: Mapping[str, WorkerGroup]
    name: str
    uuid: str = field(factory=lambda: uuid.uuid4().hex)
    created: float = field(factory=time.time)
    site: str | None = None
    backend_options: Mapping[str, Any] = field(factory=dict)
    shared_directory: Path
    #: The user's own choice; None: a folder of ours, from which logs of jobs that did well are removed.
    chosen_log_directory: Path | None = None
    scheduler_host: str | None = None
    scheduler_port: int = 0
    scheduler_options: Mapping[str, Any] = field(factory=dict)
    #: True: certificates of its own; False: none; or the user's.
    security: bool | Security = True

    @property
    def folder(self) -> Path:
        """What only this cluster has."""
        return self.shared_directory / "clusters" / self.uuid

    @property
    def credentials_path(self) -> Path:
        return self.folder / "credentials.json"

    @property
    def log_directory(self) -> Path:
        return self.chosen_log_directory or self.shared_directory / "logs" / self.uuid

    @property
    def launcher_options(self) -> tuple[str, ...]:
        options = [
            f"--credentials={self.credentials_path}",
            f"--cluster-created={self.created:.0f}",
            f"--backend={self.backend}",
        ]
        if self.backend_options:
            options.append(f"--backend-options={json.dumps(dict(self.backend_options))}")
        if self.site is not None:
            options.append(f"--site={self.site}")
        return tuple(options)

    def rhythm(self) -> Rhythm:
        if self.backend == "local":
            return Rhythm(after_change=(0.3, 1.0, 2.0, 5.0, 10.0), at_rest=10.0)
        return Rhythm(at_rest=self.settings.polling_interval)

    def script(self, group: str = DEFAULT_GROUP) -> Script:
        """The script of this group's jobs, as the first of them would be submitted."""
        job = self.batch.request(
            self.groups[group],
            group=group,
            name=self.job_name(1),
            log_directory=str(self.log_directory),
            launcher_options=self.launcher_options,
        )
        return self.batch.render(job)

    def job_name(self, number: int) -> str:
        """Unique, and begins with a letter: some batch systems insist."""
        prefix = re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)
        prefix = prefix if prefix[:1].isalpha() else f"c{prefix}"
        if not prefix.endswith(self.uuid[:8]):
            prefix += f"-{self.uuid[:8]}"
        return f"{prefix}-{number}"


#: Arguments of `Cluster` that end up in a blueprint, beside those of `WorkerGroup`.
CLUSTER_ARGUMENTS = (
    "backend", "site", "plugins", "backend_options", "name", "shared_directory", "log_directory", "interface",
    "scheduler_interface", "worker_interface", "scheduler_port", "scheduler_options", "security",
)  # fmt: skip


def draw(given: Mapping[str, Any]) -> Blueprint:
    """Check what `Cluster` was given, after adding what the configuration says.

    Parameters
    ----------
    given
        Arguments of `Cluster` and `WorkerGroup` by name; None stands for an argument that was not given.

    Raises
    ------
    InvalidRequest, UnknownBackend, PluginError
    """
    group_names = [name for name in WorkerGroup.argument_names() if name != "interface"]
    known = [*CLUSTER_ARGUMENTS, *group_names]
    given = {name: value for name, value in given.items() if value is not None}
    refuse_unknown(given, known)
    general = settings.arguments("", known)
    site = given.get("site", general.get("site"))
    backend = given.get("backend", general.get("backend"))
    if backend is None:
        backend = (site and plugins.backend_of_site(site)) or choose(site)
    arguments = {**settings.arguments(backend, known), **given, "site": site}
    try:
        return _drawn(backend, arguments, group_names)
    except InvalidRequest as error:
        raise (error if error.argument in given else settings.located(error, backend)) from None


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
    site = given.get("site")
    backend = given.get("backend") or (site and plugins.backend_of_site(site)) or choose(site)
    manager = plugins.load(backend, options=_options("backend_options", given.get("backend_options")), site=site)
    job: Job = manager.hook.parse_resources(text=text)
    commands = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {"backend": backend, **WorkerGroup.arguments_of(job)}, commands


def _drawn(backend: str, arguments: Mapping[str, Any], group_names: Sequence[str]) -> Blueprint:
    interface = arguments.get("interface")
    scheduler_interface = arguments.get("scheduler_interface", interface)
    group = WorkerGroup(
        interface=arguments.get("worker_interface", interface),
        **{name: arguments[name] for name in group_names if name in arguments},
    )
    options = _options("backend_options", arguments.get("backend_options"))
    try:
        json.dumps(options)
    except (TypeError, ValueError) as error:
        raise InvalidRequest("backend_options", f"must be expressible in JSON ({error})") from None
    site: str | None = arguments["site"]
    manager = plugins.load(backend, options=options, site=site, plugins=arguments.get("plugins", ()))
    chosen = settings.settings()
    batch = BatchSystem(
        backend=backend,
        manager=manager,
        runner=Runner(timeout=chosen.command_timeout),
        # The embedded queue is ours: nobody's batch server suffers from questions.
        budget=None if backend == "local" else CommandBudget(chosen.commands_per_minute),
    )
    identity = uuid.uuid4().hex
    blueprint = Blueprint(
        backend=backend,
        batch=batch,
        settings=chosen,
        groups={DEFAULT_GROUP: group},
        name=_name(arguments["name"]) if "name" in arguments else f"corral-{identity[:8]}",
        uuid=identity,
        site=site,
        backend_options=options,
        shared_directory=_directory("shared_directory", arguments.get("shared_directory"))
        or platformdirs.user_state_path("corral"),
        chosen_log_directory=_directory("log_directory", arguments.get("log_directory")),
        scheduler_host=None
        if scheduler_interface is None
        else host_of_interface("scheduler_interface", scheduler_interface),
        scheduler_port=_port("scheduler_port", arguments.get("scheduler_port", 0)),
        scheduler_options=_options("scheduler_options", arguments.get("scheduler_options")),
        security=_security(arguments.get("security")),
    )
    # What the batch system cannot do is refused here, by the very code that will write the scripts.
    blueprint.script()
    return blueprint


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
    return Path(os.path.abspath(os.path.expanduser(text)))


def _port(argument: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 65536:
        raise InvalidRequest(argument, f"{value!r} is no port (0: any)")
    return value


def _options(argument: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidRequest(argument, f"{value!r} is not a mapping of names to values")
    return dict(value)


def _security(value: object) -> bool | Security:
    from distributed import Security

    if value is None or value is True:
        return True
    if value is False or isinstance(value, Security):
        return value
    raise InvalidRequest("security", f"{value!r} is not True, False or a distributed.Security")
