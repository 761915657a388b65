"""One cluster on a real Slurm, for as long as it is told to: scaled, hurt and used at random. Prints what it measured.

python tests/faults/soak.py --seconds 1800 --seed 7
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask.config
import psutil
from dask.utils import key_split
from distributed import Client, wait

from corral import Cluster

#: Longer than anything may take here (s).
PATIENCE = 120.0
#: After this time files and memory may grow no more (s); of a short run, after a third.
WARM_UP = 300.0
#: What the cluster is asked for if nobody says: jobs of the Slurm that the project starts.
SMALL = {"backend": "slurm", "memory": "400MB", "walltime": "00:02:00", "queue": "batch", "interface": "lo"}


def work(number: int) -> int:
    time.sleep(0.01)
    return number**2


def processes() -> tuple[int, int]:
    """A worker's process, and its launcher's: that of the zygote's parent."""
    zygote = psutil.Process().ppid()
    return os.getpid(), psutil.Process(zygote).ppid()


def hurt(kind: str, cluster: Cluster, client: Client, chance: random.Random) -> None:
    """Kill a worker or a launcher, or cancel a job."""
    if kind == "job":
        if living := [job.id for job in cluster.jobs if not job.has_ended]:
            cancelled = chance.choice(living)
            subprocess.run(["scancel", cancelled.text], check=True)
            # Two in one round would be a wish, and corral would want fewer jobs.
            eventually(lambda: all(job.has_ended for job in cluster.jobs if job.id == cancelled), cluster)
        return
    found = client.run(processes, on_error="ignore")
    if pids := [pair for pair in found.values() if isinstance(pair, tuple)]:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(pids)[kind == "launcher"], signal.SIGKILL)


def eventually(is_so: Callable[[], bool], cluster: Cluster) -> None:
    """Return when it is so; within two minutes."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"{cluster!r}\n{cluster.jobs!r}"
        time.sleep(0.2)


def computed(futures: list[Any], cluster: Cluster, client: Client) -> list[int]:
    """Their results; within minutes."""
    try:
        wait(futures, timeout=2 * PATIENCE)
    except TimeoutError:
        words = Counter(future.status for future in futures)
        raise AssertionError(f"tasks: {words}\n{cluster!r}\n{cluster.jobs!r}") from None
    results: list[int] = client.gather(futures)
    return results


def measured(cluster: Cluster, client: Client) -> dict[str, int]:
    """Open files and memory of this process, at rest with two new workers."""
    cluster.scale(0)
    eventually(lambda: all(job.has_ended for job in cluster.jobs), cluster)
    cluster.scale(2)
    client.wait_for_workers(2, timeout=PATIENCE)
    eventually(lambda: len(cluster.observed) == 2, cluster)
    time.sleep(2)
    key_split.cache_clear()
    gc.collect()
    process = psutil.Process()
    return {"files": process.num_fds(), "memory": process.memory_info().rss}


def soak(seconds: float, seed: int, asked: dict[str, Any]) -> dict[str, Any]:
    chance = random.Random(seed)
    began = time.monotonic()
    done: Counter[str] = Counter()
    warm_up = min(WARM_UP, seconds / 3)
    before: dict[str, int] | None = None
    settings = {
        # Tasks that die with a worker four times are no fault of theirs here,
        "distributed.scheduler.allowed-failures": 100,
        # nor are jobs that die more often than in any hour of a machine that works.
        "corral.replacements-per-hour": 10_000,
        "corral.commands-per-minute": 1000,
        # What Dask remembers of messages and tasks, up to limits that take it hours, would hide what corral keeps.
        "distributed.admin.log-length": 10,
        "distributed.admin.low-level-log-length": 10,
        "distributed.scheduler.dashboard.tasks.task-stream-length": 10,
        "distributed.scheduler.events-cleanup-delay": "1s",
    }
    with (
        dask.config.set(settings),
        # What a job that was killed whole leaves on its node stays until a later one of this user removes it.
        tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as on_nodes,
        Cluster(
            **asked, local_directory=on_nodes,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        while time.monotonic() - began < seconds:
            if before is None and time.monotonic() - began > warm_up:
                before = measured(cluster, client)
            cluster.scale(chance.randint(1, 4))
            client.wait_for_workers(1, timeout=PATIENCE)
            first = chance.randrange(10**6)
            futures = client.map(work, range(first, first + 200))
            if (kind := chance.choice(["nothing", "worker", "launcher", "job"])) != "nothing":
                logging.getLogger("corral").info("now somebody hurts a %s", kind)
                hurt(kind, cluster, client, chance)
            assert computed(futures, cluster, client) == [number**2 for number in range(first, first + 200)]
            del futures
            done[kind] += 1
        after = measured(cluster, client)
        jobs = len(cluster.jobs)
    figures = {"seed": seed, "warm_up": warm_up, "rounds": sum(done.values()), "hurt": done, "jobs": jobs}
    return {**figures, "before": before, "after": after}


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("corral").setLevel(logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--jobs", type=json.loads, default=SMALL, help="arguments of the cluster (JSON)")
    arguments = parser.parse_args()
    print(json.dumps(soak(arguments.seconds, arguments.seed, arguments.jobs)), flush=True)
