"""Slurm: its jobs and clusters, and where dask-jobqueue has its runner."""

from __future__ import annotations

from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job
from corral_jobqueue.runner import SLURMRunner, WorldTooSmallException

__all__ = ["SLURMCluster", "SLURMJob", "SLURMRunner", "WorldTooSmallException"]


class SLURMJob(Job):
    """A job of Slurm."""

    submit_command, cancel_command, config_name, cluster_class = "sbatch", "scancel", "slurm", "SLURMCluster"


class SLURMCluster(JobQueueCluster):
    """A cluster on Slurm (SLURM)."""

    job_cls = SLURMJob
