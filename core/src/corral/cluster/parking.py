"""Results that a leaving worker could give to nobody: it writes them to files, and to compute them is to read the file.

The files themselves are the business of `corral.launch.parked`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from corral.host.files import HERE
from corral.launch.parked import reading_task

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState

    from corral.cluster.scheduler import Scheduler


@frozen(kw_only=True)
class Parked:
    """A result in a file."""

    path: str
    #: Bytes.
    size: int


class Parking:
    """The scheduler's part in it: which worker writes what, and where that is."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        #: The most bytes that all files may have together.
        self.room = 0
        #: Removes files; waits for a disk.
        self.remove: Callable[[Iterable[str]], None] = HERE.remove_private
        self.files: dict[Any, Parked] = {}
        #: Who is to write a result.
        self._reserved: dict[Any, str] = {}
        scheduler.handlers.update(corral_held=self.held, corral_reserve=self.reserve, corral_parked=self.park)

    def _unshared(self, worker: WorkerState) -> list[TaskState]:
        """What only this worker has, or workers that leave like it."""
        return [task for task in worker.has_what if not (task.who_has or set()) & (self._scheduler.running - {worker})]

    def unsaved(self, worker: WorkerState) -> int:
        """How many results end with a worker that ends now."""
        return sum(1 for task in self._unshared(worker) if task.key not in self.files)

    def release(self, address: str) -> None:
        """This worker is gone, and writes nothing more."""
        self._reserved = {key: other for key, other in self._reserved.items() if other != address}

    def forget(self, key: Any) -> None:
        """Nobody wants this result any more."""
        if (file := self.files.pop(key, None)) is not None:
            self._remove([file.path])

    def held(self, address: str) -> dict[str, int]:
        """Remote call: how many results a worker has that nobody else has, and no file; and how many others work."""
        worker = self._scheduler.workers.get(address)
        if worker is None:
            return {"results": 0, "others": len(self._scheduler.running)}
        return {"results": self.unsaved(worker), "others": len(self._scheduler.running - {worker})}

    def reserve(self, address: str) -> list[Any]:
        """Remote call of a leaving worker: which of its results it should write to files."""
        worker = self._scheduler.workers.get(address)
        if worker is None:
            return []
        room = self.room - sum(file.size for file in self.files.values())
        room -= sum(task.get_nbytes() for key in self._reserved if (task := self._scheduler.tasks.get(key)) is not None)
        chosen = []
        for task in sorted(self._unshared(worker), key=lambda task: task.get_nbytes()):
            if task.actor or task.key in self.files or self._reserved.get(task.key, address) != address:
                continue
            if task.get_nbytes() > room:
                break
            room -= task.get_nbytes()
            self._reserved[task.key] = address
            chosen.append(task.key)
        return chosen

    def park(self, address: str, files: list[tuple[Any, str, int]], failed: list[Any]) -> None:
        """Remote call of a leaving worker: these of its results are in files now, with so many bytes."""
        forgotten = []
        for key, path, size in files:
            self._reserved.pop(key, None)
            task = self._scheduler.tasks.get(key)
            if task is None or task.state != "memory":
                forgotten.append(path)
                continue
            self.files[key] = Parked(path=path, size=size)
            self._depend_on_file(task, path)
        for key in failed:
            self._reserved.pop(key, None)
        self._remove(forgotten)

    def _depend_on_file(self, task: TaskState, path: str) -> None:
        """From now on, to compute this task is to read the file: what it was computed from is not needed for it."""
        task.run_spec = reading_task(task.key, path)
        # Scattered data was never to be computed, and has no place in line.
        task.priority = task.priority or (0, 0, 0)
        unneeded: dict[Any, Any] = {}
        for other in task.dependencies:
            other.dependents.discard(task)
            if other.waiters:
                other.waiters.discard(task)
            if not other.dependents and not other.who_wants:
                unneeded[other.key] = "forgotten"
        task.dependencies = set()
        if unneeded:
            self._scheduler.transitions(unneeded, f"corral-parked-{time.time()}")

    def _remove(self, paths: list[str]) -> None:
        """Remove files, away from the event loop."""
        if paths:
            asyncio.get_running_loop().run_in_executor(None, self.remove, paths)
