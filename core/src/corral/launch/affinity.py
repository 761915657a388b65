"""Binds each worker to CPUs of its own: a share of those that the job has, on nodes with GPUs near the worker's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from distributed import Worker, WorkerPlugin

from corral.host.cpus import Cpus, cores_of, even_shares, near_shares
from corral.host.devices import devices_by_maker, near_gpus
from corral.launch.ending import say
from corral.launch.options import Options

#: How many threads the libraries below numpy start in each of Dask's.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Bound(WorkerPlugin):
    """Keeps a worker's process on these CPUs, with all threads that it has or will have."""

    name = "corral-affinity"

    def __init__(self, cpus: Cpus) -> None:
        self.cpus = cpus

    def setup(self, worker: Worker) -> None:
        # A thread inherits the CPUs of the one that starts it; those that are there already have to be told.
        for thread in os.listdir("/proc/self/task"):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), self.cpus)


def cpus_of_workers(
    options: Options,
    own: Cpus,
    granted: int | None,
    gpus: Sequence[Mapping[str, Sequence[str]]],
    root: Path = Path("/"),
) -> list[Cpus] | None:
    """The CPUs of each worker; None: they are not bound.

    Parameters
    ----------
    own
        The job's.
    granted
        How many cores the batch system says it gave; None: it does not say.
    gpus
        Those of each worker, by maker; empty if it has none.
    """
    if options.affinity == "none" or not own:
        return None
    cores = cores_of(own, root)
    granted = granted or options.workers * options.threads
    if min(len(own), len(cores)) > granted:
        # Which of them are the job's? Others would choose the same.
        say(f"workers are not bound to CPUs: the job has {granted} cores, and may run on {len(cores)} of this node's")
        return None
    if options.affinity == "near-gpu":
        devices = devices_by_maker(root)
        near = [near_gpus(each, devices, root) for each in gpus]
        least = max(1, min(options.threads, len(cores) // options.workers))
        if (found := near_shares(cores, near, least)) is not None:
            return found
        say("workers are bound to even shares of the job's cores: too few of these are near its GPUs, or none is known")
    return even_shares(cores, options.workers)


def fewer_threads(cpus: Cpus, environ: Mapping[str, str]) -> dict[str, str]:
    """The numbers of threads in this environment that are more than there are CPUs, made as many."""
    said = {name: environ.get(name, "") for name in _THREADS}
    return {name: str(len(cpus)) for name, value in said.items() if value.isdecimal() and int(value) > len(cpus)}
