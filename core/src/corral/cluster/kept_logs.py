"""Which logs of clusters that have ended are kept, and where: what `corral logs` finds when nobody is registered.

A small file in the folder of the cluster's logs, below the user's state directory; it goes when it is a week old, as
they do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress

from attrs import asdict, frozen

from corral.cluster.registry import JobLine
from corral.host.home import KEPT_INDEX, LOGS, Home
from corral.jobs.logs import is_evidence
from corral.jobs.record import JobRecord


@frozen(kw_only=True)
class Ended:
    """A cluster that has ended, and its jobs whose logs were kept."""

    name: str
    jobs: tuple[JobLine, ...]


def keep(name: str, uuid: str, records: Iterable[JobRecord]) -> None:
    """Write down where the logs are that say what went wrong; nothing if there are none.

    Raises
    ------
    NotPrivate, OSError
    """
    lines = [JobLine.of(record) for record in records if record.has_ended and is_evidence(record)]
    there = [line for line in lines if line.log is not None and os.path.exists(line.log)]
    if there:
        home = Home.of()
        home.make_log_folder(uuid)
        with home.folder(LOGS, uuid) as folder:
            folder.replace(KEPT_INDEX, json.dumps({"name": name, "jobs": [asdict(line) for line in there]}))


def ended() -> list[Ended]:
    """The clusters that have left logs; what cannot be read is passed over."""
    found: list[Ended] = []
    with suppress(OSError), Home.of().folder(LOGS) as logs:
        for uuid in logs.names():
            with suppress(OSError, ValueError, TypeError, KeyError), logs.folder(uuid) as folder:
                told = json.loads(folder.read(KEPT_INDEX))
                lines = tuple(JobLine(**line) for line in told["jobs"])
                found.append(Ended(name=str(told["name"]), jobs=lines))
    return found
