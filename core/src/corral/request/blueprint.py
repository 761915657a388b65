"""A cluster on paper: everything about it that can be known, and refused, before anything is started."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import sys
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
from corral.batch.queues import no_queues, queues_at_once
from corral.batch.rhythm import Rhythm
from corral.batch.runner import command_environment
from corral.environment.surroundings import Surroundings
from corral.errors import BatchSystemError, CorralError, InvalidRequest, ParseError
from corral.host.home import Home
from corral.plugin import discovery
from corral.plugin.values import JobId
from corral.plugin.written_sites import needed_site
from corral.request import settings
from corral.request.activation import check_reach
from corral.request.carrying import carried
from corral.request.quantities import plain_options
from corral.request.queues import AUTO, Choice
from corral.request.scale import check_name, the_group
from corral.request.settings import Settings
from corral.request.site_queues import choice_for
from corral.request.sites import Site
from corral.request.worker_group import WorkerGroup
from corral.ssh.elsewhere import Elsewhere
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from distributed import Security

    from corral.plugin.validation import NamedPlugin
    from corral.plugin.values import Job, Resources, Script

logger = logger_of()

#: The group of a cluster that has but one.
DEFAULT_GROUP = "default"
#: When a cluster that nobody uses ends itself, if its scheduler lives in a job (s).
IDLE_TIMEOUT = 3600.0
#: The most bytes of results that leaving workers put into files, because no other worker could take them.
PARKED_RESULTS = 20_000_000_000
#: Words of `skip_directives` that every batch system knows.
SKIPPED_BY_WORD = ("memory", "cores", "nodes", "walltime", "gpus")


@frozen(kw_only=True)
class Blueprint:
    """A cluster on paper. Making one validates every argument, and runs no command unless a queue is to be chosen."""

    backend: str
    batch: BatchSystem
    settings: Settings
    groups: Mapping[str, WorkerGroup]
    #: The batch system as groups see it that have another, or backend options of their own.
    batches: Mapping[str, BatchSystem] = field(factory=dict)
    #: Batch systems that are some groups' own, by name; also when these groups are gone: no other may be called so.
    others: Mapping[str, BatchSystem] = field(factory=dict)
    #: Of groups with ``queue="auto"``: which it came to, and why.
    choices: Mapping[str, Choice] = field(factory=dict)
    plugins: Sequence[NamedPlugin] = ()
    name: str
    uuid: str = field(factory=lambda: uuid.uuid4().hex)
    created: float = field(factory=time.time)
    #: Of the process that made it.
    surroundings: Surroundings = field(factory=Surroundings.here)
    #: The host on which commands run and files are; None: this one.
    elsewhere: Elsewhere | None = None
    chosen_site: Site | None = None
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
    #: No job with GPUs is submitted when so many were used; None: no limit.
    maximum_gpu_hours: float | None = None
    #: The most bytes of results in files, which no worker could take.
    parked_results: int = PARKED_RESULTS
    #: Seconds after which a cluster with a scheduler of its own ends if it has nothing to do; 0: never.
    idle_timeout: float = IDLE_TIMEOUT

    @property
    def site(self) -> str | None:
        """The name of its site."""
        return None if self.chosen_site is None else self.chosen_site.name

    @property
    def site_options(self) -> Mapping[str, Any]:
        return {} if self.chosen_site is None else self.chosen_site.options

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

    def log_directory_of(self, batch: BatchSystem) -> Path:
        """Where the logs of its jobs go: those of two batch systems may have the same names."""
        return self.log_directory / batch.name

    def make_log_directory(self) -> None:
        """Make the folders for logs, ours or the user's.

        Raises
        ------
        InvalidRequest
            It cannot be made.
        NotPrivate
            Others could change what is in it, or it is not corral's.
        """
        try:
            for batch in self.systems:
                if self.chosen_log_directory is not None:
                    self.home.files.make_folder(str(self.log_directory_of(batch)))
                else:
                    self.home.make_log_folder(self.uuid, batch.name)
        except OSError as error:
            if isinstance(error, CorralError):
                raise
            raise InvalidRequest("log_directory", f"{self.log_directory} cannot be made: {error.strerror}") from error

    @property
    def systems(self) -> Sequence[BatchSystem]:
        """The batch systems that have its jobs: the cluster's own, which has no name, first."""
        return [self.batch, *self.others.values()]

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
            raise InvalidRequest("groups", f"group {name!r} already exists")
        if self.elsewhere is not None:
            spec = carried(name, spec, self.elsewhere, is_here=self.has_own_system(spec))
        batch = self._batch_for(spec)
        if self.elsewhere is None and spec.runs_this_python and not batch.facts.is_everywhere:
            check_reach(sys.executable, sys.prefix, sys.base_prefix)
        choices = dict(self.choices)
        if spec.queue == AUTO:
            choices[name] = choice = self.choose_queue(spec, batch)
            logger.info("group %r: %s", name, choice, cluster=self.name, group=name)
            # The only queue of some batch systems has no name.
            spec = evolve(spec, queue=choice.queue or None)
        batches = {**self.batches, name: batch}
        others = {**self.others, batch.name: batch} if batch.name else self.others
        larger = evolve(self, groups={**self.groups, name: spec}, batches=batches, others=others, choices=choices)
        # What the batch system cannot do is refused here, by the very code that will write the scripts.
        try:
            larger.script(name)
        except InvalidRequest as error:
            whose = "" if name == DEFAULT_GROUP else f" (group {name!r})"
            raise InvalidRequest(error.argument, error.problem + whose) from error
        if whole := larger.rounding(name):
            logger.warning("group %r: %s", name, whole, cluster=self.name, group=name)
        batch.tell_unenforced(spec.resources, spec.walltime_seconds)
        if vain := larger.skipped_in_vain(name):
            names = ", ".join(dict.fromkeys(each.name for each in larger.script(name).directives))
            warnings.warn(
                f"skip_directives: {', '.join(map(repr, vain))} is not the name of a directive here, and leaves "
                f"nothing out. A job has {names}",
                stacklevel=2,
            )
        return larger

    def ask_ahead(self, spec: WorkerGroup) -> None:
        """Have the batch system asked what `with_group` needs to know of it: here, rather than on an event loop.

        Raises
        ------
        InvalidRequest, BatchSystemError
            As `choose_queue`.
        """
        if spec.queue == AUTO:
            self.choose_queue(spec, self._batch_for(spec))

    def has_own_system(self, spec: WorkerGroup) -> bool:
        """True if the jobs of this group are not for the cluster's batch system.

        Raises
        ------
        UnknownBackend, PluginError
        """
        return spec.backend is not None and not discovery.are_one(spec.backend, self.backend)

    def _batch_for(self, spec: WorkerGroup) -> BatchSystem:
        """The batch system as this group's jobs will be asked of it."""
        if not self.has_own_system(spec):
            if not spec.backend_options:
                return self.batch
            options = {**self.backend_options, **spec.backend_options}
            manager = discovery.load(
                self.backend, options=options, site=self.site, site_options=self.site_options, plugins=self.plugins
            )
            return evolve(self.batch, manager=manager, options=options)
        assert spec.backend is not None
        configured = plain_options("backend_options", settings.options_of_another(spec.backend))
        options = {**configured, **spec.backend_options}
        for known in self.others.values():
            if (known.backend, known.options) == (spec.backend, options):
                return known
        # One that is asked otherwise may be another, with other jobs of the same ids.
        number = sum(known.backend == spec.backend for known in self.others.values()) + 1
        facts = discovery.facts_of(spec.backend)
        return BatchSystem(
            backend=spec.backend,
            name=spec.backend if number == 1 else f"{spec.backend}-{number}",
            options=options,
            manager=discovery.load(spec.backend, options=options, plugins=self.plugins),
            runner=self.batch.runner,
            facts=facts,
            budget=None if facts.is_free_to_ask else CommandBudget(self.settings.commands_per_minute),
        )

    def choose_queue(self, spec: WorkerGroup, batch: BatchSystem) -> Choice:
        """Which queue ``queue="auto"`` means for the jobs of a group. Asks the batch system, unless it just did.

        Raises
        ------
        InvalidRequest
            There is none that takes them.
        BatchSystemError, ParseError
            The batch system does not say.
        """
        try:
            queues = queues_at_once(batch, self.identity(batch))
        except (BatchSystemError, ParseError) as error:
            raise BatchSystemError(f"queue={AUTO!r} cannot be decided: {error}. Name a queue=, or try again") from error
        site = None if batch.name else self.chosen_site
        return choice_for(self.asked(spec, batch), queues, batch.prepare, site, nothing=no_queues(batch))

    def asked(self, spec: WorkerGroup, batch: BatchSystem) -> Job:
        """What a group's jobs are asked for, whatever their queue."""
        return evolve(spec, queue=None).request(
            name=self.job_name(1),
            log_directory=str(self.log_directory_of(batch)),
            launcher_options=(),
            surroundings=self.surroundings,
            own_directory=str(self.folder),
        )

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
        spec, batch = self.groups[group], self.batch_of(group)
        options = [
            f"--made-by={__version__}",
            f"--credentials={self.credentials_path}",
            f"--cluster-created={self.created:.0f}",
            f"--backend={batch.backend}",
        ]
        own = None if batch.name else self.site
        site, backend_options = needed_site(batch.manager, own, batch.backend, batch.options)
        if backend_options:
            options.append(f"--backend-options={json.dumps(backend_options)}")
        if batch.name:
            options.append(f"--system={batch.name}")
        if site is not None:
            options.append(f"--site={site}")
            if self.site_options:
                options.append(f"--site-options={json.dumps(self.site_options)}")
        name = self.job_name(number)
        wanted = spec.request(
            name=name,
            log_directory=str(self.log_directory_of(batch)),
            launcher_options=[*options, f"--job-name={name}", f"--group={group}"],
            surroundings=self.surroundings,
            own_directory=str(self.folder),
        )
        job = batch.prepare(evolve(wanted, excluded_hosts=excluded_hosts))
        if job.resources.memory is None:
            raise InvalidRequest("memory", "say how much a job may use on each node: memory='16GB'")
        # What was prepared may be more than what was asked for: the workers should use it.
        job = evolve(job, resources=spec.shared_out(job.resources))
        return evolve(job, command=(*job.command, *spec.launcher_arguments(group, job.resources, job.walltime)))

    def resources(self, group: str) -> Resources:
        """What a job of this group has: what was prepared may be more than what was asked for."""
        return self.request(group, 1).resources

    def rounding(self, group: str) -> str:
        """What a job of this group has beyond what was asked for because its site gives whole nodes, and the cost."""
        if self.chosen_site is None or self.batch_of(group).name:
            return ""
        return self.chosen_site.rounding(self.groups[group].resources, self.resources(group))

    def script(self, group: str | None = None) -> Script:
        """The script of this group's jobs, as the first of them would be submitted."""
        group = the_group(group, self.groups)
        return self.batch_of(group).render(self.request(group, 1))

    def identity(self, batch: BatchSystem) -> str:
        """Which batch system is asked, and how: clusters that have this in common can share answers.

        That is the first command of a question, where its program is, and what it would see of the environment. So
        nothing is shared between two servers that only a variable, a site's plugin or the order of PATH tells apart.
        """
        try:
            question = batch.manager.hook.poll_status(job_ids=[JobId("1")])
            command = next(question)
            question.close()
        except Exception:
            # What a plugin does wrong is told when it is asked for real; until then its cluster asks for itself.
            return self.uuid + batch.name
        environment = command_environment(os.environ, command)
        told = {
            name: value
            for name, value in environment.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in batch.facts.server)
        }
        own = [f"{type(each.plugin).__module__}.{each.name}" for each in self.plugins]
        site = None if batch.name else [self.site, repr(self.site_options)]
        where = shutil.which(command.argv[0]) if self.elsewhere is None else self.elsewhere.via
        what = [batch.backend, repr(batch.options), site, own, command.argv, where]
        return json.dumps([__version__, what, sorted(told.items())], default=str)

    def rhythm(self, batch: BatchSystem) -> Rhythm:
        return Rhythm.often() if batch.facts.is_free_to_ask else Rhythm(at_rest=self.settings.polling_interval)

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
