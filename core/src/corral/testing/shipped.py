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
    found = list(_classes(backend, installed() if among is None else among))
    # Whether jobs are arrays is said in every answer.
    arrays = [each for each in found if _arrays(each.options) == _arrays(options)]
    contradictions = [
        sum(options.get(name, value) != value for name, value in each.options.items()) for each in (arrays or found)
    ]
    best = min(range(len(contradictions)), key=lambda index: contradictions[index], default=None)
    return None if best is None else (arrays or found)[best]


def _arrays(options: Mapping[str, Any]) -> bool:
    return bool(options.get("arrays", True))


def _classes(backend: str, available: Sequence[Installed]) -> Iterator[type[BackendConformance]]:
    for plugin in available:
        if (plugin.kind, plugin.name) != ("backend", backend):
            continue
        name = plugin.value.partition(":")[0] + ".testing"
        if importlib.util.find_spec(name.removesuffix(".testing")) is None or not _is_package(name):
            continue
        for each in vars(importlib.import_module(name)).values():
            if isinstance(each, type) and issubclass(each, BackendConformance) and each.__module__ == name:
                if each.recordings:
                    yield each


def _is_package(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # What should have it is one file.
        return False
