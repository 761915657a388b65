"""What a cluster leaves for other processes to see: one small file each, for `corral ps` and `corral clean`.

The file holds no secret. It is written by the cluster's own process, before it submits anything, and removed when the
cluster closes; a file whose process is gone tells what a killed cluster may have left behind. What stands in it is
looked at like any text from outside: what is not what corral writes is passed over, and said.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from attrs import asdict, field, frozen

from corral.cluster.checks import are_its_own, are_lines, is_its_file, is_line, is_moment, is_uuid, is_way
from corral.host.home import Home
from corral.host.identity import Identity, Sight
from corral.host.private import PrivateFolder
from corral.jobs.record import JobRecord
from corral.plugin.values import Job, Resources
from corral.text.logs import logger_of

if TYPE_CHECKING:
    from cattrs import Converter

    from corral.request.blueprint import Blueprint

logger = logger_of()

#: Who was not heard of for so long is silent (s): its disk is full, it was stopped, the network is down, or it is dead.
SILENT_AFTER = 600.0
#: Larger files are not read (bytes): ten thousand jobs are three megabytes.
_LARGEST = 2**26
_ENDING = ".json"
#: In the folder of corral's own in the user's state directory: one for all hosts that share the home folder.
REGISTRY = "registry"


def _folder(*, make: bool = False) -> AbstractContextManager[PrivateFolder]:
    return Home.of().folder(REGISTRY, make=make)


@frozen(kw_only=True)
class JobLine:
    """One job, as text."""

    id: str = field(validator=is_line)
    where: str = ""
    group: str
    state: str
    #: Empty if whoever wrote it knew no phases.
    phase: str = ""
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
            id=str(record.id),
            where=record.id.where,
            group=record.group,
            state=record.state.value,
            phase=record.phase.value,
            reason=record.reason,
            exit_code=record.exit_code,
            hosts=record.hosts,
            workers=len(record.workers),
            expected_workers=record.expected_workers,
            log=record.log,
            has_ended=record.has_ended,
        )


@frozen(kw_only=True)
class SystemLine:
    """How a batch system is asked that some groups have of their own."""

    #: In front of its jobs' ids.
    name: str = field(validator=is_line)
    backend: str = field(validator=is_line)
    backend_options: dict[str, Any] = field(factory=dict)
    site: str | None = None
    site_options: dict[str, Any] = field(factory=dict)
    #: As of `Entry`.
    site_is_needed: bool = True


def lines_of(blueprint: Blueprint) -> tuple[SystemLine, ...]:
    """The batch systems that a cluster's groups have of their own."""
    return tuple(
        SystemLine(name=name, backend=batch.backend, backend_options=dict(batch.options))
        for name, batch in blueprint.others.items()
    )


@frozen(kw_only=True)
class AskedLine:
    """What the jobs of one group ask for, as text and numbers."""

    queue: str | None = None
    account: str | None = None
    nodes: int = 1
    #: Per node, as the next two; bytes of memory.
    cores: int = 1
    memory: int | None = None
    gpus: int = 0
    #: Seconds.
    walltime: int | None = None
    #: Words of `Job.skip`: what is left out is not asked for.
    skip: Sequence[str] = ()

    @classmethod
    def of(cls, job: Job) -> AskedLine:
        each = job.resources
        return cls(
            queue=job.queue, account=job.account, nodes=each.nodes, cores=each.cores, memory=each.memory,
            gpus=each.gpus, walltime=job.walltime, skip=sorted(job.skip),
        )  # fmt: skip

    def job(self) -> Job:
        """A job that asks for the same."""
        resources = Resources(nodes=self.nodes, cores=self.cores, memory=self.memory, gpus=self.gpus)
        return Job(
            name="asked", command=("true",), resources=resources, walltime=self.walltime, queue=self.queue,
            account=self.account, skip=self.skip,
        )  # fmt: skip


