"""The laws that a backend's distribution brings: what its batch system was asked, and what it answered."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corral.plugin.discovery import Installed, installed
from corral.testing.conformance import BackendConformance


def laws_of(
    backend: str, options: Mapping[str, Any] | None = None, among: Sequence[Installed] | None = None
) -> type[BackendConformance] | None:
    """The class of laws that a backend brings for these of its options; None: it brings none.

    They are in the module `testing` beside the plugin's: ``corral_slurm.testing`` for ``corral_slurm:Slurm``. Of
    several, the first counts that contradicts these options least.

    Parameters
    ----------
    among
        What is installed, where that is known.
    """
    options = options or {}

    def contradictions(laws: type[BackendConformance]) -> tuple[bool, int]:
        # Whether jobs are arrays is said in every answer.
        arrays = [bool(each.get("arrays", True)) for each in (laws.options, options)]
        return arrays[0] != arrays[1], sum(options.get(name, value) != value for name, value in laws.options.items())

    return min(_classes(backend, installed() if among is None else among), key=contradictions, default=None)


def _classes(backend: str, available: Sequence[Installed]) -> Iterator[type[BackendConformance]]:
    for plugin in available:
        if (plugin.kind, plugin.name) != ("backend", backend):
            continue
        name = plugin.value.partition(":")[0] + ".testing"
        if not _is_there(name):
            continue
        for each in vars(importlib.import_module(name)).values():
            if isinstance(each, type) and issubclass(each, BackendConformance) and each.__module__ == name:
                if each.recordings:
                    yield each


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # What should have it is one file, or is gone.
        return False
