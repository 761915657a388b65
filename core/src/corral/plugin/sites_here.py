"""Which of the installed sites this host belongs to. Imports all of them, and makes none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from corral.errors import InvalidRequest, PluginError
from corral.host.names import host_names
from corral.plugin.discovery import Installed, installed, other_contract, usable
from corral.plugin.hookspecs import CONTRACT
from corral.plugin.sites import SiteFacts
from corral.text.logs import logger_of

logger = logger_of()


@frozen(kw_only=True)
class SiteFinding:
    """What became of asking one site whether this host is its own."""

    plugin: Installed
    #: None: it says none, and is used only if it is named.
    facts: SiteFacts | None = None
    #: The backend that its users need not name; None: it has several, or says that only when it is made.
    backend: str | None = None
    #: What says that this host belongs to it; empty: nothing does.
    evidence: str = ""
    #: Why it cannot be asked; empty: it can.
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.plugin.name!r} ({self.plugin.origin}: {self.evidence})"


def survey_sites(
    names: Iterable[str] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    among: Sequence[Installed] | None = None,
) -> list[SiteFinding]:
    """Ask every installed site; those that cannot be asked are told, too, with the reason.

    Parameters
    ----------
    names, environ
        Of this host and process, unless others are given.
    among
        What is installed, where that is known.
    """
    names = host_names() if names is None else list(names)
    environ = os.environ if environ is None else environ
    available = installed() if among is None else among
    strangers = [plugin for plugin in available if plugin.kind == "site" and plugin.contract != CONTRACT]
    return [
        *(_ask(plugin, names, environ) for plugin in usable("site", available)),
        *(SiteFinding(plugin=plugin, problem=other_contract(plugin).problem) for plugin in strangers),
    ]


def _ask(plugin: Installed, names: Iterable[str], environ: Mapping[str, str]) -> SiteFinding:
    try:
        factory = plugin.factory()
    except PluginError as error:
        return SiteFinding(plugin=plugin, problem=error.problem)
    facts, backend = getattr(factory, "facts", None), getattr(factory, "backend", None)
    finding = SiteFinding(plugin=plugin, backend=backend if isinstance(backend, str) else None)
    if facts is None:
        return finding
    if not isinstance(facts, SiteFacts):
        problem = f"{plugin.value!r} has facts that are a {type(facts).__name__}. Write facts = SiteFacts(title=…)"
        return evolve(finding, problem=problem)
    return evolve(finding, facts=facts, evidence=facts.evidence(names, environ))


def site_here(findings: Sequence[SiteFinding] | None = None) -> SiteFinding | None:
    """The site that this host belongs to; None if that is nobody's.

    One that cannot be asked is told once, and stops nobody: most often, the host is not its own.

    Parameters
    ----------
    findings
        Of `survey_sites`, by who tells of them.

    Raises
    ------
    InvalidRequest
        It belongs to several.
    """
    if findings is None:
        findings = survey_sites()
        for each in findings:
            if each.problem:
                _tell(each)
    match [each for each in findings if each.evidence]:
        case []:
            return None
        case [one]:
            return one
        case several:
            names = " and ".join(map(str, several))
            raise InvalidRequest(
                "site",
                f"this host belongs to several sites: {names}. Say which with site={several[0].plugin.name!r}, or use "
                "none with site=None",
            )


_told: set[tuple[str, str]] = set()


def _tell(finding: SiteFinding) -> None:
    plugin = finding.plugin
    if (key := (plugin.distribution, plugin.name)) not in _told:
        _told.add(key)
        logger.warning(
            "the site %r (%s) cannot be asked whether this host is its own, and is not used: %s",
            plugin.name, plugin.origin, finding.problem,
        )  # fmt: skip
