"""One trial of one contender on the Slurm at hand, in a process of its own: prints seconds as a JSON object.

    python contenders.py corral hold 1000
    python contenders.py corral-without-arrays hold 1000
    python contenders.py dask-jobqueue workers 10 1      # ten jobs of one worker each
    python contenders.py corral libraries 16             # one job of 16 workers that use pandas

Both ask for the same jobs, and what is measured is measured in the same way.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distributed.diagnostics.plugin import SchedulerPlugin

if TYPE_CHECKING:
    from distributed import Scheduler

#: Seconds that a contender may take for anything.
PATIENCE = 300.0
QUEUE, WALLTIME = "batch", "00:20:00"
#: What the workers of a data frame's computation need.
LIBRARIES = ("numpy", "pandas", "dask.dataframe")


class Arrivals(SchedulerPlugin):
    """When each worker registered with the scheduler, in seconds since the epoch; calls `then` after the last."""

    name = "arrivals"

    def __init__(self, workers: int, then: Callable[[], object]) -> None:
        self.moments: list[float] = []
        self._workers = workers
        self._then = then

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self.moments.append(time.time())
        if len(self.moments) == self._workers:
            self._then()


class Contender(ABC):
    """A cluster that is open and has no job yet."""

    #: What its cluster object is, of whichever library.
    cluster: Any

    @abstractmethod
    def __init__(
        self,
        folder: Path,
        processes: int,
        *,
        prologue: Sequence[str] = (),
        directives: Sequence[str] = (),
        libraries: Sequence[str] = (),
    ) -> None:
        """`libraries`: what its workers will import, for who can make use of that."""

    @abstractmethod
    def ask(self, jobs: int) -> None:
        """Want so many jobs."""

    @abstractmethod
    def ids(self) -> list[str]:
        """Ids of the jobs that it knows."""


class Corral(Contender):
    #: Of the backend.
    options: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        folder: Path,
        processes: int,
        *,
        prologue: Sequence[str] = (),
        directives: Sequence[str] = (),
        libraries: Sequence[str] = (),
    ) -> None:
        from corral import Cluster

        self.cluster = Cluster(
            backend="slurm", cores=processes, processes=processes, memory=f"{processes}GB", walltime=WALLTIME,
            queue=QUEUE, interface="lo", shared_directory=folder, death_timeout=PATIENCE, prologue=prologue,
            extra_directives=directives, backend_options=self.options, preimport=libraries,
        )  # fmt: skip

    def ask(self, jobs: int) -> None:
        self.cluster.scale(jobs=jobs)

    def ids(self) -> list[str]:
        return [str(job.id) for job in self.cluster.jobs]


class WithoutArrays(Corral):
    """Each job is a submission of its own, as at sites that refuse arrays."""

    options: ClassVar[dict[str, Any]] = {"arrays": False}


class DaskJobqueue(Contender):
    def __init__(
        self,
        folder: Path,
        processes: int,
        *,
        prologue: Sequence[str] = (),
        directives: Sequence[str] = (),
        libraries: Sequence[str] = (),
    ) -> None:
        from dask_jobqueue import SLURMCluster

        self.cluster = SLURMCluster(
            cores=processes, processes=processes, memory=f"{processes}GB", walltime=WALLTIME, queue=QUEUE,
            interface="lo", log_directory=str(folder), death_timeout=PATIENCE, job_script_prologue=list(prologue),
            job_extra_directives=list(directives), job_name=f"bench-{uuid.uuid4().hex[:8]}",
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
        )  # fmt: skip

    def ask(self, jobs: int) -> None:
        self.cluster.scale(jobs=jobs)

    def ids(self) -> list[str]:
        # With several processes a job stands there once for each.
        return list({job.job_id: None for job in self.cluster.workers.values() if job.job_id is not None})


class WithoutPreimport(Corral):
    """Each worker imports for itself what its tasks use."""

    def __init__(
        self,
        folder: Path,
        processes: int,
        *,
        prologue: Sequence[str] = (),
        directives: Sequence[str] = (),
        libraries: Sequence[str] = (),
    ) -> None:
        super().__init__(folder, processes, prologue=prologue, directives=directives)


CONTENDERS: dict[str, type[Contender]] = {
    "corral": Corral,
    "corral-without-arrays": WithoutArrays,
    "corral-without-preimport": WithoutPreimport,
    "dask-jobqueue": DaskJobqueue,
}


def hold(contender: type[Contender], folder: Path, jobs: int) -> dict[str, float]:
    """Submit jobs that never start until each has an id, and cancel them until Slurm lists none."""
    trial = contender(folder, 1, prologue=[], directives=["--hold"])
    began = time.monotonic()
    trial.ask(jobs)
    _until(lambda: len(trial.ids()) == jobs, pause=0.002)
    known = time.monotonic() - began
    ids = trial.ids()
    began = time.monotonic()
    trial.ask(0)
    _until(lambda: not _listed(ids), pause=0.05)
    cancelled = time.monotonic() - began
    trial.cluster.close()
    return {"known": known, "cancelled": cancelled}


def workers(contender: type[Contender], folder: Path, jobs: int, processes: int) -> dict[str, float]:
    """Ask for jobs until all of their workers have registered: from the asking, and from the first job's start."""
    stamp = folder / "started"
    trial = contender(folder, processes, prologue=[f"date +%s.%N >>{stamp}"], directives=[])
    all_are_here = threading.Event()
    arrivals = Arrivals(jobs * processes, all_are_here.set)
    trial.cluster.scheduler.add_plugin(arrivals)
    asked = time.time()
    trial.ask(jobs)
    if not all_are_here.wait(PATIENCE):
        raise TimeoutError(f"{len(arrivals.moments)} workers within {PATIENCE:g} s: {trial.cluster!r}")
    last = arrivals.moments[jobs * processes - 1]
    started = min(map(float, stamp.read_text().split()))
    ids = trial.ids()
    trial.cluster.close()
    # The next trial has the machine to itself.
    _until(lambda: not _listed(ids), pause=0.2)
    return {"asked": last - asked, "started": last - started}


