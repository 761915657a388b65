"""Clusters as `corral top` watches them: through a connection, or by what they leave to be seen where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from corral.errors import ClusterNotFound, CorralError
from corral.host.files import Files
from corral.view.overview import PHASES, GroupView, JobView, Overview

if TYPE_CHECKING:
    from corral.cluster.cluster import Cluster
    from corral.cluster.registry import Entry, JobLine

#: So much of a log's end is shown (bytes).
LOG_END = 512 * 1024
#: The registry changes at most every few seconds (s).
LOOK_AGAIN = 2.0


class Watched(Protocol):
    """A cluster that is watched."""

    @property
    def partial(self) -> str:
        """Why not everything is known of it, and it cannot be changed; empty: it is, and can be."""

    @property
    def ending(self) -> str:
        """Why there is nothing new to see any more; empty: there is."""

    def overview(self) -> Overview:
        """How it stands."""

    def scale(self, group: str, jobs: int) -> None:
        """Want so many jobs of a group."""

    def cancel(self, job: str) -> None:
        """End a job, and want one less."""

    def log(self, path: str) -> bytes:
        """The end of a job's log."""

    def close(self) -> None:
        """Watch no more."""


class Connected:
    """One whose scheduler is in a job, or served."""

    partial = ""

    def __init__(self, cluster: Cluster, files: Callable[[], Files]) -> None:
        self._cluster = cluster
        self._files = files

    @property
    def ending(self) -> str:
        return "" if self._cluster.status.name == "running" else "the cluster has ended, or cannot be reached any more"

    def overview(self) -> Overview:
        return self._cluster.overview()

    def scale(self, group: str, jobs: int) -> None:
        self._cluster.scale(jobs=jobs, group=group)

    def cancel(self, job: str) -> None:
        self._cluster.cancel_job(job)

    def log(self, path: str) -> bytes:
        return self._files().end(path, LOG_END)

    def close(self) -> None:
        self._cluster.close()


class Registered:
    """One that nobody can connect to: the registry says once a minute, and after changes, how its jobs are."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._looked = time.monotonic()
        self._is_there = True

    @property
    def partial(self) -> str:
        entry = self._entry
        return (
            f"Its scheduler is in process {entry.pid} on {entry.host}, which cannot be connected to: this is what that "
            f"process wrote {entry.age:.0f} s ago. What is wanted, computed and spent is known there alone, and only "
            "there can it be scaled."
        )

    @property
    def ending(self) -> str:
        if not self._is_there:
            return "the cluster has ended"
        return "its process is gone; see corral clean" if self._entry.process_is_gone() else ""

    def overview(self) -> Overview:
        from corral.cluster.registry import entries

        if time.monotonic() - self._looked > LOOK_AGAIN:
            self._looked = time.monotonic()
            again = [entry for entry in entries() if entry.uuid == self._entry.uuid]
            self._is_there = bool(again)
            self._entry = again[0] if again else self._entry
        return overview_of(self._entry, time.time(), "running" if self._is_there else "closed")

    def scale(self, group: str, jobs: int) -> None:
        raise CorralError("it can be scaled only where it was made")

    def cancel(self, job: str) -> None:
        raise CorralError("its jobs can be ended only where it was made")

    def log(self, path: str) -> bytes:
        return _files_of(self._entry)().end(path, LOG_END)

    def close(self) -> None:
        """There is nothing to close."""


def watched(name: str | None, timeout: str) -> Watched:
    """The cluster of that name, or the only one.

    Raises
    ------
    ClusterNotFound
        There is none, or there are several.
    SchedulerNotReady, JobsFailed
        Its scheduler does not answer, or its job has ended.
    """
    from corral.cluster.registry import entries
    from corral.remote.names import find_entry, nothing_called

    known = entries()
    if name is None:
        name = _the_only({entry.name for entry in known if not entry.process_is_gone()})
    entry = find_entry(name)
    if entry is not None:
        from corral.remote.cluster import RemoteCluster

        return Connected(RemoteCluster.to(name, timeout=timeout), _files_of(entry))
    own = [each for each in known if each.name == name]
    if not own:
        raise ClusterNotFound(nothing_called(name))
    return Registered(own[-1])


def _the_only(names: set[str]) -> str:
    if len(names) != 1:
        there = f"say which: {', '.join(sorted(names))}" if names else "no cluster is registered"
        raise ClusterNotFound(there)
    return next(iter(names))


def _files_of(entry: Entry) -> Callable[[], Files]:
    from corral.request.carrying import files_of

    return lambda: files_of(entry.via, entry.python)


def overview_of(entry: Entry, now: float, status: str = "running") -> Overview:
    """What a cluster's entry in the registry says of it; when jobs began and what is wanted, it does not."""
    names = dict.fromkeys([*entry.asked, *entry.why, *(line.group for line in entry.jobs)])
    return Overview(
        name=entry.name,
        backend=entry.backend,
        status=status,
        moment=now,
        began=entry.started,
        groups=tuple(_group(name, entry) for name in names),
        jobs=tuple(_job(line) for line in entry.jobs),
    )


def _group(name: str, entry: Entry) -> GroupView:
    living = [line for line in entry.jobs if line.group == name and not line.has_ended]
    reasons = dict.fromkeys(line.reason for line in living if line.reason not in ("", "None") and not line.workers)
    asked = entry.asked.get(name)
    return GroupView(
        name=name,
        queue="" if asked is None else asked.queue or "",
        nodes=1 if asked is None else asked.nodes,
        cores=1 if asked is None else asked.cores,
        memory=None if asked is None else asked.memory,
        gpus=0 if asked is None else asked.gpus,
        jobs={phase: sum(1 for line in living if line.phase == phase) for phase in PHASES},
        ended=sum(1 for line in entry.jobs if line.group == name and line.has_ended),
        workers=sum(line.workers for line in living),
        reasons=tuple((reason, sum(1 for line in living if line.reason == reason)) for reason in reasons),
        because=entry.why.get(name, ""),
    )


def _job(line: JobLine) -> JobView:
    return JobView(
        id=line.id,
        group=line.group,
        phase=line.phase or ("ended" if line.has_ended else ""),
        state=line.state,
        condition=line.state,
        reason="" if line.reason == "None" else line.reason,
        hosts=tuple(line.hosts),
        workers=line.workers,
        expected_workers=line.expected_workers,
        submitted=0.0,
        exit_code=line.exit_code,
        log=line.log,
    )
