"""What a cluster leaves when its process is killed: how that is known, and how it is removed."""

from __future__ import annotations

import asyncio
import enum
import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from attrs import field, frozen

from corral.batch.client import BatchSystem
from corral.batch.runner import Runner
from corral.cluster.registry import SILENT_AFTER, Entry, SystemLine
from corral.errors import BatchSystemError, CorralError, CredentialsError, HostUnreachable, LoginRefused, ParseError
from corral.host.home import Home
from corral.host.identity import Sight
from corral.launch.contact import knock
from corral.plugin import discovery
from corral.plugin.values import JobId, JobStatus
from corral.request.carrying import connection, known_elsewhere
from corral.request.sites import site_and_settings
from corral.security.credentials import Credentials
from corral.ssh.elsewhere import DistantHome
from corral.text.logs import logger_of

logger = logger_of()

#: How long jobs may take to end after they were cancelled (s), and how often is asked.
ENDING = 30.0
_PAUSES = (0.5, 1.0, 2.0, 3.0, 5.0)
#: One answer that lists no job may be a batch system's bad moment: so many in a row are believed.
_BELIEVED = 2
#: A command that outlives its killed client has handed over its jobs by then (s).
LANDING = 30.0
#: A job that is still there is cancelled again (s).
_AGAIN = 10.0


class Fate(enum.Enum):
    """What is known of the process that looks after a cluster."""

    LIVES = "lives"
    DEAD = "dead"
    #: It is silent, and cannot be looked at from here: it may live, and lack a disk, a network or a turn.
    DOUBTFUL = "doubtful"


@frozen
class Examined:
    """A fate, and the evidence in a person's words."""

    fate: Fate
    why: str


@frozen(kw_only=True)
class Outcome:
    """What became of a cluster's jobs."""

    cancelled: Sequence[JobId] = ()
    #: Still in the queue, with what is known of them.
    left: Mapping[JobId, JobStatus | None] = field(factory=dict)
    #: What a batch system said last when it refused something, or did not answer.
    problem: str = ""
    #: Of several, one did not answer: jobs may be left there.
    is_unknown: bool = False

    @property
    def is_done(self) -> bool:
        """True if nothing is left."""
        return not self.left and not self.is_unknown


async def examine(entry: Entry) -> Examined:
    """Find out whether somebody looks after the cluster; the cluster itself is asked where its process cannot be seen.

    Raises
    ------
    CorralError
        The batch system would know, and does not answer.
    """
    if entry.is_waiting:
        if time.time() - entry.started < SILENT_AFTER:
            return Examined(Fate.LIVES, "its submission may be under way")
        if await _is_listed(entry):
            return Examined(
                Fate.LIVES, "its scheduler's job waits" if not entry.via else "its scheduler's job is there"
            )
        return Examined(Fate.DEAD, "its scheduler's job is gone")
    match entry.look():
        case Sight.LIVES:
            return Examined(Fate.LIVES, "its process lives")
        case Sight.GONE:
            return Examined(Fate.DEAD, "its process is gone")
    if not entry.is_silent:
        return Examined(Fate.LIVES, f"it was heard of {entry.age:.0f} s ago")
    problem = await _asked(entry)
    if problem is None:
        return Examined(Fate.LIVES, "its scheduler answers")
    if entry.process.ended_with_its_boot(entry.heartbeat):
        return Examined(Fate.DEAD, "this machine has been started anew since")
    if entry.scheduler_job and not await _is_listed(entry):
        return Examined(Fate.DEAD, f"job {entry.scheduler_job}, in which it was, has ended")
    return Examined(
        Fate.DOUBTFUL, f"its process cannot be seen from here, and its scheduler does not answer ({problem})"
    )


async def find(entry: Entry) -> list[JobId]:
    """The cluster's jobs that have not ended, by how only their names begin: ids may be other people's by now.

    Raises
    ------
    CorralError
        The batch system does not answer.
    """
    return [job_id for line in _systems(entry) for job_id in await _find(_batch(line, entry), entry)]


async def cancel(entry: Entry) -> Outcome:
    """Cancel the cluster's jobs, and see which of them have ended.

    Raises
    ------
    CorralError
        No batch system that has any can be asked.
    """
    outcomes: list[Outcome] = []
    failures: list[CorralError] = []
    for found in await asyncio.gather(*(_cancel_in(line, entry) for line in _systems(entry)), return_exceptions=True):
        match found:
            case Outcome():
                outcomes.append(found)
            case CorralError():
                failures.append(found)
            case _:
                raise found
    if not outcomes:
        raise failures[0]
    return Outcome(
        cancelled=[job_id for outcome in outcomes for job_id in outcome.cancelled],
        left={job_id: status for outcome in outcomes for job_id, status in outcome.left.items()},
        problem="; ".join(filter(None, [*(outcome.problem for outcome in outcomes), *map(str, failures)])),
        is_unknown=bool(failures),
    )


