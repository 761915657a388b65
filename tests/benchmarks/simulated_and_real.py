"""What the simulator says, held against a Slurm: two loads on both, where jobs wait equally long. Prints a table.

    eval "$(tests/batch-systems/slurm-up.sh)"
    python tests/benchmarks/simulated_and_real.py FOLDER      # logs, waits and pictures are left there

Other jobs keep the queue busy. Each load is computed there `ROUNDS` times by a cluster that knows nothing of the queue.
How long its jobs waited becomes a queue of the simulator, in which the same policy computes the same tasks.
"""

from __future__ import annotations

import logging
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from attrs import evolve
from dask.distributed import Client, wait

from corral import Cluster
from corral.cli.waits import queue_file
from corral.cluster import kept_waits
from corral.jobs.record import JobRecord
from corral.scaling.history import summaries
from corral.scaling.workload import Kind
from corral.simulation import Corral, Load, Outcome, Queue, simulate
from corral.simulation.pictures import draw
from corral.simulation.scenario import Step, Tasks, durations

BACKEND = "slurm"
ROUNDS = 3
#: How many simulations stand beside each round.
ORDERS = 15
#: Seconds that a step may take.
PATIENCE = 900.0
#: Threads of a job, its cores, and the most jobs.
THREADS, MAXIMUM = 4, 10
#: Jobs of others: so many wait at any time, each of some cores for about so long (s).
BACKLOG, SIZES, LENGTH = 12, (4, 8, 16, 32), 25.0


#: What is compared.
WHAT = {
    "makespan": "seconds", "core_hours": "core-hours", "wasted_core_hours": "wasted", "submitted": "jobs",
    "requests": "submissions",
}  # fmt: skip


def load(title: str, *steps: Step) -> Load:
    kind = Kind(name="default", cores=THREADS, threads=THREADS)
    return Load(title=title, kinds=(kind,), steps=steps, maximum=MAXIMUM, walltime=1800.0, uniform="default")


def step(*stages: Tasks, pause: float = 0.0) -> Step:
    return Step(pause=pause, stages=tuple((tasks,) for tasks in stages))


BURST = Tasks(name="burst", count=200, seconds=4.0, spread=0.2)
LOADS = {
    "bursts": load("bursts", step(BURST), step(BURST, pause=40.0), step(BURST, pause=40.0)),
    "stages": load(
        "stages",
        step(
            Tasks(name="load", count=300, seconds=3.0, spread=0.2),
            Tasks(name="fit", count=40, seconds=15.0, spread=0.2),
            Tasks(name="score", count=60, seconds=3.0, spread=0.2),
        ),
    ),
}


# --- for real ---------------------------------------------------------------------------------------------------


def nap(seconds: float, after: Sequence[object]) -> None:
    """Be a task of the load."""
    time.sleep(seconds)


def compute(load: Load, client: Client, seed: int) -> None:
    """Compute a load, each task of which takes as long as in the simulator."""
    seconds = durations(load, random.Random(seed))
    for number, step in enumerate(load.steps):
        time.sleep(step.pause)
        graph: dict[tuple[str, int], object] = {}
        before: list[tuple[str, int]] = []
        for stage in step.stages:
            keys = [
                ((f"{tasks.name}-{number}", index), each) for tasks in stage for index, each in enumerate(next(seconds))
            ]
            graph |= {key: (nap, each, before) for key, each in keys}
            before = [key for key, _ in keys]
        wait(client.get(graph, before, sync=False), timeout=PATIENCE)


def run(load: Load, seed: int) -> Outcome:
    """What becomes of a load on the batch system, counted as the simulator does."""
    with (
        Cluster(
            backend=BACKEND, cores=THREADS, processes=1, memory="1GB", walltime="30 min", interface="lo"
        ) as cluster,
        Client(cluster) as client,
    ):
        adaptive = cluster.adapt(maximum=MAXIMUM)
        began = time.monotonic()
        compute(load, client, seed)
        makespan = time.monotonic() - began
        used, jobs = cluster.account(), cluster.jobs
        logging.getLogger("corral").info("%s: %s\n%s", load.title, list(adaptive.log), used)
    return Outcome(
        makespan=makespan,
        core_hours=used.total,
        gpu_hours=0.0,
        # A task has one thread, which is one core.
        wasted_core_hours=used.total - sum(map(sum, durations(load, random.Random(seed)))) / 3600,
        lost_core_hours=used.lost,
        interrupted=0,
        submitted=len(jobs),
        requests=len({job.name for job in jobs}),
        cancelled=sum(job.connected_at is None and job.has_ended for job in jobs),
        history=history(jobs),
    )


