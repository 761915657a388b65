"""What the job was granted in which this process runs: by whom, which nodes, and how workers share them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dask.utils
from attrs import frozen

from corral.batch.runner import Runner
from corral.errors import CorralError, InvalidRequest, NoAllocation
from corral.host.machine import measure
from corral.plugin import discovery
from corral.plugin.values import Allocation, JobId, Resources
from corral.request.quantities import parse_count, parse_memory, usual_processes
from corral.text.logs import logger_of

if TYPE_CHECKING:
    import pluggy

    from corral.request.sites import Site

logger = logger_of()

#: Of each node's memory, workers leave so much to the scheduler and the script: a tenth, at most so many bytes.
_SPARE = 2 * 2**30


@frozen(kw_only=True)
class Grant:
    """An allocation, and the batch system that gave it."""

    backend: str
    manager: pluggy.PluginManager
    allocation: Allocation


async def read_grant(
    backend: str | None,
    *,
    options: Mapping[str, Any] | None = None,
    site: str | None = None,
    site_options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Grant:
    """What this job was granted.

    Parameters
    ----------
    backend
        The batch system; None: the one whose job this is. ``"local"`` outside of any job: this machine.

    Raises
    ------
    NoAllocation
        This is no job.
    """
    environ = os.environ if environ is None else environ
    of_site: dict[str, Any] = {"site": site, "site_options": site_options}
    name = backend or (getattr(discovery.make_site(site, site_options), "backend", None) if site else None)
    if name is not None:
        manager = discovery.load(name, options=options, **of_site)
        allocation: Allocation | None = await Runner().converse(manager.hook.read_allocation(environ=environ))
        if allocation is None and discovery.facts_of(name).is_everywhere:
            allocation = _this_machine()
        if allocation is None:
            raise NoAllocation(f"this is not a {name!r} job. Start it in one, or submit it: corral submit")
        return Grant(backend=name, manager=manager, allocation=allocation)
    found = await _ask_all(environ, of_site)
    if not found:
        installed = ", ".join(plugin.name for plugin in discovery.usable("backend"))
        everywhere = discovery.everywhere()
        raise NoAllocation(
            f"this is not a job of any installed backend ({installed}). Start it in a job, submit it with corral "
            f"submit, or use this machine alone with backend {everywhere!r}"
        )
    if len(found) > 1:
        names = ", ".join(grant.backend for grant in found)
        raise InvalidRequest("backend", f"this is a job of several batch systems ({names}); choose one")
    return found[0]


async def grant_here(
    backend: str | None, *, options: Mapping[str, Any] | None, site: Site | None
) -> tuple[Grant, Site | None]:
    """What this job was granted, and its site: none, if nobody has named one and the job is another batch system's.

    Raises
    ------
    NoAllocation
    """
    if site is not None:
        try:
            return await read_grant(backend, options=options, site=site.name, site_options=site.options), site
        except NoAllocation:
            if site.is_named:
                raise
    return await read_grant(backend, options=options), None


async def _ask_all(environ: Mapping[str, str], of_site: Mapping[str, Any]) -> list[Grant]:
    found = []
    available = discovery.installed()
    for plugin in discovery.usable("backend", available):
        try:
            manager = discovery.load(plugin.name, among=available, **of_site)
            allocation = await Runner().converse(manager.hook.read_allocation(environ=environ))
        except CorralError as error:
            logger.warning("backend %r cannot say whether this is a job of its own: %s", plugin.name, error)
            continue
        if allocation is not None:
            found.append(Grant(backend=plugin.name, manager=manager, allocation=allocation))
    # A job that corral submitted knows its id.
    mine = [grant for grant in found if grant.allocation.job_id.text == environ.get("CORRAL_JOB_ID")]
    inner = [grant for grant in found if discovery.facts_of(grant.backend).is_inner]
    return mine or inner or found


def _this_machine() -> Allocation:
    capacity = measure()
    return Allocation(
        job_id=JobId(f"here-{os.getpid()}"),
        hosts=(socket.gethostname(),),
        cores=capacity.cores,
        memory=capacity.memory,
        gpus=capacity.devices,
    )


# --- how workers share a node -----------------------------------------------------------------------------------


@frozen(kw_only=True)
class Shares:
    """What the workers of each node get."""

    #: Workers per node.
    processes: int
    #: Per worker.
    threads: int
    #: Bytes per worker; 0: no limit.
    memory_limit: int
    #: Per node.
    gpus: int

    @property
    def resources(self) -> Resources:
        """What all workers of a node get together."""
        return Resources(
            processes=self.processes,
            cores=self.processes * self.threads,
            memory=self.processes * self.memory_limit,
            gpus=self.gpus,
        )

    @classmethod
    def of(
        cls,
        allocation: Allocation,
        *,
        cores: int | None = None,
        memory: int | str | None = None,
        processes: int | None = None,
        threads: int | None = None,
        memory_limit: float | str | None = None,
    ) -> Shares:
        """Even shares of what was granted; of what this machine has, where neither the batch system nor you say."""
        here = measure()
        cores = None if cores is None else parse_count("cores", cores, at_least=1)
        processes = None if processes is None else parse_count("processes", processes, at_least=1)
        threads = None if threads is None else parse_count("threads", threads, at_least=1)
        cores = cores or allocation.cores or here.cores
        total = parse_memory("memory", memory) if memory else allocation.memory or here.memory
        gpus = len(allocation.gpus)
        if processes is None:
            processes = cores // threads if threads else gpus or usual_processes(cores)
        processes = max(1, processes)
        return cls(
            processes=processes,
            threads=threads or max(1, cores // processes),
            memory_limit=_limit(memory_limit, total, processes),
            gpus=gpus,
        )


def _limit(wish: float | str | None, memory: int, processes: int) -> int:
    """Bytes for each worker, as distributed reads a limit: "auto", a fraction of all memory, or an amount."""
    if wish is None or wish == "auto":
        return (memory - min(memory // 10, _SPARE)) // processes
    problem = InvalidRequest("memory_limit", f"{wish!r} is not 'auto', an amount like '4GB', a fraction, or 0")
    if isinstance(wish, str):
        try:
            wish = float(wish) if wish.replace(".", "", 1).isdigit() else dask.utils.parse_bytes(wish)
        except ValueError:
            raise problem from None
    if not 0 <= wish < float("inf"):
        raise problem
    return int(wish * memory if isinstance(wish, float) and 0 < wish <= 1 else wish)
