"""Sites in files as plugins beside those that are installed; and which sites can be missed where a job is.

Reads Dask's configuration, which a launcher has to do without.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from corral.errors import UnknownBackend
from corral.plugin import site_files, site_yaml
from corral.plugin.discovery import Installed, are_one
from corral.plugin.hookspecs import CONTRACT
from corral.text.logs import logger_of

logger = logger_of("corral.plugin.discovery")

#: Hooks that are called before there is a job, and by its cluster alone.
_BEFORE_SUBMISSION = {"prepare_job", "render_script", "parse_resources"}

_told: set[str] = set()


def with_written(plugins: Iterable[Installed]) -> list[Installed]:
    """The same with the sites that are written in files: they take the place of those that have their name."""
    written = as_if_installed()
    names = {plugin.name for plugin in written}
    return [*(plugin for plugin in plugins if plugin.kind != "site" or plugin.name not in names), *written]


def as_if_installed() -> list[Installed]:
    """Sites that are written in YAML; not checked. Files that cannot be read are told once."""
    written = site_files.read(os.environ)
    for problem in written.problems:
        if str(problem) not in _told:
            _told.add(str(problem))
            logger.warning("sites in a file that cannot be used: %s", problem)
    return [
        Installed(
            name=str(name),
            kind="site",
            contract=CONTRACT,
            distribution=written.place((*site_files.SECTION, name))[0],
            version="",
            value=site_files.spelled((*site_files.SECTION, name)),
            entry_point=site_yaml.WrittenSite(name=name, written=written),
        )
        for name in written.sites
    ]


def not_read() -> str:
    """Where a site may be that nobody has found: in files that cannot be read; a line each."""
    return "".join(f"\n  Not read: {each}" for each in site_files.read(os.environ).problems)


def needed_site(
    manager: pluggy.PluginManager, site: str | None, backend: str, options: Mapping[str, Any]
) -> tuple[str | None, Mapping[str, Any]]:
    """The site, and the backend's options, with which another process asks the batch system as `manager` does.

    A site that completes requests, and does nothing else, has done its work when a job is submitted: where it is not
    installed, on a node or on another host, nothing is missed but its options of the backend, which come along.

    Parameters
    ----------
    manager
        Was loaded with this site, and these options of the backend.
    """
    if site is None:
        return None, options
    plugin = manager.get_plugin(site)
    if {caller.name for caller in manager.get_hookcallers(plugin) or ()} - _BEFORE_SUBMISSION:
        return site, options
    defaults = getattr(plugin, "backend_options", {}) if _is_for(plugin, backend) else {}
    return None, {**defaults, **options}


def _is_for(plugin: object, backend: str) -> bool:
    own: str | None = getattr(plugin, "backend", None)
    try:
        return own is not None and are_one(own, backend)
    except UnknownBackend:
        # The site's own one is not installed, and so is not the one that was named.
        return False
