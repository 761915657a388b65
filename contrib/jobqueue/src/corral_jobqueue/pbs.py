"""PBS: its jobs and clusters."""

from __future__ import annotations

from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job


class PBSJob(Job):
    """A job of PBS."""

    submit_command, cancel_command, config_name, cluster_class = "qsub", "qdel", "pbs", "PBSCluster"


class PBSCluster(JobQueueCluster):
    """A cluster on PBS, or on TORQUE."""

    job_cls = PBSJob
