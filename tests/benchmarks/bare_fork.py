"""The least that could be done: import distributed once, fork, and be a worker, over TLS. Prints seconds as JSON.

    python bare_fork.py 16

No batch system, no nanny, nothing that ends or restarts anything: what a launcher is measured against.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attrs import evolve

from corral.security.credentials import Credentials


async def be_cluster(workers: int) -> float:
    """Start a job, and measure until its workers have registered."""
    from contenders import Arrivals
    from distributed import Scheduler

    credentials = Credentials.create(cluster="bare-fork")
    all_are_here = asyncio.Event()
    arrivals = Arrivals(workers, all_are_here.set)
    with tempfile.TemporaryDirectory(prefix="corral-bench-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "credentials.json"
        async with Scheduler(
            host="127.0.0.1", port=0, protocol="tls", security=credentials.security(), dashboard_address="127.0.0.1:0"
        ) as scheduler:
            scheduler.add_plugin(arrivals)
            evolve(credentials, addresses=[scheduler.address]).write(path)
            started = time.time()
            job = await asyncio.create_subprocess_exec(
                sys.executable, __file__, str(workers), path, stderr=subprocess.DEVNULL, cwd=folder
            )
            await all_are_here.wait()
        await job.wait()
    return arrivals.moments[workers - 1] - started


def be_job(workers: int, path: str) -> None:
    """Fork the workers, and wait for their end."""
    import distributed

    credentials = Credentials.read(path)

    async def work(name: str) -> None:
        async with distributed.Worker(
            credentials.addresses[0], security=credentials.security(), name=name, nthreads=1, host="127.0.0.1"
        ) as worker:
            await worker.finished()

    for number in range(workers):
        if os.fork() == 0:
            asyncio.run(work(f"bare-{number}"))
            os._exit(0)
    for _ in range(workers):
        os.wait()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(json.dumps({"started": asyncio.run(be_cluster(int(sys.argv[1])))}))
    else:
        be_job(int(sys.argv[1]), sys.argv[2])
