"""Sites in YAML, checked as a whole: also what they say of a cluster's arguments, and of their backend's options."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import fields

from corral.errors import CorralError, InvalidRequest
from corral.plugin import discovery, site_files, site_yaml
from corral.plugin.site_files import SECTION, Problem, Written
from corral.plugin.site_values import At, argument
from corral.request.arguments import KNOWN, SITE_DEFAULTS
from corral.request.settings import Settings
from corral.request.synonyms import meaning
from corral.request.worker_group import WorkerGroup

#: Whether these can be used depends on the host and its variables, not on what is written.
_OF_THE_HOST = ("inherit_env", "container")
#: With so much, each argument is judged by itself.
_AMPLE: Mapping[str, Any] = {"cores": 1024, "gpus": 8, "walltime": "365d"}
_SETTINGS = tuple(attribute.name for attribute in fields(Settings))


def problems_of(name: str) -> list[Problem]:
    """Everything that is wrong with a site in YAML, by file and line; none if it is no such site."""
    written = site_files.read(os.environ)
    if name not in written.sites:
        return []
    _, problems = site_yaml.described(name, written)
    return site_yaml.in_order([*problems, *_of_arguments(name, written)], written)


def check(name: str) -> None:
    """Refuse a site in YAML that has mistakes, and tell all of them.

    Raises
    ------
    InvalidRequest
    """
    if problems := problems_of(name):
        raise InvalidRequest("site", site_yaml.sentence_of(name, problems))


def is_written(name: str) -> bool:
    """Whether a site is one in YAML."""
    return name in site_files.read(os.environ).sites


def place_of_default(name: str, argument: str) -> str:
    """Where a site in YAML has this default; empty if it is no such site."""
    written = site_files.read(os.environ)
    if name not in written.sites:
        return ""
    path = (*SECTION, name, "defaults", argument)
    source, line = written.place(path)
    return f"{site_files.spelled(path).replace('_', '-')} in {f'{source}:{line}' if line else source}"


def with_sites(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Dask's configuration for a process on another host, with all sites in YAML that there are here."""
    sites = site_files.read(os.environ).sites
    mine = configuration.get(SECTION[0]) or {}
    if not sites or not isinstance(mine, Mapping):
        return configuration
    return {**configuration, SECTION[0]: {**mine, SECTION[1]: sites}}


def _of_arguments(name: str, written: Written) -> Iterable[Problem]:
    at = At(written=written, path=(*SECTION, name), problems=[])
    site = written.sites[name]
    if not isinstance(site, Mapping):
        return []
    said = {argument(str(key)): (at.below(key), each) for key, each in site.items() if each is not None}

    def section(key: str) -> tuple[At, Mapping[str, Any]]:
        here, found = said.get(key, (at, {}))
        return here, found if isinstance(found, Mapping) else {}

    if "backend" not in said and (others := [each.origin for each in discovery.installed() if _is_site(each, name)]):
        at.tell(
            f"takes the place of the installed site of its name ({others[0]}), and so has to say all of it. What you "
            "want otherwise than that site has it belongs below `corral:` itself"
        )
    here, defaults = section("defaults")
    _check_names(here, defaults, SITE_DEFAULTS)
    _check_values(here, defaults, {})
    here, required = section("required")
    _check_names(here, required, KNOWN)
    here, groups = section("groups")
    for group, own in groups.items():
        if isinstance(own, Mapping):
            _check_names(here.below(group), own, WorkerGroup.argument_names())
            _check_values(here.below(group), own, defaults)
    if isinstance(backend := said.get("backend", (at, None))[1], str):
        _check_backend(said["backend"][0], backend, *section("backend_options"))
    return at.problems


def _is_site(plugin: discovery.Installed, name: str) -> bool:
    return plugin.kind == "site" and plugin.name == name


def _check_names(at: At, found: Mapping[str, Any], known: Collection[str]) -> None:
    for key in found:
        if isinstance(key, str) and argument(key) not in known:
            at.below(key).tell(f"there is no such argument here.{meaning(argument(key), known)}")


def _check_values(at: At, found: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
    """Tell of values that no cluster takes; those in `beside` are told elsewhere."""
    keys = {argument(key): key for key in found if isinstance(key, str)}
    values = {argument(str(key)): value for key, value in {**beside, **found}.items() if value is not None}
    for make, names in ((WorkerGroup, WorkerGroup.argument_names()), (Settings, _SETTINGS)):
        own = {name: value for name, value in values.items() if name in names and name not in _OF_THE_HOST}
        ample = {name: value for name, value in _AMPLE.items() if name in names}
        while own:
            try:
                make(**{**ample, **own})
            except InvalidRequest as error:
                if error.argument not in own:
                    break
                if error.argument in keys:
                    _tell_of(at.below(keys[error.argument]), own[error.argument], error)
                del own[error.argument]
            else:
                break


def _tell_of(at: At, value: Any, error: InvalidRequest) -> None:
    text = at.text
    made = "" if text is None or isinstance(value, str) or text == str(value) else f" ({at.spelled(value)})"
    at.tell(f"{error.problem}{made}")


def _check_backend(at: At, backend: str, options_at: At, options: Mapping[str, Any]) -> None:
    named = {argument(str(key)): (key, value) for key, value in options.items()}
    try:
        discovery.facts_of(backend)
    except CorralError as error:
        at.tell(str(error))
        return
    for name, (key, value) in named.items():
        try:
            discovery.load(backend, options={name: value})
        except CorralError as error:
            options_at.below(key).tell(error.problem if isinstance(error, InvalidRequest) else str(error))
