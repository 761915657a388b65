"""Slurm: its jobs and clusters."""

from __future__ import annotations

from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job


class SLURMJob(Job):
    """A job of Slurm."""

    submit_command, cancel_command, config_name, cluster_class = "sbatch", "scancel", "slurm", "SLURMCluster"


class SLURMCluster(JobQueueCluster):
    """A cluster on Slurm. ``job_cpu`` and ``job_mem`` are what Slurm is asked for, if that is not what workers use."""

    job_cls = SLURMJob
