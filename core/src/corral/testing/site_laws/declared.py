"""What a site's test declares, and what every law begins with."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from attrs import evolve, frozen

from corral.errors import InvalidRequest
from corral.plugin import discovery
from corral.plugin.sites import NodeType, SiteDescription
from corral.plugin.values import Command, Job, Resources
from corral.request.sites import defaults_here
from corral.request.worker_group import WorkerGroup
from corral.testing.golden import Example
from corral.testing.installed import installed_plugins
from corral.testing.silence import SilentHooks

T = TypeVar("T")

GIGA = 10**9

#: What a request has that is no site's business, so that a law sees if it is lost.
BASE = Job(
    name="dask-conformance-1",
    command=("python", "-m", "corral.launch", "--job-name=dask-conformance-1"),
    walltime=3600,
    log_directory="/scratch/mary/logs",
    directory="/home/mary/runs",
    own_directory="/scratch/mary/.corral/1",
    environment={"OMP_NUM_THREADS": "1", "TITLE": "two words"},
    prologue=("module load python", "source env/bin/activate"),
    epilogue=("echo ended", "date"),
)


@frozen(kw_only=True)
class Prepared:
    """A request on its way: as it was asked for, as the backend alone leaves it, and as the site does."""

    asked: Job
    alone: Job
    through: Job

    def __str__(self) -> str:
        return in_words(self.asked)


def in_words(job: Job) -> str:
    """What a request asks for, for messages of laws: those of its fields that a site looks at."""
    plain, has = Job(), job.resources
    said = {name: getattr(has, name) for name in ("nodes", "cores", "memory", "gpus", "processes")}
    said |= {
        name: getattr(job, name)
        for name in ("walltime", "queue", "account", "extra_directives", "skip")
        if getattr(job, name) != getattr(plain, name)
    }
    return ", ".join(f"{name}={value!r}" for name, value in said.items() if value is not None)


class SiteLaws:
    """What is declared, and the fixtures. Classes of laws derive from it, and `SiteConformance` from them."""

    #: The name of the site's entry point.
    site: ClassVar[str]
    #: Options of the site with which all laws are tried.
    site_options: ClassVar[Mapping[str, Any]] = {}
    #: What a user must say: arguments that the site requires, and others that every request shall have.
    arguments: ClassVar[Mapping[str, Any]] = {}
    #: Names of hosts that are the site's: login and compute nodes of each kind; every pattern of its facts is tried.
    hosts: ClassVar[Sequence[str]] = ()
    #: Variables as they are on the site's hosts. The site may read these and no others.
    environment: ClassVar[Mapping[str, str]] = {}
    #: Hosts that are like the site's, and another's.
    strangers: ClassVar[Sequence[str]] = ()
    #: At least two values of each option; not needed for options with `choices`.
    option_values: ClassVar[Mapping[str, Sequence[str]]] = {}
    #: What the site rounds up beyond what its whole nodes have: cores, memory, gpus, nodes, walltime.
    rounds: ClassVar[Collection[str]] = ()
    #: Hooks that the site answers in its own way, so that the backend's recordings say nothing of them.
    own_answers: ClassVar[Collection[str]] = ()
    #: Requests from the centre's documentation.
    examples: ClassVar[Sequence[Example]] = ()
    #: The folder of their scripts: ``Path(__file__).parent / "golden"``.
    golden: ClassVar[Path | None] = None

    def make(self, **options: Any) -> Any:
        """Make the site with these options: one that is installed, or one in a file of Dask's configuration."""
        return self.once("plugin", lambda: discovery.the_site(self.site)).make(options)

    def command(self, command: Command) -> Command:
        """What the site makes of a backend's command; as it is here, nothing.

        What a job asks inside stays as it is. ::

            def command(self, command):
                return over_ssh(command, "login1")
        """
        return command

    def requests(self) -> list[Job]:
        """Requests that this site takes, of all kinds of its nodes; those that the backend refuses are left out."""
        nodes = described_nodes(self.make(**self.site_options))
        asked = [job for node in nodes for job in fitting(node)] or [*plain_requests()]
        return list({repr(job): job for job in map(self.as_user, asked)}.values())

    def as_user(self, job: Job) -> Job:
        """The same request with what a user of the site must say."""
        account = self.arguments.get("account", "physics")
        queue = job.queue or self.arguments.get("queue")
        return evolve(job, account=account, queue=queue)

    @contextmanager
    def there(self) -> Iterator[None]:
        """Meanwhile, this process has the variables of `environment`."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    # --- fixtures ------------------------------------------------------------------------------------------------

    @pytest.fixture(autouse=True)
    def _as_on_the_site(self) -> Iterator[None]:
        with self.there():
            yield

    @pytest.fixture
    def house(self, _as_on_the_site: None) -> Any:
        return self.once("house", lambda: self.make(**self.site_options))

    @pytest.fixture
    def alone(self, house: Any) -> SilentHooks:
        """The backend's hooks, with the site's options for it and without the site."""
        return self.once("alone", lambda: self.hooks(house, with_site=False))

    @pytest.fixture
    def through(self, house: Any) -> SilentHooks:
        """The backend's hooks with the site around them."""
        return self.once("through", lambda: self.hooks(house))

    @pytest.fixture
    def prepared(self, alone: SilentHooks, through: SilentHooks) -> list[Prepared]:
        """All requests, prepared; one that the site refuses and the backend takes is a failure."""
        return self.once("prepared", lambda: self._prepared(alone, through))

    def once(self, what: str, make: Callable[[], T]) -> T:
        """What is made once for all tests of this class."""
        made = _MADE.setdefault(type(self), {})
        if what not in made:
            made[what] = make()
        found: T = made[what]
        return found

    def _prepared(self, alone: SilentHooks, through: SilentHooks) -> list[Prepared]:
        found = []
        for asked in self.requests():
            if (of_backend := accepted(alone, asked)) is None:
                continue
            try:
                of_site = through.prepare_job(job=asked)
            except InvalidRequest as error:
                if described_nodes(self.make(**self.site_options)):
                    pytest.fail(f"some nodes have room for this, and it is refused: {in_words(asked)}: {error}")
                continue
            found.append(Prepared(asked=asked, alone=of_backend, through=of_site))
        assert found, "the site refuses whatever it is asked for"
        return found

    def hooks(self, house: Any, *, with_site: bool = True, options: Mapping[str, Any] | None = None) -> SilentHooks:
        """New hooks of the backend, with the site's options for it unless others are given."""
        options = options_of(house) if options is None else options
        around = [house] if with_site else []
        return SilentHooks(discovery.load(house.backend, options=options, plugins=around, among=installed_plugins()))

    def defaults_of(self, house: Any) -> Mapping[str, Any]:
        """What a user need not say, with the variables of `environment`."""
        return defaults_here(self.site, getattr(house, "defaults", None) or {})

    def group_of(self, house: Any, arguments: Mapping[str, Any], ready_made: str | None = None) -> WorkerGroup:
        """The group that a user gets who asks for this: what the site's defaults say, and then the user."""
        said = {**self.defaults_of(house), **self.arguments}
        said |= {**({} if ready_made is None else house.groups[ready_made]), **arguments}
        known = WorkerGroup.argument_names()
        return WorkerGroup(**{name: value for name, value in said.items() if name in known and value is not None})

    def request_of(self, group: WorkerGroup) -> Job:
        """The group's request, of which nothing depends on this machine."""
        if not {"python", "conda_env", "container"} & group.given:
            # One that needs no lines of its own in the prologue: they would be this machine's.
            group = evolve(group, python=["python3"])
        asked = group.request(name="dask-example", log_directory="/scratch/logs", launcher_options=())
        return evolve(asked, command=("dask", "worker"), environment=dict(group.variables))


