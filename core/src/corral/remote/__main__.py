"""``python -m corral.remote``: what a scheduler's own job runs. Reads its order, and serves until there is an end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from corral.errors import CorralError
from corral.launch.ending import Exit, say
from corral.launch.place import process_started
from corral.launch.zygote import WARNINGS
from corral.remote.spec import Order
from corral.text.docstrings import docstring

#: Seconds for which a file server may hide a file that was just written.
_HIDDEN = 60.0


async def serve(order: Order, *, job_id: str = "", ends: float | None = None) -> None:
    """Have the cluster of an order, until it is shut down, idle, signalled, or its walltime is over.

    Raises
    ------
    CorralError
        It cannot be started.
    """
    from corral.remote.server import Served

    cluster = Served(order, job_id=job_id, ends=ends)
    loop = asyncio.get_running_loop()
    for number in WARNINGS:
        loop.add_signal_handler(number, cluster.signalled, signal.Signals(number).name)
    async with cluster:
        where = f"job {job_id}" if job_id else f"pid {os.getpid()}"
        say(f"cluster {cluster.name} ({where}) at {cluster.scheduler_address}: Cluster.connect({cluster.name!r})")
        why = await cluster.until_end()
    say(f"cluster {cluster.name} has ended: {why}")


def main(arguments: Sequence[str]) -> int:
    """Be the process of a scheduler's job; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m corral.remote",
        allow_abbrev=False,
        description=__doc__ or docstring("corral.remote.__main__"),
    )
    parser.add_argument("--order", required=True, type=Path, metavar="FILE")
    path: Path = parser.parse_args(arguments).order
    try:
        order = _read(path)
        if order is None:
            say(f"the cluster has ended: there is no {path}")
            return Exit.DONE
        order.prepare_process()
        tell_log()
        asyncio.run(_serve_in_job(order))
    except CorralError as error:
        say(str(error))
        return Exit.FAILED
    return Exit.DONE


def tell_log() -> None:
    """Write what corral has to say, with moments, to standard error."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("corral").setLevel(logging.INFO)


def _read(path: Path) -> Order | None:
    """Read the order; None if its cluster has ended before it began."""
    deadline = time.monotonic() + _HIDDEN
    while True:
        try:
            return Order.read(path)
        except FileNotFoundError:
            # A folder that is there is not the one of a cluster that has ended: an NFS client's memory is old.
            if not path.parent.is_dir() or time.monotonic() > deadline:
                return None
        time.sleep(0.5)


async def _serve_in_job(order: Order) -> None:
    from corral.allocation.detect import read_grant
    from corral.request.sites import NONE

    ends = None if order.walltime is None else process_started() + order.walltime
    arguments = order.arguments
    site = {} if arguments["site"] == NONE else {name: arguments.get(name) for name in ("site", "site_options")}
    try:
        grant = await read_grant(arguments["backend"], options=arguments.get("backend_options"), **site)
        ends = grant.allocation.ends or ends
    except CorralError as error:
        say(f"cannot tell what this job was granted: {error}")
    await serve(order, job_id=os.environ.get("CORRAL_JOB_ID", ""), ends=ends)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
