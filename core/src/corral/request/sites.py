"""The site of a cluster: which one, and what its users need not say.

A cluster uses the site that is named, in the program or the configuration, or else the one that this host belongs to.
That one is for its own batch system: whoever names another one here does not mean it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, frozen

from corral.errors import CorralError, InvalidRequest, PluginError, counted, did_you_mean
from corral.plugin import discovery
from corral.plugin.sites import NodeType, SiteFacts
from corral.plugin.sites_here import SiteFinding, site_here, survey_sites
from corral.plugin.values import Resources
from corral.plugin.well_known import SITES
from corral.request import settings, written_sites
from corral.request.arguments import GROUP_ARGUMENTS, SITE_DEFAULTS
from corral.request.quantities import plain_options
from corral.request.worker_group import WorkerGroup
from corral.text.logs import logger_of
from corral.text.sizes import size_in_words

if TYPE_CHECKING:
    from corral.ssh.connection import Connection

logger = logger_of()

T = TypeVar("T")

#: What is said instead of a site's name: the one that this host belongs to, or none.
AUTO, NONE = "auto", "none"


@frozen(kw_only=True)
class Site:
    """The site of a cluster, as far as the arguments of a cluster are concerned."""

    name: str
    #: What it calls itself.
    title: str
    #: Why it is this one.
    because: str
    #: False: nobody has named it, this host belongs to it.
    is_named: bool = True
    #: As they were given: they travel to other processes.
    options: Mapping[str, Any] = field(factory=dict)
    #: None: it has several batch systems.
    backend: str | None = None
    #: Its `defaults` as they are here: what depends on a variable that is not set is left out.
    values: Mapping[str, Any] = field(factory=dict)
    required: Mapping[str, str] = field(factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    nodes: Sequence[NodeType] = ()

    @classmethod
    def made(
        cls, name: str, options: Mapping[str, Any], *, there: Mapping[str, str] | None = None, **more: Any
    ) -> Site:
        """What the plugin of that name says.

        Parameters
        ----------
        there
            Variables of the host to which commands are carried; None: they run here.

        Raises
        ------
        InvalidRequest, PluginError
        """
        written_sites.check(name)
        plugin = discovery.make_site(name, options)
        facts = getattr(plugin, "facts", None)
        return cls(
            name=name,
            title=facts.title if isinstance(facts, SiteFacts) else name,
            options=options,
            backend=getattr(plugin, "backend", None),
            values=defaults_here(name, getattr(plugin, "defaults", {}), there),
            required=_plain_names(getattr(plugin, "required", {})),
            groups=getattr(plugin, "groups", {}),
            nodes=getattr(plugin, "nodes", ()),
            **more,
        )

    def check_required(self, group: WorkerGroup, arguments: Mapping[str, Any], name: str = "") -> None:
        """Refuse a group that lacks what nobody but the user knows.

        Raises
        ------
        InvalidRequest
        """
        whose = f" (group {name!r})" if name else ""
        for argument, sentence in self.required.items():
            value = getattr(group, argument) if argument in group.argument_names() else arguments.get(argument)
            if value is None or value in ("", (), [], {}):
                raise InvalidRequest(argument, f"{self.title} needs one: {sentence}{whose}")

    def rounding(self, asked: Resources, granted: Resources) -> str:
        """What a job gets beyond what was asked for, and what that costs, in words; empty if it is no more."""
        if granted.cores <= asked.cores and granted.gpus <= asked.gpus:
            return ""
        cost = f"{counted(granted.nodes * granted.cores, 'core-hour')}"
        if granted.gpus:
            cost += f" and {counted(granted.nodes * granted.gpus, 'GPU-hour')}"
        each = " on each of its nodes" if granted.nodes > 1 else ""
        return (
            f"at {self.title} a job has {_in_words(granted)}{each}, where {_in_words(asked)} was asked for: its nodes "
            f"are its own, and an hour of it costs {cost}"
        )

    def located(self, error: InvalidRequest) -> InvalidRequest:
        """The same refusal, saying that the value is the site's, if it is and nobody has said whose it is."""
        if error.argument not in self.values or "(corral." in error.problem or "(site " in error.problem:
            return error
        where = written_sites.place_of_default(self.name, error.argument) or f"site {self.name!r}"
        return InvalidRequest(error.argument, f"{error.problem} ({where})")


