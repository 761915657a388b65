"""Where the scheduler of a cluster lives, as other processes see it: its registry file, its job, its credentials."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import evolve

from corral.batch.budget import CommandBudget
from corral.batch.client import BatchSystem
from corral.batch.runner import Runner
from corral.cluster.explaining import telling
from corral.cluster.registry import Entry, entries
from corral.errors import (
    BatchSystemError,
    BatchSystemUnavailable,
    ClusterNotFound,
    CredentialsError,
    HostUnreachable,
    LoginRefused,
    ParseError,
    SchedulerNotReady,
)
from corral.host.home import Home
from corral.host.identity import Identity
from corral.jobs.record import JobRecord, StopReason
from corral.plugin import discovery
from corral.plugin.values import JobId, JobState
from corral.remote.following import SchedulerFollower, looked_at
from corral.remote.names import find_entry, names_held
from corral.remote.spec import Draft
from corral.request.carrying import connection, known_elsewhere
from corral.request.sites import site_and_settings
from corral.security.credentials import Credentials
from corral.ssh.elsewhere import DistantHome, Elsewhere
from corral.text.logs import logger_of

logger = logger_of()

#: How often files are looked at that another host writes or removes (s).
_GLANCE = 0.25
#: How long a file may be there and not be complete (s).
_HALF_WRITTEN = 10.0
#: A file of another host is looked at no more often than that this takes a fifth of the time.
_PAUSE = 4.0
#: How long a cluster may take to end all of its jobs (s), and its scheduler's job to end after that.
_ENDING = 90.0
_LEAVING = 10.0
#: How long is looked for a job that is not listed, and whose end nobody has told (s): batch systems come back.
_DOUBT = 20.0


class Residence:
    """One cluster whose scheduler is not in this process."""

    def __init__(self, entry: Entry, batch: BatchSystem | None = None) -> None:
        self.entry = entry
        self._batch = batch
        #: Handles of one process share a connection.
        self._user = uuid.uuid4().hex

    @classmethod
    def of(cls, draft: Draft) -> Residence:
        """Where a cluster is going to live."""
        entry = Entry.of(
            draft.blueprint, process=Identity.nobody(), scheduler="job", scheduler_name=draft.order.job_name
        )
        return cls(entry, draft.blueprint.batch)

    def __str__(self) -> str:
        entry = self.entry
        where = f" on {entry.host}" if entry.host else ""
        return f"job {entry.scheduler_job}{where}" if entry.scheduler == "job" else f"process {entry.pid}{where}"

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Have a lost connection to its scheduler told in corral's words."""
        try:
            yield
        except OSError as error:
            raise SchedulerNotReady(f"cluster {self.entry.name!r}, {self}, does not answer: {error}") from error

    @property
    def batch(self) -> BatchSystem:
        """The batch system, as this host reaches it."""
        if self._batch is None:
            entry = self.entry
            site, chosen = site_and_settings(entry.site, entry.site_options, is_needed=entry.site_is_needed)
            manager = discovery.load(entry.backend, options=entry.backend_options, **site)
            facts = discovery.facts_of(entry.backend)
            self._batch = BatchSystem(
                backend=entry.backend,
                manager=manager,
                runner=Runner(timeout=chosen.command_timeout, via=connection(entry.via or None)),
                facts=facts,
                budget=None if facts.is_free_to_ask else CommandBudget(chosen.commands_per_minute),
            )
        return self._batch

    @property
    def _credentials(self) -> Path:
        return Path(self.entry.credentials)

    @functools.cached_property
    def elsewhere(self) -> Elsewhere | None:
        """The host to which commands are carried, and where its files are; None: this one."""
        found = known_elsewhere(self.entry.via, self.entry.python)
        if found is not None:
            found.connection.use(self._user)
        return found

    @property
    def home(self) -> Home:
        """Where the cluster's files are."""
        if self.elsewhere is not None:
            return DistantHome.beside(self.entry.credentials, self.elsewhere)
        return Home.around(self._credentials)

    def reach(self) -> None:
        """Find the way to it while the user is here, whom ssh may have to ask something.

        Raises
        ------
        HostUnreachable, LoginRefused
        """
        _ = self.elsewhere

    def let_go(self) -> None:
        """Need that connection no longer; one that was never needed is not made for it. Blocks."""
        if (there := vars(self).get("elsewhere")) is not None:
            there.connection.let_go(self._user)

    def give_way_to(self, other: Residence) -> Residence:
        """Have another one in its place. Blocks."""
        # First: a connection that nobody uses ends, and the next one may have to ask the user again.
        other.reach()
        self.let_go()
        return other

    def is_there(self) -> bool:
        """True if the credentials are. Reads a file.

        Raises
        ------
        HostUnreachable, LoginRefused
        """
        if not self.entry.via:
            return self._credentials.exists()
        try:
            self.home.read(self._credentials)
        except FileNotFoundError:
            return False
        return True

    async def claim_or_find(self) -> Residence | None:
        """As `claim`; but a cluster elsewhere that has ended does not write so to the registry of this host."""
        existing = await asyncio.to_thread(self.claim)
        if existing is None or not await existing.has_ended():
            return existing
        await asyncio.to_thread(existing.let_go)
        await asyncio.to_thread(existing.entry.remove)
        return await asyncio.to_thread(self.claim)

    async def has_ended(self) -> bool:
        """True if it is certain that nothing is left of a cluster of which only the batch system over there knows.

        Raises
        ------
        BatchSystemError, ParseError
        """
        entry = self.entry
        if not entry.via or not entry.scheduler_job:
            return False
        record = JobRecord(id=JobId(entry.scheduler_job), name=entry.scheduler_name, submitted_at=time.monotonic())
        if (await looked_at(self.batch, record)).has_ended:
            return True
        # One that lists none may have a bad moment; an engine that lives has its credentials there.
        return not await self.batch.find(entry.scheduler_name) and not await asyncio.to_thread(self.is_there)

    # --- beginning ----------------------------------------------------------------------------------------------

    def claim(self) -> Residence | None:
        """Register under the name, unless another cluster has it: then that one is returned."""
        with names_held():
            if (existing := find_entry(self.entry.name)) is not None and not existing.is_silent:
                return Residence(existing)
            self.entry = evolve(self.entry, started=time.time(), submitted=time.time())
            self.entry.write()
        return None

    async def submit(self, draft: Draft) -> None:
        """Submit the scheduler's job.

        Raises
        ------
        SubmitRejected, LimitReached, BatchSystemUnavailable
            Nothing is left behind.
        """
        try:
            await asyncio.to_thread(self._write, draft)
            submission = await self.batch.submit(self.batch.render(draft.job), 1)
        except BaseException:
            await asyncio.to_thread(self.remove_traces)
            raise
        [job_id, *_] = submission.ids
        log = None if draft.order.log is None else draft.order.log.replace("{id}", job_id.text)
        self.entry = evolve(self.entry, scheduler_job=job_id.text, scheduler_log=log)
        current = next((entry for entry in entries() if entry.uuid == self.entry.uuid), None)
        # A job that started at once has registered itself.
        if current is not None and current.is_waiting:
            self.entry.write()
        logger.info("its scheduler's job is %s", job_id, cluster=self.entry.name, job=job_id)

    def _write(self, draft: Draft) -> None:
        draft.blueprint.make_log_directory()
        draft.order.write(draft.path, home=draft.blueprint.home)

    async def await_credentials(self, patience: float | None) -> Credentials:
        """Wait until the scheduler has written where it is.

        Parameters
        ----------
        patience
            Seconds; None: as long as its job waits.

        Raises
        ------
        JobsFailed
            Its job has ended.
        SchedulerNotReady
        ClusterNotFound
            The cluster has ended.
        CredentialsError
            Others can read the file, or it is somebody else's.
        """
        follower = SchedulerFollower(self)
        async with telling(self.entry.name, follower.explained, lambda: follower.words, awaited="its scheduler"):
            return await self._await_credentials(follower, patience)

    async def _await_credentials(self, follower: SchedulerFollower, patience: float | None) -> Credentials:
        began = time.monotonic()
        while True:
            try:
                asked = time.monotonic()
                return await asyncio.to_thread(
                    Credentials.read, self.entry.credentials, home=self.home if self.entry.via else None
                )
            except FileNotFoundError:
                if not self.entry.path.exists():
                    raise ClusterNotFound(f"cluster {self.entry.name!r} has ended") from None
                problem = f"it has not written {self.entry.credentials}"
            except CredentialsError as error:
                if time.monotonic() - began > min(_HALF_WRITTEN, _HALF_WRITTEN if patience is None else patience):
                    raise
                problem = str(error)
            except (HostUnreachable, LoginRefused) as error:
                if patience is not None:
                    raise
                # Its job waits, and needs no connection of ours.
                problem = str(error)
                logger.info("%s", error, cluster=self.entry.name)
            await follower.look()
            if patience is not None and time.monotonic() - began >= patience:
                raise SchedulerNotReady(
                    f"the scheduler of cluster {self.entry.name!r}, {self}, did not start within {patience:.0f} s: "
                    f"{follower.words or problem}"
                )
            # What took long is another host's, and done less often.
            await asyncio.sleep(max(_GLANCE, _PAUSE * (time.monotonic() - asked)))

    # --- end ----------------------------------------------------------------------------------------------------

    async def await_end(self, *, was_asked: bool) -> None:
        """Return when the cluster has ended.

        Parameters
        ----------
        was_asked
            The engine knows of it. Otherwise the scheduler's job is cancelled.
        """
        deadline = time.monotonic() + _ENDING
        while was_asked and await asyncio.to_thread(self.is_there):
            if time.monotonic() > deadline:
                name = self.entry.name
                logger.error("cluster %s has not ended within %.0f s; see corral clean", name, _ENDING, cluster=name)
                was_asked = False
                break
            await asyncio.sleep(_GLANCE if not self.entry.via else _PAUSE)
        if self.entry.scheduler_job:
            try:
                ended = await self._await_end_of_job(is_cancelled=not was_asked)
            except (BatchSystemError, ParseError) as error:
                logger.warning(
                    "whether %s has ended is not known: %s. `corral clean` looks for it again.", self, error,
                    cluster=self.entry.name,
                )  # fmt: skip
                return
            if was_asked and ended.status.state is JobState.COMPLETED:
                await asyncio.to_thread(self._remove_late_log)
        if not was_asked:
            await asyncio.to_thread(self.remove_traces)
        elif self.entry.via:
            # The engine has its own in the registry over there.
            await asyncio.to_thread(self.entry.remove)

    def _remove_late_log(self) -> None:
        """Remove the log of the scheduler's job, where it has come after the scheduler itself removed the others."""
        with suppress(ValueError, OSError):
            self.home.remove_logs(self.entry.uuid, [self.entry.scheduler_log] if self.entry.scheduler_log else [])

    async def _await_end_of_job(self, *, is_cancelled: bool) -> JobRecord:
        """Return when the job has ended; end it if it does not by itself.

        Raises
        ------
        BatchSystemError, ParseError
            Whether it has ended cannot be known.
        """
        job_id = JobId(self.entry.scheduler_job)
        began = time.monotonic()
        record = JobRecord(
            id=job_id, name=self.entry.scheduler_name, submitted_at=began, was_listed=True,
            stop_reason=StopReason.CLOSING,
        )  # fmt: skip
        if is_cancelled:
            # That it is absent afterwards means something only if it was there before.
            with suppress(BatchSystemError, ParseError):
                record = await looked_at(self.batch, record)
        else:
            # The cluster has ended, so its job ends by itself.
            record = evolve(record, is_cancel_accepted=True, cancel_asked_at=began, lost_workers_at=began)
        cancel_at = began + (0.0 if is_cancelled else _LEAVING)
        for pause in itertools.chain((0.1, 0.3, 0.6, 1.0, 2.0, 3.0), itertools.repeat(5.0)):
            if time.monotonic() >= cancel_at:
                await self.batch.cancel([job_id])
                cancel_at = time.monotonic() + 2 * _LEAVING
                record = evolve(record, cancel_asked_at=time.monotonic(), is_cancel_accepted=True)
            record = await looked_at(self.batch, record)
            if record.has_ended:
                return record
            if record.absent_since is not None and time.monotonic() - began > _DOUBT:
                raise BatchSystemUnavailable("it is not listed, and the batch system never said that it ended")
            await asyncio.sleep(pause)
        raise AssertionError("there is always another pause")

    def remove_traces(self) -> None:
        """Remove what was written for a cluster that did not come to be."""
        try:
            self.home.remove_cluster(self.entry.uuid)
        except (ValueError, OSError) as error:
            # Without a job nothing was written, and what was wrong is being raised.
            if self.entry.scheduler_job:
                logger.warning("its files are left where they are: %s", error, cluster=self.entry.name)
        self.entry.remove()
