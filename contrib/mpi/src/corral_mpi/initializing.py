"""``initialize()``: the rest of the script runs on one rank."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from corral.allocation import ranks
from corral_mpi.broadcast import Broadcast, world_communicator, world_of

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm


def initialize(
    interface: str | None = None,
    nthreads: int | None = 1,
    local_directory: str | None = None,
    memory_limit: float | str | None = "auto",
    nanny: bool = False,
    dashboard: bool = True,
    dashboard_address: str | None = None,
    protocol: str | None = None,
    worker_class: str = "distributed.Worker",
    worker_options: Mapping[str, Any] | None = None,
    comm: Intracomm | None = None,
    exit: bool = True,  # noqa: A002 - dask-mpi's word
) -> bool:
    """Make the ranks of this MPI program a Dask cluster: rank 0 schedules, rank 1 returns, all others work.

    After it, ``Client()`` finds the cluster. When the script ends, all ranks end with it; if it raises, non-zero.

    Parameters
    ----------
    interface
        Network interface of scheduler and workers: ``"ib0"``.
    nthreads
        Threads of each worker.
    local_directory
        Where workers spill.
    memory_limit
        Of each worker: bytes, a fraction of the node's memory, or "auto".
    nanny
        Another word for ``worker_class="distributed.Nanny"``.
    dashboard, dashboard_address
        Whether there is a dashboard, and where. Default: on loopback, not on port 8787 of all interfaces.
    protocol
        Default: TLS, with certificates made for this launch. ``"tcp"``: without.
    worker_class, worker_options
        Class of the workers, as ``package.module.Class``, and further keyword arguments of it.
    comm
        A communicator to use instead of COMM_WORLD.
    exit
        False: it returns on all ranks, on the others than rank 1 when all is over; and `send_close_signal` is to be
        called when the script is done.

    Returns
    -------
    bool
        True on the script's rank.

    Raises
    ------
    TooFewRanks
        On one rank; the others end.
    """
    communicator = comm or world_communicator()
    return ranks.initialize(
        interface,
        nthreads,
        local_directory,
        memory_limit,
        exit=exit,
        world=world_of(communicator),
        exchange=Broadcast(communicator, root=0),
        dashboard=dashboard,
        dashboard_address=dashboard_address,
        protocol=protocol,
        worker_class=class_of_worker(worker_class, nanny=nanny),
        worker_options=dict(worker_options or {}),
    )


def class_of_worker(worker_class: str, *, nanny: bool) -> str:
    """What dask-mpi's two ways to say the same come to."""
    if nanny:
        warnings.warn('nanny=True is deprecated, as in dask-mpi; use worker_class="distributed.Nanny"', stacklevel=3)
        return "distributed.Nanny"
    return worker_class