def libraries(contender: type[Contender], folder: Path, processes: int) -> dict[str, float]:
    """Ask for one job until all of its workers have used some libraries, and see what memory its processes have."""
    from distributed import Client

    trial = contender(folder, processes, libraries=LIBRARIES)
    all_are_here = threading.Event()
    trial.cluster.scheduler.add_plugin(Arrivals(processes, all_are_here.set))
    with Client(trial.cluster) as client:
        asked = time.monotonic()
        trial.ask(1)
        if not all_are_here.wait(PATIENCE):
            raise TimeoutError(f"not all workers within {PATIENCE:g} s: {trial.cluster!r}")
        # Asked for by the client, which may hear of the last worker a moment later.
        client.wait_for_workers(processes, timeout=PATIENCE)
        ids = trial.ids()
        idle = _memory(ids)
        assert len(client.run(_use)) == processes
        usable = time.monotonic() - asked
        used = _memory(ids)
    trial.cluster.close()
    _until(lambda: not _listed(ids), pause=0.2)
    return {"usable": usable, "idle": idle, "used": used}


def _use() -> None:
    """In a worker: import the libraries, and do something with each."""
    import numpy as np
    import pandas as pd
    from dask import dataframe

    frame = pd.DataFrame({"number": np.arange(1000.0), "word": ["a", "b"] * 500})
    sums = dataframe.from_pandas(frame, npartitions=2).groupby("word").number.sum()
    assert sums.compute(scheduler="sync").sum() == 499_500


def _mark(job: str) -> bytes:
    """The variable by which a process knows that it belongs to this job: for an element, that of its array."""
    array, is_element, _ = job.partition("_")
    return f"{'SLURM_ARRAY_JOB_ID' if is_element else 'SLURM_JOB_ID'}={array}".encode()


def _memory(ids: Sequence[str]) -> float:
    """Megabytes of all processes of these jobs; what several share is counted once (proportional set size)."""
    marks = {_mark(text) for text in ids}
    found = 0
    for process in Path("/proc").iterdir():
        # Others come and go, or belong to somebody else.
        with suppress(OSError):
            if process.name.isdigit() and marks & {*(process / "environ").read_bytes().split(b"\0")}:
                rows = (process / "smaps_rollup").read_text().splitlines()
                found += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return found * 1024 / 1e6


def _listed(ids: Sequence[str]) -> bool:
    """True if Slurm lists one of these jobs as not ended."""
    arrays = ",".join(dict.fromkeys(text.partition("_")[0] for text in ids))
    asked = subprocess.run(["squeue", "-h", "-o", "%i", "-j", arrays], check=False, capture_output=True, text=True)
    if asked.returncode != 0 and "Invalid job id" not in asked.stderr:
        raise RuntimeError(asked.stderr)
    return bool(asked.stdout.strip())


def _until(condition: Callable[[], bool], pause: float) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:g} s")
        time.sleep(pause)


def main(name: str, trial: str, *numbers: str) -> None:
    contender = CONTENDERS[name]
    # As corral does by itself: a thousand commands at once need thousands of pipes.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="corral-bench-", ignore_cleanup_errors=True) as folder:
        if trial == "hold":
            seconds = hold(contender, Path(folder), int(numbers[0]))
        elif trial == "libraries":
            seconds = libraries(contender, Path(folder), int(numbers[0]))
        else:
            seconds = workers(contender, Path(folder), int(numbers[0]), int(numbers[1]))
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
