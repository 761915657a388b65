"""Which job this is, which of its nodes, when it ends, and which GPUs each worker gets."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, evolve, frozen

from corral.batch.runner import Runner
from corral.errors import CorralError
from corral.host.cpus import share
from corral.host.devices import devices_by_maker
from corral.host.gpus import Gpus, usable_gpus, visible_gpus
from corral.launch.ending import Ended, Exit, say
from corral.launch.options import Options
from corral.plugin.facts import BackendFacts
from corral.plugin.values import Allocation, JobId

if TYPE_CHECKING:
    import pluggy

#: How the launcher on the first node tells the others what it knows: they need not ask the batch system again, and
#: remote shells do not carry the job's environment.
HANDED_DOWN = "CORRAL_ALLOCATION"
#: Where parallel launchers put a process's rank; with one process per node it is the node's index. Batch systems may
#: have variables of their own (`BackendFacts.node`).
_RANKS = ("PMIX_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")

#: Seconds for a command of the batch system.
_PATIENCE = 20.0


@frozen(kw_only=True)
class Place:
    """One node of one job."""

    allocation: Allocation
    #: 0 is the node where the job's script runs.
    node_index: int = 0
    #: Knows how to start a process on the other nodes; None: they are others' business.
    manager: pluggy.PluginManager | None = None
    #: The batch system's name, if it is not the cluster's own.
    system: str = ""

    @property
    def job_id(self) -> JobId:
        """As the cluster knows it."""
        return evolve(self.allocation.job_id, system=self.system)

    @property
    def is_alone(self) -> bool:
        """False if this launcher must start one on every node, this one included."""
        return self.manager is None or len(self.allocation.hosts) == 1

    @property
    def host(self) -> str:
        """This node's name, as the batch system spells it."""
        hosts = self.allocation.hosts
        return hosts[self.node_index] if self.node_index < len(hosts) else socket.gethostname()

    def worker_name(self, index: int, workers: int) -> str:
        """The Dask name of the worker that is number `index` of `workers` on this node."""
        attempt = self.allocation.attempt
        return f"{self.job_id}{f'.r{attempt}' if attempt else ''}-{self.node_index * workers + index}"


async def find_place(options: Options, environ: Mapping[str, str]) -> Place:
    """Learn from the batch system, the environment and the options where this process is.

    Raises
    ------
    Ended
        Nothing says which job this is.
    """
    if options.allocation:
        return _told_before(options.allocation)
    if HANDED_DOWN in environ:
        fields = json.loads(environ[HANDED_DOWN])
        _start_in(fields.pop("directory", None))
        numbers = [*fields.pop("node_variables"), *_RANKS]
        allocation = read(fields)
        index = _node_index(allocation.hosts, environ, numbers) if options.node_index is None else options.node_index
        return Place(allocation=allocation, node_index=index, system=options.system)
    manager, granted = await _ask(options, environ)
    allocation = granted or _assumed(environ)
    if allocation.ends is None and options.walltime is not None:
        allocation = evolve(allocation, ends=process_started() + options.walltime)
    spreads = manager if options.node_index is None else None
    return Place(allocation=allocation, node_index=options.node_index or 0, manager=spreads, system=options.system)


def _start_in(directory: str | None) -> None:
    """Be where the job's script is: remote shells start elsewhere."""
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            say(f"{directory}: {error.strerror}; the job is in {os.getcwd()} on {socket.gethostname()}")


def handed_down(allocation: Allocation, manager: pluggy.PluginManager) -> str:
    """The value of `HANDED_DOWN`: what is the same on every node."""
    variables = [name for each in _facts(manager) for name in each.node]
    same = evolve(allocation, gpus=Gpus())
    return json.dumps({**written(same), "node_variables": variables, "directory": os.getcwd()})


def written(allocation: Allocation) -> dict[str, Any]:
    """An allocation in words that JSON has."""
    return {**asdict(allocation), "gpus": allocation.gpus.written()}


def read(fields: Mapping[str, Any]) -> Allocation:
    """What `written` gave."""
    own = {"job_id": JobId(**fields["job_id"]), "gpus": Gpus.read(fields["gpus"])}
    return Allocation(**{**fields, **own})