async def _cancel_in(line: SystemLine, entry: Entry) -> Outcome:
    batch = _batch(line, entry)
    if not entry.prefixes:
        return Outcome()
    deadline = time.monotonic() + ENDING
    # A submission that was under way when the client was killed may land after a first look.
    landed = time.monotonic() + min(LANDING, max(0.0, entry.submitted + LANDING - time.time()))
    seen: dict[JobId, None] = {}
    asked: dict[JobId, float] = {}
    left: list[JobId] = []
    problem, empty = "", 0
    for pause in itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1])):
        try:
            left = await _find(batch, entry)
            seen |= dict.fromkeys(left)
            empty = 0 if left else empty + 1
            now = time.monotonic()
            if due := [job_id for job_id in left if now - asked.get(job_id, float("-inf")) > _AGAIN]:
                asked |= dict.fromkeys(due, now)
                await batch.cancel(due)
                problem = ""
        except (BatchSystemError, ParseError) as error:
            problem, empty = str(error), 0
        if empty >= _BELIEVED and time.monotonic() >= landed:
            break
        if time.monotonic() + pause > max(deadline, landed):
            break
        await asyncio.sleep(pause)
    if not empty and not left and problem:
        raise BatchSystemError(problem)
    return Outcome(
        cancelled=[job_id for job_id in seen if job_id not in left],
        left=await _states(batch, left),
        problem=problem,
    )


async def remove_files(entry: Entry) -> None:
    """Remove credentials, old logs and the registry file."""
    await asyncio.to_thread(_remove_files, entry)


async def _asked(entry: Entry) -> str | None:
    """None if the cluster itself answers; else what was tried."""
    if not entry.credentials:
        return "it names no credentials"
    try:
        credentials = await asyncio.to_thread(Credentials.read, entry.credentials, home=distant_home(entry))
    except (OSError, CredentialsError) as error:
        return f"{entry.credentials}: {getattr(error, 'strerror', None) or error}"
    contact, problem = await knock(credentials)
    return None if contact is not None else problem


async def _is_listed(entry: Entry) -> bool:
    """True if the batch system lists the scheduler's job, by its unique name if it has one; believed twice if not."""
    batch = _batch(_systems(entry)[0], entry)
    for pause in (1.0, 0.0):
        if entry.scheduler_name:
            if await batch.find(entry.scheduler_name):
                return True
        else:
            job_id = JobId(entry.scheduler_job)
            status = (await batch.poll([job_id], urgent=True)).get(job_id)
            if status is not None and (status.is_ending or not status.state.is_final):
                return True
        await asyncio.sleep(pause)
    return False


async def _find(batch: BatchSystem, entry: Entry) -> list[JobId]:
    if places := _elsewhere(batch, entry):
        # A backend looks through the servers that it has heard of, and this one has submitted nothing.
        await batch.poll(places, urgent=True)
    return [job_id for prefix in entry.prefixes for job_id in await batch.find(f"{prefix}*")]


def _elsewhere(batch: BatchSystem, entry: Entry) -> list[JobId]:
    """One of the cluster's jobs on each other server or cluster that this batch system has sent any to."""
    begins = f"{batch.name}:" if batch.name else ""
    others = tuple(f"{line.name}:" for line in entry.systems if line.name != batch.name)
    mine = [line for line in entry.jobs if line.id.startswith(begins) and not line.id.startswith(others)]
    return [
        JobId(line.id.removeprefix(begins), where=where, system=batch.name)
        for where, line in {line.where: line for line in mine if line.where}.items()
    ]


async def _states(batch: BatchSystem, job_ids: Sequence[JobId]) -> dict[JobId, JobStatus | None]:
    found: Mapping[JobId, JobStatus] = {}
    if job_ids:
        with suppress(BatchSystemError, ParseError):
            found = await batch.poll(job_ids, urgent=True)
    return {job_id: found.get(job_id) for job_id in job_ids}


def distant_home(entry: Entry) -> Home | None:
    """Where its files are, if that is on another host.

    Raises
    ------
    HostUnreachable, LoginRefused, ValueError
    """
    there = known_elsewhere(entry.via, entry.python)
    return None if there is None else DistantHome.beside(entry.credentials, there)


def _systems(entry: Entry) -> list[SystemLine]:
    """The batch systems that may have jobs of the cluster, its own first."""
    own = SystemLine(
        name="", backend=entry.backend, backend_options=entry.backend_options, site=entry.site,
        site_options=entry.site_options, site_is_needed=entry.site_is_needed,
    )  # fmt: skip
    return [own, *entry.systems]


def _batch(line: SystemLine, entry: Entry) -> BatchSystem:
    site, chosen = site_and_settings(line.site, line.site_options, is_needed=line.site_is_needed)
    manager = discovery.load(line.backend, options=line.backend_options, **site)
    runner = Runner(timeout=chosen.command_timeout, via=connection(entry.via or None))
    return BatchSystem(backend=line.backend, name=line.name, manager=manager, runner=runner, attempts=2)


def _remove_files(entry: Entry) -> None:
    # The registry is a file that anything of the user's may have written: only what corral made, and marked, is
    # touched, and there only what has the cluster's own name.
    try:
        home = distant_home(entry) or Home.around(entry.credentials)
        home.remove_cluster(entry.uuid)
        home.remove_old_logs()
    except (HostUnreachable, LoginRefused):
        raise
    except (ValueError, OSError) as error:
        logger.warning("files are left where they are: %s", error, cluster=entry.name)
    entry.remove()
