"""What a computing centre says of itself: how it is recognised, what its users need not say, which nodes it has.

A site is a plugin with hooks that wrap a backend's (``@hookimpl(wrapper=True)``), and with attributes that are read
beside them:

`facts`
    a :class:`SiteFacts` on the class: read without making a site, to find the one that this host belongs to.
`backend`, `backend_options`
    the batch system that its users need not name, and defaults for that plugin's options.
`defaults`
    what its users would otherwise write under ``corral:`` in their configuration: arguments of `Cluster` and of
    `WorkerGroup`, and settings (``polling_interval``, ``command_timeout``, ``commands_per_minute``). Configuration and
    program override them. In `account`, `queue`, `log_directory` and `shared_directory`, ``$NAME`` is a variable of the
    user's; where it is not set, the default counts as not given.
`required`
    arguments that nobody can guess (an account), each with a sentence that says where its value is found.
`groups`
    ready-made arguments of a `WorkerGroup`, by name: ``Cluster(groups=["perlmutter.gpu"])``.
`nodes`
    the kinds of nodes that its jobs get, each a :class:`NodeType`: then ``queue="auto"`` is one of theirs.

All of these are optional. Nearly all of that is data. :class:`DescribedSite` makes a plugin of a
:class:`SiteDescription`, be that written in Python or in YAML; what is no data, a subclass adds in `complete`, or
with hooks of its own. ::

    class Levante(DescribedSite):
        description = SiteDescription(
            facts=SiteFacts(title="DKRZ Levante", hosts=("levante[0-9]*",), sources=("docs.dkrz.de",)),
            backend="slurm",
            required={"account": "the DKRZ portal lists your projects"},
            nodes=(
                NodeType(name="shared", queue="shared", cores=128, memory="240GB", max_walltime="7d"),
                NodeType(name="compute", queue="compute", cores=128, memory="240GB", max_walltime="8h", whole=True),
            ),
        )
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from attrs import evolve, field, frozen

from corral.errors import InvalidRequest, counted, did_you_mean
from corral.plugin.hookspecs import hookimpl
from corral.plugin.site_directives import names_of, with_directives
from corral.plugin.values import Job
from corral.text.durations import in_words, seconds_in
from corral.text.sizes import bytes_in, size_in_words

#: Less than this (bytes) is the backend's: it has rounded up what was asked for, in units of its own, and all of a
#: node's memory must not be too much for the node.
ROUNDING = 2**30


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"{values!r} is one text, where a list of texts is meant")
    return tuple(values)


def _seconds(value: Any) -> int | None:
    return None if value is None else int(seconds_in(value, bare_text=False))


def _bytes(value: Any) -> int | None:
    return None if value is None else bytes_in(value)


def _mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(values)


def _names(values: Iterable[str]) -> frozenset[str]:
    return frozenset(_texts(values))


@frozen(kw_only=True)
class SiteFacts:
    """The attribute `facts` of a site's class: what is known of it without making one."""

    #: The site's own name: ``"NERSC Perlmutter"``.
    title: str
    #: Shell patterns of host names, login and compute nodes alike, as the host knows itself or in full.
    hosts: tuple[str, ...] = field(default=(), converter=_texts)
    #: Variables that tell the site on all of its hosts, with a pattern for the value: ``{"NERSC_HOST": "perlmutter"}``.
    environment: Mapping[str, str] = field(factory=dict, converter=_mapping)
    #: Where the facts were read, and when (``2026-11-29``).
    sources: tuple[str, ...] = field(default=(), converter=_texts)
    checked: str = field(default="", converter=str)
    #: True: the centre has tried this on the machine itself; False: it was put together from what is published.
    is_tried: bool = False

    def evidence(self, host_names: Iterable[str], environ: Mapping[str, str]) -> str:
        """What says that this host is the site's, in words; empty if nothing does.

        One variable suffices, or one host name: compute nodes have other names than login nodes, and a cron job has
        few variables.
        """
        for name, pattern in self.environment.items():
            if (value := environ.get(name)) and fnmatch.fnmatchcase(value, pattern):
                return f"{name}={value}"
        for host in host_names:
            for pattern in self.hosts:
                if fnmatch.fnmatchcase(host.lower(), pattern.lower()):
                    return f"the host's name {host} is like {pattern}"
        return ""


@frozen(kw_only=True)
class Refusal:
    """Why a kind of nodes does not take a job."""

    #: The argument that asks for too much.
    argument: str
    #: How much of it these nodes take: the most that any has is what a user can ask for.
    most: int
    problem: str