def located(error: InvalidRequest, backend: str, site: Site | None) -> InvalidRequest:
    """The same refusal, saying where the value is that nobody has given: in the configuration, or the site's."""
    found = settings.located(error, backend)
    return found if site is None else site.located(found)


def _in_words(resources: Resources) -> str:
    words = [counted(resources.cores, "core")]
    words += [counted(resources.gpus, "GPU")] if resources.gpus else []
    words += [size_in_words(resources.memory)] if resources.memory else []
    return ", ".join(words)


def said(value: object) -> str:
    """The argument `site` in a word: a name, "auto" or "none".

    Raises
    ------
    InvalidRequest
    """
    if value is None or value is False:
        return NONE
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(
            "site", f"{value!r} is not the name of a site; {AUTO!r} is the one of this host, None none"
        )
    return value


def site_of(
    given: Mapping[str, Any], *, values: Mapping[str, Any] | None = None, via: Connection | None = None
) -> Site | None:
    """The site of a cluster with these arguments; None: it has none.

    Parameters
    ----------
    given
        Arguments of `Cluster` without those that were not given; "none" for no site.
    values
        The site's defaults, where another process has read them.
    via
        The way to the host whose site it is; None: this host's.

    Raises
    ------
    InvalidRequest, PluginError
    """
    name = given.get("site", AUTO)
    if name == AUTO:
        name = said(settings.value("site", None, default=AUTO))
    options = plain_options("site_options", given.get("site_options", settings.value("site_options", None)) or {})
    if name == NONE:
        _refuse_options(given, "site= says that none is used")
        return None
    there = None if via is None else via.login
    if name != AUTO:
        site = Site.made(name, options, there=there, because="it was named")
        return site if values is None else evolve(site, values=values)
    if (finding := site_here() if via is None else site_here(survey_sites(via.names, via.login))) is None:
        _refuse_options(given, "none that is installed is this host's. `corral sites` lists them; name one with site=")
        return None
    if other := _other_backend(given, finding):
        logger.info("site %s is not used: backend %r was named, which is not its own", finding, other)
        return None
    logger.info("site %s is used; site=None turns it off", finding)
    try:
        return Site.made(finding.plugin.name, options, there=there, because=finding.evidence, is_named=False)
    except InvalidRequest as error:
        whose = f" (site {finding}; site=None turns it off)"
        raise InvalidRequest(error.argument, error.problem + whose) from None


def chosen(findings: Sequence[SiteFinding]) -> tuple[str | None, str] | None:
    """The site of a cluster of which nothing is said in the program, and why; None: this host has none.

    Raises
    ------
    InvalidRequest
        It has several.
    """
    name = said(settings.value("site", None, default=AUTO))
    if name != AUTO:
        where = settings.origin("corral", "site")
        return None if name == NONE else name, f"the configuration says so{where}"
    if (finding := site_here(findings)) is None:
        return None
    if other := _other_backend({}, finding):
        return None, f"the configured backend {other!r} is not that of {finding}"
    return finding.plugin.name, finding.evidence


def site_and_settings(
    name: str | None, options: Mapping[str, Any], *, is_needed: bool
) -> tuple[dict[str, Any], settings.Settings]:
    """Arguments of `discovery.load`, and settings, for a process that looks after a cluster of that site.

    Parameters
    ----------
    is_needed
        False: where the site is not there, or cannot be used any more, it is done without.

    Raises
    ------
    InvalidRequest, PluginError
    """
    if name is None:
        return {}, settings.settings()
    try:
        site = Site.made(name, options, because="")
    except CorralError as error:
        if is_needed:
            raise
        logger.debug("site %r is done without: %s", name, error)
        return {}, settings.settings()
    return {"site": name, "site_options": options}, settings.settings(site.values)


def _refuse_options(given: Mapping[str, Any], why: str) -> None:
    # Those in the configuration are for the hosts of that site.
    if given.get("site_options"):
        raise InvalidRequest("site_options", f"are for a site, and {why}")


