"""Batch systems as an operator sees them: what the tests that are the same for all of them must know of each."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import setups
from attrs import frozen
from setups import Setup

from corral import Cluster


@frozen(kw_only=True)
class Operator:
    """One batch system's own commands; what its jobs need is said in its `setups.Setup`."""

    backend: str
    #: Ends the job whose id takes the place of ``{id}``, or ``{array}`` and ``{index}`` those of its parts.
    cancels: tuple[str, ...]
    #: Lists jobs that have not ended.
    lists: tuple[str, ...]
    #: What is found in that list once for every job that runs; ``{name}`` is how the job's name begins.
    entry: str = "{name}"

    @property
    def setup(self) -> Setup:
        return setups.of(self.backend)

    @property
    def patience(self) -> float:
        """Seconds in which a job that was submitted starts and its workers connect, on a busy machine."""
        return self.setup.patience

    def cluster(self, **arguments: Any) -> Cluster:
        """A cluster of small jobs."""
        return Cluster(**self.setup.arguments(**arguments))

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
        cancels=("scancel", "{id}"),
        lists=("squeue", "-h", "-r", "-o", "%j"),
    ),
    Operator(
        backend="sge",
        cancels=("qdel", "{id}"),
        lists=("qstat", "-u", "$user", "-r"),
        entry=r"Full jobname:\s+{name}",
    ),
    Operator(
        backend="oar",
        cancels=("oardel", "{id}"),
        lists=("oarstat", "-f"),
        entry=r"name = {name}",
    ),
    Operator(
        backend="htcondor",
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
