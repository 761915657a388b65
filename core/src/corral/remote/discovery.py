"""corral's clusters for dask-ctl: what ``dask cluster list``, ``scale`` and ``delete`` find, and what they ask of it.

dask-ctl loads `discover` by the entry point ``dask_cluster_discovery``, and makes what it lists by `from_name`. It
calls that on an event loop, passes over what raises an error there, and reads of the rest ``name``, ``status``,
``scheduler_address`` and ``scheduler_info``. So a cluster that cannot be connected to is listed as the registry has it,
and says why once something is asked of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Never

from corral.errors import ClusterNotFound, CorralError

if TYPE_CHECKING:
    from distributed.core import Status

    from corral.cluster.registry import Entry
    from corral.remote.cluster import RemoteCluster

#: How long a scheduler may take to answer (s): a list of clusters waits for each of them.
PATIENCE = 10.0


async def discover() -> AsyncIterator[tuple[str, type[Discovered]]]:
    """The clusters of this user, oldest first; of several with one name, the one that answers to it."""
    for name in await asyncio.to_thread(_names):
        yield name, Discovered


class Discovered:
    """What dask-ctl takes for the class of a cluster that was discovered."""

    @staticmethod
    def from_name(name: str) -> RemoteCluster | Listed:
        """A handle whose ``close()`` ends the cluster, as dask-ctl means it; or what is known of one out of reach.

        Raises
        ------
        ClusterNotFound
            There is no such cluster any more.
        """
        entry = _newest(name)
        if entry is None:
            raise ClusterNotFound(f"there is no cluster {name!r}; see corral ps")
        if (why := _out_of_reach(entry)) is not None:
            return Listed(entry, ClusterNotFound(why))
        from corral.remote.cluster import RemoteCluster

        try:
            return RemoteCluster.to(name, timeout=PATIENCE, shutdown_on_close=True)
        except (CorralError, OSError) as error:
            return Listed(entry, error)


class Listed:
    """A cluster that cannot be connected to: what its file in the registry says, with the face that dask-ctl reads."""

    def __init__(self, entry: Entry, why: Exception) -> None:
        self._entry = entry
        self._why = why
        self.name = entry.name

    @property
    def status(self) -> Status:
        """``created`` while its scheduler's job waits, ``failed`` if nobody looks after it any more, else ``running``.

        ``undefined`` of one that should have answered.
        """
        from distributed.core import Status

        if self._entry.is_waiting:
            return Status.created
        if self._entry.process_is_gone():
            return Status.failed
        return Status.running if isinstance(self._why, ClusterNotFound) else Status.undefined

    @property
    def scheduler_address(self) -> str:
        """Empty while it has none."""
        from corral.security.credentials import Credentials

        try:
            return Credentials.read(self._entry.credentials).addresses[0]
        except (CorralError, OSError, IndexError):
            return ""

    @property
    def dashboard_link(self) -> str:
        """It leads through a connection to the scheduler, and there is none."""
        return ""

    @property
    def scheduler_info(self) -> Mapping[str, Any]:
        """The workers that it had a minute ago at most, with their threads and memory (bytes), and when it began."""
        workers = {}
        for job in self._entry.jobs:
            asked = self._entry.asked.get(job.group)
            for number in range(0 if job.has_ended else job.workers):
                share = asked.nodes / max(1, job.expected_workers) if asked is not None else 0.0
                workers[f"{job.id}-{number}"] = {
                    "nthreads": int(share * asked.cores) if asked is not None else 0,
                    "memory_limit": int(share * (asked.memory or 0)) if asked is not None else 0,
                }
        return {"workers": workers, "started": self._entry.started}

    def scale(self, *_: object, **__: object) -> Never:
        """Say why not."""
        raise self._why

    adapt = close = get_logs = get_snippet = scale


# --- what the registry knows --------------------------------------------------------------------------------------


def _names() -> list[str]:
    from corral.cluster.registry import entries

    return list(dict.fromkeys(entry.name for entry in entries()))


def _newest(name: str) -> Entry | None:
    """Of several clusters of one name, first one that can be connected to, then one that lives."""
    from corral.cluster.registry import entries
    from corral.remote.names import find_entry

    named = [entry for entry in entries() if entry.name == name]
    return find_entry(name) or max(
        named, key=lambda entry: (not entry.process_is_gone(), not entry.is_silent, entry.started), default=None
    )


def _out_of_reach(entry: Entry) -> str | None:
    """Why a cluster cannot be connected to, and what can be done; None: it can."""
    if entry.process_is_gone():
        return f"cluster {entry.name!r} lost its process {entry.pid} on {entry.host}: corral clean ends what it left"
    if entry.scheduler == "process":
        return (
            f"cluster {entry.name!r} has its scheduler in process {entry.pid} on {entry.host}, which alone can change "
            "it: only one that was started with scheduler='job', or by corral serve, can be connected to"
        )
    if entry.is_waiting:
        return f"cluster {entry.name!r}: its scheduler's job has not started; corral explain says what it waits for"
    return None
