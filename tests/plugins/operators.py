"""Batch systems as an operator sees them: what the tests that are the same for all of them must know of each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from corral import Cluster


@frozen(kw_only=True)
class Operator:
    """One batch system, as set up by ``tests/batch-systems``, and its own commands."""

    backend: str
    #: What `Cluster` needs there, besides the little that every job asks for.
    arguments: Mapping[str, Any] = field(factory=dict)
    #: Seconds in which a job that was submitted starts and its workers connect, on a busy machine.
    patience: float = 90.0
    #: Whether no job has several nodes: the batch system knows no such jobs, or one host plays all of it.
    is_one_host: bool = False
    #: Ends the job whose id takes the place of ``{id}``, or ``{array}`` and ``{index}`` those of its parts.
    cancels: tuple[str, ...]
    #: Lists jobs that have not ended.
    lists: tuple[str, ...]
    #: What is found in that list once for every job that runs; ``{name}`` is how the job's name begins.
    entry: str = "{name}"

    def cluster(self, **arguments: Any) -> Cluster:
        """A cluster of small jobs."""
        usual = {"backend": self.backend, "memory": "400MB", "walltime": "00:10:00", "interface": "lo"}
        return Cluster(**{**usual, **self.arguments, **arguments})

    def cancel(self, job_id: str) -> None:
        array, _, index = job_id.partition(".")
        self._run(*(word.format(id=job_id, array=array, index=index) for word in self.cancels))

    def count(self, cluster: str) -> int:
        """Entries of the queue that belong to a cluster; tasks that wait may be one together."""
        return self.count_in(self._run(*self.lists), cluster)

    def count_in(self, answer: str, cluster: str) -> int:
        """The same, in an answer to `lists`."""
        return len(re.findall(self.entry.replace("{name}", re.escape(cluster)), answer))

    def _run(self, *command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


OPERATORS = [
    Operator(
        backend="slurm",
        arguments={"queue": "batch"},
        cancels=("scancel", "{id}"),
        lists=("squeue", "-h", "-r", "-o", "%j"),
    ),
    Operator(
        backend="sge",
        is_one_host=True,
        arguments={"backend_options": {"memory_resource": "memory", "parallel_environment": "smp"}},
        cancels=("qdel", "{id}"),
        lists=("qstat", "-u", "$user", "-r"),
        entry=r"Full jobname:\s+{name}",
    ),
    Operator(
        backend="oar",
        arguments={"backend_options": {"memory_property": "memcore"}},
        patience=150.0,
        cancels=("oardel", "{id}"),
        lists=("oarstat", "-f"),
        entry=r"name = {name}",
    ),
    Operator(
        backend="htcondor",
        is_one_host=True,
        cancels=("condor_rm", "{id}"),
        lists=("condor_q", "-af", "JobBatchName"),
    ),
    # These have no script that brings them up: what is said of them here is from their manuals.
    Operator(
        backend="pbs",
        cancels=("qdel", "{id}"),
        lists=("qstat", "-t", "-f", "-F", "dsv"),
        # Elements that have ended are listed, as X, until their array has.
        entry=r"\|Job_Name={name}(?!.*\|array=True)(?!.*\|job_state=[XF]\|)",
    ),
    Operator(
        backend="flux",
        cancels=("flux", "cancel", "{id}"),
        lists=("flux", "jobs", "-n", "-o", "{name}"),
    ),
    Operator(
        backend="lsf",
        # OpenLava has no bjobs -o.
        cancels=("bkill", "{array}[{index}]"),
        lists=("bjobs", "-w"),
        entry=r" {name}\S*\[\d+\] ",
    ),
]
