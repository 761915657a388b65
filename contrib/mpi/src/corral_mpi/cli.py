"""``mpiexec -n 8 corral-mpi``: a cluster of ranks without a script, for clients elsewhere."""

from __future__ import annotations

import json
from typing import Any

import click

from corral.cli.helped import explained
from corral_mpi.executing import execute


@explained
@click.command()
@click.argument("scheduler_address", required=False)
@click.option("--scheduler-file", help="Where the scheduler's address is, or is to be written, as JSON.")
@click.option("--scheduler-port", type=int, help="Port of the scheduler. Default: any.")
@click.option("--scheduler-rank", type=int, default=0, show_default=True, help="The rank of the scheduler.")
@click.option("--interface", help="Network interface of scheduler and workers, like ib0.")
@click.option("--protocol", help='Default: TLS. "tcp": without.')
@click.option("--nthreads", type=int, help="Threads of each worker. Default: all cores.")
@click.option("--memory-limit", default="auto", show_default=True, help="Bytes of each worker, a fraction, or auto.")
@click.option("--local-directory", help="Where workers spill.")
@click.option("--scheduler/--no-scheduler", default=True, help="Whether a rank schedules, or all join another.")
@click.option("--nanny/--no-nanny", default=True, help="--no-nanny: --worker-class distributed.Worker.")
@click.option(
    "--exclusive-workers/--inclusive-workers", default=True, help="Whether the rank of the scheduler has no worker."
)
@click.option("--worker-class", default="distributed.Nanny", show_default=True, help="Class of the workers.")
@click.option("--worker-options", type=json.loads, help="Further keyword arguments of it, as JSON.")
@click.option("--dashboard/--no-dashboard", default=True, help="Whether there is a dashboard.")
@click.option("--dashboard-address", help="Where. Default: any port of loopback.")
@click.option("--name", default="corral", show_default=True, help="How the workers' names begin.")
def main(nanny: bool, worker_class: str, name: str, **options: Any) -> None:
    """Make all ranks of this MPI launch a Dask cluster, until a client shuts it down.

    Connections are TLS: a client needs corral_mpi.security(SCHEDULER_FILE), or start this with --protocol tcp.
    """
    execute(worker_class=worker_class if nanny else "distributed.Worker", worker_name=name, **options)


if __name__ == "__main__":
    main()