@frozen(kw_only=True)
class NodeType:
    """One kind of nodes as a site's jobs get it; everything counted is per node."""

    #: What users may write as queue=, too.
    name: str
    #: The queue (partition) to submit to; None: `directives` choose the nodes (a QOS, say).
    queue: str | None = None
    #: The most that a job may have of a node. Bytes, or a text such as ``"256GB"``.
    cores: int
    memory: int | None = field(default=None, converter=_bytes)
    gpus: int = 0
    #: Seconds, or a text such as ``"12h"``.
    max_walltime: int | None = field(default=None, converter=_seconds)
    min_nodes: int = 1
    max_nodes: int | None = None
    #: A job has nodes for itself and is charged for all that they have, whatever it asks for: so it asks for all.
    whole: bool = False
    #: Chosen only by name: queues for debugging, and for people who wait at a prompt.
    named_only: bool = False
    #: Added to jobs on these nodes, as in `Job.extra_directives`.
    directives: tuple[str, ...] = field(default=(), converter=_texts)
    #: Names of directives that jobs on them must not have, as in `Job.skip`.
    skip: frozenset[str] = field(default=frozenset(), converter=_names)

    def why_not(self, job: Job) -> InvalidRequest | None:
        """Why these nodes do not take such a job; None if they do."""
        if (refusal := self.refusal(job)) is None:
            return None
        return InvalidRequest(refusal.argument, refusal.problem)

    def refusal(self, job: Job) -> Refusal | None:
        """The same with how much they do take."""
        asked = job.resources

        def at_most(argument: str, most: int, words: str) -> Refusal:
            return Refusal(argument=argument, most=most, problem=f"{self.name} has at most {words} a node")

        if asked.gpus and not self.gpus:
            return Refusal(argument="gpus", most=0, problem=f"{self.name} has no GPUs")
        if asked.gpus > self.gpus:
            return at_most("gpus", self.gpus, counted(self.gpus, "GPU"))
        if asked.cores > self.cores:
            return at_most("cores", self.cores, counted(self.cores, "core"))
        if self.memory is not None and (asked.memory or 0) - self.memory >= ROUNDING:
            return at_most("memory", self.memory, size_in_words(self.memory))
        if self.max_walltime is not None and (job.walltime or 0) > self.max_walltime:
            problem = f"{self.name} takes jobs of at most {in_words(self.max_walltime)}"
            return Refusal(argument="walltime", most=self.max_walltime, problem=problem)
        if asked.nodes < self.min_nodes or (self.max_nodes is not None and asked.nodes > self.max_nodes):
            words = [f"at least {self.min_nodes}"] if self.min_nodes > 1 else []
            words += [f"at most {self.max_nodes}"] if self.max_nodes is not None else []
            problem = f"{self.name} takes jobs of {' and '.join(words)} node{'' if self.max_nodes == 1 else 's'}"
            return Refusal(argument="nodes", most=self.max_nodes or 0, problem=problem)
        return None


def _kinds(values: Iterable[NodeType]) -> tuple[NodeType, ...]:
    return tuple(values)


@frozen(kw_only=True)
class SiteOption:
    """What a site asks of its users beyond corral's own arguments: ``site_options={"storage": "gdata/xy"}``."""

    help: str
    required: bool = False
    default: str | None = None
    #: A regular expression for the whole value.
    pattern: str = ""
    #: The only values, if they can be listed.
    choices: tuple[str, ...] = field(default=(), converter=_texts)
    #: Added to every job if the option is given, with the value for ``{value}``.
    directives: tuple[str, ...] = field(default=(), converter=_texts)


@frozen(kw_only=True)
class SiteDescription:
    """A site, as data."""

    facts: SiteFacts
    backend: str
    backend_options: Mapping[str, Any] = field(factory=dict, converter=_mapping)
    defaults: Mapping[str, Any] = field(factory=dict, converter=_mapping)
    required: Mapping[str, str] = field(factory=dict, converter=_mapping)
    options: Mapping[str, SiteOption] = field(factory=dict, converter=_mapping)
    groups: Mapping[str, Mapping[str, Any]] = field(factory=dict, converter=_mapping)
    #: In the order in which they are tried: the first that takes a job gets it.
    nodes: tuple[NodeType, ...] = field(default=(), converter=_kinds)
    #: Added to every job, as in `Job.extra_directives`, unless the user has written the same one, or skips it.
    directives: tuple[str, ...] = field(default=(), converter=_texts)
    #: Left out of every job, as in `Job.skip`.
    skip: frozenset[str] = field(default=frozenset(), converter=_names)
    #: Variables of every job, as in `Job.environment`; the user's own come first.
    environment: Mapping[str, str] = field(factory=dict, converter=_mapping)
    #: What users should know before their first cluster, a sentence each.
    advice: tuple[str, ...] = field(default=(), converter=_texts)


