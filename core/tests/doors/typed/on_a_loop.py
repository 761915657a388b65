"""The same on an event loop of the program's own, where what takes time is awaited."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, assert_type

from distributed import Client

from corral import Cluster

if TYPE_CHECKING:
    from corral.cluster.asynchronous import AsyncCluster
    from corral.jobs.explanation import Explanations


async def main(directory: str) -> str:
    """One cluster by each way to await one."""
    options = {"directory": directory, "cores": 2, "memory": "2GB"}
    async with Cluster("local", memory="200MB", interface="lo", backend_options=options, asynchronous=True) as cluster:
        if TYPE_CHECKING:
            assert_type(cluster, AsyncCluster)
            assert_type(await cluster.explain(), Explanations)
        cluster.scale(1)
        await cluster.wait_for_workers(1, timeout=60)
        async with Client(cluster, asynchronous=True) as client:
            assert await client.submit(sum, [1, 2]) == 3
        assert_type(cluster.name, str)
        assert_type(cluster.overview().workers, int)
    other = await Cluster("local", memory="200MB", backend_options=options, asynchronous=True)
    await other.close()
    return other.status.name


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))
