"""Finding plugins: what is installed, and the one backend and the one site that a cluster uses.

A plugin is an entry point. Its group says its kind and the version of the contract that it speaks
(``corral.backends.v1``, ``corral.sites.v1``), so both are known without importing anything. It names a factory,
which is called with the plugin's options if somebody asked for that plugin. Aliases are more entry points of
the same distribution with the same value. ::

    [project.entry-points."corral.backends.v1"]
    pbs = "corral_pbs:PBS"
    openpbs = "corral_pbs:PBS"

What a backend's class, or whatever else the entry point names, says in its attribute `facts` is read without making
one: :class:`corral.plugin.BackendFacts`. Facts are read of every backend that is installed, before the first command
runs: what an enclosing job says of itself must reach no other, whosever it is. A launcher, which submits none, reads
those of its own backend alone.

A site may carry attributes besides its hooks, all of them optional: see :mod:`corral.plugin.sites`.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import importlib_metadata
import pluggy
from attrs import evolve, field, frozen

from corral._version import __version__
from corral.errors import CorralError, InvalidRequest, PluginError, UnknownBackend
from corral.host.limits import is_exhausted
from corral.plugin.facts import BackendFacts
from corral.plugin.hookspecs import CONTRACT
from corral.plugin.options import DeclaredOption, as_declared, declared, takes_any
from corral.plugin.user_plugins import named
from corral.plugin.validation import NamedPlugin, assemble
from corral.plugin.well_known import no_such
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from corral.plugin.site_yaml import WrittenSite

logger = logger_of("corral.plugin.discovery")


# --- what is installed ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Installed:
    """One entry point of one distribution; not imported. Or a site in a file, which is its distribution then."""

    name: str
    kind: Literal["backend", "site"]
    #: The version of the contract that it speaks.
    contract: str
    distribution: str
    version: str
    #: The factory, as the entry point names it: ``corral_slurm:Slurm``.
    value: str
    _entry_point: importlib_metadata.EntryPoint | WrittenSite = field(repr=False, eq=False)

    @property
    def origin(self) -> str:
        """Where it comes from: a distribution and its version, or a file."""
        return f"{self.distribution} {self.version}".rstrip()

    def make(self, options: Mapping[str, Any]) -> object:
        """Import the plugin and call its factory.

        Raises
        ------
        InvalidRequest
            The plugin has no such option, needs one that is missing, or one has a value that it does not take.
        PluginError
            It cannot be imported, or its factory failed.
        """
        factory = self.factory()
        facts = getattr(factory, "facts", None)
        reasons = facts.no_options if isinstance(facts, BackendFacts) else {}
        try:
            options = as_declared(self.options, options, takes_any=takes_any(factory), reasons=reasons)
        except ValueError as error:
            raise InvalidRequest(f"{self.kind}_options", f"{self.kind} {self.name!r} {error}") from None
        try:
            return factory(**options)
        except CorralError:
            raise
        except (Exception, SystemExit) as error:
            given = ", ".join(f"{name}={value!r}" for name, value in options.items()) or "no options"
            problem = f"{self.value}, called with {given}, raised {said(error)}. Check the options"
            self._refuse(problem, cause=error)

    @property
    def options(self) -> list[DeclaredOption]:
        """What its factory takes, and what is said of it.

        Raises
        ------
        PluginError
            It cannot be imported, or an annotation cannot be read.
        """
        try:
            return declared(self.factory())
        except TypeError as error:
            self._refuse(str(error), cause=error)

    @property
    def facts(self) -> BackendFacts:
        """What it says of its batch system.

        Raises
        ------
        PluginError
            It cannot be imported, or says it in no way that is known.
        """
        factory = self.factory()
        facts = getattr(factory, "facts", None) or BackendFacts()
        if not isinstance(facts, BackendFacts):
            kind = type(facts).__name__
            self._refuse(f"{self.value!r} has facts that are a {kind}. Write facts = BackendFacts(title=…)")
        # Of those that say nothing: how their variables are likely to begin.
        return (
            facts if facts.title else evolve(facts, title=self.name, server=(f"{self.name.upper()}_*", *facts.server))
        )

    def factory(self) -> Callable[..., object]:
        """Import what the entry point names.

        Raises
        ------
        PluginError
        """
        try:
            factory: object = self._entry_point.load()
        except (Exception, SystemExit) as error:
            # One that nobody chose must not end the program that asks who is there.
            problem = f"{self.value!r} cannot be imported: {said(error)}. Reinstall {self.distribution}"
            self._refuse(problem, cause=error)
        if not callable(factory):
            kind = type(factory).__name__
            self._refuse(f"{self.value!r} is a {kind}. Name a class, or a function that takes the plugin's options")
        return factory

    def _refuse(self, problem: str, *, cause: BaseException | None = None) -> NoReturn:
        raise PluginError(self.name, problem, distribution=self.distribution) from cause


def installed() -> list[Installed]:
    """Every backend and site plugin that is installed, sorted by kind and name; none is imported."""
    found: dict[str, list[Installed]] = {}
    for distribution in importlib_metadata.distributions():
        try:
            # One small file of each distribution. Asking for names, as `entry_points()` does to tell duplicates
            # apart, would read the whole METADATA of all of them.
            if "corral." not in (distribution.read_text("entry_points.txt") or ""):
                continue
            # Each look at it parses it again.
            metadata = distribution.metadata
            plugins = [
                Installed(
                    name=entry_point.name,
                    kind="backend" if group["kind"] == "backend" else "site",
                    contract=group["contract"],
                    distribution=metadata["Name"],
                    version=metadata["Version"],
                    value=entry_point.value,
                    entry_point=entry_point,
                )
                for entry_point in distribution.entry_points
                if (group := _GROUP.fullmatch(entry_point.group))
            ]
            # The first on the path wins, as for imports: an editable install may be listed once more.
            found.setdefault(_normalised(metadata["Name"]), plugins)
        except Exception as error:
            if is_exhausted(error):
                # Too few would be known, and remembered, long after there are descriptors again.
                raise
            logger.debug("the metadata of a distribution cannot be read, it is left out: %s", said(error))
    every = [plugin for plugins in found.values() for plugin in plugins]
    return sorted(every, key=lambda plugin: (plugin.kind, plugin.name, plugin.contract, plugin.distribution))


_GROUP = re.compile(r"corral\.(?P<kind>backend|site)s\.(?P<contract>\w+)")


def usable(kind: Literal["backend", "site"], plugins: Iterable[Installed] | None = None) -> list[Installed]:
    """Those that speak this corral's contract, each once, under its plainest name: `pbs`, not `openpbs` too."""
    plugins = installed() if plugins is None else plugins
    plugins = _with_written(plugins) if kind == "site" else plugins
    names: dict[tuple[str, str], list[Installed]] = {}
    for plugin in plugins:
        if plugin.kind == kind and plugin.contract == CONTRACT:
            names.setdefault((plugin.distribution, plugin.value), []).append(plugin)
    return sorted((min(aliases, key=_plainness) for aliases in names.values()), key=lambda plugin: plugin.name)


