"""A thousand jobs in a notebook on a pretended Slurm: prints as JSON what a displayed widget costs the event loop.

Windows of time with and without a display take turns. In each, the event loop does as many small steps as it can: the
widget's thread takes what the loop does not get. Steps are counted for each second of a processor that this process
got, and what is missing is set against the clock, by which the widget draws: then other programs do not count.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from statistics import median
from typing import Any

from pretend_slurm import PretendSlurm

from corral import Cluster
from corral.plugin.values import JobState

JOBS = 1000
WINDOW = 5.0
PAIRS = 6
#: Something changes all the time: the widget always has news.
NEWS = 0.2


async def steps(cluster: Any) -> tuple[float, float]:
    """In one window, steps for each second of a processor; and which part of one this process got."""
    began = last = time.perf_counter()
    used, count = time.process_time(), 0
    while (now := time.perf_counter()) - began < WINDOW:
        sum(range(2000))
        count += 1
        if now - last > NEWS:
            last = now
            cluster._changes.tell()
        await asyncio.sleep(0)
    used = time.process_time() - used
    return count / used, used / (time.perf_counter() - began)


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        async with Cluster(
            backend="slurm", backend_options={"max_array_size": JOBS}, memory="1GB", interface="lo",
            plugins=[PretendSlurm()], asynchronous=True,
        ) as cluster:  # fmt: skip
            cluster.scale(jobs=JOBS)
            seen = 0
            while sum(job.state is JobState.RUNNING for job in cluster.jobs) < JOBS:
                seen = await cluster._changes.after(seen)
            box = cluster.widget()
            live: Any = cluster._live
            slowed, drawing, shares = [], [], []
            for _ in range(PAIRS):
                box._view_count = 0
                without, _ = await steps(cluster)
                before, drawn = live.seconds, live.drawn
                box._view_count = 1
                displayed, part = await steps(cluster)
                slowed.append((1 - displayed / without) * part)
                drawing.append((live.seconds - before) / max(1, live.drawn - drawn))
                shares.append((live.seconds - before) / WINDOW)
            box._view_count = 0
            cluster.scale(0)
    print(json.dumps({"slowed": median(slowed), "drawing": drawing, "shares": shares}))


if __name__ == "__main__":
    asyncio.run(main())
