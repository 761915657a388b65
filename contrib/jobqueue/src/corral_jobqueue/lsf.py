"""LSF: its jobs and clusters."""

from __future__ import annotations

from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job


class LSFJob(Job):
    """A job of LSF."""

    submit_command, cancel_command, config_name, cluster_class = "bsub", "bkill", "lsf", "LSFCluster"


class LSFCluster(JobQueueCluster):
    """A cluster on LSF. ``ncpus`` and ``mem`` (bytes) are what LSF is asked for, if that is not what workers use."""

    job_cls = LSFJob
