"""``corral sites``: which sites are installed, which one this host belongs to, and what one says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve

from corral.cli import completing
from corral.cli.tables import say, say_json, show
from corral.errors import CorralError, InvalidRequest

if TYPE_CHECKING:
    from corral.plugin.sites import NodeType, SiteDescription
    from corral.plugin.sites_here import SiteFinding


@click.command()
@click.argument("name", required=False, shell_complete=completing.sites)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per installed site.")
def sites(name: str | None, as_json: bool) -> None:
    """List sites, and say which one this host belongs to.

    With NAME, what that site asks of its users, the nodes that it has, and its ready-made groups.
    """
    from corral.plugin.sites_here import survey_sites

    found = sorted(survey_sites(), key=lambda each: each.plugin.name)
    used, why = choice_in_words(found)
    found = list(map(_judged, found))
    if name is not None:
        found = [_named(name, found)]
    if as_json:
        for each in found:
            say_json({**_plain(each), "is_used": each.plugin.name == used, "why": why})
    elif name is not None:
        _tell(found[0], why if found[0].plugin.name == used else "")
    else:
        _list(found, used, why)


def _judged(finding: SiteFinding) -> SiteFinding:
    """With the mistakes of a site that is written in a file as its problem."""
    from corral.plugin.site_yaml import sentence_of
    from corral.request.written_sites import problems_of

    problems = problems_of(finding.plugin.name)
    return evolve(finding, problem=sentence_of(finding.plugin.name, problems)) if problems else finding


def _named(name: str, found: Sequence[SiteFinding]) -> SiteFinding:
    """The site of that name, or an alias."""
    from corral.plugin import discovery

    plugin = discovery.the_site(name)
    return next(each for each in found if each.plugin.value == plugin.value)


def choice_in_words(found: Sequence[SiteFinding], names: Sequence[str] | None = None) -> tuple[str | None, str]:
    """The site that a cluster has if nobody says another, and why it is this one, or none.

    Parameters
    ----------
    names
        Of the host that was asked about; None: of this one.
    """
    from corral.host.names import host_names
    from corral.request.sites import chosen

    try:
        choice = chosen(found)
    except InvalidRequest as error:
        return None, f"No site is used: {error.problem}"
    if choice is None:
        host = f"{'this' if names is None else 'that'} host ({', '.join(host_names() if names is None else names)})"
        return None, f"No site is used: none that is installed knows {host}. site= names one."
    name, because = choice
    if name is None:
        return None, f"No site is used: {because}."
    return name, f"{name} is used: {because}. site=None turns it off."


# --- all of them ------------------------------------------------------------------------------------------------


def _list(found: Sequence[SiteFinding], used: str | None, why: str) -> None:
    if not found:
        say("No site is installed. What a centre has published is in distributions such as corral-nersc.")
        return
    rows = [
        (
            f"{each.plugin.name}{'*' if each.plugin.name == used else ''}",
            each.facts.title if each.facts else "",
            each.plugin.origin,
            each.backend or "",
            "cannot be used" if each.problem else each.evidence or "no",
            _origin(each),
        )
        for each in found
    ]
    show(("site", "title", "plugin", "backend", "this host", "known from"), rows)
    for each in found:
        if each.problem:
            say(f"{each.plugin.name} ({each.plugin.distribution}): {each.problem}")
    say(f"{'* ' if used else ''}{why}")
    say("corral sites NAME says more of one.")


def _origin(finding: SiteFinding) -> str:
    if finding.facts is None:
        return ""
    what = "tried there" if finding.facts.is_tried else "publications, not tried there"
    return f"{what} ({finding.facts.checked})" if finding.facts.checked else what


# --- one of them ------------------------------------------------------------------------------------------------


def _description(finding: SiteFinding) -> SiteDescription | None:
    from corral.plugin.sites import SiteDescription

    try:
        description = getattr(finding.plugin.factory(), "description", None)
    except CorralError:
        return None
    return description if isinstance(description, SiteDescription) else None


def _said(finding: SiteFinding) -> dict[str, Any]:
    """What the site says, in plain values; of one that is no description, as far as it can be made without options."""
    from attrs import asdict

    names = ("defaults", "required", "groups", "nodes", "backend_options")
    description = _description(finding)
    source: object = description
    if description is None and not finding.problem:
        try:
            source = finding.plugin.make({})
        except CorralError:
            source = finding.plugin.factory()
    said: dict[str, Any] = {}
    for name in names:
        value = getattr(source, name, None)
        said[name] = value if isinstance(value, Mapping | Sequence) else {}
    said["nodes"] = [asdict(node) for node in said["nodes"]]
    said["options"] = {} if description is None else {name: asdict(each) for name, each in description.options.items()}
    said["advice"] = [] if description is None else list(description.advice)
    return said


def _plain(finding: SiteFinding) -> dict[str, Any]:
    plugin, facts = finding.plugin, finding.facts
    found = {
        "name": plugin.name,
        "title": facts.title if facts else "",
        "distribution": plugin.distribution,
        "version": plugin.version,
        "contract": plugin.contract,
        "backend": finding.backend,
        "is_here": bool(finding.evidence),
        "evidence": finding.evidence,
        "problem": finding.problem,
        "hosts": list(facts.hosts) if facts else [],
        "environment": dict(facts.environment) if facts else {},
        "sources": list(facts.sources) if facts else [],
        "checked": facts.checked if facts else "",
        "is_tried": facts.is_tried if facts else False,
        **_said(finding),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found, default=_spelled))
    return plain


def _spelled(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset | set) else str(value)


def _tell(finding: SiteFinding, why: str) -> None:
    plugin, facts = finding.plugin, finding.facts
    say(f"{facts.title if facts else plugin.name}: site={plugin.name!r}, from {plugin.origin}")
    if finding.problem:
        whose = f"{plugin.name!r} cannot be used"
        raise InvalidRequest("site", finding.problem if whose in finding.problem else f"{whose}: {finding.problem}")
    said = _said(finding)
    say(f"batch system: {finding.backend or 'several, or said otherwise'}{_words(said['backend_options'], ' with ')}")
    say(f"this host: {finding.evidence or 'none of it'}")
    if facts is not None:
        known = "tried there" if facts.is_tried else "put together from what is published, and not tried there"
        sources = "".join(f"\n  {source}" for source in facts.sources)
        say(f"known from: {known}{f', {facts.checked}' if facts.checked else ''}{sources}")
    _section("what you must say", [f"{name}=: {sentence}" for name, sentence in said["required"].items()])
    _section("options: site_options={…}, --site-option NAME=VALUE", list(map(_option, said["options"].items())))
    _section("what you need not say", [f"{name}={value!r}" for name, value in said["defaults"].items()])
    if said["nodes"] and (description := _description(finding)) is not None:
        say("nodes, the first that takes a job:")
        _show_nodes(description.nodes)
    groups = [f"{plugin.name}.{name}:{_words(group, ' ')}" for name, group in said["groups"].items()]
    _section("groups: Cluster(groups=[…])", groups)
    _section("advice", said["advice"])
    if why:
        say(why)


def _section(title: str, lines: Sequence[str]) -> None:
    if lines:
        say(f"{title}:")
        for line in lines:
            say(f"  {line}")


def _words(values: Mapping[str, Any], before: str) -> str:
    return before + ", ".join(f"{name}={value!r}" for name, value in values.items()) if values else ""


def _option(item: tuple[str, Mapping[str, Any]]) -> str:
    name, option = item
    more = [f"one of {', '.join(option['choices'])}"] if option["choices"] else []
    more += ["needed"] if option["required"] else []
    more += [f"default {option['default']!r}"] if option["default"] is not None else []
    return f"{name}: {option['help']}" + (f" ({'; '.join(more)})" if more else "")


def _show_nodes(nodes: Sequence[NodeType]) -> None:
    from corral.text.durations import in_words
    from corral.text.sizes import size_in_words

    def of_job(node: NodeType) -> str:
        most = "" if node.max_nodes is None else str(node.max_nodes)
        return f"{node.min_nodes} to {most or 'any'}" if node.min_nodes > 1 else f"up to {most}" if most else "any"

    rows = [
        (
            node.name,
            node.queue or "",
            str(node.cores),
            "" if node.memory is None else size_in_words(node.memory),
            str(node.gpus or ""),
            "" if node.max_walltime is None else in_words(node.max_walltime),
            of_job(node),
            ", ".join([*(["whole"] if node.whole else []), *(["only by name"] if node.named_only else [])]),
        )
        for node in nodes
    ]
    numbers = ("cores", "memory", "GPUs")
    show(("name", "queue", *numbers, "walltime", "nodes of a job", ""), rows, numbers=numbers)
    if any(node.whole for node in nodes):
        say("whole: a job has its nodes for itself, and is charged for all that they have")
