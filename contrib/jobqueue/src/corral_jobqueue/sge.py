"""Grid Engine: its jobs and clusters."""

from __future__ import annotations

from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job


class SGEJob(Job):
    """A job of Grid Engine."""

    submit_command, cancel_command, config_name, cluster_class = "qsub", "qdel", "sge", "SGECluster"


class SGECluster(JobQueueCluster):
    """A cluster on SGE, the Grid Engine, which is asked for memory and cores by `resource_spec` and the like."""

    job_cls = SGEJob
