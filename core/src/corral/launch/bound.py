"""Keeps a worker on the CPUs that are its own."""

from __future__ import annotations

import os
from contextlib import suppress

from distributed import Worker, WorkerPlugin

from corral.host.cpus import Cpus
from corral.launch.ending import say


class Bound(WorkerPlugin):
    """Keeps a worker's process on these CPUs, with all threads that it has or will have."""

    name = "corral-affinity"

    def __init__(self, cpus: Cpus) -> None:
        self.cpus = cpus

    def setup(self, worker: Worker) -> None:
        """Tell the threads that there are, until no other has come meanwhile: a new one has the CPUs of its parent."""
        told: set[str] = set()
        while new := set(os.listdir("/proc/self/task")) - told:
            for thread in new:
                try:
                    with suppress(ProcessLookupError):
                        os.sched_setaffinity(int(thread), self.cpus)
                except OSError as error:
                    # The control group has lost all of them. A worker is worth more than where it runs.
                    say(f"worker {worker.name} is not bound to CPUs {sorted(self.cpus)}: {error.strerror}")
                    return
            told |= new
