"""LSF: its jobs and clusters."""

from __future__ import annotations

from typing import Any

from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job


class LSFJob(Job):
    """A job of LSF."""

    submit_command, cancel_command, config_name, cluster_class = "bsub", "bkill", "lsf", "LSFCluster"

    def __init__(self, *arguments: Any, **further: Any) -> None:
        super().__init__(*arguments, **further)
        #: What was said; corral always submits by standard input.
        self.use_stdin = self.said.get("use_stdin")


class LSFCluster(JobQueueCluster):
    """A cluster on LSF."""

    job_cls = LSFJob
