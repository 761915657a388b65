"""Which job this is, which of its nodes, when it ends, and which GPUs each worker gets."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from corral.batch.runner import Runner
from corral.errors import CorralError
from corral.launch.ending import Ended, Exit, say
from corral.launch.options import Options
from corral.plugin.facts import BackendFacts
from corral.plugin.values import Allocation, JobId

if TYPE_CHECKING:
    import pluggy
    from cattrs import Converter

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
        job, attempt = self.allocation.job_id.text, self.allocation.attempt
        return f"{job}{f'.r{attempt}' if attempt else ''}-{self.node_index * workers + index}"


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
        allocation = Allocation(job_id=JobId(fields.pop("job_id")), **fields)
        index = _node_index(allocation.hosts, environ, numbers) if options.node_index is None else options.node_index
        return Place(allocation=allocation, node_index=index)
    manager, granted = await _ask(options, environ)
    allocation = granted or _assumed(environ)
    if allocation.ends is None and options.walltime is not None:
        allocation = evolve(allocation, ends=process_started() + options.walltime)
    spreads = manager if options.node_index is None else None
    return Place(allocation=allocation, node_index=options.node_index or 0, manager=spreads)


def _start_in(directory: str | None) -> None:
    """Be where the job's script is: remote shells start elsewhere."""
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            say(f"{directory}: {error.strerror}; the job is in {os.getcwd()} on {socket.gethostname()}")


def handed_down(allocation: Allocation, manager: pluggy.PluginManager) -> str:
    """The value of `HANDED_DOWN`: what is the same on every node."""
    return json.dumps(
        {
            "node_variables": [name for each in _facts(manager) for name in each.node],
            "job_id": allocation.job_id.text,
            "hosts": allocation.hosts,
            "ends": allocation.ends,
            "attempt": allocation.attempt,
            "directory": os.getcwd(),
        }
    )


def told(place: Place) -> str:
    """The value of ``--allocation``: what a launcher of this node knows, for the one that it becomes."""
    converter = _converter()
    plain = {"allocation": place.allocation, "node_index": place.node_index, "directory": os.getcwd()}
    return json.dumps(converter.unstructure(plain))


def _told_before(text: str) -> Place:
    """What `told` gave."""
    plain = json.loads(text)
    _start_in(plain["directory"])
    return Place(allocation=_converter().structure(plain["allocation"], Allocation), node_index=plain["node_index"])


def _converter() -> Converter:
    # Not above: only containers need it.
    from cattrs import Converter

    return Converter()


def _facts(manager: pluggy.PluginManager) -> list[BackendFacts]:
    """What this job's backend says of its batch system."""
    found = (getattr(plugin, "facts", None) for _, plugin in manager.list_name_plugin())
    return [facts for facts in found if isinstance(facts, BackendFacts)]


def share_of_gpus(gpus: Sequence[str], worker: int, workers: int) -> tuple[str, ...]:
    """The GPUs of one worker: an even share, or, when they are fewer than the workers, one that others use too."""
    if len(gpus) < workers:
        return (gpus[worker * len(gpus) // workers],)
    return tuple(gpus[worker * len(gpus) // workers : (worker + 1) * len(gpus) // workers])


def gpus_of_node(options: Options, allocation: Allocation, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those that the batch system granted on this node, as CUDA_VISIBLE_DEVICES spells them."""
    if not options.gpus:
        return ()
    visible = tuple(name.strip() for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip())
    return allocation.gpus or visible or tuple(str(number) for number in range(options.gpus))


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
        manager = discovery.load(options.backend, options=options.backend_options, site=options.site)
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
