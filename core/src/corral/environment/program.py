"""What workers have of the program that made their cluster: where it finds modules, and how it configured Dask.

Both travel in the private file of the credentials, never in a script or an environment, which others may see. Workers
of a `LocalCluster` have them because they are the program's own children.
"""

from __future__ import annotations

import datetime
import importlib
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from corral.text.logs import logger_of

logger = logger_of()

#: What Dask's configuration says of this host, or of this process: it stays here. Each with its reason.
STAYS: Mapping[str, str] = {
    "temporary-directory": "a folder of this host; local_directory= says where workers spill",
    "scheduler-address": "workers belong to the cluster that started them",
    "logging-file-config": "a file of this host",
    "distributed.logging-file-config": "a file of this host",
    "distributed.scheduler.contact-address": "an address of this host",
    "distributed.scheduler.dashboard.tls": "files of this host",
    "distributed.dashboard.link": "leads to the scheduler's dashboard, by way of this host",
    "distributed.comm.require-encryption": "the credentials say it",
    "distributed.comm.tls.ca-file": "a file of this host; the credentials hold certificates",
    "distributed.comm.tls.scheduler": "files of this host; the credentials hold certificates",
    "distributed.comm.tls.worker": "files of this host; the credentials hold certificates",
    "distributed.comm.tls.client": "files of this host; the credentials hold certificates",
    "distributed.client.security-loader": "the credentials hold certificates",
}


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen(kw_only=True)
class Program:
    """What follows a program to its workers."""

    #: Folders in which it looks for modules before those of Python itself, and after them.
    first: tuple[str, ...] = field(default=(), converter=_texts)
    last: tuple[str, ...] = field(default=(), converter=_texts)
    #: Of Dask, without what is about the host.
    configuration: dict[str, Any] = field(factory=dict, repr=False)

    @classmethod
    def running(cls) -> Program:
        """This one."""
        import dask.config

        first, last = _search_path(sys.path)
        return cls(first=first, last=last, configuration=_travelling(dask.config.config))

    def extend_path(self) -> None:
        """Let this process find modules where the program does."""
        here = [*self.first, *(entry for entry in sys.path if entry not in self.first)]
        sys.path[:] = [*here, *(entry for entry in self.last if entry not in here)]

    def configure(self) -> None:
        """Configure Dask in this process as in the program. What this job's own variables (DASK_…) say wins.

        Before distributed is imported, which reads some of it once.
        """
        config: Any = importlib.import_module("dask.config")
        config.update(config.config, self.configuration)
        config.update(config.config, config.collect_env())


# --- where modules are ------------------------------------------------------------------------------------------


def _search_path(path: Sequence[str]) -> tuple[list[str], list[str]]:
    """What the program or its user added to Python's own path: what comes before the standard library, and after it."""
    library = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    # Of a virtual environment, and of the Python that it was made from.
    roots = {*site.PREFIXES, sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    own = {*library, *site.getsitepackages(list(roots)), site.getusersitepackages()}
    own |= {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    own |= {os.path.join(folder, "lib-dynload") for folder in library}
    own |= {os.path.join(os.path.dirname(folder), f"python{sys.version_info[0]}{sys.version_info[1]}.zip")
            for folder in library}  # fmt: skip
    first: list[str] = []
    last: list[str] = []
    found = first
    for entry in path:
        if entry in own:
            if entry in library:
                found = last
            continue
        # An interactive program has "" there; editable installations have names of no file.
        absolute = os.path.abspath(entry) if isinstance(entry, str) else ""
        if absolute and os.path.exists(absolute) and absolute not in (*first, *last):
            found.append(absolute)
    return first, last


# --- Dask's configuration ---------------------------------------------------------------------------------------


def _travelling(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in words that JSON has, without what stays here; what cannot be said so is told."""
    strange: list[str] = []
    found = _plain(configuration, "", strange)
    if strange:
        logger.warning(
            "Dask's configuration of this program has values that are not plain data, which workers will not get: %s",
            ", ".join(strange),
        )
    assert isinstance(found, dict)
    return found


def _plain(value: Any, name: str, strange: list[str]) -> Any:
    if isinstance(value, Mapping):
        names = {key: f"{name}.{key}".lstrip(".").replace("_", "-") for key in value}
        strange += [full for key, full in names.items() if not isinstance(key, str)]
        pairs = (
            (key, _plain(value[key], full, strange))
            for key, full in names.items()
            if isinstance(key, str) and full not in STAYS
        )
        return {key: each for key, each in pairs if each is not _STRANGE}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(item, name, strange) for item in value]
        return _STRANGE if _STRANGE in items else items
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float):
        return value
    strange.append(name)
    return _STRANGE


_STRANGE = object()
