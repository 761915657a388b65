"""What it costs and gains to bind workers to CPUs: two workers of one thread on two CPUs.

    python affinity.py

Three loads: both workers compute; each needs what the other has made; one computes with as many BLAS threads as the job
has CPUs while the other has nothing to do. Two clusters, one bound and one not, take turns. Prints for each load the
seconds of the fastest round of either, because what else this machine does only makes rounds slower, and the medians.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from distributed import Client, wait

from corral import Cluster

#: Many short ones: a busy machine leaves some of them alone.
ROUNDS = 30


def compute(seed: int) -> float:
    """Arithmetic in one thread, on more memory than fits into a cache."""
    table = np.full(4_000_000, float(seed))
    for _ in range(4):
        table = np.sqrt(table + 1.0)
    return float(table[0])


def make(seed: int) -> Any:
    return np.full(5_000_000, float(seed))


def multiply(size: int) -> float:
    square = np.ones((size, size))
    return float((square @ square)[0, 0])


def both_compute(client: Client, seed: int) -> None:
    wait(client.map(compute, range(seed, seed + 2)))


def both_exchange(client: Client, seed: int) -> None:
    first, second = sorted(client.nthreads())
    parts = [client.submit(make, seed + part, workers=first if part % 2 else second) for part in range(2)]
    wait(parts)
    wait([client.submit(np.sum, each, workers=second if part % 2 else first) for part, each in enumerate(parts)])


def one_multiplies(client: Client, seed: int) -> None:
    first = min(client.nthreads())
    wait(client.submit(multiply, 1500, workers=first, pure=False))


def seconds(load: Callable[[Client, int], None], client: Client, number: int) -> float:
    began = time.perf_counter()
    load(client, 100 * number)
    return time.perf_counter() - began


def compared(load: Callable[[Client, int], None], free: Client, bound: Client) -> dict[str, float]:
    """Seconds over several rounds, after one that warms up; the two begin in turns."""
    pairs = []
    for number in range(ROUNDS + 1):
        if number % 2:
            first = seconds(load, free, number)
            pairs.append((first, seconds(load, bound, number)))
        else:
            first = seconds(load, bound, number)
            pairs.append((seconds(load, free, number), first))
    rounds = dict(zip(("none", "cores"), zip(*pairs[1:], strict=True), strict=True))
    fastest = {affinity: round(min(found), 3) for affinity, found in rounds.items()}
    return fastest | {f"{affinity}, median": round(statistics.median(found), 3) for affinity, found in rounds.items()}


def connected(stack: ExitStack, folder: str, affinity: str) -> Client:
    """A client of two workers in one job."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), 2)
    cluster = Cluster(
        backend="local", cores=2, processes=2, memory="2GB", affinity=affinity, env=threads,
        backend_options={"directory": f"{folder}/{affinity}"}, shared_directory=folder,
    )  # fmt: skip
    client: Client = stack.enter_context(Client(stack.enter_context(cluster)))
    cluster.scale(2)
    client.wait_for_workers(2)
    return client


def main() -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        free, bound = (connected(stack, folder, affinity) for affinity in ("none", "cores"))
        for load in (both_compute, both_exchange, one_multiplies):
            print(json.dumps({load.__name__: compared(load, free, bound)}), flush=True)


if __name__ == "__main__":
    main()