def history(jobs: Sequence[JobRecord]) -> list[tuple[float, int, int]]:
    """How many work and wait over time, since the first submission."""
    changes: list[tuple[float, int, int]] = []
    for job in jobs:
        left = job.lost_workers_at or job.ended_at or math.inf
        changes += [(job.submitted_at, 0, 1), (min(job.connected_at or math.inf, left), 0, -1)]
        changes += [(job.connected_at, 1, 0), (left, -1, 0)] if job.connected_at is not None else []
    found = [(0.0, 0, 0)]
    for moment, working, waiting in sorted(changes):
        if moment < math.inf:
            since = moment - jobs[0].submitted_at
            found.append((since, found[-1][1] + working, found[-1][2] + waiting))
    return found


@contextmanager
def others(seed: int) -> Iterator[None]:
    """Jobs of other people, as many of which wait as ever, until the end."""
    chance = random.Random(seed)
    is_over = threading.Event()

    def ask(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def submit() -> None:
        while not is_over.wait(1.0):
            waiting = len(ask("squeue", "-h", "-n", "other", "-t", "PD", "-o", "%i").split())
            for _ in range(BACKLOG - waiting):
                cores, seconds = chance.choice(SIZES), chance.lognormvariate(math.log(LENGTH), 0.5)
                ask(
                    "sbatch", "-J", "other", "-c", str(cores), "--mem=1G", "-o", "/dev/null", "-t",
                    str(math.ceil(1.2 * seconds / 60)), "--wrap", f"exec sleep {seconds:.1f}",
                )  # fmt: skip

    submitting = threading.Thread(target=submit)
    submitting.start()
    try:
        # Until they fill the machines.
        time.sleep(2 * LENGTH)
        yield
    finally:
        is_over.set()
        submitting.join()
        ask("scancel", "-n", "other")


# --- beside each other ------------------------------------------------------------------------------------------


def simulated(load: Load, queue: Queue, seed: int) -> list[Outcome]:
    """The same tasks, where the first of the waits is another of those that were seen each time."""
    waits = queue.trace
    return [
        simulate(load, evolve(queue, trace=waits[first:] + waits[:first]), Corral(resolution=1.0), seed=seed)
        for first in range(0, len(waits), math.ceil(len(waits) / ORDERS))
    ]


def compare(real: Sequence[Outcome], simulated: Sequence[Outcome], name: str) -> str:
    """``291 (270 to 300) | 280 (250 to 310) | -4 %``: medians and extremes, and how much more the simulator says."""
    found = [sorted(getattr(outcome, name) for outcome in outcomes) for outcomes in (real, simulated)]
    cells = [f"{median(values):.3g} ({values[0]:.3g} to {values[-1]:.3g})" for values in found]
    return " | ".join([*cells, f"{median(found[1]) / median(found[0]) - 1:+.0%}"])


def main(folder: Path) -> None:
    logging.basicConfig(filename=folder / "log", format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("corral").setLevel(logging.DEBUG)
    real: dict[str, list[Outcome]] = {name: [] for name in LOADS}
    with others(seed=0):
        for number in range(ROUNDS):
            for name, each in LOADS.items():
                os.environ["XDG_STATE_HOME"] = f"{folder}/{name}-{number}"
                real[name].append(run(each, seed=number))
                print(name, real[name][-1], flush=True)
    print("| load | what | real | simulated | difference |\n| --- | --- | --- | --- | --- |")
    for name, each in LOADS.items():
        found = []
        for number in range(ROUNDS):
            os.environ["XDG_STATE_HOME"] = f"{folder}/{name}-{number}"
            found += kept_waits.read()
        [summary] = summaries(found, time.time())
        path = folder / f"{name}.toml"
        path.write_text(queue_file(summary))
        outcomes = [outcome for seed in range(ROUNDS) for outcome in simulated(each, Queue.read(path), seed)]
        for what, words in WHAT.items():
            print(f"| {name} | {words} | {compare(real[name], outcomes, what)} |")
        draw({"real": real[name][0], "simulated": outcomes[0]}, folder / f"{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
