"""The workers of one node: each has a nanny, which has a process."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from distributed.core import rpc

from corral.launch.contact import Contact, find_scheduler
from corral.launch.drain import Finishing
from corral.launch.ending import Ended, Exit, say
from corral.launch.nanny import CLUSTER_ENDED, LOST, Nanny, Remains
from corral.launch.place import gpus_of_node, share_of_gpus
from corral.launch.worker_process import root_cause

if TYPE_CHECKING:
    from distributed import Worker

    from corral.launch.options import Options
    from corral.launch.place import Place
    from corral.launch.zygote import Zygote
    from corral.security import Credentials

#: Seconds after which a worker whose name is taken knocks again.
_NAME_TAKEN_AGAIN = 1.0
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
    #: How long each step took.
    seconds: Mapping[str, float] = field(factory=dict)


class Crew:
    """All workers of this node.

    Parameters
    ----------
    operations
        Remote calls that each nanny answers, besides its own.
    """

    def __init__(self, setting: Setting, zygote: Zygote | None, operations: Mapping[str, Callable[..., Any]]) -> None:
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
        return rpc(address, connection_args=self._security.get_connection_args("worker"))

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
        return "the cluster has ended" if reasons == {CLUSTER_ENDED} else "the workers were retired"

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
            self._contact = await find_scheduler(self._setting.credentials, _LOST_PATIENCE)

    def _has_ended(self) -> bool:
        """True if the cluster was closed, which removes its credentials."""
        return not os.path.exists(self._options.credentials)

    async def _connect(self, index: int) -> Nanny | None:
        name = self._setting.place.worker_name(index, self._options.workers)
        deadline = time.monotonic() + self._options.death_timeout
        while True:
            try:
                nanny = self._nanny(index, name)
                await nanny
            except Exception as error:
                cause = root_cause(error)
                # The scheduler may still believe in a worker of a host that has vanished.
                if "name taken" in str(cause) and time.monotonic() < deadline:
                    await asyncio.sleep(_NAME_TAKEN_AGAIN)
                    continue
                self.problems[index] = "".join(traceback.format_exception_only(cause)).strip()
                return None
            self.nannies[index] = nanny
            return nanny

    def _nanny(self, index: int, name: str) -> Nanny:
        options = self._options
        more = dict(options.worker_options)
        resources = dict(more.pop("resources", {}))
        environ = dict(more.pop("env", {}))
        if self._gpus:
            share = share_of_gpus(self._gpus, index, options.workers)
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(share)
            resources.setdefault("GPU", len(share))
        if "worker_class" in more:
            more["worker_class"] = _worker_class(more["worker_class"])
        ports = None if options.worker_ports is None else "{}:{}".format(*options.worker_ports)
        arguments = {
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
            "plugins": (Finishing(),),
        }
        return Nanny(zygote=self._zygote, operations=self._operations, **(arguments | more))

    @functools.cached_property
    def _gpus(self) -> tuple[str, ...]:
        return gpus_of_node(self._options, self._setting.place.allocation, os.environ)

    # --- letting them go ----------------------------------------------------------------------------------------

    async def drain(self, limit: asyncio.Timeout, keep_until: float) -> Remains:
        """Let all workers leave in peace, each as soon as it can; those that cannot until `limit`, without it.

        Parameters
        ----------
        limit
            Not yet entered; may be rescheduled while this goes on.
        keep_until
            See `Nanny.drain`.
        """
        self._is_leaving = True
        drains = {asyncio.create_task(nanny.drain(keep_until=keep_until)): nanny for nanny in self.nannies.values()}
        remains: list[Remains] = []
        try:
            async with limit:
                if drains:
                    await asyncio.wait(drains)
        except TimeoutError:
            for drain in drains:
                drain.cancel()
            await asyncio.wait(drains)
        abandoned = []
        for drain, nanny in drains.items():
            if drain.cancelled() or drain.exception() is not None:
                abandoned.append(nanny.abandon())
            else:
                remains.append(drain.result())
        remains += await asyncio.gather(*abandoned)
        return Remains(unfinished=sum(each.unfinished for each in remains), lost=sum(each.lost for each in remains))

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