def _with_written(plugins: Iterable[Installed]) -> list[Installed]:
    # Reads Dask's configuration, and a launcher has to do before that.
    from corral.plugin.written_sites import with_written

    return with_written(plugins)


def _plainness(plugin: Installed) -> tuple[bool, int]:
    return (not plugin.distribution.endswith(f"-{plugin.name}"), len(plugin.name))


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def said(error: BaseException) -> str:
    """What a plugin's error says, and which it is."""
    return f"{type(error).__name__}: {error}"


# --- facts ------------------------------------------------------------------------------------------------------


@functools.cache
def all_facts() -> Mapping[str, BackendFacts]:
    """What each usable backend says of its batch system, by name, those first whose jobs are inside of others'.

    Read once a process, and again when a backend is loaded that was not there; what cannot be read is left out.
    """
    found = {}
    for plugin in usable("backend"):
        try:
            found[plugin.name] = plugin.facts
        except PluginError as error:
            logger.debug("%s", error)
    return dict(sorted(found.items(), key=lambda item: not item[1].is_inner))


def facts_of(backend: str) -> BackendFacts:
    """Those of one backend, by its name or an alias.

    Raises
    ------
    UnknownBackend, PluginError
    """
    return all_facts().get(backend) or _the_one(backend, "backend", installed()).facts


def everywhere() -> str:
    """The backend to choose where there is no trace of a batch system: it is wherever corral is.

    Raises
    ------
    UnknownBackend
    """
    names = [name for name, facts in all_facts().items() if facts.is_everywhere]
    if not names:
        raise UnknownBackend("corral's own entry points are not installed. Install it again with pip")
    return names[0]


@functools.cache
def enclosing() -> re.Pattern[str]:
    """What is told of itself in any job, corral's or any batch system's: matches such variables."""
    return told_in_jobs(all_facts().values())


def told_in_jobs(every: Iterable[BackendFacts]) -> re.Pattern[str]:
    """The same for jobs of these batch systems."""
    patterns = ["CORRAL_*", *(pattern for facts in every for pattern in facts.enclosing)]
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


