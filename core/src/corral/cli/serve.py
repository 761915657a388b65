"""``corral serve``: a cluster's scheduler and engine on a node that is made for it."""

from __future__ import annotations

import asyncio
from typing import Any

import click
from attrs import evolve

from corral.cli.options import (
    HERE,
    cluster_arguments,
    cluster_options,
    described,
    refuse_via,
    worker_arguments,
    worker_options,
)

_WORDS = described("corral.cluster.cluster", "Cluster")


@click.command()
@cluster_options(only=HERE)
@worker_options
@click.option("--n-workers", type=click.IntRange(min=0), default=0, help="Workers to ask for at once.")
@click.option("--scheduler-interface", help=_WORDS["scheduler_interface"])
@click.option("--scheduler-port", type=click.IntRange(0, 65535), help=_WORDS["scheduler_port"])
@click.option(
    "--idle-timeout", metavar="TIME",
    help="End after this long without a connection, a task or a result. Default: 1h; 0: never.",
)  # fmt: skip
def serve(n_workers: int, **options: Any) -> None:
    """Run a cluster's scheduler here, for others to connect.

    For sites where jobs may not submit jobs, on a node where processes may keep running. Any process of yours reaches
    the cluster with Cluster.connect("NAME"). It ends on Ctrl-C, SIGTERM, Cluster.shutdown(), or when it is idle.
    """
    import corral.remote.__main__ as process
    from corral.errors import ClusterExists
    from corral.remote.locate import Residence
    from corral.remote.names import find_entry
    from corral.remote.spec import take
    from corral.request.scale import jobs_asked_for

    refuse_via("the scheduler would run here: run this there, or say scheduler='job' in a program")
    more = {name: options[name] for name in ("scheduler_interface", "scheduler_port", "idle_timeout")}
    blueprint, order = take({**cluster_arguments(options), **worker_arguments(options), **more})
    if (existing := find_entry(blueprint.name)) is not None and not existing.is_silent:
        raise ClusterExists(
            f"there is a cluster {blueprint.name!r} already ({Residence(existing)}); choose another --name"
        )
    if n_workers:
        resources = {name: blueprint.resources(name) for name in blueprint.groups}
        order = evolve(order, jobs=jobs_asked_for(resources, {"n": n_workers}, workers={}))
    process.tell_log()
    for name in blueprint.groups:
        blueprint.surroundings.tell_left_out(blueprint.request(name, 1))
    asyncio.run(process.serve(order))
