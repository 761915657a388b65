"""A cluster of ten thousand jobs on a pretended Slurm: prints as JSON what they cost the process that has them."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import tempfile
import time

import psutil
from pretend_slurm import JOBS, PretendSlurm

from corral import Cluster


def megabytes() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


async def standstill(cluster: Cluster, moments: list[float]) -> None:
    """Note how long the scheduler's event loop did nothing else, each time."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        moments.append(time.perf_counter() - began)


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as folder:
        slurm = PretendSlurm()
        os.environ["XDG_STATE_HOME"] = folder
        async with Cluster(
            backend="slurm", backend_options={"max_array_size": JOBS}, memory="1GB", interface="lo",
            plugins=[slurm], asynchronous=True,
        ) as cluster:  # fmt: skip
            empty = megabytes()
            pauses: list[float] = []
            ticking = asyncio.create_task(standstill(cluster, pauses))
            cluster.scale(jobs=JOBS)
            await slurm.all_run.wait()
            # The registry is written a second after the change.
            await asyncio.sleep(3.0)
            ticking.cancel()
            full = megabytes()
            cluster.scale(0)
    print(json.dumps({"megabytes": full - empty, "standstill": max(pauses)}))


if __name__ == "__main__":
    asyncio.run(main())
