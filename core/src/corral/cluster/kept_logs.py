"""Which logs of clusters that have ended are kept, and where: what `corral logs` finds when nobody is registered.

A small file in the folder of the cluster's logs, below the user's state directory; it goes when it is a week old, as
they do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from corral.cluster.registry import JobLine
from corral.host.home import KEPT_INDEX, LOGS, Home
from corral.jobs.logs import is_evidence
from corral.jobs.record import JobRecord

if TYPE_CHECKING:
    from corral.request.blueprint import Blueprint


@frozen(kw_only=True)
class Ended:
    """A cluster that has ended, and its jobs whose logs were kept."""

    name: str
    jobs: tuple[JobLine, ...]
    #: As of an `Entry`: where the logs are.
    via: str = ""
    python: tuple[str, ...] = ()


def keep(name: str, blueprint: Blueprint, records: Iterable[JobRecord]) -> None:
    """Write down where the logs are that say what went wrong; nothing if there are none.

    Raises
    ------
    NotPrivate, OSError
    """
    lines = [JobLine.of(record) for record in records if record.has_ended and is_evidence(record)]
    files, elsewhere = blueprint.home.files, blueprint.elsewhere
    there = [line for line in lines if line.log is not None and files.size(line.log) is not None]
    if there:
        home = Home.of()
        home.make_log_folder(blueprint.uuid)
        told = {"name": name, "jobs": [asdict(line) for line in there]}
        if elsewhere is not None:
            told |= {"via": elsewhere.via, "python": elsewhere.python}
        with home.folder(LOGS, blueprint.uuid) as folder:
            folder.replace(KEPT_INDEX, json.dumps(told))


def ended() -> list[Ended]:
    """The clusters that have left logs; what cannot be read is passed over."""
    found: list[Ended] = []
    with suppress(OSError), Home.of().folder(LOGS) as logs:
        for uuid in logs.names():
            with suppress(OSError, ValueError, TypeError, KeyError), logs.folder(uuid) as folder:
                told = json.loads(folder.read(KEPT_INDEX))
                lines = tuple(JobLine(**line) for line in told["jobs"])
                way = str(told.get("via", "")), tuple(map(str, told.get("python", ())))
                found.append(Ended(name=str(told["name"]), jobs=lines, via=way[0], python=way[1]))
    return found