#: What is made once, by classes of tests.
_MADE: weakref.WeakKeyDictionary[type, dict[str, Any]] = weakref.WeakKeyDictionary()


def accepted(hooks: SilentHooks, job: Job) -> Job | None:
    """The job as it is prepared; None if it is refused."""
    try:
        prepared: Job = hooks.prepare_job(job=job)
    except InvalidRequest:
        return None
    return prepared


def options_of(house: Any) -> Mapping[str, Any]:
    """What the site says of its backend's options."""
    options: Mapping[str, Any] = getattr(house, "backend_options", None) or {}
    return options


def description_of(house: Any) -> SiteDescription | None:
    """What the site is made of, if that is data."""
    description = getattr(house, "description", None)
    return description if isinstance(description, SiteDescription) else None


def described_nodes(house: Any) -> Sequence[NodeType]:
    """The kinds of its nodes; none if it describes none."""
    description = description_of(house)
    return () if description is None else description.nodes


# --- requests ---------------------------------------------------------------------------------------------------


def fitting(node: NodeType) -> Iterator[Job]:
    """Requests that such nodes take: the smallest, one in the middle, and the largest, by name and without."""
    longest = node.max_walltime or 7 * 86400
    most = node.max_nodes or node.min_nodes + 3
    gpus = sorted({1, node.gpus}) if node.gpus else [0]
    for share in (None, 2, 1):
        cores = 1 if share is None else max(1, node.cores // share)
        memory = GIGA if node.memory is None or share is None else node.memory // share
        walltime = min(3600, longest) if share == 2 else longest if share == 1 else 60
        nodes = most if share == 1 else node.min_nodes
        for count in gpus[-1:] if share == 1 else gpus[:1]:
            has = Resources(nodes=nodes, processes=max(1, cores // 2), cores=cores, memory=memory, gpus=count)
            job = evolve(BASE, resources=has, walltime=walltime)
            names = [node.name] if node.named_only else [None, node.name]
            yield from (evolve(job, queue=name) for name in names)


def plain_requests() -> Iterator[Job]:
    """Requests for a site that does not describe its nodes."""
    for cores, memory, gpus, nodes, walltime in _PLAIN:
        has = Resources(nodes=nodes, processes=max(1, cores // 4), cores=cores, memory=memory, gpus=gpus)
        yield from (evolve(BASE, resources=has, walltime=walltime, queue=queue) for queue in (None, "conformance"))


_PLAIN: Iterable[tuple[int, int, int, int, int]] = (
    (1, GIGA, 0, 1, 60),
    (4, 100 * GIGA, 0, 1, 3600),
    (36, 180 * GIGA, 0, 2, 86400),
    (128, 512 * GIGA, 0, 4, 2 * 86400),
    (8, 64 * GIGA, 1, 1, 3600),
    (64, 256 * GIGA, 4, 2, 86400),
)
