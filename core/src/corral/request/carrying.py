"""The way to the host that ``via=`` names: what the configuration says of it, and who may be asked."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from corral.errors import InvalidRequest
from corral.host.files import HERE, Files
from corral.plugin import discovery
from corral.request import settings
from corral.request.texts import python_words
from corral.ssh.address import Address
from corral.ssh.connection import Connection
from corral.ssh.elsewhere import DistantFiles, Elsewhere

if TYPE_CHECKING:
    from corral.request.worker_group import WorkerGroup


def connection(via: object) -> Connection | None:
    """The connection to that host, open; ssh may ask at the terminal. None: no host is named, so it is this one.

    Raises
    ------
    InvalidRequest
    HostUnreachable, LoginRefused
    """
    if via is None:
        return None
    found = Connection.to(Address.parse(via), settings.settings().ssh)
    facts = discovery.all_facts().values()
    found.wanted = [re.compile(fnmatch.translate(name)) for each in facts for name in (*each.server, *each.carried)]
    found.open(may_ask=True)
    return found


def elsewhere(via: Connection | None, groups: Mapping[str, WorkerGroup]) -> Elsewhere | None:
    """That host, with a Python that does errands there: one that jobs of these groups will run, or any.

    Raises
    ------
    InvalidRequest
    HostUnreachable, LoginRefused
    """
    if via is None:
        return None
    return Elsewhere.find(via, [words for each in groups.values() if (words := python_words(each.python))])


def known_elsewhere(via: str, python: Sequence[str]) -> Elsewhere | None:
    """That host, of which somebody has found out before which Python does errands there; None: it is this one.

    Raises
    ------
    InvalidRequest
    HostUnreachable, LoginRefused
    """
    found = connection(via or None)
    return None if found is None else Elsewhere(connection=found, python=python)


def files_of(via: str, python: Sequence[str]) -> Files:
    """The way to files there, or here if no host is named.

    Raises
    ------
    InvalidRequest
    HostUnreachable, LoginRefused
    """
    found = known_elsewhere(via, python)
    return HERE if found is None else DistantFiles(found)


def refuse_here(backend: str, arguments: Mapping[str, Any]) -> None:
    """Refuse to carry commands of a batch system that is nowhere but here.

    Raises
    ------
    InvalidRequest
    """
    via = arguments.get("via")
    if via is not None and discovery.facts_of(backend).is_everywhere:
        raise InvalidRequest(
            "via",
            f"{via!r} leads to another host, and backend={backend!r} is the queue of this one: leave out one of them",
        )


def carried(name: str, spec: WorkerGroup, elsewhere: Elsewhere, *, is_here: bool) -> WorkerGroup:
    """A group for jobs that are submitted on another host, with a Python of that one's.

    Parameters
    ----------
    is_here
        It has a batch system of its own, which this host would have to ask.

    Raises
    ------
    InvalidRequest
    HostUnreachable, LoginRefused
    """
    if is_here:
        raise InvalidRequest(
            "backend",
            f"group {name!r} has a batch system of its own ({spec.backend}), and commands are carried to "
            f"{elsewhere.connection}: all groups of a cluster with via= have the one batch system there",
        )
    words = python_words(spec.python)
    if words and not (spec.modules or spec.prologue or spec.conda_env or spec.container or spec.launch_prefix):
        # What a job sets up may bring another Python of that name; this one is known.
        elsewhere.check(words)
    if not words and spec.conda_env is None and spec.container is None:
        # This process's own is on no other host.
        spec = evolve(spec, python=elsewhere.python[0] if len(elsewhere.python) == 1 else elsewhere.python)
    return spec
