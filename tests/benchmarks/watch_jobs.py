"""What the page of jobs costs its scheduler: prints seconds of the event loop's thread as JSON.

    python watch_jobs.py 1000 20 10      # jobs, changes a second, seconds of each look

Twice: nobody looks, and somebody does, in a process of its own. What is told is the difference, in percent of the time.
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

from corral import Cluster

WATCH = """
import sys
from bokeh.client import pull_session
session = pull_session(url=sys.argv[1])
print("here", flush=True)
session._loop_until_closed()
"""


async def measured(cluster: Cluster, seconds: float, changes: int) -> dict[str, float]:
    """How busy the event loop's thread is while so many jobs change a second, and the longest it stood still."""
    from pretend_jobs import change

    began, busy, process = time.monotonic(), time.thread_time(), time.process_time()
    number, longest, before = 0, 0.0, began
    while time.monotonic() - began < seconds:
        await asyncio.sleep(0.05)
        now = time.monotonic()
        longest, before = max(longest, now - before - 0.05), now
        for _ in range(int((now - began) * changes) - number):
            change(cluster, [number * 3 + 1])
            number += 1
    took = time.monotonic() - began
    return {
        "loop": 100 * (time.thread_time() - busy) / took,
        "process": 100 * (time.process_time() - process) / took,
        "standstill": 1000 * longest,
    }


def look(jobs: int, changes: int, seconds: float) -> dict[str, float]:
    """Percent of the time, and milliseconds."""
    from pretend_jobs import PretendQueue, live

    with tempfile.TemporaryDirectory(prefix="corral-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        queue = PretendQueue()
        with Cluster(
            backend="local",
            memory="200MB",
            interface="lo",
            plugins=[queue],
            backend_options={"directory": f"{folder}/q"},
        ) as cluster:
            cluster.scale(jobs)
            while len(cluster.jobs) < jobs:
                time.sleep(0.05)

            async def begin() -> None:
                live(cluster, queue, failing=0)

            cluster.sync(begin)
            time.sleep(2)
            alone = cluster.sync(measured, cluster, seconds, changes)
            address = cluster.dashboard_link.replace("/status", "/jobs")
            watcher = subprocess.Popen([sys.executable, "-c", WATCH, address], stdout=subprocess.PIPE, text=True)
            try:
                assert watcher.stdout is not None
                assert watcher.stdout.readline() == "here\n"
                time.sleep(3)  # all jobs were told once
                watched = cluster.sync(measured, cluster, seconds, changes)
            finally:
                watcher.kill()
                watcher.wait()
    found = {f"{name} alone": each for name, each in alone.items()}
    return (
        found
        | {name: watched[name] - alone[name] for name in ("loop", "process")}
        | {"standstill": watched["standstill"]}
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    print(json.dumps(look(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
