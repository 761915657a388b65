"""corral's own queue on this machine: its jobs and clusters."""

from __future__ import annotations

from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job


class LocalJob(Job):
    """A job of corral's own queue on this machine."""

    config_name, cluster_class = "local", "LocalCluster"


class LocalCluster(JobQueueCluster):
    """A Local cluster: on corral's own queue on this machine, for tests, and where there is no batch system."""

    job_cls = LocalJob