@frozen(kw_only=True)
class Entry:
    """One cluster of this user, on any host that shares the state directory."""

    name: str = field(validator=is_line)
    uuid: str = field(validator=is_uuid)
    backend: str = field(validator=is_line)
    backend_options: dict[str, Any] = field(factory=dict)
    site: str | None = None
    site_options: dict[str, Any] = field(factory=dict)
    #: False: it completes requests alone. Who cannot find it looks after the cluster without.
    site_is_needed: bool = True
    #: The host to which its commands are carried, and where its files are; empty: whichever it is on.
    via: str = field(default="", validator=is_way)
    #: The words of the Python there that does errands.
    python: Sequence[str] = field(default=(), validator=are_lines)
    #: Where it may have jobs as well.
    systems: Sequence[SystemLine] = ()
    #: What looks after it.
    process: Identity = field(factory=Identity)
    #: Seconds since the epoch, as the next two.
    started: float = field(factory=time.time, validator=is_moment)
    #: Renewed every minute while the process lives (see `corral.cluster.registration`).
    heartbeat: float = field(factory=time.time, validator=is_moment)
    #: When a submission was begun whose answer is not there; 0: none is under way.
    submitted: float = field(default=0.0, validator=is_moment)
    credentials: str = field(default="", validator=is_its_file)
    #: Where the scheduler lives: in a ``process`` that has it for itself; in a ``job``; or served on a ``node``.
    scheduler: Literal["process", "job", "node"] = "process"
    #: The unique name of the scheduler's job.
    scheduler_name: str = field(default="", validator=is_line)
    #: The id of the job in which the process lives, if corral knows of one.
    scheduler_job: str = field(default="", validator=is_line)
    #: Where that job's output goes.
    scheduler_log: str | None = None
    #: How the names of its jobs begin: what finds them, whatever their ids mean by now.
    prefixes: Sequence[str] = field(default=(), validator=are_its_own)
    jobs: Sequence[JobLine] = ()
    #: By group, why it submits or ends jobs, or does neither; empty where nobody says.
    why: dict[str, str] = field(factory=dict)
    #: By group, what each of its jobs asks for.
    asked: dict[str, AskedLine] = field(factory=dict)

    @classmethod
    def of(cls, blueprint: Blueprint, **more: Any) -> Self:
        """A cluster that this process looks after, unless `more` says otherwise."""
        from corral.plugin.written_sites import needed_site

        batch = blueprint.batch
        needed, options = needed_site(batch.manager, blueprint.site, batch.backend, batch.options)
        return cls(
            name=blueprint.name,
            uuid=blueprint.uuid,
            backend=blueprint.backend,
            backend_options=dict(options),
            site=blueprint.site,
            site_options=dict(blueprint.site_options),
            site_is_needed=needed is not None,
            via="" if blueprint.elsewhere is None else blueprint.elsewhere.via,
            python=() if blueprint.elsewhere is None else blueprint.elsewhere.python,
            systems=lines_of(blueprint),
            credentials=str(blueprint.credentials_path),
            prefixes=(blueprint.job_prefix,),
            **more,
        )

    @property
    def host(self) -> str:
        return self.process.host

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_waiting(self) -> bool:
        """True if no process looks after it yet, because its scheduler's job has not started."""
        return self.scheduler == "job" and not self.pid

    @property
    def age(self) -> float:
        """How old what it says is (s)."""
        return max(0.0, time.time() - self.heartbeat)

    @property
    def is_silent(self) -> bool:
        """True if it should have been heard of, and was not. That is a doubt, and no death."""
        return not self.is_waiting and self.age > SILENT_AFTER

    @property
    def path(self) -> Path:
        return Home.of().path / REGISTRY / f"{self.uuid}{_ENDING}"

    def look(self) -> Sight:
        """What can be seen from here of the process that looks after it; of a cluster that waits, nothing."""
        return Sight.UNSEEN if self.is_waiting else self.process.look()

    def process_is_gone(self) -> bool:
        """True if it is certain that nobody looks after this cluster any more."""
        return self.look() is Sight.GONE

    def write(self) -> None:
        """Replace the file at once, so that no reader sees half of it; it is on the disk when this returns.

        Raises
        ------
        NotPrivate, OSError
        """
        with _folder(make=True) as folder:
            folder.replace(self.path.name, json.dumps(asdict(self)))

    def remove(self) -> None:
        with suppress(FileNotFoundError), _folder() as folder:
            folder.remove(self.path.name)
            # It may have been killed while it wrote.
            folder.remove_drafts(of=self.path.name)


# --- reading ----------------------------------------------------------------------------------------------------


@frozen
class Odd:
    """What is in the registry and is not what corral writes there."""

    path: Path
    problem: str

    def __str__(self) -> str:
        return f"{self.path} is passed over: {self.problem}"


def read() -> tuple[list[Entry], list[Odd]]:
    """All clusters of this user that left a file, oldest first; and what cannot be read."""
    found: list[Entry] = []
    odd: list[Odd] = []
    try:
        with _folder() as folder:
            for name in folder.names():
                if not name.endswith(_ENDING):
                    continue
                try:
                    found.append(_read(folder, name))
                except FileNotFoundError:
                    # Its cluster has closed meanwhile.
                    continue
                except (OSError, ValueError) as error:
                    odd.append(Odd(folder.path / name, _words(error)))
    except FileNotFoundError:
        pass
    except OSError as error:
        odd.append(Odd(Home.of().path / REGISTRY, _words(error)))
    return sorted(found, key=lambda entry: entry.started), odd


def remove_drafts() -> None:
    """Remove what processes that were killed while they wrote have left."""
    with suppress(OSError), _folder() as folder:
        folder.remove_drafts()


def entries() -> list[Entry]:
    """All clusters of this user that left a file, oldest first; what cannot be read is told once."""
    found, odd = read()
    for each in odd:
        if each not in _told:
            _told.add(each)
            logger.warning("registry: %s", each)
    return found


_told: set[Odd] = set()


def _read(folder: PrivateFolder, name: str) -> Entry:
    with os.fdopen(folder.open(name), "rb") as file:
        text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST // 2**20} MB")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from None
    entry: Entry = _structured(fields)
    if name != entry.path.name:
        raise ValueError(f"it describes cluster {entry.uuid}, but has another name")
    return entry


def _structured(fields: object) -> Entry:
    """The entry that these fields are.

    Raises
    ------
    ValueError
        Says what is wrong, and where.
    """
    from cattrs import BaseValidationError, transform_error

    try:
        if not isinstance(fields, dict):
            raise TypeError(f"it holds a {type(fields).__name__}, where fields must be")
        return _converter().structure(fields, Entry)
    except TypeError as error:
        raise ValueError(str(error)) from None
    except BaseValidationError as error:
        found = transform_error(error, format_exception=lambda each, _: _words(each))
        raise ValueError("; ".join(found[:3])) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _converter() -> Converter:
    """Takes each value for what it is: by itself cattrs would make a text of a list."""
    from cattrs import Converter

    strict = Converter()
    for kind, also in ((str, ()), (int, ()), (float, (int,)), (bool, ())):
        strict.register_structure_hook(kind, _only(kind, *also))
    return strict


def _only(kind: type, *also: type) -> Any:
    def structure(value: object, _: object) -> Any:
        if type(value) not in (kind, *also):
            raise ValueError(f"{str(value)[:60]!r} is no {kind.__name__}")
        return value

    return structure


def _words(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