def _other_backend(given: Mapping[str, Any], finding: SiteFinding) -> str | None:
    """The backend that was named, if it is not the one of the site that this host belongs to."""
    backend: str | None = given.get("backend", settings.value("backend", None))
    if backend is None or finding.backend is None or backend == finding.backend:
        return None
    try:
        return None if discovery.are_one(backend, finding.backend) else backend
    except CorralError:
        # Which of them is unknown is said where it is used.
        return backend


# --- groups -----------------------------------------------------------------------------------------------------


class ReadyMade(dict[str, Any]):
    """The arguments of a group that a site has ready, and what the program has said beside it."""

    def __init__(self, name: str, site: Site, beside: Mapping[str, Any]) -> None:
        super().__init__({**_ready_made(name, site), **beside})
        self.site, self.name = site.name, name.rpartition(".")[2]
        #: What the program has not said.
        self.own = self.keys() - beside.keys()

    def located(self, error: InvalidRequest) -> InvalidRequest:
        """The same refusal, saying that the value is the ready-made group's, if it is."""
        if error.argument not in self.own:
            return error
        return InvalidRequest(error.argument, f"{error.problem} (site {self.site!r}, group {self.name!r})")


def named_groups(
    asked: object, site: Site | None, given: Mapping[str, Any]
) -> dict[str, WorkerGroup | Mapping[str, Any]]:
    """What `groups` was given, by name, with ready-made ones of the site where only their names were said.

    What the program says beside them is more than what a site has ready for everybody.

    Raises
    ------
    InvalidRequest
    """
    if isinstance(asked, str):
        asked = [asked]
    if isinstance(asked, Sequence) and asked and all(isinstance(each, str) for each in asked):
        names = [each.rpartition(".")[2] for each in asked]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InvalidRequest("groups", f"{twice[0]!r} is there twice")
        asked = dict(zip(names, asked, strict=True))
    if not isinstance(asked, Mapping) or not asked:
        raise InvalidRequest("groups", f"{asked!r} is not a mapping of names to WorkerGroups, nor a list of a site's")
    beside = {name: value for name, value in given.items() if name in GROUP_ARGUMENTS}
    return {
        name: ReadyMade(group, _the_site_of(group, site), beside) if isinstance(group, str) else group
        for name, group in asked.items()
    }


def _the_site_of(name: str, site: Site | None) -> Site:
    """The site in use, if a group's name is one of its own: ``gpu``, or in full ``perlmutter.gpu``."""
    prefix = name.rpartition(".")[0]
    if site is None or prefix not in ("", site.name):
        use = "no site is in use" if site is None else f"the site in use is {site.name!r}"
        known = [plugin.name for plugin in discovery.usable("site")]
        if not prefix:
            cure = "Name one with site=, or write a WorkerGroup"
        elif prefix in known:
            cure = f"Choose it: site={prefix!r}"
        elif prefix in SITES:
            cure = f"Install {SITES[prefix]}"
        else:
            cure = f"Sites that are installed: {', '.join(known) or 'none'}.{did_you_mean(prefix, [*known, *SITES])}"
        raise InvalidRequest("groups", f"{name!r} is a site's, and {use}. {cure}")
    return site


def _ready_made(name: str, site: Site) -> Mapping[str, Any]:
    own = name.rpartition(".")[2]
    if own not in site.groups:
        listed = ", ".join(f"{site.name}.{each}" for each in site.groups) or "none"
        raise InvalidRequest(
            "groups", f"{site.title} has no group {own!r}. It has: {listed}.{did_you_mean(own, site.groups)}"
        )
    return _plain_names(site.groups[own])


def _plain_names(values: Mapping[str, T]) -> dict[str, T]:
    # Dashes and underscores mean the same, as in the configuration.
    return {str(name).replace("-", "_"): value for name, value in values.items()}


def defaults_here(site: str, defaults: Mapping[str, Any], there: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A site's defaults on this host, or with the variables of another one.

    Raises
    ------
    PluginError
        One of them is none.
    """
    found = {}
    for name, value in _plain_names(defaults).items():
        if name not in SITE_DEFAULTS:
            raise PluginError(site, f"its defaults have {name!r}, which is none.{did_you_mean(name, SITE_DEFAULTS)}")
        try:
            meant = settings.meant_here(name, value, there)
        except InvalidRequest as error:
            logger.debug("site %r: no default for %s", site, error)
            continue
        if meant is not None and meant != "":
            found[name] = meant
    return found
