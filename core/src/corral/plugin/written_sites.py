"""Sites in files as plugins beside those that are installed; and which sites can be missed where a job is.

Reads Dask's configuration, which a launcher has to do without.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import pluggy

from corral.plugin import site_files, site_yaml
from corral.plugin.discovery import Installed, are_one
from corral.plugin.hookspecs import CONTRACT

logger = logging.getLogger("corral.plugin.discovery")

#: Hooks that are called before there is a job, and by its cluster alone.
_BEFORE_SUBMISSION = {"prepare_job", "render_script", "parse_resources"}

_told: set[str] = set()


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


def options_without_site(
    manager: pluggy.PluginManager, site: str, backend: str, options: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The backend's options with which its batch system is asked the same without the site; None: it is not.

    A site that completes requests, and does nothing else, has done its work when a job is submitted: where it is not
    installed, on a node or on another host, nothing is missed.

    Parameters
    ----------
    manager
        Was loaded with this site, and these options of the backend.
    """
    plugin = manager.get_plugin(site)
    wrapped = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    if not wrapped <= _BEFORE_SUBMISSION:
        return None
    own: str | None = getattr(plugin, "backend", None)
    defaults = getattr(plugin, "backend_options", {}) if own is not None and are_one(own, backend) else {}
    return {**defaults, **options}
