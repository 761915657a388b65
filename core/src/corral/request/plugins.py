"""The plugins of a cluster that are a user's own: those of the configuration, and those of the program around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.errors import InvalidRequest
from corral.plugin.site_files import untrusted
from corral.plugin.user_plugins import named
from corral.plugin.validation import NamedPlugin
from corral.request import settings


def plugins_of(given: Any, backend: str) -> list[NamedPlugin]:
    """Every one, made: first those that are configured, which stand next to the backend.

    Parameters
    ----------
    given
        By the program or the command line: objects, and paths such as ``my_lab:Quirks``. A path that is configured as
        well counts once.

    Raises
    ------
    InvalidRequest
        One cannot be made, or is configured in a file that others can change: it would decide what code runs.
    PluginError
    """
    own = _listed(given, may_be_objects=True)
    configured = settings.value("plugins", backend)
    try:
        paths = [path for path in _listed(configured, may_be_objects=False) if path not in own]
        if paths and (file := settings.file_of("plugins", backend)) is not None and (doubt := untrusted(file)):
            raise InvalidRequest("plugins", f"are code, and are not taken from a file that others can change: {doubt}")
        around = [named(path) for path in paths]
    except InvalidRequest as error:
        raise settings.located(error, backend) from error.__cause__
    return [*around, *map(named, own)]


def _listed(plugins: Any, *, may_be_objects: bool) -> Sequence[object]:
    if plugins is None:
        return ()
    if isinstance(plugins, str) or not isinstance(plugins, Sequence):
        raise InvalidRequest("plugins", f"{plugins!r} is not a list. Write ['my_lab:Quirks']")
    if not may_be_objects and (wrong := [each for each in plugins if not isinstance(each, str)]):
        raise InvalidRequest("plugins", f"{wrong[0]!r} is not the path of a plugin. Write 'my_lab:Quirks'")
    return plugins
