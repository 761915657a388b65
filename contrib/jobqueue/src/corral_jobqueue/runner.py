"""One program that ``srun`` starts many times as a Dask cluster: dask-jobqueue's runner, on corral's ranks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from corral.allocation.ranks import Ranks
from corral.errors import InvalidRequest, TooFewRanks

__all__ = ["SLURMRunner", "WorldTooSmallException"]

WorldTooSmallException = TooFewRanks

#: Words of `distributed.Scheduler` that ranks have, too.
_SCHEDULER = {
    "interface": "interface", "port": "scheduler_port", "protocol": "protocol", "dashboard": "dashboard",
    "dashboard_address": "dashboard_address", "scheduler_file": "scheduler_file",
}  # fmt: skip
#: Words of `distributed.Worker` that are arguments of their own here.
_WORKER = ("nthreads", "local_directory", "memory_limit", "interface")


class SLURMRunner(Ranks):
    """The tasks of one ``srun`` as a Dask cluster: 0 is the scheduler, 1 goes on with the script, all others work.

    ``with SLURMRunner() as runner, Client(runner) as client: …``

    Parameters
    ----------
    scheduler_file
        Where to write the scheduler's address for others; ``{job_id}`` stands for the job's id. The tasks need none:
        they find each other by a private file in corral's folder.
    scheduler_options
        Keyword arguments of `distributed.Scheduler`: interface, port, protocol, dashboard, dashboard_address.
    worker_class
        Class of the workers, as ``package.module.Class``.
    worker_options
        Keyword arguments of it.

    Raises
    ------
    InvalidRequest
        It is not possible here.
    TooFewRanks
        There are fewer than three tasks.
    NoAllocation
        This process was not started by a launcher of ranks.
    """

    def __init__(
        self,
        *,
        scheduler: bool = True,
        scheduler_options: Mapping[str, Any] | None = None,
        worker_class: str | None = None,
        worker_options: Mapping[str, Any] | None = None,
        client: bool = True,
        asynchronous: bool = False,
        loop: Any = None,
        scheduler_file: str | None = None,
    ) -> None:
        if not scheduler or not client:
            raise InvalidRequest(
                "client" if scheduler else "scheduler",
                "must be True: without a client, or with a scheduler elsewhere, corral run starts workers on all nodes",
            )
        if asynchronous:
            raise InvalidRequest(
                "asynchronous",
                "must be False: write with SLURMRunner() as runner, and Client(runner, asynchronous=True)",
            )
        wishes: dict[str, Any] = {}
        for word, value in (scheduler_options or {}).items():
            if word not in _SCHEDULER:
                raise InvalidRequest("scheduler_options", f"{word!r} is none of {', '.join(_SCHEDULER)}")
            wishes[_SCHEDULER[word]] = value
        options = dict(worker_options or {})
        wishes |= {word: options.pop(word) for word in _WORKER if word in options}
        options.pop("scheduler_file", None)
        if file := scheduler_file or wishes.get("scheduler_file"):
            wishes["scheduler_file"] = str(file).format(job_id=os.environ.get("SLURM_JOB_ID", ""))
        if worker_class is not None:
            wishes["worker_class"] = worker_class
        if options:
            wishes["worker_options"] = options
        super().__init__(**wishes)
        self.start()

    def __enter__(self) -> Self:
        # It has started: as dask-jobqueue's, it need not be used in a with statement.
        return self