class DescribedSite:
    """A site plugin made of a description; a subclass says the description, and what is no data.

    Parameters
    ----------
    options
        Those that the description has, by name.

    Raises
    ------
    InvalidRequest
        There is no such option, one is missing, or has a value that it does not take.
    """

    description: ClassVar[SiteDescription]
    #: Of the class, so that they are read without making one.
    facts: ClassVar[SiteFacts]
    backend: ClassVar[str]

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "description" in vars(cls):
            for name in ("facts", "backend"):
                if name not in vars(cls):
                    setattr(cls, name, getattr(cls.description, name))

    def __init__(self, **options: Any) -> None:
        known = self.description.options
        for name in options:
            if name not in known:
                offer = f"Options: {', '.join(known) or 'none'}.{did_you_mean(name, known)}"
                self._refuse(f"has no option {name!r}. {offer}")
        given = {name: options.get(name, option.default) for name, option in known.items()}
        self.options = {name: str(value) for name, value in given.items() if value is not None}
        for name, option in known.items():
            self._check(name, option)

    def _check(self, name: str, option: SiteOption) -> None:
        value = self.options.get(name)
        if value is None:
            if option.required:
                self._refuse(f"needs the option {name!r}: {option.help}")
        elif option.choices and value not in option.choices:
            self._refuse(f"has no {name} {value!r}: it is one of {', '.join(option.choices)}")
        elif not value.isprintable() or not re.fullmatch(option.pattern or ".+", value):
            self._refuse(f"does not take {value!r} as its option {name!r}: {option.help}")

    def _refuse(self, problem: str) -> None:
        raise InvalidRequest("site_options", f"{self.facts.title} {problem}")

    @property
    def backend_options(self) -> Mapping[str, Any]:
        return self.description.backend_options

    @property
    def defaults(self) -> Mapping[str, Any]:
        return self.description.defaults

    @property
    def required(self) -> Mapping[str, str]:
        return self.description.required

    @property
    def nodes(self) -> Sequence[NodeType]:
        return self.description.nodes

    @property
    def groups(self) -> Mapping[str, Mapping[str, Any]]:
        return self.description.groups

    # --- what happens to a job ----------------------------------------------------------------------------------

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Generator[None, Job, Job]:
        return self.complete((yield))

    def complete(self, job: Job) -> Job:
        """A request as this site wants it; pure. A subclass extends it: ``job = super().complete(job)``.

        Raises
        ------
        InvalidRequest
            The site has no nodes for it.
        """
        skip, directives = self.description.skip, [*self.description.directives]
        for name, option in self.description.options.items():
            if name in self.options:
                directives += [each.replace("{value}", self.options[name]) for each in option.directives]
        if node := self.choose_node(job):
            directives += node.directives
            skip |= node.skip
            job = on_node(job, node)
        wanted = [each for each in directives if not job.skip & names_of(each)]
        return evolve(
            job,
            extra_directives=with_directives(job.extra_directives, wanted),
            skip=job.skip | skip,
            environment={**self.description.environment, **job.environment},
        )

    def choose_node(self, job: Job) -> NodeType | None:
        """The first kind of nodes that takes a job; None if it names a queue that the description does not know.

        Jobs without GPUs go to nodes with GPUs only if they name them, or if there are no others.

        Raises
        ------
        InvalidRequest
            None takes it; says why, of the one that the job names, or of the one that comes nearest.
        """
        candidates = candidates_for(job, self.nodes)
        if not candidates:
            if job.queue is None and self.nodes:
                kind = "with" if job.resources.gpus else "without"
                names = ", ".join(dict.fromkeys(node.name for node in self.nodes))
                problem = (
                    f"{self.facts.title} has no nodes {kind} GPUs for such a job. Name a queue= if you mean it: {names}"
                )
                raise InvalidRequest("gpus", problem)
            return None
        refusals: list[Refusal] = []
        for node in candidates:
            if (refusal := node.refusal(job)) is None:
                return node
            refusals.append(refusal)
        # Of what is refused for the same reason, the nodes that have most tell how much can be asked for.
        nearest: dict[str, Refusal] = {}
        for refusal in refusals:
            known = nearest.setdefault(refusal.argument, refusal)
            if refusal.most > known.most:
                nearest[refusal.argument] = refusal
        *_, last = nearest
        said = "; ".join(refusal.problem for refusal in nearest.values())
        raise InvalidRequest(last, f"{self.facts.title} has no node for this job: {said}")


def candidates_for(job: Job, nodes: Iterable[NodeType]) -> list[NodeType]:
    """Those that a job means, be they large enough or not: of the queue that it names, or not to be named."""
    nodes = list(nodes)
    alike = [node for node in nodes if bool(node.gpus) == bool(job.resources.gpus)]
    if job.queue is not None:
        named = [node for node in nodes if job.queue in (node.queue, node.name)]
        return [node for node in named if node in alike] or named
    if not alike and not job.resources.gpus:
        alike = nodes  # a machine on which every node has some
    return [node for node in alike if not node.named_only]


def nodes_for(job: Job, nodes: Iterable[NodeType]) -> list[NodeType]:
    """Those that take a job, in the site's order."""
    return [node for node in candidates_for(job, nodes) if node.refusal(job) is None]


def on_node(job: Job, node: NodeType) -> Job:
    """A job that goes to such nodes: in its queue, and with all that a whole node has."""
    has = job.resources
    if node.whole:
        # What was asked for may be more than the node's by what the backend has rounded up.
        memory = has.memory if node.memory is None else max(node.memory, has.memory or 0)
        has = evolve(has, cores=node.cores, memory=memory, gpus=node.gpus)
    return evolve(job, queue=node.queue, resources=has)
