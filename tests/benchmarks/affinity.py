"""What it costs and gains to bind workers to CPUs: two workers of one thread on two CPUs. Prints seconds as JSON.

    python affinity.py none
    python affinity.py cores

Three loads: both workers compute; each needs what the other has made; one computes with as many BLAS threads as the job
has CPUs while the other has nothing to do.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from distributed import Client, wait

from corral import Cluster

ROUNDS = 7


def compute(seed: int) -> float:
    """Arithmetic in one thread, on more memory than fits into a cache."""
    table = np.full(4_000_000, float(seed))
    for _ in range(12):
        table = np.sqrt(table + 1.0)
    return float(table[0])


def make(seed: int) -> Any:
    return np.full(5_000_000, float(seed))


def multiply(size: int) -> float:
    square = np.ones((size, size))
    return float((square @ square)[0, 0])


def both_compute(client: Client, seed: int) -> None:
    wait(client.map(compute, range(seed, seed + 16)))


def both_exchange(client: Client, seed: int) -> None:
    first, second = sorted(client.scheduler_info()["workers"])
    parts = [client.submit(make, seed + part, workers=first if part % 2 else second) for part in range(8)]
    wait(parts)
    wait([client.submit(np.sum, each, workers=second if part % 2 else first) for part, each in enumerate(parts)])


def one_multiplies(client: Client, seed: int) -> None:
    first = min(client.scheduler_info()["workers"])
    wait([client.submit(multiply, 2000 + seed % 2, workers=first, pure=False) for _ in range(4)])


def seconds(load: Callable[[Client, int], None], client: Client) -> float:
    """The median of several rounds, after one that warms up."""
    found = []
    for number in range(ROUNDS + 1):
        began = time.perf_counter()
        load(client, 100 * number)
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


def main() -> None:
    affinity = sys.argv[1]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), 2)
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(
            backend="local", cores=2, processes=2, memory="2GB", affinity=affinity, env=threads,
            backend_options={"directory": f"{folder}/queue"}, shared_directory=folder,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        cluster.scale(2)
        client.wait_for_workers(2)
        loads = (both_compute, both_exchange, one_multiplies)
        print(json.dumps({load.__name__: round(seconds(load, client), 3) for load in loads}))


if __name__ == "__main__":
    main()
