"""The workers of one node: each has a nanny, which has a process."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from corral.host.cpus import Cpus
from corral.host.gpus import variables_for
from corral.launch.affinity import fewer_threads
from corral.launch.bound import Bound
from corral.launch.contact import Contact, find_scheduler
from corral.launch.drain import Finishing
from corral.launch.ending import Ended, Exit, say
from corral.launch.nanny import CLUSTER_ENDED, LOST, Death, Nanny, Remains, is_name_taken
from corral.launch.place import process_started
from corral.launch.worker_process import described
from corral.security.connections import connected
from corral.security.listening import guarded
from corral.security.membership import ClusterSecurity

if TYPE_CHECKING:
    from distributed import Worker, WorkerPlugin

    from corral.launch.options import Options
    from corral.launch.place import Place
    from corral.launch.zygote import Zygote
    from corral.security.credentials import Credentials

#: Seconds after which a worker whose name is taken knocks again.
_NAME_TAKEN_AGAIN = 1.0
#: Seconds before the end of the job at which the last worker must be gone, unless the job is short.
_MARGIN = 5.0
#: The last words of a job whose workers all left because somebody asked them to.
RETIRED = "the workers were retired"
#: Seconds in which a scheduler that was lost may come back.
_LOST_PATIENCE = 25.0


@frozen(kw_only=True)
class Setting:
    """What was found out before distributed was imported."""

    options: Options
    place: Place
    credentials: Credentials
    contact: Contact
    #: A directory of this launcher's own.
    scratch: str
    #: The GPUs of each worker, by maker, as its variable spells them.
    gpus: Sequence[Mapping[str, Sequence[str]]]
    #: Those that each worker is bound to; None: they are not bound.
    cpus: Sequence[Cpus] | None
    #: Why modules were not imported before the workers, by name.
    left_out: Mapping[str, str] = field(factory=dict)
    #: How long each step took.
    seconds: Mapping[str, float] = field(factory=dict)
    #: When the launcher began, in seconds since the epoch.
    began: float = field(factory=time.time)

    @property
    def until(self) -> float | None:
        """When the last worker must be gone, in seconds since the epoch; None: never, or not known."""
        ends = self.place.allocation.ends
        if ends is None:
            return None
        return ends - min(_MARGIN, max(0.0, ends - self.began) / 4)

    @property
    def parking_folder(self) -> str:
        """Where results go that no other worker can take: with the credentials, where every node finds them."""
        return os.path.dirname(os.path.abspath(self.options.credentials))


class Crew:
    """All workers of this node.

    Parameters
    ----------
    operations
        Remote calls that each nanny answers, besides its own.
    on_death
        Called when a worker has died that was not asked to.
    """

    def __init__(
        self,
        setting: Setting,
        zygote: Zygote | None,
        operations: Mapping[str, Callable[..., Any]],
        on_death: Callable[[Death], None] = lambda _: None,
    ) -> None:
        self._on_death = on_death
        self._setting = setting
        self._options = setting.options
        self._zygote = zygote
        self._operations = dict(operations)
        self._security = setting.credentials.security()
        self._contact = setting.contact
        self._is_leaving = False
        #: By index: those that have been connected.
        self.nannies: dict[int, Nanny] = {}
        #: By index: why one could not start.
        self.problems: dict[int, str] = {}
        #: Set when each has been connected or could not start.
        self.has_started = asyncio.Event()

    def scheduler(self) -> Any:
        """A new connection to the scheduler; use it with ``async with``."""
        return self.connection(self._contact.address)

    def connection(self, address: str) -> Any:
        """A new connection to another member of the cluster."""
        return connected(address, self._security.get_connection_args("worker"))

    # --- having workers -----------------------------------------------------------------------------------------

    async def work(self) -> str:
        """Have all workers until the last of them has ended in an orderly way; says why.

        Raises
        ------
        Ended
            They failed, or the scheduler was lost.
        """
        workers = [asyncio.create_task(self._supervise(index)) for index in range(self._options.workers)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
        if not self.nannies:
            raise Ended(Exit.FAILED, f"no worker could start: {'; '.join(sorted(set(self.problems.values())))}")
        reasons = {nanny.reason for nanny in self.nannies.values() if not nanny.has_failed}
        if not reasons:
            raise Ended(Exit.FAILED, "all workers have given up")
        return "the cluster has ended" if reasons == {CLUSTER_ENDED} else RETIRED

    async def _supervise(self, index: int) -> None:
        """Have one worker; again, if the scheduler was lost and comes back."""
        while True:
            nanny = await self._connect(index)
            if len(self.nannies) + len(self.problems) == self._options.workers:
                self.has_started.set()
            if nanny is None:
                return
            await nanny.finished()
            if nanny.has_failed:
                say(f"worker {nanny.name} has given up: {nanny.reason}")
            if nanny.reason != LOST or self._is_leaving:
                return
            if self._has_ended():
                raise Ended(Exit.DONE, "the cluster has ended")
            del self.nannies[index]
            self._contact = await find_scheduler(self._setting.credentials, _LOST_PATIENCE)

    def _has_ended(self) -> bool:
        """True if the cluster was closed: it said so to another worker, or has removed its credentials."""
        reasons = {nanny.reason for nanny in self.nannies.values()}
        return CLUSTER_ENDED in reasons or not os.path.exists(self._options.credentials)

    async def _connect(self, index: int) -> Nanny | None:
        name = self._setting.place.worker_name(index, self._options.workers)
        deadline = time.monotonic() + self._options.death_timeout
        while True:
            try:
                nanny = self._nanny(index, name)
                await nanny
            except Exception as error:
                # The scheduler may still believe in a worker of a host that has vanished.
                if is_name_taken(error) and time.monotonic() < deadline:
                    await asyncio.sleep(_NAME_TAKEN_AGAIN)
                    continue
                self.problems[index] = described(error)
                return None
            if self._is_leaving:
                # The others were asked to leave before this one was there.
                await nanny.abandon()
                return None
            self.nannies[index] = nanny
            return nanny

    def _nanny(self, index: int, name: str) -> Nanny:
        options = self._options
        more = dict(options.worker_options)
        resources = dict(more.pop("resources", {}))
        environ = dict(more.pop("env", {}))
        if gpus := self._setting.gpus[index]:
            environ |= variables_for(gpus, {**os.environ, **environ})
            resources.setdefault("GPU", len(next(iter(gpus.values()))))
        plugins: tuple[WorkerPlugin, ...] = (
            Finishing(until=self._setting.until, folder=self._setting.parking_folder, began=process_started()),
        )
        if self._setting.cpus is not None:
            cpus = self._setting.cpus[index]
            environ |= fewer_threads(len(cpus), environ)
            plugins += (Bound(cpus),)
        if "worker_class" in more:
            more["worker_class"] = _worker_class(more["worker_class"])
        ports = None if options.worker_ports is None else "{}:{}".format(*options.worker_ports)
        arguments: dict[str, Any] = {
            "scheduler_ip": self._contact.address,
            "security": self._security,
            "name": name,
            "nthreads": options.threads,
            "memory_limit": options.memory_limit,
            "death_timeout": options.death_timeout,
            "local_directory": self._setting.scratch,
            "interface": options.interface,
            "host": None if options.interface else self._contact.local_host,
            "port": ports,
            "worker_port": ports,
            "resources": resources or None,
            "env": environ or None,
            "plugins": plugins,
        }
        arguments |= more
        arguments["security"] = ClusterSecurity.of(arguments["security"])
        return guarded(Nanny(zygote=self._zygote, operations=self._operations, on_death=self._on_death, **arguments))

    # --- letting them go ----------------------------------------------------------------------------------------

    async def drain(self, *, give_up: asyncio.Event, out_of_time: asyncio.Event) -> Remains:
        """Let all workers leave, each as soon as it can.

        Parameters
        ----------
        give_up
            Set when results that no other worker can take should no longer be kept.
        out_of_time
            Set when the workers that are still here must go as they are.
        """
        self._is_leaving = True

        async def drained(nanny: Nanny) -> Remains:
            draining = asyncio.create_task(nanny.drain(give_up))
            alarm = asyncio.create_task(out_of_time.wait())
            await asyncio.wait([draining, alarm], return_when=asyncio.FIRST_COMPLETED)
            alarm.cancel()
            draining.cancel()
            try:
                return await draining
            except (asyncio.CancelledError, Exception):
                # Out of time, or out of touch with the scheduler.
                return await nanny.abandon()

        remains = await asyncio.gather(*(drained(nanny) for nanny in self.nannies.values()))
        return Remains(
            unfinished=sum(each.unfinished for each in remains),
            seconds=sum(each.seconds for each in remains),
            names=tuple(name for each in remains for name in each.names),
            lost=sum(each.lost for each in remains),
        )

    async def forget(self) -> None:
        """Tell the scheduler that all workers go now."""
        self._is_leaving = True
        async with self.scheduler() as scheduler:
            await asyncio.gather(*(nanny.forget(scheduler) for nanny in self.nannies.values()))

    async def close(self) -> None:
        """End what is left, at once."""
        await asyncio.gather(*(nanny.close(timeout=1) for nanny in self.nannies.values()), return_exceptions=True)


def _worker_class(path: str) -> type[Worker]:
    """The class that ``package.module.Class`` names."""
    module, _, name = path.rpartition(".")
    found: type[Worker] = getattr(importlib.import_module(module), name)
    return found