# --- choosing ---------------------------------------------------------------------------------------------------


def load(
    backend: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    site: str | None = None,
    site_options: Mapping[str, Any] | None = None,
    plugins: Sequence[object] = (),
    among: Sequence[Installed] | None = None,
) -> pluggy.PluginManager:
    """Build the manager of one cluster: the core's defaults, one backend, the site, the user's own plugins.

    Parameters
    ----------
    backend
        Its name or an alias; None takes the site's.
    options
        For the backend's factory; they win over the site's `backend_options`.
    plugins
        Objects whose hooks wrap the backend's, or listen to `job_state_changed`; or paths of such: ``my_lab:Quirks``.
    among
        What is installed, where that is known: looking reads a file of every distribution.

    Raises
    ------
    UnknownBackend, InvalidRequest
        There is no such backend, site or option.
    PluginError
        A plugin cannot be imported, or does not keep the contract.
    """
    available = installed() if among is None else among
    around = list(map(named, plugins))
    house: object = None
    if site is not None:
        chosen_site = _the_one(site, "site", available)
        house = chosen_site.make(site_options or {})
        around.insert(0, NamedPlugin(name=chosen_site.name, plugin=house, distribution=chosen_site.distribution))
    houses_own: str | None = getattr(house, "backend", None)
    if (name := backend or houses_own) is None:
        names = [plugin.name for plugin in usable("backend", available)]
        raise UnknownBackend(f"no backend was named. Installed: {', '.join(names) or 'none'}", installed=names)
    chosen = _the_one(name, "backend", available)
    aliases = [plugin.name for plugin in available if plugin.value == chosen.value]
    if all_facts.cache_info().currsize and not all_facts().keys() & aliases:
        # Installed since they were read.
        all_facts.cache_clear()
        enclosing.cache_clear()
    defaults = getattr(house, "backend_options", {}) if houses_own in aliases else {}
    made = chosen.make({**defaults, **(options or {})})
    return assemble(NamedPlugin(name=chosen.name, plugin=made, distribution=chosen.distribution), around)


def are_one(backend: str, other: str) -> bool:
    """True if both names are of one backend.

    Raises
    ------
    UnknownBackend, PluginError
    """
    if backend == other:
        return True
    available = installed()
    mine, others = (_the_one(name, "backend", available) for name in (backend, other))
    return (mine.distribution, mine.value) == (others.distribution, others.value)


def make_site(name: str, options: Mapping[str, Any] | None = None) -> object:
    """The site plugin of that name, for its attributes.

    Raises
    ------
    InvalidRequest, PluginError
    """
    return the_site(name).make(options or {})


def the_backend(name: str) -> Installed:
    """The backend plugin of that name or alias; not imported.

    Raises
    ------
    UnknownBackend, PluginError
    """
    return _the_one(name, "backend", installed())


def the_site(name: str) -> Installed:
    """The site plugin of that name or alias; not imported.

    Raises
    ------
    InvalidRequest, PluginError
    """
    return _the_one(name, "site", installed())


def _the_one(name: str, kind: Literal["backend", "site"], available: Sequence[Installed]) -> Installed:
    """The plugin of that name, or an error that says why there is none."""
    available = _with_written(available) if kind == "site" else available
    namesakes = [plugin for plugin in available if plugin.kind == kind and plugin.name == name]
    spoken = {plugin.distribution: plugin for plugin in namesakes if plugin.contract == CONTRACT}
    match list(spoken.values()):
        case [plugin]:
            return plugin
        case [_, _, *_]:
            rivals = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in spoken.values())
            problem = f"several distributions have a {kind} of this name: {rivals}. Uninstall all but one"
            raise PluginError(name, problem, distribution=", ".join(spoken))
    if namesakes:
        raise other_contract(namesakes[0])
    known = [plugin.name for plugin in available if plugin.kind == kind and plugin.contract == CONTRACT]
    raise no_such(name, kind, known, [plugin.name for plugin in usable(kind, available)])


def other_contract(plugin: Installed) -> PluginError:
    """What there is to say of a plugin that was written for another corral."""
    theirs, ours = plugin.contract.removeprefix("v"), CONTRACT.removeprefix("v")
    is_newer = theirs.isdigit() and int(theirs) > int(ours)
    return PluginError(
        plugin.name,
        f"version {plugin.version} speaks contract {plugin.contract}, and corral {__version__} speaks {CONTRACT}. "
        f"Upgrade {'corral' if is_newer else plugin.distribution}",
        distribution=plugin.distribution,
    )