def told(place: Place) -> str:
    """The value of ``--allocation``: what a launcher of this node knows, for the one that it becomes."""
    own = {"node_index": place.node_index, "directory": os.getcwd()}
    return json.dumps({**written(place.allocation), **own})


def _told_before(text: str) -> Place:
    """What `told` gave."""
    fields = json.loads(text)
    _start_in(fields.pop("directory"))
    index = fields.pop("node_index")
    return Place(allocation=read(fields), node_index=index)


def _facts(manager: pluggy.PluginManager) -> list[BackendFacts]:
    """What this job's backend says of its batch system."""
    found = (getattr(plugin, "facts", None) for _, plugin in manager.list_name_plugin())
    return [facts for facts in found if isinstance(facts, BackendFacts)]


def gpus_of_node(
    options: Options, allocation: Allocation, environ: Mapping[str, str], root: Path = Path("/")
) -> dict[str, tuple[str, ...]]:
    """Those that the batch system granted on this node: their names, by maker, as its variable spells them."""
    if not options.gpus:
        return {}
    present = {maker: [each.is_usable for each in found] for maker, found in devices_by_maker(root).items()}
    found = usable_gpus(allocation.gpus or visible_gpus(environ), options.gpus, present)
    slices = [name for names in found.values() for name in names if name.startswith("MIG-")]
    if len(slices) > options.workers:
        say(
            f"CUDA shows each process one MIG slice, and there are {len(slices)}: processes={len(slices)} uses them all"
        )
    return found


def gpus_of_workers(
    options: Options, allocation: Allocation, environ: Mapping[str, str]
) -> list[dict[str, tuple[str, ...]]]:
    """Those of each worker of this node: an even share, by maker; empty if there are none."""
    found = gpus_of_node(options, allocation, environ)
    workers = range(options.workers)
    return [{maker: share(names, worker, len(workers)) for maker, names in found.items()} for worker in workers]


def process_started() -> float:
    """When this process began, in seconds since the epoch.

    The job's script becomes the launcher by ``exec``, which keeps the process: the time that its prologue took is
    counted in.
    """
    # Field 22 of proc(5), counted after the command's name, which may hold anything.
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return time.time()
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def _assumed(environ: Mapping[str, str]) -> Allocation:
    if not (job_id := environ.get("CORRAL_JOB_ID")):
        raise Ended(Exit.USAGE, "CORRAL_JOB_ID is not set: this is to be started by a job's script")
    return Allocation(job_id=JobId(job_id), hosts=(socket.gethostname(),))


async def _ask(options: Options, environ: Mapping[str, str]) -> tuple[pluggy.PluginManager | None, Allocation | None]:
    if options.backend is None:
        return None, None
    from corral.plugin import discovery

    try:
        manager = discovery.load(
            options.backend, options=options.backend_options, site=options.site, site_options=options.site_options
        )
        # Those of its own backend alone: it submits nothing, and every worker would wait for the others' import.
        runner = Runner(timeout=_PATIENCE, enclosing=discovery.told_in_jobs(_facts(manager)))
        allocation: Allocation | None = await runner.converse(manager.hook.read_allocation(environ=environ))
    except Exception as error:
        # A worker is worth more than a precise end time, whatever a plugin does wrong.
        said = str(error) if isinstance(error, CorralError) else repr(error)
        say(f"cannot tell what this job was granted: {said}")
        return None, None
    if allocation is not None and (job_id := environ.get("CORRAL_JOB_ID")):
        # The id by which the cluster knows this job.
        allocation = evolve(allocation, job_id=JobId(job_id))
    return manager, allocation


def _node_index(hosts: Sequence[str], environ: Mapping[str, str], numbers: Sequence[str]) -> int:
    here = socket.gethostname()
    # Batch systems name hosts with or without their domain.
    short = [host.partition(".")[0] for host in hosts]
    if len(set(hosts)) == len(hosts):
        for names, name in ((list(hosts), here), (short, here.partition(".")[0])):
            if names.count(name) == 1:
                return names.index(name)
    for variable in numbers:
        if environ.get(variable, "").isdigit():
            return int(environ[variable])
    raise Ended(Exit.FAILED, f"host {here!r} is not one of the job's ({', '.join(hosts)}), and no variable has a rank")
