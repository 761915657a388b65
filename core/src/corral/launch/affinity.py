"""Which CPUs each worker is bound to: a share of those that the job has, on nodes with GPUs near the worker's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from corral.errors import counted
from corral.host.cpus import Cpus, cores_of, even_shares, near_shares
from corral.host.devices import devices_by_maker, near_gpus
from corral.launch.ending import say
from corral.launch.options import Options

#: How many threads the libraries below numpy start in each of Dask's.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


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
    # Batch systems count cores, or threads of cores: a job that has no more than either is taken to have its own.
    if len(cores) > granted:
        # Which of them are the job's? Others would choose the same.
        has = counted(granted, "core")
        say(f"workers are not bound to CPUs: the job has {has}, and may run on {len(cores)} of this node's")
        return None
    if options.affinity == "near-gpu":
        devices = devices_by_maker(root)
        near = [near_gpus(each, devices, root) for each in gpus]
        least = max(1, min(options.threads, len(cores) // options.workers))
        if (found := near_shares(cores, near, least)) is not None:
            return found
        say("workers are bound to even shares of the job's cores: too few of these are near its GPUs, or none is known")
    return even_shares(cores, options.workers)


def fewer_threads(cpus: int, environ: Mapping[str, str]) -> dict[str, str]:
    """The numbers of threads in this environment that are more than so many CPUs, made as many."""
    said = {name: environ.get(name, "") for name in _THREADS}
    return {name: str(cpus) for name, value in said.items() if value.isdecimal() and int(value) > cpus}
