"""What a cluster leaves for other processes to see: one small file each, for `corral ps` and `corral clean`.

The file holds no secret. It is written by the cluster's own process, and removed when the cluster closes; a file
whose process is gone tells what a killed cluster may have left behind.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
from attrs import asdict, field, frozen

from corral.home import Home
from corral.jobs import JobRecord

if TYPE_CHECKING:
    from corral.blueprint import Blueprint

#: A cluster on another host that has not written for so long is taken for dead (s).
SILENT_AFTER = 600.0


#: In the folder of corral's own in the user's state directory: one for all hosts that share the home folder.
REGISTRY = "registry"


def boot_id() -> str:
    """Tells one boot of this host from the next: a pid means nothing across them."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


@frozen(kw_only=True)
class JobLine:
    """One job, as text."""

    id: str
    where: str = ""
    group: str
    state: str
    reason: str = ""
    exit_code: int | None = None
    hosts: Sequence[str] = ()
    workers: int = 0
    expected_workers: int = 0
    log: str | None = None
    has_ended: bool = False

    @classmethod
    def of(cls, record: JobRecord) -> JobLine:
        return cls(
            id=record.id.text,
            where=record.id.where,
            group=record.group,
            state=record.state.value,
            reason=record.reason,
            exit_code=record.exit_code,
            hosts=record.hosts,
            workers=len(record.workers),
            expected_workers=record.expected_workers,
            log=record.log,
            has_ended=record.has_ended,
        )


@frozen(kw_only=True)
class Entry:
    """One cluster of this user, on any host that shares the state directory."""

    name: str
    uuid: str
    backend: str
    backend_options: dict[str, Any] = field(factory=dict)
    site: str | None = None
    host: str = field(factory=socket.gethostname)
    boot: str = field(factory=boot_id)
    pid: int = field(factory=os.getpid)
    #: When the process began, by its own host's clock: numbers of processes are used again.
    process_started: float = field(factory=lambda: psutil.Process().create_time())
    started: float = field(factory=time.time)
    #: Seconds since the epoch; renewed every minute while the process lives.
    heartbeat: float = field(factory=time.time)
    credentials: str = ""
    #: Where the scheduler lives: in a ``process`` that has it for itself; in a ``job``; or served on a ``node``.
    scheduler: str = "process"
    #: The unique name and the id of the scheduler's job.
    scheduler_name: str = ""
    scheduler_job: str = ""
    #: Where that job's output goes.
    scheduler_log: str | None = None
    #: The unique names under which jobs were submitted: what finds them, whatever their ids mean by now.
    names: Sequence[str] = ()
    jobs: Sequence[JobLine] = ()

    @classmethod
    def of(cls, blueprint: Blueprint, **more: Any) -> Self:
        """A cluster that this process looks after, unless `more` says otherwise."""
        return cls(
            name=blueprint.name,
            uuid=blueprint.uuid,
            backend=blueprint.backend,
            backend_options=dict(blueprint.backend_options),
            site=blueprint.site,
            credentials=str(blueprint.credentials_path),
            **more,
        )

    @property
    def is_waiting(self) -> bool:
        """True if no process looks after it yet, because its scheduler's job has not started."""
        return self.scheduler == "job" and not self.pid

    @property
    def path(self) -> Path:
        return Home.of().path / REGISTRY / f"{self.uuid}.json"

    def write(self) -> None:
        """Replace the file at once, so that no reader sees half of it."""
        with Home.of().folder(REGISTRY, make=True) as folder:
            folder.replace(self.path.name, json.dumps(asdict(self)))

    def remove(self) -> None:
        with suppress(FileNotFoundError), Home.of().folder(REGISTRY) as folder:
            folder.remove(self.path.name)

    def process_is_gone(self) -> bool:
        """True if it is certain, or as good as certain, that nobody looks after this cluster any more.

        A pid is trusted on its own host and boot only; for other hosts a heartbeat older than ten minutes counts.
        Only the batch system knows of a job that has not started.
        """
        if self.is_waiting:
            return False
        if self.host != socket.gethostname():
            return time.time() - self.heartbeat > SILENT_AFTER
        if self.boot != boot_id():
            return True
        try:
            return abs(psutil.Process(self.pid).create_time() - self.process_started) > 2.0
        except psutil.NoSuchProcess:
            return True


def entries() -> Iterator[Entry]:
    """All clusters of this user that left a file, oldest first; files that cannot be read are passed over."""
    found = []
    with suppress(FileNotFoundError), Home.of().folder(REGISTRY) as folder:
        for name in folder.names():
            with suppress(OSError, ValueError, TypeError):
                fields = json.loads(folder.read(name))
                lines = tuple(JobLine(**line) for line in fields.pop("jobs"))
                found.append(Entry(**fields, jobs=lines))
    yield from sorted(found, key=lambda entry: entry.started)
