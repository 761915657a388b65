"""``corral backends``: which there are, whether their batch systems answer, and what is to be known of one."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from corral.cli import completing
from corral.cli.options import cluster_options
from corral.cli.tables import say, say_json, show
from corral.errors import CorralError
from corral.plugin.options import DeclaredOption, plain

if TYPE_CHECKING:
    from corral.batch.detection import Surveyed
    from corral.batch.runner import Runner
    from corral.plugin.discovery import Installed
    from corral.plugin.facts import BackendFacts
    from corral.plugin.values import Detected


@click.command()
@click.argument("name", required=False, shell_complete=completing.backends)
@cluster_options(only=("via",))
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per installed backend.")
def backends(name: str | None, as_json: bool, via: str | None) -> None:
    """List backends, and whether their batch systems answer here.

    With NAME, say more of one: its options, and what it does not have. With --via, whether they answer on another host.

    Backends that cannot be used are listed with the reason; those that could be installed are listed, too.
    """
    from corral.batch.runner import Runner
    from corral.cli.sites import choice_in_words
    from corral.plugin.sites_here import survey_sites
    from corral.request.carrying import connection, refuse_here

    there = connection(via)
    runner = Runner(timeout=10.0, via=there)
    if name is not None:
        refuse_here(name, {"via": via})
        _show_one(name, runner, as_json=as_json, where="here" if via is None else "there")
        return
    from corral.batch.detection import survey

    found = asyncio.run(survey(runner))
    # The embedded queue is nowhere but here.
    found = [each for each in found if via is None or not each.is_usable or not each.plugin.facts.is_everywhere]
    if as_json:
        for each in found:
            say_json(_backend(each))
        return
    _show_all(found, "here" if via is None else "there")
    names = None if there is None else there.names
    if found_sites := survey_sites(names, None if there is None else there.login):
        say(f"site: {choice_in_words(found_sites, names)[1]}")


# --- all --------------------------------------------------------------------------------------------------------


def _show_all(found: list[Surveyed], where: str) -> None:
    from corral.batch import unenforced
    from corral.plugin import well_known

    rows = []
    for each in found:
        plugin = each.plugin
        missing = f"not found {where}" if each.is_usable else "cannot be used"
        answer = _version(each.detected) if each.detected else missing
        tried = _tried(plugin) if each.is_usable else ""
        rows.append((plugin.name, f"{plugin.distribution} {plugin.version}", answer, tried))
    installed = {row[0] for row in rows}
    for name, distribution in well_known.BACKENDS.items():
        if distribution == f"corral-{name}" and name not in installed:
            rows.append((name, f"pip install {distribution}", "", ""))
    show(("backend", "plugin", "batch system", "run for real against"), sorted(rows))
    for each in sorted(found, key=lambda each: (each.is_usable, each.plugin.name)):
        if each.reason:
            whose = each.plugin.name if each.is_usable else f"{each.plugin.name} ({each.plugin.distribution})"
            say(f"{whose}: {' / '.join(each.reason.splitlines())}")
    for each in found:
        if each.is_usable and each.plugin.facts.unenforced:
            say(f"{each.plugin.name}: {unenforced.in_words(each.plugin.facts.unenforced)}")
    say("corral backends NAME says more of one.")


def _version(detected: Detected) -> str:
    return detected.version or "answers, version not known"


def _backend(asked: Surveyed) -> dict[str, Any]:
    """What there is to say of a backend, in plain values."""
    plugin, detected = asked.plugin, asked.detected
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "contract": plugin.contract,
        "is_usable": asked.is_usable,
        "is_here": detected is not None,
        "batch_system": detected.version if detected else None,
        "evidence": detected.evidence if detected else None,
        "reason": asked.reason,
        "tried": _tried(plugin) if asked.is_usable else None,
        "unenforced": sorted(plugin.facts.unenforced) if asked.is_usable else None,
    }


def _tried(backend: Installed) -> str:
    """What the plugin's author ran it against."""
    try:
        return backend.facts.tried
    except CorralError as error:
        return f"cannot be used: {error}"


# --- one --------------------------------------------------------------------------------------------------------


def _sorted(_owner: object, _field: object, value: Any) -> Any:
    """A set in an order that is always the same, which JSON has, too."""
    return sorted(value) if isinstance(value, frozenset) else value


def _show_one(name: str, runner: Runner, *, as_json: bool, where: str) -> None:
    from corral.batch import unenforced
    from corral.batch.detection import survey
    from corral.plugin import discovery

    plugin = discovery.the_backend(name)
    facts, options = plugin.facts, plugin.options
    [asked] = asyncio.run(survey(runner, only=plugin))
    if as_json:
        said = {
            **_backend(asked),
            "facts": asdict(facts, value_serializer=_sorted),
            "options": {each.name: _option(each) for each in options},
        }
        say_json(said)
        return
    names = sorted(
        each.name for each in discovery.installed() if each.value == plugin.value and each.name != plugin.name
    )
    also = f", also called {', '.join(names)}" if names else ""
    say(f"{facts.title}: backend={plugin.name!r}{also}, from {plugin.origin}")
    if facts.url:
        say(facts.url)
    detected = asked.detected
    answer = asked.reason or f"not found {where}"
    if detected:
        answer = _version(detected) + (f" ({detected.evidence})" if detected.evidence else "")
    say(f"{where}: {' / '.join(answer.splitlines())}")
    say(f"run for real against: {facts.tried}")
    say("options: backend_options={…}, --backend-option NAME=VALUE:" if options else "options: none")
    for option in options:
        for line in _in_words(option):
            say(line)
    for line in _lacks(facts):
        say(line)
    if facts.unenforced:
        say(unenforced.in_words(facts.unenforced))
    for line in _traces(facts):
        say(line)


def _in_words(option: DeclaredOption) -> Iterator[str]:
    yield f"  {option.name}: {option.values}. Default: {option.usual}"
    yield from textwrap.wrap(plain(option.help), 96, initial_indent="    ", subsequent_indent="    ")


def _lacks(facts: BackendFacts) -> Iterator[str]:
    """What it cannot do."""
    lacks = [f"it {facts.no_queues}"] if facts.no_queues else []
    lacks += [f"no option {name}: {reason}" for name, reason in facts.no_options.items()]
    if lacks:
        yield "what it does not have:"
        for each in lacks:
            yield from textwrap.wrap(each, 96, initial_indent="  ", subsequent_indent="    ")


def _traces(facts: BackendFacts) -> Iterator[str]:
    """By what it is known, and what follows where."""
    said: Mapping[str, tuple[str, ...]] = {
        "commands": facts.commands,
        "variables that speak for it": facts.variables,
        "files that speak for it": facts.files,
        "variables that find its server": facts.carried,
        "variables of its jobs, which no other job sees": facts.enclosing,
    }
    for words, values in said.items():
        if values:
            yield from textwrap.wrap(f"{words}: {', '.join(values)}", 100, subsequent_indent="  ")


def _option(option: DeclaredOption) -> dict[str, Any]:
    """An option in plain values."""
    return {
        "help": plain(option.help),
        "values": option.values,
        "default": option.plain_default,
        "default_in_words": option.usual,
        "required": option.is_required,
        "schema": option.schema(),
    }
